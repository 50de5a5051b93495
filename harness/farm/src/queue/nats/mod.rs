//! The queue of many hosts, on NATS JetStream. The server needs JetStream and nothing newer than version 2.9.
//!
//! | on the server | what |
//! |---|---|
//! | stream `…_jobs` | a work queue: a job is one message, on a subject of its own below that of its class, and goes away when it is acknowledged; it is handed out again when that does not come in time |
//! | bucket `…_leases` | who is at a job; entries go away when a lease ends. Where taking and withdrawing meet, the first to make the entry wins |
//! | bucket `…_known` | jobs that were offered once |
//! | stream `…_results` | one message per job: a second one is refused by the server, which is why a job counts once however often it is done |
//! | bucket `…_devices` | devices that were announced; entries go away |
//! | objects `…_files`, `…_records` | models and data by their hash, and archives of runs until they are collected |
//!
//! All of it lies in files, is bounded in bytes and age by [`Limits`], and survives a kill of the server. What was
//! acknowledged shortly before such a kill may be handed out again: then its result is found, and it is not done twice.

mod devices;
mod jobs;
mod link;
mod names;
mod objects;
mod options;
mod results;

pub use objects::{ObjectError, Objects};
pub use options::{DEFAULT_FARM, Identity, Limits, NatsOptions, TlsFiles};

use super::{Lease, Queue, QueueError, Taken};
use crate::{
    device::DeviceCard,
    job::{Job, JobId, JobResult},
};
use async_nats::jetstream::{
    Message,
    consumer::PullConsumer,
    kv,
    object_store::{self, ObjectStore},
    stream::{self, DiscardPolicy, RetentionPolicy, Stream},
};
use link::{Link, is_missing};
use names::Names;
use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    time::Duration,
};
use tokio::time::Instant;

/// Requests under way at once when there are many of a kind.
const AT_ONCE: usize = 64;
/// Bytes of a bucket of small entries.
const BUCKET_BYTES: i64 = 64 << 20;
/// A job that is offered again within this is known from its id alone; after that, from the bucket of known jobs.
const SAME_MESSAGE: Duration = Duration::from_secs(120);

/// A queue on a NATS server. See the module.
pub struct NatsQueue {
    link: Link,
    names: Names,
    limits: Limits,
    jobs: Stream,
    results: Stream,
    known: kv::Store,
    leases: kv::Store,
    devices: kv::Store,
    files: ObjectStore,
    records: ObjectStore,
    /// Who hands out a class, or collects a night, by its name.
    consumers: RefCell<BTreeMap<String, PullConsumer>>,
    /// Jobs that were handed out to this process.
    held: RefCell<BTreeMap<JobId, Held>>,
    /// The result that is to be collected next.
    open: RefCell<Option<(JobResult, Message)>>,
    tokens: Cell<u64>,
}

/// A job in hand.
#[derive(Clone)]
struct Held {
    token: u64,
    /// What our entry among the leases holds: nobody else's does.
    mark: String,
    /// Revision of our entry.
    revision: u64,
    message: Message,
    at: Instant,
}

impl NatsQueue {
    /// Connects, and makes on the server what is not there yet. The connection comes back by itself as often as it is
    /// lost.
    ///
    /// # Errors
    /// The server cannot be reached, refuses us, or has no room; or the options make no sense.
    pub async fn connect(options: &NatsOptions) -> Result<Self, QueueError> {
        let link = Link::connect(options).await?;
        let (names, limits) = (Names::new(&options.farm), options.limits.clone());
        let jobs = the_stream(&link, jobs_config(&names, &limits)).await?;
        let results = the_stream(&link, results_config(&names, &limits)).await?;
        let bucket = |kind: &str, max_age| the_bucket(&link, names.of(kind), max_age);
        let known = bucket("known", limits.results_age).await?;
        let leases = bucket("leases", limits.lease).await?;
        let devices = bucket("devices", limits.presence).await?;
        let objects = |kind: &str, bytes| the_objects(&link, names.of(kind), bytes, limits.objects_age);
        let files = objects("files", limits.files_bytes).await?;
        let records = objects("records", limits.records_bytes).await?;
        let (consumers, held, open) = (RefCell::default(), RefCell::default(), RefCell::default());
        let tokens = Cell::new(0);
        let queue = Self {
            link,
            names,
            limits,
            jobs,
            results,
            known,
            leases,
            devices,
            files,
            records,
            consumers,
            held,
            open,
            tokens,
        };
        Ok(queue)
    }
}

fn jobs_config(names: &Names, limits: &Limits) -> stream::Config {
    stream::Config {
        name: names.of("jobs"),
        subjects: vec![names.all_jobs()],
        retention: RetentionPolicy::WorkQueue,
        discard: DiscardPolicy::New,
        max_messages: i64::try_from(limits.jobs).unwrap_or(i64::MAX),
        max_bytes: i64::try_from(limits.jobs_bytes).unwrap_or(i64::MAX),
        max_age: limits.jobs_age,
        duplicate_window: SAME_MESSAGE,
        ..stream::Config::default()
    }
}

fn results_config(names: &Names, limits: &Limits) -> stream::Config {
    stream::Config {
        name: names.of("results"),
        subjects: vec![names.all_results()],
        // an old result is never thrown away to make room
        discard: DiscardPolicy::New,
        max_bytes: i64::try_from(limits.results_bytes).unwrap_or(i64::MAX),
        max_age: limits.results_age,
        duplicate_window: SAME_MESSAGE,
        ..stream::Config::default()
    }
}

/// The stream of that name.
async fn the_stream(link: &Link, config: stream::Config) -> Result<Stream, QueueError> {
    let (name, retention) = (config.name.clone(), config.retention);
    let made = link.context.get_or_create_stream(config).await;
    let stream = made.map_err(|e| link.failed(&format!("stream {name}"), &e))?;
    let there = &stream.cached_info().config;
    match there.retention == retention && there.discard == DiscardPolicy::New {
        true => Ok(stream),
        false => Err(QueueError::Unreadable(format!(
            "stream {name} is not as this version makes it: it must throw no message away for room; remove it, or take \
             another --farm"
        ))),
    }
}

/// The bucket of that name. Its stream is made here, as the client would make it: before that, the client would ask for
/// the limits of the account, in words that servers before 2.10 do not speak.
async fn the_bucket(link: &Link, name: String, max_age: Duration) -> Result<kv::Store, QueueError> {
    let config = stream::Config {
        name: format!("KV_{name}"),
        subjects: vec![format!("$KV.{name}.>")],
        discard: DiscardPolicy::New,
        max_messages_per_subject: 1,
        max_bytes: BUCKET_BYTES,
        max_age,
        duplicate_window: SAME_MESSAGE.min(max_age),
        allow_rollup: true,
        deny_delete: true,
        allow_direct: true,
        ..stream::Config::default()
    };
    the_stream(link, config).await?;
    link.context.get_key_value(&name).await.map_err(|e| link.failed(&format!("bucket {name}"), &e))
}

async fn the_objects(
    link: &Link,
    name: String,
    bytes: u64,
    max_age: Duration,
) -> Result<ObjectStore, QueueError> {
    match link.context.get_object_store(&name).await {
        Ok(objects) => return Ok(objects),
        Err(error) if is_missing(&error) => {}
        Err(error) => return Err(link.failed(&format!("objects {name}"), &error)),
    }
    let max_bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
    let config =
        object_store::Config { bucket: name.clone(), max_age, max_bytes, ..object_store::Config::default() };
    link.context.create_object_store(config).await.map_err(|e| link.failed(&format!("objects {name}"), &e))
}

impl Queue for NatsQueue {
    async fn offer(&self, jobs: &[Job]) -> Result<usize, QueueError> {
        self.offer_jobs(jobs).await
    }

    async fn take(&self, classes: &[String], patience: Duration) -> Result<Option<Taken>, QueueError> {
        self.take_job(classes, patience).await
    }

    async fn extend(&self, lease: &Lease) -> Result<(), QueueError> {
        self.extend_lease(lease).await
    }

    async fn give_back(&self, lease: &Lease, delay: Duration) -> Result<(), QueueError> {
        self.give_job_back(lease, delay).await
    }

    async fn finish(&self, lease: &Lease, result: &JobResult) -> Result<bool, QueueError> {
        self.finish_job(lease, result).await
    }

    async fn result(&self, night: &str, patience: Duration) -> Result<Option<JobResult>, QueueError> {
        self.next_result(night, patience).await
    }

    async fn collected(&self, job: &JobId) -> Result<(), QueueError> {
        self.result_collected(job).await
    }

    async fn withdraw(&self, night: &str, class: Option<&str>) -> Result<Vec<JobId>, QueueError> {
        self.withdraw_jobs(night, class).await
    }

    async fn announce(&self, card: &DeviceCard) -> Result<(), QueueError> {
        self.announce_device(card).await
    }

    async fn devices(&self) -> Result<Vec<DeviceCard>, QueueError> {
        self.announced_devices().await
    }
}
