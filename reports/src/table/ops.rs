//! `ops`: time per node, where it was profiled, and the nodes that did not run where they should.

use super::Kind::{Integer, Number, Text};
use super::{Cell, Frames, Source, TABLE_SCHEMA, Table, cell, frame, index, infos, integer, number, text};
use crate::profile::Profile;
use crate::record::{CaseIndex, RunRecord};
use polars::prelude::AnyValue;
use protocol::Fallback;
use std::collections::BTreeMap;

pub(super) const TABLE: Table = Table {
    name: "ops",
    row: "one node of one case: profiled, or fallen back, or both",
    columns: || infos(&cells()),
    frames,
};

struct Row<'a> {
    record: &'a RunRecord,
    case: CaseIndex,
    node: &'a str,
    op: &'a str,
    fallback: Option<&'a str>,
    /// Of a node that was profiled.
    time: Option<Time<'a>>,
}

struct Time<'a> {
    /// Place in the order of execution.
    position: usize,
    unit: &'a str,
    wall_ns: &'a [u64],
    median_ns: f64,
    share: f64,
}

impl<'a> Row<'a> {
    fn ran_on(&self) -> Option<&'a str> {
        self.time.as_ref().map(|time| time.unit).filter(|unit| !unit.is_empty())
    }

    fn least(&self) -> Option<f64> {
        self.time.as_ref()?.wall_ns.iter().min().map(|ns| *ns as f64)
    }
}

fn frames(source: Source<'_>) -> Frames<'_> {
    let cases = source.verdicts.cases.iter();
    Box::new(cases.map(move |case| {
        let fallbacks = case.proof.as_ref().map(|proof| proof.fallbacks.as_slice()).unwrap_or_default();
        frame(&cells(), &rows(source.record, case.case, fallbacks))
    }))
}

fn rows<'a>(record: &'a RunRecord, case: CaseIndex, fallbacks: &'a [Fallback]) -> Vec<Row<'a>> {
    let mut why: BTreeMap<&str, &Fallback> = fallbacks.iter().map(|f| (f.node.as_str(), f)).collect();
    let mut rows = Vec::new();
    if let Some(profile) = Profile::of(record, case) {
        rows.extend(profile.nodes.iter().map(|timed| Row {
            record,
            case,
            node: &timed.node.node,
            op: &timed.node.op,
            fallback: why.remove(timed.node.node.as_str()).map(|f| f.reason.as_str()),
            time: Some(Time {
                position: timed.position,
                unit: &timed.node.unit,
                wall_ns: &timed.node.wall_ns,
                median_ns: timed.median_ns,
                share: profile.share(timed.median_ns),
            }),
        }));
    }
    rows.extend(why.into_values().map(|fallback| Row {
        record,
        case,
        node: &fallback.node,
        op: &fallback.op,
        fallback: Some(&fallback.reason),
        time: None,
    }));
    rows
}

fn cells<'a>() -> Vec<Cell<Row<'a>>> {
    vec![
        cell("schema_version", Integer, |_| integer(u64::from(TABLE_SCHEMA))),
        cell("run", Text, |r| text(&r.record.plan.run)),
        cell("case", Integer, |r| index(r.case)),
        cell("position", Integer, |r| integer(r.time.as_ref().map(|t| t.position as u64))),
        cell("node", Text, |r| text(r.node)),
        cell("op", Text, |r| text(r.op)),
        cell("ran_on", Text, |r| r.ran_on().map_or(AnyValue::Null, AnyValue::String)),
        cell("samples", Integer, |r| index(r.time.as_ref().map_or(0, |t| t.wall_ns.len()))),
        cell("wall_median_ns", Number, |r| number(r.time.as_ref().map(|t| t.median_ns))),
        cell("wall_min_ns", Number, |r| number(r.least())),
        cell("wall_share", Number, |r| number(r.time.as_ref().map(|t| t.share))),
        cell("fallback_reason", Text, |r| r.fallback.map_or(AnyValue::Null, AnyValue::String)),
    ]
}
