//! The host as a process: command line, exit codes, whole runs with real agents on this machine, and every way
//! a run can be cut off. Models are mostly pretended (`fake/cpu`), so that a run takes a second.

#![expect(clippy::unwrap_used, reason = "a test may stop at what should not happen")]

mod cli;
mod devices;
mod interruptions;
mod runs;
mod scene;
mod transport;
