//! Rounding and requantisation of single numbers, the same bits on every tier: no libm calls, no fused
//! multiply-add.

/// 1.5 · 2²³: adding and taking it away rounds to the nearest integer, ties to even.
const MAGIC: f32 = 12_582_912.0;

/// The nearest integer, ties to even, of a number below 2²² in magnitude.
#[inline(always)]
pub fn round_even(v: f32) -> i32 {
    ((v + MAGIC).to_bits() as i32).wrapping_sub(MAGIC.to_bits() as i32)
}

/// The smaller one; NaN gives `b`. One instruction, unlike `f32::min`.
#[inline(always)]
pub fn min(a: f32, b: f32) -> f32 {
    if a < b { a } else { b }
}

/// The larger one; NaN gives `b`.
#[inline(always)]
pub fn max(a: f32, b: f32) -> f32 {
    if a > b { a } else { b }
}

/// From an accumulator to a quantised result, as XNNPACK's `fp32` and MLAS' requantisation do it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Requant {
    /// Smallest result less the zero point.
    pub low: f32,
    /// Largest result less the zero point.
    pub high: f32,
    /// Zero point of the result.
    pub zero: i32,
}

impl Requant {
    /// To a result between `min` and `max` with that zero point.
    pub fn new(min: i32, max: i32, zero: i32) -> Self {
        Self { low: (min - zero) as f32, high: (max - zero) as f32, zero }
    }

    /// `scaled` is the accumulator times input scale · weight scale / output scale, in f32.
    #[inline(always)]
    pub fn apply(self, scaled: f32) -> i32 {
        round_even(min(max(scaled, self.low), self.high)) + self.zero
    }
}

/// Element types of quantised tensors that fit 16 bits.
pub trait Quantized: super::memory::Element {
    /// Smallest value.
    const MIN: i32;
    /// Largest value.
    const MAX: i32;
    /// The value as i32.
    fn wide(self) -> i32;
    /// From an i32 that is within the range.
    fn narrow(v: i32) -> Self;
}

macro_rules! quantized {
    ($($t:ty),*) => { $(
        impl Quantized for $t {
            const MIN: i32 = <$t>::MIN as i32;
            const MAX: i32 = <$t>::MAX as i32;
            #[inline(always)]
            fn wide(self) -> i32 {
                i32::from(self)
            }
            #[inline(always)]
            fn narrow(v: i32) -> Self {
                v as $t
            }
        }
    )* };
}
quantized!(i8, u8, i16, u16);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ties_go_to_even() {
        let all = [-2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 0.49999997, 4194303.5];
        assert_eq!(all.map(round_even), [-2, -2, 0, 0, 2, 2, 0, 4194304]);
    }

    #[test]
    fn requantisation_saturates() {
        let r = Requant::new(-128, 127, 3);
        assert_eq!([-1e9, -131.0, 0.5, 1.5, 1e9].map(|v| r.apply(v)), [-128, -128, 3, 5, 127]);
    }
}
