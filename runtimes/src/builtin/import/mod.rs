//! Model files of any format as [`Source`]s, which build graphs. A format is a module and a line in
//! [`FORMATS`]. Parsing and building are separate so that loading and compiling can be timed apart.
//!
//! A graph built here has the file's inputs and outputs in the file's order, with the file's types and
//! layouts; inside, convolutions and pools are `[n, h, w, c]`.

use super::graph::Graph;
use super::tensor::Tensor;
use crate::{Error, Result};
pub use onnx::tensor_of_file;
use protocol::{DType, ModelFacts, OpCount, WeightBytes};
use std::collections::BTreeMap;
use std::path::Path;

pub(crate) mod onnx;
mod tflite;

#[cfg(feature = "dlopen")]
pub(crate) use tflite::{Outline, operator_name, outline};

/// Values of inputs that a graph is built for, by the input's place among the inputs.
pub type Fixed = BTreeMap<usize, Tensor>;

/// What became of building a graph for some inputs' values.
#[derive(Debug)]
pub enum Built {
    /// The graph. Its inputs are those that are not fixed, in the file's order.
    Graph(Graph),
    /// Shapes or branches depend on the values of these inputs too, for a reason such as the error tells.
    Depends(Vec<usize>, Error),
}

/// A parsed model file.
pub trait Source: Send {
    /// What is in the file.
    fn facts(&self) -> &ModelFacts;

    /// The graph, for one shape per input in the file's order, or for the file's own shapes with 1 in
    /// place of open dimensions. Tensors named in `keep` must not be fused away.
    ///
    /// # Errors
    /// An operator, type or shape that is not supported, or operands that do not fit together.
    fn build(&self, input_shapes: Option<&[Vec<usize>]>, keep: &[String]) -> Result<Graph> {
        match self.build_for(input_shapes, keep, &Fixed::new())? {
            Built::Graph(graph) => Ok(graph),
            Built::Depends(_, error) => Err(error),
        }
    }

    /// As [`Source::build`], for given values of some inputs, on which shapes and branches may depend.
    ///
    /// # Errors
    /// As [`Source::build`]; values that do not fit the file's inputs.
    fn build_for(&self, input_shapes: Option<&[Vec<usize>]>, keep: &[String], fixed: &Fixed)
    -> Result<Built>;
}

/// A node of a file, for tests.
#[cfg(test)]
pub(crate) struct FileNode {
    /// Operator, in the file's words.
    pub(crate) op: String,
    /// Names of values.
    pub(crate) inputs: Vec<String>,
    /// Names of values.
    pub(crate) outputs: Vec<String>,
}

/// The nodes of a file's main graph.
#[cfg(test)]
pub(crate) fn file_nodes(file: &[u8]) -> Result<Vec<FileNode>> {
    if (tflite::FORMAT.detect)(file) { tflite::file_nodes(file) } else { onnx::file_nodes(file) }
}

/// Operators of a format that are read.
#[cfg(test)]
pub(crate) fn operators(format: protocol::Format) -> Vec<String> {
    match format {
        protocol::Format::Tflite => tflite::operators(),
        protocol::Format::Onnx => onnx::operators(),
    }
}

/// A file format.
pub struct FormatEntry {
    /// For messages.
    pub name: &'static str,
    /// Whether the bytes look like this format, by their beginning.
    pub detect: fn(&[u8]) -> bool,
    /// Parses; bounded and free of panics on any input. The folder is where a model that came from a file
    /// may have further files.
    pub parse: Parse,
}

/// Reads a file's bytes.
pub type Parse = fn(Vec<u8>, Option<&Path>) -> Result<Box<dyn Source>>;

/// Every format, in the order in which they are tried.
pub const FORMATS: &[FormatEntry] = &[tflite::FORMAT, onnx::FORMAT];

/// Parses a model file of any format; `folder` is the one it lies in.
///
/// # Errors
/// Not a format we know, or damaged.
pub fn parse(bytes: Vec<u8>, folder: Option<&Path>) -> Result<Box<dyn Source>> {
    match FORMATS.iter().find(|f| (f.detect)(&bytes)) {
        Some(format) => (format.parse)(bytes, folder),
        None => {
            let names: Vec<&str> = FORMATS.iter().map(|f| f.name).collect();
            Err(Error::ModelInvalid(format!("none of the formats {}", names.join(", "))))
        }
    }
}

/// Operators, most frequent first, then by name.
fn most_frequent(counts: BTreeMap<String, u32>) -> Vec<OpCount> {
    let mut ops: Vec<OpCount> = counts.into_iter().map(|(op, count)| OpCount { op, count }).collect();
    ops.sort_by_key(|op| std::cmp::Reverse(op.count));
    ops
}

/// Weights by type, most bytes first.
fn heaviest(bytes: BTreeMap<DType, u64>) -> Vec<WeightBytes> {
    let mut weights: Vec<WeightBytes> =
        bytes.into_iter().map(|(dtype, bytes)| WeightBytes { dtype, bytes }).collect();
    weights.sort_by_key(|weight| std::cmp::Reverse(weight.bytes));
    weights
}
