//! `bench worker`: the devices of this host do jobs of a farm on many hosts, until somebody says to stop.

use super::block_on;
use crate::{
    exit::{CommandResult, Failure},
    nats::NatsArgs,
    nightly::{self, Attending},
    settings::ReachArgs,
};
use farm::queue::nats::DEFAULT_FARM;
use std::path::Path;

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(flatten)]
    nats: NatsArgs,
    /// Name of the farm, as its farm file says it
    #[arg(long, env = "BENCH_FARM", default_value = DEFAULT_FARM, value_name = "NAME")]
    farm: String,
    /// Devices of this host that do jobs: ids, tag:NAME, with `and`, `or`, `not`, or `all`; may be repeated
    #[arg(long, default_value = "all", value_name = "EXPR", value_delimiter = ',')]
    device: Vec<String>,
    /// A quarantined device that somebody has looked after: it gets jobs again without being probed; may be repeated
    #[arg(long, value_name = "DEVICE", value_delimiter = ',')]
    release: Vec<String>,
    #[command(flatten)]
    reach: ReachArgs,
}

const EXAMPLES: &str = "\
Example:
  bench worker --nats nats://queue:4222 --devices devices.toml
      beside `bench nightly farm.toml --nats nats://queue:4222` on one host, which plans and collects

Exit codes: 0 told to stop, 2 a mistake in what was said, or the server refuses us, 3 the server has no room or holds what
is not ours, 4 no device is meant. A server that cannot be reached is tried without end.

SIGTERM once: jobs under way come to their end, and no other begins. Twice: they are cut off, and given back.";

/// Works until it is told to stop.
pub(crate) fn work(args: Args, config: Option<&Path>) -> CommandResult {
    let settings = args.reach.into();
    let nats = args.nats.options(&args.farm)?.ok_or_else(|| {
        Failure::usage("no server: --nats URL or BENCH_NATS says where the queue of the farm is")
    })?;
    block_on(nightly::attend(
        Attending { nats, devices: args.device, release: args.release, settings },
        config,
    ))
}
