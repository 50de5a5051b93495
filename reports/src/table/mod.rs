//! The run as tidy tables: one fact per row, the unit in the name of the column. A table is one file
//! here and one line in [`TABLES`]; `reports/SCHEMA.md` says what every column means. Formats
//! that write tables (CSV) take them from here.

mod accuracy;
mod canaries;
mod cases;
mod env;
mod memory;
mod ops;
mod results;
mod samples;
mod trials;
mod units;

pub use results::TABLE as RESULTS;

use crate::record::RunRecord;
use crate::verdict::Verdicts;
use polars::prelude::{AnyValue, Column, DataFrame, DataType, PolarsResult, Series};

/// Version of every table. Columns may be added under the same version; a column that goes or changes
/// its meaning makes a new one.
pub const TABLE_SCHEMA: u32 = 1;

/// What the cells of a column are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Text; untrusted.
    Text,
    /// Whole number, not negative.
    Integer,
    /// Number; empty where there is none.
    Number,
    /// `true` or `false`.
    Flag,
}

impl Kind {
    /// The word for it in `SCHEMA.md`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Integer => "integer",
            Self::Number => "number",
            Self::Flag => "flag",
        }
    }

    pub(crate) fn dtype(self) -> DataType {
        match self {
            Self::Text => DataType::String,
            Self::Integer => DataType::UInt64,
            Self::Number => DataType::Float64,
            Self::Flag => DataType::Boolean,
        }
    }
}

/// What a table says about a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ColumnInfo {
    /// Name, unit last.
    pub name: &'static str,
    /// What its cells are.
    pub kind: Kind,
}

/// What tables are made from.
#[derive(Clone, Copy)]
pub struct Source<'a> {
    /// The record.
    pub record: &'a RunRecord,
    /// What was concluded from it.
    pub verdicts: &'a Verdicts,
}

/// One table.
pub struct Table {
    /// Name, also of its file.
    pub name: &'static str,
    /// What one row is.
    pub row: &'static str,
    /// Its columns, in order.
    pub columns: fn() -> Vec<ColumnInfo>,
    /// Its rows in data frames of a bounded size, one after the other.
    pub frames: for<'a> fn(Source<'a>) -> Frames<'a>,
}

/// Data frames with the same columns.
pub type Frames<'a> = Box<dyn Iterator<Item = PolarsResult<DataFrame>> + 'a>;

/// The list. A new table is a file and a line here.
pub const TABLES: &[Table] = &[
    results::TABLE,
    cases::TABLE,
    canaries::TABLE,
    units::TABLE,
    trials::TABLE,
    memory::TABLE,
    ops::TABLE,
    env::TABLE,
    accuracy::TABLE,
    samples::TABLE,
];

/// A column and how to get its cell from a row.
struct Cell<R> {
    info: ColumnInfo,
    get: fn(&R) -> AnyValue<'_>,
}

const fn cell<R>(name: &'static str, kind: Kind, get: fn(&R) -> AnyValue<'_>) -> Cell<R> {
    Cell { info: ColumnInfo { name, kind }, get }
}

fn infos<R>(cells: &[Cell<R>]) -> Vec<ColumnInfo> {
    cells.iter().map(|cell| cell.info).collect()
}

/// All rows as one frame.
fn frame<R>(cells: &[Cell<R>], rows: &[R]) -> PolarsResult<DataFrame> {
    let column = |cell: &Cell<R>| {
        let values: Vec<AnyValue<'_>> = rows.iter().map(cell.get).collect();
        let name = cell.info.name.into();
        Series::from_any_values_and_dtype(name, &values, &cell.info.kind.dtype(), true).map(Column::from)
    };
    let columns = cells.iter().map(column).collect::<PolarsResult<Vec<_>>>()?;
    DataFrame::new(rows.len(), columns)
}

fn text(text: &str) -> AnyValue<'_> {
    AnyValue::String(text)
}

fn owned(text: String) -> AnyValue<'static> {
    AnyValue::StringOwned(text.into())
}

fn integer(n: impl Into<Option<u64>>) -> AnyValue<'static> {
    n.into().map_or(AnyValue::Null, AnyValue::UInt64)
}

fn index(n: usize) -> AnyValue<'static> {
    AnyValue::UInt64(n as u64)
}

/// What is not a finite number is no value.
fn number(x: impl Into<Option<f64>>) -> AnyValue<'static> {
    x.into().filter(|x| x.is_finite()).map_or(AnyValue::Null, AnyValue::Float64)
}

fn flag(b: impl Into<Option<bool>>) -> AnyValue<'static> {
    b.into().map_or(AnyValue::Null, AnyValue::Boolean)
}

/// The word that the record itself uses for a unit enum.
pub(crate) fn word<T: serde::Serialize>(value: &T) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word,
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests;
