//! Steady-state latency of a case, all trials together, as a picture needs it: a grid of quantiles
//! instead of millions of samples.

use crate::record::{CaseIndex, Purpose, RunRecord};
use protocol::{Outcome, SamplePhase};
use stats::{Percentile, quantile_sorted};

/// Steps of the grid.
const STEPS: usize = 60;

/// Quantiles of one case, ns per invoke. Dropped blocks are left out.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Distribution {
    /// Number of samples.
    pub(crate) n: usize,
    /// The quantiles 0, 1/60, …, 1.
    quantiles: Vec<f64>,
    /// Every percentile, where there are enough samples to print it.
    pub(crate) percentiles: Vec<(Percentile, Option<f64>)>,
}

impl Distribution {
    /// `None` when no sample counts.
    pub(crate) fn of(record: &RunRecord, case: CaseIndex) -> Option<Self> {
        let mut sorted = Vec::new();
        for unit in record.units.iter().filter(|unit| unit.purpose == Purpose::Performance) {
            let counts = |block: u32| unit.dropped_blocks.iter().all(|(dropped, _)| *dropped != block);
            for trial in unit.trials.iter().filter(|t| t.case == case && t.outcome == Outcome::Ok) {
                let steady =
                    trial.bursts.iter().filter(|b| b.phase == SamplePhase::Steady && counts(b.block));
                for burst in steady {
                    let per_invoke = |ns: &u64| *ns as f64 / f64::from(burst.batch.max(1));
                    sorted.extend(burst.wall_ns.iter().map(per_invoke));
                }
            }
        }
        sorted.sort_unstable_by(f64::total_cmp);
        let grid = (0..=STEPS).map(|i| quantile_sorted(&sorted, i as f64 / STEPS as f64));
        Some(Self {
            n: sorted.len(),
            quantiles: grid.collect::<Option<Vec<_>>>()?,
            percentiles: Percentile::ALL.into_iter().map(|p| (p, p.of_sorted(&sorted))).collect(),
        })
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

    pub(crate) fn median(&self) -> f64 {
        self.at(0.5)
    }

    pub(crate) fn least(&self) -> f64 {
        self.at(0.0)
    }
}
