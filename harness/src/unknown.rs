//! The sentence for a name that nobody knows.

use datasets::did_you_mean;

/// What was asked for, the nearest name there is, and all there are.
pub(crate) fn unknown(what: &str, name: &str, known: &[&str]) -> String {
    let hint = did_you_mean(name, known.iter().copied());
    let all = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
    format!("there is no {what} {name:?}{hint}; there are: {all}")
}
