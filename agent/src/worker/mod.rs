//! The worker: one trial in a fresh process. It takes commands over the descriptor it was started with on
//! stdin, and answers there. Knows nothing about other workers, schedules or hosts.
//!
//! Whatever a runtime prints goes to stderr; whatever it does to this process (a crash, a hang) is for the
//! supervisor to see and to name.

mod burst;
mod once;
mod performance;

use crate::{clock, memory::MemoryMeter, outputs::Stability, wire::Answer};
use crate::{failure::Failure, inputs, log, sys, wire};
use protocol::{
    Artifact, Event, FailKind, LineReader, MAX_LINE_BYTES, MemoryPhase, Mode, Observation, Observed,
    PingPong, TrialSpec, encode_into,
};
use runtimes::{CompileOptions, Model, Session, layers::Layers};
use rustix::{fd::AsFd, io::fcntl_dupfd_cloexec, process};
use serde::Serialize;
use std::{
    fs::{File, OpenOptions},
    io::{BufReader, Write},
    path::PathBuf,
    process::ExitCode,
};

/// Bytes of the buffer that answers are written into; a full burst takes about half of it. Touched before
/// the first memory reading, so that no phase pays for it.
const ANSWER_BYTES: usize = 512 << 10;

/// Longest answer: with the supervisor's envelope around it, it must still fit a line.
const MAX_ANSWER_BYTES: usize = MAX_LINE_BYTES - 1024;

/// Entry: `parent` is the process id of the supervisor.
pub(crate) fn main(parent: Option<i32>) -> ExitCode {
    match start(parent) {
        Ok(link) => serve(link),
        Err(e) => {
            log::line(format_args!("worker could not start: {e}"));
            ExitCode::from(2)
        }
    }
}

/// Makes this process a worker: it dies with its supervisor, keeps the descriptor pair to itself, and turns
/// a panic into a signal.
fn start(parent: Option<i32>) -> std::io::Result<File> {
    process::set_parent_process_death_signal(Some(process::Signal::KILL))?;
    // The supervisor may have died before the line above.
    let real = process::getppid().map(process::Pid::as_raw_pid);
    if parent.is_none() || real != parent {
        return Err(std::io::Error::other("workers are started by a supervisor only"));
    }
    let link = File::from(fcntl_dupfd_cloexec(std::io::stdin().as_fd(), 3)?);
    rustix::stdio::dup2_stdin(OpenOptions::new().read(true).open("/dev/null")?)?;
    sys::unblock_signals()?;
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        usual(info);
        std::process::abort();
    }));
    Ok(link)
}

fn serve(link: File) -> ExitCode {
    let mut out = match link.try_clone() {
        Ok(out) => Link { out, line: vec![1; ANSWER_BYTES] },
        Err(e) => {
            log::line(format_args!("worker could not start: {e}"));
            return ExitCode::from(2);
        }
    };
    let mut commands = LineReader::new(BufReader::new(link));
    let mut trial: Option<Trial> = None;
    loop {
        let command = match commands.next_message::<wire::Command>() {
            Ok(Some(command)) => command,
            Ok(None) => return ExitCode::SUCCESS,
            Err(e) => {
                log::line(format_args!("worker lost its supervisor: {e}"));
                return ExitCode::from(2);
            }
        };
        let answer: Answer = match obey(&mut trial, command, &mut out) {
            Ok(()) => Answer::Ready,
            Err(Failure { kind, message }) => Answer::Failed { kind, message },
        };
        let failed = matches!(answer, Answer::Failed { .. });
        if out.send(&answer).is_err() || failed {
            return ExitCode::SUCCESS;
        }
    }
}

fn obey(trial: &mut Option<Trial>, command: wire::Command, out: &mut Link) -> Result<(), Failure> {
    use wire::Command;
    let command = match command {
        Command::Load { trial: number, spec, bursts, dir, emulated } => {
            *trial = Some(Trial::load(number, *spec, bursts, dir, emulated, out)?);
            return Ok(());
        }
        Command::Inspect { model, run } => return inspect(&model, run.as_ref(), out),
        other => other,
    };
    let trial = trial.as_mut().ok_or_else(|| Failure::new(FailKind::Runtime, "no model is loaded"))?;
    match command {
        Command::Load { .. } | Command::Inspect { .. } => Ok(()),
        Command::First => trial.first(out),
        Command::WarmUp => trial.warm_up(out),
        Command::Steady => trial.steady(out),
        Command::Burst { block, burst } => trial.burst_in_turn(block, burst, out),
        Command::Finish => trial.finish(out),
        Command::Accuracy => trial.accuracy(out),
        Command::Profile => trial.profile(out),
    }
}

/// Asks the runtimes, the first of the list first, what a file holds, and that one what becomes of every tensor.
fn inspect(model: &Artifact, run: Option<&Observation>, out: &mut Link) -> Result<(), Failure> {
    inputs::open_verified(model)?;
    let mut first_error = None;
    for runtime in runtimes::RUNTIMES {
        if runtime.library().is_some() {
            continue;
        }
        let opened = runtime.load(None).and_then(|r| r.open(&model.path));
        match opened.and_then(|opened| Ok((opened.facts()?, opened))) {
            Ok((mut facts, opened)) => {
                if let Some(run) = run {
                    facts.observed = Some(observe(&*opened, run)?);
                }
                return out.send(&Answer::<Event>::Inspected { model: Box::new(facts) });
            }
            Err(e) => drop(first_error.get_or_insert(e)),
        }
    }
    Err(first_error
        .map_or_else(|| Failure::new(FailKind::RuntimeMissing, "no runtime in this build"), Into::into))
}

/// Runs a model with every tensor in view.
fn observe(model: &dyn Model, run: &Observation) -> Result<Observed, Failure> {
    let mut source = inputs::Source::open(&run.inputs)?;
    let mut options = Layers::options();
    options.input_shapes = source.shapes(&model.inputs()?)?;
    let mut session = model.compile(&options)?;
    let mut layers = Layers::default();
    for example in 0..run.examples {
        source.feed(&mut *session, example)?;
        layers.invoke(&mut *session)?;
    }
    Ok(layers.observed())
}

/// The way back to the supervisor.
struct Link {
    out: File,
    line: Vec<u8>,
}

impl Link {
    fn event(&mut self, event: &Event) -> Result<(), Failure> {
        self.send(&Answer::Event { event })
    }

    /// Reuses one buffer: nothing is allocated that a memory reading could see.
    fn send<E: Serialize>(&mut self, answer: &Answer<E>) -> Result<(), Failure> {
        self.line.clear();
        encode_into(answer, MAX_ANSWER_BYTES, &mut self.line)
            .map_err(|e| Failure::new(FailKind::Unsupported, format!("the answer cannot be sent: {e}")))?;
        self.out
            .write_all(&self.line)
            .map_err(|e| Failure::new(FailKind::Io, format!("supervisor lost: {e}")))
    }
}

/// A loaded model with all that is needed to measure it.
struct Trial {
    number: u32,
    spec: TrialSpec,
    dir: PathBuf,
    session: Box<dyn Session>,
    source: inputs::Source,
    memory: MemoryMeter,
    timing: burst::Timing,
    stability: Stability,
}

impl Trial {
    /// Opens and compiles the model; says what was loaded and how long it took.
    fn load(
        number: u32,
        spec: TrialSpec,
        bursts: PingPong,
        dir: PathBuf,
        emulated: bool,
        out: &mut Link,
    ) -> Result<Self, Failure> {
        let timing = burst::Timing::new(spec.threads, bursts, spec.slowdown_permille.unwrap_or(0));
        let mut memory = MemoryMeter::new(emulated);
        memory.begin();
        let bare = memory.read(MemoryPhase::Bare);

        inputs::open_verified(&spec.model)?;
        let source = inputs::Source::open(&spec.inputs)?;
        for library in spec.library.iter().flat_map(|all| std::iter::once(&all.file).chain(&all.with)) {
            inputs::open_verified(library)?;
        }

        memory.begin();
        let known = runtimes::runtime(&spec.runtime.runtime)?;
        let runtime = known.load(spec.library.as_ref())?;
        let runtime_loaded = memory.read(MemoryPhase::RuntimeLoaded);

        memory.begin();
        let begin = clock::monotonic_ns();
        let model = runtime.open(&spec.model.path)?;
        let load_ns = clock::monotonic_ns() - begin;
        // A runtime that cannot tell takes the shapes of the file.
        let input_shapes = match model.inputs() {
            Ok(inputs) => source.shapes(&inputs)?,
            Err(_) => None,
        };
        let mut options = CompileOptions::new(&spec.runtime.backend);
        options.threads = spec.threads;
        options.input_shapes = input_shapes;
        options.profile = matches!(spec.mode, Mode::Profile { .. });
        options.options = spec.options.clone();
        let begin = clock::monotonic_ns();
        let session = model.compile(&options)?;
        let compile_ns = clock::monotonic_ns() - begin;
        let model_loaded = memory.read(MemoryPhase::ModelLoaded);
        drop(model);

        let mut proof = session.proof().clone();
        if proof.runtime_version.is_empty() {
            let told = || spec.library.as_ref().map(|library| library.version.clone());
            proof.runtime_version =
                runtime.version().or_else(told).unwrap_or_else(|| known.version().to_owned());
        }
        let inputs = checked(session.inputs())?;
        let outputs = checked(session.outputs())?;
        out.event(&Event::Loaded {
            trial: number,
            model_sha256: spec.model.sha256.clone(),
            input_sha256: source.hashes(),
            load_ns,
            compile_ns,
            inputs,
            outputs,
            proof,
        })?;
        for reading in [bare, runtime_loaded, model_loaded] {
            out.event(&Event::Memory { trial: number, reading })?;
        }
        let stability = Stability::default();
        Ok(Self { number, spec, dir, session, source, memory, timing, stability })
    }
}

/// Descriptions that survive the wire: JSON has no NaN.
fn checked(infos: &[protocol::TensorInfo]) -> Result<Vec<protocol::TensorInfo>, Failure> {
    let bad = infos.iter().find(|info| {
        info.quantization.as_ref().is_some_and(|q| q.scale.iter().any(|scale| !scale.is_finite()))
    });
    match bad {
        None => Ok(infos.to_vec()),
        Some(info) => {
            let message = format!("tensor {:?} has a quantisation scale that is not a number", info.name);
            Err(Failure::new(FailKind::ModelInvalid, message))
        }
    }
}
