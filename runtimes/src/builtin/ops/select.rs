//! One or the other, element by element.

use super::{Operand, Operator, Prepare, arity, broadcast};
use crate::builtin::graph::Fact;
use crate::builtin::step::Step;
use crate::{Error, Result};
use protocol::DType;

/// Operands: condition (bool), a, b of the same type; all broadcast. a where the condition holds, else b.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Select;

impl Operator for Select {
    fn name(&self) -> &'static str {
        "Select"
    }

    fn infer(&self, inputs: &[Operand<'_>]) -> Result<Vec<Fact>> {
        arity(inputs, 3, 3)?;
        let [c, a, b] = [inputs[0].fact, inputs[1].fact, inputs[2].fact];
        if c.dtype != DType::Bool || a.dtype != b.dtype {
            return Err(Error::ModelInvalid(format!("select by {} of {} and {}", c.dtype, a.dtype, b.dtype)));
        }
        let shape = broadcast(&broadcast(&c.shape, &a.shape)?, &b.shape)?;
        Ok(vec![Fact { shape, ..a.clone() }])
    }

    fn prepare(&self, _on: &Prepare<'_>) -> Result<Option<Step>> {
        Ok(None)
    }
}
