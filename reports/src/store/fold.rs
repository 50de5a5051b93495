//! Entries of a journal into units: which are whole, which are lost and why. No I/O.

use crate::record::{
    CaseIndex, CooledDownRecord, DeviceRecord, Entry, LoadedRecord, OutputsRecord, Plan, TrialRecord,
    UnitRecord, WarmUpRecord,
};
use protocol::{Counts, Event, ModelFacts, Moment, Outcome, UnitId};
use std::collections::BTreeMap;

/// What the entries so far add up to.
pub(super) struct Fold {
    cases: usize,
    pub(super) known: Known,
    /// What was known at the last seal: all that counts in the end.
    sealed: Known,
    pub(super) done: BTreeMap<UnitId, UnitRecord>,
    /// Units that ended since the last seal, with the attempt.
    unsealed: Vec<(UnitId, u32)>,
    open: BTreeMap<UnitId, OpenUnit>,
    /// Ids of the devices, and on which of them units were started.
    ids: Vec<String>,
    started_on: BTreeMap<UnitId, usize>,
    /// The attempt a unit's next start must carry.
    pub(super) next_attempt: BTreeMap<UnitId, u32>,
    pub(super) losses: Vec<String>,
}

/// What single entries say of devices, models and the end.
#[derive(Clone, PartialEq)]
pub(super) struct Known {
    pub(super) devices: Vec<Option<DeviceRecord>>,
    pub(super) devices_lost: Vec<Option<String>>,
    pub(super) facts: Vec<Option<ModelFacts>>,
    pub(super) finished: Option<String>,
}

/// A unit that was started and has not ended yet.
struct OpenUnit {
    attempt: u32,
    next_seq: u64,
    counts: Counts,
    ended: Vec<bool>,
    broken: Option<String>,
    record: UnitRecord,
}

impl Fold {
    pub(super) fn new(plan: &Plan) -> Self {
        let known = Known {
            devices: plan.devices.iter().map(|_| None).collect(),
            devices_lost: plan.devices.iter().map(|_| None).collect(),
            facts: plan.cases.iter().map(|_| None).collect(),
            finished: None,
        };
        Self {
            cases: plan.cases.len(),
            sealed: known.clone(),
            known,
            done: BTreeMap::new(),
            unsealed: Vec::new(),
            open: BTreeMap::new(),
            ids: plan.devices.iter().map(|device| device.id.clone()).collect(),
            started_on: BTreeMap::new(),
            next_attempt: BTreeMap::new(),
            losses: Vec::new(),
        }
    }

    /// Takes in one entry.
    ///
    /// # Errors
    /// The entry names a device or case that the plan does not have.
    pub(super) fn take(&mut self, entry: Entry) -> Result<(), String> {
        if !matches!(entry, Entry::Finished { .. }) {
            self.known.finished = None;
        }
        match entry {
            Entry::Device { device, agent, info, runtimes } => {
                *slot(&mut self.known.devices, device, "device")? =
                    Some(DeviceRecord { agent, info, runtimes });
                // it answers again after a resume
                *slot(&mut self.known.devices_lost, device, "device")? = None;
            }
            Entry::Inspected { case, facts } => *slot(&mut self.known.facts, case, "case")? = Some(facts),
            Entry::UnitStarted { unit, attempt, device, purpose, seed, cases, iterations, at: _ } => {
                slot(&mut self.known.devices, device, "device")?;
                if let Some(bad) = cases.iter().find(|case| **case >= self.cases) {
                    return Err(format!("the plan has no case {bad}"));
                }
                let trials = cases.into_iter().map(empty_trial).collect();
                let record = UnitRecord::new(unit, device, purpose, seed, trials);
                self.start(UnitRecord { iterations, ..record }, attempt);
            }
            Entry::Event { unit, attempt, seq, event } => {
                // what a lost attempt still sent does not count
                if let Some(open) = self.open.get_mut(&unit).filter(|open| open.attempt == attempt) {
                    open.take(seq, event);
                }
            }
            Entry::UnitDone { unit, attempt, counts } => self.end(unit, attempt, counts),
            Entry::UnitLost { unit, attempt, reason } => {
                if self.open.get(&unit).is_some_and(|open| open.attempt == attempt) {
                    self.open.remove(&unit);
                }
                self.lose(unit, attempt, &reason);
            }
            Entry::DeviceLost { device, reason } => {
                *slot(&mut self.known.devices_lost, device, "device")? = Some(reason);
            }
            Entry::Finished { at: _, reason } => self.known.finished = Some(reason),
        }
        Ok(())
    }

    fn start(&mut self, record: UnitRecord, attempt: u32) {
        let unit = record.unit;
        self.started_on.insert(unit, record.device);
        let next = self.next_attempt.entry(unit).or_default();
        *next = (*next).max(attempt.saturating_add(1));
        if self.done.contains_key(&unit) {
            self.lose(unit, attempt, "was complete already, the first one counts");
            return;
        }
        let ended = vec![false; record.trials.len()];
        let open = OpenUnit { attempt, next_seq: 0, counts: Counts::default(), ended, broken: None, record };
        if let Some(old) = self.open.insert(unit, open) {
            self.lose(unit, old.attempt, "interrupted");
        }
    }

    fn end(&mut self, unit: UnitId, attempt: u32, counts: Counts) {
        let Some(open) = self.open.remove(&unit).filter(|open| open.attempt == attempt) else {
            self.lose(unit, attempt, "its end is recorded, its start is not");
            return;
        };
        match open.close(counts) {
            Ok(record) => {
                self.done.insert(unit, record);
                self.unsealed.push((unit, attempt));
            }
            Err(reason) => self.lose(unit, attempt, &reason),
        }
    }

    /// Notes a loss, in words for people, who count attempts from 1.
    fn lose(&mut self, unit: UnitId, attempt: u32, reason: &str) {
        let id = self.started_on.get(&unit).and_then(|device| self.ids.get(*device));
        let on = id.map(|id| format!(" on {id}")).unwrap_or_default();
        self.losses.push(format!("{unit}{on}, attempt {}: {reason}", attempt.saturating_add(1)));
    }

    /// Everything so far is as it was written.
    pub(super) fn sealed(&mut self) {
        self.unsealed.clear();
        self.sealed = self.known.clone();
    }

    /// Units that were begun and have not ended, with the attempt.
    pub(super) fn under_way(&self) -> Vec<(UnitId, u32)> {
        let open = self.open.iter().map(|(unit, open)| (*unit, open.attempt));
        open.chain(self.unsealed.iter().copied()).collect()
    }

    /// No more entries: what is still open was cut off, and what nobody vouches for does not count.
    pub(super) fn cut_off(&mut self) {
        if self.known != self.sealed {
            self.known = self.sealed.clone();
            self.losses.push("the end of the journal is not sealed, and does not count".to_owned());
        }
        for (unit, attempt) in std::mem::take(&mut self.unsealed) {
            self.done.remove(&unit);
            self.lose(unit, attempt, "its end is not sealed");
        }
        for (unit, open) in std::mem::take(&mut self.open) {
            self.lose(unit, open.attempt, "was under way when the record ends");
        }
    }
}

fn slot<'a, T>(slots: &'a mut [T], index: usize, what: &str) -> Result<&'a mut T, String> {
    slots.get_mut(index).ok_or_else(|| format!("the plan has no {what} {index}"))
}

fn empty_trial(case: CaseIndex) -> TrialRecord {
    TrialRecord {
        case,
        outcome: Outcome::Skipped { reason: "the agent did not report its end".into() },
        loaded: None,
        first_inference_ns: None,
        warmed_up: None,
        memory: Vec::new(),
        bursts: Vec::new(),
        cut_short: None,
        digests: Vec::new(),
        outputs: None,
        profile: Vec::new(),
    }
}

impl OpenUnit {
    fn take(&mut self, seq: u64, event: Event) {
        if seq != self.next_seq {
            self.broken.get_or_insert_with(|| format!("event {} is missing", self.next_seq));
        }
        self.next_seq = seq.saturating_add(1);
        self.counts.events += 1;
        if let Err(reason) = self.apply(event) {
            self.broken.get_or_insert(reason);
        }
    }

    fn apply(&mut self, event: Event) -> Result<(), String> {
        match event {
            Event::DeviceState { moment: Moment::Before, state } => self.record.before = Some(state),
            Event::DeviceState { moment: Moment::During, state } => self.record.during.push(state),
            Event::DeviceState { moment: Moment::After, state } => self.record.after = Some(state),
            Event::CooledDown { waited_ms, zone, milli_celsius, reached } => {
                self.record.cooled_down = Some(CooledDownRecord { waited_ms, zone, milli_celsius, reached });
            }
            Event::BlockDropped { block, reason } => self.record.dropped_blocks.push((block, reason)),
            Event::TrialStarted { trial, pid: _ } => {
                self.trial(trial)?;
            }
            Event::Loaded {
                trial,
                model_sha256,
                input_sha256,
                load_ns,
                compile_ns,
                inputs,
                outputs,
                proof,
            } => {
                self.trial(trial)?.loaded = Some(LoadedRecord {
                    model_sha256,
                    input_sha256,
                    load_ns,
                    compile_ns,
                    inputs,
                    outputs,
                    proof,
                });
            }
            Event::FirstInference { trial, wall_ns } => {
                self.trial(trial)?.first_inference_ns = Some(wall_ns);
            }
            Event::WarmedUp { trial, iterations, wall_ns, batch, settled } => {
                self.trial(trial)?.warmed_up = Some(WarmUpRecord { iterations, wall_ns, batch, settled });
            }
            Event::Memory { trial, reading } => self.trial(trial)?.memory.push(reading),
            Event::Samples { trial, samples } => {
                if samples.batch == 0 || samples.cpu_ns.len() != samples.wall_ns.len() {
                    return Err(
                        "a burst without a batch size, or with other CPU times than wall times".into()
                    );
                }
                self.counts.samples += samples.wall_ns.len() as u64;
                self.trial(trial)?.bursts.push(samples);
            }
            Event::OutputDigests { trial, first, digests } => {
                let trial = self.trial(trial)?;
                if first != trial.digests.len() as u64 {
                    return Err(format!("digests from example {} are missing", trial.digests.len()));
                }
                trial.digests.extend(digests);
            }
            Event::Outputs { trial, path: _, sha256, examples, elements } => {
                self.trial(trial)?.outputs = Some(OutputsRecord { sha256, examples, elements, values: None });
            }
            Event::Profile { trial, nodes } => self.trial(trial)?.profile = nodes,
            Event::CutShort { trial, reason } => self.trial(trial)?.cut_short = Some(reason),
            Event::TrialFinished { trial, outcome } => {
                self.trial(trial)?.outcome = outcome;
                let ended = self.ended.get_mut(trial as usize).ok_or("a trial that was not asked for")?;
                if std::mem::replace(ended, true) {
                    return Err(format!("trial {trial} ended twice"));
                }
                self.counts.trials += 1;
            }
        }
        Ok(())
    }

    fn trial(&mut self, trial: u32) -> Result<&mut TrialRecord, String> {
        self.record.trials.get_mut(trial as usize).ok_or_else(|| format!("no trial {trial} was asked for"))
    }

    /// The unit, when everything that the agent counted has arrived.
    fn close(self, sent: Counts) -> Result<UnitRecord, String> {
        if let Some(reason) = self.broken {
            return Err(reason);
        }
        if sent != self.counts {
            let got = self.counts;
            return Err(format!(
                "the agent sent {} events, {} trials and {} samples, the record has {}, {} and {}",
                sent.events, sent.trials, sent.samples, got.events, got.trials, got.samples
            ));
        }
        Ok(self.record)
    }
}
