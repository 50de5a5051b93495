//! Geometry shared by convolutions and pools over `[n, h, w, c]`.

use crate::{Error, Result};

/// How a kernel moves over height and width. Pairs are `[height, width]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Step between outputs, at least 1.
    pub stride: [usize; 2],
    /// Distance between kernel taps, at least 1.
    pub dilation: [usize; 2],
    /// Rows above and columns to the left of the input that are taken as zero (or left out).
    pub before: [usize; 2],
    /// Rows below and columns to the right.
    pub after: [usize; 2],
}

impl Default for Window {
    fn default() -> Self {
        Self { stride: [1, 1], dilation: [1, 1], before: [0, 0], after: [0, 0] }
    }
}

/// Largest stride, dilation, padding or kernel: keeps all index arithmetic far from overflow.
pub(crate) const MAX_ATTRIBUTE: usize = 1 << 20;

impl Window {
    /// Padding such that there are ⌈input / stride⌉ outputs; the odd one goes after, as TFLite and
    /// ONNX's `SAME_UPPER` have it.
    ///
    /// # Errors
    /// A zero or an absurd attribute.
    pub fn same(
        input: [usize; 2],
        kernel: [usize; 2],
        stride: [usize; 2],
        dilation: [usize; 2],
    ) -> Result<Self> {
        let mut window = Self { stride, dilation, ..Self::default() };
        window.check(kernel)?;
        for d in 0..2 {
            let outputs = input[d].div_ceil(stride[d]);
            let reach = (kernel[d] - 1) * dilation[d] + 1;
            let total = (outputs.saturating_sub(1) * stride[d] + reach).saturating_sub(input[d]);
            window.before[d] = total / 2;
            window.after[d] = total - total / 2;
        }
        Ok(window)
    }

    /// Height and width of the output.
    ///
    /// # Errors
    /// A zero or an absurd attribute, or a kernel larger than the padded input.
    pub fn output(&self, input: [usize; 2], kernel: [usize; 2]) -> Result<[usize; 2]> {
        self.check(kernel)?;
        let mut output = [0; 2];
        for d in 0..2 {
            let reach = (kernel[d] - 1) * self.dilation[d] + 1;
            let padded = input[d] + self.before[d] + self.after[d];
            // An empty dimension has no pixels to pad.
            if padded < reach || input[d] == 0 {
                let message =
                    format!("a kernel of {kernel:?} is larger than the input {input:?} with padding");
                return Err(Error::ModelInvalid(message));
            }
            output[d] = (padded - reach) / self.stride[d] + 1;
        }
        Ok(output)
    }

    fn check(&self, kernel: [usize; 2]) -> Result<()> {
        let positive = self.stride.iter().chain(&self.dilation).chain(&kernel);
        let mut all = positive.clone().chain(&self.before).chain(&self.after);
        if positive.clone().any(|v| *v == 0) || all.any(|v| *v > MAX_ATTRIBUTE) {
            return Err(Error::ModelInvalid(format!("{self:?} with a kernel of {kernel:?}")));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_padding_keeps_ceil_of_input_by_stride() {
        let w = Window::same([28, 49], [3, 10], [2, 2], [1, 1]).unwrap();
        assert_eq!((w.before, w.after), ([0, 4], [1, 5]));
        assert_eq!(w.output([28, 49], [3, 10]).unwrap(), [14, 25]);
    }

    #[test]
    fn absurd_attributes_are_refused() {
        assert!(Window { stride: [0, 1], ..Window::default() }.output([4, 4], [1, 1]).is_err());
        assert!(Window { before: [usize::MAX, 0], ..Window::default() }.output([4, 4], [1, 1]).is_err());
        assert!(Window::default().output([4, 4], [5, 1]).is_err());
        assert!(Window::same([0, 4], [3, 3], [2, 2], [1, 1]).unwrap().output([0, 4], [3, 3]).is_err());
        assert!(Window::same([4, 4], [0, 1], [1, 1], [1, 1]).is_err());
    }
}
