//! Functions of one number, element by element.

use super::{Operand, Operator, Prepare, arity};
use crate::Result;
use crate::builtin::graph::Fact;
use crate::builtin::step::Step;

/// Which function.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum UnaryKind {
    Abs,
    Neg,
    Exp,
    Log,
    Sqrt,
    /// 1 / √x
    Rsqrt,
    Square,
    /// 1 / x
    Reciprocal,
    Sin,
    Cos,
    Tanh,
    /// 1 / (1 + e⁻ˣ)
    Logistic,
    /// x · min(max(x + 3, 0), 6) / 6
    HardSwish,
    /// min(max(alpha · x + beta, 0), 1)
    HardSigmoid {
        alpha: f32,
        beta: f32,
    },
    /// x where positive, else slope · x
    LeakyRelu {
        slope: f32,
    },
    /// x where positive, else alpha · (eˣ − 1)
    Elu {
        alpha: f32,
    },
    /// x / 2 · (1 + erf(x / √2))
    Gelu,
    /// The same with the tanh approximation.
    GeluTanh,
    /// x / (1 + e⁻ˣ)
    Silu,
    /// ln(1 + eˣ)
    Softplus,
    /// x / (1 + |x|)
    Softsign,
    Erf,
    Floor,
    Ceil,
    /// To the nearest, ties to even.
    Round,
    /// −1, 0 or 1
    Sign,
    /// of bool
    Not,
}

/// A function of one number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Unary {
    /// Which.
    pub kind: UnaryKind,
}

impl Operator for Unary {
    fn name(&self) -> &'static str {
        match self.kind {
            UnaryKind::Abs => "Abs",
            UnaryKind::Neg => "Neg",
            UnaryKind::Exp => "Exp",
            UnaryKind::Log => "Log",
            UnaryKind::Sqrt => "Sqrt",
            UnaryKind::Rsqrt => "Rsqrt",
            UnaryKind::Square => "Square",
            UnaryKind::Reciprocal => "Reciprocal",
            UnaryKind::Sin => "Sin",
            UnaryKind::Cos => "Cos",
            UnaryKind::Tanh => "Tanh",
            UnaryKind::Logistic => "Logistic",
            UnaryKind::HardSwish => "HardSwish",
            UnaryKind::HardSigmoid { .. } => "HardSigmoid",
            UnaryKind::LeakyRelu { .. } => "LeakyRelu",
            UnaryKind::Elu { .. } => "Elu",
            UnaryKind::Gelu | UnaryKind::GeluTanh => "Gelu",
            UnaryKind::Silu => "Silu",
            UnaryKind::Softplus => "Softplus",
            UnaryKind::Softsign => "Softsign",
            UnaryKind::Erf => "Erf",
            UnaryKind::Floor => "Floor",
            UnaryKind::Ceil => "Ceil",
            UnaryKind::Round => "Round",
            UnaryKind::Sign => "Sign",
            UnaryKind::Not => "Not",
        }
    }

    fn infer(&self, inputs: &[Operand<'_>]) -> Result<Vec<Fact>> {
        arity(inputs, 1, 1)?;
        Ok(vec![inputs[0].fact.clone().as_real()])
    }

    fn prepare(&self, _on: &Prepare<'_>) -> Result<Option<Step>> {
        Ok(None)
    }
}
