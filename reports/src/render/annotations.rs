//! The verdicts as workflow commands of GitHub Actions: what must not ship is an error, what has no
//! answer a warning, what is better in one cost and worse in another a notice.
//! Every line is a command that GitHub shows on the run and on the pull request.

use super::{Format, Kept, Options, RenderError};
use crate::record::ContrastKind;
use crate::table::Source;
use crate::text;
use crate::view::{Answer, ContrastView, View};
use std::io::Write;

pub(super) const FORMAT: Format = Format {
    name: "annotations",
    file: "annotations.txt",
    kept: Kept::OnRequest,
    text: true,
    about: "what is worse or invalid as annotations of GitHub Actions",
    render,
};

/// GitHub shows ten errors, ten warnings and ten notices of a step.
const MAX_SHOWN: usize = 10;

fn render(source: Source<'_>, _: &Options, out: &mut dyn Write) -> Result<(), RenderError> {
    let view = View::new(source.record, source.verdicts);
    for (command, answer, what) in [
        ("error", Answer::No, "must not ship"),
        ("warning", Answer::Invalid, "invalid"),
        ("notice", Answer::TradeOff, "a trade-off"),
    ] {
        let found: Vec<_> = view.of_kind(ContrastKind::Reference).filter(|c| c.answer == answer).collect();
        // the last one shown says how many are not
        let shown = if found.len() > MAX_SHOWN { MAX_SHOWN - 1 } else { found.len() };
        for contrast in found.iter().take(shown) {
            let title = format!("{}: {what}", contrast.candidate);
            writeln!(out, "::{command} title={}::{}", property(&title), message(&says(contrast)))?;
        }
        if shown < found.len() {
            let rest = format!("{} more, see report.html", text::counted(found.len() - shown, "comparison"));
            writeln!(out, "::{command} title={}::{}", property(what), message(&rest))?;
        }
    }
    Ok(())
}

fn says(contrast: &ContrastView<'_>) -> String {
    let against = format!("against {}: {}", contrast.reference, contrast.gains());
    match contrast.why() {
        Some(why) => format!("{against}; {why}"),
        None => against,
    }
}

/// Text of an annotation. It is on one line already; what cannot be seen is written out.
fn message(untrusted: &str) -> String {
    text::clean(untrusted).replace('%', "%25")
}

/// Text of its title, which ends at a comma or a colon.
fn property(untrusted: &str) -> String {
    message(untrusted).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_ends_neither_its_title_nor_its_line() {
        assert_eq!(property("a::b, 5 %\n::error::x"), "a%3A%3Ab%2C 5 %25 %3A%3Aerror%3A%3Ax");
        assert_eq!(message("12 % more\r\n::x"), "12 %25 more  ::x");
    }
}
