//! Looks at the graph after all delegates have taken their nodes, as a last delegate that takes none: no version of
//! TFLite or LiteRT has a function that tells, and what they log of it is not printed on Linux.

mod ffi;

pub(crate) use ffi::Watch;

use super::file::Outline;
use crate::builtin::import::operator_name;
use protocol::{BackendProof, Fallback, UnitShare};
use std::collections::BTreeMap;

/// What runs in the library itself.
pub(crate) const OWN_KERNELS: &str = "built-in kernels";

/// Nodes in execution order.
pub(crate) type Graph = Vec<Node>;

/// A node of the graph that runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Node {
    /// Its index, which is that of the file for a node of the file.
    pub(crate) index: usize,
    /// The operator's code.
    pub(crate) code: i32,
    /// Name of a custom operator or of a delegate.
    pub(crate) custom: Option<String>,
    /// For a delegate: how many nodes it took here.
    pub(crate) taken: Option<usize>,
}

/// What was seen, added up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Shares {
    /// Delegates with their nodes and partitions, by name.
    pub(crate) delegates: BTreeMap<String, (u32, u32)>,
    /// Nodes that no delegate took.
    own: Vec<Fallback>,
}

impl Shares {
    /// Adds up graphs; the outline has the names of the first one's nodes.
    pub(crate) fn of(graphs: &[Graph], outline: Option<&Outline>) -> Self {
        let mut shares = Self::default();
        for (number, graph) in graphs.iter().enumerate() {
            let names = outline.filter(|_| number == 0).map(|o| o.nodes.as_slice()).unwrap_or_default();
            for node in graph {
                if let Some(taken) = node.taken {
                    let name = node.custom.clone().unwrap_or_else(|| "a delegate without a name".to_owned());
                    let (nodes, partitions) = shares.delegates.entry(name).or_default();
                    *nodes = nodes.saturating_add(u32::try_from(taken).unwrap_or(u32::MAX));
                    *partitions += 1;
                } else {
                    let name = names.get(node.index).map(|(name, _)| name.clone()).unwrap_or_default();
                    let op = operator_name(node.code, node.custom.as_deref());
                    shares.own.push(Fallback { node: name, op, reason: String::new() });
                }
            }
        }
        shares
    }

    /// Nodes that no delegate took.
    pub(crate) fn own(&self) -> u32 {
        u32::try_from(self.own.len()).unwrap_or(u32::MAX)
    }

    /// The proof that the library's own kernels were asked for, and ran what no delegate took.
    pub(crate) fn own_kernels(&self, kernels: String) -> BackendProof {
        let mut proof = self.all(kernels, OWN_KERNELS);
        (proof.nodes_on_backend, proof.partitions) = (self.own(), u32::from(self.own() > 0));
        for (delegate, (nodes, _)) in &self.delegates {
            let reason = format!("{nodes} nodes were taken by {delegate}, which was not asked for");
            proof.fallbacks.push(Fallback { node: String::new(), op: delegate.clone(), reason });
        }
        proof
    }

    /// The proof that a delegate was asked for, of which there may be several names.
    pub(crate) fn delegate(&self, kernels: String, asked: impl Fn(&str) -> bool) -> BackendProof {
        let mine = || self.delegates.iter().filter(|(name, _)| asked(name));
        let mut proof = self.all(kernels, mine().next().map_or("", |(name, _)| name));
        proof.nodes_on_backend = mine().map(|(_, (nodes, _))| *nodes).fold(0, u32::saturating_add);
        proof.partitions = mine().map(|(_, (_, partitions))| *partitions).sum();
        let reason = format!("no delegate took it: it runs in {OWN_KERNELS}");
        proof.fallbacks = self.own.iter().map(|f| Fallback { reason: reason.clone(), ..f.clone() }).collect();
        for (delegate, (nodes, _)) in self.delegates.iter().filter(|(name, _)| !asked(name)) {
            let reason = format!("{nodes} nodes were taken by {delegate}");
            proof.fallbacks.push(Fallback { node: String::new(), op: delegate.clone(), reason });
        }
        proof
    }

    /// All but what is on the backend; `first` is the unit that was asked for.
    fn all(&self, kernels: String, first: &str) -> BackendProof {
        let delegates = self.delegates.iter().map(|(name, (nodes, _))| (name.as_str(), *nodes));
        let mut units: Vec<UnitShare> = delegates
            .chain([(OWN_KERNELS, self.own())])
            .filter(|(_, nodes)| *nodes > 0)
            .map(|(unit, nodes)| UnitShare { unit: unit.to_owned(), nodes })
            .collect();
        units.sort_by_key(|u| u.unit != first);
        let nodes_total = units.iter().map(|u| u.nodes).fold(0, u32::saturating_add);
        BackendProof { kernels, nodes_total, units, ..BackendProof::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own(index: usize, code: i32) -> Node {
        Node { index, code, custom: None, taken: None }
    }

    fn delegate(index: usize, name: &str, taken: usize) -> Node {
        Node { index, code: 51, custom: Some(name.to_owned()), taken: Some(taken) }
    }

    fn outline() -> Outline {
        let node = |i: usize| (format!("tensor {i}"), "OP".to_owned());
        Outline { inputs: Vec::new(), nodes: (0..14).map(node).collect() }
    }

    #[test]
    fn what_a_delegate_left_has_its_name() {
        let graph = vec![delegate(14, "XNN", 9), own(9, 25), delegate(15, "XNN", 3), own(13, 25)];
        let shares = Shares::of(&[graph], Some(&outline()));
        let proof = shares.delegate("k".to_owned(), |name| name == "XNN");
        assert_eq!((proof.nodes_total, proof.nodes_on_backend, proof.partitions), (14, 12, 2));
        let left: Vec<_> = proof.fallbacks.iter().map(|f| (f.node.as_str(), f.op.as_str())).collect();
        assert_eq!(left, [("tensor 9", "SOFTMAX"), ("tensor 13", "SOFTMAX")]);
        let units: Vec<_> = proof.units.iter().map(|u| (u.unit.as_str(), u.nodes)).collect();
        assert_eq!(units, [("XNN", 12), (OWN_KERNELS, 2)]);
        let proof = shares.own_kernels("k".to_owned());
        assert_eq!((proof.nodes_total, proof.nodes_on_backend, proof.fallbacks.len()), (14, 2, 1));
        assert_eq!(proof.units[0].unit, OWN_KERNELS);
    }

    #[test]
    fn another_delegate_is_no_proof() {
        let shares = Shares::of(&[vec![delegate(3, "XNN", 3)]], None);
        let proof = shares.delegate("k".to_owned(), |name| name != "XNN");
        assert_eq!((proof.nodes_total, proof.nodes_on_backend, proof.partitions), (3, 0, 0));
        assert_eq!(proof.fallbacks[0].reason, "3 nodes were taken by XNN");
    }

    #[test]
    fn names_are_those_of_the_first_graph() {
        let shares = Shares::of(&[vec![own(0, 0)], vec![own(0, 0)]], Some(&outline()));
        let names: Vec<_> = shares.own.iter().map(|f| f.node.as_str()).collect();
        assert_eq!(names, ["tensor 0", ""]);
        assert_eq!(shares.own_kernels(String::new()).fallbacks, []);
    }
}
