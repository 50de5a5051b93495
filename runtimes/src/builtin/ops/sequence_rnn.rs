//! A simple recurrent network over a sequence, which goes on where the last invoke stopped.

use super::sequence_lstm::{Frames, Products, Reals};
use super::hybrid_lstm::Quantised;
use super::{Clamp, Operand, Operator, Prepare, arity};
use crate::builtin::graph::Fact;
use crate::builtin::limits;
use crate::builtin::step::Step;
use crate::{Error, Result};
use protocol::DType;
use std::cell::RefCell;

/// Operands: sequence `[batch, time, features]` (or `[time, batch, features]`), weights `[units, features]`,
/// recurrent weights `[units, units]`, bias `[units]`. Result: the state after every frame, `units` in place of
/// features. The state starts as zeros and is kept from invoke to invoke.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct SequenceRnn {
    /// Time is the first dimension, batch the second.
    pub time_major: bool,
    /// Time runs from the last frame to the first; results stay at their frame.
    pub backwards: bool,
    /// Range of the state; `None` means its hyperbolic tangent.
    pub clamp: Option<Clamp>,
    /// Where weights are int8 and activations f32: activations are quantised with a zero point.
    pub asymmetric: bool,
}

impl SequenceRnn {
    /// Frames, features, units.
    fn sizes(&self, inputs: &[Operand<'_>]) -> Result<(Frames, usize, usize)> {
        arity(inputs, 4, 4)?;
        let shape = |i: usize| &inputs[i].fact.shape[..];
        let unfit = || Error::ModelInvalid(format!("shapes {:?}", (0..4).map(shape).collect::<Vec<_>>()));
        let (&[first, second, features], &[units]) = (shape(0), shape(3)) else { return Err(unfit()) };
        if *shape(1) != [units, features] || *shape(2) != [units, units] {
            return Err(unfit());
        }
        let (batch, time) = if self.time_major { (second, first) } else { (first, second) };
        let frames = Frames { batch, time, time_major: self.time_major, backwards: self.backwards };
        Ok((frames, features, units))
    }

    fn run(
        &self,
        (frames, features, units): (Frames, usize, usize),
        (x, bias): (&[f32], &[f32]),
        y: &mut [f32],
        state: &mut [f32],
        products: &mut impl Products,
    ) {
        for (b, frame) in frames.iter() {
            let state = &mut state[b * units..][..units];
            let y = &mut y[frame * units..][..units];
            y.copy_from_slice(bias);
            products.add(1..2, &x[frame * features..][..features], y);
            products.add(2..3, state, y);
            match self.clamp {
                Some(clamp) => y.iter_mut().for_each(|v| *v = clamp.apply(*v)),
                None => y.iter_mut().for_each(|v| *v = v.tanh()),
            }
            state.copy_from_slice(y);
        }
    }
}

impl Operator for SequenceRnn {
    fn name(&self) -> &'static str {
        "SequenceRnn"
    }

    fn infer(&self, inputs: &[Operand<'_>]) -> Result<Vec<Fact>> {
        let (frames, _, units) = self.sizes(inputs)?;
        limits::elements(&[frames.batch, units])?;
        let x = inputs[0].fact;
        Ok(vec![Fact { shape: vec![x.shape[0], x.shape[1], units], ..x.clone() }.as_real()])
    }

    fn prepare(&self, on: &Prepare<'_>) -> Result<Option<Step>> {
        let (op, sizes) = (*self, self.sizes(on.inputs)?);
        let state = RefCell::new(vec![0.0f32; sizes.0.batch * sizes.2]);
        let dtypes: Vec<DType> = on.inputs.iter().map(|i| i.fact).chain(on.outputs).map(|f| f.dtype).collect();
        Ok(match (&dtypes[..], on.inputs[1].fact.per_tensor(), on.inputs[2].fact.per_tensor()) {
            ([DType::F32, DType::I8, DType::I8, DType::F32, DType::F32], Some((w, 0)), Some((r, 0))) => {
                Some(Step::new("sequence_rnn.dynamic", move |inputs, mut outputs, _| {
                    let scales = [1.0, w, r];
                    let mut products = Quantised::new(inputs, &scales, op.asymmetric);
                    let given = (inputs.get(0), inputs.get(3));
                    op.run(sizes, given, outputs.get(0), &mut state.borrow_mut(), &mut products);
                }))
            }
            (all, ..) if all.iter().all(|d| *d == DType::F32) => {
                Some(Step::new("sequence_rnn.f32", move |inputs, mut outputs, _| {
                    let operands: [&[f32]; 4] = std::array::from_fn(|i| inputs.get(i));
                    let (given, mut products) = ((operands[0], operands[3]), Reals { operands: &operands });
                    op.run(sizes, given, outputs.get(0), &mut state.borrow_mut(), &mut products);
                }))
            }
            _ => None,
        })
    }

    fn work(&self, inputs: &[Operand<'_>], outputs: &[Fact]) -> u64 {
        let row = inputs[1].fact.len() + inputs[2].fact.len();
        (row as u64).saturating_mul(outputs[0].shape[..2].iter().product::<usize>() as u64)
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
    fn the_state_goes_on() {
        let mut g = Graph::new();
        let x = g.input("x", Fact::new(DType::F32, &[1, 2, 1])).unwrap();
        let mut constant = |shape: &[usize], v: f32| {
            g.constant("c", Tensor::from_elements(shape, &[v]).unwrap(), None).unwrap()
        };
        let operands = [x, constant(&[1, 1], 2.0), constant(&[1, 1], 0.5), constant(&[1], 1.0)];
        let op = SequenceRnn { clamp: Some(Clamp { min: 0.0, max: 10.0 }), ..SequenceRnn::default() };
        let y = g.add("y", op, &operands).unwrap();
        g.output(y);
        assert!(g.add("z", op, &[x; 4]).is_err());
        let mut session = prepare(&g, Tier::Portable).unwrap();
        for expected in [[3.0f32, 0.5], [3.25, 0.625]] {
            session.set_input(0, as_bytes(&[1.0f32, -1.0])).unwrap();
            session.invoke().unwrap();
            assert_eq!(elements::<f32>(session.output(0).unwrap()).unwrap(), expected);
        }
    }
}
