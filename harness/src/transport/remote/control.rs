//! The life of a program on another machine: closing the connection is not enough to end it (a frozen link,
//! a daemon that only hangs up), so it is also killed by the process id that it noted when it began.

use super::{
    super::{Control, Pending, ProcessEnd},
    Remote,
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::time::{Instant, sleep, timeout};

/// A kill that is not answered within this time will not be: the device is gone, and an agent ends by itself
/// when it has not heard its host.
const KILL_LIMIT: Duration = Duration::from_secs(5);

/// How often it is looked at whether they are done.
const GLANCE: Duration = Duration::from_millis(10);

/// See the module.
pub(super) struct RemoteControl<R: Remote> {
    inner: Option<Box<dyn Control>>,
    remote: Arc<R>,
    /// Script that kills the program and everything it started.
    kill: Option<String>,
}

impl<R: Remote> RemoteControl<R> {
    pub(super) fn new(inner: Box<dyn Control>, remote: Arc<R>, kill: String) -> Self {
        Self { inner: Some(inner), remote, kill: Some(kill) }
    }
}

impl<R: Remote> Control for RemoteControl<R> {
    fn wait(&mut self) -> Pending<'_, ProcessEnd> {
        Box::pin(async move {
            let Some(inner) = &mut self.inner else { return Ok(ProcessEnd::Unknown) };
            let end = inner.wait().await?;
            if let (ProcessEnd::Exited(_) | ProcessEnd::Signalled(_), Some(kill)) = (end, &self.kill) {
                // whatever it started must not outlive it, and its note is of no more use
                timeout(KILL_LIMIT, self.remote.run(kill)).await.ok();
                // only now: whoever stops waiting before leaves it to the drop
                self.kill = None;
            }
            Ok(end)
        })
    }

    fn kill(&mut self) -> Pending<'_, ()> {
        Box::pin(async move {
            if let Some(kill) = &self.kill {
                timeout(KILL_LIMIT, self.remote.run(kill)).await.ok();
                self.kill = None;
            }
            match &mut self.inner {
                Some(inner) => inner.kill().await,
                None => Ok(()),
            }
        })
    }
}

impl<R: Remote> Drop for RemoteControl<R> {
    fn drop(&mut self) {
        drop(self.inner.take());
        if let Some(kill) = self.kill.take() {
            last_order(&self.remote, kill);
        }
    }
}

/// A script whose end nobody waits for but [`last_orders`], and that is given up after a while.
pub(super) fn last_order<R: Remote>(remote: &Arc<R>, script: String) {
    let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
    let remote = Arc::clone(remote);
    ORDERS.fetch_add(1, Ordering::AcqRel);
    runtime.spawn(async move {
        timeout(KILL_LIMIT, remote.run(&script)).await.ok();
        ORDERS.fetch_sub(1, Ordering::AcqRel);
    });
}

/// Those that are under way.
static ORDERS: AtomicUsize = AtomicUsize::new(0);

/// Waits until what was dropped is tidied up on its device, or cannot be: for the end of an event loop, which would leave
/// programs running there.
pub(crate) async fn last_orders() {
    let over = Instant::now() + KILL_LIMIT;
    while ORDERS.load(Ordering::Acquire) > 0 && Instant::now() < over {
        sleep(GLANCE).await;
    }
}
