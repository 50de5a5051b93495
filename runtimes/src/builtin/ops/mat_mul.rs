//! Product of matrices in the last two dimensions, leading dimensions broadcast.

use super::{Operand, Operator, Prepare, arity, broadcast};
use crate::builtin::graph::Fact;
use crate::builtin::step::Step;
use crate::{Error, Result};

/// Operands: `[..., m, k]` and `[..., k, n]`, or the last two dimensions swapped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MatMul {
    /// The first operand is `[..., k, m]`.
    pub transpose_a: bool,
    /// The second operand is `[..., n, k]`.
    pub transpose_b: bool,
}

impl MatMul {
    /// Leading dimensions, rows and columns as they are multiplied.
    fn split(shape: &[usize], transposed: bool) -> Option<(&[usize], [usize; 2])> {
        let (lead, last) = shape.split_at_checked(shape.len().checked_sub(2)?)?;
        Some((lead, if transposed { [last[1], last[0]] } else { [last[0], last[1]] }))
    }
}

impl Operator for MatMul {
    fn name(&self) -> &'static str {
        "MatMul"
    }

    fn infer(&self, inputs: &[Operand<'_>]) -> Result<Vec<Fact>> {
        arity(inputs, 2, 2)?;
        let (a, b) = (inputs[0].fact, inputs[1].fact);
        let sides = (Self::split(&a.shape, self.transpose_a), Self::split(&b.shape, self.transpose_b));
        match sides {
            (Some((la, [m, k])), Some((lb, [l, n]))) if k == l => {
                let mut shape = broadcast(la, lb)?;
                shape.extend([m, n]);
                Ok(vec![Fact { shape, ..a.clone() }.as_real()])
            }
            _ => Err(Error::ModelInvalid(format!("cannot multiply {:?} by {:?}", a.shape, b.shape))),
        }
    }

    fn prepare(&self, _on: &Prepare<'_>) -> Result<Option<Step>> {
        Ok(None)
    }

    fn work(&self, inputs: &[Operand<'_>], outputs: &[Fact]) -> u64 {
        let k = Self::split(&inputs[0].fact.shape, self.transpose_a).map_or(1, |(_, [_, k])| k);
        (outputs[0].len() as u64).saturating_mul(k as u64)
    }
}
