//! What is wrong with a suite, where, and what to do about it.

use datasets::DataError;
use std::ops::Range;

/// A suite that cannot be used.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum SuiteError {
    /// No built-in suite has this name.
    #[error(
        "there is no suite {name:?}{hint}; built in are {known}; give a path that ends in .toml for your own"
    )]
    Unknown {
        /// What was asked for.
        name: String,
        /// The nearest name, in words.
        hint: String,
        /// All names.
        known: String,
    },
    /// A definition that breaks a rule.
    #[error("{file}{}: {problem}", place(.line))]
    Definition {
        /// The file.
        file: String,
        /// Line and column, both from 1, where they are known.
        line: Option<(usize, usize)>,
        /// The key, what is wrong with it and what to do.
        problem: String,
    },
    /// Models on the command line that cannot be compared.
    #[error("{0}")]
    AdHoc(String),
    /// Its data or one of its files.
    #[error(transparent)]
    Data(#[from] DataError),
}

fn place(line: &Option<(usize, usize)>) -> String {
    line.map(|(line, column)| format!(":{line}:{column}")).unwrap_or_default()
}

/// Line and column of a position in a text, from 1; columns count characters.
pub fn line_of(text: &str, span: Option<Range<usize>>) -> Option<(usize, usize)> {
    let before = text.get(..span?.start)?;
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    Some((line, column))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_count_from_one() {
        assert_eq!(line_of("ab\ncd", Some(0..1)), Some((1, 1)));
        assert_eq!(line_of("ab\ncd", Some(4..5)), Some((2, 2)));
        assert_eq!(line_of("é\né!", Some(5..6)), Some((2, 2)));
        assert_eq!(line_of("ab", Some(9..9)), None);
        assert_eq!(line_of("ab", None), None);
    }
}
