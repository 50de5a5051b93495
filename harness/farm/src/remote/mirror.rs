//! Files of other hosts as they lie there, in a folder of this one: what refers to others by relative paths finds them.
//!
//! | below the cache | what |
//! |---|---|
//! | `farm/files/<sha256>` | files by their hash, verified when they came |
//! | `farm/mirror/<sha256 of the list>/` | the tree of one list of files, linked to those |
//! | `farm/runs/` | runs until their record is sent |
//! | `farm/scratch/` | what is on its way |

use super::{below, is_plain_absolute};
use crate::{
    job::{Job, JobFile, Subject, Work},
    queue::nats::{NatsQueue, ObjectError, Objects},
};
use protocol::Sha256;
use std::{
    fs, io,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};
use tokio::sync::Semaphore;

/// Files of one job.
const MAX_FILES: usize = 10_000;
/// Bytes of the files of one job.
const MAX_BYTES: u64 = 64 << 30;
/// What no job has needed for so long is deleted.
const KEEP: Duration = Duration::from_secs(14 * 24 * 60 * 60);

/// See the module.
pub struct Mirror {
    files: PathBuf,
    trees: PathBuf,
    runs: PathBuf,
    scratch: PathBuf,
    /// One job's files at a time: another one most often needs the same.
    turn: Semaphore,
}

impl Mirror {
    /// Makes the folders below `cache`, and deletes what was not used for two weeks.
    ///
    /// # Errors
    /// A folder cannot be made.
    pub fn new(cache: &Path) -> Result<Self, ObjectError> {
        let folder = |name: &str| {
            let path = cache.join("farm").join(name);
            fs::create_dir_all(&path).map_err(ObjectError::disk(&path))?;
            Ok::<_, ObjectError>(path)
        };
        let mirror = Self {
            files: folder("files")?,
            trees: folder("mirror")?,
            runs: folder("runs")?,
            scratch: folder("scratch")?,
            turn: Semaphore::new(1),
        };
        let oldest = SystemTime::now().checked_sub(KEEP).unwrap_or(SystemTime::UNIX_EPOCH);
        for folder in [&mirror.files, &mirror.trees, &mirror.runs, &mirror.scratch] {
            clean(folder, oldest);
        }
        Ok(mirror)
    }

    /// Where runs lie until their record is sent.
    pub fn runs(&self) -> &Path {
        &self.runs
    }

    /// Where files lie while they are on their way.
    pub(super) fn scratch(&self) -> &Path {
        &self.scratch
    }

    /// The job with the paths of its tree here, its files in place.
    ///
    /// # Errors
    /// A file did not come; a path has no place in a tree; or the disk gives trouble.
    pub async fn fetch(&self, queue: &NatsQueue, job: &Job) -> Result<Job, ObjectError> {
        check(&job.files)?;
        let tree = self.trees.join(name_of(&job.files));
        let _turn = self.turn.acquire().await.map_err(|e| ObjectError::Wrong(e.to_string()))?;
        for file in &job.files {
            let kept = self.files.join(file.sha256.as_str());
            // another length: a disk that was full, or somebody's hand
            if kept.metadata().map_or(true, |known| known.len() != file.bytes) {
                queue.get_object(Objects::Files, &file.sha256, file.bytes, &kept).await?;
            }
            touch(&kept).map_err(ObjectError::disk(&kept))?;
            place(&kept, &below(&tree, &file.path), file.bytes)?;
        }
        if !job.files.is_empty() {
            touch(&tree).map_err(ObjectError::disk(&tree))?;
        }
        Ok(Job { work: moved(&job.work, &tree), ..job.clone() })
    }
}

/// # Errors
/// Too many, too large, or with a path that has no place in a tree.
fn check(files: &[JobFile]) -> Result<(), ObjectError> {
    if files.len() > MAX_FILES {
        return Err(ObjectError::Wrong(format!("{} files are more than {MAX_FILES}", files.len())));
    }
    if let Some(bad) = files.iter().find(|file| !is_plain_absolute(&file.path)) {
        let path = bad.path.display();
        return Err(ObjectError::Wrong(format!("{path:?} is no absolute path of plain names")));
    }
    let bytes = files.iter().try_fold(0u64, |sum, file| sum.checked_add(file.bytes));
    match bytes {
        Some(0..=MAX_BYTES) => Ok(()),
        _ => Err(ObjectError::Wrong(format!("its files have more than {MAX_BYTES} bytes"))),
    }
}

/// The name of a tree: the hash of what lies where.
fn name_of(files: &[JobFile]) -> String {
    let mut hash = Sha256::new();
    for file in files {
        hash.update(file.path.as_os_str().as_encoded_bytes());
        hash.update(format!("\0{}\0", file.sha256).as_bytes());
    }
    hash.finish().to_string()
}

/// Puts a kept file where it is expected.
fn place(kept: &Path, at: &Path, bytes: u64) -> Result<(), ObjectError> {
    if at.symlink_metadata().is_ok_and(|there| there.is_file() && there.len() == bytes) {
        return Ok(());
    }
    let folder = at.parent().unwrap_or(at);
    fs::create_dir_all(folder).map_err(ObjectError::disk(folder))?;
    match fs::remove_file(at) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(ObjectError::disk(at)(error)),
        _ => {}
    }
    // not every file system has links
    let placed = fs::hard_link(kept, at).or_else(|_| fs::copy(kept, at).map(drop));
    placed.map_err(ObjectError::disk(at))
}

/// Paths of the other host become those of the tree; names of what is shipped stay.
fn moved(work: &Work, tree: &Path) -> Work {
    let mut work = work.clone();
    let file = |path: &mut PathBuf| *path = below(tree, path);
    let named = |at: &mut String| {
        if is_plain_absolute(Path::new(at)) {
            *at = below(tree, Path::new(at)).to_string_lossy().into_owned();
        }
    };
    match &mut work.subject {
        Subject::Suite { at } | Subject::Libraries { at, .. } => named(at),
        Subject::Versions { base, head, data, .. } => {
            file(base);
            file(head);
            data.as_mut().map(named).unwrap_or_default();
        }
    }
    work.reference.as_mut().map(file).unwrap_or_default();
    work
}

/// It was used now.
fn touch(path: &Path) -> io::Result<()> {
    fs::File::open(path)?.set_modified(SystemTime::now())
}

/// Deletes what is older. Nothing depends on it: what cannot be deleted stays.
fn clean(folder: &Path, oldest: SystemTime) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let old = entry.metadata().and_then(|there| there.modified()).is_ok_and(|at| at < oldest);
        if old {
            let path = entry.path();
            let gone = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
            gone.unwrap_or_default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::Sha256Hex;

    fn file(path: &str, bytes: u64) -> JobFile {
        JobFile { path: path.into(), sha256: Sha256Hex::of_bytes(path.as_bytes()), bytes }
    }

    #[test]
    fn paths_that_have_no_place_in_a_tree_are_refused() {
        for bad in ["a/b", "/a/../../etc/passwd", "../x", "", "/a/./../b"] {
            let why = check(&[file("/good", 1), file(bad, 1)]).unwrap_err().to_string();
            assert!(why.contains("plain names"), "{bad}: {why}");
        }
        let most = MAX_BYTES / 2 + 1;
        assert!(check(&[file("/a", most), file("/b", most)]).unwrap_err().to_string().contains("bytes"));
        assert!(check(&[file("/a", u64::MAX), file("/b", 2)]).is_err());
        assert!(check(&vec![file("/a", 0); MAX_FILES + 1]).unwrap_err().to_string().contains("10001"));
        check(&[file("/a b/ü.tflite", MAX_BYTES)]).unwrap();
    }

    #[test]
    fn work_is_told_where_its_files_lie_here() {
        let work = Work {
            subject: Subject::Suite { at: "/srv/suites/night.toml".to_owned() },
            filter: Vec::new(),
            runtimes: Vec::new(),
            threads: None,
            units: None,
            time_budget_ms: None,
            reference: Some("/srv/pinned.tflite".into()),
            seed: 1,
        };
        let here = moved(&work, Path::new("/cache/t"));
        assert_eq!(here.subject, Subject::Suite { at: "/cache/t/srv/suites/night.toml".to_owned() });
        assert_eq!(here.reference, Some("/cache/t/srv/pinned.tflite".into()));
        let shipped =
            Work { subject: Subject::Suite { at: "vision".to_owned() }, reference: None, ..work.clone() };
        assert_eq!(moved(&shipped, Path::new("/cache/t")), shipped);
        let versions = Work {
            subject: Subject::Versions {
                base: "/a".into(),
                head: "/b".into(),
                data: Some("vision".to_owned()),
                alarms: Vec::new(),
            },
            ..shipped
        };
        let Subject::Versions { base, head, data, .. } = moved(&versions, Path::new("/t")).subject else {
            unreachable!()
        };
        assert_eq!((base, head, data), ("/t/a".into(), "/t/b".into(), Some("vision".to_owned())));
    }

    #[test]
    fn what_was_not_used_goes_away() {
        let cache = tempfile::tempdir().unwrap();
        let mirror = Mirror::new(cache.path()).unwrap();
        let (old, new) = (mirror.files.join("old"), mirror.files.join("new"));
        fs::write(&old, "1").unwrap();
        fs::write(&new, "2").unwrap();
        let long_ago = SystemTime::now() - KEEP - Duration::from_secs(60);
        fs::File::open(&old).unwrap().set_modified(long_ago).unwrap();
        fs::create_dir_all(mirror.trees.join("tree/srv")).unwrap();
        place(&new, &mirror.trees.join("tree/srv/model"), 1).unwrap();
        fs::File::open(mirror.trees.join("tree")).unwrap().set_modified(long_ago).unwrap();
        Mirror::new(cache.path()).unwrap();
        assert!(!old.exists() && new.exists());
        assert!(!mirror.trees.join("tree").exists());
    }
}
