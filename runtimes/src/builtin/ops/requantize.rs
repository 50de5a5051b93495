//! The same real numbers in another type: f32 to quantised, quantised to f32, one quantisation to another.

use super::{Dialect, Operand, Operator, Prepare, arity};
use crate::Result;
use crate::builtin::graph::Fact;
use crate::builtin::kernels::memory::Element;
use crate::builtin::kernels::nest::map1;
use crate::builtin::kernels::quant::{Quantized, Requant};
use crate::builtin::kernels::threads::Shares;
use crate::builtin::kernels::wide::Multiplier;
use crate::builtin::step::Step;
use half::slice::HalfFloatSliceExt;
use protocol::DType;

/// Operand: f32 (also f16) or quantised. The result's type and quantisation are given with
/// [`crate::builtin::graph::Graph::add_as`]; without, it is f32. TFLite's QUANTIZE and DEQUANTIZE, ONNX's
/// `QuantizeLinear` and `DequantizeLinear`.
///
/// f32 becomes quantised with ties to even: multiplied by 1 / scale as XNNPACK does it, or divided by the
/// scale as ONNX defines it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Requantize;

impl Operator for Requantize {
    fn name(&self) -> &'static str {
        "Requantize"
    }

    fn infer(&self, inputs: &[Operand<'_>]) -> Result<Vec<Fact>> {
        arity(inputs, 1, 1)?;
        Ok(vec![Fact::new(DType::F32, &inputs[0].fact.shape)])
    }

    fn prepare(&self, on: &Prepare<'_>) -> Result<Option<Step>> {
        let (x, out) = (on.inputs[0].fact, &on.outputs[0]);
        Ok(match (x.dtype, x.quant.is_some(), out.dtype, out.quant.is_some()) {
            (DType::F32, false, DType::F32, false) => Some(Step::alias("requantize")),
            (DType::F32, false, DType::I8, true) => quantize::<i8>(on),
            (DType::F32, false, DType::U8, true) => quantize::<u8>(on),
            (DType::F32, false, DType::I16, true) => quantize::<i16>(on),
            (DType::F32, false, DType::U16, true) => quantize::<u16>(on),
            (DType::I8, true, DType::F32, false) => dequantize::<i8>(on),
            (DType::U8, true, DType::F32, false) => dequantize::<u8>(on),
            (DType::I16, true, DType::F32, false) => dequantize::<i16>(on),
            (DType::U16, true, DType::F32, false) => dequantize::<u16>(on),
            (DType::I32, true, DType::F32, false) => Some(dequantize_wide(x)),
            (DType::F16, false, DType::F32, false) => {
                Some(Step::map("dequantize.f16", |x: &[half::f16], y: &mut [f32]| x.convert_to_f32_slice(y)))
            }
            (_, true, _, true) if super::same_elements(x, out) => Some(Step::alias("requantize")),
            (DType::I8, true, DType::I8, true) if on.dialect == Dialect::Onnx => retable::<i8>(x, out),
            (DType::U8, true, DType::U8, true) if on.dialect == Dialect::Onnx => retable::<u8>(x, out),
            (DType::I8, true, DType::I8, true) => rescale::<i8, i8>(x, out),
            (DType::U8, true, DType::U8, true) => rescale::<u8, u8>(x, out),
            (_, true, _, true) if on.dialect == Dialect::Tflite => fixed_point(x, out),
            _ => None,
        })
    }
}

fn quantize<T: Quantized>(on: &Prepare<'_>) -> Option<Step> {
    let (scale, zero) = on.outputs[0].per_tensor()?;
    let requant = Requant::new(T::MIN, T::MAX, zero);
    let inverse = 1.0 / scale;
    let (tier, shares) = (on.tier, Shares::new(on.threads, on.outputs[0].len(), 1));
    Some(match on.dialect {
        Dialect::Tflite => Step::each("quantize", shares, move |x: &[f32], y: &mut [T]| {
            map1(tier, x, y, |x| T::narrow(requant.apply(x * inverse)));
        }),
        Dialect::Onnx => Step::each("quantize", shares, move |x: &[f32], y: &mut [T]| {
            map1(tier, x, y, |x| T::narrow(requant.apply(x / scale)));
        }),
    })
}

/// Repeats per-channel values along the rest of a tensor.
struct Channels {
    scale: Vec<f32>,
    zero: Vec<i32>,
    inner: usize,
}

impl Channels {
    fn of(x: &Fact) -> Self {
        let q = x.quant.as_deref();
        let (scale, zero) = q.map_or((vec![1.0], vec![0]), |q| (q.scale.clone(), q.zero_point.clone()));
        let after = q.map_or(0, |q| q.axis as usize + 1).min(x.shape.len());
        Self { scale, zero, inner: x.shape[after..].iter().product::<usize>().max(1) }
    }

    fn each<T: Copy>(&self, x: &[T], y: &mut [f32], f: impl Fn(T, i32, f32) -> f32) {
        let channels = self.scale.iter().zip(&self.zero).cycle();
        if self.scale.len() == 1 {
            let (scale, zero) = (self.scale[0], self.zero[0]);
            x.iter().zip(y).for_each(|(x, y)| *y = f(*x, zero, scale));
            return;
        }
        for ((x, y), (scale, zero)) in x.chunks(self.inner).zip(y.chunks_mut(self.inner)).zip(channels) {
            x.iter().zip(y).for_each(|(x, y)| *y = f(*x, *zero, *scale));
        }
    }
}

fn dequantize<T: Quantized>(on: &Prepare<'_>) -> Option<Step> {
    let x = on.inputs[0].fact;
    if let Some((scale, zero)) = x.per_tensor() {
        let (tier, shares) = (on.tier, Shares::new(on.threads, x.len(), 1));
        return Some(Step::each("dequantize", shares, move |x: &[T], y: &mut [f32]| {
            map1(tier, x, y, |x: T| (x.wide() - zero) as f32 * scale);
        }));
    }
    let channels = Channels::of(x);
    Some(Step::map("dequantize", move |x: &[T], y: &mut [f32]| {
        channels.each(x, y, |x, zero, scale| (x.wide() - zero) as f32 * scale);
    }))
}

fn dequantize_wide(x: &Fact) -> Step {
    let channels = Channels::of(x);
    Step::map("dequantize", move |x: &[i32], y: &mut [f32]| {
        channels.each(x, y, |x, zero, scale| (i64::from(x) - i64::from(zero)) as f32 * scale);
    })
}

/// One quantisation to another where XNNPACK has no kernel: TFLite's fixed point.
fn fixed_point(x: &Fact, out: &Fact) -> Option<Step> {
    let ((from, from_zero), (to, to_zero)) = (x.per_tensor()?, out.per_tensor()?);
    let multiplier = Multiplier::new(f64::from(from) / f64::from(to));
    let away = move |v: i64| multiplier.twice_rounded((v - i64::from(from_zero)) as i32);
    let up = move |v: i64| multiplier.twice_rounded_up((v - i64::from(from_zero)) as i32);
    match (x.dtype, out.dtype) {
        (DType::I8, DType::U8) => Some(each::<i8, u8>(to_zero, up)),
        (DType::U8, DType::I8) => Some(each::<u8, i8>(to_zero, up)),
        (DType::I8, DType::I16) => Some(each::<i8, i16>(to_zero, away)),
        (DType::I16, DType::I8) => Some(each::<i16, i8>(to_zero, away)),
        (DType::I16, DType::I16) => Some(each::<i16, i16>(to_zero, away)),
        (DType::I16, DType::I32) => Some(each::<i16, i32>(to_zero, away)),
        (DType::I32, DType::I8) => Some(each::<i32, i8>(to_zero, away)),
        (DType::I32, DType::I16) => Some(each::<i32, i16>(to_zero, away)),
        _ => None,
    }
}

/// A step that rescales every element and adds the zero point.
fn each<A, B>(zero: i32, rescaled: impl Fn(i64) -> i32 + Send + 'static) -> Step
where
    A: Element + Into<i64>,
    B: Element + Saturating,
{
    Step::map("requantize.fixed", move |x: &[A], y: &mut [B]| {
        for (x, y) in x.iter().zip(y) {
            *y = B::saturated(i64::from(rescaled((*x).into())) + i64::from(zero));
        }
    })
}

/// Integers that are cut to their range.
trait Saturating {
    fn saturated(v: i64) -> Self;
}

macro_rules! saturating {
    ($($t:ty),*) => { $(impl Saturating for $t {
        fn saturated(v: i64) -> Self {
            v.clamp(i64::from(<$t>::MIN), i64::from(<$t>::MAX)) as $t
        }
    })* };
}
saturating!(i8, u8, i16, i32);

/// One 8-bit quantisation to another by way of the real numbers, from a table.
fn retable<T: Quantized>(x: &Fact, out: &Fact) -> Option<Step> {
    let ((from, from_zero), (to, to_zero)) = (x.per_tensor()?, out.per_tensor()?);
    let requant = Requant::new(T::MIN, T::MAX, to_zero);
    let entry = |v: i32| T::narrow(requant.apply((v - from_zero) as f32 * from / to));
    let table: Vec<T> = (T::MIN..=T::MAX).map(entry).collect();
    Some(Step::map("rescale", move |x: &[T], y: &mut [T]| {
        x.iter().zip(y).for_each(|(x, y)| *y = table[(x.wide() - T::MIN) as usize & 255]);
    }))
}

/// One 8-bit quantisation to another, in fixed point as XNNPACK does it; `None` outside its range of
/// scales.
fn rescale<A: Quantized, B: Quantized>(x: &Fact, out: &Fact) -> Option<Step> {
    let ((from, from_zero), (to, to_zero)) = (x.per_tensor()?, out.per_tensor()?);
    let ratio = from / to;
    if !(1.0 / 256.0..=128.0).contains(&ratio) {
        return None;
    }
    let multiplier = (ratio * 256.0).round_ties_even() as i32;
    Some(Step::map("rescale", move |x: &[A], y: &mut [B]| {
        for (x, y) in x.iter().zip(y) {
            let scaled = ((x.wide() - from_zero) * multiplier + 128) >> 8;
            *y = B::narrow((scaled + to_zero).clamp(B::MIN, B::MAX));
        }
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::builtin::testing::{Given, exact, near, quantized};

    #[test]
    fn to_integers_and_back() {
        let x = [Given::input(&[5], &[-1e9f32, 0.25, 0.75, 1.25, f32::NAN])];
        let got: Vec<i8> = exact(Requantize, &x, quantized(DType::I8, 0.5, 10));
        assert_eq!(got, [-128, 10, 12, 12, -128]);
        let words: Vec<i16> = exact(Requantize, &x, quantized(DType::I16, 0.5, 0));
        assert_eq!(words, [-32768, 0, 2, 2, -32768]);
        let x = [Given::input(&[4], &got[..4]).quantized(&[0.5], &[10], 0)];
        near(Requantize, &x, &[-69.0, 0.0, 1.0, 1.0], 0.0);
    }

    #[test]
    fn channels_have_their_own_scales() {
        let x = [Given::constant(&[2, 2], &[1i8, 2, 3, 4]).quantized(&[0.5, 2.0], &[0, 1], 1)];
        near(Requantize, &x, &[0.5, 2.0, 1.5, 6.0], 0.0);
        let x = [Given::constant(&[2, 2], &[1i32, 2, 3, i32::MIN]).quantized(&[0.5, 2.0], &[0, i32::MAX], 0)];
        near(Requantize, &x, &[0.5, 1.0, 2.0 * (3.0 - i32::MAX as f32), -(2f32.powi(33))], 1e-6);
    }

    #[test]
    fn from_one_quantisation_to_another() {
        let x = [Given::input(&[4], &[-128i8, 0, 3, 127]).quantized(&[0.5], &[1], 0)];
        assert_eq!(exact::<i8>(Requantize, &x, quantized(DType::I8, 1.0, 0)), [-64, 0, 1, 63]);
        assert_eq!(exact::<u8>(Requantize, &x, quantized(DType::U8, 0.5, 129)), [0, 128, 131, 255]);
        assert_eq!(exact::<i16>(Requantize, &x, quantized(DType::I16, 0.25, 0)), [-258, -2, 4, 252]);
    }
}
