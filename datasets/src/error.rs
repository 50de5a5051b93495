//! What is wrong with data, where, and what to do about it.

use std::{fmt, path::Path};

/// A dataset that cannot be used. The text is complete: file, row or key, reason, remedy.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{place}: {problem}")]
pub struct DataError {
    place: String,
    problem: String,
}

impl DataError {
    /// `place` is a file, with the row or key where there is one.
    pub fn new(place: impl fmt::Display, problem: impl fmt::Display) -> Self {
        Self { place: place.to_string(), problem: problem.to_string() }
    }

    pub(crate) fn file(path: &Path, problem: impl fmt::Display) -> Self {
        Self::new(path.display(), problem)
    }

    /// A row or key within a file.
    pub(crate) fn within(path: &Path, inner: impl fmt::Display, problem: impl fmt::Display) -> Self {
        Self::new(format_args!("{}, {inner}", path.display()), problem)
    }
}
