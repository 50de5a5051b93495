//! An LSTM of int8 with an int16 cell state, to the last bit as TFLite's own kernel computes it: gates with 3
//! integer bits, every product rounded.

use super::Prepare;
use super::sequence_lstm::{LstmStates, SequenceLstm, Sizes};
use crate::Result;
use crate::builtin::kernels::fixed::{self, divided_32, logistic, tanh};
use crate::builtin::kernels::io::Inputs;
use crate::builtin::kernels::wide::Multiplier;
use crate::builtin::limits;
use crate::builtin::step::Step;
use protocol::DType;
use std::cell::RefCell;
use std::ops::Range;

/// The step, when everything is int8 with int32 biases, without peepholes and normalisation.
///
/// # Errors
/// The state is too large.
pub(super) fn prepare(op: &SequenceLstm, sizes: Sizes, on: &Prepare<'_>) -> Result<Option<Step>> {
    let Some(lstm) = Lstm::new(op, sizes, on) else { return Ok(None) };
    limits::bytes(&[sizes.batch, sizes.units.max(sizes.outputs), 4 + op.gates()], 2)?;
    let state = RefCell::new(State {
        // A variable tensor of int8 starts as its zero point.
        output: vec![lstm.states.output.1 as i8; sizes.batch * sizes.outputs],
        cell: vec![0; sizes.batch * sizes.units],
        gates: vec![0; op.gates() * sizes.units],
        hidden: vec![0; sizes.units],
    });
    Ok(Some(Step::new("sequence_lstm.i8", move |inputs, mut outputs, _| {
        lstm.run(inputs, outputs.get(0), &mut state.borrow_mut());
    })))
}

struct State {
    output: Vec<i8>,
    cell: Vec<i16>,
    gates: Vec<i16>,
    hidden: Vec<i8>,
}

/// A matrix of weights: what its activations are less, and the multiplier of its sums.
#[derive(Clone, Copy, Debug)]
struct Matrix {
    zero: i32,
    multiplier: Multiplier,
}

struct Lstm {
    op: SequenceLstm,
    sizes: Sizes,
    states: LstmStates,
    /// Of the features, then of the output state, for each gate.
    matrices: Vec<Matrix>,
    projection: Option<Matrix>,
    hidden: Multiplier,
    /// The cell state has so many integer bits.
    integer_bits: i32,
    cell_clip: i16,
    projection_clip: i8,
}

impl Lstm {
    fn new(op: &SequenceLstm, sizes: Sizes, on: &Prepare<'_>) -> Option<Self> {
        let states = op.states.filter(|_| !op.peephole && !op.normalized)?;
        let (x, y) = (on.inputs[0].fact, &on.outputs[0]);
        if (x.dtype, y.dtype) != (DType::I8, DType::I8) || y.per_tensor() != Some(states.output) {
            return None;
        }
        let (x_scale, x_zero) = x.per_tensor()?;
        let weights = |i: usize| match (on.inputs[i].fact.dtype, on.inputs[i].fact.per_tensor()) {
            (DType::I8, Some((scale, 0))) => Some(scale),
            _ => None,
        };
        let gates = op.gates();
        let biases = (1 + 2 * gates..1 + 3 * gates).chain(op.projections().skip(1));
        if biases.into_iter().any(|i| on.inputs[i].fact.dtype != DType::I32) {
            return None;
        }
        // Gates have 12 fractional bits.
        let of = |i: usize, scale: f32, zero: i32, result: f32| {
            let multiplier = Multiplier::new(f64::from(weights(i)? * scale / result));
            Some(Matrix { zero, multiplier })
        };
        let features = (1..1 + gates).map(|i| of(i, x_scale, x_zero, 1.0 / 4096.0));
        let (scale, zero) = states.output;
        let recurrent = (1 + gates..1 + 2 * gates).map(|i| of(i, scale, zero, 1.0 / 4096.0));
        let matrices = features.chain(recurrent).collect::<Option<Vec<_>>>()?;
        let projection = match op.projections().next() {
            Some(i) => Some(of(i, states.hidden.0, states.hidden.1, scale)?),
            None => None,
        };
        let exponent = states.cell.log2().round();
        if (states.cell.log2() - exponent).abs() > 1e-3 {
            return None;
        }
        let integer_bits = 15 + exponent as i32;
        if !(0..=fixed::MAX_INTEGER_BITS).contains(&integer_bits) {
            return None;
        }
        let unit = 1.0 / 32768.0;
        let hidden = Multiplier::new(f64::from((unit / f64::from(states.hidden.0) * unit) as f32));
        let cell_clip = (op.cell_clip / states.cell).clamp(0.0, 32767.0) as i16;
        let projection_clip = (op.projection_clip / scale).clamp(0.0, 127.0) as i8;
        let op = *op;
        Some(Self {
            op,
            sizes,
            states,
            matrices,
            projection,
            hidden,
            integer_bits,
            cell_clip,
            projection_clip,
        })
    }

    fn run(&self, inputs: Inputs<'_>, y: &mut [i8], state: &mut State) {
        let (gates, Sizes { features, units, outputs, .. }) = (self.op.gates(), self.sizes);
        for (b, frame) in self.sizes.frames(&self.op) {
            let x = &inputs.get::<i8>(0)[frame * features..][..features];
            let output = &mut state.output[b * outputs..][..outputs];
            let cell = &mut state.cell[b * units..][..units];
            state.gates.fill(0);
            self.sums(inputs, 0..gates, x, &mut state.gates);
            self.sums(inputs, gates..2 * gates, output, &mut state.gates);
            self.units(&mut state.gates, cell, &mut state.hidden);
            match &self.projection {
                Some(matrix) => self.project(matrix, inputs, &state.hidden, output),
                None => output.copy_from_slice(&state.hidden),
            }
            y[frame * outputs..][..outputs].copy_from_slice(output);
        }
    }

    /// Adds the products of `x` and the matrices with these numbers, the bias with the first ones.
    fn sums(&self, inputs: Inputs<'_>, matrices: Range<usize>, x: &[i8], gates: &mut [i16]) {
        let count = self.op.gates();
        for (number, gate) in matrices.zip(gates.chunks_exact_mut(self.sizes.units.max(1))) {
            let matrix = self.matrices[number];
            let bias: &[i32] = if number < count { inputs.get(1 + 2 * count + number) } else { &[] };
            let weights: &[i8] = inputs.get(1 + number);
            for (u, (row, gate)) in weights.chunks_exact(x.len().max(1)).zip(gate).enumerate() {
                let sum = matrix.dot(row, x, bias.get(u).copied().unwrap_or(0));
                *gate = cut(matrix.multiplier.twice_rounded(sum).saturating_add(i32::from(*gate)));
            }
        }
    }

    fn units(&self, gates: &mut [i16], cell: &mut [i16], hidden: &mut [i8]) {
        let (count, units) = (self.op.gates(), cell.len());
        let at = |gate: usize, u: usize| i32::from(gates[gate * units + u]);
        let sigmoid = |gate: usize, u: usize| i32::from(logistic(at(gate, u) as i16));
        for (u, (cell, hidden)) in cell.iter_mut().zip(hidden).enumerate() {
            let forget = sigmoid(count - 3, u);
            let input = if self.op.coupled { 32767 - forget } else { sigmoid(0, u) };
            let candidate = i32::from(tanh(at(count - 2, u) as i16, 3));
            let kept = divided_32(forget * i32::from(*cell), 15);
            let new = divided_32(input * candidate, (15 + self.integer_bits) as u32);
            let sum = cut(i32::from(kept as i16) + i32::from(new as i16));
            *cell = if self.cell_clip > 0 { sum.clamp(-self.cell_clip, self.cell_clip) } else { sum };
            let product = sigmoid(count - 1, u) * i32::from(tanh(*cell, self.integer_bits));
            let scaled = self.hidden.twice_rounded(product);
            *hidden = scaled.saturating_add(self.states.hidden.1).clamp(-128, 127) as i8;
        }
    }

    fn project(&self, matrix: &Matrix, inputs: Inputs<'_>, hidden: &[i8], output: &mut [i8]) {
        let operands = self.op.projections();
        let bias: &[i32] = if operands.len() > 1 { inputs.get(operands.start + 1) } else { &[] };
        let weights: &[i8] = inputs.get(operands.start);
        for (o, (row, output)) in weights.chunks_exact(hidden.len().max(1)).zip(output).enumerate() {
            let sum = matrix.dot(row, hidden, bias.get(o).copied().unwrap_or(0));
            let scaled = matrix.multiplier.twice_rounded(sum).saturating_add(self.states.output.1);
            let cut = scaled.clamp(-128, 127) as i8;
            let limit = self.projection_clip;
            *output = if limit > 0 { cut.clamp(-limit, limit) } else { cut };
        }
    }
}

impl Matrix {
    fn dot(&self, weights: &[i8], x: &[i8], bias: i32) -> i32 {
        weights.iter().zip(x).fold(bias, |sum, (w, x)| {
            sum.wrapping_add(i32::from(*w).wrapping_mul(i32::from(*x).wrapping_sub(self.zero)))
        })
    }
}

fn cut(v: i32) -> i16 {
    v.clamp(i32::from(i16::MIN), i32::from(i16::MAX)) as i16
}
