//! Takes a border of zeros into the padding of the convolution after it.

use super::rewrite::Rewriter;
use crate::Result;
use crate::builtin::graph::{Graph, ValueId};
use crate::builtin::ops::{Op, Pad, PadMode, Window};
use std::collections::HashSet;

/// The pass.
pub(super) fn run(graph: &Graph, keep: &HashSet<&str>) -> Result<Graph> {
    let mut rewriter = Rewriter::new(graph, keep)?;
    for id in rewriter.live() {
        let node = graph.node(id);
        let mut op = node.op.clone();
        let border = node.inputs.first().and_then(|input| border(&rewriter, *input));
        let (Some(window), Some((source, pad))) = (window_of(&mut op), border) else {
            rewriter.copy(id)?;
            continue;
        };
        let Some(padded) = padded(window, &pad.pads) else {
            rewriter.copy(id)?;
            continue;
        };
        *window = padded;
        let mut inputs = rewriter.operands(node)?;
        inputs[0] = rewriter.get(source)?;
        rewriter.emit(node, op, &inputs)?;
    }
    rewriter.finish()
}

/// The operand and attributes of a border of zeros that nobody else reads.
fn border<'a>(rewriter: &Rewriter<'a>, value: ValueId) -> Option<(ValueId, &'a Pad)> {
    let (_, node) = rewriter.old.producer(value)?;
    rewriter.sole_consumer(value)?;
    match (&node.op, node.inputs.as_slice()) {
        (Op::Pad(pad), [source]) => {
            let same = rewriter.fact(*source).as_output() == rewriter.fact(value).as_output();
            (pad.mode == PadMode::Constant(0.0) && same).then_some((*source, pad))
        }
        _ => None,
    }
}

/// The window of an operator for which padding is a border of zeros.
fn window_of(op: &mut Op) -> Option<&mut Window> {
    match op {
        Op::Conv2d(op) => Some(&mut op.window),
        Op::DepthwiseConv2d(op) => Some(&mut op.window),
        _ => None,
    }
}

/// The window with a border of height and width added to its padding.
fn padded(window: &Window, pads: &[[usize; 2]]) -> Option<Window> {
    let &[[0, 0], [top, bottom], [left, right], [0, 0]] = pads else { return None };
    let add = |a: [usize; 2], b: [usize; 2]| Some([a[0].checked_add(b[0])?, a[1].checked_add(b[1])?]);
    Some(Window {
        before: add(window.before, [top, left])?,
        after: add(window.after, [bottom, right])?,
        ..*window
    })
}
