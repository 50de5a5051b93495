//! The agent's own command line. Starts nothing.

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use std::{
    env,
    ffi::{OsStr, OsString},
    path::PathBuf,
};

pub(crate) const USAGE: &str = "\
bench-agent measures models on the device it runs on, for a `bench` that talks to it.

Usage: bench-agent [--dir DIR] [--cores LIST] [--fixed-performance] [--root DIR]

  --dir DIR             where its lock and output files go; one agent at a time per directory
                        [default: $XDG_CACHE_HOME/bench/agent or ~/.cache/bench/agent]
  --cores LIST          run on these cores only: numbers with commas between, as 2,3
  --fixed-performance   Android: hold clocks at a level that the device can keep up, from the first unit to
                        the end of the agent; said, and no failure, where there is no such mode
  --root DIR            read what the device tells of itself below DIR instead of / (for tests)

It reads one JSON message per line on stdin and answers on stdout; see agent/PROTOCOL.md.
By hand: bench spec CASE | bench-agent";

/// What the command line asks for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// To serve a host.
    Serve(Options),
    /// To say how it is used.
    Help,
    /// To say which version it is.
    Version,
}

/// How to serve.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Options {
    /// Lock and output files.
    pub(crate) dir: PathBuf,
    /// Cores to run on; empty: all that are allowed.
    pub(crate) cores: Vec<usize>,
    /// Ask for the mode.
    pub(crate) fixed_performance: bool,
    /// Where the device's files are.
    pub(crate) root: PathBuf,
}

/// Reads the command line, the program's name left out.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn parse(mut arguments: impl Iterator<Item = OsString>) -> Result<Asked, String> {
    let (mut dir, mut cores, mut root) = (None, None, None);
    let mut fixed_performance = false;
    while let Some(argument) = arguments.next() {
        let name = argument.to_str().unwrap_or_default();
        let mut value = || arguments.next().filter(|v| !v.is_empty()).ok_or(format!("{name} needs a value"));
        match name {
            "--dir" if dir.is_none() => dir = Some(PathBuf::from(value()?)),
            "--cores" if cores.is_none() => cores = Some(numbers(&value()?)?),
            "--fixed-performance" => fixed_performance = true,
            "--root" if root.is_none() => root = Some(PathBuf::from(value()?)),
            "--help" | "-h" => return Ok(Asked::Help),
            "--version" | "-V" => return Ok(Asked::Version),
            "--dir" | "--cores" | "--root" => return Err(format!("{name} is given twice")),
            _ => return Err(format!("unknown argument {argument:?}")),
        }
    }
    Ok(Asked::Serve(Options {
        dir: dir.unwrap_or_else(default_dir),
        cores: cores.unwrap_or_default(),
        fixed_performance,
        root: root.unwrap_or_else(|| PathBuf::from("/")),
    }))
}

fn numbers(list: &OsStr) -> Result<Vec<usize>, String> {
    let number = |text: &str| text.parse().ok().filter(|core| *core < CpuSet::MAX_CPU);
    let all: Option<Vec<usize>> = list.to_str().and_then(|list| list.split(',').map(number).collect());
    all.ok_or_else(|| {
        format!("--cores takes numbers below {} with commas between, as 2,3, not {list:?}", CpuSet::MAX_CPU)
    })
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

/// Keeps this process, and all that it starts from now on, on some cores. To be called while there is one
/// thread.
///
/// # Errors
/// A core that does not exist, is offline, or is kept from this process.
pub(crate) fn pin(cores: &[usize]) -> Result<(), String> {
    if cores.is_empty() {
        return Ok(());
    }
    let before = sched_getaffinity(None).map_err(|e| format!("cores: {e}"))?;
    let mut wanted = CpuSet::new();
    cores.iter().for_each(|core| wanted.set(*core));
    // The kernel leaves out what it cannot give, and complains only when nothing is left.
    let set = sched_setaffinity(None, &wanted);
    let got = sched_getaffinity(None).map_err(|e| format!("cores: {e}"))?;
    match cores.iter().find(|core| set.is_err() || !got.is_set(**core)) {
        None => Ok(()),
        Some(missing) => {
            let usable: Vec<String> =
                (0..CpuSet::MAX_CPU).filter(|c| before.is_set(*c)).map(|c| c.to_string()).collect();
            let missing = cores.iter().find(|core| !before.is_set(**core)).unwrap_or(missing);
            Err(format!(
                "cores: core {missing} does not exist, is offline, or is kept from the agent; usable are {}",
                usable.join(",")
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Asked, String> {
        parse(line.split_whitespace().map(OsString::from))
    }

    #[test]
    fn a_command_line() {
        let all = parsed("--dir /d --cores 2,3 --fixed-performance --root /r");
        let expected =
            Options { dir: "/d".into(), cores: vec![2, 3], fixed_performance: true, root: "/r".into() };
        assert_eq!(all, Ok(Asked::Serve(expected)));
        let Ok(Asked::Serve(none)) = parsed("") else { panic!("nothing has to be said") };
        assert_eq!((none.cores.len(), none.fixed_performance, none.root), (0, false, "/".into()));
        assert!(none.dir.is_absolute());
        assert_eq!((parsed("--dir /d --help"), parsed("-V")), (Ok(Asked::Help), Ok(Asked::Version)));
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (line, words) in [
            ("--dir", "--dir needs a value"),
            ("--dir a --dir b", "given twice"),
            ("--cores 1,x", "numbers below 1024"),
            ("--cores 1-3", "as 2,3"),
            ("--cores 99999999999", "numbers below"),
            ("--core 1", "unknown argument \"--core\""),
        ] {
            let error = parsed(line).unwrap_err();
            assert!(error.contains(words), "{line}: {error}");
        }
    }
}
