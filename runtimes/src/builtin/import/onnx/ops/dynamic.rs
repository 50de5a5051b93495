//! Quantisation at run time: `DynamicQuantizeLinear` and the integer products that follow it.
//!
//! What quantisers write, `x → DynamicQuantizeLinear → ConvInteger → Cast → Mul by the scales`, becomes one
//! layer with f32 operand and int8 weights. Any other use of these operators is computed literally, integers
//! as f32, which is exact as long as sums stay below 2^24.

use super::super::call::Call;
use super::super::importer::Importer;
use super::super::proto::{Graph as OnnxGraph, Node};
use super::Import;
use super::conv::{any, common, layer};
use super::window::{result_from_nhwc, spatial, to_nhwc};
use crate::Result;
use crate::builtin::graph::ValueId;
use crate::builtin::ops::{
    Binary, BinaryKind, Clamp, Dynamic, DynamicQuantize, FullyConnected, MatMul, Op, Reinterpret,
};
use crate::builtin::tensor::Tensor;
use protocol::{DType, Quantization};
use std::collections::HashMap;

pub(super) const OPS: &[(&str, Import)] = &[
    ("ConvInteger", conv_integer),
    ("DynamicQuantizeLinear", dynamic_quantize_linear),
    ("MatMulInteger", matmul_integer),
];

fn dynamic_quantize_linear(call: &mut Call<'_, '_>) -> Result<()> {
    let x = call.input(0)?;
    let names: Vec<String> = (0..3).map(|index| call.name(index).to_owned()).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let values = call.graph().add_node(&names, Op::from(DynamicQuantize), &[x], &[None, None, None])?;
    values.into_iter().enumerate().try_for_each(|(index, value)| call.set(index, value))
}

/// Integers of operand `index` as f32, less the zero point in operand `zero_point`.
fn shifted(
    call: &mut Call<'_, '_>,
    index: usize,
    zero_point: usize,
    zero_shape: &[usize],
) -> Result<ValueId> {
    let mut parts = [call.input(index)?, call.optional(zero_point)?.unwrap_or(call.input(index)?)];
    for part in &mut parts {
        if call.fact(*part).quant.is_some() {
            *part = call.add(Reinterpret { dtype: None, quant: None }, &[*part])?;
        }
        *part = call.cast(*part, DType::F32)?;
    }
    let [integers, zero] = parts;
    if !call.has(zero_point) {
        return Ok(integers);
    }
    let zero =
        if call.fact(zero).len() == 1 { call.reshape(zero, &[])? } else { call.reshape(zero, zero_shape)? };
    call.add(Binary::new(BinaryKind::Sub), &[integers, zero])
}

fn conv_integer(call: &mut Call<'_, '_>) -> Result<()> {
    let filter = call.shape(call.input(1)?);
    let mut per_output = vec![1; filter.len()];
    per_output.splice(..1.min(filter.len()), filter.first().copied());
    let x = shifted(call, 0, 2, &[])?;
    let w = shifted(call, 1, 3, &per_output)?;
    if !common(call, x, w, None) {
        let sums = any(call, x, w, None)?;
        let sums = call.cast(sums, DType::I32)?;
        return call.set(0, sums);
    }
    let spatial = spatial(call, x)?;
    let layer = layer(call, x, w, Dynamic::default())?;
    let x = to_nhwc(call, x)?;
    let sums = call.add(layer.op, &[x, layer.weights])?;
    let sums = call.cast(sums, DType::I32)?;
    result_from_nhwc(call, sums, spatial)
}

fn matmul_integer(call: &mut Call<'_, '_>) -> Result<()> {
    let rows = call.shape(call.input(0)?);
    let column =
        rows.len().checked_sub(2).and_then(|row| rows.get(row)).map_or(vec![], |rows| vec![*rows, 1]);
    let a = shifted(call, 0, 2, &column)?;
    let columns: Vec<usize> = call.shape(call.input(1)?).last().copied().into_iter().collect();
    let b = shifted(call, 1, 3, &columns)?;
    let sums = call.add(MatMul::default(), &[a, b])?;
    let sums = call.cast(sums, DType::I32)?;
    call.set(0, sums)
}

/// Who writes and who reads the values of a graph.
pub(in super::super) struct Readers<'g, 'a> {
    graph: &'g OnnxGraph<'a>,
    writer: HashMap<&'a str, usize>,
    /// The last node that reads a value, and how often it is read.
    reader: HashMap<&'a str, (usize, usize)>,
}

impl<'g, 'a> Readers<'g, 'a> {
    pub(in super::super) fn new(graph: &'g OnnxGraph<'a>) -> Self {
        let (mut writer, mut reader) = (HashMap::new(), HashMap::<&str, (usize, usize)>::new());
        for (index, node) in graph.nodes.iter().enumerate() {
            writer.extend(node.outputs.iter().map(|output| (*output, index)));
            for input in &node.inputs {
                let entry = reader.entry(input).or_default();
                *entry = (index, entry.1 + 1);
            }
        }
        for output in &graph.outputs {
            reader.entry(output.name).or_default().1 += 2;
        }
        Self { graph, writer, reader }
    }

    /// The node of operator `op` that alone reads a value.
    fn only_reader(&self, value: &str, op: &str) -> Option<&'g Node<'a>> {
        let (index, count) = self.reader.get(value)?;
        self.graph.nodes.get(*index).filter(|node| *count == 1 && node.op_type == op)
    }

    /// The node of operator `op` whose result `index` a value is.
    fn written_by(&self, value: &str, op: &str, index: usize) -> Option<&'g Node<'a>> {
        let node = self.graph.nodes.get(*self.writer.get(value)?)?;
        (node.op_type == op && node.outputs.get(index).is_some_and(|output| *output == value)).then_some(node)
    }
}

/// The parts of an integer product of dynamically quantised numbers.
struct Pattern<'g, 'a> {
    /// What is quantised.
    x: &'a str,
    weights: &'a str,
    weights_zero_point: Option<&'a str>,
    weight_scale: &'a str,
    /// The product as f32, and that times the scales.
    cast: &'g Node<'a>,
    scaled: &'g Node<'a>,
}

fn pattern<'g, 'a>(readers: &Readers<'g, 'a>, node: &Node<'a>) -> Option<Pattern<'g, 'a>> {
    let quantize = readers.written_by(node.inputs.first()?, "DynamicQuantizeLinear", 0)?;
    if node.inputs.get(2) != quantize.outputs.get(2) {
        return None;
    }
    let cast = readers.only_reader(node.outputs.first()?, "Cast")?;
    if cast.attribute("to")?.int().ok()?? != 1 {
        return None;
    }
    let product = *cast.outputs.first()?;
    let scaled = readers.only_reader(product, "Mul")?;
    let scales = *scaled.inputs.iter().find(|input| **input != product)?;
    let scales = readers.written_by(scales, "Mul", 0)?;
    let x_scale = quantize.outputs.get(1)?;
    let weight_scale = scales.inputs.iter().find(|input| *input != x_scale)?;
    scales.inputs.contains(x_scale).then_some(Pattern {
        x: quantize.inputs.first()?,
        weights: node.inputs.get(1)?,
        weights_zero_point: node.inputs.get(3).copied().filter(|name| !name.is_empty()),
        weight_scale,
        cast,
        scaled,
    })
}

/// Imports a product with what follows it as one layer, if it is the pattern; gives the names of the results
/// that need no node of their own any more.
pub(in super::super) fn fuse<'a>(
    importer: &mut Importer<'a>,
    readers: &Readers<'_, 'a>,
    index: usize,
) -> Result<Option<Vec<&'a str>>> {
    let Some(node) = readers.graph.nodes.get(index) else { return Ok(None) };
    if !matches!(node.op_type, "ConvInteger" | "MatMulInteger") {
        return Ok(None);
    }
    let Some(pattern) = pattern(readers, node) else { return Ok(None) };
    let Some(weights) = weights(importer, &pattern, node.op_type == "ConvInteger")? else { return Ok(None) };
    let x = importer.value(pattern.x)?;
    let result = Node { outputs: pattern.scaled.outputs.clone(), ..node.clone() };
    let mut call = Call::new(importer, &result);
    let dynamic = Dynamic::PerTensorU8;
    if node.op_type == "MatMulInteger" {
        let weights = call.transpose(weights, &[1, 0])?;
        call.result(FullyConnected { keep_dims: true, clamp: Clamp::NONE, dynamic }, &[x, weights])?;
    } else {
        let spatial = spatial(&call, x)?;
        let layer = layer(&mut call, x, weights, dynamic)?;
        let x = to_nhwc(&mut call, x)?;
        let y = call.add(layer.op, &[x, layer.weights])?;
        result_from_nhwc(&mut call, y, spatial)?;
    }
    call.check_attributes()?;
    Ok(Some([&pattern.cast.outputs, &pattern.scaled.outputs].into_iter().flatten().copied().collect()))
}

/// The constant weights as symmetric int8 with their scales, if they are that.
fn weights(importer: &mut Importer<'_>, pattern: &Pattern<'_, '_>, conv: bool) -> Result<Option<ValueId>> {
    let constant = |name: &str| {
        let value = importer.value(name).ok()?;
        importer.graph.constant_value(value).cloned()
    };
    let (Some(tensor), Some(scale)) = (constant(pattern.weights), constant(pattern.weight_scale)) else {
        return Ok(None);
    };
    let zero = match pattern.weights_zero_point {
        Some(name) => constant(name).map(|zero| zero.to_i64()).transpose()?,
        None => Some(vec![0]),
    };
    let all = |z: i64| zero.as_ref().is_some_and(|zero| zero.iter().all(|zero| *zero == z));
    let bytes: Vec<u8> = match tensor.dtype() {
        DType::I8 if all(0) => tensor.bytes().to_vec(),
        DType::U8 if all(128) => tensor.bytes().iter().map(|byte| byte ^ 0x80).collect(),
        _ => return Ok(None),
    };
    let axis = if conv { 0 } else { tensor.shape().len().saturating_sub(1) };
    let channels = tensor.shape().get(axis).copied().unwrap_or(0);
    let fits = scale.len() == 1 || scale.len() == channels && (!conv || is_per_channel(&scale));
    if tensor.shape().len() < 2 || !fits || !conv && tensor.shape().len() != 2 {
        return Ok(None);
    }
    let scales = scale.elements::<f32>()?.to_vec();
    let zero_point = vec![0; scales.len()];
    let axis = if scales.len() == 1 { 0 } else { axis as u32 };
    let quant = Quantization { scale: scales, zero_point, axis };
    let tensor = Tensor::from_bytes(DType::I8, tensor.shape(), &bytes)?;
    importer.graph.constant(pattern.weights, tensor, Some(quant)).map(Some)
}

/// Whether scales of a convolution run over channels of `[n, c, h, w]`: `[c, 1, 1]`.
fn is_per_channel(scale: &Tensor) -> bool {
    let shape = scale.shape();
    let (Some(channel), rank) = (shape.iter().position(|dim| *dim > 1), shape.len()) else {
        return scale.len() == 1;
    };
    rank >= 3 && channel + 3 == rank
}
