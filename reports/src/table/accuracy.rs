//! `accuracy`: both sides' answers to every example of every contrast. The pairs that scores are judged by.

use super::Kind::{Integer, Number, Text};
use super::{Cell, Frames, Source, TABLE_SCHEMA, Table, cell, frame, index, infos, integer, number, text};
use crate::accuracy::{Outputs, outputs};
use crate::record::{Contrast, RunRecord};
use crate::score::scored;
use polars::prelude::{AnyValue, DataFrame, PolarsResult};
use stats::scores::Outcomes;

pub(super) const TABLE: Table =
    Table { name: "accuracy", row: "one example of one contrast", columns: || infos(&cells()), frames };

struct Row<'a> {
    contrast: usize,
    example: usize,
    record: &'a RunRecord,
    /// Of the candidate and of the reference.
    scores: [Option<f64>; 2],
    predictions: [Option<u32>; 2],
    max_abs_error: Option<f64>,
}

impl Row<'_> {
    fn name(&self) -> AnyValue<'_> {
        self.record.plan.dataset.names.get(self.example).map_or(AnyValue::Null, |name| text(name))
    }

    fn label(&self) -> Option<u64> {
        self.record.plan.dataset.labels.classes().get(self.example).map(|class| u64::from(*class))
    }
}

fn frames(source: Source<'_>) -> Frames<'_> {
    let contrasts = source.record.plan.contrasts.iter().enumerate();
    Box::new(contrasts.filter_map(move |(at, contrast)| of_contrast(source.record, at, contrast)))
}

/// `None` where a side has no outputs, or the two cannot be laid side by side.
fn of_contrast(record: &RunRecord, contrast: usize, cases: &Contrast) -> Option<PolarsResult<DataFrame>> {
    let sides = [outputs(record, cases.candidate)?, outputs(record, cases.reference)?];
    let examples = sides[0].examples();
    if sides[1].examples() != examples {
        return None;
    }
    let score = scored(&record.plan.suite.task, &record.plan.dataset, &sides).and_then(|s| s.outcomes()).ok();
    let predictions = sides.map(|side| side.predictions());
    let errors = max_abs_errors(sides);
    let row = |example: usize| Row {
        contrast,
        example,
        record,
        scores: [example, examples + example].map(|at| of_example(score.as_deref(), at)),
        predictions: [0, 1].map(|side: usize| predictions[side].get(example).copied().flatten()),
        max_abs_error: errors.get(example).copied(),
    };
    Some(frame(&cells(), &(0..examples).map(row).collect::<Vec<_>>()))
}

fn of_example(score: Option<&dyn Outcomes>, at: usize) -> Option<f64> {
    score.and_then(|score| score.of_example(at))
}

/// Largest |candidate − reference| of each example; nothing where the shapes differ.
fn max_abs_errors([candidate, reference]: [Outputs<'_>; 2]) -> Vec<f64> {
    let of_example = |(c, r): (&[f32], &[f32])| {
        let largest = |most: f64, (c, r): (&f32, &f32)| most.max((f64::from(*c) - f64::from(*r)).abs());
        (c.len() == r.len()).then(|| c.iter().zip(r).fold(0.0, largest))
    };
    candidate.iter().zip(reference.iter()).map_while(of_example).collect()
}

fn cells<'a>() -> Vec<Cell<Row<'a>>> {
    vec![
        cell("schema_version", Integer, |_| integer(u64::from(TABLE_SCHEMA))),
        cell("contrast", Integer, |r| index(r.contrast)),
        cell("example", Integer, |r| index(r.example)),
        cell("example_name", Text, |r| r.name()),
        cell("label", Integer, |r| integer(r.label())),
        cell("candidate_class", Integer, |r| integer(r.predictions[0].map(u64::from))),
        cell("reference_class", Integer, |r| integer(r.predictions[1].map(u64::from))),
        cell("candidate_score", Number, |r| number(r.scores[0])),
        cell("reference_score", Number, |r| number(r.scores[1])),
        cell("max_abs_error", Number, |r| number(r.max_abs_error)),
    ]
}
