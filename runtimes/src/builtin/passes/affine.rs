//! Takes factors and summands per output channel (batch normalisation, bias) into the weights and bias of the
//! layer before them.
//!
//! Reals only, and weights that are dynamically quantised take summands only. Sums are rounded in another
//! order afterwards.

use super::rewrite::Rewriter;
use crate::Result;
use crate::builtin::graph::{Graph, Node, ValueId};
use crate::builtin::ops::{BinaryKind, Clamp, Op};
use crate::builtin::tensor::Tensor;
use protocol::DType;
use std::collections::HashSet;

/// The pass.
pub(super) fn run(graph: &Graph, keep: &HashSet<&str>) -> Result<Graph> {
    let mut rewriter = Rewriter::new(graph, keep)?;
    for id in rewriter.live() {
        let node = graph.node(id);
        if node.outputs.iter().all(|output| rewriter.is_known(*output)) {
            continue;
        }
        let mut layer = Layer::of(&rewriter, node);
        if let Some(layer) = &mut layer {
            layer.absorb(&mut rewriter)?;
        }
        match layer.filter(|layer| layer.results.len() > 1) {
            Some(layer) => layer.emit(&mut rewriter, node)?,
            None => rewriter.copy(id)?,
        }
    }
    rewriter.finish()
}

/// A layer with constant weights, and what follows it folded in so far.
struct Layer {
    channels: usize,
    /// Of the weights, the dimension that runs over output channels.
    axis: usize,
    /// Factor per channel; `None` where the weights cannot take one.
    factor: Option<Vec<f32>>,
    bias: Vec<f32>,
    /// Its result, and every one since that has been folded in.
    results: Vec<ValueId>,
}

impl Layer {
    fn of(rewriter: &Rewriter<'_>, node: &Node) -> Option<Self> {
        let axis = match &node.op {
            Op::Conv2d(op) if op.clamp.is_none() => 0,
            Op::TransposeConv2d(op) if op.clamp.is_none() => 0,
            Op::FullyConnected(op) if op.clamp.is_none() => 0,
            Op::DepthwiseConv2d(op) if op.clamp.is_none() => 3,
            _ => return None,
        };
        let ([x, weights, bias @ ..], [last]) = (node.inputs.as_slice(), node.outputs.as_slice()) else {
            return None;
        };
        let real = |value: ValueId| rewriter.fact(value).dtype == DType::F32;
        let dequantized = is_dequantized_constant(rewriter.old, *weights);
        if rewriter.old.constant_value(*weights).is_none() && !dequantized {
            return None;
        }
        let channels = *rewriter.fact(*weights).shape.get(axis)?;
        if !real(*x) || !real(*last) || rewriter.fact(*last).shape.last() != Some(&channels) {
            return None;
        }
        let bias = match bias {
            [] => vec![0.0; channels],
            [bias] => rewriter.old.constant_value(*bias)?.elements::<f32>().ok()?.to_vec(),
            _ => return None,
        };
        let factor = (real(*weights) && !dequantized).then(|| vec![1.0; channels]);
        Some(Self { channels, axis, factor, bias, results: vec![*last] })
    }

    fn last(&self) -> ValueId {
        *self.results.last().expect("begins with the layer's own result")
    }

    /// Folds in what follows, as far as it goes.
    fn absorb(&mut self, rewriter: &mut Rewriter<'_>) -> Result<()> {
        while let Some((_, next)) = rewriter.sole_consumer(self.last()) {
            if !self.absorb_one(rewriter, next)? {
                break;
            }
        }
        Ok(())
    }

    fn absorb_one(&mut self, rewriter: &mut Rewriter<'_>, next: &Node) -> Result<bool> {
        let (Op::Binary(op), [a, b], [output]) = (&next.op, next.inputs.as_slice(), next.outputs.as_slice())
        else {
            return Ok(false);
        };
        let (other, first) = if *a == self.last() { (*b, true) } else { (*a, false) };
        let same = rewriter.fact(*output) == rewriter.fact(self.last());
        if !same || op.clamp != Clamp::NONE {
            return Ok(false);
        }
        let Some(values) = self.per_channel(rewriter, other)? else { return Ok(false) };
        let pairs = values.iter().zip(&mut self.bias);
        match (op.kind, first, &mut self.factor) {
            (BinaryKind::Add, _, _) => pairs.for_each(|(v, b)| *b += v),
            (BinaryKind::Sub, true, _) => pairs.for_each(|(v, b)| *b -= v),
            (BinaryKind::Mul, _, Some(factor)) => {
                pairs.for_each(|(v, b)| *b *= v);
                values.iter().zip(factor).for_each(|(v, f)| *f *= v);
            }
            (BinaryKind::Div, true, Some(factor)) => {
                pairs.for_each(|(v, b)| *b /= v);
                values.iter().zip(factor).for_each(|(v, f)| *f /= v);
            }
            _ => return Ok(false),
        }
        self.results.push(*output);
        Ok(true)
    }

    /// A constant, perhaps dequantised, that has one number for all channels, or one for each.
    fn per_channel(&self, rewriter: &mut Rewriter<'_>, value: ValueId) -> Result<Option<Vec<f32>>> {
        let known = rewriter.old.constant_value(value).cloned();
        let Some(tensor) = known.map_or_else(|| dequantized(rewriter, value), |known| Ok(Some(known)))?
        else {
            return Ok(None);
        };
        let Ok(numbers) = tensor.elements::<f32>() else { return Ok(None) };
        Ok(match (numbers, tensor.shape().last()) {
            ([one], _) => Some(vec![*one; self.channels]),
            (all, Some(last)) if all.len() == self.channels && *last == self.channels => Some(all.to_vec()),
            _ => None,
        })
    }

    fn emit(self, rewriter: &mut Rewriter<'_>, node: &Node) -> Result<()> {
        let name = rewriter.name(self.last()).to_owned();
        let mut inputs = rewriter.operands(node)?;
        let factor = self.factor.as_ref().filter(|factor| factor.iter().any(|f| *f != 1.0));
        if let (Some(factor), [_, weights, ..]) = (factor, node.inputs.as_slice()) {
            let scaled = scale(rewriter.old.constant_value(*weights), self.axis, factor)?;
            if let Some(scaled) = scaled {
                inputs[1] = rewriter.new.constant(rewriter.name(*weights), scaled, None)?;
            }
        }
        inputs.truncate(2);
        let bias = Tensor::from_elements(&[self.channels], &self.bias)?;
        inputs.push(rewriter.new.constant(&format!("{name} bias"), bias, None)?);
        let kind = rewriter.fact(self.last()).as_output();
        let new = rewriter.new.add_as(&name, node.op.clone(), &inputs, kind)?;
        for result in &self.results {
            rewriter.set(*result, new);
        }
        Ok(())
    }
}

/// Whether a value is int8 weights that the file dequantises.
fn is_dequantized_constant(graph: &Graph, value: ValueId) -> bool {
    let mut value = value;
    loop {
        match graph.producer(value).map(|(_, node)| (&node.op, node.inputs.as_slice())) {
            Some((Op::Requantize(_), [input])) => return graph.constant_value(*input).is_some(),
            Some((Op::Transpose(_) | Op::Reshape(_), [input])) => value = *input,
            _ => return false,
        }
    }
}

/// The numbers of a constant that the file keeps quantised.
fn dequantized(rewriter: &mut Rewriter<'_>, value: ValueId) -> Result<Option<Tensor>> {
    let Some((_, node)) = rewriter.old.producer(value) else { return Ok(None) };
    let (Op::Requantize(_), [input]) = (&node.op, node.inputs.as_slice()) else { return Ok(None) };
    if rewriter.old.constant_value(*input).is_none() {
        return Ok(None);
    }
    let input = rewriter.get(*input)?;
    let kind = rewriter.fact(value).as_output();
    let real = rewriter.new.add_as(rewriter.name(value), node.op.clone(), &[input], kind)?;
    Ok(rewriter.new.constant_value(real).cloned())
}

/// Weights times a factor per index of dimension `axis`.
fn scale(weights: Option<&Tensor>, axis: usize, factor: &[f32]) -> Result<Option<Tensor>> {
    let Some(weights) = weights else { return Ok(None) };
    let inner: usize = weights.shape().iter().skip(axis + 1).product();
    let channel = |index: usize| index / inner.max(1) % factor.len().max(1);
    let scaled = weights.elements::<f32>()?.iter().enumerate();
    let scaled: Vec<f32> = scaled.map(|(index, w)| w * factor.get(channel(index)).unwrap_or(&1.0)).collect();
    Tensor::from_elements(weights.shape(), &scaled).map(Some)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{after, constant, conv, graph, input, keeping, ops};
    use super::*;
    use crate::builtin::ops::{Binary, DepthwiseConv2d, Dynamic, FullyConnected, Window};

    fn binary(kind: BinaryKind) -> Binary {
        Binary::new(kind)
    }

    /// A layer followed by · c + d, and what is left of it.
    fn folded(op: impl Into<Op>, x: &[usize], weights: &[usize], channels: &[usize]) -> Vec<&'static str> {
        let mut g = graph();
        let x = input(&mut g, x);
        let (w, c, d) =
            (constant(&mut g, weights, 1), constant(&mut g, channels, 2), constant(&mut g, channels, 3));
        let y = g.add("y", op, &[x, w]).unwrap();
        let y = g.add("m", binary(BinaryKind::Mul), &[y, c]).unwrap();
        let y = g.add("a", binary(BinaryKind::Add), &[d, y]).unwrap();
        g.output(y);
        ops(&after(run, &g))
    }

    #[test]
    fn every_layer_takes_factors_and_summands() {
        assert_eq!(folded(conv(), &[1, 4, 4, 2], &[3, 2, 2, 2], &[3]), ["Conv2d"]);
        assert_eq!(folded(conv(), &[1, 4, 4, 2], &[3, 2, 2, 2], &[1, 1, 1, 1]), ["Conv2d"]);
        let depthwise =
            DepthwiseConv2d { window: Window::default(), clamp: Clamp::NONE, dynamic: Dynamic::default() };
        assert_eq!(folded(depthwise, &[1, 4, 4, 3], &[1, 2, 2, 3], &[1, 1, 1, 3]), ["DepthwiseConv2d"]);
        let full = FullyConnected { keep_dims: true, clamp: Clamp::NONE, dynamic: Dynamic::default() };
        assert_eq!(folded(full, &[2, 4], &[3, 4], &[3]), ["FullyConnected"]);
    }

    #[test]
    fn what_is_not_per_channel_stays() {
        assert_eq!(folded(conv(), &[1, 4, 4, 2], &[3, 2, 2, 2], &[3, 3]), ["Conv2d", "Mul", "Add"]);
        assert_eq!(folded(conv(), &[1, 4, 4, 2], &[3, 2, 2, 2], &[3, 1]), ["Conv2d", "Mul", "Add"]);
    }

    #[test]
    fn differences_and_quotients() {
        let mut g = graph();
        let x = input(&mut g, &[1, 3, 3, 2]);
        let (w, b, c) =
            (constant(&mut g, &[4, 1, 1, 2], 1), constant(&mut g, &[4], 2), constant(&mut g, &[4], 3));
        let y = g.add("y", conv(), &[x, w, b]).unwrap();
        let y = g.add("d", binary(BinaryKind::Sub), &[y, c]).unwrap();
        let y = g.add("q", binary(BinaryKind::Div), &[y, c]).unwrap();
        let z = g.add("z", binary(BinaryKind::Sub), &[c, y]).unwrap();
        g.output(z);
        assert_eq!(ops(&after(run, &g)), ["Conv2d", "Sub"], "c − y is no summand");
        assert_eq!(ops(&keeping(run, &g, &["d"])), ["Conv2d", "Div", "Sub"]);
    }
}
