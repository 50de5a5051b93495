//! The device's state as a running agent reads and changes it, on a device that a folder pretends to be:
//! cool-down, cores, fixed-performance mode, readings between blocks, memory that ran out.

use crate::{
    client::{Agent, agent, alone, fake_model, outcomes, ping_pong, trial},
    lifecycle::{gone, kill, start_hanging_unit},
};
use protocol::{
    AgentMessage, CoolDown, Event, HostMessage, Mode, Moment, Outcome, PROTOCOL_VERSION, UnitSpec,
};
use std::{
    ffi::OsString,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};
use tempfile::{TempDir, tempdir};

/// A device that is a folder, and a place for the agent.
struct Device {
    folder: TempDir,
}

impl Device {
    fn new() -> Self {
        Self { folder: tempdir().unwrap() }
    }

    fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join("root").join(path)
    }

    fn put(&self, path: &str, text: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        // at once: the agent reads a file whole or not at all
        let new = path.with_extension("new");
        fs::write(&new, text).unwrap();
        fs::rename(new, path).unwrap();
    }

    fn heat(&self, milli_celsius: u32) {
        self.put("sys/class/thermal/thermal_zone0/type", "cpu-thermal\n");
        self.put("sys/class/thermal/thermal_zone0/temp", &format!("{milli_celsius}\n"));
    }

    /// Gives it Android's `cmd`, which notes how it was called.
    fn add_cmd(&self) {
        self.put("system/bin/cmd", "#!/bin/sh\necho \"$*\" >> \"${0%/*}/calls\"\n");
        fs::set_permissions(self.path("system/bin/cmd"), fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn calls(&self) -> Vec<String> {
        let text = fs::read_to_string(self.path("system/bin/calls")).unwrap_or_default();
        text.lines().map(|line| line.replace("power set-fixed-performance-mode-enabled ", "")).collect()
    }

    fn dir(&self) -> &Path {
        self.folder.path()
    }

    fn agent(&self, arguments: &[&str]) -> Agent {
        let mut command = agent();
        command.extend(["--root".into(), self.path("").into()]);
        command.extend(arguments.iter().map(OsString::from));
        Agent::greeted(&command, self.dir()).0
    }

    fn unit(&self) -> UnitSpec {
        alone(vec![trial(fake_model(self.dir(), "m", ""))])
    }

    fn cooled_unit(&self, wait_ms: u64) -> UnitSpec {
        let wish = CoolDown { below_milli_celsius: 50_000, wait_ms, zone: None };
        UnitSpec { cool_down: Some(wish), ..self.unit() }
    }
}

fn cooled_down(events: &[Event]) -> (Option<String>, Option<i64>, bool) {
    match events.first() {
        Some(Event::CooledDown { zone, milli_celsius, reached, .. }) => {
            (zone.clone(), *milli_celsius, *reached)
        }
        other => panic!("the end of the wait comes first, not {other:?}"),
    }
}

fn fixed_performance(events: &[Event]) -> Vec<Option<String>> {
    let state = |event: &Event| match event {
        Event::DeviceState { state, .. } => Some(state.fixed_performance.clone()),
        _ => None,
    };
    events.iter().filter_map(state).collect()
}

#[test]
fn a_unit_waits_until_the_device_is_cool() {
    let device = Device::new();
    device.heat(60_000);
    let mut agent = device.agent(&[]);
    let unit = device.cooled_unit(60_000);
    agent.send(&HostMessage::Run { unit: unit.clone() });
    agent.next_heartbeat();
    device.heat(45_000);
    let events = agent.unit_events(&unit);
    assert_eq!(cooled_down(&events), (Some("cpu-thermal".into()), Some(45_000), true));
    assert!(matches!(events[1], Event::DeviceState { moment: Moment::Before, .. }), "{:?}", events[1]);
    assert_eq!(outcomes(&events), [(0, Outcome::Ok)]);
    agent.bye();
}

#[test]
fn a_device_that_stays_hot_is_measured_and_that_is_said() {
    let device = Device::new();
    device.heat(60_000);
    let mut agent = device.agent(&[]);
    let events = agent.run(&device.cooled_unit(1));
    assert_eq!(cooled_down(&events), (Some("cpu-thermal".into()), Some(60_000), false));
    assert_eq!(outcomes(&events), [(0, Outcome::Ok)]);
    agent.bye();
}

#[test]
fn a_device_that_tells_no_temperature_is_not_waited_for() {
    let device = Device::new();
    let mut agent = device.agent(&[]);
    let events = agent.run(&device.cooled_unit(1_800_000));
    assert_eq!(cooled_down(&events), (None, None, false));
    assert_eq!(outcomes(&events), [(0, Outcome::Ok)]);
    agent.bye();
}

#[test]
fn a_wait_can_be_cancelled() {
    let device = Device::new();
    device.heat(60_000);
    let mut agent = device.agent(&[]);
    let unit = device.cooled_unit(1_800_000);
    agent.send(&HostMessage::Run { unit: unit.clone() });
    agent.next_heartbeat();
    agent.send(&HostMessage::Cancel);
    let ended = outcomes(&agent.unit_events(&unit));
    assert!(matches!(ended.as_slice(), [(0, Outcome::Skipped { .. })]), "{ended:?}");
    agent.bye();
}

#[test]
fn chosen_cores_are_the_only_ones() {
    let device = Device::new();
    let allowed = rustix::thread::sched_getaffinity(None).unwrap();
    let core = (0..rustix::thread::CpuSet::MAX_CPU).find(|core| allowed.is_set(*core)).unwrap();
    let mut agent = device.agent(&["--cores", &core.to_string()]);
    let worker = start_hanging_unit(&mut agent, device.dir());
    let status = fs::read_to_string(format!("/proc/{worker}/status")).unwrap();
    let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap();
    assert_eq!(list.trim(), core.to_string(), "the worker's");
    agent.send(&HostMessage::Cancel);
    let states: Vec<Vec<u32>> = std::iter::from_fn(|| match agent.next() {
        Some(AgentMessage::Event { event: Event::DeviceState { state, .. }, .. }) => {
            Some(state.allowed_cores)
        }
        Some(AgentMessage::Event { .. }) => Some(Vec::new()),
        _ => None,
    })
    .filter(|cores| !cores.is_empty())
    .collect();
    assert_eq!(states, [[core as u32]]);
    agent.bye();
}

#[test]
fn a_core_that_is_not_there_is_refused() {
    let device = Device::new();
    let mut command = agent();
    command.extend(["--cores".into(), "0,1023".into()]);
    let mut agent = Agent::start(&command, device.dir());
    agent.send(&HostMessage::Hello { protocol: PROTOCOL_VERSION });
    let words = agent.refusal();
    assert!(words.contains("core 1023 does not exist") && words.contains("usable are"), "{words}");
    let (status, log) = agent.wait();
    assert_eq!(status.code(), Some(2), "{log}");
}

/// Something that ends an agent.
type End = fn(&mut Agent);

#[test]
fn fixed_performance_is_undone_however_the_agent_ends() {
    let ends: [(&str, End); 4] = [
        ("bye", |agent| agent.send(&HostMessage::Bye)),
        ("the end of stdin", |agent| agent.close_stdin()),
        ("SIGHUP", |agent| kill("HUP", agent.pid())),
        ("SIGTERM", |agent| kill("TERM", agent.pid())),
    ];
    for (how, end) in ends {
        let device = Device::new();
        device.add_cmd();
        let mut agent = device.agent(&["--fixed-performance"]);
        assert!(device.calls().is_empty(), "not before there is something to measure");
        let events = agent.run(&device.unit());
        assert_eq!(fixed_performance(&events), [Some("on".to_owned()), Some("on".to_owned())]);
        agent.run(&device.unit());
        assert_eq!(device.calls(), ["true"], "{how}");
        end(&mut agent);
        let (_, log) = agent.wait();
        assert_eq!(device.calls(), ["true", "false"], "{how}: {log}");
        assert!(!device.dir().join("fixed-performance").exists(), "{how}");
    }
}

#[test]
fn what_a_killed_agent_left_on_is_turned_off_by_the_next() {
    let device = Device::new();
    device.add_cmd();
    let mut first = device.agent(&["--fixed-performance"]);
    start_hanging_unit(&mut first, device.dir());
    // One that starts meanwhile leaves it on: somebody is at work.
    device.agent(&[]).bye();
    assert_eq!(device.calls(), ["true"]);
    kill("KILL", first.pid());
    assert!(gone(first.pid()));
    assert_eq!(device.calls(), ["true"], "nobody could");
    device.agent(&[]).bye();
    assert_eq!(device.calls(), ["true", "false"]);
    device.agent(&[]).bye();
    assert_eq!(device.calls(), ["true", "false"], "once");
}

#[test]
fn a_device_without_fixed_performance_is_measured_and_that_is_said() {
    let device = Device::new();
    let mut agent = device.agent(&["--fixed-performance"]);
    let events = agent.run(&device.unit());
    assert_eq!(outcomes(&events), [(0, Outcome::Ok)]);
    let words = fixed_performance(&events);
    assert!(words.iter().flatten().all(|w| w.starts_with("not on: this device has none")), "{words:?}");
    assert_eq!(words.iter().flatten().count(), 2);
    agent.send(&HostMessage::Bye);
    let (status, log) = agent.wait();
    assert!(status.success() && log.contains("no fixed-performance mode"), "{log}");
}

#[test]
fn the_device_is_read_between_blocks() {
    let device = Device::new();
    device.heat(41_000);
    let model = |name: &str| {
        let mut spec = trial(fake_model(device.dir(), name, "busy_us = 1000"));
        if let Mode::Performance(rules) = &mut spec.mode {
            rules.min_ms = 2_000;
        }
        spec
    };
    let unit = ping_pong(vec![model("a"), model("b")]);
    let mut agent = device.agent(&[]);
    let events = agent.run(&unit);
    agent.bye();
    let is_during = |e: &Event| matches!(e, Event::DeviceState { moment: Moment::During, .. });
    let during: Vec<usize> = (0..events.len()).filter(|at| is_during(&events[*at])).collect();
    assert!(!during.is_empty(), "4 s of steady state");
    for at in during {
        let Event::DeviceState { state, .. } = &events[at] else { unreachable!() };
        assert_eq!(state.thermal.first().map(|zone| zone.milli_celsius), Some(41_000));
        let block =
            |e: &Event| if let Event::Samples { samples, .. } = e { Some(samples.block) } else { None };
        let before = events[..at].iter().rev().find_map(block);
        let after = events[at..].iter().find_map(block);
        assert!(after.is_none_or(|after| before < Some(after)), "a block was interrupted");
    }
}

#[test]
fn a_worker_that_was_killed_for_want_of_memory_has_it_said() {
    let device = Device::new();
    device.put("proc/vmstat", "nr_free_pages 7\noom_kill 3\n");
    let mut agent = device.agent(&[]);
    let worker = start_hanging_unit(&mut agent, device.dir());
    device.put("proc/vmstat", "nr_free_pages 7\noom_kill 4\n");
    kill("KILL", worker);
    let outcome = loop {
        if let Event::TrialFinished { outcome, .. } = agent.next_event() {
            break outcome;
        }
    };
    let Outcome::Crashed { signal: 9, why: Some(why) } = outcome else { panic!("{outcome:?}") };
    assert!(why.contains("out of memory") && why.contains("killed 1"), "{why}");
}
