//! `memory`: what each process held at the end of each phase.

use super::Kind::{Integer, Text};
use super::{
    Cell, Frames, Source, TABLE_SCHEMA, Table, cell, frame, index, infos, integer, owned, text, word,
};
use crate::record::{RunRecord, TrialRecord, UnitRecord};
use polars::prelude::AnyValue;
use protocol::MemoryReading;

pub(super) const TABLE: Table =
    Table { name: "memory", row: "one phase of one trial", columns: || infos(&cells()), frames };

struct Row<'a> {
    record: &'a RunRecord,
    unit: &'a UnitRecord,
    trial: &'a TrialRecord,
    reading: &'a MemoryReading,
}

fn frames(source: Source<'_>) -> Frames<'_> {
    let record = source.record;
    Box::new(record.units.chunks(64).map(move |units| {
        let rows = units.iter().flat_map(|unit| {
            unit.trials.iter().flat_map(move |trial| {
                trial.memory.iter().map(move |reading| Row { record, unit, trial, reading })
            })
        });
        frame(&cells(), &rows.collect::<Vec<_>>())
    }))
}

fn cells<'a>() -> Vec<Cell<Row<'a>>> {
    vec![
        cell("schema_version", Integer, |_| integer(u64::from(TABLE_SCHEMA))),
        cell("run", Text, |r| text(&r.record.plan.run)),
        cell("unit", Integer, |r| integer(u64::from(r.unit.unit.0))),
        cell("case", Integer, |r| index(r.trial.case)),
        cell("phase", Text, |r| owned(word(&r.reading.phase))),
        cell("peak_bytes", Integer, |r| integer(r.reading.peak_bytes)),
        cell("peak_method", Text, |r| {
            r.reading.peak_method.as_ref().map_or(AnyValue::Null, |m| owned(word(m)))
        }),
        cell("rss_anon_bytes", Integer, |r| integer(r.reading.rss_anon_bytes)),
        cell("rss_file_bytes", Integer, |r| integer(r.reading.rss_file_bytes)),
        cell("pss_bytes", Integer, |r| integer(r.reading.pss_bytes)),
        cell("private_dirty_bytes", Integer, |r| integer(r.reading.private_dirty_bytes)),
        cell("swap_bytes", Integer, |r| integer(r.reading.swap_bytes)),
        cell("arena_peak_bytes", Integer, |r| integer(r.reading.arena_peak_bytes)),
    ]
}
