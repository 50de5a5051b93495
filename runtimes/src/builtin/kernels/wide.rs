//! int16 activations with int8 weights, and whatever int8 products do not fit the fast kernels: exact
//! 64-bit sums, one output at a time.

use super::gemm::Segments;
use super::pixels::{Starts, Walk};

/// Sums of one row against all columns, `weights[column][segment][element]`.
pub(crate) struct WideRows<'a> {
    /// Starts of rows.
    pub(crate) walk: &'a Walk,
    /// Elements of a row.
    pub(crate) segments: &'a Segments,
    /// Of all columns.
    pub(crate) weights: &'a [i8],
    /// Added to the sums; may be empty.
    pub(crate) bias: &'a [i64],
}

impl WideRows<'_> {
    /// Calls `put` with row, column and sum of every output.
    pub(crate) fn run(&self, x: &[i16], mut put: impl FnMut(usize, usize, i64)) {
        let length = self.segments.length;
        let depth = length * self.segments.offsets.len();
        let mut starts = Starts::new(self.walk);
        for row in 0..self.walk.pixels() {
            let start = starts.take();
            for (column, weights) in self.weights.chunks_exact(depth.max(1)).enumerate() {
                let segments = self.segments.offsets.iter().zip(weights.chunks_exact(length));
                let dot = segments.map(|(offset, w)| dot(&x[start + offset..][..length], w)).sum::<i64>();
                put(row, column, dot + self.bias.get(column).copied().unwrap_or(0));
            }
        }
    }
}

/// Products of at most so many elements cannot overflow 32 bits: |x| ≤ 2¹⁶, |w| ≤ 2⁷.
const CHUNK: usize = 128;

fn dot(x: &[i16], w: &[i8]) -> i64 {
    let part = |(x, w): (&[i16], &[i8])| {
        let sum: i32 = x.iter().zip(w).map(|(x, w)| i32::from(*x) * i32::from(*w)).sum();
        i64::from(sum)
    };
    x.chunks(CHUNK).zip(w.chunks(CHUNK)).map(part).sum()
}

/// Depthwise sums: every channel by itself, `weights[tap][channel]`.
pub(crate) struct WideDepthwise<'a> {
    /// Starts of pixels.
    pub(crate) walk: &'a Walk,
    /// Offsets of taps.
    pub(crate) taps: &'a [usize],
    /// Of all taps.
    pub(crate) weights: &'a [i8],
    /// Added to the sums; may be empty.
    pub(crate) bias: &'a [i64],
    /// Channels.
    pub(crate) channels: usize,
}

impl WideDepthwise<'_> {
    /// Calls `put` with pixel, channel and sum of every output.
    pub(crate) fn run(&self, x: &[i16], mut put: impl FnMut(usize, usize, i64)) {
        let mut starts = Starts::new(self.walk);
        for pixel in 0..self.walk.pixels() {
            let start = starts.take();
            for channel in 0..self.channels {
                let taps = self.taps.iter().zip(self.weights[channel..].iter().step_by(self.channels));
                let sum: i64 = taps.map(|(t, w)| i64::from(x[start + t + channel]) * i64::from(*w)).sum();
                put(pixel, channel, sum + self.bias.get(channel).copied().unwrap_or(0));
            }
        }
    }
}

/// A positive real multiplier as `m · 2^(e − 31)`, `m` of 31 bits rounded with ties away from zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Multiplier {
    /// 2³⁰ to 2³¹ − 1, or 0.
    pub(crate) m: i32,
    /// Exponent.
    pub(crate) e: i32,
}

impl Multiplier {
    /// The nearest. What is too small is 0.
    pub(crate) fn new(real: f64) -> Self {
        if !(real > 0.0 && real.is_finite()) {
            return Self { m: 0, e: 0 };
        }
        let bits = real.to_bits();
        let biased = (bits >> 52) as i32;
        if biased == 0 {
            return Self { m: 0, e: 0 };
        }
        let mut e = biased - 1022;
        let fraction = f64::from_bits((bits & !(0x7ff << 52)) | (1022 << 52));
        let mut m = (fraction * (1i64 << 31) as f64).round() as i64;
        if m == 1 << 31 {
            m /= 2;
            e += 1;
        }
        if e < -31 {
            return Self { m: 0, e: 0 };
        }
        if e > 30 {
            return Self { m: i32::MAX, e: 30 };
        }
        Self { m: m as i32, e }
    }

    /// Divided by a count, as TFLite folds the division of a mean into the multiplier.
    pub(crate) fn divided(self, count: u64) -> Self {
        let shift = (count.max(1).ilog2() as i32).min(32).min(31 + self.e).max(0);
        let m = ((i64::from(self.m) << shift) as u64 / count.max(1)) as i32;
        Self { m, e: self.e - shift }
    }

    /// `x` times the multiplier with two roundings, as 32-bit fixed point does it: the high half of the
    /// doubled product, then the shift, each to the nearest, ties away from zero in the second.
    pub(crate) fn twice_rounded(self, x: i32) -> i32 {
        let (left, right) = (self.e.max(0) as u32, (-self.e).max(0) as u32);
        let x = x.wrapping_shl(left);
        let high = doubled_high(x, self.m);
        if right == 0 {
            return high;
        }
        let mask = (1i64 << right) - 1;
        let rest = i64::from(high) & mask;
        let threshold = (mask >> 1) + i64::from(high < 0);
        (i64::from(high) >> right) as i32 + i32::from(rest > threshold)
    }

    /// `x` times the multiplier, to the nearest, ties up.
    pub(crate) fn once_rounded(self, x: i32) -> i32 {
        let shift = 31 - self.e;
        let product = i128::from(x) * i128::from(self.m);
        ((product + (1i128 << (shift - 1))) >> shift) as i32
    }

    /// As [`Self::twice_rounded`], with ties upwards in the second rounding.
    pub(crate) fn twice_rounded_up(self, x: i32) -> i32 {
        let (left, right) = (self.e.max(0) as u32, (-self.e).max(0) as u32);
        let high = i64::from(doubled_high(x.wrapping_shl(left), self.m));
        let half = if right > 0 { 1i64 << (right - 1) } else { 0 };
        ((high + half) >> right) as i32
    }

    /// `x` times the multiplier with 16 bits of it and one rounding, as TFLite does it for 64-bit sums.
    pub(crate) fn sixteen_bits(self, x: i64) -> i32 {
        let reduced = if self.m < 0x7fff_0000 { (self.m + (1 << 15)) >> 16 } else { 0x7fff };
        let shift = 15 - self.e;
        let product = i128::from(x) * i128::from(reduced);
        let rounded = if shift > 0 { (product + (1i128 << (shift - 1))) >> shift } else { product << -shift };
        rounded.clamp(i128::from(i32::MIN), i128::from(i32::MAX)) as i32
    }
}

/// The high half of 2ab, to the nearest.
fn doubled_high(a: i32, b: i32) -> i32 {
    if a == i32::MIN && b == i32::MIN {
        return i32::MAX;
    }
    let product = i64::from(a) * i64::from(b);
    let nudge = if product >= 0 { 1 << 30 } else { 1 - (1 << 30) };
    ((product + nudge) / (1i64 << 31)) as i32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn multipliers_are_near() {
        for real in [1e-6, 0.25, 0.3, 0.999_999_999_9, 1.0, 3.7, 200.0] {
            let m = Multiplier::new(real);
            let back = f64::from(m.m) * 2f64.powi(m.e - 31);
            assert!((back / real - 1.0).abs() < 1e-9, "{real}: {m:?}");
        }
        assert_eq!(Multiplier::new(0.5), Multiplier { m: 1 << 30, e: 0 });
        assert_eq!(Multiplier::new(0.0).m, 0);
        assert_eq!(Multiplier::new(1e-300).m, 0);
    }

    #[test]
    fn fixed_point_rounds_as_it_says() {
        let half = Multiplier::new(0.5);
        assert_eq!([-3, -1, 1, 3].map(|x| half.twice_rounded(x)), [-1, 0, 1, 2]);
        let quarter = Multiplier::new(0.25);
        assert_eq!([-6, -2, 2, 6, 100].map(|x| quarter.twice_rounded(x)), [-2, -1, 1, 2, 25]);
        assert_eq!([-6, -2, 2, 6, 100].map(|x| quarter.twice_rounded_up(x)), [-1, 0, 1, 2, 25]);
        assert_eq!([-3, -1, 1, 3].map(|x| half.sixteen_bits(x)), [-1, 0, 1, 2]);
        assert_eq!(Multiplier::new(2.0).sixteen_bits(i64::from(i32::MAX)), i32::MAX);
    }

    #[test]
    fn long_rows_do_not_overflow() {
        let (x, w) = (vec![i16::MIN; 1000], vec![i8::MIN; 1000]);
        assert_eq!(dot(&x, &w), 1000 * 32768 * 128);
    }
}
