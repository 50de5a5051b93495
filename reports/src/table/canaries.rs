//! `canaries`: whether each device measured as it should. The pairs behind it are in `samples`, under the numbers of
//! their cases.

use super::Kind::{Flag, Integer, Number, Text};
use super::{
    Cell, Frames, Source, TABLE_SCHEMA, Table, cell, flag, frame, index, infos, integer, number, owned, text,
};
use crate::record::{CanaryCounts, Plan};
use crate::verdict::{CanaryFinding, ContrastRow};
use crate::view::ratio_evidence;
use polars::prelude::AnyValue;
use stats::Interval;

pub(super) const TABLE: Table =
    Table { name: "canaries", row: "one comparison of a canary", columns: || infos(&cells()), frames };

struct Row<'a> {
    plan: &'a Plan,
    finding: &'a CanaryFinding,
    row: &'a ContrastRow,
    slowdown: f64,
    found: &'static str,
    runs: u64,
    flagged: u64,
}

impl Row<'_> {
    fn plain(&self) -> Option<Interval> {
        ratio_evidence(self.row).map(|e| e.plain)
    }
}

fn frames(source: Source<'_>) -> Frames<'_> {
    let plan = &source.record.plan;
    let planned = plan.canaries.iter().flat_map(|all| &all.of);
    let rows: Vec<_> = source
        .verdicts
        .canaries
        .iter()
        .zip(planned)
        .flat_map(|(finding, canary)| {
            let CanaryCounts { same, alarms, slower, found, .. } = canary.earlier + finding.counts();
            let row = |row, slowdown, found, runs, flagged| Row {
                plan,
                finding,
                row,
                slowdown,
                found,
                runs,
                flagged,
            };
            [
                row(&finding.same, 0.0, finding.alarm.word(), same, alarms),
                row(&finding.slower, finding.slowdown, finding.detection.word(), slower, found),
            ]
        })
        .collect();
    Box::new(std::iter::once(frame(&cells(), &rows)))
}

fn cells<'a>() -> Vec<Cell<Row<'a>>> {
    vec![
        cell("schema_version", Integer, |_| integer(u64::from(TABLE_SCHEMA))),
        cell("run", Text, |r| text(&r.plan.run)),
        cell("device", Text, |r| {
            r.plan.devices.get(r.finding.device).map_or(AnyValue::Null, |d| text(&d.id))
        }),
        cell("model", Text, |r| {
            let case = r.plan.cases.get(r.row.cases.candidate);
            case.map_or(AnyValue::Null, |case| owned(case.variant.model.clone()))
        }),
        cell("slowdown", Number, |r| number(r.slowdown)),
        cell("candidate_case", Integer, |r| index(r.row.cases.candidate)),
        cell("reference_case", Integer, |r| index(r.row.cases.reference)),
        cell("ratio", Number, |r| number(ratio_evidence(r.row).map(|e| e.ratio))),
        cell("interval_low", Number, |r| number(r.plain().map(|i| i.low))),
        cell("interval_high", Number, |r| number(r.plain().map(|i| i.high))),
        cell("units", Integer, |r| integer(ratio_evidence(r.row).map(|e| e.pairs.len() as u64))),
        cell("found", Text, |r| text(r.found)),
        cell("sick", Flag, |r| flag(r.finding.sickness().is_some())),
        cell("runs", Integer, |r| integer(r.runs)),
        cell("runs_flagged", Integer, |r| integer(r.flagged)),
    ]
}
