//! What `--gate` asks of the verdicts: nothing against the reference may be worse. Decides no verdict itself.

use crate::{exit::Exit, progress::say};
use protocol::ContrastKind;
use reports::{
    record::Plan,
    verdict::{ContrastRow, Verdict, Verdicts},
};

/// Answers the gate, and says on stderr what did not pass and what passed undecided.
pub(crate) fn tell(verdicts: &Verdicts, plan: &Plan) -> Exit {
    let against = |verdict: Verdict| -> Vec<&ContrastRow> {
        let of_reference = |row: &&ContrastRow| row.cases.kind == ContrastKind::Reference;
        verdicts.rows.iter().filter(of_reference).filter(|row| row.verdict == Some(verdict)).collect()
    };
    let told = |rows: &[&ContrastRow], words: &str| {
        for row in rows {
            let candidate = plan.cases.get(row.cases.candidate);
            let variant = candidate.map(|case| case.variant.to_string()).unwrap_or_default();
            say(&format!("gate: {variant}: {} {words}", row.metric.title));
        }
    };
    let (worse, invalid) = (against(Verdict::Worse), against(Verdict::Invalid));
    told(&against(Verdict::Inconclusive), "is inconclusive, and passes");
    told(&invalid, "is invalid");
    told(&worse, "is worse than the reference's");
    match (worse.is_empty(), invalid.is_empty()) {
        (false, _) => Exit::GateFailed,
        (true, false) => Exit::Incomplete,
        (true, true) => Exit::Fine,
    }
}
