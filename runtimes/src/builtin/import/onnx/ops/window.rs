//! Kernel, stride, dilation and padding as ONNX's convolutions and pools give them, for one or two spatial
//! dimensions. One dimension is treated as a height of 1.

use super::super::call::Call;
use crate::builtin::graph::ValueId;
use crate::builtin::ops::Window;
use crate::{Error, Result};

/// How many spatial dimensions a tensor `[n, c, ...]` has, if it is 1 or 2.
pub(super) fn spatial(call: &Call<'_, '_>, value: ValueId) -> Result<usize> {
    match call.rank(value) {
        3 => Ok(1),
        4 => Ok(2),
        rank => Err(Error::Unsupported(format!("an operand of {rank} dimensions; 3 or 4 are"))),
    }
}

/// Height and width of a tensor `[n, c, ...]`.
pub(super) fn size(shape: &[usize]) -> [usize; 2] {
    match shape {
        [_, _, w] => [1, *w],
        [_, _, h, w, ..] => [*h, *w],
        _ => [1, 1],
    }
}

/// `[n, c, ...]` as `[n, h, w, c]`.
pub(super) fn to_nhwc(call: &mut Call<'_, '_>, value: ValueId) -> Result<ValueId> {
    if call.rank(value) == 4 {
        return call.transpose(value, &[0, 2, 3, 1]);
    }
    let moved = call.transpose(value, &[0, 2, 1])?;
    let [n, w, c]: [usize; 3] =
        call.shape(moved).try_into().map_err(|_| Error::Unsupported("rank".to_owned()))?;
    call.reshape(moved, &[n, 1, w, c])
}

/// `[n, h, w, c]` as the result `[n, c, ...]` with so many spatial dimensions.
pub(super) fn result_from_nhwc(call: &mut Call<'_, '_>, value: ValueId, spatial: usize) -> Result<()> {
    use crate::builtin::ops::Transpose;
    if spatial == 2 {
        return call.result(Transpose { perm: vec![0, 3, 1, 2] }, &[value]);
    }
    let shape = call.shape(value);
    let flat = match shape.as_slice() {
        [n, _, w, c] => call.reshape(value, &[*n, *w, *c])?,
        _ => value,
    };
    call.result(Transpose { perm: vec![0, 2, 1] }, &[flat])
}

/// Numbers per spatial dimension as `[height, width]`.
pub(super) fn pair(
    values: Option<Vec<i64>>,
    spatial: usize,
    default: usize,
    what: &str,
) -> Result<[usize; 2]> {
    let Some(values) = values else { return Ok([default; 2].map(|v| v)) };
    let sizes: Option<Vec<usize>> = values.iter().map(|v| usize::try_from(*v).ok()).collect();
    match sizes.as_deref() {
        Some([w]) if spatial == 1 => Ok([default, *w]),
        Some([h, w]) if spatial == 2 => Ok([*h, *w]),
        _ => Err(Error::ModelInvalid(format!("{what} {values:?} for {spatial} spatial dimensions"))),
    }
}

/// Attributes `strides`, `dilations`, `pads` and `auto_pad`.
pub(super) fn window(
    call: &Call<'_, '_>,
    spatial: usize,
    input: [usize; 2],
    kernel: [usize; 2],
) -> Result<Window> {
    let stride = pair(call.ints("strides")?, spatial, 1, "strides")?;
    let dilation = pair(call.ints("dilations")?, spatial, 1, "dilations")?;
    let pads = call.ints("pads")?;
    match call.text_or("auto_pad", "NOTSET")? {
        "NOTSET" | "" => {
            let (before, after) = padding(pads, spatial)?;
            Ok(Window { stride, dilation, before, after })
        }
        "VALID" => Ok(Window { stride, dilation, ..Window::default() }),
        "SAME_UPPER" => Window::same(input, kernel, stride, dilation),
        "SAME_LOWER" => {
            let upper = Window::same(input, kernel, stride, dilation)?;
            Ok(Window { before: upper.after, after: upper.before, ..upper })
        }
        other => Err(Error::ModelInvalid(format!("auto_pad `{other}`"))),
    }
}

/// Attribute `pads`: all beginnings, then all ends.
pub(super) fn padding(pads: Option<Vec<i64>>, spatial: usize) -> Result<([usize; 2], [usize; 2])> {
    let pads = pads.unwrap_or_else(|| vec![0; 2 * spatial]);
    if pads.len() != 2 * spatial {
        return Err(Error::ModelInvalid(format!("pads {pads:?} for {spatial} spatial dimensions")));
    }
    let (before, after) = pads.split_at(spatial);
    Ok((pair(Some(before.to_vec()), spatial, 0, "pads")?, pair(Some(after.to_vec()), spatial, 0, "pads")?))
}
