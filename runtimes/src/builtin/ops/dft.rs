//! The discrete Fourier transform along a dimension.

use super::{Operand, Operator, Prepare, arity};
use crate::builtin::graph::Fact;
use crate::builtin::limits;
use crate::builtin::step::Step;
use crate::{Error, Result};
use protocol::DType;
use std::f64::consts::TAU;

/// Operand: f32 `[..., 1]` (real) or `[..., 2]` (real and imaginary part). Result: `[..., 2]`. Sums are of f64.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dft {
    /// The dimension, not the last.
    pub axis: usize,
    /// Points of the transform: the operand is cut, or taken to go on with zeros.
    pub length: usize,
    /// The inverse transform, over the number of points.
    pub inverse: bool,
    /// Only the first ⌊length / 2⌋ + 1 results, of which the others are mirror images when the operand is real.
    pub one_sided: bool,
}

/// Points of one transform: the work grows with their square, and every point has a sine and a cosine kept.
const MAX_LENGTH: usize = 1 << 20;

impl Operator for Dft {
    fn name(&self) -> &'static str {
        "Dft"
    }

    fn infer(&self, inputs: &[Operand<'_>]) -> Result<Vec<Fact>> {
        arity(inputs, 1, 1)?;
        let x = inputs[0].fact;
        let parts = x.shape.last().copied().unwrap_or(0);
        let fits = self.axis + 1 < x.shape.len()
            && matches!(parts, 1 | 2)
            && (1..=MAX_LENGTH).contains(&self.length);
        if !fits {
            return Err(Error::ModelInvalid(format!("{self:?} of {:?}", x.shape)));
        }
        let mut shape = x.shape.clone();
        shape[self.axis] = if self.one_sided { self.length / 2 + 1 } else { self.length };
        shape[x.shape.len() - 1] = 2;
        limits::elements(&shape)?;
        Ok(vec![Fact { shape, ..x.clone() }.as_real()])
    }

    fn prepare(&self, on: &Prepare<'_>) -> Result<Option<Step>> {
        let (x, out) = (on.inputs[0].fact, &on.outputs[0]);
        if x.dtype != DType::F32 || out.dtype != DType::F32 {
            return Ok(None);
        }
        let parts = x.shape[x.shape.len() - 1];
        let inner: usize = x.shape[self.axis + 1..x.shape.len() - 1].iter().product();
        let outer: usize = x.shape[..self.axis].iter().product();
        let (given, results) = (x.shape[self.axis], out.shape[self.axis]);
        let Self { length, inverse, .. } = *self;
        let angle = |k: usize| TAU * k as f64 / length as f64 * if inverse { 1.0 } else { -1.0 };
        let turns: Vec<(f64, f64)> = (0..length).map(|k| (angle(k).cos(), angle(k).sin())).collect();
        let scale = if inverse { 1.0 / length as f64 } else { 1.0 };
        Ok(Some(Step::map("dft.f32", move |x: &[f32], y: &mut [f32]| {
            for (o, i) in (0..outer).flat_map(|o| (0..inner).map(move |i| (o, i))) {
                for k in 0..results {
                    let (mut real, mut imaginary, mut turn) = (0.0, 0.0, 0);
                    for t in 0..given.min(length) {
                        let at = ((o * given + t) * inner + i) * parts;
                        let (cos, sin) = turns[turn];
                        let a = f64::from(x[at]);
                        let b = if parts == 2 { f64::from(x[at + 1]) } else { 0.0 };
                        real += a * cos - b * sin;
                        imaginary += a * sin + b * cos;
                        turn += k;
                        turn -= if turn >= length { length } else { 0 };
                    }
                    let at = ((o * results + k) * inner + i) * 2;
                    y[at] = (real * scale) as f32;
                    y[at + 1] = (imaginary * scale) as f32;
                }
            }
        })))
    }

    fn work(&self, inputs: &[Operand<'_>], outputs: &[Fact]) -> u64 {
        let given = inputs[0].fact.shape.get(self.axis).copied().unwrap_or(0);
        (outputs[0].len() as u64).saturating_mul(given.min(self.length) as u64 * 4)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::builtin::testing::{Given, near};

    #[test]
    fn of_an_impulse_and_back() {
        let op = Dft { axis: 0, length: 4, inverse: false, one_sided: false };
        let x = [Given::input(&[4, 1], &[0f32, 1.0, 0.0, 0.0])];
        let y = [1.0, 0.0, 0.0, -1.0, -1.0, 0.0, 0.0, 1.0];
        near(op, &x, &y, 1e-6);
        near(Dft { one_sided: true, ..op }, &x, &y[..6], 1e-6);
        let back = [0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0];
        near(Dft { inverse: true, ..op }, &[Given::input(&[4, 2], &y)], &back, 1e-6);
        near(Dft { length: 2, ..op }, &x, &[1.0, 0.0, -1.0, 0.0], 1e-6);
    }
}
