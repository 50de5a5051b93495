//! How long the sides of later units are, from what the first ones say about the spread: the cost rule of Kalibera and
//! Jones on a record. Sees log ratios by their size alone, and has one answer for all sides of a group.

use super::cost::{cpu_time_counts, rule};
use super::units::{LatencyPairs, SteadyTimes, TrialPair, ratios, steady_bursts, trial_pairs};
use crate::record::{CaseIndex, Contrast, Plan, Purpose, TrialRecord, UnitRecord};
use protocol::Samples;
use stats::{Halved, LOCATION_UNITS, Levels, Location, sequential};

/// Least iterations of every side in the units to come of a group of the plan. What was chosen for a unit before stays;
/// else it is the most that a comparison asks for which the first [`LOCATION_UNITS`] units leave open. `None`: the plan's
/// rules stand.
pub fn iterations_per_side(plan: &Plan, units: &[UnitRecord], group: usize) -> Option<u32> {
    let group = plan.measuring.groups.get(group)?;
    let inside = |case: &CaseIndex| group.contains(case);
    let of_group = |unit: &&UnitRecord| unit.trials.iter().all(|trial| inside(&trial.case));
    if let Some(chosen) = units.iter().filter(of_group).find_map(|unit| unit.iterations) {
        return Some(chosen);
    }
    let contrasts = plan.contrasts.iter().filter(|c| inside(&c.candidate) && inside(&c.reference));
    contrasts.filter_map(|contrast| asked_for(plan, units, contrast)).max()
}

fn asked_for(plan: &Plan, units: &[UnitRecord], contrast: &Contrast) -> Option<u32> {
    let cpu_time = cpu_time_counts(plan, [contrast.candidate, contrast.reference]);
    let found = LatencyPairs::of(units, Purpose::Performance, contrast, cpu_time)?;
    let log_ratios = ratios(found.pairs.get(..LOCATION_UNITS)?)?;
    let rule = rule(plan, "latency_ns")?.until_precise(plan.suite.precision);
    if rule.settles(&sequential::look(&log_ratios, &rule).ok()?) {
        return None;
    }
    let first = || {
        let used = |pair: &TrialPair<'_>| found.pairs.iter().any(|p| p.unit == pair.unit.unit);
        trial_pairs(units, Purpose::Performance, contrast).filter(used).take(LOCATION_UNITS)
    };
    let halved: Option<Vec<Halved>> =
        first().zip(&log_ratios).map(|(pair, whole)| halved(&pair, found.location, *whole)).collect();
    let levels = Levels::of(&halved?).ok()?;
    let mut all = Costs::default();
    first().for_each(|pair| {
        all.add(pair.candidate, pair.unit);
        all.add(pair.reference, pair.unit);
    });
    let iterations = u32::try_from(all.samples / all.sides.max(1)).unwrap_or(u32::MAX);
    let process = all.process_ns as f64 / all.sides as f64;
    let iteration = all.steady_ns as f64 / all.samples as f64;
    levels.iterations(iterations, process, iteration).ok()
}

/// A unit, with the log ratios of its even and of its odd blocks; of bursts where each process ran alone, in one block.
/// `None` where there is one of them.
fn halved(pair: &TrialPair<'_>, location: Location, whole: f64) -> Option<Halved> {
    let value = |trial: &TrialRecord, half: u32| {
        let bursts = || steady_bursts(trial, pair.unit);
        let first = bursts().next().map(|burst| burst.block);
        let alone = bursts().all(|burst| Some(burst.block) == first);
        let place = |burst: &Samples| if alone { burst.burst } else { burst.block };
        let times = SteadyTimes::of_bursts(bursts().filter(|burst| place(burst) % 2 == half));
        location.of_sorted(&times.wall, &times.cpu).filter(|ns| *ns > 0.0).map(f64::ln)
    };
    let half = |half: u32| Some(value(pair.candidate, half)? - value(pair.reference, half)?);
    Some(Halved { whole, halves: [half(0)?, half(1)?] })
}

/// What sides took, and what they had.
#[derive(Default)]
struct Costs {
    sides: u64,
    /// Until the first steady iteration: load, compile, first inference, warm-up.
    process_ns: u64,
    samples: u64,
    steady_ns: u64,
}

impl Costs {
    fn add(&mut self, trial: &TrialRecord, unit: &UnitRecord) {
        let loaded = trial.loaded.as_ref().map_or(0, |l| l.load_ns.saturating_add(l.compile_ns));
        let warm_up = trial.warmed_up.map_or(0, |w| w.wall_ns);
        let start = [loaded, trial.first_inference_ns.unwrap_or(0), warm_up];
        let sum = |all: u64, ns: &u64| all.saturating_add(*ns);
        self.sides += 1;
        self.process_ns = start.iter().fold(self.process_ns, sum);
        for burst in steady_bursts(trial, unit) {
            self.samples += burst.wall_ns.len() as u64;
            self.steady_ns = burst.wall_ns.iter().fold(self.steady_ns, sum);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Recipe, swapped};
    use super::*;
    use crate::record::RunRecord;
    use stats::Rng;

    /// Two equal cases of which so much of the spread lies in processes, and so much in blocks.
    fn record(process: f64, block: f64, units: usize) -> RunRecord {
        let mut record = Recipe { own: process, ..Recipe::two(1.0, units) }.record();
        let mut rng = Rng::new(4);
        for trial in record.units.iter_mut().flat_map(|unit| &mut unit.trials) {
            trial.loaded.as_mut().unwrap().load_ns = 1_000_000_000;
            for burst in &mut trial.bursts {
                let factor = (block * rng.normal()).exp();
                let times = burst.wall_ns.iter_mut().chain(&mut burst.cpu_ns);
                times.for_each(|ns| *ns = (*ns as f64 * factor) as u64);
            }
        }
        record
    }

    fn chosen(record: &RunRecord) -> Option<u32> {
        iterations_per_side(&record.plan, &record.units, 0)
    }

    #[test]
    fn iterations_are_added_where_they_are_what_spreads() {
        let (processes, blocks) = (chosen(&record(0.1, 0.0, 6)), chosen(&record(0.0, 0.1, 6)));
        assert_eq!(processes, Some(40), "forty iterations a side are fewer than the rule asks for at least");
        assert_eq!(blocks, Some(160), "four times as many as there were");
    }

    #[test]
    fn it_is_chosen_once_from_the_first_units() {
        assert_eq!(chosen(&record(0.1, 0.0, 5)), None);
        assert_eq!(chosen(&record(0.0, 0.0, 6)), None, "nothing is open");
        let mut later = record(0.05, 0.05, 6);
        let first = chosen(&later);
        assert!(first.is_some());
        later.units.extend(record(0.0, 0.3, 9).units.split_off(6));
        assert_eq!(chosen(&later), first);
        later.units[7].iterations = Some(77);
        assert_eq!(chosen(&later), Some(77), "what the record says stays");
    }

    #[test]
    fn it_does_not_know_the_sides() {
        for (process, block) in [(0.1, 0.0), (0.05, 0.05), (0.03, 0.08)] {
            let record = record(process, block, 8);
            assert_eq!(chosen(&record), chosen(&swapped(record.clone())));
        }
    }

    #[test]
    fn processes_that_ran_alone_have_halves_too() {
        let together = record(0.05, 0.05, 6);
        let mut alone = together.clone();
        for burst in alone.units.iter_mut().flat_map(|u| &mut u.trials).flat_map(|t| &mut t.bursts) {
            (burst.block, burst.burst) = (0, burst.block);
        }
        assert_eq!(chosen(&alone), chosen(&together));
    }

    #[test]
    fn what_has_no_two_halves_stays_as_it_is() {
        let mut record = record(0.1, 0.0, 6);
        record.units[2].trials[1].bursts.truncate(1);
        assert_eq!(chosen(&record), None);
        assert_eq!(iterations_per_side(&record.plan, &record.units, 9), None, "no such group");
    }
}
