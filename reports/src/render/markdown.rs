//! The verdicts as Markdown, in two lengths: `comment.md` for a pull request, in which what moved comes first and the
//! rest is folded, and `summary.md` for the summary of a CI job, with every row. Both stay within the limit of their
//! place for any number of contrasts, and mention nobody.

use super::{Format, Kept, Options, RenderError};
use crate::record::ContrastKind;
use crate::table::Source;
use crate::text;
use crate::verdict::Verdict;
use crate::view::{Answer, ContrastView, Shown, View, symbol};
use std::io::Write;

pub(super) const COMMENT: Format = Format {
    name: "markdown",
    file: "comment.md",
    kept: Kept::Always,
    text: true,
    about: "the verdicts as Markdown, for a pull request",
    render: |source, _: &Options, out| comment(source, out),
};

pub(super) const SUMMARY: Format = Format {
    name: "summary",
    file: "summary.md",
    kept: Kept::Always,
    text: true,
    about: "the verdicts as Markdown with every row, for the summary of a CI job",
    render: |source, _: &Options, out| summary(source, out),
};

/// A comment may have 65,536 characters, and no text has more characters than bytes; this leaves room for what others
/// add.
const COMMENT_BYTES: usize = 60_000;
/// The summary of a step may have 1 MiB, this one and what else the step says.
const SUMMARY_BYTES: usize = 1_000_000;
/// Kept for what stands between and after the tables.
const RESERVE: usize = 4000;
const MAX_LOSSES: usize = 10;
/// Answers that a comment shows: something moved, or cannot be judged.
const MOVED: [Answer; 4] = [Answer::No, Answer::Invalid, Answer::TradeOff, Answer::Yes];

fn comment(source: Source<'_>, out: &mut dyn Write) -> Result<(), RenderError> {
    let view = View::new(source.record, source.verdicts);
    let mut page = head(&view);
    let moved =
        |c: &&ContrastView<'_>| c.contrast.kind == ContrastKind::Reference && MOVED.contains(&c.answer);
    let (moved, rest): (Vec<_>, Vec<_>) = view.contrasts.iter().partition(moved);
    let mut left = COMMENT_BYTES.saturating_sub(page.len() + RESERVE);
    table(&view, &mut page, &mut left, &moved);
    if !rest.is_empty() {
        page.push_str(&format!("<details><summary>{}</summary>\n\n", more(&rest)));
        table(&view, &mut page, &mut left, &rest);
        page.push_str("</details>\n\n");
    }
    page.push_str(&footer(&view));
    out.write_all(page.as_bytes())?;
    Ok(())
}

fn summary(source: Source<'_>, out: &mut dyn Write) -> Result<(), RenderError> {
    let view = View::new(source.record, source.verdicts);
    let mut page = head(&view);
    let mut left = SUMMARY_BYTES.saturating_sub(page.len() + RESERVE);
    for kind in ContrastKind::ALL {
        let contrasts: Vec<_> = view.of_kind(kind).collect();
        if !contrasts.is_empty() {
            page.push_str(&format!("#### {}\n\n", escaped(&view.title(kind))));
            table(&view, &mut page, &mut left, &contrasts);
        }
    }
    page.push_str(&footer(&view));
    out.write_all(page.as_bytes())?;
    Ok(())
}

/// Marker, headline, and what has no answer.
fn head(view: &View<'_>) -> String {
    let headline = view.headline();
    let sign = headline.answer.map(|a| format!("{} ", a.symbol())).unwrap_or_default();
    // the marker finds the comment again, so that it is updated in place
    let mut page = format!("<!-- bench:{} -->\n", marker(&view.plan().suite.name));
    page.push_str(&format!("### {sign}{}\n\n", escaped(&headline.sentence)));
    if !headline.detail.is_empty() {
        page.push_str(&format!("{}\n\n", escaped(&headline.detail)));
    }
    let invalid = view.invalid();
    for line in &invalid {
        page.push_str(&format!("- {} {}\n", symbol(Verdict::Invalid), escaped(line)));
    }
    if !invalid.is_empty() {
        page.push('\n');
    }
    page
}

/// How many comparisons are folded, and what they answer.
fn more(rest: &[&ContrastView<'_>]) -> String {
    let count = |answer| rest.iter().filter(|c| c.answer == answer).count();
    let of = |answer: Answer| match count(answer) {
        0 => None,
        n => Some(format!("{n} {} {}", answer.symbol(), answer.word())),
    };
    let answers: Vec<String> = Answer::ALL.into_iter().filter_map(of).collect();
    format!("{} more: {}", text::counted(rest.len(), "comparison"), answers.join(", "))
}

/// As many rows as there is room for, in bytes.
fn table(view: &View<'_>, page: &mut String, left: &mut usize, contrasts: &[&ContrastView<'_>]) {
    if contrasts.is_empty() {
        return;
    }
    let score = view.plan().suite.task.metric().short;
    page.push_str(&format!(
        "| ship it? | variant | against | latency | 95 % interval | {score} | memory | size |\n"
    ));
    page.push_str("|---|---|---|--:|--:|--:|--:|--:|\n");
    let mut written = 0;
    for contrast in contrasts {
        let row = row(contrast);
        let Some(rest) = left.checked_sub(row.len()) else { break };
        *left = rest;
        page.push_str(&row);
        written += 1;
    }
    page.push('\n');
    if written < contrasts.len() {
        // what is longer than the first row left out may not stand below it
        *left = 0;
        page.push_str(&format!(
            "{} omitted, see report.html and results.csv\n\n",
            text::counted(contrasts.len() - written, "row")
        ));
    }
}

fn row(contrast: &ContrastView<'_>) -> String {
    let latency = contrast.shown("latency_ns");
    let cells = [
        format!("{} {}", contrast.answer.symbol(), contrast.answer.word()),
        escaped(&contrast.candidate.to_string()),
        escaped(&contrast.reference.to_string()),
        cell(&latency),
        latency.interval.clone(),
        cell(&contrast.shown_quality()),
        cell(&contrast.shown("memory_peak_bytes")),
        cell(&contrast.shown("model_bytes")),
    ];
    format!("| {} |\n", cells.join(" | "))
}

fn cell(shown: &Shown) -> String {
    match shown.verdict {
        Some(verdict) => format!("{} {}", symbol(verdict), shown.change),
        None => shown.change.clone(),
    }
}

fn footer(view: &View<'_>) -> String {
    let plan = view.plan();
    let mut page = String::new();
    for loss in view.record.losses.iter().take(MAX_LOSSES) {
        let short: String = loss.chars().take(60).collect();
        page.push_str(&format!("- lost: {}\n", escaped(&short)));
    }
    if view.record.losses.len() > MAX_LOSSES {
        page.push_str(&format!("- lost: {} more\n", view.record.losses.len() - MAX_LOSSES));
    }
    if view.record.finished.is_none() {
        page.push_str("- this run was cut off\n");
    }
    if let Some(summary) = view.canary_summary() {
        page.push_str(&format!("\n<sub>{}</sub>\n", escaped(&summary)));
    }
    let counts: Vec<String> =
        view.counts().into_iter().map(|(v, n)| format!("{} {n} {}", symbol(v), v.word())).collect();
    format!(
        "{page}\n<sub>{} · margin ±{} · run {} · seed {}</sub>\n",
        counts.join(" · "),
        view.margins(),
        escaped(&plan.run.chars().take(80).collect::<String>()),
        plan.seed
    )
}

/// A name inside an HTML comment: letters, digits and little else.
fn marker(name: &str) -> String {
    let plain = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    name.chars().filter(plain).take(100).collect::<String>().replace("--", "-")
}

/// Untrusted text as one run of plain text: no markup, no link, no mention, no end of cell.
pub fn escaped(untrusted: &str) -> String {
    let mut safe = String::with_capacity(untrusted.len() + 8);
    for c in text::clean(untrusted).chars() {
        match c {
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '&' => safe.push_str("&amp;"),
            '@' => safe.push_str("&#64;"),
            '#' => safe.push_str("&#35;"),
            ':' => safe.push_str("&#58;"),
            '|' => safe.push_str("&#124;"),
            '`' | '*' | '_' | '[' | ']' | '\\' | '~' | '!' => {
                safe.push('\\');
                safe.push(c);
            }
            c => safe.push(c),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn markup_is_disarmed() {
        assert_eq!(
            escaped("a|b <i> @all `x` http://e #1"),
            "a&#124;b &lt;i&gt; &#64;all \\`x\\` http&#58;//e &#35;1"
        );
        assert_eq!(marker("x--><script>"), "x-script");
    }

    proptest! {
        #[test]
        fn any_text_stays_one_cell(text in "[|<>@`*\\[\\]\n\r\\PC\u{202e}]{0,60}") {
            let safe = escaped(&text);
            let forbidden = ['<', '>', '@', '|', '\n', '\r', '\u{202e}'];
            prop_assert!(!safe.contains(forbidden));
            for mark in ['`', '*', '[', ']'] {
                let bare = safe.replace("\\\\", "").replace(&format!("\\{mark}"), "");
                prop_assert!(!bare.contains(mark), "{}", safe);
            }
        }
    }
}
