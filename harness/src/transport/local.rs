//! This machine as a device: files are copied into a cache folder, the agent is this very executable,
//! started once more in a process group of its own.

use super::{
    Control, HostFile, Libc, Look, Moved, Options, Pending, Probe, Process, ProcessEnd, Program, Pushed,
    Reach, Tidied, Transport, TransportError, files, libc, look,
};
use protocol::Sha256Hex;
use rustix::process::{Pid, Signal, kill_process_group};
use std::{
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};
use tokio::process::{Child, Command};

/// This executable, whatever became of its file since it started.
const ITSELF: &str = "/proc/self/exe";

/// The machine this process runs on.
pub struct Local {
    cache: PathBuf,
    agent: PathBuf,
}

impl Local {
    /// Keeps files in `cache` and starts `agent` as the agent.
    pub fn new(cache: PathBuf, agent: PathBuf) -> Self {
        Self { cache, agent }
    }
}

/// For the list of transports.
pub(super) fn open(reach: &Reach, options: &Options) -> Result<Box<dyn Transport>, String> {
    if !reach.address.is_empty() {
        return Err(format!("the local device has no address, but got {:?}", reach.address));
    }
    let cache = reach.cache.as_ref().map_or_else(|| options.cache.clone(), PathBuf::from);
    Ok(Box::new(Local::new(cache, PathBuf::from(ITSELF))))
}

impl Transport for Local {
    fn probe(&self) -> Pending<'_, Probe> {
        Box::pin(async move {
            let free_bytes = files::probe(&self.cache).await?;
            Ok(Probe {
                arch: std::env::consts::ARCH.to_owned(),
                libc: own_libc().await,
                cache: self.cache.clone(),
                free_bytes,
                agent: Some(Program { path: self.agent.clone(), args: vec!["agent".into()] }),
            })
        })
    }

    fn look(&self) -> Pending<'_, Look> {
        Box::pin(async move {
            let cache = std::path::absolute(&self.cache).unwrap_or_else(|_| self.cache.clone());
            let script = look::script(&look::word(&cache)?);
            let output = Command::new("sh")
                .args(["-c", &script])
                .stdin(Stdio::null())
                .kill_on_drop(true)
                .output()
                .await;
            let output = output.map_err(|source| TransportError::Io {
                doing: "starting",
                path: "sh".to_owned(),
                source,
            })?;
            look::parsed(&String::from_utf8_lossy(&output.stdout))
        })
    }

    fn push<'a>(&'a self, file: &'a HostFile, moved: &'a Moved) -> Pending<'a, Pushed> {
        files::push(&self.cache, file, moved)
    }

    fn spawn<'a>(&'a self, program: &'a Program) -> Pending<'a, Process> {
        Box::pin(async move { start(program) })
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
        // this machine is where it is
        Box::pin(async { Ok(()) })
    }
}

/// The C library that this executable can load libraries with.
async fn own_libc() -> Libc {
    if cfg!(target_feature = "crt-static") {
        return Libc::Unknown;
    }
    let output =
        Command::new("sh").args(["-c", libc::SCRIPT]).stdin(Stdio::null()).kill_on_drop(true).output();
    let told = output.await.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    told.map(|line| libc::parsed(line.trim_end())).unwrap_or_default()
}

fn start(program: &Program) -> Result<Process, TransportError> {
    let path = program.path.display().to_string();
    let failed = |source| TransportError::Io { doing: "starting", path: path.clone(), source };
    // a group of its own: Ctrl-C in the terminal must reach the host alone, which then ends the agent in
    // good order; and everything the agent started can be ended with it
    let mut child = Command::new(&program.path)
        .arg0("bench")
        .args(&program.args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map_err(failed)?;
    let no_pipe = || failed(std::io::Error::other("a pipe is missing"));
    let stdin = child.stdin.take().ok_or_else(no_pipe)?;
    let stdout = child.stdout.take().ok_or_else(no_pipe)?;
    let stderr = child.stderr.take().ok_or_else(no_pipe)?;
    let group = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    Ok(Process {
        stdin: Box::new(stdin),
        stdout: Box::new(stdout),
        stderr: Box::new(stderr),
        control: Box::new(LocalControl { child, group }),
    })
}

struct LocalControl {
    child: Child,
    /// `None` once the child was waited for: its number may belong to others then.
    group: Option<Pid>,
}

impl LocalControl {
    fn kill_group(&self) {
        if let Some(group) = self.group {
            // an error says that nobody is left to be killed
            kill_process_group(group, Signal::KILL).unwrap_or_default();
        }
    }
}

impl Control for LocalControl {
    fn wait(&mut self) -> Pending<'_, ProcessEnd> {
        Box::pin(async move {
            let status = self.child.wait().await.map_err(|source| TransportError::Io {
                doing: "waiting for",
                path: "the agent".to_owned(),
                source,
            })?;
            // whatever it started must not outlive it
            self.kill_group();
            self.group = None;
            Ok(end_of(status))
        })
    }

    fn kill(&mut self) -> Pending<'_, ()> {
        self.kill_group();
        Box::pin(async move { self.wait().await.map(drop) })
    }
}

impl Drop for LocalControl {
    fn drop(&mut self) {
        self.kill_group();
    }
}

fn end_of(status: ExitStatus) -> ProcessEnd {
    match (status.code(), status.signal()) {
        (Some(code), _) => ProcessEnd::Exited(code),
        (None, Some(signal)) => ProcessEnd::Signalled(signal),
        (None, None) => ProcessEnd::Unknown,
    }
}
