//! Two one-sided tests (Schuirmann 1987): is the difference inside a margin? "Not significant" is not an
//! answer to that.

use crate::error::StatsError;
use crate::paired::Paired;

/// Outcome of the two one-sided tests.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Equivalence {
    /// Against "at `low` or below".
    pub p_above_low: f64,
    /// Against "at `high` or above".
    pub p_below_high: f64,
    /// The greater of the two: below α, the mean lies between `low` and `high`.
    pub p: f64,
}

/// Tests that the mean difference lies strictly between `low` and `high`.
pub fn tost(paired: &Paired, low: f64, high: f64) -> Result<Equivalence, StatsError> {
    if !(low < high && low.is_finite() && high.is_finite()) {
        return Err(StatsError::OutOfRange {
            what: "equivalence bound",
            value: low,
            range: "below the other",
        });
    }
    let p_above_low = paired.test(low).greater;
    let p_below_high = paired.test(high).less;
    Ok(Equivalence { p_above_low, p_below_high, p: p_above_low.max(p_below_high) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_the_interval() {
        let paired = Paired::new(&[0.001, -0.002, 0.004, 0.0, 0.003]).unwrap();
        let interval = paired.interval(0.9).unwrap();
        let (low, high) = (interval.low, interval.high);
        assert!(tost(&paired, low - 1e-6, high + 1e-6).unwrap().p < 0.05);
        assert!(tost(&paired, low + 1e-6, high + 1e-6).unwrap().p > 0.05);
        assert!(tost(&paired, low - 1e-6, high - 1e-6).unwrap().p > 0.05);
        assert!(tost(&paired, 1.0, -1.0).is_err());
    }
}
