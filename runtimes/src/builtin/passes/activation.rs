//! Takes a range (ReLU, ReLU6, Clip) into the operator whose result it cuts.
//!
//! On quantised results only where both have the same quantisation: there the range is one of integers, before
//! and after.

use super::rewrite::Rewriter;
use crate::Result;
use crate::builtin::graph::{Graph, ValueId};
use crate::builtin::ops::{Clamp, Op};
use std::collections::HashSet;

/// The pass.
pub(super) fn run(graph: &Graph, keep: &HashSet<&str>) -> Result<Graph> {
    let mut rewriter = Rewriter::new(graph, keep)?;
    for id in rewriter.live() {
        let node = graph.node(id);
        let mut op = node.op.clone();
        let (Some(clamp), [output]) = (clamp_of(&mut op), node.outputs.as_slice()) else {
            rewriter.copy(id)?;
            continue;
        };
        if rewriter.is_known(*output) {
            continue;
        }
        let absorbed = absorb(&rewriter, *output, clamp);
        let last = *absorbed.last().unwrap_or(output);
        let inputs = rewriter.operands(node)?;
        let kind = rewriter.fact(last).as_output();
        let new = rewriter.new.add_as(rewriter.name(last), op, &inputs, kind)?;
        for value in absorbed.iter().chain([output]) {
            rewriter.set(*value, new);
        }
    }
    rewriter.finish()
}

/// Follows `value` through every range that only it is cut by, and gathers them in `clamp`; gives what they
/// result in.
fn absorb(rewriter: &Rewriter<'_>, value: ValueId, clamp: &mut Clamp) -> Vec<ValueId> {
    let mut absorbed = Vec::new();
    let mut last = value;
    while let Some((_, next)) = rewriter.sole_consumer(last) {
        let (Op::Clip(clip), [output]) = (&next.op, next.outputs.as_slice()) else { break };
        if rewriter.fact(last).as_output() != rewriter.fact(*output).as_output() {
            break;
        }
        *clamp = clamp.then(clip.clamp);
        last = *output;
        absorbed.push(last);
    }
    absorbed
}

/// The range of an operator that has one.
fn clamp_of(op: &mut Op) -> Option<&mut Clamp> {
    match op {
        Op::Conv2d(op) => Some(&mut op.clamp),
        Op::DepthwiseConv2d(op) => Some(&mut op.clamp),
        Op::TransposeConv2d(op) => Some(&mut op.clamp),
        Op::FullyConnected(op) => Some(&mut op.clamp),
        Op::Pool2d(op) => Some(&mut op.clamp),
        Op::Binary(op) => Some(&mut op.clamp),
        Op::Clip(op) => Some(&mut op.clamp),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{after, constant, conv, graph, input, int8, keeping, ops, quant};
    use super::*;
    use crate::builtin::graph::Fact;
    use crate::builtin::ops::{Binary, BinaryKind, Clip, Unary, UnaryKind};
    use protocol::DType;

    fn clip(min: f32, max: f32) -> Clip {
        Clip { clamp: Clamp { min, max } }
    }

    #[test]
    fn ranges_in_a_row_become_one() {
        let mut g = graph();
        let x = input(&mut g, &[1, 3, 3, 2]);
        let w = constant(&mut g, &[4, 2, 2, 2], 1);
        let y = g.add("y", conv(), &[x, w]).unwrap();
        let r = g.add("r", clip(0.0, f32::INFINITY), &[y]).unwrap();
        let c = g.add("c", clip(-1.0, 0.5), &[r]).unwrap();
        g.output(c);
        assert_eq!(ops(&after(run, &g)), ["Conv2d"]);
        assert_eq!(ops(&keeping(run, &g, &["y"])), ["Conv2d", "Clip"], "a kept tensor is cut afterwards");
    }

    #[test]
    fn a_value_that_others_read_stays() {
        let mut g = graph();
        let x = input(&mut g, &[1, 3, 3, 2]);
        let w = constant(&mut g, &[4, 1, 1, 2], 1);
        let y = g.add("y", conv(), &[x, w]).unwrap();
        let c = g.add("c", clip(0.0, 0.5), &[y]).unwrap();
        let e = g.add("e", Unary { kind: UnaryKind::Exp }, &[y]).unwrap();
        g.output(c);
        g.output(e);
        assert_eq!(ops(&after(run, &g)), ["Conv2d", "Clip", "Exp"]);
    }

    #[test]
    fn quantised_ranges_need_the_same_quantisation() {
        for (to, expected) in [(int8(0.02, 3), &["Add"][..]), (int8(0.01, 3), &["Add", "Clip"])] {
            let mut g = graph();
            let x = g.input("x", Fact::new(DType::I8, &[2, 3]).quantized(quant(0.1, 0))).unwrap();
            let y = g.add_as("y", Binary::new(BinaryKind::Add), &[x, x], int8(0.02, 3)).unwrap();
            let c = g.add_as("c", clip(0.0, 0.5), &[y], to).unwrap();
            g.output(c);
            assert_eq!(ops(&after(run, &g)), expected);
        }
    }
}
