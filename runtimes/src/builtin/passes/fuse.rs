//! Takes what follows an f32 convolution into it: a sum with what is computed by then, its range, and PReLU. Every number
//! is rounded as before, and memory is walked once.
//!
//! For kernels of the processor only: no device knows such an operator.

use super::rewrite::Rewriter;
use crate::Result;
use crate::builtin::graph::{Fact, Graph, Node, ValueId};
use crate::builtin::ops::{BinaryKind, Conv2d, FusedConv2d, Op};
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
        let Some(fused) = Fused::of(&rewriter, node) else {
            rewriter.copy(id)?;
            continue;
        };
        let mut inputs = rewriter.operands(node)?;
        for value in fused.summand.into_iter().chain(fused.slopes) {
            inputs.push(rewriter.get(value)?);
        }
        let op =
            FusedConv2d { conv: fused.conv, sum: fused.summand.is_some(), slopes: fused.slopes.is_some() };
        let last = *fused.results.last().unwrap_or(&node.outputs[0]);
        let kind = rewriter.fact(last).as_output();
        let new = rewriter.new.add_as(rewriter.name(last), op, &inputs, kind)?;
        fused.results.iter().chain(&node.outputs).for_each(|value| rewriter.set(*value, new));
    }
    rewriter.finish()
}

/// A convolution and what goes into it.
struct Fused {
    conv: Conv2d,
    summand: Option<ValueId>,
    slopes: Option<ValueId>,
    /// Of the operators that go.
    results: Vec<ValueId>,
}

impl Fused {
    /// `None` where there is nothing to take.
    fn of(rewriter: &Rewriter<'_>, node: &Node) -> Option<Self> {
        let (Op::Conv2d(conv), [output], [_, weights, bias]) =
            (&node.op, &node.outputs[..], &node.inputs[..])
        else {
            return None;
        };
        let constant = |value: &ValueId| rewriter.old.constant_value(*value).is_some();
        let real = |value: &ValueId| is_real(rewriter.fact(*value));
        let good = conv.groups == 1 && constant(weights) && constant(bias);
        if !good || !node.inputs.iter().chain([output]).all(real) {
            return None;
        }
        let mut fused = Self { conv: *conv, summand: None, slopes: None, results: Vec::new() };
        if conv.clamp.is_none() {
            fused.take_sum(rewriter, *output);
        }
        if fused.conv.clamp.is_none() {
            fused.take_slopes(rewriter, *fused.results.last().unwrap_or(output));
        }
        (!fused.results.is_empty()).then_some(fused)
    }

    fn take_sum(&mut self, rewriter: &Rewriter<'_>, value: ValueId) -> Option<()> {
        let (_, next) = rewriter.sole_consumer(value)?;
        let (Op::Binary(op), [a, b], [output]) = (&next.op, &next.inputs[..], &next.outputs[..]) else {
            return None;
        };
        let other = if *a == value { *b } else { *a };
        let same =
            |v: ValueId| is_real(rewriter.fact(v)) && rewriter.fact(v).shape == rewriter.fact(value).shape;
        if op.kind == BinaryKind::Add && same(other) && same(*output) && rewriter.peek(other).is_some() {
            self.conv.clamp = op.clamp;
            self.summand = Some(other);
            self.results.push(*output);
        }
        Some(())
    }

    fn take_slopes(&mut self, rewriter: &Rewriter<'_>, value: ValueId) -> Option<()> {
        let (_, next) = rewriter.sole_consumer(value)?;
        let (Op::Prelu(_), [x, slopes], [output]) = (&next.op, &next.inputs[..], &next.outputs[..]) else {
            return None;
        };
        let (fact, channels) = (rewriter.fact(*slopes), rewriter.fact(value).shape.last()?);
        let per_channel = fact.len() == 1 || (fact.len() == *channels && fact.shape.last() == Some(channels));
        let constant = rewriter.old.constant_value(*slopes).is_some();
        if *x == value && per_channel && constant && is_real(fact) && is_real(rewriter.fact(*output)) {
            self.slopes = Some(*slopes);
            self.results.push(*output);
        }
        Some(())
    }
}

fn is_real(fact: &Fact) -> bool {
    fact.dtype == DType::F32 && fact.quant.is_none()
}

#[cfg(test)]
mod tests {
    use super::super::testing::{after, constant, conv, graph, input, keeping, ops, run as results};
    use super::*;
    use crate::builtin::ops::{Binary, Clamp, Prelu, Unary, UnaryKind};

    const ADD: BinaryKind = BinaryKind::Add;

    /// conv → add (to x) → prelu
    fn chain(clamp: Clamp) -> Graph {
        let mut g = graph();
        let x = input(&mut g, &[1, 3, 3, 2]);
        let (w, b) = (constant(&mut g, &[2, 1, 1, 2], 1), constant(&mut g, &[2], 2));
        let c = g.add("c", conv(), &[x, w, b]).unwrap();
        let s = g.add("s", Binary { kind: ADD, clamp }, &[x, c]).unwrap();
        let slopes = constant(&mut g, &[1, 1, 2], 3);
        let p = g.add("p", Prelu, &[s, slopes]).unwrap();
        g.output(p);
        g
    }

    #[test]
    fn a_chain_becomes_one() {
        let g = chain(Clamp::NONE);
        assert_eq!(ops(&after(run, &g)), ["FusedConv2d"]);
        assert_eq!(results(&after(run, &g)), results(&g));
        let cut = chain(Clamp::RELU6);
        assert_eq!(ops(&after(run, &cut)), ["FusedConv2d", "PRelu"], "what is cut is cut last");
        assert_eq!(results(&after(run, &cut)), results(&cut));
    }

    #[test]
    fn a_kept_tensor_is_there() {
        let g = chain(Clamp::NONE);
        assert_eq!(ops(&keeping(run, &g, &["c"])), ["Conv2d", "Add", "PRelu"]);
        assert_eq!(ops(&keeping(run, &g, &["s"])), ["FusedConv2d", "PRelu"]);
    }

    #[test]
    fn a_summand_must_be_there_before() {
        let mut g = graph();
        let x = input(&mut g, &[1, 3, 3, 2]);
        let (w, b) = (constant(&mut g, &[2, 1, 1, 2], 1), constant(&mut g, &[2], 2));
        let c = g.add("c", conv(), &[x, w, b]).unwrap();
        let e = g.add("e", Unary { kind: UnaryKind::Exp }, &[x]).unwrap();
        let s = g.add("s", Binary::new(ADD), &[c, e]).unwrap();
        g.output(s);
        assert_eq!(ops(&after(run, &g)), ["Conv2d", "Exp", "Add"]);
        let mut g = graph();
        let x = input(&mut g, &[1, 3, 3, 2]);
        let (w, b) = (constant(&mut g, &[2, 1, 1, 2], 1), constant(&mut g, &[2], 2));
        let c = g.add("c", conv(), &[x, w, b]).unwrap();
        let d = g.add("d", conv(), &[c, w, b]).unwrap();
        let s = g.add("s", Binary::new(ADD), &[c, d]).unwrap();
        g.output(s);
        assert_eq!(ops(&after(run, &g)), ["Conv2d", "FusedConv2d"]);
        assert_eq!(results(&after(run, &g)), results(&g));
    }
}
