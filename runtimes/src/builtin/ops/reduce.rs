//! Sums, means and extremes along dimensions.

use super::{Dialect, Operand, Operator, Prepare, arity};
use crate::builtin::graph::Fact;
use crate::builtin::kernels::Tier;
use crate::builtin::kernels::memory::{self, Element};
use crate::builtin::kernels::nest::{Nest, accumulate, dense_strides};
use crate::builtin::kernels::quant::{Quantized, Requant};
use crate::builtin::kernels::wide::Multiplier;
use crate::builtin::step::Step;
use crate::{Error, Result};
use protocol::DType;

/// Which reduction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReduceKind {
    /// Σ x
    Sum,
    /// Σ x / n
    Mean,
    /// the largest
    Max,
    /// the smallest
    Min,
    /// Π x
    Prod,
    /// Σ |x|
    L1,
    /// √Σ x²
    L2,
    /// Σ x²
    SumSquare,
    /// index of the first largest, i64 (one axis)
    ArgMax,
    /// index of the first smallest, i64 (one axis)
    ArgMin,
    /// all of bool
    All,
    /// any of bool
    Any,
}

/// A reduction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reduce {
    /// Which.
    pub kind: ReduceKind,
    /// Dimensions that go, in ascending order.
    pub axes: Vec<usize>,
    /// They stay with length 1.
    pub keep_dims: bool,
}

impl Operator for Reduce {
    fn name(&self) -> &'static str {
        match self.kind {
            ReduceKind::Sum => "ReduceSum",
            ReduceKind::Mean => "ReduceMean",
            ReduceKind::Max => "ReduceMax",
            ReduceKind::Min => "ReduceMin",
            ReduceKind::Prod => "ReduceProd",
            ReduceKind::L1 => "ReduceL1",
            ReduceKind::L2 => "ReduceL2",
            ReduceKind::SumSquare => "ReduceSumSquare",
            ReduceKind::ArgMax => "ArgMax",
            ReduceKind::ArgMin => "ArgMin",
            ReduceKind::All => "ReduceAll",
            ReduceKind::Any => "ReduceAny",
        }
    }

    fn infer(&self, inputs: &[Operand<'_>]) -> Result<Vec<Fact>> {
        arity(inputs, 1, 1)?;
        let x = inputs[0].fact;
        let ascending = self.axes.is_sorted_by(|a, b| a < b);
        let index = matches!(self.kind, ReduceKind::ArgMax | ReduceKind::ArgMin);
        if !ascending || self.axes.iter().any(|a| *a >= x.shape.len()) || (index && self.axes.len() != 1) {
            return Err(Error::ModelInvalid(format!("axes {:?} of shape {:?}", self.axes, x.shape)));
        }
        let mut shape = x.shape.clone();
        for &axis in self.axes.iter().rev() {
            if self.keep_dims {
                shape[axis] = 1;
            } else {
                shape.remove(axis);
            }
        }
        Ok(vec![match self.kind {
            ReduceKind::ArgMax | ReduceKind::ArgMin => Fact::new(DType::I64, &shape),
            ReduceKind::All | ReduceKind::Any => Fact::new(DType::Bool, &shape),
            ReduceKind::Max | ReduceKind::Min => Fact { shape, ..x.clone() },
            _ => Fact { shape, ..x.clone() }.as_real(),
        }])
    }

    fn prepare(&self, on: &Prepare<'_>) -> Result<Option<Step>> {
        let (x, out) = (on.inputs[0].fact, &on.outputs[0]);
        if x.quant.is_some() || out.quant.is_some() {
            return Ok(self.quantized(x, out, on));
        }
        if matches!(self.kind, ReduceKind::ArgMax | ReduceKind::ArgMin) {
            return Ok(self.index(x, out));
        }
        if x.dtype != out.dtype {
            return Ok(None);
        }
        let over = Over { tier: on.tier, walk: self.walk(x) };
        let count: usize = self.axes.iter().map(|a| x.shape[*a]).product();
        Ok(match x.dtype {
            DType::F32 => Some(floats(self.kind, over, count)),
            DType::F64 => Some(doubles(self.kind, over, count)),
            DType::I32 => integers::<i32>(self.kind, over),
            DType::I64 => integers::<i64>(self.kind, over),
            DType::Bool if matches!(self.kind, ReduceKind::All | ReduceKind::Any) => {
                let all = self.kind == ReduceKind::All;
                Some(fold("reduce.bool", over, u8::from(all), move |a, x| if all { a & x } else { a | x }, |_| {}))
            }
            _ => None,
        })
    }
}

impl Reduce {
    fn quantized(&self, x: &Fact, out: &Fact, on: &Prepare<'_>) -> Option<Step> {
        let over = Over { tier: on.tier, walk: self.walk(x) };
        let count: usize = self.axes.iter().map(|a| x.shape[*a]).product();
        let extreme = matches!(self.kind, ReduceKind::Max | ReduceKind::Min);
        if extreme && super::same_elements(x, out) {
            return match x.dtype {
                DType::I8 => Some(extremes::<i8>(self.kind, over)),
                DType::U8 => Some(extremes::<u8>(self.kind, over)),
                DType::I16 => Some(extremes::<i16>(self.kind, over)),
                _ => None,
            };
        }
        let ((sx, zx), (sy, zy)) = (x.per_tensor()?, out.per_tensor()?);
        // 2^23 elements of 8 bits cannot overflow a sum of 32 bits, nor 2^15 of 16.
        let fits = if x.dtype == DType::I16 { count <= 1 << 15 } else { count <= 1 << 23 };
        let sum = self.kind == ReduceKind::Sum && on.dialect == Dialect::Tflite;
        if !(sum || self.kind == ReduceKind::Mean) || count == 0 || !fits || x.dtype != out.dtype {
            return None;
        }
        let shift = -(count as i32).wrapping_mul(zx);
        let scale = match on.dialect {
            Dialect::Tflite if sum => sx / sy,
            Dialect::Tflite => sx / sy / count as f32,
            Dialect::Onnx => sx / (sy * count as f32),
        };
        match x.dtype {
            DType::I8 => Some(mean::<i8>(over, shift, byte_mean(scale, zy, -128, 127))),
            DType::U8 => Some(mean::<u8>(over, shift, byte_mean(scale, zy, 0, 255))),
            DType::I16 if zx == 0 && zy == 0 && sum => {
                let ratio = f64::from(sx) / f64::from(sy);
                let result = move |sum: i32| (f64::from(sum) * ratio).round().clamp(-32768.0, 32767.0) as i32;
                Some(mean::<i16>(over, 0, result))
            }
            DType::I16 if zx == 0 && zy == 0 && on.dialect == Dialect::Tflite => {
                let multiplier = Multiplier::new(f64::from(sx) / f64::from(sy)).divided(count as u64);
                Some(mean::<i16>(over, 0, move |sum| multiplier.twice_rounded(sum).clamp(-32768, 32767)))
            }
            _ => None,
        }
    }

    /// Walks the operand; says for each row where in the result it belongs.
    fn walk(&self, x: &Fact) -> Nest<1> {
        let kept: Vec<usize> =
            x.shape.iter().enumerate().map(|(d, n)| if self.axes.contains(&d) { 1 } else { *n }).collect();
        let strides = dense_strides(&kept);
        let stride = |d: usize| [if self.axes.contains(&d) { 0 } else { strides[d] }];
        Nest::new(&x.shape, &(0..kept.len()).map(stride).collect::<Vec<_>>(), [0])
    }

    fn index(&self, x: &Fact, out: &Fact) -> Option<Step> {
        let axis = self.axes[0];
        let (length, inner) = (x.shape[axis], x.shape[axis + 1..].iter().product::<usize>());
        let largest = self.kind == ReduceKind::ArgMax;
        let wide = match out.dtype {
            DType::I64 => true,
            DType::I32 => false,
            _ => return None,
        };
        match x.dtype {
            DType::F32 => Some(arg(length, inner, wide, move |a: f32, b| if largest { a > b } else { a < b })),
            DType::I32 => Some(arg(length, inner, wide, move |a: i32, b| if largest { a > b } else { a < b })),
            DType::I64 => Some(arg(length, inner, wide, move |a: i64, b| if largest { a > b } else { a < b })),
            _ => None,
        }
    }
}

fn arg<T: Element>(
    length: usize,
    inner: usize,
    wide: bool,
    better: impl Fn(T, T) -> bool + Send + 'static,
) -> Step {
    Step::new("arg_reduce", move |inputs, mut outputs, _| {
        let x = inputs.get::<T>(0);
        let size = if wide { 8 } else { 4 };
        for (i, y) in outputs.bytes(0).chunks_exact_mut(size).enumerate() {
            let start = i / inner.max(1) * length * inner + i % inner.max(1);
            let mut best = 0;
            for k in 1..length {
                if better(x[start + k * inner], x[start + best * inner]) {
                    best = k;
                }
            }
            y.copy_from_slice(&(best as i64).to_le_bytes()[..size]);
        }
    })
}

/// A reduction that starts from `zero` and takes in one element at a time, then finishes all results.
fn fold<T: Element>(
    label: &'static str,
    over: Over,
    zero: T,
    take: impl Fn(T, T) -> T + Copy + Send + 'static,
    finish: impl Fn(&mut [T]) + Send + 'static,
) -> Step {
    let Over { tier, walk } = over;
    Step::map(label, move |x: &[T], y: &mut [T]| {
        y.fill(zero);
        accumulate(tier, &walk, x, y, take);
        finish(y);
    })
}

/// Over what a step runs.
struct Over {
    tier: Tier,
    walk: Nest<1>,
}

fn extremes<T: Quantized + Ord>(kind: ReduceKind, over: Over) -> Step {
    let max = kind == ReduceKind::Max;
    let (label, zero) = if max { ("reduce_max.int", T::MIN) } else { ("reduce_min.int", T::MAX) };
    fold(label, over, T::narrow(zero), move |a: T, x| if (x > a) == max { x } else { a }, |_| {})
}

fn byte_mean(scale: f32, zero: i32, min: i32, max: i32) -> impl Fn(i32) -> i32 + Send + 'static {
    let requant = Requant::new(min, max, zero);
    move |sum| requant.apply(sum as f32 * scale)
}

/// The mean of integers: `finish` makes a result of a sum, after `shift` was added to it.
fn mean<T: Quantized>(over: Over, shift: i32, finish: impl Fn(i32) -> i32 + Send + 'static) -> Step {
    let Over { tier, walk } = over;
    let outputs = walk.reach();
    let step = Step::new("reduce_mean.int", move |inputs, mut outputs, scratch| {
        let sums = memory::elements_mut::<i32>(scratch).expect("scratch memory of whole elements");
        let (x, y) = (inputs.get::<T>(0), outputs.get::<T>(0));
        sums.fill(shift);
        accumulate(tier, &walk, x, sums, |sum, x: T| sum + x.wide());
        y.iter_mut().zip(sums.iter()).for_each(|(y, sum)| *y = T::narrow(finish(*sum)));
    });
    step.with_scratch(outputs * 4)
}

fn floats(kind: ReduceKind, over: Over, count: usize) -> Step {
    let none = |_: &mut [f32]| {};
    let scale = 1.0 / count as f32;
    let mean = move |y: &mut [f32]| y.iter_mut().for_each(|y| *y *= scale);
    let root = |y: &mut [f32]| y.iter_mut().for_each(|y| *y = y.sqrt());
    let (low, high) = (f32::NEG_INFINITY, f32::INFINITY);
    match kind {
        ReduceKind::Sum => fold("reduce_sum.f32", over, 0.0, |a: f32, x| a + x, none),
        ReduceKind::Mean => fold("reduce_mean.f32", over, 0.0, |a: f32, x| a + x, mean),
        ReduceKind::Max => fold("reduce_max.f32", over, low, |a: f32, x| if x > a { x } else { a }, none),
        ReduceKind::Min => fold("reduce_min.f32", over, high, |a: f32, x| if x < a { x } else { a }, none),
        ReduceKind::Prod => fold("reduce_prod.f32", over, 1.0, |a: f32, x| a * x, none),
        ReduceKind::L1 => fold("reduce_l1.f32", over, 0.0, |a: f32, x: f32| a + x.abs(), none),
        ReduceKind::L2 => fold("reduce_l2.f32", over, 0.0, |a: f32, x| a + x * x, root),
        _ => fold("reduce_sum_square.f32", over, 0.0, |a: f32, x| a + x * x, none),
    }
}

/// Rare enough to be chosen element by element.
fn doubles(kind: ReduceKind, over: Over, count: usize) -> Step {
    let zero = match kind {
        ReduceKind::Max => f64::NEG_INFINITY,
        ReduceKind::Min => f64::INFINITY,
        ReduceKind::Prod => 1.0,
        _ => 0.0,
    };
    let take = move |a: f64, x: f64| match kind {
        ReduceKind::Max => if x > a { x } else { a },
        ReduceKind::Min => if x < a { x } else { a },
        ReduceKind::Prod => a * x,
        ReduceKind::L1 => a + x.abs(),
        ReduceKind::L2 | ReduceKind::SumSquare => a + x * x,
        _ => a + x,
    };
    let scale = 1.0 / count as f64;
    let finish = move |y: &mut [f64]| match kind {
        ReduceKind::Mean => y.iter_mut().for_each(|y| *y *= scale),
        ReduceKind::L2 => y.iter_mut().for_each(|y| *y = y.sqrt()),
        _ => {}
    };
    fold("reduce.f64", over, zero, take, finish)
}

trait Integer: Element {
    const LOWEST: Self;
    const HIGHEST: Self;
    const ZERO: Self;
    const ONE: Self;
    fn reduce(kind: ReduceKind, a: Self, x: Self) -> Self;
}

macro_rules! integer {
    ($($t:ty),*) => { $(impl Integer for $t {
        const LOWEST: Self = <$t>::MIN;
        const HIGHEST: Self = <$t>::MAX;
        const ZERO: Self = 0;
        const ONE: Self = 1;
        #[inline(always)]
        fn reduce(kind: ReduceKind, a: Self, x: Self) -> Self {
            match kind {
                ReduceKind::Max => a.max(x),
                ReduceKind::Min => a.min(x),
                ReduceKind::Prod => a.wrapping_mul(x),
                ReduceKind::L1 => a.wrapping_add(x.wrapping_abs()),
                ReduceKind::SumSquare => a.wrapping_add(x.wrapping_mul(x)),
                _ => a.wrapping_add(x),
            }
        }
    })* };
}
integer!(i32, i64);

fn integers<T: Integer>(kind: ReduceKind, over: Over) -> Option<Step> {
    let zero = match kind {
        ReduceKind::Max => T::LOWEST,
        ReduceKind::Min => T::HIGHEST,
        ReduceKind::Prod => T::ONE,
        ReduceKind::Sum | ReduceKind::L1 | ReduceKind::SumSquare => T::ZERO,
        _ => return None,
    };
    Some(fold("reduce.int", over, zero, move |a, x| T::reduce(kind, a, x), |_| {}))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::builtin::testing::{Given, exact, near, on_all_tiers, quantized};

    fn op(kind: ReduceKind, axes: &[usize]) -> Reduce {
        Reduce { kind, axes: axes.to_vec(), keep_dims: false }
    }

    #[test]
    fn along_any_dimensions() {
        let x: Vec<f32> = (0..24).map(|v| v as f32).collect();
        let x = [Given::input(&[2, 3, 4], &x)];
        near(op(ReduceKind::Sum, &[1]), &x, &[12.0, 15.0, 18.0, 21.0, 48.0, 51.0, 54.0, 57.0], 0.0);
        near(op(ReduceKind::Mean, &[0, 2]), &x, &[7.5, 11.5, 15.5], 0.0);
        near(op(ReduceKind::Max, &[0, 1, 2]), &x, &[23.0], 0.0);
        near(op(ReduceKind::Min, &[2]), &x, &[0.0, 4.0, 8.0, 12.0, 16.0, 20.0], 0.0);
        near(op(ReduceKind::Sum, &[]), &x, &(0..24).map(|v| v as f32).collect::<Vec<_>>(), 0.0);
    }

    #[test]
    fn the_first_of_equals_is_the_index() {
        let x = [Given::input(&[2, 3], &[1f32, 3.0, 3.0, 5.0, -1.0, 5.0])];
        assert_eq!(on_all_tiers::<i64>(op(ReduceKind::ArgMax, &[1]), &x, None)[0].1, [1, 0]);
        assert_eq!(on_all_tiers::<i64>(op(ReduceKind::ArgMin, &[0]), &x, None)[0].1, [0, 1, 0]);
    }

    #[test]
    fn quantised_means() {
        let x = [Given::input(&[1, 2, 2, 2], &[1i8, 10, 2, 20, 3, 30, 5, 41]).quantized(&[0.5], &[1], 0)];
        // Means less zero point: 1.75 and 24.25; times 0.5 / 0.25, ties to even, plus 3.
        let got: Vec<i8> = exact(op(ReduceKind::Mean, &[1, 2]), &x, quantized(DType::I8, 0.25, 3));
        assert_eq!(got, [7, 51]);
        let x = [Given::input(&[1, 3, 1], &[1i16, 2, 2]).quantized(&[0.5], &[0], 0)];
        let got: Vec<i16> = exact(op(ReduceKind::Mean, &[1]), &x, quantized(DType::I16, 0.5, 0));
        assert_eq!(got, [2]);
    }
}
