//! The largest or smallest elements along a dimension.

use super::{Operand, Operator, Prepare, arity};
use crate::builtin::graph::Fact;
use crate::builtin::kernels::memory::Element;
use crate::builtin::step::Step;
use crate::{Error, Result};
use protocol::DType;
use std::cmp::Ordering;

/// Operand: f32, i32 or i64. Results: the elements in order, and their indices (i64); of equals the first comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TopK {
    /// The dimension.
    pub axis: usize,
    /// How many.
    pub k: usize,
    /// The largest, else the smallest.
    pub largest: bool,
}

impl Operator for TopK {
    fn name(&self) -> &'static str {
        "TopK"
    }

    fn infer(&self, inputs: &[Operand<'_>]) -> Result<Vec<Fact>> {
        arity(inputs, 1, 1)?;
        let x = inputs[0].fact;
        if x.shape.get(self.axis).is_none_or(|length| self.k > *length) {
            let message = format!("{} elements along {} of {:?}", self.k, self.axis, x.shape);
            return Err(Error::ModelInvalid(message));
        }
        let mut shape = x.shape.clone();
        shape[self.axis] = self.k;
        let indices = Fact::new(DType::I64, &shape);
        Ok(vec![Fact { shape, ..x.clone() }.as_real(), indices])
    }

    fn prepare(&self, on: &Prepare<'_>) -> Result<Option<Step>> {
        let (x, out) = (on.inputs[0].fact, &on.outputs[0]);
        if x.as_output() != out.as_output() || x.quant.is_some() || on.outputs[1].dtype != DType::I64 {
            return Ok(None);
        }
        Ok(match x.dtype {
            DType::F32 => Some(self.step(x, |a: &f32, b: &f32| a.total_cmp(b))),
            DType::I32 => Some(self.step(x, i32::cmp)),
            DType::I64 => Some(self.step(x, i64::cmp)),
            _ => None,
        })
    }

    fn work(&self, inputs: &[Operand<'_>], _outputs: &[Fact]) -> u64 {
        let length = inputs[0].fact.shape.get(self.axis).copied().unwrap_or(1);
        (inputs[0].fact.len() as u64).saturating_mul(u64::from(length.max(2).ilog2()))
    }
}

impl TopK {
    fn step<T: Element>(&self, x: &Fact, order: fn(&T, &T) -> Ordering) -> Step {
        let Self { axis, k, largest } = *self;
        let length = x.shape[axis];
        let inner: usize = x.shape[axis + 1..].iter().product();
        let rows = x.len() / length.max(1);
        Step::new("top_k", move |inputs, mut outputs, scratch| {
            let x = inputs.get::<T>(0);
            let ranks = crate::builtin::kernels::memory::elements_mut::<u64>(scratch).unwrap_or_default();
            for row in 0..rows {
                let (outer, rest) = (row / inner.max(1), row % inner.max(1));
                let at = |i: u64| &x[(outer * length + i as usize) * inner + rest];
                ranks.iter_mut().enumerate().for_each(|(i, rank)| *rank = i as u64);
                sort(ranks, &|a, b| {
                    let by_value = order(at(a), at(b));
                    (if largest { by_value.reverse() } else { by_value }).then(a.cmp(&b))
                });
                for (place, index) in ranks[..k].iter().enumerate() {
                    let to = (outer * k + place) * inner + rest;
                    outputs.get::<T>(0)[to] = *at(*index);
                    outputs.get::<i64>(1)[to] = *index as i64;
                }
            }
        })
        .with_scratch(length * 8)
    }
}

/// One copy for all types of elements.
fn sort(ranks: &mut [u64], order: &dyn Fn(u64, u64) -> Ordering) {
    ranks.sort_unstable_by(|a, b| order(*a, *b));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Session;
    use crate::builtin::graph::Graph;
    use crate::builtin::kernels::Tier;
    use crate::builtin::kernels::memory::{as_bytes, elements};
    use crate::builtin::ops::Op;
    use crate::builtin::prepare;

    fn top(op: TopK, shape: &[usize], x: &[f32]) -> (Vec<f32>, Vec<i64>) {
        let mut g = Graph::new();
        let id = g.input("x", Fact::new(DType::F32, shape)).unwrap();
        let both = g.add_node(&["v", "i"], Op::from(op), &[id], &[None, None]).unwrap();
        both.iter().for_each(|id| g.output(*id));
        let mut session = prepare(&g, Tier::Portable).unwrap();
        session.set_input(0, as_bytes(x)).unwrap();
        session.invoke().unwrap();
        let values = elements::<f32>(session.output(0).unwrap()).unwrap().to_vec();
        (values, elements::<i64>(session.output(1).unwrap()).unwrap().to_vec())
    }

    #[test]
    fn in_order_and_of_equals_the_first() {
        let x = [1.0, 3.0, 2.0, 3.0, 0.0, 5.0, 5.0, 4.0];
        let got = top(TopK { axis: 1, k: 2, largest: true }, &[2, 4], &x);
        assert_eq!(got, (vec![3.0, 3.0, 5.0, 5.0], vec![1, 3, 1, 2]));
        let got = top(TopK { axis: 0, k: 1, largest: false }, &[2, 4], &x);
        assert_eq!(got, (vec![0.0, 3.0, 2.0, 3.0], vec![1, 0, 0, 0]));
    }

    #[test]
    fn more_than_there_are_is_refused() {
        let mut g = Graph::new();
        let x = g.input("x", Fact::new(DType::F32, &[2])).unwrap();
        assert!(g.add_node(&["v", "i"], TopK { axis: 0, k: 3, largest: true }.into(), &[x], &[None, None]).is_err());
    }
}
