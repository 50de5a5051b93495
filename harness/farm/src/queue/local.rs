//! The queue of one process: in memory, as the record of the night is on disk and says what is left to do.

use super::{LEASE, Lease, MAX_JOBS, PRESENCE, Queue, QueueError, Taken};
use crate::{
    device::DeviceCard,
    job::{Job, JobId, JobResult},
};
use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};
use tokio::{
    sync::Notify,
    time::{Instant, timeout_at},
};

/// Jobs, results and devices of one process.
#[derive(Default)]
pub struct LocalQueue {
    inner: RefCell<Inner>,
    /// Something may have become takeable, or collectable.
    changed: Notify,
}

#[derive(Default)]
struct Inner {
    waiting: VecDeque<Waiting>,
    leased: BTreeMap<JobId, Leased>,
    known: BTreeSet<JobId>,
    finished: BTreeSet<JobId>,
    results: VecDeque<JobResult>,
    devices: BTreeMap<String, (Instant, DeviceCard)>,
    tokens: u64,
}

struct Waiting {
    job: Job,
    attempts: u32,
    /// Not before.
    from: Instant,
}

struct Leased {
    job: Job,
    attempts: u32,
    token: u64,
    until: Instant,
}

impl LocalQueue {
    /// Without jobs.
    pub fn new() -> Self {
        Self::default()
    }

    /// Waits for `found` to find something, at most for so long.
    async fn wait<T>(&self, patience: Duration, mut found: impl FnMut(&mut Inner) -> Option<T>) -> Option<T> {
        let end = Instant::now() + patience;
        loop {
            let changed = self.changed.notified();
            let now = Instant::now();
            let next = {
                let inner = &mut *self.inner.borrow_mut();
                inner.expire(now);
                if let Some(it) = found(inner) {
                    return Some(it);
                }
                inner.next_event(now)
            };
            if now >= end {
                return None;
            }
            let until = next.map_or(end, |next| next.min(end));
            // either way: look again
            timeout_at(until, changed).await.unwrap_or_default();
        }
    }
}

impl Inner {
    /// Leases that ended: their jobs go behind.
    fn expire(&mut self, now: Instant) {
        let ended: Vec<JobId> =
            self.leased.iter().filter(|(_, leased)| leased.until <= now).map(|(id, _)| id.clone()).collect();
        for id in ended {
            if let Some(Leased { job, attempts, .. }) = self.leased.remove(&id) {
                self.waiting.push_back(Waiting { job, attempts, from: now });
            }
        }
    }

    /// When something changes by itself.
    fn next_event(&self, now: Instant) -> Option<Instant> {
        let leases = self.leased.values().map(|leased| leased.until);
        let delays = self.waiting.iter().map(|waiting| waiting.from).filter(|from| *from > now);
        leases.chain(delays).min()
    }

    fn take(&mut self, classes: &[String]) -> Option<Taken> {
        let now = Instant::now();
        let fits = |waiting: &Waiting| waiting.from <= now && classes.contains(&waiting.job.class);
        let at = self.waiting.iter().position(fits)?;
        let Waiting { job, attempts, .. } = self.waiting.remove(at)?;
        self.tokens += 1;
        let (token, attempts) = (self.tokens, attempts + 1);
        let lease = Lease { job: job.id.clone(), token };
        let leased = Leased { job: job.clone(), attempts, token, until: now + LEASE };
        self.leased.insert(job.id.clone(), leased);
        Some(Taken { job, attempt: attempts, lease })
    }

    fn held(&mut self, lease: &Lease) -> Result<&mut Leased, QueueError> {
        self.expire(Instant::now());
        self.leased
            .get_mut(&lease.job)
            .filter(|leased| leased.token == lease.token)
            .ok_or_else(|| QueueError::LeaseLost(lease.job.clone()))
    }
}

impl Queue for LocalQueue {
    async fn offer(&self, jobs: &[Job]) -> Result<usize, QueueError> {
        let inner = &mut *self.inner.borrow_mut();
        let mut new = 0;
        for job in jobs {
            if inner.known.len() >= MAX_JOBS {
                return Err(QueueError::Full(format!("it holds {MAX_JOBS} jobs")));
            }
            if inner.known.insert(job.id.clone()) {
                new += 1;
                inner.waiting.push_back(Waiting { job: job.clone(), attempts: 0, from: Instant::now() });
            }
        }
        self.changed.notify_waiters();
        Ok(new)
    }

    async fn take(&self, classes: &[String], patience: Duration) -> Result<Option<Taken>, QueueError> {
        Ok(self.wait(patience, |inner| inner.take(classes)).await)
    }

    async fn extend(&self, lease: &Lease) -> Result<(), QueueError> {
        self.inner.borrow_mut().held(lease)?.until = Instant::now() + LEASE;
        Ok(())
    }

    async fn give_back(&self, lease: &Lease, delay: Duration) -> Result<(), QueueError> {
        let inner = &mut *self.inner.borrow_mut();
        inner.held(lease)?;
        if let Some(Leased { job, attempts, .. }) = inner.leased.remove(&lease.job) {
            inner.waiting.push_back(Waiting { job, attempts, from: Instant::now() + delay });
        }
        self.changed.notify_waiters();
        Ok(())
    }

    async fn finish(&self, lease: &Lease, result: &JobResult) -> Result<bool, QueueError> {
        let inner = &mut *self.inner.borrow_mut();
        inner.leased.remove(&lease.job);
        // somebody was late, and the job had been handed out again
        inner.waiting.retain(|waiting| waiting.job.id != lease.job);
        let counts = inner.finished.insert(lease.job.clone());
        if counts {
            inner.results.push_back(result.clone());
        }
        self.changed.notify_waiters();
        Ok(counts)
    }

    async fn result(&self, night: &str, patience: Duration) -> Result<Option<JobResult>, QueueError> {
        let first = |inner: &mut Inner| inner.results.iter().find(|result| result.night == night).cloned();
        Ok(self.wait(patience, first).await)
    }

    async fn collected(&self, job: &JobId) -> Result<(), QueueError> {
        self.inner.borrow_mut().results.retain(|result| result.job != *job);
        Ok(())
    }

    async fn withdraw(&self, night: &str, class: Option<&str>) -> Result<Vec<JobId>, QueueError> {
        let inner = &mut *self.inner.borrow_mut();
        inner.expire(Instant::now());
        let goes = |Waiting { job, .. }: &Waiting| {
            job.night == night && class.is_none_or(|class| job.class == class)
        };
        let out = inner.waiting.iter().filter(|w| goes(w)).map(|w| w.job.id.clone()).collect();
        inner.waiting.retain(|waiting| !goes(waiting));
        Ok(out)
    }

    async fn announce(&self, card: &DeviceCard) -> Result<(), QueueError> {
        self.inner.borrow_mut().devices.insert(card.id.clone(), (Instant::now(), card.clone()));
        Ok(())
    }

    async fn devices(&self) -> Result<Vec<DeviceCard>, QueueError> {
        let now = Instant::now();
        let there = |(at, _): &&(Instant, DeviceCard)| now.duration_since(*at) < PRESENCE;
        Ok(self.inner.borrow().devices.values().filter(there).map(|(_, card)| card.clone()).collect())
    }
}
