//! When measuring may end early. Looks at latency, which units are planned for; the other metrics take
//! what units there are. The cut-offs hold for whatever look a run stops at.

use super::cost::{cpu_time_counts, rule};
use super::units::{LatencyPairs, ratios};
use crate::record::{Plan, Purpose, UnitRecord};
use stats::sequential::{Next, Path, decide};

/// Whether one device must measure on, given its complete units so far (those of other devices are
/// passed over). `Continue { units }` says how many valid units the nearest undecided contrast has at its
/// next look: nothing can change before.
///
/// A contrast that can get no value (a side that never ends well) keeps a run going to its limit of
/// units or time, which is the caller's.
pub fn next_step(plan: &Plan, units: &[UnitRecord], device: usize) -> Next {
    let Some(rule) = rule(plan, "latency_ns") else { return Next::Stop };
    let rule = rule.until_precise(plan.suite.precision);
    let on_device = |case: usize| plan.cases.get(case).is_some_and(|c| c.device == device);
    let mut series = Vec::new();
    for contrast in plan.contrasts.iter().filter(|c| on_device(c.candidate) && on_device(c.reference)) {
        let cpu_time = cpu_time_counts(plan, [contrast.candidate, contrast.reference]);
        let pairs = LatencyPairs::of(units, Purpose::Performance, contrast, cpu_time);
        series.push(pairs.and_then(|found| ratios(&found.pairs)).unwrap_or_default());
    }
    let paths: Vec<Path<'_>> = series.iter().map(|y| Path { log_ratios: y, rule }).collect();
    // log ratios of positive finite times are finite, so that nothing else can go wrong
    decide(&paths).unwrap_or(Next::Stop)
}
