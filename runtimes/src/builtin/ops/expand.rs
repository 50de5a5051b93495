//! Repeats dimensions of length 1.

use super::{Operand, Operator, Prepare, arity, broadcast};
use crate::builtin::graph::Fact;
use crate::builtin::step::Step;
use crate::Result;

/// Operand: any type. The result is the operand broadcast with `shape`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expand {
    /// What to broadcast with.
    pub shape: Vec<usize>,
}

impl Operator for Expand {
    fn name(&self) -> &'static str {
        "Expand"
    }

    fn infer(&self, inputs: &[Operand<'_>]) -> Result<Vec<Fact>> {
        arity(inputs, 1, 1)?;
        let x = inputs[0].fact;
        Ok(vec![Fact { shape: broadcast(&x.shape, &self.shape)?, ..x.clone() }])
    }

    fn prepare(&self, _on: &Prepare<'_>) -> Result<Option<Step>> {
        Ok(None)
    }
}
