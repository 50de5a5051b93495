//! Element types and shapes as TFLite's libraries number them, and tensors described with them.

use crate::{Error, Result};
use protocol::{DType, Quantization, TensorInfo};
use std::ffi::c_int;

/// Largest input or output: more than a device has memory for.
const MAX_BYTES: u64 = 1 << 31;

/// `TfLiteType` and `LiteRtElementType`, which are the same.
const TYPES: &[(c_int, DType)] = &[
    (1, DType::F32),
    (2, DType::I32),
    (3, DType::U8),
    (4, DType::I64),
    (6, DType::Bool),
    (7, DType::I16),
    (9, DType::I8),
    (10, DType::F16),
    (11, DType::F64),
    (13, DType::U64),
    (16, DType::U32),
    (17, DType::U16),
    (19, DType::BF16),
];

fn dtype(number: c_int, name: &str) -> Result<DType> {
    TYPES.iter().find(|(n, _)| *n == number).map(|(_, dtype)| *dtype).ok_or_else(|| {
        let message =
            format!("tensor {name:?} has elements of a type (number {number}) that cannot be fed or read");
        Error::Unsupported(message)
    })
}

/// The library's number of a type.
pub(crate) fn number(dtype: DType) -> c_int {
    TYPES.iter().find(|(_, d)| *d == dtype).map_or(0, |(number, _)| *number)
}

/// A tensor of an open model: what is not above 0 is an open dimension.
pub(crate) fn open(
    name: String,
    element: c_int,
    dims: &[i32],
    quantization: Option<Quantization>,
) -> Result<TensorInfo> {
    let dtype = dtype(element, &name)?;
    let shape = dims.iter().map(|d| u64::try_from(*d).ok().filter(|d| *d > 0)).collect();
    Ok(TensorInfo { name, dtype, shape, quantization })
}

/// Bytes of a tensor whose dimensions are all known.
///
/// # Errors
/// One is not, or the tensor is beyond all bounds.
pub(crate) fn bytes(info: &TensorInfo) -> Result<usize> {
    let mut bytes = info.dtype.size() as u64;
    for dim in &info.shape {
        let dim = dim.ok_or_else(|| {
            let message = format!("tensor {:?} has a shape that depends on the data", info.name);
            Error::Unsupported(message)
        })?;
        bytes = bytes.checked_mul(dim).filter(|bytes| *bytes <= MAX_BYTES).ok_or_else(|| {
            Error::Unsupported(format!("tensor {:?} would be larger than {MAX_BYTES} bytes", info.name))
        })?;
    }
    usize::try_from(bytes).map_err(|_| Error::Unsupported(format!("tensor {:?} is too large", info.name)))
}

/// Quantisation, where there is a scale at all.
pub(crate) fn quantization(scale: Vec<f32>, zero_point: &[i64], axis: i32) -> Option<Quantization> {
    if scale.is_empty() || scale.iter().all(|s| *s == 0.0) {
        return None;
    }
    // Zero points fit their element type in a valid file.
    let clamp = |z: &i64| (*z).clamp(i64::from(i32::MIN), i64::from(i32::MAX)) as i32;
    Some(Quantization {
        zero_point: zero_point.iter().map(clamp).collect(),
        axis: u32::try_from(axis).unwrap_or(0),
        scale,
    })
}

/// The dimensions that a session is to have: those asked for, which must be as many as the model's.
///
/// # Errors
/// Names the input that does not fit.
pub(crate) fn wanted(info: &TensorInfo, shape: &[u64]) -> Result<Vec<c_int>> {
    let bad = || {
        let message = format!("input {:?} has {} dimensions, not {shape:?}", info.name, info.shape.len());
        Error::InputMismatch(message)
    };
    if shape.len() != info.shape.len() {
        return Err(bad());
    }
    shape.iter().map(|d| c_int::try_from(*d).ok().filter(|d| *d > 0).ok_or_else(bad)).collect()
}

/// For an input, output or number of bytes that a session has not.
pub(crate) fn unfit(infos: &[TensorInfo], what: &str, index: usize, given: Option<usize>) -> Error {
    let Some(info) = infos.get(index) else {
        return Error::InputMismatch(format!("no {what} {index}, the model has {}", infos.len()));
    };
    let (given, needed) = (given.unwrap_or(0), bytes(info).unwrap_or(0));
    Error::InputMismatch(format!("{what} {:?} takes {needed} bytes, not {given}", info.name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tensors_are_described_and_bounded() {
        let tensor = |dims: &[i32]| open("x".to_owned(), 7, dims, None).unwrap();
        assert_eq!(bytes(&tensor(&[2, 3])).unwrap(), 12);
        assert_eq!(bytes(&tensor(&[])).unwrap(), 2);
        assert_eq!(tensor(&[-1, 0, 3]).shape, [None, None, Some(3)]);
        assert!(bytes(&tensor(&[-1])).unwrap_err().to_string().contains("depends on the data"));
        assert!(bytes(&tensor(&[i32::MAX, i32::MAX, i32::MAX])).unwrap_err().to_string().contains("larger"));
        assert!(open("s".to_owned(), 5, &[1], None).unwrap_err().to_string().contains("number 5"));
    }

    #[test]
    fn shapes_asked_for_must_fit() {
        let info = open("x".to_owned(), 1, &[1, -1], None).unwrap();
        assert_eq!(wanted(&info, &[1, 7]).unwrap(), [1, 7]);
        for bad in [&[7u64][..], &[1, 0], &[1, u64::MAX]] {
            assert!(wanted(&info, bad).unwrap_err().to_string().contains("\"x\""));
        }
    }

    #[test]
    fn types_have_one_number_each() {
        for (known, dtype) in TYPES {
            assert_eq!((number(*dtype), super::dtype(*known, "").unwrap()), (*known, *dtype));
        }
    }

    #[test]
    fn no_scale_is_no_quantisation() {
        assert_eq!(quantization(Vec::new(), &[], 0), None);
        assert_eq!(quantization(vec![0.0], &[0], 0), None);
        let q = quantization(vec![0.5, 0.25], &[i64::MAX, -3], 3).unwrap();
        assert_eq!((q.zero_point, q.axis), (vec![i32::MAX, -3], 3));
    }
}
