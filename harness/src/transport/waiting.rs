//! Time that is not the device's: while the host waits for a person to type a passphrase, or for its own turn
//! to do something expensive, no deadline of [`Guarded`](super::Guarded) runs out. Sets no deadline itself.

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

tokio::task_local! {
    static CURRENT: Waiting;
}

/// Counts the waits of one operation.
#[derive(Clone, Debug, Default)]
pub(super) struct Waiting(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    open: AtomicU32,
    over: AtomicU32,
}

/// The host waits for as long as this lives.
#[derive(Debug)]
pub(super) struct Hold(Waiting);

impl Waiting {
    /// The operation that this task is in; where it is in none, the waits are nobody's.
    pub(super) fn current() -> Self {
        CURRENT.try_with(Clone::clone).unwrap_or_default()
    }

    /// Makes this the current operation of `work`.
    pub(super) async fn during<T>(self, work: impl Future<Output = T>) -> T {
        CURRENT.scope(self, work).await
    }

    /// Begins a wait. It may end on another thread.
    pub(super) fn hold(&self) -> Hold {
        self.0.open.fetch_add(1, Ordering::AcqRel);
        Hold(self.clone())
    }

    /// Whether the host waits now, or did since this was last asked with the same `seen`.
    pub(super) fn waited(&self, seen: &mut u32) -> bool {
        let waits = self.0.open.load(Ordering::Acquire) > 0;
        let over = self.0.over.load(Ordering::Acquire);
        let before = std::mem::replace(seen, over);
        waits || before != over
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        // in this order: whoever looks in between still sees a wait
        self.0.0.over.fetch_add(1, Ordering::AcqRel);
        self.0.0.open.fetch_sub(1, Ordering::AcqRel);
    }
}
