//! `results`: what each contrast says about each metric. The table to gate and to plot from.

use super::Kind::{Flag, Integer, Number, Text};
use super::{
    Cell, Frames, Source, TABLE_SCHEMA, Table, cell, frame, index, infos, integer, number, owned, text, word,
};
use crate::record::{CasePlan, Plan};
use crate::verdict::{ContrastRow, Evidence, Reason};
use crate::view::{is_cost, ratio_evidence, ratio_of};
use polars::prelude::AnyValue;
use protocol::ModelFacts;
use stats::Interval;

/// The table.
pub const TABLE: Table =
    Table { name: "results", row: "one metric of one contrast", columns: || infos(&cells()), frames };

struct Row<'a> {
    source: Source<'a>,
    row: &'a ContrastRow,
    candidate: &'a CasePlan,
    reference: &'a CasePlan,
}

impl<'a> Row<'a> {
    fn plan(&self) -> &'a Plan {
        &self.source.record.plan
    }

    fn facts(&self, case: usize) -> Option<&'a ModelFacts> {
        self.source.record.facts.get(case)?.as_ref()
    }

    /// Interval that better and worse are read from.
    fn decision(&self) -> Option<Interval> {
        match &self.row.evidence {
            Evidence::Ratio(e) => e.decision,
            Evidence::Score(e) => Some(e.difference.interval),
            Evidence::Share(_) | Evidence::Exact | Evidence::None => None,
        }
    }

    /// Interval for reading.
    fn interval(&self) -> Option<Interval> {
        match &self.row.evidence {
            Evidence::Ratio(e) => Some(e.plain),
            Evidence::Score(e) => Some(e.difference.interval),
            Evidence::Share(e) => Some(e.interval),
            Evidence::Exact | Evidence::None => None,
        }
    }

    fn margin(&self) -> Option<f64> {
        match &self.row.evidence {
            Evidence::Ratio(e) => Some(e.margin),
            Evidence::Score(e) => Some(e.margin),
            Evidence::Share(_) | Evidence::Exact | Evidence::None => None,
        }
    }
}

fn frames<'a>(source: Source<'a>) -> Frames<'a> {
    let cases = &source.record.plan.cases;
    let row = move |row: &'a ContrastRow| {
        let (candidate, reference) = (cases.get(row.cases.candidate)?, cases.get(row.cases.reference)?);
        Some(Row { source, row, candidate, reference })
    };
    let chunks = source.verdicts.rows.chunks(4096);
    Box::new(chunks.map(move |rows| frame(&cells(), &rows.iter().filter_map(row).collect::<Vec<_>>())))
}

fn optional(text: Option<&str>) -> AnyValue<'_> {
    text.map_or(AnyValue::Null, AnyValue::String)
}

fn cells<'a>() -> Vec<Cell<Row<'a>>> {
    vec![
        cell("schema_version", Integer, |_| integer(u64::from(TABLE_SCHEMA))),
        cell("run", Text, |r| text(&r.plan().run)),
        cell("suite", Text, |r| text(&r.plan().suite.name)),
        cell("device", Text, |r| optional(r.plan().devices.get(r.candidate.device).map(|d| d.id.as_str()))),
        cell("contrast", Integer, |r| index(r.row.contrast)),
        cell("kind", Text, |r| owned(word(&r.row.cases.kind))),
        cell("candidate_case", Integer, |r| index(r.row.cases.candidate)),
        cell("reference_case", Integer, |r| index(r.row.cases.reference)),
        cell("candidate", Text, |r| owned(r.candidate.variant.to_string())),
        cell("reference", Text, |r| owned(r.reference.variant.to_string())),
        cell("candidate_runtime", Text, |r| owned(r.candidate.runtime.to_string())),
        cell("reference_runtime", Text, |r| owned(r.reference.runtime.to_string())),
        cell("candidate_precision", Text, |r| {
            r.facts(r.row.cases.candidate).map_or(AnyValue::Null, |f| owned(word(&f.precision)))
        }),
        cell("reference_precision", Text, |r| {
            r.facts(r.row.cases.reference).map_or(AnyValue::Null, |f| owned(word(&f.precision)))
        }),
        cell("metric", Text, |r| text(r.row.metric.name)),
        cell("unit", Text, |r| owned(word(&r.row.metric.unit))),
        cell("better", Text, |r| owned(word(&r.row.metric.better))),
        cell("candidate_value", Number, |r| number(r.row.candidate)),
        cell("reference_value", Number, |r| number(r.row.reference)),
        cell("ratio", Number, |r| number(ratio_of(r.row).filter(|_| is_cost(r.row)))),
        cell("difference", Number, |r| number(difference(r.row))),
        cell("interval_low", Number, |r| number(r.interval().map(|i| i.low))),
        cell("interval_high", Number, |r| number(r.interval().map(|i| i.high))),
        cell("interval_level", Number, |r| number(r.interval().map(|i| i.level))),
        cell("decision_low", Number, |r| number(r.decision().map(|i| i.low))),
        cell("decision_high", Number, |r| number(r.decision().map(|i| i.high))),
        cell("decision_level", Number, |r| number(r.decision().map(|i| i.level))),
        cell("units", Integer, |r| integer(ratio_evidence(r.row).map(|e| e.pairs.len() as u64))),
        cell("examples", Integer, |r| integer(examples(r))),
        cell("p_value", Number, |r| number(r.row.p_value)),
        cell("q_value", Number, |r| number(r.row.q_value)),
        cell("margin", Number, |r| number(r.margin())),
        cell("minimum_detectable_ratio", Number, |r| {
            number(ratio_evidence(r.row).and_then(|e| e.minimum_detectable_ratio))
        }),
        cell("verdict", Text, |r| optional(r.row.verdict.map(|v| v.word()))),
        cell("confirmed", Text, |r| optional(confirmed(r.row))),
        cell("reasons", Text, |r| owned(reasons(r.row))),
        cell("candidate_sha256", Text, |r| text(r.candidate.model_sha256.as_str())),
        cell("reference_sha256", Text, |r| text(r.reference.model_sha256.as_str())),
        cell("seed", Integer, |r| integer(r.plan().seed)),
        cell("complete", Flag, |r| super::flag(r.source.record.finished.is_some())),
    ]
}

fn difference(row: &ContrastRow) -> Option<f64> {
    match &row.evidence {
        Evidence::Score(e) => Some(e.difference.point),
        _ => None,
    }
}

fn examples(r: &Row<'_>) -> Option<u64> {
    match &r.row.evidence {
        Evidence::Score(e) => Some(e.examples),
        Evidence::Share(_) => Some(r.plan().dataset.examples),
        _ => None,
    }
}

/// Whether fresh units found a `worse` latency again; `None` where nobody had to ask.
fn confirmed(row: &ContrastRow) -> Option<&'static str> {
    row.reasons.iter().find_map(|reason| match reason {
        Reason::Confirmed { .. } => Some("yes"),
        Reason::NotReproduced { .. } => Some("not-reproduced"),
        Reason::NotConfirmed { .. } => Some("no"),
        _ => None,
    })
}

fn reasons(row: &ContrastRow) -> String {
    row.reasons.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}
