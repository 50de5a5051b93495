//! What must be the same in two sessions before their numbers are laid side by side, and what is different. One list:
//! a fact is a line.

use crate::record::{
    CaseIndex, CasePlan, DeviceRecord, LoadedRecord, Purpose, RunRecord, TrialRecord, UnitRecord,
};
use crate::text;
use protocol::{DeviceState, SamplePhase, Sha256Hex};
use serde::Serialize;
use std::collections::BTreeSet;

/// Clocks farther apart than this are different clocks; the agent drops blocks by the same number.
const CLOCK_SHARE: f64 = 0.05;
/// Devices farther apart than this when units began are in different thermal states: 10 °C.
const HEAT_MILLI_CELSIUS: f64 = 10_000.0;
/// The lower bits of a Raspberry Pi's flags: what holds it back now, not what once did.
const THROTTLED_NOW: u64 = 0xf;

/// Said of a side that does not tell.
const UNTOLD: &str = "not told";

/// One case in its run.
#[derive(Clone, Copy)]
pub(super) struct Seen<'a> {
    pub(super) record: &'a RunRecord,
    pub(super) case: CaseIndex,
}

/// What a fact is needed for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Concerns {
    /// Time and memory.
    Costs,
    /// Scores and differences of outputs.
    Answers,
    /// Both.
    All,
}

/// Something that was not the same in both sessions.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Apart {
    /// What.
    pub what: &'static str,
    /// What cannot be compared for it.
    pub concerns: Concerns,
    /// What it was in the base.
    pub base: String,
    /// What it was in the head.
    pub head: String,
}

/// A fact as text; equal texts are equal facts.
type Told = fn(&Seen<'_>) -> Option<String>;

const FACTS: &[(&str, Concerns, Told)] = &[
    ("input bytes", Concerns::All, |s| s.loaded().map(|l| hashes(&l.input_sha256))),
    ("labels", Concerns::Answers, |s| {
        let dataset = &s.record.plan.dataset;
        let text = serde_json::to_vec(&(&dataset.labels, &dataset.groups)).ok()?;
        Some(hashes(&[Sha256Hex::of_bytes(&text)]))
    }),
    ("task", Concerns::Answers, |s| serde_json::to_string(&s.record.plan.suite.task).ok()),
    ("device", Concerns::Costs, |s| {
        let info = &s.device()?.info;
        let known = |name: &&str| !name.is_empty();
        let (model, soc) =
            (info.model.as_deref().unwrap_or_default(), info.soc.as_deref().unwrap_or_default());
        let names: Vec<&str> =
            [info.hostname.as_str(), model, soc, &info.cpu].into_iter().filter(known).collect();
        let gib = info.memory_bytes as f64 / f64::from(1 << 30);
        Some(format!("{} ({}, {} cores, {gib:.1} GiB)", names.join(", "), info.arch, info.cores.len()))
    }),
    ("system", Concerns::Costs, |s| {
        let info = &s.device()?.info;
        let build = info.build.as_deref().map(|build| format!(", {build}")).unwrap_or_default();
        Some(format!("{}, kernel {}{build}", info.os, info.kernel))
    }),
    ("agent", Concerns::Costs, |s| {
        s.device().map(|d| format!("{} ({})", d.agent.version, d.agent.sha256.short()))
    }),
    ("version of the runtime", Concerns::Costs, |s| s.loaded().map(|l| l.proof.runtime_version.clone())),
    ("kernels of the runtime", Concerns::Costs, |s| s.loaded().map(|l| l.proof.kernels.clone())),
    ("cores", Concerns::Costs, |s| {
        let cores: BTreeSet<u32> = s.states().flat_map(|state| state.allowed_cores.iter().copied()).collect();
        (!cores.is_empty()).then(|| format!("{cores:?}"))
    }),
    ("rules of measuring", Concerns::Costs, |s| {
        let (rules, bursts) = (&s.record.plan.measuring.performance, &s.record.plan.measuring.ping_pong);
        let groups = s.record.plan.measuring.groups.iter().position(|group| group.contains(&s.case));
        let sharing = groups.map(|group| s.record.plan.measuring.schedule(group)).unwrap_or_default();
        Some(format!("{sharing:?}, example {}, {:?}, {bursts:?}", rules.example, rules.warm_up))
    }),
    ("governor", Concerns::Costs, |s| {
        each_once(
            s.states().flat_map(|state| &state.frequencies).filter_map(|policy| policy.governor.clone()),
        )
    }),
    ("fixed-performance mode", Concerns::Costs, |s| {
        each_once(s.states().filter_map(|state| state.fixed_performance.clone()))
    }),
    ("power", Concerns::Costs, |s| {
        each_once(s.states().filter_map(|state| state.battery.as_ref()?.plugged.clone()))
    }),
    ("thermal status", Concerns::Costs, |s| {
        s.states().filter_map(|state| state.thermal_status).max().map(|status| status.to_string())
    }),
    ("throttling", Concerns::Costs, |s| {
        let flags = s.states().filter_map(|state| state.throttled).map(|flags| flags & THROTTLED_NOW);
        flags.reduce(|a, b| a | b).map(|flags| format!("{flags:#x}"))
    }),
];

impl<'a> Seen<'a> {
    pub(super) fn plan(&self) -> Option<&'a CasePlan> {
        self.record.plan.cases.get(self.case)
    }

    fn device(&self) -> Option<&'a DeviceRecord> {
        self.record.devices.get(self.plan()?.device)?.as_ref()
    }

    /// Its trials, with their units.
    fn trials(&self) -> impl Iterator<Item = (&'a UnitRecord, &'a TrialRecord)> + use<'a> {
        let case = self.case;
        let of = move |unit: &'a UnitRecord| {
            unit.trials.iter().filter(move |t| t.case == case).map(move |t| (unit, t))
        };
        self.record.units.iter().flat_map(of)
    }

    fn performance(&self) -> impl Iterator<Item = (&'a UnitRecord, &'a TrialRecord)> + use<'a> {
        self.trials().filter(|(unit, _)| unit.purpose == Purpose::Performance)
    }

    fn loaded(&self) -> Option<&'a LoadedRecord> {
        self.trials().find_map(|(_, trial)| trial.loaded.as_ref())
    }

    /// States of the device around its units.
    fn states(&self) -> impl Iterator<Item = &'a DeviceState> + use<'a> {
        self.performance().flat_map(|(unit, _)| unit.before.iter().chain(&unit.during).chain(&unit.after))
    }

    /// Median clock in kHz: of the core in steady bursts; where no burst tells it, of the fastest policy during units.
    fn clock(&self) -> Option<f64> {
        let bursts = self.performance().flat_map(|(_, trial)| &trial.bursts);
        let of_bursts: Vec<f64> =
            bursts.filter(|b| b.phase == SamplePhase::Steady).filter_map(|b| Some(b.khz? as f64)).collect();
        let fastest = |state: &DeviceState| state.frequencies.iter().filter_map(|policy| policy.khz).max();
        let states = self.performance().flat_map(|(unit, _)| unit.during.iter().chain(&unit.after));
        let of_states = || states.filter_map(fastest).map(|khz| khz as f64).collect::<Vec<f64>>();
        stats::median(&of_bursts).or_else(|_| stats::median(&of_states())).ok()
    }

    /// Median of the hottest zone before units, in thousandths of a degree.
    fn heat(&self) -> Option<f64> {
        let hottest = |state: &DeviceState| state.thermal.iter().map(|zone| zone.milli_celsius).max();
        let before = self.performance().filter_map(|(unit, _)| unit.before.as_ref());
        stats::median(&before.filter_map(hottest).map(|t| t as f64).collect::<Vec<f64>>()).ok()
    }
}

/// Everything that is different.
pub(super) fn apart(base: Seen<'_>, head: Seen<'_>) -> Vec<Apart> {
    let shown = |told: Option<String>| told.map_or(UNTOLD.to_owned(), |text| text::clean(&text).into_owned());
    let mut all: Vec<Apart> = Vec::new();
    for (what, concerns, told) in FACTS {
        let (base, head) = (told(&base), told(&head));
        if base != head {
            all.push(Apart { what, concerns: *concerns, base: shown(base), head: shown(head) });
        }
    }
    let mut numbers =
        |what, base: Option<f64>, head: Option<f64>, far: fn(f64, f64) -> bool, show: fn(f64) -> String| {
            let differ = match (base, head) {
                (Some(base), Some(head)) => far(base, head),
                (base, head) => base.is_some() != head.is_some(),
            };
            if differ {
                let (base, head) = (shown(base.map(show)), shown(head.map(show)));
                all.push(Apart { what, concerns: Concerns::Costs, base, head });
            }
        };
    let far = |a: f64, b: f64| (a - b).abs() > CLOCK_SHARE * a.min(b);
    numbers("clock", base.clock(), head.clock(), far, |khz| format!("{:.2} GHz", khz / 1e6));
    let far = |a: f64, b: f64| (a - b).abs() > HEAT_MILLI_CELSIUS;
    numbers("temperature", base.heat(), head.heat(), far, |milli| format!("{:.0} °C", milli / 1000.0));
    all
}

fn hashes(all: &[Sha256Hex]) -> String {
    all.iter().map(Sha256Hex::short).collect::<Vec<&str>>().join(" ")
}

fn each_once(words: impl Iterator<Item = String>) -> Option<String> {
    let all: BTreeSet<String> = words.collect();
    (!all.is_empty()).then(|| all.into_iter().collect::<Vec<_>>().join(", "))
}
