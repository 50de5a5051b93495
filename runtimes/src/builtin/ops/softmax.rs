//! Softmax along the last dimension.

use super::{Operand, Operator, Prepare, arity};
use crate::builtin::graph::Fact;
use crate::builtin::step::Step;
use crate::{Error, Result};

/// Operand: at least one dimension. Result: exp(β x) over the sum of its row, or its logarithm.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Softmax {
    /// Factor on the operand.
    pub beta: f32,
    /// The logarithm of it.
    pub log: bool,
}

impl Operator for Softmax {
    fn name(&self) -> &'static str {
        if self.log { "LogSoftmax" } else { "Softmax" }
    }

    fn infer(&self, inputs: &[Operand<'_>]) -> Result<Vec<Fact>> {
        arity(inputs, 1, 1)?;
        let x = inputs[0].fact;
        if x.shape.is_empty() {
            return Err(Error::ModelInvalid("softmax of a scalar".to_owned()));
        }
        Ok(vec![x.clone().as_real()])
    }

    fn prepare(&self, _on: &Prepare<'_>) -> Result<Option<Step>> {
        Ok(None)
    }
}
