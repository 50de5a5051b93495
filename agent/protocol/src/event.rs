//! What the agent reports while a unit is under way. The set is closed: a new kind is a new version.

use crate::{BackendProof, DeviceState, Moment, NodeProfile, Sha256Hex, TensorInfo};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Why a trial failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FailKind {
    /// The model file is damaged or not of its format.
    ModelInvalid,
    /// An operator, type or shape that the runtime does not do.
    Unsupported,
    /// Inputs that do not fit the model.
    InputMismatch,
    /// A file that the host has pushed is missing or has another content: it has to be pushed again.
    HashMismatch,
    /// The runtime is not built in, or its library is missing.
    RuntimeMissing,
    /// The same input gave different outputs from one iteration to the next.
    OutputsUnstable,
    /// Reading or writing a file on the device failed.
    Io,
    /// The runtime reported an error of its own.
    Runtime,
}

/// How a trial ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "outcome")]
pub enum Outcome {
    /// Everything asked for was measured.
    Ok,
    /// The worker said why.
    Failed {
        /// Kind, for machines.
        kind: FailKind,
        /// Reason, for people: names the file, node or input.
        message: String,
    },
    /// The worker died.
    Crashed {
        /// Signal number.
        signal: i32,
        /// What may be behind it, where the device tells: memory ran out.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        why: Option<String>,
    },
    /// The worker outlived its deadline and was killed.
    TimedOut,
    /// The device went away. Set by the host.
    DeviceLost,
    /// Not started, or stopped because the host cancelled the unit, with the reason.
    Skipped {
        /// Why.
        reason: String,
    },
}

/// Which part of a trial samples belong to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SamplePhase {
    /// Before steady state; kept, never in a steady mean.
    WarmUp,
    /// Steady state.
    Steady,
    /// First iteration after a switch in a ping-pong unit; kept, never in a steady mean.
    Switch,
}

/// A burst of timed iterations.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Samples {
    /// Part of the trial.
    pub phase: SamplePhase,
    /// Block within the unit, from 0; 0 for trials that run alone.
    pub block: u32,
    /// Position of the burst within the block, from 0.
    pub burst: u32,
    /// Start of the burst on the device's monotonic clock.
    pub start_ns: u64,
    /// Invokes per sample: above 1 for models faster than about 50 µs.
    pub batch: u32,
    /// Wall time of each sample, for the whole batch.
    pub wall_ns: Vec<u64>,
    /// CPU time for each sample, for the whole batch: of the worker's own thread when the trial has one
    /// thread, of its whole process otherwise.
    pub cpu_ns: Vec<u64>,
    /// Involuntary context switches during the burst.
    pub involuntary_switches: u64,
    /// Core that the worker's own thread was on when the burst ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub core: Option<u32>,
    /// Frequency of that core right after the burst, where the kernel tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub khz: Option<u64>,
}

/// Point in a worker's life at which memory is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MemoryPhase {
    /// The worker before any runtime is loaded.
    Bare,
    /// Runtime loaded.
    RuntimeLoaded,
    /// Model loaded and compiled.
    ModelLoaded,
    /// After the first inference.
    FirstInference,
    /// After steady state.
    Steady,
}

/// How a peak was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PeakMethod {
    /// `VmHWM`, reset before the phase through `/proc/self/clear_refs`.
    VmHwmReset,
    /// `VmHWM` where the reset was refused: the peak since the process began.
    VmHwm,
}

/// Memory of a worker at the end of a phase.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemoryReading {
    /// Phase that just ended.
    pub phase: MemoryPhase,
    /// Highest resident size during the phase.
    pub peak_bytes: Option<u64>,
    /// How the peak was taken.
    pub peak_method: Option<PeakMethod>,
    /// Resident now, anonymous.
    pub rss_anon_bytes: Option<u64>,
    /// Resident now, file-backed.
    pub rss_file_bytes: Option<u64>,
    /// Proportional set size now.
    pub pss_bytes: Option<u64>,
    /// Private dirty now.
    pub private_dirty_bytes: Option<u64>,
    /// Swapped out now.
    pub swap_bytes: Option<u64>,
    /// Most that the runtime's own allocator for tensors has given out at once since the model was loaded, where it
    /// counts; read after steady state only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arena_peak_bytes: Option<u64>,
}

/// One thing that happened. `trial` is a position in the unit's list of trials.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "event")]
pub enum Event {
    /// State of the device around the unit.
    DeviceState {
        /// Before, during or after.
        moment: Moment,
        /// The state.
        state: DeviceState,
    },
    /// The wait for [`crate::CoolDown`] is over, and the unit begins.
    CooledDown {
        /// How long it took.
        waited_ms: u64,
        /// The hottest zone that counts, at the end; `None` when no zone could be read.
        #[serde(default)]
        zone: Option<String>,
        /// Its temperature.
        milli_celsius: Option<i64>,
        /// False: the device is as hot as this, and the unit is measured all the same.
        reached: bool,
    },
    /// A worker runs.
    TrialStarted {
        /// Which.
        trial: u32,
        /// Its process id on the device.
        pid: u32,
    },
    /// The model is ready to be invoked.
    Loaded {
        /// Which.
        trial: u32,
        /// Hash of the model as read by the worker.
        model_sha256: Sha256Hex,
        /// Hashes of the input files as read by the worker, in the model's order.
        input_sha256: Vec<Sha256Hex>,
        /// Map and parse.
        load_ns: u64,
        /// Passes, packing, allocation; delegate or provider compilation.
        compile_ns: u64,
        /// Inputs as the runtime reports them.
        inputs: Vec<TensorInfo>,
        /// Outputs as the runtime reports them.
        outputs: Vec<TensorInfo>,
        /// What will really run.
        proof: BackendProof,
    },
    /// The first invoke of the process.
    FirstInference {
        /// Which.
        trial: u32,
        /// Wall time.
        wall_ns: u64,
    },
    /// The worker is warm: what follows is steady state.
    WarmedUp {
        /// Which.
        trial: u32,
        /// Invokes until here, the first inference not counted.
        iterations: u64,
        /// Time spent in warm-up bursts.
        wall_ns: u64,
        /// Invokes per sample in steady state.
        batch: u32,
        /// False when the bursts did not come to agree before [`crate::WarmUp::max_ms`]: a trend remains.
        settled: bool,
    },
    /// Memory at the end of a phase.
    Memory {
        /// Which.
        trial: u32,
        /// The reading.
        reading: MemoryReading,
    },
    /// Timed iterations.
    Samples {
        /// Which.
        trial: u32,
        /// The burst.
        samples: Samples,
    },
    /// A whole block must not count.
    BlockDropped {
        /// Which block.
        block: u32,
        /// Why: frequency or thermal state changed.
        reason: String,
    },
    /// Digests of outputs, in example order: first 16 hexadecimal digits of the SHA-256 of all outputs
    /// of one example as little-endian f32.
    OutputDigests {
        /// Which.
        trial: u32,
        /// Index of the first example.
        first: u64,
        /// One digest per example.
        digests: Vec<String>,
    },
    /// All outputs of an accuracy trial lie in a file on the device: f32, little-endian, example after
    /// example, the model's outputs one after the other; quantised outputs are dequantised.
    Outputs {
        /// Which.
        trial: u32,
        /// The file, in the agent's working directory.
        path: PathBuf,
        /// Its hash.
        sha256: Sha256Hex,
        /// Number of examples.
        examples: u64,
        /// Elements per example of each output.
        elements: Vec<u64>,
    },
    /// Time per node. A model with many nodes needs several of these, to be appended.
    Profile {
        /// Which.
        trial: u32,
        /// Nodes in execution order.
        nodes: Vec<NodeProfile>,
    },
    /// The limits of [`crate::PerformanceRules`] cut the steady state short.
    CutShort {
        /// Which.
        trial: u32,
        /// What was not reached.
        reason: String,
    },
    /// A worker ended.
    TrialFinished {
        /// Which.
        trial: u32,
        /// How.
        outcome: Outcome,
    },
}

/// Closes a unit: without it, or with other counts than were received, the unit is not done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Events sent for the unit.
    pub events: u64,
    /// Trials finished, whatever their outcome.
    pub trials: u32,
    /// Samples sent.
    pub samples: u64,
}
