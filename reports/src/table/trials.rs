//! `trials`: every trial of every complete unit, with the state of the device around it.

use super::Kind::{Flag, Integer, Number, Text};
use super::{
    Cell, Frames, Source, TABLE_SCHEMA, Table, cell, flag, frame, index, infos, integer, number, owned, text,
    word,
};
use crate::record::{RunRecord, TrialRecord, UnitRecord};
use crate::view::outcome_word;
use polars::prelude::AnyValue;
use protocol::{DeviceState, Outcome, SamplePhase};

pub(super) const TABLE: Table = Table {
    name: "trials",
    row: "one trial: one model in one fresh process",
    columns: || infos(&cells()),
    frames,
};

struct Row<'a> {
    record: &'a RunRecord,
    unit: &'a UnitRecord,
    position: usize,
    trial: &'a TrialRecord,
}

fn frames(source: Source<'_>) -> Frames<'_> {
    let record = source.record;
    let rows_of = move |unit: &'_ UnitRecord| -> usize { unit.trials.len() };
    // a frame for about a thousand trials
    let per_frame = 1000 / record.units.iter().map(rows_of).max().unwrap_or(1).max(1) + 1;
    Box::new(record.units.chunks(per_frame).map(move |units| {
        let rows = units.iter().flat_map(|unit| {
            let trials = unit.trials.iter().enumerate();
            trials.map(move |(position, trial)| Row { record, unit, position, trial })
        });
        frame(&cells(), &rows.collect::<Vec<_>>())
    }))
}

impl Row<'_> {
    fn samples(&self, phase: SamplePhase) -> AnyValue<'static> {
        let bursts = self.trial.bursts.iter().filter(|burst| burst.phase == phase);
        integer(bursts.map(|burst| burst.wall_ns.len() as u64).sum::<u64>())
    }
}

/// Greatest temperature of all zones in °C.
fn hottest(state: Option<&DeviceState>) -> AnyValue<'static> {
    let zones = state.into_iter().flat_map(|state| &state.thermal);
    number(zones.map(|zone| zone.milli_celsius).max().map(|t| t as f64 / 1000.0))
}

/// The same over the readings between blocks.
fn hottest_during(unit: &UnitRecord) -> AnyValue<'static> {
    let zones = unit.during.iter().flat_map(|state| &state.thermal);
    number(zones.map(|zone| zone.milli_celsius).max().map(|t| t as f64 / 1000.0))
}

fn frequency(state: Option<&DeviceState>, of: fn(u64, u64) -> u64) -> AnyValue<'static> {
    let policies = state.into_iter().flat_map(|state| &state.frequencies);
    integer(policies.filter_map(|policy| policy.khz).reduce(of))
}

fn outcome_reason(outcome: &Outcome) -> AnyValue<'_> {
    match outcome {
        Outcome::Failed { message, .. } => text(message),
        Outcome::Crashed { signal, why: None } => owned(format!("signal {signal}")),
        Outcome::Crashed { signal, why: Some(why) } => owned(format!("signal {signal}: {why}")),
        Outcome::Skipped { reason } => text(reason),
        Outcome::Ok | Outcome::TimedOut | Outcome::DeviceLost => AnyValue::Null,
    }
}

fn cells<'a>() -> Vec<Cell<Row<'a>>> {
    vec![
        cell("schema_version", Integer, |_| integer(u64::from(TABLE_SCHEMA))),
        cell("run", Text, |r| text(&r.record.plan.run)),
        cell("unit", Integer, |r| integer(u64::from(r.unit.unit.0))),
        cell("trial", Integer, |r| index(r.position)),
        cell("purpose", Text, |r| owned(word(&r.unit.purpose))),
        cell("device", Text, |r| {
            r.record.plan.devices.get(r.unit.device).map_or(AnyValue::Null, |d| text(&d.id))
        }),
        cell("case", Integer, |r| index(r.trial.case)),
        cell("unit_seed", Integer, |r| integer(r.unit.seed)),
        cell("outcome", Text, |r| text(outcome_word(&r.trial.outcome))),
        cell("outcome_reason", Text, |r| outcome_reason(&r.trial.outcome)),
        cell("load_ns", Integer, |r| integer(r.trial.loaded.as_ref().map(|l| l.load_ns))),
        cell("compile_ns", Integer, |r| integer(r.trial.loaded.as_ref().map(|l| l.compile_ns))),
        cell("first_inference_ns", Integer, |r| integer(r.trial.first_inference_ns)),
        cell("samples_warm_up", Integer, |r| r.samples(SamplePhase::WarmUp)),
        cell("samples_steady", Integer, |r| r.samples(SamplePhase::Steady)),
        cell("warmed_up", Flag, |r| flag(r.trial.warmed_up.map(|w| w.settled))),
        cell("cut_short", Text, |r| r.trial.cut_short.as_deref().map_or(AnyValue::Null, AnyValue::String)),
        cell("involuntary_switches", Integer, |r| {
            integer(r.trial.bursts.iter().map(|b| b.involuntary_switches).fold(0, u64::saturating_add))
        }),
        cell("dropped_blocks", Integer, |r| index(r.unit.dropped_blocks.len())),
        cell("temperature_before_c", Number, |r| hottest(r.unit.before.as_ref())),
        cell("temperature_after_c", Number, |r| hottest(r.unit.after.as_ref())),
        cell("frequency_min_before_khz", Integer, |r| frequency(r.unit.before.as_ref(), u64::min)),
        cell("frequency_max_before_khz", Integer, |r| frequency(r.unit.before.as_ref(), u64::max)),
        cell("frequency_min_after_khz", Integer, |r| frequency(r.unit.after.as_ref(), u64::min)),
        cell("frequency_max_after_khz", Integer, |r| frequency(r.unit.after.as_ref(), u64::max)),
        cell("load1_before", Number, |r| {
            number(r.unit.before.as_ref().and_then(|s| s.load1_milli).map(|m| m as f64 / 1000.0))
        }),
        cell("cpu_pressure_after_percent", Number, |r| {
            number(r.unit.after.as_ref().and_then(|s| s.cpu_pressure_centi_percent).map(|c| c as f64 / 100.0))
        }),
        cell("battery_percent", Integer, |r| {
            integer(
                r.unit
                    .before
                    .as_ref()
                    .and_then(|s| s.battery.as_ref())
                    .and_then(|b| b.percent)
                    .map(u64::from),
            )
        }),
        cell("temperature_during_c", Number, |r| hottest_during(r.unit)),
        cell("frequency_min_during_khz", Integer, |r| {
            let policies = r.unit.during.iter().flat_map(|state| &state.frequencies);
            integer(policies.filter_map(|policy| policy.khz).min())
        }),
        cell("throttle_flags_before", Integer, |r| integer(r.unit.before.as_ref().and_then(|s| s.throttled))),
        cell("throttle_flags_after", Integer, |r| integer(r.unit.after.as_ref().and_then(|s| s.throttled))),
        cell("cool_down_ms", Integer, |r| integer(r.unit.cooled_down.as_ref().map(|c| c.waited_ms))),
        cell("cool_down_reached", Flag, |r| flag(r.unit.cooled_down.as_ref().map(|c| c.reached))),
    ]
}
