//! Recurrent layers as ONNX defines them: LSTM, GRU and simple ones, in one or both directions.

use super::{Operand, Operator, Prepare, UnaryKind};
use crate::builtin::graph::Fact;
use crate::builtin::kernels::io::Inputs;
use crate::builtin::kernels::memory;
use crate::builtin::limits;
use crate::builtin::step::Step;
use crate::{Error, Result};
use protocol::DType;

/// Which layer, and how many results it has: all outputs, the last output, the last cell (LSTM).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecurrentKind {
    /// One gate.
    Simple,
    /// Gates update, reset, candidate.
    Gru {
        /// The reset gate is applied after the product with the recurrent weights.
        reset_after: bool,
    },
    /// Gates input, output, forget, candidate.
    Lstm {
        /// The forget gate is 1 − the input gate.
        coupled: bool,
    },
}

/// One way through the sequence.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Direction {
    /// From the last element to the first.
    pub reverse: bool,
    /// Of the gates, of the candidate, of the cell: as many as the layer has.
    pub functions: [UnaryKind; 3],
}

/// Operands: sequence `[time, batch, features]`, weights `[directions, gates · units, features]`, recurrent weights
/// `[directions, gates · units, units]`, then those that `present` names. Results: outputs
/// `[time, directions, batch, units]`, the last output and, of LSTM, the last cell `[directions, batch, units]`. All f32.
#[derive(Clone, Debug, PartialEq)]
pub struct Recurrent {
    /// Which layer.
    pub kind: RecurrentKind,
    /// One or two.
    pub directions: Vec<Direction>,
    /// What goes into a gate's function is cut to ± this; 0 means not at all.
    pub clip: f32,
    /// Whether there are: bias `[directions, 2 · gates · units]`, lengths (i32 `[batch]`), first output and first cell
    /// `[directions, batch, units]`, peepholes `[directions, 3 · units]`.
    pub present: [bool; 5],
}

/// Sizes of one layer.
#[derive(Clone, Copy)]
struct Sizes {
    time: usize,
    batch: usize,
    features: usize,
    units: usize,
    gates: usize,
}

impl Recurrent {
    fn gates(&self) -> usize {
        match self.kind {
            RecurrentKind::Simple => 1,
            RecurrentKind::Gru { .. } => 3,
            RecurrentKind::Lstm { .. } => 4,
        }
    }

    /// Number of the optional operand `which`, if it is there.
    fn optional(&self, which: usize) -> Option<usize> {
        let before = self.present[..which].iter().filter(|p| **p).count();
        self.present[which].then_some(3 + before)
    }

    fn sizes(&self, inputs: &[Operand<'_>]) -> Result<Sizes> {
        let count = 3 + self.present.iter().filter(|p| **p).count();
        super::arity(inputs, count, count)?;
        let unfit = |i: usize| Error::ModelInvalid(format!("operand {i} of shape {:?}", inputs[i].fact.shape));
        let &[time, batch, features] = &inputs[0].fact.shape[..] else { return Err(unfit(0)) };
        let &[_, _, units] = &inputs[2].fact.shape[..] else { return Err(unfit(2)) };
        let (n, gates) = (self.directions.len(), self.gates());
        let rows = gates.saturating_mul(units);
        let mut wanted = vec![vec![time, batch, features], vec![n, rows, features], vec![n, rows, units]];
        let optional = [
            vec![n, rows.saturating_mul(2)],
            vec![batch],
            vec![n, batch, units],
            vec![n, batch, units],
            vec![n, units.saturating_mul(3)],
        ];
        let dtypes: Vec<DType> = (0..count)
            .map(|i| if self.optional(1) == Some(i) { DType::I32 } else { DType::F32 })
            .collect();
        wanted.extend(optional.into_iter().zip(self.present).filter(|(_, p)| *p).map(|(shape, _)| shape));
        for (i, (input, shape)) in inputs.iter().zip(&wanted).enumerate() {
            if input.fact.shape != *shape || input.fact.dtype != dtypes[i] {
                return Err(unfit(i));
            }
        }
        Ok(Sizes { time, batch, features, units, gates })
    }
}

impl Operator for Recurrent {
    fn name(&self) -> &'static str {
        match self.kind {
            RecurrentKind::Simple => "Rnn",
            RecurrentKind::Gru { .. } => "Gru",
            RecurrentKind::Lstm { .. } => "Lstm",
        }
    }

    fn infer(&self, inputs: &[Operand<'_>]) -> Result<Vec<Fact>> {
        let Sizes { time, batch, units, .. } = self.sizes(inputs)?;
        let n = self.directions.len();
        limits::bytes(&[time, n, batch, units], 4)?;
        let last = Fact::new(DType::F32, &[n, batch, units]);
        let mut facts = vec![Fact::new(DType::F32, &[time, n, batch, units]), last.clone()];
        if matches!(self.kind, RecurrentKind::Lstm { .. }) {
            facts.push(last);
        }
        Ok(facts)
    }

    fn prepare(&self, on: &Prepare<'_>) -> Result<Option<Step>> {
        if on.outputs.iter().any(|f| f.dtype != DType::F32) {
            return Ok(None);
        }
        let sizes = self.sizes(on.inputs)?;
        let op = self.clone();
        let Sizes { units, gates, .. } = sizes;
        Ok(Some(
            Step::new("recurrent.f32", move |inputs, mut outputs, scratch| {
                if units == 0 {
                    return;
                }
                let scratch = memory::elements_mut::<f32>(scratch).unwrap_or_default();
                let (state, rest) = scratch.split_at_mut(2 * units);
                for (d, b) in (0..op.directions.len()).flat_map(|d| (0..sizes.batch).map(move |b| (d, b))) {
                    op.start(sizes, &inputs, d, b, state);
                    let layer = Layer::new(&op, sizes, &inputs, d);
                    let length = layer.length(&op, &inputs, b);
                    for i in 0..sizes.time {
                        let place = |t: usize| ((t * op.directions.len() + d) * sizes.batch + b) * units;
                        if i >= length {
                            outputs.get::<f32>(0)[place(i)..][..units].fill(0.0);
                            continue;
                        }
                        let t = if op.directions[d].reverse { length - 1 - i } else { i };
                        let x = &inputs.get::<f32>(0)[(t * sizes.batch + b) * sizes.features..][..sizes.features];
                        layer.step(&op, x, state, rest);
                        outputs.get::<f32>(0)[place(t)..][..units].copy_from_slice(&state[..units]);
                    }
                    let last = (d * sizes.batch + b) * units;
                    outputs.get::<f32>(1)[last..][..units].copy_from_slice(&state[..units]);
                    if matches!(op.kind, RecurrentKind::Lstm { .. }) {
                        outputs.get::<f32>(2)[last..][..units].copy_from_slice(&state[units..]);
                    }
                }
            })
            .with_scratch((2 + gates + 1) * units * 4),
        ))
    }

    fn work(&self, inputs: &[Operand<'_>], outputs: &[Fact]) -> u64 {
        let row: usize = inputs[1..3].iter().map(|i| i.fact.len()).sum();
        let steps = outputs[0].shape.first().copied().unwrap_or(0) as u64;
        let batch = outputs[0].shape.get(2).copied().unwrap_or(0) as u64;
        (row as u64).saturating_mul(steps).saturating_mul(batch)
    }
}

impl Recurrent {
    /// Output and cell before the first element.
    fn start(&self, sizes: Sizes, inputs: &Inputs<'_>, direction: usize, batch: usize, state: &mut [f32]) {
        let units = sizes.units;
        let at = (direction * sizes.batch + batch) * units;
        for (which, part) in [2, 3].into_iter().zip([&(0..units), &(units..2 * units)]) {
            match self.optional(which) {
                Some(i) => state[part.clone()].copy_from_slice(&inputs.get::<f32>(i)[at..][..units]),
                None => state[part.clone()].fill(0.0),
            }
        }
    }
}

/// The parameters of one direction.
struct Layer<'a> {
    sizes: Sizes,
    weights: &'a [f32],
    recurrent: &'a [f32],
    bias: Option<&'a [f32]>,
    peepholes: Option<&'a [f32]>,
    functions: [UnaryKind; 3],
}

impl<'a> Layer<'a> {
    fn new(op: &Recurrent, sizes: Sizes, inputs: &Inputs<'a>, direction: usize) -> Self {
        let Sizes { features, units, gates, .. } = sizes;
        let part = |operand: usize, length: usize| &inputs.get::<f32>(operand)[direction * length..][..length];
        Self {
            sizes,
            weights: part(1, gates * units * features),
            recurrent: part(2, gates * units * units),
            bias: op.optional(0).map(|i| part(i, 2 * gates * units)),
            peepholes: op.optional(4).map(|i| part(i, 3 * units)),
            functions: op.directions[direction].functions,
        }
    }

    /// How many elements the sequence of a batch has.
    fn length(&self, op: &Recurrent, inputs: &Inputs<'_>, batch: usize) -> usize {
        let given = op.optional(1).map(|i| inputs.get::<i32>(i)[batch]);
        given.map_or(self.sizes.time, |n| usize::try_from(n).unwrap_or(0).min(self.sizes.time))
    }

    /// The bias of a gate: of the input's side, of the recurrent one.
    fn bias(&self, gate: usize) -> [f32; 2] {
        let all = self.sizes.gates * self.sizes.units;
        self.bias.map_or([0.0; 2], |bias| [bias[gate], bias[all + gate]])
    }

    fn input(&self, gate: usize, x: &[f32]) -> f32 {
        dot(&self.weights[gate * x.len()..][..x.len()], x)
    }

    fn recurrent(&self, gate: usize, h: &[f32]) -> f32 {
        dot(&self.recurrent[gate * h.len()..][..h.len()], h)
    }

    /// One element: `state` is output and cell, `rest` room for the gates and one more row.
    fn step(&self, op: &Recurrent, x: &[f32], state: &mut [f32], rest: &mut [f32]) {
        let units = self.sizes.units;
        let (h, c) = state.split_at_mut(units);
        let (gates, row) = rest.split_at_mut(self.sizes.gates * units);
        let cut = |v: f32| if op.clip > 0.0 { v.clamp(-op.clip, op.clip) } else { v };
        let [f, g, last] = self.functions;
        let before_reset = matches!(op.kind, RecurrentKind::Gru { .. });
        for (i, gate) in gates.iter_mut().enumerate() {
            let [a, b] = self.bias(i);
            // the candidate of a GRU sees the output only through the reset gate
            let seen = if before_reset && i >= 2 * units { 0.0 } else { self.recurrent(i, h) + b };
            *gate = self.input(i, x) + a + seen;
        }
        match op.kind {
            RecurrentKind::Simple => (0..units).for_each(|u| h[u] = f.real(cut(gates[u]))),
            RecurrentKind::Gru { reset_after } => {
                for u in 0..units {
                    gates[u] = f.real(cut(gates[u]));
                    gates[units + u] = f.real(cut(gates[units + u]));
                    row[u] = gates[units + u] * h[u];
                }
                for u in 0..units {
                    let i = 2 * units + u;
                    let [_, b] = self.bias(i);
                    let seen = if reset_after {
                        gates[units + u] * (self.recurrent(i, h) + b)
                    } else {
                        self.recurrent(i, &row[..units]) + b
                    };
                    gates[i] = g.real(cut(gates[i] + seen));
                }
                (0..units).for_each(|u| h[u] = (1.0 - gates[u]) * gates[2 * units + u] + gates[u] * h[u]);
            }
            RecurrentKind::Lstm { coupled } => {
                for u in 0..units {
                    let peep = |k: usize, c: f32| self.peepholes.map_or(0.0, |p| p[k * units + u] * c);
                    let input = f.real(cut(gates[u] + peep(0, c[u])));
                    let forget = f.real(cut(gates[2 * units + u] + peep(2, c[u])));
                    let forget = if coupled { 1.0 - input } else { forget };
                    c[u] = forget * c[u] + input * g.real(cut(gates[3 * units + u]));
                    let output = f.real(cut(gates[units + u] + peep(1, c[u])));
                    // not cut: ONNX Runtime leaves the cell as it is, whatever the standard says
                    h[u] = output * last.real(c[u]);
                }
            }
        }
    }
}

/// Eight sums side by side, so that they can be vectors.
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0f32; 8];
    let (left, right) = (a.chunks_exact(8), b.chunks_exact(8));
    let rest: f32 = left.remainder().iter().zip(right.remainder()).map(|(a, b)| a * b).sum();
    for (a, b) in left.zip(right) {
        (0..8).for_each(|k| sums[k] += a[k] * b[k]);
    }
    sums.iter().sum::<f32>() + rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Session;
    use crate::builtin::graph::Graph;
    use crate::builtin::kernels::Tier;
    use crate::builtin::kernels::memory::elements;
    use crate::builtin::ops::Op;
    use crate::builtin::prepare;
    use crate::builtin::tensor::Tensor;

    const PLAIN: Direction = Direction {
        reverse: false,
        functions: [UnaryKind::Logistic, UnaryKind::Tanh, UnaryKind::Tanh],
    };

    /// All outputs and the last of a layer of one unit and one feature.
    fn run(op: Recurrent, x: &[f32], operands: &[(&[usize], &[f32])], lengths: Option<i32>) -> Vec<Vec<f32>> {
        let mut g = Graph::new();
        let mut ids = vec![g.input("x", Fact::new(DType::F32, &[x.len(), 1, 1])).unwrap()];
        for (i, (shape, values)) in operands.iter().enumerate() {
            if let Some(length) = lengths.filter(|_| i == 2) {
                ids.push(g.constant("l", Tensor::from_elements(&[1], &[length]).unwrap(), None).unwrap());
            }
            ids.push(g.constant("w", Tensor::from_elements(shape, values).unwrap(), None).unwrap());
        }
        if let Some(length) = lengths.filter(|_| operands.len() == 2) {
            ids.push(g.constant("l", Tensor::from_elements(&[1], &[length]).unwrap(), None).unwrap());
        }
        let lstm = matches!(op.kind, RecurrentKind::Lstm { .. });
        let names = if lstm { &["y", "h", "c"][..] } else { &["y", "h"] };
        let all = g.add_node(names, Op::from(op), &ids, &vec![None; names.len()]).unwrap();
        all.iter().for_each(|id| g.output(*id));
        let mut session = prepare(&g, Tier::Portable).unwrap();
        session.set_input(0, memory::as_bytes(x)).unwrap();
        session.invoke().unwrap();
        (0..names.len()).map(|i| elements::<f32>(session.output(i).unwrap()).unwrap().to_vec()).collect()
    }

    #[test]
    fn a_simple_layer_forwards_and_backwards() {
        let tanh = Direction { functions: [UnaryKind::Tanh; 3], ..PLAIN };
        let op = Recurrent {
            kind: RecurrentKind::Simple,
            directions: vec![tanh, Direction { reverse: true, ..tanh }],
            clip: 0.0,
            present: [false, true, false, false, false],
        };
        let weights: [(&[usize], &[f32]); 2] = [(&[2, 1, 1], &[1.0, 1.0]), (&[2, 1, 1], &[0.5, 0.5])];
        let got = run(op, &[1.0, 2.0, 9.0], &weights, Some(2));
        let first = 1f32.tanh();
        let second = (2.0 + 0.5 * first).tanh();
        let (back, backs) = (2f32.tanh(), (1.0 + 0.5 * 2f32.tanh()).tanh());
        let expected = [first, backs, second, back, 0.0, 0.0];
        assert!(got[0].iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-6), "{:?}", got[0]);
        assert!((got[1][0] - second).abs() < 1e-6 && (got[1][1] - backs).abs() < 1e-6);
    }

    #[test]
    fn an_lstm_with_closed_and_open_gates() {
        let op = Recurrent {
            kind: RecurrentKind::Lstm { coupled: false },
            directions: vec![PLAIN],
            clip: 0.0,
            present: [true, false, false, false, false],
        };
        // gates input, output, forget are open by their bias, the candidate is the feature
        let operands: [(&[usize], &[f32]); 3] = [
            (&[1, 4, 1], &[0.0, 0.0, 0.0, 1.0]),
            (&[1, 4, 1], &[0.0; 4]),
            (&[1, 8], &[50.0, 50.0, 50.0, 0.0, 0.0, 0.0, 0.0, 0.0]),
        ];
        let got = run(op, &[0.5, 0.25], &operands, None);
        let cell = 0.5f32.tanh() + 0.25f32.tanh();
        assert!((got[2][0] - cell).abs() < 1e-6, "{got:?}");
        assert!((got[1][0] - cell.tanh()).abs() < 1e-6, "{got:?}");
    }

    #[test]
    fn a_gru_keeps_what_its_gate_says() {
        let op = |reset_after| Recurrent {
            kind: RecurrentKind::Gru { reset_after },
            directions: vec![PLAIN],
            clip: 0.0,
            present: [true, false, true, false, false],
        };
        for reset_after in [false, true] {
            // half is kept, the reset gate is closed
            let operands: [(&[usize], &[f32]); 4] = [
                (&[1, 3, 1], &[0.0, 0.0, 1.0]),
                (&[1, 3, 1], &[0.0, 0.0, 1.0]),
                (&[1, 6], &[0.0, -50.0, 0.0, 0.0, 0.0, 0.0]),
                (&[1, 1, 1], &[0.8]),
            ];
            let got = run(op(reset_after), &[0.3], &operands, None);
            assert!((got[0][0] - 0.5 * (0.3f32.tanh() + 0.8)).abs() < 1e-6, "{got:?}");
        }
    }

    #[test]
    fn operands_that_do_not_fit_are_refused() {
        let op = Recurrent {
            kind: RecurrentKind::Simple,
            directions: vec![PLAIN],
            clip: 0.0,
            present: [false; 5],
        };
        let mut g = Graph::new();
        let x = g.input("x", Fact::new(DType::F32, &[1, 2, 3])).unwrap();
        assert!(g.add_node(&["y", "h"], Op::from(op.clone()), &[x], &[None, None]).is_err());
        assert!(g.add_node(&["y", "h"], Op::from(op), &[x; 3], &[None, None]).is_err());
    }
}
