//! `bench devices`: what can be measured on, whether it works, and what is left on it. One file per action.

mod check;
mod clean;
mod connect;
mod details;
mod list;

use super::{FactsFormat, block_on};
use crate::{
    devices::{Known, Registry},
    exit::CommandResult,
    settings::{Layer, ReachArgs, Settings},
};
use clap::Subcommand;
use serde_json::{Value, json};
use std::path::Path;

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true, after_help = CHOOSING)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Option<Action>,
    /// Devices to say everything about: an agent is started on each [default: a table of all]
    #[arg(value_name = "DEVICES", value_delimiter = ',')]
    devices: Vec<String>,
    /// How to print
    #[arg(long, value_enum, default_value_t)]
    format: FactsFormat,
    #[command(flatten)]
    reach: ReachArgs,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Run the smoke suite on devices: all parts of a run, in a minute at most
    Check {
        #[command(flatten)]
        selected: Selected,
    },
    /// Delete pushed files from devices on which nobody measures
    Clean(clean::Args),
    /// Connect a phone on the network
    Connect(connect::Address),
    /// Let a phone on the network go
    Disconnect(connect::Address),
    /// Make this computer known to a phone, with the code that it shows (asked for, or from standard input)
    Pair(connect::Pairing),
}

const CHOOSING: &str = "\
Choosing devices, here and with --device:
  pi5                    the one with that id in devices.toml
  tag:pi                 all with that tag
  adb                    all of that transport
  fake:script.toml       by transport and address
  'tag:pi and not pi4'   and, or, not, ( )
  all                    everything that is listed, this machine included";

/// Which of them.
#[derive(Clone, Debug, clap::Args)]
struct Selected {
    /// Devices, chosen as with --device [default: all]
    #[arg(value_name = "DEVICES", value_delimiter = ',')]
    devices: Vec<String>,
}

impl Selected {
    fn or_all(self) -> Vec<String> {
        if self.devices.is_empty() { vec!["all".to_owned()] } else { self.devices }
    }
}

/// Does what is asked.
pub(crate) fn work(args: Args, config: Option<&Path>, quiet: bool) -> CommandResult {
    let Args { action, devices, format, reach } = args;
    let settings =
        |devices: Vec<String>| Settings::resolve(Layer { device: Some(devices), ..reach.into() }, config);
    match action {
        Some(Action::Check { selected }) => check::work(&settings(selected.or_all())?, quiet),
        Some(Action::Clean(args)) => {
            let (selected, keep) = args.parts();
            block_on(clean::work(&settings(selected.or_all())?, keep))
        }
        Some(Action::Connect(address)) => {
            block_on(connect::connect(&address, &Registry::read(&settings(Vec::new())?)?))
        }
        Some(Action::Disconnect(address)) => {
            block_on(connect::disconnect(&address, &Registry::read(&settings(Vec::new())?)?))
        }
        Some(Action::Pair(pairing)) => block_on(connect::pair(pairing)),
        None if devices.is_empty() => block_on(list::show(&settings(Vec::new())?, format)),
        None => block_on(details::show(&settings(devices)?, format)),
    }
}

/// Facts about a device as JSON, with what it is called and where it is.
fn with_identity(known: &Known, facts: Value) -> Value {
    let mut value = json!({
        "id": known.id,
        "transport": known.transport,
        "address": known.reach.address,
        "tags": known.tags,
    });
    if let (Some(into), Value::Object(facts)) = (value.as_object_mut(), facts) {
        into.extend(facts);
    }
    value
}
