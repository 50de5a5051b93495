//! Ctrl-C and the polite way to be told to end, as something to wait for. What an interruption means is up
//! to whoever waits.

use std::io;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
};

/// Hears interruptions; clones hear them all.
#[derive(Clone)]
pub(crate) struct Interrupts(watch::Receiver<u32>);

impl Interrupts {
    /// Listens for SIGINT and SIGTERM from now on. SIGHUP keeps its meaning: it ends the process, or is
    /// ignored under `nohup`; the record survives it like any other kill.
    ///
    /// # Errors
    /// The system refuses a handler.
    pub(crate) fn listen() -> io::Result<Self> {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let (count, heard) = watch::channel(0u32);
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                    () = count.closed() => return,
                }
                count.send_modify(|n| *n = n.saturating_add(1));
            }
        });
        Ok(Self(heard))
    }

    /// Interruptions made by hand, for tests.
    #[cfg(test)]
    pub(crate) fn by_hand() -> (watch::Sender<u32>, Self) {
        let (count, heard) = watch::channel(0);
        (count, Self(heard))
    }

    /// The next interruption that was not heard yet.
    pub(crate) async fn next(&mut self) {
        if self.0.changed().await.is_err() {
            // nobody is left to interrupt
            std::future::pending::<()>().await;
        }
    }
}

/// Interruptions that somebody else counts: each time that the number grows is one.
impl From<watch::Receiver<u32>> for Interrupts {
    fn from(heard: watch::Receiver<u32>) -> Self {
        Self(heard)
    }
}
