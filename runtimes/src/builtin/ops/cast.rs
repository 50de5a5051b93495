//! Numbers in another element type, by value.

use super::{Operand, Operator, Prepare, arity};
use crate::Result;
use crate::builtin::graph::Fact;
use crate::builtin::step::Step;
use half::{bf16, f16};
use protocol::DType;

/// Operand: any type that is not quantised. Floats are truncated to integers (saturating), integers wrap,
/// anything but zero is true.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cast {
    /// The result's type.
    pub to: DType,
}

impl Operator for Cast {
    fn name(&self) -> &'static str {
        "Cast"
    }

    fn infer(&self, inputs: &[Operand<'_>]) -> Result<Vec<Fact>> {
        arity(inputs, 1, 1)?;
        Ok(vec![Fact::new(self.to, &inputs[0].fact.shape)])
    }

    fn prepare(&self, on: &Prepare<'_>) -> Result<Option<Step>> {
        let (from, to) = (on.inputs[0].fact.dtype, on.outputs[0].dtype);
        if on.inputs[0].fact.quant.is_some() || on.outputs[0].quant.is_some() {
            return Ok(None);
        }
        if from == to {
            return Ok(Some(Step::alias("cast")));
        }
        let integer = |d: DType| !matches!(d, DType::F32 | DType::F64 | DType::F16 | DType::BF16 | DType::U64);
        let label = "cast";
        Ok(Some(match (from, to) {
            (DType::F32, DType::F16) => Step::map(label, |x: &[f32], y: &mut [f16]| {
                x.iter().zip(y).for_each(|(x, y)| *y = f16::from_f32(*x));
            }),
            (DType::F16, DType::F32) => Step::map(label, |x: &[f16], y: &mut [f32]| {
                x.iter().zip(y).for_each(|(x, y)| *y = x.to_f32());
            }),
            _ if integer(from) && integer(to) => Step::new(label, move |inputs, mut outputs, _| {
                let (x, y) = (inputs.bytes(0), outputs.bytes(0));
                for (x, y) in x.chunks_exact(from.size()).zip(y.chunks_exact_mut(to.size())) {
                    put_integer(to, integer_at(from, x), y);
                }
            }),
            _ => Step::new(label, move |inputs, mut outputs, _| {
                let (x, y) = (inputs.bytes(0), outputs.bytes(0));
                for (x, y) in x.chunks_exact(from.size()).zip(y.chunks_exact_mut(to.size())) {
                    put_float(to, float_at(from, x), y);
                }
            }),
        }))
    }
}

/// The first bytes of a slice that has as many.
fn head<const N: usize>(bytes: &[u8]) -> [u8; N] {
    bytes.first_chunk().copied().unwrap_or([0; N])
}

fn integer_at(dtype: DType, x: &[u8]) -> i64 {
    match dtype {
        DType::I8 => i64::from(i8::from_le_bytes(head(x))),
        DType::U8 | DType::Bool => i64::from(x[0]),
        DType::I16 => i64::from(i16::from_le_bytes(head(x))),
        DType::U16 => i64::from(u16::from_le_bytes(head(x))),
        DType::I32 => i64::from(i32::from_le_bytes(head(x))),
        DType::U32 => i64::from(u32::from_le_bytes(head(x))),
        _ => i64::from_le_bytes(head(x)),
    }
}

fn put_integer(dtype: DType, v: i64, y: &mut [u8]) {
    if dtype == DType::Bool {
        y[0] = u8::from(v != 0);
    } else {
        y.copy_from_slice(&v.to_le_bytes()[..y.len()]);
    }
}

fn float_at(dtype: DType, x: &[u8]) -> f64 {
    match dtype {
        DType::F32 => f64::from(f32::from_le_bytes(head(x))),
        DType::F64 => f64::from_le_bytes(head(x)),
        DType::F16 => f16::from_le_bytes(head(x)).to_f64(),
        DType::BF16 => bf16::from_le_bytes(head(x)).to_f64(),
        DType::U64 => u64::from_le_bytes(head(x)) as f64,
        _ => integer_at(dtype, x) as f64,
    }
}

fn put_float(dtype: DType, v: f64, y: &mut [u8]) {
    match dtype {
        DType::F32 => y.copy_from_slice(&(v as f32).to_le_bytes()),
        DType::F64 => y.copy_from_slice(&v.to_le_bytes()),
        DType::F16 => y.copy_from_slice(&f16::from_f64(v).to_le_bytes()),
        DType::BF16 => y.copy_from_slice(&bf16::from_f64(v).to_le_bytes()),
        DType::Bool => y[0] = u8::from(v != 0.0),
        DType::I8 => y.copy_from_slice(&(v as i8).to_le_bytes()),
        DType::U8 => y.copy_from_slice(&(v as u8).to_le_bytes()),
        DType::I16 => y.copy_from_slice(&(v as i16).to_le_bytes()),
        DType::U16 => y.copy_from_slice(&(v as u16).to_le_bytes()),
        DType::I32 => y.copy_from_slice(&(v as i32).to_le_bytes()),
        DType::U32 => y.copy_from_slice(&(v as u32).to_le_bytes()),
        DType::I64 => y.copy_from_slice(&(v as i64).to_le_bytes()),
        DType::U64 => y.copy_from_slice(&(v as u64).to_le_bytes()),
    }
}
