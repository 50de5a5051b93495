//! Depthwise 2-D convolution over `[n, h, w, c]`, with bias and range.

use super::conv2d::{Dynamic, check_bias, dims4};
use super::depthwise::Depthwise;
use super::window::Window;
use super::{Clamp, Operand, Operator, Prepare, arity};
use crate::builtin::graph::Fact;
use crate::builtin::kernels::pixels::Geometry;
use crate::builtin::step::Step;
use crate::{Error, Result};

/// Operands: input `[n, h, w, c]`, weights `[1, kh, kw, oc]` with `oc` a multiple of `c`, optionally bias
/// `[oc]`. Output channel `o` reads input channel `o / (oc / c)`. Types as in [`super::Conv2d`], weights
/// quantised per tensor or along axis 3.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DepthwiseConv2d {
    /// Geometry.
    pub window: Window,
    /// Range of the result.
    pub clamp: Clamp,
    /// Only with f32 input and int8 weights.
    pub dynamic: Dynamic,
}

impl Operator for DepthwiseConv2d {
    fn name(&self) -> &'static str {
        "DepthwiseConv2d"
    }

    fn infer(&self, inputs: &[Operand<'_>]) -> Result<Vec<Fact>> {
        arity(inputs, 2, 3)?;
        let (x, w) = (inputs[0].fact, inputs[1].fact);
        let ([n, h, iw, c], [one, kh, kw, oc]) = (dims4(x)?, dims4(w)?);
        if one != 1 || c == 0 || oc % c != 0 {
            return Err(Error::ModelInvalid(format!("weights {:?} for input {:?}", w.shape, x.shape)));
        }
        check_bias(inputs.get(2), oc)?;
        let [oh, ow] = self.window.output([h, iw], [kh, kw])?;
        Ok(vec![Fact { shape: vec![n, oh, ow, oc], ..x.clone() }.as_real()])
    }

    fn prepare(&self, on: &Prepare<'_>) -> Result<Option<Step>> {
        let (input, [_, kh, kw, channels]) = (dims4(on.inputs[0].fact)?, dims4(on.inputs[1].fact)?);
        let [_, oh, ow, _] = dims4(&on.outputs[0])?;
        let geometry = Geometry { input, kernel: [kh, kw], output: [oh, ow], window: self.window };
        let Self { clamp, dynamic, .. } = *self;
        let tier = on.tier.for_channels(channels);
        Depthwise { geometry, channels, clamp, dynamic, tier }.prepare(on)
    }

    fn work(&self, inputs: &[Operand<'_>], outputs: &[Fact]) -> u64 {
        let taps: usize = inputs[1].fact.shape[1..3].iter().product();
        (outputs[0].len() as u64).saturating_mul(taps as u64)
    }
}
