//! The range that results are cut to: what every fused activation that a kernel does comes down to.

use crate::builtin::kernels::quant::{Quantized, round_even};

/// A range of real numbers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Clamp {
    /// Smallest result.
    pub min: f32,
    /// Largest result.
    pub max: f32,
}

impl Default for Clamp {
    fn default() -> Self {
        Self::NONE
    }
}

impl Clamp {
    /// All numbers.
    pub const NONE: Self = Self { min: f32::NEG_INFINITY, max: f32::INFINITY };
    /// No negative numbers.
    pub const RELU: Self = Self { min: 0.0, max: f32::INFINITY };
    /// 0 to 6.
    pub const RELU6: Self = Self { min: 0.0, max: 6.0 };
    /// −1 to 1.
    pub const RELU_N1_TO_1: Self = Self { min: -1.0, max: 1.0 };

    /// Whether nothing is cut.
    pub fn is_none(self) -> bool {
        self == Self::NONE
    }

    /// `v` cut to the range; NaN stays.
    #[inline(always)]
    pub fn apply(self, v: f32) -> f32 {
        let v = if v < self.min { self.min } else { v };
        if v > self.max { self.max } else { v }
    }

    /// The range as quantised numbers, as XNNPACK computes it: divided in f32, to the nearest, ties to
    /// even.
    pub fn quantized<T: Quantized>(self, scale: f32, zero: i32) -> (i32, i32) {
        let bound = |v: f32, none: i32| {
            let v = (v / scale + zero as f32).clamp(T::MIN as f32, T::MAX as f32);
            if v.is_nan() { none } else { round_even(v) }
        };
        ordered(bound(self.min, T::MIN), bound(self.max, T::MAX))
    }

    /// The range as int16 numbers without zero point, as TFLite's own kernels compute it: ties away from
    /// zero.
    pub fn words(self, scale: f32) -> (i32, i32) {
        let bound = |v: f32| (v / scale).round().clamp(-32768.0, 32767.0) as i32;
        ordered(bound(self.min), bound(self.max))
    }

    /// First this range, then `next`.
    #[must_use]
    pub fn then(self, next: Self) -> Self {
        Self { min: next.apply(self.min), max: next.apply(self.max) }
    }
}

/// A range whose ends are the wrong way round is its upper end, as `min(max(v, low), high)` has it.
fn ordered(low: i32, high: i32) -> (i32, i32) {
    (low.min(high), high)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_in_numbers() {
        assert_eq!(Clamp::NONE.quantized::<i8>(0.1, 3), (-128, 127));
        assert_eq!(Clamp::RELU6.quantized::<i8>(0.1, -120), (-120, -60));
        assert_eq!(Clamp::RELU6.quantized::<u8>(0.1, 250), (250, 255));
        assert_eq!(Clamp::RELU6.words(0.5), (0, 12));
        assert_eq!(Clamp::NONE.words(0.5), (-32768, 32767));
        assert_eq!(Clamp { min: -0.5, max: 2.0 }.then(Clamp::RELU), Clamp { min: 0.0, max: 2.0 });
    }

    #[test]
    fn nonsense_ranges_do_not_panic() {
        let wrong = Clamp { min: 5.0, max: 1.0 };
        assert_eq!(wrong.quantized::<i8>(1.0, 0), (1, 1));
        assert_eq!(wrong.apply(3.0), 1.0);
        let nan = Clamp { min: f32::NAN, max: f32::NAN };
        assert_eq!(nan.quantized::<i8>(1.0, 0), (-128, 127));
        assert_eq!(nan.words(1.0), (0, 0));
        assert!(Clamp::RELU.apply(f32::NAN).is_nan());
    }
}
