//! Proof of what ran: kernels, nodes on the backend asked for, fallbacks with reasons, and where the
//! time goes per operator when that was profiled.

use super::{Page, parts};
use crate::record::{CaseIndex, Purpose, RunRecord};
use crate::text;
use maud::{Markup, html};
use protocol::{BackendProof, NodeProfile};
use std::collections::BTreeMap;

/// Rows of a table; the rest lies in the CSV files.
const MAX_ROWS: usize = 300;
/// Kinds of fallback that are listed per case, and nodes of a profile.
const MAX_FALLBACKS: usize = 20;
const TOP_NODES: usize = 10;
/// Cases whose profile is laid out.
const MAX_PROFILES: usize = 12;

pub(super) fn section(page: &Page<'_>) -> Option<Markup> {
    let cases = &page.view.verdicts.cases;
    let proven: Vec<(CaseIndex, &BackendProof)> =
        cases.iter().filter_map(|c| Some((c.case, c.proof.as_ref()?))).collect();
    if proven.is_empty() {
        return None;
    }
    let with_fallbacks: Vec<_> =
        proven.iter().filter(|(_, p)| !p.fallbacks.is_empty()).take(MAX_PROFILES).collect();
    let record = page.view.record;
    let profiles: Vec<_> = proven
        .iter()
        .filter_map(|(case, _)| Some((*case, profile(record, *case)?)))
        .take(MAX_PROFILES)
        .collect();
    Some(html! {
        p.muted { "What was asked for, and what really ran, as the runtime reported it on the device." }
        (proofs(page, &proven))
        @for (case, proof) in with_fallbacks { (fallbacks(page, *case, proof)) }
        @if !profiles.is_empty() {
            h3 { "Time per operator" }
            p.muted { "From separate profiled trials; latency above never comes from these." }
            @for (case, nodes) in profiles { (top_nodes(page, case, nodes)) }
        }
    })
}

fn proofs(page: &Page<'_>, proven: &[(CaseIndex, &BackendProof)]) -> Markup {
    parts::scroll(
        "Proof of the backend",
        &html! { table {
            thead { tr {
                th scope="col" { "Variant" } th scope="col" { "Asked for" } th scope="col" { "Ran" }
                th.n scope="col" { "Nodes on it" } th.n scope="col" { "Partitions" } th.n scope="col" { "Fallbacks" }
                th.n scope="col" { "Threads" } th scope="col" { "Precision in the file" }
            } }
            tbody { @for (case, proof) in proven.iter().take(MAX_ROWS) {
                @let plan = page.view.plan().cases.get(*case);
                tr {
                    th.name scope="row" { (page.view.name(*case)) }
                    td { (parts::or_none(plan.map(|c| c.runtime.to_string()))) }
                    td.wrap { (text::clean(&proof.runtime_version)) ", " (text::clean(&proof.kernels)) }
                    td.n { (proof.nodes_on_backend) " of " (proof.nodes_total) }
                    td.n { (proof.partitions) }
                    td.n { (proof.fallbacks.len()) }
                    td.n { (parts::or_none(plan.map(|c| c.threads.to_string()))) }
                    td { (parts::or_none(page.view.record.facts.get(*case).and_then(Option::as_ref).map(precision))) }
                }
            } }
        } },
    )
}

fn precision(facts: &protocol::ModelFacts) -> String {
    use protocol::Precision::{DynamicInt8, Fp16, Fp32, Int8, Int16x8, Mixed};
    match facts.precision {
        Fp32 => "fp32",
        Fp16 => "fp16 weights",
        DynamicInt8 => "dynamic int8",
        Int8 => "int8",
        Int16x8 => "int16x8",
        Mixed => "mixed",
    }
    .to_owned()
}

fn fallbacks(page: &Page<'_>, case: CaseIndex, proof: &BackendProof) -> Markup {
    let mut kinds: BTreeMap<(&str, &str), (usize, &str)> = BTreeMap::new();
    for fallback in &proof.fallbacks {
        kinds.entry((&fallback.op, &fallback.reason)).or_insert((0, &fallback.node)).0 += 1;
    }
    html! {
        details {
            summary { strong { (page.view.name(case)) } ": " (text::counted(proof.fallbacks.len(), "fallback")) }
            (parts::scroll("Fallbacks", &html! {
                table {
                    thead { tr { th scope="col" { "Operator" } th.n scope="col" { "Nodes" } th scope="col" { "First node" } th scope="col" { "Why" } } }
                    tbody { @for ((op, reason), (n, node)) in kinds.iter().take(MAX_FALLBACKS) { tr {
                        th scope="row" { (text::clean(op)) }
                        td.n { (n) }
                        td.wrap { code { (text::clean(node)) } }
                        td.wrap { (text::clean(reason)) }
                    } } }
                }
                @if kinds.len() > MAX_FALLBACKS { p.note { (kinds.len() - MAX_FALLBACKS) " more kinds" } }
            }))
        }
    }
}

fn profile(record: &RunRecord, case: CaseIndex) -> Option<&[NodeProfile]> {
    let units = record.units.iter().filter(|unit| unit.purpose == Purpose::Profile);
    let mut trials = units.flat_map(|unit| &unit.trials).filter(|t| t.case == case);
    trials.find(|t| !t.profile.is_empty()).map(|t| t.profile.as_slice())
}

fn top_nodes(page: &Page<'_>, case: CaseIndex, nodes: &[NodeProfile]) -> Markup {
    let median = |node: &NodeProfile| {
        let times: Vec<f64> = node.wall_ns.iter().map(|ns| *ns as f64).collect();
        stats::median(&times).unwrap_or_default()
    };
    let mut timed: Vec<(f64, &NodeProfile)> = nodes.iter().map(|node| (median(node), node)).collect();
    let total: f64 = timed.iter().map(|(time, _)| time).sum();
    timed.sort_by(|a, b| b.0.total_cmp(&a.0));
    let share = |time: f64| if total > 0.0 { text::percent(time / total, 1) } else { text::NONE.to_owned() };
    let first = timed.first().map(|(time, node)| format!("{} in {}", share(*time), text::clean(&node.op)));
    html! {
        details {
            summary { strong { (page.view.name(case)) } ": " (text::counted(nodes.len(), "node")) ", " (first.unwrap_or_default()) }
            (parts::scroll("Slowest nodes", &html! { table {
                caption { "The slowest " (timed.len().min(TOP_NODES)) " of " (timed.len()) " nodes, median time" }
                thead { tr { th scope="col" { "Node" } th scope="col" { "Operator" } th.n scope="col" { "Time" } th.n scope="col" { "Share" } } }
                tbody { @for (time, node) in timed.iter().take(TOP_NODES) { tr {
                    th.wrap scope="row" { code { (text::clean(&node.node)) } }
                    td { (text::clean(&node.op)) }
                    td.n { (text::time(*time)) }
                    td.n { (share(*time)) }
                } } }
            } }))
        }
    }
}
