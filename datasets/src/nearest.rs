//! The name that was probably meant.

/// Longer names are not compared: the cost grows with the product of the lengths.
const MAX_NAME: usize = 200;

/// The candidate with the fewest typing mistakes between it and `name`: at most one for every three
/// characters. Ties go to the first.
pub fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if name.len() > MAX_NAME {
        return None;
    }
    let name = name.to_lowercase();
    let tolerated = (name.chars().count() / 3).max(1);
    let mut best: Option<(usize, &str)> = None;
    for candidate in candidates.into_iter().filter(|c| c.len() <= MAX_NAME) {
        let mistakes = strsim::osa_distance(&name, &candidate.to_lowercase());
        if mistakes <= tolerated && best.is_none_or(|(fewest, _)| mistakes < fewest) {
            best = Some((mistakes, candidate));
        }
    }
    best.map(|(_, candidate)| candidate)
}

/// ` (did you mean "…"?)`, or nothing.
pub fn did_you_mean<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> String {
    nearest(name, candidates).map(|n| format!(" (did you mean {n:?}?)")).unwrap_or_default()
}

/// Adds the nearest valid name to serde's words about an unknown key or value. The words are serde's own
/// (``unknown field `a`, expected one of `b`, `c` ``); others pass through as they are.
pub fn with_nearest(message: &str) -> String {
    let is_unknown = message.starts_with("unknown field") || message.starts_with("unknown variant");
    let quoted: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
    match quoted.split_first() {
        Some((unknown, known)) if is_unknown => match nearest(unknown, known.iter().copied()) {
            Some(name) => format!("{message} (did you mean `{name}`?)"),
            None => message.to_owned(),
        },
        _ => message.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suggests_what_is_alike_and_nothing_else() {
        assert_eq!(nearest("visoin", ["audio", "vision", "smoke"]), Some("vision"));
        assert_eq!(nearest("dgo", ["cat", "dog"]), Some("dog"));
        assert_eq!(nearest("zzz", ["audio", "vision"]), None);
        assert_eq!(nearest("a", []), None);
        assert_eq!(did_you_mean("lables", ["labels"]), " (did you mean \"labels\"?)");
        assert_eq!(did_you_mean(&"x".repeat(10_000), ["labels"]), "");
    }
}
