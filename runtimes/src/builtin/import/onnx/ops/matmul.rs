//! Products of matrices.

use super::super::call::Call;
use super::Import;
use crate::builtin::graph::{OutputType, ValueId};
use crate::builtin::ops::{Binary, BinaryKind, Clamp, Dynamic, FullyConnected, MatMul};
use crate::builtin::tensor::Tensor;
use crate::{Error, Result};

pub(super) const OPS: &[(&str, Import)] = &[("Gemm", gemm), ("MatMul", matmul)];

fn matmul(call: &mut Call<'_, '_>) -> Result<()> {
    let (a, b) = (call.input(0)?, call.input(1)?);
    product(call, a, b, None)
}

/// `MatMul`: matrices in the last two dimensions; a first or second operand of one dimension is a row or column.
pub(super) fn product(
    call: &mut Call<'_, '_>,
    a: ValueId,
    b: ValueId,
    kind: Option<OutputType>,
) -> Result<()> {
    let (left, right) = (call.shape(a), call.shape(b));
    if left.is_empty() || right.is_empty() {
        return Err(Error::ModelInvalid("a scalar operand".to_owned()));
    }
    if right.len() == 2 && call.is_weight(b) && left.len() >= 2 {
        let weights = call.transpose(b, &[1, 0])?;
        let op = FullyConnected { keep_dims: true, clamp: Clamp::NONE, dynamic: Dynamic::default() };
        return finish(call, op, &[a, weights], kind);
    }
    let a = if left.len() == 1 { call.reshape(a, &[1, left[0]])? } else { a };
    let b = if right.len() == 1 { call.reshape(b, &[right[0], 1])? } else { b };
    if left.len() > 1 && right.len() > 1 {
        return finish(call, MatMul::default(), &[a, b], kind);
    }
    let y = call.add(MatMul::default(), &[a, b])?;
    let mut shape = call.shape(y);
    if right.len() == 1 {
        shape.pop();
    }
    if left.len() == 1 {
        let row = shape.len() - usize::from(right.len() > 1) - 1;
        shape.remove(row);
    }
    finish(call, crate::builtin::ops::Reshape { shape }, &[y], kind)
}

fn finish(
    call: &mut Call<'_, '_>,
    op: impl Into<crate::builtin::ops::Op>,
    inputs: &[ValueId],
    kind: Option<OutputType>,
) -> Result<()> {
    match kind {
        Some(kind) => call.result_as(op, inputs, kind),
        None => call.result(op, inputs),
    }
}

/// alpha · A · B + beta · C
fn gemm(call: &mut Call<'_, '_>) -> Result<()> {
    let (a, b) = (call.input(0)?, call.input(1)?);
    let (ta, tb) = (call.int_or("transA", 0)? != 0, call.int_or("transB", 0)? != 0);
    let (alpha, beta) = (call.float_or("alpha", 1.0)?, call.float_or("beta", 1.0)?);
    let c = call.optional(2)?;
    if call.rank(a) != 2 || call.rank(b) != 2 {
        return Err(Error::ModelInvalid("operands that are no matrices".to_owned()));
    }
    let a = if ta { call.transpose(a, &[1, 0])? } else { a };
    let columns = call.shape(b)[usize::from(!tb)];
    let a = scaled(call, a, alpha)?;
    let c = c.map(|c| scaled(call, c, beta)).transpose()?;
    if !call.is_weight(b) || c.is_some_and(|c| !call.is_weight(c)) {
        let b = if tb { call.transpose(b, &[1, 0])? } else { b };
        let Some(c) = c else { return call.result(MatMul::default(), &[a, b]) };
        let y = call.add(MatMul::default(), &[a, b])?;
        return call.result(Binary::new(BinaryKind::Add), &[y, c]);
    }
    let b = if tb { b } else { call.transpose(b, &[1, 0])? };
    let op = FullyConnected { keep_dims: true, clamp: Clamp::NONE, dynamic: Dynamic::default() };
    match c {
        Some(c) if call.fact(c).len() == columns && call.fact(c).shape.last() == Some(&columns) => {
            let c = call.reshape(c, &[columns])?;
            call.result(op, &[a, b, c])
        }
        Some(c) => {
            let product = call.add(op, &[a, b])?;
            call.result(Binary::new(BinaryKind::Add), &[product, c])
        }
        None => call.result(op, &[a, b]),
    }
}

fn scaled(call: &mut Call<'_, '_>, value: ValueId, factor: f32) -> Result<ValueId> {
    if factor == 1.0 {
        return Ok(value);
    }
    let factor = call.add_constant(Tensor::scalar(factor)?)?;
    let factor = call.cast(factor, call.fact(value).dtype)?;
    call.add(Binary::new(BinaryKind::Mul), &[value, factor])
}
