//! What must hold before numbers are compared: the right model, the same input, the backend asked for,
//! trials that end well, a device that stays in one state. Finds; the callers judge.

use super::reason::{Reason, Side};
use super::units::steady_samples;
use super::{CONTENTION, ContrastView, MAX_LOST_SHARE};
use crate::record::{CaseIndex, LoadedRecord, Purpose, TrialRecord, UnitRecord};
use protocol::{FailKind, Outcome, Sha256Hex};

/// What was found.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Findings {
    /// Makes the contrast invalid.
    pub(super) broken: Vec<Reason>,
    /// To be told.
    pub(super) notes: Vec<Reason>,
}

impl Findings {
    fn add(&mut self, broken: bool, reason: Reason) {
        if broken { self.broken.push(reason) } else { self.notes.push(reason) }
    }
}

/// Checks that hold for every metric taken from units of one purpose.
pub(super) fn common(view: &ContrastView<'_>, purpose: Purpose) -> Findings {
    let mut found = Findings::default();
    for side in [Side::Candidate, Side::Reference] {
        if is_unstable(view, side) {
            found.broken.push(Reason::OutputsUnstable { side });
        }
        failures(view, side, purpose, &mut found);
        provenance(view, side, purpose, &mut found);
    }
    found.broken.extend(mixed_inputs(view, purpose));
    found
}

/// Checks that hold for latency alone.
pub(super) fn latency(view: &ContrastView<'_>) -> Findings {
    let mut found = Findings::default();
    dropped_blocks(view, &mut found);
    started_hot(view, &mut found);
    for side in [Side::Candidate, Side::Reference] {
        contention(view, side, &mut found);
        let cut = trials(view, side, Purpose::Performance).filter(|(_, t)| t.cut_short.is_some()).count();
        if cut > 0 {
            found.notes.push(Reason::CutShort { side, trials: cut });
        }
        let cold = |t: &TrialRecord| t.warmed_up.is_some_and(|w| !w.settled);
        let cold = trials(view, side, Purpose::Performance).filter(|(_, t)| cold(t)).count();
        if cold > 0 {
            found.notes.push(Reason::NotSettled { side, trials: cold });
        }
    }
    found
}

/// Trials of one side in units of one purpose; those that the host did not let run are left out.
fn trials<'a>(
    view: &ContrastView<'a>,
    side: Side,
    purpose: Purpose,
) -> impl Iterator<Item = (&'a UnitRecord, &'a TrialRecord)> {
    let case = view.side(side);
    let units = view.record.units.iter().filter(move |unit| unit.purpose == purpose);
    units.flat_map(move |unit| {
        let ran = move |t: &&TrialRecord| t.case == case && !matches!(t.outcome, Outcome::Skipped { .. });
        unit.trials.iter().filter(ran).map(move |t| (unit, t))
    })
}

/// A side without a trial of this purpose was left out because it failed in another one.
fn failures(view: &ContrastView<'_>, side: Side, purpose: Purpose, found: &mut Findings) {
    let (mut failed, mut of, mut first) = (0, 0, None);
    let alone = trials(view, side, purpose).next().is_none();
    let purposes = if alone { vec![Purpose::Accuracy, Purpose::Performance] } else { vec![purpose] };
    for (_, trial) in purposes.into_iter().flat_map(|purpose| trials(view, side, purpose)) {
        of += 1;
        if let Some(text) = failure(&trial.outcome) {
            failed += 1;
            first.get_or_insert(text);
        }
    }
    if let Some(first) = first {
        let broken = failed as f64 > MAX_LOST_SHARE * of as f64;
        found.add(broken, Reason::TrialsFailed { side, failed, of, first });
    }
}

/// In a trial of any purpose: neither the time nor the accuracy of such a model means anything.
fn is_unstable(view: &ContrastView<'_>, side: Side) -> bool {
    let unstable = |t: &TrialRecord| {
        t.case == view.side(side)
            && matches!(t.outcome, Outcome::Failed { kind: FailKind::OutputsUnstable, .. })
    };
    view.record.units.iter().flat_map(|unit| &unit.trials).any(unstable)
}

/// What to say of a trial that did not end well.
pub(super) fn failure(outcome: &Outcome) -> Option<String> {
    Some(match outcome {
        Outcome::Ok | Outcome::Skipped { .. } => return None,
        Outcome::Failed { message, .. } => message.clone(),
        Outcome::Crashed { signal, why: None } => format!("the worker was ended by signal {signal}"),
        Outcome::Crashed { signal, why: Some(why) } => {
            format!("the worker was ended by signal {signal}: {why}")
        }
        Outcome::TimedOut => "the worker outlived its deadline".to_owned(),
        Outcome::DeviceLost => "the device went away".to_owned(),
    })
}

fn provenance(view: &ContrastView<'_>, side: Side, purpose: Purpose, found: &mut Findings) {
    let planned = view.record.plan.cases.get(view.side(side)).map(|case| &case.model_sha256);
    let loaded = || trials(view, side, purpose).filter_map(|(_, trial)| trial.loaded.as_ref());
    if loaded().any(|l| Some(&l.model_sha256) != planned) {
        found.broken.push(Reason::ModelMismatch { side });
    }
    if loaded().any(|l| !l.is_proven()) {
        found.broken.push(Reason::BackendNotProven { side });
    } else if let Some(part) = loaded().map(|l| &l.proof).find(|p| p.nodes_on_backend < p.nodes_total) {
        let (on_backend, total) = (part.nodes_on_backend, part.nodes_total);
        found.notes.push(Reason::PartialBackend { side, on_backend, total });
    }
}

fn mixed_inputs(view: &ContrastView<'_>, purpose: Purpose) -> Option<Reason> {
    let loaded = |side| trials(view, side, purpose).filter_map(|(_, trial)| trial.loaded.as_ref());
    let first = &loaded(Side::Candidate).next()?.input_sha256;
    let mut all = loaded(Side::Candidate).chain(loaded(Side::Reference)).map(|l| &l.input_sha256);
    let words = |hashes: &[Sha256Hex]| hashes.iter().map(Sha256Hex::short).collect::<Vec<&str>>().join(" ");
    let other = all.find(|hashes| *hashes != first)?;
    Some(Reason::InputMismatch { candidate: words(first), reference: words(other) })
}

/// A runtime that changed its version on the way is no comparison of models. Runtimes, and versions of one, that were
/// asked for by name are what is compared: each side must then be of one version.
pub(super) fn mixed_versions(view: &ContrastView<'_>, purpose: Purpose) -> Option<Reason> {
    let asked = |side| {
        view.record.plan.cases.get(view.side(side)).map(|case| (&case.runtime.runtime, &case.runtime.version))
    };
    let loaded = |side| trials(view, side, purpose).filter_map(|(_, trial)| trial.loaded.as_ref());
    let version = |l: &LoadedRecord| l.proof.runtime_version.clone();
    let mixed = |sides: &[Side]| {
        let mut all = sides.iter().flat_map(|side| loaded(*side)).map(version);
        let first = all.next()?;
        let other = all.find(|other| *other != first)?;
        Some(Reason::VersionMismatch { candidate: first, reference: other })
    };
    if asked(Side::Candidate) == asked(Side::Reference) {
        return mixed(&[Side::Candidate, Side::Reference]);
    }
    mixed(&[Side::Candidate]).or_else(|| mixed(&[Side::Reference]))
}

fn dropped_blocks(view: &ContrastView<'_>, found: &mut Findings) {
    let (mut dropped, mut of, mut first) = (0, 0, None);
    for unit in &view.record.units {
        let cases: [CaseIndex; 2] = [view.cases.candidate, view.cases.reference];
        let mine = |t: &&TrialRecord| cases.contains(&t.case);
        if unit.purpose != Purpose::Performance || !unit.trials.iter().any(|t| mine(&t)) {
            continue;
        }
        let measured = unit.trials.iter().filter(mine).flat_map(|t| &t.bursts).map(|b| b.block);
        let mut blocks: Vec<u32> = measured.chain(unit.dropped_blocks.iter().map(|(b, _)| *b)).collect();
        blocks.sort_unstable();
        blocks.dedup();
        of += blocks.len();
        for (_, reason) in &unit.dropped_blocks {
            dropped += 1;
            first.get_or_insert_with(|| reason.clone());
        }
    }
    if let Some(first) = first {
        found.add(dropped as f64 > MAX_LOST_SHARE * of as f64, Reason::BlocksDropped { dropped, of, first });
    }
}

/// Heat acts on both sides of a unit alike: it is told, and what it does to single blocks is found there.
fn started_hot(view: &ContrastView<'_>, found: &mut Findings) {
    let (mut hot, mut of) = (0, 0);
    for unit in view.record.units.iter().filter(|unit| unit.purpose == Purpose::Performance) {
        let cases = [view.cases.candidate, view.cases.reference];
        if let Some(wait) = &unit.cooled_down
            && unit.trials.iter().any(|t| cases.contains(&t.case))
        {
            of += 1;
            hot += usize::from(!wait.reached);
        }
    }
    if hot > 0 {
        found.notes.push(Reason::StartedHot { units: hot, of });
    }
}

fn contention(view: &ContrastView<'_>, side: Side, found: &mut Findings) {
    if view.record.plan.cases.get(view.side(side)).is_none_or(|case| case.threads != 1) {
        return;
    }
    let (mut contended, mut of, mut pressure) = (0, 0, None::<u64>);
    for (unit, trial) in trials(view, side, Purpose::Performance) {
        of += 1;
        if is_contended(trial, unit) {
            contended += 1;
            let states = [&unit.before, &unit.after].into_iter().flatten();
            pressure = pressure.max(states.filter_map(|s| s.cpu_pressure_centi_percent).max());
        }
    }
    if contended > 0 {
        let pressure_percent = pressure.map(|centi| centi as f64 / 100.0);
        found.notes.push(Reason::Contended { side, trials: contended, of, pressure_percent });
    }
}

/// Wall time of steady state above [`CONTENTION`] times its CPU time. Says nothing about trials with more
/// than one thread or off the CPU.
pub(super) fn is_contended(trial: &TrialRecord, unit: &UnitRecord) -> bool {
    let (mut wall_sum, mut cpu_sum) = (0.0, 0.0);
    for (wall, cpu) in steady_samples(trial, unit) {
        if let Some(cpu) = cpu {
            wall_sum += wall;
            cpu_sum += cpu;
        }
    }
    cpu_sum > 0.0 && wall_sum > CONTENTION * cpu_sum
}
