//! Arithmetic of two operands, element by element, broadcast at the last dimension.

use super::{Clamp, Operand, Operator, Prepare, arity, broadcast};
use crate::Result;
use protocol::DType;
use crate::builtin::graph::Fact;
use crate::builtin::kernels::Tier;
use crate::builtin::kernels::memory::Element;
use crate::builtin::kernels::nest::{Nest, SharedNest, map2};
use crate::builtin::step::Step;

/// Which arithmetic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BinaryKind {
    /// a + b
    Add,
    /// a − b
    Sub,
    /// a · b
    Mul,
    /// a / b; integers truncate
    Div,
    /// the larger
    Max,
    /// the smaller
    Min,
    /// a to the power of b
    Pow,
    /// the angle of the point (b, a)
    Atan2,
    /// (a − b)²
    SquaredDifference,
    /// ⌊a / b⌋
    FloorDiv,
    /// a − b · ⌊a / b⌋: the sign of b
    FloorMod,
    /// a − b · trunc(a / b): the sign of a
    Rem,
}

/// `a ∘ b`, cut to a range.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Binary {
    /// Which arithmetic.
    pub kind: BinaryKind,
    /// Range of the result; f32 and quantised only.
    pub clamp: Clamp,
}

impl Binary {
    /// Without a range.
    pub fn new(kind: BinaryKind) -> Self {
        Self { kind, clamp: Clamp::NONE }
    }
}

impl Operator for Binary {
    fn name(&self) -> &'static str {
        match self.kind {
            BinaryKind::Add => "Add",
            BinaryKind::Sub => "Sub",
            BinaryKind::Mul => "Mul",
            BinaryKind::Div => "Div",
            BinaryKind::Max => "Max",
            BinaryKind::Min => "Min",
            BinaryKind::Pow => "Pow",
            BinaryKind::Atan2 => "Atan2",
            BinaryKind::SquaredDifference => "SquaredDifference",
            BinaryKind::FloorDiv => "FloorDiv",
            BinaryKind::FloorMod => "FloorMod",
            BinaryKind::Rem => "Rem",
        }
    }

    fn infer(&self, inputs: &[Operand<'_>]) -> Result<Vec<Fact>> {
        arity(inputs, 2, 2)?;
        let (a, b) = (inputs[0].fact, inputs[1].fact);
        let shape = broadcast(&a.shape, &b.shape)?;
        Ok(vec![Fact { shape, ..a.clone() }.as_real()])
    }

    fn prepare(&self, on: &Prepare<'_>) -> Result<Option<Step>> {
        let (a, b, out) = (on.inputs[0].fact, on.inputs[1].fact, &on.outputs[0]);
        if a.dtype != b.dtype || a.dtype != out.dtype {
            return Ok(None);
        }
        let nest = Nest::broadcast(&out.shape, [&a.shape, &b.shape]);
        if [a, b, out].iter().any(|f| f.quant.is_some()) {
            return Ok(super::quantized_binary::prepare(*self, on, nest));
        }
        Ok(match out.dtype {
            DType::F32 => {
                let nest = SharedNest::new(nest, out.len(), on.threads);
                Some(floats(self.kind, Over { tier: on.tier, clamp: self.clamp, nest }))
            }
            _ if !self.clamp.is_none() => None,
            DType::F64 => Some(double(self.kind, nest)),
            DType::I8 => Some(integers::<i8>(self.kind, nest)),
            DType::U8 => Some(integers::<u8>(self.kind, nest)),
            DType::I16 => Some(integers::<i16>(self.kind, nest)),
            DType::U16 => Some(integers::<u16>(self.kind, nest)),
            DType::I32 => Some(integers::<i32>(self.kind, nest)),
            DType::U32 => Some(integers::<u32>(self.kind, nest)),
            DType::I64 => Some(integers::<i64>(self.kind, nest)),
            DType::U64 => Some(integers::<u64>(self.kind, nest)),
            _ => None,
        })
    }
}

/// Over what a step runs.
struct Over {
    tier: Tier,
    clamp: Clamp,
    nest: SharedNest<2>,
}

fn floats(kind: BinaryKind, over: Over) -> Step {
    fn step(label: &'static str, over: Over, f: impl Fn(f32, f32) -> f32 + Copy + Send + Sync + 'static) -> Step {
        let Over { tier, clamp, nest } = over;
        if clamp.is_none() {
            Step::map2(label, move |a, b, c| map2(tier, &nest, (a, b), c, f))
        } else {
            Step::map2(label, move |a, b, c| map2(tier, &nest, (a, b), c, move |a, b| clamp.apply(f(a, b))))
        }
    }
    match kind {
        BinaryKind::Add => step("add.f32", over, |a, b| a + b),
        BinaryKind::Sub => step("sub.f32", over, |a, b| a - b),
        BinaryKind::Mul => step("mul.f32", over, |a, b| a * b),
        BinaryKind::Div => step("div.f32", over, |a, b| a / b),
        BinaryKind::Max => step("max.f32", over, |a: f32, b: f32| if a.is_nan() || a > b { a } else { b }),
        BinaryKind::Min => step("min.f32", over, |a: f32, b: f32| if a.is_nan() || a < b { a } else { b }),
        BinaryKind::Pow => step("pow.f32", over, f32::powf),
        BinaryKind::Atan2 => step("atan2.f32", over, f32::atan2),
        BinaryKind::SquaredDifference => step("squared_difference.f32", over, |a, b| (a - b) * (a - b)),
        BinaryKind::FloorDiv => step("floor_div.f32", over, |a, b| (a / b).floor()),
        BinaryKind::FloorMod => step("floor_mod.f32", over, |a, b| {
            let r = a % b;
            if r != 0.0 && (r < 0.0) != (b < 0.0) { r + b } else { r }
        }),
        BinaryKind::Rem => step("rem.f32", over, |a, b| a % b),
    }
}

/// Rare enough to be chosen element by element.
fn double(kind: BinaryKind, nest: Nest<2>) -> Step {
    let f = move |a: f64, b: f64| match kind {
        BinaryKind::Add => a + b,
        BinaryKind::Sub => a - b,
        BinaryKind::Mul => a * b,
        BinaryKind::Div => a / b,
        BinaryKind::Max => if a.is_nan() || a > b { a } else { b },
        BinaryKind::Min => if a.is_nan() || a < b { a } else { b },
        BinaryKind::Pow => a.powf(b),
        BinaryKind::Atan2 => a.atan2(b),
        BinaryKind::SquaredDifference => (a - b) * (a - b),
        BinaryKind::FloorDiv => (a / b).floor(),
        BinaryKind::FloorMod => {
            let r = a % b;
            if r != 0.0 && (r < 0.0) != (b < 0.0) { r + b } else { r }
        }
        BinaryKind::Rem => a % b,
    };
    Step::map2("binary.f64", move |a: &[f64], b: &[f64], c: &mut [f64]| nest.map(a, b, c, f))
}

/// Integers as wide as they are computed with; division by zero gives zero.
trait Integer: Element {
    fn binary(kind: BinaryKind, a: Self, b: Self) -> Self;
}

macro_rules! integer {
    ($other_sign:expr; $($t:ty),*) => { $(impl Integer for $t {
        #[inline(always)]
        fn binary(kind: BinaryKind, a: Self, b: Self) -> Self {
            let other_sign: fn(Self, Self) -> bool = $other_sign;
            match kind {
                BinaryKind::Add => a.wrapping_add(b),
                BinaryKind::Sub => a.wrapping_sub(b),
                BinaryKind::Mul => a.wrapping_mul(b),
                BinaryKind::Max => a.max(b),
                BinaryKind::Min => a.min(b),
                BinaryKind::Pow => u32::try_from(b).map_or(0, |b| a.wrapping_pow(b)),
                BinaryKind::SquaredDifference => a.wrapping_sub(b).wrapping_mul(a.wrapping_sub(b)),
                // Of reals only.
                BinaryKind::Atan2 => 0,
                _ if b == 0 => 0,
                BinaryKind::Div => a.wrapping_div(b),
                BinaryKind::FloorDiv => {
                    let (q, r) = (a.wrapping_div(b), a.wrapping_rem(b));
                    if r != 0 && other_sign(r, b) { q.wrapping_sub(1) } else { q }
                }
                BinaryKind::FloorMod => {
                    let r = a.wrapping_rem(b);
                    if r != 0 && other_sign(r, b) { r.wrapping_add(b) } else { r }
                }
                BinaryKind::Rem => a.wrapping_rem(b),
            }
        }
    })* };
}
integer!(|a, b| (a < 0) != (b < 0); i8, i16, i32, i64);
integer!(|_, _| false; u8, u16, u32, u64);

fn integers<T: Integer>(kind: BinaryKind, nest: Nest<2>) -> Step {
    Step::map2("binary.int", move |a: &[T], b: &[T], c: &mut [T]| {
        nest.map(a, b, c, |a, b| T::binary(kind, a, b));
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::builtin::testing::{Given, near, on_all_tiers};

    #[test]
    fn floats_of_every_kind() {
        let x = [Given::input(&[2, 2], &[7f32, -7.0, 2.5, 0.5]), Given::constant(&[2], &[2f32, 3.0])];
        for (kind, expected) in [
            (BinaryKind::Add, [9.0, -4.0, 4.5, 3.5]),
            (BinaryKind::Sub, [5.0, -10.0, 0.5, -2.5]),
            (BinaryKind::Mul, [14.0, -21.0, 5.0, 1.5]),
            (BinaryKind::Div, [3.5, -7.0 / 3.0, 1.25, 0.5 / 3.0]),
            (BinaryKind::Max, [7.0, 3.0, 2.5, 3.0]),
            (BinaryKind::Min, [2.0, -7.0, 2.0, 0.5]),
            (BinaryKind::Pow, [49.0, -343.0, 6.25, 0.125]),
            (BinaryKind::SquaredDifference, [25.0, 100.0, 0.25, 6.25]),
            (BinaryKind::FloorDiv, [3.0, -3.0, 1.0, 0.0]),
            (BinaryKind::FloorMod, [1.0, 2.0, 0.5, 0.5]),
            (BinaryKind::Rem, [1.0, -1.0, 0.5, 0.5]),
        ] {
            near(Binary::new(kind), &x, &expected, 1e-6);
        }
        let clamp = Clamp { min: 0.0, max: 4.0 };
        near(Binary { kind: BinaryKind::Add, clamp }, &x, &[4.0, 0.0, 4.0, 3.5], 0.0);
    }

    #[test]
    fn integers_survive_zero_and_overflow() {
        let x = [Given::input(&[4], &[7i32, -7, i32::MIN, 5]), Given::input(&[4], &[2i32, 2, -1, 0])];
        for (kind, expected) in [
            (BinaryKind::Div, [3, -3, i32::MIN, 0]),
            (BinaryKind::FloorDiv, [3, -4, i32::MIN, 0]),
            (BinaryKind::FloorMod, [1, 1, 0, 0]),
            (BinaryKind::Rem, [1, -1, 0, 0]),
            (BinaryKind::Pow, [49, 49, 0, 1]),
            (BinaryKind::Add, [9, -5, i32::MAX, 5]),
        ] {
            for (_, got, _) in on_all_tiers::<i32>(Binary::new(kind), &x, None) {
                assert_eq!(got, expected, "{kind:?}");
            }
        }
    }
}
