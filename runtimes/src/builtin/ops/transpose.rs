//! Dimensions in another order.

use super::{Operand, Operator, Prepare, arity};
use crate::builtin::graph::Fact;
use crate::builtin::kernels::nest::{Nest, dense_strides};
use crate::builtin::step::Step;
use crate::{Error, Result};
use std::sync::Arc;

/// Operand: any type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transpose {
    /// Output dimension `i` is input dimension `perm[i]`.
    pub perm: Vec<usize>,
}

impl Operator for Transpose {
    fn name(&self) -> &'static str {
        "Transpose"
    }

    fn infer(&self, inputs: &[Operand<'_>]) -> Result<Vec<Fact>> {
        arity(inputs, 1, 1)?;
        let x = inputs[0].fact;
        let mut seen: Vec<usize> = self.perm.clone();
        seen.sort_unstable();
        if !seen.iter().copied().eq(0..x.shape.len()) {
            return Err(Error::ModelInvalid(format!("order {:?} for shape {:?}", self.perm, x.shape)));
        }
        let shape = self.perm.iter().map(|p| x.shape[*p]).collect();
        let quant = x.quant.as_ref().map(|q| {
            let mut q = (**q).clone();
            let axis = self.perm.iter().position(|p| *p == q.axis as usize).unwrap_or(0);
            q.axis = if q.scale.len() > 1 { axis as u32 } else { 0 };
            Arc::new(q)
        });
        Ok(vec![Fact { dtype: x.dtype, shape, quant }])
    }

    fn prepare(&self, on: &Prepare<'_>) -> Result<Option<Step>> {
        let strides = dense_strides(&on.inputs[0].fact.shape);
        let strides: Vec<[isize; 1]> = self.perm.iter().map(|p| [strides[*p]]).collect();
        let nest = Nest::new(&on.outputs[0].shape, &strides, [0]);
        if nest.strides == [1] && nest.length == on.outputs[0].len() {
            let same = super::same_elements(on.inputs[0].fact, &on.outputs[0]);
            return Ok(same.then(|| Step::alias("transpose")));
        }
        Ok(super::mover("transpose", on, nest))
    }
}
