//! What the host asks for: a unit of one or more trials, and how they are interleaved.

use crate::{DType, RuntimeId, Sha256Hex, UnitId};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// A file on the device. The agent hashes it before use and refuses a mismatch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Artifact {
    /// Where it is on the device.
    pub path: PathBuf,
    /// What it must hash to.
    pub sha256: Sha256Hex,
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
    /// The model file.
    pub model: Artifact,
    /// Threads the runtime may use.
    pub threads: u16,
    /// Examples.
    pub inputs: Inputs,
    /// What to do with them.
    pub mode: Mode,
    /// The worker is killed when it lives longer.
    pub deadline_ms: u64,
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
    /// The trials; events name them by their position here.
    pub trials: Vec<TrialSpec>,
}
