//! `bench nightly`: the jobs of a farm file on whatever devices answer, with a record, a history and a summary.

use super::block_on;
use crate::{
    exit::{CommandResult, Exit},
    nats::NatsArgs,
    nightly::{self, Asked},
    progress::Progress,
    settings::ReachArgs,
    stdout::print,
};
use std::path::{Path, PathBuf};

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// What is measured, where and when
    #[arg(value_name = "FILE", default_value = "farm.toml")]
    farm: PathBuf,
    /// Say what the night would do, and touch no device
    #[arg(long, conflicts_with = "resume")]
    check: bool,
    /// Go on with a night that was cut off: its name, or `latest`
    #[arg(long, value_name = "NIGHT", num_args = 0..=1, default_missing_value = "latest")]
    resume: Option<String>,
    /// A quarantined device that somebody has looked after: it gets jobs again without being probed; may be repeated
    #[arg(long, value_name = "DEVICE", value_delimiter = ',')]
    release: Vec<String>,
    #[command(flatten)]
    reach: ReachArgs,
    #[command(flatten)]
    nats: NatsArgs,
}

const EXAMPLES: &str = "\
farm.toml, at its shortest:
  [[job]]
  suite = \"vision\"
  devices = \"all\"

Exit codes: 0 everything was measured, 1 a change for the worse is confirmed, 2 a mistake in the farm file or in what
it names, 3 something could not be measured, 4 no device is meant.

SIGTERM once: jobs under way come to their end, and no other begins. Twice: they are cut off.";

/// Checks, or measures.
pub(crate) fn work(args: Args, config: Option<&Path>, quiet: bool) -> CommandResult {
    let settings = args.reach.into();
    let asked =
        Asked { farm: args.farm, resume: args.resume, release: args.release, nats: args.nats, settings };
    if args.check {
        print(&block_on(nightly::check(asked, config))?)?;
        return Ok(Exit::Fine);
    }
    let mut progress = Progress::new(quiet);
    block_on(nightly::night(asked, config, &mut progress))
}
