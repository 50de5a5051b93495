//! One folded block per contrast: how latency is spread, how its ratio went from unit to unit, and
//! every metric with its interval, p-value, verdict and reasons.

use super::{Page, parts};
use crate::page::svg::{self, Anchor, Axis};
use crate::text::{self, Scale};
use crate::verdict::{ContrastRow, Evidence, PercentileRow, RatioEvidence};
use crate::view::{ContrastView, Distribution, Shown, ratio_evidence};
use maud::{Markup, html};

/// Contrasts that are laid out in full, worst first; a report of hundreds stays below a megabyte.
pub(super) const MAX_BLOCKS: usize = 24;
/// Size of a chart.
const WIDTH: f64 = 420.0;
const HEIGHT: f64 = 190.0;
const LEFT: f64 = 44.0;
const RIGHT: f64 = 12.0;
const TOP: f64 = 8.0;
const BOTTOM: f64 = 30.0;
/// The tail beyond this share of the slower side is not drawn: it would flatten the rest.
const CLIP: f64 = 0.97;

pub(super) fn section(page: &Page<'_>) -> Option<Markup> {
    let contrasts = &page.view.contrasts;
    let block = |i: usize, c: &ContrastView<'_>| block(page, c, i == 0);
    (!contrasts.is_empty()).then(|| {
        html! {
            p.muted {
                "Each pair ran at the same time on the same device, in bursts that took turns. The verdict rests on one ratio per unit, "
                "a unit being a fresh pair of processes; pictures of single inferences are for reading only."
            }
            @for (i, contrast) in contrasts.iter().take(MAX_BLOCKS).enumerate() { (block(i, contrast)) }
            @if contrasts.len() > MAX_BLOCKS {
                p.note { (contrasts.len() - MAX_BLOCKS) " comparisons are not laid out here; results.csv and units.csv have them all." }
            }
        }
    })
}

fn block(page: &Page<'_>, contrast: &ContrastView<'_>, open: bool) -> Markup {
    let sides =
        (page.latency.get(&contrast.contrast.candidate), page.latency.get(&contrast.contrast.reference));
    html! {
        details id=(format!("c{}", contrast.index)) open[open] {
            summary {
                (parts::answer(contrast.answer)) " "
                strong { (contrast.candidate) } " against " (contrast.reference)
                span.muted { ": " (contrast.gains()) }
            }
            div.pair {
                @if let (Some(candidate), Some(reference)) = sides {
                    (ecdf(contrast, candidate, reference))
                }
                @if let Some(evidence) = contrast.ratio("latency_ns") { (by_unit(contrast, evidence)) }
            }
            (metrics(contrast))
            (figures(page, contrast))
        }
    }
}

/// Frame of a chart: axes, grid and ticks, the way both charts have them.
fn frame(
    x: &Axis,
    x_label: &dyn Fn(f64, usize) -> String,
    y: &Axis,
    y_label: &dyn Fn(f64, usize) -> String,
) -> Markup {
    let (right, bottom) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
    let (x_ticks, x_decimals) = x.ticks(5);
    let (y_ticks, y_decimals) = y.ticks(4);
    html! {
        @for tick in &y_ticks {
            (svg::line("grid", (LEFT, y.at(*tick)), (right, y.at(*tick))))
            (svg::text("t", (LEFT - 6.0, y.at(*tick) + 4.0), Anchor::End, &y_label(*tick, y_decimals)))
        }
        (svg::line("axis", (LEFT, bottom), (right, bottom)))
        @for tick in &x_ticks {
            (svg::line("axis", (x.at(*tick), bottom), (x.at(*tick), bottom + 4.0)))
            (svg::text("t", (x.at(*tick), bottom + 16.0), Anchor::Middle, &x_label(*tick, x_decimals)))
        }
    }
}

fn ecdf(contrast: &ContrastView<'_>, candidate: &Distribution, reference: &Distribution) -> Markup {
    let scale = Scale::time([candidate.least().min(reference.least())]);
    let low = candidate.least().min(reference.least());
    let high = candidate.at(CLIP).max(reference.at(CLIP));
    let x = Axis::new(scale.scaled(low), scale.scaled(high), LEFT, WIDTH - RIGHT);
    let y = Axis::new(0.0, 1.0, HEIGHT - BOTTOM, TOP);
    let points = |d: &Distribution| -> Vec<(f64, f64)> {
        let shown = d.points().filter(|(_, value)| *value <= high);
        shown.map(|(share, value)| (x.at(scale.scaled(value)), y.at(share))).collect()
    };
    let body = html! {
        (frame(&x, &|v, d| text::number(v, d), &y, &|v, _| format!("{} %", text::number(v * 100.0, 0))))
        (svg::text("t", (WIDTH - RIGHT, HEIGHT - 2.0), Anchor::End, &format!("latency, {}", scale.symbol)))
        (svg::path("ref", &points(reference)))
        (svg::path("cand", &points(candidate)))
    };
    let title = format!("Latency of {} and {}, cumulative", contrast.candidate, contrast.reference);
    let about = "Share of inferences that took at most so long. Reference solid, candidate dashed.";
    html! {
        figure {
            (svg::figure(WIDTH, HEIGHT, &title, about, &body))
            figcaption { "Share of inferences within a time: " (legend(contrast)) ". Up to p" (text::number(CLIP * 100.0, 0)) " of the slower one." }
        }
    }
}

fn legend(contrast: &ContrastView<'_>) -> Markup {
    html! {
        span style="color:var(--ref)" { "— " (contrast.reference.variant) } ", "
        span style="color:var(--cand)" { "╌ " (contrast.candidate.variant) }
    }
}

fn by_unit(contrast: &ContrastView<'_>, evidence: &RatioEvidence) -> Markup {
    let change = |pair: &crate::verdict::UnitPair| (pair.candidate / pair.reference - 1.0) * 100.0;
    let plain = [evidence.plain.low, evidence.plain.high].map(|r| (r - 1.0) * 100.0);
    let changes: Vec<f64> = evidence.pairs.iter().map(change).filter(|c| c.is_finite()).collect();
    let all = || changes.iter().copied().chain(plain.into_iter().filter(|v| v.abs() < 1000.0));
    let (low, high) = (all().fold(f64::INFINITY, f64::min), all().fold(f64::NEG_INFINITY, f64::max));
    let pad = ((high - low) * 0.15).max(0.2);
    let y = Axis::new(low - pad, high + pad, HEIGHT - BOTTOM, TOP);
    let x = Axis::new(0.5, evidence.pairs.len() as f64 + 0.5, LEFT, WIDTH - RIGHT);
    let points: Vec<(f64, f64)> =
        changes.iter().enumerate().map(|(i, c)| (x.at(i as f64 + 1.0), y.at(*c))).collect();
    let margin = evidence.margin * 100.0;
    let (top, bottom) = (y.at(margin), y.at(100.0 / (1.0 + evidence.margin) - 100.0));
    let (right, middle) = (WIDTH - RIGHT, y.at((evidence.ratio - 1.0) * 100.0));
    let body = html! {
        @if bottom > top { (svg::rect("band", (LEFT, top), (right - LEFT, bottom - top))) }
        (frame(&x, &|v, _| if v.fract() == 0.0 { text::number(v, 0) } else { String::new() }, &y, &|v, d| format!("{} %", text::signed(v, d))))
        @if y.holds(0.0) { (svg::line("zero", (LEFT, y.at(0.0)), (right, y.at(0.0)))) }
        (svg::line("thin", (LEFT, middle), (right, middle)))
        @for end in plain { @if y.holds(end) { (svg::line("zero", (LEFT, y.at(end)), (right, y.at(end)))) } }
        (svg::path("thin", &points))
        @for point in &points { (svg::circle("pt", *point, 3.5)) }
        (svg::text("t", (right, HEIGHT - 2.0), Anchor::End, "unit, in the order measured"))
    };
    let title = format!("Change of latency by unit, {} against {}", contrast.candidate, contrast.reference);
    let about = "One point per unit in the order measured, the mean as a line, its 95 % interval dotted; the band is the margin.";
    html! {
        figure {
            (svg::figure(WIDTH, HEIGHT, &title, about, &body))
            figcaption {
                "Change per unit; line: mean, dotted: 95 % interval"
                @if bottom > top { ", band: margin" }
                ". A slope would be drift that the pairing did not cancel."
            }
        }
    }
}

fn metrics(contrast: &ContrastView<'_>) -> Markup {
    let table = html! {
        table {
            caption { "Every metric" }
            thead { tr {
                th scope="col" { "Metric" } th.n scope="col" { "Reference" } th.n scope="col" { "Candidate" }
                th.n scope="col" { "Change" } th.n scope="col" { "Interval" span.small { "decision interval" } }
                th.n scope="col" { "p" } th.n scope="col" { "q" } th scope="col" { "Verdict" }
            } }
            tbody { @for row in contrast.rows() { (metric(row)) } }
        }
    };
    parts::scroll(&format!("All metrics of {}", contrast.label()), &table)
}

fn metric(row: &ContrastRow) -> Markup {
    let shown = Shown::of(row);
    let value = |v: Option<f64>| parts::or_none(v.map(|v| text::value(v, row.metric.unit)));
    let compared = row.reference.is_some() && row.candidate.is_some();
    let change = if compared { &shown.change } else { text::NONE };
    let probability = |p: Option<f64>| parts::or_none(p.map(text::probability));
    html! {
        tr.has[!row.reasons.is_empty()] {
            th scope="row" { (row.metric.title) @if let Some(e) = ratio_evidence(row) { span.small { (basis(e)) } } }
            td.n { (value(row.reference)) }
            td.n { (value(row.candidate)) }
            td.n { (change) }
            td.n { (shown.interval) span.small { (decision(row)) } }
            td.n { (probability(row.p_value)) }
            td.n { (probability(row.q_value)) }
            td { (parts::verdict(row.verdict)) }
        }
        @if !row.reasons.is_empty() { tr.why { td colspan="8" { (parts::reasons(&row.reasons)) } } }
    }
}

fn basis(e: &RatioEvidence) -> String {
    let units = text::counted(e.pairs.len(), "unit");
    let statistic = e.location.map(|l| format!("{} of each trial, ", l.name())).unwrap_or_default();
    let visible = e.minimum_detectable_ratio.map(|r| format!("; would show {}", text::change(r)));
    format!("{statistic}{units}{}", visible.unwrap_or_default())
}

fn decision(row: &ContrastRow) -> String {
    match &row.evidence {
        Evidence::Ratio(e) => e.decision.map(|i| text::change_interval(i.low, i.high)).unwrap_or_default(),
        Evidence::Score(_) => Shown::of(row).interval,
        _ => String::new(),
    }
}

/// The figures behind both charts.
fn figures(page: &Page<'_>, contrast: &ContrastView<'_>) -> Markup {
    let sides = [contrast.contrast.reference, contrast.contrast.candidate];
    let latency = |case| page.view.case(case).and_then(|(_, summary)| summary.latency.as_ref());
    let known: Vec<_> = sides.into_iter().filter_map(|case| Some((case, latency(case)?))).collect();
    let Some((_, first)) = known.first() else { return html! {} };
    html! {
        details {
            summary { "Figures behind the charts" }
            (parts::scroll("Percentiles of latency", &html! { table {
                caption { "Latency of single inferences, all units together; below each percentile its 95 % interval, as if they were independent" }
                thead { tr {
                    th scope="col" { "Variant" } th.n scope="col" { "n" } th.n scope="col" { "min" }
                    @for row in &first.percentiles { th.n scope="col" { "p" (text::number(row.percentile.share() * 100.0, 0)) } }
                } }
                tbody { @for (case, latency) in &known { tr {
                    th scope="row" { (page.view.name(*case)) }
                    td.n { (text::count(latency.samples as u64)) }
                    td.n { (text::time(latency.min)) }
                    @for row in &latency.percentiles { td.n { (percentile(row)) } }
                } } }
            } }))
            @if let Some(e) = contrast.ratio("latency_ns") { (units(e)) }
        }
    }
}

fn percentile(row: &PercentileRow) -> Markup {
    let Some(value) = row.value else { return html! { "n too small" } };
    html! {
        (text::time(value))
        @if let Some(i) = row.interval { span.small { (text::time(i.low)) " … " (text::time(i.high)) } }
    }
}

fn units(evidence: &RatioEvidence) -> Markup {
    parts::scroll(
        "Ratios by unit",
        &html! { table {
            caption { "One row per unit" }
            thead { tr {
                th.n scope="col" { "Unit" } th.n scope="col" { "Reference" } th.n scope="col" { "Candidate" }
                th.n scope="col" { "Change" }
            } }
            tbody { @for pair in &evidence.pairs { tr {
                td.n { (pair.unit.0) }
                td.n { (text::time(pair.reference)) }
                td.n { (text::time(pair.candidate)) }
                td.n { (text::change(pair.candidate / pair.reference)) }
            } } }
        } },
    )
}
