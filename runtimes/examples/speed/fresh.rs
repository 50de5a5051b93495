//! One side of one model in a process of its own: time to get ready, and peak memory.

use super::{Case, Settings, Side, fill, pin};
use runtimes::Result;
use std::time::Instant;

/// Invokes before memory is looked at.
const INVOKES: usize = 5;

/// Answers with one line: ns from loading the runtime to a session that is ready, ns of the first invoke, and the most
/// memory that the process had, in bytes.
///
/// # Errors
/// The side does not run the model.
pub(super) fn measure(case: &Case, settings: &Settings, side: Side) -> Result<String> {
    pin(settings)?;
    let start = Instant::now();
    let mut session = case.load(side, settings)?.open(&case.path)?.compile(&case.options(side, settings)?)?;
    let ready = start.elapsed().as_nanos();
    fill(&mut *session)?;
    let start = Instant::now();
    session.invoke()?;
    let first = start.elapsed().as_nanos();
    for _ in 1..INVOKES {
        session.invoke()?;
    }
    Ok(format!("fresh\t{ready}\t{first}\t{}\n", peak_bytes()?))
}

fn peak_bytes() -> Result<u64> {
    let path = "/proc/self/status";
    let text =
        std::fs::read_to_string(path).map_err(|source| runtimes::Error::Io { path: path.into(), source })?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
    let kib = line.trim().trim_end_matches(" kB").trim().parse::<u64>();
    kib.map(|kib| kib * 1024).map_err(|_| super::wrong("/proc/self/status has no VmHWM"))
}
