//! Bootstrap intervals for scores that have no formula (mAP, F1, word error rate): percentile and BCa
//! (Efron 1987), over single examples or whole clusters of them. Not for 5 to 10 units of latency, where
//! it is too narrow: use the t interval.
//!
//! A statistic is a function of a list of example indices, so that a paired difference is resampled as
//! pairs. It must be finite for every resample.

use crate::dist::{normal_quantile, normal_sf};
use crate::error::{StatsError, check_open_unit};
use crate::interval::{Estimate, Interval};
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

    fn collect(&self, picked: impl Iterator<Item = usize>) -> Vec<usize> {
        picked.filter_map(|k| self.members.get(k)).flatten().copied().collect()
    }
}

/// How to resample. 10 000 resamples are usual.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bootstrap {
    /// Number of resamples, at least 100.
    pub resamples: u32,
    /// Seed of the draws.
    pub seed: u64,
    /// Confidence of the interval.
    pub level: f64,
}

impl Bootstrap {
    /// The statistic of all examples with the percentile interval.
    pub fn percentile(
        &self,
        clusters: &Clusters,
        statistic: impl Fn(&[usize]) -> f64,
    ) -> Result<Estimate, StatsError> {
        let (point, sorted) = self.distribution(clusters, &statistic)?;
        let tail = (1.0 - self.level) / 2.0;
        Ok(Estimate { point, interval: self.between(&sorted, tail, tail) })
    }

    /// The statistic of all examples with the bias-corrected and accelerated interval.
    pub fn bca(
        &self,
        clusters: &Clusters,
        statistic: impl Fn(&[usize]) -> f64,
    ) -> Result<Estimate, StatsError> {
        let (point, sorted) = self.distribution(clusters, &statistic)?;
        let below = sorted.partition_point(|v| *v < point) + sorted.partition_point(|v| *v <= point);
        let share = below as f64 / (2.0 * sorted.len() as f64);
        check_open_unit("share of resamples below the estimate", share)?;
        let bias = normal_quantile(share);
        let acceleration = acceleration(clusters, &statistic)?;
        let z = -normal_quantile((1.0 - self.level) / 2.0);
        let moved = |z: f64| bias + (bias + z) / (1.0 - acceleration * (bias + z));
        // tails below the low end and above the high end
        let (low, high) = (normal_sf(-moved(-z)), normal_sf(moved(z)));
        Ok(Estimate { point, interval: self.between(&sorted, low, high) })
    }

    /// The statistic of all examples, and of every resample in ascending order.
    fn distribution(
        &self,
        clusters: &Clusters,
        statistic: &impl Fn(&[usize]) -> f64,
    ) -> Result<(f64, Vec<f64>), StatsError> {
        check_open_unit("level", self.level)?;
        if self.resamples < 100 {
            return Err(StatsError::TooFew { what: "bootstrap", needed: 100, got: self.resamples as usize });
        }
        if clusters.len() < 2 {
            return Err(StatsError::TooFew { what: "bootstrap", needed: 2, got: clusters.len() });
        }
        let finite = |index: usize, value: f64| match value.is_finite() {
            true => Ok(value),
            false => Err(StatsError::NotFinite { what: "bootstrap", index }),
        };
        let point = finite(0, statistic(&clusters.collect(0..clusters.len())))?;
        let mut rng = Rng::new(self.seed);
        let mut values = Vec::with_capacity(self.resamples as usize);
        for index in 0..self.resamples as usize {
            let mut picked: Vec<usize> = (0..clusters.len()).map(|_| rng.below(clusters.len())).collect();
            // the same clusters in another order must not differ by a rounding: BCa counts equal values
            picked.sort_unstable();
            values.push(finite(index, statistic(&clusters.collect(picked.into_iter())))?);
        }
        values.sort_unstable_by(f64::total_cmp);
        Ok((point, values))
    }

    /// Cuts the same whole number of values per tail whichever side it is on.
    fn between(&self, sorted: &[f64], low_tail: f64, high_tail: f64) -> Interval {
        let n = sorted.len();
        let cut = |tail: f64| ((n as f64 * tail).floor() as usize).min(n - 1);
        Interval { low: sorted[cut(low_tail)], high: sorted[n - 1 - cut(high_tail)], level: self.level }
    }
}

/// Skewness of the jackknife over clusters, divided by 6; 0 where the statistic does not vary.
fn acceleration(clusters: &Clusters, statistic: &impl Fn(&[usize]) -> f64) -> Result<f64, StatsError> {
    let n = clusters.len();
    let left_out: Vec<f64> =
        (0..n).map(|k| statistic(&clusters.collect((0..n).filter(|i| *i != k)))).collect();
    let mean = crate::mean(&left_out)?;
    let sum = |power: i32| left_out.iter().map(|v| (mean - v).powi(power)).sum::<f64>();
    let squares = sum(2);
    Ok(if squares > 0.0 { sum(3) / (6.0 * squares.powf(1.5)) } else { 0.0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: Bootstrap = Bootstrap { resamples: 2000, seed: 1, level: 0.95 };

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
        for e in [
            SETTINGS.percentile(&Clusters::singles(400), mean).unwrap(),
            SETTINGS.bca(&Clusters::singles(400), mean).unwrap(),
        ] {
            assert!((e.interval.half_width() - 1.96 / 20.0).abs() < 0.012, "{e:?}");
            assert!(e.interval.contains(e.point));
        }
    }

    #[test]
    fn copies_in_a_cluster_add_no_information() {
        let labels: Vec<usize> = (0..400).map(|i| i % 40).collect();
        let mut rng = Rng::new(4);
        let of_label: Vec<f64> = (0..40).map(|_| rng.normal()).collect();
        let mean = |at: &[usize]| at.iter().map(|i| of_label[labels[*i]]).sum::<f64>() / at.len() as f64;
        let clustered = SETTINGS.percentile(&Clusters::by_label(&labels), mean).unwrap();
        let naive = SETTINGS.percentile(&Clusters::singles(400), mean).unwrap();
        let ratio = clustered.interval.half_width() / naive.interval.half_width();
        // the square root of ten copies
        assert!((2.6..3.8).contains(&ratio), "{ratio}");
    }

    #[test]
    fn bad_input_is_named() {
        assert!(SETTINGS.bca(&Clusters::singles(1), |_| 0.0).is_err());
        assert!(SETTINGS.bca(&Clusters::singles(5), |_| f64::NAN).is_err());
        assert!(Bootstrap { resamples: 1, ..SETTINGS }.percentile(&Clusters::singles(5), |_| 0.0).is_err());
        let constant = SETTINGS.bca(&Clusters::singles(5), |_| 3.0).unwrap();
        assert_eq!((constant.interval.low, constant.interval.high), (3.0, 3.0));
    }
}
