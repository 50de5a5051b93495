//! Sums, means and extremes along dimensions.

use super::{Operand, Operator, Prepare, arity};
use crate::builtin::graph::Fact;
use crate::builtin::kernels::memory::Element;
use crate::builtin::kernels::nest::{Nest, dense_strides};
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
            return Ok(None);
        }
        if matches!(self.kind, ReduceKind::ArgMax | ReduceKind::ArgMin) {
            return Ok(self.index(x, out));
        }
        if x.dtype != out.dtype {
            return Ok(None);
        }
        let walk = self.walk(x);
        let count: usize = self.axes.iter().map(|a| x.shape[*a]).product();
        Ok(match x.dtype {
            DType::F32 => Some(floats(self.kind, walk, count)),
            DType::I32 => integers::<i32>(self.kind, walk),
            DType::I64 => integers::<i64>(self.kind, walk),
            DType::Bool if matches!(self.kind, ReduceKind::All | ReduceKind::Any) => {
                let all = self.kind == ReduceKind::All;
                Some(fold("reduce.bool", walk, u8::from(all), move |a, x| if all { a & x } else { a | x }, |_| {}))
            }
            _ => None,
        })
    }
}

impl Reduce {
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
    walk: Nest<1>,
    zero: T,
    take: impl Fn(T, T) -> T + Send + 'static,
    finish: impl Fn(&mut [T]) + Send + 'static,
) -> Step {
    Step::map(label, move |x: &[T], y: &mut [T]| {
        y.fill(zero);
        let stride = walk.strides[0];
        walk.rows(|at, [out]| {
            let row = &x[at..at + walk.length];
            if stride == 0 {
                y[out] = row.iter().fold(y[out], |a, x| take(a, *x));
            } else {
                let target = y[out..].iter_mut().step_by(stride.unsigned_abs());
                row.iter().zip(target).for_each(|(x, y)| *y = take(*y, *x));
            }
        });
        finish(y);
    })
}

fn floats(kind: ReduceKind, walk: Nest<1>, count: usize) -> Step {
    let none = |_: &mut [f32]| {};
    let scale = 1.0 / count as f32;
    let mean = move |y: &mut [f32]| y.iter_mut().for_each(|y| *y *= scale);
    let root = |y: &mut [f32]| y.iter_mut().for_each(|y| *y = y.sqrt());
    let (low, high) = (f32::NEG_INFINITY, f32::INFINITY);
    match kind {
        ReduceKind::Sum => fold("reduce_sum.f32", walk, 0.0, |a: f32, x| a + x, none),
        ReduceKind::Mean => fold("reduce_mean.f32", walk, 0.0, |a: f32, x| a + x, mean),
        ReduceKind::Max => fold("reduce_max.f32", walk, low, |a: f32, x| if x > a { x } else { a }, none),
        ReduceKind::Min => fold("reduce_min.f32", walk, high, |a: f32, x| if x < a { x } else { a }, none),
        ReduceKind::Prod => fold("reduce_prod.f32", walk, 1.0, |a: f32, x| a * x, none),
        ReduceKind::L1 => fold("reduce_l1.f32", walk, 0.0, |a: f32, x: f32| a + x.abs(), none),
        ReduceKind::L2 => fold("reduce_l2.f32", walk, 0.0, |a: f32, x| a + x * x, root),
        _ => fold("reduce_sum_square.f32", walk, 0.0, |a: f32, x| a + x * x, none),
    }
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

fn integers<T: Integer>(kind: ReduceKind, walk: Nest<1>) -> Option<Step> {
    let zero = match kind {
        ReduceKind::Max => T::LOWEST,
        ReduceKind::Min => T::HIGHEST,
        ReduceKind::Prod => T::ONE,
        ReduceKind::Sum | ReduceKind::L1 | ReduceKind::SumSquare => T::ZERO,
        _ => return None,
    };
    Some(fold("reduce.int", walk, zero, move |a, x| T::reduce(kind, a, x), |_| {}))
}
