//! Bounds on what a model file may ask for, so that a hostile one gives an error and never takes the
//! device's memory or time. All sizes are checked before anything is allocated.

use crate::{Error, Result};

/// Dimensions of a tensor: the formats' own operators stop at 5 or 6.
pub const MAX_RANK: usize = 8;
/// Bytes of one tensor. Larger ones do not fit a phone beside anything else.
pub const MAX_TENSOR_BYTES: usize = 1 << 30;
/// Bytes of all constants of a graph together, folded ones included.
pub const MAX_CONSTANT_BYTES: usize = 2 << 30;
/// Bytes of all packed or dequantised weights of a graph together. A few columns are packed to a block of sixteen, and
/// weights that several nodes share are packed for each, so this is not bounded by the file.
pub const MAX_PACKED_BYTES: usize = 2 << 30;
/// Bytes of the arena that holds all activations.
pub const MAX_ARENA_BYTES: usize = 2 << 30;
/// Nodes of a graph; the largest networks known have some thousands.
pub const MAX_NODES: usize = 200_000;
/// Elementary operations spent on folding constants while a graph is built: about a minute.
pub const MAX_FOLD_WORK: u64 = 20_000_000_000;

/// Times that a loop in a model may run: the longest sequences that models step through have some thousands of
/// steps. A loop that runs longer is taken to be one that never ends.
pub const MAX_LOOP_STEPS: u64 = 1 << 16;
/// The same for a loop inside a loop.
pub const MAX_INNER_LOOP_STEPS: u64 = 1 << 10;
/// Graphs in graphs: a branch in a loop in a branch is more than is known.
pub const MAX_GRAPH_DEPTH: usize = 6;

/// Number of elements of a shape.
///
/// # Errors
/// Too many dimensions, or a size that overflows or exceeds [`MAX_TENSOR_BYTES`] for one-byte elements.
pub fn elements(shape: &[usize]) -> Result<usize> {
    if shape.len() > MAX_RANK {
        return Err(Error::Unsupported(format!("{} dimensions, at most {MAX_RANK} are", shape.len())));
    }
    // A zero must not hide an overflow of the others: strides are computed from them too.
    let mut nonzero: usize = 1;
    for &d in shape {
        nonzero = nonzero
            .checked_mul(d.max(1))
            .filter(|n| *n <= MAX_TENSOR_BYTES)
            .ok_or_else(|| Error::Unsupported(format!("a tensor of shape {shape:?} is too large")))?;
    }
    Ok(if shape.contains(&0) { 0 } else { nonzero })
}

/// Bytes of a tensor.
///
/// # Errors
/// As [`elements`], and more than [`MAX_TENSOR_BYTES`].
pub fn bytes(shape: &[usize], element: usize) -> Result<usize> {
    elements(shape)?
        .checked_mul(element)
        .filter(|n| *n <= MAX_TENSOR_BYTES)
        .ok_or_else(|| Error::Unsupported(format!("a tensor of shape {shape:?} is too large")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_bounded() {
        assert_eq!(elements(&[]).unwrap(), 1);
        assert_eq!(elements(&[2, 0, 3]).unwrap(), 0);
        assert!(elements(&[usize::MAX, 0]).is_err());
        assert!(elements(&[1 << 16, 1 << 16]).is_err());
        assert!(elements(&[1; MAX_RANK + 1]).is_err());
        assert!(bytes(&[MAX_TENSOR_BYTES], 4).is_err());
    }
}
