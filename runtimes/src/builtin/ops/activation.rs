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
        let bound = |v: f32| {
            let v = (v / scale + zero as f32).clamp(T::MIN as f32, T::MAX as f32);
            round_even(v)
        };
        (bound(self.min), bound(self.max))
    }

    /// First this range, then `next`.
    #[must_use]
    pub fn then(self, next: Self) -> Self {
        Self { min: next.apply(self.min), max: next.apply(self.max) }
    }
}
