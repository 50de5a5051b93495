//! `samples`: every timed sample, warm-up and dropped ones included. Long, so its rows name a case
//! instead of repeating what `cases` says.

use super::Kind::{Flag, Integer, Text};
use super::{ColumnInfo, Frames, Kind, Source, TABLE_SCHEMA, Table, word};
use crate::record::{TrialRecord, UnitRecord};
use polars::prelude::{DataFrame, IntoColumn, NamedFrom, NamedFromOwned, PolarsResult, Series};
use protocol::Samples;

pub(super) const TABLE: Table = Table {
    name: "samples",
    row: "one timed sample: one invoke, or `batch` of them",
    columns: || COLUMNS.to_vec(),
    frames,
};

const fn column(name: &'static str, kind: Kind) -> ColumnInfo {
    ColumnInfo { name, kind }
}

const COLUMNS: &[ColumnInfo] = &[
    column("schema_version", Integer),
    column("unit", Integer),
    column("case", Integer),
    column("phase", Text),
    column("block", Integer),
    column("burst", Integer),
    column("sample", Integer),
    column("burst_start_ns", Integer),
    column("batch", Integer),
    column("wall_ns", Integer),
    column("cpu_ns", Integer),
    column("counts", Flag),
];

fn frames(source: Source<'_>) -> Frames<'_> {
    let units = source.record.units.iter();
    let trials = units.flat_map(|unit| unit.trials.iter().map(move |trial| (unit, trial)));
    let with_samples = trials.filter(|(_, trial)| !trial.bursts.is_empty());
    Box::new(with_samples.map(|(unit, trial)| frame(unit, trial)))
}

/// What each sample of each burst has.
fn values<T>(trial: &TrialRecord, rows: usize, value: impl Fn(&Samples, usize) -> T) -> Vec<T> {
    let mut values = Vec::with_capacity(rows);
    for burst in &trial.bursts {
        values.extend((0..burst.wall_ns.len()).map(|i| value(burst, i)));
    }
    values
}

fn frame(unit: &UnitRecord, trial: &TrialRecord) -> PolarsResult<DataFrame> {
    let rows = trial.bursts.iter().map(|burst| burst.wall_ns.len()).sum();
    let numbers = |name: &'static str, values| Series::from_vec(name.into(), values).into_column();
    let constant = |name, value: u64| numbers(name, vec![value; rows]);
    let each = |name, value: fn(&Samples, usize) -> u64| numbers(name, values(trial, rows, value));
    let cpu: Vec<Option<u64>> = values(trial, rows, |burst, i| burst.cpu_ns.get(i).copied());
    let words: Vec<String> = trial.bursts.iter().map(|burst| word(&burst.phase)).collect();
    let (mut phases, mut counts) = (Vec::with_capacity(rows), Vec::with_capacity(rows));
    for (burst, phase) in trial.bursts.iter().zip(&words) {
        let dropped = unit.dropped_blocks.iter().any(|(block, _)| *block == burst.block);
        let steady = burst.phase == protocol::SamplePhase::Steady;
        phases.extend(burst.wall_ns.iter().map(|_| phase.as_str()));
        counts.extend(burst.wall_ns.iter().map(|_| steady && !dropped));
    }
    let columns = vec![
        constant("schema_version", u64::from(TABLE_SCHEMA)),
        constant("unit", u64::from(unit.unit.0)),
        constant("case", trial.case as u64),
        Series::new("phase".into(), phases).into_column(),
        each("block", |burst, _| u64::from(burst.block)),
        each("burst", |burst, _| u64::from(burst.burst)),
        each("sample", |_, i| i as u64),
        each("burst_start_ns", |burst, _| burst.start_ns),
        each("batch", |burst, _| u64::from(burst.batch)),
        each("wall_ns", |burst, i| burst.wall_ns.get(i).copied().unwrap_or_default()),
        Series::new("cpu_ns".into(), cpu).into_column(),
        Series::new("counts".into(), counts).into_column(),
    ];
    DataFrame::new(rows, columns)
}
