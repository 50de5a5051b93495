//! The same elements in another shape.

use super::{Operand, Operator, Prepare, arity};
use crate::builtin::graph::Fact;
use crate::builtin::limits;
use crate::builtin::step::Step;
use crate::{Error, Result};

/// Operand: any; the elements keep their order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reshape {
    /// The new dimensions, all known.
    pub shape: Vec<usize>,
}

impl Operator for Reshape {
    fn name(&self) -> &'static str {
        "Reshape"
    }

    fn infer(&self, inputs: &[Operand<'_>]) -> Result<Vec<Fact>> {
        arity(inputs, 1, 1)?;
        let x = inputs[0].fact;
        if limits::elements(&self.shape)? != x.len() {
            return Err(Error::ModelInvalid(format!("cannot reshape {:?} to {:?}", x.shape, self.shape)));
        }
        if x.quant.as_deref().is_some_and(|q| q.scale.len() > 1) {
            return Err(Error::Unsupported("reshape of a tensor quantised per channel".to_owned()));
        }
        Ok(vec![Fact { shape: self.shape.clone(), ..x.clone() }])
    }

    fn prepare(&self, on: &Prepare<'_>) -> Result<Option<Step>> {
        Ok((on.inputs[0].fact.as_output() == on.outputs[0].as_output()).then(|| Step::alias("reshape")))
    }
}
