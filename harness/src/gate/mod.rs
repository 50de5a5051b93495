//! Whether a run passes: rules looked at row by row. Decides no verdict itself, and says out loud what did not
//! pass, what passed undecided, what an exception let through, and which rule found nothing to look at.

mod rules;

use crate::{
    exit::{CommandResult, Exit},
    progress::say,
};
use jiff::{Timestamp, civil::Date, tz::Offset};
use protocol::ContrastKind;
use reports::{
    record::{Plan, Subject},
    verdict::{ContrastRow, Reason, Verdict, Verdicts},
};
use rules::{Allowed, Fail, Gate, MISSING};
use std::path::PathBuf;

pub(crate) use rules::Rules;

/// Arguments of a gate.
#[derive(Debug, clap::Args)]
pub(crate) struct GateArgs {
    /// Rules and exceptions of the gate; a file with [[gate]] and [[allow]] [default: no variant may be worse in
    /// latency, peak memory, size, accuracy or agreement]
    #[arg(long, value_name = "FILE")]
    pub(crate) gates: Option<PathBuf>,
}

impl GateArgs {
    /// The flags that ask for this gate again.
    pub(crate) fn said(&self, gate: bool) -> String {
        let gate = if gate { " --gate" } else { "" };
        let rules = self.gates.as_ref().map(|path| format!(" --gates {}", path.display()));
        format!("{gate}{}", rules.unwrap_or_default())
    }

    /// The rules, read and checked before anything is measured.
    ///
    /// # Errors
    /// The file is wrong.
    pub(crate) fn rules(&self) -> CommandResult<Rules> {
        self.gates.as_deref().map_or_else(|| Ok(Rules::usual()), Rules::read)
    }
}

/// What a rule thinks of a row.
#[derive(Debug, PartialEq)]
enum Finding<'a> {
    Fails,
    /// It would fail, but for this.
    Allowed(&'a Allowed),
    /// It fails: the exception does not hold any more.
    Expired(&'a Allowed),
    Invalid,
    Undecided,
    /// Too little was measured for any answer.
    Unanswered(&'a Reason),
    Passes,
}

/// Answers the gate, and says on stderr why.
pub(crate) fn tell(verdicts: &Verdicts, plan: &Plan, rules: &Rules) -> Exit {
    let (lines, exit) = judge(verdicts, plan, rules, Offset::UTC.to_datetime(Timestamp::now()).date());
    lines.iter().for_each(|line| say(&format!("gate: {line}")));
    exit
}

fn judge(verdicts: &Verdicts, plan: &Plan, rules: &Rules, today: Date) -> (Vec<String>, Exit) {
    let mut lines = Vec::new();
    let (mut looked_at, mut failed, mut incomplete) = (0, false, false);
    for gate in &rules.gates {
        let rows: Vec<&ContrastRow> = verdicts.rows.iter().filter(|row| concerns(gate, row, plan)).collect();
        looked_at += rows.len();
        if rows.is_empty() && !gate.optional {
            incomplete = true;
            lines.push(format!("the rule on {} finds nothing to look at in this run", gate.metric));
        }
        for row in rows {
            let variant = variant_of(row, plan);
            let finding = look(gate, row, &variant, &rules.allowed, today);
            failed |= matches!(finding, Finding::Fails | Finding::Expired(_));
            incomplete |= matches!(finding, Finding::Invalid | Finding::Unanswered(_));
            let is = row.verdict.map(Verdict::word).unwrap_or_default();
            lines.extend(
                in_words(&finding, is).map(|words| format!("{variant}: {} {words}", row.metric.title)),
            );
        }
    }
    let gone = gone(plan);
    for variant in gone {
        let finding = excused(true, variant, MISSING, &rules.allowed, today);
        failed |= matches!(finding, Finding::Fails | Finding::Expired(_));
        lines.extend(in_words(&finding, "missing").map(|words| format!("{variant}: {words}")));
    }
    let is_there = |a: &Allowed| {
        let of_row = |row: &ContrastRow| row.metric.name == a.metric && variant_of(row, plan) == a.variant;
        verdicts.rows.iter().any(of_row) || a.metric == MISSING && gone.contains(&a.variant)
    };
    for unknown in rules.allowed.iter().filter(|a| !is_there(a)) {
        lines.push(format!(
            "the exception for {} of {} concerns nothing in this run",
            unknown.metric, unknown.variant
        ));
    }
    if looked_at == 0 {
        incomplete = true;
        lines.push("nothing is compared with a reference, so nothing can pass".to_owned());
    }
    let exit = match (failed, incomplete) {
        (true, _) => Exit::GateFailed,
        (false, true) => Exit::Incomplete,
        (false, false) => Exit::Fine,
    };
    (lines, exit)
}

/// Variants that there were before and are not any more.
fn gone(plan: &Plan) -> &[String] {
    match &plan.subject {
        Subject::Versions { gone, .. } => gone,
        Subject::Suite { .. } | Subject::Models { .. } | Subject::Selftest { .. } => &[],
    }
}

/// Whether a rule is about a row.
fn concerns(gate: &Gate, row: &ContrastRow, plan: &Plan) -> bool {
    let case = |index: usize| plan.cases.get(index);
    let (Some(candidate), Some(reference)) = (case(row.cases.candidate), case(row.cases.reference)) else {
        return false;
    };
    // a variant against itself on another runtime is a finding about runtimes
    let of_variants = row.cases.kind == ContrastKind::Reference && candidate.variant != reference.variant;
    let device = plan.devices.get(candidate.device);
    let on = |name: &String| device.is_some_and(|d| d.id == *name || d.tags.contains(name));
    of_variants
        && row.verdict.is_some()
        && row.metric.name == gate.metric
        && gate.suite.as_ref().is_none_or(|suite| *suite == plan.suite.name)
        && gate.device.as_ref().is_none_or(on)
}

fn variant_of(row: &ContrastRow, plan: &Plan) -> String {
    plan.cases.get(row.cases.candidate).map(|case| case.variant.to_string()).unwrap_or_default()
}

fn look<'a>(
    gate: &Gate,
    row: &'a ContrastRow,
    variant: &str,
    allowed: &'a [Allowed],
    today: Date,
) -> Finding<'a> {
    let too_few = row.reasons.iter().find(|r| matches!(r, Reason::TooFewUnits { .. } | Reason::NoUnits));
    let fails = match (row.verdict, too_few) {
        (Some(Verdict::Worse), _) => true,
        (Some(Verdict::Inconclusive), Some(why)) => return Finding::Unanswered(why),
        (Some(Verdict::Inconclusive), None) if gate.fail == Fail::Undecided => true,
        (Some(Verdict::Inconclusive), None) => return Finding::Undecided,
        (Some(Verdict::Invalid) | None, _) => return Finding::Invalid,
        (Some(Verdict::Better | Verdict::Equivalent), _) => false,
    };
    excused(fails, variant, row.metric.name, allowed, today)
}

/// What fails, unless there is an exception that still holds.
fn excused<'a>(fails: bool, variant: &str, metric: &str, allowed: &'a [Allowed], today: Date) -> Finding<'a> {
    let of_it = |a: &&Allowed| a.variant == variant && a.metric == metric;
    let exception = allowed.iter().filter(of_it).max_by_key(|a| a.last_day);
    match (fails, exception) {
        (false, _) => Finding::Passes,
        (true, None) => Finding::Fails,
        (true, Some(exception)) if exception.last_day < today => Finding::Expired(exception),
        (true, Some(exception)) => Finding::Allowed(exception),
    }
}

/// `is`: what it is, in a word.
fn in_words(finding: &Finding<'_>, is: &str) -> Option<String> {
    match finding {
        Finding::Passes => None,
        Finding::Fails => Some(format!("is {is}")),
        Finding::Undecided => Some("is inconclusive, and passes".to_owned()),
        Finding::Unanswered(why) => Some(format!("has no answer: {why} (--time-budget, --units)")),
        Finding::Invalid => Some("is invalid".to_owned()),
        Finding::Allowed(a) => Some(format!("is {is}, and allowed until {}: {}", a.last_day, a.reason)),
        Finding::Expired(a) => Some(format!("is {is}, and was allowed until {}: {}", a.last_day, a.reason)),
    }
}

#[cfg(test)]
mod tests;
