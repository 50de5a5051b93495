//! The record of a night, as plain values: what was planned, what happened, and the summary of it. A night is one
//! folder:
//!
//! | file | content |
//! |---|---|
//! | `plan.json` | [`NightPlan`], written once before anything is measured |
//! | `journal.jsonl` | [`NightEntry`] per line, append-only |
//! | `runs/<run>/` | the record of each job, with its reports |
//! | `summary.json`, `summary.md` | [`Summary`], made from the rest when the night has ended |
//!
//! Beside the nights, `devices.json` has the devices as they were last seen: a list of
//! [`DeviceCard`](crate::device::DeviceCard).

mod store;
mod summary;

pub(crate) use store::{DEVICES_FILE, JOURNAL_FILE, PLAN_FILE};
pub use store::{
    NightError, NightRecord, NightWriter, RUNS_DIR, SUMMARY_FILE, list, load, load_devices, save_devices,
};
pub use summary::{RunVerdicts, Section, markdown, summary};

use crate::{
    device::DeviceCard,
    job::{Job, JobId, JobOutcome, JobResult},
};
use protocol::Sha256Hex;
use serde::{Deserialize, Serialize};

/// Version of a night's files; a reader refuses every other one with words.
pub const NIGHT_SCHEMA: u32 = 1;

/// What was decided before the first job.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NightPlan {
    /// [`NIGHT_SCHEMA`].
    pub schema: u32,
    /// Name of the night, also of its folder: UTC time and a random part.
    pub night: String,
    /// Name of the farm.
    pub farm: String,
    /// The host that planned.
    pub host: String,
    /// When it began, RFC 3339, UTC.
    pub began: String,
    /// Version of the product.
    pub version: String,
    /// Hash of `farm.toml`.
    pub farm_sha256: Sha256Hex,
    /// It ends at the latest, RFC 3339, UTC.
    pub ends: Option<String>,
    /// The jobs, in the order in which they are handed out.
    pub jobs: Vec<Job>,
    /// The devices as they were at the beginning.
    pub devices: Vec<DeviceCard>,
}

/// One line of a night's journal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "entry", deny_unknown_fields)]
pub enum NightEntry {
    /// A job came to its end; its record lies in `runs`.
    Result {
        /// What became of it.
        result: JobResult,
        /// Name of its run, where there is one.
        run: Option<String>,
    },
    /// Jobs were added, to confirm changes.
    Added {
        /// Which.
        jobs: Vec<Job>,
    },
    /// A device changed its state.
    Device {
        /// The device as it is now.
        card: DeviceCard,
    },
    /// The run's rows are in the history.
    Kept {
        /// Which run.
        run: String,
    },
    /// Nothing more is measured.
    Ended {
        /// When, RFC 3339, UTC.
        at: String,
        /// How.
        how: Ended,
    },
}

/// How a night ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ended {
    /// Every job came to an end.
    Whole,
    /// Its time was over first.
    OutOfTime,
    /// Somebody asked it to stop.
    Interrupted,
}

/// A night in short: what moved, what is sick, what could not run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Summary {
    /// [`NIGHT_SCHEMA`].
    pub schema: u32,
    /// Name of the night.
    pub night: String,
    /// Name of the farm.
    pub farm: String,
    /// When it began, RFC 3339, UTC.
    pub began: String,
    /// When it ended; `None`: it is under way, or was cut off.
    pub ended: Option<String>,
    /// How it ended.
    pub how: Option<Ended>,
    /// Every job that was planned.
    pub jobs: Vec<JobLine>,
    /// Every verdict of the night, worst first.
    pub verdicts: Vec<VerdictLine>,
    /// Changes since earlier nights that were looked at in this one.
    pub changes: Vec<ChangeLine>,
    /// The devices as they were at the end.
    pub devices: Vec<DeviceCard>,
    /// Runs that are not in the history, for it could not be written.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unkept: Vec<String>,
    /// What else a person should know: files that could not be read, a night with the date of an earlier one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// A job and what became of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JobLine {
    /// The job.
    pub job: JobId,
    /// Who was to do it.
    pub class: String,
    /// The suite, or what else is measured.
    pub subject: String,
    /// Who did it.
    pub device: Option<String>,
    /// The host of that device.
    pub host: Option<String>,
    /// `None`: it has not come to its end.
    pub outcome: Option<JobOutcome>,
    /// Attempts that were made.
    pub attempts: u32,
    /// How long the last one took.
    pub took_ms: u64,
    /// Name of its run: a folder in `runs`.
    pub run: Option<String>,
}

/// A verdict of a night.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VerdictLine {
    /// The run it is of: a folder in `runs`.
    pub run: String,
    /// The device.
    pub device: String,
    /// The suite.
    pub suite: String,
    /// What is judged: variant and runtime.
    pub candidate: String,
    /// What it is held against.
    pub reference: String,
    /// Name of the metric.
    pub metric: String,
    /// `better`, `worse`, `equivalent`, `inconclusive`, `invalid`.
    pub verdict: String,
    /// The effect with its interval as a report says it; empty where nothing could be computed.
    pub effect: String,
    /// The first reason, in words; empty where there is none.
    pub reason: String,
}

/// A change since earlier nights.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChangeLine {
    /// Its id in the history.
    pub alarm: String,
    /// The series, in words.
    pub series: String,
    /// The night from which on the level is another.
    pub since: String,
    /// New level over old level.
    pub ratio: f64,
    /// Least ratio that agrees with what was measured.
    pub low: f64,
    /// Greatest ratio that agrees with what was measured.
    pub high: f64,
    /// What changed with it: `model`, `runtime`, `agent`, `os`.
    pub versions: Vec<String>,
    /// It is for the worse.
    pub worse: bool,
    /// `proposed`, `confirmed`, `refuted`, `unconfirmable`, `acknowledged`.
    pub state: String,
    /// Why, or who acknowledged it with which reason.
    pub why: String,
}
