//! Two runs side by side for people.

use super::{Answer, CaseDiff, Concerns, Diff, Row};
use crate::text::{self, NONE};
use comfy_table::{CellAlignment, ContentArrangement, LineStyle, Table, TableStyle, presets};
use protocol::Unit;

/// A line below the header, none between rows.
const LINES: TableStyle = presets::NOTHING.header_separator(LineStyle::new('─', '─', '─', '─'));

impl Diff {
    /// A table per case, with what is not comparable and why, and what would tell more.
    pub fn text(&self, width: u16) -> String {
        let mut page = format!("{} against {}\n", text::clean(&self.head), text::clean(&self.base));
        for case in &self.cases {
            page.push_str(&case.text(width));
        }
        if !self.alone.is_empty() {
            page.push('\n');
        }
        for words in &self.alone {
            page.push_str(&format!("{}\n", text::clean(words)));
        }
        // a terminal has no use for a narrow space
        page.replace('\u{202f}', " ")
    }
}

impl CaseDiff {
    fn text(&self, width: u16) -> String {
        let files = match self.identical {
            true => format!("identical artefact {}", self.head.sha256.short()),
            false => format!("artefact {} → {}", self.base.sha256.short(), self.head.sha256.short()),
        };
        let name = format!("{} on {}, {}: {files}", self.variant, self.runtime, self.device);
        let mut page = format!("\n{}\n", text::clean(&name));
        for apart in &self.apart {
            let what = match apart.concerns {
                Concerns::Costs => "time and memory",
                Concerns::Answers => "answers",
                Concerns::All => "time, memory and answers",
            };
            let (base, head) = (text::clean(&apart.base), text::clean(&apart.head));
            page.push_str(&format!("  {what} not compared: {} was {base}, is {head}\n", apart.what));
        }
        let mut table = Table::new();
        table.load_style(LINES).set_content_arrangement(ContentArrangement::Dynamic);
        table.set_width(width);
        table.set_header(["metric", "answer", "base", "head", "change", "98 % interval"]);
        for row in &self.rows {
            table.add_row(row.cells());
        }
        for column in 2..6 {
            if let Some(column) = table.column_mut(column) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        table.lines().for_each(|line| page.push_str(&format!("{}\n", line.trim_end())));
        for row in self.rows.iter().filter(|row| !row.notes.is_empty()) {
            page.push_str(&format!("  {}: {}\n", row.metric, text::clean(&row.notes.join("; "))));
        }
        if let Some(command) = &self.interleaved {
            page.push_str(&format!(
                "  both files are at hand; measured in turns by: {}\n",
                text::visible(command)
            ));
        } else if self.rows.iter().any(|row| row.answer == Answer::NeedsConfirmation) {
            page.push_str("  to confirm it, measure both files in turns: bench gate --base DIR --head DIR\n");
        }
        page
    }
}

impl Row {
    fn cells(&self) -> [String; 6] {
        let cost = matches!(self.unit, Unit::Ns | Unit::Bytes);
        let value = |value: Option<f64>| value.map_or(NONE.to_owned(), |value| text::value(value, self.unit));
        let change = self.change.map_or(NONE.to_owned(), |change| match cost {
            true => text::change(change),
            false => text::difference(change, self.unit),
        });
        let interval =
            self.low.zip(self.high).map_or(String::new(), |(low, high)| match (cost, self.change) {
                (true, _) => text::change_interval(low, high),
                (false, Some(_)) => text::difference_interval(low, high, self.unit),
                (false, None) => text::score_interval(low, high, self.unit),
            });
        let answer = self.answer.word().to_owned();
        let (base, head) = (value(self.base), value(self.head));
        [self.metric.to_owned(), answer, base, head, change, interval]
    }
}
