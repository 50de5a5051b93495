//! The verdicts of a run as lines of text, for who shows many runs at once.

use crate::record::RunRecord;
use crate::text;
use crate::verdict::Verdicts;
use crate::view::{Shown, View};

/// One verdict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// What is judged: variant, and runtime where there are several.
    pub candidate: String,
    /// What it is held against.
    pub reference: String,
    /// Name of the metric.
    pub metric: &'static str,
    /// The word.
    pub verdict: &'static str,
    /// The effect with its interval; empty where nothing could be computed.
    pub effect: String,
    /// The first reason; empty where there is none.
    pub reason: String,
}

/// Every row that has a verdict: contrasts by kind, worst first, metrics in their usual order.
pub fn brief(record: &RunRecord, verdicts: &Verdicts) -> Vec<Line> {
    let view = View::new(record, verdicts);
    let rows =
        view.contrasts.iter().flat_map(|contrast| contrast.rows().iter().map(move |row| (contrast, row)));
    rows.filter_map(|(contrast, row)| {
        let Shown { change, interval, .. } = Shown::of(row);
        Some(Line {
            candidate: contrast.candidate.to_string(),
            reference: contrast.reference.to_string(),
            metric: row.metric.name,
            verdict: row.verdict?.word(),
            effect: match (change == text::NONE, interval.is_empty()) {
                (true, _) => String::new(),
                (false, true) => change,
                (false, false) => format!("{change} [{interval}]"),
            },
            reason: row.reasons.first().map(ToString::to_string).unwrap_or_default(),
        })
    })
    .collect()
}
