//! Numbers in another element type, by value.

use super::{Operand, Operator, Prepare, arity};
use crate::Result;
use crate::builtin::graph::Fact;
use crate::builtin::step::Step;
use protocol::DType;

/// Operand: any type that is not quantised. Floats are truncated to integers (saturating), integers wrap,
/// anything but zero is true.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cast {
    /// The result's type.
    pub to: DType,
}

impl Operator for Cast {
    fn name(&self) -> &'static str {
        "Cast"
    }

    fn infer(&self, inputs: &[Operand<'_>]) -> Result<Vec<Fact>> {
        arity(inputs, 1, 1)?;
        Ok(vec![Fact::new(self.to, &inputs[0].fact.shape)])
    }

    fn prepare(&self, _on: &Prepare<'_>) -> Result<Option<Step>> {
        Ok(None)
    }
}
