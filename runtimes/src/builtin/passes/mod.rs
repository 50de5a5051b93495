//! Rewrites of a graph that keep what it computes and make it cheaper to run. A pass is a file and a line in
//! [`PASSES`]: it reads a graph and writes another one, without what nobody reads.
//!
//! Passes know nothing of file formats and choose no kernels. Except where a pass says so, results keep their
//! bits; what changes is rounding only.

mod activation;
mod affine;
mod fuse;
mod layout;
mod pad;
mod qdq;
mod reshape;
mod rewrite;
#[cfg(test)]
mod testing;

use super::graph::Graph;
use crate::Result;
use std::collections::HashSet;

/// A rewrite, and the names of tensors that it must leave alone.
pub type Pass = fn(&Graph, &HashSet<&str>) -> Result<Graph>;

/// Every pass, in the order in which they run.
pub const PASSES: &[(&str, Pass)] = &[
    ("layout", layout::run),
    ("reshape", reshape::run),
    ("affine", affine::run),
    ("activation", activation::run),
    ("qdq", qdq::run),
    ("activation of quantised results", activation::run),
    ("pad", pad::run),
    ("constants", constants),
];

/// Runs every pass. Tensors named in `keep` stay what they are in the file.
///
/// # Errors
/// A limit of the graph, or constants that cannot be computed.
pub fn optimize(graph: &Graph, keep: &[String]) -> Result<Graph> {
    let keep: HashSet<&str> = keep.iter().map(String::as_str).collect();
    let mut done = None;
    for (name, pass) in PASSES {
        let next = pass(done.as_ref().unwrap_or(graph), &keep).map_err(|e| e.at(&format!("pass {name}")))?;
        done = Some(next);
    }
    done.map_or_else(|| constants(graph, &keep), Ok)
}

/// Takes operators together that kernels of the processor do at once. Tensors named in `keep` stay what they are.
///
/// # Errors
/// A limit of the graph.
pub fn fuse(graph: &Graph, keep: &[String]) -> Result<Graph> {
    let keep: HashSet<&str> = keep.iter().map(String::as_str).collect();
    fuse::run(graph, &keep).map_err(|e| e.at("pass fuse"))
}

/// Computes what has become constant, among it dequantised weights that no pass wanted as they were, and
/// leaves out what nobody reads.
fn constants(graph: &Graph, keep: &HashSet<&str>) -> Result<Graph> {
    let mut rewriter = rewrite::Rewriter::new(graph, keep)?;
    for node in rewriter.live() {
        rewriter.copy_folded(node)?;
    }
    rewriter.finish()
}
