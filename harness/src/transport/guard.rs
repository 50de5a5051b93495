//! Deadlines around every operation of every transport, so that none has to bring its own: an operation
//! that neither ends nor moves bytes is given up. Does not retry.

use super::{
    HostFile, Look, Moved, Pending, Probe, Process, Program, Pushed, Tidied, Transport, TransportError,
    waiting::Waiting,
};
use protocol::Sha256Hex;
use std::{path::Path, pin::pin, time::Duration};
use tokio::{
    sync::watch,
    time::{Instant, error::Elapsed, sleep, timeout},
};

/// A probe that takes longer is given up: `adb connect` to a dead address alone takes 10 s.
pub const PROBE_LIMIT: Duration = Duration::from_secs(20);

/// Longest look for a list: whoever waits for it sits before a terminal.
pub const LOOK_LIMIT: Duration = Duration::from_secs(10);

/// A program that takes longer to start is given up.
pub const SPAWN_LIMIT: Duration = Duration::from_secs(10);

/// A push or pull that moves nothing for so long is given up. Links go down without a word.
pub const STALL_LIMIT: Duration = Duration::from_secs(10);

/// How often it is looked at whether something moves.
const STALL_GLANCE: Duration = Duration::from_secs(1);

/// Most bytes that are fetched of one file: as many as the record keeps of the outputs of a trial.
pub(super) const MAX_PULL_BYTES: u64 = 1 << 30;

/// A device that is lost is waited for so long: a phone that restarts takes some 40 s.
pub const RECOVERY_LIMIT: Duration = Duration::from_secs(60);

/// A device that is not back yet is tried again after so long, then after twice as long, and so on.
const FIRST_PAUSE: Duration = Duration::from_millis(250);

/// And at least so often.
const LONGEST_PAUSE: Duration = Duration::from_secs(4);

/// A transport with deadlines.
pub struct Guarded(Box<dyn Transport>);

impl Guarded {
    /// Puts deadlines around `transport`.
    pub fn new(transport: Box<dyn Transport>) -> Self {
        Self(transport)
    }

    /// See [`Transport::probe`].
    ///
    /// # Errors
    /// The transport's own, or that it took too long.
    pub async fn probe(&self) -> Result<Probe, TransportError> {
        limited("probing the device", PROBE_LIMIT, self.0.probe()).await
    }

    /// See [`Transport::look`].
    ///
    /// # Errors
    /// The transport's own, or that it took too long.
    pub async fn look(&self) -> Result<Look, TransportError> {
        limited("looking at the device", LOOK_LIMIT, self.0.look()).await
    }

    /// See [`Transport::push`]; `report` hears the bytes moved so far.
    ///
    /// # Errors
    /// The transport's own, or that it stalled.
    pub async fn push(&self, file: &HostFile, mut report: impl FnMut(u64)) -> Result<Pushed, TransportError> {
        let (moved, seen) = Moved::new(0).into_pair();
        let report = |bytes| {
            report(bytes);
            Ok(())
        };
        moving(&format!("pushing {}", file.name), self.0.push(file, &moved), seen, report).await
    }

    /// See [`Transport::spawn`].
    ///
    /// # Errors
    /// The transport's own, or that it took too long.
    pub async fn spawn(&self, program: &Program) -> Result<Process, TransportError> {
        limited("starting the agent", SPAWN_LIMIT, self.0.spawn(program)).await
    }

    /// See [`Transport::pull`].
    ///
    /// # Errors
    /// The transport's own, that it stalled, or that the file is larger than 1 GiB.
    pub async fn pull(&self, from: &Path, sha256: &Sha256Hex, to: &Path) -> Result<u64, TransportError> {
        let (moved, seen) = Moved::new(0).into_pair();
        let doing = format!("fetching {}", from.display());
        let bounded = |bytes| if bytes > MAX_PULL_BYTES { Err(too_large(&doing)) } else { Ok(()) };
        moving(&doing, self.0.pull(from, sha256, to, &moved), seen, bounded).await
    }

    /// See [`Transport::remove`].
    ///
    /// # Errors
    /// The transport's own, or that it took too long.
    pub async fn remove(&self, path: &Path) -> Result<(), TransportError> {
        limited("deleting a file", SPAWN_LIMIT, self.0.remove(path)).await
    }

    /// See [`Transport::tidy`].
    ///
    /// # Errors
    /// The transport's own, or that it took too long.
    pub async fn tidy(
        &self,
        keep: &[Sha256Hex],
        limit_bytes: u64,
        spare: Duration,
    ) -> Result<Tidied, TransportError> {
        limited("deleting old files", PROBE_LIMIT, self.0.tidy(keep, limit_bytes, spare)).await
    }

    /// Waits until a device that was lost answers again: [`Transport::reconnect`], again and again.
    ///
    /// # Errors
    /// The transport's own that no further try would mend, or that the device did not come back in time, with what was
    /// seen of it last.
    pub async fn recover(&self) -> Result<(), TransportError> {
        let mut seen = None;
        match timeout(RECOVERY_LIMIT, self.comes_back(&mut seen)).await {
            Ok(result) => result,
            Err(Elapsed { .. }) => {
                let seen = seen.map(|reason| format!(" ({reason})")).unwrap_or_default();
                Err(TransportError::Lost {
                    doing: "waiting for it".to_owned(),
                    reason: format!("it did not come back within {} s{seen}", RECOVERY_LIMIT.as_secs()),
                })
            }
        }
    }

    async fn comes_back(&self, seen: &mut Option<String>) -> Result<(), TransportError> {
        let mut pause = FIRST_PAUSE;
        loop {
            match self.0.reconnect().await {
                Err(TransportError::Lost { reason, .. }) => *seen = Some(reason),
                result => return result,
            }
            sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}

fn too_large(doing: &str) -> TransportError {
    TransportError::Refused {
        doing: doing.to_owned(),
        reason: format!("it is larger than {} MiB, the most that is fetched of a file", MAX_PULL_BYTES >> 20),
    }
}

/// A sender with the receiver that watches it.
trait IntoPair {
    fn into_pair(self) -> (Moved, watch::Receiver<u64>);
}

impl IntoPair for Moved {
    fn into_pair(self) -> (Moved, watch::Receiver<u64>) {
        let seen = self.subscribe();
        (self, seen)
    }
}

async fn limited<T>(doing: &str, limit: Duration, work: Pending<'_, T>) -> Result<T, TransportError> {
    let (waiting, mut waits) = (Waiting::default(), 0);
    let mut work = pin!(waiting.clone().during(work));
    loop {
        match timeout(limit, &mut work).await {
            Ok(result) => return result,
            Err(Elapsed { .. }) if waiting.waited(&mut waits) => {}
            Err(Elapsed { .. }) => {
                return Err(TransportError::Stalled { doing: doing.to_owned(), seconds: limit.as_secs() });
            }
        }
    }
}

/// `report` hears how much has moved, and may end it.
async fn moving<T>(
    doing: &str,
    work: Pending<'_, T>,
    mut seen: watch::Receiver<u64>,
    mut report: impl FnMut(u64) -> Result<(), TransportError>,
) -> Result<T, TransportError> {
    let (waiting, mut waits) = (Waiting::default(), 0);
    let mut work = pin!(waiting.clone().during(work));
    let mut busy = Instant::now();
    loop {
        tokio::select! {
            biased;
            result = &mut work => return result,
            change = timeout(STALL_GLANCE, seen.changed()) => match change {
                Ok(Ok(())) => {
                    busy = Instant::now();
                    report(*seen.borrow_and_update())?;
                }
                // what the host waited for is no stall, and not longer than it waited
                Err(Elapsed { .. }) if waiting.waited(&mut waits) => busy = Instant::now(),
                Err(Elapsed { .. }) if busy.elapsed() < STALL_LIMIT => {}
                Ok(Err(_)) | Err(Elapsed { .. }) => {
                    return Err(TransportError::Stalled { doing: doing.to_owned(), seconds: STALL_LIMIT.as_secs() });
                }
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn on_paused_loop<T>(work: impl Future<Output = T>) -> T {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        runtime.block_on(work)
    }

    #[test]
    fn a_file_without_end_is_given_up() {
        let (moved, seen) = Moved::new(0).into_pair();
        let bounded = |bytes| if bytes > MAX_PULL_BYTES { Err(too_large("fetching x")) } else { Ok(()) };
        let endless: Pending<'_, ()> = Box::pin(async {
            loop {
                moved.send_modify(|bytes| *bytes += 1 << 20);
                tokio::task::yield_now().await;
            }
        });
        let error = on_paused_loop(moving("fetching x", endless, seen, bounded)).unwrap_err();
        assert!(error.to_string().contains("larger than 1024 MiB"), "{error}");
    }

    #[test]
    fn a_wait_at_first_does_not_excuse_a_stall_later() {
        let stalls: Pending<'_, ()> = Box::pin(async {
            drop(Waiting::current().hold());
            std::future::pending().await
        });
        let (_moved, seen) = Moved::new(0).into_pair();
        let took = on_paused_loop(async {
            let began = Instant::now();
            let error = moving("pushing x", stalls, seen, |_| Ok(())).await.unwrap_err();
            assert!(matches!(error, TransportError::Stalled { .. }), "{error}");
            began.elapsed()
        });
        assert!(took <= STALL_LIMIT + STALL_GLANCE * 2, "{took:?}");
    }

    #[test]
    fn time_that_the_host_waits_is_not_the_devices() {
        let limit = Duration::from_secs(10);
        let quick = Duration::from_secs(9);
        let (waited, idle) = on_paused_loop(async {
            let typed: Pending<'_, ()> = Box::pin(async {
                let hold = Waiting::current().hold();
                sleep(limit * 7).await;
                drop(hold);
                sleep(quick).await;
                Ok(())
            });
            let asleep: Pending<'_, ()> = Box::pin(async {
                drop(Waiting::current().hold());
                sleep(limit * 7).await;
                Ok(())
            });
            (limited("typing", limit, typed).await, limited("sleeping", limit, asleep).await)
        });
        assert!(waited.is_ok());
        assert!(matches!(idle, Err(TransportError::Stalled { .. })));
    }
}
