//! TensorProto: constants. Decodes every way the format has to store numbers to little-endian bytes.
//!
//! The size of a constant comes from its data, never from its shape alone: a shape that does not fit the data
//! is refused before anything is allocated.

use super::external::{ExternalData, ExternalRef};
use super::proto::{ProtoError, int, nested, push_ints, text};
use super::wire::{Bytes, Value, WireError};
use crate::builtin::limits;
use crate::{Error, Result};
use protocol::DType;
use std::borrow::Cow;

/// A constant, its data unread.
#[derive(Clone, Debug, Default)]
pub(super) struct Tensor<'a> {
    /// Its name; empty for an attribute's tensor.
    pub(super) name: &'a str,
    /// Element type by its number in onnx.proto.
    pub(super) data_type: i32,
    /// Dimensions as stored.
    pub(super) dims: Vec<i64>,
    raw: Option<&'a [u8]>,
    external: Option<ExternalRef<'a>>,
    message: Option<Bytes<'a>>,
}

/// The element type that onnx.proto numbers so, if it is one that we calculate with.
pub(crate) fn element_type(data_type: i32) -> Option<DType> {
    Some(match data_type {
        1 => DType::F32,
        2 => DType::U8,
        3 => DType::I8,
        4 => DType::U16,
        5 => DType::I16,
        6 => DType::I32,
        7 => DType::I64,
        9 => DType::Bool,
        10 => DType::F16,
        11 => DType::F64,
        12 => DType::U32,
        13 => DType::U64,
        16 => DType::BF16,
        _ => return None,
    })
}

/// The name onnx.proto gives a data type.
pub(super) fn element_type_name(data_type: i32) -> String {
    const NAMES: [&str; 24] = [
        "UNDEFINED",
        "FLOAT",
        "UINT8",
        "INT8",
        "UINT16",
        "INT16",
        "INT32",
        "INT64",
        "STRING",
        "BOOL",
        "FLOAT16",
        "DOUBLE",
        "UINT32",
        "UINT64",
        "COMPLEX64",
        "COMPLEX128",
        "BFLOAT16",
        "FLOAT8E4M3FN",
        "FLOAT8E4M3FNUZ",
        "FLOAT8E5M2",
        "FLOAT8E5M2FNUZ",
        "UINT4",
        "INT4",
        "FLOAT4E2M1",
    ];
    let known = usize::try_from(data_type).ok().and_then(|index| NAMES.get(index));
    known.map_or_else(|| format!("number {data_type}"), |name| (*name).to_owned())
}

impl<'a> Tensor<'a> {
    const MESSAGE: &'static str = "TensorProto";

    /// Reads everything but the numbers.
    pub(super) fn parse(bytes: Bytes<'a>) -> std::result::Result<Self, ProtoError> {
        let mut tensor = Self { message: Some(bytes), ..Self::default() };
        let mut external = ExternalRef::default();
        let mut elsewhere = false;
        for field in bytes.fields() {
            let field = field?;
            match field.number {
                1 => push_ints(field, Self::MESSAGE, &mut tensor.dims)?,
                2 => tensor.data_type = i32::try_from(int(field, Self::MESSAGE)?).unwrap_or(-1),
                8 => tensor.name = text(field, Self::MESSAGE)?,
                9 => tensor.raw = Some(nested(field, Self::MESSAGE)?.data),
                13 => external.read_entry(nested(field, Self::MESSAGE)?)?,
                14 => elsewhere = int(field, Self::MESSAGE)? == 1,
                _ => {}
            }
        }
        tensor.external = elsewhere.then_some(external);
        Ok(tensor)
    }

    /// The element type.
    ///
    /// # Errors
    /// One that we do not calculate with: strings, complex numbers, 8-bit floats, 4-bit integers.
    pub(super) fn dtype(&self) -> Result<DType> {
        element_type(self.data_type).ok_or_else(|| {
            let name = element_type_name(self.data_type);
            Error::Unsupported(format!("tensor `{}`: element type {name}", self.name))
        })
    }

    /// The file beside the model that holds the numbers, if one does.
    #[cfg(feature = "dlopen")]
    pub(super) fn location(&self) -> Option<&'a str> {
        self.external.map(|external| external.location())
    }

    /// The dimensions.
    ///
    /// # Errors
    /// Negative, too many or too large.
    pub(super) fn shape(&self) -> Result<Vec<usize>> {
        let shape: Option<Vec<usize>> = self.dims.iter().map(|dim| usize::try_from(*dim).ok()).collect();
        let shape = shape.ok_or_else(|| {
            Error::ModelInvalid(format!("tensor `{}`: a negative dimension in {:?}", self.name, self.dims))
        })?;
        limits::elements(&shape).map_err(|error| error.at(&format!("tensor `{}`", self.name)))?;
        Ok(shape)
    }

    /// The numbers as little-endian bytes, exactly as many as shape and element type need.
    ///
    /// # Errors
    /// As [`Tensor::dtype`] and [`Tensor::shape`]; less or more data than they need; data in a second file
    /// that cannot be had.
    pub(super) fn data(&self, external: &ExternalData) -> Result<Cow<'a, [u8]>> {
        let place = || format!("tensor `{}`", self.name);
        let dtype = self.dtype()?;
        let expected = limits::bytes(&self.shape()?, dtype.size()).map_err(|error| error.at(&place()))?;
        let data = match (&self.external, self.raw) {
            (Some(reference), _) => {
                Cow::Owned(external.read(reference, expected).map_err(|e| e.at(&place()))?)
            }
            (None, Some(raw)) => Cow::Borrowed(raw),
            (None, None) => Cow::Owned(self.typed(dtype).map_err(|e| Error::from(e).at(&place()))?),
        };
        if data.len() != expected {
            return Err(Error::ModelInvalid(format!(
                "{}: {} bytes of data, its shape and element type need {expected}",
                place(),
                data.len()
            )));
        }
        Ok(data)
    }

    /// The numbers out of the fields that onnx.proto has for each element type.
    fn typed(&self, dtype: DType) -> std::result::Result<Vec<u8>, ProtoError> {
        let number = match dtype {
            DType::F32 => 4,
            DType::I64 => 7,
            DType::F64 => 10,
            DType::U32 | DType::U64 => 11,
            _ => 5,
        };
        let mut data = Vec::new();
        let mut numbers = Vec::new();
        for field in self.message.into_iter().flat_map(Bytes::fields) {
            let field = field?;
            match (field.value, dtype) {
                _ if field.number != number => {}
                (Value::Bytes(packed), DType::F32 | DType::F64) => data.extend(packed.data),
                (Value::Fixed32(bits), DType::F32) => data.extend(bits.to_le_bytes()),
                (Value::Fixed64(bits), DType::F64) => data.extend(bits.to_le_bytes()),
                (_, DType::F32 | DType::F64) => {
                    return Err(WireError::Mismatch { message: Self::MESSAGE, number }.into());
                }
                _ => {
                    push_ints(field, Self::MESSAGE, &mut numbers)?;
                    data.extend(
                        numbers.drain(..).flat_map(|n| n.to_le_bytes().into_iter().take(dtype.size())),
                    );
                }
            }
        }
        Ok(data)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Message, tensor};
    use super::*;

    fn data(message: Message) -> Result<Vec<u8>> {
        let bytes = message.into_bytes();
        let tensor = Tensor::parse(Bytes::file(&bytes)).unwrap();
        tensor.data(&ExternalData::none()).map(Cow::into_owned)
    }

    #[test]
    fn raw_data() {
        assert_eq!(data(tensor("w", 3, &[2, 1], &[1, 255])).unwrap(), [1, 255]);
    }

    #[test]
    fn typed_data_packed_or_not() {
        let header = |data_type| Message::new().int(1, 2).int(2, data_type);
        let floats = [0, 0, 0x80, 0x3f, 0, 0, 0, 0xc0];
        assert_eq!(data(header(1).bytes(4, &floats)).unwrap(), floats);
        assert_eq!(data(header(1).float(4, 1.0).float(4, -2.0)).unwrap(), floats);
        assert_eq!(data(header(3).int(5, -1).int(5, 7)).unwrap(), [255, 7]);
        assert_eq!(data(header(10).bytes(5, &[0x80, 0x78, 1])).unwrap(), [0x00, 0x3c, 1, 0]);
        let wide = [9, 0, 0, 0, 0, 0, 0, 0, 255, 255, 255, 255, 255, 255, 255, 255];
        assert_eq!(data(header(7).int(7, 9).int(7, -1)).unwrap(), wide);
        assert_eq!(data(header(12).int(11, 5).int(11, 6)).unwrap(), [5, 0, 0, 0, 6, 0, 0, 0]);
    }

    #[test]
    fn a_scalar_has_no_dimensions() {
        assert_eq!(data(tensor("s", 2, &[], &[5])).unwrap(), [5]);
        assert_eq!(data(tensor("e", 1, &[0, 5], &[])).unwrap(), [0u8; 0]);
    }

    #[test]
    fn shape_and_data_must_agree() {
        let error = data(tensor("w", 1, &[3], &[0; 8])).unwrap_err();
        assert!(
            error.to_string().contains("`w`: 8 bytes of data, its shape and element type need 12"),
            "{error}"
        );
        for dims in [&[-1][..], &[1 << 62, 1 << 62], &[0, 1 << 62, 1 << 62], &[1; 17]] {
            assert!(data(tensor("w", 1, dims, &[])).is_err(), "{dims:?}");
        }
    }

    #[test]
    fn names_the_element_type_it_cannot_read() {
        let error = data(tensor("t", 8, &[1], &[])).unwrap_err();
        assert_eq!(error.to_string(), "not supported: tensor `t`: element type STRING");
        let error = data(tensor("t", 99, &[1], &[])).unwrap_err();
        assert_eq!(error.to_string(), "not supported: tensor `t`: element type number 99");
    }
}
