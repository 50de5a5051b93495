//! A folder of which nothing outside can be reached: every name is one part of a path, opened from the folder itself,
//! and links are not followed. What a request asks for can therefore never lead elsewhere, whatever changes meanwhile.

use rustix::fs::{CWD, Dir, FileType, Mode, OFlags, fstat, openat};
use std::{
    fs::File,
    io::{self, Read},
    os::fd::OwnedFd,
    path::Path,
};

/// Longest name of a file.
const MAX_NAME: usize = 255;
/// Most names of a folder that are looked at: a century of nights.
const MAX_NAMES: usize = 40_000;

/// A folder that is open.
pub(super) struct Folder(OwnedFd);

impl Folder {
    /// Opens the folder that a user named; it may be a link.
    ///
    /// # Errors
    /// It is not there, no folder, or may not be read.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        Ok(Self(openat(CWD, path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?))
    }

    /// A folder in this one.
    ///
    /// # Errors
    /// It is not there, a link, no folder, or may not be read.
    pub(super) fn folder(&self, name: &str) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(Self(openat(&self.0, plain(name)?, flags, Mode::empty())?))
    }

    /// A file in this folder, with its size.
    ///
    /// # Errors
    /// It is not there, a link, no ordinary file, or may not be read.
    pub(super) fn file(&self, name: &str) -> io::Result<(File, u64)> {
        // without NONBLOCK, opening a pipe would wait for somebody to write
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = openat(&self.0, plain(name)?, flags, Mode::empty())?;
        let about = fstat(&file)?;
        if FileType::from_raw_mode(about.st_mode) != FileType::RegularFile {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "no ordinary file"));
        }
        Ok((File::from(file), u64::try_from(about.st_size).unwrap_or_default()))
    }

    /// What a file holds.
    ///
    /// # Errors
    /// As [`Self::file`]; it is longer than `most` bytes.
    pub(super) fn read(&self, name: &str, most: u64) -> io::Result<Vec<u8>> {
        let (file, _) = self.file(name)?;
        let mut bytes = Vec::new();
        file.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > most {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("more than {most} bytes")));
        }
        Ok(bytes)
    }

    /// The names of the folders in this one, sorted; names that are no text and links are left out.
    ///
    /// # Errors
    /// It may not be read, or holds too many.
    pub(super) fn folders(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in Dir::read_from(&self.0)? {
            let entry = entry?;
            let Ok(name) = entry.file_name().to_str() else { continue };
            let may_be = matches!(entry.file_type(), FileType::Directory | FileType::Unknown);
            if may_be && plain(name).is_ok() && self.folder(name).is_ok() {
                names.push(name.to_owned());
            }
            if names.len() > MAX_NAMES {
                return Err(io::Error::other(format!("more than {MAX_NAMES} folders")));
            }
        }
        names.sort();
        Ok(names)
    }
}

/// A name that is one part of a path, and neither the folder itself nor the one above.
fn plain(name: &str) -> io::Result<&str> {
    let wrong =
        name.is_empty() || name.len() > MAX_NAME || name == "." || name == ".." || name.contains(['/', '\0']);
    if wrong { Err(io::Error::new(io::ErrorKind::NotFound, "no such name")) } else { Ok(name) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs, os::unix::fs::symlink};

    #[test]
    fn nothing_outside_is_reached() {
        let place = tempfile::tempdir().unwrap();
        let root = place.path().join("root");
        fs::create_dir_all(root.join("night/runs")).unwrap();
        fs::write(root.join("night/plan.json"), "inside").unwrap();
        fs::write(place.path().join("secret"), "outside").unwrap();
        symlink(place.path(), root.join("link")).unwrap();
        symlink(place.path().join("secret"), root.join("night/link.json")).unwrap();
        symlink(&root, place.path().join("chosen")).unwrap();
        rustix::fs::mkfifoat(CWD, root.join("night/pipe"), Mode::RUSR | Mode::WUSR).unwrap();
        let folder = Folder::open(&place.path().join("chosen")).unwrap();
        assert_eq!(folder.folders().unwrap(), ["night"]);
        let night = folder.folder("night").unwrap();
        assert_eq!(night.read("plan.json", 6).unwrap(), b"inside");
        assert_eq!(night.read("plan.json", 5).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
        for name in ["..", ".", "", "../secret", "runs/../plan.json", "link.json", "pipe", "runs", "a\0b"] {
            assert!(night.file(name).is_err(), "{name:?}");
        }
        for name in ["..", ".", "", "link", "night/runs", "../root"] {
            assert!(folder.folder(name).is_err(), "{name:?}");
        }
    }
}
