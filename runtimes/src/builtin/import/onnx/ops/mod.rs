//! Which function imports which operator. An operator is a function and a line in the list of its file.

mod control;
mod conv;
mod dependent;
pub(super) mod dynamic;
mod einsum;
mod elementwise;
mod generate;
mod index;
mod literal;
mod matmul;
mod normalization;
mod pool;
mod quantized;
mod recurrent;
mod reduce;
mod resize;
mod shape;
mod signal;
mod structure;
mod vision;
mod window;

use super::call::Call;
use super::proto::{Node, same_domain};
use crate::Result;
pub(super) use quantized::AWARE;

/// Adds the nodes for one of the file's.
pub(super) type Import = fn(&mut Call<'_, '_>) -> Result<()>;

/// Operators of ONNX's own domain.
const ONNX: &[&[(&str, Import)]] = &[
    control::OPS,
    conv::OPS,
    dependent::OPS,
    dynamic::OPS,
    einsum::OPS,
    elementwise::OPS,
    generate::OPS,
    index::OPS,
    matmul::OPS,
    normalization::OPS,
    pool::OPS,
    quantized::OPS,
    recurrent::OPS,
    reduce::OPS,
    resize::OPS,
    shape::OPS,
    signal::OPS,
    structure::OPS,
    vision::OPS,
];

/// Operators of the domain `com.microsoft`, which quantisers and optimisers write.
const MICROSOFT: &[&[(&str, Import)]] = &[quantized::MICROSOFT, elementwise::MICROSOFT];

/// Operators that mean today what they meant in version 1.
pub(super) const UNCHANGED: &[&str] =
    &["Abs", "Ceil", "Exp", "Floor", "Log", "Neg", "Not", "Relu", "Sigmoid", "Sqrt", "Tanh", "Transpose"];

/// All operators that are read.
#[cfg(test)]
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    ONNX.iter().chain(MICROSOFT).flat_map(|list| list.iter()).map(|(name, _)| *name)
}

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
