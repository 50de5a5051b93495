//! What will be measured, drawn from a seed before anything runs: groups of cases that are alive together, and
//! units. Pure: the same values in give the same plan out, on any machine. Knows no device and no
//! clock.

use protocol::{
    Artifact, CaseIndex, Contrast, DType, Inputs, Library, Mode, Observation, PerformanceRules, Rng,
    Schedule, Sha256Hex, Sharing, TensorFile, TrialSpec, UnitId, UnitSpec,
};
use reports::record::{CaseLibrary, CasePlan, Plan, Purpose};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    time::Duration,
};

/// Iterations of a profile.
pub(crate) const PROFILE_ITERATIONS: u32 = 10;
/// Most cases alive at once on a device: each keeps a process and its memory.
pub(crate) const MAX_GROUP: usize = 24;
/// Least memory a live worker is reckoned with, beside its model.
const WORKER_BYTES: u64 = 32 << 20;
/// A loaded model is reckoned with so many times its file: constants, packed copies, activations.
const MODEL_FACTOR: u64 = 4;
/// Share of a device's memory that live workers may fill.
const MEMORY_SHARE: u64 = 2;

/// Steady state per side and unit is not made shorter than this: too few blocks to average out the noise.
const MIN_STEADY_MS: u64 = 250;
/// What a side takes beside warm-up and steady state: process, load, first inference, and a warm-up that is
/// longer than its least.
const SIDE_OVERHEAD_MS: u64 = 700;
/// Units before the first look.
const UNITS_THAT_MUST_FIT: u64 = 6;
/// Start, load and first inference of the largest model on a slow device, and every last burst.
const GRACE_MS: u64 = 60_000;
/// A short time budget still leaves an accuracy worker so long: a busy machine is not a hanging model.
const LEAST_DEADLINE_MS: u64 = 10_000;
/// An example that takes longer than this on average counts as hung.
const SLOWEST_EXAMPLE_MS: u64 = 250;

/// Names of random streams: no two orders of a plan are drawn from one.
const STREAM_ACCURACY: u64 = 1;
const STREAM_ROUND: u64 = 2;
const STREAM_UNIT: u64 = 3;
const STREAM_GROUPS: u64 = 4;
const STREAM_CONFIRMATION: u64 = 5;

/// Cases that are measured together, per device: the two sides of every contrast share at least one group, and
/// no group has more cases than `most` or takes more memory than allowed, unless two cases alone do. `memory_bytes` is the
/// memory of each device, where known. Without a `wanted` schedule, a group that takes more memory than allowed is
/// measured one process after the other, and all others ping-pong.
pub(crate) fn groups(
    cases: &[CasePlan],
    contrasts: &[Contrast],
    memory_bytes: &[Option<u64>],
    most: usize,
    wanted: Option<Sharing>,
    seed: u64,
) -> Vec<(Vec<CaseIndex>, Sharing)> {
    let mut all = Vec::new();
    for (device, memory) in memory_bytes.iter().enumerate() {
        let clusters = clusters(cases, contrasts, device);
        let fits = |group: &BTreeSet<_>| fit_memory(cases, group, *memory);
        let mut rng = Rng::for_stream(seed, &[STREAM_GROUPS, device as u64]);
        let mut here = Vec::new();
        let order = rng.permutation(u32::try_from(clusters.len()).unwrap_or(u32::MAX));
        let mut group: BTreeSet<CaseIndex> = BTreeSet::new();
        for cluster in order.into_iter().filter_map(|at| clusters.get(at as usize)) {
            let together: BTreeSet<CaseIndex> = group.union(cluster).copied().collect();
            let small = together.len() <= most;
            if small && (wanted == Some(Sharing::Pairs) || fits(&together)) || group.is_empty() {
                group = together;
            } else {
                here.push(std::mem::replace(&mut group, cluster.clone()));
            }
        }
        if !group.is_empty() {
            here.push(group);
        }
        all.extend(here.into_iter().map(|group| {
            let usual = if fits(&group) { Sharing::PingPong } else { Sharing::Pairs };
            let sharing = wanted.unwrap_or(usual);
            (group.into_iter().collect(), sharing)
        }));
    }
    all
}

/// Every candidate with all it is compared with, and every case that nothing is compared with, without the
/// sets that another one contains.
fn clusters(cases: &[CasePlan], contrasts: &[Contrast], device: usize) -> Vec<BTreeSet<CaseIndex>> {
    let mut sets: Vec<BTreeSet<CaseIndex>> = Vec::new();
    for (index, case) in cases.iter().enumerate() {
        let is_reference = contrasts.iter().any(|c| c.reference == index);
        let references: BTreeSet<CaseIndex> =
            contrasts.iter().filter(|c| c.candidate == index).map(|c| c.reference).collect();
        if case.device == device && !(is_reference && references.is_empty()) {
            sets.push(references.into_iter().chain([index]).collect());
        }
    }
    // of two equal sets the first stays
    let covered = |at: usize, set: &BTreeSet<CaseIndex>| {
        sets.iter().enumerate().any(|(i, other)| set.is_subset(other) && (set != other || i < at))
    };
    sets.iter().enumerate().filter(|(at, set)| !covered(*at, set)).map(|(_, set)| set.clone()).collect()
}

/// Whether these cases may be alive together on a device with so much memory, where that is known.
pub(crate) fn fit_memory(
    cases: &[CasePlan],
    together: &BTreeSet<CaseIndex>,
    memory_bytes: Option<u64>,
) -> bool {
    let reckoned = together.iter().filter_map(|i| cases.get(*i)).fold(0u64, |sum, case| {
        sum.saturating_add(WORKER_BYTES).saturating_add(case.model_bytes.saturating_mul(MODEL_FACTOR))
    });
    memory_bytes.is_none_or(|all| reckoned <= all / MEMORY_SHARE)
}

/// Shortens steady state, within reason, when six units would not fit the time budget otherwise. True when it
/// did.
pub(crate) fn fit(
    rules: &mut PerformanceRules,
    cases: &[CasePlan],
    groups: &[Vec<CaseIndex>],
    budget: Option<Duration>,
) -> bool {
    let Some(budget) = budget else { return false };
    let mut sides: BTreeMap<usize, u64> = BTreeMap::new();
    for group in groups {
        if let Some(case) = group.first().and_then(|c| cases.get(*c)) {
            *sides.entry(case.device).or_default() += group.len() as u64;
        }
    }
    let sides = sides.values().copied().max().unwrap_or(1).max(1);
    let side = u64::try_from(budget.as_millis()).unwrap_or(u64::MAX) / UNITS_THAT_MUST_FIT / sides;
    let overhead = SIDE_OVERHEAD_MS.saturating_add(rules.warm_up.min_ms);
    let fitting = side.saturating_sub(overhead).max(MIN_STEADY_MS);
    let shortened = fitting < rules.min_ms;
    rules.min_ms = rules.min_ms.min(fitting);
    shortened
}

/// A performance worker at work for longer than this has hung.
pub(crate) fn performance_deadline_ms(rules: &PerformanceRules) -> u64 {
    GRACE_MS.saturating_add(rules.warm_up.max_ms).saturating_add(rules.max_ms)
}

/// An accuracy worker at work for longer than this has hung, or takes more than the whole budget.
pub(crate) fn accuracy_deadline_ms(examples: u64, budget: Option<Duration>) -> u64 {
    let budget = budget.and_then(|all| u64::try_from(all.as_millis()).ok()).unwrap_or(u64::MAX);
    GRACE_MS.saturating_add(examples.saturating_mul(SLOWEST_EXAMPLE_MS)).min(budget.max(LEAST_DEADLINE_MS))
}

/// A unit that the plan holds; whether it is needed is decided later.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PlannedUnit {
    /// Its number.
    pub(crate) unit: UnitId,
    /// Position of its device.
    pub(crate) device: usize,
    /// What it is for.
    pub(crate) purpose: Purpose,
    /// Number of its kind on this device, from 0.
    pub(crate) round: u32,
    /// Position in [`Measuring::groups`]; `None` for accuracy and profiles.
    pub(crate) group: Option<usize>,
    /// Seeds every order within.
    pub(crate) seed: u64,
    /// Its cases, in the order of its trials: the one in which pairs are measured.
    pub(crate) cases: Vec<CaseIndex>,
    /// Least iterations of every side, where the plan's rules give way to what the first units said.
    pub(crate) iterations: Option<u32>,
}

/// All units of the plan in the order in which a device goes through its own: accuracy first, every case in
/// a unit of its own, then profiles likewise, then rounds of performance units, the groups of each round in a random order, then as many
/// rounds in which findings can be confirmed. Those come last of all devices, so that they move no number.
pub(crate) fn units(plan: &Plan) -> Vec<PlannedUnit> {
    let mut all: Vec<PlannedUnit> = Vec::new();
    let mut add = |device, purpose, round, group, cases| {
        let number = u32::try_from(all.len()).unwrap_or(u32::MAX);
        let seed = Rng::for_stream(plan.seed, &[STREAM_UNIT, u64::from(number)]).next_u64();
        let cases = match group {
            Some(group) if plan.measuring.schedule(group) == Sharing::Pairs => shuffled(cases, seed),
            _ => cases,
        };
        let iterations = None;
        all.push(PlannedUnit {
            unit: UnitId(number),
            device,
            purpose,
            round,
            group,
            seed,
            cases,
            iterations,
        });
    };
    for device in 0..plan.devices.len() {
        let variants = plan.variants();
        let here: Vec<CaseIndex> = (0..variants.len()).filter(|i| variants[*i].device == device).collect();
        let asked = if plan.measuring.costs_only { 0 } else { here.len() as u32 };
        let mut rng = Rng::for_stream(plan.seed, &[STREAM_ACCURACY, device as u64]);
        for (round, at) in (0u32..).zip(rng.permutation(asked)) {
            add(device, Purpose::Accuracy, round, None, vec![here[at as usize]]);
        }
        for (round, case) in (0u32..).zip(&here).filter(|_| plan.measuring.profiles) {
            add(device, Purpose::Profile, round, None, vec![*case]);
        }
        for (round, group) in rounds(plan, device, STREAM_ROUND) {
            let cases = plan.measuring.groups[group].clone();
            add(device, Purpose::Performance, round, Some(group), cases);
        }
    }
    for device in 0..plan.devices.len() {
        for (round, group) in rounds(plan, device, STREAM_CONFIRMATION) {
            let cases = plan.measuring.groups[group].clone();
            add(device, Purpose::Confirmation, round, Some(group), cases);
        }
    }
    all
}

/// Cases that run one after the other, in an order of their unit.
fn shuffled(cases: Vec<CaseIndex>, seed: u64) -> Vec<CaseIndex> {
    let order = Rng::new(seed).permutation(u32::try_from(cases.len()).unwrap_or(u32::MAX));
    order.into_iter().filter_map(|at| cases.get(at as usize).copied()).collect()
}

/// Every group of a device once a round, in a random order; by number of round and position of the group.
fn rounds(plan: &Plan, device: usize, stream: u64) -> Vec<(u32, usize)> {
    let groups = &plan.measuring.groups;
    let of_device = |g: &usize| {
        let first = groups[*g].first().and_then(|c| plan.cases.get(*c));
        first.is_some_and(|case| case.device == device)
    };
    let here: Vec<usize> = (0..groups.len()).filter(of_device).collect();
    let round = |round: u32| {
        let mut rng = Rng::for_stream(plan.seed, &[stream, device as u64, u64::from(round)]);
        let order = rng.permutation(here.len() as u32);
        order.into_iter().map(|at| (round, here[at as usize])).collect::<Vec<_>>()
    };
    (0..plan.suite.max_units).flat_map(round).collect()
}

/// What models are fed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Feed {
    /// Tensor files by hash, one per model input, with type and shape.
    Files(Vec<(Sha256Hex, DType, Vec<u64>)>),
    /// Seeded values.
    Random {
        /// Seed of the generator.
        seed: u64,
        /// Number of examples.
        examples: u64,
    },
}

impl Feed {
    /// As the agent is told of it.
    fn inputs(&self, places: &BTreeMap<Sha256Hex, PathBuf>) -> Result<Inputs, String> {
        let files = match self {
            Self::Random { seed, examples } => {
                return Ok(Inputs::Random { seed: *seed, examples: *examples });
            }
            Self::Files(files) => files,
        };
        let one = |(sha256, dtype, shape): &(Sha256Hex, DType, Vec<u64>)| {
            Ok(TensorFile { file: placed(places, sha256)?, dtype: *dtype, shape: shape.clone() })
        };
        Ok(Inputs::Files { files: files.iter().map(one).collect::<Result<_, String>>()? })
    }
}

/// What a model is run on to look at its layers.
#[derive(Clone, Debug)]
pub(crate) struct Observe {
    /// What it is fed.
    pub(crate) feed: Feed,
    /// So many examples, from the first on.
    pub(crate) examples: u64,
}

impl Observe {
    /// As the agent is told of it.
    ///
    /// # Errors
    /// A file of examples has no place on the device.
    pub(crate) fn on_device(&self, places: &BTreeMap<Sha256Hex, PathBuf>) -> Result<Observation, String> {
        Ok(Observation { inputs: self.feed.inputs(places)?, examples: self.examples })
    }
}

fn placed(places: &BTreeMap<Sha256Hex, PathBuf>, sha256: &Sha256Hex) -> Result<Artifact, String> {
    match places.get(sha256) {
        Some(path) => Ok(Artifact { path: path.clone(), sha256: sha256.clone() }),
        None => Err(format!("the file with hash {} is not on the device", sha256.short())),
    }
}

/// A unit as the agent is told of it.
///
/// # Errors
/// A file that the unit needs has no place on the device.
pub(crate) fn unit_spec(
    plan: &Plan,
    unit: &PlannedUnit,
    feed: &Feed,
    places: &BTreeMap<Sha256Hex, PathBuf>,
) -> Result<UnitSpec, String> {
    let artifact = |sha256: &Sha256Hex| placed(places, sha256);
    let rules = &plan.measuring;
    let watching = plan.canaries.as_ref().filter(|_| unit.cases.iter().any(|case| plan.is_canary(*case)));
    let mut performance = watching.map_or(&rules.performance, |canaries| &canaries.performance).clone();
    if let Some(iterations) = unit.iterations {
        performance.min_iterations = iterations;
        performance.min_ms = performance.min_ms.min(MIN_STEADY_MS);
    }
    let timed = match unit.group.map(|group| rules.schedule(group)) {
        Some(Sharing::Pairs) => Schedule::Alone,
        Some(Sharing::PingPong) | None => Schedule::PingPong(rules.ping_pong.clone()),
    };
    let (schedule, mode, deadline_ms) = match unit.purpose {
        Purpose::Performance | Purpose::Confirmation => {
            (timed, Mode::Performance(performance), rules.performance_deadline_ms)
        }
        Purpose::Accuracy => (Schedule::Alone, Mode::Accuracy, rules.accuracy_deadline_ms),
        Purpose::Profile => {
            (Schedule::Alone, Mode::Profile { iterations: PROFILE_ITERATIONS }, rules.performance_deadline_ms)
        }
    };
    let inputs = feed.inputs(places)?;
    let timed = matches!(mode, Mode::Performance(_));
    let library = |library: &CaseLibrary| {
        Ok::<_, String>(Library {
            version: library.version.clone(),
            file: artifact(&library.sha256)?,
            with: library.with.iter().map(artifact).collect::<Result<_, _>>()?,
        })
    };
    let trial = |case: &CaseIndex| {
        let case = plan.cases.get(*case).ok_or_else(|| format!("the plan has no case {case}"))?;
        Ok(TrialSpec {
            runtime: case.runtime.clone(),
            library: case.library.as_ref().map(library).transpose()?,
            options: case.options.clone(),
            model: artifact(&case.model_sha256)?,
            threads: case.threads,
            inputs: inputs.clone(),
            mode: mode.clone(),
            deadline_ms,
            slowdown_permille: case.slowdown_permille.filter(|_| timed),
        })
    };
    let trials = unit.cases.iter().map(trial).collect::<Result<Vec<_>, String>>()?;
    // heat changes how long a model takes, not what it answers
    let waits = unit.purpose != Purpose::Accuracy;
    let cool_down = plan.devices.get(unit.device).and_then(|d| d.cool_down.clone()).filter(|_| waits);
    Ok(UnitSpec { unit: unit.unit, seed: unit.seed, schedule, cool_down, trials })
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::ContrastKind;

    fn case(name: &str, device: usize, model_bytes: u64) -> CasePlan {
        CasePlan {
            variant: name.parse().unwrap(),
            runtime: "builtin/cpu".parse().unwrap(),
            library: None,
            options: BTreeMap::new(),
            device,
            threads: 1,
            model_path: name.to_owned(),
            model_sha256: Sha256Hex::of_bytes(name.as_bytes()),
            model_bytes,
            slowdown_permille: None,
        }
    }

    /// `n` cases on one device, all compared with the first, and the second half with the first half.
    fn cases(n: usize, device: usize, model_bytes: u64) -> (Vec<CasePlan>, Vec<Contrast>) {
        let cases = (0..n).map(|i| case(&format!("m@v{i}"), device, model_bytes)).collect();
        let with = |kind, candidate, reference| Contrast { kind, candidate, reference };
        let mut contrasts: Vec<Contrast> = (1..n).map(|i| with(ContrastKind::Reference, i, 0)).collect();
        contrasts.extend((n / 2..n / 2 * 2).map(|i| with(ContrastKind::Format, i, i - n / 2)));
        (cases, contrasts)
    }

    /// The groups alone, of one device.
    fn alive(
        cases: &[CasePlan],
        contrasts: &[Contrast],
        memory: Option<u64>,
        seed: u64,
    ) -> Vec<Vec<CaseIndex>> {
        groups(cases, contrasts, &[memory], MAX_GROUP, None, seed)
            .into_iter()
            .map(|(group, _)| group)
            .collect()
    }

    fn plan(seed: u64, n: usize, max_units: u32) -> Plan {
        let (cases, contrasts) = cases(n, 0, 1000);
        let groups = alive(&cases, &contrasts, None, seed);
        let mut plan = crate::testing::plan();
        plan.seed = seed;
        plan.suite.max_units = max_units;
        plan.cases = cases;
        plan.contrasts = contrasts;
        plan.measuring.groups = groups;
        plan
    }

    #[test]
    fn eight_cases_are_one_group() {
        let (cases, contrasts) = cases(8, 0, 50_000);
        assert_eq!(alive(&cases, &contrasts, Some(4 << 30), 1), [(0..8).collect::<Vec<_>>()]);
    }

    #[test]
    fn every_contrast_finds_its_two_sides_alive_together() {
        for (n, memory) in [(2, None), (8, None), (9, None), (20, None), (64, None), (8, Some(1 << 28))] {
            let (cases, contrasts) = cases(n, 0, 1 << 20);
            for seed in 0..20 {
                let groups = alive(&cases, &contrasts, memory, seed);
                for c in &contrasts {
                    let both = |g: &&Vec<usize>| g.contains(&c.candidate) && g.contains(&c.reference);
                    assert!(groups.iter().any(|g| both(&g)), "{n} cases: {c:?} is in none of {groups:?}");
                }
                assert!(groups.iter().all(|g| g.len() <= MAX_GROUP), "{groups:?}");
                let twice = (1..n).filter(|i| groups.iter().filter(|g| g.contains(i)).count() > 1).count();
                assert_eq!(twice, 0, "only the reference is measured in several groups: {groups:?}");
            }
        }
    }

    #[test]
    fn without_outputs_there_are_no_units_for_them() {
        let mut plan = plan(1, 4, 3);
        plan.measuring.costs_only = true;
        let units = units(&plan);
        assert!(units.len() == 6 && units.iter().all(|u| u.purpose != Purpose::Accuracy), "{units:?}");
    }

    #[test]
    fn memory_bounds_a_group() {
        let (cases, contrasts) = cases(8, 0, 100 << 20);
        let groups = alive(&cases, &contrasts, Some(4 << 30), 1);
        // 432 MB each: four fit into half of 4 GiB, and the pairs of formats stay together
        assert!(groups.len() > 1 && groups.iter().all(|g| g.len() <= 4), "{groups:?}");
    }

    #[test]
    fn a_case_without_a_contrast_is_measured_all_the_same() {
        let cases = [case("m@only", 0, 1)];
        assert_eq!(alive(&cases, &[], None, 1), [vec![0]]);
    }

    #[test]
    fn the_same_seed_draws_the_same_plan_and_another_one_does_not() {
        let one = units(&plan(7, 8, 10));
        assert_eq!(one, units(&plan(7, 8, 10)));
        assert_ne!(one, units(&plan(8, 8, 10)));
        let seeds: BTreeSet<u64> = one.iter().map(|u| u.seed).collect();
        assert_eq!(seeds.len(), one.len(), "every unit draws orders of its own");
    }

    #[test]
    fn units_are_numbered_in_order_and_balanced() {
        let all = units(&plan(3, 20, 6));
        assert!(all.iter().enumerate().all(|(i, u)| u.unit == UnitId(i as u32)));
        let accuracy: Vec<_> = all.iter().filter(|u| u.purpose == Purpose::Accuracy).collect();
        let measured: BTreeSet<_> = accuracy.iter().flat_map(|u| &u.cases).collect();
        assert_eq!((accuracy.len(), measured.len()), (20, 20), "every case once, alone");
        for case in 1..20 {
            let n =
                all.iter().filter(|u| u.purpose == Purpose::Performance && u.cases.contains(&case)).count();
            assert_eq!(n, 6, "case {case}");
        }
        let first_accuracy: BTreeSet<usize> =
            (0..40).filter_map(|seed| units(&plan(seed, 4, 1)).first().map(|u| u.cases[0])).collect();
        assert_eq!(first_accuracy.len(), 4, "no case is always the first");
    }

    #[test]
    fn two_devices_have_units_of_their_own() {
        let mut two = plan(5, 3, 2);
        two.devices.push(two.devices[0].clone());
        two.cases.push(case("m@other", 1, 1));
        two.measuring.groups.push(vec![3]);
        let all = units(&two);
        assert!(all.iter().all(|u| u.cases.iter().all(|c| two.cases[*c].device == u.device)));
        let of_other = |purpose| all.iter().filter(|u| u.device == 1 && u.purpose == purpose).count();
        let counts = [Purpose::Accuracy, Purpose::Performance, Purpose::Confirmation].map(of_other);
        assert_eq!(counts, [1, 2, 2]);
    }

    #[test]
    fn steady_state_gives_way_to_the_budget_and_no_further() {
        let (cases, contrasts) = cases(8, 0, 1);
        let groups = alive(&cases, &contrasts, None, 1);
        let mut rules = crate::testing::plan().measuring.performance;
        rules.min_ms = 1000;
        let minutes = |m: u64| Some(Duration::from_secs(60 * m));
        assert!(!fit(&mut rules.clone(), &cases, &groups, None));
        assert!(!fit(&mut rules.clone(), &cases, &groups, minutes(4)), "eight variants fit four minutes");
        let mut shorter = rules.clone();
        assert!(fit(&mut shorter, &cases, &groups, minutes(1)));
        assert_eq!(shorter.min_ms, MIN_STEADY_MS);
    }

    #[test]
    fn what_does_not_fit_together_is_measured_in_pairs() {
        let (cases, contrasts) = cases(3, 0, 1 << 30);
        let drawn = |wanted| groups(&cases, &contrasts, &[Some(4 << 30)], MAX_GROUP, wanted, 1);
        let schedules = |wanted| drawn(wanted).into_iter().map(|(_, sharing)| sharing).collect::<Vec<_>>();
        assert_eq!(schedules(None), [Sharing::Pairs; 2], "two of them take more than half of the memory");
        assert_eq!(schedules(Some(Sharing::PingPong)), [Sharing::PingPong; 2]);
        assert_eq!(drawn(Some(Sharing::Pairs)), [(vec![0, 1, 2], Sharing::Pairs)], "one by one, all fit");
    }

    #[test]
    fn pairs_are_in_an_order_of_their_unit() {
        let mut plan = plan(9, 2, 40);
        plan.measuring.schedules = vec![Sharing::Pairs];
        let all = units(&plan);
        let of = |purpose| all.iter().filter(move |u| u.purpose == purpose);
        for purpose in [Purpose::Performance, Purpose::Confirmation] {
            let first: usize = of(purpose).filter(|unit| unit.cases == [0, 1]).count();
            assert!((8..=32).contains(&first), "{first} of 40");
            assert!(of(purpose).all(|unit| unit.cases == [0, 1] || unit.cases == [1, 0]));
        }
        let unit = of(Purpose::Performance).next().unwrap();
        let places: BTreeMap<Sha256Hex, PathBuf> =
            plan.cases.iter().map(|c| (c.model_sha256.clone(), c.model_path.clone().into())).collect();
        let feed = Feed::Random { seed: 1, examples: 4 };
        let spec = unit_spec(&plan, unit, &feed, &places).unwrap();
        assert_eq!((spec.check(), spec.schedule), (Ok(()), Schedule::Alone));
    }

    #[test]
    fn a_unit_names_every_file_by_its_place() {
        let mut plan = plan(1, 2, 1);
        plan.cases[1].threads = 3;
        plan.cases[1].slowdown_permille = Some(30);
        let unit = &units(&plan)[2];
        let data = Sha256Hex::of_bytes(b"data");
        let feed = Feed::Files(vec![(data.clone(), DType::U8, vec![5, 2])]);
        let mut places: BTreeMap<Sha256Hex, PathBuf> =
            plan.cases.iter().map(|c| (c.model_sha256.clone(), c.model_path.clone().into())).collect();
        assert!(unit_spec(&plan, unit, &feed, &places).unwrap_err().contains(data.short()));
        places.insert(data, "tensor".into());
        let spec = unit_spec(&plan, unit, &feed, &places).unwrap();
        assert_eq!(spec.check(), Ok(()));
        assert_eq!((spec.trials[0].threads, spec.trials[1].threads), (1, 3));
        assert_eq!(spec.trials[1].model.path, PathBuf::from("m@v1"));
        assert!(matches!(spec.schedule, Schedule::PingPong(_)));
        assert_eq!((spec.trials[0].slowdown_permille, spec.trials[1].slowdown_permille), (None, Some(30)));
        let chosen = PlannedUnit { iterations: Some(70), ..unit.clone() };
        let long = PerformanceRules { min_ms: 1000, ..plan.measuring.performance.clone() };
        plan.measuring.performance = long.clone();
        let spec = unit_spec(&plan, &chosen, &feed, &places).unwrap();
        let shorter = PerformanceRules { min_iterations: 70, min_ms: MIN_STEADY_MS, ..long };
        assert!(spec.trials.iter().all(|t| t.mode == Mode::Performance(shorter.clone())), "the same for all");
        let accuracy = units(&plan).into_iter().find(|u| u.cases == [1]).unwrap();
        let spec = unit_spec(&plan, &accuracy, &feed, &places).unwrap();
        assert_eq!((spec.check(), spec.trials[0].slowdown_permille), (Ok(()), None));
    }
}
