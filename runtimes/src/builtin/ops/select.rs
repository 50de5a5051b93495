//! One or the other, element by element.

use super::{Operand, Operator, Prepare, arity, broadcast};
use crate::builtin::graph::Fact;
use crate::builtin::kernels::memory::Element;
use crate::builtin::kernels::nest::Nest;
use crate::builtin::step::Step;
use crate::{Error, Result};
use protocol::DType;

/// Operands: condition (bool), a, b of the same type; all broadcast. a where the condition holds, else b.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Select;

impl Operator for Select {
    fn name(&self) -> &'static str {
        "Select"
    }

    fn infer(&self, inputs: &[Operand<'_>]) -> Result<Vec<Fact>> {
        arity(inputs, 3, 3)?;
        let [c, a, b] = [inputs[0].fact, inputs[1].fact, inputs[2].fact];
        if c.dtype != DType::Bool || a.dtype != b.dtype {
            return Err(Error::ModelInvalid(format!("select by {} of {} and {}", c.dtype, a.dtype, b.dtype)));
        }
        let shape = broadcast(&broadcast(&c.shape, &a.shape)?, &b.shape)?;
        Ok(vec![Fact { shape, ..a.clone() }])
    }

    fn prepare(&self, on: &Prepare<'_>) -> Result<Option<Step>> {
        let (a, b, out) = (on.inputs[1].fact, on.inputs[2].fact, &on.outputs[0]);
        if !super::same_elements(a, out) || !super::same_elements(b, out) {
            return Ok(None);
        }
        let shapes = [&on.inputs[0].fact.shape[..], &a.shape, &b.shape];
        let nest = Nest::broadcast(&out.shape, shapes);
        Ok(Some(match out.dtype.size() {
            1 => select::<u8>(nest),
            2 => select::<u16>(nest),
            4 => select::<u32>(nest),
            _ => select::<u64>(nest),
        }))
    }
}

fn select<T: Element>(nest: Nest<3>) -> Step {
    Step::new("select", move |inputs, mut outputs, _| {
        let (c, a, b) = (inputs.bytes(0), inputs.get::<T>(1), inputs.get::<T>(2));
        let y = outputs.get::<T>(0);
        let [sc, sa, sb] = nest.strides;
        nest.rows(|out, [pc, pa, pb]| {
            for (i, y) in y[out..out + nest.length].iter_mut().enumerate() {
                let at = |start: usize, stride: isize| start.wrapping_add_signed(stride * i as isize);
                *y = if c[at(pc, sc)] != 0 { a[at(pa, sa)] } else { b[at(pb, sb)] };
            }
        });
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::builtin::testing::{Given, on_all_tiers};

    #[test]
    fn all_three_are_broadcast() {
        let c = Given::boolean(&[2, 1], &[1, 0]);
        let x = [c, Given::input(&[1, 2], &[1u8, 2]), Given::input(&[], &[9u8])];
        assert_eq!(on_all_tiers::<u8>(Select, &x, None)[0].1, [1, 2, 9, 9]);
    }
}
