//! The Hodges–Lehmann estimate: the median of the means of all pairs of units (Walsh averages), with the
//! interval that belongs to the signed-rank test. Robust company for the mean.

use crate::descriptive::median_sorted;
use crate::dist::normal_quantile;
use crate::error::{StatsError, check_open_unit, check_values};
use crate::interval::Interval;
use crate::signed_rank::{EXACT_MAX, lower_tail, signed_rank_counts};

/// Above this the n²/2 averages would take more memory than the answer is worth.
const MAX_N: usize = 4096;

/// The estimate and its interval with at least confidence `level`: exact for n ≤ 50, by the normal
/// approximation beyond. The interval is `None` where n is too small to reach the level (98 % needs 7).
pub fn hodges_lehmann(differences: &[f64], level: f64) -> Result<(f64, Option<Interval>), StatsError> {
    let what = "Hodges-Lehmann";
    check_values(what, differences, 1)?;
    check_open_unit("level", level)?;
    let n = differences.len();
    if n > MAX_N {
        return Err(StatsError::TooMany { what, most: MAX_N, got: n });
    }
    let mut walsh = Vec::with_capacity(n * (n + 1) / 2);
    for (i, a) in differences.iter().enumerate() {
        walsh.extend(differences[i..].iter().map(|b| a + (b - a) / 2.0));
    }
    walsh.sort_unstable_by(f64::total_cmp);
    let rank = interval_rank(n, (1.0 - level) / 2.0);
    let interval = rank.checked_sub(1).and_then(|i| {
        let (low, high) = (*walsh.get(i)?, *walsh.get(walsh.len().checked_sub(rank)?)?);
        (low <= high).then_some(Interval { low, high, level })
    });
    Ok((median_sorted(&walsh), interval))
}

/// The largest rank r with P(W+ ≤ r − 1) ≤ tail; 0 if there is none.
fn interval_rank(n: usize, tail: f64) -> usize {
    if n <= EXACT_MAX {
        let counts = signed_rank_counts(n);
        return (0..counts.len()).find(|w| lower_tail(&counts, n, *w) > tail).unwrap_or(0);
    }
    let n = n as f64;
    let centre = n * (n + 1.0) / 4.0;
    let se = (n * (n + 1.0) * (2.0 * n + 1.0) / 24.0).sqrt();
    // with continuity correction: P(W+ ≤ r − 1) ≈ Φ((r − ½ − centre) / se)
    (centre + 0.5 + normal_quantile(tail) * se).floor().max(0.0) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_hand() {
        // Walsh averages of 1, 2, 6: 1 1.5 2 3.5 4 6
        let (point, interval) = hodges_lehmann(&[6.0, 1.0, 2.0], 0.75).unwrap();
        assert_eq!(point, 2.75);
        // P(W+ <= 0) = 1/8 = tail: the extremes
        assert_eq!(interval, Some(Interval { low: 1.0, high: 6.0, level: 0.75 }));
        assert_eq!(hodges_lehmann(&[6.0, 1.0, 2.0], 0.8).unwrap().1, None);
    }

    #[test]
    fn least_n_for_98_percent() {
        let x = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7];
        assert!(hodges_lehmann(&x, 0.98).unwrap().1.is_some());
        assert!(hodges_lehmann(&x[1..], 0.98).unwrap().1.is_none());
    }
}
