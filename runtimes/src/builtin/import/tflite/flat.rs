//! Bounded access to a FlatBuffer: tables, scalars, vectors, strings. Nothing is copied and nothing
//! is trusted: every offset is checked when it is followed, so a file can at worst be refused.
//! Knows nothing about the TFLite schema (that is `schema`), and never recurses.

use std::marker::PhantomData;

/// A place in the file where the structure does not hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} at byte {at} of the file does not fit into it (truncated or corrupt file)")]
pub(crate) struct Malformed {
    /// What was being read.
    what: &'static str,
    /// Where, in bytes from the start of the file.
    at: usize,
}

/// A little-endian number of fixed size.
pub(crate) trait Scalar: Copy {
    /// Bytes it takes.
    const SIZE: usize;
    /// Reads it from exactly [`Self::SIZE`] bytes; `None` when there are fewer.
    fn read(bytes: &[u8]) -> Option<Self>;
}

macro_rules! scalar {
    ($($t:ty),*) => { $(
        impl Scalar for $t {
            const SIZE: usize = size_of::<$t>();
            fn read(bytes: &[u8]) -> Option<Self> {
                bytes.first_chunk().map(|b| <$t>::from_le_bytes(*b))
            }
        }
    )* };
}
scalar!(u8, i8, u16, i16, u32, i32, u64, i64, f32);

/// A table: fields looked up by slot, absent ones have a default.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Table<'a> {
    file: &'a [u8],
    pos: usize,
    /// Field offsets, two bytes each.
    fields: &'a [u8],
}

impl<'a> Table<'a> {
    /// A table in which every field is absent.
    pub(crate) const EMPTY: Table<'static> = Table { file: &[], pos: 0, fields: &[] };

    /// The table that the file's first word points to.
    pub(crate) fn root(file: &'a [u8]) -> Result<Self, Malformed> {
        Self::behind(file, 0, "the root table")
    }

    /// Follows the offset stored at `at`.
    fn behind(file: &'a [u8], at: usize, what: &'static str) -> Result<Self, Malformed> {
        let pos = follow(file, at, what)?;
        let bad = || Malformed { what, at: pos };
        let back: i32 = read(file, pos, what)?;
        let vtable = i64::try_from(pos).ok().and_then(|p| p.checked_sub(i64::from(back)));
        let vtable = vtable.and_then(|v| usize::try_from(v).ok()).ok_or_else(bad)?;
        let size = usize::from(read::<u16>(file, vtable, what)?);
        let fields = vtable.checked_add(size).and_then(|end| file.get(vtable..end));
        let fields = fields.and_then(|v| v.get(4..)).ok_or_else(bad)?;
        Ok(Self { file, pos, fields })
    }

    /// Position of the field in `slot`, when present.
    fn field(&self, slot: usize) -> Option<usize> {
        let offset = u16::read(self.fields.get(slot * 2..)?)?;
        (offset != 0).then(|| self.pos + usize::from(offset))
    }

    /// The number in `slot`, or `default`.
    pub(crate) fn scalar<T: Scalar>(&self, slot: usize, default: T) -> Result<T, Malformed> {
        self.field(slot).map_or(Ok(default), |at| read(self.file, at, "a field"))
    }

    /// The flag in `slot`, or `default`.
    pub(crate) fn flag(&self, slot: usize, default: bool) -> Result<bool, Malformed> {
        Ok(self.scalar(slot, u8::from(default))? != 0)
    }

    /// The table in `slot`.
    pub(crate) fn table(&self, slot: usize) -> Result<Option<Table<'a>>, Malformed> {
        self.field(slot).map(|at| Table::behind(self.file, at, "a table")).transpose()
    }

    /// The vector of numbers in `slot`; an absent one is empty.
    pub(crate) fn vector<T: Scalar>(&self, slot: usize) -> Result<Vector<'a, T>, Malformed> {
        let bytes = match self.field(slot) {
            Some(at) => elements(self.file, at, T::SIZE)?.1,
            None => &[],
        };
        Ok(Vector { bytes, of: PhantomData })
    }

    /// The vector of tables in `slot`; an absent one is empty.
    pub(crate) fn tables(&self, slot: usize) -> Result<Tables<'a>, Malformed> {
        Ok(match self.field(slot) {
            Some(at) => {
                let (start, bytes) = elements(self.file, at, 4)?;
                Tables { file: self.file, start, len: bytes.len() / 4 }
            }
            None => Tables { file: self.file, start: 0, len: 0 },
        })
    }

    /// The bytes in `slot`: a byte vector or a string that nobody checked to be UTF-8.
    pub(crate) fn bytes(&self, slot: usize) -> Result<Option<&'a [u8]>, Malformed> {
        self.field(slot).map(|at| Ok(elements(self.file, at, 1)?.1)).transpose()
    }
}

/// A vector of numbers inside the file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Vector<'a, T> {
    bytes: &'a [u8],
    of: PhantomData<T>,
}

impl<'a, T: Scalar> Vector<'a, T> {
    /// Number of elements.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len() / T::SIZE
    }

    /// True without elements.
    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Element `index`, when there is one.
    pub(crate) fn get(&self, index: usize) -> Option<T> {
        T::read(self.bytes.get(index.checked_mul(T::SIZE)?..)?)
    }

    /// All elements in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = T> + use<'a, T> {
        self.bytes.chunks_exact(T::SIZE).filter_map(T::read)
    }
}

/// A vector of tables inside the file, each followed when asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tables<'a> {
    file: &'a [u8],
    start: usize,
    len: usize,
}

impl<'a> Tables<'a> {
    /// Number of tables.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// All tables in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Result<Table<'a>, Malformed>> + use<'a> {
        let (file, start) = (self.file, self.start);
        (0..self.len).map(move |i| Table::behind(file, start + i * 4, "a table"))
    }
}

/// The number at byte `at`.
fn read<T: Scalar>(file: &[u8], at: usize, what: &'static str) -> Result<T, Malformed> {
    file.get(at..).and_then(T::read).ok_or(Malformed { what, at })
}

/// The position that the offset stored at `at` points to.
fn follow(file: &[u8], at: usize, what: &'static str) -> Result<usize, Malformed> {
    let offset = read::<u32>(file, at, what)?;
    let target = usize::try_from(offset).ok().and_then(|o| at.checked_add(o));
    target.filter(|t| *t < file.len()).ok_or(Malformed { what, at })
}

/// Start and bytes of the vector, with elements of `size` bytes, that the offset at `at` points to.
fn elements(file: &[u8], at: usize, size: usize) -> Result<(usize, &[u8]), Malformed> {
    let what = "a vector";
    let head = follow(file, at, what)?;
    let count = usize::try_from(read::<u32>(file, head, what)?).ok();
    let start = head + 4;
    let bytes = count.and_then(|n| n.checked_mul(size)).and_then(|n| start.checked_add(n));
    let bytes = bytes.and_then(|end| file.get(start..end)).ok_or(Malformed { what, at: head })?;
    Ok((start, bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Root table at 12 (vtable at 4) with slot 0 = i32 7, slot 1 absent, slot 2 = vector [1, 2, 3] of u16.
    fn small() -> Vec<u8> {
        let mut f = Vec::new();
        f.extend(16u32.to_le_bytes());
        f.extend([10u16, 12, 4, 0, 8].iter().flat_map(|v| v.to_le_bytes()));
        f.extend([0; 2]);
        f.extend(12i32.to_le_bytes()); // table at 16: back 12 to 4
        f.extend(7i32.to_le_bytes());
        f.extend(4u32.to_le_bytes()); // slot 2 at 24 points to 28
        f.extend(3u32.to_le_bytes());
        f.extend([1u16, 2, 3].iter().flat_map(|v| v.to_le_bytes()));
        f
    }

    #[test]
    fn reads_fields_defaults_and_vectors() {
        let f = small();
        let t = Table::root(&f).unwrap();
        assert_eq!(t.scalar(0, 0i32).unwrap(), 7);
        assert_eq!(t.scalar(1, 5i32).unwrap(), 5);
        assert_eq!(t.scalar(100, 6i64).unwrap(), 6);
        let v = t.vector::<u16>(2).unwrap();
        assert_eq!(v.iter().collect::<Vec<_>>(), [1, 2, 3]);
        assert_eq!((v.len(), v.get(2), v.get(3), v.is_empty()), (3, Some(3), None, false));
        assert!(t.vector::<u64>(2).is_err(), "three u64 do not fit");
        assert!(t.vector::<u64>(1).unwrap().is_empty());
    }

    #[test]
    fn every_truncation_and_every_byte_value_is_survived() {
        let whole = small();
        let walk = |f: &[u8]| -> Result<usize, Malformed> {
            let t = Table::root(f)?;
            let inner = t.table(2)?.map_or(Ok(0), |t| t.scalar(0, 0u64))?;
            Ok(t.vector::<u16>(2)?.iter().count() + t.tables(2)?.iter().count() + usize::from(inner > 9))
        };
        for n in 0..whole.len() {
            let cut = &whole[..n];
            assert!(Table::root(cut).and_then(|t| t.vector::<u16>(2)).is_err(), "cut at {n}");
        }
        for at in 0..whole.len() {
            for value in 0..=255u8 {
                let mut f = whole.clone();
                f[at] = value;
                drop(walk(&f));
            }
        }
    }

    #[test]
    fn the_empty_table_has_only_defaults() {
        assert_eq!(Table::EMPTY.scalar(0, 3i32).unwrap(), 3);
        assert!(Table::EMPTY.table(1).unwrap().is_none());
        assert_eq!(Table::EMPTY.tables(1).unwrap().len(), 0);
    }
}
