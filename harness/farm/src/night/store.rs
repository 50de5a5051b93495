//! A night on disk: written line by line while it goes on, and read back whatever cut it off.

use super::{Ended, NIGHT_SCHEMA, NightEntry, NightPlan};
use crate::{
    device::DeviceCard,
    job::{Job, JobId, JobResult},
};
use reports::store::{StoreError, write_atomic};
use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

/// Folder of the runs.
pub const RUNS_DIR: &str = "runs";
/// The night in short.
pub const SUMMARY_FILE: &str = "summary.json";
pub(crate) const PLAN_FILE: &str = "plan.json";
pub(crate) const JOURNAL_FILE: &str = "journal.jsonl";
pub(crate) const DEVICES_FILE: &str = "devices.json";

/// Longest file of a night that is read.
const MAX_BYTES: u64 = 1 << 30;
/// Most nights that are listed.
const MAX_NIGHTS: usize = 10_000;

/// Why a night cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum NightError {
    /// The file system refused.
    #[error("{path}: {source}")]
    Io {
        /// Where.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
    /// A file holds something else.
    #[error("{path}: {reason}")]
    Bad {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Somebody is at it.
    #[error("{0}: another `bench nightly` is at work on this night")]
    Locked(PathBuf),
    /// A file was not written.
    #[error(transparent)]
    Store(#[from] StoreError),
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> NightError {
    let path = path.to_owned();
    move |source| NightError::Io { path, source }
}

/// A night that is being written.
pub struct NightWriter {
    dir: PathBuf,
    journal: File,
}

impl NightWriter {
    /// Begins a night in a folder of its own in `out`.
    ///
    /// # Errors
    /// The file system refused.
    pub fn create(out: &Path, plan: &NightPlan) -> Result<Self, NightError> {
        let dir = out.join(&plan.night);
        let runs = dir.join(RUNS_DIR);
        fs::create_dir_all(&runs).map_err(failed(&runs))?;
        let text = serde_json::to_vec(plan).map_err(io::Error::from).map_err(failed(&dir))?;
        write_atomic(&dir.join(PLAN_FILE), &text)?;
        let journal = lock(&dir)?;
        Ok(Self { dir, journal })
    }

    /// Takes up a night that was cut off; a last line that is not whole is cut.
    ///
    /// # Errors
    /// It cannot be read, or somebody is at it.
    pub fn reopen(dir: &Path) -> Result<(Self, NightRecord), NightError> {
        let journal = lock(dir)?;
        let record = load(dir)?;
        let path = dir.join(JOURNAL_FILE);
        journal.set_len(record.whole_bytes).map_err(failed(&path))?;
        Ok((Self { dir: dir.to_owned(), journal }, record))
    }

    /// The night's folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Appends a line, on the disk when this returns.
    ///
    /// # Errors
    /// The file system refused.
    pub fn append(&mut self, entry: &NightEntry) -> Result<(), NightError> {
        let path = self.dir.join(JOURNAL_FILE);
        let mut line = serde_json::to_string(entry).map_err(io::Error::from).map_err(failed(&path))?;
        line.push('\n');
        let whole = self.journal.metadata().map_err(failed(&path))?.len();
        let written = self.journal.write_all(line.as_bytes()).and_then(|()| self.journal.sync_data());
        written.map_err(|error| {
            // half a line would make the next one unreadable
            self.journal.set_len(whole).unwrap_or_default();
            failed(&path)(error)
        })
    }

    /// Writes a file of the night as a whole.
    ///
    /// # Errors
    /// The file system refused.
    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<PathBuf, NightError> {
        let path = self.dir.join(name);
        write_atomic(&path, bytes)?;
        Ok(path)
    }
}

fn lock(dir: &Path) -> Result<File, NightError> {
    let path = dir.join(JOURNAL_FILE);
    let file = OpenOptions::new().create(true).append(true).open(&path).map_err(failed(&path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(NightError::Locked(dir.to_owned())),
        Err(TryLockError::Error(error)) => Err(failed(&path)(error)),
    }
}

/// Everything that is known of a night.
#[derive(Clone, Debug, PartialEq)]
pub struct NightRecord {
    /// What was planned.
    pub plan: NightPlan,
    /// What was added, to confirm changes.
    pub added: Vec<Job>,
    /// How jobs ended, with the name of the run; the first result of a job counts.
    pub results: BTreeMap<JobId, (JobResult, Option<String>)>,
    /// Runs whose rows are in the history.
    pub kept: Vec<String>,
    /// The devices as they were last.
    pub devices: BTreeMap<String, DeviceCard>,
    /// When it ended, and how; `None`: it is under way, or was cut off.
    pub ended: Option<(String, Ended)>,
    /// Lines of the journal that could not be read.
    pub unreadable: usize,
    /// Bytes of the journal up to its last whole line.
    whole_bytes: u64,
}

impl NightRecord {
    /// Before the first line.
    pub fn begun(plan: NightPlan) -> Self {
        let devices = plan.devices.iter().map(|card| (card.id.clone(), card.clone())).collect();
        Self {
            plan,
            added: Vec::new(),
            results: BTreeMap::new(),
            kept: Vec::new(),
            devices,
            ended: None,
            unreadable: 0,
            whole_bytes: 0,
        }
    }

    /// Learns of a line.
    pub fn take(&mut self, entry: NightEntry) {
        match entry {
            NightEntry::Result { result, run } => {
                self.results.entry(result.job.clone()).or_insert((result, run));
            }
            NightEntry::Added { jobs } => self.added.extend(jobs),
            NightEntry::Device { card } => {
                self.devices.insert(card.id.clone(), card);
            }
            NightEntry::Kept { run } => self.kept.push(run),
            NightEntry::Ended { at, how } => self.ended = Some((at, how)),
        }
    }

    /// All jobs, in the order in which they are handed out.
    pub fn jobs(&self) -> impl Iterator<Item = &Job> {
        self.plan.jobs.iter().chain(&self.added)
    }

    /// Jobs without a result.
    pub fn open(&self) -> impl Iterator<Item = &Job> {
        self.jobs().filter(|job| !self.results.contains_key(&job.id))
    }
}

/// Reads a night.
///
/// # Errors
/// There is none, or it is of another schema. A journal that ends in the middle of a line is none.
pub fn load(dir: &Path) -> Result<NightRecord, NightError> {
    let path = dir.join(PLAN_FILE);
    let bad = |reason: String| NightError::Bad { path: path.clone(), reason };
    let text = read(&path)?;
    let value: serde_json::Value = serde_json::from_slice(&text).map_err(|e| bad(e.to_string()))?;
    let schema = value.get("schema").and_then(serde_json::Value::as_u64);
    if schema != Some(u64::from(NIGHT_SCHEMA)) {
        let schema = schema.map_or_else(|| "no schema".to_owned(), |schema| format!("schema {schema}"));
        return Err(bad(format!("{schema}: this bench reads schema {NIGHT_SCHEMA}")));
    }
    let plan = serde_json::from_value(value).map_err(|e| bad(e.to_string()))?;
    let mut record = NightRecord::begun(plan);
    let path = dir.join(JOURNAL_FILE);
    let text = if path.exists() { read(&path)? } else { Vec::new() };
    let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    record.whole_bytes = whole as u64;
    for line in text[..whole].split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        match serde_json::from_slice(line) {
            Ok(entry) => record.take(entry),
            Err(_) => record.unreadable += 1,
        }
    }
    Ok(record)
}

fn read(path: &Path) -> Result<Vec<u8>, NightError> {
    let file = File::open(path).map_err(failed(path))?;
    let mut text = Vec::new();
    file.take(MAX_BYTES + 1).read_to_end(&mut text).map_err(failed(path))?;
    if text.len() as u64 > MAX_BYTES {
        return Err(NightError::Bad {
            path: path.to_owned(),
            reason: format!("longer than {MAX_BYTES} bytes"),
        });
    }
    Ok(text)
}

/// The folders of the nights in `out`, the latest first.
///
/// # Errors
/// The folder cannot be read; that there is none is no error.
pub fn list(out: &Path) -> Result<Vec<PathBuf>, NightError> {
    let entries = match fs::read_dir(out) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(failed(out))?,
    };
    let mut nights = Vec::new();
    for entry in entries {
        let path = entry.map_err(failed(out))?.path();
        if path.join(PLAN_FILE).is_file() {
            nights.push(path);
        }
    }
    // names begin with the time
    nights.sort();
    nights.reverse();
    nights.truncate(MAX_NIGHTS);
    Ok(nights)
}

/// The devices as earlier nights left them; none where nothing is written down.
///
/// # Errors
/// The file cannot be read.
pub fn load_devices(out: &Path) -> Result<Vec<DeviceCard>, NightError> {
    let path = out.join(DEVICES_FILE);
    if !path.exists() {
        return Ok(Vec::new());
    }
    serde_json::from_slice(&read(&path)?).map_err(|e| NightError::Bad { path, reason: e.to_string() })
}

/// Writes the devices down for the nights to come. Those that are not among `cards` stay as they were.
///
/// # Errors
/// The file cannot be written.
pub fn save_devices(out: &Path, cards: impl IntoIterator<Item = DeviceCard>) -> Result<(), NightError> {
    let path = out.join(DEVICES_FILE);
    let earlier = load_devices(out).unwrap_or_default();
    let all: BTreeMap<String, DeviceCard> =
        earlier.into_iter().chain(cards).map(|card| (card.id.clone(), card)).collect();
    let all: Vec<&DeviceCard> = all.values().collect();
    let text = serde_json::to_vec_pretty(&all).map_err(io::Error::from).map_err(failed(&path))?;
    Ok(write_atomic(&path, &text)?)
}
