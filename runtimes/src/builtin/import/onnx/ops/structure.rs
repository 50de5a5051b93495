//! Constants, and shapes as values.

use super::super::call::Call;
use super::Import;
use crate::builtin::ops::{CumSum, Expand, SliceRange};
use crate::builtin::tensor::Tensor;
use crate::{Error, Result};
use protocol::DType;

pub(super) const OPS: &[(&str, Import)] = &[
    ("Constant", constant),
    ("ConstantOfShape", constant_of_shape),
    ("CumSum", cum_sum),
    ("Dropout", dropout),
    ("Identity", identity),
    ("Range", range),
    ("Shape", shape),
    ("Size", size),
];

fn constant(call: &mut Call<'_, '_>) -> Result<()> {
    let value = if let Some(value) = call.tensor("value")? {
        value
    } else if let Some(value) = call.float("value_float")? {
        Tensor::scalar(value)?
    } else if let Some(value) = call.int("value_int")? {
        Tensor::scalar(value)?
    } else if let Some(values) = call.floats("value_floats")? {
        Tensor::from_elements(&[values.len()], &values)?
    } else if let Some(values) = call.ints("value_ints")? {
        Tensor::from_elements(&[values.len()], &values)?
    } else {
        return Err(Error::Unsupported("a constant that is no tensor of numbers".to_owned()));
    };
    call.set_constant(0, value)
}

fn constant_of_shape(call: &mut Call<'_, '_>) -> Result<()> {
    let dims = call.constant_ints(0)?.unwrap_or_default();
    let shape: Option<Vec<usize>> = dims.iter().map(|dim| usize::try_from(*dim).ok()).collect();
    let shape = shape.ok_or_else(|| Error::ModelInvalid(format!("negative sizes in {dims:?}")))?;
    let value = call.tensor("value")?.map_or_else(|| Tensor::scalar(0f32), Ok)?;
    let one = value.reshaped(&[]).map_err(|e| e.at("attribute `value`"))?;
    let one = call.add_constant(one)?;
    call.result(Expand { shape }, &[one])
}

fn identity(call: &mut Call<'_, '_>) -> Result<()> {
    let x = call.input(0)?;
    call.set(0, x)
}

/// In training nothing is left out with a ratio of 0; before version 12 the ratio was an attribute.
fn dropout(call: &mut Call<'_, '_>) -> Result<()> {
    call.ignore(&["seed", "is_test"]);
    let training = call.constant_number(2)?.is_some_and(|training| training != 0.0);
    let ratio = match call.float("ratio")? {
        Some(ratio) => f64::from(ratio),
        None if training => call.constant_number(1)?.unwrap_or(0.5),
        None => 0.5,
    };
    if training && ratio != 0.0 {
        return Err(Error::Unsupported("random results: training mode".to_owned()));
    }
    if call.wants(1) {
        let shape = call.shape(call.input(0)?);
        let mask = Tensor::from_bytes(DType::Bool, &[], &[1])?;
        let one = call.add_constant(mask)?;
        let name = call.name(1);
        let mask = call.graph().add(name, Expand { shape }, &[one])?;
        call.set(1, mask)?;
    }
    identity(call)
}

fn shape(call: &mut Call<'_, '_>) -> Result<()> {
    let x = call.input(0)?;
    let dims: Vec<i64> = call.shape(x).iter().map(|dim| *dim as i64).collect();
    let range = SliceRange::python(dims.len(), call.int_or("start", 0)?, call.int_or("end", i64::MAX)?, 1)?;
    let dims: Vec<i64> = dims.into_iter().skip(range.start).take(range.count).collect();
    let tensor = Tensor::from_elements(&[dims.len()], &dims)?;
    call.set_constant(0, tensor)
}

fn size(call: &mut Call<'_, '_>) -> Result<()> {
    let x = call.input(0)?;
    let tensor = Tensor::scalar(call.fact(x).len() as i64)?;
    call.set_constant(0, tensor)
}

/// start, start + delta, ... up to but without limit.
fn range(call: &mut Call<'_, '_>) -> Result<()> {
    let dtype = call.constant(0)?.dtype();
    let mut numbers = [0.0; 3];
    for (index, number) in numbers.iter_mut().enumerate() {
        let missing = || Error::ModelInvalid("start, limit and delta are needed".to_owned());
        *number = call.constant_number(index)?.ok_or_else(missing)?;
    }
    let [start, limit, delta] = numbers;
    let count = ((limit - start) / delta).ceil().max(0.0);
    let most = crate::builtin::limits::MAX_TENSOR_BYTES / 8;
    if delta == 0.0 || count.is_nan() || count > most as f64 {
        return Err(Error::Unsupported(format!("a range from {start} to {limit} by {delta}")));
    }
    let count = count as usize;
    let tensor = match dtype {
        DType::I64 | DType::I32 => {
            let values: Vec<i64> = (0..count as i64).map(|i| start as i64 + i * delta as i64).collect();
            Tensor::from_elements(&[count], &values)?
        }
        DType::F32 => {
            let values: Vec<f32> = (0..count).map(|i| start as f32 + i as f32 * delta as f32).collect();
            Tensor::from_elements(&[count], &values)?
        }
        other => return Err(Error::Unsupported(format!("a range of {other}"))),
    };
    let value = call.add_constant(tensor)?;
    let value = call.cast(value, dtype)?;
    call.set(0, value)
}

fn cum_sum(call: &mut Call<'_, '_>) -> Result<()> {
    let x = call.input(0)?;
    let axis = call.constant_number(1)?.unwrap_or(0.0) as i64;
    let axis = Call::axis(axis, call.rank(x))?;
    let (exclusive, reverse) = (call.int_or("exclusive", 0)? != 0, call.int_or("reverse", 0)? != 0);
    call.result(CumSum { axis, exclusive, reverse }, &[x])
}
