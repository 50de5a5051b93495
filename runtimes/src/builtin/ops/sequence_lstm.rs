//! Long short-term memory over a sequence, which goes on where the last invoke stopped.

use super::{Operand, Operator, Prepare, UnaryKind, arity, hybrid_lstm, quantized_lstm};
use crate::builtin::graph::Fact;
use crate::builtin::limits;
use crate::builtin::step::Step;
use crate::{Error, Result};
use protocol::DType;
use std::cell::RefCell;
use std::ops::Range;

/// Operands: sequence `[batch, time, features]` (or `[time, batch, features]`), then for each gate the
/// weights of the features `[units, features]`, for each gate the recurrent weights `[units, outputs]`, for
/// each gate the bias `[units]`; gates in the order input, forget, cell, output, without input where it is
/// coupled. With peepholes, for each gate but cell the weights of the cell state `[units]`; with
/// normalisation, for each gate the factors `[units]`; with projection, its weights `[outputs, units]` and
/// perhaps its bias `[outputs]`. Result: the outputs of all times, `outputs` in place of features; without
/// projection the outputs are the units.
///
/// Output and cell state start as zeros and are kept from invoke to invoke, as TFLite keeps them in
/// variable tensors: the same input need not give the same result.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct SequenceLstm {
    /// Time is the first dimension, batch the second.
    pub time_major: bool,
    /// Time runs from the last frame to the first; results stay at their frame.
    pub backwards: bool,
    /// The input gate is 1 − the forget gate and has no weights.
    pub coupled: bool,
    /// Gates also see the cell state.
    pub peephole: bool,
    /// Gates are normalised over the units before their bias is added.
    pub normalized: bool,
    /// How many operands project what the units give: weights, or weights and bias.
    pub projection: usize,
    /// The cell state is cut to ± this; 0 means not at all.
    pub cell_clip: f32,
    /// The projected output is cut to ± this; 0 means not at all.
    pub projection_clip: f32,
    /// Where weights are int8 and activations f32: activations are quantised with a zero point.
    pub asymmetric: bool,
    /// How states are quantised, where all is int8.
    pub states: Option<LstmStates>,
}

/// Quantisation of what an int8 LSTM keeps: scale and zero point.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LstmStates {
    /// Of the output state.
    pub output: (f32, i32),
    /// Scale of the cell state, a power of two.
    pub cell: f32,
    /// Of what the units give, before a projection.
    pub hidden: (f32, i32),
}

/// How large everything is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sizes {
    pub(super) batch: usize,
    pub(super) time: usize,
    pub(super) features: usize,
    pub(super) units: usize,
    pub(super) outputs: usize,
}

impl SequenceLstm {
    pub(super) fn gates(&self) -> usize {
        if self.coupled { 3 } else { 4 }
    }

    /// Operands of the peepholes: gates but cell.
    fn peepholes(&self) -> Range<usize> {
        let first = 1 + 3 * self.gates();
        first..first + if self.peephole { self.gates() - 1 } else { 0 }
    }

    fn factors(&self) -> Range<usize> {
        let first = self.peepholes().end;
        first..first + if self.normalized { self.gates() } else { 0 }
    }

    /// Operands of the projection.
    pub(super) fn projections(&self) -> Range<usize> {
        let first = self.factors().end;
        first..first + self.projection.min(2)
    }

    /// Whether an operand is a matrix of weights.
    pub(super) fn is_matrix(&self, operand: usize) -> bool {
        let projection = self.projections();
        (1..1 + 2 * self.gates()).contains(&operand) || projection.contains(&operand) && operand == projection.start
    }

    pub(super) fn sizes(&self, inputs: &[Operand<'_>]) -> Result<Sizes> {
        let (gates, projections) = (self.gates(), self.projections());
        arity(inputs, projections.end, projections.end)?;
        let unfit = |i: usize| Error::ModelInvalid(format!("operand {i} of shape {:?}", inputs[i].fact.shape));
        let &[first, second, features] = &inputs[0].fact.shape[..] else { return Err(unfit(0)) };
        let (batch, time) = if self.time_major { (second, first) } else { (first, second) };
        let units = inputs[1].fact.shape.first().copied().unwrap_or(0);
        let outputs = if projections.is_empty() {
            units
        } else {
            inputs[projections.start].fact.shape.first().copied().unwrap_or(0)
        };
        for (i, input) in inputs.iter().enumerate().skip(1) {
            let shape = &input.fact.shape[..];
            let fits = match (i - 1) / gates {
                0 => *shape == [units, features],
                1 => *shape == [units, outputs],
                _ if i == projections.start => *shape == [outputs, units],
                _ if projections.contains(&i) => *shape == [outputs],
                _ => *shape == [units],
            };
            if !fits {
                return Err(unfit(i));
            }
        }
        Ok(Sizes { batch, time, features, units, outputs })
    }
}

/// The frames of a sequence.
#[derive(Clone, Copy, Debug)]
pub(super) struct Frames {
    pub(super) batch: usize,
    pub(super) time: usize,
    pub(super) time_major: bool,
    pub(super) backwards: bool,
}

impl Frames {
    /// In the order in which they are seen: batch, and the frame's number.
    pub(super) fn iter(self) -> impl Iterator<Item = (usize, usize)> {
        let Self { batch, time, time_major, backwards } = self;
        (0..time).flat_map(move |t| {
            let t = if backwards { time - 1 - t } else { t };
            (0..batch).map(move |b| (b, if time_major { t * batch + b } else { b * time + t }))
        })
    }
}

impl Sizes {
    pub(super) fn frames(self, op: &SequenceLstm) -> impl Iterator<Item = (usize, usize)> + use<> {
        let (time_major, backwards) = (op.time_major, op.backwards);
        Frames { batch: self.batch, time: self.time, time_major, backwards }.iter()
    }
}

impl Operator for SequenceLstm {
    fn name(&self) -> &'static str {
        "SequenceLstm"
    }

    fn infer(&self, inputs: &[Operand<'_>]) -> Result<Vec<Fact>> {
        let sizes = self.sizes(inputs)?;
        limits::elements(&[sizes.batch, sizes.units])?;
        limits::elements(&[sizes.batch, sizes.outputs])?;
        let x = inputs[0].fact;
        let mut shape = x.shape.clone();
        shape[2] = sizes.outputs;
        Ok(vec![Fact { shape, ..x.clone() }.as_real()])
    }

    fn prepare(&self, on: &Prepare<'_>) -> Result<Option<Step>> {
        let sizes = self.sizes(on.inputs)?;
        if let Some(step) = quantized_lstm::prepare(self, sizes, on)? {
            return Ok(Some(step));
        }
        if let Some(step) = hybrid_lstm::prepare(self, sizes, on) {
            return Ok(Some(step));
        }
        if on.inputs.iter().map(|i| i.fact).chain(on.outputs).any(|f| f.dtype != DType::F32) {
            return Ok(None);
        }
        let state = RefCell::new(State::new(self, sizes));
        let op = *self;
        Ok(Some(Step::new("sequence_lstm.f32", move |inputs, mut outputs, _| {
            let operands: Vec<&[f32]> = (0..inputs.len()).map(|i| inputs.get(i)).collect();
            op.run(sizes, &operands, outputs.get(0), &mut state.borrow_mut(), &mut Reals { operands: &operands });
        })))
    }

    fn work(&self, inputs: &[Operand<'_>], outputs: &[Fact]) -> u64 {
        let row: usize = inputs[1..].iter().map(|i| i.fact.len()).sum();
        let steps = outputs[0].shape[..2].iter().product::<usize>();
        (row as u64).saturating_mul(steps as u64)
    }
}

/// What is kept, and room for one frame.
pub(super) struct State {
    output: Vec<f32>,
    cell: Vec<f32>,
    /// Of one frame: input (unless coupled), forget, cell, output.
    gates: Vec<f32>,
    hidden: Vec<f32>,
}

impl State {
    pub(super) fn new(op: &SequenceLstm, sizes: Sizes) -> Self {
        Self {
            output: vec![0.0; sizes.batch * sizes.outputs],
            cell: vec![0.0; sizes.batch * sizes.units],
            gates: vec![0.0; op.gates() * sizes.units],
            hidden: vec![0.0; sizes.units],
        }
    }
}

/// Products of activations and matrices of weights.
pub(super) trait Products {
    /// Adds to `sums` the products of the rows of operand `weights.start`, then of the next, and so on, and `x`.
    fn add(&mut self, weights: Range<usize>, x: &[f32], sums: &mut [f32]);
}

/// f32 as it is.
pub(super) struct Reals<'a> {
    pub(super) operands: &'a [&'a [f32]],
}

impl Products for Reals<'_> {
    fn add(&mut self, weights: Range<usize>, x: &[f32], sums: &mut [f32]) {
        let rows = sums.len() / weights.len().max(1);
        for (weights, sums) in self.operands[weights].iter().zip(sums.chunks_exact_mut(rows.max(1))) {
            for (row, sum) in weights.chunks_exact(x.len().max(1)).zip(sums) {
                *sum += row.iter().zip(x).map(|(a, b)| a * b).sum::<f32>();
            }
        }
    }
}

impl SequenceLstm {
    /// All frames. `operands` are f32 where they are no matrices; what is a matrix is seen by `products` alone.
    pub(super) fn run(
        &self,
        sizes: Sizes,
        operands: &[&[f32]],
        y: &mut [f32],
        state: &mut State,
        products: &mut impl Products,
    ) {
        let (gates, projections) = (self.gates(), self.projections());
        for (b, frame) in sizes.frames(self) {
            let x = &operands[0][frame * sizes.features..][..sizes.features];
            let output = &mut state.output[b * sizes.outputs..][..sizes.outputs];
            let cell = &mut state.cell[b * sizes.units..][..sizes.units];
            for (g, sums) in state.gates.chunks_exact_mut(sizes.units.max(1)).enumerate() {
                if self.normalized { sums.fill(0.0) } else { sums.copy_from_slice(operands[1 + 2 * gates + g]) }
            }
            products.add(1..1 + gates, x, &mut state.gates);
            products.add(1 + gates..1 + 2 * gates, output, &mut state.gates);
            self.units(operands, &mut state.gates, cell, &mut state.hidden);
            if projections.is_empty() {
                output.copy_from_slice(&state.hidden);
            } else {
                match operands[projections.clone()] {
                    [_, bias] => output.copy_from_slice(bias),
                    _ => output.fill(0.0),
                }
                products.add(projections.start..projections.start + 1, &state.hidden, output);
                if self.projection_clip > 0.0 {
                    output.iter_mut().for_each(|v| *v = v.clamp(-self.projection_clip, self.projection_clip));
                }
            }
            y[frame * sizes.outputs..][..sizes.outputs].copy_from_slice(output);
        }
    }

    /// From the sums of one frame to the cell state and what the units give.
    fn units(&self, operands: &[&[f32]], sums: &mut [f32], cell: &mut [f32], hidden: &mut [f32]) {
        let (count, units) = (self.gates(), cell.len());
        let [candidate, out] = [count - 2, count - 1];
        for gate in 0..count - 1 {
            let peephole = (self.peephole && gate != candidate).then(|| operands[self.peepholes().start + gate]);
            self.gate(gate, peephole, operands, &mut sums[gate * units..][..units], cell);
        }
        for u in 0..units {
            let forget = sums[(count - 3) * units + u];
            let input = if self.coupled { 1.0 - forget } else { sums[u] };
            let next = forget * cell[u] + input * sums[candidate * units + u];
            cell[u] = if self.cell_clip > 0.0 { next.clamp(-self.cell_clip, self.cell_clip) } else { next };
        }
        let peephole = self.peephole.then(|| operands[self.peepholes().end - 1]);
        self.gate(out, peephole, operands, &mut sums[out * units..][..units], cell);
        for ((h, gate), cell) in hidden.iter_mut().zip(&sums[out * units..]).zip(cell) {
            *h = gate * cell.tanh();
        }
    }

    /// From the sums of a gate to the gate.
    fn gate(&self, gate: usize, peephole: Option<&[f32]>, operands: &[&[f32]], sums: &mut [f32], cell: &[f32]) {
        if let Some(weights) = peephole {
            sums.iter_mut().zip(weights.iter().zip(cell)).for_each(|(s, (w, c))| *s += w * c);
        }
        let count = self.gates();
        if self.normalized {
            let (factors, bias) = (operands[self.factors().start + gate], operands[1 + 2 * count + gate]);
            let mean = sums.iter().sum::<f32>() / sums.len().max(1) as f32;
            let spread = sums.iter().map(|s| (s - mean) * (s - mean)).sum::<f32>() / sums.len().max(1) as f32;
            let inverse = 1.0 / (spread + 1e-8).sqrt();
            let each = sums.iter_mut().zip(factors.iter().zip(bias));
            each.for_each(|(s, (f, b))| *s = (*s - mean) * inverse * f + b);
        }
        let function = if gate == count - 2 { UnaryKind::Tanh } else { UnaryKind::Logistic };
        sums.iter_mut().for_each(|s| *s = function.real(*s));
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

    /// One unit, one feature; all weights 0 but the candidate's own, so that the cell adds up half of what
    /// comes in.
    fn adder(op: SequenceLstm, shape: &[usize]) -> impl Session {
        let mut g = Graph::new();
        let x = g.input("x", Fact::new(DType::F32, shape)).unwrap();
        let mut ids = vec![x];
        for kind in 0..3 {
            for gate in 0..op.gates() {
                let shape: &[usize] = if kind == 2 { &[1] } else { &[1, 1] };
                // the forget gate is open, the candidate takes the feature
                let value = match (kind, gate + usize::from(op.coupled)) {
                    (2, 1) => if op.coupled { 0.0 } else { 100.0 },
                    (0, 2) => 1.0,
                    _ => 0.0f32,
                };
                ids.push(g.constant("w", Tensor::from_elements(shape, &[value]).unwrap(), None).unwrap());
            }
        }
        let y = g.add("y", op, &ids).unwrap();
        g.output(y);
        prepare(&g, Tier::Portable).unwrap()
    }

    #[test]
    fn the_cell_adds_up_from_invoke_to_invoke() {
        let mut session = adder(SequenceLstm::default(), &[1, 2, 1]);
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
        let op = SequenceLstm { time_major: true, coupled: true, ..SequenceLstm::default() };
        let mut session = adder(op, &[2, 1, 1]);
        session.set_input(0, as_bytes(&[1.0f32, 1.0])).unwrap();
        session.invoke().unwrap();
        let got = elements::<f32>(session.output(0).unwrap()).unwrap();
        let (first, second) = (0.5 * 1f32.tanh(), 0.75 * 1f32.tanh());
        assert!((got[0] - 0.5 * first.tanh()).abs() < 1e-6 && (got[1] - 0.5 * second.tanh()).abs() < 1e-6);
    }

    #[test]
    fn backwards_begins_at_the_end() {
        let op = SequenceLstm { backwards: true, ..SequenceLstm::default() };
        let mut session = adder(op, &[1, 2, 1]);
        session.set_input(0, as_bytes(&[0.25f32, 0.5])).unwrap();
        session.invoke().unwrap();
        let got = elements::<f32>(session.output(0).unwrap()).unwrap();
        let last = 0.5 * 0.5f32.tanh();
        assert!((got[1] - 0.5 * last.tanh()).abs() < 1e-6, "{got:?}");
        assert!((got[0] - 0.5 * (last + 0.5 * 0.25f32.tanh()).tanh()).abs() < 1e-6, "{got:?}");
    }

    #[test]
    fn operands_that_do_not_fit_are_refused() {
        let mut g = Graph::new();
        let x = g.input("x", Fact::new(DType::F32, &[1, 2, 3])).unwrap();
        let op = SequenceLstm { coupled: true, ..SequenceLstm::default() };
        assert!(g.add("y", op, &[x]).is_err());
        assert!(g.add("y", op, &[x; 10]).is_err());
    }
}
