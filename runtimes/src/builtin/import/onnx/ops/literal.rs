//! Quantisation by blocks or channels of activations: computed as the standard writes it, element by element. What the
//! engine knows as a quantised tensor has one scale, or one per channel of constant weights.

use super::super::call::Call;
use crate::builtin::graph::ValueId;
use crate::builtin::limits;
use crate::builtin::ops::{Binary, BinaryKind, Cast, Clamp, Clip, Gather, Unary, UnaryKind};
use crate::builtin::tensor::Tensor;
use crate::{Error, Result};
use protocol::DType;

/// (x − zero point) · scale
pub(super) fn dequantize(call: &mut Call<'_, '_>) -> Result<()> {
    let x = call.input(0)?;
    let shape = call.shape(x);
    let scale = spread(call, 1, &shape)?;
    let x = call.cast(x, DType::F32)?;
    let x = match zero_point(call, &shape)? {
        Some(zero) => call.add(Binary::new(BinaryKind::Sub), &[x, zero])?,
        None => x,
    };
    call.result(Binary::new(BinaryKind::Mul), &[x, scale])
}

/// x / scale + zero point, rounded to the nearest, ties to even, and cut to the type's range
pub(super) fn quantize(call: &mut Call<'_, '_>) -> Result<()> {
    let x = call.input(0)?;
    let shape = call.shape(x);
    let asked = call.int("output_dtype")?.and_then(|to| i32::try_from(to).ok()).filter(|to| *to != 0);
    let given = call.optional(2)?.map(|zero| call.fact(zero).dtype);
    let dtype = given.or(asked.and_then(super::super::tensor::element_type)).unwrap_or(DType::U8);
    let (min, max) = match dtype {
        DType::I8 => (-128.0, 127.0),
        DType::U8 => (0.0, 255.0),
        DType::I16 => (-32768.0, 32767.0),
        DType::U16 => (0.0, 65535.0),
        other => return Err(Error::Unsupported(format!("quantisation to {other} by blocks"))),
    };
    let scale = spread(call, 1, &shape)?;
    let x = call.cast(x, DType::F32)?;
    let scaled = call.add(Binary::new(BinaryKind::Div), &[x, scale])?;
    let rounded = call.add(Unary { kind: UnaryKind::Round }, &[scaled])?;
    let shifted = match zero_point(call, &shape)? {
        Some(zero) => call.add(Binary::new(BinaryKind::Add), &[rounded, zero])?,
        None => rounded,
    };
    let cut = call.add(Clip { clamp: Clamp { min, max } }, &[shifted])?;
    call.result(Cast { to: dtype }, &[cut])
}

fn zero_point(call: &mut Call<'_, '_>, shape: &[usize]) -> Result<Option<ValueId>> {
    if !call.has(2) {
        return Ok(None);
    }
    spread(call, 2, shape).map(Some)
}

/// Operand `index` as f32, in a shape that is broadcast to `shape`: one number, one per place along the axis, or one per
/// block along it.
fn spread(call: &mut Call<'_, '_>, index: usize, shape: &[usize]) -> Result<ValueId> {
    let value = call.input(index)?;
    let value = call.cast(value, DType::F32)?;
    let own = call.shape(value);
    if call.fact(value).len() == 1 {
        return call.reshape(value, &[]);
    }
    let axis = Call::axis(call.int_or("axis", 1)?, shape.len())?;
    let block = usize::try_from(call.int_or("block_size", 0)?).unwrap_or(0);
    let unfit = || Error::ModelInvalid(format!("scales {own:?} in blocks of {block} for shape {shape:?}"));
    if block == 0 {
        if own != [shape[axis]] {
            return Err(unfit());
        }
        let mut along = vec![1; shape.len() - axis];
        along[0] = shape[axis];
        return call.reshape(value, &along);
    }
    let others = |d: usize| if d == axis { own[d] == shape[d].div_ceil(block) } else { own[d] == shape[d] };
    if own.len() != shape.len() || !(0..own.len()).all(others) {
        return Err(unfit());
    }
    limits::bytes(&[shape[axis]], 8)?;
    let blocks: Vec<i64> = (0..shape[axis]).map(|i| (i / block) as i64).collect();
    let blocks = call.add_constant(Tensor::from_elements(&[blocks.len()], &blocks)?)?;
    call.add(Gather { axis }, &[value, blocks])
}
