//! The picture of a trend: values with their intervals as a band, levels between changes, and what changed where.

use super::trends;
use jiff::{Span, civil::Date};
use maud::{Markup, html};
use protocol::Unit;
use reports::{
    history::{Change, Trend, TrendPoint},
    page::svg::{self, Anchor, Axis},
    text::{self, Scale},
};

const WIDTH: f64 = 950.0;
const HEIGHT: f64 = 330.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 14.0;
const TOP: f64 = 34.0;
const BOTTOM: f64 = 40.0;
/// Points that are drawn; a chart of more shows the latest.
pub(super) const MAX_POINTS: usize = 1500;
/// Share of the height that stays free above and below.
const PAD: f64 = 0.12;
/// Least height, as a share of the level: noise of half a percent is not to look like a mountain.
const LEAST: f64 = 0.04;

/// How values stand at the axis.
struct Units {
    factor: f64,
    words: String,
}

impl Units {
    fn of(unit: Option<Unit>, values: &[f64]) -> Self {
        let scale = |scale: Scale| Self { factor: scale.scaled(1.0), words: scale.symbol.to_owned() };
        match unit {
            Some(Unit::Ns) => scale(Scale::time(values.iter().copied())),
            Some(Unit::Bytes) => scale(Scale::bytes(values.iter().copied())),
            Some(Unit::Fraction) => Self { factor: 100.0, words: "%".to_owned() },
            Some(Unit::Db) => Self { factor: 1.0, words: "dB".to_owned() },
            _ => Self { factor: 1.0, words: String::new() },
        }
    }
}

/// A point that can be drawn.
struct Dot<'a> {
    day: f64,
    point: &'a TrendPoint,
}

/// The chart; `None` where no value can be drawn.
pub(super) fn chart(trend: &Trend, unit: Option<Unit>) -> Option<Markup> {
    let skip = trend.points.len().saturating_sub(MAX_POINTS);
    let dots: Vec<Dot<'_>> = trend.points.iter().skip(skip).filter_map(dot).collect();
    let values: Vec<f64> = dots.iter().filter_map(|dot| dot.point.value).collect();
    let units = Units::of(unit, &values);
    let (x, y) = axes(&dots, units.factor)?;
    let at = |day: f64, value: f64| (x.at(day), y.at(value * units.factor));
    let steadied =
        dots.iter().any(|dot| dot.point.steadied.is_some() && dot.point.steadied != dot.point.value);
    let measured: Vec<(f64, f64)> = dots
        .iter()
        .filter(|dot| dot.point.steadied.is_some())
        .filter_map(|dot| Some(at(dot.day, dot.point.value?)))
        .collect();
    let body = html! {
        (frame(&x, &y, &units))
        (band(&dots, &at))
        @if steadied { (svg::path("measured", &measured)) }
        (levels(trend, &at))
        @for dot in &dots { (mark(dot, &at)) }
        @for (i, change) in trend.changes.iter().enumerate() { @if let Some(day) = day(&change.since).filter(|day| x.holds(*day)) { (step(change, unit, x.at(day), i)) } }
    };
    let title = format!("Trend of {}", text::clean(&trend.key.to_string()));
    let about = format!(
        "{} over nights, {}. Numbers are in the tables below.",
        text::counted(dots.len(), "value"),
        text::counted(trend.changes.len(), "change")
    );
    Some(html! {
        figure.trend {
            div.scroll tabindex="0" role="group" aria-label="Chart of the trend" { (svg::figure(WIDTH, HEIGHT, &title, &about, &body)) }
            figcaption {
                "Points: one per run" @if steadied { ", without what moved the pinned reference of the same night; thin line: as measured" }
                "; band: 95 % interval as measured; heavy line: level; dashed: change. Hollow points do not count."
                @if skip > 0 { " The latest " (MAX_POINTS) " are drawn." }
            }
        }
    })
}

fn dot(point: &TrendPoint) -> Option<Dot<'_>> {
    point.value.or(point.steadied).filter(|v| v.is_finite())?;
    Some(Dot { day: day(&point.night)?, point })
}

/// Days since 1970.
fn day(date: &str) -> Option<f64> {
    let date: Date = date.parse().ok()?;
    Some(f64::from(Date::constant(1970, 1, 1).until(date).ok()?.get_days()))
}

fn date(day: f64) -> String {
    let span = Span::new().try_days(day as i64);
    let date = span.and_then(|span| Date::constant(1970, 1, 1).checked_add(span));
    date.map(|date| date.to_string()).unwrap_or_default()
}

/// Axes that hold all that counts; what does not count, and wide intervals, may lie at the edge.
fn axes(dots: &[Dot<'_>], factor: f64) -> Option<(Axis, Axis)> {
    let counted = || dots.iter().filter(|dot| dot.point.steadied.is_some());
    let all = |dot: &Dot<'_>| [dot.point.value, dot.point.steadied].into_iter().flatten().collect::<Vec<_>>();
    let mut values: Vec<f64> = counted().flat_map(all).collect();
    if values.is_empty() {
        values = dots.iter().flat_map(all).collect();
    }
    values.retain(|v| v.is_finite());
    let fold = |values: &[f64]| {
        values.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(*v), h.max(*v)))
    };
    let (low, high) = fold(&values);
    if low > high {
        return None;
    }
    let half = ((high - low) / 2.0).max(f64::midpoint(low, high).abs() * LEAST / 2.0);
    let (middle, half) = (f64::midpoint(low, high), half * (1.0 + 2.0 * PAD));
    let y = Axis::new((middle - half) * factor, (middle + half) * factor, HEIGHT - BOTTOM, TOP);
    let (first, last) = fold(&dots.iter().map(|dot| dot.day).collect::<Vec<_>>());
    let pad = ((last - first) * 0.015).max(1.0);
    Some((Axis::new(first - pad, last + pad, LEFT, WIDTH - RIGHT), y))
}

fn frame(x: &Axis, y: &Axis, units: &Units) -> Markup {
    let (right, bottom) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
    let (days, _) = x.ticks(7);
    let (ticks, decimals) = y.ticks(5);
    html! {
        @for tick in &ticks {
            (svg::line("grid", (LEFT, y.at(*tick)), (right, y.at(*tick))))
            (svg::text("t", (LEFT - 8.0, y.at(*tick) + 4.0), Anchor::End, &text::number(*tick, decimals)))
        }
        (svg::line("axis", (LEFT, bottom), (right, bottom)))
        @for tick in days.iter().filter(|tick| tick.fract() == 0.0) {
            (svg::line("axis", (x.at(*tick), bottom), (x.at(*tick), bottom + 4.0)))
            (svg::text("t", (x.at(*tick).clamp(LEFT + 26.0, right - 26.0), bottom + 17.0), Anchor::Middle, &date(*tick)))
        }
        (svg::text("t", (right, HEIGHT - 4.0), Anchor::End, "night"))
        @if !units.words.is_empty() { (svg::text("t", (LEFT - 8.0, TOP - 14.0), Anchor::End, &units.words)) }
    }
}

/// Intervals, joined where one run follows the other.
fn band(dots: &[Dot<'_>], at: &dyn Fn(f64, f64) -> (f64, f64)) -> Markup {
    let ends = |dot: &Dot<'_>| {
        let (low, high) = (dot.point.low?, dot.point.high?);
        dot.point
            .steadied
            .filter(|_| low.is_finite() && high.is_finite())
            .map(|_| (at(dot.day, low), at(dot.day, high)))
    };
    let pieces: Vec<Vec<_>> = dots
        .iter()
        .map(ends)
        .collect::<Vec<_>>()
        .split(Option::is_none)
        .map(|piece| piece.iter().copied().flatten().collect())
        .collect();
    html! { @for piece in pieces.iter().filter(|piece: &&Vec<_>| piece.len() > 1) {
        (svg::path("band", &piece.iter().map(|(low, _)| *low).chain(piece.iter().rev().map(|(_, high)| *high)).collect::<Vec<_>>()))
    } }
}

fn levels(trend: &Trend, at: &dyn Fn(f64, f64) -> (f64, f64)) -> Markup {
    let first = trend.changes.first().map(|change| &change.before);
    let all = first.into_iter().chain(trend.changes.iter().map(|change| &change.after));
    html! { @for level in all {
        @if let (Some(from), Some(to)) = (day(&level.from), day(&level.to)) {
            (svg::line("level", at(from, level.value), at(to, level.value)))
        }
    } }
}

fn mark(dot: &Dot<'_>, at: &dyn Fn(f64, f64) -> (f64, f64)) -> Markup {
    match dot.point.steadied {
        Some(value) => svg::circle("run", at(dot.day, value), 2.8),
        None => {
            html! { @if let Some(value) = dot.point.value { (svg::circle("out", at(dot.day, value), 2.8)) } }
        }
    }
}

/// A change: where, how much, and a word of what changed with it.
fn step(change: &Change, unit: Option<Unit>, x: f64, at: usize) -> Markup {
    let class = if change.worse { "step worse" } else { "step better" };
    // neighbours do not stand on one another
    let row = if at.is_multiple_of(2) { 12.0 } else { 26.0 };
    let anchor = match x {
        x if x < LEFT + 60.0 => Anchor::Start,
        x if x > WIDTH - RIGHT - 60.0 => Anchor::End,
        _ => Anchor::Middle,
    };
    let arrow = if change.worse { "✗" } else { "✓" };
    html! { g class=(class) {
        (svg::line("at", (x, row + 4.0), (x, HEIGHT - BOTTOM)))
        (svg::text("how", (x, row), anchor, &format!("{arrow} {}", trends::effect(&change.effect, unit))))
    } }
}
