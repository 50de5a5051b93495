//! Is the task still done as well: the paired comparison, and the examples that changed sides.

use super::examples::Examples;
use super::{Page, parts};
use crate::accuracy::Flip;
use crate::text;
use crate::verdict::{Evidence, Method, Moved, ScoreEvidence};
use crate::view::ContrastView;
use maud::{Markup, html};
use protocol::Metric;

/// Examples that are named per direction.
const MAX_FLIPS: usize = 12;
/// Contrasts whose examples are named.
const MAX_BLOCKS: usize = 20;
/// Rows of the paired table.
const MAX_ROWS: usize = 300;

pub(super) fn section(page: &Page<'_>) -> Option<Markup> {
    let contrasts = &page.view.contrasts;
    let judged: Vec<_> = contrasts.iter().filter(|c| c.quality().is_some()).collect();
    if judged.is_empty() {
        return None;
    }
    let plan = page.view.plan();
    let metric = plan.suite.task.metric();
    let what = match plan.suite.task.labels() {
        Some(_) => {
            format!("The same examples went through every variant, judged by their labels: {}.", metric.title)
        }
        None => "There are no labels: a variant is judged by how often its first answer is the reference’s."
            .to_owned(),
    };
    let labelled: Vec<_> = judged.iter().filter_map(|c| Some((*c, score_evidence(c)?))).collect();
    let margin = text::difference(plan.suite.accuracy_margin, metric.unit).replace('+', "");
    let how = labelled.first().and_then(|(_, e)| how(e));
    let named = |(_, e): &&(_, &ScoreEvidence)| !e.flips.is_empty() || !e.moved.is_empty();
    let named: Vec<_> = labelled.iter().filter(named).take(MAX_BLOCKS).collect();
    let examples = Examples::new(&plan.dataset, named.iter().flat_map(|(_, e)| shown(e)));
    Some(html! {
        p.muted {
            (what) " " (text::count(plan.dataset.examples)) " examples of " (text::clean(&plan.dataset.name)) ": "
            (text::clean(&plan.dataset.source)) ". A difference within ±" (margin) " is accepted." @if let Some(how) = how { " " (how) }
        }
        (paired(page, &judged))
        (examples.pictures())
        @for (contrast, evidence) in named {
            @if evidence.moved.is_empty() { (flips_of(contrast, evidence, &examples)) }
            @else { (moved_of(contrast, &evidence.moved, metric, &examples)) }
        }
    })
}

/// Where the intervals come from, where that needs saying.
fn how(evidence: &ScoreEvidence) -> Option<String> {
    let Method::Resampled { resamples, groups } = evidence.method else { return None };
    let what = match groups {
        Some(groups) => text::counted(groups, "group"),
        None => text::counted(evidence.examples as usize, "example"),
    };
    Some(format!(
        "Intervals are from {} draws of {what}, p-values from as many exchanges of answers.",
        text::count(u64::from(resamples))
    ))
}

fn score_evidence<'a>(contrast: &ContrastView<'a>) -> Option<&'a ScoreEvidence> {
    match &contrast.quality()?.evidence {
        Evidence::Score(evidence) => Some(evidence),
        _ => None,
    }
}

fn paired(page: &Page<'_>, contrasts: &[&ContrastView<'_>]) -> Markup {
    let metric = page.view.plan().suite.task.metric();
    let labelled = contrasts.iter().any(|c| score_evidence(c).is_some());
    let is_table = |e: &ScoreEvidence| matches!(e.method, Method::Table { .. });
    let table = contrasts.iter().filter_map(|c| score_evidence(c)).all(is_table);
    let table = html! { table {
        caption { "Candidate against reference, example by example" }
        thead { tr {
            th scope="col" { "Candidate" }
            @if labelled {
                th.n scope="col" { (text::capital(metric.short)) span.small { "95 % interval" } }
                @if table { th.n scope="col" { "lost / gained" } } @else { th.n scope="col" { "Examples" } }
                th.n scope="col" { "Difference" span.small { "98 % interval" } }
                th.n scope="col" { @if table { "mid-p" } @else { "p" } }
            }
            th.n scope="col" { "Agree" } th.n scope="col" { "Max abs" } th.n scope="col" { "Cosine" }
            th.n scope="col" { "SQNR dB" } th scope="col" { "Verdict" }
        } }
        tbody { @for contrast in contrasts.iter().take(MAX_ROWS) { (paired_row(page, contrast, labelled)) } }
    } };
    html! { (parts::scroll("Paired comparison of outputs", &table)) (parts::omitted(contrasts.len(), MAX_ROWS)) }
}

fn paired_row(page: &Page<'_>, contrast: &ContrastView<'_>, labelled: bool) -> Markup {
    let value = |metric: &str| contrast.row(metric).and_then(|row| row.candidate);
    let plain = |metric: &str, decimals| parts::or_none(value(metric).map(|v| text::number(v, decimals)));
    let max_abs =
        contrast.row("max_abs_error").and_then(|row| Some(text::value(row.candidate?, row.metric.unit)));
    html! {
        tr {
            th.name scope="row" { (parts::name(&contrast.candidate)) span.small { "vs " (contrast.reference) } }
            @if labelled { (labelled_cells(page, contrast)) }
            td.n { (parts::or_none(value("agreement_top1").map(|v| text::percent(v, 1)))) }
            td.n { (parts::or_none(max_abs)) }
            td.n { (plain("cosine", 6)) }
            td.n { (plain("sqnr_db", 1)) }
            td { (parts::verdict(contrast.quality().and_then(|row| row.verdict))) }
        }
    }
}

fn labelled_cells(page: &Page<'_>, contrast: &ContrastView<'_>) -> Markup {
    let Some(e) = score_evidence(contrast) else { return html! { td colspan="4" { (text::NONE) } } };
    let score = page.view.case(contrast.contrast.candidate).and_then(|(_, summary)| summary.score);
    let unit = page.view.plan().suite.task.metric().unit;
    let interval = e.difference.interval;
    html! {
        td.n {
            (parts::or_none(score.map(|s| text::score(s.point, unit))))
            @if let Some(s) = score { span.small { (text::score_interval(s.interval.low, s.interval.high, unit)) } }
        }
        @if let Method::Table { table, .. } = e.method {
            td.n { (table.lost) " / " (table.gained) span.small { "of " (text::count(table.n())) } }
        } @else { td.n { (text::count(e.examples)) } }
        td.n {
            (text::difference(e.difference.point, unit))
            span.small { (text::difference_interval(interval.low, interval.high, unit)) }
        }
        td.n { (text::probability(e.p.two_sided)) }
    }
}

/// Positions of the examples that are named of a contrast.
fn shown(evidence: &ScoreEvidence) -> impl Iterator<Item = usize> {
    let flips = flips(evidence).into_iter().flat_map(|flips| flips.into_iter().take(MAX_FLIPS));
    flips.map(|flip| flip.example).chain(evidence.moved.iter().map(|m| m.example))
}

/// Those that were lost, and those that were gained.
fn flips(evidence: &ScoreEvidence) -> [Vec<&Flip>; 2] {
    let (lost, gained) = evidence.flips.iter().partition(|flip| flip.lost);
    [lost, gained]
}

fn flips_of(contrast: &ContrastView<'_>, evidence: &ScoreEvidence, examples: &Examples<'_>) -> Markup {
    let [lost, gained] = flips(evidence);
    html! {
        details {
            summary {
                strong { (contrast.candidate) } " against " (contrast.reference) ": "
                (text::counted(lost.len(), "example")) " lost, " (gained.len()) " gained"
            }
            @for (flips, title) in [(lost, "Right before, wrong now"), (gained, "Wrong before, right now")] {
                @if !flips.is_empty() { (flip_table(title, &flips, examples)) }
            }
        }
    }
}

/// Examples that got worse, for scores that an example has by itself.
fn moved_of(
    contrast: &ContrastView<'_>,
    moved: &[Moved],
    metric: &Metric,
    examples: &Examples<'_>,
) -> Markup {
    let score = |value| text::score(value, metric.unit);
    html! {
        details {
            summary { strong { (contrast.candidate) } " against " (contrast.reference) ": where it got worse" }
            (parts::scroll("Examples that got worse", &html! { table {
                caption { "Examples that got worse, the worst first" }
                thead { tr {
                    th scope="col" { "Example" } th.n scope="col" { "Reference" } th.n scope="col" { "Candidate" }
                } }
                tbody { @for m in moved { tr {
                    th.name scope="row" { (examples.show(m.example)) }
                    td.n { (score(m.reference)) }
                    td.n { (score(m.candidate)) }
                } } }
            } }))
        }
    }
}

fn flip_table(title: &str, flips: &[&Flip], examples: &Examples<'_>) -> Markup {
    let class = |class: Option<u32>| match class {
        None => "no answer (NaN)".to_owned(),
        Some(c) => match examples.classes().get(c as usize) {
            Some(name) => text::clean(name).into_owned(),
            None => c.to_string(),
        },
    };
    let more = flips.len().saturating_sub(MAX_FLIPS);
    parts::scroll(
        title,
        &html! {
            table {
                caption { (title) @if more > 0 { ", the first " (MAX_FLIPS) " of " (flips.len()) } }
                thead { tr {
                    th scope="col" { "Example" } th scope="col" { "Label" } th scope="col" { "Reference says" }
                    th scope="col" { "Candidate says" }
                } }
                tbody { @for flip in flips.iter().take(MAX_FLIPS) { tr {
                    th.name scope="row" { (examples.show(flip.example)) }
                    td { (class(Some(flip.label))) }
                    td { (class(flip.reference)) }
                    td { (class(flip.candidate)) }
                } } }
            }
        },
    )
}
