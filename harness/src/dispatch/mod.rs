//! The dispatcher: the one owner of a run's state while devices work. It hears one closed set of events,
//! tells the progress, writes the journal, asks the rule, and gives every device its next unit. Knows no
//! transport and no line of the protocol.

mod agenda;
mod driver;
mod event;
mod identity;
#[cfg(test)]
mod tests;

pub(crate) use event::{DispatchEvent, Places, Precision, Remedy, Standing, Trouble};

pub(crate) use agenda::{Agenda, Answer, Question, UNIT_ATTEMPTS};
pub(crate) use driver::{Command, Driver};
pub(crate) use identity::Identity;

use crate::{
    interrupt::Interrupts,
    plan::{Feed, PlannedUnit, unit_spec},
    progress::Progress,
};
use agenda::Step;
use protocol::{Event, Outcome, Sha256Hex};
use reports::{
    record::{CaseIndex, Entry, Plan},
    store::{RunWriter, StoreError},
};
use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};
use tokio::{
    sync::{mpsc, watch},
    task::spawn_blocking,
};

/// Answers whether groups of cases are decided, from the record on disk. Blocking. `Err`: the record cannot be
/// read any more.
pub(crate) type Rule = Arc<dyn Fn(&Path, &[Question]) -> Result<Ruling, String> + Send + Sync>;

/// What the rule says.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Ruling {
    /// In the order of the questions.
    pub(crate) answers: Vec<Answer>,
    /// For people; `None` when there is nothing to see yet.
    pub(crate) standing: Option<Standing>,
}

/// The devices at work.
pub(crate) struct Fleet {
    /// One sender per device; `None` ends the device's driver.
    pub(crate) commands: Vec<Option<mpsc::Sender<Command>>>,
    /// What they report.
    pub(crate) events: mpsc::Receiver<DispatchEvent>,
    /// True ends the units under way.
    pub(crate) cancel: watch::Sender<bool>,
    /// The user.
    pub(crate) interrupts: Interrupts,
}

impl Fleet {
    /// What happens next, on a device or at the keyboard.
    pub(crate) async fn next(&mut self) -> Option<DispatchEvent> {
        tokio::select! {
            biased;
            () = self.interrupts.next() => Some(DispatchEvent::Interrupted),
            event = self.events.recv() => event,
        }
    }
}

/// How a run ended.
#[derive(Debug, Default)]
pub(crate) struct Ended {
    /// Devices that were lost, with the reason.
    pub(crate) lost: Vec<(usize, String)>,
    /// The user ended it.
    pub(crate) interrupted: bool,
    /// The user ended it twice: nothing is waited for.
    pub(crate) cut: bool,
    /// Why the record could not be written any more.
    pub(crate) record_failed: Option<String>,
    /// Units that were done in this session.
    pub(crate) units: u32,
    /// Why the devices stopped measuring, each reason once.
    pub(crate) reasons: Vec<&'static str>,
}

impl Ended {
    /// Nothing is missing.
    pub(crate) fn is_whole(&self) -> bool {
        !self.interrupted && self.lost.is_empty() && self.record_failed.is_none()
    }
}

/// One device as the dispatcher sees it.
pub(crate) struct Hand {
    agenda: Agenda,
    /// Where its files lie.
    places: Places,
    /// Who it was when the run began.
    identity: Identity,
    current: Option<Current>,
    began_performance: Option<Instant>,
    finished: bool,
}

/// The unit under way, with the outcomes told so far.
struct Current {
    unit: PlannedUnit,
    outcomes: Vec<(CaseIndex, Outcome)>,
}

impl Hand {
    /// A device that has not begun.
    pub(crate) fn new(agenda: Agenda, places: Places, identity: Identity) -> Self {
        Self { agenda, places, identity, current: None, began_performance: None, finished: false }
    }
}

/// A run with everything it needs.
pub(crate) struct Dispatcher<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) feed: &'a Feed,
    pub(crate) writer: RunWriter,
    pub(crate) rule: Rule,
    pub(crate) progress: &'a mut Progress,
    /// By device; `None` for one that is not used.
    pub(crate) hands: Vec<Option<Hand>>,
    pub(crate) fleet: Fleet,
}

/// The record cannot be written or read any more: nothing that is measured now would be kept.
struct RecordFailed(String);

impl From<StoreError> for RecordFailed {
    fn from(error: StoreError) -> Self {
        Self(error.to_string())
    }
}

type Written = Result<(), RecordFailed>;

/// Longest reason that is recorded: a person reads it.
const REASON_CHARS: usize = 4000;

fn bounded(reason: &str) -> String {
    reason.chars().take(REASON_CHARS).collect()
}

/// The store works; what a device sent is nothing that it keeps.
fn is_devices_fault(error: &StoreError) -> bool {
    match error {
        StoreError::Refused { .. } => true,
        StoreError::Io { source, .. } => source.kind() == std::io::ErrorKind::InvalidInput,
        _ => false,
    }
}

impl Dispatcher<'_> {
    /// Measures until every device has finished, was lost, or the user ends it. The writer comes back for the
    /// last line.
    pub(crate) async fn run(mut self) -> (RunWriter, Ended) {
        let mut ended = Ended::default();
        if let Err(RecordFailed(why)) = self.work(&mut ended).await {
            ended.record_failed = Some(why);
        }
        (self.writer, ended)
    }

    async fn work(&mut self, ended: &mut Ended) -> Written {
        for device in 0..self.hands.len() {
            self.advance(device, ended).await?;
        }
        while self.hands.iter().flatten().any(|hand| !hand.finished) {
            let Some(event) = self.fleet.next().await else { break };
            self.progress.on(&event);
            if let DispatchEvent::Interrupted = event {
                if ended.interrupted {
                    ended.cut = true;
                    break;
                }
                ended.interrupted = true;
                self.fleet.cancel.send_replace(true);
                continue;
            }
            self.take(event, ended).await?;
        }
        Ok(())
    }

    async fn take(&mut self, event: DispatchEvent, ended: &mut Ended) -> Written {
        if event.device().and_then(|device| self.hand(device)).is_some_and(|hand| hand.finished) {
            // given up in the middle of a unit: what its driver still says has no place in the record
            return Ok(());
        }
        match event {
            DispatchEvent::Ready { device, hello, places, .. } => {
                let Some(hand) = self.hand(device) else { return Ok(()) };
                hand.places = places;
                match hand.identity.change(&Identity::of(&hello)) {
                    Some(change) => self.give_up(device, change, ended)?,
                    None => {
                        let kept = self.writer.append(&device_entry(device, &hello));
                        self.kept(device, kept, ended)?;
                    }
                }
            }
            DispatchEvent::Agent { device, unit, attempt, seq, event } => {
                self.hear(device, &event);
                let kept = self.writer.append(&Entry::Event { unit, attempt, seq, event: *event });
                self.kept(device, kept, ended)?;
            }
            DispatchEvent::Fetched { device, sha256, staged } => {
                self.keep(device, &sha256, &staged, ended)?;
            }
            DispatchEvent::UnitDone { device, unit, attempt, counts, took } => {
                self.writer.append(&Entry::UnitDone { unit, attempt, counts })?;
                ended.units += 1;
                if let Some(hand) = self.hand(device)
                    && let Some(current) = hand.current.take()
                {
                    hand.agenda.done(unit, took, &current.outcomes);
                }
                self.advance(device, ended).await?;
            }
            DispatchEvent::UnitLost { device, unit, attempt, trouble } => {
                self.writer.append(&Entry::UnitLost { unit, attempt, reason: bounded(&trouble.reason) })?;
                if let Some(hand) = self.hand(device) {
                    hand.current = None;
                    hand.agenda.lost(unit, attempt, &trouble.reason, trouble.remedy != Remedy::TryAgain);
                }
                self.advance(device, ended).await?;
            }
            DispatchEvent::UnitCancelled { device, unit, attempt } => {
                let reason = "interrupted by the user".to_owned();
                self.writer.append(&Entry::UnitLost { unit, attempt, reason })?;
                self.release(device);
            }
            DispatchEvent::NotReady { device, trouble, .. } => self.give_up(device, trouble.reason, ended)?,
            DispatchEvent::Pushing { .. }
            | DispatchEvent::Inspected { .. }
            | DispatchEvent::UnitStarted { .. }
            | DispatchEvent::Looked { .. }
            | DispatchEvent::DeviceLost { .. }
            | DispatchEvent::DeviceFinished { .. }
            | DispatchEvent::Interrupted => {}
        }
        Ok(())
    }

    fn hand(&mut self, device: usize) -> Option<&mut Hand> {
        self.hands.get_mut(device).and_then(Option::as_mut)
    }

    /// Notes how trials end, for the agenda.
    fn hear(&mut self, device: usize, event: &Event) {
        if let Event::TrialFinished { trial, outcome } = event
            && let Some(current) = self.hand(device).and_then(|hand| hand.current.as_mut())
            && let Some(case) = current.unit.cases.get(*trial as usize)
        {
            current.outcomes.push((*case, outcome.clone()));
        }
    }

    /// One device's rubbish is its own loss, not everybody's.
    fn kept<T>(&mut self, device: usize, result: Result<T, StoreError>, ended: &mut Ended) -> Written {
        match result {
            Err(error) if is_devices_fault(&error) => {
                self.give_up(device, format!("what it sent cannot be kept: {error}"), ended)
            }
            other => Ok(other.map(drop)?),
        }
    }

    fn keep(&mut self, device: usize, sha256: &Sha256Hex, staged: &Path, ended: &mut Ended) -> Written {
        if !self.writer.has_outputs(sha256) {
            let mut file = File::open(staged)
                .map_err(|e| RecordFailed(format!("{}: fetched outputs are gone: {e}", staged.display())))?;
            let kept = self.writer.store_outputs(sha256, &mut file);
            self.kept(device, kept, ended)?;
        }
        // what is left in the staging folder goes with the folder
        fs::remove_file(staged).unwrap_or_default();
        Ok(())
    }

    /// Gives a device its next unit, or lets it go.
    async fn advance(&mut self, device: usize, ended: &mut Ended) -> Written {
        loop {
            if ended.interrupted {
                self.release(device);
                return Ok(());
            }
            let Some(hand) = self.hand(device) else { return Ok(()) };
            if let Some(began) = hand.began_performance {
                hand.agenda.spend(began.elapsed());
            }
            match hand.agenda.next() {
                Step::Measure { unit, attempt } => return self.start(device, unit, attempt, ended).await,
                Step::Ask(questions) => self.ask(device, questions).await?,
                Step::GiveUp(reason) => return self.give_up(device, reason, ended),
                Step::Finish(reason) => {
                    self.progress.on(&DispatchEvent::DeviceFinished { device, reason });
                    if !ended.reasons.contains(&reason) {
                        ended.reasons.push(reason);
                    }
                    self.release(device);
                    return Ok(());
                }
            }
        }
    }

    async fn start(&mut self, device: usize, unit: PlannedUnit, attempt: u32, ended: &mut Ended) -> Written {
        let places = self.hand(device).map(|hand| hand.places.clone()).unwrap_or_default();
        let spec = match unit_spec(self.plan, &unit, self.feed, &places) {
            Ok(spec) => Box::new(spec),
            Err(reason) => return self.give_up(device, reason, ended),
        };
        self.writer.append(&Entry::UnitStarted {
            unit: unit.unit,
            attempt,
            device,
            purpose: unit.purpose,
            seed: unit.seed,
            cases: unit.cases.clone(),
            iterations: unit.iterations,
            at: jiff::Timestamp::now().to_string(),
        })?;
        self.progress.on(&DispatchEvent::UnitStarted {
            device,
            attempt,
            purpose: unit.purpose,
            round: unit.round,
            cases: unit.cases.clone(),
        });
        let sender = self.fleet.commands.get(device).and_then(Clone::clone);
        if let Some(hand) = self.hand(device) {
            if unit.group.is_some() {
                hand.began_performance.get_or_insert_with(Instant::now);
            }
            hand.current = Some(Current { unit, outcomes: Vec::new() });
        }
        let sent = match sender {
            Some(sender) => sender.send(Command::Run { unit: spec, attempt }).await.is_ok(),
            None => false,
        };
        if sent { Ok(()) } else { self.give_up(device, "its driver ended".to_owned(), ended) }
    }

    async fn ask(&mut self, device: usize, questions: Vec<Question>) -> Written {
        let (rule, dir, asked) = (Arc::clone(&self.rule), self.writer.dir().to_owned(), questions.clone());
        let ruling = spawn_blocking(move || rule(&dir, &asked)).await;
        let Ruling { answers, standing } =
            ruling.map_err(|e| RecordFailed(e.to_string()))?.map_err(RecordFailed)?;
        if let Some(standing) = standing {
            self.progress.on(&DispatchEvent::Looked { device, standing });
        }
        if let Some(hand) = self.hand(device) {
            for (question, answer) in questions.iter().zip(answers) {
                hand.agenda.answer(question, answer);
            }
        }
        Ok(())
    }

    fn give_up(&mut self, device: usize, reason: String, ended: &mut Ended) -> Written {
        let reason = bounded(&reason);
        if self.hand(device).is_some_and(|hand| !hand.finished) {
            self.writer.append(&Entry::DeviceLost { device, reason: reason.clone() })?;
            self.progress.on(&DispatchEvent::DeviceLost { device, reason: reason.clone() });
            ended.lost.push((device, reason));
        }
        self.release(device);
        Ok(())
    }

    /// Nothing more for this device: its driver says goodbye to the agent.
    fn release(&mut self, device: usize) {
        if let Some(hand) = self.hand(device) {
            hand.finished = true;
            hand.current = None;
        }
        if let Some(sender) = self.fleet.commands.get_mut(device) {
            *sender = None;
        }
    }
}

/// What the record keeps of a greeting.
pub(crate) fn device_entry(device: usize, hello: &crate::link::Hello) -> Entry {
    Entry::Device {
        device,
        agent: hello.agent.clone(),
        info: hello.device.clone(),
        runtimes: hello.runtimes.clone(),
    }
}

/// A folder for outputs on their way; it goes with the run that made it.
pub(crate) fn staging(below: &Path) -> std::io::Result<(tempfile::TempDir, PathBuf)> {
    fs::create_dir_all(below)?;
    let folder = tempfile::Builder::new().prefix("fetched-").tempdir_in(below)?;
    let path = folder.path().to_owned();
    Ok((folder, path))
}
