//! The run record: everything a run planned and saw, as plain values. No I/O: `store` writes and reads
//! these, `verdict` and `render` are pure functions of them.
//!
//! A run is one directory:
//!
//! | file | content |
//! |---|---|
//! | `plan.json` | [`Plan`], written once before anything is measured |
//! | `journal.jsonl` | [`Entry`] per line, append-only, each line on disk before the next unit starts; after every end of a unit a seal: a line with the hash of the seal before (at first, of `plan.json`) and of all lines since |
//! | `outputs/<sha256>.bin` | outputs of accuracy trials as pulled from the device, labels that are arrays, and pictures of the examples |
//!
//! Whatever else lies there (`report.html`, `results.csv`) is rendered from these and can be made again.

use protocol::{
    AgentInfo, BackendProof, Counts, DeviceInfo, DeviceState, Event, MemoryReading, ModelFacts, NodeProfile,
    Outcome, PerformanceRules, PingPong, RuntimeId, RuntimeInfo, Samples, Sha256Hex, TensorInfo, UnitId,
    VariantId,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

mod canary;
mod pictures;

pub use canary::{Canaries, Canary, CanaryCounts};
pub use pictures::Pictures;
pub use protocol::{CaseIndex, Contrast, ContrastKind, CoolDown, Labels, Sharing, Task};

/// Version of the record; a reader refuses every other one with words. 2: seals, waits for a cool device. 3: tasks
/// of every kind, with their labels.
pub const RECORD_SCHEMA: u32 = 3;

/// Everything decided before the first measurement.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// [`RECORD_SCHEMA`].
    pub schema: u32,
    /// Name of the run, also of its directory: UTC time and a random part.
    pub run: String,
    /// When it was planned, RFC 3339, UTC.
    pub created: String,
    /// Version of the product.
    pub version: String,
    /// The command line, for the reproduce block.
    pub command: Vec<String>,
    /// Seeds every random order of the run.
    pub seed: u64,
    /// Where models and data came from, so that a run that was cut off can be taken up again.
    pub subject: Subject,
    /// What is compared, and how.
    pub suite: SuiteFacts,
    /// What the variants are fed.
    pub dataset: DatasetFacts,
    /// Devices, by id.
    pub devices: Vec<DevicePlan>,
    /// Variant × runtime × device.
    pub cases: Vec<CasePlan>,
    /// Which case is compared with which.
    pub contrasts: Vec<Contrast>,
    /// How units are measured.
    pub measuring: Measuring,
    /// What watches the measuring itself; `None`: nothing does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canaries: Option<Canaries>,
}

impl Plan {
    /// The cases that somebody asked about: all but those of the canaries, which come last.
    pub fn variants(&self) -> &[CasePlan] {
        let canaries = self.canaries.iter().flat_map(|all| &all.of).flat_map(Canary::cases);
        let end = canaries.min().unwrap_or(self.cases.len());
        self.cases.get(..end).unwrap_or(&self.cases)
    }

    /// Whether the case belongs to a canary.
    pub fn is_canary(&self, case: CaseIndex) -> bool {
        case >= self.variants().len()
    }
}

/// Where the models and the data of a run came from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "subject")]
pub enum Subject {
    /// A suite.
    Suite {
        /// Name of a suite that is built in, or the absolute path of a definition.
        at: String,
    },
    /// Model files named on the command line.
    Models {
        /// Absolute paths; the first is the reference.
        models: Vec<String>,
        /// Absolute path of the data; seeded random inputs without it.
        data: Option<String>,
    },
    /// Two versions of the same models.
    Versions {
        /// Absolute path of the folder with the earlier ones.
        base: String,
        /// Absolute path of the folder with the later ones.
        head: String,
        /// Absolute path of the data; seeded random inputs without it.
        data: Option<String>,
        /// What the later ones would be called that are gone: only the earlier folder has them.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        gone: Vec<String>,
    },
    /// A shipped model against itself, to measure the measuring.
    Selftest {
        /// Pairs of every kind on every device.
        cells: u32,
        /// The kinds: by how many thousandths the second of a pair is slowed down; 0: not at all.
        slowdown_permille: Vec<u16>,
    },
}

/// How units are measured: decided before the first one, and the same for all of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Measuring {
    /// What every performance trial does.
    pub performance: PerformanceRules,
    /// Bursts of performance units.
    pub ping_pong: PingPong,
    /// Cases that are measured together. Each list makes one performance unit per round; all cases of a
    /// list are on one device.
    pub groups: Vec<Vec<CaseIndex>>,
    /// How the cases of each group share the device; empty: all groups ping-pong.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub schedules: Vec<Sharing>,
    /// A worker of a performance unit is killed when it has been at work for longer.
    pub performance_deadline_ms: u64,
    /// A worker of an accuracy unit is killed when it has been at work for longer.
    pub accuracy_deadline_ms: u64,
    /// Measuring a device ends at the last look that fits in; `None` without a limit.
    pub time_budget_ms: Option<u64>,
    /// There is a unit per case that times its nodes.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub profiles: bool,
    /// Outputs are not wanted: there are no units for them, and nothing is said about them.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub costs_only: bool,
}

impl Measuring {
    /// How the cases of a group share the device.
    pub fn schedule(&self, group: usize) -> Sharing {
        self.schedules.get(group).copied().unwrap_or_default()
    }
}

/// The suite as far as a report needs it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SuiteFacts {
    /// `vision`; `ad-hoc` when models were named on the command line.
    pub name: String,
    /// One line for people.
    pub title: String,
    /// Hash of the TOML text; of the empty text when ad hoc.
    pub sha256: Sha256Hex,
    /// Kind of task, and by which score it is judged.
    #[serde(flatten)]
    pub task: Task,
    /// Relative change of a cost (latency, memory, size) that matters, e.g. 0.03.
    pub margin: f64,
    /// Costs with a margin of their own, by name of the metric.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub margins: BTreeMap<String, f64>,
    /// Drop of the task score that is still acceptable, in its unit, e.g. 0.01 for one percentage point.
    pub accuracy_margin: f64,
    /// Most units per device.
    pub max_units: u32,
    /// Latency is measured until its plain interval reaches no farther than this share from the ratio; `None`: until it
    /// is decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub precision: Option<f64>,
}

impl SuiteFacts {
    /// The margin of a cost, by name of the metric.
    pub fn margin_of(&self, metric: &str) -> f64 {
        self.margins.get(metric).copied().unwrap_or(self.margin)
    }
}

/// The examples as far as a report needs them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DatasetFacts {
    /// Name.
    pub name: String,
    /// Where it comes from, with licence.
    pub source: String,
    /// Hash of the tensor file of each model input.
    pub sha256: Vec<Sha256Hex>,
    /// Number of examples.
    pub examples: u64,
    /// What is right, example by example.
    pub labels: Labels,
    /// Names of the classes; empty when they have none.
    pub classes: Vec<String>,
    /// Names of the examples; empty when they have none.
    pub names: Vec<String>,
    /// Examples with the same text belong together (a speaker, a document); empty when each stands for itself.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
    /// What the examples look like, where they can be shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pictures: Option<Pictures>,
}

impl DatasetFacts {
    /// Made by the agent, and like nothing that a model was trained for.
    pub fn is_random(&self) -> bool {
        self.sha256.is_empty()
    }
}

/// A device of the run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DevicePlan {
    /// The id used everywhere.
    pub id: String,
    /// `local`, `adb`, `ssh`, `fake`.
    pub transport: String,
    /// Where the transport finds it: a serial number, a host; empty where there is only one place.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub address: String,
    /// The tags it had.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// Cores it is measured on; empty: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cores: Vec<u32>,
    /// Android's fixed-performance mode was asked for.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub fixed_performance: bool,
    /// What performance units wait for before they begin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cool_down: Option<CoolDown>,
}

impl DevicePlan {
    /// A device without an address and tags.
    pub fn new(id: &str, transport: &str) -> Self {
        let (id, transport) = (id.to_owned(), transport.to_owned());
        Self {
            id,
            transport,
            address: String::new(),
            tags: Vec::new(),
            cores: Vec::new(),
            fixed_performance: false,
            cool_down: None,
        }
    }
}

/// A case: one variant on one runtime on one device.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CasePlan {
    /// The variant.
    pub variant: VariantId,
    /// Runtime and backend.
    pub runtime: RuntimeId,
    /// The library of the runtime, where it needs one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub library: Option<CaseLibrary>,
    /// Options of the runtime, in its own words.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub options: BTreeMap<String, String>,
    /// Position in [`Plan::devices`].
    pub device: usize,
    /// Threads.
    pub threads: u16,
    /// Path of the model on the host, for people.
    pub model_path: String,
    /// Hash of the model file on the host.
    pub model_sha256: Sha256Hex,
    /// Size of the model file.
    pub model_bytes: u64,
    /// The agent makes it so many thousandths slower on purpose; see [`protocol::TrialSpec`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slowdown_permille: Option<u16>,
}

/// The library that a case is run by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CaseLibrary {
    /// Version, as the host knows it.
    pub version: String,
    /// Name of the file, for people.
    pub name: String,
    /// Hash of the file.
    pub sha256: Sha256Hex,
    /// Hashes of what is loaded before it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub with: Vec<Sha256Hex>,
}

/// What a unit is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Purpose {
    /// Latency and memory, all cases interleaved.
    Performance,
    /// The same once more with fresh processes, to confirm what was found worse.
    Confirmation,
    /// Outputs of every example.
    Accuracy,
    /// Time per node.
    Profile,
}

/// One line of the journal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "entry")]
pub enum Entry {
    /// An agent answered. Again after a reconnect or a resume.
    Device {
        /// Position in [`Plan::devices`].
        device: usize,
        /// The agent.
        agent: AgentInfo,
        /// The device.
        info: DeviceInfo,
        /// What it can run.
        runtimes: Vec<RuntimeInfo>,
    },
    /// What a case's model file holds.
    Inspected {
        /// Which case.
        case: CaseIndex,
        /// The facts.
        facts: ModelFacts,
    },
    /// A unit was sent to a device.
    UnitStarted {
        /// Its number.
        unit: UnitId,
        /// 0, or higher for a retry after device trouble.
        attempt: u32,
        /// Position in [`Plan::devices`].
        device: usize,
        /// What it is for.
        purpose: Purpose,
        /// The unit's seed.
        seed: u64,
        /// Case of each trial, in the order of the unit's trials.
        cases: Vec<CaseIndex>,
        /// Least iterations of every side in steady state, where the plan's rules gave way to what the first units
        /// said about the spread ([`crate::verdict::iterations_per_side`]).
        #[serde(default, skip_serializing_if = "Option::is_none")]
        iterations: Option<u32>,
        /// RFC 3339, UTC.
        at: String,
    },
    /// The agent reported.
    Event {
        /// Which unit.
        unit: UnitId,
        /// Which attempt.
        attempt: u32,
        /// Position in the unit's stream.
        seq: u64,
        /// What.
        event: Event,
    },
    /// The unit is complete, and its counts agree with what was received.
    UnitDone {
        /// Which unit.
        unit: UnitId,
        /// Which attempt.
        attempt: u32,
        /// The agent's counts.
        counts: Counts,
    },
    /// The unit was lost; its entries so far do not count.
    UnitLost {
        /// Which unit.
        unit: UnitId,
        /// Which attempt.
        attempt: u32,
        /// Why.
        reason: String,
    },
    /// The device will not be used any more in this run.
    DeviceLost {
        /// Position in [`Plan::devices`].
        device: usize,
        /// Why, and what to do.
        reason: String,
    },
    /// The run came to its end. Without this line it can be resumed.
    Finished {
        /// RFC 3339, UTC.
        at: String,
        /// Why it ended: all decided, all units measured, time budget, interrupted.
        reason: String,
    },
}

/// A run as read back: whole units only, in plan order.
#[derive(Clone, Debug, PartialEq)]
pub struct RunRecord {
    /// The plan.
    pub plan: Plan,
    /// What answered for each device of the plan, as last seen.
    pub devices: Vec<Option<DeviceRecord>>,
    /// Facts per case, where the model could be inspected.
    pub facts: Vec<Option<ModelFacts>>,
    /// Units whose end was confirmed.
    pub units: Vec<UnitRecord>,
    /// Units and devices that were lost, and why, for the report.
    pub losses: Vec<String>,
    /// Why the run ended; `None` when it was cut off and can be resumed.
    pub finished: Option<String>,
    /// The last seal of the journal: kept elsewhere, it shows whether this is the same record.
    pub seal: Sha256Hex,
}

/// A device that answered.
#[derive(Clone, Debug, PartialEq)]
pub struct DeviceRecord {
    /// The agent.
    pub agent: AgentInfo,
    /// The device.
    pub info: DeviceInfo,
    /// What it can run.
    pub runtimes: Vec<RuntimeInfo>,
}

/// A complete unit.
#[derive(Clone, Debug, PartialEq)]
pub struct UnitRecord {
    /// Its number.
    pub unit: UnitId,
    /// Position in [`Plan::devices`].
    pub device: usize,
    /// What it was for.
    pub purpose: Purpose,
    /// Its seed.
    pub seed: u64,
    /// Least iterations of every side, where they were chosen from the units before.
    pub iterations: Option<u32>,
    /// How the wait for the device to cool down ended, where there was one.
    pub cooled_down: Option<CooledDownRecord>,
    /// State of the device before.
    pub before: Option<DeviceState>,
    /// The same between blocks, every few seconds: only what is cheap to read.
    pub during: Vec<DeviceState>,
    /// State of the device after.
    pub after: Option<DeviceState>,
    /// Blocks that do not count, with reasons.
    pub dropped_blocks: Vec<(u32, String)>,
    /// Its trials.
    pub trials: Vec<TrialRecord>,
}

impl UnitRecord {
    /// A unit of whose device nothing has been told yet.
    pub fn new(unit: UnitId, device: usize, purpose: Purpose, seed: u64, trials: Vec<TrialRecord>) -> Self {
        Self {
            unit,
            device,
            purpose,
            seed,
            iterations: None,
            cooled_down: None,
            before: None,
            during: Vec::new(),
            after: None,
            dropped_blocks: Vec::new(),
            trials,
        }
    }
}

/// A trial as its events told it.
#[derive(Clone, Debug, PartialEq)]
pub struct TrialRecord {
    /// Its case.
    pub case: CaseIndex,
    /// How it ended.
    pub outcome: Outcome,
    /// The model, once loaded.
    pub loaded: Option<LoadedRecord>,
    /// First invoke.
    pub first_inference_ns: Option<u64>,
    /// How warm-up ended, once it did.
    pub warmed_up: Option<WarmUpRecord>,
    /// Memory by phase.
    pub memory: Vec<MemoryReading>,
    /// Every burst, in the order measured, dropped blocks included.
    pub bursts: Vec<Samples>,
    /// Why steady state was cut short, if it was.
    pub cut_short: Option<String>,
    /// Digest per example of an accuracy trial.
    pub digests: Vec<String>,
    /// The outputs file of an accuracy trial.
    pub outputs: Option<OutputsRecord>,
    /// Time per node of a profile trial.
    pub profile: Vec<NodeProfile>,
}

/// What [`Event::CooledDown`] told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CooledDownRecord {
    /// How long it took.
    pub waited_ms: u64,
    /// The hottest zone that counts, at the end.
    pub zone: Option<String>,
    /// Its temperature; `None` when the device tells none.
    pub milli_celsius: Option<i64>,
    /// False: the unit was measured on a device hotter than asked for.
    pub reached: bool,
}

/// What [`Event::WarmedUp`] told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WarmUpRecord {
    /// Invokes in warm-up, the first inference not counted.
    pub iterations: u64,
    /// Time spent in warm-up bursts.
    pub wall_ns: u64,
    /// Invokes per sample in steady state.
    pub batch: u32,
    /// False when a trend remained.
    pub settled: bool,
}

/// What [`Event::Loaded`] told.
#[derive(Clone, Debug, PartialEq)]
pub struct LoadedRecord {
    /// Hash of the model as read on the device.
    pub model_sha256: Sha256Hex,
    /// Hashes of the inputs as read on the device.
    pub input_sha256: Vec<Sha256Hex>,
    /// Map and parse.
    pub load_ns: u64,
    /// Compile and allocate.
    pub compile_ns: u64,
    /// Inputs.
    pub inputs: Vec<TensorInfo>,
    /// Outputs.
    pub outputs: Vec<TensorInfo>,
    /// What really ran.
    pub proof: BackendProof,
}

impl LoadedRecord {
    /// At least one node ran on the backend asked for.
    pub fn is_proven(&self) -> bool {
        self.proof.nodes_total > 0 && self.proof.nodes_on_backend > 0
    }
}

/// Outputs of an accuracy trial: `outputs/<sha256>.bin` of the run, little-endian f32, example after
/// example, the model's outputs one after the other.
#[derive(Clone, Debug, PartialEq)]
pub struct OutputsRecord {
    /// Hash, and name of the file.
    pub sha256: Sha256Hex,
    /// Number of examples.
    pub examples: u64,
    /// Elements per example of each output.
    pub elements: Vec<u64>,
    /// Values as read from the file, when it is there and whole: `examples × Σ elements`.
    pub values: Option<Vec<f32>>,
}
