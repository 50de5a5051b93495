//! Protocol Buffers wire format, read in place: fields of one message, one after the other.
//!
//! Knows nothing of ONNX. Copies nothing and allocates nothing, so a hostile file costs no more memory than
//! it has bytes; nested messages are slices that the caller opens when it wants to, and the caller bounds the
//! depth.

use thiserror::Error;

/// Why bytes are not a Protocol Buffers message. Offsets count from the start of the file.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(super) enum WireError {
    /// The message ends inside a field.
    #[error("truncated: the field at byte {at} needs {needed} bytes, {left} are left")]
    Truncated {
        /// Where the field's payload starts.
        at: usize,
        /// Bytes it needs.
        needed: u64,
        /// Bytes there are.
        left: usize,
    },
    /// A variable-length integer of more than 64 bits.
    #[error("not a protobuf message: the integer at byte {at} is longer than 10 bytes")]
    Varint {
        /// Where it starts.
        at: usize,
    },
    /// Groups (wire types 3 and 4) are not part of ONNX; types 6 and 7 do not exist.
    #[error("not an ONNX message: wire type {wire_type} at byte {at}")]
    WireType {
        /// Where the field's key starts.
        at: usize,
        /// The type found.
        wire_type: u8,
    },
    /// Field number 0, or above 2^29 − 1.
    #[error("not a protobuf message: field number {number} at byte {at}")]
    FieldNumber {
        /// Where the field's key starts.
        at: usize,
        /// The number found.
        number: u64,
    },
    /// A field of another wire type than its definition says.
    #[error("field {number} of {message} has the wrong wire type")]
    Mismatch {
        /// The message's name in onnx.proto.
        message: &'static str,
        /// The field's number.
        number: u32,
    },
    /// A text field that is not UTF-8.
    #[error("field {number} of {message} is not UTF-8")]
    Text {
        /// The message's name in onnx.proto.
        message: &'static str,
        /// The field's number.
        number: u32,
    },
}

/// The payload of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Value<'a> {
    /// Wire type 0.
    Varint(u64),
    /// Wire type 1.
    Fixed64(u64),
    /// Wire type 2: text, bytes, a nested message or packed numbers.
    Bytes(Bytes<'a>),
    /// Wire type 5.
    Fixed32(u32),
}

/// A part of the file that remembers where it lies in it, for messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bytes<'a> {
    /// The bytes.
    pub(super) data: &'a [u8],
    /// Offset of the first of them in the file.
    pub(super) at: usize,
}

/// One field of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Field<'a> {
    /// The field's number.
    pub(super) number: u32,
    /// Its payload.
    pub(super) value: Value<'a>,
}

/// Iterator over the fields of one message; ends after the first error.
#[derive(Clone, Debug)]
pub(super) struct Fields<'a> {
    bytes: Bytes<'a>,
    position: usize,
    failed: bool,
}

impl<'a> Bytes<'a> {
    /// A whole file.
    pub(super) fn file(data: &'a [u8]) -> Self {
        Self { data, at: 0 }
    }

    /// The fields of the message that these bytes are.
    pub(super) fn fields(self) -> Fields<'a> {
        Fields { bytes: self, position: 0, failed: false }
    }
}

impl<'a> Fields<'a> {
    fn next_field(&mut self) -> Result<Field<'a>, WireError> {
        let at = self.bytes.at + self.position;
        let key = self.varint()?;
        let number = key >> 3;
        if number == 0 || number >= 1 << 29 {
            return Err(WireError::FieldNumber { at, number });
        }
        let value = match (key & 7) as u8 {
            0 => Value::Varint(self.varint()?),
            1 => Value::Fixed64(u64::from_le_bytes(self.array()?)),
            2 => {
                let length = self.varint()?;
                Value::Bytes(self.take(length)?)
            }
            5 => Value::Fixed32(u32::from_le_bytes(self.array()?)),
            wire_type => return Err(WireError::WireType { at, wire_type }),
        };
        Ok(Field { number: number as u32, value })
    }

    fn take(&mut self, length: u64) -> Result<Bytes<'a>, WireError> {
        let at = self.bytes.at + self.position;
        let rest = self.bytes.data.get(self.position..).unwrap_or_default();
        let data = usize::try_from(length)
            .ok()
            .and_then(|length| rest.get(..length))
            .ok_or(WireError::Truncated { at, needed: length, left: rest.len() })?;
        self.position += data.len();
        Ok(Bytes { data, at })
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        let bytes = self.take(N as u64)?;
        Ok(bytes.data.try_into().expect("take returned N bytes"))
    }

    fn varint(&mut self) -> Result<u64, WireError> {
        let at = self.bytes.at + self.position;
        let rest = self.bytes.data.get(self.position..).unwrap_or_default();
        let (value, used) = read_varint(rest, at)?;
        self.position += used;
        Ok(value)
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<Field<'a>, WireError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed || self.position >= self.bytes.data.len() {
            return None;
        }
        let field = self.next_field();
        self.failed = field.is_err();
        Some(field)
    }
}

/// The integer at the start of `bytes`, and how many bytes it takes.
fn read_varint(bytes: &[u8], at: usize) -> Result<(u64, usize), WireError> {
    let mut value = 0u64;
    for (index, byte) in bytes.iter().take(10).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * index as u32);
        if byte & 0x80 == 0 {
            return Ok((value, index + 1));
        }
    }
    if bytes.len() >= 10 {
        return Err(WireError::Varint { at });
    }
    Err(WireError::Truncated { at, needed: bytes.len() as u64 + 1, left: bytes.len() })
}

/// Iterator over packed variable-length integers.
#[derive(Clone, Debug)]
pub(super) struct PackedVarints<'a> {
    bytes: Bytes<'a>,
}

impl<'a> PackedVarints<'a> {
    /// The integers packed in `bytes`.
    pub(super) fn new(bytes: Bytes<'a>) -> Self {
        Self { bytes }
    }
}

impl Iterator for PackedVarints<'_> {
    type Item = Result<u64, WireError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.bytes.data.is_empty() {
            return None;
        }
        match read_varint(self.bytes.data, self.bytes.at) {
            Ok((value, used)) => {
                self.bytes =
                    Bytes { data: self.bytes.data.get(used..).unwrap_or_default(), at: self.bytes.at + used };
                Some(Ok(value))
            }
            Err(error) => {
                self.bytes.data = &[];
                Some(Err(error))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(data: &[u8]) -> Result<Vec<Field<'_>>, WireError> {
        Bytes::file(data).fields().collect()
    }

    #[test]
    fn reads_every_wire_type() {
        let data = [
            0x08, 0xac, 0x02, // 1: varint 300
            0x11, 1, 0, 0, 0, 0, 0, 0, 0, // 2: fixed64 1
            0x1a, 2, b'h', b'i', // 3: bytes
            0x25, 0, 0, 0x80, 0x3f, // 4: fixed32, the bits of 1.0f32
        ];
        let got = fields(&data).unwrap();
        assert_eq!(got.iter().map(|f| f.number).collect::<Vec<_>>(), [1, 2, 3, 4]);
        assert_eq!(got[0].value, Value::Varint(300));
        assert_eq!(got[1].value, Value::Fixed64(1));
        assert_eq!(got[2].value, Value::Bytes(Bytes { data: b"hi", at: 14 }));
        assert_eq!(got[3].value, Value::Fixed32(1f32.to_bits()));
    }

    #[test]
    fn negative_integers_take_ten_bytes() {
        let mut data = vec![0x08];
        data.extend([0xff; 9]);
        data.push(0x01);
        assert_eq!(fields(&data).unwrap()[0].value, Value::Varint(-1i64 as u64));
    }

    #[test]
    fn refuses_what_is_not_protobuf() {
        assert_eq!(fields(&[0x0b]), Err(WireError::WireType { at: 0, wire_type: 3 }));
        assert_eq!(fields(&[0x0f]), Err(WireError::WireType { at: 0, wire_type: 7 }));
        assert_eq!(fields(&[0x00, 0x00]), Err(WireError::FieldNumber { at: 0, number: 0 }));
        assert_eq!(fields(&[0x08, 0x80]), Err(WireError::Truncated { at: 1, needed: 2, left: 1 }));
        assert_eq!(fields(&[0xff; 11]), Err(WireError::Varint { at: 0 }));
        let huge = [0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f];
        assert_eq!(fields(&huge), Err(WireError::Truncated { at: 10, needed: (1 << 63) - 1, left: 0 }));
    }

    #[test]
    fn an_error_ends_the_iteration() {
        let mut all = Bytes::file(&[0x08, 0x01, 0x0b, 0x08, 0x01]).fields();
        assert!(all.next().unwrap().is_ok());
        assert!(all.next().unwrap().is_err());
        assert!(all.next().is_none());
    }

    #[test]
    fn packed_integers() {
        let all: Result<Vec<u64>, _> = PackedVarints::new(Bytes::file(&[1, 0xac, 0x02, 3])).collect();
        assert_eq!(all.unwrap(), [1, 300, 3]);
        let cut: Vec<_> = PackedVarints::new(Bytes::file(&[1, 0xac])).collect();
        assert_eq!(cut.len(), 2);
        assert!(cut[1].is_err());
    }
}
