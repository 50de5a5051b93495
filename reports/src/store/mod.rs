//! A run on disk: writing it so that a kill at any moment loses at most the unit under way, and reading
//! it back, whole units only. Knows no statistics and renders nothing.
//!
//! The layout is described in [`crate::record`]. One process at a time may write to a run (a lock on the
//! journal); reading needs no lock, a run under way can be reported on.

mod fold;
mod journal;
mod reader;
mod seal;
#[cfg(test)]
mod tests;
mod writer;

use std::path::{Path, PathBuf};
use std::{fs, io};

pub use reader::{load, load_plan};
pub use writer::{Resumed, RunWriter};

/// Name of the plan in a run's directory.
pub const PLAN_FILE: &str = "plan.json";
/// Name of the journal in a run's directory.
pub const JOURNAL_FILE: &str = "journal.jsonl";
/// Name of the folder of outputs in a run's directory.
pub const OUTPUTS_DIR: &str = "outputs";

/// Largest plan that is read: labels and names of a million examples fit.
const MAX_PLAN_BYTES: u64 = 128 << 20;
/// Largest outputs file that is kept or read: 50,000 examples of 5,000 values.
const MAX_OUTPUTS_BYTES: u64 = 1 << 30;

/// Why a run could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file system refused.
    #[error("{}: {doing} failed: {source}{}", path.display(), advice(source))]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What was tried.
        doing: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// There is no run at that place.
    #[error("{}: this is no run directory ({PLAN_FILE} is missing)", .0.display())]
    NoRun(PathBuf),
    /// A run of that name exists.
    #[error("{}: exists already; resume it or choose another name", .0.display())]
    Exists(PathBuf),
    /// The name of a run cannot be the name of a folder.
    #[error("{0:?} cannot be the name of a run: only letters, digits, '-', '_' and '.', not '.' in front")]
    BadName(String),
    /// Another process writes to it.
    #[error("{}: another process is writing to this run; wait for it or stop it", .0.display())]
    Locked(PathBuf),
    /// Written by another version.
    #[error(
        "{}: the record has schema {found}, this version reads {}; use the version of bench that wrote it",
        path.display(), crate::record::RECORD_SCHEMA
    )]
    OtherSchema {
        /// The plan.
        path: PathBuf,
        /// Its schema.
        found: u64,
    },
    /// The plan does not say what a plan must say.
    #[error("{}: {reason}", path.display())]
    BadPlan {
        /// The plan.
        path: PathBuf,
        /// What is wrong, with the key.
        reason: String,
    },
    /// A line of the journal is not an entry.
    #[error(
        "{} line {line}: {reason}; the record is damaged, bring the original file back or measure again",
        path.display()
    )]
    BadLine {
        /// The journal.
        path: PathBuf,
        /// From 1.
        line: u64,
        /// What is wrong.
        reason: String,
    },
    /// The record is not as it was written.
    #[error(
        "{} line {line}: what stands before this seal is not what was written, or {PLAN_FILE} was changed: the \
         record proves nothing any more; measure again, or bring the original files back", path.display()
    )]
    Tampered {
        /// The journal.
        path: PathBuf,
        /// The first seal that is wrong, from 1.
        line: u64,
    },
    /// An entry or an outputs file that must not be stored.
    #[error("{}: {reason}", path.display())]
    Refused {
        /// Where it would have gone.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
}

fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "; free some space and resume: what was measured so far is kept"
        }
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            "; choose a place that can be written to"
        }
        _ => "",
    }
}

/// Attaches path and action to what the system said.
fn failed(path: &Path, doing: &'static str) -> impl FnOnce(io::Error) -> StoreError {
    let path = path.to_owned();
    move |source| StoreError::Io { path, doing, source }
}

/// Writes a whole file so that a reader sees the old content or the new, never a part.
///
/// # Errors
/// The file system refused; the file is as it was.
pub fn write_atomic(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    write_atomic_with(path, |out| out.write_all(bytes).map_err(failed(path, "writing")))
}

/// As [`write_atomic`], with content that is made while it is written.
///
/// # Errors
/// The file system or `content` failed; the file is as it was.
pub fn write_atomic_with<E: From<StoreError>>(
    path: &Path,
    content: impl FnOnce(&mut dyn io::Write) -> Result<(), E>,
) -> Result<(), E> {
    let part = part_of(path);
    let write = || -> Result<(), E> {
        let file = fs::File::create(&part).map_err(failed(path, "writing"))?;
        let mut out = io::BufWriter::with_capacity(1 << 16, file);
        content(&mut out)?;
        let file = out.into_inner().map_err(|e| failed(path, "writing")(e.into_error()))?;
        file.sync_all().map_err(failed(path, "writing"))?;
        fs::rename(&part, path).map_err(failed(path, "writing"))?;
        Ok(())
    };
    if let Err(error) = write() {
        remove_leftover(&part);
        return Err(error);
    }
    sync_parent(path)?;
    Ok(())
}

/// `x.part` beside `x`: a name that no reader looks at.
fn part_of(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".part");
    path.with_file_name(name)
}

/// Best effort on a path that already failed: the first error is the one to report.
fn remove_leftover(path: &Path) {
    fs::remove_file(path).unwrap_or_default();
}

/// Makes a rename in the folder of `path` durable.
fn sync_parent(path: &Path) -> Result<(), StoreError> {
    let parent = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::File::open(parent).and_then(|dir| dir.sync_all()).map_err(failed(parent, "syncing the folder"))
}
