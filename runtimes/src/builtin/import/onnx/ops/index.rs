//! What finds, picks and places elements by index.

use super::super::call::Call;
use super::Import;
use super::normalization::renamed;
use crate::builtin::graph::ValueId;
use crate::builtin::ops::{
    Binary, BinaryKind, Cast, Compare, CompareKind, Expand, Gather, GatherElements, GatherNd, Op, Reduce,
    ReduceKind, Reduction, Reshape, Scatter, ScatterKind, Select, TopK,
};
use crate::builtin::tensor::Tensor;
use crate::{Error, Result};
use protocol::DType;

pub(super) const OPS: &[(&str, Import)] = &[
    ("Compress", compress),
    ("GatherElements", gather_elements),
    ("GatherND", gather_nd),
    ("Hardmax", hardmax),
    ("MaxUnpool", max_unpool),
    ("OneHot", one_hot),
    ("ReverseSequence", reverse_sequence),
    ("Scatter", scatter_elements),
    ("ScatterElements", scatter_elements),
    ("ScatterND", scatter_nd),
    ("TopK", top_k),
    ("Trilu", trilu),
];

fn top_k(call: &mut Call<'_, '_>) -> Result<()> {
    // the order is the sorted one whether it is asked for or not
    call.ignore(&["sorted"]);
    let x = call.input(0)?;
    let axis = Call::axis(call.int_or("axis", -1)?, call.rank(x))?;
    let largest = call.int_or("largest", 1)? != 0;
    let k = match call.int("k")? {
        Some(k) => k,
        None => call.constant_number(1)?.unwrap_or(-1.0) as i64,
    };
    let k = usize::try_from(k).map_err(|_| Error::ModelInvalid(format!("{k} elements")))?;
    let names: Vec<String> = (0..2)
        .map(|index| if call.wants(index) { call.name(index).to_owned() } else { call.inner() })
        .collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let op = Op::from(TopK { axis, k, largest });
    let results = call.graph().add_node(&names, op, &[x], &[None, None])?;
    results.into_iter().enumerate().try_for_each(|(index, value)| call.set(index, value))
}

fn reduction(call: &Call<'_, '_>) -> Result<Reduction> {
    Ok(match call.text_or("reduction", "none")? {
        "none" => Reduction::Replace,
        "add" => Reduction::Add,
        "mul" => Reduction::Mul,
        "max" => Reduction::Max,
        "min" => Reduction::Min,
        other => return Err(Error::ModelInvalid(format!("reduction `{other}`"))),
    })
}

fn scatter_elements(call: &mut Call<'_, '_>) -> Result<()> {
    let operands = [call.input(0)?, call.input(1)?, call.input(2)?];
    let axis = Call::axis(call.int_or("axis", 0)?, call.rank(operands[0]))?;
    let reduction = reduction(call)?;
    call.result(Scatter { kind: ScatterKind::Elements { axis }, reduction }, &operands)
}

fn scatter_nd(call: &mut Call<'_, '_>) -> Result<()> {
    let operands = [call.input(0)?, call.input(1)?, call.input(2)?];
    let reduction = reduction(call)?;
    call.result(Scatter { kind: ScatterKind::Nd, reduction }, &operands)
}

fn gather_elements(call: &mut Call<'_, '_>) -> Result<()> {
    let (x, indices) = (call.input(0)?, call.input(1)?);
    let axis = Call::axis(call.int_or("axis", 0)?, call.rank(x))?;
    call.result(GatherElements { axis }, &[x, indices])
}

fn gather_nd(call: &mut Call<'_, '_>) -> Result<()> {
    let (x, indices) = (call.input(0)?, call.input(1)?);
    let batch_dims = usize::try_from(call.int_or("batch_dims", 0)?).unwrap_or(usize::MAX);
    call.result(GatherNd { batch_dims }, &[x, indices])
}

/// 0, 1, 2, ... along dimension `axis` of `rank`.
fn counting(call: &mut Call<'_, '_>, length: usize, axis: usize, rank: usize) -> Result<ValueId> {
    let mut shape = vec![1; rank];
    shape[axis] = length;
    call.graph().spend(crate::builtin::limits::bytes(&shape, 8)? as u64)?;
    let values: Vec<i64> = (0..length as i64).collect();
    call.add_constant(Tensor::from_elements(&shape, &values)?)
}

/// Operands: indices, their number, and the values for off and on. An index outside is on nowhere.
fn one_hot(call: &mut Call<'_, '_>) -> Result<()> {
    let (indices, values) = (call.input(0)?, call.input(2)?);
    let depth = call.constant_number(1)?.unwrap_or(0.0);
    if !(0.0..=1e9).contains(&depth) || call.fact(values).len() != 2 {
        return Err(Error::ModelInvalid(format!("{depth} classes, values {:?}", call.shape(values))));
    }
    let rank = call.rank(indices);
    let axis = Call::axis(call.int_or("axis", -1)?, rank + 1)?;
    let indices = call.cast(indices, DType::I64)?;
    let mut number = |value: i64| call.add_constant(Tensor::scalar(value)?);
    let (zero, count) = (number(0)?, number(depth as i64)?);
    let negative = call.add(Compare { kind: CompareKind::Less }, &[indices, zero])?;
    let from_end = call.add(Binary::new(BinaryKind::Add), &[indices, count])?;
    let indices = call.add(Select, &[negative, from_end, indices])?;
    let mut shape = call.shape(indices);
    shape.insert(axis, 1);
    let indices = call.reshape(indices, &shape)?;
    let classes = counting(call, depth as usize, axis, rank + 1)?;
    let on = call.add(Compare { kind: CompareKind::Equal }, &[indices, classes])?;
    let mut value = |index: i64| {
        let index = call.add_constant(Tensor::scalar(index)?)?;
        call.add(Gather { axis: 0 }, &[values, index])
    };
    let (off_value, on_value) = (value(0)?, value(1)?);
    call.result(Select, &[on, on_value, off_value])
}

/// One where the first largest element is, else zero. Up to version 12 over all dimensions from `axis` on.
fn hardmax(call: &mut Call<'_, '_>) -> Result<()> {
    let mut x = call.input(0)?;
    let (shape, old) = (call.shape(x), call.opset() < 13);
    let mut axis = Call::axis(call.int_or("axis", if old { 1 } else { -1 })?, shape.len())?;
    if old {
        x = call.reshape(x, &[shape[..axis].iter().product(), shape[axis..].iter().product()])?;
        axis = 1;
    }
    let (length, rank, dtype) = (call.shape(x)[axis], call.rank(x), call.fact(x).dtype);
    let op = Reduce { kind: ReduceKind::ArgMax, axes: vec![axis], keep_dims: true };
    let largest = call.add(op, &[x])?;
    let places = counting(call, length, axis, rank)?;
    let here = call.add(Compare { kind: CompareKind::Equal }, &[largest, places])?;
    let y = call.add(Cast { to: dtype }, &[here])?;
    call.result(Reshape { shape }, &[y])
}

/// What is above or below a diagonal of matrices, else zero.
fn trilu(call: &mut Call<'_, '_>) -> Result<()> {
    let x = call.input(0)?;
    let upper = call.int_or("upper", 1)? != 0;
    let shift = call.constant_number(1)?.unwrap_or(0.0) as i64;
    let shape = call.shape(x);
    let [.., rows, columns] = shape[..] else {
        return Err(Error::ModelInvalid(format!("matrices in an operand of shape {shape:?}")));
    };
    call.graph().spend(10 * (crate::builtin::limits::elements(&[rows, columns])? as u64))?;
    let kept = |i: usize| {
        let (row, column) = ((i / columns.max(1)) as i64, (i % columns.max(1)) as i64);
        let distance = (column - row).saturating_sub(shift);
        u8::from(if upper { distance >= 0 } else { distance <= 0 })
    };
    let mask: Vec<u8> = (0..rows * columns).map(kept).collect();
    let mask = call.add_constant(Tensor::from_bytes(DType::Bool, &[rows, columns], &mask)?)?;
    let dtype = call.fact(x).dtype;
    let zero = call.add_constant(Tensor::zeros(dtype, &[])?)?;
    call.result(Select, &[mask, x, zero])
}

/// The slices for which a condition holds.
fn compress(call: &mut Call<'_, '_>) -> Result<()> {
    let x = call.input(0)?;
    let condition = call.constant(1)?.to_i64()?;
    let axis = call.int("axis")?.map(|axis| Call::axis(axis, call.rank(x))).transpose()?;
    let (x, axis) = match axis {
        Some(axis) => (x, axis),
        None => (call.reshape(x, &[call.fact(x).len()])?, 0),
    };
    let length = call.shape(x)[axis];
    let kept: Vec<i64> =
        (0..length as i64).zip(condition).filter(|(_, holds)| *holds != 0).map(|(i, _)| i).collect();
    let indices = call.add_constant(Tensor::from_elements(&[kept.len()], &kept)?)?;
    call.result(Gather { axis }, &[x, indices])
}

/// The first elements of each sequence, as many as it has, in opposite order.
fn reverse_sequence(call: &mut Call<'_, '_>) -> Result<()> {
    let x = call.input(0)?;
    let lengths = call.constant(1)?.to_i64()?;
    let shape = call.shape(x);
    let time = Call::axis(call.int_or("time_axis", 0)?, shape.len())?;
    let batch = Call::axis(call.int_or("batch_axis", 1)?, shape.len())?;
    if time == batch || lengths.len() != shape[batch] {
        return Err(Error::ModelInvalid(format!("{} lengths for shape {shape:?}", lengths.len())));
    }
    call.graph().spend(10 * (crate::builtin::limits::bytes(&shape, 8)? as u64))?;
    let stride = |axis: usize| shape[axis + 1..].iter().product::<usize>().max(1);
    let (of_time, of_batch) = (stride(time), stride(batch));
    let place = |i: usize| {
        let t = (i / of_time % shape[time].max(1)) as i64;
        let length = lengths[i / of_batch % shape[batch].max(1)];
        if t < length.min(shape[time] as i64) { length.min(shape[time] as i64) - 1 - t } else { t }
    };
    let places: Vec<i64> = (0..call.fact(x).len()).map(place).collect();
    let places = call.add_constant(Tensor::from_elements(&shape, &places)?)?;
    call.result(GatherElements { axis: time }, &[x, places])
}

/// Elements put where a `MaxPool` says that it found them, among zeros.
fn max_unpool(call: &mut Call<'_, '_>) -> Result<()> {
    let (x, indices) = (call.input(0)?, call.input(1)?);
    let input = call.shape(x);
    let spatial = input.len().saturating_sub(2);
    let numbers = |name: &'static str, count: usize, default: i64| -> Result<Vec<i64>> {
        let given = call.ints(name)?.unwrap_or_else(|| vec![default; count]);
        if given.len() == count { Ok(given) } else { Err(Error::ModelInvalid(format!("{name} {given:?}"))) }
    };
    let (kernel, strides) = (numbers("kernel_shape", spatial, 1)?, numbers("strides", spatial, 1)?);
    let pads = numbers("pads", 2 * spatial, 0)?;
    let pooled = |d: usize| {
        let span = (input[d + 2] as i64 - 1).checked_mul(strides[d])?.checked_add(kernel[d])?;
        usize::try_from(span.checked_sub(pads[d])?.checked_sub(pads[d + spatial])?).ok()
    };
    let mut shape = input[..2.min(input.len())].to_vec();
    for d in 0..spatial {
        shape.push(pooled(d).ok_or_else(|| Error::ModelInvalid("absurd sizes".to_owned()))?);
    }
    // indices are places in the tensor that was pooled, which a larger result keeps
    let pooled_elements = crate::builtin::limits::elements(&shape)?;
    let wanted = match call.constant_ints(2)? {
        Some(dims) => dims.iter().map(|d| usize::try_from(*d).unwrap_or(usize::MAX)).collect(),
        None => shape,
    };
    let elements = crate::builtin::limits::elements(&wanted)?;
    if elements < pooled_elements {
        return Err(Error::ModelInvalid(format!("an output of shape {wanted:?} is too small")));
    }
    let zero = Tensor::zeros(call.fact(x).dtype, &[])?;
    let zero = call.add_constant(zero)?;
    let zeros = call.add(Expand { shape: vec![elements] }, &[zero])?;
    let count = call.fact(x).len();
    let (x, indices) = (call.reshape(x, &[count])?, call.reshape(indices, &[count])?);
    let op = Scatter { kind: ScatterKind::Elements { axis: 0 }, reduction: Reduction::Replace };
    let y = call.add(op, &[zeros, indices, x])?;
    let y = call.reshape(y, &wanted)?;
    renamed(call, y)
}
