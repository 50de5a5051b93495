//! Attributes of custom operators: a map of a schemaless format, read backwards from its last byte. Every
//! position is checked; what is not as it should be is not there.

/// A map of attributes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Map<'a> {
    bytes: &'a [u8],
    /// Where the values begin.
    at: usize,
    width: usize,
    len: usize,
}

/// A value: where it is, how wide, and of what type.
#[derive(Clone, Copy)]
struct Value<'a> {
    bytes: &'a [u8],
    at: usize,
    width: usize,
    kind: u8,
}

/// Longest vector or map that is read.
const MAX_LEN: u64 = 1 << 16;

mod kind {
    pub(super) const INT: u8 = 1;
    pub(super) const UINT: u8 = 2;
    pub(super) const FLOAT: u8 = 3;
    pub(super) const INDIRECT_INT: u8 = 6;
    pub(super) const INDIRECT_UINT: u8 = 7;
    pub(super) const INDIRECT_FLOAT: u8 = 8;
    pub(super) const MAP: u8 = 9;
    pub(super) const VECTOR_INT: u8 = 11;
    pub(super) const VECTOR_UINT: u8 = 12;
    pub(super) const BOOL: u8 = 26;
}

/// An unsigned number of 1, 2, 4 or 8 bytes.
fn unsigned(bytes: &[u8], at: usize, width: usize) -> Option<u64> {
    let part = bytes.get(at..at.checked_add(width)?)?;
    Some(part.iter().rev().fold(0, |n, b| n << 8 | u64::from(*b)))
}

fn signed(bytes: &[u8], at: usize, width: usize) -> Option<i64> {
    let shift = 64 - 8 * u32::try_from(width).ok()?;
    Some((unsigned(bytes, at, width)? << shift).cast_signed() >> shift)
}

fn size(bytes: &[u8], at: usize, width: usize) -> Option<usize> {
    usize::try_from(unsigned(bytes, at, width)?).ok()
}

impl<'a> Map<'a> {
    /// The map that the bytes are.
    pub(super) fn read(bytes: &'a [u8]) -> Option<Self> {
        let (&[kind, width], rest) = (bytes.last_chunk::<2>()?, bytes.len() - 2);
        let width = usize::from(width);
        if ![1, 2, 4, 8].contains(&width) || kind >> 2 != kind::MAP {
            return None;
        }
        let root = Value { bytes, at: rest.checked_sub(width)?, width, kind: kind >> 2 };
        let (at, width) = (root.target()?, 1 << (kind & 3));
        let len = unsigned(bytes, at.checked_sub(width)?, width).filter(|n| *n <= MAX_LEN)?;
        Some(Self { bytes, at, width, len: usize::try_from(len).ok()? })
    }

    fn get(&self, name: &str) -> Option<Value<'a>> {
        let keys = self.at.checked_sub(3 * self.width)?;
        let keys_width = size(self.bytes, keys + self.width, self.width)?;
        let keys = keys.checked_sub(size(self.bytes, keys, self.width)?)?;
        if ![1, 2, 4, 8].contains(&keys_width) {
            return None;
        }
        let is_named = |i: &usize| {
            let at = keys + i * keys_width;
            let text = size(self.bytes, at, keys_width).and_then(|offset| at.checked_sub(offset));
            let text = text.and_then(|at| self.bytes.get(at..));
            text.is_some_and(|t| t.starts_with(name.as_bytes()) && t.get(name.len()) == Some(&0))
        };
        let index = (0..self.len).find(is_named)?;
        let packed = *self.bytes.get(self.at + self.len * self.width + index)?;
        let at = self.at + index * self.width;
        let value = Value { bytes: self.bytes, at, width: self.width, kind: packed >> 2 };
        Some(match value.kind {
            kind::INDIRECT_INT | kind::INDIRECT_UINT | kind::INDIRECT_FLOAT => {
                Value { at: value.target()?, width: 1 << (packed & 3), kind: value.kind - 5, ..value }
            }
            kind::VECTOR_INT | kind::VECTOR_UINT => {
                Value { at: value.target()?, width: 1 << (packed & 3), ..value }
            }
            _ => value,
        })
    }

    /// An integer, or a truth as one.
    pub(super) fn integer(&self, name: &str) -> Option<i64> {
        self.get(name)?.integer()
    }

    /// A number.
    pub(super) fn number(&self, name: &str) -> Option<f32> {
        let value = self.get(name)?;
        if value.kind != kind::FLOAT {
            return value.integer().map(|v| v as f32);
        }
        let bits = unsigned(value.bytes, value.at, value.width)?;
        let number = match value.width {
            4 => f32::from_bits(u32::try_from(bits).ok()?),
            8 => f64::from_bits(bits) as f32,
            _ => return None,
        };
        number.is_finite().then_some(number)
    }

    /// A list of integers.
    pub(super) fn integers(&self, name: &str) -> Option<Vec<i64>> {
        let list = self.get(name)?;
        let element = match list.kind {
            kind::VECTOR_INT => kind::INT,
            kind::VECTOR_UINT => kind::UINT,
            _ => return None,
        };
        let before = list.at.checked_sub(list.width)?;
        let len = unsigned(list.bytes, before, list.width).filter(|n| *n <= MAX_LEN)?;
        let at = |i: usize| Value { at: list.at + i * list.width, kind: element, ..list };
        (0..usize::try_from(len).ok()?).map(|i| at(i).integer()).collect()
    }
}

impl Value<'_> {
    /// What an offset stands for.
    fn target(&self) -> Option<usize> {
        self.at.checked_sub(size(self.bytes, self.at, self.width)?)
    }

    fn integer(&self) -> Option<i64> {
        match self.kind {
            kind::INT => signed(self.bytes, self.at, self.width),
            kind::UINT | kind::BOOL => i64::try_from(unsigned(self.bytes, self.at, self.width)?).ok(),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// {"a": [-3, 300], "b": 7, "c": 1.5, "d": true}
    const BYTES: &[u8] = &[
        97, 0, 2, 0, 253, 255, 44, 1, 98, 0, 99, 0, 100, 0, 4, 15, 8, 7, 6, 0, 5, 0, 0, 0, 1, 0, 0, 0, 4, 0,
        0, 0, 28, 0, 0, 0, 7, 0, 0, 0, 0, 0, 192, 63, 1, 0, 0, 0, 45, 6, 14, 106, 20, 38, 1,
    ];

    #[test]
    fn values_are_read_by_name() {
        let map = Map::read(BYTES).unwrap();
        assert_eq!(map.integers("a"), Some(vec![-3, 300]));
        assert_eq!((map.integer("b"), map.number("b")), (Some(7), Some(7.0)));
        assert_eq!((map.integer("c"), map.number("c"), map.integer("d")), (None, Some(1.5), Some(1)));
        assert_eq!((map.integer("e"), map.integers("b"), map.number("a")), (None, None, None));
    }

    #[test]
    fn what_is_not_there_is_not_there() {
        for cut in 0..BYTES.len() {
            for end in [&BYTES[..cut], &BYTES[cut..]] {
                if let Some(map) = Map::read(end) {
                    for name in ["a", "b", "c", "d"] {
                        assert!(map.integers(name).is_none_or(|all| all.len() < 1 << 17));
                        assert!(map.number(name).is_none_or(|v| v.is_finite()));
                    }
                }
            }
        }
        assert!(Map::read(&[]).is_none());
    }
}
