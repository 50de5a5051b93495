//! What the history keeps: one row is one metric of one case on one night. Made from a run record and its verdicts, and
//! nothing else.

use crate::record::{CasePlan, DeviceRecord, Plan, RunRecord};
use crate::verdict::{CaseValue, Verdicts, case_values};
use protocol::{BackendProof, Metric, Sha256Hex};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// Characters of a hash that name a build of the agent.
const SHORT_HASH: usize = 12;
/// Most characters of a text that is kept: reasons and names of systems are untrusted.
const MAX_TEXT: usize = 400;

/// What stays the same from night to night: the rows with one key are a series.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SeriesKey {
    /// Id of the device.
    pub device: String,
    /// Name of the suite.
    pub suite: String,
    /// `model@variant`.
    pub variant: String,
    /// Runtime and backend, as asked for.
    pub runtime: String,
    /// Threads.
    pub threads: u16,
    /// Options of the runtime, `name=value` by name, with `;` between; empty: none.
    pub options: String,
    /// Name of the metric; its unit is the last part.
    pub metric: String,
}

/// Short name of a series: a number of 63 bits that follows from its key, printed as 16 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SeriesId(pub(super) i64);

impl SeriesKey {
    /// Names of its parts, as columns are called.
    pub(super) const COLUMNS: [&'static str; 7] =
        ["device", "suite", "variant", "runtime", "threads", "options", "metric"];

    /// Its parts as text, by [`Self::COLUMNS`].
    pub(super) fn texts(&self) -> [String; 7] {
        let Self { device, suite, variant, runtime, threads, options, metric } = self;
        let text = String::clone;
        let threads = threads.to_string();
        [text(device), text(suite), text(variant), text(runtime), threads, text(options), text(metric)]
    }

    /// The same key gives the same id, on every machine and in every version.
    pub fn id(&self) -> SeriesId {
        let hash = Sha256Hex::of_bytes(self.texts().join("\0").as_bytes());
        let first = i64::from_str_radix(&hash.as_str()[1..16], 16).unwrap_or_default();
        SeriesId(first)
    }

    /// The metric, where this version knows it.
    pub fn known_metric(&self) -> Option<&'static Metric> {
        protocol::metric(&self.metric)
    }
}

impl fmt::Display for SeriesKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { device, suite, variant, runtime, threads, options, metric } = self;
        write!(f, "{device} {suite} {variant} {runtime} {metric}")?;
        if *threads != 1 {
            write!(f, " threads={threads}")?;
        }
        if !options.is_empty() {
            write!(f, " {options}")?;
        }
        Ok(())
    }
}

impl fmt::Display for SeriesId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl Serialize for SeriesId {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl fmt::Debug for SeriesId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The night that a run belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Night {
    /// Its date, `YYYY-MM-DD`.
    pub date: String,
    /// Name of the night, where the run was part of one.
    pub id: Option<String>,
    /// Name of the host that measured, where it is known.
    pub host: Option<String>,
}

impl Night {
    /// Of a run that was part of no night: the day on which it was planned, UTC.
    pub fn of_run(plan: &Plan) -> Self {
        Self { date: plan.created.chars().take(10).collect(), id: None, host: None }
    }
}

/// One metric of one case of one run. Columns of the same names are told in `reports/HISTORY.md`.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Row {
    /// What it is a value of.
    #[serde(flatten)]
    pub key: SeriesKey,
    /// Date of the night, `YYYY-MM-DD`.
    pub night: String,
    /// Name of the night.
    pub night_id: Option<String>,
    /// Name of the run.
    pub run: String,
    /// When the run was planned, RFC 3339, UTC.
    pub measured_at: String,
    /// Host that measured.
    pub host: Option<String>,
    /// Model of the device, as it names itself.
    pub device_model: Option<String>,
    /// Operating system with version, kernel and build.
    pub os: Option<String>,
    /// Version and build of the agent.
    pub agent: Option<String>,
    /// Version of the runtime as it ran, and what of it ran.
    pub runtime_version: Option<String>,
    /// Hash of the runtime's library, where it has one.
    pub library_sha256: Option<String>,
    /// Hash of the model.
    pub model_sha256: String,
    /// Hash of the examples; of several tensors, of their hashes.
    pub data_sha256: Option<String>,
    /// The value, in the metric's unit.
    pub value: Option<f64>,
    /// Lower end of its 95 % interval.
    pub low: Option<f64>,
    /// Upper end.
    pub high: Option<f64>,
    /// Units, processes or examples that it rests on.
    pub units: u64,
    /// False: it is kept and not used.
    pub valid: bool,
    /// Why it is not valid.
    pub reasons: Option<String>,
    /// Hash of the pinned reference model, measured interleaved in the same run.
    pub reference_sha256: Option<String>,
    /// What ran it: all that could change its speed beside the device.
    pub reference_stack: Option<String>,
    /// The value over that of the reference, round by round.
    pub ratio: Option<f64>,
    /// Lower end of its 95 % interval.
    pub ratio_low: Option<f64>,
    /// Upper end.
    pub ratio_high: Option<f64>,
}

/// Every row of a run, in the order of the plan and of [`protocol::METRICS`]; none for canaries.
pub fn rows(record: &RunRecord, verdicts: &Verdicts, night: &Night) -> Vec<Row> {
    case_values(record, verdicts).iter().filter_map(|value| row(record, night, value)).collect()
}

fn row(record: &RunRecord, night: &Night, value: &CaseValue) -> Option<Row> {
    let plan = &record.plan;
    let case = plan.cases.get(value.case)?;
    let device = plan.devices.get(case.device)?;
    let seen = record.devices.get(case.device).and_then(Option::as_ref);
    let stack = |case: &CasePlan, proof| stack(case, proof, seen);
    let reference = value.relative.and_then(|relative| Some((relative, plan.cases.get(relative.reference)?)));
    let reasons: Vec<String> = value.broken.iter().map(|reason| of_a_case(&reason.to_string())).collect();
    Some(Row {
        key: SeriesKey {
            device: device.id.clone(),
            suite: plan.suite.name.clone(),
            variant: case.variant.to_string(),
            runtime: case.runtime.to_string(),
            threads: case.threads,
            options: options(&case.options),
            metric: value.metric.name.to_owned(),
        },
        night: night.date.clone(),
        night_id: night.id.clone(),
        run: plan.run.clone(),
        measured_at: plan.created.clone(),
        host: night.host.clone(),
        device_model: seen.and_then(|d| d.info.model.clone()).map(short),
        os: seen.map(os),
        agent: seen.map(agent),
        runtime_version: proof(record, value.case).map(version),
        library_sha256: case.library.as_ref().map(|library| library.sha256.to_string()),
        model_sha256: case.model_sha256.to_string(),
        data_sha256: data(&plan.dataset.sha256),
        value: value.value,
        low: value.interval.map(|i| i.low),
        high: value.interval.map(|i| i.high),
        units: value.units as u64,
        valid: value.broken.is_empty() && value.value.is_some(),
        reasons: Some(reasons.join("; ")).filter(|text| !text.is_empty()).map(short),
        reference_sha256: reference.map(|(_, case)| case.model_sha256.to_string()),
        reference_stack: reference.map(|(relative, case)| stack(case, proof(record, relative.reference))),
        ratio: value.relative.map(|relative| relative.ratio),
        ratio_low: value.relative.and_then(|relative| relative.interval).map(|i| i.low),
        ratio_high: value.relative.and_then(|relative| relative.interval).map(|i| i.high),
    })
}

/// A reason speaks of a side; here there is one.
fn of_a_case(reason: &str) -> String {
    reason.replace("of the candidate ", "").replace("the candidate", "it")
}

fn options(of: &BTreeMap<String, String>) -> String {
    of.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(";")
}

fn short(text: String) -> String {
    text.chars().take(MAX_TEXT).collect()
}

fn os(device: &DeviceRecord) -> String {
    let info = &device.info;
    let build = info.build.as_ref().map(|build| format!(", {build}")).unwrap_or_default();
    short(format!("{}, kernel {}{build}", info.os, info.kernel))
}

fn agent(device: &DeviceRecord) -> String {
    let build: String = device.agent.sha256.as_str().chars().take(SHORT_HASH).collect();
    short(format!("{} {build}", device.agent.version))
}

fn proof(record: &RunRecord, case: usize) -> Option<&BackendProof> {
    let mut trials = record.units.iter().flat_map(|unit| &unit.trials).filter(|trial| trial.case == case);
    trials.find_map(|trial| trial.loaded.as_ref()).map(|loaded| &loaded.proof)
}

fn version(proof: &BackendProof) -> String {
    short(format!("{} {}", proof.runtime_version, proof.kernels).trim().to_owned())
}

/// What is inside the agent changes with the agent.
fn stack(case: &CasePlan, proof: Option<&BackendProof>, device: Option<&DeviceRecord>) -> String {
    let version = proof.map(version).unwrap_or_default();
    let built = match &case.library {
        Some(library) => library.sha256.to_string(),
        None => device.map(agent).unwrap_or_default(),
    };
    let (runtime, threads, options) = (&case.runtime, case.threads, options(&case.options));
    short(format!("{runtime} {version} [{built}] threads={threads} {options}").trim_end().to_owned())
}

fn data(of: &[Sha256Hex]) -> Option<String> {
    match of {
        [] => None,
        [one] => Some(one.to_string()),
        several => {
            let all: Vec<&str> = several.iter().map(Sha256Hex::as_str).collect();
            Some(Sha256Hex::of_bytes(all.join(" ").as_bytes()).to_string())
        }
    }
}
