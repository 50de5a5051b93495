//! Which nodes go to the device, in as few subgraphs as can be, and the subgraphs themselves.
//!
//! A node's *level* is how often a path that ends in it enters the device. All device nodes of one level are one
//! partition: a path that leaves the device and comes back reaches a higher level, so no partition waits for
//! itself, and the nodes of the longest such path need that many partitions however they are cut. What stays on
//! the CPU between two partitions is one subgraph too.

use crate::Result;
use crate::builtin::graph::{Graph, Node, NodeId, OutputType, ValueId};
use crate::builtin::ops::Op;

/// A part of a graph as a graph of its own.
#[derive(Debug)]
pub(crate) struct Part {
    /// Its nodes, in an order in which they can run.
    pub(crate) nodes: Vec<NodeId>,
    /// The nodes as a graph.
    pub(crate) graph: Graph,
    /// Values of the whole graph that it reads, in the order of its inputs.
    pub(crate) inputs: Vec<ValueId>,
    /// Values of the whole graph that others read from it, in the order of its outputs.
    pub(crate) outputs: Vec<ValueId>,
    /// It is for the device.
    pub(crate) on_device: bool,
}

/// The nodes that an output depends on.
pub(crate) fn live(graph: &Graph) -> Vec<bool> {
    let mut wanted = vec![false; graph.values().count()];
    graph.outputs().iter().for_each(|id| wanted[id.index()] = true);
    let nodes: Vec<(NodeId, &Node)> = graph.nodes().collect();
    let mut live = vec![false; nodes.len()];
    for (id, node) in nodes.into_iter().rev() {
        if node.outputs.iter().any(|o| wanted[o.index()]) {
            live[id.index()] = true;
            node.inputs.iter().for_each(|i| wanted[i.index()] = true);
        }
    }
    live
}

/// The parts of a graph in the order in which they run. `on_device` says per node whether the device takes it;
/// nodes that are not `live` are left out.
///
/// # Errors
/// A limit of the graph.
pub(crate) fn parts(graph: &Graph, live: &[bool], on_device: &[bool]) -> Result<Vec<Part>> {
    let levels = levels(graph, on_device);
    // Of one level, the device comes first: what the CPU has there waits for it.
    let place = |id: NodeId| 2 * levels[id.index()] + usize::from(!on_device[id.index()]);
    let places = levels.iter().max().map_or(0, |highest| 2 * highest + 2);
    let mut members: Vec<Vec<NodeId>> = vec![Vec::new(); places];
    for (id, _) in graph.nodes().filter(|(id, _)| live[id.index()]) {
        members[place(id)].push(id);
    }
    let mut escapes = vec![false; graph.values().count()];
    graph.outputs().iter().for_each(|id| escapes[id.index()] = true);
    for (id, node) in graph.nodes().filter(|(id, _)| live[id.index()]) {
        for input in &node.inputs {
            let elsewhere = graph.producer(*input).is_some_and(|(p, _)| place(p) != place(id));
            escapes[input.index()] |= elsewhere;
        }
    }
    let mut map = vec![None; escapes.len()];
    let members = members.into_iter().filter(|nodes| !nodes.is_empty());
    members.map(|nodes| extract(graph, &escapes, nodes, on_device, &mut map)).collect()
}

/// Per node, how often a path that ends in it enters the device.
fn levels(graph: &Graph, on_device: &[bool]) -> Vec<usize> {
    let mut levels = vec![0usize; on_device.len()];
    for (id, node) in graph.nodes() {
        let before = node.inputs.iter().filter_map(|i| graph.producer(*i)).map(|(p, _)| p.index());
        let enters = on_device[id.index()];
        let reach = |p: usize| levels[p] + usize::from(enters && !on_device[p]);
        levels[id.index()] = before.map(reach).max().unwrap_or(0).max(usize::from(enters));
    }
    levels
}

/// Partitions that would only move elements are not worth the way to the device: their nodes, unless they are all
/// there is.
pub(crate) fn idle(parts: &[Part], whole: &Graph) -> Vec<NodeId> {
    if parts.len() < 2 {
        return Vec::new();
    }
    let moves = |id: &NodeId| {
        let op = &whole.node(*id).op;
        matches!(
            op,
            Op::Concat(_)
                | Op::Expand(_)
                | Op::Gather(_)
                | Op::Pad(_)
                | Op::Reinterpret(_)
                | Op::Reshape(_)
                | Op::Slice(_)
                | Op::Transpose(_)
        )
    };
    let idle = parts.iter().filter(|p| p.on_device && p.nodes.iter().all(moves));
    idle.flat_map(|p| p.nodes.iter().copied()).collect()
}

/// Nodes as a graph of their own; values that `escapes` names are its outputs. `map` is empty before and after: per value
/// of the whole graph, the part's.
fn extract(
    graph: &Graph,
    escapes: &[bool],
    nodes: Vec<NodeId>,
    on_device: &[bool],
    map: &mut [Option<ValueId>],
) -> Result<Part> {
    let mut part = Graph::with_dialect(graph.dialect());
    let (mut inputs, mut outputs): (Vec<ValueId>, Vec<ValueId>) = (Vec::new(), Vec::new());
    for node in nodes.iter().map(|id| graph.node(*id)) {
        for id in &node.inputs {
            if map[id.index()].is_some() {
                continue;
            }
            let value = graph.get(*id);
            map[id.index()] = Some(if let Some(tensor) = &value.constant {
                part.constant(&value.name, tensor.clone(), value.fact.quant.as_deref().cloned())?
            } else {
                inputs.push(*id);
                part.input(&value.name, value.fact.clone())?
            });
        }
        let operands: Vec<ValueId> = node.inputs.iter().filter_map(|id| map[id.index()]).collect();
        let names: Vec<&str> = node.outputs.iter().map(|id| graph.get(*id).name.as_str()).collect();
        let types: Vec<Option<OutputType>> =
            node.outputs.iter().map(|id| Some(graph.fact(*id).as_output())).collect();
        let results = part.add_node(&names, node.op.clone(), &operands, &types)?;
        node.outputs.iter().zip(results).for_each(|(old, new)| map[old.index()] = Some(new));
        outputs.extend(node.outputs.iter().filter(|id| escapes[id.index()]));
    }
    outputs.iter().filter_map(|id| map[id.index()]).for_each(|id| part.output(id));
    for node in nodes.iter().map(|id| graph.node(*id)) {
        node.inputs.iter().chain(&node.outputs).for_each(|id| map[id.index()] = None);
    }
    let on_device = nodes.iter().all(|id| on_device[id.index()]);
    Ok(Part { nodes, graph: part, inputs, outputs, on_device })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::builtin::graph::Fact;
    use crate::builtin::ops::{Binary, BinaryKind, Reshape};
    use protocol::DType;

    /// A graph of additions from lines "y = a b"; nodes whose name ends in `d` are the device's.
    pub(super) fn graph(lines: &[&str], outputs: &[&str]) -> (Graph, Vec<bool>) {
        let mut graph = Graph::new();
        let mut known = vec![("x".to_owned(), graph.input("x", Fact::new(DType::F32, &[3])).unwrap())];
        let find = |known: &[(String, ValueId)], n: &str| known.iter().find(|(k, _)| k == n).unwrap().1;
        for line in lines {
            let (name, operands) = line.split_once(" = ").unwrap();
            let ids: Vec<ValueId> = operands.split(' ').map(|n| find(&known, n)).collect();
            let id = graph.add(name, Binary::new(BinaryKind::Add), &ids).unwrap();
            known.push((name.to_owned(), id));
        }
        outputs.iter().for_each(|n| graph.output(find(&known, n)));
        let device = graph.nodes().map(|(_, n)| graph.get(n.outputs[0]).name.ends_with('d')).collect();
        (graph, device)
    }

    fn cut(lines: &[&str], outputs: &[&str]) -> Vec<(bool, Vec<String>)> {
        let (graph, device) = graph(lines, outputs);
        let parts = parts(&graph, &live(&graph), &device).unwrap();
        let name = |id: &NodeId| graph.get(graph.node(*id).outputs[0]).name.clone();
        let parts: Vec<_> =
            parts.iter().map(|p| (p.on_device, p.nodes.iter().map(name).collect::<Vec<_>>())).collect();
        // every operand is there before it is read
        let mut seen = vec!["x".to_owned()];
        for (_, names) in &parts {
            for name in names {
                let line = lines.iter().find(|l| l.starts_with(&format!("{name} = "))).unwrap();
                let (_, operands) = line.split_once(" = ").unwrap();
                assert!(operands.split(' ').all(|o| seen.contains(&o.to_owned())), "{name}: {parts:?}");
                seen.push(name.clone());
            }
        }
        parts
    }

    #[test]
    fn a_diamond_with_one_foreign_side_needs_two_partitions() {
        let lines = ["ad = x x", "b = ad ad", "cd = ad ad", "dd = b cd"];
        let parts = cut(&lines, &["dd"]);
        let device: Vec<_> = parts.iter().filter(|(d, _)| *d).map(|(_, n)| n.join(" ")).collect();
        assert_eq!(device, ["ad cd", "dd"]);
    }

    #[test]
    fn branches_that_do_not_see_each_other_are_one_partition() {
        let lines = ["ad = x x", "b = x x", "cd = b b", "ed = ad cd", "f = ed x", "g = f f", "hd = x x"];
        let parts = cut(&lines, &["g", "hd"]);
        let device: Vec<_> = parts.iter().filter(|(d, _)| *d).map(|(_, n)| n.join(" ")).collect();
        assert_eq!(device, ["ad cd ed hd"]);
        assert_eq!(parts.len(), 3);
    }

    #[test]
    fn dead_nodes_are_left_out_and_no_nodes_are_no_parts() {
        assert!(cut(&[], &["x", "x"]).is_empty());
        assert!(cut(&["ad = x x"], &["x"]).is_empty());
        let parts = cut(&["dead = x x", "ad = x x", "deadd = ad dead"], &["ad", "ad", "x"]);
        assert_eq!(parts, [(true, vec!["ad".to_owned()])]);
    }

    #[test]
    fn the_number_is_the_least_there_is() {
        // Every assignment of device nodes to groups, in a small graph: none without a cycle has fewer groups.
        let mut seed = 7u64;
        let mut next = |n: usize| {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            (seed >> 33) as usize % n
        };
        for _ in 0..300 {
            let count = 3 + next(4);
            let mut names = vec!["x".to_owned()];
            let mut lines = Vec::new();
            for i in 0..count {
                let name = format!("n{i}{}", if next(3) > 0 { "d" } else { "" });
                lines.push(format!("{name} = {} {}", names[next(names.len())], names[next(names.len())]));
                names.push(name);
            }
            let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
            let all: Vec<&str> = names.iter().map(String::as_str).collect();
            let ours = cut(&lines, &all).iter().filter(|(d, _)| *d).count();
            assert_eq!(ours, fewest(&lines), "{lines:?}");
        }
    }

    /// By trying everything.
    fn fewest(lines: &[&str]) -> usize {
        let (graph, device) = graph(lines, &[]);
        let members: Vec<usize> = (0..device.len()).filter(|i| device[*i]).collect();
        let nodes: Vec<&Node> = graph.nodes().map(|(_, n)| n).collect();
        let works = |groups: &[usize]| {
            // nodes of a group are one: a cycle is a node that reaches itself through another
            let id = |n: usize| members.iter().position(|m| *m == n).map_or(100 + n, |k| groups[k]);
            let edges: Vec<(usize, usize)> = nodes
                .iter()
                .enumerate()
                .flat_map(|(n, node)| node.inputs.iter().map(move |i| (n, *i)))
                .filter_map(|(n, i)| graph.producer(i).map(|(p, _)| (id(p.index()), id(n))))
                .filter(|(a, b)| a != b)
                .collect();
            let mut left: Vec<usize> = edges.iter().flat_map(|(a, b)| [*a, *b]).collect();
            left.sort_unstable();
            left.dedup();
            while let Some(at) =
                left.iter().position(|v| !edges.iter().any(|(a, b)| b == v && left.contains(a)))
            {
                left.remove(at);
            }
            left.is_empty()
        };
        let mut best = members.len();
        let total = members.len().max(1).pow(members.len() as u32);
        for code in 0..total {
            let groups: Vec<usize> = (0..members.len())
                .scan(code, |c, _| Some(std::mem::replace(c, *c / members.len()) % members.len()))
                .collect();
            let mut distinct = groups.clone();
            distinct.sort_unstable();
            distinct.dedup();
            if distinct.len() < best && works(&groups) {
                best = distinct.len();
            }
        }
        best
    }

    #[test]
    fn what_only_moves_elements_stays_on_the_cpu() {
        let mut graph = Graph::new();
        let x = graph.input("x", Fact::new(DType::F32, &[4])).unwrap();
        let y = graph.add("y", Binary::new(BinaryKind::Add), &[x, x]).unwrap();
        let z = graph.add("z", Reshape { shape: vec![2, 2] }, &[y]).unwrap();
        graph.output(z);
        let cut = parts(&graph, &[true, true], &[false, true]).unwrap();
        assert_eq!(idle(&cut, &graph).len(), 1);
        let all = parts(&graph, &[true, true], &[true, true]).unwrap();
        assert!(idle(&all, &graph).is_empty());
    }
}
