//! Files on the server: put in once by their hash, taken out verified.

use super::{NatsQueue, link::ANSWER};
use crate::queue::QueueError;
use async_nats::jetstream::object_store::{GetErrorKind, InfoErrorKind, ObjectStore};
use protocol::{Sha256, Sha256Hex};
use std::{
    io,
    path::{Path, PathBuf},
};
use tokio::{
    fs::File,
    io::{AsyncReadExt, AsyncWriteExt},
    time::timeout,
};

/// Bytes read at once.
const PART: usize = 128 * 1024;

/// Why a file did not go in or come out.
#[derive(Debug, thiserror::Error)]
pub enum ObjectError {
    /// The server: trying again may help.
    #[error(transparent)]
    Queue(#[from] QueueError),
    /// This host's disk.
    #[error("{path}: {source}")]
    Disk {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is not there, or not what it should be: trying again is of no use.
    #[error("{0}")]
    Wrong(String),
}

impl ObjectError {
    /// Of this path.
    pub(crate) fn disk(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Disk { path, source }
    }
}

/// Which of the two collections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Objects {
    /// Models and data that jobs need.
    Files,
    /// Archives of runs.
    Records,
}

impl NatsQueue {
    fn objects(&self, which: Objects) -> &ObjectStore {
        match which {
            Objects::Files => &self.files,
            Objects::Records => &self.records,
        }
    }

    /// Puts a file in under its hash, unless it lies there and will for a while. Says whether it was put in.
    ///
    /// # Errors
    /// It cannot be read or is not what it was; or the server has no room or does not answer.
    pub async fn put_object(
        &self,
        which: Objects,
        path: &Path,
        sha256: &Sha256Hex,
        bytes: u64,
    ) -> Result<bool, ObjectError> {
        let (store, name) = (self.objects(which), sha256.as_str());
        let what = path.display().to_string();
        match store.info(name).await {
            Ok(info) => {
                let age = info.modified.map(|at| jiff::Timestamp::now().as_second() - at.unix_timestamp());
                let half = i64::try_from(self.limits.objects_age.as_secs() / 2).unwrap_or(i64::MAX);
                if !info.deleted && info.size as u64 == bytes && age.is_some_and(|age| age < half) {
                    return Ok(false);
                }
            }
            Err(error) if error.kind() == InfoErrorKind::NotFound => {}
            Err(error) => return Err(self.link.failed(&what, &error).into()),
        }
        let file = File::open(path).await.map_err(ObjectError::disk(path))?;
        // one byte more would be another file
        let mut file = file.take(bytes.saturating_add(1));
        let put = store.put(name, &mut file).await.map_err(|e| self.link.failed(&what, &e))?;
        let digest = put.digest.unwrap_or_default();
        if put.size as u64 != bytes || !is_digest(&digest, sha256) {
            store.delete(name).await.unwrap_or_default();
            return Err(ObjectError::Wrong(format!("{what} is not what it was when it was hashed")));
        }
        Ok(true)
    }

    /// Takes a file out, to a path at which nothing lies; what arrives is verified first.
    ///
    /// # Errors
    /// There is none of that name, it is not what it should be, or it cannot be written or read to its end; then
    /// nothing lies at the path.
    pub async fn get_object(
        &self,
        which: Objects,
        sha256: &Sha256Hex,
        bytes: u64,
        to: &Path,
    ) -> Result<(), ObjectError> {
        let folder = to.parent().unwrap_or(Path::new("."));
        let part = tempfile::NamedTempFile::new_in(folder).map_err(ObjectError::disk(folder))?;
        let mut file = File::from_std(part.reopen().map_err(ObjectError::disk(to))?);
        let (found, size) = self.copy_object(which, sha256, bytes, &mut file, to).await?;
        if (&found, size) != (sha256, bytes) {
            return Err(ObjectError::Wrong(format!(
                "the object {} holds {size} bytes with hash {}, not {bytes} bytes",
                sha256.short(),
                found.short()
            )));
        }
        file.flush().await.map_err(ObjectError::disk(to))?;
        // who else fetched the same meanwhile has put the same there
        part.persist(to).map(drop).map_err(|e| ObjectError::disk(to)(e.error))
    }

    /// Hash and size of what was written.
    async fn copy_object(
        &self,
        which: Objects,
        sha256: &Sha256Hex,
        bytes: u64,
        file: &mut File,
        to: &Path,
    ) -> Result<(Sha256Hex, u64), ObjectError> {
        let what = format!("object {}", sha256.short());
        let (mut hash, mut size) = (Sha256::new(), 0u64);
        let mut object = match self.objects(which).get(sha256.as_str()).await {
            Ok(object) => object,
            Err(error) if error.kind() == GetErrorKind::NotFound => {
                return Err(ObjectError::Wrong(format!(
                    "{what} does not lie on the server, or not any more"
                )));
            }
            Err(error) => return Err(self.link.failed(&what, &error).into()),
        };
        let mut buffer = vec![0; PART];
        while size <= bytes {
            let read = match timeout(ANSWER, object.read(&mut buffer)).await {
                Ok(read) => read.map_err(|e| self.link.failed(&what, &e))?,
                Err(_) => {
                    let words = format!("{what}: nothing more within {} s", ANSWER.as_secs());
                    return Err(QueueError::Unreachable(words).into());
                }
            };
            if read == 0 {
                break;
            }
            hash.update(&buffer[..read]);
            size += read as u64;
            file.write_all(&buffer[..read]).await.map_err(ObjectError::disk(to))?;
        }
        Ok((hash.finish(), size))
    }

    /// Takes an object away, if it is there.
    ///
    /// # Errors
    /// It may still be there.
    pub async fn delete_object(&self, which: Objects, sha256: &Sha256Hex) -> Result<(), QueueError> {
        let gone = self.objects(which).delete(sha256.as_str()).await;
        gone.map_err(|e| self.link.failed(&format!("object {}", sha256.short()), &e))
    }
}

/// Whether `SHA-256=…` in URL-safe base64 is that hash.
fn is_digest(digest: &str, sha256: &Sha256Hex) -> bool {
    use base64::{Engine, prelude::BASE64_URL_SAFE};
    let bytes = digest.strip_prefix("SHA-256=").and_then(|text| BASE64_URL_SAFE.decode(text).ok());
    let hex = bytes.map(|bytes| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>());
    hex.as_deref() == Some(sha256.as_str())
}
