//! Every metric the product reports: name, unit and direction in one list. Nothing is guessed from a
//! name.

use serde::{Deserialize, Serialize};

/// What a value is counted in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unit {
    /// Nanoseconds.
    Ns,
    /// Bytes.
    Bytes,
    /// A share between 0 and 1.
    Fraction,
    /// Between −1 and 1, or a chance: not counted in points.
    Coefficient,
    /// Decibel.
    Db,
    /// Same unit as the model's output.
    Output,
}

/// Which way is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Direction {
    /// Lower is better.
    Lower,
    /// Higher is better.
    Higher,
}

/// A quantity that is measured and compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metric {
    /// Column and JSON name; the unit is its last part where it has one.
    pub name: &'static str,
    /// What it is counted in.
    pub unit: Unit,
    /// Which way is better.
    pub better: Direction,
    /// One line for people.
    pub title: &'static str,
    /// A word or two, for the head of a column.
    pub short: &'static str,
}

const fn entry(
    name: &'static str,
    unit: Unit,
    better: Direction,
    short: &'static str,
    title: &'static str,
) -> Metric {
    Metric { name, unit, better, title, short }
}

/// The list. A new metric is a line here, and one place in the agent or in the scores.
pub const METRICS: &[Metric] = &[
    entry("latency_ns", Unit::Ns, Direction::Lower, "latency", "latency, steady state"),
    entry("first_inference_ns", Unit::Ns, Direction::Lower, "first inference", "first inference"),
    entry("load_ns", Unit::Ns, Direction::Lower, "load", "load"),
    entry("compile_ns", Unit::Ns, Direction::Lower, "compile", "compile"),
    entry("init_ns", Unit::Ns, Direction::Lower, "init", "load and compile"),
    entry("memory_peak_bytes", Unit::Bytes, Direction::Lower, "memory", "peak memory"),
    entry("model_bytes", Unit::Bytes, Direction::Lower, "size", "model size"),
    entry(
        "delegated_share",
        Unit::Fraction,
        Direction::Higher,
        "delegation",
        "share of nodes on the backend asked for",
    ),
    entry("accuracy_top1", Unit::Fraction, Direction::Higher, "accuracy", "top-1 accuracy"),
    entry("accuracy_topk", Unit::Fraction, Direction::Higher, "accuracy", "top-k accuracy"),
    entry("f1", Unit::Fraction, Direction::Higher, "F1", "F1"),
    entry("roc_auc", Unit::Coefficient, Direction::Higher, "ROC AUC", "area under the ROC curve"),
    entry("mean_iou", Unit::Fraction, Direction::Higher, "mIoU", "mean intersection over union"),
    entry(
        "mean_ap",
        Unit::Fraction,
        Direction::Higher,
        "mAP",
        "mean average precision, overlap 0.50 to 0.95",
    ),
    entry("wer", Unit::Fraction, Direction::Lower, "WER", "word error rate"),
    entry("cer", Unit::Fraction, Direction::Lower, "CER", "character error rate"),
    entry("spearman", Unit::Coefficient, Direction::Higher, "Spearman", "Spearman’s rank correlation"),
    entry("psnr_db", Unit::Db, Direction::Higher, "PSNR", "peak signal-to-noise ratio"),
    entry(
        "agreement_top1",
        Unit::Fraction,
        Direction::Higher,
        "agreement",
        "top-1 agreement with the reference",
    ),
    entry(
        "max_abs_error",
        Unit::Output,
        Direction::Lower,
        "max abs",
        "largest absolute difference from the reference",
    ),
    entry("cosine", Unit::Fraction, Direction::Higher, "cosine", "cosine with the reference"),
    entry(
        "sqnr_db",
        Unit::Db,
        Direction::Higher,
        "SQNR",
        "signal to quantisation noise against the reference",
    ),
];

/// The metric of that name.
pub fn metric(name: &str) -> Option<&'static Metric> {
    METRICS.iter().find(|m| m.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_end_in_their_unit() {
        for (i, m) in METRICS.iter().enumerate() {
            assert!(METRICS[..i].iter().all(|o| o.name != m.name), "{} twice", m.name);
            let suffix = match m.unit {
                Unit::Ns => "_ns",
                Unit::Bytes => "_bytes",
                Unit::Db => "_db",
                Unit::Fraction | Unit::Coefficient | Unit::Output => "",
            };
            assert!(m.name.ends_with(suffix), "{}", m.name);
        }
        assert_eq!(metric("latency_ns").map(|m| m.better), Some(Direction::Lower));
        assert!(metric("nonsense").is_none());
    }
}
