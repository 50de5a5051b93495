//! Products of int8 matrices, both known only when the model runs, as LiteRT computes them: XNNPACK where the second
//! one's zero point is 0, TFLite's own kernel elsewhere.

use super::{Dialect, Prepare};
use crate::Result;
use crate::builtin::kernels::memory::elements_mut;
use crate::builtin::kernels::nest::Nest;
use crate::builtin::kernels::quant::Requant;
use crate::builtin::kernels::wide::Multiplier;
use crate::builtin::limits;
use crate::builtin::step::Step;
use protocol::DType;

/// Batches and sizes of a product.
pub(super) struct Product {
    pub(super) batch: Nest<2>,
    /// Rows, columns, and what is summed over.
    pub(super) sizes: [usize; 3],
    /// Whether the operands are stored the other way round.
    pub(super) turned: [bool; 2],
}

/// From an exact sum to a result.
#[derive(Clone, Copy)]
enum Finish {
    Real(Requant, f32),
    Fixed(Multiplier, i32),
}

impl Finish {
    fn apply(self, sum: i32) -> i8 {
        match self {
            Self::Real(requant, scale) => requant.apply(sum as f32 * scale) as i8,
            Self::Fixed(multiplier, zero) => {
                multiplier.twice_rounded(sum).saturating_add(zero).clamp(-128, 127) as i8
            }
        }
    }
}

/// The step, when everything is int8 with one scale.
///
/// # Errors
/// A matrix that is too large.
pub(super) fn prepare(product: Product, on: &Prepare<'_>) -> Result<Option<Step>> {
    let (a, b, out) = (on.inputs[0].fact, on.inputs[1].fact, &on.outputs[0]);
    let bytes = [a, b, out].into_iter().all(|f| f.dtype == DType::I8);
    let scales = (a.per_tensor(), b.per_tensor(), out.per_tensor());
    let (true, Dialect::Tflite, (Some((sa, za)), Some((sb, zb)), Some((sy, zy)))) =
        (bytes, on.dialect, scales)
    else {
        return Ok(None);
    };
    let finish = if zb == 0 {
        Finish::Real(Requant::new(-128, 127, zy), sa * sb / sy)
    } else {
        Finish::Fixed(Multiplier::new(f64::from(sa) * f64::from(sb) / f64::from(sy)), zy)
    };
    let [m, n, k] = product.sizes;
    let scratch = limits::bytes(&[m + n, k], 2)?;
    let step = Step::new("mat_mul.i8", move |inputs, mut outputs, scratch| {
        let room = elements_mut::<i16>(scratch).expect("scratch memory of whole elements");
        let (left, right) = room.split_at_mut(m * k);
        let (a, b, y) = (inputs.get::<i8>(0), inputs.get::<i8>(1), outputs.get::<i8>(0));
        let batch = &product.batch;
        batch.rows(|first, [pa, pb]| {
            for i in 0..batch.length {
                let at = |p: usize, s: isize| p.wrapping_add_signed(s * i as isize);
                let (ia, ib) = (at(pa, batch.strides[0]), at(pb, batch.strides[1]));
                centre(&a[ia * m * k..][..m * k], za, [m, k], product.turned[0], left);
                centre(&b[ib * k * n..][..k * n], zb, [n, k], !product.turned[1], right);
                multiply([left, right], [m, n, k], finish, &mut y[(first + i) * m * n..][..m * n]);
            }
        });
    });
    Ok(Some(step.with_scratch(scratch)))
}

/// Rows of `k` elements less the zero point; `turned` when they are columns.
fn centre(x: &[i8], zero: i32, [rows, k]: [usize; 2], turned: bool, y: &mut [i16]) {
    for (i, y) in y.iter_mut().enumerate() {
        let at = if turned { i % k * rows + i / k } else { i };
        *y = (i32::from(x[at]) - zero) as i16;
    }
}

fn multiply([left, right]: [&[i16]; 2], [_, n, k]: [usize; 3], finish: Finish, y: &mut [i8]) {
    for (i, y) in y.iter_mut().enumerate() {
        let (a, b) = (&left[i / n * k..][..k], &right[i % n * k..][..k]);
        let dot = |sum: i32, (a, b): (&i16, &i16)| sum.wrapping_add(i32::from(*a) * i32::from(*b));
        *y = finish.apply(a.iter().zip(b).fold(0, dot));
    }
}

#[cfg(test)]
mod tests {
    use crate::builtin::ops::MatMul;
    use crate::builtin::testing::{Given, Numbers, exact, quantized};
    use protocol::DType;

    #[test]
    fn near_the_real_product_whatever_the_order_of_elements() {
        let mut n = Numbers::new(5);
        for (zero, transpose_a, transpose_b) in
            [(0, false, false), (9, true, false), (-7, false, true), (0, true, true)]
        {
            let (a, b) = (n.i8s(2 * 3 * 5), n.i8s(5 * 4));
            let shape = |turned: bool, r: usize, c: usize| if turned { [c, r] } else { [r, c] };
            let ([ra, ca], [rb, cb]) = (shape(transpose_a, 3, 5), shape(transpose_b, 5, 4));
            let operands = [
                Given::input(&[2, ra, ca], &a).quantized(&[0.02], &[3], 0),
                Given::input(&[rb, cb], &b).quantized(&[0.03], &[zero], 0),
            ];
            let got: Vec<i8> =
                exact(MatMul { transpose_a, transpose_b }, &operands, quantized(DType::I8, 0.5, -4));
            for (i, y) in got.iter().enumerate() {
                let (batch, row, column) = (i / 12, i / 4 % 3, i % 4);
                let real: f64 = (0..5)
                    .map(|l| {
                        let at = if transpose_a { l * 3 + row } else { row * 5 + l };
                        let bt = if transpose_b { column * 5 + l } else { l * 4 + column };
                        f64::from(a[batch * 15 + at] as i32 - 3)
                            * 0.02
                            * f64::from(b[bt] as i32 - zero)
                            * 0.03
                    })
                    .sum();
                let expected = (real / 0.5 - 4.0).clamp(-128.0, 127.0);
                assert!((expected - f64::from(*y)).abs() <= 0.51, "{expected} {y}");
            }
        }
    }
}
