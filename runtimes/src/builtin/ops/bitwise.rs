//! Logic and shifts of the bits of two integers, element by element, broadcast at the last dimension.

use super::{Operand, Operator, Prepare, arity, broadcast};
use crate::builtin::graph::Fact;
use crate::builtin::kernels::memory::Element;
use crate::builtin::kernels::nest::Nest;
use crate::builtin::step::Step;
use crate::{Error, Result};
use protocol::DType;

/// What is done with the bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BitwiseKind {
    /// Those in both.
    And,
    /// Those in any.
    Or,
    /// Those in one and not the other.
    Xor,
    /// a · 2ᵇ; nothing is left when b is the number of bits or more.
    ShiftLeft,
    /// ⌊a / 2ᵇ⌋, of unsigned integers.
    ShiftRight,
    /// ⌊a / 2ᵇ⌋, of any integers, with b held between 0 and the number of bits less one.
    ShiftRightHeld,
}

/// Operands: two integers of the same type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bitwise {
    /// What is done.
    pub kind: BitwiseKind,
}

impl Operator for Bitwise {
    fn name(&self) -> &'static str {
        match self.kind {
            BitwiseKind::And => "BitwiseAnd",
            BitwiseKind::Or => "BitwiseOr",
            BitwiseKind::Xor => "BitwiseXor",
            BitwiseKind::ShiftLeft | BitwiseKind::ShiftRight | BitwiseKind::ShiftRightHeld => "BitShift",
        }
    }

    fn infer(&self, inputs: &[Operand<'_>]) -> Result<Vec<Fact>> {
        arity(inputs, 2, 2)?;
        let (a, b) = (inputs[0].fact, inputs[1].fact);
        let signed = signed(a.dtype);
        let unsigned = matches!(a.dtype, DType::U8 | DType::U16 | DType::U32 | DType::U64);
        let fits = unsigned || signed && self.kind != BitwiseKind::ShiftRight;
        if a.dtype != b.dtype || !fits || a.quant.is_some() || b.quant.is_some() {
            return Err(Error::ModelInvalid(format!("bits of {} and {}", a.dtype, b.dtype)));
        }
        Ok(vec![Fact::new(a.dtype, &broadcast(&a.shape, &b.shape)?)])
    }

    fn prepare(&self, on: &Prepare<'_>) -> Result<Option<Step>> {
        let (a, b, out) = (on.inputs[0].fact, on.inputs[1].fact, &on.outputs[0]);
        if out.dtype != a.dtype || out.quant.is_some() {
            return Ok(None);
        }
        let nest = Nest::broadcast(&out.shape, [&a.shape, &b.shape]);
        Ok(Some(match out.dtype.size() {
            1 => step::<u8>(self.kind, signed(out.dtype), nest),
            2 => step::<u16>(self.kind, signed(out.dtype), nest),
            4 => step::<u32>(self.kind, signed(out.dtype), nest),
            _ => step::<u64>(self.kind, signed(out.dtype), nest),
        }))
    }
}

fn signed(dtype: DType) -> bool {
    matches!(dtype, DType::I8 | DType::I16 | DType::I32 | DType::I64)
}

fn step<T: Element + Into<u64> + TryFrom<u64>>(kind: BitwiseKind, signed: bool, nest: Nest<2>) -> Step {
    let bits = 8 * size_of::<T>() as u64;
    let mask = u64::MAX >> (64 - bits);
    let held = move |a: u64, b: u64| {
        if signed {
            let wide = |v: u64| (v << (64 - bits)).cast_signed() >> (64 - bits);
            (wide(a) >> wide(b).clamp(0, bits as i64 - 1)).cast_unsigned() & mask
        } else {
            a >> b.min(bits - 1)
        }
    };
    let f = move |a: u64, b: u64| match kind {
        BitwiseKind::ShiftRightHeld => held(a, b),
        BitwiseKind::And => a & b,
        BitwiseKind::Or => a | b,
        BitwiseKind::Xor => a ^ b,
        _ if b >= bits => 0,
        BitwiseKind::ShiftLeft => a << b & mask,
        BitwiseKind::ShiftRight => a >> b,
    };
    Step::map2("bitwise", move |a: &[T], b: &[T], c: &mut [T]| {
        nest.map(a, b, c, |a, b| T::try_from(f(a.into(), b.into())).unwrap_or_default());
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::builtin::testing::{Given, on_all_tiers};

    #[test]
    fn logic_and_shifts() {
        let x = [Given::input(&[4], &[0b1100u8, 255, 1, 1]), Given::input(&[4], &[0b1010u8, 1, 7, 8])];
        for (kind, expected) in [
            (BitwiseKind::And, [0b1000, 1, 1, 0]),
            (BitwiseKind::Or, [0b1110, 255, 7, 9]),
            (BitwiseKind::Xor, [0b0110, 254, 6, 9]),
            (BitwiseKind::ShiftLeft, [0, 254, 128, 0]),
            (BitwiseKind::ShiftRight, [0, 127, 0, 0]),
            (BitwiseKind::ShiftRightHeld, [0, 127, 0, 0]),
        ] {
            assert_eq!(on_all_tiers::<u8>(Bitwise { kind }, &x, None)[0].1, expected, "{kind:?}");
        }
        let x = [Given::input(&[4], &[-128i8, -7, 5, 5]), Given::input(&[4], &[99i8, 1, -1, 2])];
        let op = Bitwise { kind: BitwiseKind::ShiftRightHeld };
        assert_eq!(on_all_tiers::<i8>(op, &x, None)[0].1, [-1, -4, 5, 1]);
        let x = [Given::input(&[2], &[-1i32, 6]), Given::input(&[], &[3i32])];
        assert_eq!(on_all_tiers::<i32>(Bitwise { kind: BitwiseKind::Xor }, &x, None)[0].1, [-4, 5]);
    }
}
