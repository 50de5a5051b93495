//! A night in one line: what moved, what is sick, what could not run, and whether that is good. Pure.

use super::{
    parts::Tone,
    shelf::{self, Night},
};
use crate::night::{ChangeLine, JobLine, Summary};
use reports::text;
use serde::Serialize;

/// A night in short.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Digest {
    /// Its name.
    pub night: String,
    /// Its farm.
    pub farm: String,
    /// When it began, RFC 3339, UTC.
    pub began: String,
    /// When it ended.
    pub ended: Option<String>,
    /// How it went, in words.
    pub headline: String,
    /// `good`, `open`, `look`, `bad`.
    pub answer: &'static str,
    /// Jobs that were planned.
    pub jobs: usize,
    /// Of these, measured whole.
    pub measured: usize,
    /// Of these, ended without a whole result.
    pub trouble: usize,
    /// Devices.
    pub devices: usize,
    /// Of these, offline or quarantined at the end.
    pub sick: usize,
    /// Changes for the worse that were confirmed and that nobody has acknowledged.
    pub worse: usize,
    /// Changes for the better that were confirmed.
    pub better: usize,
    /// Changes that wait for confirmation, or for which there was none.
    pub open_changes: usize,
    /// Something of it could not be read.
    pub damaged: bool,
    #[serde(skip)]
    pub(super) tone: Tone,
}

/// A job that ended, and not with a whole result.
pub(super) fn is_trouble(job: &JobLine) -> bool {
    job.outcome.is_some() && !shelf::is_measured(job)
}

/// A change of which it is not known whether it is one.
pub(super) fn is_open(change: &ChangeLine) -> bool {
    matches!(change.state.as_str(), "proposed" | "unconfirmable")
}

impl Digest {
    /// Of a night, as far as it could be read.
    pub(super) fn of(night: &Night) -> Self {
        let summary = &night.summary;
        let trouble = summary.jobs.iter().filter(|job| is_trouble(job)).count();
        let pending = summary.jobs.iter().filter(|job| job.outcome.is_none()).count();
        let sick = summary.sick().count();
        let worse = summary.confirmed().filter(|change| change.worse).count();
        let better = summary.confirmed().count() - worse;
        let open_changes = summary.changes.iter().filter(|change| is_open(change)).count();
        let unread = !night.whole && summary.jobs.is_empty() && !night.notes.is_empty();
        let unfinished = summary.ended.is_none();
        // a night that ended with jobs that never began
        let never = if unfinished { 0 } else { pending };
        let tone = match () {
            () if worse > 0 || unread => Tone::Bad,
            () if sick + trouble + never + open_changes > 0 => Tone::Look,
            () if unfinished => Tone::Open,
            () => Tone::Good,
        };
        let findings: Vec<String> = [
            (worse, "series got worse", "series got worse"),
            (open_changes, "change not confirmed yet", "changes not confirmed yet"),
            (sick, "device sick", "devices sick"),
            (trouble + never, "job without a whole result", "jobs without a whole result"),
            (better, "series got better", "series got better"),
        ]
        .into_iter()
        .filter(|(n, _, _)| *n > 0)
        .map(|(n, one, many)| format!("{n} {}", if n == 1 { one } else { many }))
        .collect();
        Self {
            night: summary.night.clone(),
            farm: summary.farm.clone(),
            began: summary.began.clone(),
            ended: summary.ended.clone(),
            headline: headline(summary, unread, &findings),
            answer: match tone {
                Tone::Good => "good",
                Tone::Open => "open",
                Tone::Look => "look",
                Tone::Bad => "bad",
            },
            jobs: summary.jobs.len(),
            measured: summary.jobs.iter().filter(|job| shelf::is_measured(job)).count(),
            trouble: trouble + never,
            devices: summary.devices.len(),
            sick,
            worse,
            better,
            open_changes,
            damaged: !night.notes.is_empty(),
            tone,
        }
    }
}

fn headline(summary: &Summary, unread: bool, findings: &[String]) -> String {
    let (done, all) = (summary.jobs.iter().filter(|job| job.outcome.is_some()).count(), summary.jobs.len());
    let told = findings.join(", ");
    match () {
        () if unread => "This night cannot be read".to_owned(),
        () if summary.ended.is_none() && findings.is_empty() => {
            format!("Not ended yet: {done} of {} done", text::counted(all, "job"))
        }
        () if summary.ended.is_none() => format!("Not ended yet, {done} of {all} jobs done: {told}"),
        () if findings.is_empty() && all == 0 => "A night without jobs".to_owned(),
        () if findings.is_empty() => {
            "A good night: nothing moved, every device is well, every job is done".to_owned()
        }
        () => text::capital(&told),
    }
}
