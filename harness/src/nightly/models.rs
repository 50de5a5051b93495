//! The model files of all nights, by hash: a change is confirmed by measuring the model of some weeks ago again, when
//! nobody else may have it any more.

use crate::transport::{Content, HostFile};
use protocol::{Format, Sha256Hex};
use reports::store::write_atomic;
use std::{
    fs, io,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

/// Models that no night has measured for so long go: changes are looked for in the last 120 nights.
const KEPT: Duration = Duration::from_secs(150 * 24 * 3600);

/// The folder.
pub(super) struct Models(PathBuf);

impl Models {
    /// Beside the nights.
    pub(super) fn beside(out: &Path) -> Self {
        Self(out.join("models"))
    }

    /// Keeps a model, or notes that it is still in use.
    ///
    /// # Errors
    /// The file system refused.
    pub(super) fn keep(&self, file: &HostFile, format: Format) -> io::Result<()> {
        let path = self.0.join(format!("{}.{}", file.sha256, format.name()));
        if let Ok(kept) = fs::File::options().append(true).open(&path) {
            return kept.set_modified(SystemTime::now());
        }
        fs::create_dir_all(&self.0)?;
        let bytes = match &file.content {
            Content::Path(path) => fs::read(path)?,
            Content::Memory(bytes) => bytes.to_vec(),
        };
        if Sha256Hex::of_bytes(&bytes) != file.sha256 {
            return Err(io::Error::other(format!("{} has changed since it was read", file.name)));
        }
        write_atomic(&path, &bytes).map_err(io::Error::other)
    }

    /// Where the model of that hash lies, if it is kept.
    pub(super) fn find(&self, sha256: &str) -> Option<PathBuf> {
        // part of a path: it comes from files of a history, which strangers may write
        let plain = sha256.len() == 64 && sha256.bytes().all(|b| b.is_ascii_hexdigit());
        let names = [Format::Tflite, Format::Onnx].map(|format| format!("{sha256}.{}", format.name()));
        names.iter().filter(|_| plain).map(|name| self.0.join(name)).find(|path| path.is_file())
    }

    /// Removes models that nobody needs any more.
    ///
    /// # Errors
    /// The file system refused.
    pub(super) fn tidy(&self) -> io::Result<()> {
        for entry in fs::read_dir(&self.0)? {
            let entry = entry?;
            let unused = entry.metadata()?.modified()?.elapsed().unwrap_or_default();
            if unused > KEPT {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }
}
