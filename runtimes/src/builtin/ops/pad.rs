//! A tensor with a border.

use super::{Operand, Operator, Prepare, arity};
use crate::builtin::graph::Fact;
use crate::builtin::kernels::memory::copy_row;
use crate::builtin::kernels::nest::dense_strides;
use crate::builtin::kernels::threads::Shares;
use crate::builtin::step::Step;
use crate::{Error, Result};
use protocol::DType;

/// What the border holds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum PadMode {
    /// This real number (quantised as the operand is; integers as they are).
    Constant(f64),
    /// The operand mirrored, without its edge.
    Reflect,
    /// The operand mirrored, with its edge.
    Symmetric,
    /// The edge again and again.
    Edge,
}

/// Operand: any type.
#[derive(Clone, Debug, PartialEq)]
pub struct Pad {
    /// Elements before and after, per dimension.
    pub pads: Vec<[usize; 2]>,
    /// What they are.
    pub mode: PadMode,
}

impl Operator for Pad {
    fn name(&self) -> &'static str {
        "Pad"
    }

    fn infer(&self, inputs: &[Operand<'_>]) -> Result<Vec<Fact>> {
        arity(inputs, 1, 1)?;
        let x = inputs[0].fact;
        let good = |(p, d): (&[usize; 2], &usize)| match self.mode {
            PadMode::Constant(_) => true,
            PadMode::Reflect => p.iter().all(|n| n < d || *n == 0),
            PadMode::Symmetric => p.iter().all(|n| n <= d),
            PadMode::Edge => *d > 0 || *p == [0, 0],
        };
        if self.pads.len() != x.shape.len() || !self.pads.iter().zip(&x.shape).all(good) {
            return Err(Error::ModelInvalid(format!("{:?} {:?} of shape {:?}", self.mode, self.pads, x.shape)));
        }
        let sum = |(p, d): (&[usize; 2], &usize)| d.saturating_add(p[0]).saturating_add(p[1]);
        Ok(vec![Fact { shape: self.pads.iter().zip(&x.shape).map(sum).collect(), ..x.clone() }])
    }

    fn prepare(&self, on: &Prepare<'_>) -> Result<Option<Step>> {
        let (x, out) = (on.inputs[0].fact, &on.outputs[0]);
        if !super::same_elements(x, out) {
            return Ok(None);
        }
        let value = match self.mode {
            PadMode::Constant(real) => element(real, x)?,
            _ => Vec::new(),
        };
        let strides = dense_strides(&x.shape);
        // Dimensions without a border in front are rows that threads share.
        let lead = self.pads.iter().take_while(|pads| **pads == [0, 0]).count();
        let rows: usize = x.shape[..lead].iter().product();
        let shares = Shares::new(on.threads, rows, out.len() / rows.max(1));
        let row: usize = x.shape[lead..].iter().product();
        let mut axes = vec![Axis { length: rows, before: 0, after: 0, stride: row }];
        for (d, pads) in self.pads.iter().enumerate().skip(lead) {
            axes.push(Axis { length: x.shape[d], before: pads[0], after: pads[1], stride: strides[d] as usize });
        }
        let (mode, size) = (self.mode, x.dtype.size());
        Ok(Some(Step::new("pad", move |inputs, mut outputs, _| {
            let (x, y) = (inputs.bytes(0), outputs.bytes(0));
            if value.is_empty() {
                fill(mode, size, &axes, x, y);
                return;
            }
            shares.run(y, &|rows, y| {
                let x = &x[rows.start * row * size..rows.end * row * size];
                surround(&value, &Axis { length: rows.len(), ..axes[0] }, &axes[1..], x, y);
            });
        })))
    }
}

#[derive(Clone, Copy)]
struct Axis {
    length: usize,
    before: usize,
    after: usize,
    stride: usize,
}

impl Axis {
    fn pads(&self) -> bool {
        self.before > 0 || self.after > 0
    }
}

/// The bytes of a real number in the operand's type.
fn element(real: f64, x: &Fact) -> Result<Vec<u8>> {
    let integer = match x.per_tensor() {
        Some((scale, zero)) => (real / f64::from(scale)).round_ties_even() + f64::from(zero),
        None if x.quant.is_some() => {
            return Err(Error::Unsupported("padding of a tensor quantised per channel".to_owned()));
        }
        None => real,
    };
    Ok(match x.dtype {
        DType::F32 => (real as f32).to_le_bytes().to_vec(),
        DType::F64 => real.to_le_bytes().to_vec(),
        DType::F16 => half::f16::from_f64(real).to_le_bytes().to_vec(),
        DType::BF16 => half::bf16::from_f64(real).to_le_bytes().to_vec(),
        DType::Bool => vec![u8::from(real != 0.0)],
        DType::I8 => (integer as i8).to_le_bytes().to_vec(),
        DType::U8 => vec![integer as u8],
        DType::I16 => (integer as i16).to_le_bytes().to_vec(),
        DType::U16 => (integer as u16).to_le_bytes().to_vec(),
        DType::I32 => (integer as i32).to_le_bytes().to_vec(),
        DType::U32 => (integer as u32).to_le_bytes().to_vec(),
        DType::I64 => (integer as i64).to_le_bytes().to_vec(),
        DType::U64 => (integer as u64).to_le_bytes().to_vec(),
    })
}

/// Writes elements of this value.
fn write(value: &[u8], y: &mut [u8]) {
    if value.iter().all(|b| *b == value[0]) {
        y.fill(value[0]);
    } else {
        y.chunks_exact_mut(value.len()).for_each(|e| e.copy_from_slice(value));
    }
}

/// Fills the part of `y` that belongs to an axis and those inside it: a border of the value around the same part of `x`.
fn surround(value: &[u8], axis: &Axis, inner: &[Axis], x: &[u8], y: &mut [u8]) {
    let total = axis.before + axis.length + axis.after;
    let row = y.len() / total.max(1);
    let (before, rest) = y.split_at_mut(axis.before * row);
    let (middle, after) = rest.split_at_mut(axis.length * row);
    write(value, before);
    write(value, after);
    let from = axis.stride * value.len();
    let [last] = inner else {
        match inner {
            [axis, inner @ ..] if row > 0 && (axis.pads() || inner.iter().any(Axis::pads)) => {
                let rows = middle.chunks_exact_mut(row).enumerate();
                rows.for_each(|(i, y)| surround(value, axis, inner, &x[i * from..][..from], y));
            }
            _ => copy_row(&x[..middle.len()], middle),
        }
        return;
    };
    if from == 0 || row == 0 {
        write(value, middle);
        return;
    }
    // Most work is done here: rows of the innermost dimension.
    let (start, end) = (last.before * value.len(), last.before * value.len() + from);
    for (x, y) in x.chunks_exact(from).zip(middle.chunks_exact_mut(row)) {
        copy_row(x, &mut y[start..end]);
        if start > 0 {
            write(value, &mut y[..start]);
        }
        if end < row {
            write(value, &mut y[end..]);
        }
    }
}

/// Fills the part of `y` that belongs to all `axes`, from the same part of `x`.
fn fill(mode: PadMode, size: usize, axes: &[Axis], x: &[u8], y: &mut [u8]) {
    let Some((axis, inner)) = axes.split_first() else {
        y.copy_from_slice(&x[..size]);
        return;
    };
    let total = axis.before + axis.length + axis.after;
    let row = y.len() / total.max(1);
    if row == 0 {
        return;
    }
    let plain = inner.iter().all(|a| a.before == 0 && a.after == 0);
    for (i, y) in y.chunks_exact_mut(row).enumerate() {
        let at = i as isize - axis.before as isize;
        let Some(source) = reflect(mode, at, axis.length) else { continue };
        let x = &x[source * axis.stride * size..];
        if plain {
            y.copy_from_slice(&x[..row]);
        } else {
            fill(mode, size, inner, x, y);
        }
    }
}

/// Where in a dimension of `length` the element at `at` comes from; `None` for the constant.
fn reflect(mode: PadMode, at: isize, length: usize) -> Option<usize> {
    let n = length as isize;
    let source = match mode {
        PadMode::Constant(_) => at,
        PadMode::Edge => at.clamp(0, n - 1),
        PadMode::Reflect if at < 0 => -at,
        PadMode::Reflect if at >= n => 2 * (n - 1) - at,
        PadMode::Symmetric if at < 0 => -at - 1,
        PadMode::Symmetric if at >= n => 2 * n - 1 - at,
        PadMode::Reflect | PadMode::Symmetric => at,
    };
    usize::try_from(source).ok().filter(|s| *s < length)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::builtin::testing::{Given, exact, on_all_tiers, quantized};

    fn padded(mode: PadMode, pads: &[[usize; 2]]) -> Vec<i32> {
        let x = [Given::input(&[2, 3], &[1i32, 2, 3, 4, 5, 6])];
        on_all_tiers::<i32>(Pad { pads: pads.to_vec(), mode }, &x, None).swap_remove(0).1
    }

    #[test]
    fn every_mode() {
        let columns = [[0, 0], [1, 2]];
        assert_eq!(padded(PadMode::Constant(9.0), &columns), [9, 1, 2, 3, 9, 9, 9, 4, 5, 6, 9, 9]);
        assert_eq!(padded(PadMode::Reflect, &columns), [2, 1, 2, 3, 2, 1, 5, 4, 5, 6, 5, 4]);
        assert_eq!(padded(PadMode::Symmetric, &columns), [1, 1, 2, 3, 3, 2, 4, 4, 5, 6, 6, 5]);
        assert_eq!(padded(PadMode::Edge, &columns), [1, 1, 2, 3, 3, 3, 4, 4, 5, 6, 6, 6]);
        let both = [[1, 0], [0, 1]];
        assert_eq!(padded(PadMode::Constant(0.0), &both), [0, 0, 0, 0, 1, 2, 3, 0, 4, 5, 6, 0]);
        assert_eq!(padded(PadMode::Reflect, &both), [4, 5, 6, 5, 1, 2, 3, 2, 4, 5, 6, 5]);
    }

    #[test]
    fn a_quantised_border_is_the_real_number() {
        let x = [Given::input(&[2], &[5i8, 6]).quantized(&[0.5], &[3], 0)];
        let op = |v| Pad { pads: vec![[1, 1]], mode: PadMode::Constant(v) };
        assert_eq!(exact::<i8>(op(0.0), &x, quantized(DType::I8, 0.5, 3)), [3, 5, 6, 3]);
        assert_eq!(exact::<i8>(op(-2.0), &x, quantized(DType::I8, 0.5, 3)), [-1, 5, 6, -1]);
        assert_eq!(exact::<i8>(op(1e9), &x, quantized(DType::I8, 0.5, 3)), [127, 5, 6, 127]);
    }
}
