//! `bench report`: the reports of a run once more, from its record alone.

use crate::{
    exit::{CommandResult, Exit},
    render::{Shown, render},
    runs,
    settings::{Layer, Settings},
};
use std::path::{Path, PathBuf};

/// Arguments.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Folder or name of a run, or `latest`
    #[arg(value_name = "RUN", default_value = runs::LATEST)]
    run: String,
    #[command(flatten)]
    shown: Shown,
    /// Folder in which runs are kept [default: runs]
    #[arg(long, env = "BENCH_OUT", value_name = "DIR")]
    out: Option<PathBuf>,
}

/// Renders it.
pub(crate) fn work(args: &Args, config: Option<&Path>) -> CommandResult {
    let settings = Settings::resolve(Layer { out: args.out.clone(), ..Layer::default() }, config)?;
    let dir = runs::find(&args.run, &settings.out)?;
    render(&dir, &args.shown.format)?;
    Ok(Exit::Fine)
}
