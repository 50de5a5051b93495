//! The agent: runs on a device, talks to the host over stdin and stdout, and measures each trial in a fresh
//! process of its own, which is this same executable started again. `PROTOCOL.md` describes the
//! conversation. Knows no labels, thresholds or baselines, and compares nothing.
//!
//! `hub` waits, `crew` keeps the workers, `unit` decides who is served when; `worker` is the other
//! side, where everything is measured.

mod child;
mod clock;
mod convert;
mod cool;
mod crew;
mod device;
mod failure;
mod fixed;
mod hub;
mod inputs;
mod launch;
mod lock;
mod log;
mod memory;
mod options;
mod outputs;
mod supervisor;
mod sys;
mod unit;
mod wire;
mod worker;

use options::{Asked, USAGE};
use std::{
    ffi::{OsStr, OsString},
    process::ExitCode,
};

/// The agent cannot start as it was asked to, or the host does not speak its protocol.
const EXIT_USAGE: u8 = 2;

/// First argument that makes a host binary an agent: `bench agent [--dir DIR]`.
pub const AGENT_ARGUMENT: &str = "agent";

/// For a host binary that is its own agent: to be called first in `main`, with the process's arguments.
/// Runs the agent, or one of its workers, when the arguments ask for that; `None` means that the process
/// was started for something else.
pub fn entry(arguments: impl IntoIterator<Item = OsString>) -> Option<ExitCode> {
    let mut arguments = arguments.into_iter().skip(1);
    let first = arguments.next()?;
    if first == AGENT_ARGUMENT {
        return Some(serve(arguments));
    }
    (first == child::WORKER_ARGUMENT).then(|| work(arguments.next().as_deref()))
}

/// The whole of `bench-agent`, with the process's arguments.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let mut arguments = arguments.into_iter().skip(1).peekable();
    if arguments.next_if(|first| first == child::WORKER_ARGUMENT).is_some() {
        return work(arguments.next().as_deref());
    }
    serve(arguments)
}

fn work(parent: Option<&OsStr>) -> ExitCode {
    worker::main(parent.and_then(OsStr::to_str).and_then(|pid| pid.parse().ok()))
}

fn serve(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let options = match options::parse(arguments) {
        Ok(Asked::Serve(options)) => options,
        Ok(Asked::Help) => {
            log::plain(USAGE);
            return ExitCode::SUCCESS;
        }
        Ok(Asked::Version) => {
            log::plain(concat!("bench-agent ", env!("CARGO_PKG_VERSION")));
            return ExitCode::SUCCESS;
        }
        Err(problem) => {
            log::plain(&format!("bench-agent: {problem}\n\n{USAGE}"));
            return ExitCode::from(EXIT_USAGE);
        }
    };
    if std::io::IsTerminal::is_terminal(&std::io::stdin()) {
        log::line("waiting for a hello on stdin; see --help");
    }
    supervisor::main(options)
}
