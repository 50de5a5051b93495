//! Bootstrap intervals for scores that have no formula (mAP, F1, word error rate): percentile and BCa
//! (Efron 1987), over single examples or whole clusters of them. Not for 5 to 10 units of latency, where
//! it is too narrow: use the t interval.
//!
//! A statistic is a function of a list of example indices, so that a paired difference is resampled as
//! pairs. Where it has no value for a resample (no positive example, no words) it answers NaN, and that
//! resample is drawn again.

use crate::descriptive::standard_deviation_unchecked;
use crate::dist::{normal_quantile, normal_sf};
use crate::error::{StatsError, check_open_unit};
use crate::interval::{Interval, PValues};
use crate::rng::Rng;

/// What is drawn as a whole: the examples of one image, speaker or document, or each example by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clusters {
    members: Vec<Vec<usize>>,
}

impl Clusters {
    /// Each of `n` examples by itself.
    pub fn singles(n: usize) -> Self {
        Self { members: (0..n).map(|i| vec![i]).collect() }
    }

    /// Examples with equal labels together; clusters in the order of their labels.
    pub fn by_label<L: Ord>(labels: &[L]) -> Self {
        let mut order: Vec<usize> = (0..labels.len()).collect();
        order.sort_by(|i, j| labels[*i].cmp(&labels[*j]));
        let members = order.chunk_by(|i, j| labels[*i] == labels[*j]).map(<[usize]>::to_vec).collect();
        Self { members }
    }

    /// Number of clusters.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// True if there are none.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// The examples of each cluster.
    pub(crate) fn members(&self) -> &[Vec<usize>] {
        &self.members
    }

    /// The examples of each cluster as often as it was drawn. Always in the same order: equal draws must not
    /// differ by a rounding, for BCa counts equal values.
    fn collect(&self, drawn: impl Iterator<Item = usize>, examples: &mut Vec<usize>) {
        examples.clear();
        for (members, times) in self.members.iter().zip(drawn) {
            for _ in 0..times {
                examples.extend_from_slice(members);
            }
        }
    }
}

/// How to resample. 10 000 resamples are usual.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bootstrap {
    /// Number of resamples, at least 100.
    pub resamples: u32,
    /// Seed of the draws.
    pub seed: u64,
}

/// A statistic and how it varies from resample to resample.
#[derive(Clone, Debug, PartialEq)]
pub struct Resampled {
    /// The statistic of all examples.
    pub point: f64,
    /// Of every resample, ascending.
    sorted: Vec<f64>,
    /// Bias of the estimate in normal quantiles (Efron's z0).
    bias: f64,
    /// How fast its spread grows with it (Efron's a).
    acceleration: f64,
}

/// The jackknife leaves out so many parts at most, one after the other; with more clusters than this, a
/// part is several of them. The skewness that it is made for is the same, up to its own error.
const MAX_PARTS: usize = 1000;

impl Bootstrap {
    /// Draws clusters with repetition, as many as there are.
    ///
    /// # Errors
    /// Fewer than two clusters, fewer than 100 resamples, or a statistic without a finite value for all
    /// examples or for more than half of the draws.
    pub fn resample(
        &self,
        clusters: &Clusters,
        statistic: impl Fn(&[usize]) -> f64,
    ) -> Result<Resampled, StatsError> {
        if self.resamples < 100 {
            return Err(StatsError::TooFew { what: "bootstrap", needed: 100, got: self.resamples as usize });
        }
        let n = clusters.len();
        if n < 2 {
            return Err(StatsError::TooFew { what: "bootstrap", needed: 2, got: n });
        }
        let mut examples = Vec::new();
        clusters.collect((0..n).map(|_| 1), &mut examples);
        let point = statistic(&examples);
        let (mut rng, mut times) = (Rng::new(self.seed), vec![0usize; n]);
        let wanted = self.resamples as usize;
        let (mut sorted, mut draws) = (Vec::with_capacity(wanted), 0);
        while sorted.len() < wanted {
            if draws >= 2 * wanted || !point.is_finite() {
                return Err(StatsError::NotFinite { what: "bootstrap", index: sorted.len() });
            }
            draws += 1;
            times.fill(0);
            for _ in 0..n {
                times[rng.below(n)] += 1;
            }
            clusters.collect(times.iter().copied(), &mut examples);
            sorted.extend(Some(statistic(&examples)).filter(|value| value.is_finite()));
        }
        sorted.sort_unstable_by(f64::total_cmp);
        let (below, upto) = (sorted.partition_point(|v| *v < point), sorted.partition_point(|v| *v <= point));
        let bias = quantile_within((below + upto) as f64 / 2.0, wanted);
        let acceleration = acceleration(clusters, &statistic);
        Ok(Resampled { point, sorted, bias, acceleration })
    }
}

impl Resampled {
    /// Standard deviation over the resamples: the standard error of the statistic.
    pub fn standard_error(&self) -> f64 {
        standard_deviation_unchecked(&self.sorted)
    }

    /// The percentile interval.
    pub fn percentile(&self, level: f64) -> Result<Interval, StatsError> {
        check_open_unit("level", level)?;
        let tail = (1.0 - level) / 2.0;
        Ok(self.between(tail, tail, level))
    }

    /// The bias-corrected and accelerated interval.
    pub fn bca(&self, level: f64) -> Result<Interval, StatsError> {
        check_open_unit("level", level)?;
        let z = -normal_quantile((1.0 - level) / 2.0);
        let moved = |z: f64| self.bias + scaled(self.bias + z, -self.acceleration);
        // tails below the low end and above the high end
        Ok(self.between(normal_sf(-moved(-z)), normal_sf(moved(z)), level))
    }

    /// p-values against a statistic of `mu`: those at which an end of the BCa interval reaches it. None is below
    /// what so many resamples can show.
    pub fn test(&self, mu: f64) -> PValues {
        let n = self.sorted.len();
        // resamples at `mu` itself speak against either side
        let below = self.sorted.partition_point(|v| *v < mu) as f64;
        let upto = self.sorted.partition_point(|v| *v <= mu) as f64;
        let z = |count: f64| scaled(quantile_within(count, n) - self.bias, self.acceleration) - self.bias;
        PValues::from_sides(normal_sf(-z(upto)), normal_sf(z(below)))
    }

    /// Cuts the same whole number of values per tail whichever side it is on.
    fn between(&self, low_tail: f64, high_tail: f64, level: f64) -> Interval {
        let n = self.sorted.len();
        let cut = |tail: f64| ((n as f64 * tail).floor() as usize).min(n - 1);
        Interval { low: self.sorted[cut(low_tail)], high: self.sorted[n - 1 - cut(high_tail)], level }
    }
}

/// z / (1 + factor · z), infinite from where the denominator is not above 0 on.
fn scaled(z: f64, factor: f64) -> f64 {
    let denominator = 1.0 + factor * z;
    if denominator > 0.0 { z / denominator } else { f64::INFINITY.copysign(z) }
}

/// Normal quantile of the share `count` of `n`, half a resample away from 0 and 1 at least.
fn quantile_within(count: f64, n: usize) -> f64 {
    normal_quantile(count.clamp(0.5, n as f64 - 0.5) / n as f64)
}

/// Skewness of the jackknife, divided by 6; 0 where the statistic does not vary. Parts without which it has
/// no value say nothing.
fn acceleration(clusters: &Clusters, statistic: &impl Fn(&[usize]) -> f64) -> f64 {
    let parts = clusters.len().min(MAX_PARTS);
    let mut examples = Vec::new();
    let mut without = |part: usize| {
        clusters.collect((0..clusters.len()).map(|k| usize::from(k % parts != part)), &mut examples);
        statistic(&examples)
    };
    let left_out: Vec<f64> = (0..parts).map(&mut without).filter(|value| value.is_finite()).collect();
    let mean = left_out.iter().sum::<f64>() / left_out.len().max(1) as f64;
    let sum = |power: i32| left_out.iter().map(|v| (mean - v).powi(power)).sum::<f64>();
    let squares = sum(2);
    if squares > 0.0 { sum(3) / (6.0 * squares.powf(1.5)) } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: Bootstrap = Bootstrap { resamples: 2000, seed: 1 };

    #[test]
    fn clusters_group_equal_labels() {
        let clusters = Clusters::by_label(&["b", "a", "b"]);
        assert_eq!(clusters, Clusters { members: vec![vec![1], vec![0, 2]] });
        assert_eq!(Clusters::singles(2).len(), 2);
    }

    #[test]
    fn mean_interval_is_near_the_normal_one() {
        let mut rng = Rng::new(2);
        let x: Vec<f64> = (0..400).map(|_| rng.normal()).collect();
        let mean = |at: &[usize]| at.iter().map(|i| x[*i]).sum::<f64>() / at.len() as f64;
        let found = SETTINGS.resample(&Clusters::singles(400), mean).unwrap();
        for interval in [found.percentile(0.95).unwrap(), found.bca(0.95).unwrap()] {
            assert!((interval.half_width() - 1.96 / 20.0).abs() < 0.012, "{interval:?}");
            assert!(interval.contains(found.point));
        }
        assert!((found.standard_error() - 0.05).abs() < 0.005);
    }

    #[test]
    fn p_values_belong_to_the_interval() {
        let mut rng = Rng::new(3);
        let x: Vec<f64> = (0..60).map(|_| rng.uniform().powi(4)).collect();
        let mean = |at: &[usize]| at.iter().map(|i| x[*i]).sum::<f64>() / at.len() as f64;
        let found = SETTINGS.resample(&Clusters::singles(60), mean).unwrap();
        assert!(found.acceleration > 0.01, "skewed");
        let interval = found.bca(0.9).unwrap();
        for (p, end) in [(found.test(interval.low).greater, "low"), (found.test(interval.high).less, "high")]
        {
            assert!((p - 0.05).abs() < 0.003, "{end}: {p}");
        }
        assert!(found.test(found.point - 1.0).greater < 1e-3 && found.test(found.point + 1.0).less < 1e-3);
        assert!(found.test(found.point).two_sided > 0.8);
    }

    #[test]
    fn copies_in_a_cluster_add_no_information() {
        let labels: Vec<usize> = (0..400).map(|i| i % 40).collect();
        let mut rng = Rng::new(4);
        let of_label: Vec<f64> = (0..40).map(|_| rng.normal()).collect();
        let mean = |at: &[usize]| at.iter().map(|i| of_label[labels[*i]]).sum::<f64>() / at.len() as f64;
        let clustered = SETTINGS.resample(&Clusters::by_label(&labels), mean).unwrap();
        let naive = SETTINGS.resample(&Clusters::singles(400), mean).unwrap();
        // the square root of ten copies
        let ratio = clustered.standard_error() / naive.standard_error();
        assert!((2.6..3.8).contains(&ratio), "{ratio}");
    }

    #[test]
    fn parts_of_several_clusters_have_the_skewness_of_all() {
        let mut rng = Rng::new(5);
        let x: Vec<f64> = (0..8 * MAX_PARTS).map(|_| rng.uniform().powi(8)).collect();
        let mean = |at: &[usize]| at.iter().map(|i| x[*i]).sum::<f64>() / at.len() as f64;
        let n = x.len() as f64;
        let centre = x.iter().sum::<f64>() / n;
        let sum = |power: i32| x.iter().map(|v| (v - centre).powi(power)).sum::<f64>();
        let exact = sum(3) / (6.0 * sum(2).powf(1.5));
        let found = acceleration(&Clusters::singles(x.len()), &mean);
        assert!((found - exact).abs() < 0.5 * exact, "{found} {exact}");
    }

    #[test]
    fn resamples_without_a_value_are_drawn_again() {
        let clusters = Clusters::singles(6);
        let count = |at: &[usize]| at.iter().filter(|i| **i == 0).count() as f64;
        let some = |at: &[usize]| if count(at) > 0.0 { count(at) } else { f64::NAN };
        let found = SETTINGS.resample(&clusters, some).unwrap();
        assert_eq!((found.sorted.len(), found.sorted[0]), (2000, 1.0));
        let rare = |at: &[usize]| if count(at) == 1.0 && at.contains(&5) { 1.0 } else { f64::NAN };
        assert!(matches!(SETTINGS.resample(&clusters, rare), Err(StatsError::NotFinite { .. })));
    }

    #[test]
    fn bad_input_is_named() {
        assert!(SETTINGS.resample(&Clusters::singles(1), |_| 0.0).is_err());
        assert!(SETTINGS.resample(&Clusters::singles(5), |_| f64::NAN).is_err());
        assert!(Bootstrap { resamples: 1, ..SETTINGS }.resample(&Clusters::singles(5), |_| 0.0).is_err());
        let constant = SETTINGS.resample(&Clusters::singles(5), |_| 3.0).unwrap();
        let interval = constant.bca(0.95).unwrap();
        assert_eq!((interval.low, interval.high, constant.standard_error()), (3.0, 3.0, 0.0));
        assert!(constant.bca(1.0).is_err() && constant.percentile(0.0).is_err());
    }
}
