//! Normalisation: of batches, instances, layers and groups.

use super::super::call::Call;
use super::Import;
use crate::builtin::graph::ValueId;
use crate::builtin::ops::{Binary, BinaryKind, Reduce, ReduceKind, Reshape, Unary, UnaryKind};
use crate::builtin::tensor::Tensor;
use crate::{Error, Result};

pub(super) const OPS: &[(&str, Import)] = &[
    ("BatchNormalization", batch),
    ("GroupNormalization", group),
    ("InstanceNormalization", instance),
    ("LayerNormalization", layer),
    ("LpNormalization", lp),
];

/// scale · (x − mean) / √(variance + ε) + bias, as one factor and one summand per channel.
fn batch(call: &mut Call<'_, '_>) -> Result<()> {
    call.ignore(&["momentum", "spatial"]);
    if call.int_or("training_mode", 0)? != 0 || call.wants(1) {
        return Err(Error::Unsupported("training mode".to_owned()));
    }
    let x = call.input(0)?;
    let epsilon = f64::from(call.float_or("epsilon", 1e-5)?);
    let numbers = (1..5).map(|index| call.constant(index)?.to_f64()).collect::<Result<Vec<_>>>()?;
    let [scale, bias, mean, variance] = numbers.as_slice() else {
        return Err(Error::ModelInvalid("five operands are needed".to_owned()));
    };
    let shape = call.shape(x);
    let channels = shape.get(1).copied().unwrap_or(1);
    if [scale, bias, mean, variance].iter().any(|numbers| numbers.len() != channels) {
        return Err(Error::ModelInvalid(format!("parameters of another length than {channels} channels")));
    }
    let factor: Vec<f64> = scale.iter().zip(variance).map(|(s, v)| s / (v + epsilon).sqrt()).collect();
    let summand = bias.iter().zip(mean).zip(&factor).map(|((b, m), f)| b - m * f);
    let summand: Vec<f32> = summand.map(|v| v as f32).collect();
    let factor: Vec<f32> = factor.iter().map(|v| *v as f32).collect();
    let mut per_channel = vec![1; shape.len().saturating_sub(1)];
    if let Some(first) = per_channel.first_mut() {
        *first = channels;
    }
    let factor = call.add_constant(Tensor::from_elements(&per_channel, &factor)?)?;
    let summand = call.add_constant(Tensor::from_elements(&per_channel, &summand)?)?;
    let scaled = call.add(Binary::new(BinaryKind::Mul), &[x, factor])?;
    call.result(Binary::new(BinaryKind::Add), &[scaled, summand])
}

/// (x − mean) / √(variance + ε) over dimensions.
fn normalized(call: &mut Call<'_, '_>, x: ValueId, axes: Vec<usize>, epsilon: f32) -> Result<ValueId> {
    let mean = |call: &mut Call<'_, '_>, x, axes| {
        call.add(Reduce { kind: ReduceKind::Mean, axes, keep_dims: true }, &[x])
    };
    let center = mean(call, x, axes.clone())?;
    let centered = call.add(Binary::new(BinaryKind::Sub), &[x, center])?;
    let squares = call.add(Unary { kind: UnaryKind::Square }, &[centered])?;
    let variance = mean(call, squares, axes)?;
    let epsilon = call.add_constant(Tensor::scalar(epsilon)?)?;
    let variance = call.add(Binary::new(BinaryKind::Add), &[variance, epsilon])?;
    let inverse = call.add(Unary { kind: UnaryKind::Rsqrt }, &[variance])?;
    call.add(Binary::new(BinaryKind::Mul), &[centered, inverse])
}

fn layer(call: &mut Call<'_, '_>) -> Result<()> {
    call.ignore(&["stash_type"]);
    if call.wants(1) || call.wants(2) {
        return Err(Error::Unsupported("mean and deviation as results".to_owned()));
    }
    let (x, scale, bias) = (call.input(0)?, call.input(1)?, call.optional(2)?);
    let first = Call::axis(call.int_or("axis", -1)?, call.rank(x))?;
    let epsilon = call.float_or("epsilon", 1e-5)?;
    let axes = (first..call.rank(x)).collect();
    let y = normalized(call, x, axes, epsilon)?;
    let Some(bias) = bias else { return call.result(Binary::new(BinaryKind::Mul), &[y, scale]) };
    let y = call.add(Binary::new(BinaryKind::Mul), &[y, scale])?;
    call.result(Binary::new(BinaryKind::Add), &[y, bias])
}

/// Scale and bias of operands 1 and 2, per channel of `[n, c, ...]`.
fn per_channel(call: &mut Call<'_, '_>, y: ValueId) -> Result<()> {
    let (scale, bias) = (call.input(1)?, call.input(2)?);
    let shape = call.shape(y);
    let mut expanded = vec![1; shape.len().saturating_sub(1)];
    if let (Some(first), Some(channels)) = (expanded.first_mut(), shape.get(1)) {
        *first = *channels;
    }
    let (scale, bias) = (call.reshape(scale, &expanded)?, call.reshape(bias, &expanded)?);
    let y = call.add(Binary::new(BinaryKind::Mul), &[y, scale])?;
    call.result(Binary::new(BinaryKind::Add), &[y, bias])
}

fn instance(call: &mut Call<'_, '_>) -> Result<()> {
    let x = call.input(0)?;
    let epsilon = call.float_or("epsilon", 1e-5)?;
    let axes = (2..call.rank(x)).collect();
    let y = normalized(call, x, axes, epsilon)?;
    per_channel(call, y)
}

/// Before version 21 scale and bias were per group.
fn group(call: &mut Call<'_, '_>) -> Result<()> {
    call.ignore(&["stash_type"]);
    let x = call.input(0)?;
    let epsilon = call.float_or("epsilon", 1e-5)?;
    let groups = usize::try_from(call.int_or("num_groups", 0)?).unwrap_or(0);
    let shape = call.shape(x);
    let [n, channels, ..] = shape[..] else {
        return Err(Error::ModelInvalid(format!("an operand of shape {shape:?}")));
    };
    if groups == 0 || channels % groups != 0 {
        return Err(Error::ModelInvalid(format!("{groups} groups of {channels} channels")));
    }
    if call.opset() < 21 && groups != channels {
        return Err(Error::Unsupported("scales per group (before opset 21)".to_owned()));
    }
    let rest = shape[2..].iter().product::<usize>() * (channels / groups);
    let grouped = call.reshape(x, &[n, groups, rest])?;
    let y = normalized(call, grouped, vec![2], epsilon)?;
    let y = call.reshape(y, &shape)?;
    per_channel(call, y)
}

/// x over its L1 or L2 norm along a dimension.
fn lp(call: &mut Call<'_, '_>) -> Result<()> {
    let x = call.input(0)?;
    let axis = Call::axis(call.int_or("axis", -1)?, call.rank(x))?;
    let kind = match call.int_or("p", 2)? {
        1 => ReduceKind::L1,
        2 => ReduceKind::L2,
        p => return Err(Error::ModelInvalid(format!("p = {p}"))),
    };
    let norm = call.add(Reduce { kind, axes: vec![axis], keep_dims: true }, &[x])?;
    call.result(Binary::new(BinaryKind::Div), &[x, norm])
}

/// A value under the result's name.
pub(super) fn renamed(call: &mut Call<'_, '_>, value: ValueId) -> Result<()> {
    let shape = call.shape(value);
    call.result(Reshape { shape }, &[value])
}
