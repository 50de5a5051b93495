//! Steady-state latency of a case, all trials together, as a picture needs it: a grid of quantiles
//! instead of millions of samples.

use crate::record::{CaseIndex, Purpose, RunRecord, TrialRecord, UnitRecord};
use protocol::{Outcome, SamplePhase};
use stats::quantile_sorted;

/// Every steady-state sample of a trial that counts, in ns per invoke, in the order measured.
pub(super) fn steady_times<'a>(
    unit: &'a UnitRecord,
    trial: &'a TrialRecord,
) -> impl Iterator<Item = f64> + 'a {
    let counts = |block: u32| unit.dropped_blocks.iter().all(|(dropped, _)| *dropped != block);
    let steady = trial.bursts.iter().filter(move |b| b.phase == SamplePhase::Steady && counts(b.block));
    steady.flat_map(|burst| {
        let batch = f64::from(burst.batch.max(1));
        burst.wall_ns.iter().map(move |ns| *ns as f64 / batch)
    })
}

/// Steps of the grid.
const STEPS: usize = 60;

/// Quantiles of one case, ns per invoke. Dropped blocks are left out.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Distribution {
    /// The quantiles 0, 1/60, …, 1.
    quantiles: Vec<f64>,
}

impl Distribution {
    /// `None` when no sample counts.
    pub(crate) fn of(record: &RunRecord, case: CaseIndex) -> Option<Self> {
        let mut sorted = Vec::new();
        for unit in record.units.iter().filter(|unit| unit.purpose == Purpose::Performance) {
            for trial in unit.trials.iter().filter(|t| t.case == case && t.outcome == Outcome::Ok) {
                sorted.extend(steady_times(unit, trial));
            }
        }
        sorted.sort_unstable_by(f64::total_cmp);
        let grid = (0..=STEPS).map(|i| quantile_sorted(&sorted, i as f64 / STEPS as f64));
        Some(Self { quantiles: grid.collect::<Option<Vec<_>>>()? })
    }

    /// Share and value, ascending.
    pub(crate) fn points(&self) -> impl Iterator<Item = (f64, f64)> + '_ {
        self.quantiles.iter().enumerate().map(|(i, value)| (i as f64 / STEPS as f64, *value))
    }

    /// The value at a share of the samples.
    pub(crate) fn at(&self, share: f64) -> f64 {
        let index = (share * STEPS as f64).floor() as usize;
        self.quantiles.get(index.min(STEPS)).copied().unwrap_or_default()
    }

    pub(crate) fn least(&self) -> f64 {
        self.at(0.0)
    }
}
