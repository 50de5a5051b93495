//! Arithmetic of two quantised operands: XNNPACK's fixed point for 8 bits, TFLite's for 16, ONNX Runtime's
//! f32 for its graphs.

use super::binary::{Binary, BinaryKind};
use super::{Dialect, Prepare};
use crate::builtin::kernels::Tier;
use crate::builtin::kernels::nest::{Nest, SharedNest, map2};
use crate::builtin::kernels::quant::{Quantized, Requant};
use crate::builtin::kernels::wide::Multiplier;
use crate::builtin::step::Step;
use protocol::DType;

/// The step, when all three are quantised per tensor in the same type and there is a kernel.
pub(crate) fn prepare(op: Binary, on: &Prepare<'_>, nest: Nest<2>) -> Option<Step> {
    let out = &on.outputs[0];
    let all = Scales {
        a: on.inputs[0].fact.per_tensor()?,
        b: on.inputs[1].fact.per_tensor()?,
        y: out.per_tensor()?,
    };
    let nest = SharedNest::new(nest, out.len(), on.threads);
    match (out.dtype, on.dialect) {
        (DType::I8, Dialect::Tflite) => bytes::<i8>(op, all, nest, on.tier),
        (DType::U8, Dialect::Tflite) => bytes::<u8>(op, all, nest, on.tier),
        (DType::I8, Dialect::Onnx) => reals::<i8>(op, all, nest, on.tier),
        (DType::U8, Dialect::Onnx) => reals::<u8>(op, all, nest, on.tier),
        (DType::I16, Dialect::Tflite) => words(op, all, nest),
        _ => None,
    }
}

/// Scale and zero point of both operands and the result.
#[derive(Clone, Copy, Debug)]
struct Scales {
    a: (f32, i32),
    b: (f32, i32),
    y: (f32, i32),
}

fn step<T: Quantized>(
    label: &'static str,
    nest: SharedNest<2>,
    tier: Tier,
    f: impl Fn(i32, i32) -> i32 + Copy + Send + Sync + 'static,
) -> Option<Step> {
    Some(Step::map2(label, move |a: &[T], b: &[T], y: &mut [T]| {
        map2(tier, &nest, (a, b), y, move |a: T, b: T| T::narrow(f(a.wide(), b.wide())));
    }))
}

fn bytes<T: Quantized>(op: Binary, s: Scales, nest: SharedNest<2>, tier: Tier) -> Option<Step> {
    let ((a, za), (b, zb), (y, zy)) = (s.a, s.b, s.y);
    let (min, max) = op.clamp.quantized::<T>(y, zy);
    match op.kind {
        BinaryKind::Add | BinaryKind::Sub => {
            let sum = FixedSum::new(s, op.kind == BinaryKind::Sub)?;
            step::<T>("add.i8", nest, tier, move |a, b| sum.apply(a, b).max(min).min(max))
        }
        BinaryKind::Mul => {
            let (scale, requant) = (a * b / y, Requant::new(min, max, zy));
            step::<T>("mul.i8", nest, tier, move |a, b| requant.apply(((a - za) * (b - zb)) as f32 * scale))
        }
        BinaryKind::SquaredDifference if T::MIN < 0 => {
            let square = Square::new(s);
            step::<T>("squared_difference.i8", nest, tier, move |a, b| square.apply(a, b).max(min).min(max))
        }
        BinaryKind::Max | BinaryKind::Min if s.a == s.b && s.a == s.y => {
            let largest = op.kind == BinaryKind::Max;
            let pick = move |a: i32, b: i32| if largest { a.max(b) } else { a.min(b) };
            step::<T>("extreme.i8", nest, tier, move |a, b| pick(a, b).max(min).min(max))
        }
        _ => None,
    }
}

/// A weighted sum in fixed point, as XNNPACK does it: multipliers of 20 or 21 bits, one rounding.
#[derive(Clone, Copy, Debug)]
struct FixedSum {
    a: i32,
    b: i32,
    bias: i32,
    shift: u32,
    zero: i32,
}

impl FixedSum {
    fn new(s: Scales, subtract: bool) -> Option<Self> {
        let (ratio_a, ratio_b) = (s.a.0 / s.y.0, s.b.0 / s.y.0);
        // XNNPACK refuses others, and LiteRT then computes in another way.
        let good = (1.0 / 1024.0)..256.0;
        if !good.contains(&ratio_a) || !good.contains(&ratio_b) {
            return None;
        }
        let exponent = ((ratio_a.max(ratio_b).to_bits() >> 23) as i32) - 127;
        let shift = (20 - exponent) as u32;
        let fixed = |ratio: f32| (f64::from(ratio) * 2f64.powi(shift as i32)).round_ties_even() as i32;
        let (a, b) = (fixed(ratio_a), if subtract { -fixed(ratio_b) } else { fixed(ratio_b) });
        let bias = (1 << (shift - 1)) - a * s.a.1 - b * s.b.1;
        Some(Self { a, b, bias, shift, zero: s.y.1 })
    }

    #[inline(always)]
    fn apply(self, a: i32, b: i32) -> i32 {
        let sum = self.bias.wrapping_add(a.wrapping_mul(self.a)).wrapping_add(b.wrapping_mul(self.b));
        (sum >> self.shift) + self.zero
    }
}

/// The square of a difference as TFLite's own kernel takes it: both operands in steps of a 128th of the larger
/// scale, doubled.
#[derive(Clone, Copy, Debug)]
struct Square {
    a: (Multiplier, i32),
    b: (Multiplier, i32),
    y: (Multiplier, i32),
}

impl Square {
    fn new(s: Scales) -> Self {
        let [a, b, y] = [s.a.0, s.b.0, s.y.0].map(f64::from);
        let largest = 2.0 * a.max(b);
        Self {
            a: (Multiplier::new(a / largest), s.a.1),
            b: (Multiplier::new(b / largest), s.b.1),
            y: (Multiplier::new(largest * largest / (f64::from(1 << 14) * y)), s.y.1),
        }
    }

    fn apply(self, a: i32, b: i32) -> i32 {
        let fine = |(multiplier, zero): (Multiplier, i32), q: i32| multiplier.twice_rounded((q - zero) << 7);
        let difference = fine(self.a, a) - fine(self.b, b);
        self.y.0.twice_rounded(difference.wrapping_mul(difference)).saturating_add(self.y.1)
    }
}

fn reals<T: Quantized>(op: Binary, s: Scales, nest: SharedNest<2>, tier: Tier) -> Option<Step> {
    let ((a, za), (b, zb), (y, zy)) = (s.a, s.b, s.y);
    let (min, max) = op.clamp.quantized::<T>(y, zy);
    let requant = Requant::new(min, max, zy);
    let (ra, rb, product) = (a / y, b / y, a * b / y);
    match op.kind {
        BinaryKind::Add => {
            // The zero points are one summand, and every product is rounded together with its sum.
            let fixed = zy as f32 - (ra * za as f32 + rb * zb as f32);
            let requant = Requant::new(min, max, 0);
            let fused = |x: i32, y: f32, z: f32| (f64::from(x) * f64::from(y) + f64::from(z)) as f32;
            step::<T>("add.i8", nest, tier, move |a, b| requant.apply(fused(a, ra, fused(b, rb, fixed))))
        }
        BinaryKind::Mul => {
            step::<T>("mul.i8", nest, tier, move |a, b| requant.apply(((a - za) * (b - zb)) as f32 * product))
        }
        _ => None,
    }
}

fn words(op: Binary, s: Scales, nest: SharedNest<2>) -> Option<Step> {
    let ((a, 0), (b, 0), (y, 0)) = (s.a, s.b, s.y) else { return None };
    let largest = 2.0 * f64::from(a.max(b));
    let (ma, mb) = (Multiplier::new(f64::from(a) / largest), Multiplier::new(f64::from(b) / largest));
    let my = Multiplier::new(largest / (f64::from(1 << 15) * f64::from(y)));
    let (min, max) = op.clamp.words(y);
    if op.kind == BinaryKind::Mul {
        let multiplier = Multiplier::new(f64::from(a * b / y));
        return step::<i16>("mul.i16", nest, Tier::Portable, move |a, b| {
            multiplier.twice_rounded(a * b).clamp(min, max)
        });
    }
    let sign = match op.kind {
        BinaryKind::Add => 1,
        BinaryKind::Sub => -1,
        _ => return None,
    };
    step::<i16>("add.i16", nest, Tier::Portable, move |a, b| {
        let sum = ma.once_rounded(a << 15) + sign * mb.once_rounded(b << 15);
        my.twice_rounded(sum).clamp(min, max)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::builtin::ops::Clamp;
    use crate::builtin::testing::{Given, Numbers, exact, quantized};

    #[test]
    fn sums_are_the_nearest_almost_everywhere() {
        let mut n = Numbers::new(3);
        for _ in 0..50 {
            let (sa, sb, sy) =
                (n.size(1, 99) as f32 / 99.0, n.size(1, 99) as f32 / 99.0, n.size(30, 99) as f32 / 50.0);
            let (za, zb, zy) = (n.between(-128, 127), n.between(-128, 127), n.between(-20, 20));
            let (x, z) = (n.i8s(70), n.i8s(70));
            let operands = [
                Given::input(&[2, 35], &x).quantized(&[sa], &[za as i32], 0),
                Given::input(&[2, 35], &z).quantized(&[sb], &[zb as i32], 0),
            ];
            let subtract = n.size(0, 1) == 1;
            let kind = if subtract { BinaryKind::Sub } else { BinaryKind::Add };
            let op = Binary { kind, clamp: Clamp::NONE };
            let got: Vec<i8> = exact(op, &operands, quantized(DType::I8, sy, zy as i32));
            for ((x, z), y) in x.iter().zip(&z).zip(got) {
                let (a, b) = (f64::from(*x) - za as f64, f64::from(*z) - zb as f64);
                let b = if subtract { -b } else { b };
                let real = (a * f64::from(sa) + b * f64::from(sb)) / f64::from(sy) + zy as f64;
                assert!((real.clamp(-128.0, 127.0) - f64::from(y)).abs() < 0.501, "{real} {y}");
            }
        }
    }

    #[test]
    fn products_and_sixteen_bits() {
        let operands = |a: &[i8], b: &[i8]| {
            [
                Given::input(&[a.len()], a).quantized(&[0.5], &[1], 0),
                Given::input(&[b.len()], b).quantized(&[0.25], &[-1], 0),
            ]
        };
        let op = Binary::new(BinaryKind::Mul);
        let got: Vec<i8> = exact(op, &operands(&[3, 5, -7], &[1, 3, 127]), quantized(DType::I8, 0.125, 2));
        assert_eq!(got, [6, 18, -128]);
        let words = [
            Given::input(&[3], &[100i16, -32768, 7]).quantized(&[0.5], &[0], 0),
            Given::input(&[1], &[50i16]).quantized(&[0.25], &[0], 0),
        ];
        let got: Vec<i16> = exact(Binary::new(BinaryKind::Add), &words, quantized(DType::I16, 0.5, 0));
        assert_eq!(got, [125, -32743, 32]);
    }
}
