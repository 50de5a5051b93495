//! The range that results are cut to: what every fused activation that a kernel does comes down to.

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

    /// `v` cut to the range; NaN becomes `min`.
    #[inline(always)]
    pub fn apply(self, v: f32) -> f32 {
        let v = if v > self.min { v } else { self.min };
        if v < self.max { v } else { self.max }
    }

    /// First this range, then `next`.
    #[must_use]
    pub fn then(self, next: Self) -> Self {
        Self { min: next.apply(self.min), max: next.apply(self.max) }
    }
}
