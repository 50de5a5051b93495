//! Kernel, stride, dilation and padding as ONNX's convolutions and pools give them, for one or two spatial
//! dimensions. One dimension is treated as a height of 1.

use super::super::call::Call;
use crate::builtin::graph::ValueId;
use crate::builtin::ops::{Window, WindowNd};
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

/// Numbers of an attribute, one per spatial dimension.
fn numbers(call: &Call<'_, '_>, name: &'static str, count: usize, default: usize) -> Result<Vec<usize>> {
    let Some(given) = call.ints(name)? else { return Ok(vec![default; count]) };
    let sizes: Option<Vec<usize>> = given.iter().map(|v| usize::try_from(*v).ok()).collect();
    sizes
        .filter(|sizes| sizes.len() == count)
        .ok_or_else(|| Error::ModelInvalid(format!("{name} {given:?} for {count} spatial dimensions")))
}

/// As [`window`], for any number of dimensions.
pub(super) fn window_nd(call: &Call<'_, '_>, input: &[usize], kernel: &[usize]) -> Result<WindowNd> {
    let spatial = input.len();
    let mut window = WindowNd {
        kernel: kernel.to_vec(),
        stride: numbers(call, "strides", spatial, 1)?,
        dilation: numbers(call, "dilations", spatial, 1)?,
        before: vec![0; spatial],
        after: vec![0; spatial],
        ceil: false,
    };
    let pads = numbers(call, "pads", 2 * spatial, 0)?;
    window.check(input)?;
    let auto = call.text_or("auto_pad", "NOTSET")?;
    match auto {
        "NOTSET" | "" => {
            window.before = pads[..spatial].to_vec();
            window.after = pads[spatial..].to_vec();
        }
        "VALID" => {}
        "SAME_UPPER" | "SAME_LOWER" => {
            for d in 0..spatial {
                let outputs = input[d].div_ceil(window.stride[d]);
                let reach = (kernel[d] - 1) * window.dilation[d] + 1;
                let total = (outputs.saturating_sub(1) * window.stride[d] + reach).saturating_sub(input[d]);
                let less = total / 2;
                window.before[d] = if auto == "SAME_UPPER" { less } else { total - less };
                window.after[d] = total - window.before[d];
            }
        }
        other => return Err(Error::ModelInvalid(format!("auto_pad `{other}`"))),
    }
    Ok(window)
}

/// Geometry of a transposed convolution, and the lengths of its output.
pub(super) fn transposed(
    call: &Call<'_, '_>,
    input: &[usize],
    kernel: &[usize],
) -> Result<(WindowNd, Vec<usize>)> {
    let spatial = input.len();
    let extra = numbers(call, "output_padding", spatial, 0)?;
    let pads = numbers(call, "pads", 2 * spatial, 0)?;
    let auto = call.text_or("auto_pad", "NOTSET")?;
    let wanted = call.ints("output_shape")?.map(|_| numbers(call, "output_shape", spatial, 1)).transpose()?;
    let mut window = WindowNd {
        kernel: kernel.to_vec(),
        stride: numbers(call, "strides", spatial, 1)?,
        dilation: numbers(call, "dilations", spatial, 1)?,
        before: pads[..spatial].to_vec(),
        after: pads[spatial..].to_vec(),
        ceil: false,
    };
    window.check(input)?;
    let mut output = Vec::new();
    for d in 0..spatial {
        let overflow = || Error::Unsupported("absurd sizes".to_owned());
        let reach = (kernel[d] - 1).checked_mul(window.dilation[d]).ok_or_else(overflow)?;
        let spread = input[d].checked_sub(1).and_then(|n| n.checked_mul(window.stride[d]));
        let full = spread.and_then(|n| n.checked_add(reach)?.checked_add(1)?.checked_add(extra[d]));
        let full = full.ok_or_else(overflow)?;
        let same = auto == "SAME_UPPER" || auto == "SAME_LOWER";
        let target = match &wanted {
            Some(wanted) => Some(wanted[d]),
            None if same => Some(input[d].checked_mul(window.stride[d]).ok_or_else(overflow)?),
            None => None,
        };
        output.push(match target {
            Some(target) => {
                let total = full.saturating_sub(target);
                window.before[d] = if auto == "SAME_UPPER" { total / 2 } else { total - total / 2 };
                target
            }
            None => full.checked_sub(window.before[d] + window.after[d]).ok_or_else(|| {
                let (before, after) = (window.before[d], window.after[d]);
                Error::ModelInvalid(format!("pads {before} and {after} leave nothing of {full}"))
            })?,
        });
    }
    Ok((window, output))
}
