//! Samples of an image at given points.

use super::{Operand, Operator, Prepare, arity};
use crate::builtin::graph::Fact;
use crate::builtin::limits;
use crate::builtin::step::Step;
use crate::{Error, Result};
use protocol::DType;

/// What is made of the elements around a point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sampling {
    /// The nearest.
    Nearest,
    /// Linear along each dimension.
    Linear,
    /// Cubic along each dimension.
    Cubic,
}

/// What lies outside of the image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outside {
    /// Zeros.
    Zeros,
    /// The element at the border.
    Border,
    /// The image mirrored.
    Reflection,
}

/// Operands, f32: image `[n, c, ...]`, and points `[n, ..., spatial dimensions]` between −1 and 1, the last dimension of
/// the image first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GridSample {
    /// What is made of the elements around.
    pub sampling: Sampling,
    /// What lies outside.
    pub outside: Outside,
    /// −1 and 1 are the centers of the elements at the border, else their outer edges.
    pub align_corners: bool,
}

/// Most spatial dimensions: a cubic sample of three has 64 elements.
const MAX_SPATIAL: usize = 3;

impl Operator for GridSample {
    fn name(&self) -> &'static str {
        "GridSample"
    }

    fn infer(&self, inputs: &[Operand<'_>]) -> Result<Vec<Fact>> {
        arity(inputs, 2, 2)?;
        let (x, grid) = (inputs[0].fact, inputs[1].fact);
        let unfit = || Error::ModelInvalid(format!("points {:?} for image {:?}", grid.shape, x.shape));
        let (&[n, c, ref input @ ..], &[images, ref points @ .., depth]) = (&x.shape[..], &grid.shape[..]) else {
            return Err(unfit());
        };
        let spatial = input.len();
        let fits = n == images && depth == spatial && points.len() == spatial && spatial > 0;
        if !fits || spatial > MAX_SPATIAL || input.contains(&0) {
            return Err(unfit());
        }
        let shape = [&[n, c], points].concat();
        limits::elements(&shape)?;
        Ok(vec![Fact { shape, ..x.clone() }.as_real()])
    }

    fn prepare(&self, on: &Prepare<'_>) -> Result<Option<Step>> {
        if on.inputs.iter().map(|i| i.fact).chain(on.outputs).any(|f| f.dtype != DType::F32) {
            return Ok(None);
        }
        let x = &on.inputs[0].fact.shape;
        let (images, channels, dims) = (x[0], x[1], x[2..].to_vec());
        let area: usize = dims.iter().product();
        let points: usize = on.outputs[0].shape[2..].iter().product();
        let op = *self;
        Ok(Some(Step::map2("grid_sample.f32", move |x: &[f32], grid: &[f32], y: &mut [f32]| {
            if y.is_empty() {
                return;
            }
            let mut taps = Vec::new();
            for (image, point) in (0..images).flat_map(|image| (0..points).map(move |point| (image, point))) {
                let at = &grid[(image * points + point) * dims.len()..][..dims.len()];
                op.taps(&dims, at, &mut taps);
                for channel in 0..channels {
                    let plane = &x[(image * channels + channel) * area..][..area];
                    let value = taps.iter().map(|(place, weight)| plane[*place] * weight).sum();
                    y[(image * channels + channel) * points + point] = value;
                }
            }
        })))
    }

    fn work(&self, _inputs: &[Operand<'_>], outputs: &[Fact]) -> u64 {
        (outputs[0].len() as u64).saturating_mul(64)
    }
}

impl GridSample {
    /// Places and weights of the elements that make a sample.
    fn taps(&self, dims: &[usize], point: &[f32], taps: &mut Vec<(usize, f32)>) {
        taps.clear();
        taps.push((0, 1.0));
        let mut next = Vec::new();
        for (d, length) in dims.iter().enumerate() {
            let (first, weights) = self.along(*length, point[dims.len() - 1 - d]);
            next.clear();
            for (place, weight) in taps.iter() {
                for (k, own) in weights.iter().enumerate().filter(|(_, own)| **own != 0.0) {
                    if let Some(index) = self.place(first.saturating_add(k as i64), *length) {
                        next.push((place * length + index, weight * own));
                    }
                }
            }
            std::mem::swap(taps, &mut next);
        }
    }

    /// The first element of those around a point along one dimension, and their weights.
    fn along(&self, length: usize, point: f32) -> (i64, [f32; 4]) {
        let size = length as f32;
        let mut at = if self.align_corners {
            (point + 1.0) / 2.0 * (size - 1.0)
        } else {
            ((point + 1.0) * size - 1.0) / 2.0
        };
        if self.sampling == Sampling::Nearest {
            at = at.round_ties_even();
        }
        let (low, high) = self.edges(length);
        if at < low || at > high {
            at = match self.outside {
                Outside::Zeros => at,
                Outside::Border => at.clamp(0.0, size - 1.0),
                Outside::Reflection => reflected(at, low, high),
            };
        }
        let first = at.floor();
        let part = at - first;
        let first = first as i64;
        match self.sampling {
            Sampling::Nearest => (at as i64, [1.0, 0.0, 0.0, 0.0]),
            Sampling::Linear => (first, [1.0 - part, part, 0.0, 0.0]),
            Sampling::Cubic => (first.saturating_sub(1), super::resample::cubic(part, -0.75)),
        }
    }

    fn edges(&self, length: usize) -> (f32, f32) {
        let size = length as f32;
        if self.align_corners { (0.0, size - 1.0) } else { (-0.5, size - 0.5) }
    }

    /// An element's place, where there is one.
    fn place(&self, index: i64, length: usize) -> Option<usize> {
        let inside = usize::try_from(index).ok().filter(|index| *index < length);
        inside.or(match self.outside {
            Outside::Zeros => None,
            Outside::Border => Some(index.clamp(0, length as i64 - 1) as usize),
            Outside::Reflection => {
                let (low, high) = self.edges(length);
                Some((reflected(index as f32, low, high) as usize).min(length - 1))
            }
        })
    }
}

/// A point brought between two edges by mirroring it at them.
fn reflected(at: f32, low: f32, high: f32) -> f32 {
    let range = high - low;
    let distance = if at < low { low - at } else { at - high };
    if range <= 0.0 || !distance.is_finite() {
        return low.max(0.0);
    }
    let turns = (distance / range).floor();
    let rest = distance - turns * range;
    if (turns % 2.0 == 0.0) == (at < low) { low + rest } else { high - rest }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::builtin::testing::{Given, near};

    fn sample(sampling: Sampling, outside: Outside, align_corners: bool, points: &[f32], expected: &[f32]) {
        let x = [Given::input(&[1, 1, 3], &[1f32, 2.0, 4.0]), Given::input(&[1, points.len(), 1], points)];
        near(GridSample { sampling, outside, align_corners }, &x, expected, 1e-6);
    }

    #[test]
    fn between_and_outside() {
        use Outside::{Border, Reflection, Zeros};
        sample(Sampling::Linear, Zeros, true, &[-1.0, 0.5, 1.5], &[1.0, 3.0, 2.0]);
        sample(Sampling::Linear, Border, true, &[-9.0, 9.0], &[1.0, 4.0]);
        sample(Sampling::Nearest, Reflection, false, &[-1.5, 1.5], &[1.0, 4.0]);
        sample(Sampling::Nearest, Zeros, false, &[-2.0, 0.1], &[0.0, 2.0]);
        sample(Sampling::Cubic, Zeros, true, &[0.0, -1.0], &[2.0, 1.0]);
    }

    #[test]
    fn absurd_points_end_somewhere() {
        for outside in [Outside::Zeros, Outside::Border, Outside::Reflection] {
            for sampling in [Sampling::Nearest, Sampling::Linear, Sampling::Cubic] {
                let op = GridSample { sampling, outside, align_corners: true };
                let mut taps = Vec::new();
                for point in [f32::NAN, f32::INFINITY, -1e30, 3e9] {
                    op.taps(&[1, 3], &[point, point], &mut taps);
                    assert!(taps.iter().all(|(place, _)| *place < 3), "{point}");
                }
            }
        }
    }

    #[test]
    fn mirrors() {
        assert_eq!(reflected(-1.0, 0.0, 2.0), 1.0);
        assert_eq!(reflected(3.0, 0.0, 2.0), 1.0);
        assert_eq!(reflected(5.0, 0.0, 2.0), 1.0);
        assert_eq!(reflected(-3.0, 0.0, 2.0), 1.0);
        assert_eq!(reflected(f32::NEG_INFINITY, -0.5, 2.5), 0.0);
    }
}
