//! Pages outside of the dashboard's rooms: where a token is asked for, and where something is not as it should be.

use super::{
    links, parts,
    parts::{Room, Tone},
};
use maud::{Markup, html};
use reports::text;

/// `/login`. `to`: the page that was asked for.
pub(super) fn login(to: &str, refused: bool) -> Markup {
    let main = html! {
        h1 { "Who is there?" }
        p.lead { "This dashboard is open to those who have its token: the content of the file that " code { "bench serve" } " was given." }
        @if refused { p.invalid role="alert" { "That was not the token." } }
        form.login method="post" action=(links::LOGIN) {
            input type="hidden" name="to" value=(to);
            label { "Token" input type="password" name="token" required autofocus autocomplete="current-password" maxlength="1024"; }
            button type="submit" { "Enter" }
        }
        p.muted { "Programs send it as " code { "Authorization: Bearer TOKEN" } "." }
    };
    parts::page(Room::Outside, "Who is there?", None, &main)
}

/// Something that cannot be shown: what, and what to do.
pub(super) fn problem(title: &str, words: &str) -> Markup {
    let main = html! {
        (parts::headline(Tone::Look, title))
        p.lead { (text::clean(words)) }
        p { a href=(links::FLEET) { "To the fleet" } " · " a href=(links::NIGHTS) { "to all nights" } " · " a href=(links::TRENDS) { "to all trends" } }
    };
    parts::page(Room::Outside, title, None, &main)
}
