//! A night in short: what moved, what is sick, what could not run. Made from the night's record alone.

use super::{ChangeLine, Ended, JobLine, NIGHT_SCHEMA, NightRecord, Summary, VerdictLine};
use crate::{
    device::State,
    job::{Job, JobOutcome},
};
use protocol::metric;
use reports::{Line, markdown_text};
use std::{collections::BTreeMap, fmt::Write};

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
        unkept: Vec::new(),
        notes: Vec::new(),
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
        subject: job.work.subject.to_string(),
        device: result.map(|result| result.device.clone()).filter(|device| !device.is_empty()),
        host: result.map(|result| result.host.clone()),
        outcome: result.map(|result| result.outcome.clone()),
        attempts: result.map_or(0, |result| result.attempt),
        took_ms: result.map_or(0, |result| result.took_ms),
        run: found.and_then(|(_, run)| run.clone()),
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

/// A part of the summary, for whoever lays it out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section {
    /// What it is about.
    pub title: &'static str,
    /// A sentence; empty where the table says all.
    pub sentence: String,
    /// Names of the columns.
    pub columns: &'static [&'static str],
    /// Untrusted text, cell by cell.
    pub rows: Vec<Vec<String>>,
}

impl Summary {
    /// Its parts: what a person has to look at comes first, and what is as it should be is left out.
    pub fn sections(&self) -> Vec<Section> {
        let mut all = vec![
            self.changed(),
            self.not_run(),
            self.sick_devices(),
            self.moved(),
            self.invalid(),
            self.noted(),
        ];
        all.retain(|section| !section.rows.is_empty() || !section.sentence.is_empty());
        all
    }

    fn changed(&self) -> Section {
        let row = |change: &ChangeLine| {
            let interval = format!("{} … {}", percent(change.low), percent(change.high));
            vec![
                change.state.clone(),
                change.series.clone(),
                change.since.clone(),
                format!("{} [{interval}]", percent(change.ratio)),
                change.versions.join(", "),
                change.alarm.clone(),
                change.why.clone(),
            ]
        };
        Section {
            title: "Changed since earlier nights",
            sentence: String::new(),
            columns: &["state", "series", "since", "change", "with", "alarm", ""],
            rows: self.changes.iter().map(row).collect(),
        }
    }

    fn not_run(&self) -> Section {
        let row = |job: &JobLine| {
            let outcome = job.outcome.as_ref();
            let on = job.device.as_ref().unwrap_or(&job.class).clone();
            let word = outcome.map_or("not begun", JobOutcome::word).to_owned();
            let why = outcome.and_then(JobOutcome::reason).unwrap_or_default().to_owned();
            vec![job.subject.clone(), on, word, why]
        };
        Section {
            title: "Could not be measured",
            sentence: String::new(),
            columns: &["what", "on", "outcome", "why"],
            rows: self.failed().map(row).collect(),
        }
    }

    fn sick_devices(&self) -> Section {
        let row =
            |(id, state, why): (&str, &str, &str)| vec![id.to_owned(), state.to_owned(), why.to_owned()];
        Section {
            title: "Sick devices",
            sentence: String::new(),
            columns: &["device", "state", "why"],
            rows: self.sick().map(row).collect(),
        }
    }

    fn moved(&self) -> Section {
        let count = |word: &str| self.verdicts.iter().filter(|line| line.verdict == word).count();
        let counts: Vec<String> = VERDICTS.iter().map(|word| format!("{} {word}", count(word))).collect();
        let moved = self.verdicts.iter().filter(|line| ["worse", "better"].contains(&line.verdict.as_str()));
        let row = |line: &VerdictLine| {
            let name = metric(&line.metric).map_or(line.metric.as_str(), |metric| metric.short).to_owned();
            let [device, suite, candidate, reference, verdict, effect] =
                [&line.device, &line.suite, &line.candidate, &line.reference, &line.verdict, &line.effect]
                    .map(Clone::clone);
            vec![device, suite, candidate, reference, name, verdict, effect]
        };
        Section {
            title: "Verdicts of this night",
            sentence: format!("{}.", counts.join(", ")),
            columns: &["device", "suite", "variant", "against", "metric", "verdict", "effect"],
            rows: moved.map(row).collect(),
        }
    }

    fn noted(&self) -> Section {
        Section {
            title: "To know",
            sentence: String::new(),
            columns: &["what"],
            rows: self.notes.iter().map(|note| vec![note.clone()]).collect(),
        }
    }

    /// Rows that are invalid for the same reason are one.
    fn invalid(&self) -> Section {
        let mut all: BTreeMap<(&str, &str, &str), usize> = BTreeMap::new();
        for line in self.verdicts.iter().filter(|line| line.verdict == "invalid") {
            *all.entry((&line.device, &line.suite, &line.reason)).or_default() += 1;
        }
        let row = |((device, suite, reason), n): ((&str, &str, &str), usize)| {
            vec![device.to_owned(), suite.to_owned(), n.to_string(), reason.to_owned()]
        };
        Section {
            title: "Invalid",
            sentence: String::new(),
            columns: &["device", "suite", "verdicts", "why"],
            rows: all.into_iter().map(row).collect(),
        }
    }
}

/// Rows of a table that are shown; the rest is in the reports of the runs.
const MAX_ROWS: usize = 50;

/// The summary for people.
pub fn markdown(summary: &Summary) -> String {
    let (farm, night) = (markdown_text(&summary.farm), markdown_text(&summary.night));
    let mut page = format!("# {farm}: {night}\n\n{}.\n", summary.headline());
    for Section { title, sentence, columns, rows } in summary.sections() {
        page.push_str(&format!("\n## {title}\n\n"));
        if !sentence.is_empty() {
            page.push_str(&format!("{sentence}\n\n"));
        }
        if rows.is_empty() {
            continue;
        }
        page.push_str(&format!("| {} |\n|{}\n", columns.join(" | "), "---|".repeat(columns.len())));
        for row in rows.iter().take(MAX_ROWS) {
            let cells: Vec<String> = row.iter().map(|cell| markdown_text(cell)).collect();
            page.push_str(&format!("| {} |\n", cells.join(" | ")));
        }
        if rows.len() > MAX_ROWS {
            page.push_str(&format!("\n{} more, see the reports of the runs.\n", rows.len() - MAX_ROWS));
        }
    }
    page
}

fn percent(ratio: f64) -> String {
    let change = (ratio - 1.0) * 100.0;
    format!("{change:+.1} %").replace('-', "−")
}
