//! The workers of the unit under way: starting them, giving them commands, relaying what they report, and
//! naming how they end. In which order they are served is for `unit`.

use crate::{
    child::Child,
    device::Probe,
    hub::{End, Hub, Wake},
    launch::Launcher,
    log, wire,
};
use protocol::{
    AgentMessage, Counts, Event, FailKind, FrameError, Outcome, SamplePhase, Samples, UnitId, UnitSpec,
};
use rustix::{
    process::{Pid, Signal},
    thread::{CpuSet, sched_getaffinity, sched_setaffinity},
};
use std::{fs, os::unix::process::ExitStatusExt, path::Path, process::ExitStatus};

/// Why a unit stops before its end.
#[derive(Debug)]
pub(crate) enum Stop {
    /// The agent ends.
    End(End),
    /// The host wants no more of this unit.
    Cancelled,
}

impl From<End> for Stop {
    fn from(end: End) -> Self {
        Self::End(end)
    }
}

/// What a command came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// Done.
    Ready,
    /// The trial is over, and has been reported.
    Over,
}

/// What the schedule must know of a burst.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Burst {
    pub(crate) trial: u32,
    pub(crate) samples: u64,
    pub(crate) wall_ns: u64,
    pub(crate) core: Option<u32>,
    pub(crate) khz: Option<u64>,
}

impl Burst {
    fn steady(trial: u32, samples: &Samples) -> Option<Self> {
        let wall_ns = samples.wall_ns.iter().fold(0, |all: u64, ns| all.saturating_add(*ns));
        let count = samples.wall_ns.len() as u64;
        (samples.phase == SamplePhase::Steady).then_some(Self {
            trial,
            samples: count,
            wall_ns,
            core: samples.core,
            khz: samples.khz,
        })
    }
}

/// Workers of one unit, by trial.
pub(crate) struct Crew<'a> {
    pub(crate) hub: &'a mut Hub,
    launcher: &'a Launcher,
    pub(crate) probe: &'a Probe,
    dir: &'a Path,
    unit: UnitId,
    seq: u64,
    counts: Counts,
    slots: Vec<Option<Child>>,
    /// Processes that the kernel had killed for want of memory when the unit began.
    oom_kills: Option<u64>,
    /// Trials whose end has been reported.
    over: Vec<bool>,
    /// Steady bursts that have passed by since somebody last took them.
    pub(crate) bursts: Vec<Burst>,
}

impl<'a> Crew<'a> {
    pub(crate) fn new(
        hub: &'a mut Hub,
        launcher: &'a Launcher,
        probe: &'a Probe,
        dir: &'a Path,
        unit: &UnitSpec,
    ) -> Self {
        let slots = unit.trials.iter().map(|_| None).collect();
        let over = vec![false; unit.trials.len()];
        let (counts, oom_kills) = (Counts::default(), probe.oom_kills());
        let (unit, bursts) = (unit.unit, Vec::new());
        Self { hub, launcher, probe, dir, unit, seq: 0, counts, slots, oom_kills, over, bursts }
    }

    /// Reports an event at the next flush.
    pub(crate) fn event(&mut self, event: Event) -> Result<(), End> {
        self.counts.events += 1;
        match &event {
            Event::Samples { samples, .. } => self.counts.samples += samples.wall_ns.len() as u64,
            Event::TrialFinished { .. } => self.counts.trials += 1,
            _ => {}
        }
        let message = AgentMessage::Event { unit: self.unit, seq: self.seq, event };
        self.seq += 1;
        self.hub.hold(&message)
    }

    /// The final frame.
    pub(crate) fn done(self) -> Result<(), End> {
        self.hub.flush()?;
        self.hub.send(&AgentMessage::UnitDone { unit: self.unit, counts: self.counts })
    }

    /// Is there a worker that can take a command?
    pub(crate) fn alive(&self, trial: u32) -> bool {
        self.slots.get(trial as usize).is_some_and(Option::is_some)
    }

    /// Starts the worker of a trial.
    pub(crate) fn start(&mut self, trial: u32, deadline_ms: u64) -> Result<Turn, End> {
        match Child::start(self.launcher, deadline_ms) {
            Ok(child) => {
                let pid = child.pid();
                if let Some(slot) = self.slots.get_mut(trial as usize) {
                    *slot = Some(child);
                }
                self.event(Event::TrialStarted { trial, pid })?;
                Ok(Turn::Ready)
            }
            Err(e) => {
                let message = format!("no worker could be started: {e}");
                self.finish(trial, Outcome::Failed { kind: FailKind::Io, message })?;
                Ok(Turn::Over)
            }
        }
    }

    /// Keeps every live worker on one core, or lets all go where this process may go. What the kernel refuses is not
    /// needed: a core that was taken away meanwhile holds nobody.
    pub(crate) fn keep_on(&self, core: Option<u32>) {
        let set = match core.and_then(|core| usize::try_from(core).ok()) {
            Some(core) if core < CpuSet::MAX_CPU => {
                let mut set = CpuSet::new();
                set.set(core);
                Ok(set)
            }
            _ => sched_getaffinity(None),
        };
        let Ok(set) = set else { return };
        for child in self.slots.iter().flatten() {
            let pid = i32::try_from(child.pid()).ok().and_then(Pid::from_raw);
            if let Some(Err(e)) = pid.map(|pid| sched_setaffinity(Some(pid), &set)) {
                log::line(format_args!("worker {} keeps its cores: {e}", child.pid()));
            }
        }
    }

    /// Gives a command and waits until it is done, whatever becomes of the worker, and of the others.
    pub(crate) fn command(&mut self, trial: u32, command: &wire::Command) -> Result<Turn, Stop> {
        let Some(child) = self.slots.get_mut(trial as usize).and_then(Option::as_mut) else {
            return Ok(Turn::Over);
        };
        if let Err(e) = child.tell(command) {
            log::line(format_args!("trial {trial} does not take commands: {e}"));
            self.lost(trial)?;
            return Ok(Turn::Over);
        }
        loop {
            let Some(child) = self.slots.get(trial as usize).and_then(Option::as_ref) else {
                return Ok(Turn::Over);
            };
            let deadline = child.deadline_ns();
            let (numbers, fds): (Vec<u32>, Vec<_>) =
                (0u32..).zip(&self.slots).filter_map(|(n, slot)| Some((n, slot.as_ref()?.fd()))).unzip();
            let wake = self.hub.wait(&fds, Some(deadline))?;
            match wake {
                Wake::Cancelled => return Err(Stop::Cancelled),
                Wake::Time => {
                    self.end(trial);
                    self.finish(trial, Outcome::TimedOut)?;
                    return Ok(Turn::Over);
                }
                Wake::Request => {}
                Wake::Worker(at) => {
                    let Some(speaker) = numbers.get(at).copied() else { continue };
                    if self.listen(speaker)? && speaker == trial {
                        return Ok(Turn::Ready);
                    }
                }
            }
        }
    }

    /// Takes what a worker has sent; true when it has finished its command.
    fn listen(&mut self, trial: u32) -> Result<bool, End> {
        let Some(child) = self.slots.get_mut(trial as usize).and_then(Option::as_mut) else {
            return Ok(false);
        };
        let open = child.pump();
        loop {
            let Some(child) = self.slots.get_mut(trial as usize).and_then(Option::as_mut) else {
                return Ok(false);
            };
            match child.answer() {
                Ok(Some(wire::Answer::Event { event })) => {
                    if let Event::Samples { samples, .. } = &event {
                        self.bursts.extend(Burst::steady(trial, samples));
                    }
                    self.event(event)?;
                }
                Ok(Some(wire::Answer::Ready)) => {
                    child.rest();
                    return Ok(true);
                }
                Ok(Some(wire::Answer::Failed { kind, message })) => {
                    self.end(trial);
                    self.finish(trial, Outcome::Failed { kind, message })?;
                    return Ok(false);
                }
                Ok(Some(wire::Answer::Inspected { .. })) => {}
                Ok(None) if open => return Ok(false),
                Ok(None) => {
                    self.lost(trial)?;
                    return Ok(false);
                }
                Err(e) => {
                    self.garbled(trial, &e)?;
                    return Ok(false);
                }
            }
        }
    }

    /// A worker has closed its end without a word.
    fn lost(&mut self, trial: u32) -> Result<(), End> {
        let outcome = match self.end(trial) {
            Some(status) => outcome_of(status, || self.memory_ran_out()),
            None => Outcome::Failed { kind: FailKind::Runtime, message: "the worker is gone".to_owned() },
        };
        self.finish(trial, outcome)
    }

    /// Says so when the kernel has killed for want of memory since the unit began. It does not say whom.
    fn memory_ran_out(&self) -> Option<String> {
        let killed = self.probe.oom_kills()?.checked_sub(self.oom_kills?).filter(|n| *n > 0)?;
        Some(format!("the device was out of memory: its kernel killed {killed} in this unit"))
    }

    fn garbled(&mut self, trial: u32, error: &FrameError) -> Result<(), End> {
        self.end(trial);
        let message = format!("the worker's answer cannot be read: {error}");
        self.finish(trial, Outcome::Failed { kind: FailKind::Runtime, message })
    }

    /// Ends a worker that has done its work.
    pub(crate) fn dismiss(&mut self, trial: u32) -> Result<(), End> {
        if self.end(trial).is_some() { self.finish(trial, Outcome::Ok) } else { Ok(()) }
    }

    /// Ends all that are left, started or not.
    pub(crate) fn dismiss_all(&mut self, reason: &str) -> Result<(), End> {
        for trial in 0..self.over.len() as u32 {
            self.end(trial);
            self.finish(trial, Outcome::Skipped { reason: reason.to_owned() })?;
        }
        Ok(())
    }

    fn end(&mut self, trial: u32) -> Option<ExitStatus> {
        let child = self.slots.get_mut(trial as usize).and_then(Option::take)?;
        let part = self.dir.join(format!("{}.part", child.pid()));
        let status = child.end();
        // What a worker that was killed had begun to write.
        drop(fs::remove_file(part));
        status.inspect_err(|e| log::line(format_args!("trial {trial} could not be ended: {e}"))).ok()
    }

    /// Reports the end of a trial, once.
    fn finish(&mut self, trial: u32, outcome: Outcome) -> Result<(), End> {
        match self.over.get_mut(trial as usize) {
            Some(over) if !*over => *over = true,
            _ => return Ok(()),
        }
        self.event(Event::TrialFinished { trial, outcome })
    }
}

/// How a worker ended that did not say so itself.
fn outcome_of(status: ExitStatus, why_killed: impl FnOnce() -> Option<String>) -> Outcome {
    match (status.signal(), status.code()) {
        (Some(signal), _) => {
            let why = if signal == Signal::KILL.as_raw() { why_killed() } else { None };
            Outcome::Crashed { signal, why }
        }
        (None, code) => {
            let code = code.unwrap_or_default();
            let message =
                format!("the worker exited with code {code} before it was done; its log may say why");
            Outcome::Failed { kind: FailKind::Runtime, message }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_is_a_crash_and_an_exit_is_not() {
        let why = || Some("memory".to_owned());
        assert_eq!(outcome_of(ExitStatus::from_raw(11), why), Outcome::Crashed { signal: 11, why: None });
        assert_eq!(outcome_of(ExitStatus::from_raw(0x86), why), Outcome::Crashed { signal: 6, why: None });
        let killed = outcome_of(ExitStatus::from_raw(9), why);
        assert_eq!(killed, Outcome::Crashed { signal: 9, why: why() });
        let Outcome::Failed { message, .. } = outcome_of(ExitStatus::from_raw(3 << 8), why) else { panic!() };
        assert!(message.contains("code 3"), "{message}");
    }
}
