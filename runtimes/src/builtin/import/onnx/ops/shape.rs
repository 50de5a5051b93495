//! What moves, selects or repeats elements.

use super::super::call::Call;
use super::Import;
use crate::builtin::graph::ValueId;
use crate::builtin::ops::{Concat, Expand, Gather, Pad, PadMode, Reshape, Slice, SliceRange, Transpose};
use crate::builtin::tensor::Tensor;
use crate::{Error, Result};

pub(super) const OPS: &[(&str, Import)] = &[
    ("Concat", concat),
    ("DepthToSpace", depth_to_space),
    ("Expand", expand),
    ("Flatten", flatten),
    ("Gather", gather),
    ("Pad", pad),
    ("Reshape", reshape),
    ("Slice", slice),
    ("SpaceToDepth", space_to_depth),
    ("Split", split),
    ("Squeeze", squeeze),
    ("Tile", tile),
    ("Transpose", transpose),
    ("Unsqueeze", unsqueeze),
];

/// Copies that one `Tile` may make of a tensor along one dimension; each becomes an operand.
const MAX_REPEATS: usize = 1 << 16;

fn reshape(call: &mut Call<'_, '_>) -> Result<()> {
    let x = call.input(0)?;
    let wanted = match call.ints("shape")? {
        Some(shape) => shape,
        None => call.constant_ints(1)?.unwrap_or_default(),
    };
    let zero_is_zero = call.int_or("allowzero", 0)? != 0;
    let input = call.shape(x);
    let impossible = || Error::ModelInvalid(format!("cannot reshape {input:?} to {wanted:?}"));
    let mut shape = Vec::with_capacity(wanted.len());
    let mut open = None;
    for (index, dim) in wanted.iter().enumerate() {
        shape.push(match dim {
            -1 if open.replace(index).is_none() => 1,
            0 if !zero_is_zero => *input.get(index).ok_or_else(impossible)?,
            dim => usize::try_from(*dim).map_err(|_| impossible())?,
        });
    }
    if let Some(open) = open {
        let known = shape.iter().try_fold(1usize, |n, dim| n.checked_mul(*dim)).ok_or_else(impossible)?;
        let all = call.fact(x).len();
        shape[open] = all.checked_div(known).unwrap_or(0);
    }
    call.result(Reshape { shape }, &[x])
}

fn flatten(call: &mut Call<'_, '_>) -> Result<()> {
    let x = call.input(0)?;
    let input = call.shape(x);
    let axis = call.int_or("axis", 1)?;
    // one past the last dimension is allowed
    let axis = if axis == input.len() as i64 { input.len() } else { Call::axis(axis, input.len())? };
    let (before, after) = input.split_at(axis);
    call.result(Reshape { shape: vec![before.iter().product(), after.iter().product()] }, &[x])
}

/// Dimensions from an attribute or, later, operand 1.
fn listed(call: &Call<'_, '_>, name: &'static str) -> Result<Option<Vec<i64>>> {
    match call.ints(name)? {
        Some(values) => Ok(Some(values)),
        None => call.constant_ints(1),
    }
}

fn squeeze(call: &mut Call<'_, '_>) -> Result<()> {
    let x = call.input(0)?;
    let input = call.shape(x);
    let axes = match listed(call, "axes")? {
        Some(axes) => Call::axes(&axes, input.len())?,
        None => (0..input.len()).filter(|axis| input[*axis] == 1).collect(),
    };
    if axes.iter().any(|axis| input[*axis] != 1) {
        return Err(Error::ModelInvalid(format!("axes {axes:?} of shape {input:?} are not all 1")));
    }
    let left = input.iter().enumerate().filter(|(axis, _)| !axes.contains(axis));
    let shape = left.map(|(_, dim)| *dim).collect();
    call.result(Reshape { shape }, &[x])
}

fn unsqueeze(call: &mut Call<'_, '_>) -> Result<()> {
    let x = call.input(0)?;
    let axes = listed(call, "axes")?.ok_or_else(|| Error::ModelInvalid("no axes".to_owned()))?;
    let input = call.shape(x);
    let axes = Call::axes(&axes, input.len() + axes.len())?;
    let mut dims = input.iter();
    let rank = input.len() + axes.len();
    let shape =
        (0..rank).map(|axis| if axes.contains(&axis) { 1 } else { dims.next().copied().unwrap_or(1) });
    let shape = shape.collect();
    call.result(Reshape { shape }, &[x])
}

fn transpose(call: &mut Call<'_, '_>) -> Result<()> {
    let x = call.input(0)?;
    let perm = match call.ints("perm")? {
        Some(perm) => perm.iter().map(|p| Call::axis(*p, call.rank(x))).collect::<Result<_>>()?,
        None => (0..call.rank(x)).rev().collect(),
    };
    call.result(Transpose { perm }, &[x])
}

fn concat(call: &mut Call<'_, '_>) -> Result<()> {
    let inputs = call.inputs()?;
    let first = call.input(0)?;
    let axis =
        call.int("axis")?.ok_or_else(|| Error::ModelInvalid("attribute `axis` is missing".to_owned()))?;
    let axis = Call::axis(axis, call.rank(first))?;
    call.result(Concat { axis }, &inputs)
}

fn split(call: &mut Call<'_, '_>) -> Result<()> {
    let x = call.input(0)?;
    let input = call.shape(x);
    let axis = Call::axis(call.int_or("axis", 0)?, input.len())?;
    let outputs = call.node.outputs.len();
    let parts = match listed(call, "split")? {
        Some(parts) => parts.iter().map(|part| usize::try_from(*part).unwrap_or(usize::MAX)).collect(),
        None => {
            even_parts(input[axis], usize::try_from(call.int_or("num_outputs", outputs as i64)?).unwrap_or(0))
        }
    };
    let total = parts.iter().try_fold(0usize, |sum, part| sum.checked_add(*part));
    if parts.len() != outputs || total != Some(input[axis]) {
        return Err(Error::ModelInvalid(format!("parts {parts:?} of {} for {outputs} results", input[axis])));
    }
    let mut start = 0;
    for (index, count) in parts.into_iter().enumerate() {
        if call.wants(index) {
            let mut ranges: Vec<SliceRange> = input.iter().map(|dim| SliceRange::all(*dim)).collect();
            ranges[axis] = SliceRange { start, count, step: 1 };
            let name = call.name(index);
            let part = call.graph().add(name, Slice { ranges }, &[x])?;
            call.set(index, part)?;
        }
        start += count;
    }
    Ok(())
}

/// As even as possible: the last may be smaller.
fn even_parts(length: usize, parts: usize) -> Vec<usize> {
    let size = length.div_ceil(parts.max(1));
    (0..parts.min(length.max(1))).map(|part| size.min(length.saturating_sub(part * size))).collect()
}

/// Up to version 9 from attributes, later from operands.
fn slice(call: &mut Call<'_, '_>) -> Result<()> {
    let x = call.input(0)?;
    let input = call.shape(x);
    let pick = |name, index: usize| -> Result<Option<Vec<i64>>> {
        match call.ints(name)? {
            Some(values) => Ok(Some(values)),
            None => call.constant_ints(index),
        }
    };
    let missing = || Error::ModelInvalid("starts or ends are missing".to_owned());
    let starts = pick("starts", 1)?.ok_or_else(missing)?;
    let ends = pick("ends", 2)?.ok_or_else(missing)?;
    let axes = pick("axes", 3)?.unwrap_or_else(|| (0..starts.len() as i64).collect());
    let steps = call.constant_ints(4)?.unwrap_or_else(|| vec![1; starts.len()]);
    if [ends.len(), axes.len(), steps.len()] != [starts.len(); 3] {
        return Err(Error::ModelInvalid("starts, ends, axes and steps of different lengths".to_owned()));
    }
    let mut ranges: Vec<SliceRange> = input.iter().map(|dim| SliceRange::all(*dim)).collect();
    for (((start, end), axis), step) in starts.iter().zip(&ends).zip(&axes).zip(&steps) {
        let axis = Call::axis(*axis, input.len())?;
        ranges[axis] = SliceRange::python(input[axis], *start, *end, *step)?;
    }
    call.result(Slice { ranges }, &[x])
}

fn gather(call: &mut Call<'_, '_>) -> Result<()> {
    let (x, indices) = (call.input(0)?, call.input(1)?);
    let axis = Call::axis(call.int_or("axis", 0)?, call.rank(x))?;
    call.result(Gather { axis }, &[x, indices])
}

fn sizes(values: &[i64]) -> Result<Vec<usize>> {
    let sizes: Option<Vec<usize>> = values.iter().map(|v| usize::try_from(*v).ok()).collect();
    sizes.ok_or_else(|| Error::ModelInvalid(format!("negative sizes in {values:?}")))
}

fn expand(call: &mut Call<'_, '_>) -> Result<()> {
    let x = call.input(0)?;
    let shape = sizes(&call.constant_ints(1)?.unwrap_or_default())?;
    call.result(Expand { shape }, &[x])
}

fn tile(call: &mut Call<'_, '_>) -> Result<()> {
    let mut x = call.input(0)?;
    let repeats = sizes(&call.constant_ints(1)?.unwrap_or_default())?;
    if repeats.len() != call.rank(x) {
        return Err(Error::ModelInvalid(format!("repeats {repeats:?} for {} dimensions", call.rank(x))));
    }
    for (axis, count) in repeats.into_iter().enumerate() {
        match count {
            0 => {
                let mut ranges: Vec<SliceRange> =
                    call.shape(x).iter().map(|dim| SliceRange::all(*dim)).collect();
                ranges[axis].count = 0;
                x = call.add(Slice { ranges }, &[x])?;
            }
            1 => {}
            2..=MAX_REPEATS => x = call.add(Concat { axis }, &vec![x; count])?,
            _ => return Err(Error::Unsupported(format!("{count} repeats; at most {MAX_REPEATS} are"))),
        }
    }
    super::normalization::renamed(call, x)
}

fn pad(call: &mut Call<'_, '_>) -> Result<()> {
    let x = call.input(0)?;
    let rank = call.rank(x);
    let given = listed(call, "pads")?.ok_or_else(|| Error::ModelInvalid("no pads".to_owned()))?;
    let axes = match call.constant_ints(3)? {
        Some(axes) => axes.iter().map(|axis| Call::axis(*axis, rank)).collect::<Result<Vec<_>>>()?,
        None => (0..rank).collect(),
    };
    if given.len() != 2 * axes.len() {
        return Err(Error::ModelInvalid(format!("{} pads for {} dimensions", given.len(), axes.len())));
    }
    let mode = match call.text_or("mode", "constant")? {
        "constant" => {
            let value = match call.float("value")? {
                Some(value) => f64::from(value),
                None => call.constant_number(2)?.unwrap_or(0.0),
            };
            // the file says an integer, the graph the number that it stands for
            let real = |(scale, zero): (f32, i32)| (value - f64::from(zero)) * f64::from(scale);
            PadMode::Constant(call.fact(x).per_tensor().map_or(value, real))
        }
        "reflect" => PadMode::Reflect,
        "edge" => PadMode::Edge,
        "wrap" => return wrapped(call, x, &given, &axes),
        other => return Err(Error::Unsupported(format!("mode `{other}`"))),
    };
    let mut pads = vec![[0; 2]; rank];
    let mut ranges: Vec<SliceRange> = call.shape(x).iter().map(|dim| SliceRange::all(*dim)).collect();
    for (index, axis) in axes.iter().enumerate() {
        for side in 0..2 {
            let amount = given[index + side * axes.len()];
            match usize::try_from(amount) {
                Ok(amount) => pads[*axis][side] = amount,
                Err(_) => cut(&mut ranges[*axis], side, amount)?,
            }
        }
    }
    let all = |(range, dim): (&SliceRange, &usize)| *range == SliceRange::all(*dim);
    let whole = ranges.iter().zip(&call.shape(x)).all(all);
    let x = if whole { x } else { call.add(Slice { ranges }, &[x])? };
    call.result(Pad { pads, mode }, &[x])
}

/// Padding with the other end of the operand.
fn wrapped(call: &mut Call<'_, '_>, mut x: ValueId, given: &[i64], axes: &[usize]) -> Result<()> {
    for (index, axis) in axes.iter().enumerate() {
        let length = call.shape(x)[*axis] as i64;
        let (before, after) = (given[index], given[index + axes.len()]);
        let count = length.checked_add(before).and_then(|n| n.checked_add(after)).unwrap_or(-1);
        if length == 0 || !(0..=MAX_REPEATS as i64 * length).contains(&count) {
            return Err(Error::ModelInvalid(format!("padding {before} and {after} of {length}")));
        }
        let places: Vec<i64> = (0..count).map(|i| (i - before).rem_euclid(length)).collect();
        let places = call.add_constant(Tensor::from_elements(&[places.len()], &places)?)?;
        x = call.add(Gather { axis: *axis }, &[x, places])?;
    }
    super::normalization::renamed(call, x)
}

/// A negative padding takes elements away.
fn cut(range: &mut SliceRange, side: usize, amount: i64) -> Result<()> {
    let less = usize::try_from(amount.unsigned_abs()).unwrap_or(usize::MAX);
    let count = range.count.checked_sub(less);
    range.count = count.ok_or_else(|| Error::ModelInvalid(format!("padding {amount} of {}", range.count)))?;
    if side == 0 {
        range.start += less;
    }
    Ok(())
}

/// `[n, c, h, w]` and the block size.
fn blocks(call: &Call<'_, '_>, x: ValueId) -> Result<([usize; 4], usize)> {
    let shape = call.shape(x);
    let block = usize::try_from(call.int_or("blocksize", 0)?).unwrap_or(0);
    match <[usize; 4]>::try_from(shape.as_slice()) {
        Ok(dims) if (1..=4096).contains(&block) => Ok((dims, block)),
        _ => Err(Error::ModelInvalid(format!("blocksize {block} for shape {shape:?}"))),
    }
}

fn depth_to_space(call: &mut Call<'_, '_>) -> Result<()> {
    let x = call.input(0)?;
    let ([n, c, h, w], block) = blocks(call, x)?;
    if c % (block * block) != 0 {
        return Err(Error::ModelInvalid(format!("{c} channels in blocks of {block}")));
    }
    let depth = c / (block * block);
    let (parts, perm) = match call.text_or("mode", "DCR")? {
        "DCR" => ([n, block, block, depth, h, w], [0, 3, 4, 1, 5, 2]),
        "CRD" => ([n, depth, block, block, h, w], [0, 1, 4, 2, 5, 3]),
        other => return Err(Error::ModelInvalid(format!("mode `{other}`"))),
    };
    let x = call.reshape(x, &parts)?;
    let x = call.transpose(x, &perm)?;
    call.result(Reshape { shape: vec![n, depth, h * block, w * block] }, &[x])
}

fn space_to_depth(call: &mut Call<'_, '_>) -> Result<()> {
    let x = call.input(0)?;
    let ([n, c, h, w], block) = blocks(call, x)?;
    if h % block != 0 || w % block != 0 {
        return Err(Error::ModelInvalid(format!("{h} by {w} in blocks of {block}")));
    }
    let x = call.reshape(x, &[n, c, h / block, block, w / block, block])?;
    let x = call.transpose(x, &[0, 3, 5, 1, 2, 4])?;
    call.result(Reshape { shape: vec![n, c * block * block, h / block, w / block] }, &[x])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_even_but_for_the_last() {
        assert_eq!(even_parts(7, 3), [3, 3, 1]);
        assert_eq!(even_parts(6, 3), [2, 2, 2]);
        assert_eq!(even_parts(6, 0), [0usize; 0]);
    }
}
