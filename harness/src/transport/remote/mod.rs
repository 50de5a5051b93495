//! A device behind a shell. A way to reach another machine that can run a command line, send and fetch bytes
//! and start a program is a [`Remote`]; [`RemoteDevice`] makes a transport of it: files named by their hash and
//! verified on the device, programs that can be killed with everything they started. Knows neither ADB nor
//! SSH. Whatever a device prints is taken apart with suspicion: it may lie, and it may not stop.

mod control;
mod landing;
mod script;

pub(super) use landing::{BLOCK_BYTES, Blocks, begin};
pub(super) use script::{arch, harmless, last_words, quote};

use super::{
    HostFile, Look, Moved, Pending, Probe, Process, Program, Pushed, STALL_LIMIT, Tidied, Transport,
    TransportError, look, on_host, waiting::Waiting,
};
pub(crate) use control::last_orders;
use control::{RemoteControl, last_order};
use protocol::Sha256Hex;
use std::{
    path::{Path, PathBuf},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};
use tokio::time::timeout;

/// Most bytes that are taken from a command's stdout or stderr; the rest is dropped by whoever runs it.
pub(super) const OUTPUT_BYTES: usize = 256 * 1024;

/// Bytes that the slowest device hashes in a second: an old Pi with a slow card.
const SLOWEST_HASH: u64 = 5 << 20;

/// What a command line printed, and how it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Output {
    /// Exit status of the shell; 128 + n when signal n ended it.
    pub(super) status: i32,
    /// At most [`OUTPUT_BYTES`].
    pub(super) stdout: Vec<u8>,
    /// At most [`OUTPUT_BYTES`].
    pub(super) stderr: Vec<u8>,
}

/// What a way to reach a machine must be able to do. Operations may run at the same time. Dropping a future
/// ends what it began, on this side at once.
pub(super) trait Remote: Send + Sync + 'static {
    /// Runs a command line of the device's POSIX shell to its end, with an empty stdin.
    fn run<'a>(&'a self, script: &'a str) -> Pending<'a, Output>;

    /// Writes all bytes of `file` to `to`, which is replaced. Fails as soon as the device refuses.
    fn send<'a>(&'a self, file: &'a HostFile, to: &'a str, moved: &'a Moved) -> Pending<'a, ()>;

    /// Brings the bytes of the device's file `from` to the host. A file that breaks off is an error.
    fn receive<'a>(&'a self, from: &'a str, to: Blocks, moved: &'a Moved) -> Pending<'a, ()>;

    /// Starts a command line whose pipes stay open. Dropping the process closes the connection.
    fn start<'a>(&'a self, script: &'a str) -> Pending<'a, Process>;

    /// See [`Transport::reconnect`].
    fn reconnect(&self) -> Pending<'_, ()>;
}

/// A transport made of a [`Remote`].
pub(super) struct RemoteDevice<R> {
    remote: Arc<R>,
    /// Said by the user; otherwise the usual place is asked for.
    cache: Option<String>,
    /// Usual place for our files, as the device's shell writes it.
    usual_cache: &'static str,
    /// What the probe found; files have no place before that.
    found: OnceLock<String>,
    /// Makes names of parts and of programs differ within this process.
    number: AtomicU32,
}

impl<R: Remote> RemoteDevice<R> {
    /// `usual_cache` is a word of shell, such as `"${HOME}/.cache/bench"` with its quotes.
    pub(super) fn new(remote: R, cache: Option<String>, usual_cache: &'static str) -> Self {
        Self {
            remote: Arc::new(remote),
            cache,
            usual_cache,
            found: OnceLock::new(),
            number: AtomicU32::new(0),
        }
    }

    async fn look(&self) -> Result<Probe, TransportError> {
        let output = self.run("probing", &script::probe(&self.cache_word()?)).await?;
        let probe = script::probed(&output)?;
        // an earlier probe of the same device found the same
        self.found.set(probe.cache.display().to_string()).ok();
        Ok(probe)
    }

    /// Where our files are meant to be, for the device's shell.
    fn cache_word(&self) -> Result<String, TransportError> {
        self.cache.as_ref().map_or_else(|| Ok(self.usual_cache.to_owned()), |cache| quote(cache))
    }

    async fn cache(&self) -> Result<&str, TransportError> {
        if self.found.get().is_none() {
            self.look().await?;
        }
        Ok(self.found.get().map(String::as_str).unwrap_or_default())
    }

    /// Runs a script that prints what is to be known and fails in words on stderr.
    async fn run(&self, doing: &'static str, script: &str) -> Result<String, TransportError> {
        script::checked(doing, self.remote.run(script).await?)
    }

    /// Runs a script that has the device hash `bytes`. Nothing moves meanwhile, which is no stall: it has a limit
    /// of its own.
    async fn hash(&self, doing: &'static str, script: &str, bytes: u64) -> Result<String, TransportError> {
        let limit = STALL_LIMIT + Duration::from_secs(bytes / SLOWEST_HASH);
        let hold = Waiting::current().hold();
        let done = timeout(limit, self.run(doing, script)).await;
        drop(hold);
        done.unwrap_or_else(|_| {
            Err(TransportError::Stalled { doing: format!("{doing} a file"), seconds: limit.as_secs() })
        })
    }

    async fn put(&self, file: &HostFile, moved: &Moved) -> Result<Pushed, TransportError> {
        let place = format!("{}/files/{}", self.cache().await?, file.sha256);
        let path = PathBuf::from(&place);
        let there = self.hash("looking for", &script::used(&quote(&place)?), file.bytes).await?;
        if script::hash_in(&there).is_some_and(|found| found == file.sha256.as_str()) {
            return Ok(Pushed { path, sent_bytes: 0 });
        }
        let part = format!("{place}.part-{}", self.nonce());
        let mut unfinished =
            Unfinished { remote: &self.remote, script: Some(script::delete(&quote(&part)?)) };
        let sent = self.remote.send(file, &part, moved).await;
        let placed = match sent {
            Ok(()) => {
                let script = script::place(&quote(&part)?, &quote(&place)?, file);
                self.hash("placing", &script, file.bytes).await
            }
            Err(error) => Err(error),
        };
        let found = match placed {
            Ok(found) => found,
            Err(error) => {
                if let Some(script) = unfinished.script.take() {
                    // what is left of it goes with the next tidying, if not now
                    self.remote.run(&script).await.ok();
                }
                return Err(script::unplaced(error, file, &[&part, &place]));
            }
        };
        unfinished.script = None;
        match script::hash_in(&found) {
            Some(hash) if hash == file.sha256.as_str() => Ok(Pushed { path, sent_bytes: file.bytes }),
            other => Err(script::damaged(&file.name, &file.sha256, other)),
        }
    }

    async fn fetch(
        &self,
        from: &Path,
        sha256: &Sha256Hex,
        to: &Path,
        moved: &Moved,
    ) -> Result<u64, TransportError> {
        let source = utf8(from)?;
        let folder = to.parent().unwrap_or(Path::new("."));
        let part = tempfile::Builder::new()
            .prefix(".part-")
            .tempfile_in(folder)
            .map_err(|e| on_host("creating a file in", folder, e))?;
        let (file, part) = part.into_parts();
        let (blocks, landing) = begin(file);
        let received = self.remote.receive(source, blocks, moved).await;
        // a disk that took no more is why no more was received
        let (found, bytes) = landing.end().await.map_err(|e| on_host("writing", to, e))?;
        received?;
        if found != *sha256 {
            return Err(script::damaged(source, sha256, Some(found.as_str())));
        }
        part.persist(to).map_err(|e| on_host("creating", to, e.error))?;
        Ok(bytes)
    }

    async fn launch(&self, program: &Program) -> Result<Process, TransportError> {
        let note = format!("{}/run/{}", self.cache().await?, self.nonce());
        let note = quote(&note)?;
        let mut words = vec![quote(utf8(&program.path)?)?];
        for arg in &program.args {
            words.push(quote(utf8(Path::new(arg))?)?);
        }
        let process = self.remote.start(&script::start(&note, &words.join(" "))).await?;
        let control = RemoteControl::new(process.control, Arc::clone(&self.remote), script::kill(&note));
        Ok(Process { control: Box::new(control), ..process })
    }

    /// Different for every part and program of every host.
    fn nonce(&self) -> String {
        let number = self.number.fetch_add(1, Ordering::Relaxed);
        let random = std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), number);
        format!("{:08x}-{number}", random & 0xffff_ffff)
    }
}

impl<R: Remote> Transport for RemoteDevice<R> {
    fn probe(&self) -> Pending<'_, Probe> {
        Box::pin(self.look())
    }

    fn look(&self) -> Pending<'_, Look> {
        Box::pin(async move {
            let script = look::script(&self.cache_word()?);
            look::parsed(&self.run("looking at", &script).await?)
        })
    }

    fn push<'a>(&'a self, file: &'a HostFile, moved: &'a Moved) -> Pending<'a, Pushed> {
        Box::pin(self.put(file, moved))
    }

    fn spawn<'a>(&'a self, program: &'a Program) -> Pending<'a, Process> {
        Box::pin(self.launch(program))
    }

    fn pull<'a>(
        &'a self,
        from: &'a Path,
        sha256: &'a Sha256Hex,
        to: &'a Path,
        moved: &'a Moved,
    ) -> Pending<'a, u64> {
        Box::pin(self.fetch(from, sha256, to, moved))
    }

    fn remove<'a>(&'a self, path: &'a Path) -> Pending<'a, ()> {
        Box::pin(async move {
            let script = script::delete(&quote(utf8(path)?)?);
            self.run("deleting", &script).await.map(drop)
        })
    }

    fn tidy<'a>(&'a self, keep: &'a [Sha256Hex], limit_bytes: u64, spare: Duration) -> Pending<'a, Tidied> {
        Box::pin(async move {
            let cache = self.cache().await?;
            let folder = format!("{cache}/files");
            let listing = self.run("listing", &script::list(&quote(cache)?)).await?;
            let (tidied, doomed) = script::choose(&listing, keep, limit_bytes, spare);
            for names in doomed.chunks(script::NAMES_AT_A_TIME) {
                self.run("deleting", &script::delete_in(&quote(&folder)?, names)).await?;
            }
            Ok(tidied)
        })
    }

    fn reconnect(&self) -> Pending<'_, ()> {
        self.remote.reconnect()
    }
}

/// A part of a file that nobody will finish when this is dropped.
struct Unfinished<'a, R: Remote> {
    remote: &'a Arc<R>,
    /// What deletes it.
    script: Option<String>,
}

impl<R: Remote> Drop for Unfinished<'_, R> {
    fn drop(&mut self) {
        if let Some(script) = self.script.take() {
            last_order(self.remote, script);
        }
    }
}

/// Paths on a device pass through a shell and through JSON: both want text.
fn utf8(path: &Path) -> Result<&str, TransportError> {
    path.to_str().ok_or_else(|| TransportError::Refused {
        doing: "naming".to_owned(),
        reason: format!("{path:?} is no valid UTF-8, which paths on a device must be"),
    })
}

#[cfg(test)]
mod tests;
