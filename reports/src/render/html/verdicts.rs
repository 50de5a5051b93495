//! The first screen: a row per contrast, worst first, with its forest plot in the row.

use super::contrast::MAX_BLOCKS;
use super::{Page, parts};
use crate::page::svg::{self, Anchor, Axis};
use crate::record::ContrastKind;
use crate::text::{self, Scale};
use crate::view::{ContrastView, ratio_of};
use maud::{Markup, html};

/// Most contrasts in one table; the rest is told and lies in `results.csv`.
const MAX_ROWS: usize = 500;
/// Size of a row's picture.
const WIDTH: f64 = 150.0;
const HEIGHT: f64 = 30.0;
/// Ratios beyond are drawn at the edge.
const FURTHEST: f64 = 8.0;
/// Changes in percent that may be written on the axis, in the order they are tried.
const TICKS: [f64; 15] =
    [0.0, -50.0, 100.0, 50.0, -25.0, 25.0, -75.0, 300.0, -10.0, 10.0, -5.0, 5.0, 20.0, -2.0, 2.0];
/// Least room for a tick's text.
const TICK_ROOM: f64 = 34.0;

pub(super) fn tables(page: &Page<'_>) -> Markup {
    html! {
        @for kind in ContrastKind::ALL {
            @let contrasts: Vec<_> = page.view.of_kind(kind).collect();
            @if !contrasts.is_empty() { (table(page, kind, &contrasts)) }
        }
        @if page.view.contrasts.is_empty() {
            p { "There is nothing to compare in this run: no two cases on one device." }
        }
    }
}

fn table(page: &Page<'_>, kind: ContrastKind, contrasts: &[&ContrastView<'_>]) -> Markup {
    let axis = axis(contrasts);
    let margin = page.view.plan().suite.margin_of("latency_ns");
    let latencies = contrasts.iter().filter_map(|c| c.row("latency_ns")?.candidate);
    let scale = Scale::time(latencies);
    let listed = contrasts.iter().take(MAX_ROWS);
    // only what is laid out below can be linked to
    let laid_out: Vec<usize> = page.view.contrasts.iter().take(MAX_BLOCKS).map(|c| c.index).collect();
    let label = format!("Verdicts: {}", page.view.title(kind));
    let body = html! {
        table.verdicts {
            caption { (caption(page, kind)) }
            thead { tr {
                th scope="col" { "Ship it?" }
                th scope="col" { "Variant" }
                th.n scope="col" { "Latency " (scale.symbol) }
                th.n scope="col" { "Change" span.small { "95 % interval" } }
                th.f scope="col" { span.sr { "Forest plot of the change in latency" } (ticks(&axis, margin)) }
                th.n scope="col" { (text::capital(page.view.plan().suite.task.metric().short)) }
                th.n scope="col" { "Memory" }
                th.n scope="col" { "Size" }
            } }
            tbody { @for contrast in listed { (row(contrast, laid_out.contains(&contrast.index), &axis, margin, scale)) } }
        }
        (parts::omitted(contrasts.len(), MAX_ROWS))
    };
    parts::scroll(&label, &body)
}

fn caption(page: &Page<'_>, kind: ContrastKind) -> Markup {
    let Some(case) = page.view.only_reference().filter(|_| kind == ContrastKind::Reference) else {
        return html! { b { (page.view.title(kind)) } };
    };
    let Some((plan, summary)) = page.view.case(case) else { return html! {} };
    let metric = page.view.plan().suite.task.metric();
    let facts = [
        summary.score.map(|e| format!("{} {}", metric.short, text::score(e.point, metric.unit))),
        summary.memory_peak_bytes.map(|b| format!("{} peak", text::bytes(b))),
        Some(format!("{} file", text::bytes(plan.model_bytes as f64))),
    ];
    let facts: Vec<String> = facts.into_iter().flatten().collect();
    html! { b { "Against " (page.view.name(case)) } " (" (facts.join(", ")) ")" }
}

fn row(contrast: &ContrastView<'_>, linked: bool, axis: &Axis, margin: f64, scale: Scale) -> Markup {
    let latency = contrast.shown("latency_ns");
    let values = contrast.row("latency_ns").and_then(|row| row.reference.zip(row.candidate));
    let values = values.map(|(from, to)| format!("{} → {}", scale.show(from), scale.show(to)));
    html! {
        tr {
            td { (parts::answer(contrast.answer)) }
            th.name scope="row" {
                @if linked { a href=(format!("#c{}", contrast.index)) { (names(contrast)) } } @else { (names(contrast)) }
            }
            td.n { (parts::or_none(values)) }
            td.n { (parts::change_with_interval(&latency)) }
            td.f { (picture(contrast, axis, margin)) }
            td.n { (parts::change_with_interval(&contrast.shown_quality())) }
            td.n { (parts::change(&contrast.shown("memory_peak_bytes"))) }
            td.n { (parts::change(&contrast.shown("model_bytes"))) }
        }
    }
}

fn names(contrast: &ContrastView<'_>) -> Markup {
    html! {
        (parts::name(&contrast.candidate))
        @if contrast.contrast.kind != ContrastKind::Reference { span.small { "vs " (contrast.reference) } }
    }
}

/// One logarithmic axis for all rows, around "no change".
pub(super) fn axis(contrasts: &[&ContrastView<'_>]) -> Axis {
    let (mut low, mut high) = (-0.06f64, 0.06f64);
    for contrast in contrasts {
        let Some(e) = contrast.ratio("latency_ns") else { continue };
        for ratio in
            [e.plain.low.max(e.ratio / 1.5), e.ratio, e.plain.high.min(e.ratio * 1.5), 1.0 + e.margin]
        {
            if ratio.is_finite() && ratio > 0.0 {
                let log = ratio.clamp(1.0 / FURTHEST, FURTHEST).ln();
                low = low.min(log);
                high = high.max(log);
            }
        }
    }
    let pad = (high - low) * 0.06;
    Axis::new(low - pad, high + pad, 4.0, WIDTH - 4.0)
}

fn ticks(axis: &Axis, margin: f64) -> Markup {
    let mut taken: Vec<(f64, f64)> = Vec::new();
    for percent in TICKS {
        let log = (1.0 + percent / 100.0f64).ln();
        let x = axis.at(log);
        let room = taken.iter().all(|(other, _)| (other - x).abs() >= TICK_ROOM);
        if axis.holds(log) && room && (12.0..=WIDTH - 12.0).contains(&x) {
            taken.push((x, percent));
        }
    }
    let about =
        format!("Change of latency on a logarithmic scale; the band is ± {}", text::percent(margin, 1));
    let body = html! {
        @for (x, percent) in &taken {
            (svg::text("t", (*x, 10.0), Anchor::Middle, &format!("{} %", text::signed(*percent, 0))))
            (svg::line("axis", (*x, 13.0), (*x, 16.0)))
        }
    };
    svg::figure(WIDTH, 16.0, "Axis of the forest plot", &about, &body)
}

pub(super) fn picture(contrast: &ContrastView<'_>, axis: &Axis, margin: f64) -> Markup {
    let latency = contrast.shown("latency_ns");
    let row = contrast.row("latency_ns");
    let middle = HEIGHT / 2.0;
    let (from, to) = (axis.at(-(1.0 + margin).ln()), axis.at((1.0 + margin).ln()));
    let class = latency.verdict.map_or("", |v| v.word());
    let body = html! {
        (svg::rect("band", (from, 0.0), (to - from, HEIGHT)))
        (svg::line("zero", (axis.at(0.0), 0.0), (axis.at(0.0), HEIGHT)))
        @if let Some(ratio) = row.and_then(ratio_of).filter(|r| *r > 0.0) {
            g class=(class) {
                @if let Some(e) = contrast.ratio("latency_ns").filter(|e| e.plain.low > 0.0) {
                    (svg::line("ci", (axis.at(e.plain.low.ln()), middle), (axis.at(e.plain.high.ln()), middle)))
                }
                (svg::circle("pt", (axis.at(ratio.ln()), middle), 4.5))
            }
        }
    };
    let title = format!("{}: latency {}", contrast.label(), latency.change);
    let about = if latency.interval.is_empty() {
        "no interval".to_owned()
    } else {
        format!("95 % interval {}", latency.interval)
    };
    svg::figure(WIDTH, HEIGHT, &title, &about, &body)
}
