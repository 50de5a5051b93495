//! `bench spec`: one trial as the lines that the agent is told, to be piped into it by hand.

use super::block_on;
use crate::{
    exit::{CommandResult, Exit, ExitWith, Failure},
    libraries::Shelf,
    measure::random_seed,
    plan::{Feed, PROFILE_ITERATIONS, accuracy_deadline_ms, performance_deadline_ms},
    selection::{Selection, Wanted},
    settings::{Layer, Settings},
    stdout::print,
    transport::{Guarded, HostFile, Local},
};
use protocol::{
    Artifact, HostMessage, Inputs, Library, Mode, PROTOCOL_VERSION, RuntimeId, Schedule, TensorFile,
    TrialSpec, UnitId, UnitSpec, encode,
};
use std::{
    env::consts::ARCH,
    path::{Path, PathBuf},
};

/// Arguments.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Part of a variant's name; it must fit exactly one
    #[arg(value_name = "CASE")]
    case: String,
    /// Suite the variant belongs to
    #[arg(short, long, value_name = "NAME|PATH", default_value = "vision")]
    suite: String,
    /// What to do with the model
    #[arg(long, value_enum, default_value_t)]
    mode: ModeArg,
    #[command(flatten, next_help_heading = "Settings")]
    settings: Layer,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
enum ModeArg {
    /// Latency and memory
    #[default]
    Performance,
    /// Every example once
    Accuracy,
    /// Time per node
    Profile,
}

/// Prints a hello, one unit with one trial, and a goodbye.
pub(crate) fn work(args: Args, config: Option<&Path>) -> CommandResult {
    let settings = Settings::resolve(args.settings, config)?;
    let seed = settings.seed.unwrap_or_else(random_seed);
    let wanted = Wanted { suite: Some(args.suite), filter: vec![args.case.clone()], ..Wanted::default() };
    let selection = Selection::load(&wanted, &settings, seed)?;
    let entrant = match selection.entrants.as_slice() {
        [one] => one,
        several => {
            let exact = several.iter().find(|e| e.id.variant == args.case || e.id.to_string() == args.case);
            let names: Vec<String> = several.iter().map(|e| e.id.to_string()).collect();
            exact.ok_or_else(|| {
                Failure::usage(format!("{:?} fits several variants: {}", args.case, names.join(", ")))
            })?
        }
    };
    let inputs = block_on(inputs(&selection, &settings))?;
    let model = block_on(place(&settings, &entrant.file))?;
    let rules = selection.measure.performance();
    let performance_ms = performance_deadline_ms(&rules);
    let (mode, deadline_ms) = match args.mode {
        ModeArg::Performance => (Mode::Performance(rules), performance_ms),
        ModeArg::Accuracy => {
            (Mode::Accuracy, accuracy_deadline_ms(selection.dataset.examples, selection.budget))
        }
        ModeArg::Profile => (Mode::Profile { iterations: PROFILE_ITERATIONS }, performance_ms),
    };
    let asked = selection.runtimes.first().cloned().unwrap_or_else(RuntimeId::builtin);
    let library = block_on(library(&settings, &asked))?;
    let options = selection.options.get(&asked).cloned().unwrap_or_default();
    let runtime = RuntimeId { version: None, ..asked };
    let model = Artifact { path: model, sha256: entrant.file.sha256.clone() };
    let (threads, slowdown_permille) = (selection.threads, None);
    let trial =
        TrialSpec { runtime, library, options, model, threads, inputs, mode, deadline_ms, slowdown_permille };
    let unit =
        UnitSpec { unit: UnitId(0), seed, schedule: Schedule::Alone, cool_down: None, trials: vec![trial] };
    let mut lines = Vec::new();
    for message in
        [HostMessage::Hello { protocol: PROTOCOL_VERSION }, HostMessage::Run { unit }, HostMessage::Bye]
    {
        lines.extend(encode(&message).or_usage()?);
    }
    print(&String::from_utf8_lossy(&lines))?;
    Ok(Exit::Fine)
}

async fn inputs(selection: &Selection, settings: &Settings) -> CommandResult<Inputs> {
    let files = match &selection.feed {
        Feed::Random { seed, examples } => return Ok(Inputs::Random { seed: *seed, examples: *examples }),
        Feed::Files(files) => files,
    };
    let mut placed = Vec::new();
    for ((sha256, dtype, shape), file) in files.iter().zip(&selection.data) {
        let file = Artifact { path: place(settings, file).await?, sha256: sha256.clone() };
        placed.push(TensorFile { file, dtype: *dtype, shape: shape.clone() });
    }
    Ok(Inputs::Files { files: placed })
}

/// The library that this machine has for a runtime, where it needs one.
async fn library(settings: &Settings, asked: &RuntimeId) -> CommandResult<Option<Library>> {
    let libc = local(settings).probe().await.or_usage()?.libc;
    let shelf = Shelf::new(&settings.cache);
    let found = shelf.for_device(std::slice::from_ref(asked), ARCH, &libc).map_err(Failure::usage)?;
    let Some(provided) = found.provided.into_iter().next() else { return Ok(None) };
    let mut placed = Vec::new();
    for file in &provided.files {
        placed.push(Artifact { path: place(settings, file).await?, sha256: file.sha256.clone() });
    }
    let mut placed = placed.into_iter();
    let version = provided.library.version;
    Ok(placed.next().map(|file| Library { version, file, with: placed.collect() }))
}

fn local(settings: &Settings) -> Guarded {
    Guarded::new(Box::new(Local::new(settings.cache.clone(), PathBuf::new())))
}

/// Puts a file where an agent on this machine can read it.
async fn place(settings: &Settings, file: &HostFile) -> CommandResult<PathBuf> {
    Ok(local(settings).push(file, |_| ()).await.or_usage()?.path)
}
