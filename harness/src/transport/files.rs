//! Files on a disk this process can reach: copied under a temporary name, verified, then renamed. Shared by
//! the transports whose device is this machine. The work is done off the event loop.

use super::{AGENT_DIR, Content, HostFile, Moved, Pending, Pushed, Tidied, TransportError};
use protocol::{LOCK_FILE, Sha256, Sha256Hex};
use rustix::{
    fs::{FlockOperation, OFlags, flock},
    io::Errno,
};
use std::{
    fs::{self, File, OpenOptions, Permissions},
    io::{self, Read, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};
use tokio::task::spawn_blocking;

/// Bytes copied between two signs of life.
const CHUNK_BYTES: usize = 1 << 20;

/// Folder of pushed files below the cache folder.
const FILES: &str = "files";

/// How a file is called until it is whole.
const PART: &str = ".part-";

/// What is read of the file that an agent locks: its process id stands first.
const NOTE_BYTES: u64 = 40;

/// A part that nobody has written to for so long belongs to a transfer that broke.
const PART_AGE: Duration = Duration::from_secs(3600);

/// The setting that names another folder.
pub(super) const SETTING: &str = "--cache, or `cache` in devices.toml";

/// Where a pushed file lies.
pub(super) fn place(cache: &Path, sha256: &Sha256Hex) -> PathBuf {
    cache.join(FILES).join(sha256.as_str())
}

/// Makes sure that the cache folder exists, and says how much room there is.
pub(super) fn probe<'a>(cache: &Path) -> Pending<'a, Option<u64>> {
    let cache = cache.to_owned();
    off_loop(move || {
        let folder = cache.join(FILES);
        let usable = fs::create_dir_all(&folder)
            .and_then(|()| tempfile::Builder::new().prefix(PART).tempfile_in(&folder).map(drop));
        match usable {
            // told by whoever writes, and room is made then
            Err(e) if e.kind() != io::ErrorKind::StorageFull => {
                let folder = cache.display().to_string();
                return Err(TransportError::NoCache { folder, reason: e.to_string(), setting: SETTING });
            }
            Ok(()) | Err(_) => {}
        }
        Ok(rustix::fs::statvfs(&cache).ok().map(|s| s.f_bavail.saturating_mul(s.f_frsize)))
    })
}

/// Makes sure that `cache` has the file.
pub(super) fn push<'a>(cache: &Path, file: &HostFile, moved: &Moved) -> Pending<'a, Pushed> {
    let (cache, file, moved) = (cache.to_owned(), file.clone(), moved.clone());
    off_loop(move || put(&cache, &file, &moved))
}

/// Fetches a file that lies on this machine.
pub(super) fn pull<'a>(from: &Path, sha256: &Sha256Hex, to: &Path, moved: &Moved) -> Pending<'a, u64> {
    let (from, sha256, to, moved) = (from.to_owned(), sha256.clone(), to.to_owned(), moved.clone());
    off_loop(move || {
        let mut source = File::open(&from).map_err(|e| failed("reading", &from, 0, e))?;
        let bytes = source.metadata().map_err(|e| failed("reading", &from, 0, e))?.len();
        copy(&mut source, bytes, &sha256, &to, false, &moved)
    })
}

/// Deletes the files that were not used for longest, and parts that nobody has written to for long; nothing while
/// an agent measures there, and none begins meanwhile.
pub(super) fn tidy<'a>(
    cache: &Path,
    keep: &[Sha256Hex],
    limit_bytes: u64,
    spare: Duration,
) -> Pending<'a, Tidied> {
    let (folder, agents, keep) = (cache.join(FILES), cache.join(AGENT_DIR), keep.to_vec());
    off_loop(move || {
        let kept = |path: &Path| keep.iter().any(|sha256| path.ends_with(sha256.as_str()));
        let mut files = listed(&folder).map_err(|e| failed("reading", &folder, 0, e))?;
        files.sort();
        let mut tidied =
            Tidied { left_bytes: files.iter().map(|(_, bytes, _)| bytes).sum(), ..Tidied::default() };
        let _lock = match lock(&agents) {
            Ok(lock) => lock,
            Err(busy) => return Ok(Tidied { busy: Some(busy), ..tidied }),
        };
        for (used, bytes, path) in files {
            let is_part = path.file_name().is_some_and(|n| n.as_encoded_bytes().starts_with(PART.as_bytes()));
            let doomed = if is_part {
                used.elapsed().is_ok_and(|age| age > PART_AGE)
            } else {
                let spared = used.elapsed().is_ok_and(|age| age < spare);
                tidied.left_bytes > limit_bytes && !kept(&path) && !spared
            };
            if doomed {
                fs::remove_file(&path).map_err(|e| failed("deleting", &path, 0, e))?;
                tidied.files += 1;
                tidied.freed_bytes += bytes;
                tidied.left_bytes -= bytes;
            }
        }
        Ok(tidied)
    })
}

/// Holds the lock that agents take in their folder, where there has been one; the error is who has it, in words.
fn lock(folder: &Path) -> Result<Option<File>, String> {
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    let opened = OpenOptions::new().read(true).custom_flags(flags).open(folder.join(LOCK_FILE));
    let Ok(file) = opened else { return Ok(None) };
    if flock(&file, FlockOperation::NonBlockingLockExclusive) != Err(Errno::WOULDBLOCK) {
        return Ok(Some(file));
    }
    let mut note = String::new();
    file.take(NOTE_BYTES).read_to_string(&mut note).unwrap_or_default();
    let pid = note.split(' ').next().and_then(|pid| pid.parse::<u32>().ok());
    Err(pid.map_or_else(|| "an agent".to_owned(), |pid| format!("agent {pid}")))
}

/// Pushed files: last use, size, path. One that goes while they are listed is not one of them.
fn listed(folder: &Path) -> io::Result<Vec<(SystemTime, u64, PathBuf)>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(e),
    };
    let one = |entry: io::Result<fs::DirEntry>| {
        let (path, data) = entry.and_then(|e| Ok((e.path(), e.metadata()?)))?;
        Ok((data.modified()?, data.len(), path))
    };
    let gone = |found: &io::Result<_>| matches!(found, Err(e) if e.kind() == io::ErrorKind::NotFound);
    entries.map(one).filter(|found| !gone(found)).collect()
}

/// Deletes a file.
pub(super) fn remove<'a>(path: &Path) -> Pending<'a, ()> {
    let path = path.to_owned();
    off_loop(move || match fs::remove_file(&path) {
        Ok(()) => Ok(()),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(e) => Err(failed("deleting", &path, 0, e)),
    })
}

/// Runs blocking work on a thread of its own.
fn off_loop<'a, T: Send + 'static>(
    work: impl FnOnce() -> Result<T, TransportError> + Send + 'static,
) -> Pending<'a, T> {
    Box::pin(async {
        spawn_blocking(work).await.unwrap_or_else(|e| {
            Err(TransportError::Lost { doing: "working with files".to_owned(), reason: e.to_string() })
        })
    })
}

fn put(cache: &Path, file: &HostFile, moved: &Moved) -> Result<Pushed, TransportError> {
    let path = place(cache, &file.sha256);
    if is_whole(&path, file) {
        // the least recently used are deleted first; a folder that cannot be noted in is no reason to fail
        File::open(&path).and_then(|f| f.set_modified(SystemTime::now())).unwrap_or_default();
        return Ok(Pushed { path, sent_bytes: 0 });
    }
    match &file.content {
        Content::Memory(bytes) => {
            copy(&mut &**bytes, file.bytes, &file.sha256, &path, file.executable, moved)?
        }
        Content::Path(from) => {
            let mut source = File::open(from).map_err(|e| failed("reading", from, 0, e))?;
            copy(&mut source, file.bytes, &file.sha256, &path, file.executable, moved)?
        }
    };
    Ok(Pushed { path, sent_bytes: file.bytes })
}

fn is_whole(path: &Path, file: &HostFile) -> bool {
    let right_size = fs::metadata(path).is_ok_and(|m| m.is_file() && m.len() == file.bytes);
    right_size
        && File::open(path)
            .and_then(|mut f| Sha256Hex::of_reader(&mut f))
            .is_ok_and(|(found, _)| found == file.sha256)
}

fn copy(
    source: &mut dyn Read,
    bytes: u64,
    sha256: &Sha256Hex,
    to: &Path,
    executable: bool,
    moved: &Moved,
) -> Result<u64, TransportError> {
    let write_failed = |e| failed("writing", to, bytes, e);
    let folder = to.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder).map_err(|e| failed("creating", folder, 0, e))?;
    let mut part = tempfile::Builder::new().prefix(PART).tempfile_in(folder).map_err(write_failed)?;
    let (mut hash, mut total) = (Sha256::new(), 0u64);
    let mut buffer = vec![0u8; CHUNK_BYTES];
    loop {
        let n = match source.read(&mut buffer) {
            Ok(0) => break,
            Ok(n) => n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(failed("reading the source of", to, 0, e)),
        };
        let chunk = buffer.get(..n).unwrap_or_default();
        hash.update(chunk);
        part.write_all(chunk).map_err(write_failed)?;
        total += n as u64;
        moved.send_replace(total);
    }
    let found = hash.finish();
    if found != *sha256 {
        let path = to.display().to_string();
        return Err(TransportError::Damaged { path, expected: sha256.clone(), found });
    }
    let mode = if executable { 0o755 } else { 0o644 };
    part.as_file().set_permissions(Permissions::from_mode(mode)).map_err(write_failed)?;
    part.as_file().sync_all().map_err(write_failed)?;
    part.persist(to).map_err(|e| write_failed(e.error))?;
    Ok(total)
}

fn failed(doing: &'static str, path: &Path, needed: u64, source: io::Error) -> TransportError {
    let path = path.display().to_string();
    match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
            TransportError::NoSpace { path, needed, setting: SETTING }
        }
        _ => TransportError::Io { doing, path, source },
    }
}
