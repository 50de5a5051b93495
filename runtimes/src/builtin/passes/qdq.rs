//! From dequantise, compute, quantise to computing with quantised values.
//!
//! An operator whose operands are all dequantised and whose result is quantised at once is asked for the
//! quantised result directly; what only moves elements is done on the quantised ones. Everything else stays as
//! it is: it computes with f32 because the file says so. The integers are those of the real computation, up to
//! the rounding of ties.

use super::rewrite::Rewriter;
use crate::Result;
use crate::builtin::graph::{Graph, Node, NodeId, OutputType, ValueId};
use crate::builtin::ops::{Op, PoolKind, Requantize, ResizeMode};
use crate::builtin::tensor::Tensor;
use protocol::{DType, Quantization};
use std::collections::HashSet;

/// The pass.
pub(super) fn run(graph: &Graph, keep: &HashSet<&str>) -> Result<Graph> {
    let mut pass = Qdq { rewriter: Rewriter::new(graph, keep)?, reals: vec![None; graph.values().count()] };
    for id in pass.rewriter.live() {
        pass.node(id)?;
        for output in &graph.node(id).outputs {
            if pass.rewriter.is_kept(*output) {
                pass.fix(*output)?;
            }
        }
    }
    for output in graph.outputs() {
        pass.fix(*output)?;
    }
    pass.rewriter.finish()
}

/// The new value of an old real one may be quantised: its elements stand for the same numbers.
struct Qdq<'a> {
    rewriter: Rewriter<'a>,
    /// By index of the old value: the new f32 one, where it has been asked for.
    reals: Vec<Option<ValueId>>,
}

impl Qdq<'_> {
    fn node(&mut self, id: NodeId) -> Result<()> {
        let node = self.rewriter.old.node(id);
        match (&node.op, node.inputs.as_slice(), node.outputs.as_slice()) {
            (Op::Requantize(_), [input], [output]) => self.requantize(node, *input, *output),
            (op, [input, rest @ ..], [output]) if moves(op) => self.mover(node, *input, rest, *output),
            (_, _, [output]) if self.became_quantized(node) => match self.wanted(*output) {
                Some((kind, quantize)) => self.quantized(node, *output, kind, &quantize),
                None => self.real_node(node),
            },
            _ => self.real_node(node),
        }
    }

    /// Whether a real operand of the node has a quantised new value.
    fn became_quantized(&self, node: &Node) -> bool {
        node.inputs.iter().any(|input| self.is_dequantized(*input))
    }

    fn is_dequantized(&self, old: ValueId) -> bool {
        let new = self.rewriter.peek(old).map(|new| self.rewriter.new.fact(new));
        self.rewriter.fact(old).quant.is_none() && new.is_some_and(|fact| fact.quant.is_some())
    }

    /// A new value with exactly the type of the old one.
    fn real(&mut self, old: ValueId) -> Result<ValueId> {
        if !self.is_dequantized(old) {
            return self.rewriter.get(old);
        }
        if let Some(real) = self.reals[old.index()] {
            return Ok(real);
        }
        let quantized = self.rewriter.get(old)?;
        let kind = self.rewriter.fact(old).as_output();
        let real = self.rewriter.new.add_as(self.rewriter.name(old), Requantize, &[quantized], kind)?;
        self.reals[old.index()] = Some(real);
        Ok(real)
    }

    /// Makes the real value the one that the graph shows.
    fn fix(&mut self, old: ValueId) -> Result<()> {
        let real = self.real(old)?;
        self.rewriter.set(old, real);
        Ok(())
    }

    fn real_node(&mut self, node: &Node) -> Result<()> {
        let inputs = node.inputs.iter().map(|input| self.real(*input)).collect::<Result<Vec<_>>>()?;
        self.rewriter.emit(node, node.op.clone(), &inputs)
    }

    fn requantize(&mut self, node: &Node, input: ValueId, output: ValueId) -> Result<()> {
        let new = self.rewriter.get(input)?;
        let (from, to) = (self.rewriter.new.fact(new).as_output(), self.rewriter.fact(output).as_output());
        let dequantizes = from.quant.is_some() && to.quant.is_none() && to.dtype == DType::F32;
        let renames =
            self.rewriter.is_shown(output) && self.rewriter.new.get(new).name != self.rewriter.name(output);
        if dequantizes && !self.rewriter.is_shown(output) || from == to && !renames {
            self.rewriter.set(output, new);
            return Ok(());
        }
        self.rewriter.emit(node, node.op.clone(), &[new])
    }

    /// On quantised elements where there are any, with their quantisation.
    fn mover(&mut self, node: &Node, input: ValueId, rest: &[ValueId], output: ValueId) -> Result<()> {
        if !self.is_dequantized(input) || self.rewriter.is_shown(output) {
            return self.real_node(node);
        }
        let mut inputs = vec![self.rewriter.get(input)?];
        for input in rest {
            inputs.push(self.real(*input)?);
        }
        // what is quantised per channel cannot be cut or reshaped at will
        match self.rewriter.new.add(self.rewriter.name(output), node.op.clone(), &inputs) {
            Ok(new) => self.rewriter.set(output, new),
            Err(_) => self.real_node(node)?,
        }
        Ok(())
    }

    /// The type that the only reader of a value quantises it to, perhaps after moving it, and how.
    fn wanted(&self, output: ValueId) -> Option<(OutputType, Op)> {
        let mut value = output;
        loop {
            let (_, next) = self.rewriter.sole_consumer(value)?;
            value = *next.outputs.first()?;
            match &next.op {
                Op::Requantize(_) => {
                    let kind = self.rewriter.fact(value).as_output();
                    let per_tensor = kind.quant.as_ref().is_some_and(|quant| quant.scale.len() == 1);
                    return per_tensor.then(|| (kind, next.op.clone()));
                }
                op if moves(op) && next.inputs.len() == 1 => {}
                _ => return None,
            }
        }
    }

    /// Computes the node with quantised operands and result, if all operands can be.
    fn quantized(&mut self, node: &Node, output: ValueId, kind: OutputType, quantize: &Op) -> Result<()> {
        let inputs = if is_layer(&node.op) {
            self.layer_operands(node, &kind)?
        } else {
            self.quantized_operands(node)?
        };
        let Some(mut inputs) = inputs else { return self.real_node(node) };
        if matches!(node.op, Op::Concat(_)) {
            for (input, old) in inputs.iter_mut().zip(&node.inputs) {
                let name = self.rewriter.name(*old);
                *input = self.rewriter.new.add_as(name, quantize.clone(), &[*input], kind.clone())?;
            }
        }
        let named = match self.rewriter.sole_consumer(output) {
            Some((_, Node { op: Op::Requantize(_), outputs, .. })) => {
                outputs.first().copied().unwrap_or(output)
            }
            _ => output,
        };
        let new = self.rewriter.new.add_as(self.rewriter.name(named), node.op.clone(), &inputs, kind)?;
        self.rewriter.set(output, new);
        Ok(())
    }

    fn quantized_operands(&mut self, node: &Node) -> Result<Option<Vec<ValueId>>> {
        let real = |input: &ValueId| {
            let is_real = self.rewriter.fact(*input).dtype == DType::F32;
            is_real && !self.is_dequantized(*input)
        };
        if node.inputs.iter().any(real) {
            return Ok(None);
        }
        self.rewriter.operands(node).map(Some)
    }

    /// Input, symmetric int8 weights and i32 bias of a convolution or fully connected layer.
    fn layer_operands(&mut self, node: &Node, kind: &OutputType) -> Result<Option<Vec<ValueId>>> {
        let [x, weights, bias @ ..] = node.inputs.as_slice() else { return Ok(None) };
        if !self.is_dequantized(*x) || !self.is_dequantized(*weights) {
            return Ok(None);
        }
        let x = self.rewriter.get(*x)?;
        let fact = self.rewriter.new.fact(x);
        let Some((scale, _)) = fact.per_tensor().filter(|_| fact.dtype == kind.dtype) else {
            return Ok(None);
        };
        let Some((weights, weight_scales)) = self.symmetric(*weights)? else { return Ok(None) };
        let mut inputs = vec![x, weights];
        if let [bias] = bias {
            let scales: Vec<f32> = weight_scales.iter().map(|w| scale * w).collect();
            let Some(bias) = self.integer_bias(*bias, &scales)? else { return Ok(None) };
            inputs.push(bias);
        }
        Ok(Some(inputs))
    }

    /// Constant weights as int8 with zero point 0, and their scales.
    fn symmetric(&mut self, old: ValueId) -> Result<Option<(ValueId, Vec<f32>)>> {
        let new = self.rewriter.get(old)?;
        let value = self.rewriter.new.get(new);
        let (Some(tensor), Some(quant)) = (&value.constant, value.fact.quant.clone()) else {
            return Ok(None);
        };
        let zero = |z: i32| quant.zero_point.iter().all(|zero_point| *zero_point == z);
        match value.fact.dtype {
            DType::I8 if zero(0) => Ok(Some((new, quant.scale.clone()))),
            DType::U8 if zero(128) => {
                let bytes: Vec<u8> = tensor.bytes().iter().map(|byte| byte ^ 0x80).collect();
                let tensor = Tensor::from_bytes(DType::I8, tensor.shape(), &bytes)?;
                let quant = Quantization { zero_point: vec![0; quant.scale.len()], ..(*quant).clone() };
                let scales = quant.scale.clone();
                Ok(Some((self.rewriter.new.constant(self.rewriter.name(old), tensor, Some(quant))?, scales)))
            }
            _ => Ok(None),
        }
    }

    /// A constant bias as i32 whose scales are those of the products it is added to.
    fn integer_bias(&mut self, old: ValueId, scales: &[f32]) -> Result<Option<ValueId>> {
        let new = self.rewriter.get(old)?;
        let name = self.rewriter.name(old).to_owned();
        let value = self.rewriter.new.get(new);
        let Some(tensor) = value.constant.clone() else { return Ok(None) };
        let channels = tensor.len();
        let quant = Quantization { scale: scales.to_vec(), zero_point: vec![0; scales.len()], axis: 0 };
        let integers = if value.fact.dtype == DType::I32 && same_scales(value.fact.quant.as_deref(), &quant) {
            tensor.elements::<i32>()?.to_vec()
        } else {
            let real = self.real(old)?;
            let Some(real) = self.rewriter.new.constant_value(real) else { return Ok(None) };
            let scale = |channel: usize| scales.get(channel % scales.len().max(1)).copied().unwrap_or(1.0);
            let real = real.elements::<f32>()?.iter().enumerate();
            real.map(|(channel, b)| (b / scale(channel)).round_ties_even() as i32).collect()
        };
        let tensor = Tensor::from_elements(&[channels], &integers)?;
        self.rewriter.new.constant(&name, tensor, Some(quant)).map(Some)
    }
}

/// Quantisers compute the bias' scale in f32 or f64: a last bit is no difference.
fn same_scales(found: Option<&Quantization>, expected: &Quantization) -> bool {
    let Some(found) = found else { return false };
    let close = |(index, want): (usize, &f32)| {
        let got = found.scale.get(if found.scale.len() == 1 { 0 } else { index });
        got.is_some_and(|got| (got - want).abs() <= want.abs() * 1e-5)
    };
    found.zero_point.iter().all(|z| *z == 0) && expected.scale.iter().enumerate().all(close)
}

fn is_layer(op: &Op) -> bool {
    matches!(op, Op::Conv2d(_) | Op::DepthwiseConv2d(_) | Op::FullyConnected(_) | Op::TransposeConv2d(_))
}

/// Whether an operator gives elements of its first operand and no others.
fn moves(op: &Op) -> bool {
    match op {
        Op::Reshape(_) | Op::Transpose(_) | Op::Slice(_) | Op::Gather(_) | Op::Expand(_) => true,
        Op::Pool2d(op) => op.kind == PoolKind::Max && op.clamp.is_none(),
        Op::Resize(op) => op.mode != ResizeMode::Linear,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{after, conv, graph, int8, keeping, ops, quant};
    use super::*;
    use crate::builtin::graph::Fact;
    use crate::builtin::ops::{Binary, BinaryKind, Concat, Reshape, Transpose, Unary, UnaryKind};
    use std::sync::Arc;

    fn dequantize(g: &mut Graph, x: ValueId) -> ValueId {
        g.add_unfolded("d", Requantize, &[x], Fact::new(DType::F32, &[]).as_output()).unwrap()
    }

    fn int8_input(g: &mut Graph, name: &str, shape: &[usize]) -> ValueId {
        let x = g.input(name, Fact::new(DType::I8, shape).quantized(quant(0.02, 7))).unwrap();
        dequantize(g, x)
    }

    fn constant_of(g: &mut Graph, dtype: DType, shape: &[usize], quant: Quantization) -> ValueId {
        let count = shape.iter().product::<usize>() * dtype.size();
        let bytes: Vec<u8> =
            (0..count).map(|i| if i % dtype.size() < 2 { (i * 41) as u8 } else { 0 }).collect();
        let tensor = Tensor::from_bytes(dtype, shape, &bytes).unwrap();
        let value = g.constant("w", tensor, Some(quant)).unwrap();
        dequantize(g, value)
    }

    /// A convolution between dequantisation and quantisation, and the types it then computes with.
    fn conv_types(weights: DType, zero: i32, bias: Option<f32>) -> Vec<DType> {
        let mut g = graph();
        let x = int8_input(&mut g, "x", &[1, 4, 4, 2]);
        let scale = |scale: f32| Quantization { scale: vec![scale; 3], zero_point: vec![zero; 3], axis: 0 };
        let w = constant_of(&mut g, weights, &[3, 2, 2, 2], scale(0.01));
        let bias = bias.map(|b| {
            constant_of(&mut g, DType::I32, &[3], Quantization { zero_point: vec![0; 3], ..scale(b) })
        });
        let operands: Vec<ValueId> = [x, w].into_iter().chain(bias).collect();
        let y = g.add("y", conv(), &operands).unwrap();
        let q = g.add_as("q", Requantize, &[y], int8(0.05, -3)).unwrap();
        g.output(q);
        let after = after(run, &g);
        let conv = after.nodes().find(|(_, node)| node.op.name() == "Conv2d").unwrap().1.clone();
        conv.inputs.iter().chain(&conv.outputs).map(|v| after.fact(*v).dtype).collect()
    }

    #[test]
    fn convolutions_become_integer() {
        use DType::{F32, I8, I32, U8};
        assert_eq!(conv_types(I8, 0, None), [I8, I8, I8]);
        assert_eq!(conv_types(U8, 128, None), [I8, I8, I8], "u8 around 128 is int8");
        assert_eq!(conv_types(I8, 0, Some(0.02 * 0.01)), [I8, I8, I32, I8]);
        assert_eq!(
            conv_types(I8, 0, Some(0.0001)),
            [I8, I8, I32, I8],
            "a bias of another scale is rounded anew"
        );
        assert_eq!(
            conv_types(U8, 100, None),
            [F32, F32, F32],
            "not symmetric: as the file says, with floats"
        );
    }

    #[test]
    fn only_what_is_quantised_on_all_sides() {
        let mut g = graph();
        let x = int8_input(&mut g, "x", &[2, 6]);
        let t = g.add("t", Transpose { perm: vec![1, 0] }, &[x]).unwrap();
        let y = g.add("y", Unary { kind: UnaryKind::Exp }, &[t]).unwrap();
        g.output(y);
        assert_eq!(ops(&after(run, &g)), ["Transpose", "Requantize", "Exp"], "moved as integers");
        let kept = keeping(run, &g, &["t"]);
        assert_eq!(ops(&kept), ["Requantize", "Transpose", "Exp"]);
    }

    #[test]
    fn a_quantiser_is_found_behind_a_move() {
        let mut g = graph();
        let (x, z) = (int8_input(&mut g, "x", &[2, 6]), int8_input(&mut g, "z", &[2, 6]));
        let s = g.add("s", Binary::new(BinaryKind::Add), &[x, z]).unwrap();
        let r = g.add("r", Reshape { shape: vec![3, 4] }, &[s]).unwrap();
        let q = g.add_as("q", Requantize, &[r], int8(0.04, 1)).unwrap();
        g.output(q);
        let after = after(run, &g);
        assert_eq!(after.fact(after.nodes().next().unwrap().1.outputs[0]).dtype, DType::I8);
        assert!(!ops(&after)[1..].contains(&"Add"));
    }

    #[test]
    fn joined_operands_take_the_scale_of_the_result() {
        let mut g = graph();
        let (x, z) = (int8_input(&mut g, "x", &[2, 6]), int8_input(&mut g, "z", &[2, 3]));
        let j = g.add("j", Concat { axis: 1 }, &[x, z]).unwrap();
        let q = g.add_as("q", Requantize, &[j], int8(0.04, 1)).unwrap();
        g.output(q);
        assert_eq!(ops(&after(run, &g)), ["Requantize", "Requantize", "Concat"]);
    }

    #[test]
    fn scales_may_differ_in_the_last_bits() {
        let quant =
            |scale: &[f32]| Quantization { scale: scale.to_vec(), zero_point: vec![0; scale.len()], axis: 0 };
        let want = quant(&[0.1, 0.2]);
        assert!(same_scales(Some(&quant(&[0.100_000_01, 0.2])), &want));
        assert!(!same_scales(Some(&quant(&[0.1])), &want));
        assert!(same_scales(Some(&quant(&[0.1])), &quant(&[0.1, 0.1])));
        assert!(!same_scales(None, &want));
    }

    #[test]
    fn shared_quantisations_are_compared_by_value() {
        let quant = || Some(Arc::new(Quantization { scale: vec![0.5], zero_point: vec![3], axis: 0 }));
        let kind = || OutputType { dtype: DType::I8, quant: quant() };
        assert_eq!(kind(), kind());
    }
}
