//! A history as others meet it: many files, written in any order, compacted at any time, some of them damaged.

use super::*;
use crate::testing::Recipe;
use crate::verdict::verdicts;
use std::fs;
use std::path::{Path, PathBuf};

/// A row of an invented series.
pub(super) fn invented(series: usize, night: &str, run: &str, value: f64) -> Row {
    let key = SeriesKey {
        device: format!("pi-{}", series % 3),
        suite: "vision".into(),
        variant: format!("m@v{series}"),
        runtime: "builtin/cpu".into(),
        threads: 1,
        options: String::new(),
        metric: "latency_ns".into(),
    };
    Row {
        key,
        night: night.into(),
        run: run.into(),
        measured_at: format!("{night}T02:00:00Z"),
        model_sha256: "a".repeat(64),
        value: Some(value),
        units: 6,
        valid: true,
        ..Row::default()
    }
}

pub(super) fn night(day: u32) -> String {
    format!("2026-{:02}-{:02}", 11 + day / 28, 1 + day % 28)
}

fn place() -> (tempfile::TempDir, History) {
    let folder = tempfile::tempdir().unwrap();
    let history = History::folder(folder.path());
    (folder, history)
}

/// Three series over so many nights.
fn filled(days: u32) -> (tempfile::TempDir, History) {
    let (folder, history) = place();
    for day in 0..days {
        let rows: Vec<Row> = (0..3)
            .map(|series| invented(series, &night(day), &format!("run-{day}"), 1e6 + f64::from(day)))
            .collect();
        assert!(history.append(&rows).unwrap().new);
    }
    (folder, history)
}

/// Every row of a history, and what was noted.
fn all(history: &History) -> (BTreeMap<SeriesKey, Vec<Row>>, Vec<Note>) {
    let Reading { found, notes } = history.read_all(&Nights::ALL).unwrap();
    (found, notes)
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let found = Folder::new(folder).list("").unwrap();
    found.into_iter().map(|entry| folder.join(entry.path)).collect()
}

#[test]
fn a_run_comes_back_as_it_was_kept() {
    let record = Recipe::small().run().record();
    let night = Night { host: Some("farm-1".into()), id: Some("n7".into()), ..Night::of_run(&record.plan) };
    assert_eq!(night.date, "2026-03-05");
    let rows = rows(&record, &verdicts(&record), &night);
    let (_folder, history) = place();
    let kept = history.append(&rows).unwrap();
    assert_eq!(kept.file, "schema=1/month=2026-03/night=2026-03-05-run=2026-03-05T100000Z-7f3a.parquet");
    let (found, notes) = all(&history);
    assert_eq!(notes, []);
    let mut found: Vec<Row> = found.into_values().flatten().collect();
    let mut wanted = rows.clone();
    format::sort(&mut found);
    format::sort(&mut wanted);
    assert_eq!(found, wanted);
    for name in
        ["latency_ns", "init_ns", "memory_peak_bytes", "model_bytes", "accuracy_top1", "delegated_share"]
    {
        assert_eq!(rows.iter().filter(|row| row.key.metric == name && row.valid).count(), 8, "{name}");
    }
    let one = &rows[0];
    let read = history.read(&one.key, &Nights::ALL).unwrap();
    assert_eq!(read.found, std::slice::from_ref(one));
    assert!(one.value > one.low && one.value < one.high && one.agent.is_some() && one.os.is_some());
    assert_eq!(history.latest_night().unwrap().found.as_deref(), Some("2026-03-05"));
}

#[test]
fn a_run_is_kept_once() {
    let (_folder, history) = filled(2);
    let again = history.append(&[invented(0, &night(1), "run-1", 5.0)]).unwrap();
    assert!(!again.new && again.notes[0].what.contains("not kept"), "{again:?}");
    let late = history.append(&[invented(0, &night(0), "run-late", 7.0)]).unwrap();
    assert!(late.new && late.notes[0].what.contains("clock that went backwards"), "{late:?}");
    let rows = history.read(&invented(0, "", "", 0.0).key, &Nights::ALL).unwrap().found;
    let runs: Vec<&str> = rows.iter().map(|row| row.run.as_str()).collect();
    assert_eq!(runs, ["run-0", "run-late", "run-1"], "two runs of one night are both kept");
    history.compact_month("2026-11").unwrap();
    assert!(history.append(&[invented(0, &night(1), "run-1", 5.0)]).unwrap().new, "its name is free again");
    let rows = history.read(&invented(0, "", "", 0.0).key, &Nights::ALL).unwrap().found;
    assert_eq!(rows.len(), 3, "and still it counts once: {rows:?}");
    assert_eq!(rows[2].value, Some(1e6 + 1.0));
}

#[test]
fn what_cannot_be_a_path_is_refused() {
    let (folder, history) = place();
    let good = invented(0, "2026-12-01", "r", 1.0);
    for (night, run) in [
        ("2026-13-01", "r"),
        ("2026-12-1", "r"),
        ("../../etc", "r"),
        ("2026-12-01", "a/b"),
        ("2026-12-01", ""),
    ] {
        let bad = Row { night: night.into(), run: run.into(), ..good.clone() };
        assert!(matches!(history.append(&[bad]), Err(HistoryError::Refused(_))), "{night} {run}");
    }
    let other = Row { run: "s".into(), ..good.clone() };
    assert!(history.append(&[good.clone(), other]).is_err() && history.append(&[]).is_err());
    assert!(history.append(&[good.clone(), good]).unwrap_err().to_string().contains("twice"));
    assert_eq!(files(folder.path()), Vec::<PathBuf>::new());
}

/// Cuts, flips or replaces bytes of a file.
fn damage(path: &Path, how: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).unwrap();
    how(&mut bytes);
    fs::write(path, bytes).unwrap();
}

#[test]
fn a_damaged_file_is_named_and_hides_no_other() {
    let (folder, history) = filled(6);
    let paths = files(folder.path());
    damage(&paths[0], |bytes| bytes.truncate(bytes.len() / 2));
    damage(&paths[1], Vec::clear);
    damage(&paths[2], |bytes| bytes[100] ^= 1);
    damage(&paths[3], |bytes| *bytes = b"PAR1 this is no such file PAR1".to_vec());
    let (found, notes) = all(&history);
    assert!(found.values().all(|rows| rows.len() == 2), "{found:?}");
    assert_eq!(notes.len(), 4, "{notes:?}");
    assert!(notes[2].to_string().ends_with("left out: group 0 is not as it was written"), "{}", notes[2]);
    // nor is it thrown away
    let done = history.compact_month("2026-11").unwrap();
    assert_eq!((done.removed, done.rows, done.notes.len()), (2, 6, 4), "{done:?}");
    assert!(paths[..4].iter().all(|path| path.exists()) && !paths[4].exists());
    assert_eq!(all(&history), (found, notes));
}

#[test]
fn every_flipped_byte_is_noticed_or_harmless() {
    let (folder, history) = filled(1);
    let path = &files(folder.path())[0];
    let (whole, _) = all(&history);
    let bytes = fs::read(path).unwrap();
    for at in (0..bytes.len()).step_by(41).chain(bytes.len() - 100..bytes.len()) {
        for bit in [0x01, 0x80] {
            damage(path, |bytes| bytes[at] ^= bit);
            let Reading { found, notes } = history.read_all(&Nights::ALL).unwrap();
            assert!(!notes.is_empty() || found == whole, "byte {at} of {}: {found:?}", bytes.len());
            fs::write(path, &bytes).unwrap();
        }
    }
    for length in (0..bytes.len()).step_by(53) {
        fs::write(path, &bytes[..length]).unwrap();
        let Reading { found, notes } = history.read_all(&Nights::ALL).unwrap();
        assert!(found.is_empty() && notes.len() == 1, "{length}: {notes:?}");
    }
}

#[test]
fn what_is_not_ours_is_named_and_left_alone() {
    let (folder, history) = filled(2);
    for path in
        ["schema=2/month=2026-11/night=2026-11-01-run=x.parquet", "notes.txt", "schema=1/month=2026-11/x.csv"]
    {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, "foreign").unwrap();
    }
    let (found, notes) = all(&history);
    assert!(found.values().all(|rows| rows.len() == 2));
    let told: Vec<String> = notes.iter().map(Note::to_string).collect();
    assert_eq!(
        told,
        [
            "notes.txt: no file of a history: left out",
            "schema=1/month=2026-11/x.csv: no file of a history: left out",
            "schema=2/month=2026-11/night=2026-11-01-run=x.parquet: another schema of rows, this version reads 1: left out",
        ]
    );
    history.compact_month("2026-11").unwrap();
    assert_eq!(files(folder.path()).len(), 4);
}

#[test]
fn compaction_removes_raw_samples_of_long_ago() {
    let record = Recipe::small().run().record();
    let verdicts = verdicts(&record);
    let (folder, history) = filled(40);
    for date in ["2026-08-01", "2026-11-20"] {
        let night = Night { date: date.into(), ..Night::of_run(&record.plan) };
        assert!(history.append_raw(&record, &verdicts, &night).unwrap());
        assert!(!history.append_raw(&record, &verdicts, &night).unwrap());
    }
    let (before, _) = all(&history);
    let done = history.compact("2026-12-13", RAW_NIGHTS).unwrap();
    assert_eq!(
        done.iter().map(|d| (d.month.as_str(), d.removed, d.rows)).collect::<Vec<_>>(),
        [("2026-11", 28, 84)]
    );
    assert!(done[0].bytes_after < done[0].bytes_before / 3, "{done:?}");
    assert_eq!(all(&history).0, before);
    let left = Folder::new(folder.path()).list("raw").unwrap();
    assert!(left.len() == 1 && left[0].path.contains("2026-11-20"), "{left:?}");
    assert_eq!(history.compact("2026-12-13", RAW_NIGHTS).unwrap(), [], "there is nothing left to do");
    assert!(history.compact("tomorrow", RAW_NIGHTS).is_err());
}

#[test]
fn a_compaction_that_was_killed_loses_nothing_and_doubles_nothing() {
    let (folder, history) = filled(5);
    let (before, _) = all(&history);
    let old: Vec<(PathBuf, Vec<u8>)> =
        files(folder.path()).into_iter().map(|path| (path.clone(), fs::read(path).unwrap())).collect();
    history.compact_month("2026-11").unwrap();
    // as if it had been killed after it removed some, none, or all but one
    for kept in 0..=old.len() {
        for (path, bytes) in &old[kept..] {
            fs::write(path, bytes).unwrap();
        }
        assert_eq!(all(&history), (before.clone(), Vec::new()), "{kept}");
        assert_eq!(history.series().unwrap().found[0].valid, 5);
        let done = history.compact_month("2026-11").unwrap();
        assert_eq!(done.removed, old.len() - kept, "{done:?}");
        assert_eq!((all(&history).0, files(folder.path()).len()), (before.clone(), 1));
    }
}

#[test]
fn two_hosts_that_compact_one_month_count_it_once() {
    let (folder, history) = filled(4);
    let early: Vec<(PathBuf, Vec<u8>)> =
        files(folder.path())[..2].iter().map(|path| (path.clone(), fs::read(path).unwrap())).collect();
    let (before, _) = all(&history);
    history.compact_month("2026-11").unwrap();
    // the other had seen two files, and wrote them together
    let (other_folder, other) = place();
    for (path, bytes) in &early {
        let path = other_folder.path().join(path.strip_prefix(folder.path()).unwrap());
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
    other.compact_month("2026-11").unwrap();
    let theirs = &files(other_folder.path())[0];
    fs::copy(theirs, folder.path().join(theirs.strip_prefix(other_folder.path()).unwrap())).unwrap();
    assert_eq!(files(folder.path()).len(), 2);
    assert_eq!(all(&history).0, before);
    history.compact_month("2026-11").unwrap();
    assert_eq!((all(&history).0, files(folder.path()).len()), (before, 1));
}

/// A place from which files go away between being listed and being opened.
struct Moving {
    inner: Folder,
    compacted: std::sync::atomic::AtomicBool,
}

impl Files for Moving {
    fn place(&self) -> String {
        self.inner.place()
    }
    fn list(&self, folder: &str) -> io::Result<Vec<FileEntry>> {
        self.inner.list(folder)
    }
    fn open(&self, entry: &FileEntry) -> io::Result<fs::File> {
        let first = self.inner.open(entry);
        if !self.compacted.swap(true, std::sync::atomic::Ordering::Relaxed) {
            History::new(Arc::new(self.inner.clone())).compact_month("2026-11").unwrap();
        }
        first
    }
    fn put_if_absent(&self, path: &str, bytes: &[u8]) -> io::Result<bool> {
        self.inner.put_if_absent(path, bytes)
    }
    fn delete(&self, path: &str) -> io::Result<()> {
        self.inner.delete(path)
    }
}

#[test]
fn reading_while_somebody_compacts_sees_everything_once() {
    let (folder, history) = filled(5);
    let (before, _) = all(&history);
    let moving = Moving { inner: Folder::new(folder.path()), compacted: false.into() };
    assert_eq!(all(&History::new(Arc::new(moving))), (before, Vec::new()));
}

#[test]
fn nights_are_cut_where_they_are_asked_to() {
    let (_folder, history) = filled(40);
    let key = invented(1, "", "", 0.0).key;
    let nights = Nights { from: Some(night(26)), to: Some(night(30)) };
    let found = history.read(&key, &nights).unwrap().found;
    let dates: Vec<String> = found.into_iter().map(|row| row.night).collect();
    assert_eq!(dates, (26..=30).map(night).collect::<Vec<_>>());
    assert_eq!(history.latest_night().unwrap().found, Some(night(39)));
    let series = history.series().unwrap().found;
    assert_eq!(series.len(), 3);
    let one = series.iter().find(|s| s.key == key).unwrap();
    assert_eq!((one.first_night.clone(), one.last_night.clone(), one.valid), (night(0), night(39), 40));
    assert_eq!(one.last_value, Some(1e6 + 39.0));
}

#[test]
fn large_months_become_several_files() {
    let ids: Vec<SeriesId> = (0..2000).map(|series| invented(series, "", "", 0.0).key.id()).collect();
    let parts: Vec<(SeriesId, SeriesId)> = compact::slices(7).collect();
    assert!(parts.windows(2).all(|p| p[0].1.0 + 1 == p[1].0.0) && parts[0].0.0 == 0);
    let holds = |id: &SeriesId| parts.iter().filter(|(from, to)| from <= id && id <= to).count();
    assert!(ids.iter().all(|id| holds(id) == 1));
}

#[test]
fn the_page_of_the_history_names_every_column() {
    let page = include_str!("../../HISTORY.md");
    for (name, kind) in columns() {
        assert!(page.contains(&format!("| `{name}` | {kind} |")), "HISTORY.md must tell `{name}`, a {kind}");
    }
    for (name, value) in [
        ("WINDOW_NIGHTS", WINDOW_NIGHTS),
        ("RECENT_NIGHTS", RECENT_NIGHTS),
        ("ATTEMPTS", ATTEMPTS as i64),
        ("RAW_NIGHTS", i64::from(RAW_NIGHTS)),
    ] {
        assert!(page.contains(&format!("`{name}` = {value}")), "HISTORY.md must tell {name} = {value}");
    }
}

mod properties {
    use super::*;
    use proptest::prelude::*;

    /// What may be done to a history: keep a run (by its number), compact a month.
    #[derive(Clone, Debug)]
    enum Step {
        Append(u32),
        Compact(bool),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let runs = Just((0..10u32).collect::<Vec<_>>()).prop_shuffle();
        (runs, proptest::collection::vec((any::<prop::sample::Index>(), any::<bool>()), 0..5)).prop_map(
            |(runs, compactions)| {
                let mut steps: Vec<Step> = runs.into_iter().map(Step::Append).collect();
                for (at, early) in compactions {
                    steps.insert(at.index(steps.len() + 1), Step::Compact(early));
                }
                steps
            },
        )
    }

    /// Run by number: its night, and rows of some series; two runs share each night.
    fn run(number: u32) -> Vec<Row> {
        let (night, name) = (night(20 + number / 2 * 3), format!("run-{number}"));
        (0..2 + number as usize % 3)
            .map(|series| invented(series, &night, &name, f64::from(1 + number)))
            .collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn in_whatever_order_and_compacted_whenever_the_answers_are_the_same(steps in steps()) {
            let (_plain, ordered) = place();
            for number in 0..10 {
                ordered.append(&run(number)).unwrap();
            }
            let (_folder, history) = place();
            for step in steps {
                match step {
                    Step::Append(number) => prop_assert!(history.append(&run(number)).unwrap().new),
                    Step::Compact(early) => {
                        history.compact_month(if early { "2026-11" } else { "2026-12" }).unwrap();
                    }
                }
            }
            let (rows, notes) = all(&history);
            prop_assert_eq!((rows.len(), rows.values().map(Vec::len).sum::<usize>(), notes.len()), (4, 29, 0));
            prop_assert_eq!(all(&history), all(&ordered));
            prop_assert_eq!(history.series().unwrap(), ordered.series().unwrap());
            prop_assert_eq!(history.latest_night().unwrap(), ordered.latest_night().unwrap());
            for key in all(&ordered).0.keys() {
                prop_assert_eq!(history.read(key, &Nights::ALL).unwrap(), ordered.read(key, &Nights::ALL).unwrap());
            }
        }
    }
}
