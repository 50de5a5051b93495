//! The agent for aarch64 under user-mode emulation: it starts itself through the emulator, says that it is
//! emulated, and reports no memory. `tests/build-aarch64.sh` builds it.

use crate::client::{Agent, alone, fake_model, outcomes, trial};
use protocol::{AgentMessage, Event, Outcome};
use std::{env, ffi::OsString, path::Path, process::Command};
use tempfile::tempdir;

/// The command that runs it, or why it cannot be run here.
fn emulated_agent() -> Result<Vec<OsString>, String> {
    let agent =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("target/aarch64-unknown-linux-gnu/agent/bench-agent");
    if !agent.exists() {
        return Err(format!("{} has not been built", agent.display()));
    }
    match Command::new("qemu-aarch64").arg("--version").output() {
        Ok(_) => Ok(vec!["qemu-aarch64".into(), "-cpu".into(), "max".into(), agent.into()]),
        Err(e) => Err(format!("qemu-aarch64: {e}")),
    }
}

#[test]
fn an_emulated_agent_starts_itself_and_says_so() {
    let command = match emulated_agent() {
        Ok(command) => command,
        Err(why) => {
            let required =
                env::var("BENCH_TEST_REQUIRE").is_ok_and(|all| all.split(',').any(|r| r == "aarch64"));
            assert!(!required, "{why}");
            println!("left out: an_emulated_agent_starts_itself_and_says_so: {why}");
            return;
        }
    };
    let dir = tempdir().unwrap();
    let (mut agent, hello) = Agent::greeted(&command, dir.path());
    let AgentMessage::Hello { device, .. } = hello else { unreachable!() };
    assert_eq!((device.emulated, device.arch.as_str()), (true, "aarch64"));
    let crash = trial(fake_model(dir.path(), "c", "fault = crash 11 at invoke 0"));
    let unit = alone(vec![trial(fake_model(dir.path(), "m", "busy_us = 100")), crash]);
    let events = agent.run(&unit);
    assert_eq!(outcomes(&events), [(0, Outcome::Ok), (1, Outcome::Crashed { signal: 11 })]);
    for event in &events {
        if let Event::Memory { reading, .. } = event {
            assert_eq!((reading.peak_bytes, reading.pss_bytes, reading.rss_anon_bytes), (None, None, None));
        }
    }
    agent.bye();
}
