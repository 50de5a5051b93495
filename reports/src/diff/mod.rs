//! Two recorded runs compared: the honest answer to "is it slower than last week?". What no clock is part of (size, scores)
//! is compared exactly, example by example. What was measured at two times carries the error between sessions, and is
//! never called better or worse: at most it needs confirmation, by measuring both sides in turns. What was not measured
//! under the same conditions is not compared, and the condition is named.
//!
//! Pure: two records in, a [`Diff`] out. `reports/METHODOLOGY.md` says what the numbers mean.

mod alike;
mod text;

#[cfg(test)]
mod tests;

pub use alike::{Apart, Concerns};

use crate::record::{
    CaseIndex, CasePlan, Contrast, ContrastKind, Purpose, RunRecord, TrialRecord, UnitRecord,
};
use crate::verdict::across::{AcrossRow, Found, costs};
use crate::verdict::{ContrastRow, Evidence, Reason, Verdict, timeless};
use crate::view::{is_cost, ratio_of};
use alike::{Seen, apart};
use protocol::{Direction, Metric, Sha256Hex, Unit};
use serde::Serialize;

/// Version of the JSON form: raised when a key goes or changes its meaning.
const DIFF_SCHEMA: u32 = 1;

/// Two runs side by side.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Diff {
    /// Version of this form.
    pub schema: u32,
    /// Name of the earlier run.
    pub base: String,
    /// Name of the later run.
    pub head: String,
    /// Cases that both runs have.
    pub cases: Vec<CaseDiff>,
    /// Cases that only one has, in words.
    pub alone: Vec<String>,
}

/// A model file of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ModelFile {
    /// Where it was on the host.
    pub path: String,
    /// Its hash.
    pub sha256: Sha256Hex,
}

/// One case in both runs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CaseDiff {
    /// `model@variant`.
    pub variant: String,
    /// `runtime/backend`.
    pub runtime: String,
    /// Id of the device.
    pub device: String,
    /// Its file in the base.
    pub base: ModelFile,
    /// Its file in the head.
    pub head: ModelFile,
    /// The two files are one.
    pub identical: bool,
    /// What was not the same in both runs. Costs, or answers, that it concerns are not compared.
    pub apart: Vec<Apart>,
    /// What was compared.
    pub rows: Vec<Row>,
    /// What measures both files in turns, where both are at hand: filled in by who can look.
    pub interleaved: Option<String>,
}

/// One metric of a case.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// Its name, as in `results.csv`.
    pub metric: &'static str,
    /// What the values are counted in.
    pub unit: Unit,
    /// Value in the base.
    pub base: Option<f64>,
    /// Value in the head.
    pub head: Option<f64>,
    /// Head / base of a cost, head − base of a score; of a latency with an anchor, relative to it.
    pub change: Option<f64>,
    /// Lower end of the interval of the change at 98 %.
    pub low: Option<f64>,
    /// Upper end.
    pub high: Option<f64>,
    /// The answer.
    pub answer: Answer,
    /// What to know about it.
    pub notes: Vec<String>,
}

/// What two runs say about a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    /// Better: of what no clock is part of.
    Better,
    /// Worse: of what no clock is part of.
    Worse,
    /// The difference lies inside the margin.
    Equivalent,
    /// Nothing beyond what sessions, or so many examples, differ by.
    Inconclusive,
    /// It looks better or worse, and sessions that were not measured together cannot tell.
    NeedsConfirmation,
    /// The same file under the same conditions: there is nothing to find.
    IdenticalArtefact,
    /// Something broke in one of the runs.
    Invalid,
    /// Conditions were not the same.
    NotComparable,
    /// Shown, not judged.
    Shown,
}

impl Answer {
    /// The words.
    pub fn word(self) -> &'static str {
        match self {
            Self::Better => "better",
            Self::Worse => "worse",
            Self::Equivalent => "equivalent",
            Self::Inconclusive => "inconclusive",
            Self::NeedsConfirmation => "needs confirmation",
            Self::IdenticalArtefact => "identical artefact",
            Self::Invalid => "invalid",
            Self::NotComparable => "not comparable",
            Self::Shown => "",
        }
    }
}

/// Compares two runs case by case; the head's margins count.
pub fn diff(base: &RunRecord, head: &RunRecord) -> Diff {
    let matched = matched(base, head);
    let cases = matched.iter().map(|pair| case_diff(base, head, *pair, &matched)).collect();
    Diff {
        schema: DIFF_SCHEMA,
        base: base.plan.run.clone(),
        head: head.plan.run.clone(),
        cases,
        alone: alone(base, head, &matched),
    }
}

impl Diff {
    /// Every row with its case.
    pub fn rows(&self) -> impl Iterator<Item = (&CaseDiff, &Row)> {
        self.cases.iter().flat_map(|case| case.rows.iter().map(move |row| (case, row)))
    }

    /// For programs: one JSON object, with a line's end.
    ///
    /// # Errors
    /// None in practice: every value can be written.
    pub fn json(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string_pretty(self).map(|text| text + "\n")
    }
}

/// What makes a case the same one in another run.
fn key(record: &RunRecord, case: &CasePlan) -> [String; 4] {
    let device = record.plan.devices.get(case.device).map(|d| d.id.clone()).unwrap_or_default();
    [case.variant.to_string(), case.runtime.to_string(), device, format!("{} threads", case.threads)]
}

/// Positions of the same case in base and head.
fn matched(base: &RunRecord, head: &RunRecord) -> Vec<(CaseIndex, CaseIndex)> {
    let keys: Vec<_> = base.plan.variants().iter().map(|case| key(base, case)).collect();
    let find = |case: &CasePlan| keys.iter().position(|k| *k == key(head, case));
    let cases = head.plan.variants().iter().enumerate();
    cases.filter_map(|(at, case)| Some((find(case)?, at))).collect()
}

/// Cases that only one run has. A variant that both have, measured otherwise, is named with both values.
fn alone(base: &RunRecord, head: &RunRecord, matched: &[(CaseIndex, CaseIndex)]) -> Vec<String> {
    let left = |record: &RunRecord, taken: &dyn Fn(CaseIndex) -> bool| -> Vec<[String; 4]> {
        let cases = record.plan.variants().iter().enumerate().filter(|(at, _)| !taken(*at));
        cases.map(|(_, case)| key(record, case)).collect()
    };
    let mut in_base = left(base, &|at| matched.iter().any(|(b, _)| *b == at));
    let mut words = Vec::new();
    for here in left(head, &|at| matched.iter().any(|(_, h)| *h == at)) {
        let [variant, how @ ..] = &here;
        match in_base.iter().position(|there| there[0] == *variant) {
            Some(at) => {
                let there = in_base.swap_remove(at);
                let was: Vec<&str> =
                    there[1..].iter().zip(how).filter(|(a, b)| a != b).map(|(a, _)| a.as_str()).collect();
                let is: Vec<&str> =
                    there[1..].iter().zip(how).filter(|(a, b)| a != b).map(|(_, b)| b.as_str()).collect();
                words.push(format!(
                    "{variant} is not compared: {} in the base, {} in the head",
                    was.join(", "),
                    is.join(", ")
                ));
            }
            None => words.push(format!("{variant} ({}) is only in the head", how.join(", "))),
        }
    }
    let gone =
        |[variant, how @ ..]: [String; 4]| format!("{variant} ({}) is only in the base", how.join(", "));
    words.extend(in_base.into_iter().map(gone));
    words
}

fn case_diff(
    base: &RunRecord,
    head: &RunRecord,
    (b, h): (CaseIndex, CaseIndex),
    matched: &[(CaseIndex, CaseIndex)],
) -> CaseDiff {
    let apart = apart(Seen { record: base, case: b }, Seen { record: head, case: h });
    let (before, after) = (&base.plan.cases[b], &head.plan.cases[h]);
    let identical = before.model_sha256 == after.model_sha256;
    let anchor = anchor(base, head, (b, h), matched);
    let pairs: Vec<_> = [Some((b, h)), anchor].into_iter().flatten().collect();
    let both = together(base, head, &pairs);
    let bars = |kind: Concerns| apart.iter().any(|a| a.concerns == kind || a.concerns == Concerns::All);
    let contrast = both.plan.contrasts[0];
    let of_anchor = anchor.map(|_| Contrast { reference: 2, candidate: 3, ..contrast });
    let name_of_anchor = anchor.map(|(_, at)| head.plan.cases[at].variant.to_string());
    let mut rows: Vec<Row> = costs(&both, contrast, of_anchor)
        .into_iter()
        .filter(|row| row.base.is_some() || row.head.is_some())
        .map(|row| cost_row(row, identical, bars(Concerns::Costs), name_of_anchor.as_deref()))
        .collect();
    rows.extend(timeless(&both).into_iter().map(|row| exact_row(row, bars(Concerns::Answers), &apart)));
    let [variant, runtime, device, _] = key(head, after);
    let file =
        |case: &CasePlan| ModelFile { path: case.model_path.clone(), sha256: case.model_sha256.clone() };
    let (base, head) = (file(before), file(after));
    CaseDiff { variant, runtime, device, base, head, identical, apart, rows, interleaved: None }
}

/// Another case whose file is the same in both runs and that was alive together with this one: what the device itself
/// gained or lost shows there too, and cancels. The reference first.
fn anchor(
    base: &RunRecord,
    head: &RunRecord,
    (b, h): (CaseIndex, CaseIndex),
    matched: &[(CaseIndex, CaseIndex)],
) -> Option<(CaseIndex, CaseIndex)> {
    let is_reference =
        |case: CaseIndex| head.plan.contrasts.iter().any(|c| c.candidate == h && c.reference == case);
    let beside = |record: &RunRecord, one, other| {
        record.plan.measuring.groups.iter().any(|group| group.contains(&one) && group.contains(&other))
    };
    let fits = |(other_b, other_h): &&(CaseIndex, CaseIndex)| {
        let (before, after) = (&base.plan.cases[*other_b], &head.plan.cases[*other_h]);
        *other_h != h
            && before.model_sha256 == after.model_sha256
            && after.runtime == head.plan.cases[h].runtime
            && beside(base, b, *other_b)
            && beside(head, h, *other_h)
    };
    matched.iter().filter(fits).min_by_key(|(_, other)| !is_reference(*other)).copied()
}

/// A record with the units of both runs, in which each pair of cases are two neighbours, the base's first; the first
/// pair is its only contrast.
fn together(base: &RunRecord, head: &RunRecord, pairs: &[(CaseIndex, CaseIndex)]) -> RunRecord {
    let mut plan = head.plan.clone();
    plan.devices.truncate(1);
    let of = |record: &RunRecord, case: CaseIndex| CasePlan { device: 0, ..record.plan.cases[case].clone() };
    plan.cases = pairs.iter().flat_map(|(b, h)| [of(base, *b), of(head, *h)]).collect();
    plan.contrasts = vec![Contrast { kind: ContrastKind::Reference, reference: 0, candidate: 1 }];
    plan.measuring.groups.clear();
    plan.canaries = None;
    let in_base = |case| pairs.iter().position(|(b, _)| *b == case).map(|at| 2 * at);
    let in_head = |case| pairs.iter().position(|(_, h)| *h == case).map(|at| 2 * at + 1);
    let units = base.units.iter().filter_map(|unit| part(unit, in_base));
    RunRecord {
        devices: vec![None],
        facts: vec![None; plan.cases.len()],
        units: units.chain(head.units.iter().filter_map(|unit| part(unit, in_head))).collect(),
        losses: Vec::new(),
        finished: head.finished.clone(),
        seal: head.seal.clone(),
        plan,
    }
}

/// The trials of a unit that are looked at, under their new numbers; `None` without any.
fn part(unit: &UnitRecord, number: impl Fn(CaseIndex) -> Option<CaseIndex>) -> Option<UnitRecord> {
    let trial = |trial: &TrialRecord| Some(TrialRecord { case: number(trial.case)?, ..trial.clone() });
    let trials: Vec<TrialRecord> = match unit.purpose {
        Purpose::Performance | Purpose::Accuracy => unit.trials.iter().filter_map(trial).collect(),
        Purpose::Confirmation | Purpose::Profile => Vec::new(),
    };
    (!trials.is_empty()).then(|| UnitRecord {
        cooled_down: unit.cooled_down.clone(),
        before: unit.before.clone(),
        after: unit.after.clone(),
        dropped_blocks: unit.dropped_blocks.clone(),
        ..UnitRecord::new(unit.unit, 0, unit.purpose, unit.seed, trials)
    })
}

fn cost_row(row: AcrossRow, identical: bool, barred: bool, anchor: Option<&str>) -> Row {
    let mut notes: Vec<String> = row.reasons.iter().map(in_words).collect();
    let (mut change, mut interval) = (None, None);
    let answer = match row.found {
        Found::Nothing => {
            notes.insert(0, "not measured in two units of both runs".to_owned());
            Answer::Inconclusive
        }
        Found::Broken => Answer::Invalid,
        Found::Exact { ratio, differs } => {
            change = Some(ratio);
            notes.insert(0, "the same number in every process of a run".to_owned());
            if differs { Answer::NeedsConfirmation } else { Answer::Equivalent }
        }
        Found::Ratio { ratio, anchored, differs, location } => {
            (change, interval) = (Some(ratio.point), Some(ratio.interval));
            let anchor =
                anchor.filter(|_| anchored).map(|name| format!("relative to {name}, the same file in both"));
            notes.splice(0..0, anchor);
            notes.splice(0..0, location.map(|location| format!("{} of a process", location.name())));
            if differs { Answer::NeedsConfirmation } else { Answer::Inconclusive }
        }
    };
    if answer == Answer::NeedsConfirmation {
        notes.insert(0, looks(row.metric, change).to_owned());
    }
    let answer = match answer {
        _ if barred => Answer::NotComparable,
        Answer::Invalid => Answer::Invalid,
        _ if identical => Answer::IdenticalArtefact,
        answer => answer,
    };
    if barred {
        (change, interval) = (None, None);
        notes.clear();
    }
    Row {
        metric: row.metric.name,
        unit: row.metric.unit,
        base: row.base,
        head: row.head,
        change,
        low: interval.map(|i| i.low),
        high: interval.map(|i| i.high),
        answer,
        notes,
    }
}

fn looks(metric: &Metric, ratio: Option<f64>) -> &'static str {
    let higher = ratio.is_some_and(|ratio| ratio > 1.0);
    if higher == (metric.better == Direction::Higher) { "looks better" } else { "looks worse" }
}

/// In words of runs: the candidate is the head.
fn in_words(reason: &Reason) -> String {
    reason.to_string().replace("the candidate", "the head").replace("the reference", "the base")
}

fn exact_row(row: ContrastRow, barred: bool, apart: &[Apart]) -> Row {
    let size = row.metric.name == "model_bytes";
    let barred = barred && !size;
    let answer = match row.verdict {
        _ if barred => Answer::NotComparable,
        None => Answer::Shown,
        Some(Verdict::Better) => Answer::Better,
        Some(Verdict::Worse) => Answer::Worse,
        Some(Verdict::Equivalent) => Answer::Equivalent,
        Some(Verdict::Inconclusive) => Answer::Inconclusive,
        Some(Verdict::Invalid) => Answer::Invalid,
    };
    let mut notes: Vec<String> = row.reasons.iter().map(in_words).collect();
    let mixed = |a: &&Apart| matches!(a.what, "version of the runtime" | "kernels of the runtime" | "agent");
    if !size && !barred {
        let also = |a: &Apart| format!("the {} changed too: {} to {}", a.what, a.base, a.head);
        notes.extend(apart.iter().filter(mixed).map(also));
    }
    let (change, interval) = match &row.evidence {
        _ if barred => (None, None),
        Evidence::Score(e) => (Some(e.difference.point), Some(e.difference.interval)),
        _ if is_cost(&row) => (ratio_of(&row), None),
        Evidence::Share(e) => (None, Some(e.interval)),
        _ => (None, None),
    };
    Row {
        metric: row.metric.name,
        unit: row.metric.unit,
        base: row.reference,
        head: row.candidate,
        change,
        low: interval.map(|i| i.low),
        high: interval.map(|i| i.high),
        answer,
        notes: if barred { Vec::new() } else { notes },
    }
}
