//! Convolutions.

use super::super::call::Call;
use super::Import;
use super::window::{padding, pair, result_from_nhwc, size, spatial, to_nhwc, window};
use crate::builtin::graph::{OutputType, ValueId};
use crate::builtin::ops::{
    Clamp, Concat, Conv2d, DepthwiseConv2d, Dynamic, Op, Slice, SliceRange, TransposeConv2d,
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
    let spatial = spatial(call, x)?;
    let filter = call.shape(weights);
    let groups = usize::try_from(call.int_or("group", 1)?).unwrap_or(0);
    if filter.len() != spatial + 2
        || groups == 0
        || groups > MAX_TRANSPOSED_GROUPS
        || !filter[0].is_multiple_of(groups)
    {
        return Err(Error::Unsupported(format!("weights {filter:?} in {groups} groups")));
    }
    let kernel = size(&filter);
    if call
        .ints("kernel_shape")?
        .is_some_and(|k| pair(Some(k), spatial, 1, "kernel_shape").ok() != Some(kernel))
    {
        return Err(Error::ModelInvalid(format!("kernel_shape is not that of the weights, {filter:?}")));
    }
    let op = transposed(call, spatial, size(&call.shape(x)), kernel)?;
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

/// Geometry of a transposed convolution.
fn transposed(
    call: &Call<'_, '_>,
    spatial: usize,
    input: [usize; 2],
    kernel: [usize; 2],
) -> Result<TransposeConv2d> {
    let stride = pair(call.ints("strides")?, spatial, 1, "strides")?;
    let dilation = pair(call.ints("dilations")?, spatial, 1, "dilations")?;
    let extra = pair(call.ints("output_padding")?, spatial, 0, "output_padding")?;
    let extra = if call.ints("output_padding")?.is_some() { extra } else { [0, 0] };
    let (mut before, after) = padding(call.ints("pads")?, spatial)?;
    let auto = call.text_or("auto_pad", "NOTSET")?;
    let wanted =
        call.ints("output_shape")?.map(|shape| pair(Some(shape), spatial, 1, "output_shape")).transpose()?;
    let mut output = [1, 1];
    for d in 0..2 {
        let overflow = || Error::Unsupported("absurd sizes".to_owned());
        let spread = input[d].checked_sub(1).and_then(|n| n.checked_mul(stride[d]));
        let reach = kernel[d].checked_sub(1).and_then(|n| n.checked_mul(dilation[d]));
        let full =
            spread.zip(reach).and_then(|(a, b)| a.checked_add(b)?.checked_add(1)?.checked_add(extra[d]));
        let full = full.ok_or_else(overflow)?;
        let same = || input[d].checked_mul(stride[d]).ok_or_else(overflow);
        let target = match (wanted, auto) {
            (Some(wanted), _) => Some(wanted[d]),
            (None, "SAME_UPPER" | "SAME_LOWER") if d == 1 || spatial == 2 => Some(same()?),
            _ => None,
        };
        output[d] = match target {
            Some(target) => {
                let total = full.saturating_sub(target);
                before[d] = if auto == "SAME_UPPER" { total / 2 } else { total - total / 2 };
                target
            }
            None => full.checked_sub(before[d] + after[d]).ok_or_else(|| {
                Error::ModelInvalid(format!("pads {before:?} {after:?} leave nothing of {full}"))
            })?,
        };
    }
    Ok(TransposeConv2d { stride, dilation, before, output, clamp: Clamp::NONE })
}
