//! A night in short: what moved, what is sick, what could not run. Made from the night's record alone.

use super::{ChangeLine, Ended, JobLine, NIGHT_SCHEMA, NightRecord, Summary, VerdictLine};
use crate::{
    device::State,
    job::{Job, JobOutcome, Subject},
};
use protocol::metric;
use reports::{Line, markdown_text};
use std::{fmt::Write, path::Path};

/// Verdicts of a run.
pub struct RunVerdicts {
    /// Its name.
    pub run: String,
    /// Its device.
    pub device: String,
    /// Its suite.
    pub suite: String,
    /// The lines.
    pub lines: Vec<Line>,
}

/// Verdicts by how much a person wants to know of them.
const VERDICTS: [&str; 5] = ["worse", "invalid", "better", "inconclusive", "equivalent"];

/// The night in short.
pub fn summary(record: &NightRecord, runs: Vec<RunVerdicts>, changes: Vec<ChangeLine>) -> Summary {
    let mut verdicts: Vec<VerdictLine> = runs.into_iter().flat_map(lines).collect();
    let rank = |line: &VerdictLine| VERDICTS.iter().position(|word| *word == line.verdict);
    verdicts.sort_by_key(rank);
    Summary {
        schema: NIGHT_SCHEMA,
        night: record.plan.night.clone(),
        farm: record.plan.farm.clone(),
        began: record.plan.began.clone(),
        ended: record.ended.as_ref().map(|(at, _)| at.clone()),
        how: record.ended.as_ref().map(|(_, how)| *how),
        jobs: record.jobs().map(|job| job_line(record, job)).collect(),
        verdicts,
        changes,
        devices: record.devices.values().cloned().collect(),
    }
}

fn lines(run: RunVerdicts) -> Vec<VerdictLine> {
    let RunVerdicts { run, device, suite, lines } = run;
    let line = |line: Line| VerdictLine {
        run: run.clone(),
        device: device.clone(),
        suite: suite.clone(),
        candidate: line.candidate,
        reference: line.reference,
        metric: line.metric.to_owned(),
        verdict: line.verdict.to_owned(),
        effect: line.effect,
        reason: line.reason,
    };
    lines.into_iter().map(line).collect()
}

fn job_line(record: &NightRecord, job: &Job) -> JobLine {
    let found = record.results.get(&job.id);
    let result = found.map(|(result, _)| result);
    JobLine {
        job: job.id.clone(),
        class: job.class.clone(),
        subject: subject(&job.work.subject),
        device: result.map(|result| result.device.clone()).filter(|device| !device.is_empty()),
        host: result.map(|result| result.host.clone()),
        outcome: result.map(|result| result.outcome.clone()),
        attempts: result.map_or(0, |result| result.attempt),
        took_ms: result.map_or(0, |result| result.took_ms),
        run: found.and_then(|(_, run)| run.clone()),
    }
}

/// What is measured, in words.
fn subject(subject: &Subject) -> String {
    let name =
        |at: &str| Path::new(at).file_stem().map_or(at.to_owned(), |s| s.to_string_lossy().into_owned());
    match subject {
        Subject::Suite { at } => name(at),
        Subject::Versions { alarm, .. } => format!("confirm {alarm}: two versions of a model"),
        Subject::Libraries { at, alarm } => {
            format!("confirm {alarm}: {} on two versions of a runtime", name(at))
        }
    }
}

impl Summary {
    /// Jobs that did not give what they should.
    pub fn failed(&self) -> impl Iterator<Item = &JobLine> {
        self.jobs.iter().filter(|job| job.outcome != Some(JobOutcome::Measured))
    }

    /// Devices that cannot be used.
    pub fn sick(&self) -> impl Iterator<Item = (&str, &str, &str)> {
        self.devices.iter().filter_map(|card| match &card.health.state {
            State::Quarantined { reason, .. } | State::Offline { reason } => {
                Some((card.id.as_str(), card.health.state.word(), reason.as_str()))
            }
            State::Ready | State::Busy { .. } => None,
        })
    }

    /// Changes that are real and that nobody has acknowledged.
    pub fn confirmed(&self) -> impl Iterator<Item = &ChangeLine> {
        self.changes.iter().filter(|change| change.state == "confirmed")
    }

    /// One sentence.
    pub fn headline(&self) -> String {
        let measured = self.jobs.len() - self.failed().count();
        let mut said = format!("{measured} of {}", counted(self.jobs.len(), "job"));
        said.push_str(match self.how {
            Some(Ended::Whole) => " measured",
            Some(Ended::OutOfTime) => " measured before the time was over",
            Some(Ended::Interrupted) => " measured before it was stopped",
            None => " measured so far",
        });
        match self.confirmed().count() {
            0 => said.push_str("; no confirmed change"),
            n => write!(said, "; {}", counted(n, "confirmed change")).unwrap_or_default(),
        }
        match self.sick().count() {
            0 => {}
            n => write!(said, "; {}", counted(n, "sick device")).unwrap_or_default(),
        }
        said
    }
}

fn counted(n: usize, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}

/// Rows of a table that are shown; the rest is in the reports of the runs.
const MAX_ROWS: usize = 50;

/// The summary for people.
pub fn markdown(summary: &Summary) -> String {
    let mut page = format!(
        "# {}: {}\n\n{}.\n",
        markdown_text(&summary.farm),
        markdown_text(&summary.night),
        summary.headline()
    );
    changes(&mut page, summary);
    moved(&mut page, summary);
    let failed: Vec<_> = summary.failed().collect();
    if !failed.is_empty() {
        page.push_str("\n## What could not run\n\n| what | on | outcome | why |\n|---|---|---|---|\n");
        rows(&mut page, &failed, |job| {
            let outcome = job.outcome.as_ref();
            let word = outcome.map_or("not begun", JobOutcome::word);
            let why = outcome.and_then(JobOutcome::reason).unwrap_or_default();
            let on = job.device.as_ref().unwrap_or(&job.class);
            format!(
                "{} | {} | {word} | {}",
                markdown_text(&job.subject),
                markdown_text(on),
                markdown_text(why)
            )
        });
    }
    let sick: Vec<_> = summary.sick().collect();
    if !sick.is_empty() {
        page.push_str("\n## What is sick\n\n| device | state | why |\n|---|---|---|\n");
        rows(&mut page, &sick, |(id, state, why)| {
            format!("{} | {state} | {}", markdown_text(id), markdown_text(why))
        });
    }
    page
}

fn changes(page: &mut String, summary: &Summary) {
    if summary.changes.is_empty() {
        return;
    }
    page.push_str(
        "\n## What changed since earlier nights\n\n| series | since | change | interval | with | state | |\n|---|---|---|---|---|---|---|\n",
    );
    rows(page, &summary.changes, |change| {
        format!(
            "{} | {} | {} | {} to {} | {} | **{}** ({}) | {}",
            markdown_text(&change.series),
            markdown_text(&change.since),
            percent(change.ratio),
            percent(change.low),
            percent(change.high),
            markdown_text(&change.versions.join(", ")),
            markdown_text(&change.state),
            markdown_text(&change.alarm),
            markdown_text(&change.why)
        )
    });
}

fn moved(page: &mut String, summary: &Summary) {
    let moved: Vec<_> = summary
        .verdicts
        .iter()
        .filter(|line| ["worse", "better", "invalid"].contains(&line.verdict.as_str()))
        .collect();
    let count = |word: &str| summary.verdicts.iter().filter(|line| line.verdict == word).count();
    let counts: Vec<String> = VERDICTS.iter().map(|word| format!("{} {word}", count(word))).collect();
    write!(page, "\n## Verdicts\n\n{}.\n", counts.join(", ")).unwrap_or_default();
    if moved.is_empty() {
        return;
    }
    page.push_str("\n| device | suite | variant | against | metric | verdict | effect |\n|---|---|---|---|---|---|---|\n");
    rows(page, &moved, |line| {
        let name = metric(&line.metric).map_or(line.metric.as_str(), |metric| metric.short);
        let said = if line.effect.is_empty() { &line.reason } else { &line.effect };
        format!(
            "{} | {} | {} | {} | {} | {} | {}",
            markdown_text(&line.device),
            markdown_text(&line.suite),
            markdown_text(&line.candidate),
            markdown_text(&line.reference),
            markdown_text(name),
            markdown_text(&line.verdict),
            markdown_text(said)
        )
    });
}

fn rows<T>(page: &mut String, all: &[T], row: impl Fn(&T) -> String) {
    for one in all.iter().take(MAX_ROWS) {
        writeln!(page, "| {} |", row(one)).unwrap_or_default();
    }
    if let Some(more) = all.len().checked_sub(MAX_ROWS).filter(|more| *more > 0) {
        write!(page, "\n{more} more, see the reports of the runs.\n").unwrap_or_default();
    }
}

fn percent(ratio: f64) -> String {
    let change = (ratio - 1.0) * 100.0;
    format!("{change:+.1} %").replace('-', "−")
}
