//! What is known of a device of the farm: who has it, what it may do, and how it is. This is what workers announce,
//! what the night's record keeps, and what the dashboard shows.

use serde::{Deserialize, Serialize};

/// A device and how it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeviceCard {
    /// Its id.
    pub id: String,
    /// The host that it is attached to.
    pub host: String,
    /// `local`, `adb`, `ssh`, `fake`.
    pub transport: String,
    /// Its tags: with its id, the classes of jobs that it may do.
    pub tags: Vec<String>,
    /// Version of `bench` on that host.
    pub version: String,
    /// Board, phone or computer.
    pub model: Option<String>,
    /// Operating system with version.
    pub os: Option<String>,
    /// How it is.
    pub health: Health,
    /// When this was so, RFC 3339, UTC.
    pub at: String,
}

impl DeviceCard {
    /// The classes of jobs that it may do.
    pub fn classes(&self) -> Vec<String> {
        std::iter::once(&self.id).chain(&self.tags).cloned().collect()
    }
}

/// How a device is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Health {
    /// What it is doing, or why it does nothing.
    pub state: State,
    /// Jobs in a row that ended with trouble of the device.
    pub strikes: u32,
    /// When it was last seen to answer, RFC 3339, UTC.
    pub seen: Option<String>,
    /// Charge.
    pub battery_percent: Option<u32>,
    /// The hottest zone.
    pub milli_celsius: Option<i64>,
    /// Canaries that watched it, over all nights.
    pub canaries: Canaries,
}

/// What canaries found on a device: the same model against itself, and against itself slowed down.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Canaries {
    /// Pairs of the same model.
    pub same: u64,
    /// Of these, called different for good.
    pub false_alarms: u64,
    /// Pairs with a known slowdown.
    pub slower: u64,
    /// Of these, found.
    pub found: u64,
}

/// What a device is doing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "state", deny_unknown_fields)]
pub enum State {
    /// Ready for a job.
    #[default]
    Ready,
    /// At work on one.
    Busy {
        /// Which.
        job: String,
    },
    /// It does not answer.
    Offline {
        /// What was tried, and what came of it.
        reason: String,
    },
    /// It answers, and gets no jobs until it has been found well again.
    Quarantined {
        /// Why.
        reason: String,
        /// Since when, RFC 3339, UTC.
        since: String,
        /// When it is probed again, RFC 3339, UTC.
        probe: String,
    },
}

impl State {
    /// The word for it.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Busy { .. } => "busy",
            Self::Offline { .. } => "offline",
            Self::Quarantined { .. } => "quarantined",
        }
    }
}
