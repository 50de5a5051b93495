//! `units`: the pairs that measured verdicts rest on. From these rows the ratios, intervals and
//! verdicts of `results` can be computed again.

use super::Kind::{Integer, Number, Text};
use super::{Cell, Frames, Source, TABLE_SCHEMA, Table, cell, frame, index, infos, integer, number, text};
use crate::verdict::{ContrastRow, UnitPair};
use crate::view::ratio_evidence;
use polars::prelude::AnyValue;

pub(super) const TABLE: Table = Table {
    name: "units",
    row: "one metric of one contrast in one unit",
    columns: || infos(&cells()),
    frames,
};

struct Row<'a> {
    run: &'a str,
    row: &'a ContrastRow,
    /// Statistic that stands for the iterations of a trial.
    location: Option<&'static str>,
    pair: UnitPair,
}

fn frames(source: Source<'_>) -> Frames<'_> {
    let run = &source.record.plan.run;
    let rows_of = move |row| {
        let evidence = ratio_evidence(row).into_iter();
        let rows = evidence.flat_map(move |e| {
            let location = e.location.map(|l| l.name());
            e.pairs.iter().map(move |pair| Row { run, row, location, pair: *pair })
        });
        rows.collect::<Vec<_>>()
    };
    let chunks = source.verdicts.rows.chunks(512);
    Box::new(chunks.map(move |rows| frame(&cells(), &rows.iter().flat_map(rows_of).collect::<Vec<_>>())))
}

fn cells<'a>() -> Vec<Cell<Row<'a>>> {
    vec![
        cell("schema_version", Integer, |_| integer(u64::from(TABLE_SCHEMA))),
        cell("run", Text, |r| text(r.run)),
        cell("contrast", Integer, |r| index(r.row.contrast)),
        cell("candidate_case", Integer, |r| index(r.row.cases.candidate)),
        cell("reference_case", Integer, |r| index(r.row.cases.reference)),
        cell("metric", Text, |r| text(r.row.metric.name)),
        cell("unit", Integer, |r| integer(u64::from(r.pair.unit.0))),
        cell("statistic", Text, |r| r.location.map_or(AnyValue::Null, AnyValue::String)),
        cell("candidate_value", Number, |r| number(r.pair.candidate)),
        cell("reference_value", Number, |r| number(r.pair.reference)),
        cell("log_ratio", Number, |r| number((r.pair.candidate / r.pair.reference).ln())),
    ]
}
