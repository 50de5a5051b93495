//! Several runs and devices on one page.

use super::{parts, verdicts};
use crate::page::{Frame, Style, frame};
use crate::text;
use crate::view::{Column, Row, Side, typical};
use maud::{Markup, html};

/// Variants that are laid out.
const MAX_ROWS: usize = 300;

pub(crate) fn page(side: &Side<'_>) -> Markup {
    let (title, detail) = side.headline();
    let bar = html! { span { strong { "bench" } } span.title { "several runs" } };
    let main = html! {
        h1 { (title) }
        @if !detail.is_empty() { p.lead { (detail) } }
        (answers(side))
        @if side.omitted > 0 { p.note { (text::counted(side.omitted, "device")) " not shown" } }
        (parts::omitted(side.rows.len(), MAX_ROWS))
        p.muted {
            "Each column was measured in turns with its own reference. Between columns, device and day differ: "
            "that two of them differ proves nothing. " code { "bench diff" } " says what two runs can be compared for."
        }
        section aria-labelledby="measured-h" { h2 id="measured-h" { "As measured" } (measured(side)) }
        section aria-labelledby="runs-h" { h2 id="runs-h" { "Runs" } (runs(side)) }
    };
    let footer = html! { "bench, " (text::counted(side.runs.len(), "run")) };
    let title = format!("{title} – bench");
    frame(&Frame { title: &title, style: Style::Inline, bar: &bar, main: &main, footer: &footer })
}

fn heads(side: &Side<'_>) -> Markup {
    html! { @for column in &side.columns { th scope="col" { (column.letter) span.small { (column.id) } } } }
}

fn answers(side: &Side<'_>) -> Markup {
    let all = side.rows.iter().take(MAX_ROWS);
    let contrasts: Vec<_> =
        all.clone().flat_map(|row| (0..side.columns.len()).filter_map(|c| side.contrast(row, c))).collect();
    let axis = verdicts::axis(&contrasts);
    let margin =
        |column: usize| side.view(column).map_or(0.0, |view| view.plan().suite.margin_of("latency_ns"));
    parts::scroll(
        "Answers by variant and device",
        &html! { table.verdicts {
            caption { b { "Against the reference of the same run" } " – answer, change of latency with 95 % interval, and the band of the margin" }
            thead { tr { th scope="col" { "Variant" } (heads(side)) } }
            tbody { @for row in all { tr {
                th.name scope="row" { (row.name) }
                @for column in 0..side.columns.len() { td { (answer(side, row, column, &axis, margin(column))) } }
            } } }
        } },
    )
}

fn answer(side: &Side<'_>, row: &Row, column: usize, axis: &crate::page::svg::Axis, margin: f64) -> Markup {
    if side.is_reference(row, column) {
        return html! { span.muted { "reference" } };
    }
    let Some(contrast) = side.contrast(row, column) else { return html! { span.muted { (text::NONE) } } };
    let latency = contrast.shown("latency_ns");
    html! {
        (parts::answer(contrast.answer)) " "
        span.n { (parts::change(&latency)) }
        @if !latency.interval.is_empty() { span.small { (latency.interval) } }
        (verdicts::picture(contrast, axis, margin))
    }
}

fn measured(side: &Side<'_>) -> Markup {
    let cell = |row: &Row, column: usize| {
        let case = (*row.cases.get(column)?)?;
        let view = side.view(column)?;
        let (plan, summary) = view.case(case)?;
        let unit = view.plan().suite.task.metric().unit;
        Some(html! {
            (parts::or_none(typical(summary).map(text::time)))
            span.small {
                @if let Some(score) = summary.score { (text::score(score.point, unit)) ", " }
                (parts::or_none(summary.memory_peak_bytes.map(text::bytes))) ", "
                (text::bytes(plan.model_bytes as f64)) " file"
            }
        })
    };
    parts::scroll(
        "As measured, by variant and device",
        &html! { table {
            caption { "Median latency; below it score, peak memory and size of the file" }
            thead { tr { th scope="col" { "Variant" } (heads(side)) } }
            tbody { @for row in side.rows.iter().take(MAX_ROWS) { tr {
                th.name scope="row" { (row.name) @if row.files_differ { span.small { "not the same file in all runs" } } }
                @for column in 0..side.columns.len() { td { @match cell(row, column) { Some(cell) => (cell), None => span.muted { (text::NONE) } } } }
            } } }
        } },
    )
}

fn runs(side: &Side<'_>) -> Markup {
    let row = |at: usize, column: &Column| {
        let view = side.view(at)?;
        let plan = view.plan();
        let found = view.record.devices.get(column.device).and_then(Option::as_ref);
        let cpu = found.map(|d| format!("{}, {}", text::clean(&d.info.cpu), text::clean(&d.info.os)));
        Some(html! { tr {
            th scope="row" { (column.letter) }
            td.wrap { (text::clean(&plan.run)) span.small { (text::clean(&plan.created)) } }
            td { (text::clean(&plan.suite.name)) }
            td.wrap { (column.id) span.small { (parts::or_none(cpu)) } }
            td.wrap { (parts::or_none(view.only_reference().map(|case| view.name(case)))) }
            td.wrap { (view.headline().sentence) }
        } })
    };
    parts::scroll(
        "Runs",
        &html! { table {
            thead { tr {
                th scope="col" { "" span.sr { "Letter" } } th scope="col" { "Run" } th scope="col" { "Suite" }
                th scope="col" { "Device" } th scope="col" { "Reference" } th scope="col" { "What it says" }
            } }
            tbody { @for (at, column) in side.columns.iter().enumerate() { @if let Some(row) = row(at, column) { (row) } } }
        } },
    )
}
