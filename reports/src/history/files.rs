//! Where a history lies: files that are written once, never changed, and read whole or in parts. A folder here; other
//! places implement [`Files`] elsewhere. Knows nothing of what is in a file.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// Most files of a history: a hundred runs a night for a hundred years, never compacted.
pub const MAX_FILES: usize = 4_000_000;
/// Deepest folder that is looked into: `raw/schema=1/month=2026-12`.
const MAX_DEPTH: usize = 4;
/// Marks a file that is still being written.
const PART: &str = ".part";

/// A file of a history.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FileEntry {
    /// Its path from the place of the history, with `/`.
    pub path: String,
    /// Its size.
    pub bytes: u64,
}

/// A place for files. All paths are relative to the place, with `/` between folders.
pub trait Files: Send + Sync {
    /// The place, for people.
    fn place(&self) -> String;

    /// Every file below a folder, sorted by path; a folder that is not there has none. At most [`MAX_FILES`].
    ///
    /// # Errors
    /// The place cannot be reached or read.
    fn list(&self, folder: &str) -> io::Result<Vec<FileEntry>>;

    /// Told which files will be opened next: a place that is far away brings them nearer, several at once.
    ///
    /// # Errors
    /// The place cannot be reached or read; a file that is gone is none.
    fn prepare(&self, _entries: &[FileEntry]) -> io::Result<()> {
        Ok(())
    }

    /// A file to be read in parts, where it lies or a copy.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] where it is not there (any more); the place cannot be reached or read.
    fn open(&self, entry: &FileEntry) -> io::Result<File>;

    /// Writes a whole file, unless there is one of that name: then it stays as it is, and the answer is `false`. A
    /// reader sees all of it or nothing, whatever happens.
    ///
    /// # Errors
    /// The place cannot be reached or written.
    fn put_if_absent(&self, path: &str, bytes: &[u8]) -> io::Result<bool>;

    /// Removes a file; one that is not there is no error.
    ///
    /// # Errors
    /// The place cannot be reached or written.
    fn delete(&self, path: &str) -> io::Result<()>;
}

/// A folder of this machine.
#[derive(Clone, Debug)]
pub struct Folder {
    root: PathBuf,
}

impl Folder {
    /// The folder need not be there yet.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    fn walk(&self, folder: &Path, depth: usize, found: &mut Vec<FileEntry>) -> io::Result<()> {
        let entries = match fs::read_dir(folder) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            other => other?,
        };
        for entry in entries {
            let entry = entry?;
            let kind = entry.file_type()?;
            let path = entry.path();
            if kind.is_dir() && depth > 0 {
                self.walk(&path, depth - 1, found)?;
            } else if kind.is_file()
                && let Some(name) = self.name(&path)
            {
                // what was listed may be gone a moment later
                match entry.metadata() {
                    Ok(about) => found.push(FileEntry { path: name, bytes: about.len() }),
                    Err(error) if error.kind() == ErrorKind::NotFound => {}
                    Err(error) => return Err(error),
                }
            }
            if found.len() > MAX_FILES {
                return Err(io::Error::other(format!("more than {MAX_FILES} files: this is no history")));
            }
        }
        Ok(())
    }

    /// Path from the root with `/`; `None` for files that are being written, and names that are no text.
    fn name(&self, path: &Path) -> Option<String> {
        let parts: Option<Vec<&str>> =
            path.strip_prefix(&self.root).ok()?.components().map(|part| part.as_os_str().to_str()).collect();
        parts.map(|parts| parts.join("/")).filter(|name| !name.ends_with(PART))
    }
}

impl Files for Folder {
    fn place(&self) -> String {
        self.root.display().to_string()
    }

    fn list(&self, folder: &str) -> io::Result<Vec<FileEntry>> {
        let mut found = Vec::new();
        self.walk(&self.root.join(folder), MAX_DEPTH, &mut found)?;
        found.sort_unstable();
        Ok(found)
    }

    fn open(&self, entry: &FileEntry) -> io::Result<File> {
        File::open(self.root.join(&entry.path))
    }

    fn put_if_absent(&self, path: &str, bytes: &[u8]) -> io::Result<bool> {
        let path = self.root.join(path);
        let folder = path.parent().unwrap_or(&self.root);
        fs::create_dir_all(folder)?;
        if path.exists() {
            return Ok(false);
        }
        let part = part_of(&path);
        let written = write(&part, bytes).and_then(|()| publish(&part, &path));
        // already linked or of no use
        fs::remove_file(&part).unwrap_or_default();
        let new = written?;
        File::open(folder).and_then(|folder| folder.sync_all())?;
        Ok(new)
    }

    fn delete(&self, path: &str) -> io::Result<()> {
        match fs::remove_file(self.root.join(path)) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }
}

/// A name that no reader looks at and nobody else writes to.
fn part_of(path: &Path) -> PathBuf {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    path.with_file_name(format!(".{name}.{}-{number}{PART}", std::process::id()))
}

fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Gives a whole file its name; `false` where the name is taken. A second name is never put over a file, a rename is:
/// it is used only where the file system has no second names.
fn publish(part: &Path, path: &Path) -> io::Result<bool> {
    match fs::hard_link(part, path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(false),
        Err(_) if path.exists() => Ok(false),
        Err(_) => fs::rename(part, path).map(|()| true),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn a_name_is_given_once() {
        let place = tempfile::tempdir().unwrap();
        let files = Folder::new(place.path().join("history"));
        assert_eq!(files.list("").unwrap(), []);
        assert!(files.put_if_absent("a/b.txt", b"one").unwrap());
        assert!(!files.put_if_absent("a/b.txt", b"two").unwrap());
        fs::write(place.path().join("history/a/.c.txt.part"), "half").unwrap();
        let found = files.list("a").unwrap();
        assert_eq!(found, [FileEntry { path: "a/b.txt".into(), bytes: 3 }]);
        let mut text = String::new();
        files.open(&found[0]).unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(text, "one");
        files.delete("a/b.txt").unwrap();
        files.delete("a/b.txt").unwrap();
        assert_eq!(files.open(&found[0]).unwrap_err().kind(), ErrorKind::NotFound);
    }

    #[test]
    fn of_many_that_write_one_name_exactly_one_does() {
        let place = tempfile::tempdir().unwrap();
        let files = Folder::new(place.path());
        let wins = std::thread::scope(|scope| {
            let put = |i: usize| files.put_if_absent("x", i.to_string().as_bytes()).unwrap();
            let all: Vec<_> = (0..8).map(|i| scope.spawn(move || put(i))).collect();
            all.into_iter().map(|one| usize::from(one.join().unwrap())).sum::<usize>()
        });
        assert_eq!(wins, 1);
        assert_eq!(files.list("").unwrap().len(), 1);
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 1, "nothing half is left");
    }
}
