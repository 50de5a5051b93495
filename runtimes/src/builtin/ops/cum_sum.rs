//! Running sums along a dimension.

use super::{Operand, Operator, Prepare, arity};
use crate::builtin::graph::Fact;
use crate::builtin::kernels::memory::Element;
use crate::builtin::step::Step;
use crate::{Error, Result};
use protocol::DType;

/// Operand: f32, f64, i32 or i64.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CumSum {
    /// The dimension.
    pub axis: usize,
    /// The sum of what comes before, without the element itself.
    pub exclusive: bool,
    /// From the end.
    pub reverse: bool,
}

impl Operator for CumSum {
    fn name(&self) -> &'static str {
        "CumSum"
    }

    fn infer(&self, inputs: &[Operand<'_>]) -> Result<Vec<Fact>> {
        arity(inputs, 1, 1)?;
        let x = inputs[0].fact;
        if self.axis >= x.shape.len() {
            return Err(Error::ModelInvalid(format!("axis {} of shape {:?}", self.axis, x.shape)));
        }
        Ok(vec![x.clone().as_real()])
    }

    fn prepare(&self, on: &Prepare<'_>) -> Result<Option<Step>> {
        let (x, out) = (on.inputs[0].fact, &on.outputs[0]);
        if x.quant.is_some() || x.dtype != out.dtype {
            return Ok(None);
        }
        Ok(match x.dtype {
            DType::F32 => Some(self.step(x, |a: f32, b| a + b)),
            DType::F64 => Some(self.step(x, |a: f64, b| a + b)),
            DType::I32 => Some(self.step(x, i32::wrapping_add)),
            DType::I64 => Some(self.step(x, i64::wrapping_add)),
            _ => None,
        })
    }
}

impl CumSum {
    fn step<T: Element>(&self, x: &Fact, add: fn(T, T) -> T) -> Step {
        let Self { axis, exclusive, reverse } = *self;
        let (length, inner) = (x.shape[axis], x.shape[axis + 1..].iter().product::<usize>());
        let rows = x.len() / length.max(1);
        Step::map("cum_sum", move |x: &[T], y: &mut [T]| {
            for row in 0..rows {
                let (outer, rest) = (row / inner.max(1), row % inner.max(1));
                let mut sum = T::default();
                for step in 0..length {
                    let i = if reverse { length - 1 - step } else { step };
                    let at = (outer * length + i) * inner + rest;
                    let next = add(sum, x[at]);
                    y[at] = if exclusive { sum } else { next };
                    sum = next;
                }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::builtin::testing::{Given, on_all_tiers};

    #[test]
    fn all_four_ways() {
        let x = [Given::input(&[2, 3], &[1i32, 2, 3, 4, 5, 6])];
        let sum = |axis, exclusive, reverse| {
            on_all_tiers::<i32>(CumSum { axis, exclusive, reverse }, &x, None).swap_remove(0).1
        };
        assert_eq!(sum(1, false, false), [1, 3, 6, 4, 9, 15]);
        assert_eq!(sum(1, true, false), [0, 1, 3, 0, 4, 9]);
        assert_eq!(sum(1, false, true), [6, 5, 3, 15, 11, 6]);
        assert_eq!(sum(0, true, true), [4, 5, 6, 0, 0, 0]);
    }
}
