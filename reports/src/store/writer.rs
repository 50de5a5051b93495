//! Writing a run: its directory, its journal, its outputs; and taking it up again after a kill. Does
//! not read anything back that reports are made from.

use super::journal::Journal;
use super::reader::{outputs_path, read_plan, scan};
use super::seal::Chain;
use super::{
    JOURNAL_FILE, MAX_OUTPUTS_BYTES, MAX_PLAN_BYTES, OUTPUTS_DIR, PLAN_FILE, StoreError, failed, part_of,
    remove_leftover, sync_parent, write_atomic,
};
use crate::record::{Entry, Labels, Plan, Purpose};
use protocol::{Sha256, Sha256Hex, UnitId};
use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

/// The one writer of a run. Dropping it releases the lock.
pub struct RunWriter {
    dir: PathBuf,
    journal: Journal<File>,
}

/// Where a run that was cut off stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Resumed {
    /// What was planned.
    pub plan: Plan,
    /// Units that are whole: they need not, and must not, be measured again.
    pub done: Vec<DoneUnit>,
    /// The attempt to give a unit that was started before and is not done; 0 for all others.
    pub next_attempt: BTreeMap<UnitId, u32>,
    /// Which cases were inspected.
    pub inspected: Vec<bool>,
    /// Devices that were given up, by position in [`Plan::devices`], with the reason.
    pub devices_lost: Vec<Option<String>>,
    /// Why the run ended, if it did.
    pub finished: Option<String>,
    /// Bytes behind the last seal that were cut off: of the unit under way, for which nobody vouches.
    pub cut_bytes: u64,
}

/// A unit that is whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DoneUnit {
    /// Its number.
    pub unit: UnitId,
    /// Position in [`Plan::devices`].
    pub device: usize,
    /// What it was for.
    pub purpose: Purpose,
}

impl RunWriter {
    /// Makes `root/<plan.run>/` with the plan and an empty journal. It appears whole or not at all.
    ///
    /// # Errors
    /// A run of that name exists, the name is no folder name, or the file system refused.
    pub fn create(root: &Path, plan: &Plan) -> Result<Self, StoreError> {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if plan.run.is_empty()
            || plan.run.len() > 200
            || plan.run.starts_with('.')
            || !plan.run.chars().all(plain)
        {
            return Err(StoreError::BadName(plan.run.chars().take(200).collect()));
        }
        let dir = root.join(&plan.run);
        if dir.exists() {
            return Err(StoreError::Exists(dir));
        }
        let staging = root.join(format!(".{}.{}.part", plan.run, std::process::id()));
        let staged = stage(&staging, plan).and_then(|chain| match fs::rename(&staging, &dir) {
            Err(e) if matches!(e.kind(), io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::AlreadyExists) => {
                Err(StoreError::Exists(dir.clone()))
            }
            other => other.map(|()| chain).map_err(failed(&dir, "creating the run")),
        });
        let chain = staged.inspect_err(|_| {
            // the first error is the one to report
            fs::remove_dir_all(&staging).unwrap_or_default();
        })?;
        sync_parent(&dir)?;
        let file = open_journal(&dir)?;
        Ok(Self { dir, journal: Journal::new(file, 0, chain) })
    }

    /// Takes up a run that was cut off: what stands behind the last seal is cut, leftovers are removed, and what
    /// is done is told.
    ///
    /// # Errors
    /// As [`super::load`]; also when another process writes to the run.
    pub fn reopen(dir: &Path) -> Result<(Self, Resumed), StoreError> {
        let (plan, chain) = read_plan(dir)?;
        let path = dir.join(JOURNAL_FILE);
        let file = open_journal(dir)?;
        let scan = scan(dir, &plan, chain)?;
        if scan.bytes > scan.sealed_bytes {
            file.set_len(scan.sealed_bytes).map_err(failed(&path, "cutting what is not sealed"))?;
        }
        remove_parts(&dir.join(OUTPUTS_DIR));
        let fold = scan.fold;
        let done =
            fold.done.values().map(|u| DoneUnit { unit: u.unit, device: u.device, purpose: u.purpose });
        let mut next_attempt = fold.next_attempt;
        next_attempt.retain(|unit, _| !fold.done.contains_key(unit));
        let resumed = Resumed {
            done: done.collect(),
            next_attempt,
            inspected: fold.known.facts.iter().map(Option::is_some).collect(),
            devices_lost: fold.known.devices_lost,
            finished: fold.known.finished,
            cut_bytes: scan.bytes - scan.sealed_bytes,
            plan,
        };
        let journal = Journal::new(file, scan.sealed_bytes, scan.chain);
        let mut writer = Self { dir: dir.to_owned(), journal };
        for (unit, attempt) in scan.under_way {
            let reason = "it was under way when the run was cut off".to_owned();
            writer.append(&Entry::UnitLost { unit, attempt, reason })?;
        }
        Ok((writer, resumed))
    }

    /// The run's directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Appends an entry: handed to the system when this returns (a kill does not lose it), and on the
    /// disk when the entry ends a unit, a device or the run, or tells of a device (a power cut does not
    /// lose it either).
    ///
    /// # Errors
    /// The file system refused; the journal still ends with a whole line, and appending may be tried
    /// again.
    pub fn append(&mut self, entry: &Entry) -> Result<(), StoreError> {
        self.journal.append(entry).map_err(failed(&self.dir.join(JOURNAL_FILE), "appending to the journal"))
    }

    /// Keeps an outputs file under its hash. To be called before the unit's [`Entry::UnitDone`]: once
    /// the unit is done its outputs must be there.
    ///
    /// # Errors
    /// The content has another hash, is larger than 1 GiB, or the file system refused.
    pub fn store_outputs(&self, sha256: &Sha256Hex, content: &mut impl Read) -> Result<PathBuf, StoreError> {
        let path = outputs_path(&self.dir, sha256);
        let part = part_of(&path);
        let stored = copy_hashed(&part, content).and_then(|found| {
            if found != *sha256 {
                let reason =
                    format!("the content has hash {}, not the one that was announced", found.short());
                return Err(StoreError::Refused { path: path.clone(), reason });
            }
            fs::rename(&part, &path).map_err(failed(&path, "storing outputs"))
        });
        if let Err(error) = stored {
            remove_leftover(&part);
            return Err(error);
        }
        sync_parent(&path)?;
        Ok(path)
    }

    /// Whether outputs of that hash are kept already.
    pub fn has_outputs(&self, sha256: &Sha256Hex) -> bool {
        outputs_path(&self.dir, sha256).is_file()
    }
}

/// Writes the plan and an empty journal; the chain begins with the plan's bytes.
fn stage(staging: &Path, plan: &Plan) -> Result<Chain, StoreError> {
    fs::create_dir_all(staging.join(OUTPUTS_DIR)).map_err(failed(staging, "creating the run"))?;
    let path = staging.join(PLAN_FILE);
    let mut text =
        serde_json::to_vec_pretty(plan).map_err(|e| failed(&path, "writing")(io::Error::other(e)))?;
    text.push(b'\n');
    if text.len() as u64 > MAX_PLAN_BYTES {
        let reason =
            format!("a plan has at most {MAX_PLAN_BYTES} bytes: use fewer examples, or shorter labels");
        return Err(StoreError::Refused { path, reason });
    }
    write_atomic(&path, &text)?;
    write_atomic(&staging.join(JOURNAL_FILE), b"")?;
    if let Labels::Arrays(arrays) = &plan.dataset.labels
        && let Some(bytes) = arrays.bytes()
    {
        let path = outputs_path(staging, &arrays.sha256);
        if bytes.len() as u64 > MAX_OUTPUTS_BYTES {
            let reason = format!("labels are at most {MAX_OUTPUTS_BYTES} bytes");
            return Err(StoreError::Refused { path, reason });
        }
        write_atomic(&path, &bytes)?;
    }
    if let Some(pictures) = &plan.dataset.pictures
        && let Some(pixels) = &pictures.pixels
    {
        write_atomic(&outputs_path(staging, &pictures.sha256), pixels)?;
    }
    Ok(Chain::of_plan(&text))
}

fn open_journal(dir: &Path) -> Result<File, StoreError> {
    let path = dir.join(JOURNAL_FILE);
    let file = OpenOptions::new().append(true).open(&path).map_err(failed(&path, "opening"))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StoreError::Locked(dir.to_owned())),
        Err(TryLockError::Error(e)) => Err(failed(&path, "locking")(e)),
    }
}

/// Copies to `part`, on disk when it returns, and hashes what was copied.
fn copy_hashed(part: &Path, content: &mut impl Read) -> Result<Sha256Hex, StoreError> {
    let mut file = File::create(part).map_err(failed(part, "storing outputs"))?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0u8; 64 * 1024];
    let mut total = 0u64;
    loop {
        let n = match content.read(&mut buffer) {
            Ok(0) => break,
            Ok(n) => n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(failed(part, "reading the outputs")(e)),
        };
        total += n as u64;
        if total > MAX_OUTPUTS_BYTES {
            let reason = format!("outputs of one trial are at most {MAX_OUTPUTS_BYTES} bytes");
            return Err(StoreError::Refused { path: part.to_owned(), reason });
        }
        hasher.update(&buffer[..n]);
        file.write_all(&buffer[..n]).map_err(failed(part, "storing outputs"))?;
    }
    file.sync_all().map_err(failed(part, "storing outputs"))?;
    Ok(hasher.finish())
}

/// Removes what a killed writer left; what cannot be removed harms nobody.
fn remove_parts(dir: &Path) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.path().extension().is_some_and(|e| e == "part") {
            remove_leftover(&entry.path());
        }
    }
}
