//! `bench nightly`: everything that a farm file asks for, on whatever devices answer, in one night. Here is the way
//! from the file to the summary; `plan.rs` decides what is measured, `conduct.rs` leads the night, `executor.rs`
//! measures, and the crate `farm` has the queue, the health of devices and the record.

mod attend;
mod conduct;
mod confirm;
mod executor;
mod file;
mod models;
mod notify;
mod plan;
mod remote;
mod shown;

use crate::{
    devices::{Known, Registry},
    exit::{CommandResult, Exit, ExitWith, Failure},
    history,
    interrupt::Interrupts,
    measure::random_seed,
    nats::{NatsArgs, failure},
    progress::{Progress, say},
    settings::{Layer, Settings},
    transport::HostFile,
    values::human_time,
};
use anyhow::Context;
pub(crate) use attend::{Attending, attend};
use conduct::Conductor;
use executor::Crew;
use farm::{
    device::{DeviceCard, Health},
    job::{Job, JobFile, Subject, Work},
    night::{self, NIGHT_SCHEMA, NightPlan, NightRecord, NightWriter, Summary},
    queue::{LocalQueue, Queue, nats::NatsQueue},
    worker::{Clock, Seat, Shop, Stop, work},
};
use file::{Farm, Limit};
use futures_util::{StreamExt, stream::FuturesUnordered};
use jiff::Timestamp;
use models::Models;
use plan::{Estimates, Granted, Terms};
use remote::Courier;
use reports::history::History;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::sync::{mpsc, oneshot, watch};

/// Most files of a job that travel to other hosts.
const MAX_JOB_FILES: usize = 100_000;
/// Longest name of a host.
const MAX_HOST: usize = 64;

/// What was asked for on the command line.
#[derive(Debug)]
pub(crate) struct Asked {
    /// The farm file.
    pub(crate) farm: PathBuf,
    /// Go on with this night, or with the latest one.
    pub(crate) resume: Option<String>,
    /// Devices that are well again, whatever was found.
    pub(crate) release: Vec<String>,
    /// The devices are attached to other hosts: how their queue is named on the command line.
    pub(crate) nats: NatsArgs,
    /// The settings above those of `bench.toml`.
    pub(crate) settings: Layer,
}

/// A farm with everything that is needed to begin.
struct Prepared {
    farm: Farm,
    /// Without devices; it has read what is measured.
    crew: Crew,
    registry: Registry,
    history: History,
    devices: Vec<Known>,
    cards: Vec<DeviceCard>,
    terms: BTreeMap<String, Terms>,
    jobs: Vec<Job>,
    night: String,
}

/// Says what a night would do; touches no device.
///
/// # Errors
/// What is wrong with the farm file, or with what it names.
pub(crate) async fn check(asked: Asked, config: Option<&Path>) -> CommandResult<String> {
    let ready = prepare(file::read(&asked.farm)?, &asked, None, config).await?;
    let mut said = String::new();
    for job in &ready.jobs {
        said.push_str(&format!(
            "{} on {}: up to {}, priority {}\n",
            reports::visible(&job.work.subject.to_string()),
            job.class,
            human_time(Duration::from_millis(job.estimate_ms)),
            job.priority
        ));
    }
    said.push_str(&format!(
        "{} jobs on {} devices; nothing was touched\n",
        ready.jobs.len(),
        ready.cards.len()
    ));
    for card in ready.cards.iter().filter(|card| card.health.state.word() == "quarantined") {
        said.push_str(&format!("{} is quarantined, and is probed first\n", card.id));
    }
    Ok(said)
}

/// A whole night.
///
/// # Errors
/// It could not be begun, or its record not be written.
pub(crate) async fn night(asked: Asked, config: Option<&Path>, progress: &mut Progress) -> CommandResult {
    let farm = file::read(&asked.farm)?;
    let joined = match asked.nats.clone().options(&farm.name)? {
        Some(options) => Some(remote::join(&options, progress).await?),
        None => None,
    };
    let ready = prepare(farm, &asked, joined.as_ref().map(|(_, cards)| cards.as_slice()), config).await?;
    fs::create_dir_all(&ready.farm.out)
        .with_context(|| format!("the folder of the nights, {}", ready.farm.out.display()))
        .or_usage()?;
    let (writer, record) = match &asked.resume {
        Some(night) => NightWriter::reopen(&find(&ready.farm.out, night)?).or_usage()?,
        None => begin(&ready, progress)?,
    };
    if let Some((at, _)) = &record.ended {
        return Err(Failure::usage(format!(
            "the night {} ended at {at}: nothing is left to do",
            record.plan.night
        )));
    }
    progress.note(&format!("night {} in {}", record.plan.night, writer.dir().display()));
    let summary = match joined {
        Some((queue, _)) => on_other_hosts(ready, &queue, writer, record, progress).await?,
        None => on_this_host(ready, writer, record, progress).await?,
    };
    Ok(exit_of(&summary))
}

/// 1 where a change for the worse is confirmed, 3 where something could not be measured.
fn exit_of(summary: &Summary) -> Exit {
    let incomplete = summary.failed().next().is_some() || !summary.unkept.is_empty();
    match (summary.confirmed().any(|change| change.worse), incomplete) {
        (true, _) => Exit::GateFailed,
        (false, true) => Exit::Incomplete,
        (false, false) => Exit::Fine,
    }
}

/// Reads everything that the farm file names, asks which devices there are, and plans.
async fn prepare(
    farm: Farm,
    asked: &Asked,
    announced: Option<&[DeviceCard]>,
    config: Option<&Path>,
) -> CommandResult<Prepared> {
    let mut layer = asked.settings.clone();
    layer.devices = layer.devices.or_else(|| farm.devices.clone());
    let beside = || farm.out.with_file_name("history").display().to_string();
    layer.history = Some(layer.history.or_else(|| farm.history.clone()).unwrap_or_else(beside));
    let settings = Settings::resolve(layer, config)?;
    let registry = match announced {
        Some(cards) => Registry::of_announced(cards.iter().map(remote::known).collect(), &settings),
        None => Registry::read(&settings)?,
    };
    if announced.is_some() && !farm.limits.is_empty() {
        return Err(Failure::usage(format!(
            "the farm file {}: limits: devices of other hosts are kept to no limits yet; take them out, or measure on this host",
            farm.path.display()
        )));
    }
    let seed = random_seed();
    let history = history::open(&settings)?;
    let crew = Crew::new(settings);
    let mut granted = Vec::new();
    let mut devices: Vec<Known> = Vec::new();
    for wish in &farm.jobs {
        let at = |failure: Failure| Failure {
            error: failure.error.context(format!(
                "the farm file {}: suite {:?}",
                farm.path.display(),
                wish.suite
            )),
            ..failure
        };
        let selection = crew.selection(&plan::work_of(wish, seed)).map_err(at)?;
        selection.notes.iter().for_each(|note| say(note));
        let chosen = registry.choose(std::slice::from_ref(&wish.devices)).await.map_err(at)?;
        granted.push(Granted {
            wish,
            selection,
            devices: chosen.iter().map(|known| known.id.clone()).collect(),
        });
        devices.extend(chosen);
    }
    let mut seen = BTreeSet::new();
    devices.retain(|known| seen.insert(known.id.clone()));
    let cards = match announced {
        Some(cards) => cards.iter().filter(|card| seen.contains(&card.id)).cloned().collect(),
        None => cards(&farm.out, &devices, &asked.release)?,
    };
    let limits = limits(&farm, &registry, &devices).await?;
    let terms: BTreeMap<String, Terms> =
        devices.iter().map(|known| (known.id.clone(), plan::terms(&farm, &limits, &known.id))).collect();
    let now = Timestamp::now();
    let night = format!("{}-{:04x}", now.strftime("%Y%m%d-%H%M%S"), random_seed() & 0xffff);
    let jobs = plan::jobs(&granted, &night, seed, &estimates(&farm.out));
    plan::check(&jobs, &cards, &terms, now)?;
    drop(granted);
    Ok(Prepared { farm, crew, registry, history, devices, cards, terms, jobs, night })
}

/// How long jobs took in the latest night that has a summary.
fn estimates(out: &Path) -> Estimates {
    let latest = night::list(out).unwrap_or_default().into_iter().find_map(|dir| read_summary(&dir));
    latest.as_ref().map(Estimates::of_night).unwrap_or_default()
}

fn read_summary(dir: &Path) -> Option<Summary> {
    serde_json::from_slice(&fs::read(dir.join(night::SUMMARY_FILE)).ok()?).ok()
}

/// The devices as earlier nights left them; those that were found well by a person are.
pub(super) fn cards(out: &Path, devices: &[Known], release: &[String]) -> CommandResult<Vec<DeviceCard>> {
    let earlier = night::load_devices(out).or_usage()?;
    let earlier: BTreeMap<String, DeviceCard> =
        earlier.into_iter().map(|card| (card.id.clone(), card)).collect();
    if let Some(unknown) = release.iter().find(|id| !devices.iter().any(|known| known.id == **id)) {
        return Err(Failure::usage(format!("--release {unknown}: no device that is meant has that name")));
    }
    let (host, at) = (host(), Timestamp::now().to_string());
    let card = |known: &Known| {
        let known_as = earlier.get(&known.id);
        let mut health = known_as.map(|card| card.health.clone()).unwrap_or_default();
        if release.contains(&known.id) {
            health = Health { canaries: health.canaries, ..Health::default() };
        }
        DeviceCard {
            id: known.id.clone(),
            host: host.clone(),
            transport: known.transport.to_owned(),
            tags: known.tags.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            model: known_as.and_then(|card| card.model.clone()),
            os: known_as.and_then(|card| card.os.clone()),
            health: health.rested(),
            at: at.clone(),
        }
    };
    Ok(devices.iter().map(card).collect())
}

/// The name of this host, for people.
pub(crate) fn host() -> String {
    let name = rustix::system::uname();
    let name: String = name.nodename().to_string_lossy().chars().take(MAX_HOST).collect();
    if name.is_empty() { "host".to_owned() } else { name }
}

/// Every limit with the ids of the devices it means. One that means none of the farm's is a mistake.
async fn limits<'a>(
    farm: &'a Farm,
    registry: &Registry,
    devices: &[Known],
) -> CommandResult<Vec<(&'a Limit, Vec<String>)>> {
    let mut all = Vec::new();
    for limit in &farm.limits {
        let chosen = registry.choose(std::slice::from_ref(&limit.devices)).await?;
        let ids: Vec<String> = chosen.into_iter().map(|known| known.id).collect();
        if !devices.iter().any(|known| ids.contains(&known.id)) {
            return Err(Failure::usage(format!(
                "the farm file {}: limits: {:?} means no device that a job is for",
                farm.path.display(),
                limit.devices
            )));
        }
        all.push((limit, ids));
    }
    Ok(all)
}

/// Writes the plan of a new night.
fn begin(ready: &Prepared, progress: &Progress) -> CommandResult<(NightWriter, NightRecord)> {
    let Prepared { farm, jobs, cards, night, .. } = ready;
    if let Some(cut) = cut_off(&farm.out) {
        progress.note(&format!("the night {cut} was cut off: --resume {cut} would go on with it"));
    }
    let now = Timestamp::now();
    let ends = farm.ends_after.and_then(|span| now.checked_add(span).ok());
    let plan = NightPlan {
        schema: NIGHT_SCHEMA,
        night: night.clone(),
        farm: farm.name.clone(),
        host: host(),
        began: now.to_string(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        farm_sha256: farm.sha256.clone(),
        ends: ends.map(|at| at.to_string()),
        jobs: jobs.clone(),
        devices: cards.clone(),
    };
    let writer = NightWriter::create(&farm.out, &plan).or_incomplete()?;
    Ok((writer, NightRecord::begun(plan)))
}

/// The latest night, if it has not come to its end.
fn cut_off(out: &Path) -> Option<String> {
    let latest = night::list(out).ok()?.into_iter().next()?;
    let record = night::load(&latest).ok()?;
    record.ended.is_none().then_some(record.plan.night)
}

/// The folder of a night: by its name, its path, or `latest`.
fn find(out: &Path, asked: &str) -> CommandResult<PathBuf> {
    let nights = night::list(out).or_usage()?;
    let found = match asked {
        "latest" => nights.first(),
        name => nights.iter().find(|dir| dir.ends_with(name)),
    };
    found.cloned().ok_or_else(|| {
        Failure::usage(format!(
            "there is no night {asked:?} in {}; there are {}",
            out.display(),
            nights.len()
        ))
    })
}

/// A night on the devices of this process.
async fn on_this_host(
    ready: Prepared,
    writer: NightWriter,
    record: NightRecord,
    progress: &mut Progress,
) -> CommandResult<Summary> {
    let Prepared { farm, crew, registry, history, devices, cards, mut terms, .. } = ready;
    let queue = LocalQueue::new();
    let open: Vec<Job> = record.open().cloned().collect();
    queue.offer(&open).await.or_incomplete()?;
    let crew = crew.on(registry, &devices, writer.dir().join(night::RUNS_DIR));
    keep_models(&farm, &crew, &record)?;
    let (told, heard) = mpsc::unbounded_channel();
    let (stop, stopped) = watch::channel(Stop::Run);
    let (gone, all_gone) = oneshot::channel();
    let shop = Shop {
        queue: &queue,
        executor: &crew,
        rules: farm.health.clone(),
        told,
        stop: stopped,
        clock: Clock::start(),
    };
    let seats = cards.into_iter().filter_map(|card| {
        let Terms { blackout, budget, rest } = terms.remove(&card.id)?;
        Some(Seat { card, blackout, budget, rest })
    });
    let working = async {
        let all: FuturesUnordered<_> = seats.map(|seat| work(&shop, seat)).collect();
        let cards: Vec<DeviceCard> = all.collect().await;
        // who leads the night may be gone already, because its record cannot be written
        gone.send(cards).unwrap_or_default();
    };
    let interrupts = Interrupts::listen().context("signals cannot be heard").or_incomplete()?;
    let conductor = Conductor::new(&farm, history, writer, record, progress)?;
    let (summary, ()) =
        tokio::join!(conductor.lead(&queue, &remote::Here, heard, stop, all_gone, interrupts), working);
    summary
}

/// Keeps every model that the night measures, for the nights to come.
fn keep_models(farm: &Farm, crew: &Crew, record: &NightRecord) -> CommandResult<()> {
    let models = Models::beside(&farm.out);
    for job in &record.plan.jobs {
        // those of a resumed night may have been read, and changed, since
        for entrant in crew.selection(&job.work).map(|s| s.entrants.clone()).unwrap_or_default() {
            models.keep(&entrant.file, entrant.format).context("a model is to be kept").or_incomplete()?;
        }
    }
    Ok(())
}

/// A night on the devices that workers of other hosts have announced.
async fn on_other_hosts(
    ready: Prepared,
    queue: &NatsQueue,
    writer: NightWriter,
    record: NightRecord,
    progress: &mut Progress,
) -> CommandResult<Summary> {
    let Prepared { farm, crew, history, .. } = ready;
    keep_models(&farm, &crew, &record)?;
    let courier = remote::ByQueue(queue);
    let mut open: Vec<Job> = record.open().cloned().collect();
    courier.send(&mut open).await?;
    queue.offer(&open).await.map_err(failure)?;
    let jobs: BTreeSet<_> = record.jobs().map(|job| job.id.clone()).collect();
    let night = record.plan.night.clone();
    let (told, heard) = mpsc::unbounded_channel();
    let (stop, stopped) = watch::channel(Stop::Run);
    let (gone, all_gone) = oneshot::channel();
    let watching = async {
        let cards = remote::watch_devices(queue, &jobs, &night, told, stopped).await;
        gone.send(cards).unwrap_or_default();
    };
    let interrupts = Interrupts::listen().context("signals cannot be heard").or_incomplete()?;
    let conductor = Conductor::new(&farm, history, writer, record, progress)?;
    let (summary, ()) =
        tokio::join!(conductor.lead(queue, &courier, heard, stop, all_gone, interrupts), watching);
    summary
}

/// Every file on this host that a job needs.
fn files_of(work: &Work) -> CommandResult<Vec<JobFile>> {
    let files_of_suite =
        |at: &str| suites::lookup(at).and_then(|suite| suite.files(MAX_JOB_FILES)).or_usage();
    let mut paths = match &work.subject {
        Subject::Suite { at } | Subject::Libraries { at, .. } => files_of_suite(at)?,
        Subject::Versions { base, head, data, .. } => {
            let mut paths = suites::versions(base, head, None)
                .and_then(|found| found.suite.files(MAX_JOB_FILES))
                .or_usage()?;
            if let Some(at) = data {
                paths.extend(files_of_suite(at)?);
            }
            paths
        }
    };
    paths.extend(work.reference.clone());
    let file = |path: PathBuf| {
        let file = HostFile::from_path(&path).with_context(|| path.display().to_string()).or_usage()?;
        Ok(JobFile { path, sha256: file.sha256, bytes: file.bytes })
    };
    paths.into_iter().map(file).collect()
}
