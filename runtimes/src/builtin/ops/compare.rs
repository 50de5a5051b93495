//! Comparison and logic of two operands, element by element, broadcast at the last dimension.

use super::{Operand, Operator, Prepare, arity, broadcast};
use crate::Result;
use crate::builtin::graph::Fact;
use crate::builtin::step::Step;
use protocol::DType;

/// Which comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CompareKind {
    /// a = b
    Equal,
    /// a ≠ b
    NotEqual,
    /// a < b
    Less,
    /// a ≤ b
    LessEqual,
    /// a > b
    Greater,
    /// a ≥ b
    GreaterEqual,
    /// both (of bool)
    And,
    /// any (of bool)
    Or,
    /// one and not the other (of bool)
    Xor,
}

/// A comparison; the result is bool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compare {
    /// Which.
    pub kind: CompareKind,
}

impl Operator for Compare {
    fn name(&self) -> &'static str {
        match self.kind {
            CompareKind::Equal => "Equal",
            CompareKind::NotEqual => "NotEqual",
            CompareKind::Less => "Less",
            CompareKind::LessEqual => "LessEqual",
            CompareKind::Greater => "Greater",
            CompareKind::GreaterEqual => "GreaterEqual",
            CompareKind::And => "And",
            CompareKind::Or => "Or",
            CompareKind::Xor => "Xor",
        }
    }

    fn infer(&self, inputs: &[Operand<'_>]) -> Result<Vec<Fact>> {
        arity(inputs, 2, 2)?;
        let shape = broadcast(&inputs[0].fact.shape, &inputs[1].fact.shape)?;
        Ok(vec![Fact::new(DType::Bool, &shape)])
    }

    fn prepare(&self, _on: &Prepare<'_>) -> Result<Option<Step>> {
        Ok(None)
    }
}
