//! The agent: runs on a device, talks to the host over stdin and stdout, and measures each trial in a fresh
//! process of its own, which is this same executable started again. `PROTOCOL.md` describes the
//! conversation. Knows no labels, thresholds or baselines, and compares nothing.
//!
//! `hub` waits, `crew` keeps the workers, `unit` decides who is served when; `worker` is the other
//! side, where everything is measured.

mod child;
mod clock;
mod convert;
mod crew;
mod device;
mod failure;
mod hub;
mod inputs;
mod launch;
mod lock;
mod log;
mod memory;
mod outputs;
mod supervisor;
mod sys;
mod unit;
mod wire;
mod worker;

use std::{
    env,
    ffi::{OsStr, OsString},
    path::PathBuf,
    process::ExitCode,
};

/// First argument that makes a host binary an agent: `bench agent [--dir DIR]`.
pub const AGENT_ARGUMENT: &str = "agent";

const USAGE: &str = "\
bench-agent measures models on the device it runs on, for a `bench` that talks to it.

Usage: bench-agent [--dir DIR]

  --dir DIR   where its lock and output files go; one agent at a time per directory
              [default: $XDG_CACHE_HOME/bench/agent or ~/.cache/bench/agent]

It reads one JSON message per line on stdin and answers on stdout; see agent/PROTOCOL.md.
By hand: bench spec CASE | bench-agent";

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

fn serve(mut arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let mut dir = None;
    while let Some(argument) = arguments.next() {
        match (argument.to_str(), dir.is_none()) {
            (Some("--dir"), true) => match arguments.next() {
                Some(value) if !value.is_empty() => dir = Some(PathBuf::from(value)),
                _ => return usage("--dir needs a directory"),
            },
            (Some("--help" | "-h"), _) => {
                log::plain(USAGE);
                return ExitCode::SUCCESS;
            }
            (Some("--version" | "-V"), _) => {
                log::plain(concat!("bench-agent ", env!("CARGO_PKG_VERSION")));
                return ExitCode::SUCCESS;
            }
            _ => return usage(&format!("unknown argument {argument:?}")),
        }
    }
    if std::io::IsTerminal::is_terminal(&std::io::stdin()) {
        log::line("waiting for a hello on stdin; see --help");
    }
    supervisor::main(dir.unwrap_or_else(default_dir))
}

fn usage(problem: &str) -> ExitCode {
    log::plain(&format!("bench-agent: {problem}\n\n{USAGE}"));
    ExitCode::from(2)
}

/// One directory per user, so that all agents of a user find the same lock.
fn default_dir() -> PathBuf {
    let folder = |name: &str| env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    let cache = folder("XDG_CACHE_HOME").or_else(|| Some(folder("HOME")?.join(".cache")));
    match cache.filter(|path| path.is_absolute()) {
        Some(cache) => cache.join("bench").join("agent"),
        None => env::temp_dir().join(format!("bench-agent-{}", rustix::process::getuid().as_raw())),
    }
}
