//! Tensors that are made of a few numbers: windows, filters, unit matrices.

use super::super::call::Call;
use super::super::tensor::element_type;
use super::Import;
use crate::builtin::limits;
use crate::builtin::tensor::Tensor;
use crate::{Error, Result};
use protocol::DType;
use std::f64::consts::PI;

pub(super) const OPS: &[(&str, Import)] = &[
    ("BlackmanWindow", |call| window(call, [0.42, 0.5, 0.08])),
    ("EyeLike", eye_like),
    ("HammingWindow", |call| window(call, [25.0 / 46.0, 21.0 / 46.0, 0.0])),
    ("HannWindow", |call| window(call, [0.5, 0.5, 0.0])),
    ("MelWeightMatrix", mel_weight_matrix),
];

/// An attribute that names an element type; f32 unless given.
fn dtype(call: &Call<'_, '_>, name: &'static str, default: DType) -> Result<DType> {
    let Some(number) = call.int(name)? else { return Ok(default) };
    let dtype = i32::try_from(number).ok().and_then(element_type);
    dtype.ok_or_else(|| Error::Unsupported(format!("element type number {number}")))
}

/// Numbers in a type, as the first result.
fn made(call: &mut Call<'_, '_>, shape: &[usize], values: &[f64], to: DType) -> Result<()> {
    let value = call.add_constant(Tensor::from_elements(shape, values)?)?;
    let value = match to {
        // 16-bit floats are calculated as f32
        DType::F16 | DType::BF16 => call.cast(value, DType::F32)?,
        other => call.cast(value, other)?,
    };
    call.set(0, value)
}

/// The integer of operand `index`, as a size.
fn size(call: &Call<'_, '_>, index: usize) -> Result<usize> {
    let number = call.constant_number(index)?.unwrap_or(-1.0);
    if !(0.0..=limits::MAX_TENSOR_BYTES as f64 / 8.0).contains(&number) {
        return Err(Error::ModelInvalid(format!("{number} as a size")));
    }
    Ok(number as usize)
}

/// a − b · cos(2πi / n) + c · cos(4πi / n)
fn window(call: &mut Call<'_, '_>, [a, b, c]: [f64; 3]) -> Result<()> {
    let to = dtype(call, "output_datatype", DType::F32)?;
    let length = size(call, 0)?;
    call.graph().spend(100 * length as u64)?;
    let period = if call.int_or("periodic", 1)? != 0 { length } else { length.saturating_sub(1) };
    let value = |i: usize| {
        let angle = 2.0 * PI * i as f64 / period.max(1) as f64;
        a - b * angle.cos() + c * (2.0 * angle).cos()
    };
    made(call, &[length], &(0..length).map(value).collect::<Vec<_>>(), to)
}

/// Ones on a diagonal.
fn eye_like(call: &mut Call<'_, '_>) -> Result<()> {
    let x = call.input(0)?;
    let to = dtype(call, "dtype", call.fact(x).dtype)?;
    let shift = call.int_or("k", 0)?;
    let shape = call.shape(x);
    let &[rows, columns] = shape.as_slice() else {
        return Err(Error::ModelInvalid(format!("a matrix like one of shape {shape:?}")));
    };
    call.graph().spend(10 * (limits::bytes(&shape, 8)? as u64))?;
    let one = |i: usize| (i % columns.max(1)) as i64 == ((i / columns.max(1)) as i64).saturating_add(shift);
    let values: Vec<f64> = (0..rows * columns).map(|i| f64::from(u8::from(one(i)))).collect();
    made(call, &shape, &values, to)
}

/// Triangles over the bins of a spectrum, evenly spaced on the mel scale.
fn mel_weight_matrix(call: &mut Call<'_, '_>) -> Result<()> {
    let to = dtype(call, "output_datatype", DType::F32)?;
    let (bands, length) = (size(call, 0)?, size(call, 1)?);
    let number = |call: &Call<'_, '_>, index| -> Result<f64> {
        call.constant_number(index)?.ok_or_else(|| Error::ModelInvalid("five operands are needed".to_owned()))
    };
    let (rate, low, high) = (number(call, 2)?, number(call, 3)?, number(call, 4)?);
    let bins = length / 2 + 1;
    call.graph().spend(50 * (limits::bytes(&[bins, bands], 8)? as u64))?;
    let mel = |hertz: f64| 2595.0 * (1.0 + hertz / 700.0).log10();
    let (low, high) = (mel(low), mel(high));
    // the standard divides by the number of edges, not of spaces between them
    let step = (high - low) / (bands as f64 + 2.0);
    let edge = |i: usize| {
        let hertz = 700.0 * (10f64.powf((low + i as f64 * step) / 2595.0) - 1.0);
        ((length as f64 + 1.0) * hertz / rate).floor()
    };
    let weight = |bin: f64, band: usize| {
        let [start, top, end] = [edge(band), edge(band + 1), edge(band + 2)];
        if bin == top {
            1.0
        } else if bin >= start && bin < top {
            (bin - start) / (top - start)
        } else if bin > top && bin < end {
            (end - bin) / (end - top)
        } else {
            0.0
        }
    };
    let at = |i: usize| weight((i / bands.max(1)) as f64, i % bands.max(1));
    let values: Vec<f64> = (0..bins * bands).map(at).collect();
    made(call, &[bins, bands], &values, to)
}
