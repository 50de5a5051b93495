//! Long short-term memory over a sequence, which goes on where the last invoke stopped.

use super::{Operand, Operator, Prepare, UnaryKind, arity};
use crate::builtin::graph::Fact;
use crate::builtin::limits;
use crate::builtin::step::Step;
use crate::{Error, Result};
use protocol::DType;
use std::cell::RefCell;

/// Operands: sequence `[batch, time, features]` (or `[time, batch, features]`), then for each gate the
/// weights of the features `[units, features]`, for each gate the recurrent weights `[units, units]`, for
/// each gate the bias `[units]`; gates in the order input, forget, cell, output, without input where it is
/// coupled. Result: the outputs of all times, `units` in place of features.
///
/// Output and cell state start as zeros and are kept from invoke to invoke, as TFLite keeps them in
/// variable tensors: the same input need not give the same result.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SequenceLstm {
    /// Time is the first dimension, batch the second.
    pub time_major: bool,
    /// The input gate is 1 − the forget gate and has no weights.
    pub coupled: bool,
    /// The cell state is cut to ± this; 0 means not at all.
    pub cell_clip: f32,
}

impl SequenceLstm {
    fn gates(&self) -> usize {
        if self.coupled { 3 } else { 4 }
    }

    /// Batch, time, features, units.
    fn sizes(&self, inputs: &[Operand<'_>]) -> Result<[usize; 4]> {
        let gates = self.gates();
        arity(inputs, 1 + 3 * gates, 1 + 3 * gates)?;
        let unfit = |i: usize| Error::ModelInvalid(format!("operand {i} of shape {:?}", inputs[i].fact.shape));
        let &[first, second, features] = &inputs[0].fact.shape[..] else { return Err(unfit(0)) };
        let (batch, time) = if self.time_major { (second, first) } else { (first, second) };
        let units = inputs[1].fact.shape.first().copied().unwrap_or(0);
        for (i, input) in inputs.iter().enumerate().skip(1) {
            let shape = &input.fact.shape[..];
            let fits = match (i - 1) / gates {
                0 => *shape == [units, features],
                1 => *shape == [units, units],
                _ => *shape == [units],
            };
            if !fits {
                return Err(unfit(i));
            }
        }
        Ok([batch, time, features, units])
    }
}

impl Operator for SequenceLstm {
    fn name(&self) -> &'static str {
        "SequenceLstm"
    }

    fn infer(&self, inputs: &[Operand<'_>]) -> Result<Vec<Fact>> {
        let [batch, _, _, units] = self.sizes(inputs)?;
        limits::elements(&[batch, units])?;
        let x = inputs[0].fact;
        let mut shape = x.shape.clone();
        shape[2] = units;
        Ok(vec![Fact { shape, ..x.clone() }.as_real()])
    }

    fn prepare(&self, on: &Prepare<'_>) -> Result<Option<Step>> {
        if on.inputs.iter().map(|i| i.fact).chain(on.outputs).any(|f| f.dtype != DType::F32) {
            return Ok(None);
        }
        let sizes = self.sizes(on.inputs)?;
        let [batch, _, _, units] = sizes;
        let state = RefCell::new(State {
            output: vec![0.0; batch * units],
            cell: vec![0.0; batch * units],
            gates: vec![0.0; self.gates() * units],
        });
        let op = *self;
        Ok(Some(Step::new("sequence_lstm.f32", move |inputs, mut outputs, _| {
            let operands: Vec<&[f32]> = (0..inputs.len()).map(|i| inputs.get(i)).collect();
            op.run(sizes, &operands, outputs.get(0), &mut state.borrow_mut());
        })))
    }

    fn work(&self, inputs: &[Operand<'_>], outputs: &[Fact]) -> u64 {
        let row: usize = inputs[1..].iter().map(|i| i.fact.len()).sum();
        let steps = outputs[0].shape[..2].iter().product::<usize>();
        (row as u64).saturating_mul(steps as u64)
    }
}

struct State {
    output: Vec<f32>,
    cell: Vec<f32>,
    /// Of one step: input (unless coupled), forget, cell, output.
    gates: Vec<f32>,
}

impl SequenceLstm {
    fn run(&self, sizes: [usize; 4], operands: &[&[f32]], y: &mut [f32], state: &mut State) {
        let [batch, time, features, units] = sizes;
        for (t, b) in (0..time).flat_map(|t| (0..batch).map(move |b| (t, b))) {
            let at = if self.time_major { t * batch + b } else { b * time + t };
            let x = &operands[0][at * features..][..features];
            let own = b * units..(b + 1) * units;
            self.gates_of(x, &state.output[own.clone()], operands, &mut state.gates);
            let (cell, output) = (&mut state.cell[own.clone()], &mut state.output[own]);
            for u in 0..units {
                let gate = |g: usize| state.gates[g * units + u];
                let first = usize::from(!self.coupled);
                let (forget, candidate, out) = (logistic(gate(first)), gate(first + 1).tanh(), gate(first + 2));
                let input = if self.coupled { 1.0 - forget } else { logistic(gate(0)) };
                let mut next = forget * cell[u] + input * candidate;
                if self.cell_clip > 0.0 {
                    next = next.clamp(-self.cell_clip, self.cell_clip);
                }
                cell[u] = next;
                output[u] = logistic(out) * next.tanh();
            }
            y[at * units..][..units].copy_from_slice(output);
        }
    }

    /// Every gate before its function.
    fn gates_of(&self, x: &[f32], output: &[f32], operands: &[&[f32]], gates: &mut [f32]) {
        let (count, units) = (self.gates(), output.len());
        let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
        for (i, gate) in gates.iter_mut().enumerate() {
            let (g, u) = (i / units, i % units);
            let own = &operands[1 + g][u * x.len()..][..x.len()];
            let recurrent = &operands[1 + count + g][u * units..][..units];
            *gate = operands[1 + 2 * count + g][u] + dot(own, x) + dot(recurrent, output);
        }
    }
}

fn logistic(x: f32) -> f32 {
    UnaryKind::Logistic.real(x)
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

    /// One unit, one feature; all weights 0 but the candidate's own, so that the cell adds up half of what
    /// comes in.
    fn adder(coupled: bool, time_major: bool, shape: &[usize]) -> impl Session {
        let mut g = Graph::new();
        let x = g.input("x", Fact::new(DType::F32, shape)).unwrap();
        let mut ids = vec![x];
        let gates = if coupled { 3 } else { 4 };
        for kind in 0..3 {
            for gate in 0..gates {
                let shape: &[usize] = if kind == 2 { &[1] } else { &[1, 1] };
                // the forget gate is open, the candidate takes the feature
                let value = match (kind, gate + usize::from(coupled)) {
                    (2, 1) => if coupled { 0.0 } else { 100.0 },
                    (0, 2) => 1.0,
                    _ => 0.0f32,
                };
                ids.push(g.constant("w", Tensor::from_elements(shape, &[value]).unwrap(), None).unwrap());
            }
        }
        let op = SequenceLstm { time_major, coupled, cell_clip: 0.0 };
        let y = g.add("y", op, &ids).unwrap();
        g.output(y);
        prepare(&g, Tier::Portable).unwrap()
    }

    #[test]
    fn the_cell_adds_up_from_invoke_to_invoke() {
        let mut session = adder(false, false, &[1, 2, 1]);
        let mut cell = 0f32;
        for _ in 0..3 {
            session.set_input(0, as_bytes(&[0.5f32, -0.25])).unwrap();
            session.invoke().unwrap();
            for (x, y) in [0.5f32, -0.25].iter().zip(elements::<f32>(session.output(0).unwrap()).unwrap()) {
                cell += 0.5 * x.tanh();
                assert!((y - 0.5 * cell.tanh()).abs() < 1e-6, "{y} for a cell of {cell}");
            }
        }
    }

    #[test]
    fn a_coupled_gate_forgets_what_it_takes_in() {
        let mut session = adder(true, true, &[2, 1, 1]);
        session.set_input(0, as_bytes(&[1.0f32, 1.0])).unwrap();
        session.invoke().unwrap();
        let got = elements::<f32>(session.output(0).unwrap()).unwrap();
        let (first, second) = (0.5 * 1f32.tanh(), 0.75 * 1f32.tanh());
        assert!((got[0] - 0.5 * first.tanh()).abs() < 1e-6 && (got[1] - 0.5 * second.tanh()).abs() < 1e-6);
    }

    #[test]
    fn operands_that_do_not_fit_are_refused() {
        let mut g = Graph::new();
        let x = g.input("x", Fact::new(DType::F32, &[1, 2, 3])).unwrap();
        let op = SequenceLstm { time_major: false, coupled: true, cell_clip: 0.0 };
        assert!(g.add("y", op, &[x]).is_err());
        assert!(g.add("y", op, &[x; 10]).is_err());
    }
}
