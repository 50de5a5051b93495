//! Geometry of convolutions and pools over any number of spatial dimensions, as `[n, c, ...]` has them. What is usual
//! has kernels over `[n, h, w, c]` ([`super::window`]); this is for the rest.

use super::window::MAX_ATTRIBUTE;
use crate::builtin::limits::{self, MAX_RANK};
use crate::{Error, Result};

/// How a window moves, one number per spatial dimension.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WindowNd {
    /// Elements of the window.
    pub kernel: Vec<usize>,
    /// Step between outputs, at least 1.
    pub stride: Vec<usize>,
    /// Distance between taps, at least 1.
    pub dilation: Vec<usize>,
    /// Elements before the input that are taken as zero, or left out.
    pub before: Vec<usize>,
    /// Elements after it.
    pub after: Vec<usize>,
    /// A last window counts that only begins inside the input.
    pub ceil: bool,
}

impl WindowNd {
    /// Lengths of the output.
    ///
    /// # Errors
    /// Numbers that are zero or absurd or not as many as dimensions, or a window larger than the padded input.
    pub fn output(&self, input: &[usize]) -> Result<Vec<usize>> {
        self.check(input)?;
        let mut output = Vec::new();
        for (d, length) in input.iter().enumerate() {
            let reach = self.reach(d);
            let padded = length + self.before[d] + self.after[d];
            if padded < reach || *length == 0 {
                return Err(Error::ModelInvalid(format!("{self:?} is larger than the input {input:?}")));
            }
            let span = padded - reach;
            let mut count = if self.ceil { span.div_ceil(self.stride[d]) } else { span / self.stride[d] } + 1;
            if (count - 1) * self.stride[d] >= length + self.before[d] {
                count -= 1;
            }
            output.push(count);
        }
        limits::elements(&output)?;
        Ok(output)
    }

    /// # Errors
    /// As [`WindowNd::output`].
    pub(crate) fn check(&self, input: &[usize]) -> Result<()> {
        let all = [&self.kernel, &self.stride, &self.dilation, &self.before, &self.after];
        let lengths = all.iter().all(|numbers| numbers.len() == input.len());
        let positive = all[..3].iter().all(|numbers| numbers.iter().all(|n| *n > 0));
        let small = all.iter().all(|numbers| numbers.iter().all(|n| *n <= MAX_ATTRIBUTE));
        if !(lengths && positive && small) || input.len() + 2 > MAX_RANK {
            return Err(Error::ModelInvalid(format!("{self:?} over {} dimensions", input.len())));
        }
        limits::elements(&self.kernel)?;
        Ok(())
    }

    fn reach(&self, d: usize) -> usize {
        (self.kernel[d] - 1) * self.dilation[d] + 1
    }

    /// Number of taps.
    pub(crate) fn taps(&self) -> usize {
        self.kernel.iter().product()
    }

    /// Place of a tap in the input, if it lies inside.
    pub(crate) fn inside(&self, input: &[usize], output: &Index, tap: &Index) -> Option<usize> {
        let mut place = 0;
        for (d, length) in input.iter().enumerate() {
            let at = output.0[d] * self.stride[d] + tap.0[d] * self.dilation[d];
            let at = at.checked_sub(self.before[d]).filter(|at| at < length)?;
            place = place * length + at;
        }
        Some(place)
    }

    /// Whether a tap lies in the input or its padding, beyond which `ceil` may reach.
    pub(crate) fn in_padding(&self, input: &[usize], output: &Index, tap: &Index) -> bool {
        input.iter().enumerate().all(|(d, length)| {
            let at = output.0[d] * self.stride[d] + tap.0[d] * self.dilation[d];
            at < length + self.before[d] + self.after[d]
        })
    }
}

/// A place in several dimensions.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Index([usize; MAX_RANK]);

impl Index {
    /// The next place in `dims`, the last dimension first; back at the beginning after the last.
    pub(crate) fn advance(&mut self, dims: &[usize]) {
        for d in (0..dims.len()).rev() {
            self.0[d] += 1;
            if self.0[d] < dims[d] {
                return;
            }
            self.0[d] = 0;
        }
    }

    /// All places in `dims`, in order.
    pub(crate) fn all(dims: &[usize]) -> impl Iterator<Item = Self> + '_ {
        let mut next = Self::default();
        (0..dims.iter().product::<usize>()).map(move |_| {
            let now = next;
            next.advance(dims);
            now
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(kernel: usize, stride: usize, pad: usize, ceil: bool) -> WindowNd {
        WindowNd {
            kernel: vec![kernel],
            stride: vec![stride],
            dilation: vec![1],
            before: vec![pad],
            after: vec![pad],
            ceil,
        }
    }

    #[test]
    fn lengths_of_outputs() {
        assert_eq!(window(3, 2, 0, false).output(&[6]).unwrap(), [2]);
        assert_eq!(window(3, 2, 0, true).output(&[6]).unwrap(), [3]);
        // the next window would begin in the padding
        assert_eq!(window(2, 3, 1, true).output(&[3]).unwrap(), [2]);
        assert!(window(3, 1, 0, false).output(&[2]).is_err());
        assert!(window(3, 0, 0, false).output(&[4]).is_err());
        assert!(window(1, 1, usize::MAX, false).output(&[4]).is_err());
    }

    #[test]
    fn taps_inside_and_in_the_padding() {
        let window = window(3, 2, 1, true);
        let all: Vec<Option<usize>> =
            Index::all(&[3]).map(|tap| window.inside(&[4], &Index::default(), &tap)).collect();
        assert_eq!(all, [None, Some(0), Some(1)]);
        assert!(Index::all(&[3]).all(|tap| window.in_padding(&[4], &Index::default(), &tap)));
    }
}
