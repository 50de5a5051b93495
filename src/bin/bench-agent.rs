//! The agent that runs on a device. Does nothing itself: see the crate `agent`.

use std::process::ExitCode;

fn main() -> ExitCode {
    agent::main(std::env::args_os())
}
