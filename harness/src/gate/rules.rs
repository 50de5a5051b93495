//! The rules of a gate and where they come from: `gates.toml`, or what is usual. A rule says which rows of the
//! verdicts it looks at and which answers fail; a requirement names a row that must be there and be shown to be no
//! worse, and an exception lets one pass, each for a reason and until a day.

use crate::{
    exit::{CommandResult, Failure},
    unknown::unknown,
};
use jiff::civil::Date;
use protocol::{METRICS, Task};
use serde::Deserialize;
use std::{fs, path::Path};

/// Longest file of rules that is read.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// The costs that a gate looks at without rules of its own, beside every score. Start-up is shown in the report and
/// left out here: few suites are about it.
const USUAL_COSTS: [&str; 3] = ["latency_ns", "memory_peak_bytes", "model_bytes"];

/// What an exception names instead of a metric: the variant is gone, and may be.
pub(crate) const MISSING: &str = "missing";

/// Rules, requirements and exceptions.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rules {
    /// Any of them fails the gate.
    #[serde(default, rename = "gate")]
    pub(crate) gates: Vec<Gate>,
    /// What must be there and be shown to be no worse.
    #[serde(default, rename = "require")]
    pub(crate) required: Vec<Note>,
    /// What is let through.
    #[serde(default, rename = "allow")]
    pub(crate) allowed: Vec<Note>,
    /// Every node must have run on the backend that was asked for.
    #[serde(skip)]
    pub(crate) full_delegation: bool,
}

/// One rule.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Gate {
    /// Name of a metric.
    pub(crate) metric: String,
    /// Only of this candidate.
    pub(crate) variant: Option<String>,
    /// Only in this suite.
    pub(crate) suite: Option<String>,
    /// Only on the device with this id or tag.
    pub(crate) device: Option<String>,
    /// Answers that fail; `None`: as the command line says.
    pub(crate) fail: Option<Fail>,
    /// That it finds nothing to look at is no mistake.
    #[serde(default)]
    pub(crate) optional: bool,
}

/// Which answers fail.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Fail {
    /// `worse`.
    #[default]
    Worse,
    /// `worse` and `inconclusive`: what cannot be shown to be harmless fails.
    Undecided,
}

/// A requirement or an exception: of what, why, and until when.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Note {
    /// Id of the candidate.
    pub(crate) variant: String,
    /// Name of a metric; of an exception also [`MISSING`].
    pub(crate) metric: String,
    /// Only on the device with this id or tag.
    pub(crate) device: Option<String>,
    /// Why.
    pub(crate) reason: String,
    /// The last day on which it holds, UTC.
    pub(crate) until: String,
    #[serde(skip)]
    pub(crate) last_day: Date,
}

impl Note {
    /// The rule that a requirement is.
    pub(crate) fn gate(&self) -> Gate {
        Gate {
            metric: self.metric.clone(),
            variant: Some(self.variant.clone()),
            suite: None,
            device: self.device.clone(),
            fail: Some(Fail::Undecided),
            optional: false,
        }
    }
}

/// The tables of a file of rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Table {
    Gate,
    Require,
    Allow,
}

impl Rules {
    /// What is usual.
    pub(crate) fn usual() -> Self {
        let gate = |metric: &&str| Gate {
            metric: (*metric).to_owned(),
            variant: None,
            suite: None,
            device: None,
            fail: None,
            // a run has one score, or agreement
            optional: true,
        };
        Self { gates: USUAL_COSTS.iter().chain(&Task::METRICS).map(gate).collect(), ..Self::default() }
    }

    /// Reads a file that must have this table: rules, to which the others may come, or nothing but requirements or
    /// exceptions.
    ///
    /// # Errors
    /// Names the file, and the key or the rule that is wrong.
    pub(crate) fn read(path: &Path, table: Table) -> CommandResult<Self> {
        let bad =
            |why: &dyn std::fmt::Display| Failure::usage(format!("the gates file {}: {why}", path.display()));
        let facts = fs::metadata(path).map_err(|e| bad(&e))?;
        if !facts.is_file() || facts.len() > MAX_FILE_BYTES {
            return Err(bad(&format!("no file, or longer than {MAX_FILE_BYTES} bytes")));
        }
        let text = fs::read_to_string(path).map_err(|e| bad(&e))?;
        Self::parse(&text, table).map_err(|why| bad(&why.trim_end()))
    }

    fn parse(text: &str, table: Table) -> Result<Self, String> {
        let mut rules: Self = toml::from_str(text).map_err(|e| e.to_string())?;
        rules.check_tables(table)?;
        for (at, gate) in rules.gates.iter().enumerate() {
            known(&format!("gate[{at}]"), &gate.metric)?;
        }
        for (at, required) in rules.required.iter_mut().enumerate() {
            known(&format!("require[{at}]"), &required.metric)?;
            required.check(&format!("require[{at}]"))?;
        }
        for (at, allowed) in rules.allowed.iter_mut().enumerate() {
            if allowed.metric != MISSING {
                known(&format!("allow[{at}]"), &allowed.metric)?;
            }
            allowed.check(&format!("allow[{at}]"))?;
        }
        Ok(rules)
    }

    fn check_tables(&self, table: Table) -> Result<(), String> {
        let has = [!self.gates.is_empty(), !self.required.is_empty(), !self.allowed.is_empty()];
        match (table, has) {
            (Table::Gate, [false, ..]) => Err("has no [[gate]]: it would let everything pass".to_owned()),
            (Table::Require, [_, false, _]) => Err("has no [[require]]".to_owned()),
            (Table::Allow, [_, _, false]) => Err("has no [[allow]]".to_owned()),
            (Table::Require | Table::Allow, [true, ..]) => Err("has [[gate]]: give it as --gates".to_owned()),
            (Table::Require, [_, _, true]) => Err("has [[allow]]: give them as --allow".to_owned()),
            (Table::Allow, [_, true, _]) => Err("has [[require]]: give them as --require".to_owned()),
            _ => Ok(()),
        }
    }
}

impl Note {
    /// Checks what is said, and reads the day.
    fn check(&mut self, place: &str) -> Result<(), String> {
        if self.reason.trim().is_empty() {
            return Err(format!("{place}.reason: it needs one"));
        }
        self.last_day = self
            .until
            .parse()
            .map_err(|e| format!("{place}.until: {:?} is no day such as \"2027-01-31\" ({e})", self.until))?;
        Ok(())
    }
}

fn known(place: &str, metric: &str) -> Result<(), String> {
    let names: Vec<&str> = METRICS.iter().map(|m| m.name).collect();
    match names.contains(&metric) {
        true => Ok(()),
        false => Err(format!("{place}.metric: {}", unknown("metric", metric, &names))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GATE: &str = "[[gate]]\nmetric = \"latency_ns\"\n";

    fn note(table: &str, lines: &str) -> String {
        format!("[[{table}]]\nvariant = \"m@head\"\nmetric = \"latency_ns\"\n{lines}")
    }

    #[test]
    fn rules_are_read() {
        let until = "reason = \"#12\"\nuntil = \"2027-01-31\"\n";
        let gate = format!(
            "{GATE}suite = \"vision\"\ndevice = \"pi\"\nvariant = \"m@head\"\nfail = \"undecided\"\n"
        );
        let text = [gate, note("allow", until), note("require", until)].concat();
        let rules = Rules::parse(&text, Table::Gate).unwrap();
        assert_eq!((rules.gates[0].fail, rules.gates[0].optional), (Some(Fail::Undecided), false));
        assert_eq!(rules.allowed[0].last_day, Date::constant(2027, 1, 31));
        assert_eq!(rules.required, rules.allowed);
        for (table, name) in [(Table::Require, "require"), (Table::Allow, "allow")] {
            assert!(Rules::parse(&note(name, until), table).is_ok());
        }
    }

    #[test]
    fn mistakes_are_named() {
        let allow = |lines: &str| format!("{GATE}{}", note("allow", lines));
        for (text, word) in [
            (String::new(), "no [[gate]]"),
            ("[[gate]]\nmetric = \"latency\"\n".to_owned(), "gate[0].metric: there is no metric \"latency\""),
            (format!("{GATE}fails = \"worse\"\n"), "fails"),
            (format!("{GATE}fail = \"better\"\n"), "better"),
            (allow("reason = \" \"\nuntil = \"2027-01-31\"\n"), "allow[0].reason"),
            (allow("reason = \"x\"\nuntil = \"next week\"\n"), "allow[0].until"),
            (allow("reason = \"x\"\n"), "until"),
            (
                format!("{GATE}{}", note("require", "reason = \"\"\nuntil = \"2027-01-31\"\n")),
                "require[0].reason",
            ),
            (
                format!(
                    "{GATE}[[require]]\nvariant = \"m\"\nmetric = \"missing\"\nreason = \"x\"\nuntil = \"2027-01-31\"\n"
                ),
                "require[0].metric",
            ),
        ] {
            let error = Rules::parse(&text, Table::Gate).unwrap_err();
            assert!(error.contains(word), "{text}: {error}");
        }
    }

    #[test]
    fn a_list_holds_nothing_else() {
        let until = "reason = \"x\"\nuntil = \"2027-01-31\"\n";
        for (text, table, word) in [
            (String::new(), Table::Allow, "no [[allow]]"),
            (String::new(), Table::Require, "no [[require]]"),
            (format!("{GATE}{}", note("allow", until)), Table::Allow, "--gates"),
            (format!("{}{}", note("require", until), note("allow", until)), Table::Allow, "--require"),
            (format!("{}{}", note("require", until), note("allow", until)), Table::Require, "--allow"),
        ] {
            let error = Rules::parse(&text, table).unwrap_err();
            assert!(error.contains(word), "{text}: {error}");
        }
    }
}
