//! Area under the ROC curve of two classifiers on the same examples: DeLong, DeLong and Clarke-Pearson
//! (Biometrics 44, 1988), by mid-ranks as in Sun and Xu (IEEE Signal Processing Letters 21, 2014), so that
//! the cost is that of sorting. No bootstrap is needed for an AUC.

use crate::descriptive::mean_unchecked;
use crate::dist::{normal_quantile, normal_sf};
use crate::error::{StatsError, check_open_unit, check_values};
use crate::interval::{Interval, PValues};
use crate::ranks::mid_ranks;

const WHAT: &str = "DeLong's test";

/// Area under the ROC curve: the chance that a positive example scores above a negative one, ties half.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Auc {
    /// Between 0 and 1; 0.5 is chance.
    pub value: f64,
    /// Its standard error.
    pub standard_error: f64,
}

/// Both areas, and their difference with the error that belongs to a pair.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PairedAuc {
    /// The candidate's.
    pub candidate: Auc,
    /// The reference's.
    pub reference: Auc,
    /// Candidate minus reference.
    pub difference: f64,
    /// Standard error of the difference; 0 where both rank alike.
    pub standard_error: f64,
}

impl PairedAuc {
    /// p-values against a difference of `mu`; minus a margin for non-inferiority. Without any spread the
    /// difference is taken as known.
    pub fn test(&self, mu: f64) -> PValues {
        let above = self.difference - mu;
        if self.standard_error == 0.0 {
            let sure = |yes: bool| if yes { 0.0 } else { 1.0 };
            return PValues::from_sides(sure(above > 0.0), sure(above < 0.0));
        }
        let z = above / self.standard_error;
        PValues::from_sides(normal_sf(z), normal_sf(-z))
    }

    /// Normal interval of the difference.
    pub fn interval(&self, level: f64) -> Result<Interval, StatsError> {
        check_open_unit("level", level)?;
        let half = -normal_quantile((1.0 - level) / 2.0) * self.standard_error;
        Ok(Interval { low: self.difference - half, high: self.difference + half, level })
    }
}

/// Scores of both sides for the same examples, higher for "positive". Needs two examples of either kind.
pub fn delong(candidate: &[f64], reference: &[f64], positive: &[bool]) -> Result<PairedAuc, StatsError> {
    for side in [candidate, reference] {
        if side.len() != positive.len() {
            return Err(StatsError::Unpaired { what: WHAT, left: side.len(), right: positive.len() });
        }
        check_values(WHAT, side, 0)?;
    }
    let positives = positive.iter().filter(|p| **p).count();
    let fewer = positives.min(positive.len() - positives);
    if fewer < 2 {
        return Err(StatsError::TooFew { what: WHAT, needed: 2, got: fewer });
    }
    let (c, r) = (Placements::of(candidate, positive), Placements::of(reference, positive));
    let differences = Placements {
        positives: minus(&c.positives, &r.positives),
        negatives: minus(&c.negatives, &r.negatives),
    };
    let (candidate, reference, difference) = (c.auc(), r.auc(), differences.auc());
    Ok(PairedAuc {
        candidate,
        reference,
        difference: difference.value,
        standard_error: difference.standard_error,
    })
}

/// Of each positive the share of negatives below it, of each negative the share of positives above it.
struct Placements {
    positives: Vec<f64>,
    negatives: Vec<f64>,
}

impl Placements {
    fn of(scores: &[f64], positive: &[bool]) -> Self {
        let side = |wanted: bool| -> Vec<f64> {
            scores.iter().zip(positive).filter(|(_, p)| **p == wanted).map(|(s, _)| *s).collect()
        };
        let (above, below) = (side(true), side(false));
        let among_all = mid_ranks(&[above.as_slice(), &below].concat());
        let (m, n) = (above.len(), below.len());
        let all_of =
            |skip: usize, own: Vec<f64>| among_all.iter().skip(skip).zip(own).map(|(all, own)| all - own);
        Self {
            positives: all_of(0, mid_ranks(&above)).map(|rank| rank / n as f64).collect(),
            negatives: all_of(m, mid_ranks(&below)).map(|rank| 1.0 - rank / m as f64).collect(),
        }
    }

    fn auc(&self) -> Auc {
        let value = mean_unchecked(&self.positives);
        let variance = variance_of_mean(&self.positives) + variance_of_mean(&self.negatives);
        Auc { value, standard_error: variance.sqrt() }
    }
}

fn minus(a: &[f64], b: &[f64]) -> Vec<f64> {
    a.iter().zip(b).map(|(a, b)| a - b).collect()
}

fn variance_of_mean(values: &[f64]) -> f64 {
    let sd = crate::descriptive::standard_deviation_unchecked(values);
    sd * sd / values.len() as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    const POSITIVE: [bool; 5] = [true, true, false, false, false];

    #[test]
    fn by_hand() {
        // of six pairs the reference has five right and one tied, the candidate all
        let found = delong(&[5.0, 4.0, 1.0, 2.0, 3.0], &[5.0, 3.0, 1.0, 2.0, 3.0], &POSITIVE).unwrap();
        assert_eq!((found.candidate.value, found.candidate.standard_error), (1.0, 0.0));
        assert!((found.reference.value - 5.5 / 6.0).abs() < 1e-15);
        // placements: positives 1 and 5/6 (variance of the mean 1/144), negatives 1, 1, 3/4 (1/144)
        assert!((found.standard_error - (2.0f64 / 144.0).sqrt()).abs() < 1e-15);
        assert!((found.difference - 0.5 / 6.0).abs() < 1e-15);
    }

    #[test]
    fn alike_is_no_difference() {
        let scores = [0.9, 0.2, 0.4, 0.1, 0.2];
        let found = delong(&scores, &scores, &POSITIVE).unwrap();
        assert_eq!(found.test(0.0).two_sided, 1.0);
        // known to be no worse than by any margin
        assert_eq!(found.test(-0.01).greater, 0.0);
        let constant = delong(&[0.0, -0.0, 0.0, -0.0, 0.0], &[1.0; 5], &POSITIVE).unwrap();
        assert_eq!((constant.candidate.value, constant.difference), (0.5, 0.0));
    }

    #[test]
    fn bad_input_is_named() {
        assert!(matches!(delong(&[1.0], &[1.0], &[true]), Err(StatsError::TooFew { got: 0, .. })));
        assert!(matches!(delong(&[1.0], &[1.0, 2.0], &[true, false]), Err(StatsError::Unpaired { .. })));
        let with_nan = [f64::NAN, 1.0, 2.0, 3.0, 4.0];
        assert!(matches!(delong(&with_nan, &[0.0; 5], &POSITIVE), Err(StatsError::NotFinite { .. })));
    }
}
