//! `bench run`: measure and keep the record, without judging; and the way both `run` and `compare` measure.

use super::block_on;
use crate::{
    dispatch::Ended,
    exit::{CommandResult, Exit, ExitWith, Failure},
    interrupt::Interrupts,
    libraries::Shelf,
    measure::{self, Measured, random_seed},
    progress::{Progress, say},
    runs,
    selection::{self, Selection, Wanted},
    settings::{Layer, Settings},
    stdout::print,
};
use anyhow::Context;
use protocol::Outcome;
use reports::{outcome_words, store, visible};
use std::path::{Path, PathBuf};

/// What `run` and `compare` have in common.
#[derive(Debug, clap::Args)]
pub(crate) struct MeasureArgs {
    /// Model files, .tflite or .onnx; the first is the reference
    #[arg(value_name = "MODEL", conflicts_with = "suite")]
    models: Vec<PathBuf>,
    /// Suite to measure: a name from `bench suites`, or the path of a .toml file
    #[arg(short, long, value_name = "NAME|PATH")]
    suite: Option<String>,
    /// Data for the models: an .npz, .npy or .csv file, or a suite whose data is taken [default: random]
    #[arg(long, value_name = "FILE|SUITE", requires = "models")]
    data: Option<String>,
    /// Only variants with this in their name; may be repeated
    #[arg(long, value_name = "PART", value_delimiter = ',')]
    filter: Vec<String>,
    /// Go on with a run that was cut off, as it was planned: its folder, its name, or `latest`; of the settings only
    /// those count that tell where things are
    #[arg(long, value_name = "RUN", conflicts_with_all = ["models", "suite", "filter"])]
    resume: Option<String>,
    #[command(flatten, next_help_heading = "Settings")]
    settings: Layer,
}

/// Something to measure, or to go on with.
pub(crate) struct Measurable {
    /// What.
    pub(crate) wanted: Wanted,
    /// A run that was cut off, instead.
    pub(crate) resume: Option<String>,
    /// With these settings.
    pub(crate) settings: Layer,
}

impl MeasureArgs {
    /// `least`: so many variants are needed.
    pub(crate) fn measurable(self, least: usize) -> Measurable {
        let wanted = Wanted {
            suite: self.suite,
            models: self.models,
            data: self.data,
            filter: self.filter,
            keep_reference: least > 1,
            versions: None,
            selftest: None,
            profiles_only: false,
        };
        Measurable { wanted, resume: self.resume, settings: self.settings }
    }
}

/// Arguments.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    measure: MeasureArgs,
}

/// Measures; the run's folder goes to stdout.
pub(crate) fn work(args: Args, config: Option<&Path>, quiet: bool) -> CommandResult {
    let mut progress = Progress::new(quiet);
    let least = 1;
    let measured = measure(args.measure.measurable(least), config, &mut progress, least)?;
    print(&format!("{}\n", measured.dir.display()))?;
    progress.note("to judge it: bench report RUN");
    let end = tell_end(&measured, "run");
    let without = without_result(&measured.dir)?;
    without.iter().for_each(|why| say(&format!("error: no result of {why}")));
    Ok(if without.is_empty() { end } else { Exit::Incomplete })
}

/// Variants of which no trial ended well, each with why.
fn without_result(dir: &Path) -> CommandResult<Vec<String>> {
    let record = store::load(dir).or_incomplete()?;
    let trials = || record.units.iter().flat_map(|unit| &unit.trials);
    let mut found = Vec::new();
    for (index, case) in record.plan.variants().iter().enumerate() {
        let mut of_case = trials().filter(|trial| trial.case == index).peekable();
        let first = of_case.peek().map(|trial| outcome_words(&trial.outcome));
        if let Some(why) = first.filter(|_| of_case.all(|trial| trial.outcome != Outcome::Ok)) {
            let variant = visible(&case.variant.variant);
            found.push(format!("{variant} on {}: {}", case.runtime, visible(&why)));
        }
    }
    Ok(found)
}

/// Measures what was asked for. `least`: so many variants are needed.
///
/// # Errors
/// Nothing could be measured; what was measured before a failure is kept, and is no error.
pub(crate) fn measure(
    what: Measurable,
    config: Option<&Path>,
    progress: &mut Progress,
    least: usize,
) -> CommandResult<Measured> {
    let settings = Settings::resolve(what.settings, config)?;
    if let Some(run) = &what.resume {
        return resume(run, &settings, progress);
    }
    let seed = settings.seed.unwrap_or_else(random_seed);
    let selection = Selection::load(&what.wanted, &settings, seed)?;
    // which runtimes there are is known when the devices have answered
    let is_open = selection.runtimes.is_empty() && !Shelf::new(&settings.cache).entries().0.is_empty();
    if selection.entrants.len() * selection.runtimes.len().max(1) < least && !is_open {
        return Err(Failure::usage(
            "a comparison needs two variants, or one on two runtimes; `bench run` measures one alone",
        ));
    }
    progress.note(&visible(&selection.suite.title));
    // what is left out must be known, however little a person wants to hear
    selection.notes.iter().for_each(|note| say(note));
    progress.note(&format!("seed {seed}"));
    block_on(async {
        let interrupts = listen()?;
        measure::start(&selection, &settings, seed, progress, interrupts).await
    })
}

/// Hears Ctrl-C from now on.
///
/// # Errors
/// The system refuses.
pub(crate) fn listen() -> CommandResult<Interrupts> {
    Interrupts::listen().context("signals cannot be heard").or_incomplete()
}

fn resume(run: &str, settings: &Settings, progress: &mut Progress) -> CommandResult<Measured> {
    let dir = runs::find(run, &settings.out)?;
    let plan = store::load_plan(&dir).or_usage()?;
    let record = store::load(&dir).or_usage()?;
    if let Some(reason) = &record.finished {
        progress.note(&format!(
            "the run {} has come to its end ({reason}): nothing is left to measure",
            plan.run
        ));
        return Ok(Measured {
            dir,
            any_units: !record.units.is_empty(),
            ended: Ended::default(),
            devices: Vec::new(),
        });
    }
    let selection = selection::again(&plan, settings)?;
    progress.note(&format!("going on with {} after {} units", plan.run, record.units.len()));
    block_on(async {
        let interrupts = listen()?;
        measure::resume(&dir, &selection, settings, progress, interrupts).await
    })
}

/// Says how measuring ended, and what to do when it did not end well.
pub(crate) fn tell_end(measured: &Measured, command: &str) -> Exit {
    let ended = &measured.ended;
    if let Some(why) = &ended.record_failed {
        say(&format!("error: {why}"));
    }
    for (device, reason) in &ended.lost {
        let id = measured.devices.get(*device).map_or("a device", String::as_str);
        say(&format!("error: {id} was given up: {reason}"));
    }
    if ended.is_whole() {
        return Exit::Fine;
    }
    let again = format!("bench {command} --resume {}", measured.dir.display());
    let what = if ended.interrupted { "interrupted" } else { "incomplete" };
    say(&format!("{what}; what was measured is kept. To go on: {again}"));
    Exit::Incomplete
}
