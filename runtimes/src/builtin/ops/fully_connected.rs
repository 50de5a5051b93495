//! Fully connected layer.

use super::conv2d::{Dynamic, check_bias};
use super::product::Product;
use super::window::Window;
use super::{Clamp, Operand, Operator, Prepare, arity};
use crate::builtin::graph::Fact;
use crate::builtin::kernels::pixels::Geometry;
use crate::builtin::step::Step;
use crate::{Error, Result};

/// Operands: input `[..., k]` (any shape whose elements are a multiple of `k`), weights `[n, k]`,
/// optionally bias `[n]`. Result `[..., n]` with `keep_dims`, else `[rows, n]`. Types as in
/// [`super::Conv2d`], weights quantised per tensor or along axis 0.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FullyConnected {
    /// Keep the input's leading dimensions.
    pub keep_dims: bool,
    /// Range of the result.
    pub clamp: Clamp,
    /// Only with f32 input and int8 weights.
    pub dynamic: Dynamic,
}

impl Operator for FullyConnected {
    fn name(&self) -> &'static str {
        "FullyConnected"
    }

    fn infer(&self, inputs: &[Operand<'_>]) -> Result<Vec<Fact>> {
        arity(inputs, 2, 3)?;
        let (x, w) = (inputs[0].fact, inputs[1].fact);
        let unfit = || Error::ModelInvalid(format!("weights {:?} for input {:?}", w.shape, x.shape));
        let [n, k]: [usize; 2] = w.shape.as_slice().try_into().map_err(|_| unfit())?;
        if k == 0 || x.len() % k != 0 || (self.keep_dims && x.shape.last() != Some(&k)) {
            return Err(unfit());
        }
        check_bias(inputs.get(2), n)?;
        let mut shape = vec![x.len() / k, n];
        if self.keep_dims {
            shape.clone_from(&x.shape);
            shape.pop();
            shape.push(n);
        }
        Ok(vec![Fact { shape, ..x.clone() }.as_real()])
    }

    fn prepare(&self, on: &Prepare<'_>) -> Result<Option<Step>> {
        let [channels, depth] = [on.inputs[1].fact.shape[0], on.inputs[1].fact.shape[1]];
        let rows = on.inputs[0].fact.len() / depth.max(1);
        let window = Window::default();
        let geometry = Geometry { input: [rows, 1, 1, depth], kernel: [1, 1], output: [1, 1], window };
        let Self { clamp, dynamic, .. } = *self;
        Product { geometry, groups: 1, channels, clamp, dynamic, fully_connected: true, tier: on.tier }.prepare(on)
    }

    fn work(&self, inputs: &[Operand<'_>], outputs: &[Fact]) -> u64 {
        (outputs[0].len() as u64).saturating_mul(inputs[1].fact.shape[1] as u64)
    }
}
