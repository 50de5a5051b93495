//! Softmax of quantised rows as TFLite's own kernels do it: a table of exponentials for 8 bits, two
//! interpolated tables in fixed point for 16; and as ONNX Runtime does it, with a table of integers.

use super::{Dialect, Softmax};
use crate::builtin::graph::Fact;
use crate::builtin::kernels::quant::Quantized;
use crate::builtin::kernels::wide::Multiplier;
use crate::builtin::step::Step;
use protocol::DType;

/// The step, when there is a kernel for the types.
pub(crate) fn prepare(op: Softmax, x: &Fact, out: &Fact, dialect: Dialect) -> Option<Step> {
    if op.log {
        return None;
    }
    let ((scale, _), (to, zero)) = (x.per_tensor()?, out.per_tensor()?);
    let columns = out.shape.last().copied().unwrap_or(1).max(1);
    if dialect == Dialect::Onnx {
        return match (x.dtype, out.dtype) {
            (DType::I8, DType::I8) => integers::<i8>(scale * op.beta, to, zero, columns),
            (DType::U8, DType::U8) => integers::<u8>(scale * op.beta, to, zero, columns),
            _ => None,
        };
    }
    match (x.dtype, out.dtype) {
        (DType::I8, DType::I8) => Some(bytes::<i8, i8>(scale * op.beta, to, zero, columns)),
        (DType::U8, DType::U8) => Some(bytes::<u8, u8>(scale * op.beta, to, zero, columns)),
        (DType::I16, DType::I16) => Some(words(Words::new(f64::from(scale) * f64::from(op.beta)), columns)),
        _ => None,
    }
}

fn bytes<A: Quantized, B: Quantized>(scale: f32, to: f32, zero: i32, columns: usize) -> Step {
    let table: Vec<f32> = (0..=255u8).map(|d| (-scale * f32::from(d)).exp()).collect();
    Step::map("softmax.i8", move |x: &[A], y: &mut [B]| {
        for (x, y) in x.chunks_exact(columns).zip(y.chunks_exact_mut(columns)) {
            let top = x.iter().map(|v| v.wide()).max().unwrap_or(0);
            let at = |v: &A| table[(top - v.wide()) as usize & 255];
            let sum: f32 = x.iter().map(at).sum();
            let inverse = 1.0 / (sum * to);
            for (x, y) in x.iter().zip(y) {
                // Not negative, so half up is half away from zero.
                let p = at(x) * inverse;
                let whole = p as i32;
                let rounded = whole + i32::from(p - whole as f32 >= 0.5);
                *y = B::narrow(rounded.saturating_add(zero).clamp(B::MIN, B::MAX));
            }
        }
    })
}

/// Exponentials as integers whose sum fits 32 bits, and the inverse of the result's scale cut to an integer:
/// with the usual 1/255 in f32 that is 254, so that a sure class gets 254 of 255.
fn integers<T: Quantized>(scale: f32, to: f32, zero: i32, columns: usize) -> Option<Step> {
    let largest = (f64::from(u32::MAX) / columns as f64).min(f64::from(0x7f_ffff));
    let entry =
        |below: i32| (largest * (-f64::from(below) * f64::from(scale)).exp()).round_ties_even() as u64;
    let table: Vec<u64> = (0..256).map(entry).collect();
    let inverse = 1.0 / to;
    if !(1.0..=65536.0).contains(&inverse) {
        return None;
    }
    let inverse = inverse as u64;
    Some(Step::map("softmax.i8", move |x: &[T], y: &mut [T]| {
        for (x, y) in x.chunks_exact(columns).zip(y.chunks_exact_mut(columns)) {
            let top = x.iter().map(|v| v.wide()).max().unwrap_or(0);
            let at = |v: &T| table[(top - v.wide()) as usize & 255];
            let sum: u64 = x.iter().map(at).sum();
            for (x, y) in x.iter().zip(y) {
                let p = (at(x) * inverse + sum / 2) / sum.max(1);
                *y = T::narrow((p as i32).saturating_add(zero).clamp(T::MIN, T::MAX));
            }
        }
    }))
}

/// Two tables of 512 segments, and the factor from distances below the maximum to the first one's domain.
#[derive(Clone, Debug)]
struct Words {
    exponential: Vec<i16>,
    reciprocal: Vec<i16>,
    factor: Multiplier,
}

/// A table of `f` over `low..=high` with results from −1 to 1 as Q0.15. Entries are moved by half of the
/// error that interpolation makes in the middle of a segment.
fn table(low: f64, high: f64, f: fn(f64) -> f64) -> Vec<i16> {
    const SEGMENTS: usize = 512;
    let step = (high - low) / SEGMENTS as f64;
    let scaled = |v: f64| f(v) * 32768.0;
    let cut = |v: f64| v.clamp(-32768.0, 32767.0) as i16;
    let entry = |i: usize| {
        let at = low + i as f64 * step;
        let (value, next) = (scaled(at), scaled(low + (i + 1) as f64 * step));
        let sample = value.round();
        let interpolated = ((next + sample) / 2.0).round();
        let error = interpolated - scaled(at + step / 2.0).round();
        cut(sample - (error / 2.0).round())
    };
    let mut all: Vec<i16> = (0..SEGMENTS).map(entry).collect();
    all.push(cut(scaled(high).round()));
    all
}

fn look_up(table: &[i16], at: i16) -> i32 {
    let index = ((i32::from(at) >> 7) + 256) as usize;
    let (base, next) = (i32::from(table[index]), i32::from(table[index + 1]));
    base + (((next - base) * (i32::from(at) & 127) + 64) >> 7)
}

fn saturate(v: i64) -> i16 {
    v.clamp(i64::from(i16::MIN), i64::from(i16::MAX)) as i16
}

impl Words {
    fn new(scale: f64) -> Self {
        Self {
            exponential: table(-10.0, 0.0, f64::exp),
            reciprocal: table(0.0, 1.0, |x| 1.0 / (1.0 + x)),
            factor: Multiplier::new(scale / (10.0 / 65535.0)),
        }
    }

    fn exponential(&self, distance: i32) -> i32 {
        let scaled = self.factor.twice_rounded(distance);
        look_up(&self.exponential, saturate(i64::from(scaled) + 32767))
    }
}

fn words(tables: Words, columns: usize) -> Step {
    Step::map("softmax.i16", move |x: &[i16], y: &mut [i16]| {
        for (x, y) in x.chunks_exact(columns).zip(y.chunks_exact_mut(columns)) {
            let top = x.iter().copied().max().unwrap_or(0);
            let exponential = |v: &i16| tables.exponential(i32::from(*v) - i32::from(top));
            let sum: i64 = x.iter().map(|v| i64::from(exponential(v))).sum();
            let sum = (sum as u64 as u32).max(1);
            let headroom = sum.leading_zeros().max(1);
            let mantissa = ((i64::from(sum) << (headroom - 1)) + (1 << 13)) >> 14;
            let reciprocal = look_up(&tables.reciprocal, saturate(mantissa - (1 << 15) - (1 << 16)));
            let shift = 31 - headroom;
            for (x, y) in x.iter().zip(y) {
                let product = i64::from(exponential(x)) * i64::from(reciprocal);
                let rounded = (product + ((1i64 << shift) >> 1)) >> shift;
                *y = rounded.clamp(0, 32767) as i16;
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::builtin::testing::{Given, Numbers, exact, quantized};

    fn softmax(x: &[f64]) -> Vec<f64> {
        let top = x.iter().copied().fold(f64::MIN, f64::max);
        let e: Vec<f64> = x.iter().map(|v| (v - top).exp()).collect();
        let sum: f64 = e.iter().sum();
        e.iter().map(|v| v / sum).collect()
    }

    #[test]
    fn both_are_near_the_real_one() {
        let mut n = Numbers::new(9);
        let op = Softmax { beta: 1.0, log: false };
        for columns in [1, 2, 10, 33] {
            let x = n.i8s(3 * columns);
            let given = [Given::input(&[3, columns], &x).quantized(&[0.1], &[5], 0)];
            let got: Vec<i8> = exact(op, &given, quantized(DType::I8, 1.0 / 256.0, -128));
            let words: Vec<i16> = x.iter().map(|v| i16::from(*v) * 100).collect();
            let given = [Given::input(&[3, columns], &words).quantized(&[0.001], &[0], 0)];
            let wide: Vec<i16> = exact(op, &given, quantized(DType::I16, 1.0 / 32768.0, 0));
            let real: Vec<f64> = x.iter().map(|v| f64::from(*v) * 0.1).collect();
            let expected: Vec<f64> = real.chunks(columns).flat_map(softmax).collect();
            for ((p, byte), word) in expected.iter().zip(got).zip(wide) {
                assert!((p * 256.0 - 128.0 - f64::from(byte)).abs() <= 1.01, "{p} {byte}");
                // Every exponential may be off by one, and so may their sum by as many.
                assert!((p * 32768.0 - f64::from(word)).abs() <= 8.0 + columns as f64, "{p} {word}");
            }
        }
    }
}
