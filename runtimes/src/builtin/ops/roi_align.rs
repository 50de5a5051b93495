//! Parts of an image, each scaled to one size.

use super::{Operand, Operator, Prepare, arity};
use crate::builtin::graph::Fact;
use crate::builtin::limits;
use crate::builtin::step::Step;
use crate::{Error, Result};
use protocol::DType;

/// Operands: image f32 `[n, c, h, w]`, boxes f32 `[m, 4]` (left, top, right, bottom), and the image of each box, i64
/// `[m]`. Result: `[m, c, height, width]`. A box of an image that is not there gives zeros.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RoiAlign {
    /// Height and width of the result.
    pub output: [usize; 2],
    /// Samples per output element and dimension; 0: as many as elements of the image.
    pub samples: usize,
    /// Elements of the image per unit of a box.
    pub scale: f32,
    /// Elements are areas, not points.
    pub half_pixel: bool,
    /// The largest weighted corner of any sample, else the mean of samples.
    pub largest: bool,
}

/// Samples per output element and dimension: what an image of this size could need.
const MAX_SAMPLES: usize = 1 << 12;

impl Operator for RoiAlign {
    fn name(&self) -> &'static str {
        "RoiAlign"
    }

    fn infer(&self, inputs: &[Operand<'_>]) -> Result<Vec<Fact>> {
        arity(inputs, 3, 3)?;
        let [x, boxes, of] = [inputs[0].fact, inputs[1].fact, inputs[2].fact];
        let fits = match (&x.shape[..], &boxes.shape[..], &of.shape[..]) {
            (&[_, c, h, w], &[m, 4], &[each]) if m == each && h > 0 && w > 0 => Some([m, c]),
            _ => None,
        };
        let Some([m, c]) = fits.filter(|_| of.dtype == DType::I64 && self.samples <= MAX_SAMPLES) else {
            let message = format!("boxes {:?} of images {:?} in {:?}", boxes.shape, of.shape, x.shape);
            return Err(Error::ModelInvalid(message));
        };
        let shape = vec![m, c, self.output[0], self.output[1]];
        limits::elements(&shape)?;
        Ok(vec![Fact { shape, ..x.clone() }.as_real()])
    }

    fn prepare(&self, on: &Prepare<'_>) -> Result<Option<Step>> {
        let f32s = [on.inputs[0].fact, on.inputs[1].fact, &on.outputs[0]];
        if f32s.iter().any(|f| f.dtype != DType::F32) {
            return Ok(None);
        }
        let &[images, channels, h, w] = &on.inputs[0].fact.shape[..] else { return Ok(None) };
        let op = *self;
        Ok(Some(Step::new("roi_align.f32", move |inputs, mut outputs, _| {
            let (x, boxes, of) = (inputs.get::<f32>(0), inputs.get::<f32>(1), inputs.get::<i64>(2));
            let y = outputs.get::<f32>(0);
            let size = channels * op.output[0] * op.output[1];
            for (i, y) in y.chunks_exact_mut(size.max(1)).enumerate() {
                match usize::try_from(of[i]).ok().filter(|image| *image < images) {
                    Some(image) => op.part(&x[image * channels * h * w..], [h, w], &boxes[i * 4..][..4], y),
                    None => y.fill(0.0),
                }
            }
        })))
    }

    fn work(&self, inputs: &[Operand<'_>], outputs: &[Fact]) -> u64 {
        let sides = inputs[0].fact.shape.iter().skip(2).map(|n| (*n).min(MAX_SAMPLES) as u64);
        let samples = if self.samples > 0 { (self.samples as u64).pow(2) } else { sides.product() };
        (outputs[0].len() as u64).saturating_mul(samples.saturating_mul(4))
    }
}

impl RoiAlign {
    /// The part of one image that one box covers.
    fn part(&self, x: &[f32], size: [usize; 2], corners: &[f32], y: &mut [f32]) {
        let offset = if self.half_pixel { 0.5 } else { 0.0 };
        let (mut start, mut bin, mut samples) = ([0.0; 2], [0.0; 2], [1; 2]);
        for d in 0..2 {
            // width is the second dimension and comes first in a box
            let (low, high) = (corners[1 - d] * self.scale - offset, corners[3 - d] * self.scale - offset);
            let length = if self.half_pixel { high - low } else { (high - low).max(1.0) };
            start[d] = low;
            bin[d] = length / self.output[d] as f32;
            samples[d] = if self.samples > 0 { self.samples } else { (bin[d].ceil() as usize).min(size[d].min(MAX_SAMPLES)) };
        }
        let area = size[0] * size[1];
        let count = (samples[0] * samples[1]).max(1) as f32;
        let [height, width] = self.output;
        for (at, (row, column)) in (0..height).flat_map(|r| (0..width).map(move |c| (r, c))).enumerate() {
            let place = |d: usize, cell: usize, k: usize| {
                start[d] + cell as f32 * bin[d] + (k as f32 + 0.5) * bin[d] / samples[d] as f32
            };
            for (channel, plane) in x.chunks_exact(area).take(y.len() / (height * width)).enumerate() {
                let (mut sum, mut largest) = (0.0, None::<f32>);
                for k in 0..samples[0] * samples[1] {
                    let point = [place(0, row, k / samples[1]), place(1, column, k % samples[1])];
                    let parts = corners_of(plane, size, point);
                    sum += parts.iter().sum::<f32>();
                    let most = parts.iter().fold(f32::NEG_INFINITY, |m, v| m.max(*v));
                    largest = Some(largest.map_or(most, |l| l.max(most)));
                }
                y[channel * height * width + at] =
                    if self.largest { largest.unwrap_or(0.0) } else { sum / count };
            }
        }
    }
}

/// The four elements around a point, weighted; zeros far outside.
fn corners_of(plane: &[f32], [h, w]: [usize; 2], point: [f32; 2]) -> [f32; 4] {
    let sizes = [h, w];
    let (mut low, mut high, mut part) = ([0; 2], [0; 2], [0.0; 2]);
    for d in 0..2 {
        if !(-1.0..=sizes[d] as f32).contains(&point[d]) {
            return [0.0; 4];
        }
        let at = point[d].max(0.0);
        low[d] = (at as usize).min(sizes[d] - 1);
        high[d] = (low[d] + 1).min(sizes[d] - 1);
        part[d] = if low[d] == high[d] { 0.0 } else { at - low[d] as f32 };
    }
    let at = |row: usize, column: usize| plane[row * w + column];
    let [v, u] = part;
    [
        (1.0 - v) * (1.0 - u) * at(low[0], low[1]),
        (1.0 - v) * u * at(low[0], high[1]),
        v * (1.0 - u) * at(high[0], low[1]),
        v * u * at(high[0], high[1]),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::builtin::testing::{Given, near};

    #[test]
    fn means_of_samples() {
        let x = Given::input(&[1, 1, 2, 2], &[1f32, 2.0, 3.0, 4.0]);
        let op = RoiAlign { output: [1, 1], samples: 1, scale: 1.0, half_pixel: true, largest: false };
        let operands = |boxes: &[f32], image: i64| {
            [x.clone(), Given::input(&[1, 4], boxes), Given::input(&[1], &[image])]
        };
        near(op, &operands(&[0.0, 0.0, 2.0, 2.0], 0), &[2.5], 1e-6);
        near(op, &operands(&[0.0, 0.0, 2.0, 2.0], 1), &[0.0], 1e-6);
        near(op, &operands(&[0.0, 0.0, 1.0, 1.0], 0), &[1.0], 1e-6);
        near(RoiAlign { largest: true, ..op }, &operands(&[0.0, 0.0, 2.0, 2.0], 0), &[1.0], 1e-6);
        near(RoiAlign { samples: 0, ..op }, &operands(&[f32::NAN, 0.0, 1e30, 2.0], 0), &[0.0], 1e-6);
    }
}
