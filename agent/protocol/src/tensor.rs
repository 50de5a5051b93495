//! Element types, quantisation and the description of a model's inputs and outputs.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Element type of a tensor, little-endian wherever it is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DType {
    /// IEEE 754 binary32.
    F32,
    /// IEEE 754 binary64.
    F64,
    /// IEEE 754 binary16.
    F16,
    /// Upper half of a binary32.
    BF16,
    /// Two's complement, 8 bits.
    I8,
    /// Unsigned, 8 bits.
    U8,
    /// Two's complement, 16 bits.
    I16,
    /// Unsigned, 16 bits.
    U16,
    /// Two's complement, 32 bits.
    I32,
    /// Unsigned, 32 bits.
    U32,
    /// Two's complement, 64 bits.
    I64,
    /// Unsigned, 64 bits.
    U64,
    /// One byte, 0 or 1.
    Bool,
}

impl DType {
    /// Bytes of one element.
    pub const fn size(self) -> usize {
        match self {
            Self::I8 | Self::U8 | Self::Bool => 1,
            Self::F16 | Self::BF16 | Self::I16 | Self::U16 => 2,
            Self::F32 | Self::I32 | Self::U32 => 4,
            Self::F64 | Self::I64 | Self::U64 => 8,
        }
    }

    /// The name used in every text: `f32`, `i8`, `bool`, ...
    pub const fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F64 => "f64",
            Self::F16 => "f16",
            Self::BF16 => "bf16",
            Self::I8 => "i8",
            Self::U8 => "u8",
            Self::I16 => "i16",
            Self::U16 => "u16",
            Self::I32 => "i32",
            Self::U32 => "u32",
            Self::I64 => "i64",
            Self::U64 => "u64",
            Self::Bool => "bool",
        }
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Affine quantisation: real = scale · (stored − zero_point). One entry is per tensor; several run
/// along `axis`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Quantization {
    /// One, or as many as the tensor has elements along `axis`.
    pub scale: Vec<f32>,
    /// As many as `scale`.
    pub zero_point: Vec<i32>,
    /// The dimension that `scale` runs along; 0 when per tensor.
    pub axis: u32,
}

/// A model input or output as the runtime reports it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TensorInfo {
    /// Name in the model file.
    pub name: String,
    /// Element type.
    pub dtype: DType,
    /// Dimensions; `None` is one that the model leaves open.
    pub shape: Vec<Option<u64>>,
    /// Present on quantised tensors.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quantization: Option<Quantization>,
}
