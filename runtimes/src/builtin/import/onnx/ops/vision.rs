//! Samples, parts and blocks of images.

use super::super::call::Call;
use super::Import;
use super::normalization::renamed;
use super::window::{window, window_nd};
use crate::builtin::graph::ValueId;
use crate::builtin::limits;
use crate::builtin::ops::{
    Col2Im, DeformConv, Det, GridSample, MatMul, Outside, Pad, PadMode, Reshape, RoiAlign, Sampling, Slice,
    SliceRange,
};
use crate::builtin::tensor::Tensor;
use crate::{Error, Result};
use protocol::DType;

pub(super) const OPS: &[(&str, Import)] = &[
    ("AffineGrid", affine_grid),
    ("CenterCropPad", center_crop_pad),
    ("Col2Im", col2im),
    ("DeformConv", deform_conv),
    ("Det", |call| {
        let x = call.input(0)?;
        call.result(Det, &[x])
    }),
    ("GridSample", grid_sample),
    ("RoiAlign", roi_align),
];

/// Integers of operand `index` as sizes.
fn sizes(call: &Call<'_, '_>, index: usize) -> Result<Vec<usize>> {
    let given = call.constant_ints(index)?.unwrap_or_default();
    let sizes: Option<Vec<usize>> = given.iter().map(|v| usize::try_from(*v).ok()).collect();
    sizes.ok_or_else(|| Error::ModelInvalid(format!("sizes {given:?}")))
}

fn grid_sample(call: &mut Call<'_, '_>) -> Result<()> {
    let (x, grid) = (call.input(0)?, call.input(1)?);
    let sampling = match call.text_or("mode", "linear")? {
        "nearest" => Sampling::Nearest,
        "linear" | "bilinear" => Sampling::Linear,
        "cubic" | "bicubic" => Sampling::Cubic,
        other => return Err(Error::ModelInvalid(format!("mode `{other}`"))),
    };
    let outside = match call.text_or("padding_mode", "zeros")? {
        "zeros" => Outside::Zeros,
        "border" => Outside::Border,
        "reflection" => Outside::Reflection,
        other => return Err(Error::ModelInvalid(format!("padding_mode `{other}`"))),
    };
    let align_corners = call.int_or("align_corners", 0)? != 0;
    call.result(GridSample { sampling, outside, align_corners }, &[x, grid])
}

/// Points of a grid through affine maps `[n, dimensions, dimensions + 1]`, for results of size `[n, c, ...]`.
fn affine_grid(call: &mut Call<'_, '_>) -> Result<()> {
    let theta = call.input(0)?;
    let aligned = call.int_or("align_corners", 0)? != 0;
    let size = sizes(call, 1)?;
    let unfit = |size: &[usize]| Error::ModelInvalid(format!("an affine grid for {size:?}"));
    let (Some(spatial), shape) = (size.get(2..).filter(|s| !s.is_empty()), call.shape(theta)) else {
        return Err(unfit(&size));
    };
    let rank = spatial.len();
    if shape != [size[0], rank, rank + 1] {
        return Err(unfit(&size));
    }
    limits::bytes(&[&[rank + 1], spatial].concat(), 4)?;
    let points: usize = spatial.iter().product();
    let along = |length: usize, index: usize| {
        let (length, index) = (length as f32, index as f32);
        if aligned { 2.0 * index / (length - 1.0).max(1.0) - 1.0 } else { (2.0 * index + 1.0) / length - 1.0 }
    };
    let mut base = Vec::with_capacity(points * (rank + 1));
    for point in 0..points {
        let mut rest = point;
        // the last dimension of the image comes first
        for length in spatial.iter().rev() {
            base.push(along(*length, rest % length));
            rest /= length;
        }
        base.push(1.0);
    }
    let base = call.add_constant(Tensor::from_elements(&[1, points, rank + 1], &base)?)?;
    let theta = call.transpose(theta, &[0, 2, 1])?;
    let grid = call.add(MatMul::default(), &[base, theta])?;
    let shape = [&[size[0]], spatial, &[rank]].concat();
    call.result(Reshape { shape }, &[grid])
}

/// The middle of what is longer, zeros around what is shorter.
fn center_crop_pad(call: &mut Call<'_, '_>) -> Result<()> {
    let x = call.input(0)?;
    let shape = call.shape(x);
    let wanted = sizes(call, 1)?;
    let axes = match call.ints("axes")? {
        Some(axes) => axes.iter().map(|axis| Call::axis(*axis, shape.len())).collect::<Result<Vec<_>>>()?,
        None => (0..shape.len()).collect(),
    };
    if axes.len() != wanted.len() {
        return Err(Error::ModelInvalid(format!("sizes {wanted:?} for axes {axes:?}")));
    }
    let mut ranges: Vec<SliceRange> = shape.iter().map(|length| SliceRange::all(*length)).collect();
    let mut pads = vec![[0; 2]; shape.len()];
    for (axis, wanted) in axes.into_iter().zip(wanted) {
        let length = shape[axis];
        if wanted < length {
            ranges[axis] = SliceRange { start: (length - wanted) / 2, count: wanted, step: 1 };
        } else {
            let before = (wanted - length) / 2;
            pads[axis] = [before, wanted - length - before];
        }
    }
    let x = call.add(Slice { ranges }, &[x])?;
    call.result(Pad { pads, mode: PadMode::Constant(0.0) }, &[x])
}

fn col2im(call: &mut Call<'_, '_>) -> Result<()> {
    let x = call.input(0)?;
    let (image, block) = (sizes(call, 1)?, sizes(call, 2)?);
    if image.is_empty() || block.len() != image.len() || block.contains(&0) {
        return Err(Error::ModelInvalid(format!("blocks {block:?} of an image {image:?}")));
    }
    let window = window_nd(call, &image, &block)?;
    call.result(Col2Im { window, image }, &[x])
}

/// Operands: image, weights, offsets, bias, factors.
fn deform_conv(call: &mut Call<'_, '_>) -> Result<()> {
    call.ignore(&["kernel_shape"]);
    let mut inputs = vec![call.input(0)?, call.input(1)?, call.input(2)?];
    let mut present = [false; 2];
    for (which, there) in present.iter_mut().enumerate() {
        if let Some(value) = call.optional(3 + which)? {
            *there = true;
            inputs.push(value);
        }
    }
    let (image, filter) = (call.shape(inputs[0]), call.shape(inputs[1]));
    let (&[_, _, h, w], &[_, _, kh, kw]) = (&image[..], &filter[..]) else {
        return Err(Error::Unsupported(format!("weights {filter:?} for an image {image:?}")));
    };
    let window = window(call, 2, [h, w], [kh, kw])?;
    let count = |name| Ok::<_, Error>(usize::try_from(call.int_or(name, 1)?).unwrap_or(0));
    let (groups, offset_groups) = (count("group")?, count("offset_group")?);
    call.result(DeformConv { window, groups, offset_groups, present }, &inputs)
}

/// Before version 16 elements of the image were points.
fn roi_align(call: &mut Call<'_, '_>) -> Result<()> {
    let operands: [ValueId; 3] = [call.input(0)?, call.input(1)?, call.input(2)?];
    let size =
        |name, default| Ok::<_, Error>(usize::try_from(call.int_or(name, default)?).unwrap_or(usize::MAX));
    let output = [size("output_height", 1)?, size("output_width", 1)?];
    let samples = size("sampling_ratio", 0)?;
    let scale = call.float_or("spatial_scale", 1.0)?;
    let default = if call.opset() < 16 { "output_half_pixel" } else { "half_pixel" };
    let half_pixel = match call.text_or("coordinate_transformation_mode", default)? {
        "half_pixel" => true,
        "output_half_pixel" => false,
        other => return Err(Error::ModelInvalid(format!("coordinate_transformation_mode `{other}`"))),
    };
    let largest = match call.text_or("mode", "avg")? {
        "avg" => false,
        "max" => true,
        other => return Err(Error::ModelInvalid(format!("mode `{other}`"))),
    };
    let of = call.cast(operands[2], DType::I64)?;
    let op = RoiAlign { output, samples, scale, half_pixel, largest };
    let y = call.add(op, &[operands[0], operands[1], of])?;
    renamed(call, y)
}
