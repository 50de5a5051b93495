//! Scaling of height and width.

use super::super::call::Call;
use super::Import;
use super::window::{result_from_nhwc, size, spatial, to_nhwc};
use crate::builtin::ops::{Coordinates, Resize, ResizeMode};
use crate::{Error, Result};

pub(super) const OPS: &[(&str, Import)] = &[("Resize", resize), ("Upsample", upsample)];

/// Operands x, roi, scales, sizes; in version 10 x and scales.
fn resize(call: &mut Call<'_, '_>) -> Result<()> {
    call.ignore(&["cubic_coeff_a", "extrapolation_value"]);
    if call.int_or("antialias", 0)? != 0 || call.int_or("exclude_outside", 0)? != 0 {
        return Err(Error::Unsupported("antialias or exclude_outside".to_owned()));
    }
    if call.text_or("keep_aspect_ratio_policy", "stretch")? != "stretch" {
        return Err(Error::Unsupported("keep_aspect_ratio_policy".to_owned()));
    }
    let old = call.opset() < 11;
    let default = if old { "asymmetric" } else { "half_pixel" };
    let coordinates = match call.text_or("coordinate_transformation_mode", default)? {
        "half_pixel" => Coordinates::HalfPixel,
        "pytorch_half_pixel" => Coordinates::PytorchHalfPixel,
        "align_corners" => Coordinates::AlignCorners,
        "asymmetric" => Coordinates::Asymmetric,
        other => return Err(Error::Unsupported(format!("coordinate_transformation_mode `{other}`"))),
    };
    let nearest = match call.text_or("nearest_mode", if old { "floor" } else { "round_prefer_floor" })? {
        "floor" => ResizeMode::Floor,
        "ceil" => ResizeMode::Ceil,
        "round_prefer_floor" => ResizeMode::NearestFloor,
        "round_prefer_ceil" => ResizeMode::NearestCeil,
        other => return Err(Error::ModelInvalid(format!("nearest_mode `{other}`"))),
    };
    let (scales, sizes) = if old { (1, usize::MAX) } else { (2, 3) };
    let scales = factors(call, scales)?;
    let sizes = call.constant_ints(sizes)?.filter(|sizes| !sizes.is_empty());
    scaled(call, coordinates, nearest, scales, sizes)
}

/// As `Resize` in version 10.
fn upsample(call: &mut Call<'_, '_>) -> Result<()> {
    let scales = match call.floats("scales")? {
        Some(scales) => Some(scales),
        None => factors(call, 1)?,
    };
    scaled(call, Coordinates::Asymmetric, ResizeMode::Floor, scales, None)
}

fn factors(call: &Call<'_, '_>, index: usize) -> Result<Option<Vec<f32>>> {
    if !call.has(index) {
        return Ok(None);
    }
    let factors: Vec<f32> = call.constant(index)?.to_f64()?.into_iter().map(|f| f as f32).collect();
    Ok(Some(factors).filter(|factors| !factors.is_empty()))
}

fn scaled(
    call: &mut Call<'_, '_>,
    coordinates: Coordinates,
    nearest: ResizeMode,
    scales: Option<Vec<f32>>,
    sizes: Option<Vec<i64>>,
) -> Result<()> {
    let mode = match call.text_or("mode", "nearest")? {
        "nearest" => nearest,
        "linear" | "bilinear" => ResizeMode::Linear,
        other => return Err(Error::Unsupported(format!("mode `{other}`"))),
    };
    let x = call.input(0)?;
    let axes = match call.ints("axes")? {
        Some(axes) => axes.iter().map(|axis| Call::axis(*axis, call.rank(x))).collect::<Result<Vec<_>>>()?,
        None => (0..call.rank(x)).collect(),
    };
    let (spatial, input) = (spatial(call, x)?, call.shape(x));
    let (mut output, mut factor) = (input.clone(), vec![1.0; input.len()]);
    for (position, axis) in axes.iter().enumerate() {
        let length = input[*axis];
        let missing = || Error::ModelInvalid("scales or sizes do not fit the operand".to_owned());
        match (&sizes, &scales) {
            (Some(sizes), _) => {
                let size = sizes.get(position).and_then(|size| usize::try_from(*size).ok());
                output[*axis] = size.ok_or_else(missing)?;
                factor[*axis] = output[*axis] as f32 / length as f32;
            }
            (None, Some(scales)) => {
                let scale = *scales.get(position).filter(|scale| **scale > 0.0).ok_or_else(missing)?;
                output[*axis] = (length as f32 * scale).floor() as usize;
                factor[*axis] = scale;
            }
            (None, None) => return Err(missing()),
        }
    }
    if output[..2] != input[..2] {
        return Err(Error::Unsupported(format!("{input:?} to {output:?}: only height and width can change")));
    }
    let factor = match factor.as_slice() {
        [_, _, w] => [1.0, *w],
        [_, _, h, w, ..] => [*h, *w],
        _ => [1.0, 1.0],
    };
    let x = to_nhwc(call, x)?;
    let op = Resize { output: size(&output), scale: Some(factor), coordinates, mode };
    let y = call.add(op, &[x])?;
    result_from_nhwc(call, y, spatial)
}
