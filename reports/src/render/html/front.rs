//! What is gained and what is paid for it, device by device: score against latency with size as the area, and who
//! is beaten by nobody.

use super::super::labels::{self, Bounds, Wanted};
use super::{Page, parts};
use crate::page::svg::{self, Anchor, Axis};
use crate::text::{self, Scale};
use crate::view::{Front, Member, typical};
use maud::{Markup, html};
use protocol::{Direction, Format, Metric, Unit};
use stats::{Estimate, Interval};

/// Devices whose front is drawn.
const MAX_DEVICES: usize = 50;
const WIDTH: f64 = 950.0;
const HEIGHT: f64 = 320.0;
const LEFT: f64 = 52.0;
const BOTTOM: f64 = 34.0;
const TOP: f64 = 10.0;
/// Room for names on the right.
const RIGHT: f64 = 110.0;
/// More points than this are not named in the picture.
const MAX_NAMED: usize = 16;
/// Width of a letter, rather too much than too little.
const NAME_ADVANCE: f64 = 6.8;
/// Half the side of the largest and of the smallest mark.
const LARGEST: f64 = 11.0;
const SMALLEST: f64 = 3.5;

pub(super) fn section(page: &Page<'_>) -> Option<Markup> {
    let devices = page.view.plan().devices.len();
    let fronts: Vec<(usize, Front)> =
        (0..devices.min(MAX_DEVICES)).filter_map(|device| Some((device, page.view.front(device)?))).collect();
    let (_, first) = fronts.first()?;
    let metric = page.view.plan().suite.task.metric();
    let axes = [
        first.scored.then_some(metric.short),
        Some("latency"),
        first.memory.then_some("peak memory"),
        Some("size of the file"),
    ];
    let axes: Vec<&str> = axes.into_iter().flatten().collect();
    Some(html! {
        p.muted {
            "A variant is on the front when no other variant of its device is at least as good in everything ("
            (axes.join(", ")) ") and better in something. The chance of being on it is the share of "
            (text::count(first.draws as u64)) " draws of units and examples, the same for all variants, in which that was so: "
            "near 100 % is sure, half and half is noise."
        }
        @for (device, front) in &fronts { (of_device(page, *device, front)) }
        @if devices > MAX_DEVICES { p.note { (devices - MAX_DEVICES) " devices are not laid out here; results.csv has them all." } }
    })
}

fn of_device(page: &Page<'_>, device: usize, front: &Front) -> Markup {
    let name = page.view.plan().devices.get(device).map(|d| text::clean(&d.id).into_owned());
    let name = name.unwrap_or_default();
    let points: Vec<Point<'_>> = front.members.iter().filter_map(|m| point(page, m)).collect();
    html! {
        h3 { "On " (name) }
        @if points.len() > 1 { (chart(page, &name, points)) }
        (twin(page, &name, front))
    }
}

/// A variant with its place in the chart.
struct Point<'a> {
    member: &'a Member,
    name: String,
    square: bool,
    latency: (f64, f64, f64),
    score: Estimate,
}

fn point<'a>(page: &Page<'_>, member: &'a Member) -> Option<Point<'a>> {
    let (_, summary) = page.view.case(member.case)?;
    let median = typical(summary)?;
    let facts = page.view.record.facts.get(member.case)?.as_ref();
    // 95 % from the spread between trials: iterations are no replicates
    let sd = summary.latency.as_ref().and_then(|l| l.sd_between).filter(|_| summary.trials > 1);
    let half = sd.map(|sd| {
        let n = summary.trials as f64;
        stats::t_quantile_upper(0.025, n - 1.0) * sd / n.sqrt()
    });
    let half = half.filter(|h| h.is_finite()).unwrap_or_default();
    Some(Point {
        member,
        name: page.view.name(member.case),
        square: facts.is_some_and(|f| f.format == Format::Onnx),
        latency: (median - half, median, median + half),
        score: summary.score?,
    })
}

/// Score against latency on one device.
fn chart(page: &Page<'_>, device: &str, mut points: Vec<Point<'_>>) -> Markup {
    points.sort_by(|a, b| b.score.point.total_cmp(&a.score.point).then(a.latency.1.total_cmp(&b.latency.1)));
    let scale = Scale::time(points.iter().map(|p| p.latency.1));
    let ends = |low: fn(&Point<'_>) -> f64, high: fn(&Point<'_>) -> f64| {
        let (l, h) = points
            .iter()
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), p| (l.min(low(p)), h.max(high(p))));
        let pad = (h - l) * 0.06;
        (l - pad, h + pad)
    };
    let (low, high) = ends(|p| p.latency.0, |p| p.latency.2);
    let x = Axis::new(scale.scaled(low.max(0.0)), scale.scaled(high), LEFT, WIDTH - RIGHT);
    let (low, high) = ends(|p| p.score.interval.low, |p| p.score.interval.high);
    let metric = page.view.plan().suite.task.metric();
    let factor = text::score_scale(metric.unit).1;
    let (low, high) = if factor == 1.0 { (low, high) } else { (low.max(0.0), high.min(1.0).max(low)) };
    let y = Axis::new(low * factor, high * factor, HEIGHT - BOTTOM, TOP);
    let place = |p: &Point<'_>| (x.at(scale.scaled(p.latency.1)), y.at(p.score.point * factor));
    let bars = |p: &Point<'_>| (x.at(scale.scaled(p.latency.0)), x.at(scale.scaled(p.latency.2)));
    let largest = points.iter().map(|p| p.member.model_bytes).max().unwrap_or(0).max(1) as f64;
    let half = |p: &Point<'_>| (LARGEST * (p.member.model_bytes as f64 / largest).sqrt()).max(SMALLEST);
    let body = html! {
        (frame(&x, &y, scale, metric.unit))
        (svg::path("front", &frontier(&points, metric, &place)))
        @for p in &points { (marker(p, place(p), bars(p), half(p), &y, factor)) }
        @if points.len() <= MAX_NAMED { (names(&points, &place)) }
    };
    let title = format!("{} against latency on {device}", text::capital(metric.short));
    let better = match metric.better {
        Direction::Higher => "Up",
        Direction::Lower => "Down",
    };
    let about = format!(
        "{better} and to the left is better. The area is the size of the file. Circles are TFLite, squares ONNX, filled \
         when they are on the front. The line joins those that nobody beats in these two. Bars are 95 % intervals; those \
         of latency are from the spread between trials."
    );
    html! {
        figure {
            (svg::figure(WIDTH, HEIGHT, &title, &about, &body))
            figcaption { (title) ". " (about) }
        }
    }
}

/// The corners of the line below which nobody is: by score and latency alone.
fn frontier(
    points: &[Point<'_>],
    metric: &Metric,
    place: &dyn Fn(&Point<'_>) -> (f64, f64),
) -> Vec<(f64, f64)> {
    let sign = if metric.better == Direction::Higher { 1.0 } else { -1.0 };
    let mut fastest: Vec<&Point<'_>> = points.iter().collect();
    fastest.sort_by(|a, b| a.latency.1.total_cmp(&b.latency.1));
    let mut best = f64::NEG_INFINITY;
    let kept = fastest.into_iter().filter(|p| {
        let better = sign * p.score.point > best;
        best = best.max(sign * p.score.point);
        better
    });
    let mut corners: Vec<(f64, f64)> = Vec::new();
    for at in kept.map(place) {
        // a step: until the next one is fast enough, the one before is the best there is
        if let Some((_, y)) = corners.last().copied() {
            corners.push((at.0, y));
        }
        corners.push(at);
    }
    corners
}

fn frame(x: &Axis, y: &Axis, scale: Scale, unit: Unit) -> Markup {
    let symbol = text::score_scale(unit).2.replace(',', "");
    let (right, bottom) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
    let ((x_ticks, x_decimals), (y_ticks, y_decimals)) = (x.ticks(8), y.ticks(6));
    html! {
        @for tick in &y_ticks {
            (svg::line("grid", (LEFT, y.at(*tick)), (right, y.at(*tick))))
            (svg::text("t", (LEFT - 6.0, y.at(*tick) + 4.0), Anchor::End, &format!("{}{symbol}", text::number(*tick, y_decimals))))
        }
        (svg::line("axis", (LEFT, bottom), (right, bottom)))
        @for tick in &x_ticks {
            (svg::line("axis", (x.at(*tick), bottom), (x.at(*tick), bottom + 4.0)))
            (svg::text("t", (x.at(*tick), bottom + 16.0), Anchor::Middle, &text::number(*tick, x_decimals)))
        }
        (svg::text("t", (right, HEIGHT - 2.0), Anchor::End, &format!("latency p50, {}", scale.symbol)))
    }
}

fn marker(point: &Point<'_>, at: (f64, f64), x: (f64, f64), half: f64, y: &Axis, factor: f64) -> Markup {
    let Interval { low, high, .. } = point.score.interval;
    let (low, high) = (y.at(low * factor), y.at(high * factor));
    let color = if point.square { "color:var(--cand)" } else { "color:var(--ref)" };
    let class = if point.member.on_front { "pt" } else { "hollow" };
    html! {
        g style=(color) {
            (svg::line("bars", (at.0, low), (at.0, high)))
            (svg::line("bars", (x.0, at.1), (x.1, at.1)))
            @if point.square { (svg::rect(class, (at.0 - half, at.1 - half), (2.0 * half, 2.0 * half))) }
            @else { (svg::circle(class, at, half)) }
        }
    }
}

/// Names beside their points, or led to them.
fn names(points: &[Point<'_>], place: &dyn Fn(&Point<'_>) -> (f64, f64)) -> Markup {
    let width = |p: &Point<'_>| short(&p.name).chars().count() as f64 * NAME_ADVANCE;
    let wanted: Vec<Wanted> = points.iter().map(|p| Wanted { at: place(p), width: width(p) }).collect();
    let labels =
        labels::place(&wanted, Bounds { left: LEFT, right: WIDTH, top: TOP, bottom: HEIGHT - BOTTOM - 6.0 });
    html! {
        @for ((label, wanted), point) in labels.iter().zip(&wanted).zip(points) {
            @if let Some(end) = label.lead(wanted.at) { (svg::line("lead", wanted.at, end)) }
            (svg::text("", (label.left, label.y + 4.0), Anchor::Start, &short(&point.name)))
        }
    }
}

/// Names in the picture have room for so much.
fn short(name: &str) -> String {
    const ROOM: usize = 24;
    if name.chars().count() <= ROOM {
        name.to_owned()
    } else {
        name.chars().take(ROOM - 1).chain(['…']).collect()
    }
}

/// The figures behind the picture, those on the front first.
fn twin(page: &Page<'_>, device: &str, front: &Front) -> Markup {
    let metric = page.view.plan().suite.task.metric();
    let mut members: Vec<&Member> = front.members.iter().collect();
    members.sort_by(|a, b| {
        b.on_front
            .cmp(&a.on_front)
            .then(b.probability.total_cmp(&a.probability))
            .then(a.latency_ns.total_cmp(&b.latency_ns))
            .then(a.case.cmp(&b.case))
    });
    let score = |m: &Member| m.score.map(|s| text::score(s, metric.unit));
    let interval = |m: &Member| {
        let (_, summary) = page.view.case(m.case)?;
        summary.score.map(|s| text::score_interval(s.interval.low, s.interval.high, metric.unit))
    };
    let table = html! { table {
        thead { tr {
            th scope="col" { "Variant" }
            @if front.scored { th.n scope="col" { (text::capital(metric.short)) span.small { "95 % interval" } } }
            th.n scope="col" { "Latency" span.small { "mean over units" } } th.n scope="col" { "Peak memory" }
            th.n scope="col" { "Size" } th scope="col" { "Front" } th.n scope="col" { "Chance" }
        } }
        tbody { @for m in members { tr {
            th.name scope="row" { (page.view.name(m.case)) }
            @if front.scored { td.n { (parts::or_none(score(m))) span.small { (parts::or_none(interval(m))) } } }
            td.n { (text::time(m.latency_ns)) }
            td.n { (parts::or_none(m.memory_bytes.map(text::bytes))) }
            td.n { (text::bytes(m.model_bytes as f64)) }
            td { @if m.on_front { span.v.better { "● on it" } } @else { span.v.muted { "○ beaten" } } }
            td.n { (text::percent(m.probability, 0)) }
        } } }
    } };
    html! {
        (parts::scroll(&format!("Front on {device}"), &table))
        @if !front.scored { p.note { "There are no labels: the front is over costs alone." } }
        @if front.omitted > 0 { p.note { (text::counted(front.omitted, "variant")) " not weighed here; cases.csv has them all." } }
    }
}
