//! Where a long series changed its level: PELT (Killick, Fearnhead and Eckley 2012) with squared error,
//! after values far from their neighbours were pulled in. For histories of one number per night, not for
//! the verdict on a candidate: for that, both sides are measured again, interleaved.
//!
//! Without pulling in, every outlier would be two changes; with it, a change has to last.
//! `tests/change_points.rs` has the rates of false and missed changes on simulated histories.

use crate::descriptive::{MAD_TO_SD, median_sorted};
use crate::error::{StatsError, check_values};

/// Longest series: the worst case takes time that grows with its square.
const MAX_VALUES: usize = 20_000;
/// Values on either side that a value is held against.
const NEIGHBOURS: usize = 4;
/// Standard deviations from the median of its neighbours that a value may keep.
const REACH: f64 = 3.0;
/// Least noise that is believed, as a share of the range: where most neighbours are equal to the last bit the
/// estimate is 0, and rounding would be taken for changes.
const LEAST_NOISE: f64 = 1e-6;

/// How willingly a change is called.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pelt {
    /// What one more change must save, in units of σ²·ln n, where σ is the noise between neighbours.
    pub penalty: f64,
    /// Fewest values of one level.
    pub min_segment: usize,
}

impl Pelt {
    /// For a history that is shown.
    pub const REPORT: Self = Self { penalty: 10.0, min_segment: 4 };
    /// For proposing changes that will be confirmed by measuring again.
    pub const PROPOSE: Self = Self { penalty: 6.0, min_segment: 4 };

    /// Positions of the first value of each new level, ascending; none for a series that is too short for two
    /// levels. Scale and offset of the values do not matter.
    pub fn change_points(&self, values: &[f64]) -> Result<Vec<usize>, StatsError> {
        let what = "change points";
        check_values(what, values, 1)?;
        let n = values.len();
        if n > MAX_VALUES {
            return Err(StatsError::TooMany { what, most: MAX_VALUES, got: n });
        }
        if !(self.penalty > 0.0 && self.penalty.is_finite()) {
            return Err(StatsError::OutOfRange { what: "penalty", value: self.penalty, range: "above 0" });
        }
        if self.min_segment == 0 {
            return Err(StatsError::TooFew { what: "segment", needed: 1, got: 0 });
        }
        let Some(centred) = unit_scale(values) else { return Ok(Vec::new()) };
        let noise = noise(&centred);
        let calm = pulled_in(&centred, noise);
        let range = calm.iter().fold(f64::NEG_INFINITY, |m, v| m.max(*v))
            - calm.iter().fold(f64::INFINITY, |m, v| m.min(*v));
        let noise = noise.max(LEAST_NOISE * range);
        if noise == 0.0 || n / 2 < self.min_segment {
            return Ok(Vec::new());
        }
        Ok(segment(&calm, self.penalty * noise * noise * (n as f64).ln(), self.min_segment))
    }
}

/// Deviations from the median after division by the largest size; `None` where all are 0.
fn unit_scale(values: &[f64]) -> Option<Vec<f64>> {
    let largest = values.iter().fold(0.0f64, |m, v| m.max(v.abs()));
    if largest == 0.0 {
        return None;
    }
    let scaled: Vec<f64> = values.iter().map(|v| v / largest).collect();
    let centre = median_of(scaled.clone());
    Some(scaled.iter().map(|v| v - centre).collect())
}

fn median_of(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    median_sorted(&values)
}

/// Standard deviation of one value, from the differences of neighbours: a few changes of level hardly touch it. 0 for
/// fewer than two values. The σ of [`Pelt::penalty`].
pub fn neighbour_noise(values: &[f64]) -> Result<f64, StatsError> {
    check_values("noise between neighbours", values, 0)?;
    Ok(noise(values))
}

fn noise(values: &[f64]) -> f64 {
    let steps: Vec<f64> = values.windows(2).map(|w| w[1] - w[0]).collect();
    if steps.is_empty() {
        return 0.0;
    }
    let centre = median_of(steps.clone());
    let deviations = steps.iter().map(|s| (s - centre).abs()).collect();
    MAD_TO_SD * median_of(deviations) / std::f64::consts::SQRT_2
}

/// Every value within [`REACH`] of the median of its neighbourhood (winsorised).
fn pulled_in(values: &[f64], noise: f64) -> Vec<f64> {
    let reach = REACH * noise;
    let held = |(i, v): (usize, &f64)| {
        let around = i.saturating_sub(NEIGHBOURS)..(i + NEIGHBOURS + 1).min(values.len());
        let near = median_of(values[around].to_vec());
        v.clamp(near - reach, near + reach)
    };
    values.iter().enumerate().map(held).collect()
}

/// A start of a segment that may still turn out to be the best one.
struct Start {
    at: usize,
    /// From this end on it is known to be beaten.
    beaten_from: usize,
}

/// The exact optimum over all segmentations with segments of at least `shortest` values.
fn segment(values: &[f64], penalty: f64, shortest: usize) -> Vec<usize> {
    let n = values.len();
    let (mut sums, mut squares) = (vec![0.0; n + 1], vec![0.0; n + 1]);
    for (i, v) in values.iter().enumerate() {
        sums[i + 1] = sums[i] + v;
        squares[i + 1] = squares[i] + v * v;
    }
    let cost = |from: usize, to: usize| {
        let sum = sums[to] - sums[from];
        squares[to] - squares[from] - sum * sum / (to - from) as f64
    };
    let mut best = vec![f64::INFINITY; n + 1];
    best[0] = -penalty;
    let mut from = vec![0; n + 1];
    let mut starts = vec![Start { at: 0, beaten_from: usize::MAX }];
    for end in shortest..=n {
        let newest = end - shortest;
        if newest >= shortest {
            starts.push(Start { at: newest, beaten_from: usize::MAX });
        }
        for start in &starts {
            let total = best[start.at] + cost(start.at, end) + penalty;
            if total < best[end] {
                (best[end], from[end]) = (total, start.at);
            }
        }
        // a start that is no better than splitting here is beaten by that split, once it may be used
        for start in starts.iter_mut().filter(|s| s.beaten_from == usize::MAX) {
            if best[start.at] + cost(start.at, end) >= best[end] {
                start.beaten_from = end + shortest;
            }
        }
        starts.retain(|s| end + 1 < s.beaten_from);
    }
    let mut changes = Vec::new();
    let mut end = from[n];
    while end > 0 {
        changes.push(end);
        end = from[end];
    }
    changes.reverse();
    changes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    fn steps(levels: &[(usize, f64)], noise: f64, seed: u64) -> Vec<f64> {
        let mut rng = Rng::new(seed);
        levels
            .iter()
            .flat_map(|(count, level)| vec![*level; *count])
            .map(|level| level + noise * rng.normal())
            .collect()
    }

    #[test]
    fn levels_are_told_apart() {
        let x = steps(&[(50, 10.0), (60, 11.0), (40, 10.2)], 0.1, 1);
        assert_eq!(Pelt::REPORT.change_points(&x), Ok(vec![50, 110]));
        assert_eq!(Pelt::REPORT.change_points(&steps(&[(200, 7.0)], 0.3, 2)), Ok(vec![]));
    }

    #[test]
    fn a_spike_is_no_level() {
        let mut x = steps(&[(100, 10.0)], 0.1, 3);
        x[40] = 90.0;
        x[41] = -50.0;
        assert_eq!(Pelt::REPORT.change_points(&x), Ok(vec![]));
    }

    #[test]
    fn values_without_noise() {
        assert_eq!(Pelt::REPORT.change_points(&[0.0; 30]), Ok(vec![]));
        assert_eq!(Pelt::REPORT.change_points(&[5.0; 30]), Ok(vec![]));
        let exact = steps(&[(20, 4096.0), (10, 8192.0), (30, 4096.0)], 0.0, 4);
        assert_eq!(Pelt::REPORT.change_points(&exact), Ok(vec![20, 30]));
        assert_eq!(Pelt::REPORT.change_points(&[1.0, 1.0, 1.0, 2.0]), Ok(vec![]));
    }

    #[test]
    fn extremes_of_floating_point() {
        let huge: Vec<f64> = (0..40).map(|i| if i < 20 { f64::MAX } else { f64::MIN }).collect();
        assert_eq!(Pelt::REPORT.change_points(&huge), Ok(vec![20]));
        let tiny: Vec<f64> = (0..40).map(|i| if i < 20 { 5e-324 } else { 1e-323 }).collect();
        assert_eq!(Pelt::REPORT.change_points(&tiny), Ok(vec![20]));
    }

    #[test]
    fn bad_input_is_named() {
        let pelt = Pelt::REPORT;
        assert!(pelt.change_points(&[]).is_err());
        assert!(pelt.change_points(&[1.0, f64::INFINITY]).is_err());
        assert!(pelt.change_points(&vec![0.0; MAX_VALUES + 1]).is_err());
        assert!(Pelt { min_segment: 0, ..pelt }.change_points(&[1.0]).is_err());
        for penalty in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert!(Pelt { penalty, ..pelt }.change_points(&[1.0]).is_err());
        }
        assert_eq!(Pelt { min_segment: usize::MAX, ..pelt }.change_points(&[1.0, 2.0, 3.0]), Ok(vec![]));
    }
}
