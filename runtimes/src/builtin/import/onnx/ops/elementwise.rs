//! Arithmetic, comparison and functions, element by element.

use super::super::call::Call;
use super::Import;
use crate::builtin::graph::ValueId;
use crate::builtin::ops::{
    Binary, BinaryKind, Bitwise, BitwiseKind, Cast, Clamp, Clip, Compare, CompareKind, Prelu, Select, Unary,
    UnaryKind,
};
use crate::builtin::tensor::Tensor;
use crate::{Error, Result};
use protocol::DType;

pub(super) const OPS: &[(&str, Import)] = &[
    ("Abs", |call| unary(call, UnaryKind::Abs)),
    ("Acos", |call| unary(call, UnaryKind::Acos)),
    ("Acosh", |call| unary(call, UnaryKind::Acosh)),
    ("Add", |call| binary(call, BinaryKind::Add)),
    ("And", |call| compare(call, CompareKind::And)),
    ("Asin", |call| unary(call, UnaryKind::Asin)),
    ("Asinh", |call| unary(call, UnaryKind::Asinh)),
    ("Atan", |call| unary(call, UnaryKind::Atan)),
    ("Atanh", |call| unary(call, UnaryKind::Atanh)),
    ("BitShift", bit_shift),
    ("BitwiseAnd", |call| bitwise(call, BitwiseKind::And)),
    ("BitwiseNot", bitwise_not),
    ("BitwiseOr", |call| bitwise(call, BitwiseKind::Or)),
    ("BitwiseXor", |call| bitwise(call, BitwiseKind::Xor)),
    ("Cast", cast),
    ("CastLike", cast_like),
    ("Ceil", |call| unary(call, UnaryKind::Ceil)),
    ("Celu", celu),
    ("Clip", clip),
    ("Cos", |call| unary(call, UnaryKind::Cos)),
    ("Cosh", |call| unary(call, UnaryKind::Cosh)),
    ("Div", |call| binary(call, BinaryKind::Div)),
    ("Elu", |call| {
        let alpha = call.float_or("alpha", 1.0)?;
        unary(call, UnaryKind::Elu { alpha })
    }),
    ("Equal", |call| compare(call, CompareKind::Equal)),
    ("Erf", |call| unary(call, UnaryKind::Erf)),
    ("Exp", |call| unary(call, UnaryKind::Exp)),
    ("Floor", |call| unary(call, UnaryKind::Floor)),
    ("Gelu", gelu),
    ("Greater", |call| compare(call, CompareKind::Greater)),
    ("GreaterOrEqual", |call| compare(call, CompareKind::GreaterEqual)),
    ("HardSigmoid", |call| {
        let (alpha, beta) = (call.float_or("alpha", 0.2)?, call.float_or("beta", 0.5)?);
        unary(call, UnaryKind::HardSigmoid { alpha, beta })
    }),
    ("HardSwish", |call| unary(call, UnaryKind::HardSwish)),
    ("IsInf", is_inf),
    ("IsNaN", is_nan),
    ("LeakyRelu", |call| {
        let slope = call.float_or("alpha", 0.01)?;
        unary(call, UnaryKind::LeakyRelu { slope })
    }),
    ("Less", |call| compare(call, CompareKind::Less)),
    ("LessOrEqual", |call| compare(call, CompareKind::LessEqual)),
    ("Log", |call| unary(call, UnaryKind::Log)),
    ("Max", |call| fold(call, BinaryKind::Max)),
    ("Mean", mean),
    ("Min", |call| fold(call, BinaryKind::Min)),
    ("Mish", mish),
    ("Mod", modulo),
    ("Mul", |call| binary(call, BinaryKind::Mul)),
    ("Neg", |call| unary(call, UnaryKind::Neg)),
    ("Not", |call| unary(call, UnaryKind::Not)),
    ("Or", |call| compare(call, CompareKind::Or)),
    ("PRelu", prelu),
    ("Pow", pow),
    ("Reciprocal", |call| unary(call, UnaryKind::Reciprocal)),
    ("Relu", |call| {
        let x = call.input(0)?;
        call.result(Clip { clamp: Clamp::RELU }, &[x])
    }),
    ("Round", |call| unary(call, UnaryKind::Round)),
    ("Selu", selu),
    ("Shrink", shrink),
    ("Sigmoid", |call| unary(call, UnaryKind::Logistic)),
    ("Sign", |call| unary(call, UnaryKind::Sign)),
    ("Sin", |call| unary(call, UnaryKind::Sin)),
    ("Sinh", |call| unary(call, UnaryKind::Sinh)),
    ("Softplus", |call| unary(call, UnaryKind::Softplus)),
    ("Softsign", |call| unary(call, UnaryKind::Softsign)),
    ("Sqrt", |call| unary(call, UnaryKind::Sqrt)),
    ("Sub", |call| binary(call, BinaryKind::Sub)),
    ("Sum", |call| fold(call, BinaryKind::Add)),
    ("Tan", |call| unary(call, UnaryKind::Tan)),
    ("Tanh", |call| unary(call, UnaryKind::Tanh)),
    ("ThresholdedRelu", thresholded_relu),
    ("Where", where_),
    ("Xor", |call| compare(call, CompareKind::Xor)),
];

pub(super) const MICROSOFT: &[(&str, Import)] = &[("Gelu", |call| unary(call, UnaryKind::Gelu))];

fn unary(call: &mut Call<'_, '_>, kind: UnaryKind) -> Result<()> {
    let x = call.input(0)?;
    call.result(Unary { kind }, &[x])
}

fn binary(call: &mut Call<'_, '_>, kind: BinaryKind) -> Result<()> {
    let (a, b) = (call.input(0)?, call.input(1)?);
    call.result(Binary::new(kind), &[a, b])
}

fn compare(call: &mut Call<'_, '_>, kind: CompareKind) -> Result<()> {
    let (a, b) = (call.input(0)?, call.input(1)?);
    call.result(Compare { kind }, &[a, b])
}

/// All operands, combined one after the other.
fn fold(call: &mut Call<'_, '_>, kind: BinaryKind) -> Result<()> {
    let sum = folded(call, kind)?;
    call.set(0, sum)
}

fn folded(call: &mut Call<'_, '_>, kind: BinaryKind) -> Result<ValueId> {
    let inputs = call.inputs()?;
    let (first, rest) = inputs.split_first().ok_or_else(|| Error::ModelInvalid("no operand".to_owned()))?;
    let mut value = *first;
    for (index, next) in rest.iter().enumerate() {
        let name = if index + 1 == rest.len() { call.name(0).to_owned() } else { call.inner() };
        value = call.graph().add(&name, Binary::new(kind), &[value, *next])?;
    }
    Ok(value)
}

fn mean(call: &mut Call<'_, '_>) -> Result<()> {
    let sum = folded(call, BinaryKind::Add)?;
    let count = call.add_constant(Tensor::scalar(call.node.inputs.len() as f32)?)?;
    call.result(Binary::new(BinaryKind::Div), &[sum, count])
}

fn modulo(call: &mut Call<'_, '_>) -> Result<()> {
    let kind = if call.int_or("fmod", 0)? != 0 { BinaryKind::Rem } else { BinaryKind::FloorMod };
    binary(call, kind)
}

/// The exponent may be of another type than the base, which gives the result its type.
fn pow(call: &mut Call<'_, '_>) -> Result<()> {
    let (a, b) = (call.input(0)?, call.input(1)?);
    let dtype = call.fact(a).dtype;
    let number = call.importer.graph.constant_value(b).filter(|b| b.len() == 1);
    let exponent = number.map(Tensor::to_f64).transpose()?.and_then(|all| all.first().copied());
    match exponent.filter(|_| dtype == DType::F32 && call.fact(b).len() == 1 && call.rank(b) <= call.rank(a))
    {
        Some(2.0) => call.result(Unary { kind: UnaryKind::Square }, &[a]),
        Some(0.5) => call.result(Unary { kind: UnaryKind::Sqrt }, &[a]),
        _ => {
            let b = call.cast(b, dtype)?;
            call.result(Binary::new(BinaryKind::Pow), &[a, b])
        }
    }
}

fn clip(call: &mut Call<'_, '_>) -> Result<()> {
    let x = call.input(0)?;
    let bound = |call: &Call<'_, '_>, index, name| -> Result<Option<f32>> {
        Ok(match call.float(name)? {
            Some(bound) => Some(bound),
            None => call.constant_number(index)?.map(|bound| bound as f32),
        })
    };
    let min = bound(call, 1, "min")?.unwrap_or(f32::NEG_INFINITY);
    let max = bound(call, 2, "max")?.unwrap_or(f32::INFINITY);
    if min.is_nan() || max.is_nan() {
        return Err(Error::ModelInvalid("a bound that is no number".to_owned()));
    }
    // the standard says: the upper bound wins
    call.result(Clip { clamp: Clamp { min: min.min(max), max } }, &[x])
}

fn prelu(call: &mut Call<'_, '_>) -> Result<()> {
    let (x, slope) = (call.input(0)?, call.input(1)?);
    call.result(Prelu, &[x, slope])
}

/// x · Φ(x)
fn gelu(call: &mut Call<'_, '_>) -> Result<()> {
    match call.text_or("approximate", "none")? {
        "none" => unary(call, UnaryKind::Gelu),
        "tanh" => unary(call, UnaryKind::GeluTanh),
        other => Err(Error::ModelInvalid(format!("approximate `{other}`"))),
    }
}

fn selu(call: &mut Call<'_, '_>) -> Result<()> {
    let alpha = call.float_or("alpha", 1.673_263_2)?;
    let gamma = call.float_or("gamma", 1.050_701)?;
    let x = call.input(0)?;
    let elu = call.add(Unary { kind: UnaryKind::Elu { alpha } }, &[x])?;
    let gamma = call.add_constant(Tensor::scalar(gamma)?)?;
    call.result(Binary::new(BinaryKind::Mul), &[elu, gamma])
}

/// max(0, x) + min(0, alpha · (exp(x / alpha) − 1)): ELU of x / alpha, times alpha.
fn celu(call: &mut Call<'_, '_>) -> Result<()> {
    let alpha = call.float_or("alpha", 1.0)?;
    let x = call.input(0)?;
    let alpha = call.add_constant(Tensor::scalar(alpha)?)?;
    let scaled = call.add(Binary::new(BinaryKind::Div), &[x, alpha])?;
    let elu = call.add(Unary { kind: UnaryKind::Elu { alpha: 1.0 } }, &[scaled])?;
    call.result(Binary::new(BinaryKind::Mul), &[elu, alpha])
}

fn thresholded_relu(call: &mut Call<'_, '_>) -> Result<()> {
    let alpha = call.float_or("alpha", 1.0)?;
    let x = call.input(0)?;
    let (alpha, zero) =
        (call.add_constant(Tensor::scalar(alpha)?)?, call.add_constant(Tensor::scalar(0f32)?)?);
    let above = call.add(Compare { kind: CompareKind::Greater }, &[x, alpha])?;
    call.result(Select, &[above, x, zero])
}

fn where_(call: &mut Call<'_, '_>) -> Result<()> {
    let operands = [call.input(0)?, call.input(1)?, call.input(2)?];
    call.result(Select, &operands)
}

/// To a 16-bit float: rounded, then calculated on as f32.
fn cast(call: &mut Call<'_, '_>) -> Result<()> {
    call.ignore(&["saturate", "round_mode"]);
    let x = call.input(0)?;
    let to = call.int("to")?.ok_or_else(|| Error::ModelInvalid("attribute `to` is missing".to_owned()))?;
    let to = i32::try_from(to).unwrap_or(-1);
    let dtype = super::super::tensor::element_type(to).ok_or_else(|| {
        Error::Unsupported(format!("cast to {}", super::super::tensor::element_type_name(to)))
    })?;
    if matches!(dtype, DType::F16 | DType::BF16) {
        let half = call.add(Cast { to: dtype }, &[x])?;
        return call.result(Cast { to: DType::F32 }, &[half]);
    }
    cast_to(call, x, dtype)
}

fn cast_to(call: &mut Call<'_, '_>, x: ValueId, to: DType) -> Result<()> {
    if call.fact(x).dtype == to {
        return call.set(0, x);
    }
    call.result(Cast { to }, &[x])
}

fn cast_like(call: &mut Call<'_, '_>) -> Result<()> {
    call.ignore(&["saturate", "round_mode"]);
    let (x, like) = (call.input(0)?, call.input(1)?);
    let to = call.fact(like).dtype;
    cast_to(call, x, to)
}

fn bitwise(call: &mut Call<'_, '_>, kind: BitwiseKind) -> Result<()> {
    let (a, b) = (call.input(0)?, call.input(1)?);
    call.result(Bitwise { kind }, &[a, b])
}

fn bit_shift(call: &mut Call<'_, '_>) -> Result<()> {
    let kind = match call.text_or("direction", "")? {
        "LEFT" => BitwiseKind::ShiftLeft,
        "RIGHT" => BitwiseKind::ShiftRight,
        other => return Err(Error::ModelInvalid(format!("direction `{other}`"))),
    };
    bitwise(call, kind)
}

/// All bits turned: those that are in one and not in −1.
fn bitwise_not(call: &mut Call<'_, '_>) -> Result<()> {
    let x = call.input(0)?;
    let dtype = call.fact(x).dtype;
    let ones = call.add_constant(Tensor::from_bytes(dtype, &[], &vec![0xff; dtype.size()])?)?;
    call.result(Bitwise { kind: BitwiseKind::Xor }, &[x, ones])
}

/// Only NaN is not equal to itself.
fn is_nan(call: &mut Call<'_, '_>) -> Result<()> {
    let x = call.input(0)?;
    call.result(Compare { kind: CompareKind::NotEqual }, &[x, x])
}

fn is_inf(call: &mut Call<'_, '_>) -> Result<()> {
    let (negative, positive) =
        (call.int_or("detect_negative", 1)? != 0, call.int_or("detect_positive", 1)? != 0);
    let x = call.input(0)?;
    let (x, infinity) = match (negative, positive) {
        (true, false) => (x, f32::NEG_INFINITY),
        (false, true) => (x, f32::INFINITY),
        (true, true) => (call.add(Unary { kind: UnaryKind::Abs }, &[x])?, f32::INFINITY),
        // nothing is equal to NaN
        (false, false) => (x, f32::NAN),
    };
    let infinity = call.add_constant(Tensor::scalar(infinity)?)?;
    let infinity = call.cast(infinity, call.fact(x).dtype)?;
    call.result(Compare { kind: CompareKind::Equal }, &[x, infinity])
}

/// x · tanh(ln(1 + eˣ))
fn mish(call: &mut Call<'_, '_>) -> Result<()> {
    let x = call.input(0)?;
    let softplus = call.add(Unary { kind: UnaryKind::Softplus }, &[x])?;
    let tanh = call.add(Unary { kind: UnaryKind::Tanh }, &[softplus])?;
    call.result(Binary::new(BinaryKind::Mul), &[x, tanh])
}

/// x + bias below −lambd, x − bias above lambd, else 0
fn shrink(call: &mut Call<'_, '_>) -> Result<()> {
    let (bias, lambd) = (call.float_or("bias", 0.0)?, call.float_or("lambd", 0.5)?);
    let x = call.input(0)?;
    let real = call.cast(x, DType::F32)?;
    let mut number = |value: f32| call.add_constant(Tensor::scalar(value)?);
    let (bias, low, high, zero) = (number(bias)?, number(-lambd)?, number(lambd)?, number(0.0)?);
    let below = call.add(Compare { kind: CompareKind::Less }, &[real, low])?;
    let above = call.add(Compare { kind: CompareKind::Greater }, &[real, high])?;
    let more = call.add(Binary::new(BinaryKind::Add), &[real, bias])?;
    let less = call.add(Binary::new(BinaryKind::Sub), &[real, bias])?;
    let upper = call.add(Select, &[above, less, zero])?;
    let y = call.add(Select, &[below, more, upper])?;
    let dtype = call.fact(x).dtype;
    let y = call.cast(y, dtype)?;
    super::normalization::renamed(call, y)
}
