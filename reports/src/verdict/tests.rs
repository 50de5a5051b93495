//! Invented records with known effects: do the right words come out?

use super::*;
use crate::record::{
    CasePlan, ContrastKind, CooledDownRecord, DatasetFacts, DevicePlan, Labels, LoadedRecord, Measuring,
    OutputsRecord, Plan, Purpose, RECORD_SCHEMA, Subject, SuiteFacts, TrialRecord, UnitRecord,
};
use proptest::prelude::*;
use protocol::{
    BackendProof, FailKind, MemoryPhase, MemoryReading, Outcome, PeakMethod, PerformanceRules, PingPong,
    SamplePhase, Samples, Sha256Hex, UnitId, WarmUp,
};
use stats::Rng;
use stats::sequential::Next;
use std::collections::BTreeMap;

/// What to invent: latencies in ns per case, and noise.
pub(super) struct Recipe {
    pub(super) latency_ns: Vec<f64>,
    pub(super) units: usize,
    /// sd of what all cases of a unit share, as a log ratio.
    pub(super) shared: f64,
    /// sd of what each trial has to itself.
    pub(super) own: f64,
    pub(super) memory: Vec<u64>,
    pub(super) seed: u64,
}

impl Recipe {
    pub(super) fn two(ratio: f64, units: usize) -> Self {
        let latency_ns = vec![1e6, 1e6 * ratio];
        Self { latency_ns, units, shared: 0.2, own: 0.005, memory: vec![50 << 20, 40 << 20], seed: 1 }
    }

    pub(super) fn record(&self) -> RunRecord {
        let mut rng = Rng::new(self.seed);
        let units = (0..self.units).map(|u| self.unit(u, &mut rng)).collect();
        let cases = self.latency_ns.len();
        let plan = plan(cases);
        RunRecord {
            devices: vec![None],
            facts: vec![None; cases],
            units,
            losses: Vec::new(),
            finished: Some("all units measured".to_owned()),
            seal: Sha256Hex::of_bytes(b""),
            plan,
        }
    }

    fn unit(&self, unit: usize, rng: &mut Rng) -> UnitRecord {
        let shared = (rng.normal() * self.shared).exp();
        let trials = self.latency_ns.iter().enumerate().map(|(case, latency)| {
            let level = latency * shared * (rng.normal() * self.own).exp();
            let mut times = || (0..20).map(|_| (level * (1.0 + 0.02 * rng.uniform())) as u64).collect();
            let (wall_ns, cpu_ns): (Vec<u64>, Vec<u64>) = (times(), times());
            let burst = Samples {
                phase: SamplePhase::Steady,
                block: 0,
                burst: 0,
                start_ns: 0,
                batch: 1,
                wall_ns,
                cpu_ns,
                involuntary_switches: 0,
                core: None,
                khz: None,
            };
            let second = Samples { block: 1, ..burst.clone() };
            let peak_bytes = self.memory.get(case).copied();
            TrialRecord {
                case,
                outcome: Outcome::Ok,
                loaded: Some(loaded(case)),
                first_inference_ns: Some((level * 3.0) as u64),
                warmed_up: None,
                memory: vec![memory(peak_bytes)],
                bursts: vec![burst, second],
                cut_short: None,
                digests: Vec::new(),
                outputs: None,
                profile: Vec::new(),
            }
        });
        UnitRecord::new(UnitId(unit as u32), 0, Purpose::Performance, 0, trials.collect())
    }
}

fn hash(text: &str) -> Sha256Hex {
    Sha256Hex::of_bytes(text.as_bytes())
}

fn loaded(case: usize) -> LoadedRecord {
    LoadedRecord {
        model_sha256: hash(&format!("model {case}")),
        input_sha256: vec![hash("input")],
        load_ns: 1_000_000,
        compile_ns: 2_000_000,
        inputs: Vec::new(),
        outputs: Vec::new(),
        proof: BackendProof { nodes_total: 5, nodes_on_backend: 5, ..BackendProof::default() },
    }
}

fn memory(peak_bytes: Option<u64>) -> MemoryReading {
    MemoryReading {
        phase: MemoryPhase::Steady,
        peak_bytes,
        peak_method: Some(PeakMethod::VmHwmReset),
        rss_anon_bytes: None,
        rss_file_bytes: None,
        pss_bytes: None,
        private_dirty_bytes: None,
        swap_bytes: None,
        arena_peak_bytes: None,
    }
}

fn plan(cases: usize) -> Plan {
    let warm_up = WarmUp { min_iterations: 1, min_ms: 1, max_ms: 1, agree_permille: 20 };
    let case = |case: usize| CasePlan {
        variant: format!("m@v{case}").parse().unwrap(),
        runtime: "builtin/cpu".parse().unwrap(),
        device: 0,
        threads: 1,
        model_path: format!("m{case}"),
        model_sha256: hash(&format!("model {case}")),
        model_bytes: 1000 * (case as u64 + 1),
        slowdown_permille: None,
        library: None,
        options: BTreeMap::new(),
    };
    Plan {
        schema: RECORD_SCHEMA,
        run: "run".into(),
        created: "2026-01-01T00:00:00Z".into(),
        version: "0.1.0".into(),
        command: Vec::new(),
        seed: 1,
        subject: Subject::Suite { at: "test".into() },
        suite: SuiteFacts {
            name: "test".into(),
            title: "test".into(),
            sha256: hash(""),
            task: Task::CLASSIFICATION,
            margin: 0.03,
            margins: BTreeMap::new(),
            accuracy_margin: 0.01,
            max_units: 40,
            precision: None,
        },
        dataset: DatasetFacts {
            name: "d".into(),
            source: "s".into(),
            sha256: vec![hash("input")],
            ..DatasetFacts::default()
        },
        devices: vec![DevicePlan::new("local", "local")],
        cases: (0..cases).map(case).collect(),
        contrasts: (1..cases)
            .map(|candidate| Contrast { kind: ContrastKind::Reference, candidate, reference: 0 })
            .collect(),
        measuring: Measuring {
            performance: PerformanceRules { example: 0, warm_up, min_iterations: 1, min_ms: 1, max_ms: 1 },
            ping_pong: PingPong { burst_min_iterations: 1, burst_min_ms: 1 },
            groups: vec![(0..cases).collect()],
            schedules: Vec::new(),
            performance_deadline_ms: 1,
            accuracy_deadline_ms: 1,
            time_budget_ms: None,
            profiles: false,
            costs_only: false,
        },
        canaries: None,
    }
}

/// Adds outputs over two classes: `right[case][example]`.
fn with_answers(mut record: RunRecord, right: &[Vec<bool>]) -> RunRecord {
    let examples = right[0].len();
    record.plan.dataset.labels = Labels::Classes((0..examples).map(|i| (i % 2) as u32).collect());
    record.plan.dataset.examples = examples as u64;
    let trials = right.iter().enumerate().map(|(case, right)| {
        let scores = right.iter().enumerate().flat_map(|(i, right)| {
            let answer = if *right { i % 2 } else { 1 - i % 2 };
            [(answer == 0) as u8 as f32, (answer == 1) as u8 as f32 + case as f32 * 0.001]
        });
        let values: Vec<f32> = scores.collect();
        let outputs = OutputsRecord {
            sha256: hash("outputs"),
            examples: examples as u64,
            elements: vec![2],
            values: Some(values),
        };
        TrialRecord {
            case,
            outcome: Outcome::Ok,
            loaded: Some(loaded(case)),
            first_inference_ns: None,
            warmed_up: None,
            memory: Vec::new(),
            bursts: Vec::new(),
            cut_short: None,
            digests: Vec::new(),
            outputs: Some(outputs),
            profile: Vec::new(),
        }
    });
    record.units.push(UnitRecord::new(UnitId(9999), 0, Purpose::Accuracy, 0, trials.collect()));
    record
}

pub(super) fn swapped(mut record: RunRecord) -> RunRecord {
    for contrast in &mut record.plan.contrasts {
        std::mem::swap(&mut contrast.candidate, &mut contrast.reference);
    }
    record
}

pub(super) fn find(record: &RunRecord, name: &str) -> ContrastRow {
    pick(&verdicts(record), name)
}

fn pick(verdicts: &Verdicts, name: &str) -> ContrastRow {
    verdicts.rows.iter().find(|row| row.metric.name == name).expect("the row is there").clone()
}

fn ratio(row: &ContrastRow) -> &RatioEvidence {
    match &row.evidence {
        Evidence::Ratio(evidence) => evidence,
        other => panic!("{other:?}"),
    }
}

fn accuracy(row: &ContrastRow) -> &ScoreEvidence {
    match &row.evidence {
        Evidence::Score(evidence) => evidence,
        other => panic!("{other:?}"),
    }
}

#[test]
fn latency_words_follow_the_effect() {
    for (effect, expected) in [
        (0.5, Verdict::Better),
        (0.95, Verdict::Better),
        (1.0, Verdict::Equivalent),
        (1.05, Verdict::Worse),
        (2.0, Verdict::Worse),
    ] {
        let record = Recipe::two(effect, 10).record();
        let row = find(&record, "latency_ns");
        assert_eq!(row.verdict, Some(expected), "{effect}: {row:?}");
        let evidence = ratio(&row);
        assert!((evidence.ratio / effect).ln().abs() < 0.01, "{effect}: {}", evidence.ratio);
        assert!((row.candidate.unwrap() / row.reference.unwrap() - evidence.ratio).abs() < 1e-9);
        let decision = evidence.decision.unwrap();
        assert_eq!(decision.contains(1.0), expected == Verdict::Equivalent);
        assert!(decision.low <= evidence.plain.low && evidence.plain.high <= decision.high);
        let p = row.p_value.unwrap();
        assert!(row.q_value.unwrap() >= p);
        assert_eq!(p < 0.02, expected != Verdict::Equivalent);
    }
}

#[test]
fn noise_that_hides_the_effect_is_inconclusive() {
    let recipe = Recipe { own: 0.2, ..Recipe::two(1.05, 10) };
    let row = find(&recipe.record(), "latency_ns");
    assert_eq!(row.verdict, Some(Verdict::Inconclusive));
    assert_eq!(row.reasons, [Reason::Undecided { units: 10 }]);
    assert!(ratio(&row).minimum_detectable_ratio.unwrap() > 1.1);
}

#[test]
fn few_units_call_nothing_and_none_are_invalid() {
    for units in 1..6 {
        let row = find(&Recipe::two(2.0, units).record(), "latency_ns");
        assert_eq!(row.verdict, Some(Verdict::Inconclusive), "{units}");
        assert_eq!(row.reasons, [Reason::TooFewUnits { units, needed: 6 }]);
        assert_eq!(row.p_value, None);
    }
    let row = find(&Recipe::two(2.0, 0).record(), "latency_ns");
    assert_eq!((row.verdict, row.reasons), (Some(Verdict::Invalid), vec![Reason::NoUnits]));
}

#[test]
fn a_certain_but_small_change_says_so() {
    let recipe = Recipe { own: 0.0005, ..Recipe::two(1.02, 10) };
    let row = find(&recipe.record(), "latency_ns");
    assert_eq!(row.verdict, Some(Verdict::Worse));
    let fresh = Reason::NotConfirmed { units: 0, next: 6 };
    assert_eq!(row.reasons, [fresh, Reason::WithinMargin { margin: 0.03 }]);
    let recipe = Recipe { own: 0.0005, ..Recipe::two(1.005, 10) };
    assert_eq!(find(&recipe.record(), "latency_ns").verdict, Some(Verdict::Equivalent));
}

#[test]
fn memory_without_spread_is_compared_exactly() {
    let row = find(&Recipe::two(1.0, 3).record(), "memory_peak_bytes");
    assert_eq!((row.verdict, row.p_value), (Some(Verdict::Better), None));
    assert_eq!((row.reasons, row.evidence), (vec![Reason::Deterministic], Evidence::Exact));
    let emulated = Recipe { memory: Vec::new(), ..Recipe::two(1.0, 8) };
    let row = find(&emulated.record(), "memory_peak_bytes");
    assert_eq!((row.verdict, row.reasons), (None, vec![Reason::NotMeasured]));
}

#[test]
fn size_is_exact() {
    let row = find(&Recipe::two(1.0, 0).record(), "model_bytes");
    assert_eq!(
        (row.verdict, row.candidate, row.reference),
        (Some(Verdict::Worse), Some(2000.0), Some(1000.0))
    );
}

#[test]
fn broken_guards_make_it_invalid() {
    type Break = fn(&mut RunRecord);
    type Named = fn(&Reason) -> bool;
    let breaks: [(Break, Named); 7] = [
        (
            |r| r.units[3].trials[1].outcome = failed(FailKind::OutputsUnstable),
            |r| matches!(r, Reason::OutputsUnstable { side: Side::Candidate }),
        ),
        (
            |r| r.units[..3].iter_mut().for_each(|u| u.trials[0].outcome = failed(FailKind::Runtime)),
            |r| matches!(r, Reason::TrialsFailed { side: Side::Reference, failed: 3, of: 10, .. }),
        ),
        (
            |r| {
                r.units
                    .iter_mut()
                    .for_each(|u| u.trials[1].outcome = Outcome::Crashed { signal: 11, why: None })
            },
            |r| matches!(r, Reason::NoUnits),
        ),
        (
            |r| r.units[..5].iter_mut().for_each(|u| u.dropped_blocks.push((1, "frequency".into()))),
            |r| matches!(r, Reason::BlocksDropped { dropped: 5, of: 20, .. }),
        ),
        (
            |r| r.units[2].trials[1].loaded.as_mut().unwrap().model_sha256 = hash("another"),
            |r| matches!(r, Reason::ModelMismatch { side: Side::Candidate }),
        ),
        (
            |r| r.units[2].trials[1].loaded.as_mut().unwrap().input_sha256 = vec![],
            |r| matches!(r, Reason::InputMismatch { .. }),
        ),
        (
            |r| r.units[2].trials[0].loaded.as_mut().unwrap().proof.nodes_on_backend = 0,
            |r| matches!(r, Reason::BackendNotProven { side: Side::Reference }),
        ),
    ];
    for (at, (spoil, is_named)) in breaks.into_iter().enumerate() {
        let mut record = Recipe::two(2.0, 10).record();
        spoil(&mut record);
        let row = find(&record, "latency_ns");
        assert_eq!(row.verdict, Some(Verdict::Invalid), "break {at}: {row:?}");
        assert!(row.reasons.iter().any(is_named), "break {at}: {:?}", row.reasons);
        assert_eq!(row.p_value, None, "break {at}");
        assert!(row.reasons.iter().all(|r| !r.to_string().is_empty()));
    }
}

fn failed(kind: FailKind) -> Outcome {
    Outcome::Failed { kind, message: "said so".to_owned() }
}

#[test]
fn what_can_be_borne_is_told_and_does_not_decide() {
    let mut record = Recipe::two(2.0, 10).record();
    record.units[0].trials[0].outcome = Outcome::TimedOut;
    record.units[1].dropped_blocks.push((0, "hot".into()));
    record.units[2].trials[1].cut_short = Some("30 of 50 iterations".into());
    for burst in &mut record.units[3].trials[1].bursts {
        burst.cpu_ns.iter_mut().for_each(|ns| *ns /= 2);
    }
    record.units[4].trials[1].outcome = Outcome::Skipped { reason: "cancelled".into() };
    for (unit, reached) in [(6, true), (7, false)] {
        let wait = CooledDownRecord { waited_ms: 9, zone: None, milli_celsius: Some(61_000), reached };
        record.units[unit].cooled_down = Some(wait);
    }
    record.units[5].trials[0].loaded.as_mut().unwrap().proof.nodes_on_backend = 4;
    let row = find(&record, "latency_ns");
    assert_eq!(row.verdict, Some(Verdict::Worse));
    assert_eq!(ratio(&row).pairs.len(), 8);
    let told = |is: fn(&Reason) -> bool| row.reasons.iter().any(is);
    assert!(told(|r| *r == Reason::StartedHot { units: 1, of: 2 }));
    assert!(told(|r| matches!(r, Reason::TrialsFailed { failed: 1, of: 10, .. })), "{:?}", row.reasons);
    assert!(told(|r| matches!(r, Reason::BlocksDropped { dropped: 1, of: 20, .. })), "{:?}", row.reasons);
    assert!(told(|r| matches!(r, Reason::CutShort { side: Side::Candidate, trials: 1 })));
    assert!(told(|r| matches!(r, Reason::Contended { side: Side::Candidate, trials: 1, of: 9, .. })));
    assert!(told(|r| matches!(r, Reason::PartialBackend { side: Side::Reference, on_backend: 4, total: 5 })));
}

#[test]
fn dropped_blocks_do_not_count() {
    let mut record = Recipe::two(1.0, 10).record();
    let unit = &mut record.units[0];
    unit.dropped_blocks.push((1, "throttled".into()));
    unit.trials[1].bursts[1].wall_ns.iter_mut().for_each(|ns| *ns *= 50);
    unit.trials[1].bursts[1].cpu_ns.iter_mut().for_each(|ns| *ns *= 50);
    assert_eq!(find(&record, "latency_ns").verdict, Some(Verdict::Equivalent));
}

#[test]
fn batches_are_per_invoke() {
    let plain = find(&Recipe::two(1.5, 8).record(), "latency_ns");
    let mut record = Recipe::two(1.5, 8).record();
    for burst in record.units.iter_mut().flat_map(|u| &mut u.trials[1].bursts) {
        burst.batch = 10;
        burst.wall_ns.iter_mut().chain(&mut burst.cpu_ns).for_each(|ns| *ns *= 10);
    }
    assert_eq!(find(&record, "latency_ns"), plain);
}

#[test]
fn a_coarse_cpu_clock_is_not_chosen() {
    let mut record = Recipe::two(1.05, 10).record();
    for burst in record.units.iter_mut().flat_map(|u| &mut u.trials).flat_map(|t| &mut t.bursts) {
        burst.cpu_ns.iter_mut().for_each(|ns| *ns = 1_000_000);
    }
    let row = find(&record, "latency_ns");
    assert_ne!(ratio(&row).location, Some(Location::CpuMedian));
    assert_eq!(row.verdict, Some(Verdict::Worse));
}

/// Both right on `both`, lost and gained as named, wrong on 100 more.
fn answers(both: usize, lost: usize, gained: usize) -> Vec<Vec<bool>> {
    let row = |on_lost: bool, on_gained: bool| {
        let cell = |value, n| std::iter::repeat_n(value, n);
        cell(true, both)
            .chain(cell(on_lost, lost))
            .chain(cell(on_gained, gained))
            .chain(cell(false, 100))
            .collect()
    };
    vec![row(true, false), row(false, true)]
}

#[test]
fn accuracy_words_follow_the_table() {
    for (lost, gained, expected) in [
        (60, 5, Verdict::Worse),
        (5, 60, Verdict::Better),
        (10, 10, Verdict::Equivalent),
        (60, 50, Verdict::Inconclusive),
    ] {
        let record = with_answers(Recipe::two(1.0, 0).record(), &answers(1800, lost, gained));
        let row = find(&record, "accuracy_top1");
        assert_eq!(row.verdict, Some(expected), "{lost} {gained}: {row:?}");
        let evidence = accuracy(&row);
        let Method::Table { table, .. } = evidence.method else { panic!("{:?}", evidence.method) };
        assert_eq!((table.lost, table.gained), (lost as u64, gained as u64));
        assert_eq!(evidence.flips.len(), lost + gained);
        assert!(evidence.flips.iter().all(|f| (f.candidate == Some(f.label)) != f.lost));
        assert_eq!(evidence.non_inferior, evidence.equivalence.low > -0.01);
        assert!((row.candidate.unwrap() - row.reference.unwrap() - evidence.difference.point).abs() < 1e-12);
    }
}

#[test]
fn small_test_sets_cannot_tell() {
    let record = with_answers(Recipe::two(1.0, 0).record(), &answers(100, 2, 2));
    let row = find(&record, "accuracy_top1");
    assert_eq!(row.verdict, Some(Verdict::Inconclusive));
    assert!(
        matches!(row.reasons[0], Reason::UndecidedExamples { examples: 204, visible, .. } if visible > 0.02)
    );
}

#[test]
fn output_differences_are_shown_and_not_judged() {
    let record = with_answers(Recipe::two(1.0, 0).record(), &answers(1800, 10, 10));
    let row = find(&record, "max_abs_error");
    assert_eq!((row.verdict, row.p_value, row.reference), (None, None, None));
    assert!(row.candidate.unwrap() > 0.99);
    let agreement = find(&record, "agreement_top1");
    assert_eq!((agreement.verdict, agreement.candidate), (None, Some(1900.0 / 1920.0)));
    assert!(find(&record, "cosine").candidate.unwrap() < 1.0);
    assert!(find(&record, "sqnr_db").candidate.unwrap() > 10.0);
}

#[test]
fn without_labels_agreement_is_judged() {
    for (flips, expected) in [(0, Verdict::Equivalent), (20, Verdict::Inconclusive), (100, Verdict::Worse)] {
        let mut record = with_answers(Recipe::two(1.0, 0).record(), &answers(1900 - flips, flips, 0));
        record.plan.suite.task = Task::Agreement {};
        assert!(verdicts(&record).rows.iter().all(|row| row.metric.name != "accuracy_top1"));
        assert_eq!(find(&record, "agreement_top1").verdict, Some(expected), "{flips}");
    }
}

#[test]
fn missing_outputs_are_invalid_and_named() {
    let mut record = with_answers(Recipe::two(1.0, 0).record(), &answers(100, 0, 0));
    record.units[0].trials[1].outcome = Outcome::Crashed { signal: 6, why: None };
    let row = find(&record, "accuracy_top1");
    assert_eq!(row.verdict, Some(Verdict::Invalid));
    let mut unstable = with_answers(Recipe::two(1.0, 1).record(), &answers(100, 0, 0));
    unstable.units[0].trials[1].outcome = failed(FailKind::OutputsUnstable);
    assert_eq!(find(&unstable, "accuracy_top1").verdict, Some(Verdict::Invalid));
    assert!(row.reasons.iter().any(|r| r.to_string().contains("signal 6")), "{:?}", row.reasons);
    assert_eq!(find(&record, "cosine").verdict, None);
}

#[test]
fn measuring_goes_on_until_every_contrast_is_decided() {
    let recipe = |own, units| Recipe {
        latency_ns: vec![1e6, 2e6, 1.02e6],
        memory: Vec::new(),
        own,
        ..Recipe::two(1.0, units)
    };
    let next = |record: &RunRecord| next_step(&record.plan, &record.units, 0);
    assert_eq!(next(&recipe(0.002, 8).record()), Next::Stop);
    assert_eq!(next(&recipe(0.05, 8).record()), Next::Continue { units: 10 });
    assert_eq!(next(&recipe(0.05, 3).record()), Next::Continue { units: 6 });
    assert_eq!(next(&recipe(0.2, 40).record()), Next::Stop);
    // another device's units are none of its business
    let record = recipe(0.05, 8).record();
    assert_eq!(next_step(&record.plan, &record.units, 1), Next::Stop);
}

#[test]
fn summaries_are_as_measured() {
    let record = with_answers(Recipe::two(2.0, 10).record(), &answers(150, 0, 0));
    let cases = verdicts(&record).cases;
    assert_eq!(cases.len(), 2);
    let latency = cases[1].latency.as_ref().unwrap();
    assert_eq!((latency.samples, cases[1].trials, cases[1].failed), (400, 10, 0));
    let printed: Vec<bool> = latency.percentiles.iter().map(|p| p.value.is_some()).collect();
    assert_eq!(printed, [true, true, true, true, false]);
    assert_eq!(latency.tail_ratio, None);
    assert!(latency.sd_between.unwrap() > latency.sd_within.unwrap());
    assert_eq!((cases[0].init_ns, cases[0].model_bytes), (Some(3e6), 1000));
    assert_eq!(cases[0].score.unwrap().point, 0.6);
}

#[test]
fn hostile_records_do_not_panic() {
    let mut record = with_answers(Recipe::two(1.0, 7).record(), &answers(10, 1, 1));
    record.plan.contrasts.push(Contrast { kind: ContrastKind::Format, candidate: 77, reference: 1 });
    record.plan.suite.margin = f64::NAN;
    record.plan.suite.accuracy_margin = -1.0;
    record.plan.dataset.labels = Labels::Classes(vec![3]);
    for burst in record.units.iter_mut().flat_map(|u| &mut u.trials).flat_map(|t| &mut t.bursts) {
        burst.batch = 0;
        burst.wall_ns = vec![0, u64::MAX];
        burst.cpu_ns = Vec::new();
    }
    let found = verdicts(&record);
    assert!(found.rows.iter().all(|row| row.verdict != Some(Verdict::Equivalent)), "{found:?}");
    assert_eq!(next_step(&record.plan, &record.units, 0), Next::Stop);
}

fn mirrored(verdict: Option<Verdict>) -> Option<Verdict> {
    match verdict {
        Some(Verdict::Better) => Some(Verdict::Worse),
        Some(Verdict::Worse) => Some(Verdict::Better),
        other => other,
    }
}

proptest! {
    // a failure prints its input: nothing is written beside the sources
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn swapping_the_sides_mirrors_the_verdict(
        log_effect in -0.1f64..0.1, own in 0.0005f64..0.05, units in 2usize..14, seed: u64,
        lost in 0usize..60, gained in 0usize..60,
    ) {
        let recipe = Recipe { own, seed, ..Recipe::two(log_effect.exp(), units) };
        let record = with_answers(recipe.record(), &answers(1500, lost, gained));
        let (record, back) = (verdicts(&record), verdicts(&swapped(record.clone())));
        for name in ["latency_ns", "init_ns", "first_inference_ns", "memory_peak_bytes", "model_bytes", "accuracy_top1"] {
            let (there, back) = (pick(&record, name), pick(&back, name));
            prop_assert_eq!(there.verdict, mirrored(back.verdict), "{}", name);
            prop_assert_eq!((there.candidate, there.reference), (back.reference, back.candidate));
            let (p, q) = (there.p_value.unwrap_or(2.0), back.p_value.unwrap_or(2.0));
            prop_assert!((p - q).abs() <= 1e-9 * p, "{}: {} {}", name, p, q);
        }
    }

    #[test]
    fn the_order_of_units_beyond_the_choice_of_location_does_not_matter(
        own in 0.0005f64..0.05, seed: u64, shuffle: u64,
    ) {
        let record = Recipe { own, seed, ..Recipe::two(1.03, 13) }.record();
        let mut other = record.clone();
        Rng::new(shuffle).shuffle(&mut other.units[6..]);
        Rng::new(shuffle).shuffle(&mut other.units[..6]);
        let (a, b) = (find(&record, "latency_ns"), find(&other, "latency_ns"));
        prop_assert_eq!(a.verdict, b.verdict);
        prop_assert!((ratio(&a).ratio - ratio(&b).ratio).abs() < 1e-12);
        prop_assert_eq!(ratio(&a).location, ratio(&b).location);
    }
}
