//! The stopping rule of a run: reads the record as the report will, and asks `reports` whether the
//! comparisons of a group are decided. No threshold of its own.

use crate::dispatch::{Answer, Precision, Question, Rule, Ruling, Standing};
use protocol::CaseIndex;
use reports::{
    record::{Canary, Purpose, RunRecord},
    store,
    verdict::{
        ContrastRow, Evidence, Reason, Verdict, confirmable, iterations_per_side, latencies, next_step,
    },
};
use stats::sequential::{MIN_UNITS, Next};
use std::{collections::BTreeSet, path::Path, sync::Arc};

/// The rule that the product uses.
pub(crate) fn rule() -> Rule {
    Arc::new(|dir: &Path, questions: &[Question]| {
        let mut record = store::load(dir).map_err(|e| e.to_string())?;
        let watching = record.plan.canaries.iter().flat_map(|all| &all.of);
        let watched: Vec<_> = watching.flat_map(Canary::contrasts).collect();
        record.plan.contrasts.extend(watched);
        keep_asked(&mut record, questions);
        let found = latencies(&record);
        let again = questions.iter().any(|q| q.purpose == Purpose::Confirmation);
        let worse = if again { confirmable(&record) } else { Vec::new() };
        let answer = |question: &Question| match question.purpose {
            Purpose::Confirmation => confirm(&record, &worse, question),
            _ => answer(&record, question),
        };
        let answers = questions.iter().map(answer).collect();
        Ok(Ruling { answers, standing: standing(&found, questions) })
    })
}

/// Leaves out what was not asked about, so that nobody works it out: a plan may have hundreds of groups.
fn keep_asked(record: &mut RunRecord, questions: &[Question]) {
    let groups = questions.iter().filter_map(|q| record.plan.measuring.groups.get(q.group));
    let cases: BTreeSet<CaseIndex> = groups.flatten().copied().collect();
    record.plan.contrasts.retain(|c| cases.contains(&c.candidate) && cases.contains(&c.reference));
    record.units.retain(|unit| unit.trials.iter().any(|trial| cases.contains(&trial.case)));
}

/// How the latency contrasts of the groups that are asked about stand, once there is something to see.
fn standing(rows: &[ContrastRow], questions: &[Question]) -> Option<Standing> {
    let units = questions
        .iter()
        .filter(|q| q.purpose == Purpose::Performance)
        .map(|q| q.done)
        .max()
        .filter(|units| *units > 0)?;
    let precision = |row: &ContrastRow| {
        let open = matches!(row.verdict, None | Some(Verdict::Inconclusive | Verdict::Invalid));
        let decision = match &row.evidence {
            Evidence::Ratio(evidence) => evidence.decision,
            _ => None,
        };
        let half = decision.map(|interval| (interval.high - interval.low) / 2.0);
        Precision { cases: row.cases, decided: !open, half }
    };
    let found = Standing { units, contrasts: rows.iter().map(precision).collect() };
    (!found.contrasts.is_empty()).then_some(found)
}

fn answer(record: &RunRecord, question: &Question) -> Answer {
    let Some(group) = record.plan.measuring.groups.get(question.group) else { return Answer::Decided };
    let alive = |case: CaseIndex| group.contains(&case) && !question.left_out.contains(&case);
    let inside = |case: CaseIndex| group.contains(&case);
    let asked = record.plan.contrasts.iter().any(|c| inside(c.candidate) && inside(c.reference));
    let least = u32::try_from(MIN_UNITS).unwrap_or(u32::MAX);
    if !asked {
        // nothing is compared: enough units for a look at the spread
        let more = least.saturating_sub(question.done);
        return match more {
            0 => Answer::Decided,
            units => Answer::Continue { units, only: None, iterations: None },
        };
    }
    let mut plan = record.plan.clone();
    plan.contrasts.retain(|c| alive(c.candidate) && alive(c.reference));
    let device = group.first().and_then(|case| plan.cases.get(*case)).map_or(0, |case| case.device);
    match next_step(&plan, &record.units, device) {
        // with every comparison failed there is nothing to wait for
        Next::Stop => Answer::Decided,
        // units that did not count are made up for by asking again
        Next::Continue { units } => {
            let units = u32::try_from(units).unwrap_or(u32::MAX).saturating_sub(question.done).max(1);
            let iterations = iterations_per_side(&plan, &record.units, question.group);
            Answer::Continue { units, only: None, iterations }
        }
    }
}

/// What was found worse within a group and is not confirmed yet needs fresh units, of its two sides alone.
fn confirm(record: &RunRecord, rows: &[ContrastRow], question: &Question) -> Answer {
    let Some(group) = record.plan.measuring.groups.get(question.group) else { return Answer::Decided };
    let alive = |case: CaseIndex| group.contains(&case) && !question.left_out.contains(&case);
    // a model that was slowed on purpose is slower: once is enough
    let slowed = |case: CaseIndex| {
        record.plan.is_canary(case)
            && record.plan.cases.get(case).is_some_and(|c| c.slowdown_permille.is_some())
    };
    let (mut cases, mut more) = (BTreeSet::new(), usize::MAX);
    for row in rows.iter().filter(|row| !slowed(row.cases.candidate)) {
        let (candidate, reference) = (row.cases.candidate, row.cases.reference);
        for reason in row.reasons.iter().filter(|_| alive(candidate) && alive(reference)) {
            if let Reason::NotConfirmed { units, next } = reason {
                cases.extend([candidate, reference]);
                more = more.min(next.saturating_sub(*units));
            }
        }
    }
    if cases.is_empty() {
        return Answer::Decided;
    }
    Answer::Continue {
        units: u32::try_from(more).unwrap_or(u32::MAX),
        only: Some(cases.into_iter().collect()),
        iterations: iterations_per_side(&record.plan, &record.units, question.group),
    }
}
