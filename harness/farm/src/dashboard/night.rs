//! One night: what it answers, its changes, its verdicts, its jobs.

use super::{
    digest::Digest,
    fleet, links, parts,
    parts::Room,
    shelf::{Night, how},
    trends::{Alarms, effect_of_line},
};
use crate::night::{ChangeLine, JobLine, VerdictLine};
use maud::{Markup, html};
use reports::text;
use std::collections::{BTreeMap, BTreeSet};

/// Which verdicts are wanted.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Wanted {
    pub(super) verdict: String,
    pub(super) device: String,
    pub(super) suite: String,
}

impl Wanted {
    fn holds(&self, line: &VerdictLine) -> bool {
        let fits = |wanted: &str, is: &str| wanted.is_empty() || wanted == is;
        fits(&self.verdict, &line.verdict)
            && fits(&self.device, &line.device)
            && fits(&self.suite, &line.suite)
    }
}

/// `/nights/<night>`.
pub(super) fn page(night: &Night, wanted: &Wanted, alarms: &Alarms) -> Markup {
    let (digest, summary) = (Digest::of(night), &night.summary);
    let to = links::night(&summary.night);
    let main = html! {
        (parts::headline(digest.tone, &digest.headline))
        p.lead {
            "Night " (parts::name(&digest.night))
            @if !digest.farm.is_empty() { " of " (parts::name(&digest.farm)) }
            ", began " (parts::time(&digest.began))
            @if let Some(ended) = &digest.ended { ", ended " (parts::time(ended)) }
            "; " (how(summary.how)) "."
        }
        (fleet::findings(night, alarms))
        (parts::notes(&night.notes))
        (parts::section("changes", "Changes since earlier nights", &changes(&summary.changes, night.whole, alarms)))
        (parts::section("verdicts", "Verdicts", &verdicts(night, wanted)))
        (parts::section("jobs", "Jobs", &jobs(night)))
        (parts::section("devices", "Devices at the end", &devices(night)))
    };
    parts::page(
        Room::Nights,
        &format!("Night {}", text::clean(&summary.night)),
        Some(&format!("{to}/summary.json")),
        &main,
    )
}

fn changes(changes: &[ChangeLine], whole: bool, alarms: &Alarms) -> Markup {
    if changes.is_empty() {
        let why = if whole {
            "No series changed its level."
        } else {
            "Changes are looked for when all jobs have ended."
        };
        return html! { p { (why) } };
    }
    html! {
        (parts::table(
            "Levels that differ from those of earlier nights, with 95 % intervals",
            &["Series", "#Change", "State", "Since", "What changed with it", "Why"],
            &html! { @for change in changes.iter().take(parts::MAX_ROWS) { tr {
                th.name scope="row" { @match alarms.series_of(&change.alarm) {
                    Some(id) => a href=(links::trend(id)) { (parts::name(&change.series)) },
                    None => (parts::name(&change.series)),
                } }
                td.n { (effect_of_line(change)) span.small { (text::change_interval(change.low, change.high)) } }
                td { (parts::alarm_state(&change.state)) }
                td.n.left { (parts::name(&change.since)) }
                td { (parts::or_none((!change.versions.is_empty()).then(|| parts::name(&change.versions.join(", "))))) }
                td.why { (parts::name(&change.why)) }
            } } },
        ))
        (parts::omitted(changes.len(), "summary.json has them all"))
    }
}

fn verdicts(night: &Night, wanted: &Wanted) -> Markup {
    let all = &night.summary.verdicts;
    if all.is_empty() {
        let why = if night.whole {
            "This night judged nothing."
        } else {
            "Verdicts are drawn when all jobs have ended."
        };
        return html! { p { (why) } };
    }
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    all.iter().for_each(|line| *counts.entry(&line.verdict).or_default() += 1);
    let shown: Vec<&VerdictLine> = all.iter().filter(|line| wanted.holds(line)).collect();
    html! {
        ul.counts aria-label="Verdicts of the night" {
            @for (word, n) in &counts { li { (parts::verdict(word)) " " b { (n) } } }
        }
        p.muted { "Variants against the reference of the same run. That one of them is slower is what it is; what moved since earlier nights stands above." }
        (filter(night, wanted))
        (parts::table(
            &format!("{} of {}, worst first", shown.len(), text::counted(all.len(), "verdict")),
            &["Verdict", "Candidate", "Reference", "Metric", "#Effect", "Device", "Suite", "Report"],
            &html! { @for line in shown.iter().take(parts::MAX_ROWS) { (verdict(&night.summary.night, line)) } },
        ))
        (parts::omitted(shown.len(), "choose fewer above, or read summary.json"))
    }
}

fn verdict(night: &str, line: &VerdictLine) -> Markup {
    html! { tr {
        td { (parts::verdict(&line.verdict)) }
        th.name scope="row" { (parts::name(&line.candidate)) @if !line.reason.is_empty() { span.small { (parts::name(&line.reason)) } } }
        td.wrap { (parts::name(&line.reference)) }
        td { (parts::metric(&line.metric)) }
        td.n { (parts::or_none((!line.effect.is_empty()).then(|| parts::name(&line.effect)))) }
        td.host { (parts::device(&line.device)) }
        td { (parts::name(&line.suite)) }
        td { a href=(links::run(night, &line.run)) aria-label=(format!("Report of {}", text::clean(&line.run))) { "report" } }
    } }
}

/// Plain fields: what is chosen is in the address.
fn filter(night: &Night, wanted: &Wanted) -> Markup {
    let all = &night.summary.verdicts;
    let of = |part: fn(&VerdictLine) -> &String| -> BTreeSet<&str> {
        all.iter().map(|line| part(line).as_str()).collect()
    };
    html! { form.filter method="get" action=(format!("{}#verdicts", links::night(&night.summary.night))) {
        (parts::choice("verdict", "Verdict", &wanted.verdict, &of(|line| &line.verdict)))
        (parts::choice("device", "Device", &wanted.device, &of(|line| &line.device)))
        (parts::choice("suite", "Suite", &wanted.suite, &of(|line| &line.suite)))
        button type="submit" { "Show" }
    } }
}

fn jobs(night: &Night) -> Markup {
    let jobs = &night.summary.jobs;
    if jobs.is_empty() {
        return html! { p { "No job is known of this night." } };
    }
    let mut order: Vec<&JobLine> = jobs.iter().collect();
    // what went wrong first, then in the order planned
    order.sort_by_key(|job| super::shelf::is_measured(job));
    html! {
        (parts::table(
            "Every job, those without a whole result first",
            &["Subject", "For", "Outcome", "Device", "#Attempts", "#Took", "Report"],
            &html! { @for job in order.iter().take(parts::MAX_ROWS) { (job_row(&night.summary.night, job)) } },
        ))
        (parts::omitted(jobs.len(), "summary.json has them all"))
    }
}

/// A job as a row.
pub(super) fn job_row(night: &str, job: &JobLine) -> Markup {
    html! { tr {
        th.name scope="row" { (parts::name(&job.subject)) }
        td.host { (parts::name(&job.class)) }
        td.why { (parts::outcome(job)) @if let Some(reason) = job.outcome.as_ref().and_then(|outcome| outcome.reason()) { span.small { (parts::name(reason)) } } }
        td.host { (parts::or_none(job.device.as_deref().map(parts::device))) @if let Some(host) = &job.host { span.small { (parts::name(host)) } } }
        td.n { (job.attempts) }
        td.n { @if job.outcome.is_some() { (parts::span(job.took_ms)) } @else { span.muted { (text::NONE) } } }
        td { (parts::or_none(job.run.as_deref().map(|run| html! { a href=(links::run(night, run)) aria-label=(format!("Report of {}", text::clean(run))) { "report" } }))) }
    } }
}

fn devices(night: &Night) -> Markup {
    let devices = &night.summary.devices;
    if devices.is_empty() {
        return html! { p { "No device is known of this night." } };
    }
    html! {
        (parts::table("Devices", &["Device", "State", "Why", "Host"], &html! {
            @for card in devices.iter().take(parts::MAX_ROWS) { tr {
                th.name scope="row" { (parts::device(&card.id)) }
                td { (parts::state(&card.health.state)) }
                td.why { (parts::why(&card.health.state)) }
                td.host { (parts::name(&card.host)) }
            } }
        }))
        (parts::omitted(devices.len(), "summary.json has them all"))
    }
}
