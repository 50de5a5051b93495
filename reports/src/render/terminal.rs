//! The verdict table for a terminal: one line per contrast where it is wide, a few where it is narrow.
//! Colour is never the only sign.

use super::{Format, Kept, Options, RenderError};
use crate::record::ContrastKind;
use crate::table::Source;
use crate::text;
use crate::verdict::Verdict;
use crate::view::{Answer, ContrastView, Shown, View, symbol};
use comfy_table::{CellAlignment, ContentArrangement, LineStyle, Table, TableStyle, presets};
use std::io::Write;

pub(super) const FORMAT: Format = Format {
    name: "terminal",
    file: "verdicts.txt",
    kept: Kept::OnRequest,
    text: true,
    about: "the verdict table, as text",
    render,
};

/// From so many columns on, a contrast is one line.
const WIDE: u16 = 116;
/// A line below the header, none between rows.
const LINES: TableStyle = presets::NOTHING.header_separator(LineStyle::new('─', '─', '─', '─'));
/// Most contrasts that are listed, and most losses.
const MAX_CONTRASTS: usize = 500;
const MAX_LOSSES: usize = 10;

fn render(source: Source<'_>, options: &Options, out: &mut dyn Write) -> Result<(), RenderError> {
    let view = View::new(source.record, source.verdicts);
    let headline = view.headline();
    let mut page = String::new();
    for line in wrapped(&headline.sentence, options.width) {
        page.push_str(&painted(&line, headline.answer.map(Answer::verdict), options));
        page.push('\n');
    }
    push_wrapped(&mut page, &headline.detail, options.width);
    for kind in ContrastKind::ALL {
        let contrasts: Vec<_> = view.of_kind(kind).collect();
        if contrasts.is_empty() {
            continue;
        }
        page.push_str(&format!("\n{}\n", view.title(kind)));
        let listed = &contrasts[..contrasts.len().min(MAX_CONTRASTS)];
        let rows = if options.width >= WIDE { wide } else { narrow };
        page.push_str(&rows(&view, listed, options));
        if listed.len() < contrasts.len() {
            page.push_str(&format!(
                "{} more in results.csv\n",
                text::count((contrasts.len() - listed.len()) as u64)
            ));
        }
    }
    for line in view.invalid() {
        push_wrapped(&mut page, &format!("{} {line}", symbol(Verdict::Invalid)), options.width);
    }
    page.push_str(&footer(&view, options.width));
    // a terminal has no use for a narrow space
    out.write_all(page.replace('\u{202f}', " ").as_bytes())?;
    Ok(())
}

fn wide(view: &View<'_>, contrasts: &[&ContrastView<'_>], options: &Options) -> String {
    let mut table = Table::new();
    table.load_style(LINES).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_width(options.width);
    table.set_header([
        "ship it?",
        "variant",
        "latency",
        "95 % interval",
        view.plan().suite.task.metric().short,
        "memory",
        "size",
        "units",
    ]);
    for contrast in contrasts {
        let latency = contrast.shown("latency_ns");
        let units = contrast.ratio("latency_ns").map_or(0, |e| e.pairs.len());
        table.add_row([
            answer(contrast.answer),
            contrast.label(),
            cell(&latency),
            latency.interval.clone(),
            cell(&contrast.shown_quality()),
            cell(&contrast.shown("memory_peak_bytes")),
            cell(&contrast.shown("model_bytes")),
            units.to_string(),
        ]);
    }
    for column in 2..8 {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    let lines = table.lines().map(|line| painted_line(line.trim_end(), options));
    lines.map(|line| line + "\n").collect()
}

fn narrow(view: &View<'_>, contrasts: &[&ContrastView<'_>], options: &Options) -> String {
    let mut page = String::new();
    for contrast in contrasts {
        let head = format!(" {:<16} {}", answer(contrast.answer), contrast.label());
        page.push_str(&painted_line(&head, options));
        page.push('\n');
        let latency = contrast.shown("latency_ns");
        let interval = if latency.interval.is_empty() { "" } else { &format!(" ({})", latency.interval) };
        let first = format!("   latency {}{interval}", cell(&latency));
        let second = format!(
            "   {} {}  memory {}  size {}",
            view.plan().suite.task.metric().short,
            cell(&contrast.shown_quality()),
            cell(&contrast.shown("memory_peak_bytes")),
            cell(&contrast.shown("model_bytes"))
        );
        let fits = first.chars().count() + second.chars().count() <= usize::from(options.width);
        page.push_str(&format!("{first}{}{second}\n", if fits { "" } else { "\n" }));
    }
    page
}

fn answer(answer: Answer) -> String {
    format!("{} {}", answer.symbol(), answer.word())
}

fn cell(shown: &Shown) -> String {
    match shown.verdict {
        Some(verdict) => format!("{} {}", symbol(verdict), shown.change),
        None => shown.change.clone(),
    }
}

/// Colours the answer that a line begins with. Untrusted text stands behind it and cannot be taken for
/// it.
fn painted_line(line: &str, options: &Options) -> String {
    let start = line.trim_start();
    let Some(found) = Answer::ALL.into_iter().find(|a| start.starts_with(&answer(*a))) else {
        return line.to_owned();
    };
    let word = answer(found);
    let indent = &line[..line.len() - start.len()];
    format!("{indent}{}{}", painted(&word, Some(found.verdict()), options), &start[word.len()..])
}

fn painted(text: &str, verdict: Option<Verdict>, options: &Options) -> String {
    let code = match verdict {
        _ if !options.color => return text.to_owned(),
        None => return text.to_owned(),
        Some(Verdict::Better) => "32",
        Some(Verdict::Worse) => "31",
        Some(Verdict::Equivalent) => "36",
        Some(Verdict::Inconclusive) => "33",
        Some(Verdict::Invalid) => "35",
    };
    format!("\u{1b}[1;{code}m{text}\u{1b}[0m")
}

fn footer(view: &View<'_>, width: u16) -> String {
    let suite = &view.plan().suite;
    let counts: Vec<String> =
        view.counts().into_iter().map(|(v, n)| format!("{} {n} {}", symbol(v), v.word())).collect();
    // what belongs together is not parted
    let counts: Vec<String> = counts.iter().map(|count| count.replace(' ', "\u{202f}")).collect();
    let score = suite.task.metric();
    let accepted = text::difference(suite.accuracy_margin, score.unit).replace('+', "");
    let margins = format!("margin ±{}, {} ±{accepted}", view.margins(), score.short);
    let mut page = "\n".to_owned();
    push_wrapped(&mut page, &format!("{}   {margins}", counts.join("  ")), width);
    push_wrapped(&mut page, &view.canary_summary().unwrap_or_default(), width);
    let losses = &view.record.losses;
    for loss in losses.iter().take(MAX_LOSSES) {
        push_wrapped(&mut page, &format!("lost: {}", text::clean(loss)), width);
    }
    if losses.len() > MAX_LOSSES {
        page.push_str(&format!("lost: {} more, see report.html\n", losses.len() - MAX_LOSSES));
    }
    if view.record.finished.is_none() {
        page.push_str("this run was cut off; resume it to go on\n");
    }
    page
}

pub(super) fn push_wrapped(page: &mut String, text: &str, width: u16) {
    for line in wrapped(text, width) {
        page.push_str(&line);
        page.push('\n');
    }
}

/// Lines of at most `width` characters, broken at spaces; a longer word has a line of its own.
fn wrapped(text: &str, width: u16) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ').filter(|_| !text.is_empty()) {
        let room = |line: &String| line.chars().count() + 1 + word.chars().count() <= usize::from(width);
        match lines.last_mut().filter(|line| room(line)) {
            Some(line) => {
                line.push(' ');
                line.push_str(word);
            }
            None => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_wrapped_between_each_other() {
        assert_eq!(wrapped("one two  three", 8), ["one two ", "three"]);
        assert_eq!(wrapped("enormous x", 4), ["enormous", "x"]);
        assert!(wrapped("", 10).is_empty());
    }
}
