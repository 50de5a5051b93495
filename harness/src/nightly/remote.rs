//! A night whose devices are attached to other hosts: what jobs need goes to the queue, records come from it, and the
//! devices are those that workers announce.

use super::files_of;
use crate::{
    devices::Known,
    exit::{CommandResult, ExitWith, Failure},
    nats::failure,
    progress::Progress,
};
use farm::{
    device::{DeviceCard, State},
    job::{Job, JobId, JobResult, Record},
    queue::{
        HEARTBEAT, PRESENCE, Queue,
        nats::{NatsOptions, NatsQueue},
    },
    remote,
    worker::{Stop, Told},
};
use std::{collections::BTreeSet, path::Path, time::Duration};
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep},
};

/// Workers are asked for so often until one has announced a device.
const LOOK_FOR_WORKERS: Duration = Duration::from_secs(5);

/// How files and records travel between who plans and who measures.
pub(super) trait Courier {
    /// Sees to it that who does these jobs can get all they need.
    async fn send(&self, jobs: &mut [Job]) -> CommandResult<()>;

    /// Sees to it that the record of a result lies in the folder of the runs, and says the name of its run.
    async fn bring(&self, result: &JobResult, runs: &Path) -> Result<Option<String>, String>;
}

/// Nothing has to travel.
pub(super) struct Here;

impl Courier for Here {
    async fn send(&self, _jobs: &mut [Job]) -> CommandResult<()> {
        Ok(())
    }

    async fn bring(&self, result: &JobResult, _runs: &Path) -> Result<Option<String>, String> {
        Ok(match &result.record {
            Some(Record::Folder { path }) => path.file_name().map(|name| name.to_string_lossy().into_owned()),
            Some(Record::Object { .. }) | None => None,
        })
    }
}

/// Everything travels by the queue.
pub(super) struct ByQueue<'a>(pub(super) &'a NatsQueue);

impl Courier for ByQueue<'_> {
    async fn send(&self, jobs: &mut [Job]) -> CommandResult<()> {
        for job in jobs.iter_mut() {
            job.files = files_of(&job.work)?;
        }
        remote::upload(self.0, jobs).await.or_incomplete()?;
        Ok(())
    }

    async fn bring(&self, result: &JobResult, runs: &Path) -> Result<Option<String>, String> {
        let Some(record) = &result.record else { return Ok(None) };
        remote::collect(self.0, record, runs).await.map_err(|error| error.to_string())
    }
}

/// The queue, and the devices that workers have announced.
///
/// # Errors
/// The server cannot be used, or no worker has a device.
pub(super) async fn join(
    options: &NatsOptions,
    progress: &Progress,
) -> CommandResult<(NatsQueue, Vec<DeviceCard>)> {
    let queue = NatsQueue::connect(options).await.map_err(failure)?;
    let end = Instant::now() + PRESENCE;
    loop {
        let cards = queue.devices().await.map_err(failure)?;
        if !cards.is_empty() {
            return Ok((queue, cards));
        }
        if Instant::now() >= end {
            return Err(Failure::nothing(format!(
                "no worker has announced a device of the farm {} to {}: start `bench worker --nats URL --farm NAME`",
                options.farm,
                options.shown()
            )));
        }
        progress.note("waiting for a worker that announces its devices");
        sleep(LOOK_FOR_WORKERS).await;
    }
}

/// An announced device as one that can be chosen.
pub(super) fn known(card: &DeviceCard) -> Known {
    Known::announced(&card.id, &card.transport, &card.tags)
}

/// Tells how the devices of all workers are, until nothing is to be waited for any more; says how they are then.
pub(super) async fn watch_devices(
    queue: &NatsQueue,
    jobs: &BTreeSet<JobId>,
    night: &str,
    told: mpsc::UnboundedSender<Told>,
    mut stop: watch::Receiver<Stop>,
) -> Vec<DeviceCard> {
    let mut last = Vec::new();
    let mut missed = Duration::ZERO;
    loop {
        match queue.devices().await {
            Ok(cards) => {
                missed = Duration::ZERO;
                cards.iter().for_each(|card| told.send(Told::Card(card.clone())).unwrap_or_default());
                let gone = |old: &&DeviceCard| !cards.iter().any(|card| card.id == old.id);
                for card in last.iter().filter(gone) {
                    told.send(Told::Card(lost(card))).unwrap_or_default();
                }
                last = cards;
            }
            Err(error) => {
                let note = Told::Note { device: "the queue".to_owned(), words: error.to_string() };
                told.send(note).unwrap_or_default();
                missed += HEARTBEAT;
            }
        }
        let level = *stop.borrow();
        if level >= Stop::Drain {
            // what nobody is at does not wait for another night
            let withdrawn = queue.withdraw(night, None).await;
            let at_work = last.iter().any(|card| is_at(card, jobs));
            if level == Stop::Cut || (withdrawn.is_ok() && !at_work) || missed > PRESENCE {
                return last;
            }
        }
        tokio::select! {
            () = sleep(HEARTBEAT / 5) => {}
            _ = stop.wait_for(|now| *now > level) => {}
        }
    }
}

fn is_at(card: &DeviceCard, jobs: &BTreeSet<JobId>) -> bool {
    matches!(&card.health.state, State::Busy { job } if jobs.iter().any(|known| known.as_str() == job))
}

/// The same device, of which nobody has heard.
fn lost(card: &DeviceCard) -> DeviceCard {
    let mut card = card.clone();
    let reason = format!("its worker on {} is not heard of any more", card.host);
    card.health.state = State::Offline { reason };
    card
}
