//! Constants, shapes as values, and control flow that the constants decide.

use super::super::call::Call;
use super::Import;
use crate::builtin::ops::{Binary, BinaryKind, Concat, Expand, Slice, SliceRange};
use crate::builtin::tensor::Tensor;
use crate::{Error, Result};
use protocol::DType;

pub(super) const OPS: &[(&str, Import)] = &[
    ("Constant", constant),
    ("ConstantOfShape", constant_of_shape),
    ("CumSum", cum_sum),
    ("Dropout", dropout),
    ("Identity", identity),
    ("If", if_),
    ("Range", range),
    ("Shape", shape),
    ("Size", size),
];

/// Steps that one `CumSum` is unrolled to.
const MAX_CUM_SUM: usize = 4096;

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
    let name = call.name(0);
    let value = call.graph().constant(name, value, None)?;
    call.set(0, value)
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

fn dropout(call: &mut Call<'_, '_>) -> Result<()> {
    call.ignore(&["seed", "ratio"]);
    if call.wants(1) || call.constant_number(2)?.is_some_and(|training| training != 0.0) {
        return Err(Error::Unsupported("training mode".to_owned()));
    }
    identity(call)
}

fn shape(call: &mut Call<'_, '_>) -> Result<()> {
    let x = call.input(0)?;
    let dims: Vec<i64> = call.shape(x).iter().map(|dim| *dim as i64).collect();
    let range = SliceRange::python(dims.len(), call.int_or("start", 0)?, call.int_or("end", i64::MAX)?, 1)?;
    let dims: Vec<i64> = dims.into_iter().skip(range.start).take(range.count).collect();
    let tensor = Tensor::from_elements(&[dims.len()], &dims)?;
    let name = call.name(0);
    let value = call.graph().constant(name, tensor, None)?;
    call.set(0, value)
}

fn size(call: &mut Call<'_, '_>) -> Result<()> {
    let x = call.input(0)?;
    let tensor = Tensor::scalar(call.fact(x).len() as i64)?;
    let name = call.name(0);
    let value = call.graph().constant(name, tensor, None)?;
    call.set(0, value)
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

/// Running sums along a dimension, one addition per step.
fn cum_sum(call: &mut Call<'_, '_>) -> Result<()> {
    let x = call.input(0)?;
    let dims = call.shape(x);
    let axis = call.constant_number(1)?.unwrap_or(0.0) as i64;
    let axis = Call::axis(axis, dims.len())?;
    let (exclusive, reverse) = (call.int_or("exclusive", 0)? != 0, call.int_or("reverse", 0)? != 0);
    if exclusive || dims[axis] > MAX_CUM_SUM || dims[axis] == 0 {
        return Err(Error::Unsupported(format!("over {} elements, or exclusive", dims[axis])));
    }
    let mut parts = Vec::new();
    for step in 0..dims[axis] {
        let start = if reverse { dims[axis] - 1 - step } else { step };
        let mut ranges: Vec<SliceRange> = dims.iter().map(|dim| SliceRange::all(*dim)).collect();
        ranges[axis] = SliceRange { start, count: 1, step: 1 };
        let part = call.add(Slice { ranges }, &[x])?;
        let sum = match parts.last() {
            Some(last) => call.add(Binary::new(BinaryKind::Add), &[*last, part])?,
            None => part,
        };
        parts.push(sum);
    }
    if reverse {
        parts.reverse();
    }
    call.result(Concat { axis }, &parts)
}

/// Only the branch that a constant condition chooses.
fn if_(call: &mut Call<'_, '_>) -> Result<()> {
    let condition = call.constant_number(0)?.ok_or_else(|| Error::ModelInvalid("no condition".to_owned()))?;
    call.ignore(&["then_branch", "else_branch"]);
    let name = if condition != 0.0 { "then_branch" } else { "else_branch" };
    let branch = call.node.attribute(name);
    let branch = branch.map(|branch| branch.graphs(call.importer.depth)).transpose()?.unwrap_or_default();
    let [branch] = branch.as_slice() else {
        return Err(Error::ModelInvalid(format!("no graph in attribute `{name}`")));
    };
    if branch.outputs.len() != call.node.outputs.len() {
        return Err(Error::ModelInvalid(format!("{} results of `{name}`", branch.outputs.len())));
    }
    let results = call.importer.scoped(|importer| {
        importer.constants(branch)?;
        importer.nodes(branch)?;
        branch.outputs.iter().map(|output| importer.value(output.name)).collect::<Result<Vec<_>>>()
    })?;
    for (index, result) in results.into_iter().enumerate() {
        call.set(index, result)?;
    }
    Ok(())
}
