//! Jobs of a farm done by this process: each is a run of its own on one device, recorded and reported like any other.

use crate::{
    canaries::{self, Pinned},
    devices::{Known, Registry},
    exit::{CommandResult, Exit, ExitWith, Failure},
    interrupt::Interrupts,
    measure::{self, Measured, NoDevice},
    progress::{Progress, say},
    render::{self, Concluded},
    selection::{Selection, Wanted, host_file},
    settings::Settings,
    transport::TransportError,
    values::Span,
};
use datasets::FileRef;
use farm::{
    device::Canaries,
    health::Reading,
    job::{Job, JobOutcome, Record, Subject, Work},
    worker::{Execution, Executor, Looked},
};
use protocol::Format;
use reports::verdict::Verdicts;
use std::{
    cell::RefCell,
    collections::BTreeMap,
    path::{Path, PathBuf},
    rc::Rc,
    time::Duration,
};
use tokio::{
    sync::{Semaphore, watch},
    task::spawn_blocking,
};

/// The suite that shows whether a device can measure at all.
const PROBE_SUITE: &str = "smoke";
/// A probe that takes longer has failed.
const PROBE_LIMIT: Duration = Duration::from_secs(180);
/// Runs that are judged and reported at the same time: that is work for the host's cores.
const REPORTERS: usize = 2;

/// Devices that this process can reach, and how it measures on them.
pub(crate) struct Crew {
    settings: Settings,
    registry: Registry,
    devices: BTreeMap<String, Known>,
    /// Folder of the runs.
    runs: PathBuf,
    loaded: RefCell<BTreeMap<String, Rc<Selection>>>,
    reporters: Semaphore,
}

impl Crew {
    /// With these settings, and no devices yet.
    pub(crate) fn new(settings: Settings) -> Self {
        Self {
            registry: Registry::bare(&settings),
            settings,
            devices: BTreeMap::new(),
            runs: PathBuf::new(),
            loaded: RefCell::default(),
            reporters: Semaphore::new(REPORTERS),
        }
    }

    /// On these devices, with what was read already; runs go into `runs`.
    pub(crate) fn on(self, registry: Registry, devices: &[Known], runs: PathBuf) -> Self {
        let devices = devices.iter().map(|known| (known.id.clone(), known.clone())).collect();
        Self { registry, devices, runs, ..self }
    }

    /// What a job measures, read and checked once for all devices.
    ///
    /// # Errors
    /// Names the file, key or name that is wrong.
    pub(crate) fn selection(&self, work: &Work) -> CommandResult<Rc<Selection>> {
        let key = serde_json::to_string(work).or_usage()?;
        if let Some(loaded) = self.loaded.borrow().get(&key) {
            return Ok(Rc::clone(loaded));
        }
        let selection = Rc::new(load(work, &self.settings_of(work)?)?);
        self.loaded.borrow_mut().insert(key, Rc::clone(&selection));
        Ok(selection)
    }

    fn settings_of(&self, work: &Work) -> CommandResult<Settings> {
        let mut settings = self.settings.clone();
        settings.out = self.runs.clone();
        if !work.runtimes.is_empty() {
            let runtimes = work.runtimes.iter().map(|name| name.parse());
            settings.runtimes = runtimes.collect::<Result<_, _>>().or_usage()?;
        }
        settings.threads = work.threads.or(settings.threads);
        settings.units = work.units.or(settings.units);
        let budget = work.time_budget_ms.map(|ms| Span(Duration::from_millis(ms)));
        settings.time_budget = budget.or(settings.time_budget);
        settings.seed = Some(work.seed);
        Ok(settings)
    }

    fn known(&self, device: &str) -> Result<&Known, String> {
        self.devices.get(device).ok_or_else(|| format!("{device} is not a device of this host"))
    }

    async fn run(&self, device: &str, work: &Work, cancel: watch::Receiver<u32>) -> CommandResult<Done> {
        let selection = self.selection(work)?;
        let settings = self.settings_of(work)?;
        let known = self.known(device).map_err(Failure::usage)?.clone();
        let devices = self.registry.open_all(vec![known])?;
        let interrupts = Interrupts::from(cancel);
        let mut progress = Progress::new(true);
        let seed = work.seed;
        let measured =
            measure::start_on(devices, &selection, &settings, seed, &mut progress, interrupts).await?;
        let reporter = self.reporters.acquire().await.or_incomplete()?;
        let dir = measured.dir.clone();
        let (concluded, _) = spawn_blocking(move || render::files(&dir)).await.or_incomplete()??;
        drop(reporter);
        if let Err(error) = canaries::keep(&concluded.record.plan, &concluded.verdicts.canaries, &self.runs) {
            say(&format!("what the canaries found is not written down for later runs: {error}"));
        }
        Ok(Done { measured, concluded })
    }
}

struct Done {
    measured: Measured,
    concluded: Concluded,
}

/// Reads what is to be measured.
fn load(work: &Work, settings: &Settings) -> CommandResult<Selection> {
    let wanted = match &work.subject {
        Subject::Suite { at } | Subject::Libraries { at, .. } => {
            Wanted { suite: Some(at.clone()), keep_reference: true, ..Wanted::default() }
        }
        Subject::Versions { base, head, data, .. } => {
            let versions = Some((base.clone(), head.clone()));
            Wanted { versions, data: data.clone(), keep_reference: true, ..Wanted::default() }
        }
    };
    let wanted = Wanted { filter: work.filter.clone(), ..wanted };
    let mut selection = Selection::load(&wanted, settings, work.seed)?;
    selection.pinned = work.reference.as_deref().map(pinned).transpose()?;
    Ok(selection)
}

fn pinned(path: &Path) -> CommandResult<Pinned> {
    let format = match path.extension().and_then(|e| e.to_str()) {
        Some("tflite") => Format::Tflite,
        Some("onnx") => Format::Onnx,
        _ => {
            return Err(Failure::usage(format!(
                "reference: {} is neither a .tflite nor an .onnx file",
                path.display()
            )));
        }
    };
    let file = host_file(&FileRef::on_disk(path)).or_usage()?;
    let name = path.file_stem().map_or("pinned".to_owned(), |name| name.to_string_lossy().into_owned());
    Ok(Pinned { name, format, file })
}

impl Executor for Crew {
    async fn look(&self, device: &str) -> Result<Looked, String> {
        let known = self.known(device)?;
        known.state.clone()?;
        let opened = self.registry.open(known.clone())?;
        let look = opened.way.look().await.map_err(|error| match error {
            TransportError::Stalled { seconds, .. } => format!("no answer within {seconds} s"),
            other => other.to_string(),
        })?;
        let reading = Reading { battery_percent: look.battery_percent, milli_celsius: look.milli_celsius };
        Ok(Looked { model: look.model, os: look.os, reading })
    }

    async fn measure(&self, device: &str, job: &Job, cancel: watch::Receiver<u32>) -> Execution {
        match self.run(device, &job.work, cancel).await {
            Ok(done) => done.execution(),
            Err(failure) => Execution {
                outcome: outcome_of(&failure),
                record: None,
                canaries: Canaries::default(),
                cancelled: false,
            },
        }
    }

    async fn probe(&self, device: &str) -> Result<Canaries, String> {
        let subject = Subject::Suite { at: PROBE_SUITE.to_owned() };
        let work = Work::of(subject, measure::random_seed());
        let (_never, cancel) = watch::channel(0);
        let run = tokio::time::timeout(PROBE_LIMIT, self.run(device, &work, cancel)).await;
        let done = run
            .map_err(|_| format!("the suite {PROBE_SUITE} was not done within {} s", PROBE_LIMIT.as_secs()))?
            .map_err(|failure| words(&failure))?;
        let Execution { outcome, canaries, .. } = done.execution();
        // nobody asks for this record again
        std::fs::remove_dir_all(&done.measured.dir).unwrap_or_default();
        match outcome {
            JobOutcome::Measured | JobOutcome::Partly { .. } => Ok(canaries),
            other => Err(other.reason().unwrap_or(other.word()).to_owned()),
        }
    }
}

/// Whose fault it is.
fn outcome_of(failure: &Failure) -> JobOutcome {
    let reason = words(failure);
    match failure.exit {
        Exit::Usage | Exit::NothingSelected => JobOutcome::UserError { reason },
        Exit::Incomplete | Exit::Fine | Exit::GateFailed => JobOutcome::DeviceTrouble { reason },
    }
}

fn words(failure: &Failure) -> String {
    match failure.error.downcast_ref::<NoDevice>().and_then(|none| none.reasons.first()) {
        Some((_, reason)) => reason.clone(),
        None => format!("{:#}", failure.error),
    }
}

impl Done {
    fn execution(&self) -> Execution {
        let Self { measured, concluded } = self;
        let ended = &measured.ended;
        let missing: Vec<String> = concluded
            .record
            .plan
            .variants()
            .iter()
            .zip(&concluded.verdicts.cases)
            .filter(|(_, case)| case.failed > 0)
            .map(|(case, _)| format!("{} on {}", case.variant, case.runtime))
            .collect();
        let outcome = match (&ended.record_failed, ended.lost.first()) {
            (Some(reason), _) => JobOutcome::DeviceTrouble { reason: reason.clone() },
            (None, Some((_, reason))) => JobOutcome::DeviceTrouble { reason: reason.clone() },
            (None, None) if missing.is_empty() => JobOutcome::Measured,
            (None, None) => JobOutcome::Partly { reason: format!("failed trials of {}", missing.join(", ")) },
        };
        Execution {
            outcome,
            record: Some(Record::Folder { path: measured.dir.clone() }),
            canaries: canaries_of(&concluded.verdicts),
            cancelled: ended.interrupted,
        }
    }
}

/// What the canaries of a run found.
fn canaries_of(verdicts: &Verdicts) -> Canaries {
    let mut all = Canaries::default();
    for finding in &verdicts.canaries {
        let counts = finding.counts();
        all.add(Canaries {
            same: counts.same,
            false_alarms: counts.confirmed,
            slower: counts.slower,
            found: counts.found,
        });
    }
    all
}
