//! Why a score could not be computed. The text names the score, the example and the reason.

/// Answers and truths that do not fit each other, or truths that are none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScoreError {
    /// Not one answer for each truth.
    #[error("{score}: there are {answers} answers for {truths} truths: give one for each example")]
    Unpaired {
        /// The score.
        score: &'static str,
        /// Number of answers.
        answers: usize,
        /// Number of truths.
        truths: usize,
    },
    /// Something about one example.
    #[error("{score}: example {example} {problem}")]
    Example {
        /// The score.
        score: &'static str,
        /// Position of the example, from 0.
        example: usize,
        /// What is wrong with it.
        problem: String,
    },
    /// A setting that no example can satisfy.
    #[error("{score}: {problem}")]
    Setting {
        /// The score.
        score: &'static str,
        /// What is wrong.
        problem: String,
    },
}

/// One answer for each truth.
pub(crate) fn check_pairs(score: &'static str, answers: usize, truths: usize) -> Result<(), ScoreError> {
    if answers == truths { Ok(()) } else { Err(ScoreError::Unpaired { score, answers, truths }) }
}

/// A number in every example.
pub(crate) fn check_finite(score: &'static str, what: &str, values: &[f64]) -> Result<(), ScoreError> {
    match values.iter().position(|v| !v.is_finite()) {
        Some(example) => {
            let problem = format!("has no finite {what}");
            Err(ScoreError::Example { score, example, problem })
        }
        None => Ok(()),
    }
}
