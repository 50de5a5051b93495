//! What the answers of a model are worth, task by task. Each score keeps an outcome per example, so that
//! two variants can be compared pair by pair, and so that a bootstrap can draw examples again.
//!
//! Not here: decoding a model's output into classes, boxes or text, and what a difference of two scores
//! means (`reports`). Every score is checked against a well-known implementation (`tests/scores/make.py`).
//!
//! | score | outcome of an example | as |
//! |---|---|---|
//! | [`Hits`] | label among the k greatest values | scikit-learn `top_k_accuracy_score` |
//! | [`F1`] | predicted and true class | scikit-learn `f1_score` |
//! | [`MeanIou`] | pixels shared and covered, by class | scikit-learn `jaccard_score` |
//! | [`MeanAveragePrecision`] | boxes matched at ten overlaps | pycocotools `COCOeval` |
//! | [`RocAuc`] | score and class | scikit-learn `roc_auc_score` |
//! | [`ErrorRate`] | edits and length | jiwer `wer`, `cer` |
//! | [`Spearman`] | predicted and true value | SciPy `spearmanr` |
//! | [`Psnr`] | mean squared error | the definition |

mod detection;
mod edits;
mod error;
mod f1;
mod hits;
mod iou;
mod pair;
mod psnr;
mod ranks;

pub use detection::{Bounds, Detection, Image, MAX_DETECTIONS, MeanAveragePrecision, Truth};
pub use edits::ErrorRate;
pub use error::ScoreError;
pub use f1::{Average, F1};
pub use hits::Hits;
pub use iou::MeanIou;
pub use pair::ScorePair;
pub use psnr::{MAX_DB, Psnr};
pub use ranks::{RocAuc, Spearman};

/// Largest class index plus one: counts are kept for every class.
const MAX_CLASSES: u32 = 65_536;

/// What one variant made of the examples, in their order.
pub trait Outcomes {
    /// Number of examples.
    fn len(&self) -> usize;

    /// True without any example.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The score over the examples at these positions, each as often as it is named; positions beyond the
    /// last example count for nothing. `None` where the score has no meaning for them: no example, no
    /// positive one, no words.
    fn score(&self, at: &[usize]) -> Option<f64>;

    /// The score over all examples.
    fn total(&self) -> Option<f64> {
        self.score(&(0..self.len()).collect::<Vec<_>>())
    }

    /// What this example is worth by itself; `None` for scores that only several examples have.
    fn of_example(&self, example: usize) -> Option<f64> {
        self.score(&[example])
    }

    /// About how many steps one call of [`Self::score`] over all examples takes.
    fn work(&self) -> usize {
        self.len()
    }
}

/// The entries of `all` at these positions.
fn chosen<'a, T>(all: &'a [T], at: &'a [usize]) -> impl Iterator<Item = &'a T> {
    at.iter().filter_map(|i| all.get(*i))
}
