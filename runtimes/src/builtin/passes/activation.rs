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
        let last = absorb(&rewriter, *output, clamp);
        let inputs = rewriter.operands(node)?;
        let kind = rewriter.fact(last).as_output();
        let new = rewriter.new.add_as(rewriter.name(last), op, &inputs, kind)?;
        rewriter.set(*output, new);
        rewriter.set(last, new);
    }
    rewriter.finish()
}

/// Follows `value` through every range that only it is cut by, and gathers them in `clamp`.
fn absorb(rewriter: &Rewriter<'_>, value: ValueId, clamp: &mut Clamp) -> ValueId {
    let mut last = value;
    while let Some((_, next)) = rewriter.sole_consumer(last) {
        let (Op::Clip(clip), [output]) = (&next.op, next.outputs.as_slice()) else { break };
        if rewriter.fact(last).as_output() != rewriter.fact(*output).as_output() {
            break;
        }
        *clamp = clamp.then(clip.clamp);
        last = *output;
    }
    last
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
