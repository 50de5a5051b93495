//! Pieces that several pages are made of. Everything untrusted goes through [`text::clean`], maud and, where it may read
//! from right to left, `bdi`.

use super::links;
use crate::{device::State, job::JobOutcome, night::JobLine};
use jiff::{SignedDuration, Timestamp};
use maud::{Markup, html};
use reports::{
    page::{Frame, Style, frame, scroll},
    text,
};
use std::collections::BTreeSet;

/// Rows of a table that are laid out.
pub(super) const MAX_ROWS: usize = 400;
/// Values that one field of a form offers.
const MAX_CHOICES: usize = 500;
/// Notes that are laid out.
const MAX_NOTES: usize = 20;

/// Which part of the dashboard a page belongs to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Room {
    Fleet,
    Nights,
    Trends,
    /// None of them.
    Outside,
}

/// How something is, for those who have one glance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Tone {
    Good,
    /// Nothing to say yet.
    Open,
    /// Somebody should look.
    Look,
    Bad,
}

impl Tone {
    /// Class of the style sheet.
    pub(super) fn class(self) -> &'static str {
        match self {
            Self::Good => "better",
            Self::Open => "equivalent",
            Self::Look => "inconclusive",
            Self::Bad => "worse",
        }
    }

    /// Never colour alone.
    pub(super) fn symbol(self) -> &'static str {
        match self {
            Self::Good => "✓",
            Self::Open => "…",
            Self::Look => "!",
            Self::Bad => "✗",
        }
    }
}

/// A page of the dashboard. `data`: the same for programs.
pub(super) fn page(room: Room, title: &str, data: Option<&str>, main: &Markup) -> Markup {
    let rooms = [
        (Room::Fleet, "Fleet", links::FLEET),
        (Room::Nights, "Nights", links::NIGHTS),
        (Room::Trends, "Trends", links::TRENDS),
    ];
    let bar = html! {
        span { strong { "bench" } " farm" }
        nav.rooms aria-label="Dashboard" {
            @for (this, name, to) in rooms {
                a href=(to) aria-current=[(this == room).then_some("page")] { (name) }
            }
        }
    };
    let footer = html! {
        "bench " (env!("CARGO_PKG_VERSION")) ", times in UTC"
        @if let Some(data) = data { " · " a href=(data) { "this page as JSON" } }
    };
    let style = Style::Served { sheet: links::SHEET, icon: links::ICON };
    frame(&Frame { title: &format!("{title} – bench farm"), style, bar: &bar, main, footer: &footer })
}

/// The first line of a page, with how it is.
pub(super) fn headline(tone: Tone, words: &str) -> Markup {
    html! {
        h1 { span class=(format!("badge {}", tone.class())) aria-hidden="true" { (tone.symbol()) } (words) }
    }
}

/// A section with its heading.
pub(super) fn section(id: &str, title: &str, body: &Markup) -> Markup {
    html! { section aria-labelledby=(format!("{id}-h")) { h2 id=(format!("{id}-h")) { (title) } (body) } }
}

/// A table with its caption and heads; a head that begins with `#` is of numbers.
pub(super) fn table(caption: &str, heads: &[&str], rows: &Markup) -> Markup {
    scroll(
        caption,
        &html! { table {
            caption { (caption) }
            thead { tr { @for head in heads {
                @match head.strip_prefix('#') {
                    Some(number) => th.n scope="col" { (number) },
                    None => th scope="col" { (head) },
                }
            } } }
            tbody { (rows) }
        } },
    )
}

/// Says how many rows of a table are left out, and how to see them.
pub(super) fn omitted(all: usize, how: &str) -> Markup {
    html! { @if all > MAX_ROWS { p.note { (text::counted(all - MAX_ROWS, "row")) " not shown: " (how) } } }
}

/// What could not be read.
pub(super) fn notes(notes: &[String]) -> Markup {
    html! { @if !notes.is_empty() {
        div.notes role="note" {
            p { b { "Not everything could be read" } }
            ul.reasons {
                @for note in notes.iter().take(MAX_NOTES) { li { (name(note)) } }
                @if notes.len() > MAX_NOTES { li { (notes.len() - MAX_NOTES) " more" } }
            }
        }
    } }
}

/// Where there is nothing yet, what to do.
pub(super) fn empty(what: &str, todo: &Markup) -> Markup {
    html! { div.empty { p { b { (what) } } (todo) } }
}

/// Text of somebody else's.
pub(super) fn name(of: &str) -> Markup {
    html! { bdi { (text::clean(of)) } }
}

/// A device, with its page.
pub(super) fn device(id: &str) -> Markup {
    html! { @match links::device(id) { Some(to) => a href=(to) { (name(id)) }, None => (name(id)) } }
}

/// A night, with its page.
pub(super) fn night(of: &str) -> Markup {
    html! { a href=(links::night(of)) { (name(of)) } }
}

/// A value that may not be there.
pub(super) fn or_none(value: Option<Markup>) -> Markup {
    value.unwrap_or_else(|| html! { span.muted { (text::NONE) } })
}

/// A moment as people read it, to the minute; as it is written where it is none.
pub(super) fn moment(of: &str) -> String {
    match of.parse::<Timestamp>() {
        Ok(at) => at.to_string().chars().take(16).collect::<String>().replace('T', " "),
        Err(_) => text::clean(of).into_owned(),
    }
}

/// A moment, and how long ago that is.
pub(super) fn ago(of: &str, now: Timestamp) -> Markup {
    let Ok(at) = of.parse::<Timestamp>() else { return name(of) };
    html! { time datetime=(at.to_string()) title=(moment(of)) { (since(now.duration_since(at))) } }
}

/// A moment.
pub(super) fn time(of: &str) -> Markup {
    html! { @match of.parse::<Timestamp>() {
        Ok(at) => time datetime=(at.to_string()) { (moment(of)) },
        Err(_) => (name(of)),
    } }
}

fn since(gone: SignedDuration) -> String {
    match gone.as_secs() {
        seconds if seconds < -60 => "in the future".to_owned(),
        seconds if seconds < 60 => "just now".to_owned(),
        seconds => format!("{} ago", span(seconds.unsigned_abs().saturating_mul(1000))),
    }
}

/// How long something took.
pub(super) fn span(ms: u64) -> String {
    let (seconds, minutes, hours) = (ms / 1000, ms / 60_000, ms / 3_600_000);
    match () {
        () if seconds < 1 => format!("{ms}\u{202f}ms"),
        () if minutes < 1 => format!("{seconds}\u{202f}s"),
        () if hours < 1 => format!("{minutes}\u{202f}min"),
        () if hours < 48 => format!("{hours}\u{202f}h {:02}\u{202f}min", minutes % 60),
        () => format!("{} days", hours / 24),
    }
}

/// Time between two moments, in ms.
pub(super) fn between(from: &str, to: &str) -> Option<u64> {
    let (from, to) = (from.parse::<Timestamp>().ok()?, to.parse::<Timestamp>().ok()?);
    u64::try_from(to.duration_since(from).as_millis()).ok()
}

/// A state with symbol, word and colour.
pub(super) fn state(of: &State) -> Markup {
    let (class, symbol) = match of {
        State::Ready => ("better", "✓"),
        State::Busy { .. } => ("equivalent", "▸"),
        State::Offline { .. } => ("invalid", "⊘"),
        State::Quarantined { .. } => ("worse", "✗"),
    };
    html! { span class=(format!("v {class}")) { (symbol) " " (of.word()) } }
}

/// Why a device is in its state; nothing where it is well.
pub(super) fn why(of: &State) -> Markup {
    html! { @match of {
        State::Ready => {},
        State::Busy { job } => { "at work on " code { (text::clean(job)) } },
        State::Offline { reason } => (name(reason)),
        State::Quarantined { reason, since, probe } => {
            (name(reason)) span.small { "since " (time(since)) ", probed again " (time(probe)) }
        },
    } }
}

/// What became of a job.
pub(super) fn outcome(job: &JobLine) -> Markup {
    let Some(outcome) = &job.outcome else { return html! { span.v.equivalent { "… to come" } } };
    let (class, symbol) = match outcome {
        JobOutcome::Measured => ("better", "✓"),
        JobOutcome::Partly { .. } => ("inconclusive", "◐"),
        JobOutcome::DeviceTrouble { .. } => ("worse", "✗"),
        JobOutcome::UserError { .. } => ("invalid", "⊘"),
        JobOutcome::NotRun { .. } => ("invalid", "–"),
    };
    html! { span class=(format!("v {class}")) { (symbol) " " (outcome.word()) } }
}

/// A verdict as a summary has it.
pub(super) fn verdict(word: &str) -> Markup {
    let (class, symbol) = match word {
        "better" => ("better", "✓"),
        "worse" => ("worse", "✗"),
        "equivalent" => ("equivalent", "≈"),
        "inconclusive" => ("inconclusive", "?"),
        "invalid" => ("invalid", "⊘"),
        _ => ("muted", "·"),
    };
    html! { span class=(format!("v {class}")) { (symbol) " " (text::clean(word)) } }
}

/// What became of a change, as a summary or the history has it.
pub(super) fn alarm_state(word: &str) -> Markup {
    let (class, symbol) = match word {
        "confirmed" => ("worse", "✗"),
        "proposed" => ("inconclusive", "?"),
        "refuted" => ("better", "✓"),
        "unconfirmable" => ("invalid", "⊘"),
        "acknowledged" => ("equivalent", "✎"),
        _ => ("muted", "·"),
    };
    html! { span class=(format!("v {class}")) { (symbol) " " (text::clean(word)) } }
}

/// A metric as people call it.
pub(super) fn metric(of: &str) -> Markup {
    html! { @match protocol::metric(of) { Some(known) => (known.title), None => (name(of)) } }
}

/// A field of a form that takes one of several values, or all of them.
pub(super) fn choice(field: &str, label: &str, chosen: &str, of: &BTreeSet<&str>) -> Markup {
    html! { label {
        (label)
        select name=(field) {
            option value="" { "all" }
            // what was asked for stays chosen, also where it is not there
            @if !chosen.is_empty() && !of.contains(chosen) { option value=(chosen) selected { (text::clean(chosen)) } }
            @for value in of.iter().take(MAX_CHOICES) {
                option value=(value) selected[*value == chosen] { (text::clean(value)) }
            }
        }
    } }
}

/// Charge, with a picture of it.
pub(super) fn battery(percent: u32) -> Markup {
    let full = f64::from(percent.min(100)) * 0.22;
    html! {
        svg.battery viewBox="0 0 28 12" width="28" height="12" aria-hidden="true" {
            rect.shell x="0.5" y="0.5" width="24" height="11" rx="2" {}
            rect.shell x="25.5" y="3.5" width="2" height="5" rx="0.5" {}
            rect.charge x="1.5" y="1.5" width=(format!("{full:.1}")) height="9" rx="1" {}
        }
        " " (percent) "\u{202f}%"
    }
}

/// A temperature.
pub(super) fn celsius(milli: i64) -> String {
    format!("{}\u{202f}°C", text::number(milli as f64 / 1000.0, 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_read_well() {
        assert_eq!(moment("2026-12-01T01:02:03.5Z"), "2026-12-01 01:02");
        assert_eq!(moment("<b>"), "<b>");
        let told = [
            (1, "1\u{202f}ms"),
            (59_999, "59\u{202f}s"),
            (3_599_999, "59\u{202f}min"),
            (3_660_000, "1\u{202f}h 01\u{202f}min"),
        ];
        for (ms, words) in told {
            assert_eq!(span(ms), words);
        }
        assert_eq!(since(SignedDuration::from_hours(-3)), "in the future");
        assert_eq!(since(SignedDuration::from_hours(72)), "3 days ago");
        assert_eq!(between("2026-12-01T01:00:00Z", "2026-12-01T00:00:00Z"), None);
    }

    #[test]
    fn hostile_text_is_only_text() {
        let shown = name("<script>alert(1)</script>\u{202e}\u{5d0}").into_string();
        assert!(!shown.contains("<script>") && !shown.contains('\u{202e}') && shown.starts_with("<bdi>"));
        let link = device("\"><img src=x>").into_string();
        assert!(!link.contains("<img") && link.contains("/devices/%22%3E%3Cimg"));
    }
}
