//! Checks of the ways to other devices: devices.toml, adb, ssh, agents. Nothing here is needed to measure this machine.

use super::checks::{Check, State};
use crate::{
    agents::{ARCHES, Agents, check},
    devices::Registry,
    settings::Settings,
    transport::adb,
};
use std::process::{Command, Stdio};

/// Longest answer of `ssh -V` that is shown.
const VERSION_CHARS: usize = 100;

/// The devices file.
pub(super) fn devices(settings: &Settings) -> Check {
    match Registry::read(settings) {
        Ok(registry) => {
            Check::good("devices", format!("{} known, this machine included", registry.written()))
        }
        Err(failure) => Check::new(
            "devices",
            State::Bad,
            format!("{:#}", failure.error),
            "mend the file, or name another one with --devices",
        ),
    }
}

/// The server, and whether its phones can be used.
pub(super) async fn phones() -> Check {
    match adb::server_version().await {
        Ok(version) => Check::good("adb", format!("server version {version}")),
        Err(why) => Check::new("adb", State::Note, why, "only needed for phones"),
    }
}

/// The program that reads `~/.ssh/config`.
pub(super) fn ssh() -> Check {
    let asked = Command::new("ssh").arg("-V").stdin(Stdio::null()).output();
    match asked {
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr);
            let version: String =
                said.trim().chars().filter(|c| !c.is_control()).take(VERSION_CHARS).collect();
            Check::good("ssh", version)
        }
        Err(_) => Check::new(
            "ssh",
            State::Note,
            "no program ssh",
            "only needed for machines over SSH: install an OpenSSH client",
        ),
    }
}

/// Which devices could be given an agent.
pub(super) fn agents(agents: &Agents) -> Check {
    let (mut ready, mut wrong) = (Vec::new(), Vec::new());
    for arch in ARCHES {
        if let Some(path) = agents.path(arch.name) {
            match check(&path, arch.name) {
                Ok(()) => ready.push(arch.name),
                Err(why) => wrong.push(why),
            }
        }
    }
    if !wrong.is_empty() {
        return Check::new("agents", State::Warning, wrong.join("; "), "");
    }
    if ready.is_empty() {
        let advice = "only needed for other devices: bench agents build";
        return Check::new("agents", State::Note, "none for other devices", advice);
    }
    Check::good("agents", format!("for {}", ready.join(", ")))
}
