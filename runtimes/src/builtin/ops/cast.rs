//! Numbers in another element type, by value.

use super::{Operand, Operator, Prepare, arity};
use crate::Result;
use crate::builtin::graph::Fact;
use crate::builtin::step::Step;
use half::slice::HalfFloatSliceExt;
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
                x.convert_to_f32_slice(y);
            }),
            (DType::I32, DType::F32) => Step::map(label, |x: &[i32], y: &mut [f32]| {
                x.iter().zip(y).for_each(|(x, y)| *y = *x as f32);
            }),
            (DType::I64, DType::F32) => Step::map(label, |x: &[i64], y: &mut [f32]| {
                x.iter().zip(y).for_each(|(x, y)| *y = *x as f32);
            }),
            (DType::Bool, DType::F32) => Step::map(label, |x: &[u8], y: &mut [f32]| {
                x.iter().zip(y).for_each(|(x, y)| *y = f32::from(u8::from(*x != 0)));
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::builtin::testing::{Given, on_all_tiers};

    fn cast<T: crate::builtin::kernels::memory::Element>(x: Given) -> Vec<T> {
        on_all_tiers::<T>(Cast { to: T::DTYPE }, &[x], None).swap_remove(0).1
    }

    #[test]
    fn by_value_saturating_or_wrapping() {
        let x = || Given::input(&[5], &[1.9f32, -1.9, 300.0, -1e20, f32::NAN]);
        assert_eq!(cast::<i8>(x()), [1, -1, 127, -128, 0]);
        assert_eq!(cast::<u8>(x()), [1, 0, 255, 0, 0]);
        assert_eq!(cast::<i64>(x()), [1, -1, 300, i64::MIN, 0]);
        let x = || Given::input(&[3], &[-1i32, 300, 0]);
        assert_eq!(cast::<u8>(x()), [255, 44, 0]);
        assert_eq!(cast::<f32>(x()), [-1.0, 300.0, 0.0]);
        assert_eq!(cast::<i64>(x()), [-1, 300, 0]);
        let halves = cast::<f16>(Given::input(&[2], &[1.5f32, 1e9]));
        assert_eq!(halves, [f16::from_f32(1.5), f16::INFINITY]);
        assert_eq!(cast::<f32>(Given::input(&[2], &halves)), [1.5, f32::INFINITY]);
        assert_eq!(cast::<f64>(Given::input(&[1], &[u64::MAX])), [u64::MAX as f64]);
    }

    #[test]
    fn truth_is_anything_but_zero() {
        let op = Cast { to: DType::Bool };
        let x = [Given::input(&[3], &[0.0f32, -0.5, 2.0])];
        assert_eq!(on_all_tiers::<u8>(op, &x, None)[0].1, [0, 1, 1]);
        let x = [Given::input(&[3], &[0i32, 256, -1])];
        assert_eq!(on_all_tiers::<u8>(op, &x, None)[0].1, [0, 1, 1]);
    }
}
