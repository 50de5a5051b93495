//! Proof of what ran: kernels, nodes on the backend asked for, fallbacks with reasons, and where the
//! time goes per operator when that was profiled.

use super::{Page, parts};
use crate::profile::Profile;
use crate::record::CaseIndex;
use crate::text;
use maud::{Markup, html};
use protocol::BackendProof;
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
    let profiles: BTreeMap<CaseIndex, Profile<'_>> = proven
        .iter()
        .take(MAX_ROWS)
        .filter_map(|(case, _)| Some((*case, Profile::of(page.view.record, *case)?)))
        .collect();
    Some(html! {
        p.muted {
            "What was asked for, and what really ran, as the runtime reported it on the device. Shares of time are from "
            "separate profiled trials; latency above never comes from these. Profiling takes time of its own, and LiteRT and "
            "ONNX Runtime tell whole microseconds."
        }
        (proofs(page, &proven, &profiles))
        @for (case, proof) in with_fallbacks { (fallbacks(page, *case, proof)) }
        @if !profiles.is_empty() {
            h3 { "Time per operator" }
            @for profile in profiles.values().take(MAX_PROFILES) { (top_nodes(page, profile)) }
        }
    })
}

fn proofs(
    page: &Page<'_>,
    proven: &[(CaseIndex, &BackendProof)],
    profiles: &BTreeMap<CaseIndex, Profile<'_>>,
) -> Markup {
    parts::scroll(
        "Proof of the backend",
        &html! { table {
            thead { tr {
                th scope="col" { "Variant" } th scope="col" { "Asked for" } th scope="col" { "Ran" }
                th.n scope="col" { "Nodes on it" } th scope="col" { "Where the time goes" }
                th.n scope="col" { "Partitions" } th.n scope="col" { "Fallbacks" }
                th.n scope="col" { "Threads" } th scope="col" { "Precision in the file" }
            } }
            tbody { @for (case, proof) in proven.iter().take(MAX_ROWS) {
                @let plan = page.view.plan().cases.get(*case);
                tr {
                    th.name scope="row" { (page.view.name(*case)) }
                    td { (parts::or_none(plan.map(|c| c.runtime.to_string()))) }
                    td.wrap { (text::clean(&proof.runtime_version)) ", " (text::clean(&proof.kernels)) }
                    td.n { (proof.nodes_on_backend) " of " (proof.nodes_total) }
                    td.wrap { (parts::or_none(units(proof, profiles.get(case)))) }
                    td.n { (proof.partitions) }
                    td.n { (proof.fallbacks.len()) }
                    td.n { (parts::or_none(plan.map(|c| c.threads.to_string()))) }
                    td { (parts::or_none(page.view.record.facts.get(*case).and_then(Option::as_ref).map(precision))) }
                }
            } }
        } },
    )
}

/// Nodes and share of time per place, as the profile tells; of a case without one, the nodes alone.
fn units(proof: &BackendProof, profile: Option<&Profile<'_>>) -> Option<String> {
    let timed: Vec<_> = profile.map(Profile::units).unwrap_or_default();
    let words: Vec<String> = if timed.iter().any(|unit| !unit.unit.is_empty()) {
        timed
            .iter()
            .map(|unit| {
                let name = if unit.unit.is_empty() { "not told".into() } else { text::clean(unit.unit) };
                format!("{} {name} ({})", text::percent(unit.share, 0), text::counted(unit.nodes, "node"))
            })
            .collect()
    } else {
        proof
            .units
            .iter()
            .map(|u| format!("{} ({})", text::clean(&u.unit), text::counted(u.nodes as usize, "node")))
            .collect()
    };
    Some(words.join(", ")).filter(|words| !words.is_empty())
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

fn top_nodes(page: &Page<'_>, profile: &Profile<'_>) -> Markup {
    let slowest = profile.slowest(TOP_NODES);
    let share = |time_ns: f64| text::percent(profile.share(time_ns), 1);
    let first = slowest.first().map(|n| format!("{} in {}", share(n.median_ns), text::clean(&n.node.op)));
    html! {
        details {
            summary { strong { (page.view.name(profile.case)) } ": " (text::counted(profile.nodes.len(), "node")) ", " (first.unwrap_or_default()) }
            (parts::scroll("Slowest nodes", &html! { table {
                caption { "The slowest " (slowest.len()) " of " (profile.nodes.len()) " nodes, median time" }
                thead { tr {
                    th scope="col" { "Node" } th scope="col" { "Operator" } th scope="col" { "Ran on" }
                    th.n scope="col" { "Time" } th.n scope="col" { "Share" }
                } }
                tbody { @for timed in slowest { tr {
                    th.wrap scope="row" { code { (text::clean(&timed.node.node)) } }
                    td { (text::clean(&timed.node.op)) }
                    td { (parts::or_none(Some(text::clean(&timed.node.unit).into_owned()).filter(|unit| !unit.is_empty()))) }
                    td.n { (text::time(timed.median_ns)) }
                    td.n { (share(timed.median_ns)) }
                } } }
            } }))
        }
    }
}
