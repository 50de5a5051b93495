//! Results on stdout, and nothing else goes there. A reader that has seen enough (`| head`) is no error.

use crate::exit::{CommandResult, ExitWith};
use anyhow::Context;
use std::io::{self, Write};

/// Prints a text that ends its own last line.
///
/// # Errors
/// Stdout cannot be written, for another reason than that nobody reads it any more.
pub(crate) fn print(text: &str) -> CommandResult<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(e) if e.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other.context("stdout cannot be written").or_incomplete(),
    }
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
