//! Which function imports which operator. An operator is a function and a line in the list of its file.

mod conv;
pub(super) mod dynamic;
mod elementwise;
mod matmul;
mod normalization;
mod pool;
mod quantized;
mod reduce;
mod resize;
mod shape;
mod structure;
mod window;

use super::call::Call;
use super::proto::{Node, same_domain};
use crate::Result;
pub(super) use quantized::AWARE;

/// Adds the nodes for one of the file's.
pub(super) type Import = fn(&mut Call<'_, '_>) -> Result<()>;

/// Operators of ONNX's own domain.
const ONNX: &[&[(&str, Import)]] = &[
    conv::OPS,
    dynamic::OPS,
    elementwise::OPS,
    matmul::OPS,
    normalization::OPS,
    pool::OPS,
    quantized::OPS,
    reduce::OPS,
    resize::OPS,
    shape::OPS,
    structure::OPS,
];

/// Operators of the domain `com.microsoft`, which quantisers and optimisers write.
const MICROSOFT: &[&[(&str, Import)]] = &[quantized::MICROSOFT, elementwise::MICROSOFT];

/// The function that imports a node's operator.
pub(super) fn find(node: &Node<'_>) -> Option<Import> {
    let lists = match node.domain {
        domain if same_domain(domain, "") => ONNX,
        "com.microsoft" => MICROSOFT,
        _ => return None,
    };
    lists
        .iter()
        .flat_map(|list| list.iter())
        .find(|(name, _)| *name == node.op_type)
        .map(|(_, import)| *import)
}
