//! Two variants on the same examples, for any score: how far their scores differ, how sure that is, and whether
//! it could be chance.
//!
//! The interval is the bootstrap's, over pairs. Whether there is a difference at all is asked by approximate
//! randomisation (Noreen 1989; Yeh 2000 for F1): if there is none, it does not matter which of the two answered
//! an example, so that answers are exchanged at random within pairs. With a few discordant examples it keeps
//! its level where an interval by bootstrap does not.

use super::Outcomes;
use crate::bootstrap::{Bootstrap, Clusters, Resampled};
use crate::error::StatsError;
use crate::interval::PValues;
use crate::rng::Rng;

/// Differences of scores nearer to each other than this are equal: sums in another order.
const ROUNDING: f64 = 1e-12;

/// A score over the examples of the candidate, then over the same examples of the reference.
pub struct ScorePair {
    joint: Box<dyn Outcomes>,
}

impl ScorePair {
    /// `joint` has each example twice: all of the candidate's, then all of the reference's in the same order.
    pub fn new(joint: Box<dyn Outcomes>) -> Self {
        Self { joint }
    }

    /// Number of examples.
    pub fn len(&self) -> usize {
        self.joint.len() / 2
    }

    /// True without any example.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Scores of the candidate and of the reference over the examples at these positions.
    pub fn scores(&self, at: &[usize]) -> (Option<f64>, Option<f64>) {
        let reference: Vec<usize> = at.iter().map(|i| i + self.len()).collect();
        (self.joint.score(at), self.joint.score(&reference))
    }

    /// What one example is worth by itself, on either side.
    pub fn of_example(&self, example: usize) -> Option<(f64, f64)> {
        self.joint.of_example(example).zip(self.joint.of_example(example + self.len()))
    }

    /// About how many steps one difference takes.
    pub fn work(&self) -> usize {
        self.joint.work()
    }

    /// Candidate minus reference, resampled by pairs.
    ///
    /// # Errors
    /// As [`Bootstrap::resample`].
    pub fn resample(&self, settings: Bootstrap, clusters: &Clusters) -> Result<Resampled, StatsError> {
        settings.resample(clusters, |at| match self.scores(at) {
            (Some(candidate), Some(reference)) => candidate - reference,
            _ => f64::NAN,
        })
    }

    /// One side alone, resampled.
    ///
    /// # Errors
    /// As [`Bootstrap::resample`].
    pub fn resample_candidate(
        &self,
        settings: Bootstrap,
        clusters: &Clusters,
    ) -> Result<Resampled, StatsError> {
        settings.resample(clusters, |at| self.joint.score(at).unwrap_or(f64::NAN))
    }

    /// Against "it does not matter which of the two answers a cluster". `greater`: the candidate's score is
    /// higher. Exchanges that give exactly the difference that was found count half, as in McNemar's mid-p.
    ///
    /// # Errors
    /// A side without a score, or for most exchanges.
    pub fn exchange(&self, settings: Bootstrap, clusters: &Clusters) -> Result<PValues, StatsError> {
        let n = self.len();
        let mut sides: [Vec<usize>; 2] = [(0..n).collect(), (n..2 * n).collect()];
        let difference = |sides: &[Vec<usize>; 2]| match sides.each_ref().map(|at| self.joint.score(at)) {
            [Some(candidate), Some(reference)] => candidate - reference,
            _ => f64::NAN,
        };
        let found = difference(&sides);
        let (mut rng, mut above, mut below, mut counted) = (Rng::new(!settings.seed), 0.0, 0.0, 0u32);
        for _ in 0..settings.resamples {
            for members in clusters.members() {
                let swap = if rng.next_u64() >> 63 == 1 { n } else { 0 };
                for &example in members {
                    sides[0][example] = example + swap;
                    sides[1][example] = example + n - swap;
                }
            }
            let by_chance = difference(&sides);
            if by_chance.is_finite() {
                counted += 1;
                let equal = (by_chance - found).abs() <= ROUNDING;
                above += if equal { 0.5 } else { f64::from(u8::from(by_chance > found)) };
                below += if equal { 0.5 } else { f64::from(u8::from(by_chance < found)) };
            }
        }
        if !found.is_finite() || 2 * counted < settings.resamples {
            return Err(StatsError::NotFinite { what: "exchange of answers", index: 0 });
        }
        // what was found is one of the exchanges
        let share = |count: f64| (count + 0.5) / (f64::from(counted) + 1.0);
        Ok(PValues::from_sides(share(above), share(below)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scores::Hits;
    use crate::{PairedTable, mcnemar_mid_p};

    const SETTINGS: Bootstrap = Bootstrap { resamples: 20_000, seed: 1 };

    fn pair(candidate: &[bool], reference: &[bool]) -> ScorePair {
        ScorePair::new(Box::new(Hits([candidate, reference].concat())))
    }

    #[test]
    fn of_right_and_wrong_it_is_mcnemars_test() {
        let reference: Vec<bool> = (0..60).map(|i| i % 4 != 0).collect();
        let candidate: Vec<bool> = (0..60).map(|i| i % 4 != 0 && i % 7 != 1 || i % 20 == 0).collect();
        let table = PairedTable::count(&candidate, &reference).unwrap();
        let expected = mcnemar_mid_p(&table).unwrap();
        let pair = pair(&candidate, &reference);
        let found = pair.exchange(SETTINGS, &Clusters::singles(60)).unwrap();
        assert!((found.less - expected.less).abs() < 0.008, "{found:?} {expected:?} {table:?}");
        assert!((found.greater - expected.greater).abs() < 0.008, "{found:?} {expected:?}");
        assert_eq!((pair.len(), pair.of_example(1)), (60, Some((0.0, 1.0))));
        let resampled = pair.resample(SETTINGS, &Clusters::singles(60)).unwrap();
        assert!((resampled.point - table.difference().unwrap()).abs() < 1e-15);
    }

    #[test]
    fn clusters_are_exchanged_whole() {
        // ten gains, all by one speaker, are one observation
        let (candidate, reference) = ([true; 20], (0..20).map(|i| i >= 10).collect::<Vec<_>>());
        let pair = pair(&candidate, &reference);
        let speakers: Vec<usize> = (0..20).map(|i| i / 10).collect();
        assert!(pair.exchange(SETTINGS, &Clusters::singles(20)).unwrap().greater < 0.01);
        assert!(pair.exchange(SETTINGS, &Clusters::by_label(&speakers)).unwrap().greater > 0.2);
    }

    #[test]
    fn nothing_is_no_difference() {
        let none = pair(&[], &[]);
        assert!(none.is_empty() && none.exchange(SETTINGS, &Clusters::singles(0)).is_err());
        let same = pair(&[true], &[true]);
        let p = same.exchange(SETTINGS, &Clusters::singles(1)).unwrap();
        assert_eq!((p.greater, p.less, p.two_sided), (0.5, 0.5, 1.0));
        assert!(same.resample(SETTINGS, &Clusters::singles(1)).is_err());
    }
}
