//! Convolutions.

use super::super::call::Call;
use super::Import;
use super::normalization::renamed;
use super::window::{pair, result_from_nhwc, size, spatial, to_nhwc, transposed, window, window_nd};
use crate::builtin::graph::{OutputType, ValueId};
use crate::builtin::ops::{
    Clamp, Concat, Conv2d, ConvNd, DepthwiseConv2d, Dynamic, Op, Requantize, Slice, SliceRange,
    TransposeConv2d,
};
use crate::{Error, Result};

pub(super) const OPS: &[(&str, Import)] = &[("Conv", conv), ("ConvTranspose", conv_transpose)];

/// Largest number of groups of a transposed convolution, each of which becomes nodes of its own.
const MAX_TRANSPOSED_GROUPS: usize = 256;

fn conv(call: &mut Call<'_, '_>) -> Result<()> {
    let (x, weights) = (call.input(0)?, call.input(1)?);
    let bias = call.optional(2)?;
    convolution(call, x, weights, bias, None)
}

/// A convolution of operands that may be quantised; the result has the type `kind`, else the natural one.
pub(super) fn convolution(
    call: &mut Call<'_, '_>,
    x: ValueId,
    weights: ValueId,
    bias: Option<ValueId>,
    kind: Option<OutputType>,
) -> Result<()> {
    if !common(call, x, weights, bias) {
        let y = any(call, x, weights, bias)?;
        return match kind {
            Some(kind) => call.result_as(Requantize, &[y], kind),
            None => renamed(call, y),
        };
    }
    let spatial = spatial(call, x)?;
    let layer = layer(call, x, weights, Dynamic::default())?;
    let x = to_nhwc(call, x)?;
    let inputs: Vec<ValueId> = [x, layer.weights].into_iter().chain(bias).collect();
    let name = call.inner();
    let y = match kind {
        Some(kind) => call.graph().add_as(&name, layer.op, &inputs, kind)?,
        None => call.graph().add(&name, layer.op, &inputs)?,
    };
    result_from_nhwc(call, y, spatial)
}

/// Whether the kernels for one or two dimensions and known weights do it.
pub(super) fn common(call: &Call<'_, '_>, x: ValueId, weights: ValueId, bias: Option<ValueId>) -> bool {
    let known = call.is_weight(weights) && bias.is_none_or(|bias| call.is_weight(bias));
    matches!(call.rank(x), 3 | 4) && known
}

/// A convolution of any dimensions, with weights that need not be known.
pub(super) fn any(
    call: &mut Call<'_, '_>,
    x: ValueId,
    weights: ValueId,
    bias: Option<ValueId>,
) -> Result<ValueId> {
    let (input, filter) = (call.shape(x), call.shape(weights));
    if filter.len() != input.len() || filter.len() < 3 {
        return Err(Error::ModelInvalid(format!("weights {filter:?} for an input {input:?}")));
    }
    call.ignore(&["kernel_shape"]);
    let groups = usize::try_from(call.int_or("group", 1)?).unwrap_or(0);
    let window = window_nd(call, &input[2..], &filter[2..])?;
    let inputs: Vec<ValueId> = [x, weights].into_iter().chain(bias).collect();
    call.add(ConvNd { window, groups, transposed: None }, &inputs)
}

/// A convolution and its weights in the order that it wants.
pub(super) struct Layer {
    pub(super) op: Op,
    pub(super) weights: ValueId,
}

/// Reads the attributes of `Conv` and its relatives, and turns the weights.
pub(super) fn layer(
    call: &mut Call<'_, '_>,
    x: ValueId,
    weights: ValueId,
    dynamic: Dynamic,
) -> Result<Layer> {
    let spatial = spatial(call, x)?;
    let (input, filter) = (call.shape(x), call.shape(weights));
    if filter.len() != spatial + 2 {
        return Err(Error::ModelInvalid(format!("weights {filter:?} for an input {input:?}")));
    }
    let kernel = size(&filter);
    if pair(call.ints("kernel_shape")?, spatial, 1, "kernel_shape")? != kernel
        && call.ints("kernel_shape")?.is_some()
    {
        return Err(Error::ModelInvalid(format!("kernel_shape is not that of the weights, {filter:?}")));
    }
    let window = window(call, spatial, size(&input), kernel)?;
    let groups = usize::try_from(call.int_or("group", 1)?).unwrap_or(0);
    let (channels, outputs) = (input[1], filter[0]);
    let weights =
        if spatial == 1 { call.reshape(weights, &[filter[0], filter[1], 1, filter[2]])? } else { weights };
    let clamp = Clamp::NONE;
    if groups > 1 && groups == channels && filter[1] == 1 && outputs % channels == 0 {
        let weights = call.transpose(weights, &[1, 2, 3, 0])?;
        return Ok(Layer { op: DepthwiseConv2d { window, clamp, dynamic }.into(), weights });
    }
    let weights = call.transpose(weights, &[0, 2, 3, 1])?;
    Ok(Layer { op: Conv2d { window, groups, clamp, dynamic }.into(), weights })
}

fn conv_transpose(call: &mut Call<'_, '_>) -> Result<()> {
    let (x, weights, bias) = (call.input(0)?, call.input(1)?, call.optional(2)?);
    let (input, filter) = (call.shape(x), call.shape(weights));
    let groups = usize::try_from(call.int_or("group", 1)?).unwrap_or(0);
    if filter.len() != input.len() || filter.len() < 3 || groups == 0 || !filter[0].is_multiple_of(groups) {
        return Err(Error::Unsupported(format!("weights {filter:?} in {groups} groups")));
    }
    let kernel: Vec<i64> = filter[2..].iter().map(|length| *length as i64).collect();
    if call.ints("kernel_shape")?.is_some_and(|given| given != kernel) {
        return Err(Error::ModelInvalid(format!("kernel_shape is not that of the weights, {filter:?}")));
    }
    let (window, output) = transposed(call, &input[2..], &filter[2..])?;
    if !common(call, x, weights, bias) || groups > MAX_TRANSPOSED_GROUPS {
        let inputs: Vec<ValueId> = [x, weights].into_iter().chain(bias).collect();
        return call.result(ConvNd { window, groups, transposed: Some(output) }, &inputs);
    }
    let spatial = spatial(call, x)?;
    let pair = |numbers: &[usize], one: usize| match numbers {
        [w] => [one, *w],
        [h, w, ..] => [*h, *w],
        [] => [one, one],
    };
    let op = TransposeConv2d {
        stride: pair(&window.stride, 1),
        dilation: pair(&window.dilation, 1),
        before: pair(&window.before, 0),
        output: pair(&output, 1),
        clamp: Clamp::NONE,
    };
    let weights =
        if spatial == 1 { call.reshape(weights, &[filter[0], filter[1], 1, filter[2]])? } else { weights };
    let weights = call.transpose(weights, &[1, 2, 3, 0])?;
    let x = to_nhwc(call, x)?;
    let mut parts = Vec::new();
    for group in 0..groups {
        let part = |call: &mut Call<'_, '_>, value, axis| slice(call, value, axis, group, groups);
        let operands = match (groups, bias) {
            (1, bias) => [x, weights].into_iter().chain(bias).collect::<Vec<_>>(),
            // every group has all of the bias' channels that are its own
            (_, bias) => {
                let mut operands = vec![part(call, x, 3)?, part(call, weights, 3)?];
                if let Some(bias) = bias {
                    operands.push(part(call, bias, 0)?);
                }
                operands
            }
        };
        parts.push(call.add(op, &operands)?);
    }
    let y = match parts.as_slice() {
        [part] => *part,
        parts => call.add(Concat { axis: 3 }, parts)?,
    };
    result_from_nhwc(call, y, spatial)
}

/// Part `group` of `groups` along a dimension.
fn slice(
    call: &mut Call<'_, '_>,
    value: ValueId,
    axis: usize,
    group: usize,
    groups: usize,
) -> Result<ValueId> {
    let shape = call.shape(value);
    let mut ranges: Vec<SliceRange> = shape.iter().map(|length| SliceRange::all(*length)).collect();
    let length = shape.get(axis).copied().unwrap_or(0) / groups;
    if let Some(range) = ranges.get_mut(axis) {
        *range = SliceRange { start: group * length, count: length, step: 1 };
    }
    call.add(Slice { ranges }, &[value])
}
