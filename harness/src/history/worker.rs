//! A thread that does asynchronous work for callers that are not: they wait for the answer, wherever they run.

use std::{future::Future, io, pin::Pin, sync::mpsc::sync_channel, thread};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

type Job = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The thread; it ends when this is dropped and all its work is done.
pub(super) struct Worker {
    jobs: UnboundedSender<Job>,
}

impl Worker {
    /// Starts it.
    ///
    /// # Errors
    /// The system gives no thread, or no event loop.
    pub(super) fn start() -> io::Result<Self> {
        let (jobs, mut waiting) = unbounded_channel::<Job>();
        let events = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        thread::Builder::new().name("object-store".to_owned()).spawn(move || {
            events.block_on(async {
                while let Some(job) = waiting.recv().await {
                    tokio::spawn(job);
                }
            });
        })?;
        Ok(Self { jobs })
    }

    /// Does the work there, and waits for it.
    ///
    /// # Errors
    /// The work's own; the thread is gone.
    pub(super) fn run<T: Send + 'static>(
        &self,
        work: impl Future<Output = io::Result<T>> + Send + 'static,
    ) -> io::Result<T> {
        let (answer, result) = sync_channel(1);
        let job = async move {
            // whoever asked is gone: nobody misses the answer
            answer.send(work.await).unwrap_or_default();
        };
        let gone = || io::Error::other("the thread of the object store has ended");
        self.jobs.send(Box::pin(job)).map_err(|_| gone())?;
        result.recv().map_err(|_| gone())?
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_is_done_from_inside_and_outside_of_an_event_loop() {
        let worker = Worker::start().unwrap();
        assert_eq!(worker.run(async { Ok(7) }).unwrap(), 7);
        let events = tokio::runtime::Builder::new_current_thread().build().unwrap();
        events.block_on(async {
            let failed = worker.run(async { Err::<u8, _>(io::Error::other("no")) });
            assert_eq!(failed.unwrap_err().to_string(), "no");
            drop(worker);
        });
    }
}
