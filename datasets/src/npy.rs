//! One array of an .npy file: header, then rows, read one by one so that only the examples that are
//! wanted are ever held. Nothing is allocated on the word of a header alone.

use crate::{
    MAX_EXAMPLES, MAX_TENSOR_BYTES,
    dataset::{Encoded, sizes},
    file::io_words,
    preprocess::to_f32,
};
use npyz::{DType as NpyType, Endianness, NpyHeader, Order, TypeChar};
use protocol::DType;
use std::io::{Cursor, Read};

/// Longest header: numpy's own limit.
const MAX_HEADER_BYTES: usize = 10_000;

/// Most brackets in a header. A plain array has three pairs; the parser behind this recurses.
const MAX_BRACKETS: usize = 16;

/// Most dimensions, as in numpy.
const MAX_RANK: usize = 32;

/// Longest text in an array of names, in characters.
const MAX_TEXT: u64 = 4096;

/// What the elements are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Element {
    Number(DType),
    /// Characters of 4 bytes, up to so many.
    Unicode(usize),
    /// Bytes, up to so many.
    Bytes(usize),
}

/// An array whose header was read and whose rows follow.
pub(crate) struct Array<R> {
    element: Element,
    /// Without the first dimension.
    row: Vec<u64>,
    rows: u64,
    reader: R,
}

impl<R: Read> Array<R> {
    /// Reads the header. `size` is that of the whole file, as far as the file system or archive knows. The
    /// error is the problem alone; the caller knows the file and key.
    pub(crate) fn open(mut reader: R, size: u64) -> Result<Self, String> {
        let (header, header_bytes) = read_header(&mut reader)?;
        let element = element_of(&header)?;
        if header.order() == Order::Fortran && header.shape().len() > 1 {
            return Err(
                "is stored column by column (Fortran order): save numpy.ascontiguousarray(...)".to_owned()
            );
        }
        let Some((&rows, row)) = header.shape().split_first() else {
            return Err("is a single number: the first dimension must count examples".to_owned());
        };
        if rows > MAX_EXAMPLES {
            return Err(format!("has {rows} examples, more than the limit of {MAX_EXAMPLES}"));
        }
        if header.shape().len() > MAX_RANK {
            return Err(format!("has more than {MAX_RANK} dimensions"));
        }
        let bytes =
            row.iter().try_fold(element.size(), |n, d| n.checked_mul(*d)).filter(|n| *n <= MAX_TENSOR_BYTES);
        let Some(row_bytes) = bytes else {
            return Err(format!("an example of {} elements is beyond the limit", sizes(row)));
        };
        if rows.saturating_mul(row_bytes) > size.saturating_sub(header_bytes) {
            return Err(format!("ends too early for {}: it is truncated", sizes(header.shape())));
        }
        if row_bytes == 0 {
            return Err("has an empty dimension: there is nothing to feed".to_owned());
        }
        Ok(Self { element, row: row.to_vec(), rows, reader })
    }

    pub(crate) fn rows(&self) -> u64 {
        self.rows
    }

    /// The dimensions of an example.
    pub(crate) fn row(&self) -> &[u64] {
        &self.row
    }

    fn row_bytes(&self) -> u64 {
        self.row.iter().product::<u64>() * self.element.size()
    }

    /// Calls `each` with the rows at the positions of `wanted`, which ascend.
    pub(crate) fn for_rows(
        mut self,
        wanted: impl Iterator<Item = u64>,
        mut each: impl FnMut(u64, Encoded) -> Result<(), String>,
    ) -> Result<(), String> {
        let Element::Number(dtype) = self.element else {
            return Err("holds text: numbers are needed here".to_owned());
        };
        let row_bytes = self.row_bytes();
        let mut position = 0;
        for index in wanted {
            let skipped = index.saturating_sub(position).saturating_mul(row_bytes);
            std::io::copy(&mut (&mut self.reader).take(skipped), &mut std::io::sink())
                .map_err(|e| io_words(&e))?;
            let bytes = self.read(row_bytes)?;
            position = index + 1;
            each(index, Encoded { dtype, shape: self.row.clone(), bytes })?;
        }
        Ok(())
    }

    /// All rows as class indices.
    pub(crate) fn into_labels(mut self) -> Result<Vec<u32>, String> {
        if self.row.iter().product::<u64>() != 1 {
            let shape = sizes(&self.row);
            return Err(format!(
                "has {shape} numbers per example: one class index is needed (argmax of one-hot rows)"
            ));
        }
        let Element::Number(dtype) = self.element else {
            return Err("holds text: class indices are needed".to_owned());
        };
        if matches!(dtype, DType::F16 | DType::BF16 | DType::F32 | DType::F64 | DType::Bool) {
            return Err(format!("is {dtype}: class indices must be integers"));
        }
        let bytes = self.read(self.rows.saturating_mul(self.row_bytes()))?;
        let wide = bytes.chunks_exact(dtype.size()).map(|b| integer(dtype, b));
        let label = |(row, value): (usize, i128)| {
            u32::try_from(value).map_err(|_| format!("row {row}: the label {value} is not a class index"))
        };
        wide.enumerate().map(label).collect()
    }

    /// All rows as numbers, one per example.
    pub(crate) fn into_numbers(mut self) -> Result<Vec<f64>, String> {
        if self.row.iter().product::<u64>() != 1 {
            return Err(format!("has {} numbers per example: one is needed", sizes(&self.row)));
        }
        let Element::Number(dtype) = self.element else {
            return Err("holds text: numbers are needed".to_owned());
        };
        let bytes = self.read(self.rows.saturating_mul(self.row_bytes()))?;
        let number = |b: &[u8]| match (dtype, <[u8; 8]>::try_from(b)) {
            (DType::F64, Ok(b)) => f64::from_le_bytes(b),
            (DType::F16 | DType::BF16 | DType::F32, _) => {
                to_f32(dtype, b).first().map_or(f64::NAN, |v| f64::from(*v))
            }
            _ => integer(dtype, b) as f64,
        };
        let values: Vec<f64> = bytes.chunks_exact(dtype.size()).map(number).collect();
        match values.iter().position(|v| !v.is_finite()) {
            Some(row) => Err(format!("row {row}: the label is not a finite number")),
            None => Ok(values),
        }
    }

    /// All rows as texts.
    pub(crate) fn into_names(mut self) -> Result<Vec<String>, String> {
        if !self.row.is_empty() {
            return Err(format!("has {} texts per example: one name is needed", sizes(&self.row)));
        }
        let bytes = self.read(self.rows.saturating_mul(self.row_bytes()))?;
        let text = |bytes: &[u8]| match self.element {
            Element::Unicode(_) => {
                let codes = bytes.as_chunks::<4>().0.iter().map(|b| u32::from_le_bytes(*b));
                codes
                    .take_while(|c| *c != 0)
                    .map(|c| char::from_u32(c).unwrap_or(char::REPLACEMENT_CHARACTER))
                    .collect()
            }
            _ => String::from_utf8_lossy(bytes.split(|b| *b == 0).next().unwrap_or_default()).into_owned(),
        };
        match self.element {
            Element::Number(dtype) => {
                let number = |b: &[u8]| integer(dtype, b).to_string();
                if matches!(dtype, DType::F16 | DType::BF16 | DType::F32 | DType::F64 | DType::Bool) {
                    return Err(format!("is {dtype}: names must be texts or integers"));
                }
                Ok(bytes.chunks_exact(dtype.size()).map(number).collect())
            }
            element => Ok(bytes.chunks_exact(element.size() as usize).map(text).collect()),
        }
    }

    /// Exactly so many bytes; memory grows with what is really there.
    fn read(&mut self, count: u64) -> Result<Vec<u8>, String> {
        let mut bytes = Vec::new();
        (&mut self.reader).take(count).read_to_end(&mut bytes).map_err(|e| io_words(&e))?;
        if bytes.len() as u64 != count {
            return Err("ends too early: it is truncated".to_owned());
        }
        Ok(bytes)
    }
}

impl Element {
    fn size(self) -> u64 {
        match self {
            Self::Number(dtype) => dtype.size() as u64,
            Self::Unicode(count) => 4 * count as u64,
            Self::Bytes(count) => count as u64,
        }
    }
}

/// The header, and how many bytes it takes.
fn read_header(reader: &mut impl Read) -> Result<(NpyHeader, u64), String> {
    let mut fixed = [0u8; 8];
    reader.read_exact(&mut fixed).map_err(|_| "is not an .npy array: it is too short".to_owned())?;
    if !fixed.starts_with(b"\x93NUMPY") {
        return Err("is not an .npy array".to_owned());
    }
    let length_bytes = if fixed.get(6) == Some(&1) { 2 } else { 4 };
    let mut length = [0u8; 4];
    let field = length.get_mut(..length_bytes).unwrap_or_default();
    reader.read_exact(field).map_err(|e| io_words(&e))?;
    let mut text = fixed.to_vec();
    text.extend_from_slice(field);
    let length = u32::from_le_bytes(length) as usize;
    if length > MAX_HEADER_BYTES {
        return Err(format!("has a header of {length} bytes, more than the limit of {MAX_HEADER_BYTES}"));
    }
    let body = text.len();
    reader.take(length as u64).read_to_end(&mut text).map_err(|e| io_words(&e))?;
    if text.len() != body + length {
        return Err("ends within its header: it is truncated".to_owned());
    }
    if text.iter().filter(|b| matches!(b, b'(' | b'[' | b'{')).count() > MAX_BRACKETS {
        return Err("is a structured array: save each field as a plain array".to_owned());
    }
    let bytes = text.len() as u64;
    let header = NpyHeader::from_reader(Cursor::new(text)).map_err(|e| format!("has a bad header: {e}"))?;
    Ok((header, bytes))
}

fn element_of(header: &NpyHeader) -> Result<Element, String> {
    let NpyType::Plain(ty) = header.dtype() else {
        return Err("is a structured array: save each field as a plain array".to_owned());
    };
    let text = |size: u64| match size {
        0 => Err("holds empty texts".to_owned()),
        1..=MAX_TEXT => Ok(size as usize),
        _ => Err(format!("holds texts of {size} characters, more than the limit of {MAX_TEXT}")),
    };
    if ty.endianness() == Endianness::Big {
        return Err(format!("is big-endian ({ty}): save it with .astype(x.dtype.newbyteorder('<'))"));
    }
    let dtype = match (ty.type_char(), ty.size_field()) {
        (TypeChar::Float, 2) => DType::F16,
        (TypeChar::Float, 4) => DType::F32,
        (TypeChar::Float, 8) => DType::F64,
        (TypeChar::Int, 1) => DType::I8,
        (TypeChar::Int, 2) => DType::I16,
        (TypeChar::Int, 4) => DType::I32,
        (TypeChar::Int, 8) => DType::I64,
        (TypeChar::Uint, 1) => DType::U8,
        (TypeChar::Uint, 2) => DType::U16,
        (TypeChar::Uint, 4) => DType::U32,
        (TypeChar::Uint, 8) => DType::U64,
        (TypeChar::Bool, _) => DType::Bool,
        (TypeChar::UnicodeStr, size) => return text(size).map(Element::Unicode),
        (TypeChar::ByteStr, size) => return text(size).map(Element::Bytes),
        (TypeChar::Object, _) => return Err("holds Python objects: save a plain array of numbers".to_owned()),
        _ => return Err(format!("holds elements of type {ty}, which no model input has")),
    };
    Ok(Element::Number(dtype))
}

/// Little-endian integer of the given type; 0 for a float, which callers have excluded.
fn integer(dtype: DType, bytes: &[u8]) -> i128 {
    let signed = matches!(dtype, DType::I8 | DType::I16 | DType::I32 | DType::I64);
    let negative = signed && bytes.last().is_some_and(|b| b & 0x80 != 0);
    let mut wide = if negative { [0xff; 16] } else { [0; 16] };
    wide.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
    i128::from_le_bytes(wide)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// An .npy file with this header entry and these bytes.
    pub(crate) fn npy(descr: &str, shape: &str, data: &[u8]) -> Vec<u8> {
        npy_with_order(descr, shape, "False", data)
    }

    fn npy_with_order(descr: &str, shape: &str, fortran: &str, data: &[u8]) -> Vec<u8> {
        let text = format!("{{'descr': '{descr}', 'fortran_order': {fortran}, 'shape': ({shape}), }}\n");
        let mut file = b"\x93NUMPY\x01\x00".to_vec();
        file.extend((text.len() as u16).to_le_bytes());
        file.extend(text.bytes());
        file.extend(data);
        file
    }

    fn open(file: &[u8]) -> Result<Array<&[u8]>, String> {
        Array::open(file, file.len() as u64)
    }

    fn problem(file: &[u8]) -> String {
        open(file).err().expect("refused")
    }

    #[test]
    fn wanted_rows_only() {
        let file = npy("<u2", "3, 2", &[1, 0, 2, 0, 3, 0, 4, 0, 5, 0, 6, 0]);
        let mut rows = Vec::new();
        let array = open(&file).unwrap();
        assert_eq!((array.rows(), array.row.as_slice()), (3, [2].as_slice()));
        let keep = |index, row: Encoded| {
            rows.push((index, row.bytes));
            Ok(())
        };
        array.for_rows([0, 2].into_iter(), keep).unwrap();
        assert_eq!(rows, [(0, vec![1, 0, 2, 0]), (2, vec![5, 0, 6, 0])]);
    }

    #[test]
    fn labels_are_checked_one_by_one() {
        assert_eq!(open(&npy("|u1", "2,", &[7, 255])).unwrap().into_labels(), Ok(vec![7, 255]));
        assert_eq!(open(&npy("<i8", "1, 1", &9i64.to_le_bytes())).unwrap().into_labels(), Ok(vec![9]));
        let negative = open(&npy("|i1", "2,", &[0, 0xff])).unwrap().into_labels().unwrap_err();
        assert!(negative.contains("row 1: the label -1"), "{negative}");
        let one_hot = open(&npy("|u1", "1, 3", &[0, 1, 0])).unwrap().into_labels().unwrap_err();
        assert!(one_hot.contains("argmax"), "{one_hot}");
        let float = open(&npy("<f4", "1,", &[0; 4])).unwrap().into_labels().unwrap_err();
        assert!(float.contains("must be integers"), "{float}");
    }

    #[test]
    fn names_are_texts() {
        let unicode = [b'a', 0, 0, 0, 0xe9, 0, 0, 0, b'b', 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(open(&npy("<U2", "2,", &unicode)).unwrap().into_names().unwrap(), ["aé", "b"]);
        assert_eq!(open(&npy("|S2", "2,", b"xyz\0")).unwrap().into_names().unwrap(), ["xy", "z"]);
        assert_eq!(open(&npy("<i2", "1,", &[5, 0])).unwrap().into_names().unwrap(), ["5"]);
    }

    #[test]
    fn what_cannot_be_read_says_why() {
        for (file, words) in [
            (b"PK".to_vec(), "not an .npy array"),
            (npy("<f4", "", &[0; 4]), "single number"),
            (npy("<f4", "2, 2", &[0; 12]), "truncated"),
            (npy("<f4", "0, 2", &[])[..20].to_vec(), "truncated"),
            (npy("<f4", "2, 0", &[]), "empty dimension"),
            (npy(">f4", "1,", &[0; 4]), "big-endian"),
            (npy("|O", "1,", &[0; 8]), "Python objects"),
            (npy("<c8", "1,", &[0; 8]), "no model input has"),
            (npy_with_order("<f4", "2, 2", "True", &[0; 16]), "ascontiguousarray"),
            (npy("<f4", "2000000, 1", &[]), "more than the limit"),
            (npy("<f4", "1, 99999999999, 99999999999", &[]), "beyond the limit"),
            (npy("<f4", &"(".repeat(9000), &[]), "structured"),
            (
                [b"\x93NUMPY\x02\x00".as_slice(), &u32::MAX.to_le_bytes()].concat(),
                "more than the limit of 10000",
            ),
        ] {
            let problem = problem(&file);
            assert!(problem.contains(words), "{words}: {problem}");
        }
    }
}
