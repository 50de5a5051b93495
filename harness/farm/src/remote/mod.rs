//! Jobs whose files lie on another host: what they need is put on the queue's server by who plans, and fetched by who
//! measures; the record of a run goes the other way.

mod mirror;

pub use mirror::Mirror;

use crate::{
    archive::{self, ArchiveError},
    device::Canaries,
    job::{Job, JobOutcome, Record},
    queue::nats::{NatsQueue, ObjectError, Objects},
    worker::{Execution, Executor, Looked, Told},
};
use protocol::Sha256Hex;
use std::{
    collections::BTreeSet,
    fs::File,
    path::{Component, Path, PathBuf},
    time::Duration,
};
use tokio::{
    sync::{mpsc, watch},
    task::{JoinError, spawn_blocking},
    time::sleep,
};

/// Between two tries to move a file.
const AGAIN: Duration = Duration::from_secs(5);
/// Bytes of an archive: what does not fit with others beside it on the server is not sent.
const MAX_ARCHIVE_BYTES: u64 = 2 << 30;

/// Why a record did not arrive.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// On its way.
    #[error(transparent)]
    Object(#[from] ObjectError),
    /// It is no archive of a run.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// Its name leads elsewhere.
    #[error("{0:?} is no name of a run")]
    Name(String),
    /// A bug of ours.
    #[error(transparent)]
    Task(#[from] JoinError),
}

/// Puts all files that jobs need on the server, each once; those that lie there already stay. Says how many were put
/// there.
///
/// # Errors
/// At the first that cannot be read or put there.
pub async fn upload(queue: &NatsQueue, jobs: &[Job]) -> Result<usize, ObjectError> {
    let (mut seen, mut new) = (BTreeSet::new(), 0);
    for file in jobs.iter().flat_map(|job| &job.files) {
        if seen.insert(&file.sha256) {
            new += usize::from(queue.put_object(Objects::Files, &file.path, &file.sha256, file.bytes).await?);
        }
    }
    Ok(new)
}

/// Brings the record of a result into the folder `runs`: says the run's name there. One that is there already stays as
/// it is; `None`: the result has no record, or one on a disk of its own.
///
/// # Errors
/// It did not arrive, or is not what it should be; nothing of it lies in the folder then.
pub async fn collect(queue: &NatsQueue, record: &Record, runs: &Path) -> Result<Option<String>, RecordError> {
    let Record::Object { sha256, bytes, run, .. } = record else { return Ok(None) };
    let mut parts = Path::new(run).components();
    let plain =
        matches!((parts.next(), parts.next()), (Some(Component::Normal(name)), None) if name == run.as_str());
    if !plain || run.starts_with('.') {
        return Err(RecordError::Name(run.clone()));
    }
    let to = runs.join(run);
    if !to.exists() {
        let place = tempfile::Builder::new().prefix(".arriving-").tempdir_in(runs);
        let place = place.map_err(ObjectError::disk(runs))?;
        let archive = place.path().join("archive");
        queue.get_object(Objects::Records, sha256, *bytes, &archive).await?;
        spawn_blocking(move || archive::unpack(&archive, &to)).await??;
    }
    Ok(Some(run.clone()))
}

/// Sends a run's folder to whoever collects it.
///
/// # Errors
/// It cannot be read, is too large, or the server does not take it.
pub async fn send(queue: &NatsQueue, folder: &Path, scratch: &Path) -> Result<Record, RecordError> {
    let run = folder.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let archive = tempfile::NamedTempFile::new_in(scratch).map_err(ObjectError::disk(scratch))?;
    let (from, to) = (folder.to_owned(), archive.path().to_owned());
    let (sha256, bytes) = spawn_blocking(move || {
        archive::pack(&from, &to)?;
        let hashed = File::open(&to).and_then(|mut file| Sha256Hex::of_reader(&mut file));
        let (sha256, bytes) = hashed.map_err(ObjectError::disk(&to))?;
        if bytes > MAX_ARCHIVE_BYTES {
            let what = format!("{MAX_ARCHIVE_BYTES} bytes as an archive");
            return Err(ArchiveError::TooLarge { path: from, what }.into());
        }
        Ok::<_, RecordError>((sha256, bytes))
    })
    .await??;
    queue.put_object(Objects::Records, archive.path(), &sha256, bytes).await?;
    Ok(Record::Object { name: sha256.to_string(), sha256, bytes, run })
}

/// Measures for somebody on another host: fetches what a job needs, has it measured here, sends the record.
pub struct Remote<'a, E> {
    queue: &'a NatsQueue,
    inner: &'a E,
    mirror: &'a Mirror,
    told: mpsc::UnboundedSender<Told>,
}

impl<'a, E> Remote<'a, E> {
    /// `inner` measures; its runs lie in the folder of the mirror for them.
    pub fn new(
        queue: &'a NatsQueue,
        inner: &'a E,
        mirror: &'a Mirror,
        told: mpsc::UnboundedSender<Told>,
    ) -> Self {
        Self { queue, inner, mirror, told }
    }

    fn note(&self, device: &str, words: String) {
        // whoever listened has gone: so will we
        self.told.send(Told::Note { device: device.to_owned(), words }).unwrap_or_default();
    }

    /// The job with paths of this host, its files in place. Waits for a server that cannot be reached.
    async fn fetch(
        &self,
        device: &str,
        job: &Job,
        cancel: &mut watch::Receiver<u32>,
    ) -> Result<Job, Box<Execution>> {
        loop {
            let reason = match self.mirror.fetch(self.queue, job).await {
                Ok(job) => return Ok(job),
                Err(ObjectError::Queue(error)) => error.to_string(),
                Err(error @ ObjectError::Disk { .. }) => {
                    return Err(Box::new(ended(JobOutcome::DeviceTrouble {
                        reason: format!("its host: {error}"),
                    })));
                }
                Err(ObjectError::Wrong(reason)) => {
                    return Err(Box::new(ended(JobOutcome::NotRun { reason })));
                }
            };
            self.note(device, format!("files of job {} are waited for: {reason}", job.id));
            if cancelled(cancel, AGAIN).await {
                let reason = format!("its files did not come: {reason}");
                let ended = ended(JobOutcome::DeviceTrouble { reason });
                return Err(Box::new(Execution { cancelled: true, ..ended }));
            }
        }
    }

    /// The record as it goes to whoever collects.
    async fn record(&self, device: &str, folder: &Path, cancel: &mut watch::Receiver<u32>) -> Option<Record> {
        loop {
            let error = match send(self.queue, folder, self.mirror.scratch()).await {
                Ok(record) => {
                    // who collects has it; what cannot be deleted goes when it is old
                    tokio::fs::remove_dir_all(folder).await.unwrap_or_default();
                    return Some(record);
                }
                Err(error) => error,
            };
            let again = matches!(&error, RecordError::Object(ObjectError::Queue(_)));
            self.note(device, format!("the record {} is kept here: {error}", folder.display()));
            if !again || cancelled(cancel, AGAIN).await {
                return None;
            }
        }
    }
}

/// Whether it was told to end, now or within that time.
async fn cancelled(cancel: &mut watch::Receiver<u32>, time: Duration) -> bool {
    tokio::select! {
        () = sleep(time) => false,
        // without a sender nobody ends it
        changed = cancel.wait_for(|n| *n > 0) => changed.is_ok(),
    }
}

fn ended(outcome: JobOutcome) -> Execution {
    Execution { outcome, record: None, canaries: Canaries::default(), cancelled: false }
}

impl<E: Executor> Executor for Remote<'_, E> {
    async fn look(&self, device: &str) -> Result<Looked, String> {
        self.inner.look(device).await
    }

    async fn measure(&self, device: &str, job: &Job, mut cancel: watch::Receiver<u32>) -> Execution {
        let job = match self.fetch(device, job, &mut cancel).await {
            Ok(job) => job,
            Err(ended) => return *ended,
        };
        let mut done = self.inner.measure(device, &job, cancel.clone()).await;
        if let Some(Record::Folder { path }) = done.record.take() {
            done.record = self.record(device, &path, &mut cancel).await;
            if done.record.is_none() && !done.cancelled {
                let reason = format!("its record did not get away from {}", path.display());
                done.outcome = JobOutcome::DeviceTrouble { reason };
            }
        }
        done
    }

    async fn probe(&self, device: &str) -> Result<Canaries, String> {
        self.inner.probe(device).await
    }
}

/// Absolute, and of plain names only.
fn is_plain_absolute(path: &Path) -> bool {
    let mut parts = path.components();
    parts.next() == Some(Component::RootDir) && parts.all(|part| matches!(part, Component::Normal(_)))
}

/// Where a path of the other host lies below `root`.
fn below(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").unwrap_or(path))
}
