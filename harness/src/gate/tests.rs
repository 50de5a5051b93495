//! Answers of the gate to rows that were made up.

use super::*;
use protocol::{CaseIndex, Contrast, metric};
use reports::{
    record::{CasePlan, DevicePlan},
    verdict::Evidence,
};

const TODAY: Date = Date::constant(2027, 1, 15);

/// Two variants and a second runtime on a device with a tag.
fn plan() -> Plan {
    let mut plan = crate::testing::plan();
    plan.suite.name = "vision".to_owned();
    let mut device = DevicePlan::new("pi5", "ssh");
    device.tags = vec!["pi".to_owned()];
    plan.devices = vec![device];
    let case = |variant: &str, runtime: &str| CasePlan {
        variant: variant.parse().unwrap(),
        runtime: runtime.parse().unwrap(),
        device: 0,
        threads: 1,
        model_path: String::new(),
        model_sha256: protocol::Sha256Hex::of_bytes(b""),
        model_bytes: 1,
        slowdown_permille: None,
        library: None,
        options: std::collections::BTreeMap::new(),
    };
    plan.cases =
        vec![case("m@base", "builtin/cpu"), case("m@head", "builtin/cpu"), case("m@base", "litert/xnnpack")];
    plan
}

fn row((kind, candidate, name, verdict): (ContrastKind, CaseIndex, &str, Verdict)) -> ContrastRow {
    ContrastRow {
        contrast: 0,
        cases: Contrast { kind, candidate, reference: 0 },
        metric: metric(name).unwrap(),
        candidate: None,
        reference: None,
        verdict: Some(verdict),
        reasons: Vec::new(),
        p_value: None,
        q_value: None,
        evidence: Evidence::None,
    }
}

fn answer(rules: &Rules, rows: &[(ContrastKind, CaseIndex, &str, Verdict)]) -> (String, Exit) {
    let rows = rows.iter().map(|r| row(*r)).collect();
    let (lines, exit) =
        judge(&Verdicts { cases: Vec::new(), rows, canaries: Vec::new() }, &plan(), rules, TODAY);
    (lines.join("\n"), exit)
}

use ContrastKind::{Format, Reference};
use Verdict::{Better, Equivalent, Inconclusive, Invalid, Worse};

#[test]
fn worse_fails_invalid_is_incomplete_and_inconclusive_passes() {
    let rules = Rules::usual();
    let exit = |rows: &[(ContrastKind, CaseIndex, &str, Verdict)]| answer(&rules, rows).1;
    let size = (Reference, 1, "model_bytes", Better);
    assert_eq!(exit(&[size, (Reference, 1, "latency_ns", Equivalent)]), Exit::Fine);
    assert_eq!(exit(&[size, (Reference, 1, "latency_ns", Inconclusive)]), Exit::Fine);
    assert_eq!(exit(&[size, (Reference, 1, "latency_ns", Invalid)]), Exit::Incomplete);
    for gate in &rules.gates {
        let invalid = (Reference, 1, "latency_ns", Invalid);
        assert_eq!(exit(&[size, invalid, (Reference, 1, &gate.metric, Worse)]), Exit::GateFailed);
    }
    assert_eq!(exit(&[size, (Reference, 1, "load_ns", Worse)]), Exit::Fine, "start-up is not gated");
    assert_eq!(exit(&[size, (Format, 1, "latency_ns", Worse)]), Exit::Fine, "only the reference counts");
    assert_eq!(exit(&[size, (Reference, 2, "latency_ns", Worse)]), Exit::Fine, "another runtime");
    assert_eq!(exit(&[(Format, 1, "latency_ns", Better)]), Exit::Incomplete, "nothing was asked");
    assert_eq!(exit(&[]), Exit::Incomplete);
}

fn rules(text: &str) -> Rules {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gates.toml");
    std::fs::write(&path, text).unwrap();
    Rules::read(&path, Table::Gate).unwrap()
}

#[test]
fn a_rule_that_finds_nothing_is_no_pass() {
    let latency = [(Reference, 1, "latency_ns", Better)];
    let with = |more: &str| answer(&rules(&format!("[[gate]]\nmetric = \"latency_ns\"\n{more}")), &latency);
    assert_eq!(with(""), (String::new(), Exit::Fine));
    assert_eq!(with("suite = \"vision\"\ndevice = \"pi\"\n").1, Exit::Fine);
    assert_eq!(with("device = \"pi5\"\n").1, Exit::Fine);
    assert_eq!(with("variant = \"m@head\"\n").1, Exit::Fine);
    for other in ["suite = \"audio\"\n", "device = \"pixel\"\n", "variant = \"m@haed\"\n"] {
        let (said, exit) = with(other);
        assert!(exit == Exit::Incomplete && said.contains("finds nothing to look at"), "{said}");
        let named = other.split('"').nth(1).unwrap();
        assert!(said.starts_with("the rule on latency_ns") && said.contains(named), "{said}");
    }
    let two = rules("[[gate]]\nmetric = \"latency_ns\"\n[[gate]]\nmetric = \"accuracy_top1\"\n");
    assert_eq!(answer(&two, &latency).1, Exit::Incomplete);
    let two =
        rules("[[gate]]\nmetric = \"latency_ns\"\n[[gate]]\nmetric = \"accuracy_top1\"\noptional = true\n");
    assert_eq!(answer(&two, &latency).1, Exit::Fine);
}

#[test]
fn what_cannot_be_decided_fails_where_the_rule_says_so() {
    let rules = rules("[[gate]]\nmetric = \"latency_ns\"\nfail = \"undecided\"\n");
    let (said, exit) = answer(&rules, &[(Reference, 1, "latency_ns", Inconclusive)]);
    assert_eq!((said.as_str(), exit), ("m@head: latency, steady state is inconclusive", Exit::GateFailed));
    assert_eq!(answer(&rules, &[(Reference, 1, "latency_ns", Equivalent)]).1, Exit::Fine);
}

#[test]
fn the_command_line_says_what_fails_where_rules_do_not() {
    let open = [(Reference, 1, "latency_ns", Inconclusive), (Reference, 1, "model_bytes", Better)];
    let args =
        |fail| GateArgs { gates: None, require: None, allow: None, fail, require_full_delegation: false };
    let exit = |fail| answer(&args(fail).rules().unwrap(), &open).1;
    assert_eq!(exit(None), Exit::Fine);
    assert_eq!(exit(Some(Fail::Worse)), Exit::Fine);
    assert_eq!(exit(Some(Fail::Undecided)), Exit::GateFailed);
    assert_eq!(args(Some(Fail::Undecided)).said(true), " --gate --fail undecided");
}

#[test]
fn what_is_required_must_be_there_and_be_no_worse() {
    let with = |lines: &str, verdict| {
        let text = format!(
            "[[gate]]\nmetric = \"model_bytes\"\n[[require]]\nvariant = \"m@head\"\nmetric = \"latency_ns\"\n\
             reason = \"ships in May\"\n{lines}"
        );
        let rows = [(Reference, 1, "model_bytes", Better), (Reference, 1, "latency_ns", verdict)];
        answer(&rules(&text), &rows)
    };
    let held = "until = \"2027-01-15\"\n";
    assert_eq!(with(held, Equivalent), (String::new(), Exit::Fine));
    for verdict in [Worse, Inconclusive] {
        let (said, exit) = with(held, verdict);
        assert!(exit == Exit::GateFailed && said.ends_with("; required: ships in May"), "{said}");
    }
    assert_eq!(with(held, Invalid).1, Exit::Incomplete);
    let (said, exit) = with(&format!("{held}device = \"pixel\"\n"), Equivalent);
    assert_eq!(exit, Exit::Incomplete);
    assert!(said.contains("latency_ns of m@head on pixel is required, and there is nothing"), "{said}");
    let (said, exit) = with("until = \"2027-01-14\"\n", Worse);
    assert!(exit == Exit::Fine && said.contains("was required until 2027-01-14: ships in May"), "{said}");
}

#[test]
fn what_was_not_measured_is_named() {
    let mut memory = row((Reference, 1, "memory_peak_bytes", Equivalent));
    (memory.verdict, memory.reasons) = (None, vec![Reason::NotMeasured]);
    let rows = vec![memory, row((Reference, 1, "latency_ns", Equivalent))];
    let verdicts = Verdicts { cases: Vec::new(), rows, canaries: Vec::new() };
    let (lines, exit) = judge(&verdicts, &plan(), &Rules::usual(), TODAY);
    assert_eq!(
        (lines.join("\n").as_str(), exit),
        ("m@head: peak memory was not measured on this device", Exit::Fine)
    );
    let asked = rules("[[gate]]\nmetric = \"memory_peak_bytes\"\n[[gate]]\nmetric = \"latency_ns\"\n");
    let (lines, exit) = judge(&verdicts, &plan(), &asked, TODAY);
    assert_eq!(exit, Exit::Incomplete);
    assert!(lines[1].contains("the rule on memory_peak_bytes finds nothing"), "{lines:?}");
}

#[test]
fn what_is_invalid_says_why() {
    let mut broken = row((Reference, 1, "latency_ns", Invalid));
    broken.reasons.push(Reason::NoUnits);
    let verdicts = Verdicts { cases: Vec::new(), rows: vec![broken], canaries: Vec::new() };
    let (lines, exit) = judge(&verdicts, &plan(), &Rules::usual(), TODAY);
    assert_eq!(exit, Exit::Incomplete);
    assert_eq!(lines, ["m@head: latency, steady state is invalid: no unit holds a value of both sides"]);
}

#[test]
fn too_few_units_are_no_answer() {
    let mut short = row((Reference, 1, "latency_ns", Inconclusive));
    short.reasons.push(Reason::TooFewUnits { units: 2, needed: 6 });
    let verdicts = Verdicts { cases: Vec::new(), rows: vec![short], canaries: Vec::new() };
    let (lines, exit) = judge(&verdicts, &plan(), &Rules::usual(), TODAY);
    assert_eq!(exit, Exit::Incomplete);
    assert!(lines[0].contains("has no answer: 2 units, a call needs 6"), "{lines:?}");
}

#[test]
fn an_exception_holds_for_its_row_and_until_its_day() {
    let worse = [(Reference, 1, "latency_ns", Worse)];
    let with = |variant: &str, metric: &str, until: &str| {
        let allow = format!(
            "variant = \"{variant}\"\nmetric = \"{metric}\"\nreason = \"see #12\"\nuntil = \"{until}\"\n"
        );
        answer(&rules(&format!("[[gate]]\nmetric = \"latency_ns\"\n[[allow]]\n{allow}")), &worse)
    };
    let (said, exit) = with("m@head", "latency_ns", "2027-01-15");
    assert!(exit == Exit::Fine && said.contains("allowed until 2027-01-15: see #12"), "{said}");
    let (said, exit) = with("m@head", "latency_ns", "2027-01-14");
    assert!(exit == Exit::GateFailed && said.contains("was allowed until 2027-01-14"), "{said}");
    assert_eq!(with("m@other", "latency_ns", "2027-02-01").1, Exit::GateFailed);
    assert_eq!(with("m@head", "model_bytes", "2027-02-01").1, Exit::GateFailed);
    let on = |device: &str| with("m@head", "latency_ns", &format!("2027-02-01\"\ndevice = \"{device}"));
    assert_eq!((on("pi").1, on("pixel").1), (Exit::Fine, Exit::GateFailed));
}

#[test]
fn what_is_gone_fails_until_somebody_says_why() {
    let mut plan = plan();
    let gone = vec!["old@head".to_owned()];
    plan.subject = Subject::Versions { base: "b".into(), head: "h".into(), data: None, gone };
    let rows = vec![row((Reference, 1, "latency_ns", Equivalent))];
    let verdicts = Verdicts { cases: Vec::new(), rows, canaries: Vec::new() };
    let mut rules = Rules::usual();
    let (lines, exit) = judge(&verdicts, &plan, &rules, TODAY);
    assert_eq!((lines.join("\n").as_str(), exit), ("old@head: is missing", Exit::GateFailed));
    let mut allow = |last_day| {
        rules.allowed = vec![Note {
            variant: "old@head".to_owned(),
            metric: MISSING.to_owned(),
            device: None,
            reason: "replaced".to_owned(),
            until: String::new(),
            last_day,
        }];
        judge(&verdicts, &plan, &rules, TODAY)
    };
    let (lines, exit) = allow(TODAY);
    assert_eq!((lines.len(), exit), (1, Exit::Fine), "{lines:?}");
    assert!(lines[0].contains("is missing, and allowed until 2027-01-15: replaced"), "{lines:?}");
    assert_eq!(allow(Date::constant(2027, 1, 14)).1, Exit::GateFailed);
}
