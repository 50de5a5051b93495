//! A device that is not there, for tests: files lie in a folder of this machine, the agent is a task of this
//! process that answers with made-up numbers, and a script says what goes wrong, and when. Measures nothing.

mod agent;
mod script;

pub use script::{Fault, FaultKind, Script, ScriptedModel};

use super::{
    Control, HostFile, Libc, Look, Moved, Options, Pending, Probe, Process, ProcessEnd, Program, Pushed,
    Reach, Tidied, Transport, TransportError, files,
};
use protocol::Sha256Hex;
use std::{
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};
use tokio::task::JoinHandle;

/// Bytes that fit into a pipe of the pretended device, as on Linux.
const PIPE_BYTES: usize = 64 * 1024;

/// A scripted device.
pub struct Fake {
    cache: PathBuf,
    /// Of this device alone: several may share a cache.
    outputs: PathBuf,
    script: Arc<Script>,
    /// Units that the device was given so far, over all agents.
    units: Arc<AtomicU32>,
    pushes: AtomicU32,
}

impl Fake {
    /// Keeps files in `cache` and behaves as the script says.
    pub fn new(cache: PathBuf, script: Script) -> Self {
        static DEVICES: AtomicU32 = AtomicU32::new(0);
        let number = DEVICES.fetch_add(1, Ordering::Relaxed);
        let outputs = cache.join(format!("outputs-{}-{number}", std::process::id()));
        let (script, units, pushes) = (Arc::new(script), Arc::default(), AtomicU32::new(0));
        Self { cache, outputs, script, units, pushes }
    }
}

/// For the list of transports: the address is the path of a script.
pub(super) fn open(reach: &Reach, options: &Options) -> Result<Box<dyn Transport>, String> {
    let address = &reach.address;
    let script = if address.is_empty() { Script::default() } else { Script::read(Path::new(address))? };
    Ok(Box::new(Fake::new(options.cache.join("fake"), script)))
}

impl Transport for Fake {
    fn probe(&self) -> Pending<'_, Probe> {
        let cache = self.cache.clone();
        Box::pin(async move {
            if self.script.hangs {
                std::future::pending::<()>().await;
            }
            let free_bytes = files::probe(&cache).await?;
            let own = Program { path: cache.join("agent"), args: vec!["agent".into()] };
            let (arch, agent) = match &self.script.needs_agent {
                Some(arch) => (arch.clone(), None),
                None => ("fake".to_owned(), Some(own)),
            };
            Ok(Probe { arch, libc: Libc::Unknown, cache, free_bytes, agent })
        })
    }

    fn look(&self) -> Pending<'_, Look> {
        Box::pin(async move {
            if self.script.hangs {
                std::future::pending::<()>().await;
            }
            Ok(Look { model: Some("imagined".to_owned()), arch: Some("fake".to_owned()), ..Look::default() })
        })
    }

    fn push<'a>(&'a self, file: &'a HostFile, moved: &'a Moved) -> Pending<'a, Pushed> {
        let number = self.pushes.fetch_add(1, Ordering::Relaxed);
        Box::pin(async move {
            match self.script.on_push(number) {
                Some(FaultKind::DiskFull) => {
                    let (path, needed) = (file.name.clone(), file.bytes);
                    Err(TransportError::NoSpace { path, needed, setting: files::SETTING })
                }
                Some(FaultKind::Stall) => std::future::pending().await,
                _ => files::push(&self.cache, file, moved).await,
            }
        })
    }

    fn spawn<'a>(&'a self, _program: &'a Program) -> Pending<'a, Process> {
        Box::pin(async move {
            let (stdin, agent_in) = tokio::io::duplex(PIPE_BYTES);
            let (agent_out, stdout) = tokio::io::duplex(PIPE_BYTES);
            let (agent_err, stderr) = tokio::io::duplex(PIPE_BYTES);
            let agent = agent::FakeAgent {
                outputs: self.outputs.clone(),
                script: Arc::clone(&self.script),
                units: Arc::clone(&self.units),
                stdout: agent_out,
                stderr: agent_err,
            };
            let task = tokio::spawn(agent.live(agent_in));
            Ok(Process {
                stdin: Box::new(stdin),
                stdout: Box::new(stdout),
                stderr: Box::new(stderr),
                control: Box::new(FakeControl { task, end: None }),
            })
        })
    }

    fn pull<'a>(
        &'a self,
        from: &'a Path,
        sha256: &'a Sha256Hex,
        to: &'a Path,
        moved: &'a Moved,
    ) -> Pending<'a, u64> {
        files::pull(from, sha256, to, moved)
    }

    fn remove<'a>(&'a self, path: &'a Path) -> Pending<'a, ()> {
        files::remove(path)
    }

    fn tidy<'a>(&'a self, keep: &'a [Sha256Hex], limit_bytes: u64, spare: Duration) -> Pending<'a, Tidied> {
        files::tidy(&self.cache, keep, limit_bytes, spare)
    }

    fn reconnect(&self) -> Pending<'_, ()> {
        Box::pin(async { Ok(()) })
    }
}

struct FakeControl {
    task: JoinHandle<ProcessEnd>,
    end: Option<ProcessEnd>,
}

impl Control for FakeControl {
    fn wait(&mut self) -> Pending<'_, ProcessEnd> {
        Box::pin(async move {
            if let Some(end) = self.end {
                return Ok(end);
            }
            // a task that was aborted is a process that was killed
            let end = (&mut self.task).await.unwrap_or(ProcessEnd::Signalled(9));
            Ok(*self.end.insert(end))
        })
    }

    fn kill(&mut self) -> Pending<'_, ()> {
        self.task.abort();
        Box::pin(async move { self.wait().await.map(drop) })
    }
}

impl Drop for FakeControl {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Reads a small text file of the user's.
fn read_small(path: &Path, most: u64) -> Result<String, String> {
    let failed = |e: std::io::Error| format!("the script {}: {e}", path.display());
    if fs::metadata(path).map_err(failed)?.len() > most {
        return Err(format!("the script {} is longer than {most} bytes", path.display()));
    }
    fs::read_to_string(path).map_err(failed)
}
