//! A fully connected layer of low rank with a memory of the last frames, which goes on where the last
//! invoke stopped.

use super::{Clamp, Operand, Operator, Prepare, arity};
use crate::builtin::graph::Fact;
use crate::builtin::limits;
use crate::builtin::step::Step;
use crate::{Error, Result};
use protocol::DType;
use std::cell::RefCell;

/// Operands: frame `[batch, features]`, feature weights `[filters, features]`, time weights
/// `[filters, memory]`, optionally bias `[filters / rank]`. Result `[batch, filters / rank]`: every filter's
/// last `memory` answers weighted by time, `rank` filters added up.
///
/// The memory starts as zeros and is kept from invoke to invoke, as TFLite keeps it in a variable tensor:
/// the same input need not give the same result.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Svdf {
    /// Filters per unit, at least 1.
    pub rank: usize,
    /// Range of the result.
    pub clamp: Clamp,
}

#[derive(Clone, Copy, Debug)]
struct Sizes {
    batch: usize,
    features: usize,
    filters: usize,
    memory: usize,
}

impl Svdf {
    fn sizes(&self, inputs: &[Operand<'_>]) -> Result<Sizes> {
        arity(inputs, 3, 4)?;
        let shape = |i: usize| &inputs[i].fact.shape[..];
        let fitting = match (shape(0), shape(1), shape(2)) {
            (&[batch, features], &[filters, f], &[g, memory]) if f == features && g == filters && memory > 0 => {
                Some(Sizes { batch, features, filters, memory })
            }
            _ => None,
        };
        let whole = |s: &Sizes| {
            let units = s.filters.checked_div(self.rank);
            let bias = inputs.get(3).is_none_or(|b| Some(b.fact.len()) == units);
            bias && units.is_some_and(|u| u * self.rank == s.filters)
        };
        fitting.filter(whole).ok_or_else(|| {
            let shapes: Vec<_> = (0..inputs.len()).map(shape).collect();
            Error::ModelInvalid(format!("shapes {shapes:?} with rank {}", self.rank))
        })
    }
}

impl Operator for Svdf {
    fn name(&self) -> &'static str {
        "Svdf"
    }

    fn infer(&self, inputs: &[Operand<'_>]) -> Result<Vec<Fact>> {
        let s = self.sizes(inputs)?;
        limits::bytes(&[s.batch, s.filters, s.memory], size_of::<f32>())?;
        Ok(vec![Fact { shape: vec![s.batch, s.filters / self.rank], ..inputs[0].fact.clone() }.as_real()])
    }

    fn prepare(&self, on: &Prepare<'_>) -> Result<Option<Step>> {
        if on.inputs.iter().map(|i| i.fact).chain(on.outputs).any(|f| f.dtype != DType::F32) {
            return Ok(None);
        }
        let (op, sizes) = (*self, self.sizes(on.inputs)?);
        let memory = RefCell::new(vec![0.0f32; sizes.batch * sizes.filters * sizes.memory]);
        Ok(Some(Step::new("svdf.f32", move |inputs, mut outputs, _| {
            let bias: &[f32] = if inputs.len() > 3 { inputs.get(3) } else { &[] };
            let (x, weights) = (inputs.get(0), [inputs.get(1), inputs.get(2)]);
            op.run(sizes, x, weights, bias, outputs.get(0), &mut memory.borrow_mut());
        })))
    }

    fn work(&self, inputs: &[Operand<'_>], _outputs: &[Fact]) -> u64 {
        let weights = (inputs[1].fact.len() as u64).saturating_add(inputs[2].fact.len() as u64);
        weights.saturating_mul(inputs[0].fact.shape.first().map_or(1, |b| *b as u64))
    }
}

impl Svdf {
    fn run(
        &self,
        s: Sizes,
        x: &[f32],
        [by_feature, by_time]: [&[f32]; 2],
        bias: &[f32],
        y: &mut [f32],
        memory: &mut [f32],
    ) {
        let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
        let units = s.filters / self.rank;
        for b in 0..s.batch {
            let x = &x[b * s.features..][..s.features];
            let y = &mut y[b * units..][..units];
            for (u, y) in y.iter_mut().enumerate() {
                *y = bias.get(u).copied().unwrap_or(0.0);
            }
            for f in 0..s.filters {
                let frames = &mut memory[(b * s.filters + f) * s.memory..][..s.memory];
                frames.copy_within(1.., 0);
                frames[s.memory - 1] = dot(&by_feature[f * s.features..][..s.features], x);
                y[f / self.rank] += dot(&by_time[f * s.memory..][..s.memory], frames);
            }
            y.iter_mut().for_each(|y| *y = self.clamp.apply(*y));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Session;
    use crate::builtin::graph::Graph;
    use crate::builtin::kernels::Tier;
    use crate::builtin::kernels::memory::{as_bytes, elements};
    use crate::builtin::prepare;
    use crate::builtin::tensor::Tensor;

    #[test]
    fn frames_move_through_the_memory() {
        let mut g = Graph::new();
        let x = g.input("x", Fact::new(DType::F32, &[1, 1])).unwrap();
        let mut constant = |shape: &[usize], v: &[f32]| {
            g.constant("c", Tensor::from_elements(shape, v).unwrap(), None).unwrap()
        };
        let by_feature = constant(&[2, 1], &[1.0, 10.0]);
        let by_time = constant(&[2, 3], &[1.0, 2.0, 3.0, 0.0, 0.0, 1.0]);
        let bias = constant(&[1], &[0.5]);
        let op = Svdf { rank: 2, clamp: Clamp { min: f32::NEG_INFINITY, max: 60.0 } };
        let y = g.add("y", op, &[x, by_feature, by_time, bias]).unwrap();
        g.output(y);
        let mut session = prepare(&g, Tier::Portable).unwrap();
        // newest frame times 3 and 10, the one before times 2, the oldest times 1, and the bias
        for (x, expected) in [(1.0f32, 13.5f32), (2.0, 28.5), (3.0, 44.5), (4.0, 60.0)] {
            session.set_input(0, as_bytes(&[x])).unwrap();
            session.invoke().unwrap();
            assert_eq!(elements::<f32>(session.output(0).unwrap()).unwrap(), [expected]);
        }
    }

    #[test]
    fn shapes_that_do_not_fit_are_refused() {
        let mut g = Graph::new();
        let x = g.input("x", Fact::new(DType::F32, &[1, 4])).unwrap();
        let w = g.input("w", Fact::new(DType::F32, &[6, 4])).unwrap();
        let t = g.input("t", Fact::new(DType::F32, &[6, 5])).unwrap();
        let op = |rank| Svdf { rank, clamp: Clamp::NONE };
        for rank in [0, 4, 7] {
            assert!(g.add("y", op(rank), &[x, w, t]).is_err(), "{rank}");
        }
        assert!(g.add("y", op(2), &[x, t, w]).is_err());
        assert!(g.add("y", op(2), &[x, w, t, x]).is_err());
        assert!(g.add("y", op(2), &[x, w, t]).is_ok());
    }
}
