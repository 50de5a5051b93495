//! Quantised integers: `QuantizeLinear`, `DequantizeLinear`, and operators that take and give integers.
//!
//! Operators on integers are imported as dequantise, compute, quantise: the pass for that form makes integer
//! kernels of it again.

use super::super::call::Call;
use super::Import;
use super::conv::convolution;
use super::literal;
use super::matmul::product;
use crate::builtin::graph::{Fact, OutputType, ValueId};
use crate::builtin::ops::{
    Binary, BinaryKind, Clamp, Concat, Dynamic, FullyConnected, Op, PoolNdKind, Reduce, ReduceKind,
    Reinterpret, Requantize, Softmax, Transpose, Unary, UnaryKind,
};
use crate::builtin::tensor::Tensor;
use crate::{Error, Result};
use protocol::{DType, Quantization};
use std::sync::Arc;

pub(super) const OPS: &[(&str, Import)] = &[
    ("DequantizeLinear", dequantize_linear),
    ("QLinearConv", qlinear_conv),
    ("QLinearMatMul", qlinear_matmul),
    ("QuantizeLinear", quantize_linear),
];

pub(super) const MICROSOFT: &[(&str, Import)] = &[
    ("DequantizeLinear", dequantize_linear),
    ("QGemm", qgemm),
    ("QLinearAdd", |call| qlinear_binary(call, BinaryKind::Add)),
    ("QLinearAveragePool", qlinear_average_pool),
    ("QLinearConcat", qlinear_concat),
    ("QLinearGlobalAveragePool", qlinear_global_average_pool),
    ("QLinearLeakyRelu", |call| {
        let slope = call.float_or("alpha", 0.01)?;
        qlinear_unary(call, Unary { kind: UnaryKind::LeakyRelu { slope } })
    }),
    ("QLinearMul", |call| qlinear_binary(call, BinaryKind::Mul)),
    ("QLinearSigmoid", |call| qlinear_unary(call, Unary { kind: UnaryKind::Logistic })),
    ("QLinearSoftmax", qlinear_softmax),
    ("QuantizeLinear", quantize_linear),
];

/// Operators that take integers with a quantisation for what they are, or move them without looking.
pub(in super::super) const AWARE: &[&str] = &[
    "ConvInteger",
    "DequantizeLinear",
    "Expand",
    "Flatten",
    "Gather",
    "Identity",
    "If",
    "MatMulInteger",
    "MaxPool",
    "Pad",
    "QGemm",
    "QLinearAdd",
    "QLinearAveragePool",
    "QLinearConcat",
    "QLinearConv",
    "QLinearGlobalAveragePool",
    "QLinearLeakyRelu",
    "QLinearMatMul",
    "QLinearMul",
    "QLinearSigmoid",
    "QLinearSoftmax",
    "Reshape",
    "Resize",
    "Shape",
    "Size",
    "Slice",
    "Split",
    "Squeeze",
    "Tile",
    "Transpose",
    "Unsqueeze",
];

/// The quantisation that operands `scale` and `zero_point` give a tensor of `shape`, and the integers' type.
fn quantization(
    call: &Call<'_, '_>,
    scale: usize,
    zero_point: usize,
    shape: &[usize],
    axis: i64,
) -> Result<(Quantization, Option<DType>)> {
    let scales: Vec<f32> = call.constant(scale)?.to_f64()?.into_iter().map(|s| s as f32).collect();
    let per_tensor = scales.len() == 1;
    let given = call.has(zero_point).then(|| call.constant(zero_point)).transpose()?;
    let mut zero_points = match given {
        Some(tensor) => tensor.to_i64()?.into_iter().map(|z| z as i32).collect(),
        None => vec![0; scales.len()],
    };
    if zero_points.len() == 1 {
        zero_points = vec![zero_points[0]; scales.len()];
    }
    let axis = if per_tensor { 0 } else { Call::axis(axis, shape.len())? };
    if !per_tensor && shape.get(axis) != Some(&scales.len()) {
        let message = format!("{} scales for dimension {axis} of shape {shape:?}", scales.len());
        return Err(Error::Unsupported(message));
    }
    let quant = Quantization { scale: scales, zero_point: zero_points, axis: axis as u32 };
    Ok((quant, given.map(Tensor::dtype)))
}

/// Integers as the real numbers they stand for; a constant stays visible to the passes.
pub(super) fn dequantized(call: &mut Call<'_, '_>, value: ValueId, quant: Quantization) -> Result<ValueId> {
    let name = call.inner();
    real_of(call, &name, value, quant)
}

fn real_of(call: &mut Call<'_, '_>, name: &str, value: ValueId, quant: Quantization) -> Result<ValueId> {
    let fact = call.fact(value);
    let kind = Fact::new(DType::F32, &[]).as_output();
    let integers = if fact.quant.as_deref() == Some(&quant) {
        value
    } else {
        let inner = call.inner();
        call.graph().add(&inner, Reinterpret { dtype: None, quant: Some(Arc::new(quant)) }, &[value])?
    };
    call.graph().add_unfolded(name, Requantize, &[integers], kind)
}

fn dequantize_linear(call: &mut Call<'_, '_>) -> Result<()> {
    let x = call.input(0)?;
    call.ignore(&["output_dtype"]);
    if call.int_or("block_size", 0)? != 0 {
        return literal::dequantize(call);
    }
    let (quant, _) = quantization(call, 1, 2, &call.shape(x), call.int_or("axis", 1)?)?;
    let name = call.name(0);
    let real = real_of(call, name, x, quant)?;
    call.set(0, real)
}

fn quantize_linear(call: &mut Call<'_, '_>) -> Result<()> {
    let x = call.input(0)?;
    call.ignore(&["saturate", "precision"]);
    let blocked = call.int_or("block_size", 0)? != 0;
    if blocked || call.fact(call.input(1)?).len() != 1 {
        return literal::quantize(call);
    }
    let (quant, dtype) = quantization(call, 1, 2, &call.shape(x), call.int_or("axis", 1)?)?;
    let asked = call.int("output_dtype")?.and_then(|to| i32::try_from(to).ok()).filter(|to| *to != 0);
    let asked = asked.and_then(super::super::tensor::element_type);
    let dtype = dtype.or(asked).unwrap_or(DType::U8);
    let x = call.real(x)?;
    call.result_as(Requantize, &[x], OutputType { dtype, quant: Some(Arc::new(quant)) })
}

/// Operand `value` with scale and zero point in the operands after it.
fn triple(call: &mut Call<'_, '_>, value: usize, axis: i64) -> Result<(ValueId, Quantization)> {
    let integers = call.input(value)?;
    let (quant, _) = quantization(call, value + 1, value + 2, &call.shape(integers), axis)?;
    Ok((dequantized(call, integers, quant.clone())?, quant))
}

/// The result's type, from operands `scale` and the one after it.
fn result_kind(call: &Call<'_, '_>, scale: usize) -> Result<OutputType> {
    let (quant, dtype) = quantization(call, scale, scale + 1, &[], 0)?;
    let first = call.fact(call.input(0)?).dtype;
    Ok(OutputType { dtype: dtype.unwrap_or(first), quant: Some(Arc::new(quant)) })
}

/// The result is `op` of real operands, quantised.
fn quantized_result(
    call: &mut Call<'_, '_>,
    op: impl Into<Op>,
    inputs: &[ValueId],
    kind: OutputType,
) -> Result<()> {
    let real = call.add(op, inputs)?;
    call.result_as(Requantize, &[real], kind)
}

/// An i32 bias as the real numbers it stands for.
fn bias(
    call: &mut Call<'_, '_>,
    index: usize,
    x: &Quantization,
    w: &Quantization,
) -> Result<Option<ValueId>> {
    let Some(bias) = call.optional(index)? else { return Ok(None) };
    let scale: Vec<f32> = x.scale.iter().flat_map(|x| w.scale.iter().map(move |w| x * w)).collect();
    let zero_point = vec![0; scale.len()];
    dequantized(call, bias, Quantization { scale, zero_point, axis: 0 }).map(Some)
}

/// x, scale, zero point, w, scale, zero point, y's scale and zero point, bias
fn qlinear_conv(call: &mut Call<'_, '_>) -> Result<()> {
    let (x, x_quant) = triple(call, 0, 0)?;
    let (w, w_quant) = triple(call, 3, 0)?;
    let bias = bias(call, 8, &x_quant, &w_quant)?;
    let kind = result_kind(call, 6)?;
    convolution(call, x, w, bias, Some(kind))
}

fn qlinear_matmul(call: &mut Call<'_, '_>) -> Result<()> {
    let (a, _) = triple(call, 0, -2)?;
    let (b, _) = triple(call, 3, -1)?;
    let kind = result_kind(call, 6)?;
    product(call, a, b, Some(kind))
}

/// A, scale, zero point, B, scale, zero point, C, y's scale and zero point
fn qgemm(call: &mut Call<'_, '_>) -> Result<()> {
    let (ta, tb) = (call.int_or("transA", 0)? != 0, call.int_or("transB", 0)? != 0);
    if ta || call.float_or("alpha", 1.0)? != 1.0 {
        return Err(Error::Unsupported("transA or alpha".to_owned()));
    }
    let (a, a_quant) = triple(call, 0, -2)?;
    let (b, b_quant) = triple(call, 3, if tb { 0 } else { 1 })?;
    let c = bias(call, 6, &a_quant, &b_quant)?;
    let b = if tb { b } else { call.transpose(b, &[1, 0])? };
    let op = FullyConnected { keep_dims: true, clamp: Clamp::NONE, dynamic: Dynamic::default() };
    let inputs: Vec<ValueId> = [a, b].into_iter().chain(c).collect();
    if !call.has(7) {
        return call.result(op, &inputs);
    }
    let kind = result_kind(call, 7)?;
    quantized_result(call, op, &inputs, kind)
}

fn qlinear_binary(call: &mut Call<'_, '_>, kind: BinaryKind) -> Result<()> {
    let ((a, _), (b, _)) = (triple(call, 0, 0)?, triple(call, 3, 0)?);
    let output = result_kind(call, 6)?;
    quantized_result(call, Binary::new(kind), &[a, b], output)
}

fn qlinear_unary(call: &mut Call<'_, '_>, op: Unary) -> Result<()> {
    let (x, _) = triple(call, 0, 0)?;
    let kind = result_kind(call, 3)?;
    quantized_result(call, op, &[x], kind)
}

fn qlinear_softmax(call: &mut Call<'_, '_>) -> Result<()> {
    call.ignore(&["opset"]);
    let (x, _) = triple(call, 0, 0)?;
    let rank = call.rank(x);
    let axis = Call::axis(call.int_or("axis", -1)?, rank)?;
    let kind = result_kind(call, 3)?;
    let op = Softmax { beta: 1.0, log: false };
    if axis + 1 == rank {
        return quantized_result(call, op, &[x], kind);
    }
    let mut perm: Vec<usize> = (0..rank).collect();
    perm.swap(axis, rank - 1);
    let moved = call.transpose(x, &perm)?;
    let y = call.add(op, &[moved])?;
    quantized_result(call, Transpose { perm }, &[y], kind)
}

/// x, scale, zero point, y's scale and zero point
fn qlinear_average_pool(call: &mut Call<'_, '_>) -> Result<()> {
    let with_padding = call.int_or("count_include_pad", 0)? != 0;
    let last = call.int_or("channels_last", 0)? != 0;
    let (mut x, _) = triple(call, 0, 0)?;
    let kind = result_kind(call, 3)?;
    let rank = call.rank(x);
    let order = |channels_last: bool| -> Vec<usize> {
        match (last, channels_last) {
            (false, _) => (0..rank).collect(),
            (true, false) => [0, rank - 1].into_iter().chain(1..rank - 1).collect(),
            (true, true) => [0].into_iter().chain(2..rank).chain([1]).collect(),
        }
    };
    if rank < 3 {
        return Err(Error::ModelInvalid(format!("a pool of {rank} dimensions")));
    }
    x = call.transpose(x, &order(false))?;
    let y = super::pool::pooled(call, x, PoolNdKind::Average { with_padding })?;
    quantized_result(call, Transpose { perm: order(true) }, &[y], kind)
}

fn qlinear_global_average_pool(call: &mut Call<'_, '_>) -> Result<()> {
    let (x, _) = triple(call, 0, 0)?;
    let rank = call.rank(x);
    let axes = if call.int_or("channels_last", 0)? != 0 {
        (1..rank.saturating_sub(1)).collect()
    } else {
        (2..rank).collect()
    };
    let kind = result_kind(call, 3)?;
    quantized_result(call, Reduce { kind: ReduceKind::Mean, axes, keep_dims: true }, &[x], kind)
}

/// y's scale and zero point, then each operand with its own
fn qlinear_concat(call: &mut Call<'_, '_>) -> Result<()> {
    let mut inputs = Vec::new();
    for index in (2..call.node.inputs.len()).step_by(3) {
        inputs.push(triple(call, index, 0)?.0);
    }
    let first = inputs.first().copied().ok_or_else(|| Error::ModelInvalid("no operand".to_owned()))?;
    let axis = Call::axis(call.int_or("axis", 0)?, call.rank(first))?;
    let (quant, dtype) = quantization(call, 0, 1, &[], 0)?;
    let kind = OutputType { dtype: dtype.unwrap_or(DType::U8), quant: Some(Arc::new(quant)) };
    quantized_result(call, Concat { axis }, &inputs, kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aware_operators_exist_and_are_sorted() {
        assert!(AWARE.is_sorted());
        let lists = super::super::ONNX.iter().chain(super::super::MICROSOFT);
        let known: Vec<&str> = lists.flat_map(|list| list.iter()).map(|(name, _)| *name).collect();
        assert!(AWARE.iter().all(|name| known.contains(name)));
    }
}
