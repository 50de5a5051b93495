//! Constant tensors that are stored sparse, made dense. The format names an order of dimensions, of which
//! the last ones may be parts of blocks, and for each whether it is stored whole or by index.

use super::flat::{Scalar, Table, Vector};
use super::importer::{invalid, sizes};
use crate::Result;
use crate::builtin::limits;

/// How one dimension of the traversal is stored.
enum Level {
    /// All of it.
    Dense(usize),
    /// Only the entries between `segments[parent]` and `segments[parent + 1]` of `indices`.
    Sparse { segments: Vec<usize>, indices: Vec<usize> },
}

/// Elements of `size` bytes in row-major order.
///
/// # Errors
/// The description does not fit itself, the shape or the data.
pub(super) fn densify(sparsity: &Table<'_>, shape: &[usize], size: usize, data: &[u8]) -> Result<Vec<u8>> {
    let total = limits::bytes(shape, size)?;
    let order = integers(sparsity.vector::<i32>(0)?)?;
    let blocks = integers(sparsity.vector::<i32>(1)?)?;
    let mut levels = Vec::new();
    for level in sparsity.tables(2)?.iter().take(2 * limits::MAX_RANK) {
        levels.push(Level::read(&level?)?);
    }
    let unfit = || invalid(format!("sparse storage {order:?}, blocks {blocks:?} for shape {shape:?}"));
    let mut seen = order.clone();
    seen.sort_unstable();
    if levels.len() != order.len() || !seen.iter().copied().eq(0..shape.len() + blocks.len()) {
        return Err(unfit());
    }
    let strides = level_strides(shape, &order, &blocks, &levels).ok_or_else(unfit)?;
    // Entries of the level so far: position in the data, position in the dense tensor.
    let mut entries = vec![(0usize, 0usize)];
    for (level, stride) in levels.iter().zip(strides) {
        entries = level.expand(&entries, stride, total / size)?;
    }
    let mut dense = vec![0; total];
    for (from, to) in entries {
        let source = from.checked_mul(size).and_then(|a| data.get(a..a.checked_add(size)?));
        let target = to.checked_mul(size).and_then(|a| dense.get_mut(a..a.checked_add(size)?));
        match (source, target) {
            (Some(source), Some(target)) => target.copy_from_slice(source),
            _ => return Err(unfit()),
        }
    }
    Ok(dense)
}

/// What one step of each level adds to the position in the dense tensor.
fn level_strides(shape: &[usize], order: &[usize], blocks: &[usize], levels: &[Level]) -> Option<Vec<usize>> {
    let mut row = vec![1usize; shape.len()];
    for d in (0..shape.len().saturating_sub(1)).rev() {
        row[d] = row[d + 1].checked_mul(shape[d + 1])?;
    }
    // A blocked dimension moves by whole blocks; the level that is inside the block moves by one.
    let block = |dimension: usize| {
        let k = blocks.iter().position(|b| *b == dimension)?;
        let level = order.iter().position(|o| *o == shape.len() + k)?;
        match levels.get(level)? {
            Level::Dense(n) => Some(*n),
            Level::Sparse { .. } => None,
        }
    };
    order
        .iter()
        .map(|&d| match d.checked_sub(shape.len()) {
            None if blocks.contains(&d) => row.get(d)?.checked_mul(block(d)?),
            None => row.get(d).copied(),
            Some(k) => row.get(*blocks.get(k)?).copied(),
        })
        .collect()
}

impl Level {
    fn read(t: &Table<'_>) -> Result<Self> {
        if t.scalar(0, 0i8)? == 0 {
            return Ok(Self::Dense(sizes(&[i64::from(t.scalar(1, 0i32)?)])?[0]));
        }
        Ok(Self::Sparse { segments: index_vector(t, 2)?, indices: index_vector(t, 4)? })
    }

    /// The entries below `parents`; there cannot be more than `most` in a valid tensor.
    fn expand(&self, parents: &[(usize, usize)], stride: usize, most: usize) -> Result<Vec<(usize, usize)>> {
        let mut entries = Vec::new();
        let bad = || invalid("sparse storage with indices that do not fit".to_owned());
        for &(position, offset) in parents {
            let range = match self {
                Self::Dense(n) => {
                    let first = position.checked_mul(*n).ok_or_else(bad)?;
                    first..first.checked_add(*n).ok_or_else(bad)?
                }
                Self::Sparse { segments, .. } => {
                    let next = position.checked_add(1).and_then(|p| segments.get(p));
                    *segments.get(position).ok_or_else(bad)?..*next.ok_or_else(bad)?
                }
            };
            if range.len() > most.saturating_sub(entries.len()) {
                return Err(bad());
            }
            for (step, at) in range.enumerate() {
                let index = match self {
                    Self::Dense(_) => step,
                    Self::Sparse { indices, .. } => *indices.get(at).ok_or_else(bad)?,
                };
                let moved = index.checked_mul(stride).and_then(|m| offset.checked_add(m));
                entries.push((at, moved.ok_or_else(bad)?));
            }
        }
        Ok(entries)
    }
}

/// The index vector whose kind is in `slot` and whose table is in the next one.
fn index_vector(t: &Table<'_>, slot: usize) -> Result<Vec<usize>> {
    let kind = t.scalar(slot, 0u8)?;
    let table = t.table(slot + 1)?.unwrap_or(Table::EMPTY);
    match kind {
        1 => integers(table.vector::<i32>(0)?),
        2 => integers(table.vector::<u16>(0)?),
        3 => integers(table.vector::<u8>(0)?),
        other => Err(invalid(format!("sparse indices of kind {other}"))),
    }
}

fn integers<T: Scalar + Into<i64>>(v: Vector<'_, T>) -> Result<Vec<usize>> {
    sizes(&v.iter().map(Into::into).collect::<Vec<i64>>())
}
