//! What a variant costs besides latency: memory by phase, time until the first answer, size.

use super::{Page, parts};
use crate::page::svg;
use crate::record::{CaseIndex, Purpose, RunRecord};
use crate::text::Scale;
use maud::{Markup, html};
use protocol::{MemoryPhase, MemoryReading, Outcome, PeakMethod};

/// Rows of a table; the rest lies in the CSV files.
const MAX_ROWS: usize = 300;
const PHASES: [(MemoryPhase, &str); 5] = [
    (MemoryPhase::Bare, "bare"),
    (MemoryPhase::RuntimeLoaded, "runtime"),
    (MemoryPhase::ModelLoaded, "model loaded"),
    (MemoryPhase::FirstInference, "first inference"),
    (MemoryPhase::Steady, "steady"),
];
const BAR: f64 = 120.0;

pub(super) fn section(page: &Page<'_>) -> Option<Markup> {
    let measured = page.view.verdicts.cases.iter().any(|case| case.trials > 0);
    let cases = page.view.verdicts.cases.len();
    measured.then(|| html! { (start(page)) (memory(page)) (parts::omitted(cases, MAX_ROWS)) })
}

fn start(page: &Page<'_>) -> Markup {
    let cases = &page.view.verdicts.cases;
    let scale = Scale::time(cases.iter().filter_map(|c| c.first_inference_ns.or(c.compile_ns)));
    let time = |v: Option<f64>| parts::or_none(v.map(|v| scale.show(v)));
    let size = Scale::bytes(cases.iter().map(|c| c.model_bytes as f64));
    parts::scroll(
        "Time until the first answer, and size",
        &html! { table {
            caption { "Until the first answer, " (scale.symbol) ": medians over trials, each in a fresh process" }
            thead { tr {
                th scope="col" { "Variant" } th.n scope="col" { "Load" } th.n scope="col" { "Compile" }
                th.n scope="col" { "Load and compile" } th.n scope="col" { "First inference" }
                th.n scope="col" { "Start costs" } th.n scope="col" { "Trials" } th.n scope="col" { "File " (size.symbol) }
            } }
            tbody { @for case in cases.iter().take(MAX_ROWS) { tr {
                th.name scope="row" { (page.view.name(case.case)) }
                td.n { (time(case.load_ns)) }
                td.n { (time(case.compile_ns)) }
                td.n { (time(case.init_ns)) }
                td.n { (time(case.first_inference_ns)) }
                td.n { (time(case.startup_overhead_ns)) }
                td.n { (case.trials) @if case.failed > 0 { span.worse { ", " (case.failed) " failed" } } }
                td.n { (size.show(case.model_bytes as f64)) }
            } } }
        } },
    )
}

/// Peak of a phase by which the table is filled: the median over trials.
fn peak(record: &RunRecord, case: CaseIndex, phase: MemoryPhase) -> Option<f64> {
    let peaks: Vec<f64> = readings(record, case)
        .filter(|reading| reading.phase == phase)
        .filter_map(|reading| reading.peak_bytes.map(|b| b as f64))
        .collect();
    stats::median(&peaks).ok()
}

fn readings(record: &RunRecord, case: CaseIndex) -> impl Iterator<Item = &MemoryReading> {
    let units = record.units.iter().filter(|unit| unit.purpose == Purpose::Performance);
    let trials = units.flat_map(|unit| &unit.trials);
    trials.filter(move |t| t.case == case && t.outcome == Outcome::Ok).flat_map(|trial| &trial.memory)
}

fn memory(page: &Page<'_>) -> Markup {
    let record = page.view.record;
    let rows: Vec<(CaseIndex, Vec<Option<f64>>)> = (0..record.plan.variants().len())
        .take(MAX_ROWS)
        .map(|case| (case, PHASES.iter().map(|(phase, _)| peak(record, case, *phase)).collect()))
        .collect();
    let all = || rows.iter().flat_map(|(_, peaks)| peaks.iter().flatten().copied());
    if all().next().is_none() {
        return html! { p.muted { "No memory was read on this device." } };
    }
    let scale = Scale::bytes(all());
    let most = all().fold(0.0, f64::max);
    let whole = |r: &MemoryReading| r.peak_method == Some(PeakMethod::VmHwm);
    let unreset = rows.iter().any(|(case, _)| readings(record, *case).any(whole));
    parts::scroll(
        "Memory by phase",
        &html! {
            table {
                caption { "Highest resident memory by phase, " (scale.symbol) ": medians over trials" }
                thead { tr {
                    th scope="col" { "Variant" }
                    @for (_, name) in PHASES { th.n scope="col" { (name) } }
                    th scope="col" { "Highest of all" }
                } }
                tbody { @for (case, peaks) in &rows { tr {
                    th.name scope="row" { (page.view.name(*case)) }
                    @for peak in peaks { td.n { (parts::or_none(peak.map(|p| scale.show(p)))) } }
                    td { (bar(&page.view.name(*case), peaks.iter().flatten().copied().fold(0.0, f64::max), most, scale)) }
                } } }
            }
            @if unreset { p.note { "On this device the peak could not be reset before each phase: it is the peak since the process began." } }
        },
    )
}

fn bar(name: &str, value: f64, most: f64, scale: Scale) -> Markup {
    let length = if most > 0.0 { BAR * value / most } else { 0.0 };
    let body = svg::rect("bar", (0.0, 2.0), (length, 10.0));
    let title = format!("{name}: {} {}", scale.show(value), scale.symbol);
    svg::figure(BAR, 14.0, &title, "Length in proportion to the largest of the table", &body)
}
