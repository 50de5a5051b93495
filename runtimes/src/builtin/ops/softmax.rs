//! Softmax along the last dimension.

use super::{Operand, quantized_softmax, Operator, Prepare, arity};
use crate::builtin::graph::Fact;
use crate::builtin::kernels::math::exp;
use crate::builtin::kernels::nest::on_tier;
use crate::builtin::kernels::threads::Shares;
use crate::builtin::step::Step;
use crate::{Error, Result};
use protocol::DType;

/// Operand: at least one dimension. Result: exp(β x) over the sum of its row, or its logarithm.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Softmax {
    /// Factor on the operand.
    pub beta: f32,
    /// The logarithm of it.
    pub log: bool,
}

impl Operator for Softmax {
    fn name(&self) -> &'static str {
        if self.log { "LogSoftmax" } else { "Softmax" }
    }

    fn infer(&self, inputs: &[Operand<'_>]) -> Result<Vec<Fact>> {
        arity(inputs, 1, 1)?;
        let x = inputs[0].fact;
        if x.shape.is_empty() {
            return Err(Error::ModelInvalid("softmax of a scalar".to_owned()));
        }
        Ok(vec![x.clone().as_real()])
    }

    fn prepare(&self, on: &Prepare<'_>) -> Result<Option<Step>> {
        let (x, out) = (on.inputs[0].fact, &on.outputs[0]);
        if x.quant.is_some() || out.quant.is_some() {
            return Ok(quantized_softmax::prepare(*self, x, out, on.dialect));
        }
        if x.dtype != DType::F32 || out.dtype != DType::F32 {
            return Ok(None);
        }
        let columns = out.shape.last().copied().unwrap_or(1).max(1);
        let shares = Shares::new(on.threads, out.len() / columns, columns.saturating_mul(EXPONENTIAL));
        let (op, tier) = (*self, on.tier);
        Ok(Some(Step::map("softmax.f32", move |x: &[f32], y: &mut [f32]| {
            shares.run(y, &|rows, y| {
                let x = x[rows.start * columns..rows.end * columns].chunks_exact(columns);
                on_tier(tier, || x.zip(y.chunks_exact_mut(columns)).for_each(|(x, y)| op.row(x, y)));
            });
        })))
    }
}

/// Elementary operations of an exponential.
const EXPONENTIAL: usize = 8;

impl Softmax {
    #[inline(always)]
    fn row(self, x: &[f32], y: &mut [f32]) {
        let top = x.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let scaled = |x: f32| (x - top) * self.beta;
        x.iter().zip(&mut *y).for_each(|(x, y)| *y = exp(scaled(*x)));
        let sum: f32 = y.iter().sum();
        if self.log {
            let shift = sum.ln();
            x.iter().zip(y).for_each(|(x, y)| *y = scaled(*x) - shift);
        } else {
            y.iter_mut().for_each(|y| *y /= sum);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::builtin::testing::{Given, near};

    #[test]
    fn rows_sum_to_one() {
        let x = [Given::input(&[2, 2], &[0f32, 0.0, 1000.0, 999.0])];
        let p = 1.0 / (1.0 + (-1f32).exp());
        near(Softmax { beta: 1.0, log: false }, &x, &[0.5, 0.5, p, 1.0 - p], 1e-6);
        let log = [0.5f32.ln(), 0.5f32.ln(), p.ln(), (1.0 - p).ln()];
        near(Softmax { beta: 1.0, log: true }, &x, &log, 1e-6);
        let sharp = 1.0 / (1.0 + (-2f32).exp());
        near(Softmax { beta: 2.0, log: false }, &x, &[0.5, 0.5, sharp, 1.0 - sharp], 1e-6);
    }
}
