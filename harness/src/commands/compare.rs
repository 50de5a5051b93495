//! `bench compare`: measure variants against each other, judge them, and write the reports.

use super::{
    block_on,
    run::{MeasureArgs, listen, measure, tell_end},
};
use crate::{
    exit::{CommandResult, Exit, ExitWith, Failure},
    gate,
    progress::Progress,
    render::{Concluded, Shown, render},
};
use std::path::{Path, PathBuf};
use tokio::task::spawn_blocking;

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
    #[command(flatten)]
    shown: Shown,
}

/// Two sides.
const LEAST: usize = 2;

/// Measures, judges, renders.
pub(crate) fn work(args: Args, config: Option<&Path>, quiet: bool) -> CommandResult {
    let mut progress = Progress::new(quiet);
    let measured = measure(args.measure, config, &mut progress, LEAST)?;
    progress.clear();
    if !measured.any_units {
        // a table without a single number would only hide why
        return Ok(tell_end(&measured, "compare"));
    }
    let concluded = block_on(reported(measured.dir.clone(), args.shown.format))?;
    let end = tell_end(&measured, "compare");
    let missing = concluded.verdicts.cases.iter().any(|case| case.failed > 0);
    let gated = if args.gate { gate::tell(&concluded.verdicts, &concluded.record.plan) } else { Exit::Fine };
    // a gate that failed has failed, whatever else is missing
    Ok(match (gated, end, missing) {
        (Exit::GateFailed, _, _) => Exit::GateFailed,
        (_, Exit::Fine, false) => gated,
        _ => Exit::Incomplete,
    })
}

/// Renders, unless the user has enough.
async fn reported(dir: PathBuf, format: String) -> CommandResult<Concluded> {
    let mut interrupts = listen()?;
    let shown = dir.display().to_string();
    tokio::select! {
        done = spawn_blocking(move || render(&dir, &format)) => done.or_incomplete()?,
        () = interrupts.next() => Err(Failure {
            exit: Exit::Incomplete,
            error: anyhow::anyhow!("interrupted; everything is measured. To report it: bench report {shown}"),
        }),
    }
}
