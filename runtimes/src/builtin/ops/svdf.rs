//! A fully connected layer of low rank with a memory of the last frames, which goes on where the last
//! invoke stopped.

use super::hybrid_lstm::Quantised;
use super::sequence_lstm::{Products, Reals};
use super::{Clamp, Operand, Operator, Prepare, arity};
use crate::builtin::graph::Fact;
use crate::builtin::kernels::io::Inputs;
use crate::builtin::kernels::wide::Multiplier;
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
    /// Where weights are int8 and frames f32: frames are quantised with a zero point.
    pub asymmetric: bool,
    /// Scale of the memory, where everything is quantised.
    pub memory: Option<f32>,
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
        let (op, sizes) = (*self, self.sizes(on.inputs)?);
        let dtypes: Vec<DType> = on.inputs.iter().map(|i| i.fact).chain(on.outputs).map(|f| f.dtype).collect();
        let room = sizes.batch * sizes.filters * sizes.memory;
        Ok(match dtypes[..] {
            [DType::I8, DType::I8, DType::I16, ..] => Integers::new(self, sizes, on).map(|integers| {
                let memory = RefCell::new(vec![0i16; room]);
                Step::new("svdf.i8", move |inputs, mut outputs, _| {
                    integers.run(inputs, outputs.get(0), &mut memory.borrow_mut());
                })
            }),
            [DType::F32, DType::I8, DType::I8, .., DType::F32] => {
                let scale = |i: usize| on.inputs[i].fact.per_tensor().filter(|(_, zero)| *zero == 0);
                let (Some((by_feature, _)), Some((by_time, _))) = (scale(1), scale(2)) else { return Ok(None) };
                let memory = RefCell::new(vec![0.0f32; room]);
                Some(Step::new("svdf.dynamic", move |inputs, mut outputs, _| {
                    let times: Vec<f32> =
                        inputs.get::<i8>(2).iter().map(|w| f32::from(*w) * by_time).collect();
                    let scales = [1.0, by_feature];
                    let mut products = Quantised::new(inputs, &scales, op.asymmetric);
                    op.run(sizes, inputs, &times, outputs.get(0), &mut memory.borrow_mut(), &mut products);
                }))
            }
            ref all if all.iter().all(|d| *d == DType::F32) => {
                let memory = RefCell::new(vec![0.0f32; room]);
                Some(Step::new("svdf.f32", move |inputs, mut outputs, _| {
                    let operands: [&[f32]; 3] = std::array::from_fn(|i| inputs.get(i));
                    let mut products = Reals { operands: &operands };
                    op.run(sizes, inputs, operands[2], outputs.get(0), &mut memory.borrow_mut(), &mut products);
                }))
            }
            _ => None,
        })
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
        inputs: Inputs<'_>,
        by_time: &[f32],
        y: &mut [f32],
        memory: &mut [f32],
        products: &mut impl Products,
    ) {
        let (x, units) = (inputs.get::<f32>(0), s.filters / self.rank);
        let bias: &[f32] = if inputs.len() > 3 { inputs.get(3) } else { &[] };
        let mut newest = vec![0.0; s.filters];
        for b in 0..s.batch {
            newest.fill(0.0);
            products.add(1..2, &x[b * s.features..][..s.features], &mut newest);
            let y = &mut y[b * units..][..units];
            for (u, y) in y.iter_mut().enumerate() {
                *y = bias.get(u).copied().unwrap_or(0.0);
            }
            for (f, newest) in newest.iter().enumerate() {
                let frames = &mut memory[(b * s.filters + f) * s.memory..][..s.memory];
                frames.copy_within(1.., 0);
                frames[s.memory - 1] = *newest;
                let weights = &by_time[f * s.memory..][..s.memory];
                y[f / self.rank] += weights.iter().zip(frames).map(|(a, b)| a * *b).sum::<f32>();
            }
            y.iter_mut().for_each(|y| *y = self.clamp.apply(*y));
        }
    }
}

/// int8 frames and weights, int16 weights by time and memory: as TFLite's own kernel computes it.
struct Integers {
    sizes: Sizes,
    rank: usize,
    zero: (i32, i32),
    to_memory: Multiplier,
    to_result: Multiplier,
}

impl Integers {
    fn new(op: &Svdf, sizes: Sizes, on: &Prepare<'_>) -> Option<Self> {
        let memory = op.memory.filter(|m| m.is_finite() && *m > 0.0)?;
        let (out, bias) = (&on.outputs[0], on.inputs.get(3));
        if out.dtype != DType::I8 || bias.is_some_and(|b| b.fact.dtype != DType::I32) {
            return None;
        }
        let (x, zero) = on.inputs[0].fact.per_tensor()?;
        let (y, y_zero) = out.per_tensor()?;
        let weights = |i: usize| match on.inputs[i].fact.per_tensor()? {
            (scale, 0) => Some(scale),
            _ => None,
        };
        let to_memory = Multiplier::new(f64::from(x * weights(1)? / memory));
        let to_result = Multiplier::new(f64::from(memory * weights(2)? / y));
        Some(Self { sizes, rank: op.rank, zero: (zero, y_zero), to_memory, to_result })
    }

    fn run(&self, inputs: Inputs<'_>, y: &mut [i8], memory: &mut [i16]) {
        let (s, units) = (self.sizes, self.sizes.filters / self.rank);
        let (x, by_feature, by_time) = (inputs.get::<i8>(0), inputs.get::<i8>(1), inputs.get::<i16>(2));
        let bias: &[i32] = if inputs.len() > 3 { inputs.get(3) } else { &[] };
        for b in 0..s.batch {
            let x = &x[b * s.features..][..s.features];
            for u in 0..units {
                let mut sum = bias.get(u).copied().unwrap_or(0);
                for f in u * self.rank..(u + 1) * self.rank {
                    let weights = &by_feature[f * s.features..][..s.features];
                    let dot = weights.iter().zip(x).fold(0i32, |sum, (w, x)| {
                        sum.wrapping_add(i32::from(*w).wrapping_mul(i32::from(*x).wrapping_sub(self.zero.0)))
                    });
                    let frames = &mut memory[(b * s.filters + f) * s.memory..][..s.memory];
                    frames.copy_within(1.., 0);
                    frames[s.memory - 1] = self.to_memory.twice_rounded(dot).clamp(-32768, 32767) as i16;
                    let weights = &by_time[f * s.memory..][..s.memory];
                    sum = weights.iter().zip(frames).fold(sum, |sum, (w, m)| {
                        sum.wrapping_add(i32::from(*w).wrapping_mul(i32::from(*m)))
                    });
                }
                let scaled = self.to_result.twice_rounded(sum).saturating_add(self.zero.1);
                y[b * units + u] = scaled.clamp(-128, 127) as i8;
            }
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
        let clamp = Clamp { min: f32::NEG_INFINITY, max: 60.0 };
        let op = Svdf { rank: 2, clamp, asymmetric: false, memory: None };
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
        let op = |rank| Svdf { rank, clamp: Clamp::NONE, asymmetric: false, memory: None };
        for rank in [0, 4, 7] {
            assert!(g.add("y", op(rank), &[x, w, t]).is_err(), "{rank}");
        }
        assert!(g.add("y", op(2), &[x, t, w]).is_err());
        assert!(g.add("y", op(2), &[x, w, t, x]).is_err());
        assert!(g.add("y", op(2), &[x, w, t]).is_ok());
    }
}
