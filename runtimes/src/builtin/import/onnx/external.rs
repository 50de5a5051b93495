//! Constants kept in a second file beside the model.
//!
//! A model is a file from a stranger: it may name files below its own folder only, and only as many bytes are
//! read as the constant's shape needs and the file has.

use super::proto::{ProtoError, text};
use super::wire::Bytes;
use crate::{Error, Result};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Component, Path, PathBuf};

/// Where a constant says its data is.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ExternalRef<'a> {
    location: &'a str,
    offset: Option<&'a str>,
    length: Option<&'a str>,
}

/// The folder that external data may come from.
#[derive(Clone, Debug)]
pub(super) struct ExternalData {
    folder: Option<PathBuf>,
}

impl<'a> ExternalRef<'a> {
    /// The file, from the model's folder.
    #[cfg(feature = "dlopen")]
    pub(super) fn location(&self) -> &'a str {
        self.location
    }

    /// One StringStringEntryProto.
    pub(super) fn read_entry(&mut self, bytes: Bytes<'a>) -> std::result::Result<(), ProtoError> {
        const MESSAGE: &str = "StringStringEntryProto";
        let (mut key, mut value) = ("", "");
        for field in bytes.fields() {
            let field = field?;
            match field.number {
                1 => key = text(field, MESSAGE)?,
                2 => value = text(field, MESSAGE)?,
                _ => {}
            }
        }
        match key {
            "location" => self.location = value,
            "offset" => self.offset = Some(value),
            "length" => self.length = Some(value),
            _ => {}
        }
        Ok(())
    }

    fn number(&self, key: &str, value: Option<&str>, default: usize) -> Result<u64> {
        value.map_or(Ok(default as u64), |text| text.parse().map_err(|_| self.misfit(key, text)))
    }

    fn misfit(&self, key: &str, value: &str) -> Error {
        Error::ModelInvalid(format!(
            "its data in `{}` has the {key} `{value}`, which does not fit",
            self.location
        ))
    }
}

impl ExternalData {
    /// No second file may be opened.
    pub(super) fn none() -> Self {
        Self { folder: None }
    }

    /// Files below `folder` may be opened, if there is one.
    pub(super) fn below(folder: Option<&Path>) -> Self {
        let here = |folder: &Path| {
            if folder.as_os_str().is_empty() { PathBuf::from(".") } else { folder.to_owned() }
        };
        Self { folder: folder.map(here) }
    }

    /// Exactly `expected` bytes.
    pub(super) fn read(&self, reference: &ExternalRef<'_>, expected: usize) -> Result<Vec<u8>> {
        let offset = reference.number("offset", reference.offset, 0)?;
        let length = reference.number("length", reference.length, expected)?;
        if length != expected as u64 {
            return Err(reference.misfit("length", &length.to_string()));
        }
        let path = self.path(reference.location)?;
        read_range(&path, offset, expected).map_err(|source| Error::Io { path, source })
    }

    fn path(&self, location: &str) -> Result<PathBuf> {
        let outside = || {
            let what = "which is not inside the model's folder: refused";
            Error::ModelInvalid(format!("its data is in `{location}`, {what}"))
        };
        let folder = self.folder.as_ref().ok_or_else(|| {
            let what = "and the model was opened without its folder";
            Error::ModelInvalid(format!("its data is in the file `{location}`, {what}"))
        })?;
        let inside = |part: Component<'_>| matches!(part, Component::Normal(_) | Component::CurDir);
        if location.is_empty() || !Path::new(location).components().all(inside) {
            return Err(outside());
        }
        let resolve =
            |path: &Path| path.canonicalize().map_err(|source| Error::Io { path: path.to_owned(), source });
        let resolved = resolve(&folder.join(location))?;
        if resolved.starts_with(resolve(folder)?) { Ok(resolved) } else { Err(outside()) }
    }
}

fn read_range(path: &Path, offset: u64, length: usize) -> io::Result<Vec<u8>> {
    let short = || io::Error::new(io::ErrorKind::UnexpectedEof, "the file is too short or no regular file");
    let mut file = File::open(path)?;
    let metadata = file.metadata()?;
    let end = offset.checked_add(length as u64).ok_or_else(short)?;
    if !metadata.is_file() || metadata.len() < end {
        return Err(short());
    }
    let mut data = vec![0; length];
    file.seek(SeekFrom::Start(offset))?;
    file.read_exact(&mut data)?;
    Ok(data)
}

#[cfg(test)]
mod tests {
    use super::super::tensor::Tensor;
    use super::super::testing::Message;
    use super::*;

    fn external(entries: &[(&str, &str)]) -> Vec<u8> {
        let mut message = Message::new().int(1, 4).int(2, 3).text(8, "w").int(14, 1);
        for (key, value) in entries {
            message = message.nested(13, Message::new().text(1, key).text(2, value));
        }
        message.into_bytes()
    }

    fn read(folder: &Path, entries: &[(&str, &str)]) -> std::result::Result<Vec<u8>, String> {
        let bytes = external(entries);
        let tensor = Tensor::parse(Bytes::file(&bytes)).unwrap();
        let data = tensor.data(&ExternalData::below(Some(folder)));
        data.map(|data| data.into_owned()).map_err(|error| error.to_string())
    }

    #[test]
    fn reads_a_range_of_a_file_beside_the_model() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("w.bin"), [9, 1, 2, 3, 4, 9]).unwrap();
        let got = read(folder.path(), &[("location", "w.bin"), ("offset", "1"), ("length", "4")]);
        assert_eq!(got.unwrap(), [1, 2, 3, 4]);
        assert_eq!(read(folder.path(), &[("location", "./w.bin")]).unwrap(), [9, 1, 2, 3]);
    }

    #[test]
    fn refuses_other_places_and_sizes() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("w.bin"), [1, 2, 3]).unwrap();
        for location in ["../w.bin", "/etc/hostname", "", "a/../../w.bin"] {
            let error = read(folder.path(), &[("location", location)]).unwrap_err();
            assert!(error.contains("not inside the model's folder"), "{location}: {error}");
        }
        let error = read(folder.path(), &[("location", "w.bin")]).unwrap_err();
        assert!(error.contains("too short"), "{error}");
        let error = read(folder.path(), &[("location", "w.bin"), ("length", "99999999999999")]).unwrap_err();
        assert!(error.contains("length `99999999999999`"), "{error}");
        let error =
            read(folder.path(), &[("location", "w.bin"), ("offset", "18446744073709551615")]).unwrap_err();
        assert!(error.contains("too short"), "{error}");
        let error = read(folder.path(), &[("location", "none.bin")]).unwrap_err();
        assert!(error.contains("none.bin"), "{error}");
    }

    #[cfg(unix)]
    #[test]
    fn refuses_a_link_that_leads_out() {
        let folder = tempfile::tempdir().unwrap();
        let other = tempfile::tempdir().unwrap();
        std::fs::write(other.path().join("w.bin"), [1, 2, 3, 4]).unwrap();
        std::os::unix::fs::symlink(other.path().join("w.bin"), folder.path().join("w.bin")).unwrap();
        let error = read(folder.path(), &[("location", "w.bin")]).unwrap_err();
        assert!(error.contains("not inside the model's folder"), "{error}");
    }

    #[test]
    fn bytes_alone_have_no_folder() {
        let bytes = external(&[("location", "w.bin")]);
        let tensor = Tensor::parse(Bytes::file(&bytes)).unwrap();
        let error = tensor.data(&ExternalData::none()).unwrap_err();
        assert!(error.to_string().contains("without its folder"), "{error}");
    }
}
