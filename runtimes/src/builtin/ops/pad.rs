//! A tensor with a border.

use super::{Operand, Operator, Prepare, arity};
use crate::builtin::graph::Fact;
use crate::builtin::step::Step;
use crate::{Error, Result};

/// What the border holds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum PadMode {
    /// This real number (quantised as the operand is; integers as they are).
    Constant(f64),
    /// The operand mirrored, without its edge.
    Reflect,
    /// The operand mirrored, with its edge.
    Symmetric,
    /// The edge again and again.
    Edge,
}

/// Operand: any type.
#[derive(Clone, Debug, PartialEq)]
pub struct Pad {
    /// Elements before and after, per dimension.
    pub pads: Vec<[usize; 2]>,
    /// What they are.
    pub mode: PadMode,
}

impl Operator for Pad {
    fn name(&self) -> &'static str {
        "Pad"
    }

    fn infer(&self, inputs: &[Operand<'_>]) -> Result<Vec<Fact>> {
        arity(inputs, 1, 1)?;
        let x = inputs[0].fact;
        let good = |(p, d): (&[usize; 2], &usize)| match self.mode {
            PadMode::Constant(_) => true,
            PadMode::Reflect => p.iter().all(|n| n < d || *n == 0),
            PadMode::Symmetric => p.iter().all(|n| n <= d),
            PadMode::Edge => *d > 0 || *p == [0, 0],
        };
        if self.pads.len() != x.shape.len() || !self.pads.iter().zip(&x.shape).all(good) {
            return Err(Error::ModelInvalid(format!("{:?} {:?} of shape {:?}", self.mode, self.pads, x.shape)));
        }
        let sum = |(p, d): (&[usize; 2], &usize)| d.saturating_add(p[0]).saturating_add(p[1]);
        Ok(vec![Fact { shape: self.pads.iter().zip(&x.shape).map(sum).collect(), ..x.clone() }])
    }

    fn prepare(&self, _on: &Prepare<'_>) -> Result<Option<Step>> {
        Ok(None)
    }
}
