//! The list of series, by what they are of, and what is known of their changes.

use super::{links, parts, parts::Room};
use crate::night::ChangeLine;
use maud::{Markup, html};
use protocol::Unit;
use reports::{
    history::{Alarm, Effect, SeriesId, SeriesInfo, SeriesKey},
    page::svg::{self, Axis},
    text,
};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// What is followed first, unless something else is asked for.
pub(super) const FIRST_METRIC: &str = "latency_ns";
/// Size of the small picture of a series.
const WIDTH: f64 = 120.0;
const HEIGHT: f64 = 26.0;

/// The alarms of the history.
#[derive(Clone, Debug, Default)]
pub(super) struct Alarms(pub(super) Vec<Alarm>);

impl Alarms {
    /// The series that an alarm is about.
    pub(super) fn series_of(&self, id: &str) -> Option<SeriesId> {
        self.0.iter().find(|alarm| alarm.id == id).map(|alarm| alarm.change.key.id())
    }

    /// The alarms of a series, newest first.
    pub(super) fn of<'a>(&'a self, key: &'a SeriesKey) -> impl Iterator<Item = &'a Alarm> {
        self.0.iter().rev().filter(move |alarm| alarm.change.key == *key)
    }
}

/// Which series are wanted; empty: all.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Wanted {
    pub(super) device: String,
    pub(super) suite: String,
    pub(super) runtime: String,
    pub(super) metric: String,
    /// A part of the variant's name.
    pub(super) variant: String,
}

impl Wanted {
    pub(super) fn holds(&self, key: &SeriesKey) -> bool {
        let fits = |wanted: &str, is: &str| wanted.is_empty() || wanted == is;
        fits(&self.device, &key.device)
            && fits(&self.suite, &key.suite)
            && fits(&self.runtime, &key.runtime)
            && fits(&self.metric, &key.metric)
            && key.variant.contains(self.variant.trim())
    }
}

/// What the page shows.
pub(super) struct Trends<'a> {
    /// Every series.
    pub(super) series: &'a [SeriesInfo],
    pub(super) wanted: &'a Wanted,
    pub(super) alarms: &'a Alarms,
    /// The last values of the series that are laid out.
    pub(super) sparks: &'a HashMap<SeriesId, Vec<f64>>,
    pub(super) notes: &'a [String],
    /// Where the history lies; `None`: none was named.
    pub(super) place: Option<&'a str>,
}

/// The series that a page lays out: those with open alarms first.
pub(super) fn listed<'a>(series: &'a [SeriesInfo], wanted: &Wanted, alarms: &Alarms) -> Vec<&'a SeriesInfo> {
    let mut open: BTreeMap<&SeriesKey, bool> = BTreeMap::new();
    alarms.0.iter().for_each(|alarm| *open.entry(&alarm.change.key).or_default() |= alarm.is_open());
    let mut shown: Vec<&SeriesInfo> = series.iter().filter(|info| wanted.holds(&info.key)).collect();
    shown.sort_by_key(|info| !open.get(&info.key).copied().unwrap_or_default());
    shown
}

/// `/trends/`.
pub(super) fn page(of: &Trends<'_>) -> Markup {
    let shown = listed(of.series, of.wanted, of.alarms);
    let main = html! {
        h1 { "Trends" }
        (parts::notes(of.notes))
        @if of.series.is_empty() {
            (nothing(of.place))
        } @else {
            p.lead { "Every metric of every case, night after night: " (text::count(of.series.len() as u64)) " series. Those with an open alarm stand first." }
            (filter(of))
            @if shown.is_empty() {
                (parts::empty("No series is like that.", &html! { p { a href=(format!("{}?metric=", links::TRENDS)) { "Show all series" } } }))
            } @else {
                (parts::table(
                    &format!("{} of {} series", shown.len(), of.series.len()),
                    &["Series", "Metric", "Last nights", "#Last value", "Nights", "#Values", "Alarm"],
                    &html! { @for info in shown.iter().take(parts::MAX_ROWS) { (row(of, info)) } },
                ))
                (parts::omitted(shown.len(), "choose fewer above, or read trends.json"))
            }
        }
    };
    parts::page(Room::Trends, "Trends", Some("/trends.json"), &main)
}

/// Where there is no history, how to have one.
pub(super) fn nothing(place: Option<&str>) -> Markup {
    parts::empty(
        "No history yet.",
        &html! {
            p {
                @match place {
                    Some(place) => { "It is looked for in " code { (text::clean(place)) } ". " }
                    None => { "None was named: start " code { "bench serve --history DIR" } ". " }
                }
                code { "bench nightly" } " adds every night to it; " code { "bench history import" } " adds runs that were made otherwise."
            }
        },
    )
}

fn filter(of: &Trends<'_>) -> Markup {
    let wanted = of.wanted;
    let all = |part: fn(&SeriesKey) -> &String| -> BTreeSet<&str> {
        of.series.iter().map(|info| part(&info.key).as_str()).collect()
    };
    html! { form.filter method="get" action=(links::TRENDS) {
        (parts::choice("device", "Device", &wanted.device, &all(|key| &key.device)))
        (parts::choice("suite", "Suite", &wanted.suite, &all(|key| &key.suite)))
        (parts::choice("runtime", "Runtime", &wanted.runtime, &all(|key| &key.runtime)))
        (parts::choice("metric", "Metric", &wanted.metric, &all(|key| &key.metric)))
        label { "Variant has" input type="search" name="variant" value=(wanted.variant) maxlength="200"; }
        button type="submit" { "Show" }
    } }
}

fn row(of: &Trends<'_>, info: &SeriesInfo) -> Markup {
    let unit = info.key.known_metric().map(|metric| metric.unit);
    let latest = of.alarms.of(&info.key).next();
    html! { tr {
        th.name scope="row" { a href=(links::trend(info.id)) { (parts::name(&info.key.variant)) } span.small { (case(&info.key)) } }
        td { (parts::metric(&info.key.metric)) }
        td.spark { (parts::or_none(of.sparks.get(&info.id).and_then(|values| spark(&info.key, values)))) }
        td.n { (parts::or_none(info.last_value.map(|last| html! { (value(last, unit)) }))) }
        td.n.left { (parts::name(&info.first_night)) " …" span.small { (parts::name(&info.last_night)) } }
        td.n { (info.valid) @if info.invalid > 0 { span.small { (info.invalid) " not valid" } } }
        td { (parts::or_none(latest.map(|alarm| html! { (alarm_state(alarm)) " " span.small { (effect(&alarm.change.effect, unit)) " since " (parts::name(&alarm.change.since)) } }))) }
    } }
}

/// What a series is of, beside variant and metric.
pub(super) fn case(key: &SeriesKey) -> Markup {
    html! {
        (parts::name(&key.device)) " · " (parts::name(&key.runtime)) " · " (parts::name(&key.suite))
        @if key.threads != 1 { " · " (key.threads) " threads" }
        @if !key.options.is_empty() { " · " (parts::name(&key.options)) }
    }
}

/// State of an alarm; what somebody knows of is told apart.
pub(super) fn alarm_state(alarm: &Alarm) -> Markup {
    parts::alarm_state(if alarm.acknowledged.is_some() { "acknowledged" } else { alarm.state.word() })
}

/// A value of a metric; of one that this version does not know, the number.
pub(super) fn value(value: f64, unit: Option<Unit>) -> String {
    match unit {
        Some(unit) => text::value(value, unit),
        None => text::number(value, 3),
    }
}

/// A change in words.
pub(super) fn effect(of: &Effect, unit: Option<Unit>) -> String {
    match of {
        Effect::Ratio { ratio, .. } => text::change(*ratio),
        Effect::Difference { difference, .. } => text::difference(*difference, unit.unwrap_or(Unit::Output)),
    }
}

/// Its interval in words.
pub(super) fn interval(of: &Effect, unit: Option<Unit>) -> String {
    match of {
        Effect::Ratio { low, high, .. } => text::change_interval(*low, *high),
        Effect::Difference { low, high, .. } => {
            text::difference_interval(*low, *high, unit.unwrap_or(Unit::Output))
        }
    }
}

/// A change as a summary tells it: how much, and which way.
pub(super) fn effect_of_line(line: &ChangeLine) -> Markup {
    let (class, word) = if line.worse { ("worse", "worse") } else { ("better", "better") };
    html! { span class=(format!("v {class}")) { (text::change(line.ratio)) " " (word) } }
}

/// The last values as a line; at least 10 % of the level high, so that noise does not look like news.
fn spark(key: &SeriesKey, values: &[f64]) -> Option<Markup> {
    let values: Vec<f64> = values.iter().copied().filter(|v| v.is_finite()).collect();
    let last = *values.last()?;
    let (low, high) =
        values.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(*v), h.max(*v)));
    let (middle, half) = (f64::midpoint(low, high), ((high - low) / 2.0).max(high.abs() * 0.05));
    let y = Axis::new(middle - half, middle + half, HEIGHT - 4.0, 4.0);
    let x = Axis::new(0.0, (values.len().max(2) - 1) as f64, 4.0, WIDTH - 4.0);
    let points: Vec<(f64, f64)> =
        values.iter().enumerate().map(|(i, v)| (x.at(i as f64), y.at(*v))).collect();
    let title =
        format!("The last {} of {}", text::counted(values.len(), "value"), text::clean(&key.to_string()));
    let about = format!("Between {} and {}", text::number(low, 3), text::number(high, 3));
    let end = (*points.last()?, last).0;
    Some(svg::figure(
        WIDTH,
        HEIGHT,
        &title,
        &about,
        &html! { (svg::path("line", &points)) (svg::circle("end", end, 2.6)) },
    ))
}
