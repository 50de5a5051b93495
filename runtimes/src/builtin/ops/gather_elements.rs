//! Picks elements or slices by an index each.

use super::{Operand, Operator, Prepare, arity};
use crate::builtin::graph::Fact;
use crate::builtin::kernels::nest::dense_strides;
use crate::builtin::step::Step;
use crate::{Error, Result};
use protocol::DType;

/// Operands: data of any type, and indices (i32 or i64; negative ones count from the end) of as many dimensions. Every
/// element of the result is that at the index along `axis` and at its own place in the other dimensions. An index
/// outside the data gives zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GatherElements {
    /// The dimension.
    pub axis: usize,
}

impl Operator for GatherElements {
    fn name(&self) -> &'static str {
        "GatherElements"
    }

    fn infer(&self, inputs: &[Operand<'_>]) -> Result<Vec<Fact>> {
        arity(inputs, 2, 2)?;
        let (x, indices) = (inputs[0].fact, inputs[1].fact);
        let others = |d: usize| d == self.axis || indices.shape[d] <= x.shape[d];
        let fits = self.axis < x.shape.len()
            && indices.shape.len() == x.shape.len()
            && (0..x.shape.len()).all(others)
            && matches!(indices.dtype, DType::I32 | DType::I64)
            && x.quant.as_deref().is_none_or(|q| q.scale.len() == 1);
        if !fits {
            let message = format!("{} indices {:?} of {:?}", indices.dtype, indices.shape, x.shape);
            return Err(Error::ModelInvalid(message));
        }
        Ok(vec![Fact { shape: indices.shape.clone(), ..x.clone() }])
    }

    fn prepare(&self, on: &Prepare<'_>) -> Result<Option<Step>> {
        let (x, indices, out) = (on.inputs[0].fact, on.inputs[1].fact, &on.outputs[0]);
        if !super::same_elements(x, out) {
            return Ok(None);
        }
        let (strides, own) = (dense_strides(&x.shape), dense_strides(&indices.shape));
        let (axis, length, size) = (self.axis, x.shape[self.axis], x.dtype.size());
        let (dims, wide) = (indices.shape.clone(), indices.dtype == DType::I64);
        Ok(Some(Step::new("gather_elements", move |inputs, mut outputs, _| {
            let x = inputs.bytes(0);
            for (i, y) in outputs.bytes(0).chunks_exact_mut(size).enumerate() {
                let rest = (0..dims.len()).filter(|d| *d != axis);
                let base: usize =
                    rest.map(|d| i / own[d] as usize % dims[d].max(1) * strides[d] as usize).sum();
                match super::gather::index(&inputs, 1, wide, i, length) {
                    Some(index) => {
                        y.copy_from_slice(&x[(base + index * strides[axis] as usize) * size..][..size]);
                    }
                    None => y.fill(0),
                }
            }
        })))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::builtin::testing::{Given, on_all_tiers};

    #[test]
    fn picks_along_a_dimension() {
        let x = [
            Given::input(&[3, 3], &[1i16, 2, 3, 4, 5, 6, 7, 8, 9]),
            Given::input(&[2, 3], &[1i64, 2, 0, -1, 0, 9]),
        ];
        assert_eq!(on_all_tiers::<i16>(GatherElements { axis: 0 }, &x, None)[0].1, [4, 8, 3, 7, 2, 0]);
        let x = [Given::input(&[2, 2], &[1f32, 2.0, 3.0, 4.0]), Given::input(&[2, 2], &[0i32, 0, 1, 0])];
        assert_eq!(on_all_tiers::<f32>(GatherElements { axis: 1 }, &x, None)[0].1, [1.0, 1.0, 4.0, 3.0]);
    }
}
