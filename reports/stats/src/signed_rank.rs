//! Wilcoxon's signed-rank test. Zeros are left out (Wilcoxon's own rule), ties get mean ranks. Exact
//! where no ranks are tied, no value is zero and n ≤ 50; else the normal approximation with tie and
//! continuity correction, as `scipy.stats.wilcoxon(zero_method="wilcox", correction=True)`.

use crate::dist::normal_sf;
use crate::error::{StatsError, check_values};
use crate::interval::PValues;

/// Largest n for which the exact distribution is used.
pub(crate) const EXACT_MAX: usize = 50;

/// Outcome of the test.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SignedRank {
    /// Sum of the ranks of positive differences.
    pub w_plus: f64,
    /// Differences that are not zero.
    pub n: usize,
    /// True if `p` comes from the exact distribution.
    pub exact: bool,
    /// p-values for a centre of 0.
    pub p: PValues,
}

/// Tests that the differences are symmetric about 0.
pub fn wilcoxon_signed_rank(differences: &[f64]) -> Result<SignedRank, StatsError> {
    check_values("signed-rank test", differences, 1)?;
    let mut nonzero: Vec<f64> = differences.iter().copied().filter(|d| *d != 0.0).collect();
    nonzero.sort_unstable_by(|a, b| a.abs().total_cmp(&b.abs()));
    let (w_plus, tie_sum) = rank_sum(&nonzero);
    let n = nonzero.len();
    let exact = n == differences.len() && tie_sum == 0.0 && n <= EXACT_MAX;
    let p = if n == 0 {
        PValues { greater: 1.0, less: 1.0, two_sided: 1.0 }
    } else if exact {
        let tail = signed_rank_counts(n);
        // whole numbers, as nothing is tied
        let (w, top) = (w_plus as usize, n * (n + 1) / 2);
        PValues::from_sides(lower_tail(&tail, n, top - w), lower_tail(&tail, n, w))
    } else {
        approximate(w_plus, n as f64, tie_sum)
    };
    Ok(SignedRank { w_plus, n, exact, p })
}

/// W+ of values sorted by size, and the sum of t³ − t over groups of t tied values.
fn rank_sum(sorted: &[f64]) -> (f64, f64) {
    let (mut w_plus, mut tie_sum, mut done) = (0.0, 0.0, 0usize);
    for group in sorted.chunk_by(|a, b| a.abs() == b.abs()) {
        let t = group.len() as f64;
        let rank = done as f64 + (t + 1.0) / 2.0;
        w_plus += rank * group.iter().filter(|d| **d > 0.0).count() as f64;
        tie_sum += t * t * t - t;
        done += group.len();
    }
    (w_plus, tie_sum)
}

fn approximate(w_plus: f64, n: f64, tie_sum: f64) -> PValues {
    let centre = n * (n + 1.0) / 4.0;
    let se = ((n * (n + 1.0) * (2.0 * n + 1.0) - tie_sum / 2.0) / 24.0).sqrt();
    let above = w_plus - centre;
    PValues {
        greater: normal_sf((above - 0.5) / se),
        less: normal_sf((-above - 0.5) / se),
        two_sided: (2.0 * normal_sf((above.abs() - 0.5).max(0.0) / se)).min(1.0),
    }
}

/// Number of subsets of {1, …, n} for each sum, up to the middle of the distribution. Exact in f64: at
/// most 2^50.
pub(crate) fn signed_rank_counts(n: usize) -> Vec<f64> {
    let top = n * (n + 1) / 2;
    let mut counts = vec![0.0; top + 1];
    counts[0] = 1.0;
    for rank in 1..=n {
        for sum in (rank..=top).rev() {
            counts[sum] += counts[sum - rank];
        }
    }
    counts
}

/// P(W+ ≤ w).
pub(crate) fn lower_tail(counts: &[f64], n: usize, w: usize) -> f64 {
    counts.iter().take(w + 1).sum::<f64>() / 2.0f64.powi(n as i32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_hand() {
        // ranks 1..5, only the smallest is negative: P(W+ >= 14) = 2/32
        let w = wilcoxon_signed_rank(&[-0.1, 0.2, 0.3, 0.4, 0.5]).unwrap();
        assert_eq!((w.w_plus, w.n, w.exact), (14.0, 5, true));
        assert_eq!((w.p.greater, w.p.two_sided), (2.0 / 32.0, 4.0 / 32.0));
    }

    #[test]
    fn ties_and_zeros_leave_the_exact_distribution() {
        let tied = wilcoxon_signed_rank(&[0.1, -0.1, 0.2]).unwrap();
        assert_eq!((tied.w_plus, tied.exact), (4.5, false));
        let zero = wilcoxon_signed_rank(&[0.1, 0.0, 0.2]).unwrap();
        assert_eq!((zero.n, zero.exact), (2, false));
        assert_eq!(wilcoxon_signed_rank(&[0.0, 0.0]).unwrap().p.two_sided, 1.0);
        assert!(wilcoxon_signed_rank(&[]).is_err());
    }
}
