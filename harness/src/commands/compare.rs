//! `bench compare`: measure variants against each other, judge them, and write the reports.

use super::run::{MeasureArgs, measure, tell_end};
use crate::{
    exit::{CommandResult, Exit},
    gate,
    progress::Progress,
    render::{DEFAULT_FORMAT, format_names, render},
};
use std::path::Path;

/// Arguments.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    measure: MeasureArgs,
    /// For CI: end with 1 when a variant is worse than the reference in latency, memory, size or accuracy
    ///
    /// Without it the exit code says whether everything could be measured: a variant that trades accuracy for
    /// speed is an answer, not a failure. Verdicts against the reference count; `inconclusive` passes, with a
    /// line that says so; `invalid` is incomplete (3).
    #[arg(long)]
    gate: bool,
    /// What to print on stdout; the files are written in any case
    #[arg(long, value_name = "NAME", default_value = DEFAULT_FORMAT, value_parser = format_names(), hide_possible_values = true)]
    format: String,
}

/// Two sides.
const LEAST: usize = 2;

/// Measures, judges, renders.
pub(crate) fn work(args: Args, config: Option<&Path>, quiet: bool) -> CommandResult {
    let mut progress = Progress::new(quiet);
    let measured = measure(args.measure, config, &mut progress, LEAST)?;
    progress.clear();
    let concluded = render(&measured.dir, &args.format)?;
    let end = tell_end(&measured, &progress, "compare");
    let missing = concluded.verdicts.cases.iter().any(|case| case.failed > 0);
    let gated = if args.gate { gate::tell(&concluded.verdicts, &concluded.record.plan) } else { Exit::Fine };
    // a gate that failed has failed, whatever else is missing
    Ok(match (gated, end, missing) {
        (Exit::GateFailed, _, _) => Exit::GateFailed,
        (_, Exit::Fine, false) => gated,
        _ => Exit::Incomplete,
    })
}
