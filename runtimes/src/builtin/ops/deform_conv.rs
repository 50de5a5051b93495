//! A convolution whose taps are moved by an operand.

use super::conv2d::{check_bias, dims4};
use super::window::Window;
use super::{Operand, Operator, Prepare, arity};
use crate::builtin::graph::Fact;
use crate::builtin::step::Step;
use crate::{Error, Result};
use protocol::DType;

/// Operands, f32: image `[n, c, h, w]`, weights `[oc, c / groups, kh, kw]`, offsets
/// `[n, offset groups · kh · kw · 2, oh, ow]` in elements, down and right, and if there are, bias `[oc]` and a factor of
/// every tap `[n, offset groups · kh · kw, oh, ow]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeformConv {
    /// Geometry of the taps before they are moved.
    pub window: Window,
    /// Groups of channels that do not see each other.
    pub groups: usize,
    /// Groups of channels whose taps are moved alike.
    pub offset_groups: usize,
    /// Whether there are a bias, and factors.
    pub present: [bool; 2],
}

impl Operator for DeformConv {
    fn name(&self) -> &'static str {
        "DeformConv"
    }

    fn infer(&self, inputs: &[Operand<'_>]) -> Result<Vec<Fact>> {
        let count = 3 + self.present.iter().filter(|p| **p).count();
        arity(inputs, count, count)?;
        let shapes: Vec<&[usize]> = inputs.iter().map(|i| &i.fact.shape[..]).collect();
        let unfit = || Error::ModelInvalid(format!("operands of shapes {shapes:?} for {self:?}"));
        let ([n, c, h, w], [oc, ic, kh, kw]) = (dims4(inputs[0].fact)?, dims4(inputs[1].fact)?);
        let [oh, ow] = self.window.output([h, w], [kh, kw])?;
        let taps = self.offset_groups.checked_mul(kh * kw).ok_or_else(unfit)?;
        let divides = |groups: usize, n: usize| groups > 0 && n.is_multiple_of(groups);
        let fits = ic.checked_mul(self.groups) == Some(c)
            && divides(self.groups, oc)
            && divides(self.offset_groups, c)
            && shapes[2] == [n, taps.saturating_mul(2), oh, ow]
            && (!self.present[1] || shapes.last() == Some(&&[n, taps, oh, ow][..]));
        if !fits {
            return Err(unfit());
        }
        check_bias(inputs.get(3).filter(|_| self.present[0]), oc)?;
        let shape = vec![n, oc, oh, ow];
        crate::builtin::limits::elements(&shape)?;
        Ok(vec![Fact { shape, ..inputs[0].fact.clone() }.as_real()])
    }

    fn prepare(&self, on: &Prepare<'_>) -> Result<Option<Step>> {
        if on.inputs.iter().map(|i| i.fact).chain(on.outputs).any(|f| f.dtype != DType::F32) {
            return Ok(None);
        }
        let (x, w, y) = (dims4(on.inputs[0].fact)?, dims4(on.inputs[1].fact)?, dims4(&on.outputs[0])?);
        let op = *self;
        Ok(Some(
            Step::new("deform_conv.f32", move |inputs, mut outputs, scratch| {
                let all: Vec<&[f32]> = (0..inputs.len()).map(|i| inputs.get(i)).collect();
                let samples = crate::builtin::kernels::memory::elements_mut(scratch).unwrap_or_default();
                op.run([x, w, y], &all, outputs.get(0), samples);
            })
            .with_scratch(x[1] * w[2] * w[3] * 4),
        ))
    }

    fn work(&self, inputs: &[Operand<'_>], outputs: &[Fact]) -> u64 {
        let taps: usize = inputs[1].fact.shape[1..].iter().product();
        (outputs[0].len() as u64).saturating_mul(taps as u64).saturating_mul(4)
    }
}

impl DeformConv {
    fn run(&self, [x, w, y]: [[usize; 4]; 3], all: &[&[f32]], result: &mut [f32], samples: &mut [f32]) {
        let ([images, channels, h, width], [oc, ic, kh, kw], [_, _, oh, ow]) = (x, w, y);
        let (taps, per_offset) = (kh * kw, channels / self.offset_groups);
        if result.is_empty() {
            return;
        }
        let factors = self.present[1].then(|| all[3 + usize::from(self.present[0])]);
        for (image, at) in (0..images).flat_map(|image| (0..oh * ow).map(move |at| (image, at))) {
            for (i, sample) in samples.iter_mut().enumerate() {
                let (channel, tap) = (i / taps, i % taps);
                let group = (image * self.offset_groups + channel / per_offset) * taps + tap;
                let moved = |d: usize, tap: usize, out: usize| {
                    let place = out * self.window.stride[d] + tap * self.window.dilation[d];
                    place as f32 - self.window.before[d] as f32 + all[2][(group * 2 + d) * oh * ow + at]
                };
                let point = [moved(0, tap / kw, at / ow), moved(1, tap % kw, at % ow)];
                let plane = &all[0][(image * channels + channel) * h * width..][..h * width];
                let factor = factors.map_or(1.0, |factors| factors[group * oh * ow + at]);
                *sample = linear(plane, [h, width], point) * factor;
            }
            for channel in 0..oc {
                let group = channel / (oc / self.groups);
                let seen = &samples[group * ic * taps..][..ic * taps];
                let weights = &all[1][channel * ic * taps..][..ic * taps];
                let bias = if self.present[0] { all[3][channel] } else { 0.0 };
                let sum: f32 = seen.iter().zip(weights).map(|(a, b)| a * b).sum();
                result[(image * oc + channel) * oh * ow + at] = sum + bias;
            }
        }
    }
}

/// Between the four elements around a point; what lies outside is zero.
fn linear(plane: &[f32], [h, w]: [usize; 2], [row, column]: [f32; 2]) -> f32 {
    let (top, left) = (row.floor(), column.floor());
    let (v, u) = (row - top, column - left);
    let at = |row: f32, column: f32| {
        let inside = row >= 0.0 && column >= 0.0 && row < h as f32 && column < w as f32;
        if inside { plane[row as usize * w + column as usize] } else { 0.0 }
    };
    (1.0 - v) * ((1.0 - u) * at(top, left) + u * at(top, left + 1.0))
        + v * ((1.0 - u) * at(top + 1.0, left) + u * at(top + 1.0, left + 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::builtin::testing::{Given, near};

    #[test]
    fn taps_are_moved_and_weighted() {
        let op = DeformConv { window: Window::default(), groups: 1, offset_groups: 1, present: [true, true] };
        let x = [
            Given::input(&[1, 1, 2, 2], &[1f32, 2.0, 3.0, 4.0]),
            Given::input(&[1, 1, 1, 1], &[10f32]),
            // down for all four, then right
            Given::input(&[1, 2, 2, 2], &[0f32, 0.5, 0.0, 0.0, 0.0, 0.0, 0.5, 9.0]),
            Given::input(&[1], &[1f32]),
            Given::input(&[1, 1, 2, 2], &[1f32, 1.0, 2.0, 1.0]),
        ];
        near(op, &x, &[11.0, 31.0, 71.0, 1.0], 1e-6);
    }
}
