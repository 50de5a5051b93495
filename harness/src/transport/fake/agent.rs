//! The agent of the pretended device: speaks the protocol as the real one does, with made-up numbers.

use super::script::{FaultKind, Script};
use crate::transport::ProcessEnd;
use protocol::{
    AgentInfo, AgentMessage, BackendProof, Core, Counts, DType, DeviceInfo, DeviceState, Event, Format,
    HostMessage, LineBuffer, MemoryPhase, MemoryReading, Mode, ModelFacts, Moment, Outcome, PING_INTERVAL_MS,
    PROTOCOL_VERSION, PeakMethod, Rng, RuntimeInfo, SamplePhase, Samples, Sha256Hex, TensorInfo, TrialSpec,
    UnitId, UnitOrder, UnitSpec, encode,
};
use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream},
    time,
};

/// Blocks of a performance unit.
const BLOCKS: u32 = 5;
/// Iterations of a burst.
const BURST: usize = 8;
/// Elements of every model's only output.
const CLASSES: u64 = 10;

/// The pretended agent.
pub(super) struct FakeAgent {
    /// Where the outputs of its last trial lie.
    pub(super) outputs: PathBuf,
    pub(super) script: Arc<Script>,
    pub(super) units: Arc<AtomicU32>,
    pub(super) stdout: DuplexStream,
    pub(super) stderr: DuplexStream,
}

/// Why the agent ends before its stdin does.
enum Quit {
    Exit(i32),
    Killed,
}

impl From<io::Error> for Quit {
    fn from(_: io::Error) -> Self {
        // the host closed its end
        Self::Exit(0)
    }
}

type Go = Result<(), Quit>;

impl FakeAgent {
    /// Answers until its stdin ends.
    pub(super) async fn live(mut self, stdin: DuplexStream) -> ProcessEnd {
        match self.serve(stdin).await {
            Ok(()) => ProcessEnd::Exited(0),
            Err(Quit::Exit(code)) => ProcessEnd::Exited(code),
            Err(Quit::Killed) => ProcessEnd::Signalled(9),
        }
    }

    async fn serve(&mut self, mut stdin: DuplexStream) -> Go {
        let mut inbox = Inbox { lines: LineBuffer::default(), chunk: vec![0; 64 * 1024] };
        while let Some(message) = inbox.next(&mut stdin).await? {
            match message {
                HostMessage::Hello { .. } => self.greet().await?,
                HostMessage::Inspect { model, run: _ } => {
                    let next = self.units.load(Ordering::Relaxed);
                    if self.script.on_unit(next) == Some(FaultKind::LostInspecting) {
                        return Err(Quit::Killed);
                    }
                    let model = self.facts(model.sha256.as_str(), &model.path);
                    self.say(&AgentMessage::Inspected { model }).await?;
                }
                HostMessage::Run { unit } => self.run(&unit, &mut inbox, &mut stdin).await?,
                HostMessage::Cancel | HostMessage::Ping => {}
                HostMessage::Bye => return Ok(()),
            }
        }
        Ok(())
    }

    async fn say(&mut self, message: &AgentMessage) -> Go {
        let line = encode(message).map_err(|_| Quit::Exit(70))?;
        self.stdout.write_all(&line).await?;
        Ok(())
    }

    async fn greet(&mut self) -> Go {
        let wrong = self.script.on_unit(self.units.load(Ordering::Relaxed)) == Some(FaultKind::WrongVersion);
        let runtime = RuntimeInfo {
            runtime: "fake".to_owned(),
            version: "1".to_owned(),
            backends: vec!["cpu".to_owned()],
            formats: Vec::new(),
            library: None,
            pretends: true,
        };
        self.say(&AgentMessage::Hello {
            protocol: PROTOCOL_VERSION + u32::from(wrong),
            agent: AgentInfo { version: "1".to_owned(), sha256: Sha256Hex::of_bytes(b"fake"), pid: 1 },
            device: DeviceInfo {
                hostname: "fake".to_owned(),
                cpu: "imagined".to_owned(),
                os: "none".to_owned(),
                arch: "fake".to_owned(),
                cores: vec![Core { id: 0, max_khz: None }],
                memory_bytes: 4 << 30,
                page_bytes: 4096,
                ..DeviceInfo::default()
            },
            runtimes: vec![RuntimeInfo { runtime: "builtin".to_owned(), ..runtime.clone() }, runtime],
        })
        .await
    }

    fn facts(&self, sha256: &str, path: &Path) -> ModelFacts {
        let bytes = fs::read(path).unwrap_or_default();
        let format = if bytes.get(4..8) == Some(b"TFL3") { Format::Tflite } else { Format::Onnx };
        let (inputs, outputs) = tensors();
        ModelFacts {
            format,
            producer: "imagined".to_owned(),
            file_bytes: bytes.len() as u64,
            precision: self.script.model(sha256).precision,
            parameters: 0,
            weights: Vec::new(),
            inputs,
            outputs,
            ops: Vec::new(),
            observed: None,
        }
    }

    async fn run(&mut self, unit: &UnitSpec, inbox: &mut Inbox, stdin: &mut DuplexStream) -> Go {
        let fault = self.script.on_unit(self.units.fetch_add(1, Ordering::Relaxed));
        let mut events = self.imagine(unit).map_err(|_| Quit::Exit(74))?;
        let counts = count(&events);
        if fault == Some(FaultKind::Refuse) {
            let reason = "the script says so".to_owned();
            return self.say(&AgentMessage::Refused { reason, unit: Some(unit.unit) }).await;
        }
        let middle = events.len() / 2;
        let rest = if fault.is_some() { events.split_off(middle) } else { Vec::new() };
        let told = count(&events);
        let mut seq = 0;
        self.tell(unit.unit, &mut seq, events).await?;
        match fault {
            Some(FaultKind::Lost) => {
                self.stderr.write_all(b"out of luck\n").await?;
                return Err(Quit::Killed);
            }
            Some(FaultKind::Garbage) => self.stdout.write_all(b"INFO: hello from a library\n").await?,
            Some(FaultKind::Endless) => loop {
                self.stdout.write_all(&[b'x'; 4096]).await?;
            },
            Some(FaultKind::Silent) => return std::future::pending().await,
            Some(FaultKind::Hang) => return self.hang(unit.unit, told, inbox, stdin).await,
            Some(FaultKind::Gap) => seq += 1,
            _ => {}
        }
        self.tell(unit.unit, &mut seq, rest).await?;
        if fault == Some(FaultKind::WrongHash) {
            self.damage_outputs()?;
        }
        let wrong = u64::from(fault == Some(FaultKind::WrongCounts));
        let counts = Counts { samples: counts.samples + wrong, ..counts };
        self.say(&AgentMessage::UnitDone { unit: unit.unit, counts }).await
    }

    async fn tell(&mut self, unit: UnitId, seq: &mut u64, events: Vec<Event>) -> Go {
        for event in events {
            self.say(&AgentMessage::Event { unit, seq: *seq, event }).await?;
            *seq += 1;
        }
        Ok(())
    }

    /// Beats until it is cancelled.
    async fn hang(
        &mut self,
        unit: UnitId,
        counts: Counts,
        inbox: &mut Inbox,
        stdin: &mut DuplexStream,
    ) -> Go {
        let mut beat = time::interval(Duration::from_millis(PING_INTERVAL_MS));
        loop {
            tokio::select! {
                _ = beat.tick() => self.say(&AgentMessage::Heartbeat).await?,
                message = inbox.next(stdin) => match message? {
                    Some(HostMessage::Cancel) => break,
                    Some(_) => {}
                    None => return Ok(()),
                },
            }
        }
        self.say(&AgentMessage::UnitDone { unit, counts }).await
    }

    fn damage_outputs(&self) -> io::Result<()> {
        fs::write(&self.outputs, b"damaged")
    }

    /// All events of a unit.
    fn imagine(&self, unit: &UnitSpec) -> io::Result<Vec<Event>> {
        let mut events = vec![Event::DeviceState { moment: Moment::Before, state: DeviceState::default() }];
        let trials: Vec<(u32, &TrialSpec)> = (0u32..).zip(&unit.trials).collect();
        for (trial, spec) in &trials {
            let model = self.script.model(spec.model.sha256.as_str());
            events.push(Event::TrialStarted { trial: *trial, pid: 2 });
            if model.outcome.is_none() {
                events.extend(begin(*trial, spec, model.latency_ns));
            }
            if spec.mode == Mode::Accuracy && model.outcome.is_none() {
                events.extend(self.accuracy(*trial, spec)?);
            }
        }
        if unit.trials.iter().all(|trial| matches!(trial.mode, Mode::Performance(_))) {
            self.ping_pong(unit, &mut events);
        }
        for (trial, spec) in &trials {
            let outcome = self.script.model(spec.model.sha256.as_str()).outcome.unwrap_or(Outcome::Ok);
            events.push(Event::TrialFinished { trial: *trial, outcome });
        }
        events.push(Event::DeviceState { moment: Moment::After, state: DeviceState::default() });
        Ok(events)
    }

    fn accuracy(&self, trial: u32, spec: &TrialSpec) -> io::Result<[Event; 2]> {
        let examples = spec.inputs.examples().map_err(io::Error::other)?;
        let values = (0..examples * CLASSES).map(|i| ((i * 7919) % 1000) as f32 / 1000.0);
        let bytes: Vec<u8> = values.flat_map(f32::to_le_bytes).collect();
        let digest = |bytes: &[u8]| Sha256Hex::of_bytes(bytes).as_str().chars().take(16).collect();
        let digests = bytes.chunks(CLASSES as usize * 4).map(digest).collect();
        let path = self.outputs.clone();
        fs::write(&path, &bytes)?;
        let sha256 = Sha256Hex::of_bytes(&bytes);
        Ok([
            Event::OutputDigests { trial, first: 0, digests },
            Event::Outputs { trial, path, sha256, examples, elements: vec![CLASSES] },
        ])
    }

    fn ping_pong(&self, unit: &UnitSpec, events: &mut Vec<Event>) {
        let mut order = UnitOrder::new(unit.seed, unit.trials.len() as u32);
        let mut noise = Rng::for_stream(unit.seed, &[u64::from(unit.unit.0)]);
        let mut clock = 0;
        for block in 0..BLOCKS {
            for (burst, trial) in (0u32..).zip(order.next_block()) {
                let Some(spec) = unit.trials.get(trial as usize) else { continue };
                let model = self.script.model(spec.model.sha256.as_str());
                if model.outcome.is_some() {
                    continue;
                }
                let slowed = 1.0 + f64::from(spec.slowdown_permille.unwrap_or(0)) / 1000.0;
                let mut sample = || {
                    let factor = slowed + 0.01 * f64::from(noise.unit_f32());
                    (model.latency_ns as f64 * factor) as u64
                };
                for (phase, n) in [(SamplePhase::Switch, 1), (SamplePhase::Steady, BURST)] {
                    let wall_ns: Vec<u64> = (0..n).map(|_| sample()).collect();
                    let start_ns = clock;
                    clock += wall_ns.iter().sum::<u64>();
                    let cpu_ns = wall_ns.clone();
                    let (batch, involuntary_switches, core, khz) = (1, 0, None, None);
                    let samples = Samples {
                        phase,
                        block,
                        burst,
                        start_ns,
                        batch,
                        wall_ns,
                        cpu_ns,
                        involuntary_switches,
                        core,
                        khz,
                    };
                    events.push(Event::Samples { trial, samples });
                }
            }
        }
    }
}

fn begin(trial: u32, spec: &TrialSpec, latency_ns: u64) -> [Event; 3] {
    let (inputs, outputs) = tensors();
    let input_sha256 = match &spec.inputs {
        protocol::Inputs::Files { files } => files.iter().map(|f| f.file.sha256.clone()).collect(),
        protocol::Inputs::Random { .. } => Vec::new(),
    };
    let proof = BackendProof {
        runtime_version: "1".to_owned(),
        nodes_total: 1,
        nodes_on_backend: 1,
        ..BackendProof::default()
    };
    let reading = MemoryReading {
        phase: MemoryPhase::Steady,
        peak_bytes: Some(10 << 20),
        peak_method: Some(PeakMethod::VmHwmReset),
        rss_anon_bytes: None,
        rss_file_bytes: None,
        pss_bytes: None,
        private_dirty_bytes: None,
        swap_bytes: None,
        arena_peak_bytes: None,
    };
    [
        Event::Loaded {
            trial,
            model_sha256: spec.model.sha256.clone(),
            input_sha256,
            load_ns: latency_ns,
            compile_ns: latency_ns,
            inputs,
            outputs,
            proof,
        },
        Event::FirstInference { trial, wall_ns: 2 * latency_ns },
        Event::Memory { trial, reading },
    ]
}

fn tensors() -> (Vec<TensorInfo>, Vec<TensorInfo>) {
    let tensor = |name: &str, shape: Vec<u64>| TensorInfo {
        name: name.to_owned(),
        dtype: DType::F32,
        shape: shape.into_iter().map(Some).collect(),
        quantization: None,
    };
    (vec![tensor("input", vec![1, 28, 28, 1])], vec![tensor("scores", vec![1, CLASSES])])
}

fn count(events: &[Event]) -> Counts {
    let mut counts = Counts { events: events.len() as u64, ..Counts::default() };
    for event in events {
        match event {
            Event::TrialFinished { .. } => counts.trials += 1,
            Event::Samples { samples, .. } => counts.samples += samples.wall_ns.len() as u64,
            _ => {}
        }
    }
    counts
}

struct Inbox {
    lines: LineBuffer,
    chunk: Vec<u8>,
}

impl Inbox {
    async fn next(&mut self, stdin: &mut DuplexStream) -> Result<Option<HostMessage>, Quit> {
        loop {
            if let Some(message) = self.lines.next_message().map_err(|_| Quit::Exit(65))? {
                return Ok(Some(message));
            }
            let n = stdin.read(&mut self.chunk).await?;
            if n == 0 {
                return Ok(None);
            }
            self.lines.extend(self.chunk.get(..n).unwrap_or_default());
        }
    }
}
