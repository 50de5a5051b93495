//! Whole runs on the pretended device: every fault it knows, and what becomes of the record. Time is paused, so
//! that a silence of ten seconds takes none.

use super::{bounded, is_devices_fault};
use crate::{
    exit::{CommandResult, Exit},
    interrupt::Interrupts,
    measure::{self, Measured},
    plan::Feed,
    progress::Progress,
    selection::{Entrant, Selection},
    settings::{Layer, Settings},
    testing,
    transport::HostFile,
};
use protocol::{ContrastKind, Format, Outcome, Sha256Hex};
use reports::{
    record::{Entry, Purpose, RunRecord, UnitRecord},
    store::{self, RunWriter},
};
use std::{collections::BTreeSet, fs, path::Path};

/// A selection of two models and settings with scripted devices, all below one folder.
struct Scene {
    folder: tempfile::TempDir,
    selection: Selection,
    settings: Settings,
}

const GOOD: &[u8] = b"....TFL3good";
const OTHER: &[u8] = b"....TFL3other";

impl Scene {
    fn new(scripts: &[&str]) -> Self {
        Self::with_models(scripts, &[("a", GOOD), ("b", OTHER)])
    }

    fn with_models(scripts: &[&str], models: &[(&str, &[u8])]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut devices = Vec::new();
        for (index, script) in scripts.iter().enumerate() {
            let path = folder.path().join(format!("{index}.toml"));
            fs::write(&path, script).unwrap();
            devices.push(format!("fake:{}", path.display()));
        }
        let layer = Layer {
            device: Some(devices),
            out: Some(folder.path().join("runs")),
            cache: Some(folder.path().join("cache")),
            ..Layer::default()
        };
        let settings = Settings::resolve(layer, Some(&empty_config(folder.path()))).unwrap();
        let entrants = models.iter().map(|(name, bytes)| Entrant {
            id: format!("m@{name}").parse().unwrap(),
            format: Format::Tflite,
            declared: None,
            file: HostFile::from_memory(*name, *bytes),
            reference: Some(0),
            slowdown_permille: None,
        });
        let plan = testing::plan();
        let selection = Selection {
            subject: plan.subject,
            suite: plan.suite,
            kinds: vec![ContrastKind::Reference],
            entrants: entrants.collect(),
            runtimes: vec!["fake/cpu".parse().unwrap()],
            options: suites::RuntimeOptions::new(),
            threads: 1,
            schedule: None,
            measure: suites::Measure::default(),
            budget: None,
            together: crate::plan::MAX_GROUP,
            profiles_only: false,
            costs_only: false,
            canaries: false,
            pinned: None,
            dataset: plan.dataset,
            feed: Feed::Random { seed: 1, examples: 4 },
            data: Vec::new(),
            notes: Vec::new(),
        };
        Self { folder, selection, settings }
    }

    async fn start(&self, interrupts: Interrupts) -> CommandResult<Measured> {
        measure::start(&self.selection, &self.settings, 1, &mut Progress::new(true), interrupts).await
    }

    async fn run(&self) -> (Measured, RunRecord) {
        let measured = self.start(Interrupts::by_hand().1).await.map_err(|f| f.error).unwrap();
        let record = store::load(&measured.dir).unwrap();
        (measured, record)
    }

    async fn resume(&self, dir: &Path) -> (Measured, RunRecord) {
        let interrupts = Interrupts::by_hand().1;
        let progress = &mut Progress::new(true);
        let resumed = measure::resume(dir, &self.selection, &self.settings, progress, interrupts).await;
        let measured = resumed.map_err(|f| f.error).unwrap();
        let record = store::load(&measured.dir).unwrap();
        (measured, record)
    }
}

fn empty_config(folder: &Path) -> std::path::PathBuf {
    let path = folder.join("empty.toml");
    fs::write(&path, "").unwrap();
    path
}

fn of(record: &RunRecord, purpose: Purpose) -> Vec<&UnitRecord> {
    record.units.iter().filter(|u| u.purpose == purpose).collect()
}

/// Everything that a run without trouble has.
fn assert_whole(measured: &Measured, record: &RunRecord) {
    assert!(measured.ended.is_whole(), "{:?}", measured.ended);
    assert!(record.finished.is_some());
    assert_eq!(of(record, Purpose::Accuracy).len(), 2);
    let performance = of(record, Purpose::Performance);
    assert!(performance.len() >= 6, "{} units", performance.len());
    let trials = record.units.iter().flat_map(|u| &u.trials);
    assert!(trials.clone().all(|t| t.outcome == Outcome::Ok));
    let outputs: Vec<_> = trials.filter_map(|t| t.outputs.as_ref()).collect();
    assert_eq!(outputs.len(), 2);
    assert!(outputs.iter().all(|o| o.values.is_some()), "outputs are in the record");
    let numbers: BTreeSet<_> = record.units.iter().map(|u| u.unit).collect();
    assert_eq!(numbers.len(), record.units.len());
}

#[tokio::test(start_paused = true)]
async fn without_faults_everything_is_measured_once() {
    let scene = Scene::new(&[""]);
    let (measured, record) = scene.run().await;
    assert_whole(&measured, &record);
    assert!(record.losses.is_empty(), "{:?}", record.losses);
    assert!(record.facts.iter().all(Option::is_some));
    let left = fs::read_dir(scene.settings.cache.clone()).unwrap().flatten();
    let left: Vec<_> = left.map(|e| e.file_name()).collect();
    assert_eq!(left, ["fake"], "nothing fetched is left lying about");
}

/// Each of these costs one attempt: the agent is given up, started again, and the unit repeated.
#[tokio::test(start_paused = true)]
async fn every_fault_of_an_agent_costs_one_attempt_and_nothing_else() {
    let kinds = [
        ("lost", "the agent went away"),
        ("lost", "signal 9"),
        ("lost", "out of luck"),
        ("garbage", "hello from a library"),
        ("endless", "longer than"),
        ("silent", "silent for 10 s"),
        ("hang", "longer than all its deadlines"),
        ("wrong-counts", "received were"),
        ("gap", "was due"),
    ];
    for (kind, word) in kinds {
        for at in [0, 3] {
            let scene = Scene::new(&[&format!("fault = [{{ kind = \"{kind}\", at = {at} }}]")]);
            let (measured, record) = scene.run().await;
            assert_whole(&measured, &record);
            let [loss] = record.losses.as_slice() else { panic!("{kind} at {at}: {:?}", record.losses) };
            assert!(loss.contains("attempt 1") && loss.contains(word), "{kind} at {at}: {loss}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn damaged_outputs_are_measured_again() {
    let scene = Scene::new(&["fault = [{ kind = \"wrong-hash\", at = 0 }]"]);
    let (measured, record) = scene.run().await;
    assert_whole(&measured, &record);
    assert!(record.losses.iter().any(|l| l.contains("damaged")), "{:?}", record.losses);
    let journal = fs::read_to_string(measured.dir.join("journal.jsonl")).unwrap();
    let greetings = journal.lines().filter(|line| line.contains("\"runtimes\"")).count();
    assert_eq!(greetings, 2, "the connection was made anew");
}

#[tokio::test(start_paused = true)]
async fn a_device_that_fails_three_times_is_given_up_and_the_other_goes_on() {
    let bad = "fault = [{ kind = \"lost\", at = 3, times = 3 }]";
    let scene = Scene::new(&[bad, ""]);
    let (measured, record) = scene.run().await;
    let [(0, reason)] = measured.ended.lost.as_slice() else { panic!("{:?}", measured.ended) };
    assert!(reason.contains("went away"), "{reason}");
    assert_eq!(record.finished, None, "it can be resumed");
    let units = |device| record.units.iter().filter(|u| u.device == device).count();
    assert_eq!(units(0), 3, "what it measured before is kept");
    assert!(units(1) >= 8);
    assert_eq!(record.losses.iter().filter(|l| l.contains("attempt")).count(), 3);

    fs::write(scene.folder.path().join("0.toml"), "").unwrap();
    let (measured, record) = scene.resume(&measured.dir).await;
    assert!(measured.ended.is_whole(), "{:?}", measured.ended);
    assert!(record.finished.is_some());
    let units = |device| record.units.iter().filter(|u| u.device == device).count();
    assert!(units(0) >= 8 && units(0) == units(1), "{} {}", units(0), units(1));
}

#[tokio::test(start_paused = true)]
async fn a_unit_that_is_refused_is_not_asked_for_again() {
    let scene = Scene::new(&["fault = [{ kind = \"refuse\", at = 0, times = 9 }]"]);
    let (measured, record) = scene.run().await;
    assert_eq!(measured.ended.lost.len(), 1);
    assert_eq!(record.losses.iter().filter(|l| l.contains("attempt")).count(), 1, "{:?}", record.losses);
}

#[tokio::test(start_paused = true)]
async fn a_device_that_cannot_be_made_ready_says_why() {
    for (kind, exit, word) in [
        ("disk-full", Exit::Incomplete, "no space left"),
        ("wrong-version", Exit::Usage, "version"),
        ("stall", Exit::Incomplete, "no progress for 10 s"),
    ] {
        let scene = Scene::new(&[&format!("fault = [{{ kind = \"{kind}\", at = 0, times = 9 }}]")]);
        let failure = scene.start(Interrupts::by_hand().1).await.unwrap_err();
        assert_eq!(failure.exit, exit, "{kind}");
        assert!(failure.error.to_string().contains(word), "{kind}: {:#}", failure.error);
        assert!(!scene.settings.out.exists(), "no run was begun");
    }
}

#[tokio::test(start_paused = true)]
async fn a_device_that_is_lost_while_it_is_made_ready_is_tried_again() {
    for (times, ready) in [(2, true), (3, false)] {
        let scene = Scene::new(&[&format!("fault = [{{ kind = \"stall\", at = 1, times = {times} }}]"), ""]);
        let (measured, record) = scene.run().await;
        assert_eq!(measured.ended.is_whole(), ready, "{times} times: {:?}", measured.ended);
        assert!(record.units.iter().any(|u| u.device == 1), "the other goes on");
    }
}

#[tokio::test(start_paused = true)]
async fn a_device_that_is_lost_while_it_inspects_models_leaves_that_to_the_next() {
    let dying = "fault = [{ kind = \"lost-inspecting\", at = 0 }]";
    let scene = Scene::new(&[dying, ""]);
    let (_, record) = scene.run().await;
    assert!(record.facts.iter().all(Option::is_some));
    assert!(record.units.iter().any(|u| u.device == 1), "the run goes on");
    let failure = Scene::new(&[dying]).start(Interrupts::by_hand().1).await.unwrap_err();
    assert!(failure.exit == Exit::Incomplete && failure.error.to_string().contains("went away"));
}

#[test]
fn what_the_store_refuses_is_told_from_a_store_that_fails() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = RunWriter::create(folder.path(), &testing::plan()).unwrap();
    let hash = Sha256Hex::of_bytes(b"right");
    let wrong = writer.store_outputs(&hash, &mut &b"wrong"[..]).unwrap_err();
    assert!(is_devices_fault(&wrong), "{wrong}");
    let reason = "x".repeat(2 * protocol::MAX_LINE_BYTES);
    let long = writer.append(&Entry::DeviceLost { device: 0, reason: reason.clone() }).unwrap_err();
    assert!(is_devices_fault(&long), "{long}");
    writer.append(&Entry::DeviceLost { device: 0, reason: bounded(&reason) }).unwrap();
    fs::remove_dir_all(writer.dir().join("outputs")).unwrap();
    let broken = writer.store_outputs(&hash, &mut &b"right"[..]).unwrap_err();
    assert!(!is_devices_fault(&broken), "{broken}");
}

#[tokio::test(start_paused = true)]
async fn one_device_that_is_not_ready_does_not_keep_the_other() {
    let scene = Scene::new(&["", "fault = [{ kind = \"disk-full\", at = 0, times = 9 }]"]);
    let (measured, record) = scene.run().await;
    assert!(matches!(measured.ended.lost.as_slice(), [(1, _)]));
    assert!(of(&record, Purpose::Performance).len() >= 6);
    assert!(record.losses.iter().any(|l| l.contains("no space")), "{:?}", record.losses);
}

fn script_for(model: &[u8], rest: &str) -> String {
    let hash = Sha256Hex::of_bytes(model);
    format!("[[model]]\nsha256 = \"{hash}\"\n{rest}\n")
}

#[tokio::test(start_paused = true)]
async fn a_model_that_cannot_work_does_not_keep_the_others() {
    let broken =
        script_for(OTHER, "outcome = { outcome = \"failed\", kind = \"model-invalid\", message = \"cut\" }");
    let scene = Scene::with_models(&[&broken], &[("a", GOOD), ("b", OTHER), ("c", b"....TFL3third")]);
    let (measured, record) = scene.run().await;
    assert!(measured.ended.is_whole(), "{:?}", measured.ended);
    let performance = of(&record, Purpose::Performance);
    assert!(performance.len() >= 6);
    assert!(performance.iter().all(|u| u.trials.iter().all(|t| t.case != 1)), "it is left out");
}

#[tokio::test(start_paused = true)]
async fn a_crashing_candidate_leaves_nothing_to_compare_after_two_strikes() {
    let crashing = script_for(OTHER, "outcome = { outcome = \"crashed\", signal = 11 }");
    let scene = Scene::new(&[&crashing]);
    let (measured, record) = scene.run().await;
    assert!(measured.ended.is_whole(), "{:?}", measured.ended);
    let crashed = record.units.iter().flat_map(|u| &u.trials).filter(|t| t.case == 1).count();
    assert_eq!(crashed, 3, "once for accuracy, once for its profile, once for performance");
}

#[tokio::test(start_paused = true)]
async fn what_fails_on_the_device_gives_it_up_and_is_no_result_of_the_model() {
    // a file that stays missing; a full disk, no process to be started
    for kind in ["hash-mismatch", "io"] {
        let words =
            format!("outcome = {{ outcome = \"failed\", kind = \"{kind}\", message = \"it is missing\" }}");
        let scene = Scene::new(&[&script_for(OTHER, &words)]);
        let (measured, record) = scene.run().await;
        let (_, reason) = measured.ended.lost.first().unwrap();
        assert_eq!(reason, "it is missing");
        let lost = record.losses.iter().filter(|l| l.contains("attempt") && l.contains("it is missing"));
        assert_eq!((lost.count(), &record.finished), (3, &None), "{:?}", record.losses);
        // whether the other model had its turn before is the seed's to say
        let cases: Vec<_> = record.units.iter().flat_map(|u| &u.trials).map(|t| t.case).collect();
        assert!(cases.iter().all(|case| *case == 0) && cases.len() <= 1, "{cases:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_interruption_ends_the_unit_and_the_run_can_be_resumed() {
    for at in [0, 2, 5] {
        let scene = Scene::new(&[&format!("fault = [{{ kind = \"hang\", at = {at} }}]")]);
        let (by_hand, interrupts) = Interrupts::by_hand();
        let run = scene.start(interrupts);
        let press = async {
            // the unit before the one that hangs is done when its number of ends is in the journal
            let journal = || fs::read_dir(&scene.settings.out).ok()?.flatten().next().map(|e| e.path());
            let started = |dir: &Path| {
                let text = fs::read_to_string(dir.join(store::JOURNAL_FILE)).unwrap_or_default();
                text.matches("unit-started").count() > at
            };
            while !journal().is_some_and(|dir| started(&dir)) {
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            }
            by_hand.send_modify(|n| *n += 1);
        };
        let (measured, ()) = tokio::join!(run, press);
        let measured = measured.map_err(|f| f.error).unwrap();
        assert!(measured.ended.interrupted && measured.ended.lost.is_empty(), "{:?}", measured.ended);
        let record = store::load(&measured.dir).unwrap();
        assert_eq!((record.units.len(), &record.finished), (at, &None));
        assert!(record.losses.iter().any(|l| l.contains("interrupted by the user")), "{:?}", record.losses);

        fs::write(scene.folder.path().join("0.toml"), "").unwrap();
        let (measured, record) = scene.resume(&measured.dir).await;
        assert_whole(&measured, &record);
    }
}

#[tokio::test(start_paused = true)]
async fn a_record_that_cannot_be_written_ends_the_run_and_keeps_what_is_there() {
    let scene = Scene::new(&["fault = [{ kind = \"hang\", at = 0 }]"]);
    let (_by_hand, interrupts) = Interrupts::by_hand();
    let run = scene.start(interrupts);
    let spoil = async {
        let dir = loop {
            let found = fs::read_dir(&scene.settings.out).ok().and_then(|mut all| all.next());
            if let Some(Ok(entry)) = found
                && entry.path().join("outputs").exists()
            {
                break entry.path();
            }
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        };
        // a file where the folder of outputs was: nothing fetched can be stored any more
        fs::remove_dir_all(dir.join("outputs")).unwrap();
        fs::write(dir.join("outputs"), "").unwrap();
    };
    let (measured, ()) = tokio::join!(run, spoil);
    let measured = measured.map_err(|f| f.error).unwrap();
    assert!(measured.ended.record_failed.is_some(), "{:?}", measured.ended);
    assert_eq!(store::load(&measured.dir).unwrap().finished, None);
}
