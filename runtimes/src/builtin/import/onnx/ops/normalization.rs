//! Normalisation: of batches, instances, layers and groups.

use super::super::call::Call;
use super::Import;
use crate::builtin::graph::ValueId;
use crate::builtin::ops::{Binary, BinaryKind, LocalResponse, Reduce, ReduceKind, Reshape, Unary, UnaryKind};
use crate::builtin::tensor::Tensor;
use crate::{Error, Result};

pub(super) const OPS: &[(&str, Import)] = &[
    ("BatchNormalization", batch),
    ("GroupNormalization", group),
    ("InstanceNormalization", instance),
    ("LayerNormalization", layer),
    ("LpNormalization", lp),
    ("LRN", local_response),
    ("MeanVarianceNormalization", mean_variance),
];

/// What `MeanVarianceNormalization` adds to the deviation, as its definition in the standard has it.
const MVN_EPSILON: f32 = 1e-9;

/// scale · (x − mean) / √(variance + ε) + bias, as one factor and one summand per channel.
fn batch(call: &mut Call<'_, '_>) -> Result<()> {
    call.ignore(&["spatial"]);
    let momentum = call.float_or("momentum", 0.9)?;
    if call.int_or("training_mode", 0)? != 0 {
        return batch_training(call, momentum);
    }
    if call.wants(1) {
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
    let per_channel = channel_shape(&shape);
    let factor = call.add_constant(Tensor::from_elements(&per_channel, &factor)?)?;
    let summand = call.add_constant(Tensor::from_elements(&per_channel, &summand)?)?;
    let scaled = call.add(Binary::new(BinaryKind::Mul), &[x, factor])?;
    call.result(Binary::new(BinaryKind::Add), &[scaled, summand])
}

/// The shape in which one number per channel is broadcast against `[n, c, ...]`.
fn channel_shape(shape: &[usize]) -> Vec<usize> {
    let mut per_channel = vec![1; shape.len().saturating_sub(1)];
    if let (Some(first), Some(channels)) = (per_channel.first_mut(), shape.get(1)) {
        *first = *channels;
    }
    per_channel
}

/// By mean and variance of the data at hand, which also move the given ones.
fn batch_training(call: &mut Call<'_, '_>, momentum: f32) -> Result<()> {
    let x = call.input(0)?;
    let epsilon = call.float_or("epsilon", 1e-5)?;
    let shape = call.shape(x);
    let axes: Vec<usize> = (0..shape.len()).filter(|d| *d != 1).collect();
    let moments = normalized(call, x, axes, epsilon)?;
    for (index, own) in [(1, moments.mean), (2, moments.variance)] {
        if call.wants(index) {
            let given = call.input(index + 2)?;
            let flat = call.shape(given);
            let own = call.reshape(own, &flat)?;
            let old = scaled(call, given, momentum)?;
            let new = scaled(call, own, 1.0 - momentum)?;
            let name = call.name(index);
            let moved = call.graph().add(name, Binary::new(BinaryKind::Add), &[old, new])?;
            call.set(index, moved)?;
        }
    }
    per_channel(call, moments.result)
}

fn scaled(call: &mut Call<'_, '_>, value: ValueId, factor: f32) -> Result<ValueId> {
    let factor = call.add_constant(Tensor::scalar(factor)?)?;
    call.add(Binary::new(BinaryKind::Mul), &[value, factor])
}

/// What a normalisation computes; the moments keep the dimensions they were taken over, with length 1.
struct Moments {
    result: ValueId,
    mean: ValueId,
    variance: ValueId,
    /// 1 / √(variance + ε)
    inverse: ValueId,
}

/// (x − mean) / √(variance + ε) over dimensions.
fn normalized(call: &mut Call<'_, '_>, x: ValueId, axes: Vec<usize>, epsilon: f32) -> Result<Moments> {
    let mean = |call: &mut Call<'_, '_>, x, axes| {
        call.add(Reduce { kind: ReduceKind::Mean, axes, keep_dims: true }, &[x])
    };
    let center = mean(call, x, axes.clone())?;
    let centered = call.add(Binary::new(BinaryKind::Sub), &[x, center])?;
    let squares = call.add(Unary { kind: UnaryKind::Square }, &[centered])?;
    let variance = mean(call, squares, axes)?;
    let epsilon = call.add_constant(Tensor::scalar(epsilon)?)?;
    let shifted = call.add(Binary::new(BinaryKind::Add), &[variance, epsilon])?;
    let inverse = call.add(Unary { kind: UnaryKind::Rsqrt }, &[shifted])?;
    let result = call.add(Binary::new(BinaryKind::Mul), &[centered, inverse])?;
    Ok(Moments { result, mean: center, variance, inverse })
}

/// (x − mean) / (deviation + ε)
fn mean_variance(call: &mut Call<'_, '_>) -> Result<()> {
    let x = call.input(0)?;
    let axes = call.ints("axes")?.unwrap_or_else(|| vec![0, 2, 3]);
    let axes = Call::axes(&axes, call.rank(x))?;
    let y = normalized(call, x, axes, MVN_EPSILON)?.result;
    renamed(call, y)
}

/// x over a power of the sum of squares of the channels around
fn local_response(call: &mut Call<'_, '_>) -> Result<()> {
    let x = call.input(0)?;
    let size = usize::try_from(call.int_or("size", 0)?).unwrap_or(0);
    let (alpha, beta) = (call.float_or("alpha", 1e-4)?, call.float_or("beta", 0.75)?);
    let bias = call.float_or("bias", 1.0)?;
    call.result(LocalResponse { size, alpha, beta, bias }, &[x])
}

fn layer(call: &mut Call<'_, '_>) -> Result<()> {
    call.ignore(&["stash_type"]);
    let (x, scale, bias) = (call.input(0)?, call.input(1)?, call.optional(2)?);
    let first = Call::axis(call.int_or("axis", -1)?, call.rank(x))?;
    let epsilon = call.float_or("epsilon", 1e-5)?;
    let axes = (first..call.rank(x)).collect();
    let moments = normalized(call, x, axes, epsilon)?;
    for (index, value) in [(1, moments.mean), (2, moments.inverse)] {
        if call.wants(index) {
            let shape = call.shape(value);
            let name = call.name(index);
            let value = call.graph().add(name, Reshape { shape }, &[value])?;
            call.set(index, value)?;
        }
    }
    let y = moments.result;
    let Some(bias) = bias else { return call.result(Binary::new(BinaryKind::Mul), &[y, scale]) };
    let y = call.add(Binary::new(BinaryKind::Mul), &[y, scale])?;
    call.result(Binary::new(BinaryKind::Add), &[y, bias])
}

/// Scale and bias of operands 1 and 2, per channel of `[n, c, ...]`.
fn per_channel(call: &mut Call<'_, '_>, y: ValueId) -> Result<()> {
    let (scale, bias) = (call.input(1)?, call.input(2)?);
    let expanded = channel_shape(&call.shape(y));
    let (scale, bias) = (call.reshape(scale, &expanded)?, call.reshape(bias, &expanded)?);
    let y = call.add(Binary::new(BinaryKind::Mul), &[y, scale])?;
    call.result(Binary::new(BinaryKind::Add), &[y, bias])
}

fn instance(call: &mut Call<'_, '_>) -> Result<()> {
    let x = call.input(0)?;
    let epsilon = call.float_or("epsilon", 1e-5)?;
    let axes = (2..call.rank(x)).collect();
    let y = normalized(call, x, axes, epsilon)?.result;
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
    let rest = shape[2..].iter().product::<usize>() * (channels / groups);
    let grouped = call.reshape(x, &[n, groups, rest])?;
    let y = normalized(call, grouped, vec![2], epsilon)?.result;
    if call.opset() < 21 && groups != channels {
        let of_groups = |call: &mut Call<'_, '_>, index| {
            let value = call.input(index)?;
            call.reshape(value, &[groups, 1])
        };
        let (scale, bias) = (of_groups(call, 1)?, of_groups(call, 2)?);
        let y = call.add(Binary::new(BinaryKind::Mul), &[y, scale])?;
        let y = call.add(Binary::new(BinaryKind::Add), &[y, bias])?;
        return call.result(Reshape { shape }, &[y]);
    }
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
