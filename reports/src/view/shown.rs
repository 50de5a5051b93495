//! One row as the few words that fit a cell of a table.

use super::ContrastView;
use crate::text;
use crate::verdict::{ContrastRow, Evidence, RatioEvidence, Verdict};
use protocol::{Outcome, Unit};
use stats::Interval;

/// What a cell says.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Shown {
    pub(crate) verdict: Option<Verdict>,
    /// The change or difference.
    pub(crate) change: String,
    /// Its plain interval; empty where it is exact.
    pub(crate) interval: String,
}

impl Shown {
    /// Nothing was computed.
    fn none(verdict: Option<Verdict>) -> Self {
        Self { verdict, change: text::NONE.to_owned(), interval: String::new() }
    }

    /// What one row says.
    pub(crate) fn of(row: &ContrastRow) -> Self {
        let verdict = row.verdict;
        match &row.evidence {
            Evidence::Ratio(e) => {
                let interval = text::change_interval(e.plain.low, e.plain.high);
                Self { verdict, change: text::change(e.ratio), interval }
            }
            Evidence::Score(e) => {
                let (Interval { low, high, .. }, unit) = (e.difference.interval, row.metric.unit);
                let interval = text::difference_interval(low, high, unit);
                Self { verdict, change: text::difference(e.difference.point, unit), interval }
            }
            Evidence::Share(e) => {
                let interval = text::percent_interval(e.interval.low, e.interval.high);
                Self { verdict, change: text::percent(e.point, 1), interval }
            }
            Evidence::Exact => match (ratio_of(row), row.candidate) {
                (Some(ratio), _) if is_cost(row) => {
                    Self { verdict, change: text::change(ratio), interval: String::new() }
                }
                (_, Some(value)) => {
                    Self { verdict, change: text::value(value, row.metric.unit), interval: String::new() }
                }
                _ => Self::none(verdict),
            },
            Evidence::None => Self::none(verdict),
        }
    }
}

impl ContrastView<'_> {
    /// What the row of that metric says; an empty cell where there is none.
    pub(crate) fn shown(&self, metric: &str) -> Shown {
        self.row(metric).map_or_else(|| Shown::none(None), Shown::of)
    }

    /// What the row says that the task is judged by.
    pub(crate) fn shown_quality(&self) -> Shown {
        self.quality().map_or_else(|| Shown::none(None), Shown::of)
    }
}

/// Times and sizes: what is compared by a ratio.
pub(crate) fn is_cost(row: &ContrastRow) -> bool {
    matches!(row.metric.unit, Unit::Ns | Unit::Bytes)
}

/// The evidence of a cost that was measured by unit.
pub(crate) fn ratio_evidence(row: &ContrastRow) -> Option<&RatioEvidence> {
    match &row.evidence {
        Evidence::Ratio(evidence) => Some(evidence),
        _ => None,
    }
}

/// Candidate over reference, measured or exact.
pub(crate) fn ratio_of(row: &ContrastRow) -> Option<f64> {
    ratio_evidence(row)
        .map(|e| e.ratio)
        .or_else(|| row.candidate.zip(row.reference).filter(|(_, r)| *r > 0.0).map(|(c, r)| c / r))
}

/// The word of an outcome.
pub(crate) fn outcome_word(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Ok => "ok",
        Outcome::Failed { .. } => "failed",
        Outcome::Crashed { .. } => "crashed",
        Outcome::TimedOut => "timed-out",
        Outcome::DeviceLost => "device-lost",
        Outcome::Skipped { .. } => "skipped",
    }
}

/// How a trial ended, in words.
pub fn outcome_words(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Failed { message, .. } => format!("failed: {message}"),
        Outcome::Crashed { signal, why: None } => format!("crashed: signal {signal}"),
        Outcome::Crashed { signal, why: Some(why) } => format!("crashed: signal {signal}, {why}"),
        Outcome::Skipped { reason } => format!("skipped: {reason}"),
        Outcome::TimedOut => "timed out: it outlived its deadline and was killed".to_owned(),
        Outcome::DeviceLost => "the device went away".to_owned(),
        Outcome::Ok => "ok".to_owned(),
    }
}
