//! What the host asks for: a unit of one or more trials, and how they are interleaved.

use crate::{DType, RuntimeId, Sha256Hex, UnitId};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, path::PathBuf};

/// A file on the device. The agent hashes it before use and refuses a mismatch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Artifact {
    /// Where it is on the device.
    pub path: PathBuf,
    /// What it must hash to.
    pub sha256: Sha256Hex,
}

/// The library of a runtime that the agent has not got inside itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Library {
    /// Its version, as the host knows it: not every library can tell.
    pub version: String,
    /// The library.
    pub file: Artifact,
    /// Libraries that are loaded before it, in this order: what it needs, or finds by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub with: Vec<Artifact>,
}

/// Examples for one model input: raw little-endian elements, the first dimension counts examples.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TensorFile {
    /// The bytes.
    pub file: Artifact,
    /// Element type of the bytes. `f32` given to a quantised input is quantised by the agent with the
    /// input's own scale and zero point; anything else must match the model's input.
    pub dtype: DType,
    /// `[examples, ...]`; the rest must hold as many elements as one model input.
    pub shape: Vec<u64>,
}

/// Where inputs come from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "from", deny_unknown_fields)]
pub enum Inputs {
    /// One file per model input, in the model's order.
    Files {
        /// All with the same number of examples.
        files: Vec<TensorFile>,
    },
    /// Seeded values in [0, 1), or small integers; the same bytes for every variant with the same shapes.
    Random {
        /// Seed of the generator.
        seed: u64,
        /// Number of examples.
        examples: u64,
    },
}

/// Runs of a model with every tensor in view, by the built-in engine on one thread.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Observation {
    /// Examples.
    pub inputs: Inputs,
    /// So many of them, from the first on.
    pub examples: u64,
}

/// When a worker counts as warm: at least `min_iterations` and `min_ms`, then until three consecutive
/// bursts agree, or `max_ms`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WarmUp {
    /// At least so many iterations.
    pub min_iterations: u32,
    /// At least so long.
    pub min_ms: u64,
    /// Never longer.
    pub max_ms: u64,
    /// Relative difference within which three consecutive burst medians agree, in thousandths.
    pub agree_permille: u32,
}

/// What a performance trial measures.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PerformanceRules {
    /// The example that is fed, always the same one.
    pub example: u64,
    /// Warm-up.
    pub warm_up: WarmUp,
    /// Steady state: at least so many iterations,
    pub min_iterations: u32,
    /// and at least so long,
    pub min_ms: u64,
    /// but never longer; a trial cut here is flagged.
    pub max_ms: u64,
}

/// What a trial is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "mode", deny_unknown_fields)]
pub enum Mode {
    /// Latency and memory.
    Performance(PerformanceRules),
    /// Every example once; the outputs are kept.
    Accuracy,
    /// Time per node; never a source of latency or memory.
    Profile {
        /// Iterations after one that is dropped.
        iterations: u32,
    },
}

/// One model in one fresh process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrialSpec {
    /// Runtime and backend.
    pub runtime: RuntimeId,
    /// Its library, where it needs one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub library: Option<Library>,
    /// Options of the runtime by name, in its own words; one that it does not know is an error.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub options: BTreeMap<String, String>,
    /// The model file.
    pub model: Artifact,
    /// Threads the runtime may use.
    pub threads: u16,
    /// Examples.
    pub inputs: Inputs,
    /// What to do with them.
    pub mode: Mode,
    /// The worker is killed when it has been at work for longer; waiting for its turn in a ping-pong unit
    /// does not count.
    pub deadline_ms: u64,
    /// For tests of the measuring itself: every sample of a performance trial, and the first inference, is made
    /// so many thousandths longer than it took, by work of the worker's thread. Nothing else of the trial knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slowdown_permille: Option<u16>,
}

/// Bursts of a ping-pong unit. Every block serves all live workers twice, in a random order and then
/// in the reverse of it (ABBA for two); the first iteration after each switch is dropped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PingPong {
    /// A burst has at least so many iterations,
    pub burst_min_iterations: u32,
    /// and lasts at least so long.
    pub burst_min_ms: u64,
}

/// How the trials of a unit share the device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "schedule", deny_unknown_fields)]
pub enum Schedule {
    /// One after the other, in the order given, each alone on the device.
    Alone,
    /// All alive at once, served alternately in bursts: the way to compare latency. Performance trials
    /// only. Load order, warm-up order and burst order are drawn from the unit's seed.
    PingPong(PingPong),
}

/// A wait before the first worker of a unit starts, until the device is cool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CoolDown {
    /// The hottest zone that counts must be below this.
    pub below_milli_celsius: i64,
    /// The unit begins after this time at the latest, hot or not.
    pub wait_ms: u64,
    /// The one thermal zone that counts, by its type. Without it, those of the processor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
}

/// The unit of replication: the processes that are measured together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UnitSpec {
    /// Number in the plan; every event names it.
    pub unit: UnitId,
    /// Seeds every random order within the unit.
    pub seed: u64,
    /// How the trials are interleaved.
    pub schedule: Schedule,
    /// What to wait for first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cool_down: Option<CoolDown>,
    /// The trials; events name them by their position here.
    pub trials: Vec<TrialSpec>,
}

/// Trials of one unit: each is a process that stays alive in a ping-pong unit.
pub const MAX_TRIALS: usize = 64;
/// Threads of one trial: no phone and no board has more cores.
const MAX_THREADS: u16 = 256;
/// Longest any limit in milliseconds may be: a day.
const MAX_MS: u64 = 24 * 3600 * 1000;
/// Longest wait for a device to cool down: one that has not in half an hour never will.
pub const MAX_COOL_DOWN_MS: u64 = 30 * 60 * 1000;
/// Temperatures that a device can cool down to: above room temperature or not, but no slip of the pen.
const COOL_MILLI_CELSIUS: std::ops::RangeInclusive<i64> = 1_000..=120_000;
/// Longest name of a thermal zone; the kernel's own limit is 20.
const MAX_ZONE_BYTES: usize = 64;
/// Delays that can be asked for: up to twice the time.
const SLOWDOWN_PERMILLE: std::ops::RangeInclusive<u16> = 1..=1000;
/// Libraries beside the one of the runtime.
const MAX_LIBRARIES: usize = 16;
/// Longest version of a library.
const MAX_VERSION_BYTES: usize = 100;
/// Options of a runtime, and the longest name and value of one.
const MAX_OPTIONS: usize = 32;
const MAX_OPTION_BYTES: usize = 1024;
/// Examples of one trial.
const MAX_EXAMPLES: u64 = 10_000_000;
/// Examples that a model is observed on: ranges settle long before.
pub const MAX_OBSERVED: u64 = 10_000;
/// Elements of one example: 1 GiB of f32.
const MAX_ELEMENTS: u64 = 1 << 28;
/// Dimensions of an input.
const MAX_RANK: usize = 16;

/// A unit that no agent takes.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{place}: {rule}")]
pub struct SpecError {
    place: String,
    rule: String,
}

impl UnitSpec {
    /// Checks everything that can be known without the files: both sides do, before they rely on it.
    ///
    /// # Errors
    /// Names the field and the rule it breaks.
    pub fn check(&self) -> Result<(), SpecError> {
        let error = |place: &str, rule: String| Err(SpecError { place: place.to_owned(), rule });
        if self.trials.is_empty() || self.trials.len() > MAX_TRIALS {
            return error(
                "trials",
                format!("a unit has 1 to {MAX_TRIALS} trials, not {}", self.trials.len()),
            );
        }
        if let Some(cool_down) = &self.cool_down {
            cool_down.check().map_err(|e| SpecError { place: format!("cool_down.{}", e.place), ..e })?;
        }
        if let Schedule::PingPong(rules) = &self.schedule {
            if rules.burst_min_ms > MAX_MS {
                return error("schedule.burst_min_ms", format!("at most {MAX_MS}"));
            }
            if let Some(at) = self.trials.iter().position(|t| !matches!(t.mode, Mode::Performance(_))) {
                return error(&format!("trials[{at}].mode"), "only performance trials can ping-pong".into());
            }
        }
        for (at, trial) in self.trials.iter().enumerate() {
            trial.check().map_err(|e| SpecError { place: format!("trials[{at}].{}", e.place), ..e })?;
        }
        Ok(())
    }
}

impl Observation {
    /// Checks everything that can be known without the files.
    ///
    /// # Errors
    /// Names the field and the rule it breaks.
    pub fn check(&self) -> Result<(), SpecError> {
        let there_are = self.inputs.examples()?;
        if self.examples == 0 || self.examples > there_are.min(MAX_OBSERVED) {
            let rule = format!("1 to {}, not {}", there_are.min(MAX_OBSERVED), self.examples);
            return Err(SpecError { place: "run.examples".to_owned(), rule });
        }
        Ok(())
    }
}

impl CoolDown {
    /// Checks its limits: for whoever reads one from a setting.
    ///
    /// # Errors
    /// Names the field and the rule it breaks.
    pub fn check(&self) -> Result<(), SpecError> {
        let error = |place: &str, rule: String| Err(SpecError { place: place.to_owned(), rule });
        if !COOL_MILLI_CELSIUS.contains(&self.below_milli_celsius) {
            let (least, most) = (COOL_MILLI_CELSIUS.start(), COOL_MILLI_CELSIUS.end());
            let rule = format!("{least} to {most}, not {}", self.below_milli_celsius);
            return error("below_milli_celsius", rule);
        }
        if self.wait_ms == 0 || self.wait_ms > MAX_COOL_DOWN_MS {
            return error("wait_ms", format!("1 to {MAX_COOL_DOWN_MS}, not {}", self.wait_ms));
        }
        match &self.zone {
            Some(zone) if zone.is_empty() || zone.len() > MAX_ZONE_BYTES => {
                error("zone", format!("the type of a thermal zone has 1 to {MAX_ZONE_BYTES} bytes"))
            }
            _ => Ok(()),
        }
    }
}

impl TrialSpec {
    fn check(&self) -> Result<(), SpecError> {
        let error = |place: &str, rule: String| Err(SpecError { place: place.to_owned(), rule });
        if self.threads == 0 || self.threads > MAX_THREADS {
            return error("threads", format!("1 to {MAX_THREADS}, not {}", self.threads));
        }
        if self.deadline_ms == 0 || self.deadline_ms > MAX_MS {
            return error("deadline_ms", format!("1 to {MAX_MS}, not {}", self.deadline_ms));
        }
        self.check_runtime()?;
        if let Some(slowdown) = self.slowdown_permille {
            if !SLOWDOWN_PERMILLE.contains(&slowdown) {
                let (least, most) = (SLOWDOWN_PERMILLE.start(), SLOWDOWN_PERMILLE.end());
                return error("slowdown_permille", format!("{least} to {most}, not {slowdown}"));
            }
            if !matches!(self.mode, Mode::Performance(_)) {
                return error("slowdown_permille", "only performance trials can be slowed down".to_owned());
            }
        }
        let examples = self.inputs.examples()?;
        match &self.mode {
            Mode::Performance(rules) => {
                if rules.example >= examples {
                    return error("mode.example", format!("{} is not one of {examples}", rules.example));
                }
                let longest =
                    rules.warm_up.max_ms.max(rules.warm_up.min_ms).max(rules.max_ms).max(rules.min_ms);
                if longest > MAX_MS {
                    return error("mode", format!("no time may be longer than {MAX_MS} ms"));
                }
                if rules.warm_up.max_ms < rules.warm_up.min_ms || rules.max_ms < rules.min_ms {
                    return error("mode", "max_ms is below min_ms".to_owned());
                }
            }
            Mode::Profile { iterations } if !(1..=MAX_PROFILE).contains(iterations) => {
                return error("mode.iterations", format!("1 to {MAX_PROFILE}, not {iterations}"));
            }
            Mode::Accuracy | Mode::Profile { .. } => {}
        }
        Ok(())
    }
}

impl TrialSpec {
    /// Library and options.
    fn check_runtime(&self) -> Result<(), SpecError> {
        let error = |place: &str, rule: String| Err(SpecError { place: place.to_owned(), rule });
        if let Some(library) = &self.library {
            if library.with.len() > MAX_LIBRARIES {
                return error("library.with", format!("at most {MAX_LIBRARIES}, not {}", library.with.len()));
            }
            if library.version.is_empty() || library.version.len() > MAX_VERSION_BYTES {
                return error("library.version", format!("1 to {MAX_VERSION_BYTES} bytes"));
            }
        }
        if self.options.len() > MAX_OPTIONS {
            return error("options", format!("at most {MAX_OPTIONS}, not {}", self.options.len()));
        }
        if let Some((name, _)) =
            self.options.iter().find(|(name, value)| name.len().max(value.len()) > MAX_OPTION_BYTES)
        {
            let name: String = name.chars().take(32).collect();
            return error(
                "options",
                format!("{name:?} or its value is longer than {MAX_OPTION_BYTES} bytes"),
            );
        }
        Ok(())
    }
}

/// Profiled iterations: a model of 4,000 nodes still fits a line.
const MAX_PROFILE: u32 = 100;

impl Inputs {
    /// Number of examples.
    ///
    /// # Errors
    /// None, too many, or files that disagree; shapes that overflow.
    pub fn examples(&self) -> Result<u64, SpecError> {
        let error = |place: String, rule: String| Err(SpecError { place, rule });
        let examples = match self {
            Self::Random { examples, .. } => *examples,
            Self::Files { files } => {
                for (at, file) in files.iter().enumerate() {
                    if let Err(rule) = file.check() {
                        return error(format!("inputs.files[{at}].shape"), rule);
                    }
                }
                let mut counts = files.iter().filter_map(|f| f.shape.first().copied());
                let first = counts.next().unwrap_or_default();
                if counts.any(|n| n != first) {
                    return error("inputs.files".into(), "all must hold the same number of examples".into());
                }
                first
            }
        };
        if (1..=MAX_EXAMPLES).contains(&examples) {
            Ok(examples)
        } else {
            error("inputs".into(), format!("1 to {MAX_EXAMPLES} examples, not {examples}"))
        }
    }
}

impl TensorFile {
    /// Elements of one example.
    ///
    /// # Errors
    /// Too many to be true.
    pub fn elements(&self) -> Result<u64, String> {
        let rest = self.shape.get(1..).unwrap_or_default();
        let product = rest.iter().try_fold(1u64, |all, n| all.checked_mul(*n));
        product.filter(|n| *n <= MAX_ELEMENTS).ok_or(format!("more than {MAX_ELEMENTS} elements per example"))
    }

    fn check(&self) -> Result<(), String> {
        if self.shape.is_empty() || self.shape.len() > MAX_RANK {
            return Err(format!("1 to {MAX_RANK} dimensions, the first counts examples"));
        }
        self.elements().map(|_| ())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trial() -> TrialSpec {
        let file = |name: &str| Artifact { path: name.into(), sha256: Sha256Hex::of_bytes(name.as_bytes()) };
        let warm_up = WarmUp { min_iterations: 10, min_ms: 500, max_ms: 5000, agree_permille: 20 };
        let rules = PerformanceRules { example: 0, warm_up, min_iterations: 50, min_ms: 1000, max_ms: 9000 };
        let tensor = TensorFile { file: file("x"), dtype: DType::U8, shape: vec![7, 28, 28] };
        TrialSpec {
            runtime: "builtin/cpu".parse().unwrap(),
            library: None,
            options: BTreeMap::new(),
            model: file("m"),
            threads: 1,
            inputs: Inputs::Files { files: vec![tensor.clone(), tensor] },
            mode: Mode::Performance(rules),
            deadline_ms: 60_000,
            slowdown_permille: None,
        }
    }

    fn unit(trials: Vec<TrialSpec>) -> UnitSpec {
        let schedule = Schedule::PingPong(PingPong { burst_min_iterations: 8, burst_min_ms: 30 });
        UnitSpec { unit: UnitId(1), seed: 1, schedule, cool_down: None, trials }
    }

    fn refusal(change: impl Fn(&mut TrialSpec)) -> String {
        let mut bad = trial();
        change(&mut bad);
        unit(vec![trial(), bad]).check().unwrap_err().to_string()
    }

    #[test]
    fn a_sane_unit_passes() {
        assert_eq!(unit(vec![trial(), trial()]).check(), Ok(()));
    }

    #[test]
    fn a_wait_has_limits() {
        let wait =
            CoolDown { below_milli_celsius: 45_000, wait_ms: 60_000, zone: Some("cpu-thermal".into()) };
        let refusal = |cool_down: &CoolDown| {
            let unit = UnitSpec { cool_down: Some(cool_down.clone()), ..unit(vec![trial()]) };
            unit.check().map_err(|e| e.to_string())
        };
        assert_eq!(refusal(&wait), Ok(()));
        for (bad, words) in [
            (CoolDown { below_milli_celsius: 45, ..wait.clone() }, "cool_down.below_milli_celsius: 1000 to"),
            (CoolDown { wait_ms: 0, ..wait.clone() }, "cool_down.wait_ms: 1 to 1800000, not 0"),
            (CoolDown { wait_ms: MAX_COOL_DOWN_MS + 1, ..wait.clone() }, "cool_down.wait_ms"),
            (CoolDown { zone: Some(String::new()), ..wait.clone() }, "cool_down.zone"),
            (CoolDown { zone: Some("z".repeat(65)), ..wait }, "cool_down.zone"),
        ] {
            let refused = refusal(&bad).unwrap_err();
            assert!(refused.starts_with(words), "{refused}");
        }
    }

    #[test]
    fn a_delay_has_bounds_and_a_place() {
        let slowed = |permille| TrialSpec { slowdown_permille: Some(permille), ..trial() };
        for good in [1, 1000] {
            assert_eq!(unit(vec![trial(), slowed(good)]).check(), Ok(()));
        }
        assert_eq!(
            refusal(|t| t.slowdown_permille = Some(0)),
            "trials[1].slowdown_permille: 1 to 1000, not 0"
        );
        assert!(refusal(|t| t.slowdown_permille = Some(1001)).contains("not 1001"));
        let accuracy = TrialSpec { mode: Mode::Accuracy, ..slowed(5) };
        let alone = UnitSpec { schedule: Schedule::Alone, ..unit(vec![accuracy]) };
        assert!(alone.check().unwrap_err().to_string().starts_with("trials[0].slowdown_permille: only"));
    }

    #[test]
    fn the_field_and_the_rule_are_named() {
        assert!(unit(vec![]).check().is_err());
        assert!(unit(vec![trial(); MAX_TRIALS + 1]).check().is_err());
        assert_eq!(refusal(|t| t.threads = 0), "trials[1].threads: 1 to 256, not 0");
        assert!(refusal(|t| t.deadline_ms = 0).starts_with("trials[1].deadline_ms"));
        assert!(refusal(|t| t.mode = Mode::Accuracy).contains("ping-pong"));
        assert!(refusal(|t| t.inputs = Inputs::Random { seed: 1, examples: 0 }).contains("examples"));
        assert!(refusal(|t| t.inputs = Inputs::Files { files: vec![] }).contains("examples"));
        let example_7 = refusal(|t| {
            if let Mode::Performance(rules) = &mut t.mode {
                rules.example = 7;
            }
        });
        assert_eq!(example_7, "trials[1].mode.example: 7 is not one of 7");
        for shape in [vec![], vec![8, 28, 28], vec![7, u64::MAX, u64::MAX], vec![7, 1 << 29], vec![7; 17]] {
            let text = refusal(|t| {
                if let Inputs::Files { files } = &mut t.inputs {
                    files[1].shape.clone_from(&shape);
                }
            });
            assert!(text.starts_with("trials[1].inputs.files"), "{text}");
        }
    }
}
