//! What the host and the agent say to each other: ids, trial specifications, events, metrics and
//! the framing that carries them. A leaf: no clock, no process, no runtime, no statistics.
//!
//! The whole conversation is described in `agent/PROTOCOL.md`.

mod contrast;
mod device;
mod event;
mod frame;
mod hash;
mod id;
mod message;
mod metric;
mod model;
mod order;
mod rng;
mod spec;
mod task;
mod tensor;

pub use contrast::{CaseIndex, Contrast, ContrastKind, Sharing};
pub use device::{Battery, Cooling, Core, DeviceInfo, DeviceState, FrequencyPolicy, Moment, ThermalZone};
pub use event::{
    Counts, Event, FailKind, MemoryPhase, MemoryReading, Outcome, PeakMethod, SamplePhase, Samples,
};
pub use frame::{FrameError, LineBuffer, LineReader, MAX_LINE_BYTES, encode, encode_into, write_line};
pub use hash::{HashError, Sha256, Sha256Hex};
pub use id::{IdError, RuntimeId, UnitId, VariantId};
pub use message::{AgentInfo, AgentMessage, HostMessage, RuntimeInfo};
pub use metric::{Direction, METRICS, Metric, Unit, metric};
pub use model::{
    BackendProof, Fallback, Format, LayerStats, MAX_LAYER_NAME, MAX_LAYERS, ModelFacts, NodeProfile,
    Observed, OpCount, Precision, UnitShare, WeightBytes,
};
pub use order::UnitOrder;
pub use rng::Rng;
pub use spec::{
    Artifact, CoolDown, Inputs, Library, MAX_COOL_DOWN_MS, MAX_OBSERVED, MAX_TRIALS, Mode, Observation,
    PerformanceRules, PingPong, Schedule, SpecError, TensorFile, TrialSpec, UnitSpec, WarmUp,
};
pub use task::{
    Averaging, BOX_NUMBERS, Channels, Corners, Decode, LabelArrays, LabelKind, Labels, MAX_ALPHABET, Task,
    TextUnit,
};
pub use tensor::{DType, Quantization, TensorInfo};

/// Version of the conversation. A host and an agent of different versions refuse each other, and the
/// host pushes its own agent again.
pub const PROTOCOL_VERSION: u32 = 4;

/// The agent ends itself when the host has said nothing for this long (the host pings every
/// [`PING_INTERVAL_MS`]): an unplugged cable must not leave a worker burning the battery.
pub const HOST_SILENCE_LIMIT_MS: u64 = 15_000;

/// File in an agent's directory that it holds locked from its first unit to its end. It begins with the agent's
/// process id and the time at which that process started, in clock ticks since boot, both in decimal.
pub const LOCK_FILE: &str = "agent.lock";

/// How often the host pings, always, and the agent beats, while it works and has nothing else to say.
pub const PING_INTERVAL_MS: u64 = 2_000;

/// Requests that wait in the agent while a unit is under way; one more is refused.
pub const MAX_QUEUE: usize = 64;
