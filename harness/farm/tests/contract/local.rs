//! The queue of one process.

use crate::checks::{self, Bench};
use farm::queue::LocalQueue;
use std::time::Duration;

struct Local;

impl Bench for Local {
    type Queue = LocalQueue;

    async fn queue(&self) -> LocalQueue {
        LocalQueue::new()
    }

    async fn pass(&self, time: Duration) {
        tokio::time::advance(time).await;
    }
}

checks::contract!(Local, start_paused = true);
