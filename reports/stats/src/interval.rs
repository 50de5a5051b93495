//! The shapes that results come in: an interval with its level, a point with an interval, p-values.

/// A two-sided interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
    /// Confidence, for example 0.98.
    pub level: f64,
}

impl Interval {
    /// True if `value` lies inside or on an end.
    pub fn contains(&self, value: f64) -> bool {
        self.low <= value && value <= self.high
    }

    /// True if the whole interval lies strictly between `low` and `high`.
    pub fn within(&self, low: f64, high: f64) -> bool {
        low < self.low && self.high < high
    }

    /// Half of the width.
    pub fn half_width(&self) -> f64 {
        (self.high - self.low) / 2.0
    }

    /// From log ratios to ratios.
    pub fn exp(&self) -> Self {
        Self { low: self.low.exp(), high: self.high.exp(), level: self.level }
    }
}

/// A point with its interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// Best single value.
    pub point: f64,
    /// What it may be.
    pub interval: Interval,
}

/// The three p-values of a test of location. Small `greater` speaks for a location above the
/// hypothesis, small `less` for one below it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PValues {
    /// Against "not above".
    pub greater: f64,
    /// Against "not below".
    pub less: f64,
    /// Against "equal".
    pub two_sided: f64,
}

impl PValues {
    /// From two one-sided p-values: twice the smaller one, at most 1.
    pub(crate) fn from_sides(greater: f64, less: f64) -> Self {
        Self { greater, less, two_sided: (2.0 * greater.min(less)).min(1.0) }
    }
}
