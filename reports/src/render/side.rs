//! Several runs side by side, for a terminal; the page is in `html/side.rs`.

use super::{Options, RenderError, html};
use crate::table::Source;
use crate::text;
use crate::view::{Side, symbol, typical};
use comfy_table::{CellAlignment, ContentArrangement, LineStyle, Table, TableStyle, presets};
use std::io::Write;

/// How several runs are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SideFormat {
    /// Tables for a terminal.
    Terminal,
    /// A page for a browser.
    Html,
}

/// A line below the header, none between rows.
const LINES: TableStyle = presets::NOTHING.header_separator(LineStyle::new('─', '─', '─', '─'));
/// Variants that are listed.
const MAX_ROWS: usize = 200;
/// What columns are no proof of.
const CAVEAT: &str = "Devices and days differ: only columns of one run were measured in turns. `bench diff` says what two runs \
                      can be compared for.";
/// Columns of the terminal that a name and a device need, for a table to be better than a list.
const NAME_WIDTH: u16 = 26;
const CELL_WIDTH: u16 = 27;

/// Writes runs side by side, in their order.
///
/// # Errors
/// `out` refused.
pub fn side_by_side(
    format: SideFormat,
    runs: &[Source<'_>],
    options: &Options,
    out: &mut dyn Write,
) -> Result<(), RenderError> {
    let side = Side::new(runs);
    let page = match format {
        SideFormat::Terminal => terminal(&side, options),
        SideFormat::Html => html::side::page(&side).into_string(),
    };
    out.write_all(page.as_bytes())?;
    Ok(())
}

fn terminal(side: &Side<'_>, options: &Options) -> String {
    let (title, detail) = side.headline();
    let mut page = String::new();
    super::terminal::push_wrapped(&mut page, &title, options.width);
    super::terminal::push_wrapped(&mut page, &detail, options.width);
    page.push('\n');
    for (at, column) in side.columns.iter().enumerate() {
        let Some(view) = side.view(at) else { continue };
        let reference = view.only_reference().map(|case| format!(", against {}", view.name(case)));
        let line = format!(
            "{} = {} on {}{}",
            column.letter,
            text::clean(&view.plan().run),
            column.id,
            reference.unwrap_or_default()
        );
        super::terminal::push_wrapped(&mut page, &line, options.width);
    }
    if side.omitted > 0 {
        page.push_str(&format!("{} more not shown\n", text::counted(side.omitted, "device")));
    }
    let fits =
        usize::from(NAME_WIDTH) + side.columns.len() * usize::from(CELL_WIDTH) <= usize::from(options.width);
    for (title, cell) in TABLES {
        page.push('\n');
        super::terminal::push_wrapped(&mut page, title, options.width);
        page.push_str(&if fits { table(side, *cell, options.width) } else { list(side, *cell) });
    }
    if side.rows.len() > MAX_ROWS {
        page.push_str(&format!("{} more\n", text::counted(side.rows.len() - MAX_ROWS, "variant")));
    }
    page.push('\n');
    super::terminal::push_wrapped(&mut page, CAVEAT, options.width);
    page.replace('\u{202f}', " ")
}

type CellOf = fn(&Side<'_>, usize, usize) -> Option<String>;

const TABLES: &[(&str, CellOf)] = &[
    ("Change of latency against the reference of the same run, with 95 % interval", |side, row, column| {
        let row = side.rows.get(row)?;
        if side.is_reference(row, column) {
            return Some("reference".to_owned());
        }
        let contrast = side.contrast(row, column)?;
        let shown = contrast.shown("latency_ns");
        let verdict = shown.verdict.map(|v| format!("{} ", symbol(v))).unwrap_or_default();
        let interval =
            if shown.interval.is_empty() { String::new() } else { format!(" ({})", shown.interval) };
        Some(format!("{verdict}{}{interval}", shown.change))
    }),
    ("Ship it?", |side, row, column| {
        let contrast = side.contrast(side.rows.get(row)?, column)?;
        Some(format!("{} {}", contrast.answer.symbol(), contrast.answer.word()))
    }),
    ("As measured: latency, score, peak memory", |side, row, column| {
        let case = (*side.rows.get(row)?.cases.get(column)?)?;
        let view = side.view(column)?;
        let (_, summary) = view.case(case)?;
        let unit = view.plan().suite.task.metric().unit;
        let parts = [
            typical(summary).map(text::time),
            summary.score.map(|s| text::score(s.point, unit)),
            summary.memory_peak_bytes.map(text::bytes),
        ];
        let parts: Vec<String> = parts.into_iter().flatten().collect();
        (!parts.is_empty()).then(|| parts.join(", "))
    }),
];

fn table(side: &Side<'_>, cell: CellOf, width: u16) -> String {
    let mut table = Table::new();
    table.load_style(LINES).set_content_arrangement(ContentArrangement::Dynamic).set_width(width);
    let heads = side.columns.iter().map(|c| format!("{}: {}", c.letter, c.id));
    table.set_header(std::iter::once("variant".to_owned()).chain(heads));
    for (at, row) in side.rows.iter().take(MAX_ROWS).enumerate() {
        let cells = (0..side.columns.len()).map(|column| cell(side, at, column));
        let cells = cells.map(|cell| cell.unwrap_or_else(|| text::NONE.to_owned()));
        table.add_row(std::iter::once(row.name.clone()).chain(cells));
    }
    for column in 1..=side.columns.len() {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

/// The same where there is no room for columns.
fn list(side: &Side<'_>, cell: CellOf) -> String {
    let mut page = String::new();
    for (at, row) in side.rows.iter().take(MAX_ROWS).enumerate() {
        let cells = side.columns.iter().enumerate();
        let cells: Vec<_> = cells.filter_map(|(c, column)| Some((column, cell(side, at, c)?))).collect();
        if cells.is_empty() {
            continue;
        }
        page.push_str(&format!(" {}\n", row.name));
        for (column, cell) in cells {
            page.push_str(&format!("   {}: {cell}\n", column.letter));
        }
    }
    page
}
