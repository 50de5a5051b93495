//! An LSTM with f32 activations and int8 weights: activations are quantised frame by frame, with or without a
//! zero point, as TFLite's own kernel does it.

use super::Prepare;
use super::sequence_lstm::{Products, SequenceLstm, Sizes, State};
use crate::builtin::kernels::dynamic::{Group, Method};
use crate::builtin::kernels::io::Inputs;
use crate::builtin::step::Step;
use protocol::DType;
use std::cell::RefCell;
use std::ops::Range;

/// The step, when the matrices are int8 with one scale each and all else is f32.
pub(super) fn prepare(op: &SequenceLstm, sizes: Sizes, on: &Prepare<'_>) -> Option<Step> {
    let mut scales = Vec::new();
    for (i, input) in on.inputs.iter().enumerate() {
        let fact = input.fact;
        scales.push(match (op.is_matrix(i), fact.dtype, fact.per_tensor()) {
            (true, DType::I8, Some((scale, 0))) => scale,
            (false, DType::F32, None) => 1.0,
            _ => return None,
        });
    }
    if on.outputs.iter().any(|f| f.dtype != DType::F32) {
        return None;
    }
    let (op, state) = (*op, RefCell::new(State::new(op, sizes)));
    Some(Step::new("sequence_lstm.dynamic", move |inputs, mut outputs, _| {
        let real = |i: usize| if op.is_matrix(i) { &[][..] } else { inputs.get(i) };
        let operands: Vec<&[f32]> = (0..inputs.len()).map(real).collect();
        let mut products = Quantised::new(inputs, &scales, op.asymmetric);
        op.run(sizes, &operands, outputs.get(0), &mut state.borrow_mut(), &mut products);
    }))
}

/// int8 matrices, and activations quantised row by row.
pub(super) struct Quantised<'a> {
    inputs: Inputs<'a>,
    scales: &'a [f32],
    asymmetric: bool,
    row: Vec<i32>,
}

impl<'a> Quantised<'a> {
    /// `scales` of all operands.
    pub(super) fn new(inputs: Inputs<'a>, scales: &'a [f32], asymmetric: bool) -> Self {
        Self { inputs, scales, asymmetric, row: Vec::new() }
    }
}

impl Products for Quantised<'_> {
    fn add(&mut self, weights: Range<usize>, x: &[f32], sums: &mut [f32]) {
        if x.iter().all(|v| *v == 0.0) {
            return;
        }
        self.row.clear();
        let scale = if self.asymmetric {
            let (low, high) = x.iter().fold((0f32, 0f32), |(low, high), v| (low.min(*v), high.max(*v)));
            let group = Group::new(Method::Tflite, low, high);
            self.row.extend(x.iter().map(|v| group.distance(*v)));
            group.scale
        } else {
            let range = x.iter().fold(0f32, |m, v| m.max(v.abs()));
            let inverse = 127.0 / range;
            self.row.extend(x.iter().map(|v| ((v * inverse).round() as i32).clamp(-127, 127)));
            range / 127.0
        };
        let rows = (sums.len() / weights.len().max(1)).max(1);
        for (operand, sums) in weights.zip(sums.chunks_exact_mut(rows)) {
            let factor = scale * self.scales[operand];
            let matrix: &[i8] = self.inputs.get(operand);
            for (weights, sum) in matrix.chunks_exact(x.len()).zip(sums) {
                let dot = |s: i32, (w, q): (&i8, &i32)| s.wrapping_add(i32::from(*w).wrapping_mul(*q));
                *sum += weights.iter().zip(&self.row).fold(0, dot) as f32 * factor;
            }
        }
    }
}
