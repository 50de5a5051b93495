//! What every page is framed in, and the style of all of them.

use maud::{DOCTYPE, Markup, PreEscaped, html};

/// The style sheet.
pub const STYLE: &str = include_str!("style.css");

/// What a page that stands alone may do: nothing but look as it looks.
const POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'";

/// Where a page has its style from.
#[derive(Clone, Copy, Debug)]
pub enum Style<'a> {
    /// The page is one file that needs nothing beside it.
    Inline,
    /// It is served, by somebody who says in a header what it may do.
    Served {
        /// Address of the style sheet.
        sheet: &'a str,
        /// Address of the icon.
        icon: &'a str,
    },
}

/// A page to be framed.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    /// Title, as text.
    pub title: &'a str,
    /// Its style.
    pub style: Style<'a>,
    /// What is in its bar.
    pub bar: &'a Markup,
    /// What it says.
    pub main: &'a Markup,
    /// What stands at its end.
    pub footer: &'a Markup,
}

/// The whole page.
pub fn frame(page: &Frame<'_>) -> Markup {
    let served = matches!(page.style, Style::Served { .. });
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width,initial-scale=1";
                @if !served { meta http-equiv="Content-Security-Policy" content=(POLICY); }
                meta name="color-scheme" content="light dark";
                title { (page.title) }
                @match page.style {
                    Style::Inline => style { (PreEscaped(STYLE)) },
                    Style::Served { sheet, icon } => { link rel="stylesheet" href=(sheet); link rel="icon" href=(icon); }
                }
            }
            body {
                @if served { a.skip href="#main" { "To the content" } }
                header { div.bar { (page.bar) } }
                main id=[served.then_some("main")] tabindex=[served.then_some("-1")] { (page.main) }
                footer.muted { p { (page.footer) } }
            }
        }
    }
}

/// A table that may be wider than the screen: a keyboard can scroll it.
pub fn scroll(label: &str, table: &Markup) -> Markup {
    html! { div.scroll tabindex="0" role="group" aria-label=(label) { (table) } }
}
