//! Reductions and softmax.

use super::super::call::Call;
use super::Import;
use crate::Result;
use crate::builtin::graph::ValueId;
use crate::builtin::ops::{
    Binary, BinaryKind, Cast, Reduce, ReduceKind, Reshape, Slice, SliceRange, Softmax, Transpose, Unary,
    UnaryKind,
};
use crate::builtin::tensor::Tensor;
use protocol::DType;

pub(super) const OPS: &[(&str, Import)] = &[
    ("ArgMax", |call| arg(call, ReduceKind::ArgMax)),
    ("ArgMin", |call| arg(call, ReduceKind::ArgMin)),
    ("LogSoftmax", |call| softmax(call, true)),
    ("ReduceL1", |call| reduce(call, ReduceKind::L1)),
    ("ReduceL2", |call| reduce(call, ReduceKind::L2)),
    ("ReduceLogSum", |call| log_of(call, false)),
    ("ReduceLogSumExp", |call| log_of(call, true)),
    ("ReduceMax", |call| reduce(call, ReduceKind::Max)),
    ("ReduceMean", |call| reduce(call, ReduceKind::Mean)),
    ("ReduceMin", |call| reduce(call, ReduceKind::Min)),
    ("ReduceProd", |call| reduce(call, ReduceKind::Prod)),
    ("ReduceSum", |call| reduce(call, ReduceKind::Sum)),
    ("ReduceSumSquare", |call| reduce(call, ReduceKind::SumSquare)),
    ("Softmax", |call| softmax(call, false)),
];

/// The dimensions of a reduction: an attribute, or an operand in later versions; none means all.
fn axes(call: &Call<'_, '_>, x: ValueId) -> Result<Vec<usize>> {
    let given = match call.ints("axes")? {
        Some(axes) => Some(axes),
        None => call.constant_ints(1)?,
    };
    let nothing = call.int_or("noop_with_empty_axes", 0)? != 0;
    match given.filter(|axes| !axes.is_empty()) {
        Some(axes) => Call::axes(&axes, call.rank(x)),
        None if nothing => Ok(Vec::new()),
        None => Ok((0..call.rank(x)).collect()),
    }
}

fn reduce(call: &mut Call<'_, '_>, kind: ReduceKind) -> Result<()> {
    let x = call.input(0)?;
    let axes = axes(call, x)?;
    let keep_dims = call.int_or("keepdims", 1)? != 0;
    let kind = match (kind, call.fact(x).dtype) {
        (ReduceKind::Max, DType::Bool) => ReduceKind::Any,
        (ReduceKind::Min, DType::Bool) => ReduceKind::All,
        _ => kind,
    };
    call.result(Reduce { kind, axes, keep_dims }, &[x])
}

/// The logarithm of a sum, of exponentials or not.
fn log_of(call: &mut Call<'_, '_>, exp: bool) -> Result<()> {
    let x = call.input(0)?;
    let axes = axes(call, x)?;
    let keep_dims = call.int_or("keepdims", 1)? != 0;
    if !exp {
        let sum = call.add(Reduce { kind: ReduceKind::Sum, axes, keep_dims }, &[x])?;
        return call.result(Unary { kind: UnaryKind::Log }, &[sum]);
    }
    // exp(x − max) does not overflow
    let max = call.add(Reduce { kind: ReduceKind::Max, axes: axes.clone(), keep_dims: true }, &[x])?;
    let shifted = call.add(Binary::new(BinaryKind::Sub), &[x, max])?;
    let powers = call.add(Unary { kind: UnaryKind::Exp }, &[shifted])?;
    let sum = call.add(Reduce { kind: ReduceKind::Sum, axes, keep_dims }, &[powers])?;
    let log = call.add(Unary { kind: UnaryKind::Log }, &[sum])?;
    let shape = call.shape(log);
    let max = call.reshape(max, &shape)?;
    call.result(Binary::new(BinaryKind::Add), &[log, max])
}

/// The index of the first extreme element, or of the last, which is the first from the end.
fn arg(call: &mut Call<'_, '_>, kind: ReduceKind) -> Result<()> {
    let last = call.int_or("select_last_index", 0)? != 0;
    let x = call.input(0)?;
    let axis = Call::axis(call.int_or("axis", 0)?, call.rank(x))?;
    let keep_dims = call.int_or("keepdims", 1)? != 0;
    let op = Reduce { kind, axes: vec![axis], keep_dims };
    let length = call.shape(x)[axis];
    if !last || length == 0 {
        let index = call.add(op, &[x])?;
        return call.result(Cast { to: DType::I64 }, &[index]);
    }
    let mut ranges: Vec<SliceRange> = call.shape(x).iter().map(|dim| SliceRange::all(*dim)).collect();
    ranges[axis] = SliceRange { start: length - 1, count: length, step: -1 };
    let reversed = call.add(Slice { ranges }, &[x])?;
    let index = call.add(op, &[reversed])?;
    let index = call.cast(index, DType::I64)?;
    let end = call.add_constant(Tensor::scalar(length as i64 - 1)?)?;
    call.result(Binary::new(BinaryKind::Sub), &[end, index])
}

/// Up to version 12 over all dimensions from `axis` on, later along `axis`.
fn softmax(call: &mut Call<'_, '_>, log: bool) -> Result<()> {
    let x = call.input(0)?;
    let (shape, old) = (call.shape(x), call.opset() < 13);
    let axis = Call::axis(call.int_or("axis", if old { 1 } else { -1 })?, shape.len())?;
    let op = Softmax { beta: 1.0, log };
    if axis + 1 == shape.len() {
        return call.result(op, &[x]);
    }
    if old {
        let rows = shape[..axis].iter().product();
        let flat = call.reshape(x, &[rows, shape[axis..].iter().product()])?;
        let y = call.add(op, &[flat])?;
        return call.result(Reshape { shape }, &[y]);
    }
    let mut perm: Vec<usize> = (0..shape.len()).collect();
    perm.swap(axis, shape.len() - 1);
    let moved = call.transpose(x, &perm)?;
    let y = call.add(op, &[moved])?;
    call.result(Transpose { perm }, &[y])
}
