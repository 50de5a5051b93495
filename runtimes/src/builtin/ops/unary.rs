//! Functions of one number, element by element.

use super::{Operand, Operator, Prepare, arity, quantized_unary};
use crate::Result;
use protocol::DType;
use crate::builtin::graph::Fact;
use crate::builtin::kernels::memory::Element;
use crate::builtin::kernels::nest::map1;
use crate::builtin::kernels::threads::Shares;
use crate::builtin::kernels::{Tier, math};
use crate::builtin::step::Step;

/// Which function.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum UnaryKind {
    /// |x|
    Abs,
    /// −x
    Neg,
    /// eˣ
    Exp,
    /// ln x
    Log,
    /// √x
    Sqrt,
    /// 1 / √x
    Rsqrt,
    /// x²
    Square,
    /// 1 / x
    Reciprocal,
    /// sin x
    Sin,
    /// cos x
    Cos,
    /// tan x
    Tan,
    /// the angle whose sine is x
    Asin,
    /// the angle whose cosine is x
    Acos,
    /// the angle whose tangent is x
    Atan,
    /// (eˣ − e⁻ˣ) / 2
    Sinh,
    /// (eˣ + e⁻ˣ) / 2
    Cosh,
    /// inverse of sinh
    Asinh,
    /// inverse of cosh
    Acosh,
    /// inverse of tanh
    Atanh,
    /// tanh x
    Tanh,
    /// 1 / (1 + e⁻ˣ)
    Logistic,
    /// x · min(max(x + 3, 0), 6) / 6
    HardSwish,
    /// min(max(alpha · x + beta, 0), 1)
    HardSigmoid {
        /// Slope.
        alpha: f32,
        /// Value at 0.
        beta: f32,
    },
    /// x where positive, else slope · x
    LeakyRelu {
        /// Slope where negative.
        slope: f32,
    },
    /// x where positive, else alpha · (eˣ − 1)
    Elu {
        /// Limit of −result for small x.
        alpha: f32,
    },
    /// x / 2 · (1 + erf(x / √2))
    Gelu,
    /// The same with the tanh approximation.
    GeluTanh,
    /// x / (1 + e⁻ˣ)
    Silu,
    /// ln(1 + eˣ)
    Softplus,
    /// x / (1 + |x|)
    Softsign,
    /// erf x
    Erf,
    /// ⌊x⌋
    Floor,
    /// ⌈x⌉
    Ceil,
    /// To the nearest, ties to even.
    Round,
    /// −1, 0 or 1
    Sign,
    /// of bool
    Not,
}

/// A function of one number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Unary {
    /// Which.
    pub kind: UnaryKind,
}

impl Operator for Unary {
    fn name(&self) -> &'static str {
        match self.kind {
            UnaryKind::Abs => "Abs",
            UnaryKind::Neg => "Neg",
            UnaryKind::Exp => "Exp",
            UnaryKind::Log => "Log",
            UnaryKind::Sqrt => "Sqrt",
            UnaryKind::Rsqrt => "Rsqrt",
            UnaryKind::Square => "Square",
            UnaryKind::Reciprocal => "Reciprocal",
            UnaryKind::Sin => "Sin",
            UnaryKind::Cos => "Cos",
            UnaryKind::Tan => "Tan",
            UnaryKind::Asin => "Asin",
            UnaryKind::Acos => "Acos",
            UnaryKind::Atan => "Atan",
            UnaryKind::Sinh => "Sinh",
            UnaryKind::Cosh => "Cosh",
            UnaryKind::Asinh => "Asinh",
            UnaryKind::Acosh => "Acosh",
            UnaryKind::Atanh => "Atanh",
            UnaryKind::Tanh => "Tanh",
            UnaryKind::Logistic => "Logistic",
            UnaryKind::HardSwish => "HardSwish",
            UnaryKind::HardSigmoid { .. } => "HardSigmoid",
            UnaryKind::LeakyRelu { .. } => "LeakyRelu",
            UnaryKind::Elu { .. } => "Elu",
            UnaryKind::Gelu | UnaryKind::GeluTanh => "Gelu",
            UnaryKind::Silu => "Silu",
            UnaryKind::Softplus => "Softplus",
            UnaryKind::Softsign => "Softsign",
            UnaryKind::Erf => "Erf",
            UnaryKind::Floor => "Floor",
            UnaryKind::Ceil => "Ceil",
            UnaryKind::Round => "Round",
            UnaryKind::Sign => "Sign",
            UnaryKind::Not => "Not",
        }
    }

    fn infer(&self, inputs: &[Operand<'_>]) -> Result<Vec<Fact>> {
        arity(inputs, 1, 1)?;
        Ok(vec![inputs[0].fact.clone().as_real()])
    }

    fn prepare(&self, on: &Prepare<'_>) -> Result<Option<Step>> {
        let (x, out) = (on.inputs[0].fact, &on.outputs[0]);
        if x.quant.is_some() || out.quant.is_some() || x.dtype != out.dtype {
            return Ok(quantized_unary::prepare(self.kind, on));
        }
        Ok(match x.dtype {
            DType::F32 => floats(self.kind, on),
            DType::F64 if self.kind != UnaryKind::Not => {
                let kind = self.kind;
                Some(Step::map("unary.f64", move |x: &[f64], y: &mut [f64]| {
                    x.iter().zip(y).for_each(|(x, y)| *y = kind.real64(*x));
                }))
            }
            DType::I32 => integers::<i32>(self.kind),
            DType::I64 => integers::<i64>(self.kind),
            DType::Bool if self.kind == UnaryKind::Not => {
                Some(Step::map("not", |x: &[u8], y: &mut [u8]| {
                    x.iter().zip(y).for_each(|(x, y)| *y = u8::from(*x == 0));
                }))
            }
            _ => None,
        })
    }
}

/// Elementary operations of a function that is a polynomial, and of one that is a call.
const POLYNOMIAL: usize = 8;
const CALL: usize = 32;

fn floats(kind: UnaryKind, on: &Prepare<'_>) -> Option<Step> {
    /// Where a step runs, and how much work there is for it.
    #[derive(Clone)]
    struct Over(Tier, Shares);
    fn step(label: &'static str, on: Over, f: impl Fn(f32) -> f32 + Copy + Send + Sync + 'static) -> Option<Step> {
        let Over(tier, shares) = on;
        Some(Step::each(label, shares, move |x: &[f32], y: &mut [f32]| map1(tier, x, y, f)))
    }
    let over = |work| Over(on.tier, Shares::new(on.threads, on.outputs[0].len(), work));
    let (cheap, dear) = (over(1), over(POLYNOMIAL));
    match kind {
        UnaryKind::Abs => step("abs.f32", cheap, |x| x.abs()),
        UnaryKind::Neg => step("neg.f32", cheap, |x| -x),
        UnaryKind::Square => step("square.f32", cheap, |x| x * x),
        UnaryKind::Reciprocal => step("reciprocal.f32", cheap, |x| 1.0 / x),
        UnaryKind::Sqrt => step("sqrt.f32", cheap, |x| x.sqrt()),
        UnaryKind::Rsqrt => step("rsqrt.f32", cheap, |x| 1.0 / x.sqrt()),
        UnaryKind::LeakyRelu { slope } => {
            step("leaky_relu.f32", cheap, move |x| if x < 0.0 { x * slope } else { x })
        }
        UnaryKind::Exp => step("exp.f32", dear, math::exp),
        UnaryKind::Tanh => step("tanh.f32", dear, math::tanh),
        UnaryKind::Logistic => step("logistic.f32", dear, math::logistic),
        UnaryKind::Silu => step("silu.f32", dear, |x| x * math::logistic(x)),
        UnaryKind::Erf => step("erf.f32", dear, math::erf),
        UnaryKind::Gelu => step("gelu.f32", dear, |x| {
            0.5 * x * (1.0 + math::erf(x * std::f32::consts::FRAC_1_SQRT_2))
        }),
        UnaryKind::GeluTanh => step("gelu.f32", dear, |x| {
            0.5 * x * (1.0 + math::tanh(0.797_884_6 * (x + 0.044_715 * x * x * x)))
        }),
        UnaryKind::HardSwish => step("hard_swish.f32", cheap, |x| x * (cut(x + 3.0, 6.0) / 6.0)),
        UnaryKind::HardSigmoid { alpha, beta } => {
            step("hard_sigmoid.f32", cheap, move |x| cut(alpha * x + beta, 1.0))
        }
        UnaryKind::Elu { alpha } => {
            step("elu.f32", dear, move |x| if x < 0.0 { alpha * math::exp_m1(x) } else { x })
        }
        UnaryKind::Not => None,
        other => Some(Step::each("unary.f32", over(CALL).1, move |x: &[f32], y: &mut [f32]| {
            x.iter().zip(y).for_each(|(x, y)| *y = other.real(*x));
        })),
    }
}

/// Between 0 and `high`; NaN stays.
#[inline(always)]
fn cut(x: f32, high: f32) -> f32 {
    let x = if x < 0.0 { 0.0 } else { x };
    if x > high { high } else { x }
}

macro_rules! real {
    ($(#[$doc:meta])* $name:ident, $t:ident) => {
        $(#[$doc])*
        pub fn $name(self, x: $t) -> $t {
            let logistic = |x: $t| 1.0 / (1.0 + (-x).exp());
            match self {
                Self::Abs => x.abs(),
                Self::Neg => -x,
                Self::Exp => x.exp(),
                Self::Log => x.ln(),
                Self::Sqrt => x.sqrt(),
                Self::Rsqrt => 1.0 / x.sqrt(),
                Self::Square => x * x,
                Self::Reciprocal => 1.0 / x,
                Self::Sin => x.sin(),
                Self::Cos => x.cos(),
                Self::Tan => x.tan(),
                Self::Asin => x.asin(),
                Self::Acos => x.acos(),
                Self::Atan => x.atan(),
                Self::Sinh => x.sinh(),
                Self::Cosh => x.cosh(),
                Self::Asinh => x.asinh(),
                Self::Acosh => x.acosh(),
                Self::Atanh => x.atanh(),
                Self::Tanh => x.tanh(),
                Self::Logistic => logistic(x),
                Self::HardSwish => x * ((x + 3.0).clamp(0.0, 6.0) / 6.0),
                Self::HardSigmoid { alpha, beta } => ($t::from(alpha) * x + $t::from(beta)).clamp(0.0, 1.0),
                Self::LeakyRelu { slope } => if x < 0.0 { x * $t::from(slope) } else { x },
                Self::Elu { alpha } => if x < 0.0 { $t::from(alpha) * x.exp_m1() } else { x },
                Self::Gelu => 0.5 * x * (1.0 + erf(f64::from(x * std::$t::consts::FRAC_1_SQRT_2)) as $t),
                Self::GeluTanh => {
                    let inner = 0.797_884_6 * (x + 0.044_715 * x * x * x);
                    0.5 * x * (1.0 + inner.tanh())
                }
                Self::Silu => x * logistic(x),
                Self::Softplus => x.max(0.0) + (-x.abs()).exp().ln_1p(),
                Self::Softsign => x / (1.0 + x.abs()),
                Self::Erf => erf(f64::from(x)) as $t,
                Self::Floor => x.floor(),
                Self::Ceil => x.ceil(),
                Self::Round => x.round_ties_even(),
                Self::Sign => if x > 0.0 { 1.0 } else if x < 0.0 { -1.0 } else { x },
                Self::Not => if x == 0.0 { 1.0 } else { 0.0 },
            }
        }
    };
}

impl UnaryKind {
    real!(
        /// The function of one real number.
        real, f32
    );
    real!(
        /// The same in double precision.
        real64, f64
    );
}

/// The error function to about 1e-7: its Maclaurin series near zero, a continued fraction of the
/// complement beyond.
fn erf(x: f64) -> f64 {
    let (z, sign) = (x.abs(), x.signum());
    if z.is_nan() {
        return x;
    }
    let square = z * z;
    let value = if z < 2.5 {
        let (mut term, mut sum) = (z, z);
        for n in 1..40u32 {
            term *= -square / f64::from(n);
            sum += term / f64::from(2 * n + 1);
        }
        sum * std::f64::consts::FRAC_2_SQRT_PI
    } else {
        let tail = (1..30u32).rev().fold(z, |deep, n| z + f64::from(n) / 2.0 / deep);
        1.0 - (-square).exp() / (tail * std::f64::consts::PI.sqrt())
    };
    sign * value
}

trait Integer: Element {
    fn abs(self) -> Self;
    fn neg(self) -> Self;
    fn square(self) -> Self;
    fn sign(self) -> Self;
}

macro_rules! integer {
    ($($t:ty),*) => { $(impl Integer for $t {
        fn abs(self) -> Self { self.wrapping_abs() }
        fn neg(self) -> Self { self.wrapping_neg() }
        fn square(self) -> Self { self.wrapping_mul(self) }
        fn sign(self) -> Self { self.signum() }
    })* };
}
integer!(i32, i64);

fn integers<T: Integer>(kind: UnaryKind) -> Option<Step> {
    let f: fn(T) -> T = match kind {
        UnaryKind::Abs => T::abs,
        UnaryKind::Neg => T::neg,
        UnaryKind::Square => T::square,
        UnaryKind::Sign => T::sign,
        _ => return None,
    };
    Some(Step::map("unary.int", move |x: &[T], y: &mut [T]| x.iter().zip(y).for_each(|(x, y)| *y = f(*x))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_function_known_values() {
        let known = [(0.0, 0.0), (0.5, 0.520_499_9), (1.0, 0.842_700_8), (-2.0, -0.995_322_3), (2.6, 0.999_764)];
        for (x, y) in known {
            assert!((erf(x) - y).abs() < 2e-7, "erf({x}) = {}, not {y}", erf(x));
        }
        assert_eq!(erf(9.0), 1.0);
        assert!(erf(f64::NAN).is_nan());
    }
}
