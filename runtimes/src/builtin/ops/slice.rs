//! A regular part of a tensor.

use super::{Operand, Operator, Prepare, arity};
use crate::builtin::graph::Fact;
use crate::builtin::kernels::nest::{Nest, dense_strides};
use crate::builtin::step::Step;
use crate::{Error, Result};

/// Elements `start`, `start + step`, ... of a dimension.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SliceRange {
    /// First index.
    pub start: usize,
    /// Number of elements.
    pub count: usize,
    /// Distance, negative to go backwards, not zero.
    pub step: isize,
}

impl SliceRange {
    /// All of a dimension.
    pub fn all(length: usize) -> Self {
        Self { start: 0, count: length, step: 1 }
    }

    /// From `begin` up to but without `end` in steps of `step`, by the rules of Python: negative indices
    /// count from the end, anything beyond the ends is cut.
    ///
    /// # Errors
    /// A step of zero.
    pub fn python(length: usize, begin: i64, end: i64, step: i64) -> Result<Self> {
        if step == 0 {
            return Err(Error::ModelInvalid("a slice with step 0".to_owned()));
        }
        let n = length as i64;
        let (low, high) = if step > 0 { (0, n) } else { (-1, n - 1) };
        let index = |v: i64| (if v < 0 { v.saturating_add(n) } else { v }).clamp(low, high);
        let (begin, end) = (index(begin), index(end));
        let span = if step > 0 { end - begin } else { begin - end };
        let count = if span <= 0 { 0 } else { (span as u64 - 1) / step.unsigned_abs() + 1 };
        Ok(Self { start: begin.max(0) as usize, count: count as usize, step: step as isize })
    }
}

/// Operand: any type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slice {
    /// One per dimension.
    pub ranges: Vec<SliceRange>,
}

impl Operator for Slice {
    fn name(&self) -> &'static str {
        "Slice"
    }

    fn infer(&self, inputs: &[Operand<'_>]) -> Result<Vec<Fact>> {
        arity(inputs, 1, 1)?;
        let x = inputs[0].fact;
        let inside = |(r, d): (&SliceRange, &usize)| {
            let last = (r.count.checked_sub(1)?).try_into().ok().and_then(|n: isize| n.checked_mul(r.step))?;
            let last = r.start.checked_add_signed(last)?;
            (r.start < *d && last < *d).then_some(())
        };
        let good = |(r, d): (&SliceRange, &usize)| r.count == 0 || (r.step != 0 && inside((r, d)).is_some());
        if self.ranges.len() != x.shape.len() || !self.ranges.iter().zip(&x.shape).all(good) {
            return Err(Error::ModelInvalid(format!("slice {:?} of shape {:?}", self.ranges, x.shape)));
        }
        if x.quant.as_deref().is_some_and(|q| q.scale.len() > 1) {
            return Err(Error::Unsupported("slice of a tensor quantised per channel".to_owned()));
        }
        Ok(vec![Fact { shape: self.ranges.iter().map(|r| r.count).collect(), ..x.clone() }])
    }

    fn prepare(&self, on: &Prepare<'_>) -> Result<Option<Step>> {
        let strides = dense_strides(&on.inputs[0].fact.shape);
        let start = self.ranges.iter().zip(&strides).map(|(r, s)| r.start as isize * s).sum();
        let strides: Vec<[isize; 1]> = self.ranges.iter().zip(&strides).map(|(r, s)| [r.step * s]).collect();
        Ok(super::mover("slice", on, Nest::new(&on.outputs[0].shape, &strides, [start])))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::builtin::testing::{Given, on_all_tiers};

    #[test]
    fn ranges_follow_python() {
        let range = |b, e, s| SliceRange::python(5, b, e, s).unwrap();
        assert_eq!(range(1, 4, 2), SliceRange { start: 1, count: 2, step: 2 });
        assert_eq!(range(-2, i64::MAX, 1), SliceRange { start: 3, count: 2, step: 1 });
        assert_eq!(range(-1, i64::MIN, -2), SliceRange { start: 4, count: 3, step: -2 });
        assert_eq!(range(3, 1, 1).count, 0);
        assert_eq!(range(0, 5, i64::MAX).count, 1);
        assert_eq!(range(4, i64::MIN, i64::MIN).count, 1);
        assert!(SliceRange::python(5, 0, 5, 0).is_err());
    }

    #[test]
    fn forwards_and_backwards() {
        let x = [Given::input(&[2, 4], &[1i32, 2, 3, 4, 5, 6, 7, 8])];
        let ranges = vec![SliceRange { start: 1, count: 2, step: -1 }, SliceRange { start: 0, count: 2, step: 2 }];
        assert_eq!(on_all_tiers::<i32>(Slice { ranges }, &x, None)[0].1, [5, 7, 1, 3]);
    }
}
