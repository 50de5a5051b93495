//! What `--gate` asks of the verdicts: no variant may be worse than the reference in what it costs to run or in what
//! it gets right. Decides no verdict itself.

use crate::{exit::Exit, progress::say};
use protocol::ContrastKind;
use reports::{
    record::Plan,
    verdict::{ContrastRow, Verdict, Verdicts},
};

/// What a gate looks at. Start-up is shown in the report and left out here: few suites are about it.
const GATED: &[&str] = &["latency_ns", "memory_peak_bytes", "model_bytes", "accuracy_top1", "agreement_top1"];

/// Answers the gate, and says on stderr what did not pass and what passed undecided.
pub(crate) fn tell(verdicts: &Verdicts, plan: &Plan) -> Exit {
    let rows: Vec<&ContrastRow> = verdicts.rows.iter().filter(|row| is_gated(row)).collect();
    let with = |verdict: Verdict| rows.iter().filter(move |row| row.verdict == Some(verdict));
    let told = |verdict: Verdict, words: &str| {
        for row in with(verdict) {
            let candidate = plan.cases.get(row.cases.candidate);
            let variant = candidate.map(|case| case.variant.to_string()).unwrap_or_default();
            say(&format!("gate: {variant}: {} {words}", row.metric.title));
        }
    };
    told(Verdict::Inconclusive, "is inconclusive, and passes");
    told(Verdict::Invalid, "is invalid");
    told(Verdict::Worse, "is worse");
    let exit = answer(&rows);
    if rows.is_empty() {
        say("gate: nothing is compared with the reference, so nothing can pass");
    }
    exit
}

fn is_gated(row: &ContrastRow) -> bool {
    row.cases.kind == ContrastKind::Reference && row.verdict.is_some() && GATED.contains(&row.metric.name)
}

fn answer(rows: &[&ContrastRow]) -> Exit {
    let any = |verdict: Verdict| rows.iter().any(|row| row.verdict == Some(verdict));
    match (any(Verdict::Worse), any(Verdict::Invalid) || rows.is_empty()) {
        (true, _) => Exit::GateFailed,
        (false, true) => Exit::Incomplete,
        (false, false) => Exit::Fine,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::{Contrast, metric};
    use reports::verdict::Evidence;

    fn gate(rows: &[(ContrastKind, &str, Verdict)]) -> Exit {
        let row = |(kind, name, verdict): &(ContrastKind, &str, Verdict)| ContrastRow {
            contrast: 0,
            cases: Contrast { kind: *kind, candidate: 1, reference: 0 },
            metric: metric(name).unwrap(),
            candidate: None,
            reference: None,
            verdict: Some(*verdict),
            reasons: Vec::new(),
            p_value: None,
            q_value: None,
            evidence: Evidence::None,
        };
        let verdicts = Verdicts { cases: Vec::new(), rows: rows.iter().map(row).collect() };
        tell(&verdicts, &crate::testing::plan())
    }

    #[test]
    fn worse_fails_invalid_is_incomplete_and_inconclusive_passes() {
        use ContrastKind::{Format, Reference};
        use Verdict::{Better, Equivalent, Inconclusive, Invalid, Worse};
        let size = (Reference, "model_bytes", Better);
        assert_eq!(gate(&[size, (Reference, "latency_ns", Equivalent)]), Exit::Fine);
        assert_eq!(gate(&[size, (Reference, "latency_ns", Inconclusive)]), Exit::Fine);
        assert_eq!(gate(&[size, (Reference, "latency_ns", Invalid)]), Exit::Incomplete);
        for name in GATED {
            let invalid = (Reference, "latency_ns", Invalid);
            assert_eq!(gate(&[size, invalid, (Reference, name, Worse)]), Exit::GateFailed, "{name}");
        }
        assert_eq!(gate(&[size, (Reference, "load_ns", Worse)]), Exit::Fine, "start-up is not gated");
        assert_eq!(gate(&[size, (Format, "latency_ns", Worse)]), Exit::Fine, "only the reference counts");
        assert_eq!(gate(&[(Format, "latency_ns", Better)]), Exit::Incomplete, "nothing was asked");
        assert_eq!(gate(&[]), Exit::Incomplete);
    }
}
