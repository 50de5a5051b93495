//! Operands one after the other along a dimension.

use super::{Operand, Operator, Prepare, arity};
use crate::builtin::graph::Fact;
use crate::builtin::kernels::memory::copy_row;
use crate::builtin::kernels::threads::Shares;
use crate::builtin::step::Step;
use crate::{Error, Result};

/// Operands: any number of the same type, equal in all dimensions but one. Quantised operands may each
/// have their own scale; the natural result has the first one's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Concat {
    /// The dimension.
    pub axis: usize,
}

impl Operator for Concat {
    fn name(&self) -> &'static str {
        "Concat"
    }

    fn infer(&self, inputs: &[Operand<'_>]) -> Result<Vec<Fact>> {
        arity(inputs, 1, usize::MAX)?;
        let first = inputs[0].fact;
        let mut shape = first.shape.clone();
        let unfit = |s: &[usize]| Error::ModelInvalid(format!("{s:?} beside {:?} along {}", first.shape, self.axis));
        if self.axis >= shape.len() {
            return Err(unfit(&shape));
        }
        shape[self.axis] = 0;
        for x in inputs.iter().map(|i| i.fact) {
            let same = |d: usize| d == self.axis || x.shape[d] == first.shape[d];
            if x.dtype != first.dtype || x.shape.len() != shape.len() || !(0..shape.len()).all(same) {
                return Err(unfit(&x.shape));
            }
            shape[self.axis] = shape[self.axis].saturating_add(x.shape[self.axis]);
        }
        Ok(vec![Fact { shape, ..first.clone() }])
    }

    fn prepare(&self, on: &Prepare<'_>) -> Result<Option<Step>> {
        let out = &on.outputs[0];
        if !on.inputs.iter().all(|i| super::same_elements(i.fact, out)) {
            return Ok(None);
        }
        let inner: usize = out.shape[self.axis + 1..].iter().product::<usize>() * out.dtype.size();
        let outer: usize = out.shape[..self.axis].iter().product();
        let row = out.shape[self.axis] * inner;
        let pieces: Vec<usize> = on.inputs.iter().map(|i| i.fact.shape[self.axis] * inner).collect();
        // A vector of bytes is one operation.
        let shares = Shares::new(on.threads, outer, row / 16);
        Ok(Some(Step::new("concat", move |inputs, mut outputs, _| {
            shares.run(outputs.bytes(0), &|rows, y| {
                let mut start = 0;
                for (k, &piece) in pieces.iter().enumerate() {
                    let x = &inputs.bytes(k)[rows.start * piece..];
                    for i in 0..rows.len() {
                        copy_row(&x[i * piece..][..piece], &mut y[i * row + start..][..piece]);
                    }
                    start += piece;
                }
            });
        })))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::builtin::testing::{Given, exact, on_all_tiers, quantized};

    #[test]
    fn along_any_dimension() {
        let x = [Given::input(&[2, 1], &[1i32, 2]), Given::input(&[2, 2], &[3i32, 4, 5, 6])];
        assert_eq!(on_all_tiers::<i32>(Concat { axis: 1 }, &x, None)[0].1, [1, 3, 4, 2, 5, 6]);
        let x = [Given::input(&[1, 2], &[1i64, 2]), Given::input(&[2, 2], &[3i64, 4, 5, 6])];
        assert_eq!(on_all_tiers::<i64>(Concat { axis: 0 }, &x, None)[0].1, [1, 2, 3, 4, 5, 6]);
    }

    #[test]
    fn quantised_alike_or_each_in_its_own_way() {
        let (a, b) = (Given::input(&[2], &[1i8, 2]), Given::input(&[1], &[8i8]));
        let alike = [a.clone().quantized(&[0.5], &[1], 0), b.clone().quantized(&[0.5], &[1], 0)];
        let output = || quantized(protocol::DType::I8, 0.5, 1);
        assert_eq!(exact::<i8>(Concat { axis: 0 }, &alike, output()), [1, 2, 8]);
        let mixed = [a.quantized(&[0.5], &[1], 0), b.quantized(&[1.0], &[0], 0)];
        assert_eq!(on_all_tiers::<i8>(Concat { axis: 0 }, &mixed, Some(output()))[0].1, [1, 2, 17]);
    }
}
