//! Agents for other instruction sets under user-mode emulation: each starts itself through the emulator, says that it is
//! emulated, and reports no memory. `bench agents build` makes them.

#[path = "../common/emulator.rs"]
mod emulator;

use crate::client::{Agent, alone, fake_model, outcomes, trial};
use emulator::{Emulated, emulated_agents};
use protocol::{AgentMessage, Event, Outcome};
use std::ffi::OsString;
use tempfile::tempdir;

#[test]
fn an_emulated_agent_starts_itself_and_says_so() {
    for emulated in emulated_agents("an_emulated_agent_starts_itself_and_says_so") {
        starts_itself_and_says_so(emulated);
    }
}

fn starts_itself_and_says_so(Emulated { arch, kernels, command }: Emulated) {
    let command: Vec<OsString> = command.into_iter().map(Into::into).collect();
    let dir = tempdir().unwrap();
    let (mut agent, hello) = Agent::greeted(&command, dir.path());
    let AgentMessage::Hello { device, .. } = hello else { unreachable!() };
    assert_eq!((device.emulated, device.arch.as_str()), (true, arch), "with {kernels} kernels");
    let crash = trial(fake_model(dir.path(), "c", "fault = crash 11 at invoke 0"));
    let unit = alone(vec![trial(fake_model(dir.path(), "m", "busy_us = 100")), crash]);
    let events = agent.run(&unit);
    assert_eq!(outcomes(&events), [(0, Outcome::Ok), (1, Outcome::Crashed { signal: 11, why: None })]);
    for event in &events {
        if let Event::Memory { reading, .. } = event {
            assert_eq!((reading.peak_bytes, reading.pss_bytes, reading.rss_anon_bytes), (None, None, None));
        }
    }
    agent.bye();
}
