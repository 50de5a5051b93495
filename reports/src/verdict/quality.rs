//! Rows for what a variant is worth: accuracy on labelled examples, and how far its outputs are from the
//! reference's. Paired by example; both sides saw the same bytes.

use super::guard::{self, failure};
use super::reason::{Reason, Side};
use super::{
    ACCURACY_ALPHA, AccuracyEvidence, ContrastRow, ContrastView, Evidence, LEAST_EFFECT_SHARE, MARGIN_ALPHA,
    SHOWN_LEVEL, Verdict,
};
use crate::accuracy::{Differences, Flip, Outputs, accuracy_trial, correct, differences, flips, outputs};
use crate::record::{CaseIndex, Purpose, RunRecord, Task};
use protocol::{Direction, Metric, metric};
use stats::sequential::DETECTION_POWER;
use stats::{
    PairedTable, StatsError, clopper_pearson, mcnemar_exact, mcnemar_mid_p, smallest_visible_drop,
    tango_interval, tango_non_inferiority, wilson,
};

/// Outputs of a case and what they answer.
pub(super) struct Answers<'a> {
    outputs: Outputs<'a>,
    /// Class per example, see [`Outputs::predictions`].
    pub(super) predictions: Vec<Option<u32>>,
}

impl<'a> Answers<'a> {
    /// Elements of the first output.
    fn classes(&self) -> u64 {
        self.outputs.classes()
    }

    /// From the trial that stands for the case; why not, in words.
    pub(super) fn of(record: &'a RunRecord, case: CaseIndex) -> Result<Self, String> {
        if let Some(outputs) = outputs(record, case) {
            return Ok(Self { outputs, predictions: outputs.predictions() });
        }
        if accuracy_trial(record, case).is_some() {
            return Err("the file of outputs is missing, damaged or empty".to_owned());
        }
        let units = record.units.iter().filter(|unit| unit.purpose == Purpose::Accuracy);
        let mut trials = units.flat_map(|unit| &unit.trials).filter(|trial| trial.case == case);
        let failed = trials.find_map(|trial| failure(&trial.outcome));
        Err(failed.unwrap_or_else(|| "no accuracy trial was run".to_owned()))
    }
}

/// Both sides' outputs, differences and what to know about them.
struct Sides<'a> {
    candidate: &'a Answers<'a>,
    reference: &'a Answers<'a>,
    differences: Differences,
    notes: Vec<Reason>,
}

pub(super) fn rows(view: &ContrastView<'_>, answers: &[Result<Answers<'_>, String>]) -> Vec<ContrastRow> {
    let labelled = view.task() == Task::Classification;
    let names: &[&str] = match labelled {
        true => &["accuracy_top1", "agreement_top1", "max_abs_error", "cosine", "sqnr_db"],
        false => &["agreement_top1", "max_abs_error", "cosine", "sqnr_db"],
    };
    let metrics = names.iter().filter_map(|name| metric(name));
    match sides(view, answers) {
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
    answers: &'a [Result<Answers<'a>, String>],
) -> Result<Sides<'a>, Vec<Reason>> {
    let found = guard::common(view, Purpose::Accuracy);
    let mut broken = found.broken;
    let mut side = |side: Side| match answers.get(view.side(side)) {
        Some(Ok(answers)) => Some(answers),
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
    let differences = differences(candidate.outputs, reference.outputs)
        .map_err(|error| vec![Reason::OutputsDiffer { how: error.to_string() }])?;
    let mut notes = Vec::new();
    if differences.identical {
        notes.push(Reason::Identical);
    }
    let not_finite = differences.nan + differences.infinite;
    for (side, values) in [(Side::Candidate, not_finite), (Side::Reference, differences.reference_not_finite)]
    {
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
        "max_abs_error" => shown(sides.differences.max_abs_error),
        "cosine" => shown(sides.differences.cosine),
        _ => shown(sides.differences.sqnr_db),
    }
}

fn accuracy_row(view: &ContrastView<'_>, metric: &'static Metric, sides: &Sides<'_>) -> ContrastRow {
    let labels = &view.record.plan.dataset.labels;
    let invalid = |how: String| {
        let reasons = vec![Reason::OutputsDiffer { how }];
        ContrastRow { verdict: Some(Verdict::Invalid), reasons, ..view.row(metric) }
    };
    let classes = sides.candidate.classes().min(sides.reference.classes());
    if let Some(label) = labels.iter().find(|label| u64::from(**label) >= classes) {
        return invalid(format!("a label is {label}, and the models tell {classes} classes apart, from 0"));
    }
    let right = |answers: &Answers<'_>| correct(&answers.predictions, labels);
    let (Some(candidate), Some(reference)) = (right(sides.candidate), right(sides.reference)) else {
        return invalid(format!("{} labels for {} examples", labels.len(), sides.differences.examples));
    };
    let flips = flips(&sides.candidate.predictions, &sides.reference.predictions, labels);
    let margin = view.record.plan.suite.accuracy_margin;
    let found = PairedTable::count(&candidate, &reference).and_then(|table| evidence(table, margin, flips));
    let evidence = match found {
        Ok(evidence) => evidence,
        Err(error) => return invalid(error.to_string()),
    };
    let (verdict, reason) = judge(&evidence, metric.better, sides.differences.identical);
    let share = |right: u64| Some(right as f64 / evidence.table.n() as f64);
    ContrastRow {
        candidate: share(evidence.table.both + evidence.table.gained),
        reference: share(evidence.table.both + evidence.table.lost),
        verdict: Some(verdict),
        reasons: reason.into_iter().chain(sides.notes.iter().cloned()).collect(),
        p_value: Some(evidence.mid_p.two_sided),
        evidence: Evidence::Accuracy(Box::new(evidence)),
        ..view.row(metric)
    }
}

fn evidence(table: PairedTable, margin: f64, flips: Vec<Flip>) -> Result<AccuracyEvidence, StatsError> {
    let non_inferiority_p = tango_non_inferiority(&table, margin)?;
    // one flip where none was seen: no difference is not proof that there can be none
    let discordant = table.discordant().max(1) as f64 / table.n() as f64;
    Ok(AccuracyEvidence {
        difference: tango_interval(&table, 1.0 - 2.0 * ACCURACY_ALPHA)?,
        equivalence: tango_interval(&table, 1.0 - 2.0 * MARGIN_ALPHA)?.interval,
        mid_p: mcnemar_mid_p(&table)?,
        exact: mcnemar_exact(&table)?,
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
    let pairs = sides.candidate.predictions.iter().zip(&sides.reference.predictions);
    let agreed = pairs.filter(|(a, b)| a.is_some() && a == b).count() as u64;
    let n = sides.differences.examples as u64;
    let row = ContrastRow { reasons: sides.notes.clone(), ..view.row(metric) };
    let (Some(_), Ok(shown)) = (sides.differences.agreement_top1, wilson(agreed, n, SHOWN_LEVEL)) else {
        return ContrastRow { reasons: vec![Reason::NotMeasured], ..row };
    };
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
