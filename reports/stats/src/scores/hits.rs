//! Top-1 and top-k: is the label among the k greatest values of the output?

use super::error::check_pairs;
use super::{Outcomes, ScoreError, chosen};

const SCORE: &str = "top-k accuracy";

/// Right or wrong, example by example. The score is the share of hits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hits(pub Vec<bool>);

impl Hits {
    /// `outputs` is `[examples, classes]`, row after row. Of equal values the first class comes first; an
    /// output with a NaN predicts nothing, and is wrong.
    pub fn top_k(outputs: &[f32], classes: usize, labels: &[u32], k: usize) -> Result<Self, ScoreError> {
        if classes == 0 || k == 0 {
            let problem = format!("{classes} classes and k = {k}: both must be at least 1");
            return Err(ScoreError::Setting { score: SCORE, problem });
        }
        if !outputs.len().is_multiple_of(classes) {
            let problem = format!("{} values are no whole number of rows of {classes}", outputs.len());
            return Err(ScoreError::Setting { score: SCORE, problem });
        }
        check_pairs(SCORE, outputs.len() / classes, labels.len())?;
        let mut hits = Vec::with_capacity(labels.len());
        for (example, (output, label)) in outputs.chunks(classes).zip(labels).enumerate() {
            let Some(own) = output.get(*label as usize) else {
                let problem = format!("has the label {label}: there are {classes} classes, counted from 0");
                return Err(ScoreError::Example { score: SCORE, example, problem });
            };
            let before =
                |(class, value): (usize, &f32)| value > own || value == own && class < *label as usize;
            let rank = output.iter().enumerate().filter(|v| before(*v)).count();
            hits.push(rank < k && !output.iter().any(|v| v.is_nan()));
        }
        Ok(Self(hits))
    }
}

impl Outcomes for Hits {
    fn len(&self) -> usize {
        self.0.len()
    }

    fn score(&self, at: &[usize]) -> Option<f64> {
        let (mut hits, mut n) = (0u64, 0u64);
        for hit in chosen(&self.0, at) {
            hits += u64::from(*hit);
            n += 1;
        }
        (n > 0).then(|| hits as f64 / n as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ties_go_to_the_first_class_and_nan_is_wrong() {
        let outputs = [0.5, 0.5, 0.1, 0.5, f32::NAN, 0.1];
        assert_eq!(Hits::top_k(&outputs, 3, &[0, 0], 1), Ok(Hits(vec![true, false])));
        assert_eq!(Hits::top_k(&outputs, 3, &[1, 0], 1), Ok(Hits(vec![false, false])));
        assert_eq!(Hits::top_k(&outputs, 3, &[1, 0], 2), Ok(Hits(vec![true, false])));
        assert_eq!(Hits::top_k(&outputs[..3], 3, &[2], 99), Ok(Hits(vec![true])));
    }

    #[test]
    fn examples_are_drawn_as_often_as_named() {
        let hits = Hits(vec![true, false]);
        assert_eq!((hits.total(), hits.score(&[0, 0, 1, 9])), (Some(0.5), Some(2.0 / 3.0)));
        assert_eq!((hits.score(&[]), Hits(vec![]).total()), (None, None));
    }

    #[test]
    fn bad_input_is_named() {
        for (found, words) in [
            (Hits::top_k(&[0.0; 4], 2, &[0], 1), "2 answers for 1 truths"),
            (Hits::top_k(&[0.0; 3], 2, &[0], 1), "no whole number of rows"),
            (Hits::top_k(&[0.0; 4], 2, &[0, 2], 1), "example 1 has the label 2"),
            (Hits::top_k(&[], 0, &[], 1), "at least 1"),
            (Hits::top_k(&[0.0], 1, &[0], 0), "at least 1"),
        ] {
            let message = found.unwrap_err().to_string();
            assert!(message.contains(words), "{message}");
        }
    }
}
