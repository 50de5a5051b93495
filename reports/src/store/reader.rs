//! Reading a run: plan, journal and outputs into a [`RunRecord`]. Tolerates a torn last line and says
//! so; refuses everything else that is not as it was written.

use super::fold::{Fold, Known};
use super::journal::{Line, Lines};
use super::seal::Chain;
use super::{JOURNAL_FILE, MAX_OUTPUTS_BYTES, MAX_PLAN_BYTES, OUTPUTS_DIR, PLAN_FILE, StoreError, failed};
use crate::record::{Labels, OutputsRecord, Plan, RECORD_SCHEMA, RunRecord};
use protocol::{Sha256Hex, Unit, UnitId};
use std::fs::File;
use std::io::{BufReader, ErrorKind, Read};
use std::path::Path;

/// Widest margin of a score in dB.
const MAX_MARGIN_DB: f64 = 100.0;

/// Reads a run, finished or not. Memory grows with the samples of the whole units, not with what was
/// lost.
///
/// # Errors
/// No run there, another schema, a damaged plan or line, a record that is not as it was written, or the file
/// system refused. What was merely
/// cut off is a loss in the record, not an error.
pub fn load(dir: &Path) -> Result<RunRecord, StoreError> {
    let (mut plan, chain) = read_plan(dir)?;
    let scan = scan(dir, &plan, chain)?;
    let seal = scan.chain.last().clone();
    let Fold { known: Known { devices, devices_lost, facts, finished }, done, mut losses, .. } = scan.fold;
    if scan.torn_bytes > 0 {
        losses.push(format!("the last line of the journal was cut off ({} bytes)", scan.torn_bytes));
    }
    for (device, reason) in plan.devices.iter().zip(&devices_lost) {
        if let Some(reason) = reason {
            losses.push(format!("device {}: {reason}", device.id));
        }
    }
    let examples = plan.dataset.examples;
    if let Labels::Arrays(arrays) = &mut plan.dataset.labels {
        match read_values(dir, &arrays.sha256, examples, &[arrays.elements]) {
            Ok(values) => arrays.values = Some(values),
            Err(reason) => losses.push(format!(
                "labels: {OUTPUTS_DIR}/{}.bin {reason}; accuracy cannot be judged without it",
                arrays.sha256.short()
            )),
        }
    }
    if let Some(pictures) = &mut plan.dataset.pictures {
        match read_file(dir, &pictures.sha256, pictures.stride().checked_mul(examples)) {
            Ok(pixels) => pictures.pixels = Some(pixels),
            Err(reason) => losses.push(format!(
                "pictures of the examples: {OUTPUTS_DIR}/{}.bin {reason}; examples are shown by name",
                pictures.sha256.short()
            )),
        }
    }
    let mut units: Vec<_> = done.into_values().collect();
    for unit in &mut units {
        let id = unit.unit;
        for outputs in unit.trials.iter_mut().filter_map(|trial| trial.outputs.as_mut()) {
            match read_values(dir, &outputs.sha256, outputs.examples, &outputs.elements) {
                Ok(values) => outputs.values = Some(values),
                Err(reason) => losses.push(lost_outputs(id, outputs, &reason)),
            }
        }
    }
    Ok(RunRecord { plan, devices, facts, units, losses, finished, seal })
}

fn lost_outputs(unit: UnitId, outputs: &OutputsRecord, reason: &str) -> String {
    format!(
        "{unit}: {OUTPUTS_DIR}/{}.bin {reason}; accuracy cannot be judged from it",
        outputs.sha256.short()
    )
}

/// Reads the plan only.
///
/// # Errors
/// As [`load`].
pub fn load_plan(dir: &Path) -> Result<Plan, StoreError> {
    read_plan(dir).map(|(plan, _)| plan)
}

/// The plan, and the chain that begins with it.
pub(super) fn read_plan(dir: &Path) -> Result<(Plan, Chain), StoreError> {
    let path = dir.join(PLAN_FILE);
    let file = match File::open(&path) {
        Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Err(StoreError::NoRun(dir.to_owned()));
        }
        other => other.map_err(failed(&path, "opening"))?,
    };
    let mut text = Vec::new();
    file.take(MAX_PLAN_BYTES + 1).read_to_end(&mut text).map_err(failed(&path, "reading"))?;
    let bad = |reason: String| StoreError::BadPlan { path: path.clone(), reason };
    if text.len() as u64 > MAX_PLAN_BYTES {
        return Err(bad(format!("a plan has at most {MAX_PLAN_BYTES} bytes")));
    }
    #[derive(serde::Deserialize)]
    struct Schema {
        schema: u64,
    }
    let Schema { schema } =
        serde_json::from_slice(&text).map_err(|e| bad(format!("not the plan of a run: {e}")))?;
    if schema != u64::from(RECORD_SCHEMA) {
        return Err(StoreError::OtherSchema { path, found: schema });
    }
    let plan: Plan = serde_json::from_slice(&text).map_err(|e| bad(format!("not the plan of a run: {e}")))?;
    check(&plan).map_err(bad)?;
    Ok((plan, Chain::of_plan(&text)))
}

/// Three cases each, of one device, behind all others.
fn check_canaries(plan: &Plan) -> Result<(), String> {
    let Some(canaries) = &plan.canaries else { return Ok(()) };
    let mut next = plan.variants().len();
    for (i, canary) in canaries.of.iter().enumerate() {
        let device = |case: usize| plan.cases.get(case).map(|case| case.device);
        let [first, second, third] = canary.cases().map(device);
        if canary.cases() != [next, next + 1, next + 2]
            || first.is_none()
            || second != first
            || third != first
        {
            return Err(format!("canaries.of[{i}]: needs three cases of one device, behind all others"));
        }
        next += 3;
    }
    Ok(())
}

/// Everything that others use as an index or divide by.
fn check(plan: &Plan) -> Result<(), String> {
    for (i, case) in plan.cases.iter().enumerate() {
        if case.device >= plan.devices.len() {
            return Err(format!("cases[{i}].device: there is no device {}", case.device));
        }
    }
    for (i, contrast) in plan.contrasts.iter().enumerate() {
        let (c, r) = (contrast.candidate, contrast.reference);
        let (Some(candidate), Some(reference)) = (plan.cases.get(c), plan.cases.get(r)) else {
            return Err(format!("contrasts[{i}]: there is no case {}", c.max(r)));
        };
        if c == r || candidate.device != reference.device {
            return Err(format!("contrasts[{i}]: needs two cases of one device"));
        }
    }
    for (i, group) in plan.measuring.groups.iter().enumerate() {
        let device = |case: &usize| plan.cases.get(*case).map(|case| case.device);
        let devices: Vec<_> = group.iter().map(device).collect();
        if devices.iter().any(|d| d.is_none() || *d != devices[0]) {
            return Err(format!("measuring.groups[{i}]: needs cases of one device"));
        }
    }
    check_canaries(plan)?;
    let schedules = plan.measuring.schedules.len();
    if schedules != 0 && schedules != plan.measuring.groups.len() {
        return Err(format!("measuring.schedules: {schedules} for {} groups", plan.measuring.groups.len()));
    }
    let most = if plan.suite.task.metric().unit == Unit::Db { MAX_MARGIN_DB } else { 1.0 };
    for (name, margin, most) in
        [("margin", plan.suite.margin, 1.0), ("accuracy_margin", plan.suite.accuracy_margin, most)]
    {
        if !(margin.is_finite() && margin > 0.0 && margin < most) {
            return Err(format!("suite.{name}: must lie between 0 and {most}"));
        }
    }
    for (name, margin) in &plan.suite.margins {
        if !(margin.is_finite() && *margin > 0.0 && *margin < 1.0) {
            return Err(format!("suite.margins.{name}: must lie between 0 and 1"));
        }
    }
    if plan.suite.precision.is_some_and(|half_width| !(half_width > 0.0 && half_width < 1.0)) {
        return Err("suite.precision: must lie between 0 and 1".to_owned());
    }
    plan.suite.task.check().map_err(|(key, problem)| format!("suite.{key}: {problem}"))?;
    let (data, n) = (&plan.dataset, plan.dataset.examples);
    let labels = data.labels.examples().unwrap_or(0);
    for (name, len) in
        [("labels", labels), ("names", data.names.len() as u64), ("groups", data.groups.len() as u64)]
    {
        if len != 0 && len != n {
            return Err(format!("dataset.{name}: {len} for {n} examples"));
        }
    }
    Ok(())
}

/// The journal, read through.
pub(super) struct Scan {
    pub(super) fold: Fold,
    /// Everything up to the last seal.
    pub(super) chain: Chain,
    /// Bytes up to the end of the last seal.
    pub(super) sealed_bytes: u64,
    /// Bytes behind the last whole line.
    pub(super) torn_bytes: u64,
    /// All bytes.
    pub(super) bytes: u64,
    /// Units that were under way when the journal ends, with the attempt.
    pub(super) under_way: Vec<(UnitId, u32)>,
}

pub(super) fn scan(dir: &Path, plan: &Plan, mut chain: Chain) -> Result<Scan, StoreError> {
    let path = dir.join(JOURNAL_FILE);
    let file = File::open(&path).map_err(failed(&path, "opening"))?;
    let mut lines = Lines::new(BufReader::with_capacity(1 << 16, file));
    let mut fold = Fold::new(plan);
    let (mut torn_bytes, mut sealed_bytes) = (0, 0);
    // what a writer goes on behind: nobody vouches for the rest
    let mut sealed_chain = chain.clone();
    loop {
        let taken = match lines.next().map_err(failed(&path, "reading"))? {
            Line::End => break,
            Line::Torn(bytes) => {
                torn_bytes = bytes;
                break;
            }
            Line::TooLong => Err("longer than a line of a journal can be".to_owned()),
            Line::Whole(line) => match chain.check(line) {
                Some(true) => {
                    fold.sealed();
                    sealed_bytes = lines.whole_bytes;
                    sealed_chain = chain.clone();
                    continue;
                }
                Some(false) => return Err(StoreError::Tampered { path, line: lines.number }),
                None => {
                    chain.take(line);
                    chain.take(b"\n");
                    serde_json::from_slice(line).map_err(|e| format!("not an entry of a journal: {e}"))
                }
            },
        };
        taken.and_then(|entry| fold.take(entry)).map_err(|reason| StoreError::BadLine {
            path: path.clone(),
            line: lines.number,
            reason,
        })?;
    }
    let under_way = fold.under_way();
    fold.cut_off();
    let bytes = lines.whole_bytes + torn_bytes;
    Ok(Scan { fold, chain: sealed_chain, sealed_bytes, torn_bytes, bytes, under_way })
}

/// The values of a file of outputs or labels, when its size and hash are what the record says.
fn read_values(dir: &Path, sha256: &Sha256Hex, examples: u64, elements: &[u64]) -> Result<Vec<f32>, String> {
    let per_example = elements.iter().try_fold(0u64, |sum, n| sum.checked_add(*n));
    let bytes = read_file(dir, sha256, per_example.and_then(|n| n.checked_mul(examples)?.checked_mul(4)))?;
    Ok(bytes.as_chunks::<4>().0.iter().map(|value| f32::from_le_bytes(*value)).collect())
}

/// The content of a file of the folder of outputs, when its size and hash are what the record says.
fn read_file(dir: &Path, sha256: &Sha256Hex, expected: Option<u64>) -> Result<Vec<u8>, String> {
    let expected = expected
        .filter(|bytes| *bytes <= MAX_OUTPUTS_BYTES)
        .ok_or("is said to be larger than an outputs file can be")?;
    let path = outputs_path(dir, sha256);
    // opening a pipe would wait for somebody to write into it
    if !path.metadata().map_err(|e| format!("is missing ({e})"))?.is_file() {
        return Err("is no file".into());
    }
    let file = File::open(path).map_err(|e| format!("is missing ({e})"))?;
    let mut bytes = Vec::new();
    file.take(expected + 1).read_to_end(&mut bytes).map_err(|e| format!("cannot be read ({e})"))?;
    if bytes.len() as u64 != expected {
        return Err(format!("does not have the {expected} bytes that the record says"));
    }
    if Sha256Hex::of_bytes(&bytes) != *sha256 {
        return Err("is damaged: its content has another hash".into());
    }
    Ok(bytes)
}

pub(super) fn outputs_path(dir: &Path, sha256: &Sha256Hex) -> std::path::PathBuf {
    dir.join(OUTPUTS_DIR).join(format!("{sha256}.bin"))
}
