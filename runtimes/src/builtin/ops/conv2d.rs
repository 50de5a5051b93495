//! 2-D convolution over `[n, h, w, c]`, grouped or not, with bias and range.

use super::product::Product;
use super::window::Window;
use super::{Clamp, Operand, Operator, Prepare, arity};
use crate::builtin::graph::Fact;
use crate::builtin::kernels::pixels::Geometry;
use crate::builtin::step::Step;
use crate::{Error, Result};

/// How f32 activations are quantised at run time when the weights are int8 and the result is f32.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Dynamic {
    /// Int8 with a scale and zero point per image of the batch (convolution) or row (fully connected):
    /// LiteRT with XNNPACK.
    #[default]
    PerRow,
    /// u8 with one scale and zero point for the whole tensor: ONNX's `DynamicQuantizeLinear`.
    PerTensorU8,
}

/// Operands: input `[n, h, w, c]`, weights `[oc, kh, kw, c / groups]`, optionally bias `[oc]`.
///
/// Quantised weights are symmetric int8, per tensor or per `oc` (axis 0); the bias of a quantised
/// convolution is i32 with scale input · weight and zero point 0 (i64 or i32 for int16 input). f32 input
/// with int8 weights and f32 result is dynamic quantisation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Conv2d {
    /// Geometry.
    pub window: Window,
    /// Groups of channels that do not see each other.
    pub groups: usize,
    /// Range of the result.
    pub clamp: Clamp,
    /// Only with f32 input and int8 weights.
    pub dynamic: Dynamic,
}

impl Operator for Conv2d {
    fn name(&self) -> &'static str {
        "Conv2d"
    }

    fn infer(&self, inputs: &[Operand<'_>]) -> Result<Vec<Fact>> {
        arity(inputs, 2, 3)?;
        let (x, w) = (inputs[0].fact, inputs[1].fact);
        let ([n, h, iw, c], [oc, kh, kw, ic]) = (dims4(x)?, dims4(w)?);
        if self.groups == 0 || ic.checked_mul(self.groups) != Some(c) || oc % self.groups != 0 {
            let message = format!("weights {:?} for input {:?} in {} groups", w.shape, x.shape, self.groups);
            return Err(Error::ModelInvalid(message));
        }
        check_bias(inputs.get(2), oc)?;
        let [oh, ow] = self.window.output([h, iw], [kh, kw])?;
        Ok(vec![Fact { shape: vec![n, oh, ow, oc], ..x.clone() }.as_real()])
    }

    fn prepare(&self, on: &Prepare<'_>) -> Result<Option<Step>> {
        let (input, [channels, kh, kw, _]) = (dims4(on.inputs[0].fact)?, dims4(on.inputs[1].fact)?);
        let [_, oh, ow, _] = dims4(&on.outputs[0])?;
        let geometry = Geometry { input, kernel: [kh, kw], output: [oh, ow], window: self.window };
        let Self { groups, clamp, dynamic, .. } = *self;
        Product { geometry, groups, channels, clamp, dynamic, fully_connected: false, tier: on.tier }.prepare(on)
    }

    fn work(&self, inputs: &[Operand<'_>], outputs: &[Fact]) -> u64 {
        let taps: usize = inputs[1].fact.shape[1..].iter().product();
        (outputs[0].len() as u64).saturating_mul(taps as u64)
    }
}

/// The dimensions of a tensor of rank 4.
///
/// # Errors
/// Another rank.
pub(crate) fn dims4(fact: &Fact) -> Result<[usize; 4]> {
    let shape = || Error::ModelInvalid(format!("4 dimensions are needed, not {:?}", fact.shape));
    fact.shape.as_slice().try_into().map_err(|_| shape())
}

/// Checks that a bias, when there is one, has an element per output channel.
///
/// # Errors
/// Another number.
pub(crate) fn check_bias(bias: Option<&Operand<'_>>, channels: usize) -> Result<()> {
    match bias {
        Some(b) if b.fact.len() != channels => {
            Err(Error::ModelInvalid(format!("a bias of shape {:?} for {channels} channels", b.fact.shape)))
        }
        _ => Ok(()),
    }
}
