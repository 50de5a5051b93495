//! Devices made ready for a run: connected, given their files, asked what they are. Starts one
//! driver per device and hands them to the dispatcher; plans nothing.

use crate::{
    devices::Device,
    dispatch::{Command, DispatchEvent, Driver, Fleet, Places, Remedy, Trouble, UNIT_ATTEMPTS, staging},
    exit::{CommandResult, Exit, ExitWith, Failure},
    interrupt::Interrupts,
    libraries::Wish,
    link::Hello,
    plan::Observe,
    progress::Progress,
    settings::Settings,
    transport::HostFile,
};
use anyhow::Context;
use protocol::{ModelFacts, Sha256Hex};
use std::{collections::BTreeMap, time::Duration};
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
    time::timeout,
};

/// Events that wait for the dispatcher; more, and the devices wait.
const EVENTS: usize = 1024;
/// Commands that wait for a driver.
const COMMANDS: usize = 64;
/// Agents that were told goodbye are gone within this time, or are killed.
const PARTING_LIMIT: Duration = Duration::from_secs(10);

/// What a device answered when it was made ready.
pub(crate) type Greeting = Result<(Hello, Places), Trouble>;

/// Devices with a driver each.
pub(crate) struct Session {
    /// Their commands and events.
    pub(crate) fleet: Fleet,
    drivers: JoinSet<()>,
    // its folder is removed when the session ends
    _staging: tempfile::TempDir,
}

impl Session {
    /// Starts a driver per device. Fetched files lie in the cache folder for a moment.
    ///
    /// # Errors
    /// The folder cannot be made.
    pub(crate) fn start(
        devices: Vec<Device>,
        files: &[HostFile],
        libraries: &Wish,
        settings: &Settings,
        interrupts: Interrupts,
    ) -> CommandResult<Self> {
        let (folder, staging_path) = staging(&settings.cache)
            .with_context(|| format!("the cache folder {} cannot be used", settings.cache.display()))
            .or_usage()?;
        let (sender, events) = mpsc::channel(EVENTS);
        let (cancel, cancelled) = watch::channel(false);
        let mut drivers = JoinSet::new();
        let mut commands = Vec::new();
        for (position, device) in devices.into_iter().enumerate() {
            let driver = Driver {
                position,
                device,
                agents: settings.agents(),
                files: files.to_vec(),
                libraries: libraries.clone(),
                staging: staging_path.clone(),
                events: sender.clone(),
                cancel: cancelled.clone(),
                lost: false,
                reached: false,
            };
            let (to_driver, inbox) = mpsc::channel(COMMANDS);
            drivers.spawn(driver.work(inbox));
            commands.push(Some(to_driver));
        }
        Ok(Self { fleet: Fleet { commands, events, cancel, interrupts }, drivers, _staging: folder })
    }

    /// Connects all devices, all at the same time. One that answers and then is lost, while a file is pushed, is
    /// tried again as often as a unit would be; what has arrived by then is not sent again.
    ///
    /// # Errors
    /// The user interrupted.
    pub(crate) async fn greet(&mut self, progress: &mut Progress) -> CommandResult<Vec<Greeting>> {
        let mut waiting = 0;
        for sender in self.fleet.commands.iter().flatten() {
            waiting += usize::from(sender.send(Command::Connect).await.is_ok());
        }
        let nobody = || Err(Trouble { reason: "its driver ended".to_owned(), remedy: Remedy::TryAgain });
        let mut greetings: Vec<Greeting> = self.fleet.commands.iter().map(|_| nobody()).collect();
        let mut tries = vec![1; greetings.len()];
        while waiting > 0 {
            let Some(event) = self.fleet.next().await else { break };
            progress.on(&event);
            let (device, greeting) = match event {
                DispatchEvent::Ready { device, hello, places, .. } => (device, Ok((*hello, places))),
                DispatchEvent::NotReady { device, reached, trouble } => {
                    if reached && trouble.remedy == Remedy::TryAgain && self.again(device, &mut tries).await {
                        continue;
                    }
                    (device, Err(trouble))
                }
                DispatchEvent::Interrupted => return Err(interrupted()),
                _ => continue,
            };
            waiting -= 1;
            if let Some(slot) = greetings.get_mut(device) {
                *slot = greeting;
            }
        }
        Ok(greetings)
    }

    /// Has a device connected once more, unless that was tried often enough.
    async fn again(&self, device: usize, tries: &mut [u32]) -> bool {
        let (Some(tries), Some(Some(sender))) = (tries.get_mut(device), self.fleet.commands.get(device))
        else {
            return false;
        };
        *tries += 1;
        *tries <= UNIT_ATTEMPTS && sender.send(Command::Connect).await.is_ok()
    }

    /// Has models inspected, and run where that is asked, on the first of some devices that are ready; when it is
    /// lost, on the next.
    ///
    /// # Errors
    /// The user interrupted, or all of them were lost.
    pub(crate) async fn inspect(
        &mut self,
        devices: &[usize],
        models: &[Sha256Hex],
        run: Option<&Observe>,
        progress: &mut Progress,
    ) -> CommandResult<BTreeMap<Sha256Hex, Result<ModelFacts, String>>> {
        let mut found = BTreeMap::new();
        let mut devices = devices.iter().copied().peekable();
        for wanted in models {
            while let (false, Some(&device)) = (found.contains_key(wanted), devices.peek()) {
                match self.inspect_on(device, wanted, run, progress).await? {
                    Ok(facts) => {
                        found.insert(wanted.clone(), facts);
                    }
                    Err(trouble) => {
                        devices.next();
                        if devices.peek().is_none() {
                            return Err(anyhow::Error::msg(trouble.reason)).or_incomplete();
                        }
                    }
                }
            }
        }
        Ok(found)
    }

    async fn inspect_on(
        &mut self,
        device: usize,
        wanted: &Sha256Hex,
        run: Option<&Observe>,
        progress: &mut Progress,
    ) -> CommandResult<Result<Result<ModelFacts, String>, Trouble>> {
        let ended = || Trouble { reason: "its driver ended".to_owned(), remedy: Remedy::TryAgain };
        let sender = self.fleet.commands.get(device).and_then(Option::as_ref);
        let Some(sender) = sender else { return Ok(Err(ended())) };
        if sender.send(Command::Inspect(wanted.clone(), run.cloned())).await.is_err() {
            return Ok(Err(ended()));
        }
        loop {
            let Some(event) = self.fleet.next().await else { return Ok(Err(ended())) };
            progress.on(&event);
            match event {
                DispatchEvent::Inspected { model, facts, .. } if model == *wanted => {
                    return Ok(Ok(facts.map(|f| *f)));
                }
                DispatchEvent::NotReady { trouble, .. } => return Ok(Err(trouble)),
                DispatchEvent::Interrupted => return Err(interrupted()),
                _ => {}
            }
        }
    }

    /// Says goodbye to every agent and waits for it.
    pub(crate) async fn end(self) {
        let (fleet, parting) = self.part();
        drop(fleet);
        parting.wait().await;
    }

    /// Takes the devices for the dispatcher; what is left is waited for with [`Parting::wait`].
    pub(crate) fn part(self) -> (Fleet, Parting) {
        (self.fleet, Parting { drivers: self.drivers, _staging: self._staging })
    }
}

/// Drivers that are about to end.
pub(crate) struct Parting {
    drivers: JoinSet<()>,
    _staging: tempfile::TempDir,
}

impl Parting {
    /// Waits until every agent was told goodbye, or kills those that are left.
    pub(crate) async fn wait(mut self) {
        let all_gone = timeout(PARTING_LIMIT, async { while self.drivers.join_next().await.is_some() {} });
        if all_gone.await.is_err() {
            self.drivers.shutdown().await;
        }
    }

    /// Kills every agent.
    pub(crate) async fn cut(mut self) {
        self.drivers.shutdown().await;
    }
}

fn interrupted() -> Failure {
    Failure { exit: Exit::Incomplete, error: anyhow::anyhow!("interrupted before anything was measured") }
}
