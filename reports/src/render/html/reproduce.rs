//! How to get the same run again, and what the words mean.

use super::{Page, parts};
use crate::record::{Plan, Sharing};
use crate::text;
use maud::{Markup, html};

/// Rows of a table; the rest lies in the CSV files.
const MAX_ROWS: usize = 300;

pub(super) fn section(page: &Page<'_>) -> Markup {
    let plan = page.view.plan();
    html! {
        pre tabindex="0" { (command(plan)) }
        dl {
            dt { "Run" } dd { code { (text::clean(&plan.run)) } ", planned " (text::clean(&plan.created)) }
            dt { "Seed" } dd { (plan.seed) ", from which every random order was drawn" }
            @if plan.measuring.schedules.contains(&Sharing::Pairs) {
                dt { "Schedule" } dd { "pairs: one fresh process after the other, in random order" }
            }
            dt { "bench" } dd { (text::clean(&plan.version)) }
            dt { "Suite" } dd { (text::clean(&plan.suite.name)) " " code { (plan.suite.sha256.short()) } }
            dt { "Data" } dd {
                (text::clean(&plan.dataset.name)) " "
                @for hash in &plan.dataset.sha256 { code { (hash.short()) } " " }
            }
            @for (device, found) in plan.devices.iter().zip(&page.view.record.devices) {
                @if let Some(found) = found {
                    dt { "Agent on " (text::clean(&device.id)) }
                    dd { (text::clean(&found.agent.version)) " " code { (found.agent.sha256.short()) } }
                }
            }
            dt { "Ended" } dd { (parts::or_none(page.view.record.finished.as_ref().map(|r| text::clean(r).into_owned()))) }
        }
        (models(page))
        p.muted { "The raw samples are in journal.jsonl beside this file; bench report makes this page from them again, byte for byte, and bench report --format samples-csv prints them as a table." }
    }
}

/// The command line, quoted for a shell.
fn command(plan: &Plan) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,@+%".contains(c);
    let quoted = plan.command.iter().map(|word| {
        let shown = text::clean(word);
        if !shown.is_empty() && shown.chars().all(plain) {
            shown.into_owned()
        } else {
            format!("'{}'", shown.replace('\'', "'\\''"))
        }
    });
    quoted.collect::<Vec<_>>().join(" ")
}

fn models(page: &Page<'_>) -> Markup {
    parts::scroll(
        "Model files",
        &html! { table {
            caption { "Model files, by SHA-256" }
            thead { tr { th scope="col" { "Variant" } th scope="col" { "File" } th scope="col" { "SHA-256" } } }
            tbody { @for (case, plan) in page.view.plan().variants().iter().enumerate().take(MAX_ROWS) { tr {
                th.name scope="row" { (page.view.name(case)) }
                td.wrap { (text::clean(&plan.model_path)) }
                td { code { (plan.model_sha256.short()) "…" } }
            } } }
        } },
    )
}

const WORDS: &[(&str, &str)] = &[
    (
        "better, worse",
        "The decision interval lies on one side of no change, and the change is at least a third of the margin.",
    ),
    (
        "equivalent",
        "The difference lies inside the margin, beyond chance. Not the same as “no difference was found”.",
    ),
    ("inconclusive", "Neither: more units or more examples would tell."),
    (
        "invalid",
        "Something that must hold did not: a failed trial, other bytes on the device, a backend that is not proven, a device that changed its state. The numbers must not be used.",
    ),
    (
        "unit",
        "One fresh process per variant, all alive at once and served in turns in short bursts. Verdicts count units, never iterations.",
    ),
    (
        "95 % interval",
        "Where the true change lies, as far as this run can tell: it holds the true one in at least 95 of 100 runs, the early end of measuring included.",
    ),
    (
        "decision interval",
        "The same, widened so that looking at the data several times does not raise false alarms. Verdicts are read from it.",
    ),
    ("margin", "How much change matters. Set by the suite before measuring."),
    (
        "p, q",
        "How surprising the result would be without any change; q counts how many questions the run asked (Benjamini–Hochberg).",
    ),
    (
        "lost / gained",
        "Examples that only the reference, or only the candidate, answers right. Accuracy is judged from these alone (McNemar, mid-p; Tango’s interval).",
    ),
    (
        "front, chance",
        "Nobody is as good in everything and better in something; and how often that was so when units and examples were drawn again.",
    ),
    ("agree", "Share of examples with the same first answer."),
    (
        "SQNR",
        "Power of the reference’s outputs over the power of the difference, in decibel. Higher is closer.",
    ),
    ("start costs", "Load, compile and first inference, less one steady inference: what a cold start adds."),
    (
        "steady",
        "After warm-up. First inference, warm-up and the first iteration after each switch are kept apart.",
    ),
];

pub(super) fn glossary() -> Markup {
    html! { dl { @for (word, meaning) in WORDS { dt { (word) } dd { (meaning) } } } }
}
