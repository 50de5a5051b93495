//! Arithmetic of two operands, element by element, broadcast at the last dimension.

use super::{Clamp, Operand, Operator, Prepare, arity, broadcast};
use crate::Result;
use crate::builtin::graph::Fact;
use crate::builtin::step::Step;

/// Which arithmetic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BinaryKind {
    /// a + b
    Add,
    /// a − b
    Sub,
    /// a · b
    Mul,
    /// a / b; integers truncate
    Div,
    /// the larger
    Max,
    /// the smaller
    Min,
    /// a to the power of b
    Pow,
    /// (a − b)²
    SquaredDifference,
    /// ⌊a / b⌋
    FloorDiv,
    /// a − b · ⌊a / b⌋: the sign of b
    FloorMod,
    /// a − b · trunc(a / b): the sign of a
    Rem,
}

/// `a ∘ b`, cut to a range.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Binary {
    /// Which arithmetic.
    pub kind: BinaryKind,
    /// Range of the result; f32 and quantised only.
    pub clamp: Clamp,
}

impl Binary {
    /// Without a range.
    pub fn new(kind: BinaryKind) -> Self {
        Self { kind, clamp: Clamp::NONE }
    }
}

impl Operator for Binary {
    fn name(&self) -> &'static str {
        match self.kind {
            BinaryKind::Add => "Add",
            BinaryKind::Sub => "Sub",
            BinaryKind::Mul => "Mul",
            BinaryKind::Div => "Div",
            BinaryKind::Max => "Max",
            BinaryKind::Min => "Min",
            BinaryKind::Pow => "Pow",
            BinaryKind::SquaredDifference => "SquaredDifference",
            BinaryKind::FloorDiv => "FloorDiv",
            BinaryKind::FloorMod => "FloorMod",
            BinaryKind::Rem => "Rem",
        }
    }

    fn infer(&self, inputs: &[Operand<'_>]) -> Result<Vec<Fact>> {
        arity(inputs, 2, 2)?;
        let (a, b) = (inputs[0].fact, inputs[1].fact);
        let shape = broadcast(&a.shape, &b.shape)?;
        Ok(vec![Fact { shape, ..a.clone() }.as_real()])
    }

    fn prepare(&self, _on: &Prepare<'_>) -> Result<Option<Step>> {
        Ok(None)
    }
}
