//! Rows for what a variant is worth: its score on labelled examples, and how far its outputs are from the
//! reference's. Paired by example; both sides saw the same bytes.

use super::guard::{self, failure};
use super::reason::{Reason, Side};
use super::score::{self, NoEvidence};
use super::{
    ACCURACY_ALPHA, ContrastRow, ContrastView, Evidence, LEAST_EXAMPLES, MARGIN_ALPHA, SHOWN_LEVEL, Verdict,
};
use crate::accuracy::{Differences, Outputs, accuracy_trial, differences, outputs};
use crate::record::{CaseIndex, Purpose, RunRecord};
use protocol::{Metric, metric};
use stats::{clopper_pearson, wilson};

/// Outputs of a case and what they answer.
pub(super) struct Answers<'a> {
    pub(super) outputs: Outputs<'a>,
    /// Class per example, see [`Outputs::predictions`].
    pub(super) predictions: Vec<Option<u32>>,
}

impl<'a> Answers<'a> {
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
pub(super) struct Sides<'a> {
    pub(super) candidate: &'a Answers<'a>,
    pub(super) reference: &'a Answers<'a>,
    differences: Differences,
    notes: Vec<Reason>,
}

pub(super) fn rows(view: &ContrastView<'_>, answers: &[Result<Answers<'_>, String>]) -> Vec<ContrastRow> {
    let score = Some(view.task().metric()).filter(|m| m.name != "agreement_top1");
    let others = ["agreement_top1", "max_abs_error", "cosine", "sqnr_db"];
    let metrics = score.into_iter().chain(others.into_iter().filter_map(metric));
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

/// With labels, the score is judged and the rest is shown; without, agreement is all there is to judge.
fn is_judged(view: &ContrastView<'_>, metric: &Metric) -> bool {
    metric.name == view.task().metric().name
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
        "agreement_top1" => agreement_row(view, metric, sides),
        "max_abs_error" => shown(sides.differences.max_abs_error),
        "cosine" => shown(sides.differences.cosine),
        "sqnr_db" => shown(sides.differences.sqnr_db),
        _ => score_row(view, metric, sides),
    }
}

fn score_row(view: &ContrastView<'_>, metric: &'static Metric, sides: &Sides<'_>) -> ContrastRow {
    let invalid = |how: String| {
        let reasons = vec![Reason::OutputsDiffer { how }];
        ContrastRow { verdict: Some(Verdict::Invalid), reasons, ..view.row(metric) }
    };
    let ((candidate, reference), found) = match score::evidence(view, sides) {
        Ok(found) => found,
        Err(how) => return invalid(how),
    };
    let with = |verdict, reason: Option<Reason>| ContrastRow {
        candidate: Some(candidate),
        reference: Some(reference),
        verdict: Some(verdict),
        reasons: reason.into_iter().chain(sides.notes.iter().cloned()).collect(),
        ..view.row(metric)
    };
    match found {
        Ok(evidence) => {
            let (verdict, reason) = score::judge(&evidence, metric, sides.differences.identical);
            let p_value = Some(evidence.p.two_sided);
            ContrastRow { p_value, evidence: Evidence::Score(Box::new(evidence)), ..with(verdict, reason) }
        }
        Err(_) if sides.differences.identical => with(Verdict::Equivalent, None),
        Err(NoEvidence::TooFew(found)) => {
            let reason = Reason::TooFewExamples { found, needed: LEAST_EXAMPLES };
            with(Verdict::Inconclusive, Some(reason))
        }
        Err(NoEvidence::Invalid(how)) => invalid(how),
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
    let random = view.record.plan.dataset.is_random() && !sides.differences.identical;
    let verdict = is_judged(view, metric).then(|| {
        let margin = view.record.plan.suite.accuracy_margin;
        let bound = |alpha: f64| clopper_pearson(n - agreed, n, 1.0 - 2.0 * alpha).map(|e| e.interval);
        match (bound(ACCURACY_ALPHA), bound(MARGIN_ALPHA)) {
            _ if sides.differences.identical => Verdict::Equivalent,
            _ if random => Verdict::Inconclusive,
            (Ok(worse), _) if worse.low > margin => Verdict::Worse,
            (_, Ok(equal)) if equal.high < margin => Verdict::Equivalent,
            _ => Verdict::Inconclusive,
        }
    });
    let mut reasons = row.reasons.clone();
    if random && verdict.is_some() {
        reasons.push(Reason::RandomInput);
    }
    ContrastRow { candidate: Some(shown.point), verdict, evidence: Evidence::Share(shown), reasons, ..row }
}
