//! Leaky ReLU with slopes from an operand.

use super::{Operand, Operator, Prepare, arity, broadcast};
use crate::builtin::graph::Fact;
use crate::builtin::step::Step;
use crate::{Error, Result};

/// Operands: x, and slopes that broadcast to it. Result: x where positive, else slope · x.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Prelu;

impl Operator for Prelu {
    fn name(&self) -> &'static str {
        "PRelu"
    }

    fn infer(&self, inputs: &[Operand<'_>]) -> Result<Vec<Fact>> {
        arity(inputs, 2, 2)?;
        let (x, slope) = (inputs[0].fact, inputs[1].fact);
        if broadcast(&x.shape, &slope.shape)? != x.shape {
            return Err(Error::ModelInvalid(format!("slopes {:?} for shape {:?}", slope.shape, x.shape)));
        }
        Ok(vec![x.clone().as_real()])
    }

    fn prepare(&self, _on: &Prepare<'_>) -> Result<Option<Step>> {
        Ok(None)
    }
}
