//! What a pretended device does wrong, and how fast its models are. Read from TOML or made in code.

use super::read_small;
use protocol::{Outcome, Precision};
use serde::Deserialize;
use std::path::Path;

/// Longest script that is read.
const MAX_BYTES: u64 = 1 << 20;

/// The behaviour of a pretended device.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Script {
    /// What goes wrong.
    pub fault: Vec<Fault>,
    /// It does not answer when it is looked at or probed.
    pub hangs: bool,
    /// It has no agent, and this instruction set; whatever is pushed, the pretended agent answers.
    pub needs_agent: Option<String>,
    /// Models that differ from the default.
    pub model: Vec<ScriptedModel>,
}

/// Something that goes wrong.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Fault {
    /// What.
    pub kind: FaultKind,
    /// At which unit the device is given, or for push faults at which push, counted from 0 over all agents.
    pub at: u32,
    /// So often in a row.
    #[serde(default = "once")]
    pub times: u32,
}

fn once() -> u32 {
    1
}

/// Kinds of trouble.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FaultKind {
    /// The agent dies in the middle of the unit.
    Lost,
    /// The agent dies when it is to look into a model before that unit.
    LostInspecting,
    /// A line that is no message.
    Garbage,
    /// A line without end.
    Endless,
    /// Nothing more is said.
    Silent,
    /// Heartbeats go on, and nothing else does until the unit is cancelled.
    Hang,
    /// The final counts do not agree with what was sent.
    WrongCounts,
    /// An event is left out.
    Gap,
    /// The unit is refused.
    Refuse,
    /// Outputs are damaged after they were hashed.
    WrongHash,
    /// The greeting names another version.
    WrongVersion,
    /// A push finds the disk full.
    DiskFull,
    /// A push makes no progress.
    Stall,
}

impl FaultKind {
    fn is_of_push(self) -> bool {
        matches!(self, Self::DiskFull | Self::Stall)
    }
}

/// How a model behaves.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ScriptedModel {
    /// How the hash of its file begins.
    pub sha256: String,
    /// Typical latency.
    #[serde(default = "default_latency_ns")]
    pub latency_ns: u64,
    /// Precision found in it.
    #[serde(default = "default_precision")]
    pub precision: Precision,
    /// How its trials end, unless well.
    #[serde(default)]
    pub outcome: Option<Outcome>,
}

fn default_latency_ns() -> u64 {
    1_000_000
}

fn default_precision() -> Precision {
    Precision::Fp32
}

impl Script {
    /// Reads a script.
    ///
    /// # Errors
    /// Names the file and the key.
    pub fn read(path: &Path) -> Result<Self, String> {
        let text = read_small(path, MAX_BYTES)?;
        toml::from_str(&text)
            .map_err(|e| format!("the script {}: {}", path.display(), e.to_string().trim_end()))
    }

    /// What goes wrong at the unit of that number.
    pub(super) fn on_unit(&self, number: u32) -> Option<FaultKind> {
        self.at(number, false)
    }

    /// What goes wrong at the push of that number.
    pub(super) fn on_push(&self, number: u32) -> Option<FaultKind> {
        self.at(number, true)
    }

    fn at(&self, number: u32, push: bool) -> Option<FaultKind> {
        let hit = |f: &&Fault| f.kind.is_of_push() == push && number >= f.at && number - f.at < f.times;
        self.fault.iter().find(hit).map(|f| f.kind)
    }

    /// How the model with that hash behaves.
    pub(super) fn model(&self, sha256: &str) -> ScriptedModel {
        let known = self.model.iter().find(|m| sha256.starts_with(&m.sha256));
        known.cloned().unwrap_or(ScriptedModel {
            sha256: sha256.to_owned(),
            latency_ns: default_latency_ns(),
            precision: default_precision(),
            outcome: None,
        })
    }
}
