//! The answer and the table `results` as one JSON document, for programs that ask for a verdict. Names are those of the
//! columns in `SCHEMA.md`; a cell without a value is null.

use super::{Format, Kept, Options, RenderError};
use crate::table::{RESULTS, Source, TABLE_SCHEMA, word};
use crate::text;
use crate::view::{Answer, View};
use polars::prelude::{AnyValue, DataFrame};
use serde_json::{Map, Value, json};
use std::io::{self, Write};

pub(super) const FORMAT: Format = Format {
    name: "json",
    file: "report.json",
    kept: Kept::OnRequest,
    text: true,
    about: "the answer and the table of results as JSON, for programs",
    render,
};

fn render(source: Source<'_>, _: &Options, out: &mut dyn Write) -> Result<(), RenderError> {
    let view = View::new(source.record, source.verdicts);
    let headline = view.headline();
    let contrast = |c: &crate::view::ContrastView<'_>| {
        json!({
            "contrast": c.index,
            "candidate": c.candidate.to_string(),
            "reference": c.reference.to_string(),
            "kind": word(&c.contrast.kind),
            "answer": c.answer.name(),
            "gains": c.gains(),
        })
    };
    let head = json!({
        "schema_version": TABLE_SCHEMA,
        "run": text::visible(&view.plan().run),
        "answer": headline.answer.map(Answer::name),
        "headline": headline.sentence,
        "detail": headline.detail,
        "complete": view.record.finished.is_some(),
        "contrasts": view.contrasts.iter().map(contrast).collect::<Vec<_>>(),
        "losses": view.record.losses.iter().map(|loss| text::clean(loss)).collect::<Vec<_>>(),
    });
    let head = serde_json::to_string_pretty(&head).map_err(io::Error::from)?;
    // rows are written one by one below the rest: there may be a hundred thousand of them
    let open = head.trim_end().trim_end_matches('}').trim_end();
    write!(out, "{open},\n  \"results\": [")?;
    let mut between = "\n    ";
    for frame in (RESULTS.frames)(source) {
        let frame = frame.map_err(|e| failed(e.to_string()))?;
        for row in 0..frame.height() {
            let row = object(&frame, row).map_err(failed)?;
            write!(out, "{between}{row}")?;
            between = ",\n    ";
        }
    }
    out.write_all(b"\n  ]\n}\n")?;
    Ok(())
}

fn failed(reason: String) -> RenderError {
    RenderError::Table { table: RESULTS.name, reason }
}

fn object(frame: &DataFrame, row: usize) -> Result<Value, String> {
    let mut object = Map::new();
    for column in frame.columns() {
        let value = match column.get(row).map_err(|e| e.to_string())? {
            AnyValue::Null => Value::Null,
            AnyValue::UInt64(n) => json!(n),
            AnyValue::Float64(x) => json!(x),
            AnyValue::Boolean(b) => json!(b),
            other => json!(text::visible(other.get_str().unwrap_or_default())),
        };
        object.insert(column.name().to_string(), value);
    }
    Ok(Value::Object(object))
}
