//! `bench completions`: a script for a shell.

use crate::{
    cli::Cli,
    exit::{CommandResult, Exit},
    stdout::print,
};
use clap::CommandFactory;
use clap_complete::{Shell, generate};

/// Arguments.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Which shell
    shell: Shell,
}

/// Prints the script.
pub(crate) fn work(args: &Args) -> CommandResult {
    let mut script = Vec::new();
    generate(args.shell, &mut Cli::command(), "bench", &mut script);
    print(&String::from_utf8_lossy(&script))?;
    Ok(Exit::Fine)
}
