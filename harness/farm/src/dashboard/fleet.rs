//! The first page: was the night good, and how is every device. Answers with one glance.

use super::{
    digest::{Digest, is_open, is_trouble},
    links, parts,
    parts::{Room, Tone},
    shelf::{Night, how},
    trends::{Alarms, effect_of_line},
};
use crate::{
    device::{Canaries, DeviceCard, State},
    night::{ChangeLine, JobLine},
};
use jiff::Timestamp;
use maud::{Markup, html};
use reports::{page::svg, text};

/// Lines of one finding that are laid out.
const MAX_LINES: usize = 6;
/// Width of a night in the strip, and room between nights.
const CELL: f64 = 22.0;
const GAP: f64 = 4.0;

/// What the page shows.
#[derive(Clone, Copy)]
pub(super) struct Fleet<'a> {
    /// As they were last seen.
    pub(super) devices: &'a [DeviceCard],
    /// The newest night.
    pub(super) last: Option<&'a Night>,
    /// The newest nights, newest first.
    pub(super) recent: &'a [Digest],
    /// Where the series of a change is found.
    pub(super) alarms: &'a Alarms,
    pub(super) notes: &'a [String],
    /// Where nights are looked for.
    pub(super) place: &'a str,
    pub(super) now: Timestamp,
}

/// `/`.
pub(super) fn page(fleet: &Fleet<'_>) -> Markup {
    let main = html! {
        @match fleet.last {
            Some(night) => (last_night(fleet, night)),
            None => {
                (parts::headline(Tone::Open, "No night yet"))
                (parts::empty("This farm has not run.", &html! {
                    p { "Nights are looked for in " code { (text::clean(fleet.place)) } ". Describe suites and devices in "
                        code { "farm.toml" } ", try it with " code { "bench nightly --check" } ", then run "
                        code { "bench nightly farm.toml" } "." }
                }))
            }
        }
        (parts::notes(fleet.notes))
        (parts::section("fleet", "Fleet", &devices(fleet)))
    };
    let title = fleet.recent.first().map_or("No night yet", |digest| &digest.headline);
    parts::page(Room::Fleet, title, Some("/fleet.json"), &main)
}

fn last_night(fleet: &Fleet<'_>, night: &Night) -> Markup {
    let digest = Digest::of(night);
    html! {
        (parts::headline(digest.tone, &digest.headline))
        p.lead {
            "Night " (parts::night(&digest.night))
            @if !digest.farm.is_empty() { " of " (parts::name(&digest.farm)) }
            ", began " (parts::time(&digest.began))
            @if let Some(took) = digest.ended.as_ref().and_then(|ended| parts::between(&digest.began, ended)) {
                ", took " (parts::span(took))
            }
            "; " (how(night.summary.how)) ". " (digest.measured) " of " (text::counted(digest.jobs, "job")) " measured."
        }
        (strip(fleet.recent))
        (findings(night, fleet.alarms))
        (parts::notes(&night.notes))
    }
}

/// What moved, what is sick, what could not run.
pub(super) fn findings(night: &Night, alarms: &Alarms) -> Markup {
    let (summary, to) = (&night.summary, links::night(&night.summary.night));
    let confirmed: Vec<&ChangeLine> = summary.confirmed().collect();
    let open: Vec<&ChangeLine> = summary.changes.iter().filter(|change| is_open(change)).collect();
    let sick: Vec<&DeviceCard> = summary.devices.iter().filter(|card| rank(&card.health.state) < 2).collect();
    let ended = summary.ended.is_some();
    let trouble = |job: &&JobLine| is_trouble(job) || ended && job.outcome.is_none();
    let jobs: Vec<&JobLine> = summary.jobs.iter().filter(trouble).collect();
    let changes: Vec<&ChangeLine> = confirmed.iter().chain(&open).copied().collect();
    let moved = match () {
        () if confirmed.iter().any(|change| change.worse) => Tone::Bad,
        () if !open.is_empty() => Tone::Look,
        () => Tone::Good,
    };
    let look = |any: bool| if any { Tone::Look } else { Tone::Good };
    html! { div.tiles {
        (tile("Moved", moved, changes.len(), "no series changed its level", &to, &html! {
            @for change in changes.iter().take(MAX_LINES) { li { (change_line(change, alarms)) } }
        }))
        (tile("Sick", look(!sick.is_empty()), sick.len(), "every device is well", &to, &html! {
            @for card in sick.iter().take(MAX_LINES) { li { (parts::device(&card.id)) " " (parts::state(&card.health.state)) span.small { (parts::why(&card.health.state)) } } }
        }))
        (tile("Could not run", look(!jobs.is_empty()), jobs.len(), "every job has a whole result", &to, &html! {
            @for job in jobs.iter().take(MAX_LINES) { li { (job_line(job)) } }
        }))
    } }
}

fn tile(title: &str, tone: Tone, n: usize, nothing: &str, more: &str, lines: &Markup) -> Markup {
    html! {
        section class=(format!("tile {}", tone.class())) aria-label=(title) {
            h2 { (title) }
            p.figure { span aria-hidden="true" { (tone.symbol()) } " " (n) }
            @if n == 0 { p.muted { (text::capital(nothing)) } } @else { ul { (lines) } }
            @if n > MAX_LINES { p.note { a href=(more) { (n - MAX_LINES) " more" } } }
        }
    }
}

fn change_line(change: &ChangeLine, alarms: &Alarms) -> Markup {
    html! {
        @match alarms.series_of(&change.alarm) {
            Some(to) => a href=(links::trend(to)) { (parts::name(&change.series)) },
            None => (parts::name(&change.series)),
        }
        " " (effect_of_line(change))
        span.small {
            (text::clean(&change.state)) " · since " (parts::name(&change.since))
            @if !change.versions.is_empty() { " · with another " (parts::name(&change.versions.join(", "))) }
        }
    }
}

fn job_line(job: &JobLine) -> Markup {
    html! {
        (parts::name(&job.subject)) " on " (parts::name(job.device.as_deref().unwrap_or(&job.class))) " " (parts::outcome(job))
        @if let Some(reason) = job.outcome.as_ref().and_then(|outcome| outcome.reason()) { span.small { (parts::name(reason)) } }
    }
}

/// The last nights as one row of marks, oldest first.
pub(super) fn strip(recent: &[Digest]) -> Markup {
    if recent.len() < 2 {
        return html! {};
    }
    let width = recent.len() as f64 * (CELL + GAP);
    let told = |digest: &Digest| format!("{}: {}", text::clean(&digest.night), digest.headline);
    html! {
        nav.strip.scroll aria-label=(format!("The last {} nights, oldest first", recent.len())) {
            svg.plot viewBox=(format!("0 0 {} {}", svg::px(width), svg::px(CELL))) width=(svg::px(width)) height=(svg::px(CELL)) {
                @for (at, digest) in recent.iter().rev().enumerate() {
                    @let x = at as f64 * (CELL + GAP);
                    a class=(digest.tone.class()) href=(links::night(&digest.night)) aria-label=(told(digest)) {
                        title { (told(digest)) }
                        rect.cell x=(svg::px(x)) y="0" width=(svg::px(CELL)) height=(svg::px(CELL)) rx="4" {}
                        text.mark x=(svg::px(x + CELL / 2.0)) y="15.5" text-anchor="middle" aria-hidden="true" { (digest.tone.symbol()) }
                    }
                }
            }
        }
    }
}

fn devices(fleet: &Fleet<'_>) -> Markup {
    if fleet.devices.is_empty() {
        return parts::empty(
            "No device was seen yet.",
            &html! {
                p { "Devices are described in " code { "devices.toml" } "; " code { "bench devices" } " lists them and checks whether they answer. "
                    "What the farm knows of them is kept with every night." }
            },
        );
    }
    let mut cards: Vec<&DeviceCard> = fleet.devices.iter().collect();
    cards.sort_by(|a, b| (rank(&a.health.state), &a.id).cmp(&(rank(&b.health.state), &b.id)));
    let count = |rank_of: usize| cards.iter().filter(|card| rank(&card.health.state) == rank_of).count();
    let shown = cards.iter().take(parts::MAX_ROWS);
    html! {
        ul.counts aria-label="Devices by state" {
            @for (of, class, symbol, word) in [(3, "better", "✓", "ready"), (2, "equivalent", "▸", "busy"), (1, "invalid", "⊘", "offline"), (0, "worse", "✗", "quarantined")] {
                @if count(of) > 0 { li class=(class) { (symbol) " " b { (count(of)) } " " (word) } }
            }
        }
        (parts::table(
            "Every device, sick ones first",
            &["Device", "State", "Why", "Battery", "#Temperature", "#Strikes", "#False alarms", "#Slowdowns found", "Host", "Last seen"],
            &html! { @for card in shown { (row(card, fleet.now)) } },
        ))
        (parts::omitted(cards.len(), "devices.json has them all"))
    }
}

fn rank(state: &State) -> usize {
    match state {
        State::Quarantined { .. } => 0,
        State::Offline { .. } => 1,
        State::Busy { .. } => 2,
        State::Ready => 3,
    }
}

fn row(card: &DeviceCard, now: Timestamp) -> Markup {
    let health = &card.health;
    html! { tr {
        th.name scope="row" {
            (parts::device(&card.id))
            span.small { (parts::name(card.model.as_deref().unwrap_or(&card.transport))) @if let Some(os) = &card.os { ", " (parts::name(os)) } }
        }
        td { (parts::state(&health.state)) }
        td.why { (parts::why(&health.state)) }
        td.n.left { (parts::or_none(health.battery_percent.map(parts::battery))) }
        td.n { (parts::or_none(health.milli_celsius.map(|milli| html! { (parts::celsius(milli)) }))) }
        td.n { @if health.strikes > 0 { b { (health.strikes) } } @else { (health.strikes) } }
        td.n { (parts::or_none(false_alarms(&health.canaries))) }
        td.n { (parts::or_none(found(&health.canaries))) }
        td.host { (parts::name(&card.host)) }
        td.n.left { (parts::or_none(health.seen.as_deref().map(|seen| parts::ago(seen, now)))) }
    } }
}

/// Canaries that were called different though they are the same.
pub(super) fn false_alarms(of: &Canaries) -> Option<Markup> {
    share(of.false_alarms, of.same)
}

/// Known slowdowns that were found.
pub(super) fn found(of: &Canaries) -> Option<Markup> {
    share(of.found, of.slower)
}

fn share(n: u64, of: u64) -> Option<Markup> {
    (of > 0).then(|| html! { (text::percent(n as f64 / of as f64, 1)) span.small { (n) " of " (of) } })
}
