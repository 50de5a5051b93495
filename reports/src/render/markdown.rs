//! `comment.md`: the verdicts for a pull request. Within the limit of a comment for any number of
//! contrasts; mentions nobody.

use super::{Format, Options, RenderError};
use crate::record::ContrastKind;
use crate::table::Source;
use crate::text;
use crate::verdict::Verdict;
use crate::view::{Answer, ContrastView, Shown, View, symbol};
use std::io::Write;

pub(super) const FORMAT: Format = Format {
    name: "markdown",
    file: Some("comment.md"),
    about: "the verdicts as Markdown, for a pull request",
    render,
};

/// A comment may have 65,536 characters; this leaves room for what others add.
const MAX_CHARS: usize = 60_000;
/// Kept for the lines after the tables.
const RESERVE: usize = 1500;
const MAX_LOSSES: usize = 10;

fn render(source: Source<'_>, _: &Options, out: &mut dyn Write) -> Result<(), RenderError> {
    let view = View::new(source.record, source.verdicts);
    let headline = view.headline();
    let sign = headline.answer.map(|a| format!("{} ", a.symbol())).unwrap_or_default();
    // the marker finds the comment again, so that it is updated in place
    let mut page = format!("<!-- bench:{} -->\n", marker(&view.plan().suite.name));
    page.push_str(&format!("### {sign}{}\n\n", escaped(&headline.sentence)));
    if !headline.detail.is_empty() {
        page.push_str(&format!("{}\n\n", escaped(&headline.detail)));
    }
    for line in view.invalid() {
        page.push_str(&format!("- {} {}\n", symbol(Verdict::Invalid), escaped(&line)));
    }
    let (moved, rest): (Vec<_>, Vec<_>) = view
        .contrasts
        .iter()
        .partition(|c| c.contrast.kind == ContrastKind::Reference && c.answer != Answer::Same);
    let mut left = MAX_CHARS.saturating_sub(page.chars().count() + RESERVE);
    let score = view.plan().suite.task.metric().short;
    table(&mut page, &mut left, score, &moved);
    if !rest.is_empty() {
        page.push_str(&format!(
            "<details><summary>{} more</summary>\n\n",
            text::counted(rest.len(), "comparison")
        ));
        table(&mut page, &mut left, score, &rest);
        page.push_str("</details>\n\n");
    }
    page.push_str(&footer(&view));
    out.write_all(page.as_bytes())?;
    Ok(())
}

/// As many rows as there is room for.
fn table(page: &mut String, left: &mut usize, score: &str, contrasts: &[&ContrastView<'_>]) {
    if contrasts.is_empty() {
        return;
    }
    page.push_str(&format!(
        "| ship it? | variant | against | latency | 98 % interval | {score} | memory | size |\n"
    ));
    page.push_str("|---|---|---|--:|--:|--:|--:|--:|\n");
    let mut written = 0;
    for contrast in contrasts {
        let row = row(contrast);
        let length = row.chars().count();
        if length > *left {
            break;
        }
        *left -= length;
        page.push_str(&row);
        written += 1;
    }
    page.push('\n');
    if written < contrasts.len() {
        page.push_str(&format!(
            "{} omitted, see report.html\n\n",
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
        text::percent(plan.suite.margin, 1),
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
fn escaped(untrusted: &str) -> String {
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
