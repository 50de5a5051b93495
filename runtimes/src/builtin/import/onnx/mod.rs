//! ONNX files: the reader, what `inspect` says about them, and the importer.

mod call;
mod external;
mod facts;
mod importer;
mod ops;
#[cfg(feature = "dlopen")]
mod outline;
mod proto;
mod tensor;
#[cfg(test)]
mod testing;
mod wire;

use super::{Built, Fixed, FormatEntry, Source};
use crate::Result;
use crate::builtin::tensor::Tensor;
use external::ExternalData;
#[cfg(feature = "dlopen")]
pub(crate) use outline::Outline;
use protocol::ModelFacts;
use std::path::Path;
#[cfg(feature = "dlopen")]
pub(crate) use tensor::element_type;

/// ONNX: a protobuf without a magic number, so anything that begins like one. Must be tried last.
pub(super) const FORMAT: FormatEntry = FormatEntry { name: "ONNX", detect, parse };

/// Whether the first field is one that ModelProto has, in its wire type.
fn detect(data: &[u8]) -> bool {
    matches!(data, [0x08 | 0x28, ..] | [0x12 | 0x1a | 0x22 | 0x32 | 0x3a | 0x42 | 0x72 | 0xa2 | 0xca, ..])
}

fn parse(data: Vec<u8>, folder: Option<&Path>) -> Result<Box<dyn Source>> {
    let facts = facts::facts(&data)?;
    Ok(Box::new(OnnxSource { data, external: ExternalData::below(folder), facts }))
}

/// An ONNX file whose structure has been read.
struct OnnxSource {
    data: Vec<u8>,
    external: ExternalData,
    facts: ModelFacts,
}

impl Source for OnnxSource {
    fn facts(&self) -> &ModelFacts {
        &self.facts
    }

    fn build_for(
        &self,
        input_shapes: Option<&[Vec<usize>]>,
        keep: &[String],
        fixed: &Fixed,
    ) -> Result<Built> {
        let given = importer::Given { shapes: input_shapes, fixed, keep };
        importer::import(&self.data, &self.external, &self.facts, given)
    }
}

/// The nodes of a file's main graph.
#[cfg(test)]
pub(super) fn file_nodes(file: &[u8]) -> Result<Vec<super::FileNode>> {
    let names = |all: &[&str]| all.iter().map(|name| (*name).to_owned()).collect();
    let node = |n: &proto::Node<'_>| super::FileNode {
        op: n.op_type.to_owned(),
        inputs: names(&n.inputs),
        outputs: names(&n.outputs),
    };
    Ok(proto::Model::parse(file)?.graph.nodes.iter().map(node).collect())
}

/// Operators that are read.
#[cfg(test)]
pub(super) fn operators() -> Vec<String> {
    let mut all: Vec<String> = ops::names().map(str::to_owned).collect();
    all.sort();
    all.dedup();
    all
}

/// The tensor in a file of its own (a `TensorProto`), as tests of ONNX come with.
///
/// # Errors
/// Not such a file, or an element type that we do not calculate with.
pub fn tensor_of_file(bytes: &[u8]) -> Result<Tensor> {
    let tensor = tensor::Tensor::parse(wire::Bytes::file(bytes))?;
    Tensor::from_bytes(tensor.dtype()?, &tensor.shape()?, &tensor.data(&ExternalData::none())?)
}
