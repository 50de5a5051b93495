//! Rows for what a variant is worth: accuracy on labelled examples, and how far its outputs are from the
//! reference's. Paired by example; both sides saw the same bytes.

use super::guard;
use super::outputs::{CaseOutputs, Differences};
use super::reason::{Reason, Side};
use super::{
    ACCURACY_ALPHA, AccuracyEvidence, ContrastRow, ContrastView, Evidence, LEAST_EFFECT_SHARE, MARGIN_ALPHA,
    SHOWN_LEVEL, Verdict,
};
use crate::record::{Purpose, Task};
use protocol::{Direction, Metric, metric};
use stats::sequential::DETECTION_POWER;
use stats::{
    PairedTable, StatsError, clopper_pearson, mcnemar_exact, mcnemar_mid_p, smallest_visible_drop,
    tango_interval, tango_non_inferiority, wilson,
};

/// Which way an example went over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FlipKind {
    /// Right by the reference, wrong by the candidate.
    Lost,
    /// Wrong by the reference, right by the candidate.
    Gained,
}

/// An example that one side has right and the other wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flip {
    /// Index of the example in the dataset.
    pub example: usize,
    /// Which way.
    pub kind: FlipKind,
    /// The right class.
    pub label: u32,
    /// Answer of the candidate; `None` if its outputs hold a NaN.
    pub candidate: Option<u32>,
    /// Answer of the reference; `None` if its outputs hold a NaN.
    pub reference: Option<u32>,
}

/// Both sides' outputs, differences and what to know about them.
struct Sides<'a> {
    candidate: &'a CaseOutputs<'a>,
    reference: &'a CaseOutputs<'a>,
    differences: Differences,
    notes: Vec<Reason>,
}

pub(super) fn rows(view: &ContrastView<'_>, outputs: &[Result<CaseOutputs<'_>, String>]) -> Vec<ContrastRow> {
    let labelled = view.task() == Task::Classification;
    let names: &[&str] = match labelled {
        true => &["accuracy_top1", "agreement_top1", "max_abs_error", "cosine", "sqnr_db"],
        false => &["agreement_top1", "max_abs_error", "cosine", "sqnr_db"],
    };
    let metrics = names.iter().filter_map(|name| metric(name));
    match sides(view, outputs) {
        Ok(sides) => metrics.map(|m| row(view, m, &sides)).collect(),
        Err(reasons) => {
            let verdict = |m: &Metric| is_judged(view, m).then_some(Verdict::Invalid);
            metrics
                .map(|m| ContrastRow { verdict: verdict(m), reasons: reasons.clone(), ..view.row(m) })
                .collect()
        }
    }
}

/// With labels, accuracy is judged and the rest is shown; without, agreement is all there is to judge.
fn is_judged(view: &ContrastView<'_>, metric: &Metric) -> bool {
    match view.task() {
        Task::Classification => metric.name == "accuracy_top1",
        Task::Agreement => metric.name == "agreement_top1",
    }
}

fn sides<'a>(
    view: &ContrastView<'_>,
    outputs: &'a [Result<CaseOutputs<'a>, String>],
) -> Result<Sides<'a>, Vec<Reason>> {
    let found = guard::common(view, Purpose::Accuracy);
    let mut broken = found.broken;
    let mut side = |side: Side| match outputs.get(view.side(side)) {
        Some(Ok(outputs)) => Some(outputs),
        Some(Err(why)) => {
            broken.push(Reason::NoOutputs { side, why: why.clone() });
            None
        }
        None => {
            broken.push(Reason::NoOutputs { side, why: "the plan has no such case".to_owned() });
            None
        }
    };
    let (Some(candidate), Some(reference)) = (side(Side::Candidate), side(Side::Reference)) else {
        return Err(broken);
    };
    if !broken.is_empty() {
        return Err(broken);
    }
    let differences = candidate.differences(reference).map_err(|how| vec![Reason::OutputsDiffer { how }])?;
    let mut notes = Vec::new();
    if differences.identical {
        notes.push(Reason::Identical);
    }
    for (side, outputs) in [(Side::Candidate, candidate), (Side::Reference, reference)] {
        let values = outputs.not_finite();
        if values > 0 {
            notes.push(Reason::NotFinite { side, values });
        }
    }
    notes.extend(found.notes);
    Ok(Sides { candidate, reference, differences, notes })
}

fn row(view: &ContrastView<'_>, metric: &'static Metric, sides: &Sides<'_>) -> ContrastRow {
    let shown = |candidate: Option<f64>| ContrastRow {
        candidate,
        reasons: sides.notes.clone(),
        evidence: Evidence::Exact,
        ..view.row(metric)
    };
    match metric.name {
        "accuracy_top1" => accuracy_row(view, metric, sides),
        "agreement_top1" => agreement_row(view, metric, sides),
        "max_abs_error" => shown(sides.differences.max_abs),
        "cosine" => shown(sides.differences.cosine),
        _ => shown(sides.differences.sqnr_db),
    }
}

fn accuracy_row(view: &ContrastView<'_>, metric: &'static Metric, sides: &Sides<'_>) -> ContrastRow {
    let labels = &view.record.plan.dataset.labels;
    if labels.len() != sides.candidate.examples() || labels.is_empty() {
        let how = format!("{} labels for {} examples", labels.len(), sides.candidate.examples());
        let reasons = vec![Reason::OutputsDiffer { how }];
        return ContrastRow { verdict: Some(Verdict::Invalid), reasons, ..view.row(metric) };
    }
    let flips = flips(sides, labels);
    let table = table(sides, labels, &flips);
    let n = table.n() as f64;
    let row = ContrastRow {
        candidate: Some((table.both + table.gained) as f64 / n),
        reference: Some((table.both + table.lost) as f64 / n),
        reasons: sides.notes.clone(),
        ..view.row(metric)
    };
    match evidence(table, view.record.plan.suite.accuracy_margin, flips) {
        Ok(evidence) => {
            let (verdict, reason) = judge(&evidence, metric.better, sides.differences.identical);
            let mut reasons: Vec<Reason> = reason.into_iter().collect();
            reasons.extend(row.reasons.clone());
            let p_value = Some(evidence.mid_p.two_sided);
            let evidence = Evidence::Accuracy(Box::new(evidence));
            ContrastRow { verdict: Some(verdict), reasons, p_value, evidence, ..row }
        }
        Err(error) => {
            let reasons = vec![Reason::OutputsDiffer { how: error.to_string() }];
            ContrastRow { verdict: Some(Verdict::Invalid), reasons, ..row }
        }
    }
}

fn flips(sides: &Sides<'_>, labels: &[u32]) -> Vec<Flip> {
    let answers = sides.candidate.top1.iter().zip(&sides.reference.top1);
    let examples = labels.iter().zip(answers).enumerate();
    examples
        .filter_map(|(example, (&label, (&candidate, &reference)))| {
            let kind = match (candidate == Some(label), reference == Some(label)) {
                (false, true) => FlipKind::Lost,
                (true, false) => FlipKind::Gained,
                _ => return None,
            };
            Some(Flip { example, kind, label, candidate, reference })
        })
        .collect()
}

fn table(sides: &Sides<'_>, labels: &[u32], flips: &[Flip]) -> PairedTable {
    let right = sides.candidate.top1.iter().zip(labels).filter(|(a, label)| **a == Some(**label)).count();
    let lost = flips.iter().filter(|f| f.kind == FlipKind::Lost).count() as u64;
    let gained = flips.len() as u64 - lost;
    let both = right as u64 - gained;
    PairedTable { both, lost, gained, neither: labels.len() as u64 - both - lost - gained }
}

fn evidence(table: PairedTable, margin: f64, flips: Vec<Flip>) -> Result<AccuracyEvidence, StatsError> {
    let non_inferiority_p = tango_non_inferiority(&table, margin)?;
    // one flip where none was seen: no difference is not proof that there can be none
    let discordant = table.discordant().max(1) as f64 / table.n() as f64;
    Ok(AccuracyEvidence {
        difference: tango_interval(&table, 1.0 - 2.0 * ACCURACY_ALPHA)?,
        equivalence: tango_interval(&table, 1.0 - 2.0 * MARGIN_ALPHA)?.interval,
        mid_p: mcnemar_mid_p(&table),
        exact: mcnemar_exact(&table),
        non_inferiority_p,
        non_inferior: non_inferiority_p < MARGIN_ALPHA,
        smallest_visible_drop: smallest_visible_drop(discordant, table.n(), MARGIN_ALPHA, DETECTION_POWER)?,
        margin,
        least_effect: margin * LEAST_EFFECT_SHARE,
        table,
        flips,
    })
}

fn judge(evidence: &AccuracyEvidence, better: Direction, identical: bool) -> (Verdict, Option<Reason>) {
    let margin = evidence.margin;
    let inside = evidence.equivalence.within(-margin, margin);
    let within_margin = inside.then_some(Reason::WithinMargin { margin });
    let difference = evidence.difference.point;
    let (up, down) = match better {
        Direction::Higher => (Verdict::Better, Verdict::Worse),
        Direction::Lower => (Verdict::Worse, Verdict::Better),
    };
    if identical {
        (Verdict::Equivalent, None)
    } else if evidence.mid_p.greater < ACCURACY_ALPHA && difference >= evidence.least_effect {
        (up, within_margin)
    } else if evidence.mid_p.less < ACCURACY_ALPHA && difference <= -evidence.least_effect {
        (down, within_margin)
    } else if inside {
        (Verdict::Equivalent, None)
    } else {
        let (examples, visible) = (evidence.table.n(), evidence.smallest_visible_drop);
        (Verdict::Inconclusive, Some(Reason::UndecidedExamples { examples, visible }))
    }
}

/// The share of examples with the same answer. Judged only without labels: equivalent when disagreement is
/// below the margin, worse when it is above, each beyond chance.
fn agreement_row(view: &ContrastView<'_>, metric: &'static Metric, sides: &Sides<'_>) -> ContrastRow {
    let n = sides.candidate.examples() as u64;
    let answers = sides.candidate.top1.iter().zip(&sides.reference.top1);
    let agreed = answers.filter(|(a, b)| a.is_some() && a == b).count() as u64;
    let row = ContrastRow { reasons: sides.notes.clone(), ..view.row(metric) };
    let Ok(shown) = wilson(agreed, n, SHOWN_LEVEL) else { return row };
    if !sides.candidate.has_classes() {
        return ContrastRow { reasons: vec![Reason::NotMeasured], ..row };
    }
    let verdict = is_judged(view, metric).then(|| {
        let margin = view.record.plan.suite.accuracy_margin;
        let bound = |alpha: f64| clopper_pearson(n - agreed, n, 1.0 - 2.0 * alpha).map(|e| e.interval);
        match (bound(ACCURACY_ALPHA), bound(MARGIN_ALPHA)) {
            _ if sides.differences.identical => Verdict::Equivalent,
            (Ok(worse), _) if worse.low > margin => Verdict::Worse,
            (_, Ok(equal)) if equal.high < margin => Verdict::Equivalent,
            _ => Verdict::Inconclusive,
        }
    });
    ContrastRow { candidate: Some(shown.point), verdict, evidence: Evidence::Share(shown), ..row }
}
