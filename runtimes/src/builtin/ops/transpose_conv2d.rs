//! Transposed 2-D convolution over `[n, h, w, c]`.

use super::conv2d::{check_bias, dims4};
use super::product::Bias;
use super::window::MAX_ATTRIBUTE;
use super::{Clamp, Operand, Operator, Prepare, arity};
use crate::builtin::graph::Fact;
use crate::builtin::kernels::conv::{Layout, Rows, Then, conv_f32};
use crate::builtin::kernels::gemm::{PackedF32, Segments};
use crate::builtin::kernels::memory;
use crate::builtin::kernels::pixels::Walk;
use crate::builtin::kernels::threads::Threads;
use crate::builtin::limits;
use crate::builtin::step::Step;
use crate::{Error, Result};
use protocol::DType;

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
        let all = self.stride.iter().chain(&self.dilation);
        if all.clone().any(|v| *v == 0) || all.chain(&self.before).any(|v| *v > MAX_ATTRIBUTE) {
            return Err(Error::ModelInvalid(format!("{self:?}")));
        }
        Ok(vec![Fact { shape: vec![n, self.output[0], self.output[1], oc], ..x.clone() }.as_real()])
    }

    fn prepare(&self, on: &Prepare<'_>) -> Result<Option<Step>> {
        let (x, w, out) = (on.inputs[0].fact, on.inputs[1].fact, &on.outputs[0]);
        let real = |f: &Fact| f.dtype == DType::F32 && f.quant.is_none();
        let Some(weights) = on.inputs[1].constant else {
            return Err(Error::Unsupported("weights that are only known when the model runs".to_owned()));
        };
        if let Some(step) = super::quantized_transpose_conv::prepare(self, on)? {
            return Ok(Some(step));
        }
        let bias = Bias::of(on)?.reals(w.shape[0]);
        let (Some(bias), true) = (bias, [x, w, out].into_iter().all(real)) else { return Ok(None) };
        let ([n, h, width, c], [oc, kh, kw, _]) = (dims4(x)?, dims4(w)?);
        // Columns of the product are what a pixel adds to [ky][kx][oc].
        let (weights, columns) = (weights.elements::<f32>()?, kh * kw * oc);
        let turned: Vec<f32> = (0..kh * kw)
            .flat_map(|tap| (0..oc).flat_map(move |o| (0..c).map(move |k| (o * kh * kw + tap) * c + k)))
            .map(|at| weights[at])
            .collect();
        let bytes = limits::bytes(&[PackedF32::elements(on.tier, columns, c)], size_of::<f32>())?;
        let packed = PackedF32::new(on.tier, &turned, None, columns, c)?;
        let walk = Walk { counts: [1, 1, width], strides: [0, 0, c] };
        let line = Layout {
            segments: Segments { offsets: vec![0], length: c },
            input_offset: 0,
            output_offset: 0,
            stride: columns,
        };
        let scatter = Scatter { op: *self, line: [h, width], kernel: [kh, kw], channels: oc };
        let (tier, clamp, image) = (on.tier, self.clamp, h * width * c);
        let threads = Threads::one();
        let step = Step::new("transpose_conv2d.f32", move |inputs, mut outputs, scratch| {
            let sums = memory::elements_mut::<f32>(scratch).expect("scratch memory of whole elements");
            let (x, y) = (inputs.get::<f32>(0), outputs.get::<f32>(0));
            y.chunks_exact_mut(oc.max(1)).for_each(|pixel| pixel.copy_from_slice(&bias));
            let size = y.len() / n.max(1);
            for at in 0..n * h {
                let x = &x[at / h * image + at % h * width * c..][..width * c];
                let rows = Rows { tier, threads: &threads, walk: &walk };
                conv_f32(rows, &line, packed.view(), Then::NOTHING, x, sums);
                scatter.add(at % h, sums, &mut y[at / h * size..][..size]);
            }
            if !clamp.is_none() {
                y.iter_mut().for_each(|y| *y = clamp.apply(*y));
            }
        });
        Ok(Some(step.packed(bytes).with_scratch(limits::bytes(&[width, columns], 4)?)))
    }

    fn work(&self, inputs: &[Operand<'_>], _outputs: &[Fact]) -> u64 {
        let (x, w) = (inputs[0].fact, inputs[1].fact);
        (x.len() as u64).saturating_mul((w.len() / w.shape[3].max(1)) as u64)
    }
}

impl TransposeConv2d {
    /// Every tap of an input pixel that adds to the output: its number, and the number of the output pixel.
    pub(super) fn places(
        &self,
        [kh, kw]: [usize; 2],
        [row, column]: [usize; 2],
    ) -> impl Iterator<Item = (usize, usize)> + use<> {
        let Self { stride, dilation, before, output, .. } = *self;
        let place = move |d: usize, at: usize, tap: usize| {
            (at * stride[d] + tap * dilation[d]).checked_sub(before[d]).filter(|p| *p < output[d])
        };
        (0..kh * kw).filter_map(move |tap| {
            let (y, x) = (place(0, row, tap / kw)?, place(1, column, tap % kw)?);
            Some((tap, y * output[1] + x))
        })
    }
}

/// Adds what the pixels of a line contribute to the output.
struct Scatter {
    op: TransposeConv2d,
    /// Height and width of the input.
    line: [usize; 2],
    kernel: [usize; 2],
    channels: usize,
}

impl Scatter {
    /// `sums[column of the line][ky][kx][oc]` of line `row`, added to one image.
    fn add(&self, row: usize, sums: &[f32], y: &mut [f32]) {
        let [kh, kw] = self.kernel;
        let [oh, ow] = self.op.output;
        let TransposeConv2d { stride, dilation, before, .. } = self.op;
        let place = |d: usize, at: usize, tap: usize, limit: usize| {
            (at * stride[d] + tap * dilation[d]).checked_sub(before[d]).filter(|p| *p < limit)
        };
        for ky in 0..kh {
            let Some(line) = place(0, row, ky, oh) else { continue };
            for at in 0..self.line[1] {
                for kx in 0..kw {
                    let Some(column) = place(1, at, kx, ow) else { continue };
                    let from = &sums[((at * kh + ky) * kw + kx) * self.channels..][..self.channels];
                    let to = &mut y[(line * ow + column) * self.channels..][..self.channels];
                    to.iter_mut().zip(from).for_each(|(y, s)| *y += s);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::builtin::testing::{Given, Numbers, near};

    #[test]
    fn every_input_pixel_adds_its_kernel() {
        for seed in 0..40 {
            let mut n = Numbers::new(seed);
            let [b, h, w, c] = [n.size(1, 2), n.size(1, 5), n.size(1, 5), n.size(1, 9)];
            let [oc, kh, kw] = [n.size(1, 20), n.size(1, 4), n.size(1, 3)];
            let op = TransposeConv2d {
                stride: [n.size(1, 3), n.size(1, 2)],
                dilation: [n.size(1, 2), 1],
                before: [n.size(0, 2), n.size(0, 1)],
                output: [n.size(1, 12), n.size(1, 10)],
                clamp: Clamp { min: -1.0, max: 2.0 },
            };
            let (x, weights, bias) = (n.f32s(b * h * w * c), n.f32s(oc * kh * kw * c), n.f32s(oc));
            let [oh, ow] = op.output;
            let mut expected: Vec<f64> = (0..b * oh * ow * oc).map(|i| f64::from(bias[i % oc])).collect();
            for (i, v) in x.iter().enumerate() {
                let (k, ix, iy, image) = (i % c, i / c % w, i / c / w % h, i / c / w / h);
                for (j, weight) in weights.iter().enumerate().filter(|(j, _)| j % c == k) {
                    let (kx, ky, o) = (j / c % kw, j / c / kw % kh, j / c / kw / kh);
                    let y = (iy * op.stride[0] + ky * op.dilation[0]).wrapping_sub(op.before[0]);
                    let xx = (ix * op.stride[1] + kx * op.dilation[1]).wrapping_sub(op.before[1]);
                    if y < oh && xx < ow {
                        expected[((image * oh + y) * ow + xx) * oc + o] += f64::from(*v) * f64::from(*weight);
                    }
                }
            }
            let expected: Vec<f32> = expected.iter().map(|v| op.clamp.apply(*v as f32)).collect();
            let operands = [
                Given::input(&[b, h, w, c], &x),
                Given::constant(&[oc, kh, kw, c], &weights),
                Given::constant(&[oc], &bias),
            ];
            near(op, &operands, &expected, 1e-5);
        }
    }
}
