//! Picks slices by index.

use super::{Operand, Operator, Prepare, arity};
use crate::builtin::graph::Fact;
use crate::builtin::kernels::io::Inputs;
use crate::builtin::step::Step;
use crate::{Error, Result};
use protocol::DType;

/// Operands: data of any type, and indices (i32 or i64; negative ones count from the end). The data's
/// dimension `axis` is replaced by the indices' dimensions. An index outside the data gives zeros.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gather {
    /// The dimension.
    pub axis: usize,
}

impl Operator for Gather {
    fn name(&self) -> &'static str {
        "Gather"
    }

    fn infer(&self, inputs: &[Operand<'_>]) -> Result<Vec<Fact>> {
        arity(inputs, 2, 2)?;
        let (x, indices) = (inputs[0].fact, inputs[1].fact);
        if self.axis >= x.shape.len() || !matches!(indices.dtype, DType::I32 | DType::I64) {
            let message = format!("{} indices along {} of shape {:?}", indices.dtype, self.axis, x.shape);
            return Err(Error::ModelInvalid(message));
        }
        let mut shape = x.shape.clone();
        shape.splice(self.axis..=self.axis, indices.shape.iter().copied());
        Ok(vec![Fact { shape, ..x.clone() }])
    }

    fn prepare(&self, on: &Prepare<'_>) -> Result<Option<Step>> {
        let (x, out) = (on.inputs[0].fact, &on.outputs[0]);
        if !super::same_elements(x, out) {
            return Ok(None);
        }
        let inner = x.shape[self.axis + 1..].iter().product::<usize>() * x.dtype.size();
        let outer: usize = x.shape[..self.axis].iter().product();
        let (count, picks) = (x.shape[self.axis], on.inputs[1].fact.len());
        let wide = on.inputs[1].fact.dtype == DType::I64;
        Ok(Some(Step::new("gather", move |inputs, mut outputs, _| {
            let (x, y) = (inputs.bytes(0), outputs.bytes(0));
            let at = |i: usize| index(&inputs, 1, wide, i, count);
            for o in 0..outer {
                for i in 0..picks {
                    let to = &mut y[(o * picks + i) * inner..][..inner];
                    match at(i) {
                        Some(index) => to.copy_from_slice(&x[(o * count + index) * inner..][..inner]),
                        None => to.fill(0),
                    }
                }
            }
        })))
    }
}

/// Index `at` of an operand, i64 when `wide`, else i32, into a dimension of `length`, counted from the end when
/// negative; `None` when it is outside.
pub(crate) fn index(inputs: &Inputs<'_>, operand: usize, wide: bool, at: usize, length: usize) -> Option<usize> {
    let index =
        if wide { inputs.get::<i64>(operand)[at] } else { i64::from(inputs.get::<i32>(operand)[at]) };
    let index = if index < 0 { index.saturating_add(length as i64) } else { index };
    usize::try_from(index).ok().filter(|i| *i < length)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::builtin::testing::{Given, on_all_tiers};

    #[test]
    fn picks_along_any_dimension() {
        let x = Given::constant(&[2, 3], &[1f32, 2.0, 3.0, 4.0, 5.0, 6.0]);
        let columns = [x.clone(), Given::input(&[2], &[2i64, -3])];
        assert_eq!(on_all_tiers::<f32>(Gather { axis: 1 }, &columns, None)[0].1, [3.0, 1.0, 6.0, 4.0]);
        let rows = [x, Given::input(&[], &[1i32])];
        assert_eq!(on_all_tiers::<f32>(Gather { axis: 0 }, &rows, None)[0].1, [4.0, 5.0, 6.0]);
    }

    #[test]
    fn indices_outside_give_zeros() {
        let x = [Given::constant(&[2], &[7i32, 8]), Given::input(&[4], &[0i64, 2, -3, i64::MIN])];
        assert_eq!(on_all_tiers::<i32>(Gather { axis: 0 }, &x, None)[0].1, [7, 0, 0, 0]);
    }
}
