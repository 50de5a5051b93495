//! `bench profile`: where a model's time goes, node by node, on one runtime beside another. Separate trials: no
//! latency comes from these.

use super::{
    block_on,
    export::write,
    run::{MeasureArgs, measure, tell_end},
};
use crate::{
    exit::{CommandResult, Exit, ExitWith, Failure},
    progress::{Progress, say},
    render::render,
};
use reports::render::format;
use std::path::Path;
use tokio::task::spawn_blocking;

/// Arguments.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    measure: MeasureArgs,
    /// What to print on stdout; trace.json in the run's folder is for Perfetto and chrome://tracing
    #[arg(long, value_name = "NAME", default_value = "profile", value_parser = ["profile", "ops-csv", "trace"])]
    format: String,
}

/// Profiles every variant on every runtime that opens it.
pub(crate) fn work(args: Args, config: Option<&Path>, quiet: bool) -> CommandResult {
    let mut progress = Progress::new(quiet);
    let mut what = args.measure.measurable(1);
    what.wanted.profiles_only = true;
    let measured = measure(what, config, &mut progress, 1)?;
    progress.clear();
    let end = tell_end(&measured, "profile");
    if !measured.any_units {
        return Ok(end);
    }
    let (dir, shown) = (measured.dir.clone(), args.format);
    let concluded =
        block_on(async move { spawn_blocking(move || render(&dir, &shown)).await.or_incomplete()? })?;
    let trace = format("trace").ok_or_else(|| Failure::usage("there is no format trace"))?;
    let path = measured.dir.join(trace.file);
    write(&concluded, trace, &path)?;
    progress.note(&path.display().to_string());
    let failed: Vec<&str> = concluded
        .record
        .units
        .iter()
        .flat_map(|unit| &unit.trials)
        .filter(|trial| trial.outcome != protocol::Outcome::Ok)
        .filter_map(|trial| concluded.record.plan.cases.get(trial.case))
        .map(|case| case.model_path.as_str())
        .collect();
    if failed.is_empty() {
        return Ok(end);
    }
    say(&format!("{} of the profiles failed", failed.len()));
    Ok(Exit::Incomplete)
}
