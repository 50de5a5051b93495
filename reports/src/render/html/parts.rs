//! Pieces that several sections are made of.

pub(super) use crate::page::scroll;
use crate::text;
use crate::verdict::{Reason, Verdict};
use crate::view::{Answer, Name, Shown, symbol};
use maud::{Markup, html};

/// Most reasons that are listed at one place.
const MAX_REASONS: usize = 12;

/// Says how many rows of a table are left out.
pub(super) fn omitted(all: usize, most: usize) -> Markup {
    html! { @if all > most { p.note { (text::counted(all - most, "row")) " omitted, see the CSV files" } } }
}

/// Symbol, word and colour of an answer.
pub(super) fn answer(answer: Answer) -> Markup {
    html! { span class=(format!("v {}", answer.verdict().word())) { (answer.symbol()) " " (answer.word()) } }
}

/// Symbol, word and colour of a verdict.
pub(super) fn verdict(verdict: Option<Verdict>) -> Markup {
    match verdict {
        Some(verdict) => {
            html! { span class=(format!("v {}", verdict.word())) { (symbol(verdict)) " " (verdict.word()) } }
        }
        None => html! { span.muted { "not judged" } },
    }
}

/// A change with symbol and colour; the word is there for those who hear it.
pub(super) fn change(shown: &Shown) -> Markup {
    match shown.verdict {
        Some(verdict) => html! {
            span class=(format!("v {}", verdict.word())) {
                (symbol(verdict)) " " span.sr { (verdict.word()) " " } (shown.change)
            }
        },
        None => html! { (shown.change) },
    }
}

/// As [`change`], with the interval below.
pub(super) fn change_with_interval(shown: &Shown) -> Markup {
    html! { (change(shown)) @if !shown.interval.is_empty() { span.small { (shown.interval) } } }
}

/// A case: its variant, and below it what else sets it apart.
pub(super) fn name(name: &Name) -> Markup {
    html! { (name.variant) @if !name.detail.is_empty() { span.small { (name.detail) } } }
}

pub(super) fn reasons(reasons: &[Reason]) -> Markup {
    html! {
        @if !reasons.is_empty() {
            ul.reasons {
                @for reason in reasons.iter().take(MAX_REASONS) { li { (text::clean(&reason.to_string())) } }
                @if reasons.len() > MAX_REASONS { li { (reasons.len() - MAX_REASONS) " more" } }
            }
        }
    }
}

/// A number that may not be there.
pub(super) fn or_none(value: Option<String>) -> String {
    value.unwrap_or_else(|| text::NONE.to_owned())
}
