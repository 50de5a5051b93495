//! A part of a tensor whose place is only known when the model runs.

use super::{Operand, Operator, Prepare, arity, same_elements};
use crate::builtin::graph::Fact;
use crate::builtin::kernels::io::Inputs;
use crate::builtin::step::Step;
use crate::{Error, Result};
use protocol::DType;

/// Operands: data of any type, place (i32 or i64; one number per dimension, dimensions at the end may be left out).
/// Result: as many elements as `sizes` says from there on. A place that is negative counts from the end, and one
/// that would reach outside is moved inside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DynamicSlice {
    /// One size per dimension.
    pub sizes: Vec<usize>,
}

impl Operator for DynamicSlice {
    fn name(&self) -> &'static str {
        "DynamicSlice"
    }

    fn infer(&self, inputs: &[Operand<'_>]) -> Result<Vec<Fact>> {
        arity(inputs, 2, 2)?;
        let x = inputs[0].fact;
        fits(&x.shape, &self.sizes, inputs[1].fact)?;
        Ok(vec![Fact { shape: self.sizes.clone(), ..x.clone() }])
    }

    fn prepare(&self, on: &Prepare<'_>) -> Result<Option<Step>> {
        let (x, out) = (on.inputs[0].fact, &on.outputs[0]);
        if !same_elements(x, out) {
            return Ok(None);
        }
        let (shape, sizes, wide, size) = (x.shape.clone(), self.sizes.clone(), is_wide(on), x.dtype.size());
        Ok(Some(Step::new("dynamic_slice", move |inputs, mut outputs, _| {
            let start = start(&shape, &sizes, &place(inputs, 1, wide));
            let (x, y) = (inputs.bytes(0), outputs.bytes(0));
            rows(&shape, &sizes, start, |from, to, count| {
                y[to * size..][..count * size].copy_from_slice(&x[from * size..][..count * size]);
            });
        })))
    }
}

/// # Errors
/// Sizes beyond the shape, or a place of another kind.
pub(super) fn fits(shape: &[usize], sizes: &[usize], place: &Fact) -> Result<()> {
    let inside = shape.len() == sizes.len() && sizes.iter().zip(shape).all(|(s, d)| s <= d);
    let numbers = matches!(place.dtype, DType::I32 | DType::I64) && place.shape.len() <= 1;
    if inside && numbers && place.len() <= shape.len() {
        return Ok(());
    }
    let (dtype, at) = (place.dtype, &place.shape);
    Err(Error::ModelInvalid(format!("sizes {sizes:?} of {shape:?} at {dtype} {at:?}")))
}

/// Whether the place is i64.
pub(super) fn is_wide(on: &Prepare<'_>) -> bool {
    on.inputs.last().is_some_and(|i| i.fact.dtype == DType::I64)
}

/// The place.
pub(super) fn place(inputs: Inputs<'_>, index: usize, wide: bool) -> Vec<i64> {
    if wide {
        inputs.get::<i64>(index).to_vec()
    } else {
        inputs.get::<i32>(index).iter().map(|v| i64::from(*v)).collect()
    }
}

/// Element at which a part at this place begins, moved inside.
pub(super) fn start(shape: &[usize], sizes: &[usize], place: &[i64]) -> usize {
    let dimension = |at: usize, ((d, s), i): ((&usize, &usize), usize)| {
        let (length, given) = (*d as i64, place.get(i).copied().unwrap_or(0));
        let from_front = if given < 0 { given.saturating_add(length) } else { given };
        at * d + from_front.clamp(0, length - *s as i64) as usize
    };
    shape.iter().zip(sizes).zip(0..).fold(0, dimension)
}

/// Calls `copy` with the element in the whole, the element in the part, and the length of every row of the part.
pub(super) fn rows(shape: &[usize], sizes: &[usize], start: usize, mut copy: impl FnMut(usize, usize, usize)) {
    let count = sizes.last().copied().unwrap_or(1);
    if sizes.contains(&0) {
        return;
    }
    let outer = &sizes[..sizes.len().saturating_sub(1)];
    let mut at = vec![0usize; outer.len()];
    for row in 0..outer.iter().product::<usize>() {
        let place = at.iter().chain([&0]).zip(shape).fold(0, |sum, (i, d)| sum * d + i);
        copy(start + place, row * count, count);
        for (i, n) in at.iter_mut().zip(outer).rev() {
            *i += 1;
            if *i < *n {
                break;
            }
            *i = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::builtin::graph::OutputType;
    use crate::builtin::testing::{Given, exact};

    fn at(place: &[i32]) -> Vec<i32> {
        let x = Given::input(&[3, 4], &[0i32, 1, 2, 3, 10, 11, 12, 13, 20, 21, 22, 23]);
        let out = OutputType { dtype: DType::I32, quant: None };
        exact(DynamicSlice { sizes: vec![2, 2] }, &[x, Given::input(&[place.len()], place)], out)
    }

    #[test]
    fn places_are_moved_inside() {
        assert_eq!(at(&[1, 1]), [11, 12, 21, 22]);
        assert_eq!(at(&[0]), [0, 1, 10, 11]);
        assert_eq!(at(&[-2, 2]), [12, 13, 22, 23]);
        assert_eq!(at(&[7, i32::MIN]), [10, 11, 20, 21]);
    }

    #[test]
    fn sizes_beyond_the_data_are_refused() {
        let x = Fact::new(DType::F32, &[2, 2]);
        let p = Fact::new(DType::I32, &[2]);
        let operands = [&x, &p].map(|fact| Operand { fact, constant: None });
        assert!(DynamicSlice { sizes: vec![3, 1] }.infer(&operands).is_err());
        assert!(DynamicSlice { sizes: vec![1] }.infer(&operands).is_err());
        assert!(DynamicSlice { sizes: vec![1, 1] }.infer(&[operands[0], operands[0]]).is_err());
    }
}
