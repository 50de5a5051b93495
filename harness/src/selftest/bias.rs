//! Whether the place of a process in a unit moves its time. Which process came first was drawn from the unit's seed,
//! and is drawn again here; in cells of equal models nothing else can make the first differ from the second.

use super::{LEVEL, counts::latency_rows};
use protocol::{SamplePhase, UnitId, UnitOrder};
use reports::{
    record::{RunRecord, UnitRecord},
    verdict::{Evidence, UnitPair, Verdicts},
};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// What being the first does, as a share of the time: above 0 the first is slower than the second.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Position {
    /// First in what.
    pub(crate) first: &'static str,
    /// Units it rests on.
    pub(crate) units: usize,
    /// The estimate.
    pub(crate) change: f64,
    /// Its interval at [`LEVEL`], lower end.
    pub(crate) low: f64,
    /// Upper end.
    pub(crate) high: f64,
}

/// Names of the places, in the order of [`Places`].
const NAMES: [&str; 4] = ["the unit's list", "load order", "warm-up order", "burst order"];

/// For each place: 1 when the candidate comes first, −1 when it comes second. In burst order, which is drawn for
/// every block, the mean over the blocks that count.
type Places = [f64; 4];

/// One line per place, where there are two units at least.
pub(crate) fn positions(record: &RunRecord, verdicts: &Verdicts) -> Vec<Position> {
    let units: BTreeMap<UnitId, &UnitRecord> = record.units.iter().map(|unit| (unit.unit, unit)).collect();
    let mut found: Vec<(Places, f64)> = Vec::new();
    for row in latency_rows(record, verdicts, 0) {
        let Evidence::Ratio(evidence) = &row.evidence else { continue };
        for UnitPair { unit, candidate, reference } in &evidence.pairs {
            let places = units.get(unit).and_then(|u| places(u, row.cases.candidate, row.cases.reference));
            found.extend(places.map(|places| (places, candidate.ln() - reference.ln())));
        }
    }
    let of = |(at, first): (usize, &&'static str)| {
        let points: Vec<(f64, f64)> = found.iter().map(|(places, y)| (places[at], *y)).collect();
        through_origin(first, &points)
    };
    NAMES.iter().enumerate().filter_map(of).collect()
}

fn places(unit: &UnitRecord, candidate: usize, reference: usize) -> Option<Places> {
    let trial = |case| unit.trials.iter().position(|trial| trial.case == case);
    let (candidate, reference) = (trial(candidate)?, trial(reference)?);
    let mut order = UnitOrder::new(unit.seed, u32::try_from(unit.trials.len()).ok()?);
    let first = |order: &[u32]| {
        let place = |trial: usize| order.iter().position(|t| *t as usize == trial);
        if place(candidate) < place(reference) { 1.0 } else { -1.0 }
    };
    let (list, load, warm_up) =
        (if candidate < reference { 1.0 } else { -1.0 }, first(order.load()), first(order.warm_up()));
    let dropped: BTreeSet<u32> = unit.dropped_blocks.iter().map(|(block, _)| *block).collect();
    let bursts = unit.trials.iter().flat_map(|trial| &trial.bursts);
    let blocks =
        bursts.filter(|b| b.phase == SamplePhase::Steady).map(|b| b.block).collect::<BTreeSet<u32>>();
    let mut counted = Vec::new();
    for (at, block) in (0u32..).zip(blocks) {
        // one draw for every block, whether it counts or not: they are numbered without gaps
        let drawn = first(&order.next_block());
        if at != block {
            return None;
        }
        if !dropped.contains(&block) {
            counted.push(drawn);
        }
    }
    Some([list, load, warm_up, stats::mean(&counted).ok()?])
}

/// Least squares of y = slope · place, with the t interval of the slope.
fn through_origin(first: &'static str, points: &[(f64, f64)]) -> Option<Position> {
    let weight: f64 = points.iter().map(|(place, _)| place * place).sum();
    let freedom = points.len().checked_sub(1).filter(|n| *n > 0)? as f64;
    if weight <= 0.0 {
        return None;
    }
    let slope = points.iter().map(|(place, y)| place * y).sum::<f64>() / weight;
    let rest: f64 = points.iter().map(|(place, y)| (y - place * slope).powi(2)).sum();
    let half = stats::t_quantile_upper((1.0 - LEVEL) / 2.0, freedom) * (rest / freedom / weight).sqrt();
    let change = |log: f64| log.exp_m1();
    let (low, high) = (change(slope - half), change(slope + half));
    Some(Position { first, units: points.len(), change: change(slope), low, high })
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::{Outcome, Samples};
    use reports::record::{Purpose, TrialRecord};

    fn trial(case: usize, blocks: &[u32]) -> TrialRecord {
        let burst = |block: &u32| Samples {
            phase: SamplePhase::Steady,
            block: *block,
            burst: 0,
            start_ns: 0,
            batch: 1,
            wall_ns: vec![1],
            cpu_ns: vec![1],
            involuntary_switches: 0,
            core: None,
            khz: None,
        };
        TrialRecord {
            case,
            outcome: Outcome::Ok,
            loaded: None,
            first_inference_ns: None,
            warmed_up: None,
            memory: Vec::new(),
            bursts: blocks.iter().map(burst).collect(),
            cut_short: None,
            digests: Vec::new(),
            outputs: None,
            profile: Vec::new(),
        }
    }

    /// Every order of a unit of two can be told from the place of the first trial.
    #[test]
    fn places_are_drawn_as_the_agent_draws_them() {
        let mut seen = BTreeSet::new();
        for seed in 0..40 {
            let trials = vec![trial(8, &[0, 1, 2]), trial(9, &[0, 1, 2])];
            let mut unit = UnitRecord::new(UnitId(0), 0, Purpose::Performance, seed, trials);
            unit.dropped_blocks.push((1, "throttled".into()));
            let mut order = UnitOrder::new(seed, 2);
            let sign = |first: u32| if first == 0 { 1.0 } else { -1.0 };
            let (load, warm_up) = (sign(order.load()[0]), sign(order.warm_up()[0]));
            let blocks: Vec<f64> = (0..3).map(|_| sign(order.next_block()[0])).collect();
            let expected = [1.0, load, warm_up, (blocks[0] + blocks[2]) / 2.0];
            assert_eq!(places(&unit, 8, 9), Some(expected));
            assert_eq!(places(&unit, 9, 8), Some(expected.map(|place: f64| -place)));
            seen.insert(format!("{expected:?}"));
        }
        assert!(seen.len() > 8, "{seen:?}");
        let gap =
            UnitRecord::new(UnitId(0), 0, Purpose::Performance, 1, vec![trial(8, &[1]), trial(9, &[1])]);
        assert_eq!((places(&gap, 8, 9), places(&gap, 8, 7)), (None, None));
    }

    #[test]
    fn the_slope_of_signed_points_is_their_mean() {
        // y signed by the place: 3, 1, 2 per cent
        let points = [(1.0, 0.03), (-1.0, -0.01), (1.0, 0.02)];
        let found = through_origin("load order", &points).unwrap();
        assert!((found.change - 0.02f64.exp_m1()).abs() < 1e-12);
        // t(0.975, 2) · 0.01 / √3
        let half = 4.302_652_729_911_275 * 0.01 / 3f64.sqrt();
        assert!((found.high.ln_1p() - 0.02 - half).abs() < 1e-9, "{found:?}");
        assert!(through_origin("", &points[..1]).is_none() && through_origin("", &[(0.0, 1.0); 3]).is_none());
    }
}
