//! Facts about a model: what `inspect` prints, and the proof of where its nodes ran.

use crate::{DType, TensorInfo};
use serde::{Deserialize, Serialize};

/// File format of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// TensorFlow Lite / LiteRT FlatBuffer.
    Tflite,
    /// ONNX protobuf.
    Onnx,
}

impl Format {
    /// As in the extension of a file's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tflite => "tflite",
            Self::Onnx => "onnx",
        }
    }
}

/// Numeric precision as found in the file's own tensors, never read from its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Precision {
    /// Weights and activations binary32.
    Fp32,
    /// Weights binary16.
    Fp16,
    /// Weights int8, activations quantised at run time.
    DynamicInt8,
    /// Weights and activations 8 bits.
    Int8,
    /// Weights 8 bits, activations 16.
    Int16x8,
    /// None of the others.
    Mixed,
}

/// How often an operator occurs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpCount {
    /// Name in the file's own vocabulary: `CONV_2D`, `QLinearConv`, ...
    pub op: String,
    /// Number of nodes.
    pub count: u32,
}

/// Bytes of constant data of one element type.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WeightBytes {
    /// Element type.
    pub dtype: DType,
    /// Bytes.
    pub bytes: u64,
}

/// What a model file holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelFacts {
    /// File format.
    pub format: Format,
    /// Schema or IR version, opset, producer: as the file says.
    pub producer: String,
    /// Size of the file.
    pub file_bytes: u64,
    /// Precision found in the tensors.
    pub precision: Precision,
    /// Elements of all constant tensors that are weights.
    pub parameters: u64,
    /// Constant data by element type, largest first.
    pub weights: Vec<WeightBytes>,
    /// Graph inputs.
    pub inputs: Vec<TensorInfo>,
    /// Graph outputs.
    pub outputs: Vec<TensorInfo>,
    /// Operators, most frequent first.
    pub ops: Vec<OpCount>,
    /// What runs made of every tensor, where that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed: Option<Observed>,
}

/// Layers that are told of; the largest networks known have some thousands, and the answer must fit a line.
pub const MAX_LAYERS: usize = 3000;
/// Characters of a layer's name that are told.
pub const MAX_LAYER_NAME: usize = 100;

/// What runs of the built-in engine made of every tensor that a node computes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Observed {
    /// Examples that were run.
    pub examples: u64,
    /// Execution order, at most [`MAX_LAYERS`].
    pub layers: Vec<LayerStats>,
    /// Layers beyond those.
    pub left_out: u64,
}

/// What became of a tensor over all examples. Elements quantised per tensor count as the real numbers that they mean.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LayerStats {
    /// Name in the file, at most [`MAX_LAYER_NAME`] characters of it.
    pub name: String,
    /// What computed it: operator of the prepared graph.
    pub op: String,
    /// Element type.
    pub dtype: DType,
    /// Dimensions, of the last example.
    pub shape: Vec<u64>,
    /// Smallest finite element; absent where there is none.
    pub min: Option<f64>,
    /// Largest finite element.
    pub max: Option<f64>,
    /// Mean of the finite elements.
    pub mean: Option<f64>,
    /// Smallest and largest stored element, where the tensor is quantised.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stored: Option<[i64; 2]>,
    /// Number of elements, of all examples.
    pub elements: u64,
    /// Elements that are exactly 0.
    pub zeros: u64,
    /// Elements at an end of the range of their quantised type.
    pub saturated: u64,
    /// Elements that are not a number.
    pub nans: u64,
    /// Elements that are infinite.
    pub infinite: u64,
}

/// A node that did not run where it was asked to, or not in the precision the file asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fallback {
    /// Node name (or output tensor name) in the model.
    pub node: String,
    /// Operator.
    pub op: String,
    /// Why, in words.
    pub reason: String,
}

/// Which backend was asked for, and what really ran.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackendProof {
    /// Version of the runtime.
    pub runtime_version: String,
    /// Kernel set that ran: SIMD tier, delegate or execution provider.
    pub kernels: String,
    /// Nodes of the prepared graph.
    pub nodes_total: u32,
    /// Of those, the ones on the backend asked for.
    pub nodes_on_backend: u32,
    /// Subgraphs handed to the backend.
    pub partitions: u32,
    /// The rest, with reasons.
    pub fallbacks: Vec<Fallback>,
    /// Where the nodes ran, the backend asked for first; empty where only the counts above are known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub units: Vec<UnitShare>,
}

/// Nodes that ran in one place: `XNNPACK`, `CPUExecutionProvider`, the name of an accelerator, ...
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnitShare {
    /// The place, in the runtime's own words.
    pub unit: String,
    /// Nodes of the prepared graph.
    pub nodes: u32,
}

/// Time of one node in a profiled trial.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeProfile {
    /// Original name of the node's first output tensor.
    pub node: String,
    /// Operator of the prepared graph.
    pub op: String,
    /// Where it ran, as in [`UnitShare::unit`]; empty where the runtime does not tell.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub unit: String,
    /// Nanoseconds per iteration, one entry per iteration profiled.
    pub wall_ns: Vec<u64>,
}
