//! One device: how it is, how it was, what it did, and its series.

use super::{
    fleet::{false_alarms, found},
    links, night, parts,
    parts::{Room, Tone},
    shelf::Sighting,
    trends::Alarms,
};
use crate::{
    device::{DeviceCard, State},
    night::JobLine,
};
use jiff::Timestamp;
use maud::{Markup, html};
use reports::{history::SeriesInfo, text};
use std::collections::BTreeMap;

/// Changes of state that are laid out.
const MAX_STATES: usize = 100;

/// What the page shows.
pub(super) struct Device<'a> {
    /// As it was last seen.
    pub(super) card: &'a DeviceCard,
    /// How it was, in the order of what happened.
    pub(super) sightings: &'a [Sighting],
    /// What it did in the last nights, newest first: night and job.
    pub(super) jobs: &'a [(String, JobLine)],
    /// Nights that were looked at.
    pub(super) nights: usize,
    /// Its series.
    pub(super) series: &'a [SeriesInfo],
    pub(super) alarms: &'a Alarms,
    pub(super) notes: &'a [String],
    pub(super) now: Timestamp,
}

/// `/devices/<id>`.
pub(super) fn page(of: &Device<'_>) -> Markup {
    let card = of.card;
    let tone = match card.health.state {
        State::Ready | State::Busy { .. } => Tone::Good,
        State::Offline { .. } => Tone::Look,
        State::Quarantined { .. } => Tone::Bad,
    };
    let nights = text::counted(of.nights, "night");
    let main = html! {
        h1 {
            span class=(format!("badge {}", tone.class())) aria-hidden="true" { (tone.symbol()) }
            (parts::name(&card.id)) " is " (card.health.state.word())
        }
        p.lead { (parts::why(&card.health.state)) }
        (parts::notes(of.notes))
        (health(card, of.now))
        (parts::section("states", &format!("How it was in the last {nights}"), &states(of.sightings)))
        (parts::section("jobs", &format!("What it did in the last {nights}"), &jobs(of.jobs)))
        (parts::section("series", "Its series", &series(of)))
    };
    let data = links::device(&card.id).map(|to| format!("{to}/device.json"));
    parts::page(Room::Fleet, &format!("Device {}", text::clean(&card.id)), data.as_deref(), &main)
}

fn health(card: &DeviceCard, now: Timestamp) -> Markup {
    let health = &card.health;
    let facts: [(&str, Markup); 12] = [
        ("Model", parts::or_none(card.model.as_deref().map(parts::name))),
        ("System", parts::or_none(card.os.as_deref().map(parts::name))),
        ("Host", html! { (parts::name(&card.host)) ", bench " (parts::name(&card.version)) }),
        ("Reached by", parts::name(&card.transport)),
        ("Tags", parts::or_none((!card.tags.is_empty()).then(|| parts::name(&card.tags.join(", "))))),
        ("Battery", parts::or_none(health.battery_percent.map(parts::battery))),
        (
            "Temperature",
            parts::or_none(
                health.milli_celsius.map(|milli| html! { (parts::celsius(milli)) " in the hottest zone" }),
            ),
        ),
        ("Strikes", html! { (health.strikes) " jobs in a row ended with trouble of the device" }),
        (
            "False alarms",
            parts::or_none(
                false_alarms(&health.canaries)
                    .map(|share| html! { (share) "pairs of the same model that were called different" }),
            ),
        ),
        (
            "Slowdowns found",
            parts::or_none(
                found(&health.canaries).map(|share| html! { (share) "pairs with a known slowdown" }),
            ),
        ),
        (
            "Last seen",
            parts::or_none(
                health
                    .seen
                    .as_deref()
                    .map(|seen| html! { (parts::ago(seen, now)) " (" (parts::moment(seen)) ")" }),
            ),
        ),
        ("This was so", html! { (parts::ago(&card.at, now)) " (" (parts::moment(&card.at)) ")" }),
    ];
    html! { dl.facts { @for (name, value) in &facts { dt { (name) } dd { (value) } } } }
}

/// What is told of a device only when it changes.
fn told(sighting: &Sighting) -> (&'static str, &str) {
    match &sighting.card.health.state {
        // at work or waiting for it: both are well
        State::Ready | State::Busy { .. } => ("ready", ""),
        State::Offline { reason } => ("offline", reason),
        State::Quarantined { reason, .. } => ("quarantined", reason),
    }
}

fn states(sightings: &[Sighting]) -> Markup {
    let mut changed: Vec<&Sighting> = Vec::new();
    for sighting in sightings {
        if changed.last().is_none_or(|last| told(last) != told(sighting)) {
            changed.push(sighting);
        }
    }
    if changed.is_empty() {
        return html! { p { "These nights tell nothing of it." } };
    }
    html! {
        (parts::table("Changes of its state, latest first", &["When", "State", "Why", "#Strikes", "Battery", "#Temperature", "Night"], &html! {
            @for Sighting { night, card } in changed.iter().rev().take(MAX_STATES) { tr {
                th.n.left scope="row" { (parts::time(&card.at)) }
                td { (parts::state(&card.health.state)) }
                td.why { (parts::why(&card.health.state)) }
                td.n { (card.health.strikes) }
                td.n.left { (parts::or_none(card.health.battery_percent.map(parts::battery))) }
                td.n { (parts::or_none(card.health.milli_celsius.map(|milli| html! { (parts::celsius(milli)) }))) }
                td.host { (parts::night(night)) }
            } }
        }))
        @if changed.len() > MAX_STATES { p.note { (changed.len() - MAX_STATES) " earlier changes are in device.json" } }
    }
}

fn jobs(jobs: &[(String, JobLine)]) -> Markup {
    if jobs.is_empty() {
        return html! { p { "It did no job." } };
    }
    html! {
        (parts::table(
            "Jobs, latest night first",
            &["Subject", "For", "Outcome", "Device", "#Attempts", "#Took", "Report"],
            &html! { @for (name, job) in jobs.iter().take(parts::MAX_ROWS) { (night::job_row(name, job)) } },
        ))
        (parts::omitted(jobs.len(), "device.json has them all"))
    }
}

fn series(of: &Device<'_>) -> Markup {
    if of.series.is_empty() {
        return html! { p { "The history has no series of it." } };
    }
    let mut suites: BTreeMap<&str, usize> = BTreeMap::new();
    of.series.iter().for_each(|info| *suites.entry(&info.key.suite).or_default() += 1);
    let open: Vec<_> =
        of.alarms.0.iter().filter(|alarm| alarm.is_open() && alarm.change.key.device == of.card.id).collect();
    html! {
        @if !open.is_empty() {
            p { b { (text::counted(open.len(), "open alarm")) } ":" }
            ul { @for alarm in open.iter().take(parts::MAX_ROWS) { li {
                a href=(links::trend(alarm.change.key.id())) { (parts::name(&alarm.change.key.to_string())) }
            } } }
        }
        p { a href=(links::trends_of(&of.card.id)) { "All its series" } ": "
            @for (at, (suite, n)) in suites.iter().enumerate() { @if at > 0 { ", " } (n) " of " (parts::name(suite)) } "." }
    }
}
