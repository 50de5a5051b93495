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

#[cfg(test)]
mod tests {
    use super::super::testing::{after, graph, input, keeping, ops};
    use super::*;
    use crate::builtin::ops::{Unary, UnaryKind};

    fn reshape(shape: &[usize]) -> Reshape {
        Reshape { shape: shape.to_vec() }
    }

    #[test]
    fn several_become_one_or_none() {
        let mut g = graph();
        let x = input(&mut g, &[2, 6]);
        let a = g.add("a", reshape(&[3, 4]), &[x]).unwrap();
        let b = g.add("b", reshape(&[12]), &[a]).unwrap();
        let c = g.add("c", reshape(&[2, 6]), &[b]).unwrap();
        let y = g.add("y", Unary { kind: UnaryKind::Exp }, &[c]).unwrap();
        g.output(y);
        assert_eq!(ops(&after(run, &g)), ["Exp"]);
        assert_eq!(ops(&keeping(run, &g, &["b"])), ["Reshape", "Exp"]);
    }

    #[test]
    fn an_output_keeps_its_name() {
        let mut g = graph();
        let x = input(&mut g, &[2, 6]);
        let y = g.add("y", reshape(&[2, 6]), &[x]).unwrap();
        g.output(y);
        assert_eq!(ops(&after(run, &g)), ["Reshape"]);
    }
}
