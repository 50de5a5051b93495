//! The controller: commands, settings, the plan of a run, devices and the dispatcher that keeps them at
//! work. Measures nothing itself and links no runtime; statistics and reports are crates of their own.
//!
//! `ARCHITECTURE.md` beside this crate tells the path of one number.

mod agents;
mod canaries;
mod cli;
mod commands;
mod devices;
mod dispatch;
mod elf;
mod exit;
mod gate;
mod history;
mod interrupt;
mod libraries;
mod link;
mod measure;
mod nats;
mod nightly;
mod pictures;
mod plan;
mod progress;
mod render;
mod rule;
mod runs;
mod selection;
mod selftest;
mod session;
mod settings;
mod stdout;
#[cfg(test)]
mod testing;
pub mod transport;
mod unknown;
mod values;
mod written;

use exit::{Exit, Failure};
use std::process::ExitCode;

/// The whole of `bench`, with the process's arguments.
pub fn main() -> ExitCode {
    let cli = match cli::Cli::read(std::env::args_os()) {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    match cli.work() {
        Ok(exit) => exit.into(),
        Err(Failure { exit, error }) => {
            progress::say(&format!("error: {error:#}"));
            exit.into()
        }
    }
}

/// Help and version go to stdout and are fine; everything else is usage.
fn usage(error: &clap::Error) -> ExitCode {
    let asked_for = !error.use_stderr();
    // a terminal that is gone cannot be told
    error.print().unwrap_or_default();
    if asked_for { Exit::Fine.into() } else { Exit::Usage.into() }
}
