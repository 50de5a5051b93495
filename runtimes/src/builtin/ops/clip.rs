//! Cuts numbers to a range: ReLU, ReLU6, Clip.

use super::{Clamp, Operand, Operator, Prepare, arity};
use crate::Result;
use protocol::DType;
use crate::builtin::graph::Fact;
use crate::builtin::kernels::memory::Element;
use crate::builtin::kernels::nest::map1;
use crate::builtin::kernels::quant::Quantized;
use crate::builtin::kernels::threads::Shares;
use crate::builtin::step::Step;

/// Operand: f32, integer or quantised; the natural result has the operand's type and quantisation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Clip {
    /// The range.
    pub clamp: Clamp,
}

impl Operator for Clip {
    fn name(&self) -> &'static str {
        "Clip"
    }

    fn infer(&self, inputs: &[Operand<'_>]) -> Result<Vec<Fact>> {
        arity(inputs, 1, 1)?;
        Ok(vec![inputs[0].fact.clone()])
    }

    fn prepare(&self, on: &Prepare<'_>) -> Result<Option<Step>> {
        let (x, out) = (on.inputs[0].fact, &on.outputs[0]);
        if !super::same_elements(x, out) {
            return Ok(None);
        }
        let clamp = self.clamp;
        Ok(match (x.dtype, x.quant.is_some()) {
            (DType::F32, false) => {
                let (tier, shares) = (on.tier, Shares::new(on.threads, out.len(), 1));
                Some(Step::each("clip.f32", shares, move |x: &[f32], y: &mut [f32]| {
                    map1(tier, x, y, |x| clamp.apply(x));
                }))
            }
            (DType::I32, false) => Some(integers::<i32>(clamp.min as i32, clamp.max as i32)),
            (DType::I8, false) => Some(integers::<i8>(clamp.min as i8, clamp.max as i8)),
            (DType::U8, false) => Some(integers::<u8>(clamp.min as u8, clamp.max as u8)),
            (DType::I64, false) => Some(integers::<i64>(clamp.min as i64, clamp.max as i64)),
            (DType::I8, true) => quantized::<i8>(clamp, x),
            (DType::U8, true) => quantized::<u8>(clamp, x),
            (DType::I16, true) => quantized::<i16>(clamp, x),
            _ => None,
        })
    }
}

fn integers<T: Element + Ord>(min: T, max: T) -> Step {
    Step::map("clip.int", move |x: &[T], y: &mut [T]| {
        x.iter().zip(y).for_each(|(x, y)| *y = (*x).max(min).min(max));
    })
}

fn quantized<T: Quantized + Ord>(clamp: Clamp, x: &Fact) -> Option<Step> {
    let (scale, zero) = x.per_tensor()?;
    let (min, max) = clamp.quantized::<T>(scale, zero);
    Some(integers(T::narrow(min), T::narrow(max)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::builtin::testing::{Given, exact, near, on_all_tiers, quantized};

    #[test]
    fn reals_integers_and_quantised() {
        let op = Clip { clamp: Clamp::RELU6 };
        near(op, &[Given::input(&[3], &[-1f32, 3.5, 7.0])], &[0.0, 3.5, 6.0], 0.0);
        let x = [Given::input(&[3], &[-1i64, 3, 7])];
        assert_eq!(on_all_tiers::<i64>(op, &x, None)[0].1, [0, 3, 6]);
        let x = [Given::input(&[4], &[-128i8, -10, 0, 127]).quantized(&[0.5], &[-10], 0)];
        let got: Vec<i8> = exact(op, &x, quantized(DType::I8, 0.5, -10));
        assert_eq!(got, [-10, -10, 0, 2]);
    }
}
