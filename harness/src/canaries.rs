//! Canaries: a model against itself on every device, equal and slowed by a known share, beside what was asked for. Here
//! is which, and what earlier runs found; `reports` judges them.

use crate::{plan, selection::shown_path, transport::HostFile};
use protocol::{CaseIndex, Contrast, ContrastKind, Format, PerformanceRules, VariantId};
use reports::{
    record::{Canary, CanaryCounts, CasePlan, Plan},
    verdict::{Alarm, CanaryFinding, Detection},
};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    fs::{File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

/// A slowdown that must be found on any device, unless the margin asks for more.
const SLOWDOWN_PERMILLE: f64 = 50.0;
/// It lies beyond the margin by this factor: nobody is sick for calling equal what a run does not care about.
const BEYOND_MARGIN: f64 = 5.0 / 3.0;
/// Most that an agent slows down.
const MOST_PERMILLE: f64 = 1000.0;

/// Steady state and warm-up of their sides, of quick models and of slow ones: whether the rule copes with the noise can
/// be seen on short ones, and every run pays for them.
const STEADY_MS: u64 = 250;
const STEADY_ITERATIONS: u32 = 20;
const MOST_STEADY_MS: u64 = 2_000;
const WARM_UP_MS: u64 = 75;
const WARM_UP_ITERATIONS: u32 = 5;
const MOST_WARM_UP_MS: u64 = 500;

/// A model that canaries are made of, whatever else is measured.
#[derive(Clone, Debug)]
pub(crate) struct Pinned {
    /// Name of the model.
    pub(crate) name: String,
    /// Format of its file.
    pub(crate) format: Format,
    /// The file; it takes the same inputs as what it is measured beside.
    pub(crate) file: HostFile,
}

/// Adds three cases and their group per device that compares something: those of the pinned model, on the runtime of the
/// first case of those that could open it; else of its smallest reference, which costs the least. Returns them, and the positions of devices
/// whose memory has no room for three such processes.
pub(crate) fn add(
    cases: &mut Vec<CasePlan>,
    groups: &mut Vec<Vec<CaseIndex>>,
    contrasts: &[Contrast],
    margin: f64,
    memory_bytes: &[Option<u64>],
    pinned: Option<(&Pinned, &[bool])>,
) -> (Vec<Canary>, Vec<usize>) {
    let references = contrasts.iter().filter(|c| c.kind == ContrastKind::Reference).map(|c| c.reference);
    let mut chosen: BTreeMap<usize, (u64, CaseIndex)> = BTreeMap::new();
    for (index, case) in references.filter_map(|index| Some((index, cases.get(index)?))) {
        let cost = match pinned {
            Some((_, opened)) if opened.get(index) != Some(&true) => continue,
            // the same file on whatever case: the first
            Some(_) => 0,
            None => case.model_bytes,
        };
        let best = chosen.entry(case.device).or_insert((cost, index));
        *best = (*best).min((cost, index));
    }
    let permille = (margin * 1000.0 * BEYOND_MARGIN).round().clamp(SLOWDOWN_PERMILLE, MOST_PERMILLE) as u16;
    let (mut all, mut without) = (Vec::new(), Vec::new());
    for (device, (_, model)) in chosen {
        let Some(mut model) = cases.get(model).cloned() else { continue };
        if let Some((pinned, _)) = pinned {
            model.variant.model = pinned.name.clone();
            model.model_path = shown_path(&pinned.file);
            model.model_sha256 = pinned.file.sha256.clone();
            model.model_bytes = pinned.file.bytes;
        }
        let first = cases.len();
        for (name, slowdown_permille) in
            [("canary-reference", None), ("canary-same", None), ("canary-slower", Some(permille))]
        {
            let variant = VariantId { model: model.variant.model.clone(), variant: name.to_owned() };
            cases.push(CasePlan { variant, slowdown_permille, ..model.clone() });
        }
        let memory = memory_bytes.get(device).copied().flatten();
        if !plan::fit_memory(cases, &(first..first + 3).collect(), memory) {
            cases.truncate(first);
            without.push(device);
            continue;
        }
        groups.push((first..first + 3).collect());
        let earlier = CanaryCounts::default();
        all.push(Canary { reference: first, same: first + 1, slower: first + 2, earlier });
    }
    (all, without)
}

/// The rules of their trials, from those of the run.
pub(crate) fn short(rules: &PerformanceRules) -> PerformanceRules {
    let mut short = rules.clone();
    short.min_ms = short.min_ms.min(STEADY_MS);
    short.min_iterations = short.min_iterations.min(STEADY_ITERATIONS);
    short.max_ms = short.max_ms.min(MOST_STEADY_MS);
    short.warm_up.min_ms = short.warm_up.min_ms.min(WARM_UP_MS);
    short.warm_up.min_iterations = short.warm_up.min_iterations.min(WARM_UP_ITERATIONS);
    short.warm_up.max_ms = short.warm_up.max_ms.min(MOST_WARM_UP_MS);
    short
}

/// What is read of the file at most: its end, with the latest ten thousand runs.
const MAX_BYTES: u64 = 4 << 20;

/// One run's canary on one device: a line.
#[derive(Debug, Serialize, Deserialize)]
struct Line {
    run: String,
    device: String,
    alarm: String,
    slower: String,
}

/// The file beside the runs that keeps what their canaries found.
fn file(out: &Path) -> PathBuf {
    out.join("canaries.jsonl")
}

/// Tells every canary of a plan what earlier runs found on its device. Lines that are none are passed over: what is
/// lost is a number for reading.
pub(crate) fn remember(plan: &mut Plan, out: &Path) {
    let found = read(&file(out)).unwrap_or_default();
    let Some(canaries) = &mut plan.canaries else { return };
    for canary in &mut canaries.of {
        let device = plan.cases.get(canary.reference).and_then(|case| plan.devices.get(case.device));
        if let Some(counts) = device.and_then(|device| found.get(&device.id)) {
            canary.earlier = *counts;
        }
    }
}

/// Per device; a run that is there twice counts as it was last.
fn read(path: &Path) -> io::Result<BTreeMap<String, CanaryCounts>> {
    let mut file = File::open(path)?;
    let bytes = file.metadata()?.len();
    file.seek(SeekFrom::Start(bytes.saturating_sub(MAX_BYTES)))?;
    let mut text = Vec::new();
    file.take(MAX_BYTES).read_to_end(&mut text)?;
    let lines =
        text.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice::<Line>(line).ok());
    let latest: BTreeMap<(String, String), Line> =
        lines.map(|line| ((line.device.clone(), line.run.clone()), line)).collect();
    let mut counts: BTreeMap<String, CanaryCounts> = BTreeMap::new();
    for ((device, _), line) in latest {
        let all = counts.entry(device).or_default();
        all.same += u64::from(line.alarm != Alarm::Open.word());
        let quiet = [Alarm::Open, Alarm::None].map(Alarm::word);
        all.alarms += u64::from(!quiet.contains(&line.alarm.as_str()));
        all.confirmed += u64::from(line.alarm == Alarm::Confirmed.word());
        all.slower += u64::from(line.slower != Detection::Open.word());
        all.found += u64::from(line.slower == Detection::Found.word());
    }
    Ok(counts)
}

/// Writes down what the canaries of a run found, for the runs to come.
///
/// # Errors
/// The file cannot be written.
pub(crate) fn keep(plan: &Plan, found: &[CanaryFinding], out: &Path) -> io::Result<()> {
    let mut text = String::new();
    for finding in found {
        let Some(device) = plan.devices.get(finding.device) else { continue };
        let line = Line {
            run: plan.run.clone(),
            device: device.id.clone(),
            alarm: finding.alarm.word().to_owned(),
            slower: finding.detection.word().to_owned(),
        };
        text.push_str(&serde_json::to_string(&line)?);
        text.push('\n');
    }
    if text.is_empty() {
        return Ok(());
    }
    // one write: lines of two hosts do not mix
    OpenOptions::new().create(true).append(true).open(file(out))?.write_all(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::Sha256Hex;

    fn case(name: &str, device: usize, model_bytes: u64) -> CasePlan {
        CasePlan {
            variant: name.parse().unwrap(),
            runtime: "builtin/cpu".parse().unwrap(),
            device,
            threads: 1,
            model_path: name.to_owned(),
            model_sha256: Sha256Hex::of_bytes(name.as_bytes()),
            model_bytes,
            slowdown_permille: None,
            library: None,
            options: BTreeMap::new(),
        }
    }

    fn against(candidate: usize, reference: usize) -> Contrast {
        Contrast { kind: ContrastKind::Reference, candidate, reference }
    }

    #[test]
    fn every_device_that_compares_gets_one_of_its_smallest_reference() {
        let mut cases = vec![case("a@x", 0, 9), case("a@y", 0, 3), case("b@x", 0, 5), case("b@y", 0, 1)];
        cases.extend([case("a@x", 1, 9), case("a@y", 1, 3), case("c@x", 2, 1)]);
        let mut groups = vec![vec![0, 1, 2, 3], vec![4, 5], vec![6]];
        let contrasts = [against(1, 0), against(3, 2), against(5, 4)];
        let (all, without) = add(&mut cases, &mut groups, &contrasts, 0.03, &[None; 3], None);
        assert!(without.is_empty());
        assert_eq!(all.iter().map(Canary::cases).collect::<Vec<_>>(), [[7, 8, 9], [10, 11, 12]]);
        assert_eq!(groups[3..], [vec![7, 8, 9], vec![10, 11, 12]]);
        let names: Vec<String> = cases[7..10].iter().map(|c| c.variant.to_string()).collect();
        assert_eq!(names, ["b@canary-reference", "b@canary-same", "b@canary-slower"]);
        assert!(cases[7..10].iter().all(|c| c.model_sha256 == cases[2].model_sha256 && c.device == 0));
        let slowed: Vec<Option<u16>> = cases[7..10].iter().map(|c| c.slowdown_permille).collect();
        assert_eq!(slowed, [None, None, Some(50)]);
    }

    #[test]
    fn a_pinned_model_is_measured_on_what_opens_it() {
        let mut cases = vec![case("a@x", 0, 1), case("b@y", 0, 9), case("b@z", 0, 5)];
        let contrasts = [against(2, 0), against(0, 1)];
        let file = HostFile::from_memory("old.onnx", *b"pinned");
        let pinned = Pinned { name: "old".to_owned(), format: Format::Onnx, file: file.clone() };
        let mut groups = Vec::new();
        let (all, _) =
            add(&mut cases, &mut groups, &contrasts, 0.03, &[None], Some((&pinned, &[false, true, true])));
        assert_eq!((all.len(), cases.len(), groups.len()), (1, 6, 1));
        let canary = &cases[all[0].reference];
        assert_eq!(canary.variant.to_string(), "old@canary-reference");
        assert_eq!((&canary.model_sha256, canary.model_bytes), (&file.sha256, file.bytes));
        assert!(
            add(&mut cases, &mut groups, &contrasts, 0.03, &[None], Some((&pinned, &[false; 6])))
                .0
                .is_empty()
        );
    }

    #[test]
    fn the_slowdown_lies_beyond_the_margin() {
        for (margin, permille) in [(0.001, 50), (0.03, 50), (0.06, 100), (0.3, 500), (0.9, 1000)] {
            let (mut cases, mut groups) = (vec![case("a@x", 0, 9), case("a@y", 0, 3)], Vec::new());
            add(&mut cases, &mut groups, &[against(1, 0)], margin, &[None], None);
            assert_eq!(cases[4].slowdown_permille, Some(permille), "{margin}");
        }
    }

    #[test]
    fn a_device_without_room_for_three_is_not_watched() {
        let models =
            || vec![case("a@x", 0, 50 << 20), case("a@y", 0, 9), case("a@x", 1, 9), case("a@y", 1, 9)];
        let contrasts = [against(1, 0), against(3, 2)];
        // 3 · (32 MiB + 4 · 50 MiB) is 696 MiB: half of the memory of device 0, and less
        for (memory, watched) in [(1392 << 20, [4, 7].as_slice()), (1391 << 20, &[4])] {
            let (mut cases, mut groups) = (models(), Vec::new());
            let (all, without) =
                add(&mut cases, &mut groups, &contrasts, 0.03, &[Some(memory), Some(1 << 30)], None);
            assert_eq!(all.iter().map(|canary| canary.reference).collect::<Vec<_>>(), watched);
            assert_eq!((without.len(), groups.len()), (2 - watched.len(), watched.len()));
            assert_eq!(cases.len(), 4 + 3 * watched.len());
        }
    }

    #[test]
    fn neither_quick_nor_slow_models_take_long() {
        let rules = crate::testing::plan().measuring.performance;
        let many = PerformanceRules { min_iterations: 200, ..rules.clone() };
        let shortened = short(&many);
        assert_eq!((shortened.min_ms, shortened.min_iterations, shortened.max_ms), (250, 20, 2000));
        assert_eq!((shortened.warm_up.min_ms, shortened.warm_up.max_ms), (75, 500));
        let brief = PerformanceRules { min_ms: 1, max_ms: 10, ..rules };
        let kept = short(&brief);
        assert_eq!((kept.min_ms, kept.min_iterations, kept.max_ms), (1, 5, 10), "never more than asked");
    }

    #[test]
    fn what_earlier_runs_found_is_counted_once_a_run() {
        let folder = tempfile::tempdir().unwrap();
        let line = |run: &str, device: &str, alarm: &str, slower: &str| {
            format!(r#"{{"run":"{run}","device":"{device}","alarm":"{alarm}","slower":"{slower}"}}"#)
        };
        let lines = [
            line("1", "pi", "open", "open"),
            line("1", "pi", "none", "found"),
            "cut off".to_owned(),
            line("2", "pi", "not-reproduced", "found"),
            line("3", "pi", "confirmed", "missed"),
            line("4", "pi", "open", "found"),
            line("1", "phone", "none", "open"),
        ];
        std::fs::write(file(folder.path()), lines.join("\n")).unwrap();
        let found = read(&file(folder.path())).unwrap();
        assert_eq!(found["pi"], CanaryCounts { same: 3, alarms: 2, confirmed: 1, slower: 4, found: 3 });
        assert_eq!(found["phone"], CanaryCounts { same: 1, ..CanaryCounts::default() });
    }

    #[test]
    fn nothing_is_known_before_the_first_run() {
        let folder = tempfile::tempdir().unwrap();
        let mut plan = crate::testing::plan();
        remember(&mut plan, folder.path());
        keep(&plan, &[], folder.path()).unwrap();
        assert_eq!((plan, file(folder.path()).exists()), (crate::testing::plan(), false));
    }
}
