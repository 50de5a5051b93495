//! The host as a process: command line, exit codes, whole runs with real agents on this machine, and every way
//! a run can be cut off. Models are mostly pretended (`fake/cpu`), so that a run takes a second.

#[cfg(test)]
mod cli;
#[cfg(test)]
mod devices;
#[cfg(test)]
mod farm;
#[cfg(test)]
mod files;
#[cfg(test)]
mod interruptions;
#[cfg(test)]
mod nightly;
#[cfg(test)]
mod runs;
#[cfg(test)]
mod scene;
#[cfg(test)]
mod ssh;
#[cfg(test)]
#[path = "../common/sshd.rs"]
mod sshd;
#[cfg(test)]
mod transport;
