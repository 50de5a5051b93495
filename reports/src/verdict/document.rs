//! Keeps `METHODOLOGY.md` true: every constant it names must have the value that it gives.

use super::{
    ACCURACY_ALPHA, CONTENTION, DETERMINISTIC_UNITS, LEAST_EFFECT_SHARE, LEAST_EXAMPLES, MARGIN_ALPHA,
    MAX_LOST_SHARE, MAX_RESAMPLES, SHOWN_LEVEL, SHOWN_RESAMPLES, Verdict,
};
use stats::sequential::{
    DECISION_LEVEL, DETECTION_POWER, DIFFERENCE_CUTOFFS, EQUIVALENCE_CUTOFFS, EQUIVALENCE_LEVEL, LOOKS,
    MAX_UNITS, MIN_UNITS, PLAIN_LEVEL, PLAIN_NOMINAL,
};
use stats::{
    LEAST_ITERATIONS, LOCATION_UNITS, Location, MOST_ITERATIONS, Percentile, SIGN_FLIP_EXACT_MAX,
    SIGN_FLIP_RESAMPLES,
};

const TEXT: &str = include_str!("../../METHODOLOGY.md");

#[track_caller]
fn says(text: &str) {
    assert!(TEXT.contains(text), "METHODOLOGY.md does not say: {text}");
}

fn spaced<T: ToString>(values: impl IntoIterator<Item = T>, separator: &str) -> String {
    values.into_iter().map(|v| v.to_string()).collect::<Vec<_>>().join(separator)
}

#[test]
fn constants_are_as_documented() {
    for (name, value) in [
        ("PLAIN_LEVEL", PLAIN_LEVEL),
        ("PLAIN_NOMINAL", PLAIN_NOMINAL),
        ("SESSION_LEVEL", stats::SESSION_LEVEL),
        ("DECISION_LEVEL", DECISION_LEVEL),
        ("EQUIVALENCE_LEVEL", EQUIVALENCE_LEVEL),
        ("DETECTION_POWER", DETECTION_POWER),
        ("MAX_LOST_SHARE", MAX_LOST_SHARE),
        ("CONTENTION", CONTENTION),
        ("ACCURACY_ALPHA", ACCURACY_ALPHA),
        ("MARGIN_ALPHA", MARGIN_ALPHA),
        ("SHOWN_LEVEL", SHOWN_LEVEL),
        ("MAX_UNITS", MAX_UNITS as f64),
        ("MIN_UNITS", MIN_UNITS as f64),
        ("LEAST_EXAMPLES", LEAST_EXAMPLES as f64),
        ("MAX_RESAMPLES", f64::from(MAX_RESAMPLES)),
        ("SHOWN_RESAMPLES", f64::from(SHOWN_RESAMPLES)),
        ("SESSION_SD", stats::SESSION_SD),
        ("ANCHORED_SESSION_SD", stats::ANCHORED_SESSION_SD),
        ("DETERMINISTIC_UNITS", DETERMINISTIC_UNITS as f64),
    ] {
        says(&format!("`{name}` = {value}"));
        let given = TEXT.matches(&format!("`{name}` = ")).count();
        assert_eq!(given, TEXT.matches(&format!("`{name}` = {value}")).count(), "{name} has two values");
    }
    assert_eq!(LEAST_EFFECT_SHARE, 1.0 / 3.0);
    says("`LEAST_EFFECT_SHARE` = 1/3");
    says(&format!("first {LOCATION_UNITS} units (`LOCATION_UNITS`)"));
    says(&format!("exact up to {SIGN_FLIP_EXACT_MAX} units"));
    says(&format!("between {LEAST_ITERATIONS} (or what a side had"));
    assert_eq!(MOST_ITERATIONS, 2000);
    says("and 2 000, is at most four times");
    assert_eq!(SIGN_FLIP_RESAMPLES, 10_000);
    says("10 000 seeded draws");
}

#[test]
fn the_rule_is_as_documented() {
    says(&format!("| `LOOKS` | {} |", spaced(LOOKS, " ")));
    says(&format!("| `DIFFERENCE_CUTOFFS` | {} |", spaced(DIFFERENCE_CUTOFFS, " ")));
    says(&format!("| `EQUIVALENCE_CUTOFFS` | {} |", spaced(EQUIVALENCE_CUTOFFS, " ")));
    says(&format!("n = {} for", spaced(Percentile::ALL.map(Percentile::min_n), ", ")));
    for verdict in
        [Verdict::Better, Verdict::Worse, Verdict::Equivalent, Verdict::Inconclusive, Verdict::Invalid]
    {
        says(&format!("**{}", verdict.word()));
    }
    for location in Location::ALL.iter().filter(|l| **l != Location::CpuMedian) {
        says(location.name());
    }
}
