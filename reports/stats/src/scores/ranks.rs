//! Scores that depend on order alone: the area under the ROC curve, and Spearman's rank correlation.

use super::error::{check_finite, check_pairs};
use super::{Outcomes, ScoreError, chosen};
use crate::ranks::mid_ranks;

/// Score and class, example by example; the score is the chance that a positive example lies above a
/// negative one, ties half.
#[derive(Clone, Debug, PartialEq)]
pub struct RocAuc {
    examples: Vec<(f64, bool)>,
}

impl RocAuc {
    /// Higher `scores` for "positive".
    pub fn new(scores: &[f64], positive: &[bool]) -> Result<Self, ScoreError> {
        check_pairs("ROC AUC", scores.len(), positive.len())?;
        check_finite("ROC AUC", "score", scores)?;
        Ok(Self { examples: scores.iter().copied().zip(positive.iter().copied()).collect() })
    }
}

impl Outcomes for RocAuc {
    fn len(&self) -> usize {
        self.examples.len()
    }

    fn work(&self) -> usize {
        // for sorting
        self.examples.len() * 16
    }

    fn score(&self, at: &[usize]) -> Option<f64> {
        let scores: Vec<f64> = chosen(&self.examples, at).map(|e| e.0).collect();
        let ranked = mid_ranks(&scores).into_iter().zip(chosen(&self.examples, at));
        let (mut rank_sum, mut positives) = (0.0, 0.0);
        for (rank, _) in ranked.filter(|(_, example)| example.1) {
            rank_sum += rank;
            positives += 1.0;
        }
        let negatives = scores.len() as f64 - positives;
        // the least sum of ranks that positives can have is that of the first ranks
        let above = rank_sum - positives * (positives + 1.0) / 2.0;
        (positives > 0.0 && negatives > 0.0).then(|| above / (positives * negatives))
    }
}

/// Predicted and true value, example by example; the score is the correlation of their ranks.
#[derive(Clone, Debug, PartialEq)]
pub struct Spearman {
    examples: Vec<(f64, f64)>,
}

impl Spearman {
    /// For example similarities of pairs of sentences, and what people said about them.
    pub fn new(predicted: &[f64], truth: &[f64]) -> Result<Self, ScoreError> {
        check_pairs("Spearman", predicted.len(), truth.len())?;
        check_finite("Spearman", "prediction", predicted)?;
        check_finite("Spearman", "true value", truth)?;
        Ok(Self { examples: predicted.iter().copied().zip(truth.iter().copied()).collect() })
    }
}

impl Outcomes for Spearman {
    fn len(&self) -> usize {
        self.examples.len()
    }

    fn work(&self) -> usize {
        // for sorting twice
        self.examples.len() * 32
    }

    /// `None` where one side is the same throughout.
    fn score(&self, at: &[usize]) -> Option<f64> {
        let side = |of: fn(&(f64, f64)) -> f64| -> Vec<f64> {
            let values: Vec<f64> = chosen(&self.examples, at).map(of).collect();
            let centre = (values.len() as f64 + 1.0) / 2.0;
            mid_ranks(&values).iter().map(|rank| rank - centre).collect()
        };
        let (a, b) = (side(|e| e.0), side(|e| e.1));
        let product = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(x, y)| x * y).sum::<f64>();
        let size = (product(&a, &a) * product(&b, &b)).sqrt();
        (size > 0.0).then(|| (product(&a, &b) / size).clamp(-1.0, 1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_hand() {
        let auc = RocAuc::new(&[5.0, 3.0, 1.0, 2.0, 3.0], &[true, true, false, false, false]).unwrap();
        assert_eq!(auc.total(), Some(5.5 / 6.0));
        assert_eq!((auc.score(&[0, 1]), auc.score(&[])), (None, None));
        let rho = Spearman::new(&[1.0, 2.0, 3.0], &[10.0, 30.0, 20.0]).unwrap();
        assert_eq!((rho.total(), rho.score(&[0, 0]), rho.score(&[])), (Some(0.5), None, None));
    }

    #[test]
    fn bad_input_is_named() {
        assert!(matches!(RocAuc::new(&[1.0], &[]), Err(ScoreError::Unpaired { .. })));
        let nan = RocAuc::new(&[1.0, f64::NAN], &[true, false]).unwrap_err().to_string();
        assert!(nan.contains("example 1 has no finite score"), "{nan}");
        assert!(Spearman::new(&[f64::INFINITY], &[0.0]).is_err());
        assert!(Spearman::new(&[0.0], &[f64::NAN]).is_err());
    }
}
