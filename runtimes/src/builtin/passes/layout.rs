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
use std::ops::Range;
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

    /// A reshape does not mind a transpose that only moves dimensions of length 1, and one that takes apart or together
    /// dimensions which lie beside each other there can come before the transpose.
    fn reshape(&mut self, node: &Node) -> Result<bool> {
        let (&[input], &[output]) = (node.inputs.as_slice(), node.outputs.as_slice()) else {
            return Ok(false);
        };
        let Some(View { new, perm }) = self.view(input).cloned() else { return Ok(false) };
        let fact = self.rewriter.new.fact(new);
        if !per_tensor(fact) || self.rewriter.is_known(input) {
            return Ok(false);
        }
        if keeps_order(&fact.shape, &perm) {
            self.rewriter.emit(node, node.op.clone(), &[new])?;
            return Ok(true);
        }
        let (from, to) = (&self.rewriter.fact(input).shape, &self.rewriter.fact(output).shape);
        let Some(Before { order, shape, perm }) = before_transpose(from, to, &perm) else { return Ok(false) };
        let name = self.rewriter.name(output);
        let moved = if keeps_order(&fact.shape, &order) {
            new
        } else {
            self.rewriter.new.add(name, Transpose { perm: order }, &[new])?
        };
        let new = self.rewriter.new.add(name, Reshape { shape }, &[moved])?;
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
            if reinterpret.dtype.is_none()
                && reinterpret.quant.as_ref().is_none_or(|quant| quant.scale.len() == 1) =>
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

/// A reshape before a transpose and not after it.
#[derive(Debug, PartialEq)]
struct Before {
    /// The order of dimensions that the reshape needs: no element moves but for those that it takes together.
    order: Vec<usize>,
    /// Its shape.
    shape: Vec<usize>,
    /// The transpose then needed.
    perm: Vec<usize>,
}

/// For a reshape `from` → `to` of a value that is a transpose by `perm`; `None` where it takes dimensions together
/// between which others lie before the transpose.
fn before_transpose(from: &[usize], to: &[usize], perm: &[usize]) -> Option<Before> {
    let long = |shape: &[usize]| (0..shape.len()).filter(|axis| shape[*axis] != 1).collect::<Vec<_>>();
    let (old, new) = (long(from), long(to));
    let position = |index: usize| perm[old[index]];
    let mut positions: Vec<usize> = (0..old.len()).map(position).collect();
    positions.sort_unstable();
    let mut pieces = Vec::new();
    for (old, new) in pieces_of(&old, from, &new, to)? {
        let ranks: Vec<usize> =
            old.clone().filter_map(|i| positions.binary_search(&position(i)).ok()).collect();
        let (first, last) = (*ranks.iter().min()?, *ranks.iter().max()?);
        if last - first + 1 != old.len() {
            return None;
        }
        pieces.push((first, old, new));
    }
    pieces.sort_by_key(|(first, ..)| *first);
    let mut order: Vec<usize> = (0..perm.len()).filter(|at| !positions.contains(at)).collect();
    let mut shape = vec![1; to.len() - new.len()];
    let mut after = vec![0; to.len()];
    let ones = (0..to.len()).filter(|axis| to[*axis] == 1);
    ones.enumerate().for_each(|(position, axis)| after[axis] = position);
    for (_, old, target) in pieces {
        order.extend(old.map(position));
        for axis in target.map(|i| new[i]) {
            after[axis] = shape.len();
            shape.push(to[axis]);
        }
    }
    Some(Before { order, shape, perm: after })
}

/// The smallest pieces of two lists of dimensions, by their indices, that have as many elements as each other.
fn pieces_of(
    old: &[usize],
    from: &[usize],
    new: &[usize],
    to: &[usize],
) -> Option<Vec<(Range<usize>, Range<usize>)>> {
    let (mut pieces, mut i, mut j) = (Vec::new(), 0, 0);
    while i < old.len() || j < new.len() {
        let (first_old, first_new) = (i, j);
        let (mut a, mut b) = (1usize, 1usize);
        while a != b || i == first_old {
            if a <= b {
                a = a.checked_mul(from[*old.get(i)?])?;
                i += 1;
            } else {
                b = b.checked_mul(to[*new.get(j)?])?;
                j += 1;
            }
        }
        pieces.push((first_old..i, first_new..j));
    }
    Some(pieces)
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
    use super::super::testing::{after, constant, conv, graph, input, keeping, ops, run as results};
    use super::*;
    use crate::builtin::ops::{
        Binary, BinaryKind, PadMode, ReduceKind, SliceRange, Softmax, Unary, UnaryKind,
    };
    use crate::builtin::tensor::Tensor;

    const TO_NCHW: [usize; 4] = [0, 3, 1, 2];
    const TO_NHWC: [usize; 4] = [0, 2, 3, 1];

    fn transpose(g: &mut Graph, name: &str, perm: &[usize], x: ValueId) -> ValueId {
        g.add(name, Transpose { perm: perm.to_vec() }, &[x]).unwrap()
    }

    /// A convolution of `[n, c, h, w]`.
    fn conv_nchw(g: &mut Graph, name: &str, x: ValueId, seed: usize) -> ValueId {
        let w = constant(g, &[3, 1, 1, 3], seed);
        let x = transpose(g, name, &TO_NHWC, x);
        let y = g.add(name, conv(), &[x, w]).unwrap();
        transpose(g, name, &TO_NCHW, y)
    }

    #[test]
    fn transposes_between_convolutions_cancel() {
        let mut g = graph();
        let x = input(&mut g, &[1, 4, 5, 3]);
        let x = transpose(&mut g, "t", &TO_NCHW, x);
        let a = conv_nchw(&mut g, "a", x, 1);
        let r = g.add("r", Unary { kind: UnaryKind::Tanh }, &[a]).unwrap();
        let b = conv_nchw(&mut g, "b", r, 2);
        let sum = g.add("s", Binary::new(BinaryKind::Add), &[b, r]).unwrap();
        let c = constant(&mut g, &[3, 1, 1], 3);
        let scaled = g.add("m", Binary::new(BinaryKind::Mul), &[c, sum]).unwrap();
        let joined = g.add("j", Concat { axis: 1 }, &[scaled, a]).unwrap();
        let pads = vec![[0, 0], [0, 1], [2, 0], [0, 0]];
        let padded = g.add("p", Pad { pads, mode: PadMode::Constant(0.5) }, &[joined]).unwrap();
        let mean = Reduce { kind: ReduceKind::Mean, axes: vec![2, 3], keep_dims: true };
        let mean = g.add("g", mean, &[padded]).unwrap();
        let y = g.add("y", Reshape { shape: vec![1, 7] }, &[mean]).unwrap();
        g.output(y);
        let after = after(run, &g);
        assert!(!ops(&after).contains(&"Transpose"), "{:?}", ops(&after));
    }

    #[test]
    fn what_minds_the_order_gets_the_old_one() {
        let mut g = graph();
        let x = input(&mut g, &[1, 4, 5, 3]);
        let t = transpose(&mut g, "t", &TO_NCHW, x);
        let y = g.add("y", Softmax { beta: 1.0, log: false }, &[t]).unwrap();
        let z = g.add("z", Reshape { shape: vec![3, 20] }, &[t]).unwrap();
        g.output(y);
        g.output(z);
        assert_eq!(ops(&after(run, &g)), ["Transpose", "Softmax", "Reshape"], "one transpose serves both");
    }

    #[test]
    fn slices_extremes_and_picks_follow() {
        let mut g = graph();
        let x = input(&mut g, &[2, 4, 5, 3]);
        let t = transpose(&mut g, "t", &TO_NCHW, x);
        let ranges = vec![
            SliceRange::all(2),
            SliceRange { start: 2, count: 2, step: -1 },
            SliceRange::all(4),
            SliceRange { start: 1, count: 3, step: 1 },
        ];
        let s = g.add("s", Slice { ranges }, &[t]).unwrap();
        let picks = Tensor::from_elements(&[3], &[2i64, 0, 1]).unwrap();
        let picks = g.constant("i", picks, None).unwrap();
        let p = g.add("p", Gather { axis: 2 }, &[s, picks]).unwrap();
        let m = g.add("m", Reduce { kind: ReduceKind::Max, axes: vec![1], keep_dims: false }, &[p]).unwrap();
        let y = transpose(&mut g, "y", &[1, 2, 0], m);
        g.output(y);
        let got = ops(&after(run, &g));
        assert_eq!(got, ["Slice", "Gather", "ReduceMax", "Transpose"]);
    }

    #[test]
    fn kept_tensors_and_outputs_have_the_old_order() {
        let mut g = graph();
        let x = input(&mut g, &[1, 4, 5, 3]);
        let t = transpose(&mut g, "t", &TO_NCHW, x);
        let r = g.add("r", Unary { kind: UnaryKind::Tanh }, &[t]).unwrap();
        let y = transpose(&mut g, "y", &TO_NHWC, r);
        g.output(y);
        assert_eq!(ops(&after(run, &g)), ["Tanh", "Reshape"]);
        let after = keeping(run, &g, &["r"]);
        let kept = after.values().filter(|(_, v)| v.name == "r").map(|(_, v)| v.fact.shape.clone());
        assert!(kept.into_iter().any(|shape| shape == [1, 3, 4, 5]));
    }

    #[test]
    fn short_dimensions_come_and_go_before_a_transpose() {
        // [1, 64, 1, 48] is [1, 1, 48, 64] transposed
        let before = |order: &[usize], shape: &[usize], perm: &[usize]| {
            let [order, shape, perm] = [order, shape, perm].map(<[usize]>::to_vec);
            Some(Before { order, shape, perm })
        };
        let got = before_transpose(&[1, 64, 1, 48], &[1, 64, 48], &[0, 3, 1, 2]);
        assert_eq!(got, before(&[0, 1, 2, 3], &[1, 48, 64], &[0, 2, 1]));
        let got = before_transpose(&[64, 48], &[64, 1, 48], &[1, 0]);
        assert_eq!(got, before(&[0, 1], &[1, 48, 64], &[2, 0, 1]));
    }

    #[test]
    fn dimensions_are_taken_apart_and_together_before_a_transpose() {
        let got = before_transpose(&[2, 12, 5, 7], &[2, 3, 4, 35], &TO_NCHW).unwrap();
        assert_eq!((&got.shape[..], &got.perm[..]), (&[2, 35, 3, 4][..], &[0, 2, 3, 1][..]));
        assert_eq!(before_transpose(&[5, 3, 7], &[15, 7], &[1, 2, 0]).unwrap().order, [0, 1, 2]);
        assert_eq!(before_transpose(&[5, 3, 7], &[5, 21], &[0, 2, 1]).unwrap().order, [0, 2, 1]);
        assert_eq!(before_transpose(&[5, 3, 7], &[15, 7], &[0, 2, 1]), None, "7 lies between 5 and 3");
        assert_eq!(before_transpose(&[5, 3], &[4, 4], &[1, 0]), None);
    }

    #[test]
    fn channels_are_shuffled_where_they_lie() {
        let mut g = graph();
        let x = input(&mut g, &[2, 4, 5, 6]);
        let t = transpose(&mut g, "t", &TO_NCHW, x);
        let apart = g.add("a", Reshape { shape: vec![2, 3, 2, 4, 5] }, &[t]).unwrap();
        let shuffled = transpose(&mut g, "s", &[0, 2, 1, 3, 4], apart);
        let together = g.add("b", Reshape { shape: vec![2, 6, 4, 5] }, &[shuffled]).unwrap();
        let y = transpose(&mut g, "y", &TO_NHWC, together);
        let z = g.add("z", Unary { kind: UnaryKind::Abs }, &[y]).unwrap();
        g.output(z);
        let after = after(run, &g);
        assert_eq!(ops(&after), ["Reshape", "Transpose", "Reshape", "Abs"]);
        assert_eq!(results(&after), results(&g));
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
