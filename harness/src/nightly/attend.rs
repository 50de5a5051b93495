//! A worker of a farm on many hosts: the devices of this one do jobs, and what they do is told on stderr.

use super::{cards, executor::Crew};
use crate::{
    devices::Registry,
    exit::{CommandResult, Exit, ExitWith, Failure},
    interrupt::Interrupts,
    nats::failure,
    progress::say,
    settings::{Layer, Settings},
};
use anyhow::Context;
use farm::{
    device::{DeviceCard, State},
    health::HealthRules,
    night,
    queue::{
        Queue, QueueError,
        nats::{NatsOptions, NatsQueue},
    },
    remote::{Mirror, Remote},
    times::Blackout,
    worker::{Clock, Seat, Shop, Stop, Told, work},
};
use futures_util::{StreamExt, stream::FuturesUnordered};
use jiff::tz::TimeZone;
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::{
    sync::{mpsc, watch},
    time::sleep,
};

/// Between two tries to reach a server.
const AGAIN: Duration = Duration::from_secs(5);

/// What was asked for on the command line.
#[derive(Debug)]
pub(crate) struct Attending {
    /// The server.
    pub(crate) nats: NatsOptions,
    /// Which devices.
    pub(crate) devices: Vec<String>,
    /// Devices that are well again, whatever was found.
    pub(crate) release: Vec<String>,
    /// The settings above those of `bench.toml`.
    pub(crate) settings: Layer,
}

/// Works until it is told to stop.
///
/// # Errors
/// What is wrong with the settings, or with the server.
pub(crate) async fn attend(asked: Attending, config: Option<&Path>) -> CommandResult {
    let settings = Settings::resolve(asked.settings, config)?;
    let registry = Registry::read(&settings)?;
    let devices = registry.choose(&asked.devices).await?;
    let home = settings.cache.join("farm");
    let mirror = Mirror::new(&settings.cache).or_incomplete()?;
    let cards = cards(&home, &devices, &asked.release)?;
    let mut interrupts = Interrupts::listen().context("signals cannot be heard").or_incomplete()?;
    let Some(queue) = reach(&asked.nats, &mut interrupts).await? else { return Ok(Exit::Fine) };
    alone(&queue, &cards).await?;
    say(&format!(
        "{} devices do jobs of the farm {} on {}",
        cards.len(),
        asked.nats.farm,
        asked.nats.shown()
    ));
    let crew = Crew::new(settings).on(registry, &devices, mirror.runs().to_owned());
    let (told, heard) = mpsc::unbounded_channel();
    let (stop, stopped) = watch::channel(Stop::Run);
    let remote = Remote::new(&queue, &crew, &mirror, told.clone());
    let shop = Shop {
        queue: &queue,
        executor: &remote,
        rules: HealthRules::default(),
        told,
        stop: stopped,
        clock: Clock::start(),
    };
    let seat =
        |card| Seat { card, blackout: Blackout::new(&[], TimeZone::UTC), budget: None, rest: Duration::ZERO };
    let mut board = Board { home, cards: cards.iter().map(|card| (card.id.clone(), card.clone())).collect() };
    let working: FuturesUnordered<_> = cards.into_iter().map(|card| work(&shop, seat(card))).collect();
    lead(&mut board, heard, &stop, &mut interrupts, working.collect::<Vec<_>>()).await;
    board.save();
    Ok(Exit::Fine)
}

/// Connects, as often as it takes; `None`: somebody said to stop first.
async fn reach(options: &NatsOptions, interrupts: &mut Interrupts) -> CommandResult<Option<NatsQueue>> {
    loop {
        let tried = tokio::select! {
            tried = NatsQueue::connect(options) => tried,
            () = interrupts.next() => return Ok(None),
        };
        match tried {
            Ok(queue) => return Ok(Some(queue)),
            Err(error @ QueueError::Unreachable(_)) => {
                say(&format!("{error}; trying again every {} s", AGAIN.as_secs()));
            }
            Err(error) => return Err(failure(error)),
        }
        tokio::select! {
            () = sleep(AGAIN) => {}
            () = interrupts.next() => return Ok(None),
        }
    }
}

/// # Errors
/// Another host calls one of its devices the same: a job for the one would go to the other.
async fn alone(queue: &NatsQueue, cards: &[DeviceCard]) -> CommandResult<()> {
    let there = queue.devices().await.map_err(failure)?;
    let taken = |card: &&DeviceCard| there.iter().any(|other| other.id == card.id && other.host != card.host);
    let Some(card) = cards.iter().find(taken) else { return Ok(()) };
    let hosts = there.iter().filter(|other| other.id == card.id).map(|other| other.host.as_str());
    Err(Failure::usage(format!(
        "{} has a device {:?} in this farm, too: give one of them another id in devices.toml",
        hosts.collect::<Vec<_>>().join(", "),
        card.id
    )))
}

/// What is known of the devices of this host.
struct Board {
    /// Folder of `devices.json`.
    home: PathBuf,
    cards: BTreeMap<String, DeviceCard>,
}

/// Until everybody has stopped.
async fn lead(
    board: &mut Board,
    mut heard: mpsc::UnboundedReceiver<Told>,
    stop: &watch::Sender<Stop>,
    interrupts: &mut Interrupts,
    working: impl Future<Output = Vec<DeviceCard>>,
) {
    tokio::pin!(working);
    loop {
        tokio::select! {
            cards = &mut working => {
                while let Ok(told) = heard.try_recv() {
                    board.hear(told);
                }
                board.cards.extend(cards.into_iter().map(|card| (card.id.clone(), card)));
                return;
            }
            Some(told) = heard.recv() => board.hear(told),
            () = interrupts.next() => {
                let further = stop.borrow().further();
                stop.send_replace(further);
                say(further.words());
            }
        }
    }
}

impl Board {
    fn hear(&mut self, told: Told) {
        match told {
            Told::Card(card) => self.see(card),
            Told::Begun { device, job, attempt } => {
                let again = if attempt > 1 { format!(", attempt {attempt}") } else { String::new() };
                tell(&device, &format!("{} of night {} begins{again}", job.work.subject, job.night));
            }
            Told::GivenBack { device, reason } => tell(&device, &format!("the job is given back: {reason}")),
            Told::Note { device, words } => tell(&device, &words),
        }
    }

    /// A device is like this now.
    fn see(&mut self, card: DeviceCard) {
        let before = self.cards.get(&card.id).map(|known| &known.health.state);
        if before != Some(&card.health.state) {
            let why = match &card.health.state {
                State::Quarantined { reason, .. } | State::Offline { reason } => format!(": {reason}"),
                State::Ready | State::Busy { .. } => String::new(),
            };
            tell(&card.id, &format!("{}{why}", card.health.state.word()));
            self.cards.insert(card.id.clone(), card);
            self.save();
        } else {
            self.cards.insert(card.id.clone(), card);
        }
    }

    /// For the next worker of this host: a sick device stays what it is.
    fn save(&self) {
        if let Err(error) = night::save_devices(&self.home, self.cards.values().cloned()) {
            say(&format!("the devices are not written down: {error}"));
        }
    }
}

fn tell(device: &str, words: &str) {
    say(&format!("{device}: {words}"));
}
