//! Which variants of a device nobody beats: the Pareto front over score, latency, memory and size, and how sure it is
//! that a variant belongs to it. Units and examples are drawn again, the same ones for all variants, so that what they
//! share does not count.

use super::View;
use super::distribution::steady_times;
use crate::accuracy::{Outputs, outputs};
use crate::record::{CaseIndex, LoadedRecord, Purpose, RunRecord, TrialRecord};
use crate::score::scored;
use protocol::{Direction, Outcome, UnitId};
use stats::{Rng, scores::Outcomes};
use std::collections::BTreeMap;

/// Draws, at most and at least, and about how many steps they may take together.
const MOST_DRAWS: usize = 2000;
const LEAST_DRAWS: usize = 100;
const WORK: usize = 40_000_000;
/// Variants of one device that are weighed against each other, in the order of the plan.
const MAX_MEMBERS: usize = 100;
/// Score, latency, memory, size: all turned so that less is better. NaN: not known, and the same for all.
const AXES: usize = 4;

/// One variant.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Member {
    pub(crate) case: CaseIndex,
    /// Geometric mean over units, ns.
    pub(crate) latency_ns: f64,
    /// Mean over units, bytes.
    pub(crate) memory_bytes: Option<f64>,
    /// Of the model file.
    pub(crate) model_bytes: u64,
    /// Score of the task.
    pub(crate) score: Option<f64>,
    /// Nobody is as good in everything and better in something.
    pub(crate) on_front: bool,
    /// Share of draws in which that was so.
    pub(crate) probability: f64,
}

/// All variants of a device that were measured.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Front {
    /// In the order of the plan.
    pub(crate) members: Vec<Member>,
    /// How often was drawn.
    pub(crate) draws: usize,
    /// Scores could be compared.
    pub(crate) scored: bool,
    /// Memory could be compared.
    pub(crate) memory: bool,
    /// Variants that were not weighed.
    pub(crate) omitted: usize,
}

/// What was measured of a variant, unit by unit.
struct Measured {
    case: CaseIndex,
    /// Log of the median of each unit, and the peak of memory.
    units: Vec<(UnitId, f64, Option<f64>)>,
    model_bytes: u64,
}

impl View<'_> {
    /// The front of a device, of the variants that were measured and ran where they were asked to; `None` with fewer
    /// than two.
    pub(crate) fn front(&self, device: usize) -> Option<Front> {
        let record = self.record;
        let variants = || record.plan.variants().iter().enumerate().filter(|(_, case)| case.device == device);
        let weighed = variants().take(MAX_MEMBERS).map(|(case, _)| measured(record, case));
        let all: Vec<Measured> = weighed.filter(|m| !m.units.is_empty()).collect();
        let omitted = variants().count().saturating_sub(MAX_MEMBERS);
        if all.len() < 2 {
            return None;
        }
        let scores = Scores::of(record, &all);
        let memory = all.iter().all(|m| m.units.iter().all(|(_, _, memory)| memory.is_some()));
        let every = |n: usize| (0..n).collect::<Vec<_>>();
        let examples = scores.as_ref().map(|s| every(s.examples)).unwrap_or_default();
        let values: Vec<[f64; AXES]> = (all.iter().enumerate())
            .map(|(at, m)| axes(m, &every(m.units.len()), memory, scores.as_ref(), at, &examples))
            .collect();
        let on_front = front(&values);
        let (draws, counts) = drawn(&all, memory, scores.as_ref(), record.plan.seed);
        let better = record.plan.suite.task.metric().better;
        let member = |(at, m): (usize, &Measured)| {
            let [score, latency, bytes, _] = values[at];
            Member {
                case: m.case,
                latency_ns: latency.exp(),
                memory_bytes: Some(bytes).filter(|b| b.is_finite()),
                model_bytes: m.model_bytes,
                score: Some(if better == Direction::Higher { -score } else { score })
                    .filter(|s| s.is_finite()),
                on_front: on_front[at],
                probability: counts[at] as f64 / draws as f64,
            }
        };
        let members = all.iter().enumerate().map(member).collect();
        Some(Front { members, draws, scored: scores.is_some(), memory, omitted })
    }
}

fn measured(record: &RunRecord, case: CaseIndex) -> Measured {
    let mut units = Vec::new();
    for unit in record.units.iter().filter(|unit| unit.purpose == Purpose::Performance) {
        let proven = |trial: &&TrialRecord| trial.loaded.as_ref().is_some_and(LoadedRecord::is_proven);
        let ended = unit.trials.iter().filter(|t| t.case == case && t.outcome == Outcome::Ok);
        for trial in ended.filter(proven) {
            let mut times: Vec<f64> = steady_times(unit, trial).collect();
            let middle = times.len() / 2;
            if times.is_empty() {
                continue;
            }
            let (_, median, _) = times.select_nth_unstable_by(middle, f64::total_cmp);
            let peak = trial.memory.iter().filter_map(|reading| reading.peak_bytes).max();
            units.push((unit.unit, median.max(f64::MIN_POSITIVE).ln(), peak.map(|bytes| bytes as f64)));
        }
    }
    let model_bytes = record.plan.cases.get(case).map_or(0, |case| case.model_bytes);
    Measured { case, units, model_bytes }
}

/// Outcomes of all variants, one after the other.
struct Scores {
    outcomes: Box<dyn Outcomes>,
    examples: usize,
    /// Less is better.
    sign: f64,
}

impl Scores {
    /// `None` where there are no labels, or a variant has no outputs.
    fn of(record: &RunRecord, all: &[Measured]) -> Option<Self> {
        let sides: Vec<Outputs<'_>> = all.iter().map(|m| outputs(record, m.case)).collect::<Option<_>>()?;
        let task = &record.plan.suite.task;
        let outcomes = scored(task, &record.plan.dataset, &sides).and_then(|s| s.outcomes()).ok()?;
        let sign = if task.metric().better == Direction::Higher { -1.0 } else { 1.0 };
        Some(Self { examples: outcomes.len() / sides.len().max(1), outcomes, sign })
    }

    /// Of the variant at that position, over these examples.
    fn of_side(&self, side: usize, examples: &[usize]) -> f64 {
        let at: Vec<usize> = examples.iter().map(|example| side * self.examples + example).collect();
        self.outcomes.score(&at).map_or(f64::NAN, |score| score * self.sign)
    }
}

/// Where a variant stands by these of its units and by these examples.
fn axes(
    measured: &Measured,
    units: &[usize],
    memory: bool,
    scores: Option<&Scores>,
    side: usize,
    examples: &[usize],
) -> [f64; AXES] {
    let n = units.len() as f64;
    let (mut latency, mut bytes) = (0.0, 0.0);
    for (_, log, peak) in units.iter().filter_map(|at| measured.units.get(*at)) {
        latency += log / n;
        bytes += peak.unwrap_or_default() / n;
    }
    let score = scores.map_or(f64::NAN, |s| s.of_side(side, examples));
    [score, latency, if memory { bytes } else { f64::NAN }, measured.model_bytes as f64]
}

/// How often each was on the front, and out of how many draws.
fn drawn(all: &[Measured], memory: bool, scores: Option<&Scores>, seed: u64) -> (usize, Vec<usize>) {
    let work = scores.map_or(0, |s| s.outcomes.work()) + AXES * all.len() * all.len();
    let draws = (WORK / work.max(1)).clamp(LEAST_DRAWS, MOST_DRAWS);
    let mut rng = Rng::new(seed ^ 0x70A2_E70F);
    let mut counts = vec![0; all.len()];
    let draw = |rng: &mut Rng, n: usize| (0..n).map(|_| rng.below(n)).collect::<Vec<_>>();
    for _ in 0..draws {
        let examples = scores.map(|s| draw(&mut rng, s.examples)).unwrap_or_default();
        // variants that were measured in the same units are drawn together
        let mut drawn: BTreeMap<Vec<UnitId>, Vec<usize>> = BTreeMap::new();
        let values: Vec<[f64; AXES]> = (all.iter().enumerate())
            .map(|(at, m)| {
                let ids = m.units.iter().map(|(unit, ..)| *unit).collect();
                let units = drawn.entry(ids).or_insert_with(|| draw(&mut rng, m.units.len()));
                axes(m, units, memory, scores, at, &examples)
            })
            .collect();
        for (count, on) in counts.iter_mut().zip(front(&values)) {
            *count += usize::from(on);
        }
    }
    (draws, counts)
}

/// Which of them no other one beats.
fn front(values: &[[f64; AXES]]) -> Vec<bool> {
    let beats = |a: &[f64; AXES], b: &[f64; AXES]| {
        let pairs = || a.iter().zip(b);
        pairs().all(|(a, b)| a <= b || a.is_nan() || b.is_nan()) && pairs().any(|(a, b)| a < b)
    };
    values.iter().map(|own| !values.iter().any(|other| beats(other, own))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{FakeCase, Recipe};
    use crate::verdict::verdicts;

    #[test]
    fn nobody_on_the_front_is_beaten() {
        let nan = f64::NAN;
        let on =
            front(&[[1.0, 2.0, nan, 3.0], [1.0, 1.0, nan, 3.0], [0.5, 5.0, nan, 3.0], [1.0, 1.0, nan, 3.0]]);
        // the first is as good as the second and slower; equal ones stay both
        assert_eq!(on, [false, true, true, true]);
        assert_eq!(front(&[[nan; AXES], [nan; AXES]]), [true, true]);
    }

    fn fronts(cases: Vec<FakeCase>) -> Front {
        let record = Recipe { cases, examples: 200, ..Recipe::small() }.run().record();
        let verdicts = verdicts(&record);
        View::new(&record, &verdicts).front(0).unwrap()
    }

    #[test]
    fn one_that_is_worse_in_everything_is_never_on_it() {
        let of = Recipe::vision().cases;
        let worse = FakeCase { latency_ns: 400_000.0, bytes: 200_000, output_noise: 3.0, ..of[3].clone() };
        let found = fronts(vec![of[0].clone(), of[3].clone(), worse]);
        let probabilities: Vec<f64> = found.members.iter().map(|m| m.probability).collect();
        assert_eq!((found.scored, found.memory, found.omitted), (true, true, 0));
        assert_eq!(found.members.iter().map(|m| m.on_front).collect::<Vec<_>>(), [true, true, false]);
        assert!(
            probabilities[0] > 0.9 && probabilities[1] == 1.0 && probabilities[2] == 0.0,
            "{probabilities:?}"
        );
    }

    #[test]
    fn one_that_fell_back_to_the_cpu_has_no_rank() {
        let mut record = Recipe { examples: 200, ..Recipe::small() }.run().record();
        for trial in record.units.iter_mut().flat_map(|unit| &mut unit.trials).filter(|t| t.case == 3) {
            trial.loaded.iter_mut().for_each(|loaded| loaded.proof.nodes_on_backend = 0);
        }
        let verdicts = verdicts(&record);
        let front = View::new(&record, &verdicts).front(0).unwrap();
        let cases: Vec<usize> = front.members.iter().map(|member| member.case).collect();
        assert_eq!(cases, [0, 1, 2, 4, 5, 6, 7]);
    }

    #[test]
    fn a_coin_toss_is_told_as_one() {
        let of = Recipe::vision().cases;
        // the same size and answers: only noise in time and memory sets them apart
        let twin = |name: &str| FakeCase { variant: format!("fashion@{name}"), ..of[0].clone() };
        let found = fronts(vec![twin("a"), twin("b"), twin("c"), twin("d")]);
        assert!(found.members.iter().any(|m| m.probability > 0.1 && m.probability < 0.9), "{found:?}");
        assert_eq!(found, fronts(vec![twin("a"), twin("b"), twin("c"), twin("d")]));
    }
}
