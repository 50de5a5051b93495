//! Transforms of signals.

use super::super::call::Call;
use super::Import;
use crate::builtin::graph::ValueId;
use crate::builtin::limits;
use crate::builtin::ops::{Binary, BinaryKind, Dft, Gather};
use crate::builtin::tensor::Tensor;
use crate::{Error, Result};

pub(super) const OPS: &[(&str, Import)] = &[("DFT", dft), ("STFT", stft)];

/// The number of operand `index`, as a length.
fn length(call: &Call<'_, '_>, index: usize) -> Result<Option<usize>> {
    let Some(number) = call.constant_number(index)? else { return Ok(None) };
    if (1.0..=limits::MAX_TENSOR_BYTES as f64).contains(&number) {
        return Ok(Some(number as usize));
    }
    Err(Error::ModelInvalid(format!("a length of {number}")))
}

/// The dimension is an attribute up to version 19, and operand 2 later.
fn dft(call: &mut Call<'_, '_>) -> Result<()> {
    let x = call.input(0)?;
    let axis = match call.int("axis")? {
        Some(axis) => axis,
        None if call.opset() < 20 => 1,
        None => call.constant_number(2)?.unwrap_or(-2.0) as i64,
    };
    let axis = Call::axis(axis, call.rank(x))?;
    let (inverse, one_sided) = (call.int_or("inverse", 0)? != 0, call.int_or("onesided", 0)? != 0);
    if inverse && one_sided {
        return Err(Error::Unsupported("the inverse of one half".to_owned()));
    }
    let length = length(call, 1)?.unwrap_or(call.shape(x)[axis]);
    call.result(Dft { axis, length, inverse, one_sided }, &[x])
}

/// Operands: signal `[n, length, 1 or 2]`, step between frames, window, length of a frame.
fn stft(call: &mut Call<'_, '_>) -> Result<()> {
    let x = call.input(0)?;
    let one_sided = call.int_or("onesided", 1)? != 0;
    let step = length(call, 1)?.ok_or_else(|| Error::ModelInvalid("no step between frames".to_owned()))?;
    let window = call.optional(2)?;
    let shape = call.shape(x);
    let &[_, samples, _] = &shape[..] else {
        return Err(Error::ModelInvalid(format!("a signal of shape {shape:?}")));
    };
    let size = match (length(call, 3)?, window) {
        (Some(size), _) => size,
        (None, Some(window)) => call.fact(window).len(),
        (None, None) => samples,
    };
    if size == 0 || size > samples || window.is_some_and(|window| call.fact(window).len() != size) {
        return Err(Error::ModelInvalid(format!("frames of {size} from {samples} samples")));
    }
    let count = (samples - size) / step + 1;
    limits::bytes(&[count, size], 8)?;
    let places: Vec<i64> = (0..count).flat_map(|f| (0..size).map(move |i| (f * step + i) as i64)).collect();
    let places = call.add_constant(Tensor::from_elements(&[count, size], &places)?)?;
    let frames = call.add(Gather { axis: 1 }, &[x, places])?;
    let frames = match window {
        Some(window) => weighted(call, frames, window, size)?,
        None => frames,
    };
    call.result(Dft { axis: 2, length: size, inverse: false, one_sided }, &[frames])
}

fn weighted(call: &mut Call<'_, '_>, frames: ValueId, window: ValueId, size: usize) -> Result<ValueId> {
    let window = call.reshape(window, &[size, 1])?;
    call.add(Binary::new(BinaryKind::Mul), &[frames, window])
}
