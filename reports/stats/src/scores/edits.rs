//! Word and character error rate: the fewest insertions, deletions and substitutions that turn the truth into
//! the answer, over the length of the truth, summed over all examples.

use super::error::check_pairs;
use super::{Outcomes, ScoreError, chosen};

const SCORE: &str = "error rate";

/// Longest answer or truth in words or characters: the cost is the product of the two lengths.
const MAX_LENGTH: usize = 20_000;

/// Edits and length of the truth, example by example. The score may exceed 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorRate {
    examples: Vec<(usize, usize)>,
}

impl ErrorRate {
    /// Of words, separated by any white space. Case and punctuation count: bring both sides into one form
    /// before.
    pub fn words<S: AsRef<str>>(answers: &[S], truths: &[S]) -> Result<Self, ScoreError> {
        Self::of(answers, truths, |text| text.split_whitespace().collect::<Vec<_>>())
    }

    /// Of characters (Unicode scalar values), without white space at the ends.
    pub fn characters<S: AsRef<str>>(answers: &[S], truths: &[S]) -> Result<Self, ScoreError> {
        Self::of(answers, truths, |text| text.trim().chars().collect::<Vec<_>>())
    }

    fn of<'a, S: AsRef<str>, T: PartialEq>(
        answers: &'a [S],
        truths: &'a [S],
        parts: impl Fn(&'a str) -> Vec<T>,
    ) -> Result<Self, ScoreError> {
        check_pairs(SCORE, answers.len(), truths.len())?;
        let mut examples = Vec::with_capacity(truths.len());
        for (example, (answer, truth)) in answers.iter().zip(truths).enumerate() {
            let (answer, truth) = (parts(answer.as_ref()), parts(truth.as_ref()));
            let longest = answer.len().max(truth.len());
            if longest > MAX_LENGTH {
                let problem = format!("has {longest} parts, more than the limit of {MAX_LENGTH}");
                return Err(ScoreError::Example { score: SCORE, example, problem });
            }
            examples.push((edits(&answer, &truth), truth.len()));
        }
        Ok(Self { examples })
    }

    /// Edits of one example, and the length of its truth.
    pub fn counts(&self, example: usize) -> Option<(usize, usize)> {
        self.examples.get(example).copied()
    }
}

impl Outcomes for ErrorRate {
    fn len(&self) -> usize {
        self.examples.len()
    }

    fn score(&self, at: &[usize]) -> Option<f64> {
        let sum = |(edits, length): (u64, u64), example: &(usize, usize)| {
            (edits + example.0 as u64, length + example.1 as u64)
        };
        let (edits, length) = chosen(&self.examples, at).fold((0, 0), sum);
        (length > 0).then(|| edits as f64 / length as f64)
    }
}

/// The fewest insertions, deletions and substitutions that turn one list into the other.
fn edits<T: PartialEq>(from: &[T], to: &[T]) -> usize {
    // edits between what was read of `from` and each beginning of `to`
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (i, left) in from.iter().enumerate() {
        let mut corner = i;
        row[0] = i + 1;
        for (j, right) in to.iter().enumerate() {
            let replaced = corner + usize::from(left != right);
            corner = row[j + 1];
            row[j + 1] = replaced.min(corner + 1).min(row[j] + 1);
        }
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_hand() {
        let rate =
            ErrorRate::words(&["the  cat sat", "on a mat now", ""], &["the cat sat", "on the mat", "x"])
                .unwrap();
        assert_eq!(
            (rate.counts(0), rate.counts(1), rate.counts(2)),
            (Some((0, 3)), Some((2, 3)), Some((1, 1)))
        );
        assert_eq!((rate.total(), rate.score(&[0, 0]), rate.score(&[])), (Some(3.0 / 7.0), Some(0.0), None));
        assert_eq!(ErrorRate::characters(&[" héllo"], &["hello "]).unwrap().total(), Some(0.2));
        assert_eq!(ErrorRate::words(&["a"], &[""]).unwrap().total(), None);
    }

    #[test]
    fn bad_input_is_named() {
        assert!(matches!(ErrorRate::words(&["a"], &[]), Err(ScoreError::Unpaired { .. })));
        let long = "a ".repeat(MAX_LENGTH + 1);
        assert!(ErrorRate::words(&[long.as_str()], &["a"]).unwrap_err().to_string().contains("limit"));
    }
}
