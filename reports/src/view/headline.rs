//! The first sentence of every report, and what is won and lost, in words.

use super::answer::PRIMARY_COSTS;
use super::{Answer, ContrastView, View, ratio_of};
use crate::record::ContrastKind;
use crate::text;
use crate::verdict::{ContrastRow, Evidence, Verdict};

/// Most contrasts without an answer that are listed below the headline.
const MAX_INVALID: usize = 20;

/// The first thing that is said.
pub(crate) struct Headline {
    /// The best answer that some variant has; `None` when nothing was asked.
    pub(crate) answer: Option<Answer>,
    /// One sentence.
    pub(crate) sentence: String,
    /// One more, or nothing.
    pub(crate) detail: String,
}

impl View<'_> {
    /// The answer to "can I ship it?" from the same rows as the table, with what speaks for it.
    pub(crate) fn headline(&self) -> Headline {
        let asked: Vec<_> = self.of_kind(ContrastKind::Reference).collect();
        let Some(first) = asked.first() else {
            let sentence = match self.contrasts.len() {
                0 => "Nothing was compared.".to_owned(),
                n => format!("{}, none of them with the suite’s reference.", text::counted(n, "comparison")),
            };
            return Headline { answer: None, sentence, detail: String::new() };
        };
        let of = |answer| asked.iter().copied().filter(move |c| c.answer == answer);
        let best = [Answer::Yes, Answer::TradeOff, Answer::Same, Answer::NotYet, Answer::No, Answer::Invalid];
        let answer = best.into_iter().find(|a| of(*a).next().is_some()).unwrap_or(first.answer);
        // within an answer the slowest comes first
        let leader = of(answer).next_back().unwrap_or(first);
        let against = match self.only_reference() {
            Some(case) => format!(" instead of {}", self.name(case)),
            None => String::new(),
        };
        let some = of(answer).count();
        let variants = match (some, asked.len()) {
            (_, 1) => leader.candidate.to_string(),
            (some, all) if some == all => format!("all {all} variants"),
            (some, all) => format!("{some} of {all} variants"),
        };
        let (is, has) = if some == 1 { ("is", "gains") } else { ("are", "gain") };
        let sentence = match answer {
            Answer::Yes => format!("Yes: {variants} can ship{against}."),
            Answer::TradeOff => {
                format!("It depends: {variants} {is} better in one respect and worse in another.")
            }
            Answer::Same => format!("No reason to: {variants} {has} nothing{against}."),
            Answer::NotYet => format!("Can’t tell yet: {variants} {is} undecided."),
            Answer::No => format!("No: {variants} must not ship{against}."),
            Answer::Invalid => format!("No answer: {variants} {is} invalid."),
        };
        let detail = match answer {
            Answer::Yes | Answer::TradeOff if asked.len() > 1 => {
                let best = if some > 1 { "Fastest of them, " } else { "" };
                format!("{best}{}: {}.", leader.candidate, leader.gains())
            }
            Answer::NotYet => {
                leader.why().map(|why| format!("{}: {why}.", leader.candidate)).unwrap_or_default()
            }
            Answer::Invalid => String::new(),
            _ if asked.len() == 1 => format!("{}.", leader.gains()),
            _ => String::new(),
        };
        Headline { answer: Some(answer), sentence, detail }
    }

    /// Every contrast without an answer, with the reason.
    pub(crate) fn invalid(&self) -> Vec<String> {
        let invalid = self.contrasts.iter().filter(|c| c.answer == Answer::Invalid);
        let line = |c: &ContrastView<'_>| Some(format!("{}: {}", c.label(), c.why()?));
        let mut lines: Vec<String> = invalid.filter_map(line).collect();
        let more = lines.len().saturating_sub(MAX_INVALID);
        lines.truncate(MAX_INVALID);
        if more > 0 {
            lines.push(format!("and {more} more"));
        }
        lines
    }
}

impl ContrastView<'_> {
    /// The first reason of the row that keeps this contrast from an answer: an invalid one before one that
    /// is only open.
    pub(crate) fn why(&self) -> Option<String> {
        let judged = [self.row("latency_ns"), self.quality()];
        let with = |verdict: Verdict| {
            let fits = move |row: &&&ContrastRow| row.verdict == Some(verdict) && !row.reasons.is_empty();
            judged.iter().flatten().find(fits)
        };
        let row = with(Verdict::Invalid).or_else(|| with(Verdict::Inconclusive))?;
        Some(text::clean(&row.reasons.first()?.to_string()).into_owned())
    }

    /// What is won and lost, in words: `1.96× as fast, 55 % smaller, accuracy −0.40 pp`.
    pub(crate) fn gains(&self) -> String {
        let mut parts = Vec::new();
        for name in PRIMARY_COSTS {
            let Some(row) = self.row(name) else { continue };
            if let (Some(Verdict::Better | Verdict::Worse), Some(ratio)) = (row.verdict, ratio_of(row)) {
                parts.push(cost_words(name, ratio));
            }
        }
        parts.extend(self.quality().and_then(quality_words));
        if parts.is_empty() { "no difference that matters".to_owned() } else { parts.join(", ") }
    }
}

fn cost_words(metric: &str, ratio: f64) -> String {
    let percent = |share: f64| text::percent(share, if share < 0.1 { 1 } else { 0 });
    match metric {
        "latency_ns" if ratio <= 0.8 => format!("{}× as fast", text::number(1.0 / ratio, 2)),
        "latency_ns" if ratio < 1.0 => format!("{} less latency", percent(1.0 - ratio)),
        "latency_ns" => format!("{} more latency", percent(ratio - 1.0)),
        "model_bytes" if ratio < 1.0 => format!("{} smaller", percent(1.0 - ratio)),
        "model_bytes" => format!("{} larger", percent(ratio - 1.0)),
        _ if ratio < 1.0 => format!("{} less peak memory", percent(1.0 - ratio)),
        _ => format!("{} more peak memory", percent(ratio - 1.0)),
    }
}

fn quality_words(row: &ContrastRow) -> Option<String> {
    match &row.evidence {
        Evidence::Score(e) => {
            let unit = row.metric.unit;
            let kept = if e.non_inferior && e.difference.point.abs() <= e.margin {
                format!(" (within ±{})", text::difference(e.margin, unit).replace('+', ""))
            } else {
                String::new()
            };
            Some(format!("{} {}{kept}", row.metric.short, text::difference(e.difference.point, unit)))
        }
        Evidence::Share(e) => Some(format!("{} the same top-1 answers", text::percent(e.point, 1))),
        _ => None,
    }
}
