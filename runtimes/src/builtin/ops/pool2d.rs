//! Maximum and average over windows of `[n, h, w, c]`.

use super::conv2d::dims4;
use super::window::Window;
use super::{Clamp, Dialect, Operand, Operator, Prepare, arity};
use crate::Result;
use protocol::DType;
use crate::builtin::graph::Fact;
use crate::builtin::kernels::Tier;
use crate::builtin::kernels::memory::{self, Element};
use crate::builtin::kernels::nest::on_tier;
use crate::builtin::kernels::quant::{Quantized, Requant};
use crate::builtin::kernels::threads::{Shares, Threads};
use std::ops::Range;
use crate::builtin::step::Step;

/// Which pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PoolKind {
    /// The largest element; padding never is.
    Max,
    /// The mean of the elements inside the input.
    Average,
    /// The mean where padding counts as zeros.
    AverageWithPadding,
}

/// Operand: `[n, h, w, c]`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pool2d {
    /// Which.
    pub kind: PoolKind,
    /// Height and width of the window.
    pub kernel: [usize; 2],
    /// Geometry. Every window must touch the input.
    pub window: Window,
    /// Range of the result.
    pub clamp: Clamp,
}

impl Operator for Pool2d {
    fn name(&self) -> &'static str {
        match self.kind {
            PoolKind::Max => "MaxPool2d",
            PoolKind::Average | PoolKind::AverageWithPadding => "AveragePool2d",
        }
    }

    fn infer(&self, inputs: &[Operand<'_>]) -> Result<Vec<Fact>> {
        arity(inputs, 1, 1)?;
        let x = inputs[0].fact;
        let [n, h, w, c] = dims4(x)?;
        let [oh, ow] = self.window.output([h, w], self.kernel)?;
        Ok(vec![Fact { shape: vec![n, oh, ow, c], ..x.clone() }])
    }

    fn prepare(&self, on: &Prepare<'_>) -> Result<Option<Step>> {
        let (x, out) = (on.inputs[0].fact, &on.outputs[0]);
        let [_, oh, ow, _] = dims4(out)?;
        let pool = Pool { input: dims4(x)?, output: [oh, ow], kernel: self.kernel, window: self.window };
        let (clamp, kind, tier, shares) = (self.clamp, self.kind, on.tier, pool.shares(on.threads));
        if x.quant.is_none() && out.quant.is_none() && x.dtype == DType::F32 && out.dtype == DType::F32 {
            return Ok(Some(match kind {
                PoolKind::Max => Step::map("max_pool2d.f32", move |x: &[f32], y: &mut [f32]| {
                    let larger = |a, x| if x > a { x } else { a };
                    pool.run((tier, &shares), x, y, f32::NEG_INFINITY, larger, move |y, _| clamp.apply(y));
                }),
                PoolKind::Average | PoolKind::AverageWithPadding => {
                    let all = (kind == PoolKind::AverageWithPadding).then_some(self.kernel[0] * self.kernel[1]);
                    let step = Step::new("average_pool2d.f32", move |inputs, mut outputs, scratch| {
                        let row = memory::elements_mut::<f32>(scratch).expect("scratch memory of whole elements");
                        let mean = |y: f32, n: usize| clamp.apply(y / all.unwrap_or(n) as f32);
                        let (x, y) = (inputs.get(0), outputs.get(0));
                        on_tier(tier, || pool.means(x, y, row, mean));
                    });
                    step.with_scratch(x.shape[3] * 4)
                }
            }));
        }
        if kind != PoolKind::Max && on.dialect == Dialect::Onnx {
            return Ok(match (x.dtype, out.dtype) {
                (DType::I8, DType::I8) => reals::<i8>(pool, self, x, out),
                (DType::U8, DType::U8) => reals::<u8>(pool, self, x, out),
                _ => None,
            });
        }
        let exact = kind == PoolKind::Max || (kind == PoolKind::Average && on.dialect == Dialect::Tflite);
        if !exact || !super::same_elements(x, out) {
            return Ok(None);
        }
        Ok(match (x.dtype, x.per_tensor()) {
            (DType::I8, Some((scale, zero))) => integers::<i8>(pool, tier, shares, kind, clamp.quantized::<i8>(scale, zero)),
            (DType::U8, Some((scale, zero))) => integers::<u8>(pool, tier, shares, kind, clamp.quantized::<u8>(scale, zero)),
            (DType::I16, Some((scale, zero))) => integers::<i16>(pool, tier, shares, kind, clamp.quantized::<i16>(scale, zero)),
            _ => None,
        })
    }

    fn work(&self, _inputs: &[Operand<'_>], outputs: &[Fact]) -> u64 {
        let taps = (self.kernel[0] as u64).saturating_mul(self.kernel[1] as u64);
        (outputs[0].len() as u64).saturating_mul(taps)
    }
}

/// The loops of a pool.
#[derive(Clone, Copy)]
struct Pool {
    input: [usize; 4],
    output: [usize; 2],
    kernel: [usize; 2],
    window: Window,
}

impl Pool {
    /// Taps of output `at` of dimension `d` that lie inside the input, as positions in it.
    #[inline(always)]
    fn inside(&self, d: usize, at: usize) -> impl Iterator<Item = usize> + use<> {
        let Window { stride, dilation, before, .. } = self.window;
        let (start, step, length) = (at * stride[d], dilation[d], self.input[d + 1]);
        let taps = (0..self.kernel[d]).map(move |k| (start + k * step).wrapping_sub(before[d]));
        taps.filter(move |p| *p < length)
    }

    /// Output pixels that threads share.
    fn shares(&self, threads: &Threads) -> Shares {
        let ([n, _, _, c], [oh, ow], [kh, kw]) = (self.input, self.output, self.kernel);
        Shares::new(threads, n * oh * ow, c.saturating_mul(kh.saturating_mul(kw)))
    }

    /// Means of windows: sums of rows are summed, so that large windows lose little.
    #[inline(always)]
    fn means(&self, x: &[f32], y: &mut [f32], row_sum: &mut [f32], finish: impl Fn(f32, usize) -> f32) {
        let ([n, h, w, c], [oh, ow]) = (self.input, self.output);
        if c == 0 {
            return;
        }
        for (at, y) in y.chunks_exact_mut(c).take(n * oh * ow).enumerate() {
            let (ox, oy, image) = (at % ow, at / ow % oh, at / ow / oh);
            y.fill(0.0);
            let mut count = 0;
            for row in self.inside(0, oy) {
                row_sum.fill(0.0);
                for column in self.inside(1, ox) {
                    let pixel = &x[((image * h + row) * w + column) * c..][..c];
                    row_sum.iter_mut().zip(pixel).for_each(|(sum, x)| *sum += x);
                    count += 1;
                }
                y.iter_mut().zip(&*row_sum).for_each(|(y, sum)| *y += sum);
            }
            y.iter_mut().for_each(|y| *y = finish(*y, count));
        }
    }

    /// Folds every window from `zero` with `take`, then `finish` with the number of elements.
    fn run<T: Element, A: Element>(
        self,
        (tier, shares): (Tier, &Shares),
        x: &[T],
        y: &mut [A],
        zero: A,
        take: impl Fn(A, T) -> A + Copy + Sync,
        finish: impl Fn(A, usize) -> A + Copy + Sync,
    ) {
        shares.run(y, &|pixels, y| on_tier(tier, || self.fold(x, y, pixels, zero, take, finish)));
    }

    #[inline(always)]
    fn fold<T: Element, A: Element>(
        &self,
        x: &[T],
        y: &mut [A],
        pixels: Range<usize>,
        zero: A,
        take: impl Fn(A, T) -> A,
        finish: impl Fn(A, usize) -> A,
    ) {
        let [_, h, w, c] = self.input;
        let [oh, ow] = self.output;
        if c == 0 {
            return;
        }
        for (at, y) in pixels.zip(y.chunks_exact_mut(c)) {
            let (ox, oy, image) = (at % ow, at / ow % oh, at / ow / oh);
            y.fill(zero);
            let mut count = 0;
            for row in self.inside(0, oy) {
                for column in self.inside(1, ox) {
                    let pixel = &x[((image * h + row) * w + column) * c..][..c];
                    y.iter_mut().zip(pixel).for_each(|(y, x)| *y = take(*y, *x));
                    count += 1;
                }
            }
            y.iter_mut().for_each(|y| *y = finish(*y, count));
        }
    }
}

fn integers<T: Quantized + Ord>(
    pool: Pool,
    tier: Tier,
    shares: Shares,
    kind: PoolKind,
    (min, max): (i32, i32),
) -> Option<Step> {
    let cut = move |v: i32| T::narrow(v.clamp(min, max));
    if kind == PoolKind::Max {
        return Some(Step::map("max_pool2d.int", move |x: &[T], y: &mut [T]| {
            let larger = |a, x| if x > a { x } else { a };
            pool.run((tier, &shares), x, y, T::narrow(T::MIN), larger, move |y, _| cut(y.wide()));
        }));
    }
    let [_, _, _, c] = pool.input;
    let step = Step::new("average_pool2d.int", move |inputs, mut outputs, scratch| {
        let sums = memory::elements_mut::<i32>(scratch).expect("scratch memory of whole elements");
        let (x, y) = (inputs.get::<T>(0), outputs.get::<T>(0));
        let [n, h, w, _] = pool.input;
        let [oh, ow] = pool.output;
        for (at, y) in y.chunks_exact_mut(c.max(1)).enumerate() {
            // One output pixel at a time, so that its sums fit the scratch memory.
            let (ox, oy, image) = (at % ow, at / ow % oh, at / ow / oh);
            debug_assert!(image < n);
            sums.fill(0);
            let mut count = 0;
            for row in pool.inside(0, oy) {
                for column in pool.inside(1, ox) {
                    let pixel = &x[((image * h + row) * w + column) * c..][..c];
                    sums.iter_mut().zip(pixel).for_each(|(s, x)| *s += x.wide());
                    count += 1;
                }
            }
            y.iter_mut().zip(sums.iter()).for_each(|(y, s)| *y = cut(rounded_mean(*s, count)));
        }
    });
    Some(step.with_scratch(c * 4))
}

/// Means as ONNX Runtime's `QLinearAveragePool` has them: sums of the real numbers, and rounding after the zero
/// point is added.
fn reals<T: Quantized>(pool: Pool, op: &Pool2d, x: &Fact, out: &Fact) -> Option<Step> {
    let ((from, from_zero), (to, to_zero)) = (x.per_tensor()?, out.per_tensor()?);
    let (min, max) = op.clamp.quantized::<T>(to, to_zero);
    let requant = Requant::new(min, max, 0);
    let all = (op.kind == PoolKind::AverageWithPadding).then_some(op.kernel[0] * op.kernel[1]);
    let [n, h, w, c] = pool.input;
    let [oh, ow] = pool.output;
    let step = Step::new("average_pool2d.int", move |inputs, mut outputs, scratch| {
        let sums = memory::elements_mut::<f32>(scratch).expect("scratch memory of whole elements");
        let (x, y) = (inputs.get::<T>(0), outputs.get::<T>(0));
        for (at, y) in y.chunks_exact_mut(c.max(1)).take(n * oh * ow).enumerate() {
            let (ox, oy, image) = (at % ow, at / ow % oh, at / ow / oh);
            sums.fill(0.0);
            let mut count = 0;
            for row in pool.inside(0, oy) {
                for column in pool.inside(1, ox) {
                    let pixel = &x[((image * h + row) * w + column) * c..][..c];
                    let real = |x: &T| (x.wide() - from_zero) as f32 * from;
                    sums.iter_mut().zip(pixel).for_each(|(s, x)| *s += real(x));
                    count += 1;
                }
            }
            let count = all.unwrap_or(count) as f32;
            let mean = |s: f32| T::narrow(requant.apply(s / count / to + to_zero as f32));
            y.iter_mut().zip(sums.iter()).for_each(|(y, s)| *y = mean(*s));
        }
    });
    Some(step.with_scratch(c * 4))
}

/// The mean to the nearest, ties away from zero.
fn rounded_mean(sum: i32, count: i32) -> i32 {
    let half = count / 2;
    if count == 0 {
        0
    } else if sum > 0 {
        (sum + half) / count
    } else {
        (sum - half) / count
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::builtin::testing::{Given, exact, near, quantized};

    const WINDOW: Window = Window { stride: [2, 1], dilation: [1, 1], before: [1, 0], after: [0, 1] };

    fn op(kind: PoolKind) -> Pool2d {
        Pool2d { kind, kernel: [2, 2], window: WINDOW, clamp: Clamp::NONE }
    }

    #[test]
    fn known_windows() {
        // 3 x 2: windows of rows (0), (1, 2) and columns (0, 1), (1).
        let x = Given::input(&[1, 3, 2, 1], &[1f32, 2.0, 3.0, -4.0, 5.0, 6.5]);
        let x = std::slice::from_ref(&x);
        near(op(PoolKind::Max), x, &[2.0, 2.0, 6.5, 6.5], 0.0);
        near(op(PoolKind::Average), x, &[1.5, 2.0, 2.625, 1.25], 0.0);
        near(op(PoolKind::AverageWithPadding), x, &[0.75, 0.5, 2.625, 0.625], 0.0);
    }

    #[test]
    fn integers_round_away_from_zero() {
        let x = Given::input(&[1, 3, 2, 1], &[1i8, 2, 3, -4, -5, -8]).quantized(&[0.5], &[3], 0);
        let got: Vec<i8> = exact(op(PoolKind::Average), std::slice::from_ref(&x), quantized(DType::I8, 0.5, 3));
        assert_eq!(got, [2, 2, -4, -6]);
        let got: Vec<i8> = exact(op(PoolKind::Max), &[x], quantized(DType::I8, 0.5, 3));
        assert_eq!(got, [2, 2, 3, -4]);
    }
}
