//! Jobs: offered once, handed out to one taker at a time, withdrawn when nobody is at them.

use super::{AT_ONCE, Held, NatsQueue, link::ANSWER, names};
use crate::{
    job::{Job, JobId},
    queue::{Lease, QueueError, Taken},
};
use async_nats::jetstream::{
    AckKind, Message,
    consumer::{AckPolicy, DeliverPolicy, PullConsumer, pull},
    context::PublishErrorKind,
    kv::{CreateErrorKind, UpdateErrorKind},
    message::PublishMessage,
    stream::{LastRawMessageErrorKind, Stream},
};
use futures_util::{StreamExt, future::try_join_all};
use std::time::Duration;
use tokio::time::{Instant, sleep_until, timeout};

/// A taker of several classes waits at one of them so long, and then looks at the others.
const LOOK: Duration = Duration::from_secs(1);
/// One of a single class waits so long in one request: it is lost with the server that it waits at.
pub(super) const WAIT: Duration = Duration::from_secs(5);
/// Long enough to be given what is there.
pub(super) const GLANCE: Duration = Duration::from_millis(50);
/// Takers that wait for the same class at once: thousands of devices may have the same tag.
const MAX_WAITING: i64 = 16_384;
/// A class that nobody asks for is forgotten; longer than any job waits.
const CONSUMER_AGE: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// A lease that was lost and never came to its end is forgotten.
const LOST_AGE: Duration = Duration::from_secs(24 * 60 * 60);
/// The entry among the leases of a job that is being withdrawn.
const WITHDRAWN: &[u8] = b"withdrawn";

impl NatsQueue {
    pub(super) async fn offer_jobs(&self, jobs: &[Job]) -> Result<usize, QueueError> {
        let mut new = 0;
        for some in jobs.chunks(AT_ONCE) {
            let known = try_join_all(some.iter().map(|job| self.is_known(job))).await?;
            let fresh: Vec<&Job> =
                some.iter().zip(known).filter(|(_, known)| !known).map(|(job, _)| job).collect();
            let mut sent = Vec::new();
            for job in &fresh {
                sent.push(self.publish(job).await?);
            }
            for ack in sent {
                match ack.await {
                    Ok(ack) => new += usize::from(!ack.duplicate),
                    // it lies there: we were cut off before it was marked as known
                    Err(error) if error.kind() == PublishErrorKind::WrongLastSequence => {}
                    Err(error) => return Err(self.link.failed("offer", &error)),
                }
            }
            try_join_all(fresh.iter().map(|job| self.mark_known(&job.id))).await?;
        }
        Ok(new)
    }

    async fn is_known(&self, job: &Job) -> Result<bool, QueueError> {
        let known = async {
            let entry = self.known.get(job.id.as_str()).await;
            entry.map_err(|e| self.link.failed("known jobs", &e))
        };
        let (known, done) = tokio::try_join!(known, self.stored_result(&job.night, &job.id))?;
        Ok(known.is_some() || done.is_some())
    }

    async fn mark_known(&self, job: &JobId) -> Result<(), QueueError> {
        match self.known.create(job.as_str(), "offered".into()).await {
            Ok(_) => Ok(()),
            Err(error) if error.kind() == CreateErrorKind::AlreadyExists => Ok(()),
            Err(error) => Err(self.link.failed("known jobs", &error)),
        }
    }

    async fn publish(
        &self,
        job: &Job,
    ) -> Result<async_nats::jetstream::context::PublishAckFuture, QueueError> {
        let text =
            serde_json::to_vec(job).map_err(|e| QueueError::Unreadable(format!("job {}: {e}", job.id)))?;
        let message = PublishMessage::build().payload(text.into()).message_id(job.id.as_str());
        // whatever the server remembers of ids: on this subject there is one message, or none
        let message = message.expected_last_subject_sequence(0);
        let subject = self.names.job(&job.class, &job.night, &job.id);
        let sent = self.link.context.send_publish(subject, message).await;
        sent.map_err(|e| self.link.failed(&format!("offer job {}", job.id), &e))
    }

    pub(super) async fn take_job(
        &self,
        classes: &[String],
        patience: Duration,
    ) -> Result<Option<Taken>, QueueError> {
        let end = Instant::now() + patience;
        if classes.is_empty() {
            sleep_until(end).await;
            return Ok(None);
        }
        for class in classes.iter().cycle() {
            // what is there goes first, of the first class first; then a while at one of them
            let others = if classes.len() > 1 { classes } else { &[] };
            for class in others {
                if let Some(taken) = self.pull(class, GLANCE).await? {
                    return Ok(Some(taken));
                }
            }
            let left = end.saturating_duration_since(Instant::now());
            let wait = left.min(if classes.len() == 1 { WAIT } else { LOOK }).max(GLANCE);
            if let Some(taken) = self.pull(class, wait).await? {
                return Ok(Some(taken));
            }
            if left <= wait {
                break;
            }
        }
        self.link.check()?;
        Ok(None)
    }

    /// The next job of a class.
    async fn pull(&self, class: &str, wait: Duration) -> Result<Option<Taken>, QueueError> {
        let subjects = self.names.class_jobs(class);
        while let Some(message) = self.next_message(&self.jobs, class, &subjects, wait).await? {
            if let Some(taken) = self.hold(message).await? {
                return Ok(Some(taken));
            }
        }
        Ok(None)
    }

    /// The next message on `subjects` of a stream that nobody is at, from the consumer named after `of`.
    pub(super) async fn next_message(
        &self,
        stream: &Stream,
        of: &str,
        subjects: &str,
        wait: Duration,
    ) -> Result<Option<Message>, QueueError> {
        let what = format!("take of {of}");
        let consumer = self.consumer(stream, of, subjects).await?;
        let asked = async {
            // always with an end: a server may answer nothing at all to who does not wait, when messages were removed
            let batch = consumer.batch().max_messages(1).expires(wait).messages().await;
            let mut batch = batch.map_err(|e| self.link.failed(&what, &e))?;
            batch.next().await.transpose().map_err(|e| self.link.failed(&what, &*e))
        };
        let answer = timeout(wait + ANSWER, asked).await;
        let answer = answer.unwrap_or_else(|_| {
            Err(QueueError::Unreachable(format!("{what}: no answer within {} s", ANSWER.as_secs())))
        });
        if answer.is_err() {
            // it may be gone, with a server that lost its files: the next time it is made anew
            self.consumers.borrow_mut().remove(subjects);
        }
        answer
    }

    async fn consumer(&self, stream: &Stream, of: &str, subjects: &str) -> Result<PullConsumer, QueueError> {
        if let Some(known) = self.consumers.borrow().get(subjects) {
            return Ok(known.clone());
        }
        let config = pull::Config {
            durable_name: Some(names::consumer(of)),
            filter_subject: subjects.to_owned(),
            deliver_policy: DeliverPolicy::All,
            ack_policy: AckPolicy::Explicit,
            ack_wait: self.limits.lease,
            max_deliver: -1,
            max_ack_pending: i64::try_from(self.limits.jobs).unwrap_or(i64::MAX),
            max_waiting: MAX_WAITING,
            inactive_threshold: CONSUMER_AGE,
            ..pull::Config::default()
        };
        let made = stream.create_consumer(config).await;
        let made: PullConsumer = made.map_err(|e| self.link.failed(&format!("consumer for {of}"), &e))?;
        self.consumers.borrow_mut().insert(subjects.to_owned(), made.clone());
        Ok(made)
    }

    /// Makes the lease of a job that was handed out; `None`: it is not to be done.
    async fn hold(&self, message: Message) -> Result<Option<Taken>, QueueError> {
        let job: Job = match serde_json::from_slice(&message.payload) {
            Ok(job) => job,
            Err(error) => {
                let later = AckKind::Nak(Some(self.limits.lease));
                message.ack_with(later).await.map_err(|e| self.link.failed("give back", &*e))?;
                return Err(QueueError::Unreadable(format!(
                    "on {}: {error}; was it planned by the same version of bench?",
                    message.subject
                )));
            }
        };
        // the server may have been killed before it had noted that the job was done
        let done = self.stored_result(&job.night, &job.id).await?.is_some();
        let mark = self.link.client().new_inbox();
        let revision = if done { None } else { self.enter(&job.id, &mark).await? };
        let Some(revision) = revision else {
            message.ack().await.map_err(|e| self.link.failed("take out", &*e))?;
            return Ok(None);
        };
        let handed = message.info().map_err(|e| self.link.failed("take", &*e))?.delivered;
        let attempt = u32::try_from(handed).unwrap_or(1).max(1);
        let (token, now) = (self.tokens.get() + 1, Instant::now());
        self.tokens.set(token);
        let mut all = self.held.borrow_mut();
        all.retain(|_, held| now.duration_since(held.at) < LOST_AGE);
        all.insert(job.id.clone(), Held { token, mark, revision, message, at: now });
        let lease = Lease { job: job.id.clone(), token };
        Ok(Some(Taken { job, attempt, lease }))
    }

    /// Makes our entry among the leases; `None`: the job is being withdrawn.
    async fn enter(&self, job: &JobId, mark: &str) -> Result<Option<u64>, QueueError> {
        let failed = |e: &(dyn std::error::Error + 'static)| self.link.failed("lease", e);
        loop {
            match self.leases.create(job.as_str(), mark.to_owned().into()).await {
                Ok(revision) => return Ok(Some(revision)),
                Err(error) if error.kind() == CreateErrorKind::AlreadyExists => {}
                Err(error) => return Err(failed(&error)),
            }
            let Some(there) = self.leases.entry(job.as_str()).await.map_err(|e| failed(&e))? else {
                continue;
            };
            if there.value == WITHDRAWN {
                return Ok(None);
            }
            // the server has handed the job to us: who had it before has been silent for too long
            match self.leases.update(job.as_str(), mark.to_owned().into(), there.revision).await {
                Ok(revision) => return Ok(Some(revision)),
                Err(error) if error.kind() == UpdateErrorKind::WrongLastRevision => {}
                Err(error) => return Err(failed(&error)),
            }
        }
    }

    /// The job in hand under that lease.
    fn held(&self, lease: &Lease) -> Result<Held, QueueError> {
        let all = self.held.borrow();
        let held = all.get(&lease.job).filter(|held| held.token == lease.token);
        held.cloned().ok_or_else(|| QueueError::LeaseLost(lease.job.clone()))
    }

    /// Our entry among the leases is made anew, if it is still there.
    async fn renew(&self, lease: &Lease) -> Result<Held, QueueError> {
        let mut held = self.held(lease)?;
        let key = lease.job.as_str();
        for _ in 0..2 {
            match self.leases.update(key, held.mark.clone().into(), held.revision).await {
                Ok(revision) => {
                    held.revision = revision;
                    self.held.borrow_mut().insert(lease.job.clone(), held.clone());
                    return Ok(held);
                }
                Err(error) if error.kind() == UpdateErrorKind::WrongLastRevision => {}
                Err(error) => return Err(self.link.failed("lease", &error)),
            }
            // the last time it may have been made without our hearing of it
            let there = self.leases.entry(key).await.map_err(|e| self.link.failed("lease", &e))?;
            match there.filter(|there| there.value == held.mark.as_bytes()) {
                Some(there) => held.revision = there.revision,
                None => break,
            }
        }
        Err(QueueError::LeaseLost(lease.job.clone()))
    }

    pub(super) async fn extend_lease(&self, lease: &Lease) -> Result<(), QueueError> {
        let held = self.renew(lease).await?;
        let extended = held.message.double_ack_with(AckKind::Progress).await;
        extended.map_err(|e| self.link.failed("extend", &*e))
    }

    pub(super) async fn give_job_back(&self, lease: &Lease, delay: Duration) -> Result<(), QueueError> {
        let held = self.renew(lease).await?;
        let freed = self.leases.delete_expect_revision(lease.job.as_str(), Some(held.revision)).await;
        freed.map_err(|e| self.link.failed("give back", &e))?;
        let delay = Some(delay).filter(|delay| !delay.is_zero());
        let given = held.message.double_ack_with(AckKind::Nak(delay)).await;
        given.map_err(|e| self.link.failed("give back", &*e))?;
        self.held.borrow_mut().remove(&lease.job);
        Ok(())
    }

    pub(super) async fn withdraw_jobs(
        &self,
        night: &str,
        class: Option<&str>,
    ) -> Result<Vec<JobId>, QueueError> {
        let subjects = self.names.night_jobs(night, class);
        let failed = |e: &(dyn std::error::Error + 'static)| self.link.failed("withdraw", e);
        let mut listed = self.jobs.info_with_subjects(&subjects).await.map_err(|e| failed(&e))?;
        let mut there = Vec::new();
        while let Some(subject) = listed.next().await {
            there.push(subject.map_err(|e| failed(&e))?.0);
        }
        let mut out = Vec::new();
        for some in there.chunks(AT_ONCE) {
            let gone = try_join_all(some.iter().map(|subject| self.withdraw_one(subject))).await?;
            out.extend(gone.into_iter().flatten());
        }
        Ok(out)
    }

    /// Takes a job out that nobody is at.
    async fn withdraw_one(&self, subject: &str) -> Result<Option<JobId>, QueueError> {
        let failed = |e: &(dyn std::error::Error + 'static)| self.link.failed("withdraw", e);
        // ids are digits: as a token they are what they are
        let id = subject.rsplit('.').next().unwrap_or_default();
        let id = serde_json::from_value::<JobId>(id.into())
            .map_err(|e| QueueError::Unreadable(format!("on {subject}: {e}")))?;
        match self.leases.create(id.as_str(), WITHDRAWN.into()).await {
            Ok(_) => {}
            Err(error) if error.kind() == CreateErrorKind::AlreadyExists => {
                let there = self.leases.get(id.as_str()).await.map_err(|e| failed(&e))?;
                if there.is_some_and(|there| there != WITHDRAWN) {
                    return Ok(None);
                }
            }
            Err(error) => return Err(failed(&error)),
        }
        // by its number: where messages are purged by subject, servers before 2.10 skip others of the class
        match self.jobs.get_last_raw_message_by_subject(subject).await {
            Ok(there) => {
                self.jobs.delete_message(there.sequence).await.map(|_| Some(id)).map_err(|e| failed(&e))
            }
            Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => Ok(None),
            Err(error) => Err(failed(&error)),
        }
    }

    /// The result that there is of a job, as it lies there.
    pub(super) async fn stored_result(
        &self,
        night: &str,
        job: &JobId,
    ) -> Result<Option<Vec<u8>>, QueueError> {
        let subject = self.names.result(night, job);
        match self.results.get_last_raw_message_by_subject(&subject).await {
            Ok(message) => Ok(Some(message.payload.to_vec())),
            Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => Ok(None),
            Err(error) => Err(self.link.failed("results", &error)),
        }
    }

    /// Forgets the job in hand, and says where it came from.
    pub(super) fn let_go(&self, lease: &Lease) -> Option<Message> {
        let mut all = self.held.borrow_mut();
        all.get(&lease.job).filter(|held| held.token == lease.token)?;
        all.remove(&lease.job).map(|held| held.message)
    }
}
