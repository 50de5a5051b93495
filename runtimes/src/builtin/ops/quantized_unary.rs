//! Functions of one quantised number: a table where there are 256 of them, the runtimes' own fixed point
//! where that gives other bits.

use super::{Dialect, Prepare, UnaryKind};
use crate::builtin::graph::Fact;
use crate::builtin::kernels::fixed::divided_32;
use crate::builtin::kernels::quant::{Quantized, Requant};
use crate::builtin::kernels::wide::Multiplier;
use crate::builtin::step::Step;
use protocol::DType;

/// A step for a quantised operand and result, when there is one.
pub(super) fn prepare(kind: UnaryKind, on: &Prepare<'_>) -> Option<Step> {
    let (x, out) = (on.inputs[0].fact, &on.outputs[0]);
    let (from, to) = (Affine::of(x)?, Affine::of(out)?);
    match (x.dtype, out.dtype) {
        (DType::I8, DType::I8) => Some(table::<i8>(kind, on.dialect, from, to)),
        (DType::U8, DType::U8) => Some(table::<u8>(kind, on.dialect, from, to)),
        (DType::I16, DType::I16) if on.dialect == Dialect::Tflite => wide(kind, from, to),
        _ => None,
    }
}

/// Scale and zero point.
#[derive(Clone, Copy, Debug)]
struct Affine {
    scale: f32,
    zero: i32,
}

impl Affine {
    fn of(fact: &Fact) -> Option<Self> {
        fact.per_tensor().map(|(scale, zero)| Self { scale, zero })
    }
}

fn table<T: Quantized>(kind: UnaryKind, dialect: Dialect, from: Affine, to: Affine) -> Step {
    let requant = Requant::new(T::MIN, T::MAX, to.zero);
    let through_reals = |q: i32| {
        let real = kind.real((q - from.zero) as f32 * from.scale);
        requant.apply(match dialect {
            Dialect::Tflite => real * (1.0 / to.scale),
            Dialect::Onnx => real / to.scale,
        })
    };
    let hard_swish = HardSwish::new(from.scale, to.scale);
    let ratio = Multiplier::new(f64::from(from.scale) / f64::from(to.scale));
    let entry = |q: i32| match (kind, dialect) {
        (UnaryKind::LeakyRelu { slope }, Dialect::Tflite) => {
            leaky_relu_8(q - from.zero, from.scale / to.scale, slope) + to.zero
        }
        (UnaryKind::HardSwish, Dialect::Tflite) if hard_swish.output.e <= 0 => {
            hard_swish.apply(q - from.zero) + to.zero
        }
        (UnaryKind::Abs, Dialect::Tflite) => ratio.twice_rounded((q - from.zero).abs()) + to.zero,
        _ => through_reals(q),
    };
    let entries: Vec<T> = (T::MIN..=T::MAX).map(|q| T::narrow(entry(q).clamp(T::MIN, T::MAX))).collect();
    Step::map("table.8", move |x: &[T], y: &mut [T]| {
        x.iter().zip(y).for_each(|(x, y)| *y = entries[(x.wide() - T::MIN) as usize]);
    })
}

/// XNNPACK's leaky ReLU: multipliers of eight fractional bits.
fn leaky_relu_8(x: i32, ratio: f32, slope: f32) -> i32 {
    let factor = if x >= 0 { ratio } else { ratio * slope };
    // Beyond 16 bits XNNPACK refuses the operator.
    let multiplier = (256.0 * factor).round_ties_even().clamp(-32768.0, 32767.0) as i32;
    (x * multiplier + 128) >> 8
}

/// TFLite's own hard swish: x in steps of a 128th of its scale, everything in 16 bits.
struct HardSwish {
    output: Multiplier,
    /// To (x + 3) / 6, with 15 fractional bits.
    gate: Multiplier,
}

impl HardSwish {
    fn new(from: f32, to: f32) -> Self {
        let fine = from / 128.0;
        let multiplier = |real: f32| Multiplier::new(f64::from(real));
        Self { output: multiplier(fine / to), gate: multiplier(fine / (3.0 / 32768.0)) }
    }

    fn apply(&self, x: i32) -> i32 {
        let cut = |v: i32| v.clamp(-32768, 32767);
        // At most 255 · 128.
        let fine = cut(x * 128);
        let scaled = doubled_high_16(fine, sixteen(self.output.m));
        let e = self.gate.e;
        let mut gate = if e > 0 { cut(fine << (e - 1).min(15)) } else { fine };
        gate = doubled_high_16(gate, sixteen(self.gate.m));
        gate = match e {
            1.. => cut(gate * 2),
            0 => gate,
            _ => divided_32(gate, e.unsigned_abs().min(31)),
        };
        let gate = (gate + (1 << 15)) >> 1;
        divided_32(gate * scaled / (1 << 15), self.output.e.unsigned_abs().min(31))
    }
}

/// The upper half of a multiplier of 31 bits.
fn sixteen(m: i32) -> i32 {
    if m >= i32::MAX - (1 << 15) { 0x7fff } else { (m + (1 << 15)) >> 16 }
}

/// The high half of 2ab, to the nearest, in 16 bits; b is not negative.
fn doubled_high_16(a: i32, b: i32) -> i32 {
    let product = a * b;
    (product + if product >= 0 { 1 << 14 } else { 1 - (1 << 14) }) / (1 << 15)
}

fn wide(kind: UnaryKind, from: Affine, to: Affine) -> Option<Step> {
    let map = |label, f: Box<dyn Fn(i32) -> i32 + Send>| {
        Some(Step::map(label, move |x: &[i16], y: &mut [i16]| {
            x.iter().zip(y).for_each(|(x, y)| *y = f(i32::from(*x)) as i16);
        }))
    };
    match kind {
        UnaryKind::LeakyRelu { slope } => {
            // The ratios are taken in f32.
            let positive = Multiplier::new(f64::from(from.scale / to.scale));
            let slope = from.scale * slope / to.scale;
            let negative = Multiplier::new(f64::from(slope.abs()));
            let sign = if slope < 0.0 { -1 } else { 1 };
            map(
                "leaky_relu.i16",
                Box::new(move |x| {
                    let x = x - from.zero;
                    let y = if x >= 0 { positive.twice_rounded(x) } else { sign * negative.twice_rounded(x) };
                    (y + to.zero).clamp(-32768, 32767)
                }),
            )
        }
        UnaryKind::Logistic | UnaryKind::Tanh => {
            let curve = Curve::new(from, to)?;
            match kind {
                UnaryKind::Logistic => map("logistic.i16", Box::new(move |x| curve.logistic(x))),
                _ => map("tanh.i16", Box::new(move |x| curve.tanh(x))),
            }
        }
        UnaryKind::Gelu | UnaryKind::GeluTanh | UnaryKind::Exp => {
            let table = WordTable::new(kind, from, to);
            map("table.16", Box::new(move |x| table.look_up(x)))
        }
        _ => None,
    }
}

/// A function of int16 numbers: 513 entries, linear between, each moved by half of what interpolation misses in the
/// middle of its segment. All in f32, as TFLite fills its tables.
struct WordTable(Vec<i32>);

impl WordTable {
    fn new(kind: UnaryKind, from: Affine, to: Affine) -> Self {
        const SEGMENTS: usize = 512;
        let real = |a: Affine, q: i32| a.scale * (q - a.zero) as f32;
        let (low, high) = (real(from, -32768), real(from, 32767));
        let step = (high - low) / SEGMENTS as f32;
        let inverse = 65536.0 / (real(to, 32767) - real(to, -32768));
        let scaled = |x: f32| kind.real(x) * inverse;
        let cut = |v: f32| v.clamp(-32768.0, 32767.0) as i32;
        let entry = |i: usize| {
            let at = low + i as f32 * step;
            let (value, next) = (scaled(at), scaled(low + (i + 1) as f32 * step));
            let middle = ((next + value.round()) / 2.0).round() - scaled(at + step / 2.0).round();
            cut(value.round() - (middle / 2.0).round())
        };
        let mut all: Vec<i32> = (0..SEGMENTS).map(entry).collect();
        all.push(cut(scaled(high).round()));
        Self(all)
    }

    fn look_up(&self, x: i32) -> i32 {
        let index = ((x >> 7) + 256) as usize;
        let (base, next) = (self.0[index], self.0[index + 1]);
        base + (((next - base) * (x & 127) + 64) >> 7)
    }
}

/// The logistic function of int16 numbers: 256 entries over 0 to 10.7 in steps of 1/24, linear between.
struct Curve {
    entries: Vec<i32>,
    multiplier: i32,
    shift: u32,
}

impl Curve {
    /// Only for results of scale 2⁻¹⁵, and not for operands of scale 2⁻¹¹ or 2⁻¹², which the runtime
    /// computes otherwise.
    fn new(from: Affine, to: Affine) -> Option<Self> {
        let special = [1.0 / 2048.0, 1.0 / 4096.0].contains(&from.scale);
        if from.zero != 0 || to.zero != 0 || to.scale != 1.0 / 32768.0 || special {
            return None;
        }
        let mut multiplier = f64::from(from.scale) * 4096.0 * 3.0;
        let mut shift = 0;
        while multiplier <= 32767.0 / 2.0 && shift <= 30 {
            shift += 1;
            multiplier *= 2.0;
        }
        if multiplier >= 32768.0 {
            return None;
        }
        // Every entry is moved by half of what the middle of its chord misses.
        let exact = |i: f64| 65536.0 / (1.0 + (-i / 24.0).exp());
        let entry = |i: i32| {
            let (left, middle, right) =
                (exact(f64::from(i)), exact(f64::from(i) + 0.5), exact(f64::from(i + 1)));
            (left + (middle - (left + right) / 2.0) / 2.0).round() as i32
        };
        let mut entries: Vec<i32> = (0..256).map(entry).collect();
        entries[255] = 0xffff;
        Some(Self { entries, multiplier: multiplier as i32, shift })
    }

    fn scaled(&self, x: i32) -> i32 {
        let round = if self.shift > 0 { 1i64 << (self.shift - 1) } else { 0 };
        // 31 bits of product, shifted by at least one when it is large.
        ((i64::from(x) * i64::from(self.multiplier) + round) >> self.shift) as i32
    }

    /// The entry and its successor for a place in steps of 2^`bits`, mixed; `None` beyond the table.
    fn between(&self, place: u32, bits: u32) -> Option<i32> {
        let index = (place >> bits) as usize;
        let (left, right) = (*self.entries.get(index)?, *self.entries.get(index + 1)?);
        Some((left << bits) + (place & ((1 << bits) - 1)) as i32 * (right - left))
    }

    fn logistic(&self, x: i32) -> i32 {
        let x = self.scaled(x);
        let y = self.between(x.unsigned_abs(), 9).unwrap_or(0x7fff << 10);
        (if x >= 0 { y + (1 << 9) } else { (1 << 25) - y + (1 << 9) - 1 }) >> 10
    }

    fn tanh(&self, x: i32) -> i32 {
        let x = self.scaled(x);
        let y = self.between(x.unsigned_abs(), 8).unwrap_or(0xffff << 8);
        (if x >= 0 { y - (1 << 23) + (1 << 7) } else { (1 << 23) - y + (1 << 7) - 1 }) >> 8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNIT: Affine = Affine { scale: 1.0 / 32768.0, zero: 0 };

    #[test]
    fn curves_are_near_their_functions() {
        let curve = Curve::new(Affine { scale: 0.0005, zero: 0 }, UNIT).unwrap();
        for x in (-32768..=32767).step_by(97) {
            let real = f64::from(x) * 0.0005;
            let logistic = 1.0 / (1.0 + (-real).exp());
            assert!((f64::from(curve.logistic(x)) / 32768.0 - logistic).abs() < 1e-4, "logistic {x}");
            assert!((f64::from(curve.tanh(x)) / 32768.0 - real.tanh()).abs() < 1e-4, "tanh {x}");
        }
        assert!(Curve::new(Affine { scale: 1.0 / 4096.0, zero: 0 }, UNIT).is_none());
        assert!(Curve::new(UNIT, Affine { scale: 0.5, zero: 0 }).is_none());
    }

    #[test]
    fn hard_swish_is_near_its_function() {
        for (from, to) in [(0.05f32, 0.031f32), (0.005, 0.09), (0.15, 0.01)] {
            let fixed = HardSwish::new(from, to);
            for x in -255..=255 {
                let real = f64::from(x) * f64::from(from);
                let y = real * (real + 3.0).clamp(0.0, 6.0) / 6.0 / f64::from(to);
                assert!((f64::from(fixed.apply(x)) - y).abs() < 0.53, "{x} of scale {from}: not {y}");
            }
        }
    }

    #[test]
    fn leaky_relu_rounds_in_eight_bits() {
        assert_eq!([-10, -1, 0, 1, 10].map(|x| leaky_relu_8(x, 1.0, 0.1)), [-1, 0, 0, 1, 10]);
        assert_eq!(leaky_relu_8(255, 1e9, 1.0), (255 * 32767 + 128) >> 8);
    }
}
