//! The summary of a night on a terminal.

use comfy_table::{ContentArrangement, LineStyle, Table, TableStyle, presets};
use farm::night::{Section, Summary};
use reports::visible;

/// A line below the header, none between rows.
const LINES: TableStyle = presets::NOTHING.header_separator(LineStyle::new('─', '─', '─', '─'));
/// Rows of a table that are shown.
const MAX_ROWS: usize = 40;

/// As wide as the terminal.
pub(super) fn text(summary: &Summary, width: usize) -> String {
    let mut page = format!("{}.\n", summary.headline());
    for Section { title, sentence, columns, rows } in summary.sections() {
        page.push_str(&format!("\n{title}\n"));
        if !sentence.is_empty() {
            page.push_str(&format!("{sentence}\n"));
        }
        if rows.is_empty() {
            continue;
        }
        let mut table = Table::new();
        table.load_style(LINES).set_content_arrangement(ContentArrangement::Dynamic);
        table.set_width(u16::try_from(width).unwrap_or(u16::MAX)).set_header(columns);
        for row in rows.iter().take(MAX_ROWS) {
            table.add_row(row.iter().map(|cell| visible(cell).into_owned()));
        }
        table.lines().for_each(|line| page.push_str(&format!("{}\n", line.trim_end())));
        if rows.len() > MAX_ROWS {
            page.push_str(&format!(
                "{} more in summary.md and in the reports of the runs\n",
                rows.len() - MAX_ROWS
            ));
        }
    }
    // a terminal has no use for a narrow space
    page.replace('\u{202f}', " ")
}
