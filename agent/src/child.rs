//! A worker as its supervisor sees it: a process, the descriptor pair to it, and the time it may still
//! take. Knows nothing about the host.

use crate::{clock, hub::CHUNK, launch::Launcher, wire};
use protocol::{FrameError, LineBuffer, encode};
use rustix::{
    fd::{AsFd, BorrowedFd, OwnedFd},
    process::{Pid, Signal, kill_process_group},
};
use std::{
    io::{self, Read, Write},
    os::unix::{net::UnixStream, process::CommandExt},
    process::{Child as Process, ExitStatus, Stdio},
    time::Duration,
};

/// Argument that makes this executable a worker.
pub(crate) const WORKER_ARGUMENT: &str = "agent-worker";

/// A worker that does not take a command within this time has stopped reading.
const COMMAND_LIMIT: Duration = Duration::from_secs(10);

/// A worker process. Dropping it kills it.
pub(crate) struct Child {
    process: Process,
    link: UnixStream,
    lines: LineBuffer,
    /// Work time that is left.
    budget_ns: u64,
    /// Since when it has been at work; `None` while it waits for its turn.
    since_ns: Option<u64>,
    ended: bool,
}

impl Child {
    /// Starts a worker. All start alike, with arguments of the same length and the trial told later:
    /// what lies on a process's first stack pages can shift its timing.
    ///
    /// Its stdin is one end of the pair, which it moves away at once; its stdout is our stderr, so that a
    /// runtime that prints cannot reach the host; its process group is its own.
    pub(crate) fn start(launcher: &Launcher, deadline_ms: u64) -> io::Result<Self> {
        let (ours, theirs) = UnixStream::pair()?;
        ours.set_write_timeout(Some(COMMAND_LIMIT))?;
        let stderr = io::stderr().as_fd().try_clone_to_owned()?;
        let process = launcher
            .command()
            .arg(WORKER_ARGUMENT)
            .arg(format!("{:010}", std::process::id()))
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::from(stderr))
            .process_group(0)
            .spawn()?;
        let lines = LineBuffer::default();
        let budget_ns = clock::ms(deadline_ms);
        Ok(Self { process, link: ours, lines, budget_ns, since_ns: None, ended: false })
    }

    /// Process id.
    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Where to wait for its answers.
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.link.as_fd()
    }

    /// Gives a command; its clock runs until [`Self::rest`].
    pub(crate) fn tell(&mut self, command: &wire::Command) -> io::Result<()> {
        self.since_ns = Some(clock::monotonic_ns());
        let line = encode(command).map_err(io::Error::other)?;
        self.link.write_all(&line)
    }

    /// The command is done.
    pub(crate) fn rest(&mut self) {
        if let Some(since) = self.since_ns.take() {
            let spent = clock::monotonic_ns().saturating_sub(since);
            self.budget_ns = self.budget_ns.saturating_sub(spent);
        }
    }

    /// When it must have answered.
    pub(crate) fn deadline_ns(&self) -> u64 {
        self.since_ns.unwrap_or_else(clock::monotonic_ns).saturating_add(self.budget_ns)
    }

    /// Takes what it has sent; false when it has closed its end.
    pub(crate) fn pump(&mut self) -> bool {
        let mut chunk = [0u8; CHUNK];
        match self.link.read(&mut chunk) {
            Ok(0) => false,
            Ok(n) => {
                self.lines.extend(chunk.get(..n).unwrap_or_default());
                true
            }
            Err(e) => matches!(e.kind(), io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock),
        }
    }

    /// The next answer that is complete.
    pub(crate) fn answer(&mut self) -> Result<Option<wire::Answer>, FrameError> {
        self.lines.next_message()
    }

    /// Kills it and all that it has started, and says how it ended: a process that was already dying
    /// keeps its own reason.
    pub(crate) fn end(mut self) -> io::Result<ExitStatus> {
        self.kill()
    }

    fn kill(&mut self) -> io::Result<ExitStatus> {
        // Until it has been waited for, its number cannot belong to another process or group.
        if !std::mem::replace(&mut self.ended, true)
            && let Some(group) = i32::try_from(self.process.id()).ok().and_then(Pid::from_raw)
        {
            // Fails only when nobody is left in the group, which is what is wanted.
            kill_process_group(group, Signal::KILL).ok();
        }
        self.process.wait()
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if let Err(e) = self.kill() {
            crate::log::line(format_args!("worker {} could not be ended: {e}", self.process.id()));
        }
    }
}
