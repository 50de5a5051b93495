//! What is said about one case by itself, as measured. Secondary to the contrasts: absolute numbers of one
//! device on one day.

use super::SHOWN_LEVEL;
use super::cost::{first_inference_ns, init_ns, memory_peak_bytes};
use super::guard::{failure, is_contended};
use super::quality::Answers;
use super::score;
use super::units::{SteadyTimes, steady_samples};
use crate::record::{CaseIndex, Purpose, RunRecord, TrialRecord, UnitRecord};
use protocol::{BackendProof, Outcome};
use stats::{Estimate, Interval, Percentile, effective_sample_size, order_statistic_interval};

/// One case of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct CaseSummary {
    /// Position in the plan.
    pub case: CaseIndex,
    /// Performance trials that ended well.
    pub trials: usize,
    /// Trials of any purpose that did not.
    pub failed: usize,
    /// What the first of those said.
    pub first_failure: Option<String>,
    /// Steady state.
    pub latency: Option<LatencySummary>,
    /// Median over trials, ns.
    pub load_ns: Option<f64>,
    /// Median over trials, ns.
    pub compile_ns: Option<f64>,
    /// Median over trials, ns.
    pub init_ns: Option<f64>,
    /// Median over trials, ns.
    pub first_inference_ns: Option<f64>,
    /// init + first inference − steady median, ns.
    pub startup_overhead_ns: Option<f64>,
    /// Median over trials of the highest peak of all phases, bytes.
    pub memory_peak_bytes: Option<f64>,
    /// Least and greatest such peak, bytes.
    pub memory_peak_range: Option<(f64, f64)>,
    /// Size of the model file, bytes.
    pub model_bytes: u64,
    /// The score of the task, with its interval at [`SHOWN_LEVEL`].
    pub score: Option<Estimate>,
    /// Where the nodes of the first trial that loaded ran.
    pub proof: Option<BackendProof>,
    /// Performance trials in which other work took the core. 0 where that cannot be told.
    pub contended: usize,
}

/// Steady state of all trials together, ns per invoke.
#[derive(Clone, Debug, PartialEq)]
pub struct LatencySummary {
    /// Samples, dropped blocks left out.
    pub samples: usize,
    /// Mean.
    pub mean: f64,
    /// Least.
    pub min: f64,
    /// Greatest.
    pub max: f64,
    /// Unscaled median absolute deviation.
    pub mad: f64,
    /// Standard deviation within trials, pooled.
    pub sd_within: Option<f64>,
    /// Standard deviation of the trials' medians.
    pub sd_between: Option<f64>,
    /// sd of all samples over their mean.
    pub cv: Option<f64>,
    /// Every percentile, in order.
    pub percentiles: Vec<PercentileRow>,
    /// p99 over p50, where both are printed.
    pub tail_ratio: Option<f64>,
    /// How many independent samples all samples are worth: the sum over trials.
    pub effective_samples: f64,
}

/// One percentile.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PercentileRow {
    /// Which.
    pub percentile: Percentile,
    /// Its value in ns; `None` where there are too few samples to print it.
    pub value: Option<f64>,
    /// Interval between order statistics at [`SHOWN_LEVEL`]; treats samples as independent.
    pub interval: Option<Interval>,
}

pub(super) fn summary(
    record: &RunRecord,
    case: CaseIndex,
    answers: &Result<Answers<'_>, String>,
) -> CaseSummary {
    let of_case = |unit: &'_ UnitRecord| unit.trials.iter().position(|t| t.case == case);
    let all: Vec<(&UnitRecord, &TrialRecord)> =
        record.units.iter().filter_map(|u| of_case(u).map(|at| (u, &u.trials[at]))).collect();
    let failures: Vec<String> = all.iter().filter_map(|(_, t)| failure(&t.outcome)).collect();
    let good: Vec<_> = all
        .iter()
        .filter(|(u, t)| u.purpose == Purpose::Performance && t.outcome == Outcome::Ok)
        .copied()
        .collect();
    let values = |value: &dyn Fn(&TrialRecord) -> Option<f64>| -> Vec<f64> {
        good.iter().filter_map(|(_, t)| value(t)).collect()
    };
    let median = |value: &dyn Fn(&TrialRecord) -> Option<f64>| stats::median(&values(value)).ok();
    let latency = latency(&good);
    let (init, first) = (median(&init_ns), median(&first_inference_ns));
    let steady = latency.as_ref().and_then(|l| l.percentiles.first()).and_then(|p| p.value);
    let peaks = stats::Summary::of(&values(&memory_peak_bytes)).ok();
    let plan = record.plan.cases.get(case);
    let one_thread = plan.is_some_and(|c| c.threads == 1);
    CaseSummary {
        case,
        trials: good.len(),
        failed: failures.len(),
        first_failure: failures.into_iter().next(),
        load_ns: median(&|t| t.loaded.as_ref().map(|l| l.load_ns as f64)),
        compile_ns: median(&|t| t.loaded.as_ref().map(|l| l.compile_ns as f64)),
        init_ns: init,
        first_inference_ns: first,
        startup_overhead_ns: init.zip(first).zip(steady).map(|((init, first), steady)| init + first - steady),
        memory_peak_bytes: peaks.map(|p| p.median),
        memory_peak_range: peaks.map(|p| (p.min, p.max)),
        model_bytes: plan.map_or(0, |c| c.model_bytes),
        score: answers.as_ref().ok().and_then(|a| score::of_case(record, a.outputs)),
        proof: all.iter().find_map(|(_, t)| t.loaded.as_ref()).map(|l| l.proof.clone()),
        contended: good.iter().filter(|(u, t)| one_thread && is_contended(t, u)).count(),
        latency,
    }
}

fn latency(good: &[(&UnitRecord, &TrialRecord)]) -> Option<LatencySummary> {
    let mut pooled = Vec::new();
    let (mut medians, mut squares, mut df, mut effective) = (Vec::new(), 0.0, 0.0, 0.0);
    for (unit, trial) in good {
        let in_order: Vec<f64> = steady_samples(trial, unit).map(|(wall, _)| wall).collect();
        let sorted = SteadyTimes::of(trial, unit).wall;
        medians.extend(stats::quantile_sorted(&sorted, 0.5));
        if let Ok(sd) = stats::standard_deviation(&in_order) {
            let trial_df = in_order.len() as f64 - 1.0;
            squares += sd * sd * trial_df;
            df += trial_df;
        }
        effective += effective_sample_size(&in_order).unwrap_or(in_order.len() as f64);
        pooled.extend(sorted);
    }
    pooled.sort_unstable_by(f64::total_cmp);
    let whole = stats::Summary::of(&pooled).ok()?;
    let percentiles: Vec<PercentileRow> =
        Percentile::ALL.into_iter().map(|p| percentile(p, &pooled)).collect();
    let value = |p: Percentile| percentiles.iter().find(|row| row.percentile == p).and_then(|row| row.value);
    Some(LatencySummary {
        samples: whole.n,
        mean: whole.mean,
        min: whole.min,
        max: whole.max,
        mad: whole.mad,
        sd_within: (df > 0.0).then(|| (squares / df).sqrt()),
        sd_between: stats::standard_deviation(&medians).ok(),
        cv: stats::coefficient_of_variation(&pooled).ok(),
        tail_ratio: value(Percentile::P99).zip(value(Percentile::P50)).map(|(high, low)| high / low),
        percentiles,
        effective_samples: effective,
    })
}

fn percentile(percentile: Percentile, sorted: &[f64]) -> PercentileRow {
    let value = percentile.of_sorted(sorted);
    let interval = order_statistic_interval(sorted, percentile.share(), SHOWN_LEVEL).ok().flatten();
    PercentileRow { percentile, value, interval: interval.map(|e| e.interval).filter(|_| value.is_some()) }
}
