//! Values per unit: what one trial of each side, measured together, says about a cost. Chooses what stands
//! for the iterations of a trial; decides nothing.

use crate::record::{Contrast, Purpose, TrialRecord, UnitRecord};
use protocol::{Outcome, SamplePhase, Samples, UnitId};
use stats::{Location, choose_location, log_ratios};

/// One unit's values of both sides, in the unit of the metric.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct UnitPair {
    /// Which unit of the plan.
    pub unit: UnitId,
    /// Value of the candidate.
    pub candidate: f64,
    /// Value of the reference.
    pub reference: f64,
}

/// Trials of both sides that ran together and ended well.
#[derive(Clone, Copy)]
pub(super) struct TrialPair<'a> {
    pub(super) unit: &'a UnitRecord,
    pub(super) candidate: &'a TrialRecord,
    pub(super) reference: &'a TrialRecord,
}

/// Every unit of that purpose in which both sides ended well, in order.
pub(super) fn trial_pairs<'a>(
    units: &'a [UnitRecord],
    purpose: Purpose,
    contrast: &Contrast,
) -> impl Iterator<Item = TrialPair<'a>> {
    let Contrast { candidate, reference, .. } = *contrast;
    units.iter().filter(move |unit| unit.purpose == purpose).filter_map(move |unit| {
        let of = |case| unit.trials.iter().find(|t| t.case == case && t.outcome == Outcome::Ok);
        Some(TrialPair { unit, candidate: of(candidate)?, reference: of(reference)? })
    })
}

/// Steady-state times of one trial in ns per invoke, ascending; dropped blocks are left out.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct SteadyTimes {
    pub(super) wall: Vec<f64>,
    pub(super) cpu: Vec<f64>,
}

impl SteadyTimes {
    pub(super) fn of(trial: &TrialRecord, unit: &UnitRecord) -> Self {
        Self::of_bursts(steady_bursts(trial, unit))
    }

    pub(super) fn of_bursts<'a>(bursts: impl Iterator<Item = &'a Samples>) -> Self {
        let mut times = Self::default();
        for (wall, cpu) in bursts.flat_map(samples) {
            times.wall.push(wall);
            times.cpu.extend(cpu);
        }
        times.wall.sort_unstable_by(f64::total_cmp);
        times.cpu.sort_unstable_by(f64::total_cmp);
        times
    }
}

/// Steady bursts of the blocks that count, in the order measured.
pub(super) fn steady_bursts<'a>(
    trial: &'a TrialRecord,
    unit: &'a UnitRecord,
) -> impl Iterator<Item = &'a Samples> {
    let counts = |block: u32| unit.dropped_blocks.iter().all(|(dropped, _)| *dropped != block);
    trial.bursts.iter().filter(move |b| b.phase == SamplePhase::Steady && counts(b.block))
}

/// Wall and CPU time per invoke of each steady sample that counts, in the order measured.
pub(super) fn steady_samples<'a>(
    trial: &'a TrialRecord,
    unit: &'a UnitRecord,
) -> impl Iterator<Item = (f64, Option<f64>)> + 'a {
    steady_bursts(trial, unit).flat_map(samples)
}

fn samples(burst: &Samples) -> impl Iterator<Item = (f64, Option<f64>)> {
    let per_invoke = |ns: u64| ns as f64 / f64::from(burst.batch.max(1));
    let cpu = burst.cpu_ns.iter().map(|ns| Some(*ns)).chain(std::iter::repeat(None));
    burst.wall_ns.iter().zip(cpu).map(move |(wall, cpu)| (per_invoke(*wall), cpu.map(per_invoke)))
}

/// Latency per unit under the location that was chosen for this contrast.
pub(super) struct LatencyPairs {
    pub(super) location: Location,
    pub(super) pairs: Vec<UnitPair>,
}

impl LatencyPairs {
    /// `cpu_time`: CPU time means latency for both sides (one thread, on a CPU). `None` where no unit has
    /// samples of both sides.
    pub(super) fn of(
        units: &[UnitRecord],
        purpose: Purpose,
        contrast: &Contrast,
        cpu_time: bool,
    ) -> Option<Self> {
        let times: Vec<_> = trial_pairs(units, purpose, contrast)
            .map(|pair| {
                let of = |trial| SteadyTimes::of(trial, pair.unit);
                (pair.unit.unit, of(pair.candidate), of(pair.reference))
            })
            .filter(|(_, candidate, reference)| !candidate.wall.is_empty() && !reference.wall.is_empty())
            .collect();
        let pairs_by = |location: Location| -> Option<Vec<UnitPair>> {
            let value = |times: &SteadyTimes| location.of_sorted(&times.wall, &times.cpu);
            let pair = |(unit, candidate, reference): &(UnitId, SteadyTimes, SteadyTimes)| {
                Some(UnitPair { unit: *unit, candidate: value(candidate)?, reference: value(reference)? })
            };
            times.iter().map(pair).collect()
        };
        let mut offers = Vec::new();
        for location in Location::ALL.into_iter().filter(|l| cpu_time || *l != Location::CpuMedian) {
            offers.extend(pairs_by(location).and_then(|pairs| ratios(&pairs)).map(|y| (location, y)));
        }
        // a clock too coarse for the model gives the same number every time: no noise, no information
        let varies = |(_, y): &(Location, Vec<f64>)| y.iter().any(|one| Some(one) != y.first());
        if offers.iter().any(varies) {
            offers.retain(varies);
        }
        let location = choose_location(&offers).ok()?;
        let pairs = pairs_by(location).filter(|pairs| !pairs.is_empty())?;
        Some(Self { location, pairs })
    }
}

/// Log ratio per unit; `None` where a value is 0 or less, of which there is no ratio.
pub(super) fn ratios(pairs: &[UnitPair]) -> Option<Vec<f64>> {
    let candidate: Vec<f64> = pairs.iter().map(|p| p.candidate).collect();
    let reference: Vec<f64> = pairs.iter().map(|p| p.reference).collect();
    log_ratios(&candidate, &reference).ok()
}
