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

#[cfg(test)]
mod tests {
    use super::super::testing::{after, constant, conv, graph, input, int8, ops, quant};
    use super::*;
    use crate::builtin::graph::Fact;
    use protocol::DType;

    fn padded_conv(pads: [[usize; 2]; 4], mode: PadMode) -> Vec<&'static str> {
        let mut g = graph();
        let x = input(&mut g, &[1, 4, 5, 2]);
        let channels = 2 + pads[3][0] + pads[3][1];
        let w = constant(&mut g, &[3, 2, 2, channels], 1);
        let p = g.add("p", Pad { pads: pads.to_vec(), mode }, &[x]).unwrap();
        let y = g.add("y", conv(), &[p, w]).unwrap();
        g.output(y);
        ops(&after(run, &g))
    }

    #[test]
    fn zeros_around_the_image_are_padding() {
        let sides = [[0, 0], [1, 2], [0, 1], [0, 0]];
        assert_eq!(padded_conv(sides, PadMode::Constant(0.0)), ["Conv2d"]);
        assert_eq!(padded_conv(sides, PadMode::Constant(1.0)), ["Pad", "Conv2d"]);
        assert_eq!(padded_conv(sides, PadMode::Edge), ["Pad", "Conv2d"]);
        assert_eq!(padded_conv([[0, 0], [1, 2], [0, 1], [0, 1]], PadMode::Constant(0.0)), ["Pad", "Conv2d"]);
    }

    #[test]
    fn a_quantised_zero_is_the_zero_point() {
        let mut g = graph();
        let x = g.input("x", Fact::new(DType::I8, &[1, 4, 5, 2]).quantized(quant(0.02, 7))).unwrap();
        let weights: Vec<u8> = (0..24).map(|i| (i * 41) as u8).collect();
        let weights = crate::builtin::tensor::Tensor::from_bytes(DType::I8, &[3, 2, 2, 2], &weights).unwrap();
        let w = g.constant("w", weights, Some(quant(0.01, 0))).unwrap();
        let pad = Pad { pads: vec![[0, 0], [1, 0], [0, 1], [0, 0]], mode: PadMode::Constant(0.0) };
        let p = g.add("p", pad, &[x]).unwrap();
        let y = g.add_as("y", conv(), &[p, w], int8(0.05, -3)).unwrap();
        g.output(y);
        assert_eq!(ops(&after(run, &g)), ["Conv2d"]);
    }
}
