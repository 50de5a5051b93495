//! `cases`: each case by itself, as measured. Absolute numbers of one device on one day.

use super::Kind::{Integer, Number, Text};
use super::{
    Cell, Frames, Source, TABLE_SCHEMA, Table, cell, frame, index, infos, integer, number, owned, text, word,
};
use crate::record::{CasePlan, Plan};
use crate::verdict::{CaseSummary, LatencySummary};
use polars::prelude::AnyValue;
use protocol::ModelFacts;
use stats::{Estimate, Percentile};

pub(super) const TABLE: Table = Table { name: "cases", row: "one case", columns: || infos(&cells()), frames };

struct Row<'a> {
    source: Source<'a>,
    case: usize,
    plan: &'a CasePlan,
    summary: &'a CaseSummary,
}

impl<'a> Row<'a> {
    fn run(&self) -> &'a Plan {
        &self.source.record.plan
    }

    fn facts(&self) -> Option<&'a ModelFacts> {
        self.source.record.facts.get(self.case)?.as_ref()
    }

    /// The score, where it is top-1 accuracy.
    fn top1(&self) -> Option<Estimate> {
        self.summary.score.filter(|_| self.run().suite.task.metric().name == "accuracy_top1")
    }

    fn latency(&self, get: fn(&LatencySummary) -> Option<f64>) -> AnyValue<'static> {
        number(self.summary.latency.as_ref().and_then(get))
    }

    fn percentile(&self, percentile: Percentile) -> AnyValue<'static> {
        let rows = self.summary.latency.iter().flat_map(|l| &l.percentiles);
        number(rows.filter(|row| row.percentile == percentile).find_map(|row| row.value))
    }
}

fn frames(source: Source<'_>) -> Frames<'_> {
    let pairs = source.record.plan.cases.iter().zip(&source.verdicts.cases).enumerate();
    let rows: Vec<_> = pairs.map(|(case, (plan, summary))| Row { source, case, plan, summary }).collect();
    Box::new(std::iter::once(frame(&cells(), &rows)))
}

fn cells<'a>() -> Vec<Cell<Row<'a>>> {
    vec![
        cell("schema_version", Integer, |_| integer(u64::from(TABLE_SCHEMA))),
        cell("run", Text, |r| text(&r.run().run)),
        cell("case", Integer, |r| index(r.case)),
        cell("device", Text, |r| r.run().devices.get(r.plan.device).map_or(AnyValue::Null, |d| text(&d.id))),
        cell("variant", Text, |r| owned(r.plan.variant.to_string())),
        cell("runtime", Text, |r| owned(r.plan.runtime.to_string())),
        cell("runtime_version", Text, |r| {
            r.summary.proof.as_ref().map_or(AnyValue::Null, |p| text(&p.runtime_version))
        }),
        cell("kernels", Text, |r| r.summary.proof.as_ref().map_or(AnyValue::Null, |p| text(&p.kernels))),
        cell("threads", Integer, |r| integer(u64::from(r.plan.threads))),
        cell("format", Text, |r| r.facts().map_or(AnyValue::Null, |f| owned(word(&f.format)))),
        cell("precision", Text, |r| r.facts().map_or(AnyValue::Null, |f| owned(word(&f.precision)))),
        cell("parameters", Integer, |r| integer(r.facts().map(|f| f.parameters))),
        cell("model_bytes", Integer, |r| integer(r.plan.model_bytes)),
        cell("model_sha256", Text, |r| text(r.plan.model_sha256.as_str())),
        cell("trials", Integer, |r| index(r.summary.trials)),
        cell("trials_failed", Integer, |r| index(r.summary.failed)),
        cell("trials_contended", Integer, |r| index(r.summary.contended)),
        cell("samples", Integer, |r| integer(r.summary.latency.as_ref().map(|l| l.samples as u64))),
        cell("latency_min_ns", Number, |r| r.latency(|l| Some(l.min))),
        cell("latency_p50_ns", Number, |r| r.percentile(Percentile::P50)),
        cell("latency_p90_ns", Number, |r| r.percentile(Percentile::P90)),
        cell("latency_p99_ns", Number, |r| r.percentile(Percentile::P99)),
        cell("latency_max_ns", Number, |r| r.latency(|l| Some(l.max))),
        cell("latency_mean_ns", Number, |r| r.latency(|l| Some(l.mean))),
        cell("latency_mad_ns", Number, |r| r.latency(|l| Some(l.mad))),
        cell("latency_cv", Number, |r| r.latency(|l| l.cv)),
        cell("latency_sd_within_ns", Number, |r| r.latency(|l| l.sd_within)),
        cell("latency_sd_between_ns", Number, |r| r.latency(|l| l.sd_between)),
        cell("samples_effective", Number, |r| r.latency(|l| Some(l.effective_samples))),
        cell("load_ns", Number, |r| number(r.summary.load_ns)),
        cell("compile_ns", Number, |r| number(r.summary.compile_ns)),
        cell("init_ns", Number, |r| number(r.summary.init_ns)),
        cell("first_inference_ns", Number, |r| number(r.summary.first_inference_ns)),
        cell("startup_overhead_ns", Number, |r| number(r.summary.startup_overhead_ns)),
        cell("memory_peak_bytes", Number, |r| number(r.summary.memory_peak_bytes)),
        cell("accuracy_top1", Number, |r| number(r.top1().map(|e| e.point))),
        cell("accuracy_top1_low", Number, |r| number(r.top1().map(|e| e.interval.low))),
        cell("accuracy_top1_high", Number, |r| number(r.top1().map(|e| e.interval.high))),
        cell("score_metric", Text, |r| {
            r.summary.score.map_or(AnyValue::Null, |_| text(r.run().suite.task.metric().name))
        }),
        cell("score", Number, |r| number(r.summary.score.map(|e| e.point))),
        cell("score_low", Number, |r| number(r.summary.score.map(|e| e.interval.low))),
        cell("score_high", Number, |r| number(r.summary.score.map(|e| e.interval.high))),
        cell("nodes", Integer, |r| integer(r.summary.proof.as_ref().map(|p| u64::from(p.nodes_total)))),
        cell("nodes_on_backend", Integer, |r| {
            integer(r.summary.proof.as_ref().map(|p| u64::from(p.nodes_on_backend)))
        }),
        cell("fallbacks", Integer, |r| integer(r.summary.proof.as_ref().map(|p| p.fallbacks.len() as u64))),
    ]
}
