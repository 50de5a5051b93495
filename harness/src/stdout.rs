//! Results on stdout, and nothing else goes there. A reader that has seen enough (`| head`) is no error.

use crate::exit::{CommandResult, ExitWith};
use anyhow::Context;
use std::io::{self, BufWriter, Write};

/// Prints a text that ends its own last line.
///
/// # Errors
/// Stdout cannot be written, for another reason than that nobody reads it any more.
pub(crate) fn print(text: &str) -> CommandResult<()> {
    stream(|out| Ok(out.write_all(text.as_bytes())?))
}

/// Prints what is written piece by piece, which may be longer than memory has room for.
///
/// # Errors
/// As [`print`], and what `write` says.
pub(crate) fn stream(write: impl FnOnce(&mut dyn Write) -> anyhow::Result<()>) -> CommandResult<()> {
    let mut out = BufWriter::new(io::stdout().lock());
    let written = write(&mut out).and_then(|()| Ok(out.flush()?));
    match written {
        Err(e) if nobody_reads(&e) => Ok(()),
        other => other.context("stdout cannot be written").or_incomplete(),
    }
}

fn nobody_reads(error: &anyhow::Error) -> bool {
    let broken = |e: &io::Error| e.kind() == io::ErrorKind::BrokenPipe;
    error.chain().any(|cause| cause.downcast_ref::<io::Error>().is_some_and(broken))
}

/// Prints a value as indented JSON.
///
/// # Errors
/// As [`print`].
pub(crate) fn print_json(value: &impl serde::Serialize) -> CommandResult<()> {
    let mut text = serde_json::to_string_pretty(value).or_incomplete()?;
    text.push('\n');
    print(&text)
}
