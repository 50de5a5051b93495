//! One dimension made longer or shorter by weighted sums of elements: what [`super::resize`] has no kernel for.

use super::{Operand, Operator, Prepare, arity};
use crate::builtin::graph::Fact;
use crate::builtin::limits;
use crate::builtin::step::Step;
use crate::{Error, Result};
use protocol::DType;

/// What an output element is made of.
#[derive(Clone, Debug, PartialEq)]
pub enum Mix {
    /// Elements and their weights.
    Weighted(Vec<(usize, f32)>),
    /// This number: it lies outside.
    Constant(f32),
}

/// Operand: f32, any shape.
#[derive(Clone, Debug, PartialEq)]
pub struct Resample {
    /// The dimension.
    pub axis: usize,
    /// One per element of the result.
    pub mixes: Vec<Mix>,
}

impl Operator for Resample {
    fn name(&self) -> &'static str {
        "Resample"
    }

    fn infer(&self, inputs: &[Operand<'_>]) -> Result<Vec<Fact>> {
        arity(inputs, 1, 1)?;
        let x = inputs[0].fact;
        let length = x.shape.get(self.axis).copied().unwrap_or(0);
        let inside = |mix: &Mix| match mix {
            Mix::Weighted(parts) => parts.iter().all(|(at, _)| *at < length),
            Mix::Constant(_) => true,
        };
        if self.axis >= x.shape.len() || !self.mixes.iter().all(inside) {
            return Err(Error::ModelInvalid(format!("dimension {} of {:?} resampled", self.axis, x.shape)));
        }
        let mut shape = x.shape.clone();
        shape[self.axis] = self.mixes.len();
        limits::elements(&shape)?;
        Ok(vec![Fact { shape, ..x.clone() }.as_real()])
    }

    fn prepare(&self, on: &Prepare<'_>) -> Result<Option<Step>> {
        let (x, out) = (on.inputs[0].fact, &on.outputs[0]);
        if x.dtype != DType::F32 || out.dtype != DType::F32 {
            return Ok(None);
        }
        let inner: usize = x.shape[self.axis + 1..].iter().product();
        let block = x.shape[self.axis] * inner;
        let mixes = self.mixes.clone();
        Ok(Some(Step::map("resample.f32", move |x: &[f32], y: &mut [f32]| {
            let results = mixes.len() * inner;
            for (x, y) in x.chunks_exact(block.max(1)).zip(y.chunks_exact_mut(results.max(1))) {
                for (mix, y) in mixes.iter().zip(y.chunks_exact_mut(inner)) {
                    match mix {
                        Mix::Constant(value) => y.fill(*value),
                        Mix::Weighted(parts) => {
                            y.fill(0.0);
                            for (at, weight) in parts {
                                let row = &x[at * inner..][..inner];
                                y.iter_mut().zip(row).for_each(|(y, x)| *y += x * weight);
                            }
                        }
                    }
                }
            }
        })))
    }

    fn work(&self, _inputs: &[Operand<'_>], outputs: &[Fact]) -> u64 {
        let parts = |mix: &Mix| if let Mix::Weighted(parts) = mix { parts.len() } else { 1 };
        let all: usize = self.mixes.iter().map(parts).sum();
        let rows = outputs[0].len() / self.mixes.len().max(1);
        (rows as u64).saturating_mul(all as u64)
    }
}

/// Weights of the elements at −1, 0, 1 and 2 for a point between 0 and 1, by cubic convolution (Keys) with parameter `a`.
pub(crate) fn cubic(part: f32, a: f32) -> [f32; 4] {
    let near = |t: f32| ((a + 2.0) * t - (a + 3.0)) * t * t + 1.0;
    let far = |t: f32| ((a * t - 5.0 * a) * t + 8.0 * a) * t - 4.0 * a;
    [far(part + 1.0), near(part), near(1.0 - part), far(2.0 - part)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::builtin::graph::Graph;
    use crate::builtin::testing::{Given, near};

    #[test]
    fn mixes_along_a_dimension() {
        let mixes = vec![Mix::Weighted(vec![(0, 0.5), (1, 0.5)]), Mix::Constant(7.0)];
        let x = [Given::input(&[2, 2], &[1f32, 2.0, 3.0, 4.0])];
        near(Resample { axis: 0, mixes: mixes.clone() }, &x, &[2.0, 3.0, 7.0, 7.0], 1e-6);
        near(Resample { axis: 1, mixes }, &x, &[1.5, 7.0, 3.5, 7.0], 1e-6);
    }

    #[test]
    fn weights_sum_to_one_and_are_exact_at_the_elements() {
        for part in [0.0, 0.3, 0.5, 1.0] {
            assert!((cubic(part, -0.75).iter().sum::<f32>() - 1.0).abs() < 1e-6);
        }
        assert_eq!(cubic(0.0, -0.75), [0.0, 1.0, 0.0, 0.0]);
    }

    #[test]
    fn elements_that_are_not_there_are_refused() {
        let mut g = Graph::new();
        let x = g.input("x", Fact::new(DType::F32, &[2])).unwrap();
        assert!(g.add("y", Resample { axis: 0, mixes: vec![Mix::Weighted(vec![(2, 1.0)])] }, &[x]).is_err());
        assert!(g.add("y", Resample { axis: 1, mixes: vec![] }, &[x]).is_err());
    }
}
