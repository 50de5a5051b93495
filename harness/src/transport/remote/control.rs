//! The life of a program on another machine: closing the connection is not enough to end it (a frozen link,
//! a daemon that only hangs up), so it is also killed by the process id that it noted when it began.

use super::{
    super::{Control, Pending, ProcessEnd},
    Remote,
};
use std::{sync::Arc, time::Duration};
use tokio::time::timeout;

/// A kill that is not answered within this time will not be: the device is gone, and an agent ends by itself
/// when it has not heard its host.
const KILL_LIMIT: Duration = Duration::from_secs(5);

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
        let (Some(kill), Ok(runtime)) = (self.kill.take(), tokio::runtime::Handle::try_current()) else {
            return;
        };
        let remote = Arc::clone(&self.remote);
        runtime.spawn(async move {
            timeout(KILL_LIMIT, remote.run(&kill)).await.ok();
        });
    }
}
