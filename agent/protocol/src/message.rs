//! The two message sets: what the host sends to the agent, and what the agent answers.

use crate::{
    Artifact, Counts, DeviceInfo, Event, Format, ModelFacts, Observation, Sha256Hex, UnitId, UnitSpec,
};
use serde::{Deserialize, Serialize};

/// From the host, one per line on the agent's stdin. End of file ends the agent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "type", deny_unknown_fields)]
pub enum HostMessage {
    /// First line. The agent answers with its own hello, or refuses the version.
    Hello {
        /// [`crate::PROTOCOL_VERSION`].
        protocol: u32,
    },
    /// Measure a unit. One at a time: what arrives meanwhile waits, up to [`crate::MAX_QUEUE`] requests.
    Run {
        /// What to measure.
        unit: UnitSpec,
    },
    /// Say what a model file holds.
    Inspect {
        /// The file.
        model: Artifact,
        /// And run it, to say what becomes of every tensor.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        run: Option<Observation>,
    },
    /// Stop what was asked for so far, under way or waiting. The end of every unit is still reported.
    Cancel,
    /// I am still here.
    Ping,
    /// No more requests: the agent finishes those it has taken and exits with 0. After it the end of
    /// stdin and silence no longer count as a lost host, so that a spec can be piped in by hand.
    Bye,
}

/// A runtime that this agent can drive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuntimeInfo {
    /// `builtin`, ...
    pub runtime: String,
    /// Version; empty where the library tells, which comes with each trial.
    pub version: String,
    /// Backends it offers on this device; what a library has is known once it is loaded.
    pub backends: Vec<String>,
    /// Formats of model files that it opens, whatever the library's version; empty: any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub formats: Vec<Format>,
    /// Name of the library that a trial must bring; `None`: it is inside the agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub library: Option<String>,
    /// It only pretends, for tests: never to be chosen unless a suite names it.
    #[serde(default)]
    pub pretends: bool,
}

/// Who answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentInfo {
    /// Version of the package.
    pub version: String,
    /// Hash of the agent's own executable, as it runs.
    pub sha256: Sha256Hex,
    /// Process id on the device.
    pub pid: u32,
}

/// From the agent, one per line on its stdout, which carries nothing else.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "type")]
pub enum AgentMessage {
    /// Answer to the host's hello.
    Hello {
        /// [`crate::PROTOCOL_VERSION`] of the agent.
        protocol: u32,
        /// The agent itself.
        agent: AgentInfo,
        /// The device it runs on.
        device: DeviceInfo,
        /// What it can run.
        runtimes: Vec<RuntimeInfo>,
    },
    /// Something happened in the unit under way.
    Event {
        /// Which unit.
        unit: UnitId,
        /// Position in the unit's stream of events, from 0, without gaps.
        seq: u64,
        /// What.
        event: Event,
    },
    /// The unit is over, whatever became of its trials.
    UnitDone {
        /// Which unit.
        unit: UnitId,
        /// What the host must have received.
        counts: Counts,
    },
    /// Answer to [`HostMessage::Inspect`].
    Inspected {
        /// The facts.
        model: ModelFacts,
    },
    /// The request could not be taken; the agent goes on.
    Refused {
        /// Why, and what to do.
        reason: String,
        /// The unit that was asked for, where it was one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        unit: Option<UnitId>,
    },
    /// I am still here.
    Heartbeat,
}
