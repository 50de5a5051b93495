//! Two classifiers on the same examples: only the examples on which they differ carry information.
//!
//! Tests: McNemar exact and mid-p (Fagerland, Lydersen, Laake 2013). Difference of the two accuracies:
//! Tango's score interval (Statistics in Medicine 17, 1998) and the non-inferiority test that belongs to
//! it. A Wald interval is not offered: it calls 12 % of candidates at the margin non-inferior where the
//! score method stays at 5 %.

use crate::dist::{binomial_cdf, binomial_pmf, bisect, normal_quantile, normal_sf};
use crate::error::{StatsError, check_count, check_open_unit};
use crate::interval::{Estimate, Interval, PValues};

/// Counts of examples by who has them right.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PairedTable {
    /// Right by both.
    pub both: u64,
    /// Right by the reference only: lost by the candidate.
    pub lost: u64,
    /// Right by the candidate only: gained by it.
    pub gained: u64,
    /// Right by neither.
    pub neither: u64,
}

impl PairedTable {
    /// From per-example outcomes in the same order.
    pub fn count(candidate: &[bool], reference: &[bool]) -> Result<Self, StatsError> {
        if candidate.len() != reference.len() {
            let (left, right) = (candidate.len(), reference.len());
            return Err(StatsError::Unpaired { what: "paired table", left, right });
        }
        let mut table = Self::default();
        for pair in candidate.iter().zip(reference) {
            let cell = match pair {
                (true, true) => &mut table.both,
                (false, true) => &mut table.lost,
                (true, false) => &mut table.gained,
                (false, false) => &mut table.neither,
            };
            *cell += 1;
        }
        Ok(table)
    }

    /// Number of examples.
    pub fn n(&self) -> u64 {
        [self.lost, self.gained, self.neither].iter().fold(self.both, |sum, v| sum.saturating_add(*v))
    }

    /// Examples on which the two differ.
    pub fn discordant(&self) -> u64 {
        self.lost.saturating_add(self.gained)
    }

    /// Accuracy of the candidate minus accuracy of the reference; `None` for no examples.
    pub fn difference(&self) -> Option<f64> {
        (self.n() > 0).then(|| (self.gained as f64 - self.lost as f64) / self.n() as f64)
    }

    /// The table with the two sides exchanged.
    pub fn swapped(&self) -> Self {
        Self { lost: self.gained, gained: self.lost, ..*self }
    }
}

/// McNemar's exact test. `greater`: the candidate is right more often. 1 where nothing differs.
pub fn mcnemar_exact(table: &PairedTable) -> Result<PValues, StatsError> {
    let n = table.discordant();
    check_count("McNemar's test", n)?;
    // P(at least as many gains) = P(at most as many losses), by symmetry of one half
    Ok(PValues::from_sides(binomial_cdf(table.lost, n, 0.5), binomial_cdf(table.gained, n, 0.5)))
}

/// McNemar's mid-p test: the exact test with half of the observed outcome's probability taken off, which
/// brings its error rate from about half of the nominal one to about the nominal one.
pub fn mcnemar_mid_p(table: &PairedTable) -> Result<PValues, StatsError> {
    let n = table.discordant();
    let exact = mcnemar_exact(table)?;
    let half = 0.5 * binomial_pmf(table.lost, n, 0.5);
    Ok(PValues::from_sides(exact.greater - half, exact.less - half))
}

/// Tango's score statistic for "candidate minus reference = `delta`"; falls as `delta` grows.
fn tango_score(table: &PairedTable, delta: f64) -> f64 {
    let (n, gained, lost) = (table.n() as f64, table.gained as f64, table.lost as f64);
    let a = 2.0 * n;
    let b = -gained - lost + (2.0 * n - gained + lost) * delta;
    let c = -lost * delta * (1.0 - delta);
    let root = (b * b - 4.0 * a * c).max(0.0).sqrt();
    // the likelihood's share of losses given `delta`, by the form of the root that does not cancel
    let q = if b <= 0.0 { (root - b) / (2.0 * a) } else { -2.0 * c / (root + b) };
    let variance = n * (2.0 * q.max(0.0) + delta * (1.0 - delta));
    let excess = gained - lost - n * delta;
    if variance > 0.0 {
        excess / variance.sqrt()
    } else if excess == 0.0 {
        0.0
    } else {
        f64::INFINITY.copysign(excess)
    }
}

/// The difference of the accuracies (candidate − reference) with Tango's score interval.
pub fn tango_interval(table: &PairedTable, level: f64) -> Result<Estimate, StatsError> {
    check_open_unit("level", level)?;
    let Some(point) = table.difference() else {
        return Err(StatsError::TooFew { what: "Tango's interval", needed: 1, got: 0 });
    };
    check_count("Tango's interval", table.n())?;
    let z = -normal_quantile((1.0 - level) / 2.0);
    let low = bisect(-1.0, point, |delta| tango_score(table, delta) > z);
    let high = bisect(point, 1.0, |delta| tango_score(table, delta) > -z);
    Ok(Estimate { point, interval: Interval { low, high, level } })
}

/// One-sided p-value of "the candidate is worse by `margin` or more": below α, it is non-inferior.
/// `margin` is a share, above 0 (0.01 for one percentage point).
pub fn tango_non_inferiority(table: &PairedTable, margin: f64) -> Result<f64, StatsError> {
    check_open_unit("non-inferiority margin", margin)?;
    if table.n() == 0 {
        return Err(StatsError::TooFew { what: "non-inferiority", needed: 1, got: 0 });
    }
    check_count("non-inferiority", table.n())?;
    Ok(normal_sf(tango_score(table, -margin)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(both: u64, lost: u64, gained: u64, neither: u64) -> PairedTable {
        PairedTable { both, lost, gained, neither }
    }

    #[test]
    fn counts_by_hand() {
        let counted = PairedTable::count(&[true, false, true, false], &[true, true, false, false]);
        assert_eq!(counted, Ok(table(1, 1, 1, 1)));
        assert!(PairedTable::count(&[true], &[]).is_err());
    }

    #[test]
    fn mcnemar_by_hand() {
        // 1 loss, 5 gains: P(X <= 1), X ~ Bin(6, 1/2), is 7/64; its last term 6/64
        let t = table(90, 1, 5, 4);
        let (exact, mid) = (mcnemar_exact(&t).unwrap(), mcnemar_mid_p(&t).unwrap());
        assert!((exact.greater - 7.0 / 64.0).abs() < 1e-12 && (exact.two_sided - 14.0 / 64.0).abs() < 1e-12);
        assert!((mid.greater - 4.0 / 64.0).abs() < 1e-12 && (mid.two_sided - 8.0 / 64.0).abs() < 1e-12);
    }

    #[test]
    fn nothing_differs() {
        let t = table(10, 0, 0, 2);
        assert_eq!(mcnemar_exact(&t).unwrap().two_sided, 1.0);
        assert_eq!(mcnemar_mid_p(&t).unwrap().two_sided, 1.0);
        let interval = tango_interval(&t, 0.95).unwrap();
        assert_eq!(interval.point, 0.0);
        assert!(interval.interval.low < -0.2 && interval.interval.high > 0.2);
    }

    #[test]
    fn counts_beyond_reason_are_refused() {
        let t = table(u64::MAX, u64::MAX, 3, 4);
        assert!(matches!(mcnemar_exact(&t), Err(StatsError::TooMany { .. })));
        assert!(matches!(tango_interval(&t, 0.95), Err(StatsError::TooMany { .. })));
        assert!(matches!(tango_non_inferiority(&t, 0.01), Err(StatsError::TooMany { .. })));
    }

    #[test]
    fn extremes_stay_in_range() {
        for t in [table(0, 5, 0, 0), table(0, 0, 5, 0), table(1, 0, 0, 0), table(0, 1, 1, 0)] {
            let e = tango_interval(&t, 0.98).unwrap();
            assert!(-1.0 <= e.interval.low && e.interval.low <= e.point, "{t:?} {e:?}");
            assert!(e.point <= e.interval.high && e.interval.high <= 1.0, "{t:?} {e:?}");
        }
        assert!(tango_interval(&table(0, 0, 0, 0), 0.95).is_err());
        assert!(tango_non_inferiority(&table(1, 0, 0, 0), 0.0).is_err());
    }
}
