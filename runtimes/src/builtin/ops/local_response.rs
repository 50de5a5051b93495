//! Every element over a power of the squares of the channels around it.

use super::{Operand, Operator, Prepare, arity};
use crate::builtin::graph::Fact;
use crate::builtin::step::Step;
use crate::{Error, Result};
use protocol::DType;

/// Operand: f32 `[n, c, ...]`. x / (bias + alpha / size · Σ x²)^beta, the sum over `size` channels around the
/// element's own, as many as there are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LocalResponse {
    /// Channels that are summed, at least 1.
    pub size: usize,
    /// Weight of the mean of squares.
    pub alpha: f32,
    /// The power.
    pub beta: f32,
    /// What is added.
    pub bias: f32,
}

impl Operator for LocalResponse {
    fn name(&self) -> &'static str {
        "LocalResponse"
    }

    fn infer(&self, inputs: &[Operand<'_>]) -> Result<Vec<Fact>> {
        arity(inputs, 1, 1)?;
        let x = inputs[0].fact;
        if self.size == 0 || x.shape.len() < 2 {
            return Err(Error::ModelInvalid(format!("{} channels around of {:?}", self.size, x.shape)));
        }
        Ok(vec![x.clone().as_real()])
    }

    fn prepare(&self, on: &Prepare<'_>) -> Result<Option<Step>> {
        let (x, out) = (on.inputs[0].fact, &on.outputs[0]);
        if x.dtype != DType::F32 || out.dtype != DType::F32 {
            return Ok(None);
        }
        let (images, channels) = (x.shape[0], x.shape[1]);
        let area: usize = x.shape[2..].iter().product();
        let Self { size, alpha, beta, bias } = *self;
        Ok(Some(Step::map("local_response.f32", move |x: &[f32], y: &mut [f32]| {
            if x.is_empty() {
                return;
            }
            for (c, image) in (0..channels).flat_map(|c| (0..images).map(move |n| (c, n))) {
                let start = c.saturating_sub((size - 1) / 2);
                let end = c.saturating_add(size / 2).min(channels - 1);
                let plane = |c: usize| (image * channels + c) * area;
                for i in 0..area {
                    let squares: f32 = (start..=end).map(|k| x[plane(k) + i] * x[plane(k) + i]).sum();
                    let at = plane(c) + i;
                    y[at] = x[at] / (bias + alpha / size as f32 * squares).powf(beta);
                }
            }
        })))
    }

    fn work(&self, inputs: &[Operand<'_>], outputs: &[Fact]) -> u64 {
        let channels = inputs[0].fact.shape.get(1).copied().unwrap_or(1);
        (outputs[0].len() as u64).saturating_mul(self.size.min(channels) as u64 + 8)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::builtin::testing::{Given, near};

    #[test]
    fn sums_the_channels_there_are() {
        let op = LocalResponse { size: 3, alpha: 3.0, beta: 1.0, bias: 1.0 };
        let x = [Given::input(&[1, 3, 1], &[1f32, 2.0, 3.0])];
        near(op, &x, &[1.0 / 6.0, 2.0 / 15.0, 3.0 / 14.0], 1e-6);
        let even = LocalResponse { size: 2, ..op };
        near(even, &x, &[1.0 / 8.5, 2.0 / 20.5, 3.0 / 14.5], 1e-6);
    }
}
