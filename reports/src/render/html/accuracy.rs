//! Is the task still done as well: accuracy against latency, the paired comparison, and the examples
//! that changed sides.

use super::super::labels::{self, Bounds, Wanted};
use super::super::svg::{self, Anchor, Axis};
use super::{Page, parts};
use crate::accuracy::Flip;
use crate::record::DatasetFacts;
use crate::text::{self, Scale};
use crate::verdict::{Evidence, Method, Moved, ScoreEvidence};
use crate::view::ContrastView;
use maud::{Markup, html};
use protocol::{Direction, Format, Metric, Unit};
use stats::{Estimate, Interval};

/// Examples that are named per direction.
const MAX_FLIPS: usize = 12;
/// Contrasts whose examples are named.
const MAX_BLOCKS: usize = 20;
/// Rows of the paired table.
const MAX_ROWS: usize = 300;

pub(super) fn section(page: &Page<'_>) -> Option<Markup> {
    let contrasts = &page.view.contrasts;
    let judged: Vec<_> = contrasts.iter().filter(|c| c.quality().is_some()).collect();
    if judged.is_empty() {
        return None;
    }
    let plan = page.view.plan();
    let metric = plan.suite.task.metric();
    let what = match plan.suite.task.labels() {
        Some(_) => {
            format!("The same examples went through every variant, judged by their labels: {}.", metric.title)
        }
        None => "There are no labels: a variant is judged by how often its first answer is the reference’s."
            .to_owned(),
    };
    let labelled: Vec<_> = judged.iter().filter_map(|c| Some((*c, score_evidence(c)?))).collect();
    let how = labelled.first().and_then(|(_, e)| how(e));
    let named = |(_, e): &&(_, &ScoreEvidence)| !e.flips.is_empty() || !e.moved.is_empty();
    let named: Vec<_> = labelled.iter().filter(named).take(MAX_BLOCKS).collect();
    Some(html! {
        p.muted {
            (what) " " (text::count(plan.dataset.examples)) " examples of " (text::clean(&plan.dataset.name)) ": "
            (text::clean(&plan.dataset.source)) "." @if let Some(how) = how { " " (how) }
        }
        @for device in 0..plan.devices.len() { (chart(page, device)) }
        (paired(page, &judged))
        @for (contrast, evidence) in named {
            @if evidence.moved.is_empty() { (flips_of(contrast, evidence, &plan.dataset)) }
            @else { (moved_of(contrast, &evidence.moved, metric, &plan.dataset)) }
        }
    })
}

/// Where the intervals come from, where that needs saying.
fn how(evidence: &ScoreEvidence) -> Option<String> {
    let Method::Resampled { resamples, groups } = evidence.method else { return None };
    let what = match groups {
        Some(groups) => text::counted(groups, "group"),
        None => text::counted(evidence.examples as usize, "example"),
    };
    Some(format!(
        "Intervals are from {} draws of {what}, p-values from as many exchanges of answers.",
        text::count(u64::from(resamples))
    ))
}

fn score_evidence<'a>(contrast: &ContrastView<'a>) -> Option<&'a ScoreEvidence> {
    match &contrast.quality()?.evidence {
        Evidence::Score(evidence) => Some(evidence),
        _ => None,
    }
}

/// A case with its place in the chart.
struct Point {
    name: String,
    square: bool,
    latency: (f64, f64, f64),
    accuracy: Estimate,
}

fn points(page: &Page<'_>, device: usize) -> Vec<Point> {
    let cases = page.view.plan().variants().iter().enumerate().filter(|(_, case)| case.device == device);
    cases
        .filter_map(|(case, _)| {
            let (_, summary) = page.view.case(case)?;
            let median = page.latency.get(case)?.as_ref()?.median();
            let facts = page.view.record.facts.get(case)?.as_ref();
            // 95 % from the spread between trials: iterations are no replicates
            let half =
                summary.latency.as_ref().and_then(|l| l.sd_between).filter(|_| summary.trials > 1).map(
                    |sd| {
                        let n = summary.trials as f64;
                        stats::t_quantile_upper(0.025, n - 1.0) * sd / n.sqrt()
                    },
                );
            let half = half.filter(|h| h.is_finite()).unwrap_or_default();
            Some(Point {
                name: page.view.name(case),
                square: facts.is_some_and(|f| f.format == Format::Onnx),
                latency: (median - half, median, median + half),
                accuracy: summary.score?,
            })
        })
        .collect()
}

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

/// Accuracy against latency on one device.
fn chart(page: &Page<'_>, device: usize) -> Markup {
    let mut points = points(page, device);
    if points.len() < 2 {
        return html! {};
    }
    points.sort_by(|a, b| {
        b.accuracy.point.total_cmp(&a.accuracy.point).then(a.latency.1.total_cmp(&b.latency.1))
    });
    let scale = Scale::time(points.iter().map(|p| p.latency.1));
    let ends = |low: fn(&Point) -> f64, high: fn(&Point) -> f64| {
        let (l, h) = points
            .iter()
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), p| (l.min(low(p)), h.max(high(p))));
        let pad = (h - l) * 0.06;
        (l - pad, h + pad)
    };
    let (low, high) = ends(|p| p.latency.0, |p| p.latency.2);
    let x = Axis::new(scale.scaled(low.max(0.0)), scale.scaled(high), LEFT, WIDTH - RIGHT);
    let (low, high) = ends(|p| p.accuracy.interval.low, |p| p.accuracy.interval.high);
    let metric = page.view.plan().suite.task.metric();
    let factor = text::score_scale(metric.unit).1;
    let (low, high) = if factor == 1.0 { (low, high) } else { (low.max(0.0), high.min(1.0).max(low)) };
    let y = Axis::new(low * factor, high * factor, HEIGHT - BOTTOM, TOP);
    let place = |p: &Point| (x.at(scale.scaled(p.latency.1)), y.at(p.accuracy.point * factor));
    let body = html! {
        (frame(&x, &y, scale, metric.unit))
        @for p in &points { (marker(p, place(p), (x.at(scale.scaled(p.latency.0)), x.at(scale.scaled(p.latency.2))), &y, factor)) }
        @if points.len() <= MAX_NAMED { (names(&points, &place)) }
    };
    let name =
        page.view.plan().devices.get(device).map(|d| text::clean(&d.id).into_owned()).unwrap_or_default();
    let title = format!("{} against latency on {name}", text::capital(metric.short));
    let better = match metric.better {
        Direction::Higher => "Up",
        Direction::Lower => "Down",
    };
    let about = format!(
        "{better} and to the left is better. Bars are 95 % intervals; those of latency are from the spread between trials. Circles are TFLite, squares ONNX."
    );
    html! {
        figure {
            h3 { (title) }
            (svg::figure(WIDTH, HEIGHT, &title, &about, &body))
            figcaption { (about) }
        }
        details { summary { "Figures behind the chart" } (twin(&points, metric)) }
    }
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

fn marker(point: &Point, at: (f64, f64), x: (f64, f64), y: &Axis, factor: f64) -> Markup {
    let Interval { low, high, .. } = point.accuracy.interval;
    let (low, high) = (y.at(low * factor), y.at(high * factor));
    let color = if point.square { "color:var(--cand)" } else { "color:var(--ref)" };
    html! {
        g style=(color) {
            (svg::line("thin", (at.0, low), (at.0, high)))
            (svg::line("thin", (x.0, at.1), (x.1, at.1)))
            @if point.square { (svg::rect("pt", (at.0 - 5.0, at.1 - 5.0), (10.0, 10.0))) } @else { (svg::circle("pt", at, 5.5)) }
        }
    }
}

/// Names beside their points, or led to them.
fn names(points: &[Point], place: &dyn Fn(&Point) -> (f64, f64)) -> Markup {
    let width = |p: &Point| short(&p.name).chars().count() as f64 * NAME_ADVANCE;
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

fn twin(points: &[Point], metric: &Metric) -> Markup {
    parts::scroll(
        "Score and latency by variant",
        &html! { table {
            thead { tr {
                th scope="col" { "Variant" } th.n scope="col" { "Latency p50" } th.n scope="col" { "95 % interval" }
                th.n scope="col" { (text::capital(metric.short)) } th.n scope="col" { "95 % interval" }
            } }
            tbody { @for p in points { tr {
                th scope="row" { (p.name) }
                td.n { (text::time(p.latency.1)) }
                td.i { (text::time(p.latency.0)) " … " (text::time(p.latency.2)) }
                td.n { (text::score(p.accuracy.point, metric.unit)) }
                td.i { (text::score_interval(p.accuracy.interval.low, p.accuracy.interval.high, metric.unit)) }
            } } }
        } },
    )
}

fn paired(page: &Page<'_>, contrasts: &[&ContrastView<'_>]) -> Markup {
    let metric = page.view.plan().suite.task.metric();
    let labelled = contrasts.iter().any(|c| score_evidence(c).is_some());
    let is_table = |e: &ScoreEvidence| matches!(e.method, Method::Table { .. });
    let table = contrasts.iter().filter_map(|c| score_evidence(c)).all(is_table);
    let table = html! { table {
        caption { "Candidate against reference, example by example" }
        thead { tr {
            th scope="col" { "Candidate" }
            @if labelled {
                th.n scope="col" { (text::capital(metric.short)) span.small { "95 % interval" } }
                @if table { th.n scope="col" { "lost / gained" } } @else { th.n scope="col" { "Examples" } }
                th.n scope="col" { "Difference" span.small { "98 % interval" } }
                th.n scope="col" { @if table { "mid-p" } @else { "p" } }
            }
            th.n scope="col" { "Agree" } th.n scope="col" { "Max abs" } th.n scope="col" { "Cosine" }
            th.n scope="col" { "SQNR dB" } th scope="col" { "Verdict" }
        } }
        tbody { @for contrast in contrasts.iter().take(MAX_ROWS) { (paired_row(page, contrast, labelled)) } }
    } };
    html! { (parts::scroll("Paired comparison of outputs", &table)) (parts::omitted(contrasts.len(), MAX_ROWS)) }
}

fn paired_row(page: &Page<'_>, contrast: &ContrastView<'_>, labelled: bool) -> Markup {
    let value = |metric: &str| contrast.row(metric).and_then(|row| row.candidate);
    let plain = |metric: &str, decimals| parts::or_none(value(metric).map(|v| text::number(v, decimals)));
    let max_abs =
        contrast.row("max_abs_error").and_then(|row| Some(text::value(row.candidate?, row.metric.unit)));
    html! {
        tr {
            th.name scope="row" { (parts::name(&contrast.candidate)) span.small { "vs " (contrast.reference) } }
            @if labelled { (labelled_cells(page, contrast)) }
            td.n { (parts::or_none(value("agreement_top1").map(|v| text::percent(v, 1)))) }
            td.n { (parts::or_none(max_abs)) }
            td.n { (plain("cosine", 6)) }
            td.n { (plain("sqnr_db", 1)) }
            td { (parts::verdict(contrast.quality().and_then(|row| row.verdict))) }
        }
    }
}

fn labelled_cells(page: &Page<'_>, contrast: &ContrastView<'_>) -> Markup {
    let Some(e) = score_evidence(contrast) else { return html! { td colspan="4" { (text::NONE) } } };
    let score = page.view.case(contrast.contrast.candidate).and_then(|(_, summary)| summary.score);
    let unit = page.view.plan().suite.task.metric().unit;
    let interval = e.difference.interval;
    html! {
        td.n {
            (parts::or_none(score.map(|s| text::score(s.point, unit))))
            @if let Some(s) = score { span.small { (text::score_interval(s.interval.low, s.interval.high, unit)) } }
        }
        @if let Method::Table { table, .. } = e.method {
            td.n { (table.lost) " / " (table.gained) span.small { "of " (text::count(table.n())) } }
        } @else { td.n { (text::count(e.examples)) } }
        td.n {
            (text::difference(e.difference.point, unit))
            span.small { (text::difference_interval(interval.low, interval.high, unit)) }
        }
        td.n { (text::probability(e.p.two_sided)) }
    }
}

fn flips_of(contrast: &ContrastView<'_>, evidence: &ScoreEvidence, dataset: &DatasetFacts) -> Markup {
    let (lost, gained): (Vec<&Flip>, Vec<&Flip>) = evidence.flips.iter().partition(|flip| flip.lost);
    html! {
        details {
            summary {
                strong { (contrast.candidate) } " against " (contrast.reference) ": "
                (text::counted(lost.len(), "example")) " lost, " (gained.len()) " gained"
            }
            @for (flips, title) in [(lost, "Right before, wrong now"), (gained, "Wrong before, right now")] {
                @if !flips.is_empty() { (flip_table(title, &flips, dataset)) }
            }
        }
    }
}

fn name_of(dataset: &DatasetFacts, example: usize) -> String {
    match dataset.names.get(example) {
        Some(name) => text::clean(name).into_owned(),
        None => example.to_string(),
    }
}

/// Examples that got worse, for scores that an example has by itself.
fn moved_of(contrast: &ContrastView<'_>, moved: &[Moved], metric: &Metric, dataset: &DatasetFacts) -> Markup {
    let score = |value| text::score(value, metric.unit);
    html! {
        details {
            summary { strong { (contrast.candidate) } " against " (contrast.reference) ": where it got worse" }
            (parts::scroll("Examples that got worse", &html! { table {
                caption { "Examples that got worse, the worst first" }
                thead { tr {
                    th scope="col" { "Example" } th.n scope="col" { "Reference" } th.n scope="col" { "Candidate" }
                } }
                tbody { @for m in moved { tr {
                    th.name scope="row" { (name_of(dataset, m.example)) }
                    td.n { (score(m.reference)) }
                    td.n { (score(m.candidate)) }
                } } }
            } }))
        }
    }
}

fn flip_table(title: &str, flips: &[&Flip], dataset: &DatasetFacts) -> Markup {
    let class = |class: Option<u32>| match class {
        None => "no answer (NaN)".to_owned(),
        Some(c) => match dataset.classes.get(c as usize) {
            Some(name) => text::clean(name).into_owned(),
            None => c.to_string(),
        },
    };
    let more = flips.len().saturating_sub(MAX_FLIPS);
    parts::scroll(
        title,
        &html! {
            table {
                caption { (title) @if more > 0 { ", the first " (MAX_FLIPS) " of " (flips.len()) } }
                thead { tr {
                    th scope="col" { "Example" } th scope="col" { "Label" } th scope="col" { "Reference says" }
                    th scope="col" { "Candidate says" }
                } }
                tbody { @for flip in flips.iter().take(MAX_FLIPS) { tr {
                    th.name scope="row" { (name_of(dataset, flip.example)) }
                    td { (class(Some(flip.label))) }
                    td { (class(flip.reference)) }
                    td { (class(flip.candidate)) }
                } } }
            }
        },
    )
}
