//! Costs of one case in two sessions that were not measured together. What differs between sessions is part of the
//! error, so that no more than "this needs confirmation" is ever said.

use super::cost::{PER_PROCESS, Value, cpu_time_counts, rule};
use super::guard;
use super::reason::Reason;
use super::units::SteadyTimes;
use super::{ContrastView, DETERMINISTIC_UNITS};
use crate::record::{CaseIndex, Contrast, Purpose, RunRecord, TrialRecord, UnitRecord};
use protocol::{Metric, Outcome, metric};
use stats::{ANCHORED_SESSION_SD, Estimate, Interval, Location, SESSION_SD, across_sessions, mean};

/// One cost in two sessions; the candidate is the later one.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct AcrossRow {
    pub(crate) metric: &'static Metric,
    /// Geometric means over the units of a session.
    pub(crate) base: Option<f64>,
    pub(crate) head: Option<f64>,
    pub(crate) found: Found,
    /// What to know about it.
    pub(crate) reasons: Vec<Reason>,
}

/// What two sessions say.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Found {
    /// Not measured, or too rarely.
    Nothing,
    /// Something broke in one of the sessions; the reasons say what.
    Broken,
    /// Every process of a session gave the same number.
    Exact {
        /// Head over base.
        ratio: f64,
        /// Farther from 1 than the least effect.
        differs: bool,
    },
    /// Head over base, with what sessions differ by in its interval.
    Ratio {
        /// Relative to the anchor where there is one.
        ratio: Estimate,
        /// Taken relative to a case that is the same in both sessions.
        anchored: bool,
        /// What stands for the iterations of a trial.
        location: Option<Location>,
        /// The interval excludes 1, and the ratio is at least the least effect away from it.
        differs: bool,
    },
}

/// Values of one session, as logarithms.
type Logs = Vec<f64>;

/// All measured costs of the only contrast of a record that holds the units of both sessions. `anchor`: another pair
/// of cases, of equal files, that were alive together with these.
pub(crate) fn costs(record: &RunRecord, contrast: Contrast, anchor: Option<Contrast>) -> Vec<AcrossRow> {
    let view = ContrastView { record, contrast: 0, cases: contrast };
    let common = guard::common(&view, Purpose::Performance);
    let mut of_latency = guard::latency(&view);
    of_latency.broken.extend(common.broken.iter().cloned());
    of_latency.notes.extend(common.notes.iter().cloned());
    let mut rows = Vec::new();
    for (name, value) in [("latency_ns", None)].into_iter().chain(PER_PROCESS.map(|(n, v)| (n, Some(v)))) {
        let Some(metric) = metric(name) else { continue };
        let findings = if value.is_none() { &of_latency } else { &common };
        let (values, found) = match value {
            None => latency(&view, metric, anchor),
            Some(value) => per_process(&view, metric, value),
        };
        let [base, head] = values.map(|logs| mean(&logs).ok().map(f64::exp));
        let broken = !findings.broken.is_empty() && base.is_some() && head.is_some();
        let found = if broken { Found::Broken } else { found };
        let reasons = findings.broken.iter().chain(&findings.notes).cloned().collect();
        rows.push(AcrossRow { metric, base, head, found, reasons });
    }
    rows
}

/// Good performance trials of a case with their units; with an anchor, those beside a good trial of it.
fn trials(
    record: &RunRecord,
    case: CaseIndex,
    anchor: Option<CaseIndex>,
) -> impl Iterator<Item = (&UnitRecord, &TrialRecord, Option<&TrialRecord>)> {
    let units = record.units.iter().filter(|unit| unit.purpose == Purpose::Performance);
    units.filter_map(move |unit| {
        let good = |case| unit.trials.iter().find(|t| t.case == case && t.outcome == Outcome::Ok);
        let anchor = match anchor {
            Some(case) => Some(good(case)?),
            None => None,
        };
        Some((unit, good(case)?, anchor))
    })
}

/// Log values of both sessions, and the difference under the location with the narrowest interval, which knows no sign.
fn latency(view: &ContrastView<'_>, metric: &Metric, anchor: Option<Contrast>) -> ([Logs; 2], Found) {
    let Contrast { candidate, reference, .. } = view.cases;
    let times = |case, anchor| -> Vec<(SteadyTimes, Option<SteadyTimes>)> {
        let of = |(unit, own, anchor): (&UnitRecord, &TrialRecord, Option<&TrialRecord>)| {
            (SteadyTimes::of(own, unit), anchor.map(|trial| SteadyTimes::of(trial, unit)))
        };
        let whole = |(own, anchor): &(SteadyTimes, Option<SteadyTimes>)| {
            !own.wall.is_empty() && anchor.as_ref().is_none_or(|times| !times.wall.is_empty())
        };
        trials(view.record, case, anchor).map(of).filter(whole).collect()
    };
    let sessions = [
        times(reference, anchor.map(|contrast| contrast.reference)),
        times(candidate, anchor.map(|contrast| contrast.candidate)),
    ];
    let cpu_time = cpu_time_counts(&view.record.plan, [candidate, reference]);
    let least_sd = if anchor.is_some() { ANCHORED_SESSION_SD } else { SESSION_SD };
    let by = |location: Location| {
        let log = |times: &SteadyTimes| location.of_sorted(&times.wall, &times.cpu).map(f64::ln);
        let own = |(own, _): &(SteadyTimes, Option<SteadyTimes>)| log(own);
        let relative = |(own, anchor): &(SteadyTimes, Option<SteadyTimes>)| match anchor {
            Some(anchor) => Some(log(own)? - log(anchor)?),
            None => log(own),
        };
        let [base, head] = sessions.each_ref().map(|s| s.iter().map(relative).collect::<Option<Logs>>());
        let estimate = across_sessions(&base?, &head?, least_sd).ok()?;
        let [base, head] = sessions.each_ref().map(|s| s.iter().map(own).collect::<Option<Logs>>());
        Some((location, estimate, [base?, head?]))
    };
    let locations = Location::ALL.into_iter().filter(|l| cpu_time || *l != Location::CpuMedian);
    let width = |estimate: &Estimate| estimate.interval.half_width();
    let narrowest = locations.filter_map(by).min_by(|(_, a, _), (_, b, _)| width(a).total_cmp(&width(b)));
    match narrowest {
        Some((location, estimate, logs)) => {
            (logs, ratio(view, metric, estimate, anchor.is_some(), Some(location)))
        }
        None => ([Vec::new(), Vec::new()], Found::Nothing),
    }
}

fn per_process(view: &ContrastView<'_>, metric: &Metric, value: Value) -> ([Logs; 2], Found) {
    let logs = |case| -> Logs {
        let values = trials(view.record, case, None).filter_map(|(_, trial, _)| value(trial));
        values.filter(|value| *value > 0.0).map(f64::ln).collect()
    };
    let (base, head) = (logs(view.cases.reference), logs(view.cases.candidate));
    let constant = |logs: &Logs| logs.len() >= DETERMINISTIC_UNITS && logs.iter().all(|v| *v == logs[0]);
    let found = if metric.name == "memory_peak_bytes" && constant(&base) && constant(&head) {
        let difference = head[0] - base[0];
        Found::Exact { ratio: difference.exp(), differs: is_large(view, metric, difference) }
    } else {
        match across_sessions(&base, &head, SESSION_SD) {
            Ok(estimate) => ratio(view, metric, estimate, false, None),
            Err(_) => Found::Nothing,
        }
    };
    ([base, head], found)
}

fn ratio(
    view: &ContrastView<'_>,
    metric: &Metric,
    logs: Estimate,
    anchored: bool,
    location: Option<Location>,
) -> Found {
    let Interval { low, high, .. } = logs.interval;
    let differs = (low > 0.0 || high < 0.0) && is_large(view, metric, logs.point);
    let ratio = Estimate { point: logs.point.exp(), interval: logs.interval.exp() };
    Found::Ratio { ratio, anchored, location, differs }
}

/// Beyond the least effect.
fn is_large(view: &ContrastView<'_>, metric: &Metric, log_ratio: f64) -> bool {
    rule(&view.record.plan, metric.name).is_some_and(|rule| log_ratio.abs() > rule.min_effect().ln_1p())
}
