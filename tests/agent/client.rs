//! A host for tests: speaks the protocol to a real agent process, and never waits for ever.

use protocol::{
    AgentMessage, Artifact, Counts, DType, Event, HostMessage, Inputs, LineReader, Mode, Outcome,
    PROTOCOL_VERSION, PerformanceRules, PingPong, Sha256Hex, TensorFile, TrialSpec, UnitId, UnitSpec, WarmUp,
    encode,
};
use std::{
    ffi::OsString,
    fs,
    io::{BufReader, Read, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, ExitStatus, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    thread::JoinHandle,
    time::Duration,
};

/// How often the host pings while it waits; well below the agent's limit.
const PING: Duration = Duration::from_secs(2);

/// So many pings without an answer, and the test fails instead of hanging.
const MOST_PINGS: u32 = 30;

/// The agent as built with these tests.
pub(crate) fn agent() -> Vec<OsString> {
    vec![env!("CARGO_BIN_EXE_bench-agent").into()]
}

/// An agent under test.
pub(crate) struct Agent {
    child: Child,
    stdin: Option<ChildStdin>,
    messages: Receiver<Result<AgentMessage, String>>,
    stderr: Option<JoinHandle<String>>,
}

impl Agent {
    /// Starts it, without a hello.
    pub(crate) fn start(command: &[OsString], dir: &Path) -> Self {
        let mut child = Command::new(&command[0])
            .args(&command[1..])
            .arg("--dir")
            .arg(dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|e| panic!("{command:?}: {e}"));
        let stdin = child.stdin.take();
        let mut lines = LineReader::new(BufReader::new(child.stdout.take().unwrap()));
        let mut log = child.stderr.take().unwrap();
        let (sender, messages) = channel();
        std::thread::spawn(move || {
            while let Some(message) = lines.next_message().map_err(|e| e.to_string()).transpose() {
                let failed = message.is_err();
                if sender.send(message).is_err() || failed {
                    return;
                }
            }
        });
        let stderr = std::thread::spawn(move || {
            let mut text = String::new();
            log.read_to_string(&mut text).unwrap_or_default();
            text
        });
        Self { child, stdin, messages, stderr: Some(stderr) }
    }

    /// Starts it and says hello.
    pub(crate) fn greeted(command: &[OsString], dir: &Path) -> (Self, AgentMessage) {
        let mut agent = Self::start(command, dir);
        agent.send(&HostMessage::Hello { protocol: PROTOCOL_VERSION });
        let hello = agent.next().expect("an answer to hello");
        assert!(matches!(hello, AgentMessage::Hello { .. }), "{hello:?}");
        (agent, hello)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn send(&mut self, message: &HostMessage) {
        self.send_bytes(&encode(message).unwrap());
    }

    pub(crate) fn send_bytes(&mut self, bytes: &[u8]) {
        self.stdin.as_mut().expect("stdin is open").write_all(bytes).expect("the agent reads");
    }

    pub(crate) fn close_stdin(&mut self) {
        self.stdin = None;
    }

    /// The next message but heartbeats; `None` at the end of the stream. Pings meanwhile.
    pub(crate) fn next(&mut self) -> Option<AgentMessage> {
        for _ in 0..MOST_PINGS {
            match self.messages.recv_timeout(PING) {
                Ok(Ok(AgentMessage::Heartbeat)) | Err(RecvTimeoutError::Timeout) => {
                    if let Some(stdin) = &mut self.stdin {
                        // An agent that is gone is seen at the end of its stdout.
                        drop(stdin.write_all(&encode(&HostMessage::Ping).unwrap()));
                    }
                }
                Ok(Ok(message)) => return Some(message),
                Ok(Err(e)) => panic!("the agent's stdout carries something else: {e}"),
                Err(RecvTimeoutError::Disconnected) => return None,
            }
        }
        panic!("the agent has been silent for {MOST_PINGS} pings");
    }

    /// The next message but heartbeats, if there is one in time. Does not ping.
    pub(crate) fn try_next(&mut self, limit: Duration) -> Option<AgentMessage> {
        match self.messages.recv_timeout(limit) {
            Ok(Ok(AgentMessage::Heartbeat)) | Err(RecvTimeoutError::Timeout) => None,
            Ok(Ok(message)) => Some(message),
            Ok(Err(e)) => panic!("the agent's stdout carries something else: {e}"),
            Err(RecvTimeoutError::Disconnected) => panic!("the agent is gone"),
        }
    }

    /// Waits for a heartbeat; nothing else may come before it.
    pub(crate) fn next_heartbeat(&mut self) {
        match self.messages.recv_timeout(PING * MOST_PINGS) {
            Ok(Ok(AgentMessage::Heartbeat)) => {}
            other => panic!("a heartbeat was expected, not {other:?}"),
        }
    }

    /// The next event of the unit under way.
    pub(crate) fn next_event(&mut self) -> Event {
        match self.next() {
            Some(AgentMessage::Event { event, .. }) => event,
            other => panic!("an event was expected, not {other:?}"),
        }
    }

    /// Runs a unit and checks the stream against its final frame.
    pub(crate) fn run(&mut self, unit: &UnitSpec) -> Vec<Event> {
        self.send(&HostMessage::Run { unit: unit.clone() });
        self.unit_events(unit)
    }

    /// All events up to the final frame.
    pub(crate) fn unit_events(&mut self, of: &UnitSpec) -> Vec<Event> {
        let mut events = Vec::new();
        loop {
            match self.next() {
                Some(AgentMessage::Event { unit, seq, event }) => {
                    assert_eq!((unit, seq), (of.unit, events.len() as u64), "no gaps");
                    events.push(event);
                }
                Some(AgentMessage::UnitDone { unit, counts }) => {
                    assert_eq!((unit, counts), (of.unit, count(&events)));
                    return events;
                }
                other => panic!("an event was expected, not {other:?}"),
            }
        }
    }

    /// The reason why a request was not taken.
    pub(crate) fn refusal(&mut self) -> String {
        match self.next() {
            Some(AgentMessage::Refused { reason, .. }) => reason,
            other => panic!("a refusal was expected, not {other:?}"),
        }
    }

    /// Waits for its end, when it has been asked for one.
    pub(crate) fn wait(mut self) -> (ExitStatus, String) {
        while let Some(message) = self.next() {
            assert!(!matches!(message, AgentMessage::UnitDone { .. }), "a unit ended: {message:?}");
        }
        let status = self.child.wait().unwrap();
        (status, self.stderr.take().unwrap().join().unwrap())
    }

    /// Waits for its end without a word.
    pub(crate) fn wait_in_silence(self) -> (ExitStatus, String) {
        let limit = PING * MOST_PINGS;
        loop {
            match self.messages.recv_timeout(limit) {
                Ok(message) => drop(message.expect("only messages on stdout")),
                Err(RecvTimeoutError::Disconnected) => return self.wait(),
                Err(RecvTimeoutError::Timeout) => panic!("nothing for {limit:?}"),
            }
        }
    }

    /// Says goodbye and expects a good end.
    pub(crate) fn bye(mut self) {
        self.send(&HostMessage::Bye);
        let (status, log) = self.wait();
        assert!(status.success(), "{status} {log}");
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn count(events: &[Event]) -> Counts {
    let samples = |event: &Event| match event {
        Event::Samples { samples, .. } => samples.wall_ns.len() as u64,
        _ => 0,
    };
    let trials = events.iter().filter(|e| matches!(e, Event::TrialFinished { .. })).count() as u32;
    Counts { events: events.len() as u64, trials, samples: events.iter().map(samples).sum() }
}

/// How each trial ended, in the order of their ends.
pub(crate) fn outcomes(events: &[Event]) -> Vec<(u32, Outcome)> {
    let outcome = |event: &Event| match event {
        Event::TrialFinished { trial, outcome } => Some((*trial, outcome.clone())),
        _ => None,
    };
    events.iter().filter_map(outcome).collect()
}

/// A fake model with one f32 input `x` of 4 elements and one output, and `more` lines.
pub(crate) fn fake_model(dir: &Path, name: &str, more: &str) -> Artifact {
    let text = format!("bench-fake v1\ninput = x f32 1x4\noutput = y f32 1x2\n{more}\n");
    file(dir, name, text.as_bytes())
}

/// A file and its hash.
pub(crate) fn file(dir: &Path, name: &str, bytes: &[u8]) -> Artifact {
    let path: PathBuf = dir.join(name);
    fs::write(&path, bytes).unwrap();
    Artifact { path, sha256: Sha256Hex::of_bytes(bytes) }
}

/// f32 examples of 4 elements.
pub(crate) fn examples(dir: &Path, values: &[[f32; 4]]) -> Inputs {
    let bytes: Vec<u8> = values.iter().flatten().flat_map(|x| x.to_le_bytes()).collect();
    let file = file(dir, "examples.f32", &bytes);
    let shape = vec![values.len() as u64, 4];
    Inputs::Files { files: vec![TensorFile { file, dtype: DType::F32, shape }] }
}

/// A short performance trial of a fake model.
pub(crate) fn trial(model: Artifact) -> TrialSpec {
    let warm_up = WarmUp { min_iterations: 4, min_ms: 1, max_ms: 200, agree_permille: 500 };
    let rules = PerformanceRules { example: 0, warm_up, min_iterations: 24, min_ms: 1, max_ms: 20_000 };
    TrialSpec {
        runtime: "fake/cpu".parse().unwrap(),
        model,
        threads: 1,
        inputs: Inputs::Random { seed: 1, examples: 1 },
        mode: Mode::Performance(rules),
        deadline_ms: 60_000,
        slowdown_permille: None,
        library: None,
        options: std::collections::BTreeMap::new(),
    }
}

/// Trials one after the other.
pub(crate) fn alone(trials: Vec<TrialSpec>) -> UnitSpec {
    UnitSpec { unit: UnitId(7), seed: 42, schedule: protocol::Schedule::Alone, cool_down: None, trials }
}

/// Trials in turn.
pub(crate) fn ping_pong(trials: Vec<TrialSpec>) -> UnitSpec {
    let rules = PingPong { burst_min_iterations: 4, burst_min_ms: 1 };
    UnitSpec { schedule: protocol::Schedule::PingPong(rules), ..alone(trials) }
}
