//! A model in the terms of NNAPI: what the consumer hands to a library, and what a driver is handed.

use super::codes::operand;
use std::sync::Arc;

/// `ANeuralNetworksSymmPerChannelQuantParams`.
#[derive(Clone, Debug, PartialEq)]
pub struct Channels {
    /// The dimension.
    pub dimension: u32,
    /// A scale per channel.
    pub scales: Vec<f32>,
}

/// What an operand holds.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Value {
    /// Nothing yet: it is an input, or an operation computes it.
    #[default]
    Unset,
    /// An optional operand that is left out.
    Omitted,
    /// A constant, in the byte order of the machine.
    Constant(Arc<[u8]>),
}

/// An operand.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Operand {
    /// One of [`operand`].
    pub code: i32,
    /// Dimensions; none for scalars, 0 where one is not known.
    pub dimensions: Vec<u32>,
    /// Scale; 0 where there is none.
    pub scale: f32,
    /// Zero point; 0 where there is none.
    pub zero_point: i32,
    /// Only with [`operand::TENSOR_QUANT8_SYMM_PER_CHANNEL`].
    pub channels: Option<Channels>,
    /// What it holds.
    pub value: Value,
}

impl Operand {
    /// Bytes of an element; `None` for a code that there is not.
    pub fn element_bytes(code: i32) -> Option<usize> {
        Some(match code {
            operand::FLOAT32
            | operand::INT32
            | operand::UINT32
            | operand::TENSOR_FLOAT32
            | operand::TENSOR_INT32 => 4,
            operand::TENSOR_QUANT16_SYMM
            | operand::TENSOR_QUANT16_ASYMM
            | operand::TENSOR_FLOAT16
            | operand::FLOAT16 => 2,
            operand::TENSOR_QUANT8_ASYMM
            | operand::TENSOR_QUANT8_SYMM
            | operand::TENSOR_QUANT8_SYMM_PER_CHANNEL
            | operand::TENSOR_QUANT8_ASYMM_SIGNED
            | operand::TENSOR_BOOL8
            | operand::BOOL => 1,
            _ => return None,
        })
    }

    /// Whether the code is a scalar's.
    pub fn is_scalar(&self) -> bool {
        matches!(
            self.code,
            operand::FLOAT32 | operand::INT32 | operand::UINT32 | operand::BOOL | operand::FLOAT16
        )
    }

    /// Bytes of all elements; `None` where a dimension or the code is not known, or there are too many.
    pub fn bytes(&self) -> Option<usize> {
        let element = Self::element_bytes(self.code)?;
        if !self.is_scalar() && self.dimensions.is_empty() {
            return None;
        }
        let times = |n: usize, d: &u32| n.checked_mul(usize::try_from(*d).ok().filter(|d| *d > 0)?);
        self.dimensions
            .iter()
            .try_fold(element, times)
            .filter(|n| *n <= crate::builtin::limits::MAX_TENSOR_BYTES)
    }
}

/// An operation. Operands are numbers into [`Model::operands`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// One of [`super::codes::operation`], or one that nobody here knows.
    pub code: i32,
    /// Operands it reads.
    pub inputs: Vec<u32>,
    /// Operands it computes.
    pub outputs: Vec<u32>,
}

/// A model.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Model {
    /// Operands.
    pub operands: Vec<Operand>,
    /// Operations, in any order.
    pub operations: Vec<Operation>,
    /// Operands that are given at every execution.
    pub inputs: Vec<u32>,
    /// Operands that every execution gives.
    pub outputs: Vec<u32>,
    /// f32 may be computed as f16.
    pub relaxed: bool,
}
