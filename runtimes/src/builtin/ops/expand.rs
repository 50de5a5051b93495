//! Repeats dimensions of length 1.

use super::{Operand, Operator, Prepare, arity, broadcast};
use crate::builtin::graph::Fact;
use crate::builtin::kernels::nest::{Nest, broadcast_strides};
use crate::builtin::step::Step;
use crate::{Error, Result};

/// Operand: any type. The result is the operand broadcast with `shape`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expand {
    /// What to broadcast with.
    pub shape: Vec<usize>,
}

impl Operator for Expand {
    fn name(&self) -> &'static str {
        "Expand"
    }

    fn infer(&self, inputs: &[Operand<'_>]) -> Result<Vec<Fact>> {
        arity(inputs, 1, 1)?;
        let x = inputs[0].fact;
        if x.quant.as_deref().is_some_and(|q| q.scale.len() > 1) {
            return Err(Error::Unsupported("expansion of a tensor quantised per channel".to_owned()));
        }
        Ok(vec![Fact { shape: broadcast(&x.shape, &self.shape)?, ..x.clone() }])
    }

    fn prepare(&self, on: &Prepare<'_>) -> Result<Option<Step>> {
        let strides = broadcast_strides(&on.outputs[0].shape, &on.inputs[0].fact.shape);
        let strides: Vec<[isize; 1]> = strides.into_iter().map(|s| [s]).collect();
        Ok(super::mover("expand", on, Nest::new(&on.outputs[0].shape, &strides, [0])))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::builtin::testing::{Given, on_all_tiers};

    #[test]
    fn repeats_dimensions() {
        let x = [Given::input(&[2, 1], &[1i16, 2])];
        let got = &on_all_tiers::<i16>(Expand { shape: vec![2, 2, 3] }, &x, None)[0].1;
        assert_eq!(*got, [1, 1, 1, 2, 2, 2, 1, 1, 1, 2, 2, 2]);
    }
}
