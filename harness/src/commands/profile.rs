//! `bench profile`: where a model's time goes, node by node, on one runtime beside another. Separate trials: no
//! latency comes from these.

use super::{
    block_on,
    run::{MeasureArgs, measure, tell_end},
};
use crate::{
    exit::{CommandResult, Exit, ExitWith},
    progress::{Progress, say},
    render::render,
};
use std::path::Path;
use tokio::task::spawn_blocking;

/// Arguments.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    measure: MeasureArgs,
    /// What to print on stdout; trace.json in the run's folder opens in Perfetto and chrome://tracing
    #[arg(long, value_name = "NAME", default_value = "profile", value_parser = ["profile", "json", "ops"])]
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
    let (dir, format) = (measured.dir.clone(), args.format);
    let concluded =
        block_on(async move { spawn_blocking(move || render(&dir, &format)).await.or_incomplete()? })?;
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
