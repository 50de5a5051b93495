//! Intervals for one proportion: Wilson to show, Clopper–Pearson where a bound is claimed.

use crate::dist::{beta_quantile, beta_quantile_upper, normal_quantile};
use crate::error::{StatsError, check_count, check_open_unit};
use crate::interval::{Estimate, Interval};

fn check(hits: u64, n: u64, level: f64) -> Result<f64, StatsError> {
    check_open_unit("level", level)?;
    if n == 0 {
        return Err(StatsError::TooFew { what: "proportion", needed: 1, got: 0 });
    }
    check_count("proportion", n)?;
    if hits > n {
        return Err(StatsError::OutOfRange { what: "hits", value: hits as f64, range: "between 0 and n" });
    }
    Ok(hits as f64 / n as f64)
}

/// Wilson's score interval, without continuity correction (Wilson 1927).
pub fn wilson(hits: u64, n: u64, level: f64) -> Result<Estimate, StatsError> {
    let point = check(hits, n, level)?;
    let z = -normal_quantile((1.0 - level) / 2.0);
    let n_f = n as f64;
    let z2n = z * z / n_f;
    let centre = (point + z2n / 2.0) / (1.0 + z2n);
    let half = z / (1.0 + z2n) * (point * (1.0 - point) / n_f + z2n / (4.0 * n_f)).sqrt();
    // at the ends the formula is exact in theory and off by a rounding in practice
    let low = if hits == 0 { 0.0 } else { centre - half };
    let high = if hits == n { 1.0 } else { centre + half };
    Ok(Estimate { point, interval: Interval { low, high, level } })
}

/// The exact interval (Clopper and Pearson 1934): never covers less than `level`.
pub fn clopper_pearson(hits: u64, n: u64, level: f64) -> Result<Estimate, StatsError> {
    let point = check(hits, n, level)?;
    let tail = (1.0 - level) / 2.0;
    let (hits_f, misses_f) = (hits as f64, (n - hits) as f64);
    let low = if hits == 0 { 0.0 } else { beta_quantile(tail, hits_f, misses_f + 1.0) };
    let high = if hits == n { 1.0 } else { beta_quantile_upper(tail, hits_f + 1.0, misses_f) };
    Ok(Estimate { point, interval: Interval { low, high, level } })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rule_of_three_and_ends() {
        let none = clopper_pearson(0, 100, 0.95).unwrap().interval;
        assert_eq!(none.low, 0.0);
        // 1 − (α/2)^(1/n)
        assert!((none.high - (1.0 - 0.025f64.powf(0.01))).abs() < 1e-12);
        let all = wilson(10, 10, 0.95).unwrap().interval;
        assert_eq!(all.high, 1.0);
        assert!(all.low > 0.7 && all.low < 0.73);
    }

    #[test]
    fn bad_input_is_named() {
        assert!(matches!(wilson(0, 0, 0.95), Err(StatsError::TooFew { .. })));
        assert!(matches!(clopper_pearson(2, 1, 0.95), Err(StatsError::OutOfRange { .. })));
        assert!(matches!(wilson(1, 2, f64::NAN), Err(StatsError::OutOfRange { .. })));
    }
}
