//! The queue on a NATS server: a real one, in which every queue is a farm of its own. Time passes faster: a lease is of
//! four seconds.

use crate::checks::{self, Bench};
use crate::server::NatsServer;
use farm::queue::{
    LEASE, PRESENCE,
    nats::{Limits, NatsOptions, NatsQueue},
};
use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

/// The lease of the tests.
pub(crate) const TEST_LEASE: Duration = Duration::from_secs(4);

struct Nats {
    server: NatsServer,
    farms: AtomicU32,
}

impl Nats {
    fn start(test: &str) -> Option<Self> {
        Some(Self { server: NatsServer::start(test, "")?, farms: AtomicU32::new(0) })
    }
}

/// Options for a fresh farm in which time passes as [`Nats`] says.
pub(crate) fn options(url: &str, farm: &str) -> NatsOptions {
    let scale = |time: Duration| time.mul_f64(TEST_LEASE.as_secs_f64() / LEASE.as_secs_f64());
    let limits = Limits { lease: scale(LEASE), presence: scale(PRESENCE), ..Limits::default() };
    NatsOptions { farm: farm.to_owned(), limits, ..NatsOptions::of(url) }
}

impl Bench for Nats {
    type Queue = NatsQueue;

    async fn queue(&self) -> NatsQueue {
        let farm = format!("farm{}", self.farms.fetch_add(1, Ordering::Relaxed));
        NatsQueue::connect(&options(&self.server.url(), &farm)).await.unwrap()
    }

    async fn pass(&self, time: Duration) {
        // a tenth more: the server looks at its clock a few times per second
        tokio::time::sleep(time.mul_f64(1.1 * TEST_LEASE.as_secs_f64() / LEASE.as_secs_f64())).await;
    }
}

checks::contract!(match Nats::start(module_path!()) {
    Some(nats) => nats,
    None => return,
});
