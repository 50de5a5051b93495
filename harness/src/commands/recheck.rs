//! `bench recheck`: whether the verdicts of a run follow from its record, and whether the record is as it was
//! written. Changes nothing.

use crate::{
    exit::{CommandResult, Exit, ExitWith, Failure},
    runs,
    settings::{Layer, Settings},
    stdout::print,
};
use protocol::Sha256Hex;
use reports::{
    Rechecked,
    record::RunRecord,
    store::{self, StoreError},
    verdict::verdicts,
    visible,
};
use std::path::{Path, PathBuf};

/// Arguments.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Folder or name of a run, or `latest`
    #[arg(value_name = "RUN", default_value = runs::LATEST)]
    run: String,
    /// The seal that the record must end with, as it was published
    #[arg(long, value_name = "SHA256")]
    seal: Option<Sha256Hex>,
    /// Folder in which runs are kept [default: runs]
    #[arg(long, env = "BENCH_OUT", value_name = "DIR")]
    out: Option<PathBuf>,
}

/// Makes everything once more and compares.
pub(crate) fn work(args: &Args, config: Option<&Path>) -> CommandResult {
    let settings = Settings::resolve(Layer { out: args.out.clone(), ..Layer::default() }, config)?;
    let dir = runs::find(&args.run, &settings.out)?;
    let record = match store::load(&dir) {
        Err(error @ (StoreError::Tampered { .. } | StoreError::BadLine { .. })) => {
            return Err(Failure { exit: Exit::GateFailed, error: error.into() });
        }
        other => other.or_usage()?,
    };
    let mut good = told_record(&record, args.seal.as_ref())?;
    let finished = told_end(&record)?;
    for (path, found) in reports::recheck(&dir, &record, &verdicts(&record)).or_incomplete()? {
        good &= found == Rechecked::Same;
        print(&format!("{}: {}\n", path.display(), in_words(found, &record)))?;
    }
    Ok(match (good, finished) {
        (false, _) => Exit::GateFailed,
        (true, false) => Exit::Incomplete,
        (true, true) => Exit::Fine,
    })
}

/// Says when a run has no end: one that was cut short on purpose looks like one that was interrupted.
fn told_end(record: &RunRecord) -> CommandResult<bool> {
    if record.finished.is_none() {
        print("the record has no end: the run was cut off, or is still under way\n")?;
    }
    Ok(record.finished.is_some())
}

/// Says what the record holds; false when it is not the one that was asked about, or when outputs are missing.
fn told_record(record: &RunRecord, published: Option<&Sha256Hex>) -> CommandResult<bool> {
    let trials = record.units.iter().flat_map(|unit| &unit.trials);
    let bursts = trials.flat_map(|trial| &trial.bursts);
    let samples: usize = bursts.map(|burst| burst.wall_ns.len()).sum();
    print(&format!(
        "{}: {} units with {samples} samples, as they were written; seal {}\n",
        record.plan.run,
        record.units.len(),
        record.seal
    ))?;
    for loss in &record.losses {
        print(&format!("  {}\n", visible(loss)))?;
    }
    let other = published.is_some_and(|seal| *seal != record.seal);
    if other {
        print("this is another record than the published one: the seals differ\n")?;
    }
    let trials = record.units.iter().flat_map(|unit| &unit.trials);
    let whole = trials.filter_map(|trial| trial.outputs.as_ref()).all(|outputs| outputs.values.is_some());
    Ok(whole && !other)
}

fn in_words(found: Rechecked, record: &RunRecord) -> String {
    let (ours, theirs) = (env!("CARGO_PKG_VERSION"), &record.plan.version);
    match found {
        Rechecked::Same => "the same bytes".to_owned(),
        Rechecked::Missing => "missing; `bench report` makes it".to_owned(),
        Rechecked::Differs(at) if ours == theirs => {
            format!("differs from what the record gives, from byte {at} on; `bench report` makes it anew")
        }
        Rechecked::Differs(at) => {
            format!("differs from byte {at} on; measured by version {theirs}, rechecked by {ours}")
        }
    }
}
