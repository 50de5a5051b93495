//! Whether the devices measured as they should: what the canaries found.

use super::{Page, parts};
use crate::text;
use crate::verdict::Verdict;
use crate::view::{ratio_evidence, so_far, symbol};
use maud::{Markup, html};

pub(super) fn section(page: &Page<'_>) -> Option<Markup> {
    let all = page.view.canaries();
    let slowdown = text::percent(all.first()?.finding.slowdown, 1);
    let ratio = |row| ratio_evidence(row).map(|e| (text::change(e.ratio), e.pairs.len()));
    Some(html! {
        p.muted {
            "Beside everything else, every device measured a model against itself, and against itself slowed by "
            (slowdown) " on purpose, judged by the same rule. Where the first is called different, or the second as fast, "
            "the times of that device do not count."
        }
        (parts::scroll("Canaries", &html! { table {
            thead { tr {
                th scope="col" { "Device" } th scope="col" { "The same model twice" } th.n scope="col" { "Difference" }
                th scope="col" { "Slowed by " (slowdown) } th.n scope="col" { "Difference" } th scope="col" { "With earlier runs" }
            } }
            tbody { @for canary in &all {
                @let (same, slower) = (ratio(&canary.finding.same), ratio(&canary.finding.slower));
                tr {
                    th.name scope="row" {
                        @if canary.finding.sickness().is_some() { span.invalid { (symbol(Verdict::Invalid)) " sick: " } }
                        (canary.device)
                    }
                    td { (canary.same) }
                    td.n { @if let Some((change, units)) = &same { (change) " in " (text::counted(*units, "unit")) } }
                    td { (canary.slower) }
                    td.n { @if let Some((change, units)) = &slower { (change) " in " (text::counted(*units, "unit")) } }
                    td.wrap { (so_far(canary.counts)) }
                }
            } }
        } }))
    })
}
