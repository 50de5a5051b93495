//! `ops`: time per node, where it was profiled, and the nodes that did not run where they should.

use super::Kind::{Integer, Number, Text};
use super::{Cell, Frames, Source, TABLE_SCHEMA, Table, cell, frame, index, infos, integer, number, text};
use crate::record::{CaseIndex, Purpose, RunRecord};
use polars::prelude::AnyValue;
use protocol::{Fallback, NodeProfile};
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
    /// Position in the order of execution; of profiled nodes.
    position: Option<usize>,
    node: &'a str,
    op: &'a str,
    times: Vec<f64>,
    /// Sum of the medians of all nodes of the case.
    total: f64,
    fallback: Option<&'a str>,
}

impl Row<'_> {
    fn median(&self) -> Option<f64> {
        stats::median(&self.times).ok()
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
    let nodes = profile(record, case);
    let times = |node: &NodeProfile| -> Vec<f64> { node.wall_ns.iter().map(|ns| *ns as f64).collect() };
    let total = nodes.iter().filter_map(|node| stats::median(&times(node)).ok()).sum();
    let profiled = nodes.iter().enumerate().map(|(position, node)| Row {
        record,
        case,
        position: Some(position),
        node: &node.node,
        op: &node.op,
        times: times(node),
        total,
        fallback: why.remove(node.node.as_str()).map(|f| f.reason.as_str()),
    });
    let mut rows: Vec<_> = profiled.collect();
    rows.extend(why.into_values().map(|fallback| Row {
        record,
        case,
        position: None,
        node: &fallback.node,
        op: &fallback.op,
        times: Vec::new(),
        total,
        fallback: Some(&fallback.reason),
    }));
    rows
}

/// Nodes of the first profile of a case.
fn profile(record: &RunRecord, case: CaseIndex) -> &[NodeProfile] {
    let units = record.units.iter().filter(|unit| unit.purpose == Purpose::Profile);
    let mut trials = units.flat_map(|unit| &unit.trials).filter(|trial| trial.case == case);
    trials.find(|trial| !trial.profile.is_empty()).map(|trial| trial.profile.as_slice()).unwrap_or_default()
}

fn cells<'a>() -> Vec<Cell<Row<'a>>> {
    vec![
        cell("schema_version", Integer, |_| integer(u64::from(TABLE_SCHEMA))),
        cell("run", Text, |r| text(&r.record.plan.run)),
        cell("case", Integer, |r| index(r.case)),
        cell("position", Integer, |r| integer(r.position.map(|at| at as u64))),
        cell("node", Text, |r| text(r.node)),
        cell("op", Text, |r| text(r.op)),
        cell("samples", Integer, |r| index(r.times.len())),
        cell("wall_median_ns", Number, |r| number(r.median())),
        cell("wall_min_ns", Number, |r| number(r.times.iter().copied().reduce(f64::min))),
        cell("wall_share", Number, |r| number(r.median().map(|t| t / r.total))),
        cell("fallback_reason", Text, |r| r.fallback.map_or(AnyValue::Null, AnyValue::String)),
    ]
}
