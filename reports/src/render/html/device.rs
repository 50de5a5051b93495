//! What the numbers were measured on, in which state it was, and what was lost on the way.

use super::{Page, conditions, parts};
use crate::page::svg::{self, Anchor, Axis};
use crate::record::{DeviceRecord, RunRecord, UnitRecord};
use crate::text;
use crate::view::outcome_words;
use maud::{Markup, html};
use protocol::{DeviceInfo, DeviceState, Outcome};
use std::collections::BTreeMap;

/// Devices that are described; losses that are listed.
const MAX_DEVICES: usize = 50;
const MAX_LOSSES: usize = 100;
const WIDTH: f64 = 420.0;
const HEIGHT: f64 = 110.0;

pub(super) fn section(page: &Page<'_>) -> Option<Markup> {
    let record = page.view.record;
    let devices: Vec<_> =
        record.plan.devices.iter().zip(&record.devices).enumerate().take(MAX_DEVICES).collect();
    (!devices.is_empty()).then(|| {
        html! {
            @for (at, (plan, found)) in devices {
                h3 { (text::clean(&plan.id)) " " span.muted { "over " (text::clean(&plan.transport)) } }
                @match found {
                    Some(device) => { (facts(device)) (states(record, at)) },
                    None => p { "This device never answered." },
                }
            }
        }
    })
}

fn facts(device: &DeviceRecord) -> Markup {
    let info = &device.info;
    let runtimes = device.runtimes.iter().map(|r| {
        format!(
            "{} {} ({})",
            text::clean(&r.runtime),
            text::clean(&r.version),
            text::clean(&r.backends.join(", "))
        )
    });
    let board =
        [info.model.as_deref(), info.soc.as_deref()].into_iter().flatten().collect::<Vec<_>>().join(", ");
    html! {
        dl {
            dt { "Processor" } dd { (text::clean(&info.cpu)) ", " (text::clean(&info.arch)) ", " (text::counted(info.cores.len(), "core")) }
            @if !board.is_empty() { dt { "Board" } dd { (text::clean(&board)) } }
            dt { "Features" } dd { (text::clean(&info.features.join(", "))) }
            dt { "System" } dd { (text::clean(&info.os)) ", kernel " (text::clean(&info.kernel)) }
            @if let Some(build) = android(info) { dt { "Build" } dd { (text::clean(&build)) } }
            dt { "Memory" } dd { (text::bytes(info.memory_bytes as f64)) ", pages of " (info.page_bytes) " bytes" }
            dt { "Runtimes" } dd { (runtimes.collect::<Vec<_>>().join("; ")) }
            @if info.emulated { dt { "Emulated" } dd.invalid { "yes: memory and time are the emulator’s" } }
        }
    }
}

/// What Android tells of itself.
fn android(info: &DeviceInfo) -> Option<String> {
    let level = info.api_level.map(|level| format!("API {level}"));
    let parts: Vec<String> = [info.abi.clone(), level, info.build.clone()].into_iter().flatten().collect();
    (!parts.is_empty()).then(|| parts.join(", "))
}

/// Readings of all units, in order, where there are some.
struct Track {
    name: &'static str,
    unit: &'static str,
    decimals: usize,
    get: fn(&DeviceState) -> Option<f64>,
}

const TRACKS: [Track; 4] = [
    Track {
        name: "Hottest zone",
        unit: "°C",
        decimals: 1,
        get: |s| s.thermal.iter().map(|z| z.milli_celsius).max().map(|t| t as f64 / 1000.0),
    },
    Track {
        name: "Slowest core clock",
        unit: "MHz",
        decimals: 0,
        get: |s| s.frequencies.iter().filter_map(|f| f.khz).min().map(|k| k as f64 / 1000.0),
    },
    Track { name: "Load average", unit: "", decimals: 2, get: |s| s.load1_milli.map(|m| m as f64 / 1000.0) },
    Track {
        name: "CPU pressure",
        unit: "%",
        decimals: 2,
        get: |s| s.cpu_pressure_centi_percent.map(|c| c as f64 / 100.0),
    },
];

fn states(record: &RunRecord, device: usize) -> Markup {
    let units: Vec<&UnitRecord> = record.units.iter().filter(|unit| unit.device == device).collect();
    let read = |get: fn(&DeviceState) -> Option<f64>| -> Vec<f64> {
        let states = units.iter().flat_map(|unit| unit.before.iter().chain(&unit.during).chain(&unit.after));
        states.filter_map(get).filter(|v| v.is_finite()).collect()
    };
    let tracks: Vec<(&Track, Vec<f64>)> = TRACKS
        .iter()
        .map(|track| (track, read(track.get)))
        .filter(|(_, values)| !values.is_empty())
        .collect();
    let dropped: usize = units.iter().map(|unit| unit.dropped_blocks.len()).sum();
    html! {
        @if tracks.is_empty() { p.muted { "The device tells neither temperature nor clock nor load." } }
        div.pair { @for (track, values) in &tracks { (strip(track, values)) } }
        @if !tracks.is_empty() { (twin(&tracks)) }
        (conditions::list(&units))
        @if dropped > 0 { (dropped_blocks(&units, dropped)) }
    }
}

fn strip(track: &Track, values: &[f64]) -> Markup {
    let (low, high) =
        values.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(*v), h.max(*v)));
    let x = Axis::new(0.0, (values.len() - 1).max(1) as f64, 52.0, WIDTH - 8.0);
    let y = Axis::new(low, high, HEIGHT - 12.0, 10.0);
    // a long run is thinned: one point per pixel shows as much
    let step = values.len().div_ceil(400).max(1);
    let points: Vec<(f64, f64)> =
        values.iter().enumerate().step_by(step).map(|(i, v)| (x.at(i as f64), y.at(*v))).collect();
    let body = html! {
        @for value in [low, high] {
            (svg::line("grid", (52.0, y.at(value)), (WIDTH - 8.0, y.at(value))))
            (svg::text("t", (46.0, y.at(value) + 4.0), Anchor::End, &text::number(value, track.decimals)))
        }
        (svg::path("ref", &points))
    };
    let title = format!("{} {}", track.name, track.unit);
    let about = "Read before, during and after each unit, in the order measured.";
    html! { figure { (svg::figure(WIDTH, HEIGHT, title.trim(), about, &body)) figcaption { (title.trim()) ", before, during and after each unit" } } }
}

fn twin(tracks: &[(&Track, Vec<f64>)]) -> Markup {
    parts::scroll(
        "State of the device",
        &html! { table {
            thead { tr { th scope="col" { "State" } th.n scope="col" { "first" } th.n scope="col" { "least" } th.n scope="col" { "median" } th.n scope="col" { "most" } th.n scope="col" { "last" } } }
            tbody { @for (track, values) in tracks {
                @let summary = stats::Summary::of(values).ok();
                @let show = |v: Option<f64>| parts::or_none(v.map(|v| text::number(v, track.decimals)));
                tr {
                    th scope="row" { (track.name) " " span.muted { (track.unit) } }
                    td.n { (show(values.first().copied())) }
                    td.n { (show(summary.map(|s| s.min))) }
                    td.n { (show(summary.map(|s| s.median))) }
                    td.n { (show(summary.map(|s| s.max))) }
                    td.n { (show(values.last().copied())) }
                }
            } }
        } },
    )
}

fn dropped_blocks(units: &[&UnitRecord], dropped: usize) -> Markup {
    let mut reasons: BTreeMap<&str, usize> = BTreeMap::new();
    for (_, reason) in units.iter().flat_map(|unit| &unit.dropped_blocks) {
        *reasons.entry(reason).or_default() += 1;
    }
    html! {
        p { (text::counted(dropped, "block")) " dropped because the device changed its state:" }
        ul.reasons { @for (reason, n) in reasons.iter().take(20) { li { (n) " × " (text::clean(reason)) } } }
    }
}

/// Everything that did not end well, and what was lost to device trouble.
pub(super) fn losses(page: &Page<'_>) -> Option<Markup> {
    let record = page.view.record;
    let mut failed: BTreeMap<(usize, String), usize> = BTreeMap::new();
    for trial in record.units.iter().flat_map(|unit| &unit.trials).filter(|t| t.outcome != Outcome::Ok) {
        *failed.entry((trial.case, outcome_words(&trial.outcome))).or_default() += 1;
    }
    if failed.is_empty() && record.losses.is_empty() {
        return None;
    }
    Some(html! {
        @if !failed.is_empty() {
            (parts::scroll("Trials that did not end well", &html! { table {
                caption { "Trials that did not end well" }
                thead { tr { th scope="col" { "Variant" } th.n scope="col" { "Trials" } th scope="col" { "What happened" } } }
                tbody { @for ((case, what), n) in failed.iter().take(MAX_LOSSES) { tr {
                    th.name scope="row" { (page.view.name(*case)) }
                    td.n { (n) }
                    td.wrap { (text::clean(what)) }
                } } }
            } }))
        }
        @if !record.losses.is_empty() {
            p { "Units that were lost do not count, and were measured again where the run went on:" }
            ul.reasons {
                @for loss in record.losses.iter().take(MAX_LOSSES) { li { (text::clean(loss)) } }
                @if record.losses.len() > MAX_LOSSES { li { (record.losses.len() - MAX_LOSSES) " more" } }
            }
        }
    })
}
