//! A job: one suite on one device, as somebody who may be on another host is told it, and what became of it.

use protocol::Sha256Hex;
use serde::{Deserialize, Serialize};
use std::{
    fmt,
    path::{Path, PathBuf},
};

/// Names a job: made of what is to be done and in which night, so that the same job has the same name wherever and
/// however often it is planned.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct JobId(String);

/// Characters of an id.
const ID_CHARS: usize = 24;

impl JobId {
    /// The id of this work in that night.
    pub fn of(night: &str, class: &str, work: &Work) -> Self {
        let told = serde_json::json!({ "night": night, "class": class, "work": work }).to_string();
        Self(Sha256Hex::of_bytes(told.as_bytes()).to_string().chars().take(ID_CHARS).collect())
    }

    /// As it is written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Something to be measured, by one device.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Job {
    /// Its name.
    pub id: JobId,
    /// The night it belongs to.
    pub night: String,
    /// Version of who planned it: whoever does it must be of the same.
    pub version: String,
    /// Who may do it: the id of a device, or a tag that any of several devices has.
    pub class: String,
    /// What is to be done.
    pub work: Work,
    /// Files that the work refers to, beyond what is shipped.
    pub files: Vec<JobFile>,
    /// Higher goes first.
    pub priority: i32,
    /// How long it should take.
    pub estimate_ms: u64,
    /// It is given up when it has taken longer.
    pub limit_ms: u64,
}

/// What is measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Work {
    /// Which models.
    pub subject: Subject,
    /// Only variants with one of these in their name; empty: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub filter: Vec<String>,
    /// Runtimes, `litert/xnnpack`; empty: the suite's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub runtimes: Vec<String>,
    /// Threads; `None`: the suite's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threads: Option<u16>,
    /// Most units; `None`: the suite's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub units: Option<u32>,
    /// Measuring ends after so long; `None`: the suite's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_budget_ms: Option<u64>,
    /// The pinned model that is measured along, on the host that planned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<PathBuf>,
    /// Seeds every random order.
    pub seed: u64,
}

impl Work {
    /// All of it, as it says itself.
    pub fn of(subject: Subject, seed: u64) -> Self {
        Self {
            subject,
            filter: Vec::new(),
            runtimes: Vec::new(),
            threads: None,
            units: None,
            time_budget_ms: None,
            reference: None,
            seed,
        }
    }
}

/// Where the models come from. Paths are absolute, on the host that planned; [`Job::files`] has what lies there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind", deny_unknown_fields)]
pub enum Subject {
    /// A suite: one that is shipped, by name, or the path of a definition.
    Suite {
        /// Name or path.
        at: String,
    },
    /// Two versions of the same models, to confirm a change.
    Versions {
        /// Folder with the earlier ones.
        base: PathBuf,
        /// Folder with the later ones.
        head: PathBuf,
        /// The data: a file, or a suite whose data is taken.
        data: Option<String>,
        /// The changes that are to be confirmed.
        alarms: Vec<String>,
    },
    /// The same models on two versions of a runtime, to confirm a change.
    Libraries {
        /// Name or path of the suite.
        at: String,
        /// The changes that are to be confirmed.
        alarms: Vec<String>,
    },
}

/// For people: the name of the suite, or what is confirmed.
impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name =
            |at: &str| Path::new(at).file_stem().map_or(at.to_owned(), |s| s.to_string_lossy().into_owned());
        match self {
            Self::Suite { at } => f.write_str(&name(at)),
            Self::Versions { alarms, .. } => write!(f, "two versions of a model, for {}", alarms.join(", ")),
            Self::Libraries { at, alarms } => {
                write!(f, "{} on two versions of a runtime, for {}", name(at), alarms.join(", "))
            }
        }
    }
}

/// A file that a job needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JobFile {
    /// Absolute path on the host that planned.
    pub path: PathBuf,
    /// Its hash.
    pub sha256: Sha256Hex,
    /// Its size.
    pub bytes: u64,
}

/// What became of a job.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JobResult {
    /// Which job.
    pub job: JobId,
    /// Its night.
    pub night: String,
    /// The host that did it.
    pub host: String,
    /// The device that did it.
    pub device: String,
    /// The attempt, from 1.
    pub attempt: u32,
    /// How it went.
    pub outcome: JobOutcome,
    /// Where its record is.
    pub record: Option<Record>,
    /// How long it took.
    pub took_ms: u64,
    /// When it ended, RFC 3339, UTC.
    pub ended: String,
}

/// How a job went. Only trouble with the device is a reason to try again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "outcome", deny_unknown_fields)]
pub enum JobOutcome {
    /// There is a record, with a result for every variant.
    Measured,
    /// There is a record, and variants without a result: findings, not trouble.
    Partly {
        /// Which, and why.
        reason: String,
    },
    /// The device, or the way to it, gave trouble.
    DeviceTrouble {
        /// Which.
        reason: String,
    },
    /// Something that the user has to change: no device would do better.
    UserError {
        /// What.
        reason: String,
    },
    /// It was never begun.
    NotRun {
        /// Why.
        reason: String,
    },
}

impl JobOutcome {
    /// The word for it.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Measured => "measured",
            Self::Partly { .. } => "partly",
            Self::DeviceTrouble { .. } => "device trouble",
            Self::UserError { .. } => "user error",
            Self::NotRun { .. } => "not run",
        }
    }

    /// Why it is not whole.
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::Measured => None,
            Self::Partly { reason }
            | Self::DeviceTrouble { reason }
            | Self::UserError { reason }
            | Self::NotRun { reason } => Some(reason),
        }
    }
}

/// Where the record of a job is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "at", deny_unknown_fields)]
pub enum Record {
    /// A run's folder on this host.
    Folder {
        /// Where.
        path: PathBuf,
    },
    /// With the queue: an archive of the run's folder.
    Object {
        /// Its name there.
        name: String,
        /// Hash of the archive.
        sha256: Sha256Hex,
        /// Size of the archive.
        bytes: u64,
        /// Name of the run.
        run: String,
    },
}
