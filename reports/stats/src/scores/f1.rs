//! F1: the harmonic mean of precision and recall, of one class, or over classes.

use super::error::check_pairs;
use super::{MAX_CLASSES, Outcomes, ScoreError, chosen};

const SCORE: &str = "F1";

/// Over what F1 is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Average {
    /// Of this class alone.
    Binary {
        /// The class that counts.
        positive: u32,
    },
    /// The mean over the classes that were predicted or true at least once.
    Macro,
    /// From the counts of all classes together: the accuracy, where every example is answered.
    Micro,
}

/// Predicted and true class, example by example.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct F1 {
    pairs: Vec<(Option<u32>, u32)>,
    classes: usize,
    average: Average,
}

impl F1 {
    /// `None` predicts nothing: a miss of the true class, and of no other.
    pub fn new(predicted: &[Option<u32>], truth: &[u32], average: Average) -> Result<Self, ScoreError> {
        check_pairs(SCORE, predicted.len(), truth.len())?;
        let pairs: Vec<_> = predicted.iter().copied().zip(truth.iter().copied()).collect();
        let largest = |(predicted, truth): &(Option<u32>, u32)| predicted.map_or(*truth, |p| p.max(*truth));
        if let Some(example) = pairs.iter().position(|pair| largest(pair) >= MAX_CLASSES) {
            let problem = format!("has a class beyond the limit of {MAX_CLASSES} classes");
            return Err(ScoreError::Example { score: SCORE, example, problem });
        }
        let classes = pairs.iter().map(|pair| largest(pair) as usize + 1).max().unwrap_or(0);
        Ok(Self { pairs, classes, average })
    }
}

/// Of one class: examples that are both, that are predicted, that are true.
#[derive(Clone, Copy, Default)]
struct Counts {
    both: u64,
    predicted: u64,
    truth: u64,
}

impl Counts {
    /// 0 where nothing is predicted and nothing true.
    fn f1(self) -> f64 {
        2.0 * self.both as f64 / (self.predicted + self.truth).max(1) as f64
    }
}

impl Outcomes for F1 {
    fn len(&self) -> usize {
        self.pairs.len()
    }

    fn score(&self, at: &[usize]) -> Option<f64> {
        let mut counts = vec![Counts::default(); self.classes];
        let mut n = 0;
        for (predicted, truth) in chosen(&self.pairs, at) {
            n += 1;
            let truth = *truth as usize;
            counts[truth].truth += 1;
            if let Some(predicted) = predicted.map(|p| p as usize) {
                counts[predicted].predicted += 1;
                counts[truth].both += u64::from(predicted == truth);
            }
        }
        if n == 0 {
            return None;
        }
        Some(match self.average {
            Average::Binary { positive } => counts.get(positive as usize).map_or(0.0, |c| c.f1()),
            Average::Macro => {
                let seen = counts.iter().filter(|c| c.predicted + c.truth > 0);
                let (sum, classes) = seen.fold((0.0, 0.0), |(sum, classes), c| (sum + c.f1(), classes + 1.0));
                sum / classes
            }
            Average::Micro => counts
                .iter()
                .fold(Counts::default(), |all, c| Counts {
                    both: all.both + c.both,
                    predicted: all.predicted + c.predicted,
                    truth: all.truth + c.truth,
                })
                .f1(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_hand() {
        // class 0: 1 of 2 predicted, 1 of 1 true; class 1: 1 of 1, 1 of 2; one example without an answer
        let of = |average| F1::new(&[Some(0), Some(0), Some(1), None], &[0, 1, 1, 2], average).unwrap();
        let third = 2.0 / 3.0;
        assert_eq!(of(Average::Binary { positive: 1 }).total(), Some(third));
        assert_eq!(of(Average::Macro).total(), Some((third + third + 0.0) / 3.0));
        assert_eq!(of(Average::Micro).total(), Some(4.0 / 7.0));
        assert_eq!(of(Average::Binary { positive: 77 }).total(), Some(0.0));
        assert_eq!(of(Average::Micro).score(&[]), None);
    }

    #[test]
    fn bad_input_is_named() {
        assert!(matches!(F1::new(&[None], &[], Average::Micro), Err(ScoreError::Unpaired { .. })));
        let far = F1::new(&[Some(u32::MAX)], &[0], Average::Micro).unwrap_err().to_string();
        assert!(far.contains("beyond the limit"), "{far}");
    }
}
