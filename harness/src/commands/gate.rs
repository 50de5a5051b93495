//! `bench gate`: two versions of the same models, measured side by side, and an exit code for CI. The same
//! measuring and reports as `compare`; only what is compared comes from two folders.

use super::{
    compare::{Command, judge},
    run::Measurable,
};
use crate::{exit::CommandResult, gate::GateArgs, render::Shown, selection::Wanted, settings::Layer};
use std::path::{Path, PathBuf};

/// Arguments.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Folder with the models as they were
    #[arg(long, value_name = "DIR", required_unless_present = "resume")]
    base: Option<PathBuf>,
    /// Folder with the models as they are now; compared are those with the same file name
    #[arg(long, value_name = "DIR", required_unless_present = "resume")]
    head: Option<PathBuf>,
    /// Data for the models: an .npz, .npy or .csv file, or a suite whose data is taken [default: random]
    #[arg(long, value_name = "FILE|SUITE")]
    data: Option<String>,
    /// Go on with a run that was cut off, as it was planned: its folder, its name, or `latest`; of the settings only
    /// those count that tell where things are
    #[arg(long, value_name = "RUN", conflicts_with_all = ["base", "head", "data"])]
    resume: Option<String>,
    #[command(flatten)]
    gate: GateArgs,
    #[command(flatten)]
    shown: Shown,
    #[command(flatten, next_help_heading = "Settings")]
    settings: Layer,
}

/// Measures, judges, renders, answers.
pub(crate) fn work(args: Args, config: Option<&Path>, quiet: bool) -> CommandResult {
    let command = Command {
        name: format!("gate{}", args.gate.said(false)),
        rules: Some(args.gate.rules()?),
        shown: args.shown,
    };
    let wanted = Wanted {
        versions: args.base.zip(args.head),
        data: args.data,
        keep_reference: true,
        ..Wanted::default()
    };
    let measurable = Measurable { wanted, resume: args.resume, settings: args.settings };
    judge(command, measurable, config, quiet)
}
