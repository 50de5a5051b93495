//! What each case of a run is worth by itself, metric by metric, with its interval, and beside the canary's model, which
//! is measured on the same device in every round. For the history, where a run is one night of many: what stands for
//! the iterations of a trial is therefore the same in every run, and is not chosen.

use super::cost::{PER_PROCESS, Value};
use super::guard::{self, Findings};
use super::units::SteadyTimes;
use super::{ContrastView, Reason, SHOWN_LEVEL, Side, Verdicts};
use crate::record::{
    CaseIndex, CasePlan, Contrast, ContrastKind, Purpose, RunRecord, TrialRecord, UnitRecord,
};
use protocol::{Metric, Outcome, Unit, metric};
use stats::{Estimate, Interval, Location, Paired};
use std::collections::BTreeSet;

/// What stands for the iterations of a trial where absolute latencies are kept: the number that everybody reads.
const ABSOLUTE: Location = Location::Median;
/// The same where latencies are divided by the canary's: neighbours only ever add time, and the lower quartile is the
/// one that they move least.
const RELATIVE: Location = Location::P25;

/// One metric of one case.
#[derive(Clone, Debug, PartialEq)]
pub struct CaseValue {
    /// Position in the plan.
    pub case: CaseIndex,
    /// Which.
    pub metric: &'static Metric,
    /// In the metric's unit; of measured costs the geometric mean over units. `None`: nothing could be measured.
    pub value: Option<f64>,
    /// Its interval at [`SHOWN_LEVEL`], where it has one.
    pub interval: Option<Interval>,
    /// Units, or processes, that it rests on; 0 for what is known without measuring.
    pub units: usize,
    /// Times over those of the canary's model in the same rounds.
    pub relative: Option<Relative>,
    /// Why it must not be used.
    pub broken: Vec<Reason>,
}

/// A time over the same time of the canary's model.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Relative {
    /// The canary's case.
    pub reference: CaseIndex,
    /// Geometric mean over rounds.
    pub ratio: f64,
    /// Its t interval at [`SHOWN_LEVEL`], of two rounds or more.
    pub interval: Option<Interval>,
    /// Rounds in which both were measured.
    pub rounds: usize,
}

/// One per case that somebody asked about and per metric that it has, in the order of the plan and of
/// [`protocol::METRICS`].
pub fn case_values(record: &RunRecord, verdicts: &Verdicts) -> Vec<CaseValue> {
    (0..record.plan.variants().len()).flat_map(|case| of_case(record, verdicts, case)).collect()
}

fn of_case(record: &RunRecord, verdicts: &Verdicts, case: CaseIndex) -> Vec<CaseValue> {
    let Some(plan) = record.plan.cases.get(case) else { return Vec::new() };
    let view = itself(record, case);
    let common = findings(&view, Purpose::Performance);
    let latency = guard::latency(&view).broken;
    let sick = sickness(verdicts, plan);
    let mut found = Vec::new();
    let costs =
        [("latency_ns", None)].into_iter().chain(PER_PROCESS.map(|(name, value)| (name, Some(value))));
    for (metric, value) in costs.filter_map(|(name, value)| Some((metric(name)?, value))) {
        let mut broken = common.clone();
        if value.is_none() {
            broken.extend(latency.iter().cloned());
        }
        broken.extend(sick.iter().filter(|_| metric.unit == Unit::Ns).cloned());
        found.extend(cost(record, case, metric, value, one_side(broken)));
    }
    let size = plan.model_bytes as f64;
    found.extend(metric("model_bytes").map(|m| exact(case, m, Some(size), Vec::new())));
    found.extend(
        metric("delegated_share").and_then(|m| Some(exact(case, m, Some(share(record, case)?), Vec::new()))),
    );
    found.extend(score(record, verdicts, &view));
    found
}

/// A contrast of a case with itself: the guards look at it.
fn itself(record: &RunRecord, case: CaseIndex) -> ContrastView<'_> {
    let cases = Contrast { kind: ContrastKind::Reference, candidate: case, reference: case };
    ContrastView { record, contrast: 0, cases }
}

fn findings(view: &ContrastView<'_>, purpose: Purpose) -> Vec<Reason> {
    let Findings { mut broken, .. } = guard::common(view, purpose);
    broken.extend(guard::mixed_versions(view, purpose));
    broken
}

/// Both sides are the same case: what is said of one is enough.
fn one_side(broken: Vec<Reason>) -> Vec<Reason> {
    let of_the_other = |reason: &Reason| {
        matches!(
            reason,
            Reason::TrialsFailed { side: Side::Reference, .. }
                | Reason::OutputsUnstable { side: Side::Reference }
                | Reason::ModelMismatch { side: Side::Reference }
                | Reason::BackendNotProven { side: Side::Reference }
        )
    };
    broken.into_iter().filter(|reason| !of_the_other(reason)).collect()
}

fn sickness(verdicts: &Verdicts, plan: &CasePlan) -> Option<Reason> {
    let of_device = verdicts.canaries.iter().filter(|canary| canary.device == plan.device);
    let found = of_device.filter_map(super::CanaryFinding::sickness).next()?;
    Some(Reason::DeviceSick { found })
}

/// A measured cost; `None` where there is nothing to say: not measured on this device, and nothing broke.
fn cost(
    record: &RunRecord,
    case: CaseIndex,
    metric: &'static Metric,
    value: Option<Value>,
    mut broken: Vec<Reason>,
) -> Option<CaseValue> {
    let logs: Vec<f64> =
        trials(record, case).filter_map(|(unit, trial)| log(unit, trial, value, ABSOLUTE)).collect();
    if logs.is_empty() && broken.is_empty() {
        // a latency is what a run is for: a case without one is missing, and says so
        if value.is_some() {
            return None;
        }
        broken.push(Reason::NotMeasured);
    }
    Some(CaseValue {
        case,
        metric,
        value: stats::mean(&logs).ok().map(f64::exp),
        interval: interval(&logs),
        units: logs.len(),
        relative: relative(record, case, value).filter(|_| metric.unit == Unit::Ns),
        broken,
    })
}

fn interval(logs: &[f64]) -> Option<Interval> {
    Some(Paired::new(logs).ok()?.interval(SHOWN_LEVEL).ok()?.exp())
}

/// Good performance trials of a case, in order.
fn trials(record: &RunRecord, case: CaseIndex) -> impl Iterator<Item = (&UnitRecord, &TrialRecord)> {
    let units = record.units.iter().filter(|unit| unit.purpose == Purpose::Performance);
    units.flat_map(move |unit| {
        let good = move |t: &&TrialRecord| t.case == case && t.outcome == Outcome::Ok;
        unit.trials.iter().filter(good).map(move |trial| (unit, trial))
    })
}

/// Logarithm of a trial's value; without a `value` of its latency at `location`.
fn log(unit: &UnitRecord, trial: &TrialRecord, value: Option<Value>, location: Location) -> Option<f64> {
    let found = match value {
        Some(value) => value(trial),
        None => {
            let times = SteadyTimes::of(trial, unit);
            location.of_sorted(&times.wall, &times.cpu)
        }
    };
    found.filter(|value| *value > 0.0).map(f64::ln)
}

/// Unit by unit over the canary's model in the unit of the same round, which is at most one unit of every group away.
fn relative(record: &RunRecord, case: CaseIndex, value: Option<Value>) -> Option<Relative> {
    let plan = record.plan.cases.get(case)?;
    let canaries = record.plan.canaries.iter().flat_map(|all| &all.of);
    let of_device = |index: CaseIndex| record.plan.cases.get(index).is_some_and(|c| c.device == plan.device);
    let canary = canaries.into_iter().find(|canary| of_device(canary.reference))?;
    let groups = record.plan.measuring.groups.iter().filter(|group| group.iter().any(|c| of_device(*c)));
    let round = u32::try_from(groups.count()).unwrap_or(u32::MAX);
    // the canary is there twice: the mean of both has less noise
    let mut references: Vec<(u32, f64)> = Vec::new();
    for unit in record.units.iter().filter(|unit| unit.purpose == Purpose::Performance) {
        let equal =
            |t: &&TrialRecord| [canary.reference, canary.same].contains(&t.case) && t.outcome == Outcome::Ok;
        let logs: Vec<f64> = (unit.trials.iter().filter(equal))
            .filter_map(|trial| log(unit, trial, value, RELATIVE))
            .collect();
        references.extend(stats::mean(&logs).ok().map(|mean| (unit.unit.0, mean)));
    }
    let (mut used, mut logs) = (BTreeSet::new(), Vec::new());
    for (unit, trial) in trials(record, case) {
        let away = |(number, _): &&(u32, f64)| number.abs_diff(unit.unit.0);
        let free = references.iter().filter(|(number, _)| !used.contains(number));
        let near = free.filter(|at| away(at) < round).min_by_key(away);
        if let (Some((number, reference)), Some(own)) = (near, log(unit, trial, value, RELATIVE)) {
            used.insert(*number);
            logs.push(own - reference);
        }
    }
    let ratio = stats::mean(&logs).ok()?.exp();
    Some(Relative { reference: canary.reference, ratio, interval: interval(&logs), rounds: logs.len() })
}

fn exact(case: CaseIndex, metric: &'static Metric, value: Option<f64>, broken: Vec<Reason>) -> CaseValue {
    CaseValue { case, metric, value, interval: None, units: 0, relative: None, broken }
}

/// Share of the nodes that ran where they were asked to, in the process with the least.
fn share(record: &RunRecord, case: CaseIndex) -> Option<f64> {
    let trials = record.units.iter().flat_map(|unit| &unit.trials).filter(|t| t.case == case);
    let proofs = trials.filter_map(|trial| trial.loaded.as_ref()).map(|loaded| &loaded.proof);
    let shares = proofs.map(|p| f64::from(p.nodes_on_backend) / f64::from(p.nodes_total.max(1)));
    shares.min_by(f64::total_cmp)
}

/// The score of the task, where there is one.
fn score(record: &RunRecord, verdicts: &Verdicts, view: &ContrastView<'_>) -> Option<CaseValue> {
    let case = view.cases.candidate;
    let summary = verdicts.cases.iter().find(|summary| summary.case == case)?;
    let Estimate { point, interval } = summary.score?;
    let metric = record.plan.suite.task.metric();
    let broken = one_side(findings(view, Purpose::Accuracy));
    let interval = Some(interval).filter(|_| point.is_finite());
    let units = usize::try_from(record.plan.dataset.examples).unwrap_or(usize::MAX);
    Some(CaseValue { interval, units, ..exact(case, metric, Some(point), broken) })
}

#[cfg(test)]
mod tests {
    use super::super::tests::Recipe;
    use super::super::verdicts;
    use super::*;
    use crate::record::{Canaries, Canary, CanaryCounts};

    /// Two variants, and a canary in a group of its own whose units follow those of the variants.
    fn record() -> RunRecord {
        let latency_ns = vec![1e6, 1.5e6, 2e6, 2e6, 2.1e6];
        let mut record = Recipe { latency_ns, memory: vec![50 << 20; 5], ..Recipe::two(1.0, 8) }.record();
        record.plan.contrasts.truncate(1);
        record.plan.measuring.groups = vec![vec![0, 1], vec![2, 3, 4]];
        record.plan.canaries = Some(Canaries {
            performance: record.plan.measuring.performance.clone(),
            of: vec![Canary { reference: 2, same: 3, slower: 4, earlier: CanaryCounts::default() }],
        });
        let whole = std::mem::take(&mut record.units);
        for (round, unit) in (0u32..).zip(whole) {
            let (mine, canary) = unit.trials.iter().cloned().partition(|trial| trial.case < 2);
            for (at, trials) in [mine, canary].into_iter().enumerate() {
                let unit_id = protocol::UnitId(2 * round + at as u32);
                record.units.push(UnitRecord { unit: unit_id, trials, ..unit.clone() });
            }
        }
        record
    }

    fn value<'a>(values: &'a [CaseValue], case: usize, name: &str) -> &'a CaseValue {
        values.iter().find(|v| v.case == case && v.metric.name == name).unwrap()
    }

    #[test]
    fn times_are_kept_absolute_and_over_the_canary() {
        let record = record();
        let values = case_values(&record, &verdicts(&record));
        assert!(values.iter().all(|v| v.case < 2), "canaries are no variants");
        let latency = value(&values, 1, "latency_ns");
        let relative = latency.relative.unwrap();
        assert_eq!((relative.reference, relative.rounds, latency.units), (2, 8, 8));
        assert!((relative.ratio / 0.75 - 1.0).abs() < 0.02, "{relative:?}");
        // what all cases of a round share has cancelled, and is in the absolute value
        let width = |i: Option<Interval>| i.unwrap().high / i.unwrap().low;
        assert!(width(relative.interval) < 1.03 && width(latency.interval) > 1.1, "{latency:?}");
        assert!(value(&values, 0, "memory_peak_bytes").relative.is_none());
        assert_eq!(value(&values, 1, "model_bytes").value, Some(2000.0));
        assert!(values.iter().all(|v| v.broken.is_empty()), "{values:?}");
    }

    #[test]
    fn a_round_without_its_canary_does_not_count() {
        let mut record = record();
        record.units.retain(|unit| unit.unit.0 % 2 == 0 || unit.unit.0 < 6);
        let values = case_values(&record, &verdicts(&record));
        assert_eq!(value(&values, 0, "latency_ns").relative.unwrap().rounds, 3);
        record.plan.canaries = None;
        assert!(value(&case_values(&record, &verdicts(&record)), 0, "latency_ns").relative.is_none());
    }

    #[test]
    fn what_failed_is_there_and_says_why() {
        let mut record = record();
        for trial in record.units.iter_mut().flat_map(|unit| &mut unit.trials).filter(|t| t.case == 1) {
            trial.outcome = Outcome::TimedOut;
            trial.bursts.clear();
        }
        let values = case_values(&record, &verdicts(&record));
        let latency = value(&values, 1, "latency_ns");
        assert_eq!((latency.value, latency.broken.len()), (None, 1), "{latency:?}");
        assert!(latency.broken[0].to_string().contains("8 of 8 trials"));
        record.units.clear();
        let values = case_values(&record, &verdicts(&record));
        assert_eq!(value(&values, 0, "latency_ns").broken, [Reason::NotMeasured]);
        assert!(values.iter().all(|v| v.metric.name != "init_ns"));
    }
}
