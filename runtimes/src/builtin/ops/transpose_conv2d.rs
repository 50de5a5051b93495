//! Transposed 2-D convolution over `[n, h, w, c]`.

use super::conv2d::{check_bias, dims4};
use super::{Clamp, Operand, Operator, Prepare, arity};
use crate::builtin::graph::Fact;
use crate::builtin::step::Step;
use crate::{Error, Result};

/// Operands: input `[n, h, w, c]`, weights `[oc, kh, kw, c]`, optionally bias `[oc]`. Input pixel `(y, x)`
/// adds to output rows `y · stride − before + ky · dilation`, and so for columns; what falls outside
/// `output` is dropped.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TransposeConv2d {
    /// Step between input pixels in the output, `[height, width]`.
    pub stride: [usize; 2],
    /// Distance between kernel taps.
    pub dilation: [usize; 2],
    /// Rows and columns cut off before.
    pub before: [usize; 2],
    /// Height and width of the output.
    pub output: [usize; 2],
    /// Range of the result.
    pub clamp: Clamp,
}

impl Operator for TransposeConv2d {
    fn name(&self) -> &'static str {
        "TransposeConv2d"
    }

    fn infer(&self, inputs: &[Operand<'_>]) -> Result<Vec<Fact>> {
        arity(inputs, 2, 3)?;
        let (x, w) = (inputs[0].fact, inputs[1].fact);
        let ([n, .., c], [oc, .., ic]) = (dims4(x)?, dims4(w)?);
        if ic != c {
            return Err(Error::ModelInvalid(format!("weights {:?} for input {:?}", w.shape, x.shape)));
        }
        check_bias(inputs.get(2), oc)?;
        Ok(vec![Fact { shape: vec![n, self.output[0], self.output[1], oc], ..x.clone() }.as_real()])
    }

    fn prepare(&self, _on: &Prepare<'_>) -> Result<Option<Step>> {
        Ok(None)
    }

    fn work(&self, inputs: &[Operand<'_>], _outputs: &[Fact]) -> u64 {
        let (x, w) = (inputs[0].fact, inputs[1].fact);
        (x.len() as u64).saturating_mul((w.len() / w.shape[3].max(1)) as u64)
    }
}
