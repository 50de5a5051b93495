//! The list of nights.

use super::{
    digest::Digest,
    fleet, links, parts,
    parts::{Room, Tone},
};
use maud::{Markup, html};
use reports::text;

/// Nights on one page.
pub(super) const PAGE: usize = 60;

/// What the page shows.
pub(super) struct Nights<'a> {
    /// Newest first.
    pub(super) nights: &'a [Digest],
    /// How many there are in all.
    pub(super) all: usize,
    /// The name from which on the next page goes.
    pub(super) older: Option<&'a str>,
    /// This page does not begin with the newest.
    pub(super) is_later_page: bool,
    pub(super) notes: &'a [String],
    pub(super) place: &'a str,
}

/// `/nights/`.
pub(super) fn page(of: &Nights<'_>) -> Markup {
    let main = html! {
        h1 { "Nights" }
        (parts::notes(of.notes))
        @if of.nights.is_empty() {
            (parts::empty("No night yet.", &html! {
                p { "Nights are looked for in " code { (text::clean(of.place)) } "; " code { "bench nightly farm.toml" } " makes one." }
            }))
        } @else {
            p.lead { (text::counted(of.all, "night")) ", newest first." }
            (fleet::strip(of.nights.get(..of.nights.len().min(30)).unwrap_or_default()))
            (parts::table(
                "Nights, newest first",
                &["Night", "Answer", "Began", "#Took", "#Jobs measured", "#Got worse", "#Sick", "#No whole result"],
                &html! { @for digest in of.nights { (row(digest)) } },
            ))
            nav.pager aria-label="Pages" {
                @if of.is_later_page { a href=(links::NIGHTS) { "Newest" } }
                @if let Some(older) = of.older { a href=(format!("{}?before={}", links::NIGHTS, links::part(older))) { "Older nights" } }
            }
        }
    };
    parts::page(Room::Nights, "Nights", Some("/nights.json"), &main)
}

fn row(digest: &Digest) -> Markup {
    let marked = |n: usize| html! { @if n > 0 { b { (n) } } @else { "0" } };
    html! { tr {
        th.name scope="row" { (parts::night(&digest.night)) }
        td.wrap { span class=(format!("v {}", digest.tone.class())) { (digest.tone.symbol()) } " " (digest.headline) @if digest.damaged && digest.tone != Tone::Bad { span.small { "not everything could be read" } } }
        td.n.left { (parts::time(&digest.began)) }
        td.n { (parts::or_none(digest.ended.as_ref().and_then(|ended| parts::between(&digest.began, ended)).map(|ms| html! { (parts::span(ms)) }))) }
        td.n { (digest.measured) " of " (digest.jobs) }
        td.n { (marked(digest.worse)) }
        td.n { (marked(digest.sick)) }
        td.n { (marked(digest.trouble)) }
    } }
}
