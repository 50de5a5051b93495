//! Dimensions in another order.

use super::{Operand, Operator, Prepare, arity};
use crate::builtin::graph::Fact;
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

    fn prepare(&self, _on: &Prepare<'_>) -> Result<Option<Step>> {
        Ok(None)
    }
}
