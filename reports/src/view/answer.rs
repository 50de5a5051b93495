//! From the verdicts of one contrast to one answer: can the candidate ship instead of the reference?

use crate::verdict::{ContrastRow, Evidence, Verdict};
use protocol::Task;

/// Costs that answer whether a variant can ship; the rest is shown below them.
pub(super) const PRIMARY_COSTS: [&str; 3] = ["latency_ns", "memory_peak_bytes", "model_bytes"];

/// Can the candidate ship instead of the reference? In the order of attention: worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Answer {
    /// Less accurate, or worse in a cost and better in none.
    No,
    /// A guard broke in latency or accuracy.
    Invalid,
    /// Better in one cost, worse in another, accuracy kept.
    TradeOff,
    /// Not enough evidence.
    NotYet,
    /// Nothing gained, nothing lost.
    Same,
    /// Better in a cost, worse in none, accuracy kept.
    Yes,
}

impl Answer {
    pub(crate) const ALL: [Self; 6] =
        [Self::Yes, Self::TradeOff, Self::Same, Self::NotYet, Self::No, Self::Invalid];

    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::No => "no",
            Self::Invalid => "invalid",
            Self::TradeOff => "trade-off",
            Self::NotYet => "can’t tell yet",
            Self::Same => "no gain",
            Self::Yes => "yes",
        }
    }

    /// The word for programs: it stays as it is.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::No => "no",
            Self::Invalid => "invalid",
            Self::TradeOff => "trade-off",
            Self::NotYet => "undecided",
            Self::Same => "no-gain",
            Self::Yes => "yes",
        }
    }

    pub(crate) fn symbol(self) -> &'static str {
        match self {
            Self::TradeOff => "◐",
            other => symbol(other.verdict()),
        }
    }

    /// The verdict whose colour and symbol it shares.
    pub(crate) fn verdict(self) -> Verdict {
        match self {
            Self::No => Verdict::Worse,
            Self::Invalid => Verdict::Invalid,
            Self::TradeOff | Self::NotYet => Verdict::Inconclusive,
            Self::Same => Verdict::Equivalent,
            Self::Yes => Verdict::Better,
        }
    }
}

/// Symbol of a verdict: never colour alone.
pub(crate) fn symbol(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Better => "✓",
        Verdict::Worse => "✗",
        Verdict::Equivalent => "≈",
        Verdict::Inconclusive => "?",
        Verdict::Invalid => "⊘",
    }
}

/// From the verdicts of one contrast to its answer.
pub(super) fn answer(rows: &[ContrastRow]) -> Answer {
    let verdict = |name: &str| rows.iter().find(|row| row.metric.name == name).and_then(|row| row.verdict);
    let latency = verdict("latency_ns");
    let quality = quality(rows);
    if latency == Some(Verdict::Invalid) || quality.is_some_and(|q| q.verdict == Some(Verdict::Invalid)) {
        return Answer::Invalid;
    }
    // None: not judged, so costs alone decide and the report says so
    let kept = quality.map(|row| match (&row.evidence, row.verdict) {
        (Evidence::Score(e), _) if e.non_inferior => Some(true),
        (_, Some(Verdict::Worse)) => Some(false),
        (_, Some(Verdict::Better | Verdict::Equivalent)) => Some(true),
        _ => None,
    });
    if kept == Some(Some(false)) {
        return Answer::No;
    }
    let has = |wanted: Verdict| PRIMARY_COSTS.iter().any(|name| verdict(name) == Some(wanted));
    let (won, lost) = (has(Verdict::Better), has(Verdict::Worse));
    if lost && !won {
        return Answer::No;
    }
    let open = matches!(latency, None | Some(Verdict::Inconclusive));
    if kept == Some(None) || open || (!won && has(Verdict::Inconclusive)) {
        return Answer::NotYet;
    }
    match (won, lost) {
        (true, true) => Answer::TradeOff,
        (true, false) => Answer::Yes,
        _ => Answer::Same,
    }
}

/// The row that says whether the task is still done as well.
pub(super) fn quality(rows: &[ContrastRow]) -> Option<&ContrastRow> {
    rows.iter().find(|row| row.verdict.is_some() && Task::METRICS.contains(&row.metric.name))
}
