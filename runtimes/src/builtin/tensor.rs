//! Constant tensors: shared, aligned, immutable bytes with a type and a shape.

use super::kernels::memory::{self, Buffer, Element};
use super::limits;
use crate::{Error, Result};
use protocol::DType;
use std::sync::Arc;

/// A constant tensor, row-major. Cloning shares the bytes.
#[derive(Clone)]
pub struct Tensor {
    dtype: DType,
    shape: Vec<usize>,
    bytes: usize,
    data: Arc<Buffer>,
}

impl std::fmt::Debug for Tensor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Tensor({} {:?})", self.dtype, self.shape)
    }
}

impl Tensor {
    /// A tensor from little-endian bytes.
    ///
    /// # Errors
    /// The shape is too large or needs another number of bytes.
    pub fn from_bytes(dtype: DType, shape: &[usize], bytes: &[u8]) -> Result<Self> {
        // Before anything is allocated: a file may state any shape.
        let needed = limits::bytes(shape, dtype.size())?;
        if needed != bytes.len() {
            return Err(Error::ModelInvalid(format!(
                "{} bytes of data for a {dtype} tensor of shape {shape:?}, which needs {needed}",
                bytes.len(),
            )));
        }
        let mut tensor = Self::zeros(dtype, shape)?;
        tensor.bytes_mut().copy_from_slice(bytes);
        Ok(tensor)
    }

    /// A tensor from elements.
    ///
    /// # Errors
    /// As [`Tensor::from_bytes`].
    pub fn from_elements<T: Element>(shape: &[usize], elements: &[T]) -> Result<Self> {
        Self::from_bytes(T::DTYPE, shape, memory::as_bytes(elements))
    }

    /// A tensor without dimensions.
    ///
    /// # Errors
    /// No memory.
    pub fn scalar<T: Element>(value: T) -> Result<Self> {
        Self::from_elements(&[], &[value])
    }

    /// A tensor of zeros.
    ///
    /// # Errors
    /// The shape is too large.
    pub fn zeros(dtype: DType, shape: &[usize]) -> Result<Self> {
        let bytes = limits::bytes(shape, dtype.size())?;
        Ok(Self { dtype, shape: shape.to_vec(), bytes, data: Arc::new(Buffer::zeroed(bytes)?) })
    }

    /// Element type.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// Dimensions.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.bytes / self.dtype.size()
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.data.bytes()[..self.bytes]
    }

    /// The bytes of a tensor that nobody shares yet.
    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        let data = Arc::get_mut(&mut self.data).expect("only called on a tensor just made");
        &mut data.bytes_mut()[..self.bytes]
    }

    /// The elements.
    ///
    /// # Errors
    /// They are of another type.
    pub fn elements<T: Element>(&self) -> Result<&[T]> {
        if self.dtype != T::DTYPE {
            return Err(Error::Unsupported(format!("a {} tensor where {} is needed", self.dtype, T::DTYPE)));
        }
        Ok(memory::elements(self.bytes()).expect("aligned, and a whole number of elements"))
    }

    /// The same bytes with another shape of as many elements.
    ///
    /// # Errors
    /// Another number of elements.
    pub fn reshaped(&self, shape: &[usize]) -> Result<Self> {
        if limits::elements(shape)? != self.len() {
            return Err(Error::ModelInvalid(format!("cannot reshape {:?} to {shape:?}", self.shape)));
        }
        Ok(Self { shape: shape.to_vec(), ..self.clone() })
    }

    /// All elements as i64; floats are truncated. For shapes, axes and the like.
    ///
    /// # Errors
    /// A type without numbers.
    pub fn to_i64(&self) -> Result<Vec<i64>> {
        Ok(match self.dtype {
            DType::I64 => self.elements::<i64>()?.to_vec(),
            DType::I32 => self.elements::<i32>()?.iter().map(|v| i64::from(*v)).collect(),
            DType::U64 => self.elements::<u64>()?.iter().map(|v| v.cast_signed()).collect(),
            _ => self.to_f64()?.into_iter().map(|v| v as i64).collect(),
        })
    }

    /// All elements as f64, exactly, except 64-bit integers beyond 2^53.
    ///
    /// # Errors
    /// A type without numbers.
    pub fn to_f64(&self) -> Result<Vec<f64>> {
        Ok(match self.dtype {
            DType::F32 => self.elements::<f32>()?.iter().map(|v| f64::from(*v)).collect(),
            DType::F64 => self.elements::<f64>()?.to_vec(),
            DType::F16 => self.elements::<half::f16>()?.iter().map(|v| v.to_f64()).collect(),
            DType::BF16 => self.elements::<half::bf16>()?.iter().map(|v| v.to_f64()).collect(),
            DType::I8 => self.elements::<i8>()?.iter().map(|v| f64::from(*v)).collect(),
            DType::U8 | DType::Bool => self.bytes().iter().map(|v| f64::from(*v)).collect(),
            DType::I16 => self.elements::<i16>()?.iter().map(|v| f64::from(*v)).collect(),
            DType::U16 => self.elements::<u16>()?.iter().map(|v| f64::from(*v)).collect(),
            DType::I32 => self.elements::<i32>()?.iter().map(|v| f64::from(*v)).collect(),
            DType::U32 => self.elements::<u32>()?.iter().map(|v| f64::from(*v)).collect(),
            DType::I64 => self.elements::<i64>()?.iter().map(|v| *v as f64).collect(),
            DType::U64 => self.elements::<u64>()?.iter().map(|v| *v as f64).collect(),
        })
    }
}
