//! Product of matrices in the last two dimensions, leading dimensions broadcast.

use super::quantized_mat_mul::{self, Product};
use super::{Operand, Operator, Prepare, arity, broadcast};
use crate::builtin::graph::Fact;
use crate::builtin::kernels::conv::{Layout, Rows, Then, conv_f32};
use crate::builtin::kernels::gemm::{PackedF32, Segments, ViewF32, block_columns, pack_f32};
use crate::builtin::kernels::memory::{self, ALIGN};
use crate::builtin::kernels::nest::Nest;
use crate::builtin::kernels::pixels::Walk;
use crate::builtin::limits;
use crate::builtin::step::Step;
use crate::{Error, Result};
use protocol::DType;

/// Operands: `[..., m, k]` and `[..., k, n]`, or the last two dimensions swapped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MatMul {
    /// The first operand is `[..., k, m]`.
    pub transpose_a: bool,
    /// The second operand is `[..., n, k]`.
    pub transpose_b: bool,
}

impl MatMul {
    /// Leading dimensions, rows and columns as they are multiplied.
    fn split(shape: &[usize], transposed: bool) -> Option<(&[usize], [usize; 2])> {
        let (lead, last) = shape.split_at_checked(shape.len().checked_sub(2)?)?;
        Some((lead, if transposed { [last[1], last[0]] } else { [last[0], last[1]] }))
    }
}

impl Operator for MatMul {
    fn name(&self) -> &'static str {
        "MatMul"
    }

    fn infer(&self, inputs: &[Operand<'_>]) -> Result<Vec<Fact>> {
        arity(inputs, 2, 2)?;
        let (a, b) = (inputs[0].fact, inputs[1].fact);
        let sides = (Self::split(&a.shape, self.transpose_a), Self::split(&b.shape, self.transpose_b));
        match sides {
            (Some((la, [m, k])), Some((lb, [l, n]))) if k == l => {
                let mut shape = broadcast(la, lb)?;
                shape.extend([m, n]);
                Ok(vec![Fact { shape, ..a.clone() }.as_real()])
            }
            _ => Err(Error::ModelInvalid(format!("cannot multiply {:?} by {:?}", a.shape, b.shape))),
        }
    }

    fn prepare(&self, on: &Prepare<'_>) -> Result<Option<Step>> {
        let (a, b, out) = (on.inputs[0].fact, on.inputs[1].fact, &on.outputs[0]);
        let real = |f: &Fact| f.dtype == DType::F32 && f.quant.is_none();
        let sides = (Self::split(&a.shape, self.transpose_a), Self::split(&b.shape, self.transpose_b));
        let (Some((la, [m, k])), Some((lb, [_, n]))) = sides else { return Ok(None) };
        let batch = Nest::broadcast(&out.shape[..out.shape.len() - 2], [la, lb]);
        if [a, b, out].iter().all(|f| f.dtype == DType::F64) {
            return Ok(Some(self.doubles(batch, [m, k, n])));
        }
        if ![a, b, out].into_iter().all(real) {
            let turned = [self.transpose_a, self.transpose_b];
            return quantized_mat_mul::prepare(Product { batch, sizes: [m, n, k], turned }, on);
        }
        let layout = Layout {
            segments: Segments { offsets: vec![0], length: k },
            input_offset: 0,
            output_offset: 0,
            stride: n,
        };
        let walk = Walk { counts: [1, 1, m], strides: [0, 0, k] };
        let (rows, packed) = (if self.transpose_a { m * k } else { 0 }, PackedF32::elements(on.tier, n, k));
        let bytes = limits::bytes(&[rows.next_multiple_of(ALIGN / 4) + packed], 4)?;
        let (transposed, tier, threads) = (*self, on.tier, on.threads.clone());
        let step = Step::new("mat_mul.f32", move |inputs, mut outputs, scratch| {
            let scratch = memory::elements_mut::<f32>(scratch).expect("scratch memory of whole elements");
            let (turned, packed) = scratch.split_at_mut(rows.next_multiple_of(ALIGN / 4));
            let (a, b, y) = (inputs.get::<f32>(0), inputs.get::<f32>(1), outputs.get::<f32>(0));
            let mut last = None;
            batch.rows(|first, [pa, pb]| {
                for i in 0..batch.length {
                    let at = |p: usize, s: isize| p.wrapping_add_signed(s * i as isize);
                    let (ia, ib) = (at(pa, batch.strides[0]), at(pb, batch.strides[1]));
                    let (a, b) = (&a[ia * m * k..][..m * k], &b[ib * k * n..][..k * n]);
                    if last != Some(ib) {
                        let read = |j: usize, l: usize| if transposed.transpose_b { b[j * k + l] } else { b[l * n + j] };
                        pack_f32(tier, packed, None, n, k, read);
                        last = Some(ib);
                    }
                    let a = if transposed.transpose_a {
                        (0..m * k).for_each(|j| turned[j] = a[j % k * m + j / k]);
                        &turned[..m * k]
                    } else {
                        a
                    };
                    let view = ViewF32 { data: packed, columns: n, depth: k, width: block_columns(tier) };
                    conv_f32(Rows { tier, threads: &threads, walk: &walk }, &layout, view, Then::NOTHING, a, &mut y[(first + i) * m * n..][..m * n]);
                }
            });
        });
        Ok(Some(step.with_scratch(bytes)))
    }

    fn work(&self, inputs: &[Operand<'_>], outputs: &[Fact]) -> u64 {
        let k = Self::split(&inputs[0].fact.shape, self.transpose_a).map_or(1, |(_, [_, k])| k);
        (outputs[0].len() as u64).saturating_mul(k as u64)
    }
}

impl MatMul {
    /// Rare enough to be computed as it is defined.
    fn doubles(self, batch: Nest<2>, [m, k, n]: [usize; 3]) -> Step {
        Step::map2("mat_mul.f64", move |a: &[f64], b: &[f64], y: &mut [f64]| {
            batch.rows(|first, [pa, pb]| {
                for i in 0..batch.length {
                    let at = |p: usize, s: isize| p.wrapping_add_signed(s * i as isize);
                    let a = &a[at(pa, batch.strides[0]) * m * k..][..m * k];
                    let b = &b[at(pb, batch.strides[1]) * k * n..][..k * n];
                    for (j, y) in y[(first + i) * m * n..][..m * n].iter_mut().enumerate() {
                        let (row, column) = (j / n, j % n);
                        let left = |l: usize| if self.transpose_a { a[l * m + row] } else { a[row * k + l] };
                        let right = |l: usize| if self.transpose_b { b[column * k + l] } else { b[l * n + column] };
                        *y = (0..k).map(|l| left(l) * right(l)).sum();
                    }
                }
            });
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::builtin::testing::{Given, Numbers, near};

    #[test]
    fn all_orders_and_broadcast_batches() {
        for seed in 0..40 {
            let mut n = Numbers::new(seed);
            let (m, k, c) = (n.size(1, 9), n.size(1, 20), n.size(1, 35));
            let (ta, tb) = (n.size(0, 1) == 1, n.size(0, 1) == 1);
            let (la, lb): (&[usize], &[usize]) = [(&[2, 3][..], &[3][..]), (&[][..], &[2][..]), (&[1, 3][..], &[2, 1][..])][seed as usize % 3];
            let size = |l: &[usize]| l.iter().product::<usize>();
            let (a, b) = (n.f32s(size(la) * m * k), n.f32s(size(lb) * k * c));
            let lead = broadcast(la, lb).unwrap();
            let pick = |l: &[usize], i: usize| {
                let strides = crate::builtin::kernels::nest::broadcast_strides(&lead, l);
                let mut rest = i;
                let mut at = 0;
                for d in (0..lead.len()).rev() {
                    at += (rest % lead[d]) as isize * strides[d];
                    rest /= lead[d];
                }
                at as usize
            };
            let mut expected = Vec::new();
            for at in 0..size(&lead) * m * c {
                let (col, row, batch) = (at % c, at / c % m, at / c / m);
                let (ba, bb) = (pick(la, batch) * m * k, pick(lb, batch) * k * c);
                let dot: f64 = (0..k).map(|l| {
                    let x = a[ba + if ta { l * m + row } else { row * k + l }];
                    let y = b[bb + if tb { col * k + l } else { l * c + col }];
                    f64::from(x) * f64::from(y)
                }).sum();
                expected.push(dot as f32);
            }
            let shape = |l: &[usize], r: usize, c: usize, t: bool| {
                let mut s = l.to_vec();
                s.extend(if t { [c, r] } else { [r, c] });
                s
            };
            let operands = [Given::input(&shape(la, m, k, ta), &a), Given::input(&shape(lb, k, c, tb), &b)];
            near(MatMul { transpose_a: ta, transpose_b: tb }, &operands, &expected, 1e-5);
        }
    }

    #[test]
    fn in_double_precision() {
        use crate::builtin::testing::on_all_tiers;
        let (a, b) = (Given::input(&[2, 2], &[1f64, 2.0, 3.0, 4.0]), Given::input(&[2, 1], &[0.5f64, 1e-9]));
        let op = MatMul { transpose_a: true, transpose_b: false };
        assert_eq!(on_all_tiers::<f64>(op, &[a, b], None)[0].1, [0.5 + 3e-9, 1.0 + 4e-9]);
    }
}
