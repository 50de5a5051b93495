//! Comparison and logic of two operands, element by element, broadcast at the last dimension.

use super::{Operand, Operator, Prepare, arity, broadcast};
use crate::Result;
use crate::builtin::graph::Fact;
use crate::builtin::kernels::memory::Element;
use crate::builtin::kernels::nest::Nest;
use crate::builtin::step::Step;
use protocol::DType;

/// Which comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CompareKind {
    /// a = b
    Equal,
    /// a ≠ b
    NotEqual,
    /// a < b
    Less,
    /// a ≤ b
    LessEqual,
    /// a > b
    Greater,
    /// a ≥ b
    GreaterEqual,
    /// both (of bool)
    And,
    /// any (of bool)
    Or,
    /// one and not the other (of bool)
    Xor,
}

/// A comparison; the result is bool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compare {
    /// Which.
    pub kind: CompareKind,
}

impl Operator for Compare {
    fn name(&self) -> &'static str {
        match self.kind {
            CompareKind::Equal => "Equal",
            CompareKind::NotEqual => "NotEqual",
            CompareKind::Less => "Less",
            CompareKind::LessEqual => "LessEqual",
            CompareKind::Greater => "Greater",
            CompareKind::GreaterEqual => "GreaterEqual",
            CompareKind::And => "And",
            CompareKind::Or => "Or",
            CompareKind::Xor => "Xor",
        }
    }

    fn infer(&self, inputs: &[Operand<'_>]) -> Result<Vec<Fact>> {
        arity(inputs, 2, 2)?;
        let shape = broadcast(&inputs[0].fact.shape, &inputs[1].fact.shape)?;
        Ok(vec![Fact::new(DType::Bool, &shape)])
    }

    fn prepare(&self, on: &Prepare<'_>) -> Result<Option<Step>> {
        let (a, b) = (on.inputs[0].fact, on.inputs[1].fact);
        if a.dtype != b.dtype || a.quant.is_some() || b.quant.is_some() || on.outputs[0].dtype != DType::Bool {
            return Ok(None);
        }
        let nest = Nest::broadcast(&on.outputs[0].shape, [&a.shape, &b.shape]);
        Ok(match a.dtype {
            DType::F32 => ordered::<f32>(self.kind, nest),
            DType::F64 => ordered::<f64>(self.kind, nest),
            DType::I8 => ordered::<i8>(self.kind, nest),
            DType::U8 => ordered::<u8>(self.kind, nest),
            DType::I16 => ordered::<i16>(self.kind, nest),
            DType::U16 => ordered::<u16>(self.kind, nest),
            DType::I32 => ordered::<i32>(self.kind, nest),
            DType::U32 => ordered::<u32>(self.kind, nest),
            DType::U64 => ordered::<u64>(self.kind, nest),
            DType::I64 => ordered::<i64>(self.kind, nest),
            DType::Bool => logical(self.kind, nest),
            _ => None,
        })
    }
}

fn ordered<T: Element + PartialOrd>(kind: CompareKind, nest: Nest<2>) -> Option<Step> {
    // For which of the three it is true, and whether that is turned round: of NaN none of them holds.
    let (less, equal, greater, turned) = match kind {
        CompareKind::Equal => (0, 1, 0, 0),
        CompareKind::NotEqual => (0, 1, 0, 1),
        CompareKind::Less => (1, 0, 0, 0),
        CompareKind::LessEqual => (1, 1, 0, 0),
        CompareKind::Greater => (0, 0, 1, 0),
        CompareKind::GreaterEqual => (0, 1, 1, 0),
        CompareKind::And | CompareKind::Or | CompareKind::Xor => return None,
    };
    let f = move |a: T, b: T| {
        let any = less & u8::from(a < b) | equal & u8::from(a == b) | greater & u8::from(a > b);
        any ^ turned
    };
    Some(Step::map2("compare", move |a: &[T], b: &[T], c: &mut [u8]| nest.map(a, b, c, f)))
}

fn logical(kind: CompareKind, nest: Nest<2>) -> Option<Step> {
    let f: fn(bool, bool) -> bool = match kind {
        CompareKind::And => |a, b| a && b,
        CompareKind::Or => |a, b| a || b,
        CompareKind::Xor | CompareKind::NotEqual => |a, b| a != b,
        CompareKind::Equal => |a, b| a == b,
        _ => return None,
    };
    Some(Step::map2("logical", move |a: &[u8], b: &[u8], c: &mut [u8]| {
        nest.map(a, b, c, |a, b| u8::from(f(a != 0, b != 0)));
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::builtin::testing::{Given, on_all_tiers};

    #[test]
    fn orders_and_logic() {
        let x = [Given::input(&[3], &[1f32, 2.0, f32::NAN]), Given::input(&[1], &[2f32])];
        for (kind, expected) in [
            (CompareKind::Equal, [0, 1, 0]),
            (CompareKind::NotEqual, [1, 0, 1]),
            (CompareKind::Less, [1, 0, 0]),
            (CompareKind::LessEqual, [1, 1, 0]),
            (CompareKind::Greater, [0, 0, 0]),
            (CompareKind::GreaterEqual, [0, 1, 0]),
        ] {
            assert_eq!(on_all_tiers::<u8>(Compare { kind }, &x, None)[0].1, expected, "{kind:?}");
        }
        let x = [Given::boolean(&[4], &[0, 0, 1, 1]), Given::boolean(&[4], &[0, 1, 0, 1])];
        for (kind, expected) in [
            (CompareKind::And, [0, 0, 0, 1]),
            (CompareKind::Or, [0, 1, 1, 1]),
            (CompareKind::Xor, [0, 1, 1, 0]),
            (CompareKind::Equal, [1, 0, 0, 1]),
        ] {
            assert_eq!(on_all_tiers::<u8>(Compare { kind }, &x, None)[0].1, expected, "{kind:?}");
        }
    }

    #[test]
    fn quantised_operands_are_compared_as_reals() {
        let x = [
            Given::input(&[2], &[10i8, 20]).quantized(&[0.5], &[0], 0),
            Given::input(&[2], &[5i8, 11]).quantized(&[1.0], &[0], 0),
        ];
        assert_eq!(on_all_tiers::<u8>(Compare { kind: CompareKind::Equal }, &x, None)[0].1, [1, 0]);
    }
}
