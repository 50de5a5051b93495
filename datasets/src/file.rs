//! Files that a suite names: on disk, or part of the program. Opens them, and nothing more.

use crate::{DataError, did_you_mean};
use std::{
    fs::File,
    io::{self, BufReader, Cursor, Read, Seek},
    path::{Component, Path, PathBuf},
};

/// What can be read from any place.
pub trait ReadSeek: Read + Seek {}

impl<T: Read + Seek> ReadSeek for T {}

/// A file that is part of the program, so that the built-in suites run away from a checkout.
#[derive(Debug, PartialEq, Eq)]
pub struct ShippedFile {
    /// Path from the root of the repository, with `/`.
    pub path: &'static str,
    /// Its content.
    pub bytes: &'static [u8],
}

/// A file that can be opened, on disk or in the program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileRef {
    path: PathBuf,
    shipped: Option<&'static [u8]>,
}

impl FileRef {
    /// A file on disk. Whether it is there shows when it is opened.
    pub fn on_disk(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), shipped: None }
    }

    /// A file of the program.
    pub fn shipped(file: &ShippedFile) -> Self {
        Self { path: file.path.into(), shipped: Some(file.bytes) }
    }

    /// The path for people: on disk, or from the root of the repository.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The content, when it is part of the program. It has no path on disk then.
    pub fn shipped_bytes(&self) -> Option<&'static [u8]> {
        self.shipped
    }

    /// Opens it for reading, from the start.
    ///
    /// # Errors
    /// Names the file, and says why it cannot be opened.
    pub fn open(&self) -> Result<Box<dyn ReadSeek>, DataError> {
        if let Some(bytes) = self.shipped {
            return Ok(Box::new(Cursor::new(bytes)));
        }
        let file = File::open(&self.path).map_err(|e| DataError::file(&self.path, io_words(&e)))?;
        if file.metadata().is_ok_and(|m| m.is_dir()) {
            return Err(DataError::file(&self.path, "is a folder, and a file is needed"));
        }
        Ok(Box::new(BufReader::new(file)))
    }

    /// Bytes of the file.
    ///
    /// # Errors
    /// Names the file, and says why it cannot be read.
    pub fn size(&self) -> Result<u64, DataError> {
        if let Some(bytes) = self.shipped {
            return Ok(bytes.len() as u64);
        }
        let metadata = self.path.metadata().map_err(|e| DataError::file(&self.path, io_words(&e)))?;
        Ok(metadata.len())
    }

    /// The whole content, if it is not longer than `limit`.
    ///
    /// # Errors
    /// Names the file, and says why it cannot be read.
    pub fn read(&self, limit: u64) -> Result<Vec<u8>, DataError> {
        let mut bytes = Vec::new();
        let read = self.open()?.take(limit.saturating_add(1)).read_to_end(&mut bytes);
        read.map_err(|e| DataError::file(&self.path, io_words(&e)))?;
        if bytes.len() as u64 > limit {
            return Err(DataError::file(
                &self.path,
                format_args!("is larger than the limit of {limit} bytes"),
            ));
        }
        Ok(bytes)
    }
}

/// Where the relative paths of a definition start.
#[derive(Clone, Debug)]
pub enum Root {
    /// A folder on disk.
    Folder(PathBuf),
    /// A folder among the files of the program.
    Shipped {
        /// Path from the root of the repository, with `/`.
        folder: &'static str,
        /// All files of the program.
        files: &'static [ShippedFile],
    },
}

impl Root {
    /// The file that `path` names. Absolute paths stay as they are.
    ///
    /// # Errors
    /// When there is no such file; names one that is spelled alike.
    pub fn file(&self, path: &Path) -> Result<FileRef, DataError> {
        match self {
            Self::Folder(folder) => {
                let path = folder.join(path);
                if path.is_file() {
                    return Ok(FileRef::on_disk(path));
                }
                Err(missing(&path))
            }
            Self::Shipped { folder, files } => {
                let wanted = normal(&Path::new(folder).join(path));
                let found = files.iter().find(|f| f.path == wanted);
                found
                    .map(FileRef::shipped)
                    .ok_or_else(|| DataError::new(wanted, "is not a part of the program"))
            }
        }
    }

    /// The folder on disk that `path` names, if it is one.
    pub(crate) fn folder(&self, path: &Path) -> Option<PathBuf> {
        match self {
            Self::Folder(folder) => Some(folder.join(path)).filter(|p| p.is_dir()),
            Self::Shipped { .. } => None,
        }
    }
}

/// `a/b/../c` as `a/c`, with `/`.
fn normal(path: &Path) -> String {
    let mut parts: Vec<String> = Vec::new();
    for part in path.components() {
        match part {
            Component::ParentDir => {
                parts.pop();
            }
            Component::Normal(name) => parts.push(name.to_string_lossy().into_owned()),
            Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
        }
    }
    parts.join("/")
}

/// The error for a file that is not there, with the nearest name beside it.
fn missing(path: &Path) -> DataError {
    if path.is_dir() {
        return DataError::file(path, "is a folder, and a file is needed");
    }
    let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let beside: Vec<String> = path
        .parent()
        .and_then(|folder| folder.read_dir().ok())
        .map(|entries| {
            entries.flatten().take(10_000).map(|e| e.file_name().to_string_lossy().into_owned()).collect()
        })
        .unwrap_or_default();
    let hint = did_you_mean(&name, beside.iter().map(String::as_str));
    DataError::file(path, format_args!("there is no such file{hint}"))
}

/// An I/O error in words for people, without the code of the system.
pub(crate) fn io_words(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "there is no such file".to_owned(),
        io::ErrorKind::PermissionDenied => "may not be read: permission denied".to_owned(),
        io::ErrorKind::UnexpectedEof => "ends too early: it is truncated".to_owned(),
        _ => format!("cannot be read: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILES: &[ShippedFile] = &[ShippedFile { path: "a/b.bin", bytes: b"abc" }];

    #[test]
    fn a_file_of_the_program_is_found_by_its_relative_path() {
        let root = Root::Shipped { folder: "suites", files: FILES };
        let file = root.file(Path::new("../a/./b.bin")).unwrap();
        assert_eq!((file.read(3).unwrap(), file.size().unwrap()), (b"abc".to_vec(), 3));
        assert!(file.read(2).unwrap_err().to_string().contains("larger than the limit"));
        assert!(root.file(Path::new("b.bin")).unwrap_err().to_string().contains("suites/b.bin"));
    }

    #[test]
    fn a_missing_file_names_the_one_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("labels.csv"), "").unwrap();
        let root = Root::Folder(folder.path().into());
        assert!(root.file(Path::new("labels.csv")).is_ok());
        let error = root.file(Path::new("lables.csv")).unwrap_err().to_string();
        assert!(error.contains("did you mean \"labels.csv\""), "{error}");
        assert!(root.file(Path::new(".")).unwrap_err().to_string().contains("is a folder"));
    }
}
