//! Percentiles as the product prints them, and intervals for them that assume no distribution.
//!
//! Convention: `sorted[floor(n·p)]`, the index capped at n − 1, as MLPerf's load generator and ONNX
//! Runtime do it. No interpolation.

use crate::dist::{binomial_cdf, binomial_sf};
use crate::error::{StatsError, check_open_unit, check_values};
use crate::interval::{Estimate, Interval};

/// The percentiles that are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Percentile {
    /// 50 %.
    P50,
    /// 90 %.
    P90,
    /// 95 %.
    P95,
    /// 97 %.
    P97,
    /// 99 %.
    P99,
}

impl Percentile {
    /// All, ascending.
    pub const ALL: [Self; 5] = [Self::P50, Self::P90, Self::P95, Self::P97, Self::P99];

    /// As a share.
    pub fn share(self) -> f64 {
        match self {
            Self::P50 => 0.5,
            Self::P90 => 0.9,
            Self::P95 => 0.95,
            Self::P97 => 0.97,
            Self::P99 => 0.99,
        }
    }

    /// Least number of values from which it is printed: with so many, at most one value above a bound
    /// shows with 99 % confidence that the percentile lies below it, P(Bin(n, 1 − p) ≤ 1) ≤ 1 %. (The
    /// early-stopping bound of MLPerf's load generator with one value over.)
    pub fn min_n(self) -> usize {
        match self {
            Self::P50 => 11,
            Self::P90 => 64,
            Self::P95 => 130,
            Self::P97 => 219,
            Self::P99 => 662,
        }
    }

    /// Its value in `sorted` (ascending), or `None` where there are too few values to print it.
    pub fn of_sorted(self, sorted: &[f64]) -> Option<f64> {
        if sorted.len() < self.min_n() { None } else { quantile_sorted(sorted, self.share()) }
    }
}

/// `sorted[floor(n·p)]`, capped at the last; `None` for no values or a `p` outside of [0, 1].
pub fn quantile_sorted(sorted: &[f64], p: f64) -> Option<f64> {
    if !(0.0..=1.0).contains(&p) {
        return None;
    }
    let index = (sorted.len() as f64 * p).floor() as usize;
    sorted.get(index.min(sorted.len().checked_sub(1)?)).copied()
}

/// The quantile `p` of `sorted` (ascending, finite) with an interval between two order statistics that
/// covers the true quantile with at least `level`, half of the rest on each side (David and Nagaraja,
/// Order Statistics, 7.1). `None` where even the extremes do not reach the level.
pub fn order_statistic_interval(sorted: &[f64], p: f64, level: f64) -> Result<Option<Estimate>, StatsError> {
    check_values("order-statistic interval", sorted, 1)?;
    check_open_unit("quantile", p)?;
    check_open_unit("level", level)?;
    let n = sorted.len();
    let tail = (1.0 - level) / 2.0;
    // P(fewer than `rank` values lie below) ≤ tail; P(at least `rank` lie below) ≤ tail
    let low = largest_rank(n, |rank| binomial_cdf(rank as u64 - 1, n as u64, p) <= tail);
    let high = n + 1 - largest_rank(n, |rank| binomial_sf((n - rank) as u64, n as u64, p) <= tail);
    let (Some(&point), Some(&low), Some(&high)) = (
        sorted.get(((n as f64 * p).floor() as usize).min(n - 1)),
        low.checked_sub(1).and_then(|i| sorted.get(i)),
        sorted.get(high - 1),
    ) else {
        return Ok(None);
    };
    Ok(Some(Estimate { point, interval: Interval { low, high, level } }))
}

/// An upper bound of the quantile `p` with one-sided `confidence`, as MLPerf's load generator estimates a
/// percentile when it stops early (0.99 there): `sorted[n − t]` for the largest t ≥ 1 such that a quantile as
/// high as that would leave no more than t of n values above it with chance 1 − `confidence` only. For
/// `sorted` ascending and finite; `None` where n is too small for t = 1 (64 for p90, 662 for p99).
pub fn loadgen_bound(sorted: &[f64], p: f64, confidence: f64) -> Result<Option<f64>, StatsError> {
    check_values("percentile bound", sorted, 1)?;
    check_open_unit("quantile", p)?;
    check_open_unit("confidence", confidence)?;
    let n = sorted.len();
    let over = largest_rank(n, |t| binomial_cdf(t as u64, n as u64, 1.0 - p) < 1.0 - confidence);
    Ok(if over == 0 { None } else { sorted.get(n - over).copied() })
}

/// The largest rank in 1..=n for which `holds`, which must be true up to a point; 0 if for none.
fn largest_rank(n: usize, holds: impl Fn(usize) -> bool) -> usize {
    let (mut yes, mut no) = (0, n + 1);
    while no - yes > 1 {
        let middle = (yes + no) / 2;
        if holds(middle) {
            yes = middle;
        } else {
            no = middle;
        }
    }
    yes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floor_index_capped() {
        let x: Vec<f64> = (0..10).map(f64::from).collect();
        assert_eq!(quantile_sorted(&x, 0.5), Some(5.0));
        assert_eq!(quantile_sorted(&x, 0.99), Some(9.0));
        assert_eq!(quantile_sorted(&x, 1.0), Some(9.0));
        assert_eq!(quantile_sorted(&x, 0.0), Some(0.0));
        assert_eq!(quantile_sorted(&[], 0.5), None);
        assert_eq!(quantile_sorted(&x, f64::NAN), None);
    }

    #[test]
    fn least_n_follows_from_its_definition() {
        for p in Percentile::ALL {
            let enough = |n: usize| binomial_cdf(1, n as u64, 1.0 - p.share()) <= 0.01;
            assert!(enough(p.min_n()) && !enough(p.min_n() - 1), "{p:?}");
            let x = vec![1.0; p.min_n()];
            assert_eq!((p.of_sorted(&x), p.of_sorted(&x[1..])), (Some(1.0), None));
        }
    }

    #[test]
    fn loadgen_values_over() {
        // t as published for its p99: the first n that stops, and 77 at 10 000
        for (p, n, over) in
            [(0.99, 661, None), (0.99, 662, Some(1)), (0.99, 10_000, Some(77)), (0.9, 63, None)]
        {
            let x: Vec<f64> = (0..n).map(f64::from).collect();
            let expected = over.map(|t| f64::from(n - t));
            assert_eq!(loadgen_bound(&x, p, 0.99), Ok(expected), "{p} {n}");
        }
        assert!(loadgen_bound(&[], 0.9, 0.99).is_err());
        assert!(loadgen_bound(&[1.0], 1.0, 0.99).is_err());
        assert!(loadgen_bound(&[1.0], 0.9, f64::NAN).is_err());
    }

    #[test]
    fn interval_exists_from_the_known_n() {
        for (p, n) in [(0.9, 36), (0.95, 72), (0.99, 368), (0.999, 3688)] {
            let x: Vec<f64> = (0..n).map(f64::from).collect();
            assert!(order_statistic_interval(&x, p, 0.95).unwrap().is_some(), "{p} {n}");
            assert!(order_statistic_interval(&x[1..], p, 0.95).unwrap().is_none(), "{p} {n}");
        }
    }
}
