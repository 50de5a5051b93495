//! The controller, and on the local device its own agent. Does nothing itself: see `harness` and `agent`.

use std::process::ExitCode;

fn main() -> ExitCode {
    agent::entry(std::env::args_os()).unwrap_or_else(harness::main)
}
