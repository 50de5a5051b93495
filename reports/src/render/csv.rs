//! Tables as CSV files. Safe to open in a spreadsheet: no cell is taken for a formula.

use super::{Format, Kept, Options, RenderError};
use crate::table::{Kind, Source, TABLES, Table};
use crate::text;
use polars::prelude::{AnyValue, DataFrame};
use std::borrow::Cow;
use std::io::Write;

macro_rules! csv_format {
    ($constant:ident, $table:literal, $kept:expr, $about:literal) => {
        pub(super) const $constant: Format = Format {
            name: concat!($table, "-csv"),
            file: concat!($table, ".csv"),
            kept: $kept,
            text: true,
            about: $about,
            render: |source, _: &Options, out| write_table($table, source, out),
        };
    };
}

csv_format!(RESULTS, "results", Kept::Always, "verdicts: a row per contrast and metric");
csv_format!(CASES, "cases", Kept::Always, "a row per case, as measured");
csv_format!(CANARIES, "canaries", Kept::Always, "whether each device measured as it should");
csv_format!(UNITS, "units", Kept::Always, "the pairs that verdicts rest on");
csv_format!(TRIALS, "trials", Kept::Always, "a row per trial, with the state of the device");
csv_format!(MEMORY, "memory", Kept::Always, "a row per trial and phase");
csv_format!(OPS, "ops", Kept::Always, "a row per profiled or fallen-back node of a case");
csv_format!(ENV, "env", Kept::Always, "a row per number of a reading of a device");
// a hundred megabytes for a long run, and all of it in the record: on request only
csv_format!(ACCURACY, "accuracy", Kept::OnRequest, "both sides’ answers, a row per contrast and example");
csv_format!(SAMPLES, "samples", Kept::OnRequest, "every timed sample, a row each");

fn write_table(name: &'static str, source: Source<'_>, out: &mut dyn Write) -> Result<(), RenderError> {
    let failed = |reason: String| RenderError::Table { table: name, reason };
    let io = |e: csv::Error| match e.into_kind() {
        csv::ErrorKind::Io(e) => RenderError::Io(e),
        other => failed(format!("{other:?}")),
    };
    let table: &Table = TABLES
        .iter()
        .find(|table| table.name == name)
        .ok_or_else(|| failed("there is no such table".into()))?;
    let mut csv = csv::Writer::from_writer(out);
    let columns = (table.columns)();
    csv.write_record(columns.iter().map(|column| column.name)).map_err(io)?;
    let kinds: Vec<Kind> = columns.iter().map(|column| column.kind).collect();
    for frame in (table.frames)(source) {
        let frame = frame.map_err(|e| failed(e.to_string()))?;
        write_frame(&frame, &kinds, &mut csv).map_err(io)?;
    }
    csv.flush()?;
    Ok(())
}

fn write_frame<W: Write>(frame: &DataFrame, kinds: &[Kind], csv: &mut csv::Writer<W>) -> csv::Result<()> {
    let columns: Vec<_> = frame.columns().iter().map(|c| c.as_materialized_series()).collect();
    for row in 0..frame.height() {
        for (column, kind) in columns.iter().zip(kinds) {
            let value = column.get(row).unwrap_or(AnyValue::Null);
            csv.write_field(field(&value, *kind).as_bytes())?;
        }
        csv.write_record(None::<&[u8]>)?;
    }
    Ok(())
}

fn field<'a>(value: &'a AnyValue<'_>, kind: Kind) -> Cow<'a, str> {
    match value {
        AnyValue::Null => Cow::Borrowed(""),
        AnyValue::UInt64(n) => Cow::Owned(n.to_string()),
        AnyValue::Float64(x) => Cow::Owned(x.to_string()),
        AnyValue::Boolean(b) => Cow::Borrowed(if *b { "true" } else { "false" }),
        other => match (other.get_str(), kind) {
            (Some(text), _) => harmless(text),
            (None, _) => Cow::Owned(other.to_string()),
        },
    }
}

/// Text that no spreadsheet takes for a formula.
pub(crate) fn harmless(cell: &str) -> Cow<'_, str> {
    let shown = text::visible(cell);
    let formula = ['=', '+', '-', '@', '＝', '＋', '－', '＠'];
    if shown.trim_start().starts_with(formula) { Cow::Owned(format!("'{shown}")) } else { shown }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn formulas_are_disarmed_and_numbers_are_not_touched() {
        assert_eq!(harmless("=1+1"), "'=1+1");
        assert_eq!(harmless("\t@SUM(A1)"), "' @SUM(A1)");
        assert_eq!(harmless("plain, \"quoted\""), "plain, \"quoted\"");
        assert_eq!(field(&AnyValue::Float64(-0.5), Kind::Number), "-0.5");
        assert_eq!(field(&AnyValue::Null, Kind::Number), "");
    }

    proptest! {
        #[test]
        fn any_text_is_one_harmless_cell(text in "[=+@\\-\\PC\u{202e}\n\r\t\",]{0,40}") {
            let mut csv = csv::Writer::from_writer(Vec::new());
            csv.write_record([harmless(&text).as_ref(), "x"]).unwrap();
            let bytes = csv.into_inner().unwrap();
            let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(&bytes[..]);
            let back = reader.records().next().unwrap().unwrap();
            let sent = harmless(&text);
            prop_assert_eq!(&back[0], sent.as_ref());
            prop_assert!(!back[0].trim_start().starts_with(['=', '+', '-', '@']));
            let invisible = ['\n', '\r', '\u{202e}'];
            prop_assert!(!back[0].contains(invisible));
        }
    }
}
