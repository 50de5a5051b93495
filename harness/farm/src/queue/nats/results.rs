//! Results: one per job, collected by who planned its night.

use super::{NatsQueue, jobs};
use crate::{
    job::{JobId, JobResult, Record},
    queue::{Lease, QueueError},
};
use async_nats::jetstream::{context::PublishErrorKind, message::PublishMessage};
use std::time::Duration;
use tokio::time::Instant;

impl NatsQueue {
    pub(super) async fn finish_job(&self, lease: &Lease, result: &JobResult) -> Result<bool, QueueError> {
        let what = format!("result of job {}", result.job);
        let text = serde_json::to_vec(result).map_err(|e| QueueError::Unreadable(format!("{what}: {e}")))?;
        let message = PublishMessage::build().payload(text.clone().into()).expected_last_subject_sequence(0);
        let subject = self.names.result(&result.night, &result.job);
        let sent = self.link.context.send_publish(subject, message).await;
        let counts = match sent.map_err(|e| self.link.failed(&what, &e))?.await {
            Ok(_) => true,
            Err(error) if error.kind() == PublishErrorKind::WrongLastSequence => {
                // ours, when it arrived and the answer did not
                self.stored_result(&result.night, &result.job).await?.is_some_and(|stored| stored == text)
            }
            Err(error) => return Err(self.link.failed(&what, &error)),
        };
        // Without an answer to this, the job is handed out once more; its result is found then.
        if let Some(message) = self.let_go(lease) {
            message.double_ack().await.unwrap_or_default();
        }
        Ok(counts)
    }

    pub(super) async fn next_result(
        &self,
        night: &str,
        patience: Duration,
    ) -> Result<Option<JobResult>, QueueError> {
        let open = self.open.borrow().as_ref().map(|(result, _)| result.clone());
        if let Some(result) = open.filter(|result| result.night == night) {
            return Ok(Some(result));
        }
        let (end, subjects) = (Instant::now() + patience, self.names.night_results(night));
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let wait = left.clamp(jobs::GLANCE, jobs::WAIT);
            let of = format!("night {night}");
            if let Some(message) = self.next_message(&self.results, &of, &subjects, wait).await? {
                let result = match serde_json::from_slice::<JobResult>(&message.payload) {
                    Ok(result) => result,
                    Err(error) => {
                        // it stays where it is, and is not given to us again
                        message.ack().await.map_err(|e| self.link.failed("results", &*e))?;
                        return Err(QueueError::Unreadable(format!("on {}: {error}", message.subject)));
                    }
                };
                self.open.replace(Some((result.clone(), message)));
                return Ok(Some(result));
            }
            if left <= wait {
                self.link.check()?;
                return Ok(None);
            }
        }
    }

    pub(super) async fn result_collected(&self, job: &JobId) -> Result<(), QueueError> {
        let open = self.open.borrow().clone().filter(|(result, _)| result.job == *job);
        let Some((result, message)) = open else { return Ok(()) };
        message.double_ack().await.map_err(|e| self.link.failed("collect", &*e))?;
        self.open.replace(None);
        if let Some(Record::Object { name, .. }) = &result.record {
            // what stays there goes away with its age
            self.records.delete(name).await.unwrap_or_default();
        }
        Ok(())
    }
}
