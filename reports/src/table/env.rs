//! `env`: every reading of the state of a device, number by number.

use super::Kind::{Integer, Number, Text};
use super::{Cell, Frames, Source, TABLE_SCHEMA, Table, cell, frame, index, infos, integer, number, text};
use crate::record::{RunRecord, UnitRecord};
use polars::prelude::AnyValue;
use protocol::DeviceState;

pub(super) const TABLE: Table =
    Table { name: "env", row: "one number of one reading of a device", columns: || infos(&cells()), frames };

/// What was read, of which part where there are several, its value, and what that is counted in.
struct Reading<'a> {
    name: &'static str,
    part: Option<&'a str>,
    value: f64,
    unit: &'static str,
}

struct Row<'a> {
    record: &'a RunRecord,
    unit: &'a UnitRecord,
    moment: &'static str,
    /// Position among the readings of this unit and moment.
    reading: usize,
    of: Reading<'a>,
}

fn frames(source: Source<'_>) -> Frames<'_> {
    let record = source.record;
    Box::new(record.units.chunks(64).map(move |units| {
        let rows = units.iter().flat_map(|unit| {
            states(unit).flat_map(move |(moment, reading, state)| {
                readings(state).into_iter().map(move |of| Row { record, unit, moment, reading, of })
            })
        });
        frame(&cells(), &rows.collect::<Vec<_>>())
    }))
}

fn states(unit: &UnitRecord) -> impl Iterator<Item = (&'static str, usize, &DeviceState)> {
    let before = unit.before.iter().map(|state| ("before", 0, state));
    let during = unit.during.iter().enumerate().map(|(at, state)| ("during", at, state));
    before.chain(during).chain(unit.after.iter().map(|state| ("after", 0, state)))
}

fn readings(state: &DeviceState) -> Vec<Reading<'_>> {
    let one = |name, value: f64, unit| Reading { name, part: None, value, unit };
    let of = |name, part, value: f64, unit| Reading { name, part: Some(part), value, unit };
    let celsius = |milli: i64| milli as f64 / 1000.0;
    let mut all = Vec::new();
    all.extend(state.thermal.iter().map(|z| of("temperature", &z.zone, celsius(z.milli_celsius), "c")));
    let clocks = state.frequencies.iter().filter_map(|f| Some((f.policy.as_str(), f.khz?)));
    all.extend(clocks.map(|(policy, khz)| of("frequency", policy, khz as f64, "khz")));
    all.extend(state.cooling.iter().map(|c| of("cooling", &c.device, c.step as f64, "step")));
    all.extend(state.throttled.map(|flags| one("throttle_flags", flags as f64, "flags")));
    all.extend(state.thermal_status.map(|status| one("thermal_status", f64::from(status), "status")));
    if let Some(battery) = &state.battery {
        all.extend(battery.percent.map(|p| one("battery", f64::from(p), "percent")));
        all.extend(battery.milli_celsius.map(|t| one("battery_temperature", celsius(t), "c")));
    }
    all.extend(state.load1_milli.map(|milli| one("load1", milli as f64 / 1000.0, "processes")));
    let pressure = state.cpu_pressure_centi_percent;
    all.extend(pressure.map(|centi| one("cpu_pressure", centi as f64 / 100.0, "percent")));
    all.extend(state.memory_available_bytes.map(|b| one("memory_available", b as f64, "bytes")));
    all
}

fn cells<'a>() -> Vec<Cell<Row<'a>>> {
    vec![
        cell("schema_version", Integer, |_| integer(u64::from(TABLE_SCHEMA))),
        cell("run", Text, |r| text(&r.record.plan.run)),
        cell("device", Text, |r| {
            r.record.plan.devices.get(r.unit.device).map_or(AnyValue::Null, |d| text(&d.id))
        }),
        cell("unit", Integer, |r| integer(u64::from(r.unit.unit.0))),
        cell("moment", Text, |r| text(r.moment)),
        cell("reading", Integer, |r| index(r.reading)),
        cell("name", Text, |r| text(r.of.name)),
        cell("part", Text, |r| r.of.part.map_or(AnyValue::Null, AnyValue::String)),
        cell("value", Number, |r| number(r.of.value)),
        cell("value_unit", Text, |r| text(r.of.unit)),
    ]
}
