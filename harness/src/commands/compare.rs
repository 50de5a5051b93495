//! `bench compare`: measure variants against each other, judge them, and write the reports.

use super::{
    block_on,
    run::{Measurable, MeasureArgs, listen, measure, tell_end},
};
use crate::{
    canaries,
    exit::{CommandResult, Exit, ExitWith, Failure},
    gate::{self, GateArgs, Rules},
    measure::Measured,
    progress::{Progress, say},
    render::{Concluded, Shown, render},
};
use std::path::Path;
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
    /// line that says so; `invalid` is incomplete (3). --gates brings other rules.
    #[arg(long)]
    gate: bool,
    #[command(flatten)]
    rules: GateArgs,
    #[command(flatten)]
    shown: Shown,
}

/// Two sides.
const LEAST: usize = 2;

/// Measures, judges, renders.
pub(crate) fn work(args: Args, config: Option<&Path>, quiet: bool) -> CommandResult {
    let rules = args.rules.rules_if(args.gate)?;
    judge(
        Command { name: format!("compare{}", args.rules.said(args.gate)), rules, shown: args.shown },
        args.measure.measurable(LEAST),
        config,
        quiet,
    )
}

/// How a command that measures and judges differs from the other one.
pub(crate) struct Command {
    /// What the user typed, as it is to be typed again to go on.
    pub(crate) name: String,
    /// The gate, if there is one.
    pub(crate) rules: Option<Rules>,
    /// What is printed.
    pub(crate) shown: Shown,
}

/// The whole of `compare` and of `gate`.
///
/// # Errors
/// Nothing could be measured or reported.
pub(crate) fn judge(command: Command, what: Measurable, config: Option<&Path>, quiet: bool) -> CommandResult {
    let mut progress = Progress::new(quiet);
    let measured = measure(what, config, &mut progress, LEAST)?;
    progress.clear();
    if !measured.any_units {
        // a table without a single number would only hide why
        return Ok(tell_end(&measured, &command.name));
    }
    let Concluded { record, verdicts } = block_on(reported(&measured, &command))?;
    progress.note(&format!("seal of the record: {}", record.seal));
    if record.finished.is_some()
        && let Some(out) = measured.dir.parent()
        && let Err(error) = canaries::keep(&record.plan, &verdicts.canaries, out)
    {
        say(&format!("what the canaries found is not written down for later runs: {error}"));
    }
    let end = tell_end(&measured, &command.name);
    let missing = verdicts.cases.iter().any(|case| case.failed > 0);
    let gated = command.rules.map_or(Exit::Fine, |rules| gate::tell(&verdicts, &record.plan, &rules));
    // a gate that failed has failed, whatever else is missing
    Ok(match (gated, end, missing) {
        (Exit::GateFailed, _, _) => Exit::GateFailed,
        (_, Exit::Fine, false) => gated,
        _ => Exit::Incomplete,
    })
}

/// Renders, unless the user has enough.
async fn reported(measured: &Measured, command: &Command) -> CommandResult<Concluded> {
    let mut interrupts = listen()?;
    let (dir, format) = (measured.dir.clone(), command.shown.format.clone());
    let next = match measured.ended.is_whole() {
        true => format!("everything is measured. To report it: bench report {}", dir.display()),
        false => {
            format!("what was measured is kept. To go on: bench {} --resume {}", command.name, dir.display())
        }
    };
    tokio::select! {
        done = spawn_blocking(move || render(&dir, &format)) => done.or_incomplete()?,
        () = interrupts.next() => Err(Failure {
            exit: Exit::Incomplete,
            error: anyhow::anyhow!("interrupted; {next}"),
        }),
    }
}
