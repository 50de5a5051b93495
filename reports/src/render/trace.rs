//! The run as a trace that `chrome://tracing` and Perfetto open: who had the device when, with its temperature and
//! clock, and the time of each node one after the other.

use super::{Format, Kept, Options, RenderError};
use crate::profile::Profile;
use crate::record::{CaseIndex, RunRecord, UnitRecord};
use crate::table::{Source, word};
use crate::text;
use crate::view::View;
use protocol::{DeviceState, Samples};
use serde_json::{Value, json};
use std::io::Write;

pub(super) const FORMAT: Format = Format {
    name: "trace",
    file: "trace.json",
    kept: Kept::OnRequest,
    text: true,
    about: "bursts and nodes on a time line, for Perfetto and chrome://tracing",
    render,
};

/// Bursts, and nodes, that are written; a viewer opens no more in reasonable time.
const MAX_BURSTS: usize = 200_000;
const MAX_NODES: usize = 200_000;

fn render(source: Source<'_>, _: &Options, out: &mut dyn Write) -> Result<(), RenderError> {
    let view = View::new(source.record, source.verdicts);
    let mut trace = Trace { out, first: true };
    trace.out.write_all(b"{\"displayTimeUnit\":\"ms\",\"traceEvents\":[\n")?;
    let devices = source.record.plan.devices.len();
    for device in 0..devices {
        tracks(&view, device, &mut trace)?;
    }
    let bursts = bursts(source.record, devices, &mut trace)?;
    let nodes = profiles(source.record, &mut trace)?;
    let about = json!({
        "run": text::clean(&source.record.plan.run),
        "bursts_omitted": bursts,
        "nodes_omitted": nodes,
    });
    writeln!(trace.out, "\n],\"otherData\":{about}}}")?;
    Ok(())
}

struct Trace<'a> {
    out: &'a mut dyn Write,
    first: bool,
}

impl Trace<'_> {
    fn event(&mut self, event: &Value) -> Result<(), RenderError> {
        let comma = if std::mem::take(&mut self.first) { "" } else { ",\n" };
        write!(self.out, "{comma}{event}")?;
        Ok(())
    }

    fn name(&mut self, what: &str, pid: usize, tid: usize, name: &str) -> Result<(), RenderError> {
        self.event(&json!({ "ph": "M", "name": what, "pid": pid, "tid": tid, "args": { "name": name } }))
    }
}

/// Bursts on a device, and nodes on it: each is a process to the viewer, and each variant a thread of it.
fn measured_on(device: usize) -> usize {
    2 * device + 1
}

fn profiled_on(device: usize) -> usize {
    2 * device + 2
}

fn tracks(view: &View<'_>, device: usize, trace: &mut Trace<'_>) -> Result<(), RenderError> {
    let plan = view.plan();
    let id = plan.devices.get(device).map(|d| text::clean(&d.id).into_owned()).unwrap_or_default();
    trace.name("process_name", measured_on(device), 0, &format!("{id}: bursts"))?;
    trace.name(
        "process_name",
        profiled_on(device),
        0,
        &format!("{id}: nodes, medians one after the other"),
    )?;
    for (case, _) in plan.cases.iter().enumerate().filter(|(_, case)| case.device == device) {
        for pid in [measured_on(device), profiled_on(device)] {
            trace.name("thread_name", pid, case + 1, &view.name(case))?;
        }
    }
    Ok(())
}

fn microseconds(ns: u64) -> f64 {
    ns as f64 / 1000.0
}

/// Writes the bursts of all units; how many were left out.
fn bursts(record: &RunRecord, devices: usize, trace: &mut Trace<'_>) -> Result<usize, RenderError> {
    let mut starts = vec![u64::MAX; devices];
    for unit in &record.units {
        let earliest = all_bursts(unit).map(|(_, burst)| burst.start_ns).min();
        if let (Some(start), Some(earliest)) = (starts.get_mut(unit.device), earliest) {
            *start = earliest.min(*start);
        }
    }
    let (mut written, mut omitted) = (0, 0);
    for unit in &record.units {
        let origin = starts.get(unit.device).copied().unwrap_or_default();
        let pid = measured_on(unit.device);
        let ends =
            all_bursts(unit).map(|(_, burst)| (burst.start_ns, burst.start_ns.saturating_add(took(burst))));
        let span = ends.reduce(|(from, to), (start, end)| (from.min(start), to.max(end)));
        if let Some((from, to)) = span {
            for (at, state) in [(from, &unit.before), (to, &unit.after)] {
                state
                    .as_ref()
                    .map_or(Ok(()), |state| counters(pid, microseconds(at - origin), state, trace))?;
            }
        }
        for (case, burst) in all_bursts(unit) {
            if written == MAX_BURSTS {
                omitted += 1;
                continue;
            }
            written += 1;
            let dropped = unit.dropped_blocks.iter().any(|(block, _)| *block == burst.block);
            trace.event(&json!({
                "ph": "X", "name": word(&burst.phase), "cat": word(&unit.purpose), "pid": pid, "tid": case + 1,
                "ts": microseconds(burst.start_ns - origin), "dur": microseconds(took(burst)),
                "args": {
                    "unit": unit.unit.0, "block": burst.block, "burst": burst.burst, "dropped": dropped,
                    "samples": burst.wall_ns.len(), "batch": burst.batch,
                },
            }))?;
        }
    }
    Ok(omitted)
}

fn all_bursts(unit: &UnitRecord) -> impl Iterator<Item = (CaseIndex, &Samples)> {
    unit.trials.iter().flat_map(|trial| trial.bursts.iter().map(|burst| (trial.case, burst)))
}

fn took(burst: &Samples) -> u64 {
    burst.wall_ns.iter().fold(0, |sum: u64, ns| sum.saturating_add(*ns))
}

/// The hottest zone and the slowest clock.
fn counters(pid: usize, ts: f64, state: &DeviceState, trace: &mut Trace<'_>) -> Result<(), RenderError> {
    let hottest = state.thermal.iter().map(|zone| zone.milli_celsius).max().map(|t| t as f64 / 1000.0);
    let slowest = state.frequencies.iter().filter_map(|f| f.khz).min().map(|khz| khz as f64 / 1000.0);
    for (name, value) in [("temperature, °C", hottest), ("slowest clock, MHz", slowest)] {
        if let Some(value) = value {
            trace.event(
                &json!({ "ph": "C", "name": name, "pid": pid, "ts": ts, "args": { "value": value } }),
            )?;
        }
    }
    Ok(())
}

/// Writes the medians of the first profile of each case; how many nodes were left out.
fn profiles(record: &RunRecord, trace: &mut Trace<'_>) -> Result<usize, RenderError> {
    let (mut written, mut omitted) = (0, 0);
    for (case, plan) in record.plan.cases.iter().enumerate() {
        let Some(profile) = Profile::of(record, case) else { continue };
        let mut at = 0.0;
        for timed in &profile.nodes {
            if written == MAX_NODES {
                omitted += 1;
                continue;
            }
            written += 1;
            let node = timed.node;
            trace.event(&json!({
                "ph": "X", "name": text::clean(&node.op), "cat": "node", "pid": profiled_on(plan.device),
                "tid": case + 1, "ts": at / 1000.0, "dur": timed.median_ns / 1000.0,
                "args": {
                    "node": text::clean(&node.node), "ran_on": text::clean(&node.unit), "samples": node.wall_ns.len(),
                },
            }))?;
            at += timed.median_ns;
        }
    }
    Ok(omitted)
}
