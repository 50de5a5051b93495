//! `bench devices clean`: pushed files go, least recently used first; the next run pushes what it needs. A
//! device on which an agent measures at that moment, for whichever host, keeps all of them.

use super::Selected;
use crate::{
    devices::{Device, Registry},
    dispatch::Remedy,
    exit::{CommandResult, Exit},
    progress::say,
    settings::Settings,
    stdout::print,
    transport::{Tidied, TransportError},
    values::{Size, human_bytes},
};
use std::time::Duration;
use tokio::task::JoinSet;

/// Arguments.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    selected: Selected,
    /// Leave so many bytes of the files that were used last
    #[arg(long, value_name = "SIZE", default_value = "0")]
    keep: Size,
}

impl Args {
    pub(super) fn parts(self) -> (Selected, Size) {
        (self.selected, self.keep)
    }
}

/// All devices at the same time, each under its deadlines.
pub(super) async fn work(settings: &Settings, keep: Size) -> CommandResult {
    let registry = Registry::read(settings)?;
    let devices = registry.open_all(registry.choose(&settings.devices).await?)?;
    let mut tasks = JoinSet::new();
    for (at, device) in devices.into_iter().enumerate() {
        tasks.spawn(async move { (at, tidied(&device, keep).await, device.known.id) });
    }
    let mut all = tasks.join_all().await;
    all.sort_by_key(|(at, ..)| *at);
    let mut exits = Vec::new();
    for (_, tidied, id) in all {
        match tidied {
            Ok(Tidied { busy: Some(agent), .. }) => {
                say(&format!(
                    "error: {id}: nothing was deleted: {agent} is measuring there, and needs its files; wait until it \
                     is done, or stop it"
                ));
                exits.push(Exit::Incomplete);
            }
            Ok(Tidied { files, freed_bytes, left_bytes, busy: None }) => print(&format!(
                "{id}: {files} files deleted, {} freed, {} left\n",
                human_bytes(freed_bytes),
                human_bytes(left_bytes)
            ))?,
            Err(error) => {
                say(&format!("error: {id}: {error}"));
                exits.push(if error.remedy() == Remedy::Setting { Exit::Usage } else { Exit::Incomplete });
            }
        }
    }
    Ok(Exit::worst(&exits))
}

async fn tidied(device: &Device, keep: Size) -> Result<Tidied, TransportError> {
    device.way.probe().await?;
    device.way.tidy(&[], keep.0, Duration::ZERO).await
}
