//! Sums, means and extremes along dimensions.

use super::{Operand, Operator, Prepare, arity};
use crate::builtin::graph::Fact;
use crate::builtin::step::Step;
use crate::{Error, Result};
use protocol::DType;

/// Which reduction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReduceKind {
    /// Σ x
    Sum,
    /// Σ x / n
    Mean,
    /// the largest
    Max,
    /// the smallest
    Min,
    /// Π x
    Prod,
    /// Σ |x|
    L1,
    /// √Σ x²
    L2,
    /// Σ x²
    SumSquare,
    /// index of the first largest, i64 (one axis)
    ArgMax,
    /// index of the first smallest, i64 (one axis)
    ArgMin,
    /// all of bool
    All,
    /// any of bool
    Any,
}

/// A reduction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reduce {
    /// Which.
    pub kind: ReduceKind,
    /// Dimensions that go, in ascending order.
    pub axes: Vec<usize>,
    /// They stay with length 1.
    pub keep_dims: bool,
}

impl Operator for Reduce {
    fn name(&self) -> &'static str {
        match self.kind {
            ReduceKind::Sum => "ReduceSum",
            ReduceKind::Mean => "ReduceMean",
            ReduceKind::Max => "ReduceMax",
            ReduceKind::Min => "ReduceMin",
            ReduceKind::Prod => "ReduceProd",
            ReduceKind::L1 => "ReduceL1",
            ReduceKind::L2 => "ReduceL2",
            ReduceKind::SumSquare => "ReduceSumSquare",
            ReduceKind::ArgMax => "ArgMax",
            ReduceKind::ArgMin => "ArgMin",
            ReduceKind::All => "ReduceAll",
            ReduceKind::Any => "ReduceAny",
        }
    }

    fn infer(&self, inputs: &[Operand<'_>]) -> Result<Vec<Fact>> {
        arity(inputs, 1, 1)?;
        let x = inputs[0].fact;
        let ascending = self.axes.is_sorted_by(|a, b| a < b);
        let index = matches!(self.kind, ReduceKind::ArgMax | ReduceKind::ArgMin);
        if !ascending || self.axes.iter().any(|a| *a >= x.shape.len()) || (index && self.axes.len() != 1) {
            return Err(Error::ModelInvalid(format!("axes {:?} of shape {:?}", self.axes, x.shape)));
        }
        let mut shape = x.shape.clone();
        for &axis in self.axes.iter().rev() {
            if self.keep_dims {
                shape[axis] = 1;
            } else {
                shape.remove(axis);
            }
        }
        Ok(vec![match self.kind {
            ReduceKind::ArgMax | ReduceKind::ArgMin => Fact::new(DType::I64, &shape),
            ReduceKind::All | ReduceKind::Any => Fact::new(DType::Bool, &shape),
            ReduceKind::Max | ReduceKind::Min => Fact { shape, ..x.clone() },
            _ => Fact { shape, ..x.clone() }.as_real(),
        }])
    }

    fn prepare(&self, _on: &Prepare<'_>) -> Result<Option<Step>> {
        Ok(None)
    }
}
