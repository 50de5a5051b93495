//! Picks slices by index.

use super::{Operand, Operator, Prepare, arity};
use crate::builtin::graph::Fact;
use crate::builtin::step::Step;
use crate::{Error, Result};
use protocol::DType;

/// Operands: data of any type, and indices (i32 or i64; negative ones count from the end). The data's
/// dimension `axis` is replaced by the indices' dimensions. An index outside the data gives zeros.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gather {
    /// The dimension.
    pub axis: usize,
}

impl Operator for Gather {
    fn name(&self) -> &'static str {
        "Gather"
    }

    fn infer(&self, inputs: &[Operand<'_>]) -> Result<Vec<Fact>> {
        arity(inputs, 2, 2)?;
        let (x, indices) = (inputs[0].fact, inputs[1].fact);
        if self.axis >= x.shape.len() || !matches!(indices.dtype, DType::I32 | DType::I64) {
            let message = format!("{} indices along {} of shape {:?}", indices.dtype, self.axis, x.shape);
            return Err(Error::ModelInvalid(message));
        }
        let mut shape = x.shape.clone();
        shape.splice(self.axis..=self.axis, indices.shape.iter().copied());
        Ok(vec![Fact { shape, ..x.clone() }])
    }

    fn prepare(&self, _on: &Prepare<'_>) -> Result<Option<Step>> {
        Ok(None)
    }
}
