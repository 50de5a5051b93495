//! How much is measured and what counts as a difference: `[measure]` and `[compare]`, with their
//! defaults and limits.

use protocol::{ContrastKind, PerformanceRules, PingPong, Sharing, Task, Unit, WarmUp};
use serde::Deserialize;
use std::collections::BTreeMap;

/// No wait within a trial may be longer.
const MAX_MS: u64 = 3_600_000;

/// Costs that are compared, and may have a margin of their own.
pub const COSTS: [&str; 5] =
    ["latency_ns", "first_inference_ns", "init_ns", "memory_peak_bytes", "model_bytes"];

/// No margin of a score in dB may be wider.
const MAX_DB: f64 = 100.0;

/// No count may be higher.
const MAX_COUNT: u32 = 1_000_000;

/// `[measure]`: how a variant is measured within one unit.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Measure {
    /// Position of the example that performance is measured with; always the same one.
    pub example: u64,
    /// Most examples for accuracy; all of them without it. With seeded random inputs, their number.
    pub max_examples: Option<u64>,
    /// Warm-up of every worker.
    pub warm_up: WarmUpRules,
    /// One turn of a worker.
    pub burst: Burst,
    /// Steady state: at least so many iterations of each variant per unit,
    pub min_iterations: u32,
    /// and at least so long,
    pub min_ms: u64,
    /// but never longer.
    pub max_ms: u64,
    /// Measuring a device ends at the last look that fits into so many seconds.
    pub time_budget_s: Option<u64>,
    /// How variants share a device; without it ping-pong, where they fit into its memory.
    pub schedule: Option<Sharing>,
}

/// `[measure.warm_up]`: at least `min_iterations` and `min_ms`, then until three consecutive bursts
/// agree, or `max_ms`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WarmUpRules {
    /// At least so many iterations.
    pub min_iterations: u32,
    /// At least so long.
    pub min_ms: u64,
    /// Never longer.
    pub max_ms: u64,
    /// Relative difference within which burst medians agree, in thousandths.
    pub agree_permille: u32,
}

/// `[measure.burst]`: one turn of a worker when several are served alternately.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Burst {
    /// At least so many iterations,
    pub min_iterations: u32,
    /// and at least so long.
    pub min_ms: u64,
}

/// `[compare]`: which comparisons are made, and what they decide by.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Compare {
    /// Relative change of latency, memory or size that matters.
    pub margin: f64,
    /// Costs with a margin of their own, by name of the metric.
    pub margins: BTreeMap<String, f64>,
    /// Drop of the task score that is still acceptable, in the unit of the score. Without it
    /// [`crate::Suite::accuracy_margin`] tells.
    pub accuracy_margin: Option<f64>,
    /// Most units per device.
    pub max_units: u32,
    /// Which comparisons.
    pub contrasts: Vec<ContrastKind>,
}

impl Default for Measure {
    fn default() -> Self {
        Self {
            example: 0,
            max_examples: None,
            warm_up: WarmUpRules::default(),
            burst: Burst::default(),
            min_iterations: 50,
            min_ms: 1_000,
            max_ms: 20_000,
            time_budget_s: None,
            schedule: None,
        }
    }
}

impl Default for WarmUpRules {
    fn default() -> Self {
        Self { min_iterations: 10, min_ms: 500, max_ms: 2_000, agree_permille: 20 }
    }
}

impl Default for Burst {
    fn default() -> Self {
        Self { min_iterations: 5, min_ms: 50 }
    }
}

impl Default for Compare {
    fn default() -> Self {
        Self {
            margin: 0.03,
            margins: BTreeMap::new(),
            accuracy_margin: None,
            max_units: 40,
            contrasts: ContrastKind::ALL.to_vec(),
        }
    }
}

impl Measure {
    /// What a performance trial is asked for.
    pub fn performance(&self) -> PerformanceRules {
        PerformanceRules {
            example: self.example,
            warm_up: WarmUp {
                min_iterations: self.warm_up.min_iterations,
                min_ms: self.warm_up.min_ms,
                max_ms: self.warm_up.max_ms,
                agree_permille: self.warm_up.agree_permille,
            },
            min_iterations: self.min_iterations,
            min_ms: self.min_ms,
            max_ms: self.max_ms,
        }
    }

    /// Bursts of a unit.
    pub fn ping_pong(&self) -> PingPong {
        PingPong { burst_min_iterations: self.burst.min_iterations, burst_min_ms: self.burst.min_ms }
    }

    /// Key and problem of the first rule that is broken.
    pub(crate) fn check(&self) -> Result<(), (&'static str, String)> {
        count("measure.min_iterations", self.min_iterations)?;
        count("measure.warm_up.min_iterations", self.warm_up.min_iterations)?;
        count("measure.burst.min_iterations", self.burst.min_iterations)?;
        span(("measure.min_ms", self.min_ms), ("measure.max_ms", self.max_ms))?;
        let warm_up = ("measure.warm_up.min_ms", self.warm_up.min_ms);
        span(warm_up, ("measure.warm_up.max_ms", self.warm_up.max_ms))?;
        span(("measure.burst.min_ms", self.burst.min_ms), ("measure.max_ms", self.max_ms))?;
        if !(1..=1_000).contains(&self.warm_up.agree_permille) {
            return Err(("measure.warm_up.agree_permille", "must be between 1 and 1000".to_owned()));
        }
        if self.max_examples == Some(0) {
            return Err(("measure.max_examples", "is 0: at least one example is needed".to_owned()));
        }
        if self.time_budget_s == Some(0) {
            return Err(("measure.time_budget_s", "is 0: leave it out for no limit".to_owned()));
        }
        Ok(())
    }
}

impl Compare {
    /// Key and problem of the first rule that is broken.
    pub(crate) fn check(&self) -> Result<(), (&'static str, String)> {
        if !(self.margin > 0.0 && self.margin < 1.0) {
            return Err(("compare.margin", "must be between 0 and 1: 0.03 means 3 %".to_owned()));
        }
        for (name, margin) in &self.margins {
            if !COSTS.contains(&name.as_str()) {
                return Err((
                    "compare.margins",
                    format!("{name:?} is no cost: there are {}", COSTS.join(", ")),
                ));
            }
            if !(*margin > 0.0 && *margin < 1.0) {
                return Err(("compare.margins", format!("{name} must be between 0 and 1: 0.03 means 3 %")));
            }
        }
        if !(1..=1_000).contains(&self.max_units) {
            return Err(("compare.max_units", "must be between 1 and 1000".to_owned()));
        }
        Ok(())
    }

    /// The margin of the score, in its unit.
    pub(crate) fn check_score(&self, task: &Task) -> Result<(), (&'static str, String)> {
        let (limit, example) = match task.metric().unit {
            Unit::Db => (MAX_DB, "0.1 means a tenth of a dB"),
            _ => (1.0, "0.01 means one percentage point"),
        };
        match self.accuracy_margin {
            Some(margin) if !(margin > 0.0 && margin < limit) => {
                Err(("compare.accuracy_margin", format!("must be between 0 and {limit}: {example}")))
            }
            _ => Ok(()),
        }
    }
}

fn count(key: &'static str, value: u32) -> Result<(), (&'static str, String)> {
    if (1..=MAX_COUNT).contains(&value) {
        return Ok(());
    }
    Err((key, format!("must be between 1 and {MAX_COUNT}")))
}

fn span(low: (&'static str, u64), high: (&'static str, u64)) -> Result<(), (&'static str, String)> {
    if high.1 > MAX_MS {
        return Err((high.0, format!("must be at most {MAX_MS} (an hour)")));
    }
    if low.1 > high.1 {
        return Err((low.0, format!("is {}, more than {} = {}", low.1, high.0, high.1)));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_keep_their_own_rules() {
        assert_eq!(Measure::default().check(), Ok(()));
        assert_eq!(Compare::default().check(), Ok(()));
    }

    #[test]
    fn broken_rules_name_their_key() {
        let key = |m: Measure| m.check().unwrap_err().0;
        let base = Measure::default;
        assert_eq!(key(Measure { min_iterations: 0, ..base() }), "measure.min_iterations");
        assert_eq!(key(Measure { min_ms: 2, max_ms: 1, ..base() }), "measure.min_ms");
        assert_eq!(key(Measure { max_ms: u64::MAX, ..base() }), "measure.max_ms");
        assert_eq!(key(Measure { max_examples: Some(0), ..base() }), "measure.max_examples");
        let warm_up = WarmUpRules { agree_permille: 0, ..WarmUpRules::default() };
        assert_eq!(key(Measure { warm_up, ..base() }), "measure.warm_up.agree_permille");
        let key = |c: Compare| c.check().unwrap_err().0;
        assert_eq!(key(Compare { margin: f64::NAN, ..Compare::default() }), "compare.margin");
        let of = |name: &str, margin| BTreeMap::from([(name.to_owned(), margin)]);
        for margins in [of("latency", 0.1), of("init_ns", 0.0), of("accuracy_top1", 0.1)] {
            assert_eq!(key(Compare { margins, ..Compare::default() }), "compare.margins");
        }
        assert_eq!(Compare { margins: of("init_ns", 0.1), ..Compare::default() }.check(), Ok(()));
        let score = |margin| {
            let compare = Compare { accuracy_margin: Some(margin), ..Compare::default() };
            [Task::CLASSIFICATION, Task::Reconstruction { peak: 1.0 }]
                .map(|t| compare.check_score(&t).is_ok())
        };
        assert_eq!((score(0.0), score(0.5), score(1.0)), ([false, false], [true, true], [false, true]));
        assert_eq!(key(Compare { max_units: 0, ..Compare::default() }), "compare.max_units");
    }

    #[test]
    fn what_the_agent_is_asked_for_is_what_was_defined() {
        let measure = Measure { example: 3, min_ms: 7, ..Measure::default() };
        let performance = measure.performance();
        assert_eq!((performance.example, performance.min_ms, performance.warm_up.min_ms), (3, 7, 500));
        assert_eq!(measure.ping_pong(), PingPong { burst_min_iterations: 5, burst_min_ms: 50 });
    }
}
