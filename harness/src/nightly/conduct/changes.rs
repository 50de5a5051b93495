//! What a night does with earlier ones: its runs go into the history, and what changed there is measured again.

use super::Conductor;
use crate::{
    exit::{CommandResult, ExitWith},
    nightly::{
        confirm::{self, Confirmations, Planning},
        remote::Courier,
    },
    progress::say,
    render::{Concluded, conclude},
};
use farm::{
    job::{Job, JobId, Subject},
    night::{ChangeLine, NightEntry},
    queue::Queue,
};
use jiff::Timestamp;
use reports::history::{self, HistoryError, Outcome};
use tokio::task::spawn_blocking;

impl Conductor<'_> {
    /// Puts what was measured into the history. When that fails nothing is lost: the run is there, and is put in at the
    /// end of the night, or when it is resumed.
    pub(super) async fn remember(&mut self, concluded: Concluded) -> CommandResult<()> {
        let run = concluded.record.plan.run.clone();
        let night = history::Night {
            date: self.date(),
            id: Some(self.record.plan.night.clone()),
            host: Some(self.record.plan.host.clone()),
        };
        let history = self.history.clone();
        let kept = spawn_blocking(move || {
            let Concluded { record, verdicts } = &concluded;
            let rows = history::rows(record, verdicts, &night);
            let appended = if rows.is_empty() { None } else { Some(history.append(&rows)?) };
            history.append_raw(record, verdicts, &night)?;
            Ok::<_, HistoryError>(appended.map(|appended| appended.notes).unwrap_or_default())
        });
        match kept.await.or_incomplete()? {
            Ok(notes) => {
                self.notes.extend(notes.iter().map(ToString::to_string));
                self.append(NightEntry::Kept { run })
            }
            Err(error) => {
                say(&format!("run {run} is not in the history yet: {error}"));
                Ok(())
            }
        }
    }

    /// The date that stands for the night: that of its begin, UTC.
    fn date(&self) -> String {
        self.record.plan.began.chars().take(10).collect()
    }

    /// Runs that should be in the history and are not.
    pub(super) fn not_kept(&self) -> Vec<String> {
        let confirming = |job: &JobId| self.record.added.iter().any(|added| added.id == *job);
        let runs = self
            .record
            .results
            .iter()
            .filter(|(job, _)| !confirming(job))
            .filter_map(|(_, (_, run))| run.clone());
        runs.filter(|run| !self.record.kept.contains(run)).collect()
    }

    /// Tries again to put everything into the history.
    pub(super) async fn remember_the_rest(&mut self) -> CommandResult<()> {
        for run in self.not_kept() {
            let dir = self.run_dir(&run);
            if let Ok(concluded) = spawn_blocking(move || conclude(&dir)).await.or_incomplete()? {
                self.remember(concluded).await?;
            }
        }
        let lost = self.not_kept();
        if !lost.is_empty() {
            let runs: Vec<String> = lost.iter().map(|run| self.run_dir(run).display().to_string()).collect();
            let place = self.history.place();
            self.notes.insert(format!("not in the history {place}: bench history import {}", runs.join(" ")));
        }
        Ok(())
    }

    /// Looks for changes since earlier nights, once; whether there is something to measure again.
    pub(super) async fn look_for_changes<Q: Queue, C: Courier>(
        &mut self,
        queue: &Q,
        courier: &C,
    ) -> CommandResult<bool> {
        if self.alarms.is_some() {
            return Ok(false);
        }
        self.alarms = Some(Vec::new());
        self.remember_the_rest().await?;
        let (history, date, at) = (self.history.clone(), self.date(), Timestamp::now().to_string());
        let found = spawn_blocking(move || history.propose(&date, &at)).await.or_incomplete()?;
        let proposals = match found {
            Ok(reading) => {
                self.notes.extend(reading.notes.iter().map(ToString::to_string));
                reading.found
            }
            Err(error) => {
                self.notes.insert(format!("changes were not looked for: {error}"));
                return Ok(false);
            }
        };
        self.alarms = Some(proposals.iter().map(|proposal| proposal.alarm.clone()).collect());
        if proposals.is_empty() || !self.farm.changes.confirm {
            return Ok(false);
        }
        self.progress.note(&format!("changes since earlier nights that are looked at: {}", proposals.len()));
        let planning = Planning {
            night: &self.record.plan.night,
            dir: self.writer.dir(),
            seed: self.record.plan.jobs.first().map_or(0, |job| job.work.seed),
            models: &self.models,
            suites: &self.suites,
            budget: self.farm.changes.budget,
        };
        let Confirmations { mut jobs, known } = planning.plan(proposals)?;
        for (proposal, outcome) in known {
            self.write_outcome(&proposal.alarm, outcome).await?;
        }
        if jobs.is_empty() {
            return Ok(false);
        }
        self.append(NightEntry::Added { jobs: jobs.clone() })?;
        courier.send(&mut jobs).await?;
        queue.offer(&jobs).await.or_incomplete()?;
        Ok(true)
    }

    /// What a run that measured changes again says of them.
    pub(super) async fn settle(&mut self, job: &Job, concluded: Option<Concluded>) -> CommandResult<()> {
        let history = self.history.clone();
        let known = match spawn_blocking(move || history.alarms()).await.or_incomplete()? {
            Ok(reading) => reading.found,
            Err(error) => {
                self.notes
                    .insert(format!("what became of {} is not written down: {error}", job.work.subject));
                return Ok(());
            }
        };
        for id in alarms_of(job) {
            let Some(alarm) = known.iter().find(|alarm| alarm.id == *id) else { continue };
            let outcome = match &concluded {
                Some(Concluded { record, verdicts }) => confirm::outcome(&alarm.change, record, verdicts),
                None => Outcome::Unconfirmable { why: "it could not be measured again".to_owned() },
            };
            self.write_outcome(id, outcome).await?;
        }
        Ok(())
    }

    async fn write_outcome(&mut self, alarm: &str, outcome: Outcome) -> CommandResult<()> {
        let (history, at, id) = (self.history.clone(), Timestamp::now().to_string(), alarm.to_owned());
        let written = spawn_blocking(move || history.record(&id, &at, outcome)).await.or_incomplete()?;
        if let Err(error) = written {
            self.notes.insert(format!("what became of alarm {alarm} is not written down: {error}"));
        }
        Ok(())
    }

    /// The changes that this night looked at, as they are now.
    pub(super) async fn changes(&mut self) -> CommandResult<Vec<ChangeLine>> {
        let asked = self.alarms.clone().unwrap_or_default();
        let history = self.history.clone();
        let known = if asked.is_empty() {
            None
        } else {
            Some(spawn_blocking(move || history.alarms()).await.or_incomplete()?)
        };
        match known {
            Some(Ok(reading)) => Ok(reading
                .found
                .iter()
                .filter(|alarm| asked.contains(&alarm.id))
                .map(confirm::line)
                .collect()),
            Some(Err(error)) => {
                self.notes.insert(format!("changes cannot be read: {error}"));
                Ok(Vec::new())
            }
            None => Ok(Vec::new()),
        }
    }
}

/// The changes that a job is to confirm.
pub(super) fn alarms_of(job: &Job) -> &[String] {
    match &job.work.subject {
        Subject::Versions { alarms, .. } | Subject::Libraries { alarms, .. } => alarms,
        Subject::Suite { .. } => &[],
    }
}
