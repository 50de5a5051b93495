//! Leaky ReLU with slopes from an operand.

use super::{Operand, Operator, Prepare, arity, broadcast};
use crate::builtin::graph::Fact;
use crate::builtin::kernels::nest::{Nest, SharedNest, map2};
use crate::builtin::step::Step;
use crate::{Error, Result};
use protocol::DType;

/// Operands: x, and slopes that broadcast to it. Result: x where positive, else slope · x.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Prelu;

impl Operator for Prelu {
    fn name(&self) -> &'static str {
        "PRelu"
    }

    fn infer(&self, inputs: &[Operand<'_>]) -> Result<Vec<Fact>> {
        arity(inputs, 2, 2)?;
        let (x, slope) = (inputs[0].fact, inputs[1].fact);
        if broadcast(&x.shape, &slope.shape)? != x.shape {
            return Err(Error::ModelInvalid(format!("slopes {:?} for shape {:?}", slope.shape, x.shape)));
        }
        Ok(vec![x.clone().as_real()])
    }

    fn prepare(&self, on: &Prepare<'_>) -> Result<Option<Step>> {
        let (x, slope, out) = (on.inputs[0].fact, on.inputs[1].fact, &on.outputs[0]);
        if [x, slope, out].iter().any(|f| f.dtype != DType::F32) {
            return Ok(None);
        }
        let nest = Nest::broadcast(&out.shape, [&x.shape, &slope.shape]);
        let nest = SharedNest::new(nest, out.len(), on.threads);
        let tier = on.tier;
        Ok(Some(Step::map2("prelu.f32", move |x: &[f32], slope: &[f32], y: &mut [f32]| {
            map2(tier, &nest, (x, slope), y, |x, s| if x < 0.0 { x * s } else { x });
        })))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::builtin::testing::{Given, near};

    #[test]
    fn slopes_are_broadcast() {
        let x = Given::input(&[2, 2], &[1f32, -1.0, -2.0, 4.0]);
        near(Prelu, &[x.clone(), Given::constant(&[2], &[0.5f32, 0.25])], &[1.0, -0.25, -1.0, 4.0], 0.0);
        near(Prelu, &[x, Given::constant(&[1], &[0.1f32])], &[1.0, -0.1, -0.2, 4.0], 1e-7);
    }
}
