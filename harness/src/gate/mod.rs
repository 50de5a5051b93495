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
use rules::{Fail, Gate, MISSING, Note, Table};
use std::path::PathBuf;

pub(crate) use rules::Rules;

/// Arguments of a gate.
#[derive(Debug, clap::Args)]
pub(crate) struct GateArgs {
    /// Rules of the gate, a file with [[gate]], [[require]] and [[allow]] [default: no variant may be worse in latency,
    /// peak memory, size, accuracy or agreement]
    #[arg(long, value_name = "FILE")]
    gates: Option<PathBuf>,
    /// What must be there and be shown to be no worse: a file with [[require]], in addition to the rules
    #[arg(long, value_name = "FILE")]
    require: Option<PathBuf>,
    /// What may be worse: a file with [[allow]], in addition to the rules
    #[arg(long, value_name = "FILE")]
    allow: Option<PathBuf>,
    /// Answers that fail where a rule does not say: worse, or undecided, so that inconclusive fails too
    /// [default: worse]
    #[arg(long, value_name = "ANSWERS")]
    fail: Option<Fail>,
    /// End with 1 when not every node of a model ran on the backend that was asked for
    #[arg(long)]
    require_full_delegation: bool,
}

impl GateArgs {
    /// Whether any of them was given.
    pub(crate) fn any(&self) -> bool {
        self.files().iter().any(|(_, file)| file.is_some()) || self.fail.is_some()
    }

    fn files(&self) -> [(&'static str, &Option<PathBuf>); 3] {
        [("--gates", &self.gates), ("--require", &self.require), ("--allow", &self.allow)]
    }

    /// The flags that ask for this gate again.
    pub(crate) fn said(&self, gate: bool) -> String {
        let mut said = if gate { " --gate".to_owned() } else { String::new() };
        for (flag, path) in self.files().into_iter().filter_map(|(flag, file)| Some((flag, file.as_ref()?))) {
            said.push_str(&format!(" {flag} {}", path.display()));
        }
        if self.require_full_delegation {
            said.push_str(" --require-full-delegation");
        }
        match self.fail {
            Some(Fail::Worse) => said.push_str(" --fail worse"),
            Some(Fail::Undecided) => said.push_str(" --fail undecided"),
            None => {}
        }
        said
    }

    /// The rules for a command that gates only when it is asked to.
    ///
    /// # Errors
    /// As [`GateArgs::rules`].
    pub(crate) fn rules_if(&self, asked: bool) -> CommandResult<Option<Rules>> {
        match (asked || self.any(), self.require_full_delegation) {
            (true, _) => self.rules().map(Some),
            (false, true) => Ok(Some(Rules { full_delegation: true, ..Rules::default() })),
            (false, false) => Ok(None),
        }
    }

    /// The rules, read and checked before anything is measured.
    ///
    /// # Errors
    /// A file is wrong.
    pub(crate) fn rules(&self) -> CommandResult<Rules> {
        let read = |path: &Option<PathBuf>, table| path.as_deref().map(|path| Rules::read(path, table));
        let mut rules = read(&self.gates, Table::Gate).transpose()?.unwrap_or_else(Rules::usual);
        rules.required.extend(read(&self.require, Table::Require).transpose()?.unwrap_or_default().required);
        rules.allowed.extend(read(&self.allow, Table::Allow).transpose()?.unwrap_or_default().allowed);
        for gate in &mut rules.gates {
            gate.fail = gate.fail.or(self.fail);
        }
        rules.full_delegation = self.require_full_delegation;
        Ok(rules)
    }
}

/// What a rule thinks of a row.
#[derive(Debug, PartialEq)]
enum Finding<'a> {
    Fails,
    /// It would fail, but for this.
    Allowed(&'a Note),
    /// It fails: the exception does not hold any more.
    Expired(&'a Note),
    /// Something broke; this first.
    Invalid(Option<&'a Reason>),
    /// The device tells nothing of it.
    Unmeasured,
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

/// What is said, and what comes of it.
#[derive(Default)]
struct Judged {
    lines: Vec<String>,
    looked_at: usize,
    failed: bool,
    incomplete: bool,
}

fn judge(verdicts: &Verdicts, plan: &Plan, rules: &Rules, today: Date) -> (Vec<String>, Exit) {
    let mut all = Judged::default();
    for gate in &rules.gates {
        let found = all.look_at(gate, "", verdicts, plan, &rules.allowed, today);
        if !found && !gate.optional {
            all.incomplete = true;
            all.lines.push(format!("the rule on {} finds nothing to look at in this run", about(gate)));
        }
    }
    for required in &rules.required {
        let Note { last_day, reason, .. } = required;
        let gate = required.gate();
        if *last_day < today {
            all.lines.push(format!("{} was required until {last_day}: {reason}", about(&gate)));
        } else if !all.look_at(&gate, reason, verdicts, plan, &rules.allowed, today) {
            all.incomplete = true;
            all.lines
                .push(format!("{} is required, and there is nothing in this run: {reason}", about(&gate)));
        }
    }
    if rules.full_delegation {
        all.look_at_proofs(verdicts, plan);
    }
    all.look_for_missing(plan, &rules.allowed, today);
    all.name_idle_exceptions(verdicts, plan, &rules.allowed);
    if all.looked_at == 0 && !(rules.gates.is_empty() && rules.required.is_empty()) {
        all.incomplete = true;
        all.lines.push("nothing is compared with a reference, so nothing can pass".to_owned());
    }
    let exit = match (all.failed, all.incomplete) {
        (true, _) => Exit::GateFailed,
        (false, true) => Exit::Incomplete,
        (false, false) => Exit::Fine,
    };
    (all.lines, exit)
}

impl Judged {
    /// Looks at every row that a rule is about; false when there is none. `required`: why it must pass, if it must.
    fn look_at(
        &mut self,
        gate: &Gate,
        required: &str,
        verdicts: &Verdicts,
        plan: &Plan,
        allowed: &[Note],
        today: Date,
    ) -> bool {
        let mut found = false;
        for row in verdicts.rows.iter().filter(|row| concerns(gate, row, plan)) {
            let finding = look(gate, row, plan, allowed, today);
            if finding != Finding::Unmeasured {
                found = true;
                self.looked_at += 1;
            }
            self.failed |= matches!(finding, Finding::Fails | Finding::Expired(_));
            self.incomplete |= matches!(finding, Finding::Invalid(_) | Finding::Unanswered(_));
            let is = row.verdict.map(Verdict::word).unwrap_or_default();
            if let Some(words) = in_words(&finding, is) {
                let why = if required.is_empty() { String::new() } else { format!("; required: {required}") };
                self.lines.push(format!("{}: {} {words}{why}", variant_of(row, plan), row.metric.title));
            }
        }
        found
    }

    /// Every node of every variant that somebody asked about must have run where it was asked to.
    fn look_at_proofs(&mut self, verdicts: &Verdicts, plan: &Plan) {
        for (case, summary) in plan.variants().iter().zip(&verdicts.cases) {
            let proof = summary.proof.as_ref();
            let (on, of) = proof.map_or((0, 0), |p| (p.nodes_on_backend, p.nodes_total));
            if on == of && of > 0 {
                continue;
            }
            self.failed = true;
            let first = proof.and_then(|p| p.fallbacks.first());
            let why =
                first.map(|f| format!("; the first of the rest, {}: {}", f.op, f.reason)).unwrap_or_default();
            let (variant, runtime) = (&case.variant, &case.runtime);
            self.lines.push(format!(
                "{variant}: {on} of {of} nodes are proven to have run on {runtime}, all are required{why}"
            ));
        }
    }

    fn look_for_missing(&mut self, plan: &Plan, allowed: &[Note], today: Date) {
        for variant in gone(plan) {
            let of_it = |note: &&Note| note.variant == *variant && note.metric == MISSING;
            let finding = excused(true, allowed.iter().filter(of_it), today);
            self.failed |= matches!(finding, Finding::Fails | Finding::Expired(_));
            self.lines.extend(in_words(&finding, "missing").map(|words| format!("{variant}: {words}")));
        }
    }

    fn name_idle_exceptions(&mut self, verdicts: &Verdicts, plan: &Plan, allowed: &[Note]) {
        let is_there = |note: &&Note| {
            verdicts.rows.iter().any(|row| is_about(note, row, plan))
                || note.metric == MISSING && gone(plan).contains(&note.variant)
        };
        for idle in allowed.iter().filter(|note| !is_there(note)) {
            let (metric, variant) = (&idle.metric, &idle.variant);
            self.lines.push(format!("the exception for {metric} of {variant} concerns nothing in this run"));
        }
    }
}

/// What a rule looks at, in words.
fn about(gate: &Gate) -> String {
    let mut words = gate.metric.clone();
    for (what, name) in [("of", &gate.variant), ("in the suite", &gate.suite), ("on", &gate.device)] {
        words.extend(name.iter().map(|name| format!(" {what} {name}")));
    }
    words
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
    let judged = row.verdict.is_some() || row.reasons.contains(&Reason::NotMeasured);
    of_variants
        && judged
        && row.metric.name == gate.metric
        && gate.variant.as_ref().is_none_or(|variant| *variant == candidate.variant.to_string())
        && gate.suite.as_ref().is_none_or(|suite| *suite == plan.suite.name)
        && gate.device.as_ref().is_none_or(|name| is_on(name, candidate.device, plan))
}

/// Whether the device has this id or tag.
fn is_on(name: &str, device: usize, plan: &Plan) -> bool {
    plan.devices.get(device).is_some_and(|d| d.id == name || d.tags.iter().any(|tag| tag == name))
}

/// Whether an exception is about a row.
fn is_about(note: &Note, row: &ContrastRow, plan: &Plan) -> bool {
    let Some(candidate) = plan.cases.get(row.cases.candidate) else { return false };
    row.metric.name == note.metric
        && candidate.variant.to_string() == note.variant
        && note.device.as_ref().is_none_or(|name| is_on(name, candidate.device, plan))
}

fn variant_of(row: &ContrastRow, plan: &Plan) -> String {
    plan.cases.get(row.cases.candidate).map(|case| case.variant.to_string()).unwrap_or_default()
}

fn look<'a>(gate: &Gate, row: &'a ContrastRow, plan: &Plan, allowed: &'a [Note], today: Date) -> Finding<'a> {
    let too_few = row.reasons.iter().find(|r| matches!(r, Reason::TooFewUnits { .. } | Reason::NoUnits));
    let fails = match (row.verdict, too_few) {
        (Some(Verdict::Worse), _) => true,
        (Some(Verdict::Inconclusive), Some(why)) => return Finding::Unanswered(why),
        (Some(Verdict::Inconclusive), None) if gate.fail == Some(Fail::Undecided) => true,
        (Some(Verdict::Inconclusive), None) => return Finding::Undecided,
        (Some(Verdict::Invalid), _) => return Finding::Invalid(row.reasons.first()),
        (None, _) => return Finding::Unmeasured,
        (Some(Verdict::Better | Verdict::Equivalent), _) => false,
    };
    excused(fails, allowed.iter().filter(|note| is_about(note, row, plan)), today)
}

/// What fails, unless there is an exception that still holds.
fn excused<'a>(fails: bool, exceptions: impl Iterator<Item = &'a Note>, today: Date) -> Finding<'a> {
    match (fails, exceptions.max_by_key(|note| note.last_day)) {
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
        Finding::Invalid(None) => Some("is invalid".to_owned()),
        Finding::Invalid(Some(why)) => Some(format!("is invalid: {why}")),
        Finding::Unmeasured => Some("was not measured on this device".to_owned()),
        Finding::Allowed(a) => Some(format!("is {is}, and allowed until {}: {}", a.last_day, a.reason)),
        Finding::Expired(a) => Some(format!("is {is}, and was allowed until {}: {}", a.last_day, a.reason)),
    }
}

#[cfg(test)]
mod tests;
