//! One series: how it went, where its level changed, what else changed there, and what became of the alarms.

use super::{
    chart, links, parts,
    parts::{Room, Tone},
    trends::{self, Alarms, effect, interval},
};
use maud::{Markup, html};
use protocol::Unit;
use reports::{
    history::{Alarm, Change, Level, Outcome, SeriesId, Trend},
    text,
};

/// Spans that the page offers, in nights.
pub(super) const SPANS: [usize; 4] = [60, 180, 365, 1100];
/// The one it begins with.
pub(super) const FIRST_SPAN: usize = 180;
/// Most nights that may be asked for: a century.
pub(super) const MAX_SPAN: usize = 36_525;
/// Values in the table below the chart.
const MAX_VALUES: usize = 400;

/// What the page shows.
pub(super) struct Series<'a> {
    pub(super) id: SeriesId,
    pub(super) trend: &'a Trend,
    pub(super) alarms: &'a Alarms,
    /// Nights that were asked for.
    pub(super) span: usize,
    pub(super) notes: &'a [String],
}

/// `/trends/<series>`.
pub(super) fn page(of: &Series<'_>) -> Markup {
    let (trend, key) = (of.trend, &of.trend.key);
    let unit = key.known_metric().map(|metric| metric.unit);
    let alarms: Vec<&Alarm> = of.alarms.of(key).collect();
    let (tone, words) = answer(trend, &alarms, unit);
    let to = links::trend(of.id);
    let main = html! {
        (parts::headline(tone, &words))
        p.lead { (parts::metric(&key.metric)) " of " b { (parts::name(&key.variant)) } " on " (parts::device(&key.device)) }
        p.muted { (trends::case(key)) }
        (parts::notes(of.notes))
        nav.spans aria-label="Nights" { "Nights: " @for span in SPANS {
            a href=(format!("{to}?nights={span}")) aria-current=[(span == of.span).then_some("true")] { (span) }
        } }
        @match chart::chart(trend, unit) {
            Some(chart) => (chart),
            None => (parts::empty("No value in these nights.", &html! { p { a href=(format!("{to}?nights={}", SPANS[SPANS.len() - 1])) { "Look at more nights" } } })),
        }
        (parts::section("alarms", "Alarms", &alarm_table(&alarms, unit)))
        (parts::section("changes", "Changes of level in these nights", &changes(trend, unit)))
        (parts::section("values", "Values", &values(trend, unit)))
        p { a href=(links::trends_of(&key.device)) { "All series of " (parts::name(&key.device)) } }
    };
    let title = format!(
        "{} of {} on {}",
        text::clean(&key.metric),
        text::clean(&key.variant),
        text::clean(&key.device)
    );
    parts::page(Room::Trends, &title, Some(&format!("{to}/trend.json")), &main)
}

/// The series in one sentence.
fn answer(trend: &Trend, alarms: &[&Alarm], unit: Option<Unit>) -> (Tone, String) {
    if let Some(alarm) = alarms.iter().find(|alarm| alarm.is_open()) {
        let change = &alarm.change;
        let tone = if change.worse { Tone::Bad } else { Tone::Good };
        let way = if change.worse { "worse" } else { "better" };
        return (
            tone,
            format!("{} {way} since {}, confirmed", effect(&change.effect, unit), text::clean(&change.since)),
        );
    }
    if let Some(change) = trend.changes.last() {
        let words =
            format!("Last changed on {}: {}", text::clean(&change.since), effect(&change.effect, unit));
        return (if change.worse { Tone::Look } else { Tone::Good }, words);
    }
    match trend.points.len() - trend.invalid {
        0 => (Tone::Open, "Nothing that counts was measured".to_owned()),
        n => (Tone::Good, format!("No change of level in {}", text::counted(n, "value"))),
    }
}

fn alarm_table(alarms: &[&Alarm], unit: Option<Unit>) -> Markup {
    if alarms.is_empty() {
        return html! { p { "No change of this series was ever proposed." } };
    }
    parts::table(
        "What became of changes that were found",
        &["State", "#Change", "Since", "Measured again", "Acknowledged", "Alarm"],
        &html! { @for alarm in alarms.iter().take(parts::MAX_ROWS) { tr {
            td { (trends::alarm_state(alarm)) }
            td.n { span.v.(way(&alarm.change)) { (effect(&alarm.change.effect, unit)) } span.small { (interval(&alarm.change.effect, unit)) } }
            th.n.left scope="row" { (parts::name(&alarm.change.since)) span.small { "between " (parts::name(&alarm.change.earliest)) " and " (parts::name(&alarm.change.latest)) } }
            td.why { (again(alarm)) }
            td.why { (acknowledged(alarm)) }
            td { code { (text::clean(&alarm.id)) } }
        } } },
    )
}

fn way(change: &Change) -> &'static str {
    if change.worse { "worse" } else { "better" }
}

/// What measuring again said.
fn again(alarm: &Alarm) -> Markup {
    let of_run = |word: &str, run: &str, [ratio, low, high]: [f64; 3]| {
        html! {
            (word) ": " (text::change(ratio)) " (" (text::change_interval(low, high)) ")"
            @if !run.is_empty() { span.small { "run " (parts::name(run)) } }
        }
    };
    match alarm.outcome.as_ref().map(|event| &event.outcome) {
        Some(Outcome::Confirmed { run, .. }) if run.is_empty() => {
            html! { "there is nothing to measure: it is known exactly" }
        }
        Some(Outcome::Confirmed { run, ratio, low, high }) => of_run("confirmed", run, [*ratio, *low, *high]),
        Some(Outcome::Refuted { run, ratio, low, high }) => of_run("not there", run, [*ratio, *low, *high]),
        Some(Outcome::Unconfirmable { why }) => parts::name(why),
        _ => html! { span.muted { "not yet" } },
    }
}

fn acknowledged(alarm: &Alarm) -> Markup {
    match &alarm.acknowledged {
        Some(event) => match &event.outcome {
            Outcome::Acknowledged { who, reason } => {
                html! { (parts::name(reason)) span.small { (parts::name(who)) ", " (parts::time(&event.at)) } }
            }
            _ => html! { (parts::time(&event.at)) },
        },
        None if alarm.is_open() => {
            html! { span.muted { "by nobody: " } code { "bench history ack " (text::clean(&alarm.id)) " --reason TEXT" } }
        }
        None => html! { span.muted { (text::NONE) } },
    }
}

fn changes(trend: &Trend, unit: Option<Unit>) -> Markup {
    if trend.changes.is_empty() {
        return html! { p { "None." } };
    }
    let level = |level: &Level| html! { (trends::value(level.value, unit)) span.small { (text::counted(level.points, "value")) } };
    parts::table(
        "Latest first; what changed with a level is told with the night in which it did",
        &["Since", "#Change", "#Before", "#After", "What changed with it"],
        &html! { @for change in trend.changes.iter().rev().take(parts::MAX_ROWS) { tr {
            th.n.left scope="row" { (parts::name(&change.since)) }
            td.n { span.v.(way(change)) { (effect(&change.effect, unit)) } span.small { (interval(&change.effect, unit)) } }
            td.n { (level(&change.before)) }
            td.n { (level(&change.after)) }
            td.why { (moved(change)) }
        } } },
    )
}

fn moved(change: &Change) -> Markup {
    if change.moved.is_empty() {
        return html! { span.muted { "nothing that is known: the device itself, or what runs on it" } };
    }
    html! { ul.reasons { @for moved in &change.moved { li {
        b { (text::clean(&moved.what)) } ": "
        (parts::or_none(moved.from.as_deref().map(version))) " → " (parts::or_none(moved.to.as_deref().map(version)))
        @if !moved.exact { span.muted { " (on " (text::clean(&moved.night)) ")" } }
    } } } }
}

/// A version; of a hash the beginning.
fn version(of: &str) -> Markup {
    let is_hash = of.len() == 64 && of.bytes().all(|b| b.is_ascii_hexdigit());
    html! { @if is_hash { code title=(of) { (of.chars().take(12).collect::<String>()) } } @else { (parts::name(of)) } }
}

fn values(trend: &Trend, unit: Option<Unit>) -> Markup {
    let shown = |value: Option<f64>| {
        parts::or_none(value.filter(|v| v.is_finite()).map(|v| html! { (trends::value(v, unit)) }))
    };
    let all = trend.points.len();
    html! { details {
        summary { (text::counted(all, "value")) ", " (trend.invalid) " of them not used" }
        (parts::table(
            "Latest first",
            &["Night", "#Value", "#95 % interval", "#Without the reference's moves", "Run", "Not used because"],
            &html! { @for point in trend.points.iter().rev().take(MAX_VALUES) { tr {
                th.n.left scope="row" { (parts::name(&point.night)) }
                td.n { (shown(point.value)) }
                td.n { (shown(point.low)) " … " (shown(point.high)) }
                td.n { (shown(point.steadied)) }
                td.host { (parts::name(&point.run)) }
                td.why { (parts::or_none(point.reasons.as_deref().map(parts::name))) }
            } } },
        ))
        @if all > MAX_VALUES { p.note { (all - MAX_VALUES) " more are in trend.json" } }
    } }
}
