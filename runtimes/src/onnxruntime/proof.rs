//! What really ran where. For the library's own CPU provider that needs no asking. For any other, version 1.24 and
//! newer tell it of the session itself; before, it takes further sessions, which are made only when somebody asks.

use super::ffi::{self, Subgraph};
use super::recipe::{Purpose, Recipe};
use super::{profile, said};
use crate::Result;
use ort::session::Session;
use protocol::{BackendProof, Fallback, UnitShare};
use std::collections::BTreeMap;

/// Nodes that did not run where they were to, listed one by one; the counts hold the others as well.
const MAX_FALLBACKS: usize = 1000;

/// The proof for a session. Where it cannot be had, no node counts as proven and the reason is among the fallbacks.
pub(super) fn of(recipe: &Recipe, session: &Session) -> BackendProof {
    let nodes = recipe.file.outline().map_or(0, |outline| outline.nodes());
    let provider = recipe.provider().unwrap_or_default();
    let found = if recipe.remembers() {
        ffi::assignment(recipe.file.ready.base, session).map(|all| from_subgraphs(provider, &all))
    } else if recipe.options.backend == "cpu" {
        Ok(all_on(provider, nodes))
    } else {
        from_more_sessions(recipe, provider, nodes)
    };
    let mut proof = found.unwrap_or_else(|error| BackendProof {
        nodes_total: nodes,
        fallbacks: vec![Fallback {
            node: String::new(),
            op: String::new(),
            reason: format!("it could not be found out where the nodes ran: {error}"),
        }],
        ..BackendProof::default()
    });
    proof.runtime_version.clone_from(&recipe.file.ready.version);
    provider.clone_into(&mut proof.kernels);
    proof
}

fn all_on(provider: &str, nodes: u32) -> BackendProof {
    BackendProof {
        nodes_total: nodes,
        nodes_on_backend: nodes,
        partitions: 1,
        units: vec![UnitShare { unit: provider.to_owned(), nodes }],
        ..BackendProof::default()
    }
}

/// Of nodes as (provider, name, operator), which were handed over in so many subgraphs.
fn from_nodes<'a>(
    backend: &str,
    partitions: usize,
    nodes: impl Iterator<Item = (&'a str, &'a str, &'a str)>,
) -> BackendProof {
    let mut shares: BTreeMap<&str, u32> = BTreeMap::from([(backend, 0)]);
    let mut fallbacks = Vec::new();
    for (provider, name, op) in nodes {
        *shares.entry(provider).or_default() += 1;
        if provider != backend && fallbacks.len() < MAX_FALLBACKS {
            let reason = format!("ONNX Runtime gave it to {provider}, and does not tell why");
            fallbacks.push(Fallback { node: name.to_owned(), op: op.to_owned(), reason });
        }
    }
    let on_backend = shares.get(backend).copied().unwrap_or_default();
    let mut units: Vec<_> =
        shares.into_iter().map(|(unit, nodes)| UnitShare { unit: unit.to_owned(), nodes }).collect();
    units.sort_by_key(|share| share.unit != backend);
    let nodes_total = units.iter().map(|share| share.nodes).sum();
    BackendProof {
        nodes_total,
        nodes_on_backend: on_backend,
        // A graph that nobody else has a part of is in one piece, however it was handed over.
        partitions: if on_backend == nodes_total { 1 } else { u32::try_from(partitions).unwrap_or(u32::MAX) },
        fallbacks,
        units,
        ..BackendProof::default()
    }
}

fn from_subgraphs(backend: &str, all: &[Subgraph]) -> BackendProof {
    let partitions = all.iter().filter(|subgraph| subgraph.provider == backend).count();
    let nodes = all.iter().flat_map(|subgraph| {
        subgraph.nodes.iter().map(|(name, op)| (subgraph.provider.as_str(), name.as_str(), op.as_str()))
    });
    from_nodes(backend, partitions, nodes)
}

/// A session that must do without the CPU proves that the backend does all of the file's nodes. Where there can be
/// none, a profile of one run on zeros tells who did which node of the prepared graph.
fn from_more_sessions(recipe: &Recipe, backend: &str, nodes: u32) -> Result<BackendProof> {
    if recipe.session(&Purpose::Alone).is_ok() {
        return Ok(all_on(backend, nodes));
    }
    let folder = profile::folder()?;
    let (mut run, _) = recipe.session(&Purpose::Profile(folder.path()))?;
    run.run().map_err(said)?;
    let all = profile::read(&run.end_profiling().map_err(said)?, 1)?;
    let on_backend = all.iter().filter(|node| node.unit == backend).count();
    Ok(from_nodes(backend, on_backend, all.iter().map(|n| (n.unit.as_str(), n.node.as_str(), n.op.as_str()))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_of_the_backend_comes_first_and_the_rest_is_named() {
        let on = |provider: &str, nodes: &[(&str, &str)]| Subgraph {
            provider: provider.to_owned(),
            nodes: nodes.iter().map(|(name, op)| ((*name).to_owned(), (*op).to_owned())).collect(),
        };
        let all =
            [on("A", &[("a", "Conv"), ("b", "Relu")]), on("Z", &[("c", "Gemm")]), on("Z", &[("d", "Add")])];
        let proof = from_subgraphs("Z", &all);
        assert_eq!((proof.nodes_total, proof.nodes_on_backend, proof.partitions), (4, 2, 2));
        let units: Vec<_> = proof.units.iter().map(|u| (u.unit.as_str(), u.nodes)).collect();
        assert_eq!(units, [("Z", 2), ("A", 2)]);
        let named: Vec<_> = proof.fallbacks.iter().map(|f| (f.node.as_str(), f.op.as_str())).collect();
        assert_eq!(named, [("a", "Conv"), ("b", "Relu")]);
        assert!(proof.fallbacks[0].reason.contains("gave it to A"));
        let none = from_subgraphs("X", &all);
        assert_eq!((none.nodes_on_backend, none.partitions, none.fallbacks.len()), (0, 0, 4));
        let whole = from_subgraphs("Z", &all[1..]);
        assert_eq!((whole.nodes_on_backend, whole.partitions, whole.units.len()), (2, 1, 1));
    }
}
