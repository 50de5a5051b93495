//! Transposed convolution of int16 pixels and int8 weights: exact 64-bit sums, rescaled as TFLite's own kernel does
//! it.

use super::product::{Bias, Weights, WordScales};
use super::transpose_conv2d::TransposeConv2d;
use super::{Prepare, conv2d::dims4};
use crate::Result;
use crate::builtin::kernels::memory::elements_mut;
use crate::builtin::limits;
use crate::builtin::step::Step;
use protocol::DType;

/// The step, when pixels are int16, weights int8 around zero and the bias of integers.
///
/// # Errors
/// An output that is too large.
pub(super) fn prepare(op: &TransposeConv2d, on: &Prepare<'_>) -> Result<Option<Step>> {
    let (x, out) = (on.inputs[0].fact, &on.outputs[0]);
    if (x.dtype, out.dtype) != (DType::I16, DType::I16) {
        return Ok(None);
    }
    let ([n, h, w, c], [oc, kh, kw, _]) = (dims4(x)?, dims4(on.inputs[1].fact)?);
    let scales = (x.per_tensor(), out.per_tensor(), Weights::of(on, 0)?, Bias::of(on)?.i64s(oc));
    let (Some((sx, 0)), Some((sy, 0)), Some(weights), Some(bias)) = scales else { return Ok(None) };
    let rescale = WordScales::new(sx, weights.scale, sy, oc, false);
    let (min, max) = op.clamp.words(sy);
    let (op, weights, [oh, ow]) = (*op, weights.values, op.output);
    let scratch = limits::bytes(&[oh, ow, oc], 8)?;
    let packed = weights.len();
    let step = Step::new("transpose_conv2d.i16", move |inputs, mut outputs, scratch| {
        let sums = elements_mut::<i64>(scratch).expect("scratch memory of whole elements");
        let (x, y) = (inputs.get::<i16>(0), outputs.get::<i16>(0));
        let image = h * w * c;
        for (x, y) in x.chunks_exact(image.max(1)).zip(y.chunks_exact_mut((oh * ow * oc).max(1))).take(n) {
            sums.chunks_exact_mut(oc.max(1)).for_each(|pixel| pixel.copy_from_slice(&bias));
            for (at, pixel) in x.chunks_exact(c.max(1)).enumerate() {
                for (tap, place) in op.places([kh, kw], [at / w, at % w]) {
                    let sums = &mut sums[place * oc..][..oc];
                    for (o, sum) in sums.iter_mut().enumerate() {
                        *sum += dot(pixel, &weights[(o * kh * kw + tap) * c..][..c]);
                    }
                }
            }
            for (i, (y, sum)) in y.iter_mut().zip(&*sums).enumerate() {
                *y = rescale.apply(*sum, i % oc).clamp(min, max) as i16;
            }
        }
    });
    Ok(Some(step.packed(packed).with_scratch(scratch)))
}

fn dot(x: &[i16], w: &[i8]) -> i64 {
    x.iter().zip(w).map(|(x, w)| i64::from(*x) * i64::from(*w)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::builtin::ops::Clamp;
    use crate::builtin::testing::{Given, exact, quantized};

    #[test]
    fn pixels_are_spread_and_added() {
        let op = TransposeConv2d {
            stride: [1, 2],
            dilation: [1, 1],
            before: [0, 0],
            output: [1, 5],
            clamp: Clamp { min: -1e9, max: 30.0 },
        };
        let operands = [
            Given::input(&[1, 1, 2, 1], &[3i16, -4]).quantized(&[0.5], &[0], 0),
            Given::constant(&[1, 1, 3, 1], &[1i8, 2, 10]).quantized(&[2.0], &[0], 0),
            Given::constant(&[1], &[5i64]),
        ];
        let got: Vec<i16> = exact(op, &operands, quantized(DType::I16, 0.5, 0));
        // sums of 3, 6, 30 - 4, -8, -40 and the bias, twice as many steps, the third one cut
        assert_eq!(got, [16, 22, 60, -6, -70]);
    }
}
