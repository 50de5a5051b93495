//! What pages are made of, so that those of other crates look and read like a report: their frame and style, a way of
//! drawing, and, in [`crate::text`], a way of writing numbers and untrusted text.

mod frame;
pub mod svg;

pub use frame::{Frame, STYLE, Style, frame, scroll};
