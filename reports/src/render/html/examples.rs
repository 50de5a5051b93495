//! What the examples look like that are named: each picture is in the page once, however often it is shown.

use super::super::png;
use crate::page::svg;
use crate::record::DatasetFacts;
use crate::text;
use base64::{Engine, engine::general_purpose::STANDARD};
use maud::{Markup, html};
use std::collections::BTreeSet;

/// Pictures in one page, and their bytes: the page is to stay small.
const MAX_PICTURES: usize = 240;
const MAX_BYTES: usize = 160_000;
/// Longest edge on the screen.
const EDGE: f64 = 44.0;

/// The examples of a page, and which of them have a picture in it.
pub(super) struct Examples<'a> {
    dataset: &'a DatasetFacts,
    drawn: BTreeSet<usize>,
    pictures: Markup,
}

impl<'a> Examples<'a> {
    /// `wanted`: positions of the examples that will be shown, the most important first.
    pub(super) fn new(dataset: &'a DatasetFacts, wanted: impl Iterator<Item = usize>) -> Self {
        let (mut drawn, mut images, mut bytes) = (BTreeSet::new(), Vec::new(), 0);
        for example in wanted {
            if drawn.len() >= MAX_PICTURES || drawn.contains(&example) {
                continue;
            }
            let Some(file) = file(dataset, example).filter(|file| bytes + file.len() <= MAX_BYTES) else {
                continue;
            };
            bytes += file.len();
            drawn.insert(example);
            images.push((example, file));
        }
        let (width, height) = size(dataset);
        let body = html! {
            defs { @for (example, file) in &images {
                image id=(format!("x{example}")) width=(svg::px(width)) height=(svg::px(height))
                    href=(format!("data:image/png;base64,{file}")) {}
            } }
        };
        let pictures = match images.is_empty() {
            true => html! {},
            false => html! {
                div.sr aria-hidden="true" { (svg::figure(0.0, 0.0, "Examples", "Kept here once, shown below", &body)) }
            },
        };
        Self { dataset, drawn, pictures }
    }

    /// Names of the classes; empty when they have none.
    pub(super) fn classes(&self) -> &[String] {
        &self.dataset.classes
    }

    /// To be laid out before the first example is shown.
    pub(super) fn pictures(&self) -> &Markup {
        &self.pictures
    }

    /// Its picture, where it has one, and its name.
    pub(super) fn show(&self, example: usize) -> Markup {
        let name = match self.dataset.names.get(example) {
            Some(name) => text::clean(name).into_owned(),
            None => example.to_string(),
        };
        if !self.drawn.contains(&example) {
            return html! { (name) };
        }
        let (width, height) = size(self.dataset);
        let about = "As the model sees it";
        let body = html! { use href=(format!("#x{example}")) {} };
        html! { span.example { (svg::figure(width, height, &name, about, &body)) span { (name) } } }
    }
}

/// On the screen.
fn size(dataset: &DatasetFacts) -> (f64, f64) {
    let Some(pictures) = &dataset.pictures else { return (0.0, 0.0) };
    let (width, height) = (f64::from(pictures.width.max(1)), f64::from(pictures.height.max(1)));
    let scale = EDGE / width.max(height);
    (width * scale, height * scale)
}

/// As PNG in base64.
fn file(dataset: &DatasetFacts, example: usize) -> Option<String> {
    let pictures = dataset.pictures.as_ref().filter(|p| matches!(p.channels, 1 | 3) && p.stride() > 0)?;
    let mut file = Vec::new();
    let size = (pictures.width, pictures.height);
    png::write(&mut file, size, pictures.channels, pictures.of(example)?).ok()?;
    Some(STANDARD.encode(file))
}
