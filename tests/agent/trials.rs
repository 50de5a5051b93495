//! What becomes of a trial: every outcome, what is measured, inputs and outputs, cancelling.

use crate::client::{Agent, agent, alone, examples, fake_model, file, outcomes, ping_pong, trial};
use protocol::{
    AgentMessage, Artifact, Event, FailKind, HostMessage, Inputs, MemoryPhase, Mode, Moment, Observation,
    Outcome, PeakMethod, SamplePhase, Sha256Hex, TrialSpec,
};
use std::{fs, path::Path};
use tempfile::tempdir;

fn events_of(dir: &Path, trials: Vec<TrialSpec>) -> Vec<Event> {
    let (mut agent, _) = Agent::greeted(&agent(), dir);
    let events = agent.run(&alone(trials));
    agent.bye();
    events
}

fn outcome_of(more: &str) -> Outcome {
    let dir = tempdir().unwrap();
    let mut spec = trial(fake_model(dir.path(), "m", more));
    if more.contains("hang") {
        spec.deadline_ms = 300;
    }
    let ended = outcomes(&events_of(dir.path(), vec![spec]));
    assert_eq!(ended.len(), 1);
    ended[0].1.clone()
}

fn failure(outcome: Outcome) -> (FailKind, String) {
    match outcome {
        Outcome::Failed { kind, message } => (kind, message),
        other => panic!("a failure was expected, not {other:?}"),
    }
}

#[test]
fn crashes_are_named_by_their_signal() {
    assert_eq!(outcome_of("fault = crash 11 at invoke 9"), Outcome::Crashed { signal: 11, why: None });
    assert_eq!(outcome_of("fault = crash 9 at load"), Outcome::Crashed { signal: 9, why: None });
    assert_eq!(outcome_of("fault = panic at compile"), Outcome::Crashed { signal: 6, why: None });
}

#[test]
fn hangs_are_ended_at_the_deadline() {
    assert_eq!(outcome_of("fault = hang at load"), Outcome::TimedOut);
    assert_eq!(outcome_of("fault = hang at invoke 12"), Outcome::TimedOut);
}

#[test]
fn errors_exits_and_unstable_outputs_fail() {
    assert_eq!(failure(outcome_of("fault = error at invoke 0")).0, FailKind::Runtime);
    let (kind, message) = failure(outcome_of("fault = exit 7 at invoke 2"));
    assert!(kind == FailKind::Runtime && message.contains("code 7"), "{message}");
    let (kind, message) = failure(outcome_of("fault = unstable at invoke 20"));
    assert_eq!(kind, FailKind::OutputsUnstable);
    assert!(message.contains("\"y\"") && message.contains("burst"), "{message}");
}

#[test]
fn a_runtime_may_print_what_it_likes() {
    assert_eq!(outcome_of("fault = print at load\nfault = print at invoke 3"), Outcome::Ok);
}

#[test]
fn files_are_checked_before_they_are_used() {
    let dir = tempdir().unwrap();
    let good = fake_model(dir.path(), "m", "");
    let other = Artifact { sha256: Sha256Hex::of_bytes(b"other"), ..good.clone() };
    let missing = Artifact { path: dir.path().join("missing"), ..good.clone() };
    let broken = file(dir.path(), "broken", b"bench-fake v1\nspeed = 3\n");
    let unknown = TrialSpec { runtime: "nonsense/cpu".parse().unwrap(), ..trial(good.clone()) };
    let backend = TrialSpec { runtime: "fake/npu".parse().unwrap(), ..trial(good.clone()) };
    let mut narrow = trial(good);
    narrow.inputs = Inputs::Files { files: vec![] };
    if let Inputs::Files { files } = examples(dir.path(), &[[0.0; 4]]) {
        let one = protocol::TensorFile { shape: vec![2, 2], ..files[0].clone() };
        narrow.inputs = Inputs::Files { files: vec![one] };
    }
    let trials = vec![trial(other), trial(missing), trial(broken), unknown, backend, narrow];
    let ended = outcomes(&events_of(dir.path(), trials));
    let kinds: Vec<FailKind> = ended.iter().map(|(_, outcome)| failure(outcome.clone()).0).collect();
    use FailKind::{HashMismatch, InputMismatch, ModelInvalid, RuntimeMissing, Unsupported};
    assert_eq!(kinds, [HashMismatch, HashMismatch, ModelInvalid, RuntimeMissing, Unsupported, InputMismatch]);
    let (_, message) = failure(ended[1].1.clone());
    assert!(message.contains("missing") && message.contains("push"), "{message}");
}

#[test]
fn a_unit_that_cannot_be_is_refused() {
    let dir = tempdir().unwrap();
    let (mut agent, _) = Agent::greeted(&agent(), dir.path());
    let mut spec = trial(fake_model(dir.path(), "m", ""));
    spec.threads = 0;
    agent.send(&HostMessage::Run { unit: alone(vec![spec]) });
    assert!(agent.refusal().starts_with("trials[0].threads"));
    let accuracy = TrialSpec { mode: Mode::Accuracy, ..trial(fake_model(dir.path(), "m", "")) };
    agent.send(&HostMessage::Run { unit: ping_pong(vec![accuracy]) });
    assert!(agent.refusal().contains("ping-pong"));
    agent.bye();
}

#[test]
fn a_performance_trial_from_begin_to_end() {
    let dir = tempdir().unwrap();
    let mut spec = trial(fake_model(dir.path(), "m", "busy_us = 200"));
    spec.inputs = examples(dir.path(), &[[1.0, 2.0, 3.0, 4.0]]);
    let events = events_of(dir.path(), vec![spec.clone()]);
    assert_eq!(outcomes(&events), [(0, Outcome::Ok)]);
    let moments: Vec<Moment> = events
        .iter()
        .filter_map(|e| if let Event::DeviceState { moment, .. } = e { Some(*moment) } else { None })
        .collect();
    assert_eq!(moments, [Moment::Before, Moment::After]);
    let loaded = events.iter().find_map(|e| match e {
        Event::Loaded { model_sha256, input_sha256, inputs, .. } => {
            Some((model_sha256, input_sha256, inputs))
        }
        _ => None,
    });
    let (model, input, infos) = loaded.expect("loaded");
    assert_eq!((model, input.len(), infos[0].name.as_str()), (&spec.model.sha256, 1, "x"));
    assert!(events.iter().any(|e| matches!(e, Event::FirstInference { wall_ns, .. } if *wall_ns >= 200_000)));
    assert!(events.iter().any(|e| matches!(e, Event::WarmedUp { batch: 1, .. })));
    let (mut warm, mut steady) = (0, 0);
    for samples in events
        .iter()
        .filter_map(|e| if let Event::Samples { samples, .. } = e { Some(samples) } else { None })
    {
        assert_eq!(samples.wall_ns.len(), samples.cpu_ns.len());
        assert!(samples.wall_ns.iter().all(|ns| *ns >= 200_000), "it is busy for 200 us");
        match samples.phase {
            SamplePhase::WarmUp => warm += samples.wall_ns.len(),
            SamplePhase::Steady => steady += samples.wall_ns.len(),
            SamplePhase::Switch => panic!("nobody to switch with"),
        }
    }
    assert!(warm >= 4 && steady >= 24, "{warm} {steady}");
}

#[test]
fn fast_models_are_timed_in_batches_of_one_size() {
    let dir = tempdir().unwrap();
    let events = events_of(dir.path(), vec![trial(fake_model(dir.path(), "m", ""))]);
    let batches: Vec<u32> = events
        .iter()
        .filter_map(|e| match e {
            Event::Samples { samples, .. } if samples.phase == SamplePhase::Steady => Some(samples.batch),
            _ => None,
        })
        .collect();
    let warmed =
        events.iter().find_map(|e| if let Event::WarmedUp { batch, .. } = e { Some(*batch) } else { None });
    assert!(batches[0] > 1 && batches.iter().all(|b| Some(*b) == warmed), "{batches:?} {warmed:?}");
}

fn peaks(events: &[Event]) -> Vec<(MemoryPhase, u64, PeakMethod)> {
    events
        .iter()
        .filter_map(|e| match e {
            Event::Memory { reading, .. } => Some((reading.phase, reading.peak_bytes?, reading.peak_method?)),
            _ => None,
        })
        .collect()
}

#[test]
fn a_known_allocation_is_seen_in_the_peak_of_its_phase() {
    const MIB: u64 = 1 << 20;
    let dir = tempdir().unwrap();
    let holds = trial(fake_model(dir.path(), "holds", &format!("hold_bytes = {}", 64 * MIB)));
    let spikes = trial(fake_model(dir.path(), "spikes", &format!("spike_bytes = {}", 32 * MIB)));
    let held = peaks(&events_of(dir.path(), vec![holds]));
    let spiked = peaks(&events_of(dir.path(), vec![spikes]));
    use MemoryPhase::{Bare, FirstInference, ModelLoaded, RuntimeLoaded, Steady};
    let phases: Vec<MemoryPhase> = held.iter().map(|(phase, ..)| *phase).collect();
    assert_eq!(phases, [Bare, RuntimeLoaded, ModelLoaded, FirstInference, Steady]);
    let grown = |readings: &[(MemoryPhase, u64, PeakMethod)], at: usize| {
        readings[at].1.saturating_sub(readings[0].1) / MIB
    };
    assert!(grown(&held, 1) < 8, "{held:?}");
    assert!((64..72).contains(&grown(&held, 2)) && (64..72).contains(&grown(&held, 4)), "{held:?}");
    assert!(grown(&spiked, 2) < 8, "{spiked:?}");
    assert!((32..40).contains(&grown(&spiked, 3)) && (32..40).contains(&grown(&spiked, 4)), "{spiked:?}");
}

#[test]
fn a_delay_that_is_asked_for_makes_every_sample_longer() {
    let dir = tempdir().unwrap();
    let plain = trial(fake_model(dir.path(), "m", "busy_us = 200"));
    let slowed = TrialSpec { slowdown_permille: Some(1000), ..plain.clone() };
    let events = events_of(dir.path(), vec![plain, slowed]);
    assert_eq!(outcomes(&events), [(0, Outcome::Ok), (1, Outcome::Ok)]);
    let shortest = |wanted: u32| {
        let times = events.iter().filter_map(|event| match event {
            Event::Samples { trial, samples } if *trial == wanted => {
                samples.wall_ns.iter().map(|ns| ns / u64::from(samples.batch)).min()
            }
            Event::FirstInference { trial, wall_ns } if *trial == wanted => Some(*wall_ns),
            _ => None,
        });
        times.min().expect("samples")
    };
    // the fake model works for at least its time: no noise makes either shorter
    assert!(shortest(0) >= 200_000 && shortest(1) >= 400_000, "{} and {}", shortest(0), shortest(1));
}

#[test]
fn accuracy_keeps_every_output() {
    let dir = tempdir().unwrap();
    let values: Vec<[f32; 4]> = (0..600u16).map(|i| [f32::from(i), 0.5, 0.0, 0.0]).collect();
    let text = "bench-fake v1\ninput = x i8 1x4 scale 0.5 zero 0\noutput = y f32 1x2\noutput = z u8 1 scale 2 zero 1\ngain = 2\n";
    let spec = TrialSpec {
        inputs: examples(dir.path(), &values),
        mode: Mode::Accuracy,
        ..trial(file(dir.path(), "m", text.as_bytes()))
    };
    let events = events_of(dir.path(), vec![spec]);
    assert_eq!(outcomes(&events), [(0, Outcome::Ok)]);
    let outputs = events.iter().find_map(|e| match e {
        Event::Outputs { path, sha256, examples, elements, .. } => Some((path, sha256, examples, elements)),
        _ => None,
    });
    let (path, sha256, count, elements) = outputs.expect("outputs");
    let bytes = fs::read(path).unwrap();
    assert_eq!(
        (*sha256 == Sha256Hex::of_bytes(&bytes), *count, elements.as_slice()),
        (true, 600, &[2u64, 1][..])
    );
    let stored: Vec<f32> = bytes.chunks(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect();
    // i8 with scale 0.5 ends at 63.5; z counts in steps of 2.
    assert_eq!(stored[..6], [0.0, 1.0, 0.0, 2.0, 1.0, 2.0]);
    assert_eq!(stored[3 * 599..], [127.0, 1.0, 128.0]);
    let digests: Vec<(u64, &Vec<String>)> = events
        .iter()
        .filter_map(|e| {
            if let Event::OutputDigests { first, digests, .. } = e { Some((*first, digests)) } else { None }
        })
        .collect();
    assert_eq!(digests.iter().map(|(first, d)| (*first, d.len())).collect::<Vec<_>>(), [(0, 512), (512, 88)]);
    let fifth = Sha256Hex::of_bytes(&bytes[5 * 12..6 * 12]);
    assert_eq!(digests[0].1[5], fifth.as_str()[..16]);
    let left: Vec<_> = fs::read_dir(path.parent().unwrap()).unwrap().collect();
    assert_eq!(left.len(), 1, "nothing but the outputs: {left:?}");
}

#[test]
fn a_profile_has_a_time_per_node_and_iteration() {
    let dir = tempdir().unwrap();
    let mode = Mode::Profile { iterations: 5 };
    let spec = TrialSpec { mode, ..trial(fake_model(dir.path(), "m", "busy_us = 100")) };
    let events = events_of(dir.path(), vec![spec]);
    let nodes =
        events.iter().find_map(|e| if let Event::Profile { nodes, .. } = e { Some(nodes) } else { None });
    let nodes = nodes.expect("a profile");
    assert_eq!((nodes.len(), nodes[0].node.as_str(), nodes[0].wall_ns.len()), (1, "y", 5));
    assert!(nodes[0].wall_ns.iter().all(|ns| *ns >= 100_000));
}

#[test]
fn cancel_ends_the_unit_and_not_the_agent() {
    let dir = tempdir().unwrap();
    let (mut agent, _) = Agent::greeted(&agent(), dir.path());
    let hang = trial(fake_model(dir.path(), "hang", "fault = hang at invoke 0"));
    let unit = alone(vec![hang, trial(fake_model(dir.path(), "m", ""))]);
    agent.send(&HostMessage::Run { unit: unit.clone() });
    agent.send(&HostMessage::Run { unit: unit.clone() });
    agent.send(&HostMessage::Cancel);
    let stopped = |o: &Outcome| matches!(o, Outcome::Skipped { reason } if reason.contains("cancel"));
    for _ in 0..2 {
        let ended = outcomes(&agent.unit_events(&unit));
        assert!(ended.len() == 2 && ended.iter().all(|(_, outcome)| stopped(outcome)), "{ended:?}");
    }
    let events = agent.run(&alone(vec![trial(fake_model(dir.path(), "m", ""))]));
    assert_eq!(outcomes(&events), [(0, Outcome::Ok)]);
    agent.bye();
}

#[test]
fn inspecting_what_is_no_model() {
    let dir = tempdir().unwrap();
    let (mut agent, _) = Agent::greeted(&agent(), dir.path());
    let model = file(dir.path(), "text", b"this is no model");
    agent.send(&HostMessage::Inspect { model, run: None });
    let reason = agent.refusal();
    assert!(reason.contains("text") && reason.contains("model"), "{reason}");
    agent.bye();
}

#[test]
fn inspecting_a_shipped_model() {
    let dir = tempdir().unwrap();
    let (mut agent, _) = Agent::greeted(&agent(), dir.path());
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("suites/models/fashion_dscnn/model_int8.tflite");
    let sha256 = Sha256Hex::of_bytes(&fs::read(&path).unwrap());
    let model = Artifact { path, sha256 };
    agent.send(&HostMessage::Inspect { model: model.clone(), run: None });
    let Some(AgentMessage::Inspected { model: facts }) = agent.next() else { panic!("facts were expected") };
    assert_eq!((facts.precision, facts.inputs.len(), facts.observed), (protocol::Precision::Int8, 1, None));
    let run = |examples| Some(Observation { inputs: Inputs::Random { seed: 1, examples: 3 }, examples });
    agent.send(&HostMessage::Inspect { model: model.clone(), run: run(4) });
    assert!(agent.refusal().contains("run.examples: 1 to 3, not 4"));
    agent.send(&HostMessage::Inspect { model, run: run(3) });
    let Some(AgentMessage::Inspected { model: facts }) = agent.next() else { panic!("facts were expected") };
    let observed = facts.observed.unwrap();
    let last = observed.layers.iter().find(|l| l.name == facts.outputs[0].name).unwrap();
    assert_eq!((observed.examples, last.elements), (3, 30));
    agent.bye();
}
