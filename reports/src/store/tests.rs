//! Runs that were written, killed, cut, damaged and taken up again.

use super::*;
use crate::record::{Entry, Labels, Purpose, RECORD_SCHEMA, RunRecord, Task};
use crate::testing::{FakeRun, Recipe};
use protocol::{Counts, Event, Outcome, Sha256Hex, UnitId};
use std::io::Write;

fn journal(dir: &Path) -> PathBuf {
    dir.join(JOURNAL_FILE)
}

fn written() -> (tempfile::TempDir, PathBuf, FakeRun) {
    let run = Recipe::small().run();
    let root = tempfile::tempdir().unwrap();
    let dir = run.write(root.path());
    (root, dir, run)
}

fn with_plan(change: impl Fn(&mut serde_json::Value)) -> Result<RunRecord, StoreError> {
    let (_root, dir, _) = written();
    let path = dir.join(PLAN_FILE);
    let mut plan = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    change(&mut plan);
    fs::write(&path, serde_json::to_vec(&plan).unwrap()).unwrap();
    load(&dir)
}

#[test]
fn a_run_is_read_back_as_it_was_written() {
    let (_root, dir, run) = written();
    let record = load(&dir).unwrap();
    assert_eq!(record.plan, run.plan);
    assert_eq!(record.losses, Vec::<String>::new());
    assert_eq!(record.finished.as_deref(), Some("all units measured"));
    assert!(record.facts.iter().all(Option::is_some) && record.devices[0].is_some());
    let units: Vec<u32> = record.units.iter().map(|u| u.unit.0).collect();
    assert_eq!(units, (0..8).collect::<Vec<_>>());
    let unit = &record.units[2];
    assert_eq!((unit.purpose, unit.trials.len(), unit.dropped_blocks.len()), (Purpose::Performance, 8, 1));
    let trial = &unit.trials[3];
    assert_eq!((trial.case, &trial.outcome, trial.memory.len()), (3, &Outcome::Ok, 5));
    assert_eq!(trial.bursts.len(), 1 + 2 * 2 * 2);
    let outputs = record.units[6].trials[5].outputs.as_ref().unwrap();
    let bytes: Vec<u8> = outputs.values.as_ref().unwrap().iter().flat_map(|v| v.to_le_bytes()).collect();
    assert_eq!(bytes, run.outputs[&outputs.sha256]);
}

#[test]
fn a_kill_at_any_byte_loses_at_most_the_unit_under_way() {
    let run = Recipe { units: 2, blocks: 1, samples_per_burst: 1, examples: 4, ..Recipe::small() };
    let run = Recipe { cases: run.cases[..2].to_vec(), ..run }.run();
    let root = tempfile::tempdir().unwrap();
    let dir = run.write(root.path());
    let full = fs::read(journal(&dir)).unwrap();
    let mut done_before = 0;
    let near_a_line_end =
        |len: usize| full[len.saturating_sub(2)..(len + 2).min(full.len())].contains(&b'\n');
    for len in (0..=full.len()).filter(|len| len % 97 == 0 || near_a_line_end(*len)) {
        fs::write(journal(&dir), &full[..len]).unwrap();
        let lines: Vec<&[u8]> = full[..len].split_inclusive(|b| *b == b'\n').collect();
        // whole, and sealed by the whole line behind it
        let sealed =
            |pair: &&[&[u8]]| pair[0].starts_with(b"{\"entry\":\"unit-done\"") && pair[1].ends_with(b"\n");
        let expected = lines.windows(2).filter(sealed).count();
        let record = load(&dir).unwrap();
        assert_eq!(record.units.len(), expected, "cut at {len}");
        assert!(expected >= done_before);
        done_before = expected;
        let torn = len > 0 && full[len - 1] != b'\n';
        assert_eq!(record.losses.iter().any(|l| l.contains("was cut off")), torn, "cut at {len}");
    }
    assert_eq!(done_before, 4);
}

#[test]
fn a_run_is_taken_up_where_it_was_cut() {
    let (_root, dir, run) = written();
    let whole = load(&dir).unwrap();
    let starts = |e: &Entry| matches!(e, Entry::UnitStarted { unit, .. } if unit.0 == 3);
    let at = run.entries.iter().position(starts).unwrap();
    let full = fs::read(journal(&dir)).unwrap();
    let lines: Vec<&[u8]> = full.split_inclusive(|b| *b == b'\n').collect();
    let start = serde_json::to_vec(&run.entries[at]).unwrap();
    let line = lines.iter().position(|line| line.starts_with(&start)).unwrap();
    let cut: usize = lines.iter().take(line + 5).map(|line| line.len()).sum();
    fs::write(journal(&dir), &full[..cut + 20]).unwrap();
    fs::write(dir.join(OUTPUTS_DIR).join("left.part"), b"half").unwrap();

    let (mut writer, resumed) = RunWriter::reopen(&dir).unwrap();
    assert_eq!(resumed.plan, run.plan);
    assert_eq!(resumed.done.iter().map(|d| d.unit.0).collect::<Vec<_>>(), [0, 1, 2]);
    assert_eq!(resumed.next_attempt.iter().map(|(u, a)| (u.0, *a)).collect::<Vec<_>>(), [(3, 1)]);
    let behind_the_seal: usize = lines[line..line + 4].iter().map(|l| l.len()).sum();
    assert_eq!(
        (resumed.cut_bytes, resumed.finished),
        (behind_the_seal as u64 + lines[line + 4].len() as u64 + 20, None)
    );
    assert!(resumed.inspected.iter().all(|seen| *seen));
    assert!(!dir.join(OUTPUTS_DIR).join("left.part").exists());
    for entry in &run.entries[at..] {
        let mut entry = entry.clone();
        if let Entry::UnitStarted { unit, attempt, .. }
        | Entry::Event { unit, attempt, .. }
        | Entry::UnitDone { unit, attempt, .. } = &mut entry
        {
            *attempt = u32::from(unit.0 == 3);
        }
        writer.append(&entry).unwrap();
    }
    let record = load(&dir).unwrap();
    assert_eq!(record.units, whole.units);
    assert_eq!(record.losses, ["unit 3, attempt 1: it was under way when the run was cut off"]);
    assert!(matches!(RunWriter::reopen(&dir), Err(StoreError::Locked(_))));
    drop(writer);
    assert_eq!(RunWriter::reopen(&dir).unwrap().1.finished.as_deref(), Some("all units measured"));
}

#[test]
fn a_unit_counts_only_when_everything_arrived() {
    let run = Recipe::small().run();
    let drop_one = |wanted: &dyn Fn(&Entry) -> bool| {
        let at = run.entries.iter().position(wanted).unwrap();
        let mut entries = run.entries.clone();
        entries.remove(at);
        let record = FakeRun { plan: run.plan.clone(), entries, outputs: run.outputs.clone() }.record();
        assert_eq!(record.units.len(), 7);
        record.losses.join("; ")
    };
    let samples = |e: &Entry| matches!(e, Entry::Event { event: Event::Samples { .. }, .. });
    assert!(drop_one(&samples).starts_with("unit 0 on local, attempt 1: event "));
    let last = |e: &Entry| {
        matches!(e, Entry::Event { unit: UnitId(7), event: Event::TrialFinished { trial: 7, .. }, .. })
    };
    assert!(drop_one(&last).contains("the agent sent 32 events, 8 trials"));
    let started = |e: &Entry| matches!(e, Entry::UnitStarted { unit: UnitId(1), .. });
    assert_eq!(drop_one(&started), "unit 1, attempt 1: its end is recorded, its start is not");
    let done = |e: &Entry| matches!(e, Entry::UnitDone { unit: UnitId(1), .. });
    assert_eq!(drop_one(&done), "unit 1 on local, attempt 1: was under way when the record ends");
}

#[test]
fn the_first_complete_attempt_counts() {
    let mut run = Recipe::small().run();
    let first: Vec<Entry> = run.entries.clone();
    for entry in first {
        if matches!(
            entry,
            Entry::UnitStarted { unit: UnitId(0), .. } | Entry::UnitDone { unit: UnitId(0), .. }
        ) {
            run.entries.push(entry);
        }
    }
    let record = run.record();
    assert_eq!(record.units.len(), 8);
    assert!(record.losses.iter().any(|l| l.contains("the first one counts")), "{:?}", record.losses);
}

#[test]
fn lost_units_and_devices_are_told() {
    let mut run = Recipe::small().run();
    run.entries.truncate(9);
    let (unit, attempt, device) = (UnitId(0), 0, 0);
    let start = Entry::UnitStarted {
        unit,
        attempt,
        device,
        purpose: Purpose::Performance,
        seed: 1,
        cases: vec![0, 1],
        iterations: None,
        at: "2026-03-05T10:00:00Z".into(),
    };
    run.entries.push(start);
    run.entries.push(Entry::UnitLost { unit, attempt, reason: "the cable was pulled".into() });
    run.entries.push(Entry::UnitDone { unit, attempt, counts: Counts::default() });
    run.entries.push(Entry::DeviceLost { device, reason: "three losses in a row".into() });
    let record = run.record();
    assert!(record.units.is_empty() && record.finished.is_none());
    let losses = record.losses.join("\n");
    assert!(losses.contains("unit 0 on local, attempt 1: the cable was pulled"), "{losses}");
    assert!(losses.contains("device local: three losses in a row"), "{losses}");
}

#[test]
fn labels_that_are_arrays_are_kept_in_a_file() {
    let mut run = Recipe { examples: 3, ..Recipe::small() }.run();
    run.plan.suite.task = Task::Segmentation { ignored: Some(255), channels: protocol::Channels::First };
    run.plan.dataset.labels =
        Labels::Arrays(protocol::LabelArrays::new(2, vec![0.0, 1.0, 255.0, 3.0, 4.0, 5.0]));
    run.plan.dataset.groups = ["a", "a", "b"].map(String::from).to_vec();
    let root = tempfile::tempdir().unwrap();
    let dir = run.write(root.path());
    let record = load(&dir).unwrap();
    let Labels::Arrays(arrays) = &record.plan.dataset.labels else { panic!("{:?}", record.plan.dataset) };
    assert_eq!(arrays.values.as_deref(), Some([0.0, 1.0, 255.0, 3.0, 4.0, 5.0].as_slice()));
    assert_eq!((&record.plan, &record.losses), (&run.plan, &Vec::new()));
    fs::write(dir.join(format!("outputs/{}.bin", arrays.sha256)), [0u8; 24]).unwrap();
    let record = load(&dir).unwrap();
    assert!(record.losses[0].starts_with("labels: outputs/"), "{:?}", record.losses);
    let found = crate::verdict::verdicts(&record);
    assert!(
        found
            .rows
            .iter()
            .filter(|r| r.metric.name == "mean_iou")
            .all(|r| r.verdict == Some(crate::verdict::Verdict::Invalid))
    );
}

#[test]
fn what_cannot_be_a_record_is_refused_with_words() {
    for schema in [99, 1] {
        let error = with_plan(|plan| plan["schema"] = schema.into()).unwrap_err().to_string();
        assert!(
            error.contains(&format!("the record has schema {schema}, this version reads {RECORD_SCHEMA}")),
            "{error}"
        );
    }
    let error = with_plan(|plan| plan["cases"][3]["device"] = 5.into()).unwrap_err().to_string();
    assert!(error.contains("cases[3].device: there is no device 5"), "{error}");
    let error = with_plan(|plan| plan["contrasts"][0]["reference"] = 800.into()).unwrap_err().to_string();
    assert!(error.contains("contrasts[0]: there is no case 800"), "{error}");
    let error = with_plan(|plan| plan["suite"]["margin"] = (-1.0).into()).unwrap_err().to_string();
    assert!(error.contains("suite.margin"), "{error}");
    let error =
        with_plan(|plan| plan["dataset"]["labels"]["classes"] = vec![1].into()).unwrap_err().to_string();
    assert!(error.contains("dataset.labels: 1 for 60 examples"), "{error}");
    let nowhere = tempfile::tempdir().unwrap();
    assert!(matches!(load(nowhere.path()), Err(StoreError::NoRun(_))));
    assert!(matches!(load(&nowhere.path().join("x/y")), Err(StoreError::NoRun(_))));
}

#[test]
fn a_damaged_line_is_named_by_its_number() {
    let (_root, dir, _) = written();
    let full = fs::read_to_string(journal(&dir)).unwrap();
    let mut lines: Vec<&str> = full.lines().collect();
    for damage in
        ["{\"entry\":\"sing\"}", "\u{0}\u{0}", "{\"entry\":\"device-lost\",\"device\":9,\"reason\":\"\"}"]
    {
        lines[41] = damage;
        fs::write(journal(&dir), lines.join("\n") + "\n").unwrap();
        let error = load(&dir).unwrap_err();
        assert!(matches!(error, StoreError::BadLine { line: 42, .. }), "{error}");
        assert!(error.to_string().contains("journal.jsonl line 42: "), "{error}");
    }
    let mut file = fs::File::create(journal(&dir)).unwrap();
    file.write_all(&vec![b'x'; journal::MAX_JOURNAL_LINE + 5]).unwrap();
    assert!(matches!(load(&dir), Err(StoreError::BadLine { line: 1, .. })));
}

#[test]
fn a_record_that_was_changed_is_refused() {
    let (_root, dir, _) = written();
    let full = fs::read_to_string(journal(&dir)).unwrap();
    let lines: Vec<&str> = full.lines().collect();
    let sample = lines.iter().position(|l| l.contains("\"samples\"")).unwrap();
    let edited = lines[sample].replacen("\"wall_ns\":[", "\"wall_ns\":[1", 1);
    assert_ne!(edited, lines[sample]);
    let put = |lines: Vec<&str>| fs::write(journal(&dir), lines.join("\n") + "\n").unwrap();
    let refused = || match load(&dir).unwrap_err() {
        StoreError::Tampered { line, .. } => usize::try_from(line).unwrap(),
        other => panic!("{other}"),
    };
    let seal =
        |from: usize| 1 + from + lines[from..].iter().position(|l| l.starts_with("{\"seal\"")).unwrap();

    let mut changed = lines.clone();
    changed[sample] = &edited;
    put(changed);
    assert_eq!(refused(), seal(sample), "a sample that was changed");
    let mut less = lines.clone();
    less.remove(sample);
    put(less);
    assert_eq!(refused(), seal(sample) - 1, "a line that was taken out");
    let mut more = lines.clone();
    more.insert(sample, lines[sample]);
    put(more);
    assert_eq!(refused(), seal(sample) + 1, "a line that was put in");
    let mut unit_out = lines.clone();
    unit_out.drain(seal(sample)..seal(seal(sample)));
    put(unit_out);
    assert!(refused() > seal(sample), "a whole unit with its seal");
    put(lines.clone());
    load(&dir).unwrap();
    let plan = fs::read_to_string(dir.join(PLAN_FILE)).unwrap();
    fs::write(dir.join(PLAN_FILE), plan.replacen("0.03", "0.3", 1)).unwrap();
    assert_eq!(refused(), seal(0), "a margin that was changed");
}

#[test]
fn what_stands_behind_the_last_seal_does_not_count() {
    let (_root, dir, run) = written();
    let full = fs::read_to_string(journal(&dir)).unwrap();
    let lines: Vec<&str> = full.lines().collect();
    let fifth = lines.iter().enumerate().filter(|(_, l)| l.contains("\"unit-done\"")).nth(4).unwrap().0;
    let mut cut: Vec<String> = lines[..=fifth + 1].iter().map(|l| (*l).to_owned()).collect();
    let device = run.entries.iter().find(|e| matches!(e, Entry::Device { .. })).unwrap();
    let finished = Entry::Finished { at: String::new(), reason: "every latency is decided".into() };
    for forged in [device, &finished] {
        cut.push(serde_json::to_string(forged).unwrap().replace("Invented CPU", "Faster CPU"));
    }
    fs::write(journal(&dir), cut.join("\n") + "\n").unwrap();
    let record = load(&dir).unwrap();
    assert_eq!((record.units.len(), &record.finished), (5, &None));
    assert!(record.devices[0].as_ref().unwrap().info.cpu.starts_with("Invented CPU"));
    assert!(record.losses.iter().any(|l| l.contains("is not sealed")), "{:?}", record.losses);
    let (writer, resumed) = RunWriter::reopen(&dir).unwrap();
    assert_eq!((resumed.done.len(), resumed.finished), (5, None));
    drop(writer);
    let record = load(&dir).unwrap();
    assert!(record.finished.is_none() && record.losses.is_empty(), "{:?}", record.losses);
}

#[test]
fn a_unit_whose_seal_was_taken_off_does_not_count() {
    let (_root, dir, _) = written();
    let full = fs::read_to_string(journal(&dir)).unwrap();
    let lines: Vec<&str> = full.lines().collect();
    let last = lines.iter().rposition(|l| l.contains("\"unit-done\"")).unwrap();
    let cut = &lines[..=last];
    fs::write(journal(&dir), cut.join("\n") + "\n").unwrap();
    let record = load(&dir).unwrap();
    assert_eq!(record.units.len(), 7);
    assert!(
        record.losses.iter().any(|l| l == "unit 7 on local, attempt 1: its end is not sealed"),
        "{:?}",
        record.losses
    );
}

#[test]
fn outputs_are_believed_by_their_hash_only() {
    let (_root, dir, run) = written();
    let hashes: Vec<&Sha256Hex> = run.outputs.keys().collect();
    let file = |hash: &Sha256Hex| dir.join(OUTPUTS_DIR).join(format!("{hash}.bin"));
    fs::remove_file(file(hashes[0])).unwrap();
    let mut bytes = fs::read(file(hashes[1])).unwrap();
    bytes[17] ^= 1;
    fs::write(file(hashes[1]), &bytes).unwrap();
    fs::write(file(hashes[2]), &bytes[..100]).unwrap();
    let record = load(&dir).unwrap();
    let missing = record.units[6].trials.iter().filter(|t| t.outputs.as_ref().unwrap().values.is_none());
    assert_eq!(missing.count(), 3);
    let losses = record.losses.join("\n");
    for part in ["is missing", "has another hash", "does not have the 2400 bytes"] {
        assert!(losses.contains(part), "{losses}");
    }
}

#[test]
fn outputs_with_another_hash_or_without_room_are_not_stored() {
    let run = Recipe::small().run();
    let root = tempfile::tempdir().unwrap();
    let writer = RunWriter::create(root.path(), &run.plan).unwrap();
    let hash = Sha256Hex::of_bytes(b"right");
    assert!(matches!(writer.store_outputs(&hash, &mut &b"wrong"[..]), Err(StoreError::Refused { .. })));
    assert!(!writer.has_outputs(&hash));
    // a real device without room
    let part = writer.dir().join(OUTPUTS_DIR).join(format!("{hash}.bin.part"));
    std::os::unix::fs::symlink("/dev/full", &part).unwrap();
    let error = writer.store_outputs(&hash, &mut &b"right"[..]).unwrap_err().to_string();
    assert!(error.contains("free some space and resume"), "{error}");
    assert!(!part.exists() && !writer.has_outputs(&hash));
    writer.store_outputs(&hash, &mut &b"right"[..]).unwrap();
    assert!(writer.has_outputs(&hash));
}

#[test]
fn a_run_appears_whole_and_once() {
    let mut run = Recipe::small().run();
    let root = tempfile::tempdir().unwrap();
    drop(RunWriter::create(root.path(), &run.plan).unwrap());
    assert!(matches!(RunWriter::create(root.path(), &run.plan), Err(StoreError::Exists(_))));
    for bad in ["", "..", "a/b", "a b", ".x"] {
        run.plan.run = bad.into();
        assert!(matches!(RunWriter::create(root.path(), &run.plan), Err(StoreError::BadName(_))), "{bad}");
    }
    assert_eq!(fs::read_dir(root.path()).unwrap().count(), 1);
    let file = root.path().join("file");
    fs::write(&file, b"old").unwrap();
    run.plan.run = "x".into();
    assert!(matches!(RunWriter::create(&file, &run.plan), Err(StoreError::Io { .. })));
    write_atomic(&file, b"new").unwrap();
    assert_eq!(fs::read(&file).unwrap(), b"new");
}
