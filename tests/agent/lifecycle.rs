//! How an agent begins and ends: handshake, bad input, a host that goes away, signals, the lock, and that
//! no worker outlives it.

use crate::client::{Agent, agent, alone, fake_model, trial};
use protocol::{
    AgentMessage, Event, HostMessage, MAX_LINE_BYTES, Outcome, PROTOCOL_VERSION, Sha256Hex, encode,
};
use std::{
    fs, io,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};
use tempfile::tempdir;

/// A worker that never comes back; returns its process id.
pub(crate) fn start_hanging_unit(agent: &mut Agent, dir: &Path) -> u32 {
    let unit = alone(vec![trial(fake_model(dir, "hang", "fault = hang at invoke 0"))]);
    agent.send(&HostMessage::Run { unit });
    loop {
        if let Event::TrialStarted { pid, .. } = agent.next_event() {
            return pid;
        }
    }
}

/// Waits until a process is gone; it is given no more time than a broken build would need.
pub(crate) fn gone(pid: u32) -> bool {
    let end = Instant::now() + Duration::from_secs(30);
    while Instant::now() < end {
        match fs::read_to_string(format!("/proc/{pid}/stat")) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return true,
            Ok(stat) if stat.contains(") Z ") => return true,
            _ => std::thread::yield_now(),
        }
    }
    false
}

#[test]
fn hello_names_the_agent_and_the_device() {
    let dir = tempdir().unwrap();
    let (agent, hello) = Agent::greeted(&agent(), dir.path());
    let AgentMessage::Hello { protocol, agent: info, device, runtimes } = hello else { unreachable!() };
    assert_eq!((protocol, info.pid), (PROTOCOL_VERSION, agent.pid()));
    let own = Sha256Hex::of_bytes(&fs::read(env!("CARGO_BIN_EXE_bench-agent")).unwrap());
    assert_eq!(info.sha256, own, "the host pushes the agent again when this differs");
    assert!(!device.emulated && !device.cores.is_empty());
    let pretending: Vec<&str> = runtimes.iter().filter(|r| r.pretends).map(|r| r.runtime.as_str()).collect();
    assert_eq!(pretending, ["fake"]);
    agent.bye();
}

#[test]
fn another_version_is_refused_in_words() {
    let dir = tempdir().unwrap();
    let mut agent = Agent::start(&agent(), dir.path());
    agent.send(&HostMessage::Hello { protocol: PROTOCOL_VERSION + 1 });
    let reason = agent.refusal();
    assert!(reason.contains(&format!("protocol {}", PROTOCOL_VERSION + 1)), "{reason}");
    assert_eq!(agent.wait().0.code(), Some(2));
}

#[test]
fn bad_lines_end_the_agent() {
    let long = vec![b'x'; MAX_LINE_BYTES + 1];
    let hello: &[u8] = &encode(&HostMessage::Hello { protocol: PROTOCOL_VERSION }).unwrap();
    let cases: [(&[u8], &str); 6] = [
        (b"hello\n", "not a message"),
        (b"{\"type\":\"ping\"}\n", "must be a hello"),
        (&[hello, b"\xff\xfe\n"].concat(), "not a message"),
        (&[hello, b"{\"type\":\"sing\"}\n"].concat(), "unknown variant"),
        (&[hello, b"{\"type\":\"run\",\"unit\":{\"unit\":1},\"x\":2}\n"].concat(), "not a message"),
        (&[hello, &long].concat(), "longer than"),
    ];
    for (bytes, words) in cases {
        let dir = tempdir().unwrap();
        let mut agent = Agent::start(&agent(), dir.path());
        agent.send_bytes(bytes);
        let reason = loop {
            match agent.next() {
                Some(AgentMessage::Refused { reason, .. }) => break reason,
                Some(AgentMessage::Hello { .. }) => {}
                other => panic!("{other:?}"),
            }
        };
        assert!(reason.contains(words), "{reason}");
        assert_eq!(agent.wait().0.code(), Some(2), "{words}");
    }
}

#[test]
fn the_end_of_stdin_ends_agent_and_worker() {
    let dir = tempdir().unwrap();
    let (mut agent, _) = Agent::greeted(&agent(), dir.path());
    let worker = start_hanging_unit(&mut agent, dir.path());
    agent.close_stdin();
    let (status, log) = agent.wait();
    assert_eq!(status.code(), Some(3), "{log}");
    assert!(log.contains("end of stdin"), "{log}");
    assert!(gone(worker));
}

#[test]
fn half_a_line_at_the_end_is_said() {
    let dir = tempdir().unwrap();
    let (mut agent, _) = Agent::greeted(&agent(), dir.path());
    agent.send_bytes(b"{\"type\":\"bye\"");
    agent.close_stdin();
    assert!(agent.refusal().contains("in the middle of a line"));
    assert_eq!(agent.wait().0.code(), Some(2));
}

#[test]
fn after_bye_the_work_is_finished_without_a_host() {
    let dir = tempdir().unwrap();
    let (mut agent, _) = Agent::greeted(&agent(), dir.path());
    let unit = alone(vec![trial(fake_model(dir.path(), "m", "busy_us = 50"))]);
    let second = protocol::UnitSpec { unit: protocol::UnitId(8), ..unit.clone() };
    agent.send(&HostMessage::Run { unit: unit.clone() });
    agent.send(&HostMessage::Run { unit: second.clone() });
    agent.send(&HostMessage::Bye);
    agent.close_stdin();
    agent.unit_events(&unit);
    agent.unit_events(&second);
    assert!(agent.wait().0.success());
}

#[test]
fn signals_end_agent_and_worker() {
    for signal in ["HUP", "TERM", "INT"] {
        let dir = tempdir().unwrap();
        let (mut agent, _) = Agent::greeted(&agent(), dir.path());
        let worker = start_hanging_unit(&mut agent, dir.path());
        kill(signal, agent.pid());
        assert_eq!(agent.wait().0.code(), Some(3), "{signal}");
        assert!(gone(worker), "{signal}");
    }
}

#[test]
fn a_killed_supervisor_leaves_no_worker() {
    let dir = tempdir().unwrap();
    let (mut agent, _) = Agent::greeted(&agent(), dir.path());
    let worker = start_hanging_unit(&mut agent, dir.path());
    kill("KILL", agent.pid());
    assert!(gone(worker));
}

/// Takes as long as the agent's patience, 15 s.
#[test]
fn a_silent_host_is_a_lost_host() {
    let dir = tempdir().unwrap();
    let (mut agent, _) = Agent::greeted(&agent(), dir.path());
    let worker = start_hanging_unit(&mut agent, dir.path());
    let (status, log) = agent.wait_in_silence();
    assert_eq!(status.code(), Some(3), "{log}");
    assert!(log.contains("nothing heard"), "{log}");
    assert!(gone(worker));
}

/// An agent that cannot end by itself, because it is stopped, is ended by the next one; takes some 20 s.
#[test]
fn a_stale_holder_of_the_lock_is_ended() {
    let dir = tempdir().unwrap();
    let (mut first, _) = Agent::greeted(&agent(), dir.path());
    let worker = start_hanging_unit(&mut first, dir.path());
    kill("STOP", first.pid());
    let (mut second, _) = Agent::greeted(&agent(), dir.path());
    let events = second.run(&alone(vec![trial(fake_model(dir.path(), "m", ""))]));
    assert_eq!(crate::client::outcomes(&events), [(0, Outcome::Ok)]);
    assert!(gone(first.pid()) && gone(worker));
    second.bye();
}

#[test]
fn a_worker_inherits_nothing_but_its_link() {
    let dir = tempdir().unwrap();
    // A shell that leaves a descriptor open in the agent, as a careless host might.
    let mut command = vec!["sh".into(), "-c".into(), "exec \"$0\" \"$@\" 9</dev/zero".into()];
    command.extend(agent());
    let (mut agent, _) = Agent::greeted(&command, dir.path());
    let open = |pid: u32| -> Vec<String> {
        let entries = fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
        entries.filter_map(|e| Some(fs::read_link(e.ok()?.path()).ok()?.display().to_string())).collect()
    };
    assert!(open(agent.pid()).contains(&"/dev/zero".to_owned()), "the agent has it");
    let unit = alone(vec![trial(fake_model(dir.path(), "hang", "fault = hang at invoke 0"))]);
    agent.send(&HostMessage::Run { unit });
    let mut worker = 0;
    loop {
        match agent.next_event() {
            Event::TrialStarted { pid, .. } => worker = pid,
            Event::Loaded { .. } => break,
            _ => {}
        }
    }
    let open = open(worker);
    let sockets = open.iter().filter(|name| name.starts_with("socket:")).count();
    let null = open.iter().filter(|name| *name == "/dev/null").count();
    let logs = open.iter().filter(|name| name.starts_with("pipe:")).count();
    assert_eq!((sockets, null, logs, open.len()), (2, 1, 2, 5), "{open:?}");
}

#[test]
fn a_worker_cannot_be_started_by_hand() {
    let status =
        Command::new(env!("CARGO_BIN_EXE_bench-agent")).args(["agent-worker", "0000000001"]).status();
    assert_eq!(status.unwrap().code(), Some(2));
}

#[test]
fn one_agent_per_directory() {
    let dir = tempdir().unwrap();
    let (mut first, _) = Agent::greeted(&agent(), dir.path());
    start_hanging_unit(&mut first, dir.path());
    let (mut second, _) = Agent::greeted(&agent(), dir.path());
    second.send(&HostMessage::Run { unit: alone(vec![trial(fake_model(dir.path(), "m", ""))]) });
    // The first one's host is alive as long as it pings.
    let pinger = Instant::now();
    let reason = loop {
        first.send(&HostMessage::Ping);
        if let Some(message) = second.try_next(Duration::from_millis(500)) {
            match message {
                AgentMessage::Refused { reason, .. } => break reason,
                other => panic!("{other:?}"),
            }
        }
        assert!(pinger.elapsed() < Duration::from_secs(60));
    };
    assert!(reason.contains("--dir") && reason.contains(&first.pid().to_string()), "{reason}");
    // With the first one gone, the place is free.
    kill("KILL", first.pid());
    assert!(gone(first.pid()));
    let events = second.run(&alone(vec![trial(fake_model(dir.path(), "m", ""))]));
    assert_eq!(crate::client::outcomes(&events), [(0, Outcome::Ok)]);
    second.bye();
}

#[test]
fn a_directory_that_cannot_be_used_is_named() {
    let dir = tempdir().unwrap();
    let in_the_way = dir.path().join("file");
    fs::write(&in_the_way, "x").unwrap();
    let (mut agent, _) = Agent::greeted(&agent(), &in_the_way.join("work"));
    agent.send(&HostMessage::Run { unit: alone(vec![trial(fake_model(dir.path(), "m", ""))]) });
    let reason = agent.refusal();
    assert!(reason.contains("file/work") && reason.contains("--dir"), "{reason}");
    agent.bye();
}

/// A disk that is full, and one that cannot be written to.
#[test]
fn a_directory_without_room_is_named() {
    let dir = tempdir().unwrap();
    std::os::unix::fs::symlink("/dev/full", dir.path().join("agent.lock")).unwrap();
    for (place, why) in [(dir.path(), "No space left"), (Path::new("/proc/bench-agent"), "os error")] {
        let (mut agent, _) = Agent::greeted(&agent(), place);
        agent.send(&HostMessage::Run { unit: alone(vec![trial(fake_model(dir.path(), "m", ""))]) });
        let reason = agent.refusal();
        assert!(reason.contains(&place.display().to_string()) && reason.contains(why), "{reason}");
        assert!(reason.contains("devices.toml") && reason.contains("--dir"), "{reason}");
        agent.bye();
    }
}

pub(crate) fn kill(signal: &str, pid: u32) {
    assert!(Command::new("kill").args(["-s", signal, &pid.to_string()]).status().unwrap().success());
}
