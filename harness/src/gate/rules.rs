//! The rules of a gate and where they come from: `gates.toml`, or what is usual. A rule says which rows of the
//! verdicts it looks at and which answers fail; an exception lets one row pass, for a reason and until a day.

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

/// Rules and exceptions.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rules {
    /// Any of them fails the gate.
    #[serde(default, rename = "gate")]
    pub(crate) gates: Vec<Gate>,
    /// What is let through.
    #[serde(default, rename = "allow")]
    pub(crate) allowed: Vec<Allowed>,
}

/// One rule.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Gate {
    /// Name of a metric.
    pub(crate) metric: String,
    /// Only in this suite.
    pub(crate) suite: Option<String>,
    /// Only on the device with this id or tag.
    pub(crate) device: Option<String>,
    /// Answers that fail.
    #[serde(default)]
    pub(crate) fail: Fail,
    /// That it finds nothing to look at is no mistake.
    #[serde(default)]
    pub(crate) optional: bool,
}

/// Which answers fail.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Fail {
    /// `worse`.
    #[default]
    Worse,
    /// `worse` and `inconclusive`: what cannot be shown to be harmless fails.
    Undecided,
}

/// One exception.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Allowed {
    /// Id of the candidate.
    pub(crate) variant: String,
    /// Name of a metric, or [`MISSING`].
    pub(crate) metric: String,
    /// Why.
    pub(crate) reason: String,
    /// The last day on which it holds, UTC.
    pub(crate) until: String,
    #[serde(skip)]
    pub(crate) last_day: Date,
}

impl Rules {
    /// What is usual.
    pub(crate) fn usual() -> Self {
        let gate = |metric: &&str| Gate {
            metric: (*metric).to_owned(),
            suite: None,
            device: None,
            fail: Fail::Worse,
            // a run has one score, or agreement
            optional: true,
        };
        Self { gates: USUAL_COSTS.iter().chain(&Task::METRICS).map(gate).collect(), allowed: Vec::new() }
    }

    /// Reads a file.
    ///
    /// # Errors
    /// Names the file, and the key or the rule that is wrong.
    pub(crate) fn read(path: &Path) -> CommandResult<Self> {
        let bad =
            |why: &dyn std::fmt::Display| Failure::usage(format!("the gates file {}: {why}", path.display()));
        let facts = fs::metadata(path).map_err(|e| bad(&e))?;
        if !facts.is_file() || facts.len() > MAX_FILE_BYTES {
            return Err(bad(&format!("no file, or longer than {MAX_FILE_BYTES} bytes")));
        }
        let text = fs::read_to_string(path).map_err(|e| bad(&e))?;
        Self::parse(&text).map_err(|why| bad(&why.trim_end()))
    }

    fn parse(text: &str) -> Result<Self, String> {
        let mut rules: Self = toml::from_str(text).map_err(|e| e.to_string())?;
        if rules.gates.is_empty() {
            return Err("has no [[gate]]: it would let everything pass".to_owned());
        }
        let names: Vec<&str> = METRICS.iter().map(|m| m.name).collect();
        let known = |place: String, metric: &str| match names.contains(&metric) {
            true => Ok(()),
            false => Err(format!("{place}.metric: {}", unknown("metric", metric, &names))),
        };
        for (at, gate) in rules.gates.iter().enumerate() {
            known(format!("gate[{at}]"), &gate.metric)?;
        }
        for (at, allowed) in rules.allowed.iter_mut().enumerate() {
            if allowed.metric != MISSING {
                known(format!("allow[{at}]"), &allowed.metric)?;
            }
            if allowed.reason.trim().is_empty() {
                return Err(format!("allow[{at}].reason: an exception needs one"));
            }
            allowed.last_day = allowed.until.parse().map_err(|e| {
                format!("allow[{at}].until: {:?} is no day such as \"2027-01-31\" ({e})", allowed.until)
            })?;
        }
        Ok(rules)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_read() {
        let rules = Rules::parse(
            "[[gate]]\nmetric = \"latency_ns\"\nsuite = \"vision\"\ndevice = \"pi\"\nfail = \"undecided\"\n\
             [[allow]]\nvariant = \"m@head\"\nmetric = \"model_bytes\"\nreason = \"#12\"\nuntil = \"2027-01-31\"\n",
        )
        .unwrap();
        assert_eq!((rules.gates[0].fail, rules.gates[0].optional), (Fail::Undecided, false));
        assert_eq!(rules.allowed[0].last_day, Date::constant(2027, 1, 31));
    }

    #[test]
    fn mistakes_are_named() {
        let gate = "[[gate]]\nmetric = \"latency_ns\"\n";
        let allow =
            |lines: &str| format!("{gate}[[allow]]\nvariant = \"m\"\nmetric = \"latency_ns\"\n{lines}");
        for (text, word) in [
            (String::new(), "no [[gate]]"),
            ("[[gate]]\nmetric = \"latency\"\n".to_owned(), "gate[0].metric: there is no metric \"latency\""),
            (format!("{gate}fails = \"worse\"\n"), "fails"),
            (format!("{gate}fail = \"better\"\n"), "better"),
            (allow("reason = \" \"\nuntil = \"2027-01-31\"\n"), "allow[0].reason"),
            (allow("reason = \"x\"\nuntil = \"next week\"\n"), "allow[0].until"),
            (allow("reason = \"x\"\n"), "until"),
        ] {
            let error = Rules::parse(&text).unwrap_err();
            assert!(error.contains(word), "{text}: {error}");
        }
    }
}
