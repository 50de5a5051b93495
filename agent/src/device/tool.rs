//! Asks a program of the platform (`getprop`, `dumpsys`, `vcgencmd`), in bounded time and space: a service
//! that hangs must not hang the agent.

use crate::clock;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::{
    io::Read,
    path::Path,
    process::{Command, Stdio},
};

/// A healthy tool answers in some 50 ms.
const LIMIT_MS: u64 = 2_000;

/// `getprop` prints some 60 kB.
const MAX_OUTPUT: usize = 1 << 20;

/// What it printed on stdout, if it ended well and in time.
pub(crate) fn output(program: &Path, arguments: &[&str]) -> Option<String> {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().ok()?;
    let text = child.stdout.take().and_then(|mut stdout| read_in_time(&mut stdout));
    if text.is_none() {
        drop(child.kill());
    }
    let ended_well = child.wait().is_ok_and(|status| status.success());
    text.filter(|_| ended_well)
}

fn read_in_time(stdout: &mut std::process::ChildStdout) -> Option<String> {
    let end = clock::monotonic_ns().saturating_add(clock::ms(LIMIT_MS));
    let mut text = Vec::new();
    let mut chunk = [0u8; 4096];
    loop {
        let left = end.checked_sub(clock::monotonic_ns())?.cast_signed();
        let timeout = Timespec { tv_sec: left / 1_000_000_000, tv_nsec: left % 1_000_000_000 };
        let ready = poll(&mut [PollFd::new(&*stdout, PollFlags::IN)], Some(&timeout)).ok()?;
        if ready == 0 {
            return None;
        }
        let n = stdout.read(&mut chunk).ok()?;
        if n == 0 {
            return Some(String::from_utf8_lossy(&text).into_owned());
        }
        text.extend_from_slice(chunk.get(..n)?);
        if text.len() > MAX_OUTPUT {
            return None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tool_answers_fails_or_is_missing() {
        let shell = Path::new("/bin/sh");
        assert_eq!(output(shell, &["-c", "echo hello"]).as_deref(), Some("hello\n"));
        assert_eq!(output(shell, &["-c", "echo hello; exit 3"]), None);
        assert_eq!(output(shell, &["-c", "head -c 2000000 /dev/zero"]), None);
        assert_eq!(output(Path::new("/nonexistent/tool"), &[]), None);
    }
}
