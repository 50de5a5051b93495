//! Lines for people, on stderr. Never stdout: that belongs to the protocol.

use std::{fmt, io::Write};

/// Writes one line. A log that cannot be written is no reason to stop measuring.
pub(crate) fn line(text: impl fmt::Display) {
    let line = format!("bench-agent[{}]: {text}\n", std::process::id());
    drop(std::io::stderr().write_all(line.as_bytes()));
}

/// Writes a text without the agent's name in front: usage and version.
pub(crate) fn plain(text: &str) {
    drop(std::io::stderr().write_all(format!("{text}\n").as_bytes()));
}
