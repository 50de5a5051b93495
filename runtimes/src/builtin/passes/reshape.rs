//! Makes one reshape of several in a row, and none of one that changes nothing.

use super::rewrite::Rewriter;
use crate::Result;
use crate::builtin::graph::{Graph, ValueId};
use crate::builtin::ops::{Op, Reshape};
use std::collections::HashSet;

/// The pass.
pub(super) fn run(graph: &Graph, keep: &HashSet<&str>) -> Result<Graph> {
    let mut rewriter = Rewriter::new(graph, keep)?;
    for id in rewriter.live() {
        let node = graph.node(id);
        let (Op::Reshape(_), [input], [output]) = (&node.op, node.inputs.as_slice(), node.outputs.as_slice())
        else {
            rewriter.copy(id)?;
            continue;
        };
        let origin = origin(graph, *input);
        let shape = &rewriter.fact(*output).shape;
        let source = rewriter.get(origin)?;
        if rewriter.fact(origin) == rewriter.fact(*output) && !rewriter.is_shown(*output) {
            rewriter.set(*output, source);
        } else {
            rewriter.emit(node, Op::Reshape(Reshape { shape: shape.clone() }), &[source])?;
        }
    }
    rewriter.finish()
}

/// The value that a chain of reshapes begins with.
fn origin(graph: &Graph, value: ValueId) -> ValueId {
    let mut origin = value;
    while let Some((_, node)) = graph.producer(origin) {
        match (&node.op, node.inputs.as_slice()) {
            // a reshape may be asked for another quantisation, which is then more than a reshape
            (Op::Reshape(_), [input]) if graph.fact(*input).as_output() == graph.fact(origin).as_output() => {
                origin = *input;
            }
            _ => break,
        }
    }
    origin
}
