//! Hashes of this machine's files, remembered for as long as this process lives: an agent is asked for once per device
//! and again after every loss, and reading it each time is of no use. A file that was changed is hashed anew.

use protocol::Sha256Hex;
use std::{
    collections::HashMap,
    fs::{File, Metadata},
    io,
    os::unix::fs::MetadataExt,
    path::Path,
    sync::{LazyLock, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

/// A file that was changed so shortly before it was read may change once more within the same tick of its clock.
const SETTLED: Duration = Duration::from_secs(2);

/// More files than any run has; beyond, all are forgotten.
const MOST: usize = 4096;

/// What is different when a file is another one or was written to.
type Identity = (u64, u64, u64, (i64, i64), (i64, i64));

static KNOWN: LazyLock<Mutex<HashMap<Identity, Sha256Hex>>> = LazyLock::new(Mutex::default);

/// The hash of a file and its size.
///
/// # Errors
/// It cannot be read.
pub(super) fn of_file(path: &Path) -> io::Result<(Sha256Hex, u64)> {
    let mut file = File::open(path)?;
    let before = identity(&file.metadata()?);
    if let Some(known) = KNOWN.lock().unwrap_or_else(PoisonError::into_inner).get(&before) {
        return Ok((known.clone(), before.2));
    }
    let (sha256, bytes) = Sha256Hex::of_reader(&mut file)?;
    let after = file.metadata()?;
    if identity(&after) == before && bytes == before.2 && is_settled(&after) {
        let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MOST {
            known.clear();
        }
        known.insert(before, sha256.clone());
    }
    Ok((sha256, bytes))
}

fn identity(data: &Metadata) -> Identity {
    let (modified, changed) = ((data.mtime(), data.mtime_nsec()), (data.ctime(), data.ctime_nsec()));
    (data.dev(), data.ino(), data.len(), modified, changed)
}

fn is_settled(data: &Metadata) -> bool {
    let now = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default().as_secs();
    let changed = u64::try_from(data.ctime().max(data.mtime())).unwrap_or(u64::MAX);
    changed.saturating_add(SETTLED.as_secs()) < now
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_file_that_changes_is_hashed_anew_and_one_that_does_not_is_remembered() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        for content in [b"abc", b"abd", b"abe"] {
            fs::write(&path, content).unwrap();
            assert_eq!(of_file(&path).unwrap(), (Sha256Hex::of_bytes(content), 3));
        }
        // this test's own executable was not written just now
        let own = std::env::current_exe().unwrap();
        let known = || KNOWN.lock().unwrap().contains_key(&identity(&fs::metadata(&own).unwrap()));
        let first = of_file(&own).unwrap();
        assert_eq!(known(), is_settled(&fs::metadata(&own).unwrap()));
        assert_eq!(of_file(&own).unwrap(), first);
    }
}
