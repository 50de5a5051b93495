//! Leads a night: hears what devices do, keeps every result, has changes measured again when everything else is, and
//! writes the summary. The one owner of the night's record.

mod changes;

use super::{confirm::Source, file::Farm, models::Models, notify, remote::Courier, shown};
use crate::{
    exit::{CommandResult, ExitWith},
    interrupt::Interrupts,
    progress::{Progress, say},
    render::{Concluded, conclude, width},
    values::human_time,
};
use changes::alarms_of;
use farm::{
    device::{DeviceCard, State},
    job::{Job, JobId, JobOutcome, JobResult},
    night::{
        self, Ended, NightEntry, NightRecord, NightWriter, RUNS_DIR, RunVerdicts, SUMMARY_FILE, Summary,
    },
    queue::{HEARTBEAT, Queue, QueueError},
    worker::{Stop, Told},
};
use jiff::Timestamp;
use reports::{history::History, record, visible};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    time::Duration,
};
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::spawn_blocking,
    time::{Instant, sleep_until},
};

/// For people, beside the summary for programs.
const SUMMARY_PAGE: &str = "summary.md";
/// The devices are written down at most so often.
const SAVE_DEVICES: Duration = Duration::from_secs(10);
/// A record is fetched so often before it is given up.
const FETCHES: u32 = 3;
/// A night without an end is led for so long.
const LONGEST: Duration = Duration::from_secs(7 * 24 * 3600);

/// Who leads.
pub(super) struct Conductor<'a> {
    farm: &'a Farm,
    history: History,
    models: Models,
    /// Suites that were measured, by name.
    suites: BTreeMap<String, Source>,
    /// Changes since earlier nights that this one looked at, once it has looked.
    alarms: Option<Vec<String>>,
    /// What a person should know.
    notes: BTreeSet<String>,
    writer: NightWriter,
    record: NightRecord,
    verdicts: Vec<RunVerdicts>,
    /// The record has grown since it was looked at whether there is anything left to do, and anybody to do it.
    is_news: bool,
    /// Jobs under way, by device.
    at_work: BTreeMap<String, Job>,
    saved: Option<Instant>,
    progress: &'a mut Progress,
}

impl<'a> Conductor<'a> {
    /// Of this night; what it has measured already is read again.
    ///
    /// # Errors
    /// A run of it cannot be read.
    pub(super) fn new(
        farm: &'a Farm,
        history: History,
        writer: NightWriter,
        record: NightRecord,
        progress: &'a mut Progress,
    ) -> CommandResult<Self> {
        let mut all = Self {
            farm,
            history,
            models: Models::beside(&farm.out),
            suites: BTreeMap::new(),
            alarms: None,
            notes: BTreeSet::new(),
            writer,
            record,
            verdicts: Vec::new(),
            is_news: true,
            at_work: BTreeMap::new(),
            saved: None,
            progress,
        };
        let runs: Vec<String> = all.record.results.values().filter_map(|(_, run)| run.clone()).collect();
        for run in runs {
            let concluded = conclude(&all.run_dir(&run))?;
            all.learn(&concluded);
        }
        let confirming: Vec<String> =
            all.record.added.iter().flat_map(|job| alarms_of(job).to_vec()).collect();
        all.alarms = (!confirming.is_empty()).then_some(confirming);
        Ok(all)
    }

    /// Until every job has come to an end, the time is over, or somebody wants it to stop.
    ///
    /// # Errors
    /// The record cannot be written.
    pub(super) async fn lead<Q: Queue, C: Courier>(
        mut self,
        queue: &Q,
        courier: &C,
        mut heard: mpsc::UnboundedReceiver<Told>,
        stop: watch::Sender<Stop>,
        mut gone: oneshot::Receiver<Vec<DeviceCard>>,
        mut interrupts: Interrupts,
    ) -> CommandResult<Summary> {
        let led = self.until_the_end((queue, courier), &mut heard, &stop, &mut gone, &mut interrupts).await;
        // whatever happened: nobody goes on
        stop.send_replace(if led.is_ok() { Stop::Drain } else { Stop::Cut });
        let how = led?;
        self.end(how).await
    }

    async fn until_the_end<Q: Queue, C: Courier>(
        &mut self,
        (queue, courier): (&Q, &C),
        heard: &mut mpsc::UnboundedReceiver<Told>,
        stop: &watch::Sender<Stop>,
        gone: &mut oneshot::Receiver<Vec<DeviceCard>>,
        interrupts: &mut Interrupts,
    ) -> CommandResult<Ended> {
        let night = self.record.plan.night.clone();
        let mut how = Ended::Whole;
        let end = self.deadline();
        loop {
            let level = *stop.borrow();
            tokio::select! {
                Some(told) = heard.recv() => self.hear(told)?,
                result = queue.result(&night, HEARTBEAT) => self.take(queue, courier, result).await?,
                () = interrupts.next() => {
                    how = Ended::Interrupted;
                    stop.send_replace(level.further());
                    say(level.further().words());
                }
                () = sleep_until(end), if level == Stop::Run => {
                    how = Ended::OutOfTime;
                    say("the time of the night is over: no new jobs");
                    stop.send_replace(Stop::Drain);
                }
                cards = &mut *gone => {
                    self.last_words((queue, courier), heard, cards.unwrap_or_default()).await?;
                    return Ok(how);
                }
            }
            if *stop.borrow() == Stop::Run && std::mem::take(&mut self.is_news) {
                self.give_up_on(queue, &night).await?;
                if self.record.open().next().is_none() && !self.look_for_changes(queue, courier).await? {
                    stop.send_replace(Stop::Drain);
                }
            }
        }
    }

    /// When the night is over.
    fn deadline(&self) -> Instant {
        let ends = self.record.plan.ends.as_ref().and_then(|at| at.parse::<Timestamp>().ok());
        let left = ends.map(|at| Duration::try_from(at.duration_since(Timestamp::now())).unwrap_or_default());
        Instant::now() + left.unwrap_or(LONGEST)
    }

    /// What is still to be heard when everybody has gone.
    async fn last_words<Q: Queue, C: Courier>(
        &mut self,
        (queue, courier): (&Q, &C),
        heard: &mut mpsc::UnboundedReceiver<Told>,
        cards: Vec<DeviceCard>,
    ) -> CommandResult<()> {
        while let Ok(told) = heard.try_recv() {
            self.hear(told)?;
        }
        let night = self.record.plan.night.clone();
        while let Some(result) = queue.result(&night, Duration::ZERO).await.or_incomplete()? {
            self.take(queue, courier, Ok(Some(result))).await?;
        }
        cards.into_iter().try_for_each(|card| self.see(card))
    }

    fn append(&mut self, entry: NightEntry) -> CommandResult<()> {
        self.is_news = true;
        self.writer.append(&entry).or_incomplete()?;
        self.record.take(entry);
        Ok(())
    }

    fn hear(&mut self, told: Told) -> CommandResult<()> {
        match told {
            Told::Card(card) => return self.see(card),
            Told::Begun { device, job, attempt } => {
                let again = if attempt > 1 { format!(", attempt {attempt}") } else { String::new() };
                self.tell(&device, &format!("{} begins{again}", job.work.subject));
                self.at_work.insert(device, job);
            }
            Told::GivenBack { device, reason } => {
                if let Some(job) = self.at_work.remove(&device) {
                    self.tell(&device, &format!("{} is given back: {reason}", job.work.subject));
                }
            }
            Told::Note { device, words } => self.tell(&device, &words),
        }
        Ok(())
    }

    fn tell(&self, device: &str, words: &str) {
        self.progress.note(&visible(&format!("{device}: {words}")));
    }

    /// A device is like this now; written down when that is news.
    fn see(&mut self, card: DeviceCard) -> CommandResult<()> {
        let known = self.record.devices.get(&card.id).map(|known| &known.health.state);
        if known != Some(&card.health.state) {
            if let State::Quarantined { reason, .. } = &card.health.state {
                self.tell(&card.id, &format!("quarantined: {reason}"));
            }
            self.append(NightEntry::Device { card })?;
        } else {
            self.record.devices.insert(card.id.clone(), card);
        }
        if self.saved.is_none_or(|at| at.elapsed() >= SAVE_DEVICES) {
            self.saved = Some(Instant::now());
            self.save_devices()?;
        }
        Ok(())
    }

    fn save_devices(&self) -> CommandResult<()> {
        night::save_devices(&self.farm.out, self.record.devices.values().cloned()).or_incomplete()
    }

    /// A result, kept before the queue may forget it.
    async fn take<Q: Queue, C: Courier>(
        &mut self,
        queue: &Q,
        courier: &C,
        result: Result<Option<JobResult>, QueueError>,
    ) -> CommandResult<()> {
        let result = match result {
            Ok(Some(result)) => result,
            Ok(None) => return Ok(()),
            Err(error) => {
                say(&format!("no results: {error}"));
                tokio::time::sleep(HEARTBEAT).await;
                return Ok(());
            }
        };
        let job = result.job.clone();
        if !self.record.results.contains_key(&job) {
            self.bring(courier, result).await?;
        }
        if let Err(error) = queue.collected(&job).await {
            say(&format!("a result will come again: {error}"));
        }
        Ok(())
    }

    /// Fetches the record of a result; one that does not arrive is device trouble, as the job was done in vain.
    async fn bring<C: Courier>(&mut self, courier: &C, mut result: JobResult) -> CommandResult<()> {
        let runs = self.writer.dir().join(RUNS_DIR);
        let mut brought = courier.bring(&result, &runs).await;
        for _ in 1..FETCHES {
            if brought.is_err() {
                tokio::time::sleep(HEARTBEAT).await;
                brought = courier.bring(&result, &runs).await;
            }
        }
        let run = match brought {
            Ok(run) => run,
            Err(why) => {
                result.outcome =
                    JobOutcome::DeviceTrouble { reason: format!("its record did not arrive: {why}") };
                None
            }
        };
        self.keep(result, run).await
    }

    async fn keep(&mut self, result: JobResult, run: Option<String>) -> CommandResult<()> {
        self.at_work.remove(&result.device);
        let job = result.job.clone();
        let subject = self.subject_of(&job);
        let took = human_time(Duration::from_millis(result.took_ms));
        let mut said = format!("{subject} {} in {took}", result.outcome.word());
        if let Some(reason) = result.outcome.reason() {
            said.push_str(&format!(": {reason}"));
        }
        let device = if result.device.is_empty() { self.class_of(&job) } else { result.device.clone() };
        self.append(NightEntry::Result { result, run: run.clone() })?;
        let mut concluded = None;
        if let Some(run) = run {
            let dir = self.run_dir(&run);
            match spawn_blocking(move || conclude(&dir)).await.or_incomplete()? {
                Ok(found) => {
                    said.push_str(&counts(self.learn(&found)));
                    concluded = Some(found);
                }
                Err(failure) => said.push_str(&format!("; its record cannot be read: {:#}", failure.error)),
            }
        }
        self.tell(&device, &said);
        let planned = self.record.jobs().find(|known| known.id == job).cloned();
        match planned {
            Some(job) if !alarms_of(&job).is_empty() => self.settle(&job, concluded).await,
            _ => match concluded {
                Some(concluded) => self.remember(concluded).await,
                None => Ok(()),
            },
        }
    }

    fn run_dir(&self, run: &str) -> PathBuf {
        self.writer.dir().join(RUNS_DIR).join(run)
    }

    /// What is to be known of a run for the rest of the night.
    fn learn(&mut self, concluded: &Concluded) -> Option<&RunVerdicts> {
        let plan = &concluded.record.plan;
        if let record::Subject::Suite { at } = &plan.subject {
            let source = Source { at: at.clone(), has_data: !plan.dataset.is_random() };
            self.suites.insert(plan.suite.name.clone(), source);
        }
        // what was measured again is told where the changes are
        let record::Subject::Suite { .. } = &plan.subject else { return None };
        self.verdicts.push(verdicts_of(concluded)?);
        self.verdicts.last()
    }

    fn subject_of(&self, job: &JobId) -> String {
        let known = self.record.jobs().find(|known| known.id == *job);
        known.map_or_else(|| job.to_string(), |job| job.work.subject.to_string())
    }

    fn class_of(&self, job: &JobId) -> String {
        self.record.jobs().find(|known| known.id == *job).map(|job| job.class.clone()).unwrap_or_default()
    }

    /// Jobs that no device can do any more come to their end.
    async fn give_up_on<Q: Queue>(&mut self, queue: &Q, night: &str) -> CommandResult<()> {
        let quarantined = |card: &DeviceCard| matches!(card.health.state, State::Quarantined { .. });
        let able: BTreeSet<String> = self
            .record
            .devices
            .values()
            .filter(|card| !quarantined(card))
            .flat_map(DeviceCard::classes)
            .collect();
        let dead: BTreeSet<String> =
            self.record.open().map(|job| job.class.clone()).filter(|class| !able.contains(class)).collect();
        for class in dead {
            let of_class = |card: &&DeviceCard| card.classes().contains(&class);
            let why: Vec<String> = self.record.devices.values().filter(of_class).map(why_not).collect();
            let reason = if why.is_empty() { format!("no device is {class}") } else { why.join("; ") };
            let out = match queue.withdraw(night, Some(&class)).await {
                Ok(out) => out,
                Err(error) => {
                    say(&format!("jobs of {class} stay in the queue: {error}"));
                    self.is_news = true;
                    continue;
                }
            };
            for job in out {
                self.keep(self.not_run(job, &reason), None).await?;
            }
        }
        Ok(())
    }

    fn not_run(&self, job: JobId, reason: &str) -> JobResult {
        JobResult {
            job,
            night: self.record.plan.night.clone(),
            host: self.record.plan.host.clone(),
            device: String::new(),
            attempt: 0,
            outcome: JobOutcome::NotRun { reason: reason.to_owned() },
            record: None,
            took_ms: 0,
            ended: Timestamp::now().to_string(),
        }
    }

    /// Writes down how it ended, and tells whoever wants to know.
    async fn end(mut self, how: Ended) -> CommandResult<Summary> {
        let finished = how != Ended::Interrupted;
        if finished {
            let open: Vec<JobId> = self.record.open().map(|job| job.id.clone()).collect();
            for job in open {
                self.keep(self.not_run(job, "the time of the night was over"), None).await?;
            }
            self.append(NightEntry::Ended { at: Timestamp::now().to_string(), how })?;
        }
        self.save_devices()?;
        self.remember_the_rest().await?;
        if finished {
            // best effort: what is too much today is removed tomorrow
            self.models.tidy().unwrap_or_default();
        }
        let changes = self.changes().await?;
        let mut summary = night::summary(&self.record, std::mem::take(&mut self.verdicts), changes);
        summary.unkept = self.not_kept();
        summary.notes = self.notes.iter().cloned().collect();
        if !finished {
            summary.how = Some(how);
        }
        let text = serde_json::to_vec_pretty(&summary).or_incomplete()?;
        self.writer.write(SUMMARY_FILE, &text).or_incomplete()?;
        let page = night::markdown(&summary);
        let path = self.writer.write(SUMMARY_PAGE, page.as_bytes()).or_incomplete()?;
        crate::stdout::print(&shown::text(&summary, usize::from(width())))?;
        self.progress.note(&path.display().to_string());
        if !finished {
            let (night, farm) = (&self.record.plan.night, self.farm.path.display());
            say(&format!("what was measured is kept. To go on: bench nightly {farm} --resume {night}"));
        }
        if let Err(why) = notify::tell(&self.farm.notify, &summary, &text).await {
            say(&format!("nobody was told: {why}"));
        }
        Ok(summary)
    }
}

fn why_not(card: &DeviceCard) -> String {
    match &card.health.state {
        State::Quarantined { reason, .. } => format!("{} is quarantined: {reason}", card.id),
        other => format!("{} is {}", card.id, other.word()),
    }
}

fn verdicts_of(concluded: &Concluded) -> Option<RunVerdicts> {
    let plan = &concluded.record.plan;
    Some(RunVerdicts {
        run: plan.run.clone(),
        device: plan.devices.first()?.id.clone(),
        suite: plan.suite.name.clone(),
        lines: reports::brief(&concluded.record, &concluded.verdicts),
    })
}

/// How many are worse, better and invalid.
fn counts(found: Option<&RunVerdicts>) -> String {
    let lines = || found.iter().flat_map(|run| &run.lines);
    let count = |word: &str| lines().filter(|line| line.verdict == word).count();
    let said: Vec<String> = ["worse", "better", "invalid"]
        .iter()
        .filter_map(|word| Some(count(word)).filter(|n| *n > 0).map(|n| format!("{n} {word}")))
        .collect();
    if said.is_empty() { String::new() } else { format!(" ({})", said.join(", ")) }
}
