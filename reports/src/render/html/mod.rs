//! `report.html`: one file without script or network that answers "can I ship it?" on its first screen
//! and convinces a sceptic below. Everything untrusted goes through [`text::clean`] and maud.

mod accuracy;
mod backend;
mod canaries;
mod conditions;
mod contrast;
mod cost;
mod device;
mod examples;
mod front;
mod parts;
mod reproduce;
pub(super) mod side;
mod verdicts;

use super::{Format, Kept, Options, RenderError};
use crate::page::{Frame, Style, frame};
use crate::record::CaseIndex;
use crate::table::Source;
use crate::text;
use crate::verdict::Verdict;
use crate::view::{Answer, Distribution, View, symbol};
use maud::{Markup, html};
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;

pub(super) const FORMAT: Format = Format {
    name: "html",
    file: "report.html",
    kept: Kept::Always,
    text: true,
    about: "the whole report in one file, for people",
    render,
};

/// What the sections share.
struct Page<'a> {
    view: View<'a>,
    /// Steady-state latency of the cases that are laid out, all trials together.
    latency: BTreeMap<CaseIndex, Distribution>,
}

fn render(source: Source<'_>, _: &Options, out: &mut dyn Write) -> Result<(), RenderError> {
    let view = View::new(source.record, source.verdicts);
    let laid_out = view.contrasts.iter().take(contrast::MAX_BLOCKS);
    let cases: BTreeSet<CaseIndex> =
        laid_out.flat_map(|c| [c.contrast.candidate, c.contrast.reference]).collect();
    let latency =
        cases.into_iter().filter_map(|case| Some((case, Distribution::of(source.record, case)?))).collect();
    let page = Page { view, latency };
    out.write_all(document(&page).into_string().as_bytes())?;
    Ok(())
}

/// Where a section is found, its title, and what is in it; empty ones are left out.
fn sections(page: &Page<'_>) -> Vec<(&'static str, &'static str, Option<Markup>)> {
    vec![
        ("contrasts", "Comparisons", contrast::section(page)),
        ("front", "Trade-offs", front::section(page)),
        ("accuracy", "Accuracy", accuracy::section(page)),
        ("cost", "Memory and start", cost::section(page)),
        ("backend", "Backend", backend::section(page)),
        ("device", "Device", device::section(page)),
        ("canaries", "Canaries", canaries::section(page)),
        ("losses", "Losses", device::losses(page)),
        ("reproduce", "Reproduce", Some(reproduce::section(page))),
        ("glossary", "Glossary", Some(reproduce::glossary())),
    ]
}

fn document(page: &Page<'_>) -> Markup {
    let headline = page.view.headline();
    let sections: Vec<_> =
        sections(page).into_iter().filter_map(|(id, title, body)| Some((id, title, body?))).collect();
    let plan = page.view.plan();
    let bar = html! {
        span { strong { "bench" } " " (text::clean(&plan.suite.name)) }
        span.title { (text::clean(&plan.suite.title)) }
        nav aria-label="Sections" {
            @for (id, title, _) in sections.iter().take(7) { a href=(format!("#{id}")) { (title) } }
        }
    };
    let main = html! {
        (lead(page, &headline))
        (verdicts::tables(page))
        @for (id, title, body) in &sections {
            section id=(id) aria-labelledby=(format!("{id}-h")) {
                h2 id=(format!("{id}-h")) { (title) }
                (body)
            }
        }
    };
    let footer = html! { "bench " (text::clean(&plan.version)) ", run " code { (text::clean(&plan.run)) } };
    let title = format!("{} – bench {}", headline.sentence, text::clean(&plan.suite.name));
    frame(&Frame { title: &title, style: Style::Inline, bar: &bar, main: &main, footer: &footer })
}

fn lead(page: &Page<'_>, headline: &crate::view::Headline) -> Markup {
    let view = &page.view;
    let suite = &view.plan().suite;
    let class = headline.answer.map(|a| a.verdict().word());
    html! {
        h1 {
            @if let Some(answer) = headline.answer {
                span class=(format!("badge {}", class.unwrap_or_default())) aria-hidden="true" { (Answer::symbol(answer)) }
            }
            (headline.sentence)
        }
        @if !headline.detail.is_empty() { p.lead { (headline.detail) } }
        @let invalid = view.invalid();
        @if !invalid.is_empty() {
            ul.invalid { @for line in &invalid { li { (symbol(Verdict::Invalid)) " " (line) } } }
        }
        @if view.record.finished.is_none() {
            p.invalid { strong { "This run was cut off." } " What follows is what was complete by then; resume it to go on." }
        }
        ul.counts aria-label="Verdicts over all comparisons and metrics" {
            @for (verdict, n) in view.counts() {
                li class=(verdict.word()) { (symbol(verdict)) " " b { (n) } " " (verdict.word()) }
            }
            li.muted {
                (facts(page)) " · margins ±" (view.margins()) " cost, ±"
                (text::difference(suite.accuracy_margin, suite.task.metric().unit).replace('+', "")) " " (suite.task.metric().short)
            }
        }
    }
}

/// How much was measured, in a few words.
fn facts(page: &Page<'_>) -> String {
    let record = page.view.record;
    let performance = |u: &&crate::record::UnitRecord| u.purpose == crate::record::Purpose::Performance;
    let units = record.units.iter().filter(performance).count();
    let samples: usize = page.view.verdicts.cases.iter().flat_map(|c| &c.latency).map(|l| l.samples).sum();
    format!("{}, {}", text::counted(units, "unit"), text::counted(samples, "sample"))
}
