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
use protocol::{Direction, Metric, Unit, metric};
use stats::sequential::{self, Call, MIN_UNITS, PLAIN_NOMINAL, Rule};
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
    rows.extend(metric("delegated_share").map(|m| delegation_row(view, m, common)));
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

/// The row of peak memory alone.
pub(super) fn memory(view: &ContrastView<'_>) -> Option<ContrastRow> {
    metric("memory_peak_bytes").map(|m| per_process_row(view, m, memory_peak_bytes, &common(view)))
}

fn latency_row(view: &ContrastView<'_>, metric: &'static Metric, common: &Findings) -> ContrastRow {
    let mut findings = guard::latency(view);
    findings.broken.splice(0..0, common.broken.iter().cloned());
    findings.notes.splice(0..0, common.notes.iter().cloned());
    let cpu_time = cpu_time_counts(&view.record.plan, [view.cases.candidate, view.cases.reference]);
    let of = |purpose| LatencyPairs::of(&view.record.units, purpose, &view.cases, cpu_time);
    let row = match of(Purpose::Performance) {
        Some(found) => measured_row(view, metric, found.pairs, Some(found.location), findings),
        None => measured_row(view, metric, Vec::new(), None, findings),
    };
    confirmed(view, row, &of(Purpose::Confirmation).map_or_else(Vec::new, |found| found.pairs))
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
    let complete = |purpose| trial_pairs(&view.record.units, purpose, &view.cases);
    let pairs: Vec<UnitPair> = complete(Purpose::Performance).filter_map(pair).collect();
    if pairs.is_empty() && complete(Purpose::Performance).next().is_some() && common.broken.is_empty() {
        return ContrastRow { reasons: vec![Reason::NotMeasured], ..view.row(metric) };
    }
    let fresh: Vec<UnitPair> = complete(Purpose::Confirmation).filter_map(pair).collect();
    confirmed(view, measured_row(view, metric, pairs, None, common.clone()), &fresh)
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

/// How much of each graph ran where it was asked to, in the process with the least.
fn delegation_row(view: &ContrastView<'_>, metric: &'static Metric, common: Findings) -> ContrastRow {
    let least = |case: usize| {
        let trials = view.record.units.iter().flat_map(|unit| &unit.trials).filter(|t| t.case == case);
        let proofs = trials.filter_map(|trial| trial.loaded.as_ref()).map(|loaded| &loaded.proof);
        let shares = proofs.map(|p| f64::from(p.nodes_on_backend) / f64::from(p.nodes_total.max(1)));
        shares.min_by(f64::total_cmp)
    };
    let shares = least(view.cases.candidate).zip(least(view.cases.reference));
    match shares.filter(|_| common.broken.is_empty()) {
        Some((candidate, reference)) => exact_row(view, metric, candidate, reference, Vec::new()),
        None if common.broken.is_empty() => {
            ContrastRow { reasons: vec![Reason::NotMeasured], ..view.row(metric) }
        }
        None => ContrastRow { verdict: Some(Verdict::Invalid), reasons: common.broken, ..view.row(metric) },
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
    let mut notes = findings.notes;
    if metric.unit == Unit::Ns && is_deterministic(&pairs) {
        notes.push(Reason::Frozen { units: pairs.len() });
    }
    let invalid = !reasons.is_empty();
    if !invalid && metric.name == "memory_peak_bytes" && is_deterministic(&pairs) {
        reasons.push(Reason::Deterministic);
        reasons.extend(notes);
        return exact_row(view, metric, pairs[0].candidate, pairs[0].reference, reasons);
    }
    let Some((evidence, call, p_value)) = ratio_evidence(view, metric, pairs, location) else {
        // one unit has a ratio and no spread
        let (verdict, reason) = match invalid {
            true => (Verdict::Invalid, None),
            false => (Verdict::Inconclusive, Some(Reason::TooFewUnits { units: 1, needed: MIN_UNITS })),
        };
        reasons.extend(reason);
        reasons.extend(notes);
        return ContrastRow { verdict: Some(verdict), reasons, ..row };
    };
    let verdict = if invalid { Verdict::Invalid } else { verdict_of(call, metric.better) };
    explain(verdict, &evidence, &mut reasons);
    reasons.extend(notes);
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
        hodges_lehmann: hodges_lehmann(&log_ratios, PLAIN_NOMINAL)
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

#[cfg(test)]
mod tests {
    use super::super::Side;
    use super::super::tests::{Recipe, find};
    use super::*;

    #[test]
    fn a_clock_that_stands_still_is_told() {
        let mut record = Recipe::two(1.5, 8).record();
        for trial in record.units.iter_mut().flat_map(|unit| &mut unit.trials) {
            for burst in &mut trial.bursts {
                burst.wall_ns.fill(1000 + trial.case as u64);
                burst.cpu_ns.clear();
            }
            trial.first_inference_ns = Some(5000);
        }
        for metric in ["latency_ns", "first_inference_ns", "init_ns"] {
            let row = find(&record, metric);
            assert!(row.reasons.contains(&Reason::Frozen { units: 8 }), "{metric}: {:?}", row.reasons);
        }
    }

    #[test]
    fn a_median_that_stands_still_is_not_chosen() {
        let mut record = Recipe::two(1.0, 8).record();
        for trial in record.units.iter_mut().flat_map(|unit| &mut unit.trials) {
            for burst in &mut trial.bursts {
                burst.wall_ns.iter_mut().skip(2).for_each(|ns| *ns = 1_000_000);
                burst.cpu_ns.clear();
            }
        }
        let row = find(&record, "latency_ns");
        let Evidence::Ratio(evidence) = &row.evidence else { panic!("{row:?}") };
        assert!(evidence.sd_log > 0.0 && evidence.location != Some(Location::Median), "{evidence:?}");
    }

    #[test]
    fn delegation_is_known_exactly() {
        let with = |on_backend: u32| {
            let mut record = Recipe::two(1.0, 6).record();
            record.units[3].trials[1].loaded.as_mut().unwrap().proof.nodes_on_backend = on_backend;
            find(&record, "delegated_share")
        };
        assert_eq!((with(5).verdict, with(5).candidate), (Some(Verdict::Equivalent), Some(1.0)));
        let less = with(4);
        assert_eq!(
            (less.verdict, less.candidate, less.reference),
            (Some(Verdict::Worse), Some(0.8), Some(1.0))
        );
        assert_eq!(less.evidence, Evidence::Exact);
        let none = with(0);
        assert_eq!(none.verdict, Some(Verdict::Invalid));
        assert!(none.reasons.contains(&Reason::BackendNotProven { side: Side::Candidate }));
        let unmeasured = find(&Recipe::two(1.0, 0).record(), "delegated_share");
        assert_eq!((unmeasured.verdict, unmeasured.reasons), (None, vec![Reason::NotMeasured]));
    }
}
