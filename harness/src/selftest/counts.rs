//! How often each word was said of cells whose truth is known.

use super::LEVEL;
use reports::{
    record::RunRecord,
    verdict::{ContrastRow, Evidence, Reason, Verdict, Verdicts},
};
use serde::Serialize;
use stats::clopper_pearson;

/// A share with its exact interval at [`LEVEL`]; of nothing, everything is possible.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Rate {
    /// How many.
    pub(crate) count: u64,
    /// Of so many.
    pub(crate) of: u64,
    /// Clopper–Pearson, lower end.
    pub(crate) low: f64,
    /// Upper end.
    pub(crate) high: f64,
}

impl Rate {
    fn new(count: u64, of: u64) -> Self {
        let (low, high) =
            clopper_pearson(count, of, LEVEL).map_or((0.0, 1.0), |e| (e.interval.low, e.interval.high));
        Self { count, of, low, high }
    }
}

/// All cells of one kind.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Counts {
    /// By how much the second case was slowed down.
    pub(crate) slowdown_permille: u16,
    /// Cells of the plan.
    pub(crate) cells: u64,
    /// Those without an answer, because something broke or nothing was measured.
    pub(crate) invalid: u64,
    /// Called worse by the rule, of those with an answer, whatever fresh units said then.
    pub(crate) worse: Rate,
    /// How many of these were found worse again in fresh processes.
    pub(crate) confirmed: u64,
    /// Called better.
    pub(crate) better: Rate,
    /// Called equivalent.
    pub(crate) equivalent: u64,
    /// Not decided.
    pub(crate) inconclusive: u64,
    /// Units of a cell, on average.
    pub(crate) mean_units: f64,
    /// Geometric mean of the ratios found, less 1.
    pub(crate) mean_change: f64,
    /// How many decision intervals contain the truth.
    pub(crate) decision_covers: Rate,
    /// How many plain intervals do.
    pub(crate) plain_covers: Rate,
}

/// The latency rows of cells that are slowed down by so much.
pub(super) fn latency_rows<'a>(
    record: &'a RunRecord,
    verdicts: &'a Verdicts,
    permille: u16,
) -> impl Iterator<Item = &'a ContrastRow> {
    let slowed = move |row: &&ContrastRow| {
        let case = record.plan.cases.get(row.cases.candidate);
        case.is_some_and(|case| case.slowdown_permille.unwrap_or(0) == permille)
    };
    verdicts.rows.iter().filter(|row| row.metric.name == "latency_ns").filter(slowed)
}

/// One line per kind, in the order of the plan.
pub(crate) fn counts(record: &RunRecord, verdicts: &Verdicts) -> Vec<Counts> {
    let mut kinds: Vec<u16> = Vec::new();
    for contrast in &record.plan.contrasts {
        let case = record.plan.cases.get(contrast.candidate);
        let permille = case.and_then(|case| case.slowdown_permille).unwrap_or(0);
        if !kinds.contains(&permille) {
            kinds.push(permille);
        }
    }
    kinds.into_iter().map(|permille| of_kind(record, verdicts, permille)).collect()
}

fn of_kind(record: &RunRecord, verdicts: &Verdicts, permille: u16) -> Counts {
    let rows: Vec<&ContrastRow> = latency_rows(record, verdicts, permille).collect();
    let said = |wanted: Verdict| rows.iter().filter(|row| row.verdict == Some(wanted)).count() as u64;
    let cells = rows.len() as u64;
    let because =
        |wanted: fn(&Reason) -> bool| rows.iter().filter(|row| row.reasons.iter().any(wanted)).count() as u64;
    let taken_back = because(|reason| matches!(reason, Reason::NotReproduced { .. }));
    let (worse, better) = (said(Verdict::Worse) + taken_back, said(Verdict::Better));
    // a cell with too few units for any call has no answer
    let unasked = because(|reason| matches!(reason, Reason::TooFewUnits { .. }));
    let (equivalent, inconclusive) =
        (said(Verdict::Equivalent), said(Verdict::Inconclusive).saturating_sub(taken_back + unasked));
    let answered = worse + better + equivalent + inconclusive;
    let evidence: Vec<_> = rows
        .iter()
        .filter_map(|row| match &row.evidence {
            Evidence::Ratio(evidence) => Some(evidence),
            _ => None,
        })
        .collect();
    let truth = 1.0 + f64::from(permille) / 1000.0;
    let decisions: Vec<_> = evidence.iter().filter_map(|e| e.decision).collect();
    let plain = evidence.iter().filter(|e| e.plain.contains(truth)).count() as u64;
    let decided = decisions.iter().filter(|interval| interval.contains(truth)).count() as u64;
    let mean = |values: Vec<f64>| stats::mean(&values).unwrap_or(0.0);
    Counts {
        slowdown_permille: permille,
        cells,
        invalid: cells - answered,
        worse: Rate::new(worse, answered),
        confirmed: because(|reason| matches!(reason, Reason::Confirmed { .. })),
        better: Rate::new(better, answered),
        equivalent,
        inconclusive,
        mean_units: mean(evidence.iter().map(|e| e.pairs.len() as f64).collect()),
        mean_change: mean(evidence.iter().map(|e| e.ratio.ln()).collect()).exp_m1(),
        decision_covers: Rate::new(decided, decisions.len() as u64),
        plain_covers: Rate::new(plain, evidence.len() as u64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_of_nothing_says_nothing() {
        assert_eq!(Rate::new(0, 0), Rate { count: 0, of: 0, low: 0.0, high: 1.0 });
        let none = Rate::new(0, 200);
        assert!(none.low == 0.0 && (0.018..0.019).contains(&none.high), "{none:?}");
    }
}
