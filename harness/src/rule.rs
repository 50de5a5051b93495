//! The stopping rule of a run: reads the record as the report will, and asks `reports` whether the
//! comparisons of a group are decided. No threshold of its own.

use crate::dispatch::{Answer, Question, Rule};
use protocol::CaseIndex;
use reports::{record::RunRecord, store, verdict::next_step};
use stats::sequential::{MIN_UNITS, Next};
use std::{path::Path, sync::Arc};

/// The rule that the product uses.
pub(crate) fn rule() -> Rule {
    Arc::new(|dir: &Path, questions: &[Question]| {
        let record = store::load(dir).map_err(|e| e.to_string())?;
        Ok(questions.iter().map(|question| answer(&record, question)).collect())
    })
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
        return if more == 0 { Answer::Decided } else { Answer::Continue(more) };
    }
    let mut plan = record.plan.clone();
    plan.contrasts.retain(|c| alive(c.candidate) && alive(c.reference));
    let device = group.first().and_then(|case| plan.cases.get(*case)).map_or(0, |case| case.device);
    match next_step(&plan, &record.units, device) {
        // with every comparison failed there is nothing to wait for
        Next::Stop => Answer::Decided,
        // units that did not count are made up for by asking again
        Next::Continue { units } => {
            let units = u32::try_from(units).unwrap_or(u32::MAX);
            Answer::Continue(units.saturating_sub(question.done).max(1))
        }
    }
}
