//! Tables as Parquet files, row group by row group, so that memory does not grow with the table. Text is exactly what
//! was measured: what a spreadsheet must be spared (`csv`) is not changed here.

use super::{Format, Kept, Options, RenderError};
use crate::table::{ColumnInfo, Kind, Source, TABLE_SCHEMA, TABLES, Table};
use polars::prelude::{CompatLevel, DataFrame, Field, PolarsError, PolarsResult};
use polars_parquet::parquet::metadata::KeyValue;
use polars_parquet::write::{
    CompressionOptions, Encoding, FileWriter, StatisticsOptions, Version, WriteOptions, row_group_iter,
};
use std::io::Write;

macro_rules! parquet_format {
    ($constant:ident, $table:literal, $kept:expr, $about:literal) => {
        pub(super) const $constant: Format = Format {
            name: concat!($table, "-parquet"),
            file: concat!($table, ".parquet"),
            kept: $kept,
            text: false,
            about: $about,
            render: |source, _: &Options, out| write_table($table, source, out),
        };
    };
}

parquet_format!(RESULTS, "results", Kept::Always, "verdicts: a row per contrast and metric");
parquet_format!(UNITS, "units", Kept::Always, "the pairs that verdicts rest on");
parquet_format!(ACCURACY, "accuracy", Kept::OnRequest, "both sides’ answers, a row per contrast and example");
parquet_format!(SAMPLES, "samples", Kept::OnRequest, "every timed sample, a row each");

/// Rows of a row group: a dozen columns of it are a dozen megabytes.
const GROUP_ROWS: usize = 1 << 17;

pub(crate) const OPTIONS: WriteOptions = WriteOptions {
    statistics: StatisticsOptions {
        min_value: true,
        max_value: true,
        distinct_count: false,
        null_count: true,
        binary_statistics_truncate_length: Some(64),
    },
    version: Version::V1,
    compression: CompressionOptions::Snappy,
    data_page_size: None,
};

fn write_table(name: &'static str, source: Source<'_>, out: &mut dyn Write) -> Result<(), RenderError> {
    let failed = |reason: String| RenderError::Table { table: name, reason };
    let table: &Table = TABLES
        .iter()
        .find(|table| table.name == name)
        .ok_or_else(|| failed("there is no such table".into()))?;
    write_frames(table, source, out).map_err(|error| match error {
        PolarsError::IO { error, .. } => {
            RenderError::Io(std::io::Error::new(error.kind(), error.to_string()))
        }
        other => failed(other.to_string()),
    })
}

fn write_frames(table: &Table, source: Source<'_>, out: &mut dyn Write) -> PolarsResult<()> {
    let columns = (table.columns)();
    let field = |c: &ColumnInfo| Field::new(c.name.into(), c.kind.dtype()).to_arrow(CompatLevel::oldest());
    let schema = columns.iter().map(|c| (c.name.into(), field(c))).collect();
    let mut groups = Groups { writer: FileWriter::try_new(out, schema, OPTIONS)?, columns, waiting: None };
    for frame in (table.frames)(source) {
        groups.take(frame?)?;
    }
    groups.finish(table.name, &source.record.plan.run)
}

/// Gathers frames until they are worth a row group.
struct Groups<'a> {
    writer: FileWriter<&'a mut dyn Write>,
    columns: Vec<ColumnInfo>,
    waiting: Option<DataFrame>,
}

impl Groups<'_> {
    fn take(&mut self, frame: DataFrame) -> PolarsResult<()> {
        let mut all = match self.waiting.take() {
            None => frame,
            Some(mut waiting) => {
                waiting.vstack_mut(&frame)?;
                waiting
            }
        };
        while all.height() >= GROUP_ROWS {
            self.write(all.slice(0, GROUP_ROWS))?;
            let rest = all.height() - GROUP_ROWS;
            all = all.slice(GROUP_ROWS as i64, rest);
        }
        self.waiting = Some(all).filter(|frame| frame.height() > 0);
        Ok(())
    }

    fn write(&mut self, mut frame: DataFrame) -> PolarsResult<()> {
        frame.rechunk_mut();
        let fields = self.writer.parquet_schema().fields().to_vec();
        let encodings: Vec<Vec<Encoding>> = self.columns.iter().map(|c| vec![encoding(c)]).collect();
        for batch in frame.iter_chunks(CompatLevel::oldest(), false) {
            let rows = batch.len() as u64;
            let group = row_group_iter(batch, encodings.clone().into(), fields.clone(), OPTIONS);
            self.writer.write(rows, group)?;
        }
        Ok(())
    }

    /// The rest, and the footer: what table it is, so that a file says it even when its name was changed.
    fn finish(mut self, table: &str, run: &str) -> PolarsResult<()> {
        if let Some(rest) = self.waiting.take() {
            self.write(rest)?;
        }
        let version = TABLE_SCHEMA.to_string();
        let about = [("bench.table", table), ("bench.run", run), ("bench.schema_version", &version)];
        let about = about.map(|(key, value)| KeyValue { key: key.to_owned(), value: Some(value.to_owned()) });
        self.writer.end(Some(about.to_vec()))?;
        Ok(())
    }
}

/// Times differ from row to row by little; what else there is repeats.
fn encoding(column: &ColumnInfo) -> Encoding {
    match column.kind {
        Kind::Integer if column.name.ends_with("_ns") => Encoding::DeltaBinaryPacked,
        Kind::Integer | Kind::Text => Encoding::RleDictionary,
        Kind::Number | Kind::Flag => Encoding::Plain,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::RunRecord;
    use crate::render::{format, render};
    use crate::testing::Recipe;
    use crate::verdict::verdicts;
    use polars_parquet::read::{FileMetadata, infer_schema, read_metadata};
    use std::io::Cursor;

    fn metadata(name: &str, record: &RunRecord) -> FileMetadata {
        let format = format(&format!("{name}-parquet")).unwrap();
        let file = render(format, record, &verdicts(record), &Options::default()).unwrap();
        read_metadata(&mut Cursor::new(file)).unwrap()
    }

    // values are compared with the CSV by pyarrow and polars, in tests/files.rs
    #[test]
    fn columns_have_the_types_that_are_documented() {
        let record = Recipe::small().run().record();
        let mut empty = Recipe::small().run();
        empty.entries.clear();
        for record in [record, empty.record()] {
            for table in TABLES.iter().filter(|t| format(&format!("{}-parquet", t.name)).is_some()) {
                let found = metadata(table.name, &record);
                let types: Vec<_> = (infer_schema(&found).unwrap().iter_values())
                    .map(|f| (f.name.to_string(), polars::prelude::DataType::from_arrow_dtype(&f.dtype)))
                    .collect();
                let promised: Vec<_> =
                    (table.columns)().iter().map(|c| (c.name.to_owned(), c.kind.dtype())).collect();
                assert_eq!(types, promised, "{}", table.name);
                let about = found.key_value_metadata().clone().unwrap();
                assert!(
                    about.iter().any(|kv| kv.key == "bench.table" && kv.value.as_deref() == Some(table.name))
                );
            }
        }
    }

    #[test]
    fn a_long_table_is_written_group_by_group() {
        // one burst of a trial with more samples than two groups have rows
        let mut record = Recipe::small().run().record();
        let rows = |record: &RunRecord| -> usize {
            let trials = record.units.iter().flat_map(|unit| &unit.trials);
            trials.flat_map(|trial| &trial.bursts).map(|burst| burst.wall_ns.len()).sum()
        };
        record.units[0].trials[0].bursts[1].wall_ns = vec![250_000; 2 * GROUP_ROWS];
        let found = metadata("samples", &record);
        assert_eq!(found.num_rows, rows(&record));
        let groups: Vec<usize> = found.row_groups.iter().map(|group| group.num_rows()).collect();
        assert_eq!(groups, [GROUP_ROWS, GROUP_ROWS, rows(&record) - 2 * GROUP_ROWS]);
    }
}
