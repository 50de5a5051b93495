//! From a record and its verdicts to files. A format is one file here and one line in [`FORMATS`].
//! Everything is a pure function of the record: no clock, no order of a hash map, so that the same
//! record gives the same bytes.

mod annotations;
mod chart;
mod csv;
mod html;
mod json;
mod junit;
mod labels;
mod markdown;
mod openmetrics;
mod parquet;
mod png;
mod profile;
mod side;
mod terminal;
mod trace;

pub(crate) use csv::harmless;
pub use markdown::escaped as markdown_text;
pub(crate) use openmetrics::{Point, family};
pub(crate) use parquet::OPTIONS as PARQUET_OPTIONS;
pub use side::{SideFormat, side_by_side};

use crate::record::RunRecord;
use crate::store::StoreError;
use crate::table::Source;
use crate::verdict::Verdicts;
use std::io::{self, Write};

/// Why a report could not be made.
#[derive(Debug, thiserror::Error)]
pub enum RenderError {
    /// The run could not be read, or a file not be written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The output refused.
    #[error("writing the report failed: {0}")]
    Io(#[from] io::Error),
    /// A table could not be built or written.
    #[error("table {table}: {reason}")]
    Table {
        /// Which table.
        table: &'static str,
        /// What went wrong.
        reason: String,
    },
    /// A chart could not be drawn.
    #[error("chart {chart}: {reason}")]
    Chart {
        /// Which chart.
        chart: &'static str,
        /// What went wrong.
        reason: String,
    },
}

/// How text is laid out; the files of a run do not depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Columns of the terminal.
    pub width: u16,
    /// Whether to colour; the caller has asked the terminal and `NO_COLOR`.
    pub color: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { width: 100, color: false }
    }
}

/// When the file of a format is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// With every report.
    Always,
    /// When somebody asks for it: it is long, or only ever piped on.
    OnRequest,
}

/// One format.
pub struct Format {
    /// What it is called on the command line.
    pub name: &'static str,
    /// The name of its file.
    pub file: &'static str,
    /// Whether every report leaves that file in the run's directory.
    pub kept: Kept,
    /// It can be shown on a terminal.
    pub text: bool,
    /// One line for people.
    pub about: &'static str,
    render: Renderer,
}

type Renderer = fn(Source<'_>, &Options, &mut dyn Write) -> Result<(), RenderError>;

/// The list. A new format is a file and a line here.
pub const FORMATS: &[Format] = &[
    terminal::FORMAT,
    profile::FORMAT,
    html::FORMAT,
    markdown::COMMENT,
    markdown::SUMMARY,
    annotations::FORMAT,
    junit::FORMAT,
    openmetrics::FORMAT,
    json::FORMAT,
    trace::FORMAT,
    csv::RESULTS,
    csv::CASES,
    csv::CANARIES,
    csv::UNITS,
    csv::TRIALS,
    csv::MEMORY,
    csv::OPS,
    csv::ENV,
    csv::ACCURACY,
    csv::SAMPLES,
    parquet::RESULTS,
    parquet::UNITS,
    parquet::ACCURACY,
    parquet::SAMPLES,
    chart::LATENCY_SVG,
    chart::ACCURACY_SVG,
    chart::LATENCY_PNG,
    chart::ACCURACY_PNG,
];

/// The format of that name.
pub fn format(name: &str) -> Option<&'static Format> {
    FORMATS.iter().find(|format| format.name == name)
}

impl Format {
    /// Writes the report to `out`.
    ///
    /// # Errors
    /// `out` refused, or a table or chart could not be built.
    pub fn write(
        &self,
        record: &RunRecord,
        verdicts: &Verdicts,
        options: &Options,
        out: &mut dyn Write,
    ) -> Result<(), RenderError> {
        (self.render)(Source { record, verdicts }, options, out)
    }
}

/// A report as bytes.
///
/// # Errors
/// As [`Format::write`].
pub fn render(
    format: &Format,
    record: &RunRecord,
    verdicts: &Verdicts,
    options: &Options,
) -> Result<Vec<u8>, RenderError> {
    let mut bytes = Vec::new();
    format.write(record, verdicts, options, &mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod accept;
#[cfg(test)]
mod tests;
