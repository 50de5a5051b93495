//! Reads the nights of a farm as they lie on disk: whole, being written, cut off, damaged or hostile. What cannot be
//! read is said in a note, and never keeps the rest from being shown. Writes nothing.

use super::folder::Folder;
use crate::{
    device::DeviceCard,
    job::JobOutcome,
    night::{
        self, DEVICES_FILE, Ended, JOURNAL_FILE, JobLine, NIGHT_SCHEMA, NightEntry, NightPlan, NightRecord,
        PLAN_FILE, RUNS_DIR, SUMMARY_FILE, Summary,
    },
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::{
    fs::File,
    io::{self, BufRead, BufReader, ErrorKind, Read},
    path::PathBuf,
};

/// Longest file that is read whole: the summary of a thousand devices with two hundred cells each.
const MAX_FILE: u64 = 256 << 20;
/// Most of a journal that is read.
const MAX_JOURNAL: u64 = 256 << 20;
/// Longest line of a journal: all jobs that one confirmation adds.
const MAX_LINE: u64 = 4 << 20;
/// Lines of a journal that cannot be read and are told one by one.
const MAX_BAD_LINES: usize = 3;
/// Page of a run.
const REPORT: &str = "report.html";

/// Size and time of a file.
pub(super) type Stamp = (u64, std::time::SystemTime);

/// Where nights lie.
#[derive(Clone, Debug)]
pub(super) struct Shelf {
    root: PathBuf,
}

/// What was read, and what could not be.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Found<T> {
    /// What is there.
    pub found: T,
    /// What could not be read, and why; one line each.
    pub notes: Vec<String>,
}

/// One night, as far as it can be read.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Night {
    /// As it was written; of a night that has not ended, what plan and journal say: no verdicts, no changes.
    pub summary: Summary,
    /// The summary was written at the end of the night.
    pub whole: bool,
    /// What could not be read.
    pub notes: Vec<String>,
}

/// A device at some moment of a night.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Sighting {
    /// Name of the night.
    pub night: String,
    /// How the device was.
    pub card: DeviceCard,
}

impl Shelf {
    /// The folder need not be there yet.
    pub(super) fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// Where it is, for people.
    pub(super) fn place(&self) -> String {
        self.root.display().to_string()
    }

    /// Names of all nights, newest first.
    pub(super) fn nights(&self) -> Found<Vec<String>> {
        let names = Folder::open(&self.root).and_then(|root| {
            let mut names = root.folders()?;
            names.retain(|name| root.folder(name).is_ok_and(|night| night.file(PLAN_FILE).is_ok()));
            names.reverse();
            Ok(names)
        });
        match names {
            Ok(found) => Found { found, notes: Vec::new() },
            Err(error) if error.kind() == ErrorKind::NotFound => Found::default(),
            Err(error) => Found { found: Vec::new(), notes: vec![format!("{}: {error}", self.place())] },
        }
    }

    /// The devices as they were last seen.
    pub(super) fn devices(&self) -> Found<Vec<DeviceCard>> {
        let mut notes = Vec::new();
        let found = match Folder::open(&self.root) {
            Ok(root) => json(&root, DEVICES_FILE, &mut notes).unwrap_or_default(),
            Err(_) => Vec::new(),
        };
        Found { found, notes }
    }

    /// A night; `None`: there is none of that name.
    pub(super) fn night(&self, name: &str) -> Option<Night> {
        let folder = Folder::open(&self.root).and_then(|root| root.folder(name)).ok()?;
        if folder.file(PLAN_FILE).is_err() && folder.file(SUMMARY_FILE).is_err() {
            return None;
        }
        let mut notes = Vec::new();
        if let Some(summary) = json::<Summary>(&folder, SUMMARY_FILE, &mut notes) {
            return Some(Night {
                summary: Summary { night: name.to_owned(), ..summary },
                whole: true,
                notes,
            });
        }
        let plan = json::<NightPlan>(&folder, PLAN_FILE, &mut notes);
        let summary = unfinished(name, plan, &folder, &mut notes);
        Some(Night { summary: Summary { night: name.to_owned(), ..summary }, whole: false, notes })
    }

    /// Changes when the summary of a night is written anew.
    pub(super) fn stamp(&self, night: &str) -> Option<Stamp> {
        let (file, bytes) = Folder::open(&self.root).ok()?.folder(night).ok()?.file(SUMMARY_FILE).ok()?;
        Some((bytes, file.metadata().ok()?.modified().ok()?))
    }

    /// How a device was in the nights of that name, in the order of what happened.
    pub(super) fn sightings(&self, device: &str, nights: &[String]) -> Found<Vec<Sighting>> {
        let mut all = Found::default();
        let Ok(root) = Folder::open(&self.root) else { return all };
        for night in nights {
            let Ok(folder) = root.folder(night) else { continue };
            let mut seen = |card: DeviceCard| {
                if card.id == device {
                    all.found.push(Sighting { night: night.clone(), card });
                }
            };
            if let Some(plan) = json::<NightPlan>(&folder, PLAN_FILE, &mut all.notes) {
                plan.devices.into_iter().for_each(&mut seen);
            }
            journal(&folder, night, &mut all.notes, &mut |entry| {
                if let NightEntry::Device { card } = entry {
                    seen(card);
                }
            });
        }
        all
    }

    /// The page of a run, with its size.
    ///
    /// # Errors
    /// There is no such run, or its report was not written.
    pub(super) fn report(&self, night: &str, run: &str) -> io::Result<(File, u64)> {
        Folder::open(&self.root)?.folder(night)?.folder(RUNS_DIR)?.folder(run)?.file(REPORT)
    }
}

/// The version that a file says it has, whatever else is in it.
#[derive(Deserialize)]
struct Versioned {
    schema: u32,
}

/// What a file holds; a file that is not there is no note.
fn json<T: DeserializeOwned>(folder: &Folder, name: &str, notes: &mut Vec<String>) -> Option<T> {
    let bytes = match folder.read(name, MAX_FILE) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == ErrorKind::NotFound => return None,
        Err(error) => {
            notes.push(format!("{name} cannot be read: {error}"));
            return None;
        }
    };
    let version = || serde_json::from_slice::<Versioned>(&bytes).ok().map(|file| file.schema);
    match serde_json::from_slice(&bytes) {
        Ok(found) => Some(found),
        Err(error) => {
            notes.push(match version().filter(|version| *version != NIGHT_SCHEMA) {
                Some(other) => format!(
                    "{name} has schema {other}, this version of bench reads {NIGHT_SCHEMA}: use the version that wrote it"
                ),
                None => format!("{name} is damaged, or is being written: {error}"),
            });
            None
        }
    }
}

/// Visits every line of a journal that can be read. The last line may be half there: it is being written.
fn journal(folder: &Folder, night: &str, notes: &mut Vec<String>, visit: &mut dyn FnMut(NightEntry)) {
    let file = match folder.file(JOURNAL_FILE) {
        Ok((file, bytes)) => {
            if bytes > MAX_JOURNAL {
                notes.push(format!(
                    "{night}: {JOURNAL_FILE} has {bytes} bytes; only the first {MAX_JOURNAL} were read"
                ));
            }
            file
        }
        Err(error) => {
            if error.kind() != ErrorKind::NotFound {
                notes.push(format!("{night}: {JOURNAL_FILE} cannot be read: {error}"));
            }
            return;
        }
    };
    let mut lines = BufReader::new(file.take(MAX_JOURNAL));
    let (mut line, mut number, mut bad) = (Vec::new(), 0usize, 0usize);
    loop {
        line.clear();
        number += 1;
        let why = match lines.by_ref().take(MAX_LINE).read_until(b'\n', &mut line) {
            Ok(0) => break,
            Ok(_) if line.last() != Some(&b'\n') => {
                if (line.len() as u64) < MAX_LINE {
                    break;
                }
                // what follows is in the middle of a line and says nothing that can be trusted
                notes.push(format!(
                    "{night}: line {number} of {JOURNAL_FILE} has more than {MAX_LINE} bytes; read no further"
                ));
                break;
            }
            Ok(_) => match serde_json::from_slice(&line) {
                Ok(entry) => {
                    visit(entry);
                    continue;
                }
                Err(error) => error.to_string(),
            },
            Err(error) => {
                notes.push(format!("{night}: {JOURNAL_FILE} cannot be read beyond line {number}: {error}"));
                break;
            }
        };
        bad += 1;
        if bad <= MAX_BAD_LINES {
            notes.push(format!("{night}: line {number} of {JOURNAL_FILE} is damaged: {why}"));
        }
    }
    if bad > MAX_BAD_LINES {
        notes.push(format!("{night}: {} more lines of {JOURNAL_FILE} are damaged", bad - MAX_BAD_LINES));
    }
}

/// What plan and journal say of a night without a summary.
fn unfinished(name: &str, plan: Option<NightPlan>, folder: &Folder, notes: &mut Vec<String>) -> Summary {
    let Some(plan) = plan else { return nothing_of(name) };
    let mut record = NightRecord::begun(plan);
    journal(folder, name, notes, &mut |entry| record.take(entry));
    night::summary(&record, Vec::new(), Vec::new())
}

fn nothing_of(name: &str) -> Summary {
    Summary {
        schema: NIGHT_SCHEMA,
        night: name.to_owned(),
        farm: String::new(),
        began: String::new(),
        ended: None,
        how: None,
        jobs: Vec::new(),
        verdicts: Vec::new(),
        changes: Vec::new(),
        devices: Vec::new(),
        unkept: Vec::new(),
        notes: Vec::new(),
    }
}

/// True for a job that gave a record with a result for every variant.
pub(super) fn is_measured(job: &JobLine) -> bool {
    matches!(job.outcome, Some(JobOutcome::Measured))
}

/// How a night ended, in words.
pub(super) fn how(of: Option<Ended>) -> &'static str {
    match of {
        Some(Ended::Whole) => "every job came to an end",
        Some(Ended::OutOfTime) => "its time was over first",
        Some(Ended::Interrupted) => "it was interrupted",
        None => "it has not ended: it is under way, or was cut off",
    }
}
