//! Android's fixed-performance mode, which outlives the process that asks for it: a file in the agent's
//! directory says that it is on, so that the next agent turns off what a killed one has left on. Held under
//! the directory's lock.

use crate::{device::Probe, log};
use std::{
    fs, io,
    path::{Path, PathBuf},
};

const MARKER: &str = "fixed-performance";

/// The mode, asked for. Dropping it turns it off.
pub(crate) struct FixedPerformance {
    probe: Probe,
    marker: PathBuf,
    /// Why it is not on.
    missing: Option<String>,
}

impl FixedPerformance {
    /// Turns it on, where the device has it, and says so where it has not.
    pub(crate) fn on(probe: &Probe, dir: &Path) -> Self {
        let marker = dir.join(MARKER);
        let set = || {
            // First the file: what is on must be found.
            fs::write(&marker, b"on\n").map_err(|e| format!("{}: {e}", marker.display()))?;
            probe.set_fixed_performance(true)
        };
        let missing = set().err();
        if let Some(why) = &missing {
            log::line(format_args!("no fixed-performance mode: {why}"));
            remove(&marker);
        }
        Self { probe: probe.clone(), marker, missing }
    }

    /// For the device's state.
    pub(crate) fn words(&self) -> String {
        match &self.missing {
            None => "on".to_owned(),
            Some(why) => format!("not on: {why}"),
        }
    }
}

impl Drop for FixedPerformance {
    fn drop(&mut self) {
        if self.missing.is_none() {
            turn_off(&self.probe, &self.marker);
        }
    }
}

/// Has an agent that was killed left the mode on?
pub(crate) fn is_left_on(dir: &Path) -> bool {
    dir.join(MARKER).exists()
}

/// Turns off what an agent that was killed has left on.
pub(crate) fn turn_off_left_on(probe: &Probe, dir: &Path) {
    if is_left_on(dir) {
        log::line("an earlier agent was killed in fixed-performance mode: turning it off");
        turn_off(probe, &dir.join(MARKER));
    }
}

fn turn_off(probe: &Probe, marker: &Path) {
    match probe.set_fixed_performance(false) {
        Ok(()) => remove(marker),
        // The file stays: the next agent tries again.
        Err(why) => log::line(format_args!("fixed-performance mode may still be on: {why}")),
    }
}

fn remove(marker: &Path) {
    match fs::remove_file(marker) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => log::line(format_args!("{}: {e}", marker.display())),
        _ => {}
    }
}
