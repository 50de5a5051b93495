//! Rows for what a variant costs: time, memory, size. Everything measured goes through the same
//! unit-level rule; what is known exactly is compared exactly.

use super::confirmation::confirmed;
use super::guard::{self, Findings};
use super::reason::Reason;
use super::units::{LatencyPairs, TrialPair, UnitPair, ratios, trial_pairs};
use super::{
    ContrastRow, ContrastView, DETERMINISTIC_UNITS, Evidence, LEAST_EFFECT_SHARE, RatioEvidence, Verdict,
};
use crate::record::{Plan, Purpose, TrialRecord};
use protocol::{Direction, Metric, metric};
use stats::sequential::{self, Call, MIN_UNITS, PLAIN_LEVEL, Rule};
use stats::{Location, hodges_lehmann, sign_flip};

/// Above this the sign-flip test does not confirm what the t test found, and the row says so.
const CROSS_CHECK_ALPHA: f64 = 0.05;

/// Where a cost is in a trial.
pub(super) type Value = fn(&TrialRecord) -> Option<f64>;

/// Costs read from a trial other than latency: name of the metric, and where it is.
pub(super) const PER_PROCESS: [(&str, Value); 3] = [
    ("first_inference_ns", first_inference_ns),
    ("init_ns", init_ns),
    ("memory_peak_bytes", memory_peak_bytes),
];

pub(super) fn rows(view: &ContrastView<'_>) -> Vec<ContrastRow> {
    let common = common(view);
    let mut rows = Vec::new();
    rows.extend(metric("latency_ns").map(|m| latency_row(view, m, &common)));
    for (name, value) in PER_PROCESS {
        rows.extend(metric(name).map(|m| per_process_row(view, m, value, &common)));
    }
    rows.extend(metric("model_bytes").map(|m| size_row(view, m)));
    rows
}

/// What holds for every cost.
fn common(view: &ContrastView<'_>) -> Findings {
    let mut found = guard::common(view, Purpose::Performance);
    found.broken.extend(guard::mixed_versions(view, Purpose::Performance));
    found
}

/// Margin and least effect of a cost, by name of its metric. `None` if the plan holds nonsense.
pub(super) fn rule(plan: &Plan, metric: &str) -> Option<Rule> {
    let margin = plan.suite.margin_of(metric);
    Rule::new(margin, margin * LEAST_EFFECT_SHARE).ok()
}

/// True if CPU time stands for latency: one thread, on a CPU.
pub(super) fn cpu_time_counts(plan: &Plan, cases: [usize; 2]) -> bool {
    cases.iter().all(|c| plan.cases.get(*c).is_some_and(|c| c.threads == 1 && c.runtime.backend == "cpu"))
}

pub(super) fn first_inference_ns(trial: &TrialRecord) -> Option<f64> {
    trial.first_inference_ns.map(|ns| ns as f64)
}

pub(super) fn init_ns(trial: &TrialRecord) -> Option<f64> {
    trial.loaded.as_ref().map(|l| l.load_ns as f64 + l.compile_ns as f64)
}

/// The highest peak of all phases.
pub(super) fn memory_peak_bytes(trial: &TrialRecord) -> Option<f64> {
    trial.memory.iter().filter_map(|reading| reading.peak_bytes).max().map(|bytes| bytes as f64)
}

/// The row of latency alone.
pub(super) fn latency(view: &ContrastView<'_>) -> Option<ContrastRow> {
    metric("latency_ns").map(|m| latency_row(view, m, &common(view)))
}

fn latency_row(view: &ContrastView<'_>, metric: &'static Metric, common: &Findings) -> ContrastRow {
    let mut findings = guard::latency(view);
    findings.broken.splice(0..0, common.broken.iter().cloned());
    findings.notes.splice(0..0, common.notes.iter().cloned());
    let cpu_time = cpu_time_counts(&view.record.plan, [view.cases.candidate, view.cases.reference]);
    let row = match LatencyPairs::of(&view.record.units, Purpose::Performance, &view.cases, cpu_time) {
        Some(found) => measured_row(view, metric, found.pairs, Some(found.location), findings),
        None => measured_row(view, metric, Vec::new(), None, findings),
    };
    confirmed(view, row, cpu_time)
}

fn per_process_row(
    view: &ContrastView<'_>,
    metric: &'static Metric,
    value: Value,
    common: &Findings,
) -> ContrastRow {
    let pair = |pair: TrialPair<'_>| {
        let (candidate, reference) = (value(pair.candidate)?, value(pair.reference)?);
        (candidate > 0.0 && reference > 0.0).then_some(UnitPair {
            unit: pair.unit.unit,
            candidate,
            reference,
        })
    };
    let complete = || trial_pairs(&view.record.units, Purpose::Performance, &view.cases);
    let pairs: Vec<UnitPair> = complete().filter_map(pair).collect();
    if pairs.is_empty() && complete().next().is_some() && common.broken.is_empty() {
        return ContrastRow { reasons: vec![Reason::NotMeasured], ..view.row(metric) };
    }
    measured_row(view, metric, pairs, None, common.clone())
}

pub(super) fn size_row(view: &ContrastView<'_>, metric: &'static Metric) -> ContrastRow {
    let bytes = |case: usize| view.record.plan.cases.get(case).map(|c| c.model_bytes as f64);
    match (bytes(view.cases.candidate), bytes(view.cases.reference)) {
        (Some(candidate), Some(reference)) if candidate > 0.0 && reference > 0.0 => {
            exact_row(view, metric, candidate, reference, Vec::new())
        }
        _ => ContrastRow { reasons: vec![Reason::NotMeasured], ..view.row(metric) },
    }
}

fn exact_row(
    view: &ContrastView<'_>,
    metric: &'static Metric,
    candidate: f64,
    reference: f64,
    mut reasons: Vec<Reason>,
) -> ContrastRow {
    let log_ratio = candidate.ln() - reference.ln();
    let verdict = rule(&view.record.plan, metric.name).map(|rule| {
        let verdict = verdict_of(sequential::exact(log_ratio, &rule), metric.better);
        add_within_margin(verdict, log_ratio.abs(), &rule, &mut reasons);
        verdict
    });
    let (candidate, reference) = (Some(candidate), Some(reference));
    ContrastRow { candidate, reference, verdict, reasons, evidence: Evidence::Exact, ..view.row(metric) }
}

/// A row from paired units, whatever was measured.
fn measured_row(
    view: &ContrastView<'_>,
    metric: &'static Metric,
    pairs: Vec<UnitPair>,
    location: Option<Location>,
    findings: Findings,
) -> ContrastRow {
    let geometric = |value: fn(&UnitPair) -> f64| {
        let logs: Vec<f64> = pairs.iter().take(sequential::MAX_UNITS).map(|p| value(p).ln()).collect();
        stats::mean(&logs).ok().map(f64::exp)
    };
    let row = ContrastRow {
        candidate: geometric(|p| p.candidate),
        reference: geometric(|p| p.reference),
        ..view.row(metric)
    };
    let mut reasons = findings.broken;
    if pairs.is_empty() {
        reasons.push(Reason::NoUnits);
    }
    let invalid = !reasons.is_empty();
    if !invalid && metric.name == "memory_peak_bytes" && is_deterministic(&pairs) {
        reasons.push(Reason::Deterministic);
        reasons.extend(findings.notes);
        return exact_row(view, metric, pairs[0].candidate, pairs[0].reference, reasons);
    }
    let Some((evidence, call, p_value)) = ratio_evidence(view, metric, pairs, location) else {
        // one unit has a ratio and no spread
        let (verdict, reason) = match invalid {
            true => (Verdict::Invalid, None),
            false => (Verdict::Inconclusive, Some(Reason::TooFewUnits { units: 1, needed: MIN_UNITS })),
        };
        reasons.extend(reason);
        reasons.extend(findings.notes);
        return ContrastRow { verdict: Some(verdict), reasons, ..row };
    };
    let verdict = if invalid { Verdict::Invalid } else { verdict_of(call, metric.better) };
    explain(verdict, &evidence, &mut reasons);
    reasons.extend(findings.notes);
    let p_value = p_value.filter(|_| !invalid);
    ContrastRow {
        verdict: Some(verdict),
        reasons,
        p_value,
        evidence: Evidence::Ratio(Box::new(evidence)),
        ..row
    }
}

fn is_deterministic(pairs: &[UnitPair]) -> bool {
    let same = |a: &UnitPair, b: &UnitPair| a.candidate == b.candidate && a.reference == b.reference;
    pairs.len() >= DETERMINISTIC_UNITS && pairs.windows(2).all(|w| same(&w[0], &w[1]))
}

/// The evidence, the call on it, and the p-value that stands all looks. `None` below two units.
fn ratio_evidence(
    view: &ContrastView<'_>,
    metric: &Metric,
    mut pairs: Vec<UnitPair>,
    location: Option<Location>,
) -> Option<(RatioEvidence, Call, Option<f64>)> {
    pairs.truncate(sequential::MAX_UNITS);
    let plan = &view.record.plan;
    let rule = rule(plan, metric.name)?;
    let log_ratios = ratios(&pairs)?;
    let look = sequential::look(&log_ratios, &rule).ok()?;
    let evidence = RatioEvidence {
        location,
        ratio: look.paired.mean.exp(),
        sd_log: look.paired.sd,
        decision: look.decision.map(|i| i.exp()),
        equivalence: look.equivalence.map(|i| i.exp()),
        plain: look.plain.exp(),
        hodges_lehmann: hodges_lehmann(&log_ratios, PLAIN_LEVEL)
            .ok()
            .map(|(point, interval)| (point.exp(), interval.map(|i| i.exp()))),
        sign_flip: sign_flip(&log_ratios, plan.seed).ok(),
        t_test: look.p,
        minimum_detectable_ratio: look.minimum_detectable().map(f64::exp),
        margin: rule.margin(),
        least_effect: rule.min_effect(),
        pairs,
    };
    Some((evidence, look.call, look.p_adjusted.map(|p| p.two_sided)))
}

fn verdict_of(call: Call, better: Direction) -> Verdict {
    match (call, better) {
        (Call::Undecided, _) => Verdict::Inconclusive,
        (Call::Equivalent, _) => Verdict::Equivalent,
        (Call::Lower, Direction::Lower) | (Call::Higher, Direction::Higher) => Verdict::Better,
        (Call::Lower, Direction::Higher) | (Call::Higher, Direction::Lower) => Verdict::Worse,
    }
}

/// Adds what follows from the verdict and its evidence.
fn explain(verdict: Verdict, evidence: &RatioEvidence, reasons: &mut Vec<Reason>) {
    let units = evidence.pairs.len();
    match verdict {
        Verdict::Inconclusive if units < MIN_UNITS => {
            reasons.push(Reason::TooFewUnits { units, needed: MIN_UNITS });
        }
        Verdict::Inconclusive => reasons.push(Reason::Undecided { units }),
        Verdict::Better | Verdict::Worse => {
            if let (Some(decision), Ok(rule)) =
                (evidence.decision, Rule::new(evidence.margin, evidence.least_effect))
            {
                let farthest = decision.high.ln().abs().max(decision.low.ln().abs());
                add_within_margin(verdict, farthest, &rule, reasons);
            }
            if let Some(p) = evidence.sign_flip {
                let sign_flip_p = p.greater.min(p.less);
                if sign_flip_p > CROSS_CHECK_ALPHA {
                    reasons.push(Reason::CrossCheck { sign_flip_p });
                }
            }
        }
        Verdict::Equivalent | Verdict::Invalid => {}
    }
}

fn add_within_margin(verdict: Verdict, farthest: f64, rule: &Rule, reasons: &mut Vec<Reason>) {
    if matches!(verdict, Verdict::Better | Verdict::Worse) && farthest < rule.log_margin() {
        reasons.push(Reason::WithinMargin { margin: rule.margin() });
    }
}
