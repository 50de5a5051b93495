//! Cuts numbers to a range: ReLU, ReLU6, Clip.

use super::{Clamp, Operand, Operator, Prepare, arity};
use crate::Result;
use crate::builtin::graph::Fact;
use crate::builtin::step::Step;

/// Operand: f32, integer or quantised; the natural result has the operand's type and quantisation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Clip {
    /// The range.
    pub clamp: Clamp,
}

impl Operator for Clip {
    fn name(&self) -> &'static str {
        "Clip"
    }

    fn infer(&self, inputs: &[Operand<'_>]) -> Result<Vec<Fact>> {
        arity(inputs, 1, 1)?;
        Ok(vec![inputs[0].fact.clone()])
    }

    fn prepare(&self, _on: &Prepare<'_>) -> Result<Option<Step>> {
        Ok(None)
    }
}
