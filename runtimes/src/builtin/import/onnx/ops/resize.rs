//! Scaling of dimensions: height and width by their own kernels, all else by weighted sums.

use super::super::call::Call;
use super::Import;
use super::normalization::renamed;
use super::window::{result_from_nhwc, size, spatial, to_nhwc};
use crate::builtin::limits;
use crate::builtin::ops::{Coordinates, Mix, Resample, Resize, ResizeMode, cubic};
use crate::{Error, Result};

pub(super) const OPS: &[(&str, Import)] = &[("Resize", resize), ("Upsample", upsample)];

/// Elements of one dimension that is resized by weighted sums; each has weights of its own.
const MAX_RESAMPLED: usize = 1 << 20;

/// What the attributes say.
struct Asked {
    coordinates: Place,
    nearest: ResizeMode,
    /// Parameter of cubic convolution.
    cubic: f32,
    antialias: bool,
    exclude_outside: bool,
    extrapolation: f32,
    /// The part of the operand, with `tf_crop_and_resize`: beginnings, then ends.
    part: Vec<f32>,
}

/// Where output elements lie.
#[derive(Clone, Copy, PartialEq)]
enum Place {
    Usual(Coordinates),
    /// As half pixels, with the middle of the output on the middle of the operand.
    Symmetric,
    /// Within a part of the operand.
    Part,
}

/// Operands x, roi, scales, sizes; in version 10 x and scales.
fn resize(call: &mut Call<'_, '_>) -> Result<()> {
    let old = call.opset() < 11;
    let default = if old { "asymmetric" } else { "half_pixel" };
    let coordinates = match call.text_or("coordinate_transformation_mode", default)? {
        "half_pixel" => Place::Usual(Coordinates::HalfPixel),
        "pytorch_half_pixel" => Place::Usual(Coordinates::PytorchHalfPixel),
        "align_corners" => Place::Usual(Coordinates::AlignCorners),
        "asymmetric" => Place::Usual(Coordinates::Asymmetric),
        "half_pixel_symmetric" => Place::Symmetric,
        "tf_crop_and_resize" => Place::Part,
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
    let part = if coordinates == Place::Part { factors(call, 1)?.unwrap_or_default() } else { Vec::new() };
    let scales = factors(call, scales)?;
    let sizes = call.constant_ints(sizes)?.filter(|sizes| !sizes.is_empty());
    let asked = Asked {
        coordinates,
        nearest,
        cubic: call.float_or("cubic_coeff_a", -0.75)?,
        antialias: call.int_or("antialias", 0)? != 0,
        exclude_outside: call.int_or("exclude_outside", 0)? != 0,
        extrapolation: call.float_or("extrapolation_value", 0.0)?,
        part,
    };
    scaled(call, &asked, scales, sizes)
}

/// As `Resize` in version 10.
fn upsample(call: &mut Call<'_, '_>) -> Result<()> {
    let scales = match call.floats("scales")? {
        Some(scales) => Some(scales),
        None => factors(call, 1)?,
    };
    let asked = Asked {
        coordinates: Place::Usual(Coordinates::Asymmetric),
        nearest: ResizeMode::Floor,
        cubic: -0.75,
        antialias: false,
        exclude_outside: false,
        extrapolation: 0.0,
        part: Vec::new(),
    };
    scaled(call, &asked, scales, None)
}

fn factors(call: &Call<'_, '_>, index: usize) -> Result<Option<Vec<f32>>> {
    if !call.has(index) {
        return Ok(None);
    }
    let factors: Vec<f32> = call.constant(index)?.to_f64()?.into_iter().map(|f| f as f32).collect();
    Ok(Some(factors).filter(|factors| !factors.is_empty()))
}

/// One dimension that is scaled.
struct Axis {
    axis: usize,
    /// Its place among those that are named.
    position: usize,
    input: usize,
    output: usize,
    factor: f32,
}

fn axes(
    call: &Call<'_, '_>,
    input: &[usize],
    scales: Option<&[f32]>,
    sizes: Option<&[i64]>,
) -> Result<Vec<Axis>> {
    let named = match call.ints("axes")? {
        Some(axes) => axes.iter().map(|axis| Call::axis(*axis, input.len())).collect::<Result<Vec<_>>>()?,
        None => (0..input.len()).collect(),
    };
    let missing = || Error::ModelInvalid("scales or sizes do not fit the operand".to_owned());
    let mut all = Vec::new();
    for (position, axis) in named.into_iter().enumerate() {
        let length = input[axis];
        let (output, factor) = match (sizes, scales) {
            (Some(sizes), _) => {
                let size = sizes.get(position).and_then(|size| usize::try_from(*size).ok());
                let size = size.ok_or_else(missing)?;
                (size, size as f32 / length as f32)
            }
            (None, Some(scales)) => {
                let scale = *scales.get(position).filter(|scale| **scale > 0.0).ok_or_else(missing)?;
                ((length as f32 * scale).floor() as usize, scale)
            }
            (None, None) => return Err(missing()),
        };
        all.push(Axis { axis, position, input: length, output, factor });
    }
    if sizes.is_none() {
        return Ok(all);
    }
    // one factor for all, such that no dimension is larger, or smaller, than asked for
    let factors = all.iter().map(|axis| axis.factor);
    let common = match call.text_or("keep_aspect_ratio_policy", "stretch")? {
        "not_larger" => factors.reduce(f32::min),
        "not_smaller" => factors.reduce(f32::max),
        _ => None,
    };
    for axis in &mut all {
        if let Some(factor) = common {
            axis.factor = factor;
            axis.output = (factor * axis.input as f32 + 0.5).floor() as usize;
        }
    }
    Ok(all)
}

fn scaled(
    call: &mut Call<'_, '_>,
    asked: &Asked,
    scales: Option<Vec<f32>>,
    sizes: Option<Vec<i64>>,
) -> Result<()> {
    call.ignore(&["keep_aspect_ratio_policy"]);
    let mode = match call.text_or("mode", "nearest")? {
        "nearest" => Some(asked.nearest),
        "linear" | "bilinear" => Some(ResizeMode::Linear),
        "cubic" => None,
        other => return Err(Error::Unsupported(format!("mode `{other}`"))),
    };
    let x = call.input(0)?;
    let input = call.shape(x);
    let axes = axes(call, &input, scales.as_deref(), sizes.as_deref())?;
    let (mut output, mut factor) = (input.clone(), vec![1.0; input.len()]);
    for axis in &axes {
        output[axis.axis] = axis.output;
        factor[axis.axis] = axis.factor;
    }
    limits::elements(&output)?;
    let plain = !asked.antialias && !asked.exclude_outside && matches!(input.len(), 3 | 4);
    let (Place::Usual(coordinates), Some(mode), true, true) =
        (asked.coordinates, mode, plain, output[..2.min(output.len())] == input[..2.min(input.len())])
    else {
        return resampled(call, asked, mode, &axes);
    };
    let spatial = spatial(call, x)?;
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

/// One dimension after the other, by weighted sums.
fn resampled(call: &mut Call<'_, '_>, asked: &Asked, mode: Option<ResizeMode>, axes: &[Axis]) -> Result<()> {
    let x = call.input(0)?;
    let dtype = call.fact(x).dtype;
    let mut y = call.real(x)?;
    for axis in axes {
        if axis.input == 0 {
            return Err(Error::ModelInvalid("nothing to resize".to_owned()));
        }
        if axis.input.max(axis.output) > MAX_RESAMPLED {
            let message = format!("{} elements resized to {}", axis.input, axis.output);
            return Err(Error::Unsupported(message));
        }
        if axis.input == axis.output && axis.factor == 1.0 && asked.coordinates != Place::Part {
            continue;
        }
        let mixes = (0..axis.output).map(|i| asked.mix(axis, axes.len(), mode, i)).collect();
        y = call.add(Resample { axis: axis.axis, mixes }, &[y])?;
    }
    let y = call.cast(y, dtype)?;
    renamed(call, y)
}

impl Asked {
    /// What output element `i` is made of.
    fn mix(&self, axis: &Axis, axes: usize, mode: Option<ResizeMode>, i: usize) -> Mix {
        let (length, scale) = (axis.input as f64, f64::from(axis.factor));
        let (at, outputs) = (i as f64, axis.output as f64);
        let half = |at: f64| (at + 0.5) / scale - 0.5;
        let point = match self.coordinates {
            Place::Usual(Coordinates::HalfPixel) => half(at),
            Place::Usual(Coordinates::PytorchHalfPixel) => {
                if axis.output > 1 {
                    half(at)
                } else {
                    -0.5
                }
            }
            Place::Usual(Coordinates::AlignCorners) => at * (length - 1.0) / (outputs - 1.0).max(1.0),
            Place::Usual(Coordinates::Asymmetric) => at / scale,
            Place::Symmetric => half(at) + length / 2.0 * (1.0 - outputs / (scale * length)),
            Place::Part => {
                let edge = |at: usize, default: f32| f64::from(self.part.get(at).copied().unwrap_or(default));
                let (start, end) = (edge(axis.position, 0.0), edge(axes + axis.position, 1.0));
                let last = length - 1.0;
                let point = if axis.output > 1 {
                    start * last + at * (end - start) * last / (outputs - 1.0)
                } else {
                    0.5 * (start + end) * last
                };
                if !(0.0..=last).contains(&point) {
                    return Mix::Constant(self.extrapolation);
                }
                point
            }
        };
        // the element before a point, so that an element itself is the second of two
        let first = point.ceil() - 1.0;
        let part = (point - first) as f32;
        let weights = self.weights(mode, part, axis.factor);
        let half = (weights.len() / 2) as i64;
        let start = (first as i64)
            .saturating_sub(half - 1)
            .clamp(-half, axis.input as i64 + half - weights.len() as i64);
        let mut parts: Vec<(usize, f32)> = Vec::with_capacity(weights.len());
        let mut sum = 0.0;
        for (k, weight) in weights.into_iter().enumerate().filter(|(_, weight)| *weight != 0.0) {
            let index = start + k as i64;
            let inside = (0..axis.input as i64).contains(&index);
            if inside || !self.exclude_outside {
                parts.push((index.clamp(0, axis.input as i64 - 1) as usize, weight));
                sum += weight;
            }
        }
        if self.exclude_outside {
            parts.iter_mut().for_each(|(_, weight)| *weight /= sum);
        }
        Mix::Weighted(parts)
    }

    /// Weights of an even number of elements around a point, `part` after the first of the middle two.
    fn weights(&self, mode: Option<ResizeMode>, part: f32, scale: f32) -> Vec<f32> {
        let nearest = |second: bool| if second { vec![0.0, 1.0] } else { vec![1.0, 0.0] };
        match mode {
            Some(ResizeMode::Floor) => nearest(part >= 1.0),
            Some(ResizeMode::Ceil) => nearest(true),
            Some(ResizeMode::NearestFloor) => nearest(part > 0.5),
            Some(ResizeMode::NearestCeil) => nearest(part >= 0.5),
            _ if self.antialias && scale < 1.0 => self.filter(mode.is_none(), part, scale),
            Some(ResizeMode::Linear) => vec![1.0 - part, part],
            None => cubic(part, self.cubic).to_vec(),
        }
    }

    /// The kernel of the mode stretched over the elements that come together in one.
    fn filter(&self, is_cubic: bool, part: f32, scale: f32) -> Vec<f32> {
        let reach = if is_cubic { 2.0 } else { 1.0 };
        let start = (-reach / scale).floor() as i64 + 1;
        let weight = |i: i64| {
            let distance = (scale * (i as f32 - part)).abs();
            match is_cubic {
                false => (1.0 - distance).clamp(0.0, 1.0),
                true if distance <= 1.0 => cubic(distance, self.cubic)[1],
                true if distance < 2.0 => cubic(distance - 1.0, self.cubic)[0],
                true => 0.0,
            }
        };
        let weights: Vec<f32> = (start..2 - start).map(weight).collect();
        let sum: f32 = weights.iter().sum();
        weights.into_iter().map(|weight| weight / sum).collect()
    }
}
