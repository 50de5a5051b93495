//! Lets transposes sink through the graph until they meet their inverse or something that minds the order of
//! dimensions. A network whose file says `[n, c, h, w]` becomes one of `[n, h, w, c]` that way: every
//! convolution was built between two transposes, and neighbours cancel.
//!
//! Moves elements only: no result changes by a bit, except that sums over several dimensions may run in another
//! order.

use super::rewrite::Rewriter;
use crate::Result;
use crate::builtin::graph::{Fact, Graph, Node, NodeId, OutputType, ValueId};
use crate::builtin::ops::{Concat, Gather, Op, Pad, Reduce, Reshape, Slice, Transpose};
use std::collections::HashSet;
use std::sync::Arc;

/// The pass.
pub(super) fn run(graph: &Graph, keep: &HashSet<&str>) -> Result<Graph> {
    let mut pass =
        Layout { rewriter: Rewriter::new(graph, keep)?, views: vec![None; graph.values().count()] };
    for id in pass.rewriter.live() {
        pass.node(id)?;
        for output in &graph.node(id).outputs {
            if pass.rewriter.is_kept(*output) {
                pass.plain(*output)?;
            }
        }
    }
    for output in graph.outputs() {
        pass.plain(*output)?;
    }
    pass.rewriter.finish()
}

/// An old value is `Transpose(perm)` of a new one.
#[derive(Clone)]
struct View {
    new: ValueId,
    perm: Vec<usize>,
}

struct Layout<'a> {
    rewriter: Rewriter<'a>,
    /// By index of the old value; `None` where it is a new value as it stands.
    views: Vec<Option<View>>,
}

impl Layout<'_> {
    fn node(&mut self, id: NodeId) -> Result<()> {
        let node = self.rewriter.old.node(id);
        if let Op::Transpose(op) = &node.op {
            return self.transpose(node, &op.perm);
        }
        let viewed = node.inputs.iter().any(|input| self.view(*input).is_some());
        if !viewed {
            return self.rewriter.copy(id);
        }
        let done = match &node.op {
            Op::Binary(_) | Op::Compare(_) | Op::Select(_) | Op::Prelu(_) | Op::Concat(_) => {
                self.together(node)?
            }
            Op::Reshape(_) => self.reshape(node)?,
            _ => self.alone(node)?,
        };
        if done {
            return Ok(());
        }
        let inputs = node.inputs.iter().map(|input| self.plain(*input)).collect::<Result<Vec<_>>>()?;
        self.rewriter.emit(node, node.op.clone(), &inputs)
    }

    fn view(&self, old: ValueId) -> Option<&View> {
        self.views[old.index()].as_ref()
    }

    fn set_view(&mut self, old: ValueId, new: ValueId, perm: Vec<usize>) {
        if is_identity(&perm) {
            self.rewriter.set(old, new);
        } else {
            self.views[old.index()] = Some(View { new, perm });
        }
    }

    /// The new value that equals an old one, dimensions in the old order.
    fn plain(&mut self, old: ValueId) -> Result<ValueId> {
        let Some(View { new, perm }) = self.view(old).cloned().filter(|_| !self.rewriter.is_known(old))
        else {
            return self.rewriter.get(old);
        };
        let name = self.rewriter.name(old);
        let plain =
            if keeps_order(self.rewriter.new.shape(new), &perm) && per_tensor(self.rewriter.new.fact(new)) {
                let shape = self.rewriter.fact(old).shape.clone();
                self.rewriter.new.add(name, Reshape { shape }, &[new])?
            } else {
                self.rewriter.new.add(name, Transpose { perm }, &[new])?
            };
        self.rewriter.set(old, plain);
        Ok(plain)
    }

    fn transpose(&mut self, node: &Node, perm: &[usize]) -> Result<()> {
        let (&[input], &[output]) = (node.inputs.as_slice(), node.outputs.as_slice()) else {
            let inputs = self.rewriter.operands(node)?;
            return self.rewriter.emit(node, node.op.clone(), &inputs);
        };
        let (new, perm) = match self.view(input) {
            Some(view) => (view.new, perm.iter().map(|p| view.perm[*p]).collect()),
            None => (self.rewriter.get(input)?, perm.to_vec()),
        };
        if self.rewriter.is_shown(output) && is_identity(&perm) {
            let shape = self.rewriter.fact(output).shape.clone();
            return self.rewriter.emit(node, Op::Reshape(Reshape { shape }), &[new]);
        }
        self.set_view(output, new, perm);
        Ok(())
    }

    /// Operators with one operand that may be in any order.
    fn alone(&mut self, node: &Node) -> Result<bool> {
        let ([input, rest @ ..], &[output]) = (node.inputs.as_slice(), node.outputs.as_slice()) else {
            return Ok(false);
        };
        let Some(View { new, perm }) = self.view(*input).cloned() else { return Ok(false) };
        let Some((op, after)) = carried(&node.op, &perm, self.rewriter.old, rest) else { return Ok(false) };
        let mut inputs = vec![new];
        for input in rest {
            inputs.push(self.plain(*input)?);
        }
        let kind = permuted(self.rewriter.fact(output).as_output(), &after);
        let name = self.rewriter.name(output);
        let new = self.rewriter.new.add_as(name, op, &inputs, kind)?;
        self.set_view(output, new, after);
        Ok(true)
    }

    /// A reshape does not mind a transpose that only moves dimensions of length 1, and one that only adds or
    /// removes such dimensions can come before the transpose.
    fn reshape(&mut self, node: &Node) -> Result<bool> {
        let (&[input], &[output]) = (node.inputs.as_slice(), node.outputs.as_slice()) else {
            return Ok(false);
        };
        let Some(View { new, perm }) = self.view(input).cloned() else { return Ok(false) };
        let fact = self.rewriter.new.fact(new);
        if !per_tensor(fact) {
            return Ok(false);
        }
        if keeps_order(&fact.shape, &perm) {
            self.rewriter.emit(node, node.op.clone(), &[new])?;
            return Ok(true);
        }
        let (from, to) = (&self.rewriter.fact(input).shape, &self.rewriter.fact(output).shape);
        let Some((shape, perm)) = before_transpose(from, to, &perm) else { return Ok(false) };
        let new = self.rewriter.new.add(self.rewriter.name(output), Reshape { shape }, &[new])?;
        self.set_view(output, new, perm);
        Ok(true)
    }

    /// Operators with several operands that must all be in the same order.
    fn together(&mut self, node: &Node) -> Result<bool> {
        let &[output] = node.outputs.as_slice() else { return Ok(false) };
        let rank = self.rewriter.fact(output).shape.len();
        let Some(perm) = self.cheapest(node, rank) else { return Ok(false) };
        let op = match &node.op {
            Op::Concat(op) => Op::Concat(Concat { axis: perm[op.axis] }),
            op => op.clone(),
        };
        let inputs =
            node.inputs.iter().map(|input| self.ordered(*input, &perm, rank)).collect::<Result<Vec<_>>>()?;
        let kind = permuted(self.rewriter.fact(output).as_output(), &perm);
        let new = self.rewriter.new.add_as(self.rewriter.name(output), op, &inputs, kind)?;
        self.set_view(output, new, perm);
        Ok(true)
    }

    /// The order in which the fewest elements need to move; `None` when that is the old one.
    fn cheapest(&self, node: &Node, rank: usize) -> Option<Vec<usize>> {
        let cost = |perm: Option<&[usize]>| -> usize {
            let moves = |input: &&ValueId| {
                let constant = self.rewriter.old.constant_value(**input).is_some();
                !constant && self.view(**input).map(|view| view.perm.as_slice()) != perm
            };
            node.inputs.iter().filter(moves).map(|input| self.rewriter.fact(*input).len()).sum()
        };
        let views = node.inputs.iter().filter_map(|input| self.view(*input));
        let best = views.filter(|view| view.perm.len() == rank).min_by_key(|view| cost(Some(&view.perm)))?;
        (cost(Some(&best.perm)) < cost(None)).then(|| best.perm.clone())
    }

    /// An operand such that the old one is its transpose by `perm`, with leading ones up to `rank`.
    fn ordered(&mut self, old: ValueId, perm: &[usize], rank: usize) -> Result<ValueId> {
        if let Some(view) = self.view(old).filter(|view| view.perm == perm) {
            return Ok(view.new);
        }
        let mut plain = self.plain(old)?;
        let fact = self.rewriter.new.fact(plain).clone();
        if fact.len() == 1 && per_tensor(&fact) && fact.shape.len() <= 1 {
            return Ok(plain);
        }
        let name = self.rewriter.name(old);
        if fact.shape.len() < rank {
            let mut shape = vec![1; rank - fact.shape.len()];
            shape.extend(&fact.shape);
            plain = self.rewriter.new.add(name, Reshape { shape }, &[plain])?;
        }
        self.rewriter.new.add(name, Transpose { perm: inverse(perm) }, &[plain])
    }
}

/// The operator on the operand before its transpose by `perm`, and the transpose that its result then needs.
fn carried(op: &Op, perm: &[usize], old: &Graph, rest: &[ValueId]) -> Option<(Op, Vec<usize>)> {
    let same = |op: Op| Some((op, perm.to_vec()));
    let last = perm.len().checked_sub(1)?;
    match op {
        Op::Unary(_) | Op::Clip(_) | Op::Cast(_) | Op::Requantize(_) => same(op.clone()),
        Op::Reinterpret(reinterpret)
            if reinterpret.quant.as_ref().is_none_or(|quant| quant.scale.len() == 1) =>
        {
            same(op.clone())
        }
        Op::Softmax(_) if perm[last] == last => same(op.clone()),
        Op::Pad(op) => same(Op::Pad(Pad { pads: placed(&op.pads, perm)?, mode: op.mode })),
        Op::Slice(op) => same(Op::Slice(Slice { ranges: placed(&op.ranges, perm)? })),
        Op::Gather(op) if rest.iter().all(|indices| old.shape(*indices).len() == 1) => {
            same(Op::Gather(Gather { axis: *perm.get(op.axis)? }))
        }
        Op::Reduce(op) => {
            let mut axes = op.axes.iter().map(|axis| perm.get(*axis).copied()).collect::<Option<Vec<_>>>()?;
            axes.sort_unstable();
            let after = if op.keep_dims { perm.to_vec() } else { without(perm, &op.axes) };
            Some((Op::Reduce(Reduce { axes, ..op.clone() }), after))
        }
        _ => None,
    }
}

/// Shape before the transpose, and the transpose then needed, for a reshape `from` → `to` that only adds or
/// removes dimensions of length 1, of a value that is a transpose by `perm`.
fn before_transpose(from: &[usize], to: &[usize], perm: &[usize]) -> Option<(Vec<usize>, Vec<usize>)> {
    let long = |shape: &[usize]| (0..shape.len()).filter(|axis| shape[*axis] != 1).collect::<Vec<_>>();
    let (old, new) = (long(from), long(to));
    if !old.iter().map(|axis| from[*axis]).eq(new.iter().map(|axis| to[*axis])) {
        return None;
    }
    // long dimensions in their order before the transpose, after all the short ones
    let mut order: Vec<usize> = (0..old.len()).collect();
    order.sort_by_key(|index| perm[old[*index]]);
    let short = to.len() - new.len();
    let mut shape = vec![1; short];
    let mut after: Vec<usize> = vec![0; to.len()];
    let ones = (0..to.len()).filter(|axis| to[*axis] == 1);
    ones.enumerate().for_each(|(position, axis)| after[axis] = position);
    for index in order {
        after[new[index]] = shape.len();
        shape.push(to[new[index]]);
    }
    Some((shape, after))
}

/// One item per dimension, put where `perm` says the dimension is.
fn placed<T: Copy>(items: &[T], perm: &[usize]) -> Option<Vec<T>> {
    let mut placed = vec![*items.first()?; perm.len()];
    for (item, position) in items.iter().zip(perm) {
        *placed.get_mut(*position)? = *item;
    }
    (items.len() == perm.len()).then_some(placed)
}

/// What is left of a transpose when the result's dimensions `axes` go.
fn without(perm: &[usize], axes: &[usize]) -> Vec<usize> {
    let gone: Vec<usize> = axes.iter().filter_map(|axis| perm.get(*axis).copied()).collect();
    let left = perm.iter().filter(|position| !gone.contains(position));
    left.map(|position| position - gone.iter().filter(|g| *g < position).count()).collect()
}

/// Whether a reshape may be given this.
fn per_tensor(fact: &Fact) -> bool {
    fact.quant.as_ref().is_none_or(|quant| quant.scale.len() == 1)
}

fn inverse(perm: &[usize]) -> Vec<usize> {
    let mut inverse = vec![0; perm.len()];
    for (index, position) in perm.iter().enumerate() {
        inverse[*position] = index;
    }
    inverse
}

fn is_identity(perm: &[usize]) -> bool {
    perm.iter().copied().eq(0..perm.len())
}

/// Whether a transpose moves only dimensions of length 1, so that no element moves.
fn keeps_order(shape: &[usize], perm: &[usize]) -> bool {
    let long = perm.iter().filter(|position| shape.get(**position) != Some(&1));
    long.is_sorted()
}

/// A type whose quantised dimension is counted in the order before the transpose.
fn permuted(kind: OutputType, perm: &[usize]) -> OutputType {
    let quant = kind.quant.map(|quant| {
        let axis = perm.get(quant.axis as usize).filter(|_| quant.scale.len() > 1);
        let axis = axis.map_or(0, |axis| *axis as u32);
        Arc::new(protocol::Quantization { axis, ..(*quant).clone() })
    });
    OutputType { quant, ..kind }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_dimensions_come_and_go_before_a_transpose() {
        // [1, 64, 1, 48] is [1, 1, 48, 64] transposed
        let got = before_transpose(&[1, 64, 1, 48], &[1, 64, 48], &[0, 3, 1, 2]);
        assert_eq!(got, Some((vec![1, 48, 64], vec![0, 2, 1])));
        let got = before_transpose(&[64, 48], &[64, 1, 48], &[1, 0]);
        assert_eq!(got, Some((vec![1, 48, 64], vec![2, 0, 1])));
        assert_eq!(before_transpose(&[64, 48], &[48, 64], &[1, 0]), None);
    }

    #[test]
    fn permutations() {
        assert_eq!(inverse(&[0, 3, 1, 2]), [0, 2, 3, 1]);
        assert!(keeps_order(&[1, 1, 1, 8], &[0, 3, 1, 2]));
        assert!(keeps_order(&[1, 28, 28, 1], &[0, 3, 1, 2]));
        assert!(!keeps_order(&[1, 28, 28, 3], &[0, 3, 1, 2]));
        assert_eq!(without(&[0, 3, 1, 2], &[2, 3]), [0, 1]);
        assert_eq!(without(&[0, 3, 1, 2], &[1]), [0, 1, 2]);
        assert_eq!(placed(&['n', 'c', 'h', 'w'], &[0, 3, 1, 2]).unwrap(), ['n', 'h', 'w', 'c']);
    }
}
