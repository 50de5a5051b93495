//! Maximum and average over windows of `[n, h, w, c]`.

use super::conv2d::dims4;
use super::window::Window;
use super::{Clamp, Operand, Operator, Prepare, arity};
use crate::Result;
use crate::builtin::graph::Fact;
use crate::builtin::step::Step;

/// Which pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PoolKind {
    /// The largest element; padding never is.
    Max,
    /// The mean of the elements inside the input.
    Average,
    /// The mean where padding counts as zeros.
    AverageWithPadding,
}

/// Operand: `[n, h, w, c]`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pool2d {
    /// Which.
    pub kind: PoolKind,
    /// Height and width of the window.
    pub kernel: [usize; 2],
    /// Geometry. Every window must touch the input.
    pub window: Window,
    /// Range of the result.
    pub clamp: Clamp,
}

impl Operator for Pool2d {
    fn name(&self) -> &'static str {
        match self.kind {
            PoolKind::Max => "MaxPool2d",
            PoolKind::Average | PoolKind::AverageWithPadding => "AveragePool2d",
        }
    }

    fn infer(&self, inputs: &[Operand<'_>]) -> Result<Vec<Fact>> {
        arity(inputs, 1, 1)?;
        let x = inputs[0].fact;
        let [n, h, w, c] = dims4(x)?;
        let [oh, ow] = self.window.output([h, w], self.kernel)?;
        Ok(vec![Fact { shape: vec![n, oh, ow, c], ..x.clone() }])
    }

    fn prepare(&self, _on: &Prepare<'_>) -> Result<Option<Step>> {
        Ok(None)
    }

    fn work(&self, _inputs: &[Operand<'_>], outputs: &[Fact]) -> u64 {
        let taps = (self.kernel[0] as u64).saturating_mul(self.kernel[1] as u64);
        (outputs[0].len() as u64).saturating_mul(taps)
    }
}
