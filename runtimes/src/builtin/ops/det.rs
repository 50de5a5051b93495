//! Determinants.

use super::{Operand, Operator, Prepare, arity};
use crate::builtin::graph::Fact;
use crate::builtin::step::Step;
use crate::{Error, Result};
use protocol::DType;

/// Operand: f32 `[..., n, n]`. Result: `[...]`. Computed in f64.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Det;

impl Operator for Det {
    fn name(&self) -> &'static str {
        "Det"
    }

    fn infer(&self, inputs: &[Operand<'_>]) -> Result<Vec<Fact>> {
        arity(inputs, 1, 1)?;
        let x = inputs[0].fact;
        match &x.shape[..] {
            [outer @ .., rows, columns] if rows == columns => {
                Ok(vec![Fact { shape: outer.to_vec(), ..x.clone() }.as_real()])
            }
            shape => Err(Error::ModelInvalid(format!("determinant of {shape:?}"))),
        }
    }

    fn prepare(&self, on: &Prepare<'_>) -> Result<Option<Step>> {
        let (x, out) = (on.inputs[0].fact, &on.outputs[0]);
        if x.dtype != DType::F32 || out.dtype != DType::F32 {
            return Ok(None);
        }
        let n = x.shape.last().copied().unwrap_or(0);
        Ok(Some(
            Step::new("det.f32", move |inputs, mut outputs, scratch| {
                let x = inputs.get::<f32>(0);
                let matrix = crate::builtin::kernels::memory::elements_mut::<f64>(scratch).unwrap_or_default();
                for (i, y) in outputs.get::<f32>(0).iter_mut().enumerate() {
                    let own = &x[i * n * n..][..n * n];
                    matrix.iter_mut().zip(own).for_each(|(m, x)| *m = f64::from(*x));
                    *y = determinant(matrix, n) as f32;
                }
            })
            .with_scratch(n * n * 8),
        ))
    }

    fn work(&self, inputs: &[Operand<'_>], _outputs: &[Fact]) -> u64 {
        let n = inputs[0].fact.shape.last().copied().unwrap_or(0);
        (inputs[0].fact.len() as u64).saturating_mul(n as u64)
    }
}

/// By elimination, the largest pivot first.
fn determinant(m: &mut [f64], n: usize) -> f64 {
    let mut product = 1.0;
    for k in 0..n {
        let size = |row: &usize| m[row * n + k].abs();
        let pivot = (k..n).max_by(|a, b| size(a).total_cmp(&size(b))).unwrap_or(k);
        if pivot != k {
            (0..n).for_each(|j| m.swap(k * n + j, pivot * n + j));
            product = -product;
        }
        let top = m[k * n + k];
        product *= top;
        if top == 0.0 {
            return 0.0;
        }
        for row in k + 1..n {
            let factor = m[row * n + k] / top;
            (k..n).for_each(|j| m[row * n + j] -= factor * m[k * n + j]);
        }
    }
    product
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::builtin::testing::{Given, near};

    #[test]
    fn of_several_matrices() {
        let x = [Given::input(&[3, 2, 2], &[1f32, 2.0, 3.0, 4.0, 0.0, 1.0, 1.0, 0.0, 1.0, 2.0, 2.0, 4.0])];
        near(Det, &x, &[-2.0, -1.0, 0.0], 1e-6);
    }
}
