//! Picks slices by their place in several dimensions.

use super::{Operand, Operator, Prepare, arity};
use crate::builtin::graph::Fact;
use crate::builtin::limits;
use crate::builtin::step::Step;
use crate::{Error, Result};
use protocol::DType;

/// Operands: data of any type, and indices (i32 or i64; negative ones count from the end) whose last dimension is a
/// place in the data's dimensions after the first `batch_dims`, which both have. A place outside the data gives zeros.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GatherNd {
    /// First dimensions that data and indices walk together.
    pub batch_dims: usize,
}

impl Operator for GatherNd {
    fn name(&self) -> &'static str {
        "GatherNd"
    }

    fn infer(&self, inputs: &[Operand<'_>]) -> Result<Vec<Fact>> {
        arity(inputs, 2, 2)?;
        let (x, indices) = (inputs[0].fact, inputs[1].fact);
        let unfit =
            || Error::ModelInvalid(format!("{} indices {:?} of {:?}", indices.dtype, indices.shape, x.shape));
        let (depth, outer) = indices.shape.split_last().ok_or_else(unfit)?;
        let end = self.batch_dims.checked_add(*depth).filter(|end| *end <= x.shape.len());
        let end = end.filter(|_| outer.len() >= self.batch_dims).ok_or_else(unfit)?;
        let fits = outer[..self.batch_dims] == x.shape[..self.batch_dims]
            && matches!(indices.dtype, DType::I32 | DType::I64)
            && x.quant.as_deref().is_none_or(|q| q.scale.len() == 1);
        if !fits {
            return Err(unfit());
        }
        let shape = [outer, &x.shape[end..]].concat();
        limits::elements(&shape)?;
        Ok(vec![Fact { shape, ..x.clone() }])
    }

    fn prepare(&self, on: &Prepare<'_>) -> Result<Option<Step>> {
        let (x, indices, out) = (on.inputs[0].fact, on.inputs[1].fact, &on.outputs[0]);
        if !super::same_elements(x, out) {
            return Ok(None);
        }
        let depth = indices.shape.last().copied().unwrap_or(0);
        let (batch, wide) = (self.batch_dims, indices.dtype == DType::I64);
        let dims = x.shape[batch..batch + depth].to_vec();
        let inner = x.shape[batch + depth..].iter().product::<usize>() * x.dtype.size();
        let batches: usize = x.shape[..batch].iter().product();
        let places: usize = indices.shape[..indices.shape.len() - 1].iter().product();
        let per_batch = places / batches.max(1);
        Ok(Some(Step::new("gather_nd", move |inputs, mut outputs, _| {
            let (x, y) = (inputs.bytes(0), outputs.bytes(0));
            let place = |at: usize| {
                let first = at / per_batch.max(1);
                (0..depth).try_fold(first, |place, d| {
                    let index = super::gather::index(&inputs, 1, wide, at * depth + d, dims[d])?;
                    Some(place * dims[d] + index)
                })
            };
            for at in 0..if inner == 0 { 0 } else { places } {
                let to = &mut y[at * inner..][..inner];
                match place(at) {
                    Some(from) => to.copy_from_slice(&x[from * inner..][..inner]),
                    None => to.fill(0),
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
    fn elements_slices_and_batches() {
        let x = Given::input(&[2, 2, 2], &[0i32, 1, 2, 3, 4, 5, 6, 7]);
        let got = |batch_dims, indices| {
            on_all_tiers::<i32>(GatherNd { batch_dims }, &[x.clone(), indices], None).swap_remove(0).1
        };
        assert_eq!(got(0, Given::input(&[2, 2], &[0i64, 1, 1, 0])), [2, 3, 4, 5]);
        assert_eq!(got(1, Given::input(&[2, 1], &[1i64, 0])), [2, 3, 4, 5]);
        assert_eq!(got(0, Given::input(&[2, 3], &[1i64, 1, -1, 0, 2, 0])), [7, 0]);
    }
}
