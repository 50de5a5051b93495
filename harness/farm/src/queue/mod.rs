//! The queue between who plans a night and who measures: one trait, of which the queue of one process
//! ([`LocalQueue`]) and that of many hosts keep the same contract (`tests/contract`).
//!
//! A job is handed to one taker at a time, under a lease that ends when it is not extended: then somebody else gets
//! it. Its result counts once, however often it is handed over. Jobs of a class are handed out in the order in which
//! they were offered; one that is given back comes again when its delay is over.

mod local;
pub mod nats;

pub use local::LocalQueue;

use crate::{
    device::DeviceCard,
    job::{Job, JobId, JobResult},
};
use std::time::Duration;

/// A lease ends when it was not extended for so long: a worker that is gone is missed after half a minute.
pub const LEASE: Duration = Duration::from_secs(30);
/// A lease is extended so often: two losses in a row are borne.
pub const HEARTBEAT: Duration = Duration::from_secs(10);
/// A device that was not announced for so long is gone.
pub const PRESENCE: Duration = Duration::from_secs(45);
/// Most jobs of a night.
pub const MAX_JOBS: usize = 100_000;

/// A job that was handed out.
#[derive(Clone, Debug, PartialEq)]
pub struct Taken {
    /// The job.
    pub job: Job,
    /// How often it was handed out, this time included.
    pub attempt: u32,
    /// The right to do it.
    pub lease: Lease,
}

/// The right to do a job, until it is not extended any more.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Lease {
    /// Which job.
    pub job: JobId,
    /// Different each time that the job is handed out.
    pub token: u64,
}

/// Why a queue did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum QueueError {
    /// Nobody answers, or not in time; what was asked may have been done.
    #[error("the queue cannot be reached: {0}")]
    Unreachable(String),
    /// Credentials or rights are wrong.
    #[error("the queue refuses us: {0}")]
    Refused(String),
    /// There is no room.
    #[error("the queue is full: {0}")]
    Full(String),
    /// The lease has ended: somebody else may be at it.
    #[error("the lease of job {0} has ended")]
    LeaseLost(JobId),
    /// What lies in the queue is not ours, or of another version.
    #[error("the queue holds what cannot be read: {0}")]
    Unreadable(String),
}

/// A queue of jobs, with the results going back and the devices that are there.
#[expect(async_fn_in_trait, reason = "one thread drives a farm: nothing has to be Send")]
pub trait Queue {
    /// Puts jobs in, in this order; those whose id is known already are passed over. Says how many are new.
    ///
    /// # Errors
    /// Some may be in all the same: offering them again does no harm.
    async fn offer(&self, jobs: &[Job]) -> Result<usize, QueueError>;

    /// The next job of one of these classes; `None` when there is none within `patience`.
    ///
    /// # Errors
    /// Nothing was taken.
    async fn take(&self, classes: &[String], patience: Duration) -> Result<Option<Taken>, QueueError>;

    /// The job is still worked on: its lease starts anew.
    ///
    /// # Errors
    /// [`QueueError::LeaseLost`]: stop working on it.
    async fn extend(&self, lease: &Lease) -> Result<(), QueueError>;

    /// The job was not done: somebody may try again after `delay`.
    ///
    /// # Errors
    /// The lease ends by itself.
    async fn give_back(&self, lease: &Lease, delay: Duration) -> Result<(), QueueError>;

    /// Hands the result over and takes the job out. Says whether it counted: `false`, there was one already.
    ///
    /// # Errors
    /// It may have counted: handing it over again does no harm.
    async fn finish(&self, lease: &Lease, result: &JobResult) -> Result<bool, QueueError>;

    /// The next result of that night that was not collected; `None` when there is none within `patience`. The same one
    /// comes again until it was [`collected`](Self::collected), and may come again after that.
    ///
    /// # Errors
    /// Nothing was lost.
    async fn result(&self, night: &str, patience: Duration) -> Result<Option<JobResult>, QueueError>;

    /// The result is on this host's disk: it need not come again.
    ///
    /// # Errors
    /// It will come again.
    async fn collected(&self, job: &JobId) -> Result<(), QueueError>;

    /// Takes jobs of that night out that nobody is at: those of a class, or all. Says which.
    ///
    /// # Errors
    /// Some may be left.
    async fn withdraw(&self, night: &str, class: Option<&str>) -> Result<Vec<JobId>, QueueError>;

    /// A device is there, and how it is; for [`PRESENCE`].
    ///
    /// # Errors
    /// Nobody hears of it.
    async fn announce(&self, card: &DeviceCard) -> Result<(), QueueError>;

    /// The devices that are there.
    ///
    /// # Errors
    /// Nothing is known of them.
    async fn devices(&self) -> Result<Vec<DeviceCard>, QueueError>;
}
