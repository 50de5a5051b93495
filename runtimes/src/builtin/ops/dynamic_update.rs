//! A tensor in which a part is replaced whose place is only known when the model runs.

use super::dynamic_slice::{fits, is_wide, place, rows, start};
use super::{Operand, Operator, Prepare, arity, same_elements};
use crate::Result;
use crate::builtin::graph::Fact;
use crate::builtin::step::Step;

/// Operands: data of any type, update of the same type and rank, place as of
/// [`super::DynamicSlice`]. Result: the data with the update at that place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DynamicUpdate;

impl Operator for DynamicUpdate {
    fn name(&self) -> &'static str {
        "DynamicUpdate"
    }

    fn infer(&self, inputs: &[Operand<'_>]) -> Result<Vec<Fact>> {
        arity(inputs, 3, 3)?;
        fits(&inputs[0].fact.shape, &inputs[1].fact.shape, inputs[2].fact)?;
        Ok(vec![inputs[0].fact.clone()])
    }

    fn prepare(&self, on: &Prepare<'_>) -> Result<Option<Step>> {
        let (x, update, out) = (on.inputs[0].fact, on.inputs[1].fact, &on.outputs[0]);
        if !same_elements(x, out) || !same_elements(update, out) {
            return Ok(None);
        }
        let (shape, sizes) = (x.shape.clone(), update.shape.clone());
        let (wide, size) = (is_wide(on), x.dtype.size());
        Ok(Some(Step::new("dynamic_update", move |inputs, mut outputs, _| {
            let start = start(&shape, &sizes, &place(inputs, 2, wide));
            let (x, update, y) = (inputs.bytes(0), inputs.bytes(1), outputs.bytes(0));
            y.copy_from_slice(x);
            rows(&shape, &sizes, start, |to, from, count| {
                y[to * size..][..count * size].copy_from_slice(&update[from * size..][..count * size]);
            });
        })))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::builtin::graph::OutputType;
    use crate::builtin::testing::{Given, exact};
    use protocol::DType;

    #[test]
    fn a_part_is_replaced() {
        let at = |place: &[i64]| -> Vec<i32> {
            let x = Given::input(&[3, 3], &[0i32; 9]);
            let update = Given::input(&[1, 2], &[5i32, 7]);
            let out = OutputType { dtype: DType::I32, quant: None };
            exact(DynamicUpdate, &[x, update, Given::input(&[place.len()], place)], out)
        };
        assert_eq!(at(&[1, 1]), [0, 0, 0, 0, 5, 7, 0, 0, 0]);
        assert_eq!(at(&[99, 99]), [0, 0, 0, 0, 0, 0, 0, 5, 7]);
        assert_eq!(at(&[0]), [5, 7, 0, 0, 0, 0, 0, 0, 0]);
    }
}
