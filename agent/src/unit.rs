//! The schedules of a unit: trials one after the other, or all alive at once and served in bursts. Says
//! what happens when; how, stands in `crew` and `worker`.

use crate::{
    clock::{self, ms},
    crew::{Burst, Crew, Stop, Turn},
    wire::Command,
};
use protocol::{Event, Mode, Moment, PerformanceRules, PingPong, Schedule, TrialSpec, UnitOrder, UnitSpec};
use std::path::Path;

/// Relative difference of core frequency between workers that makes a block unfair, in thousandths.
const FREQUENCY_GAP_PERMILLE: u64 = 50;

/// Bursts of a trial that runs alone.
const ALONE: PingPong = PingPong { burst_min_iterations: 10, burst_min_ms: 100 };

/// How often the device is read between blocks: heat builds up over seconds.
const GLANCE_MS: u64 = 3_000;

/// Runs a unit to its end. The states before and after, and the final frame, are the caller's.
pub(crate) fn run(crew: &mut Crew<'_>, unit: &UnitSpec, place: &Place<'_>) -> Result<(), Stop> {
    match &unit.schedule {
        Schedule::Alone => alone(crew, &unit.trials, place),
        Schedule::PingPong(bursts) => ping_pong(crew, unit, bursts, place),
    }
}

/// Where workers run.
pub(crate) struct Place<'a> {
    /// For output files.
    pub(crate) dir: &'a Path,
    pub(crate) emulated: bool,
}

impl Place<'_> {
    fn load(&self, trial: u32, spec: &TrialSpec, bursts: &PingPong) -> Command {
        let (spec, bursts, dir) = (Box::new(spec.clone()), bursts.clone(), self.dir.to_owned());
        Command::Load { trial, spec, bursts, dir, emulated: self.emulated }
    }
}

fn alone(crew: &mut Crew<'_>, trials: &[TrialSpec], place: &Place<'_>) -> Result<(), Stop> {
    for (trial, spec) in (0u32..).zip(trials) {
        let mut commands = vec![place.load(trial, spec, &ALONE)];
        match &spec.mode {
            Mode::Performance(_) => {
                commands.extend([Command::First, Command::WarmUp, Command::Steady, Command::Finish]);
            }
            Mode::Accuracy => commands.push(Command::Accuracy),
            Mode::Profile { .. } => commands.push(Command::Profile),
        }
        crew.start(trial, spec.deadline_ms)?;
        for command in &commands {
            let turn = crew.command(trial, command)?;
            crew.hub.flush()?;
            if turn == Turn::Over {
                break;
            }
        }
        crew.bursts.clear();
        crew.dismiss(trial)?;
        crew.hub.flush()?;
    }
    Ok(())
}

fn ping_pong(crew: &mut Crew<'_>, unit: &UnitSpec, bursts: &PingPong, place: &Place<'_>) -> Result<(), Stop> {
    let mut order = UnitOrder::new(unit.seed, unit.trials.len() as u32);
    for trial in order.load().iter().copied() {
        let Some(spec) = unit.trials.get(trial as usize) else { continue };
        crew.start(trial, spec.deadline_ms)?;
        if crew.command(trial, &place.load(trial, spec, bursts))? == Turn::Ready {
            crew.command(trial, &Command::First)?;
        }
        crew.hub.flush()?;
    }
    for trial in order.warm_up().iter().copied() {
        crew.command(trial, &Command::WarmUp)?;
        crew.hub.flush()?;
    }
    let mut progress: Vec<Progress> = unit.trials.iter().filter_map(Progress::new).collect();
    let mut blocks = 0;
    let mut dropped = 0u32;
    let mut looked_ns = clock::monotonic_ns();
    let on_one_core = unit.trials.iter().all(|trial| trial.threads == 1);
    while (0u32..).zip(&progress).any(|(trial, p)| crew.alive(trial) && !p.over()) {
        let fair = block(crew, blocks, &order.next_block(), on_one_core, &mut progress)?;
        dropped += u32::from(!fair);
        if clock::monotonic_ns().saturating_sub(looked_ns) >= ms(GLANCE_MS) {
            crew.event(Event::DeviceState { moment: Moment::During, state: crew.probe.glance() })?;
            looked_ns = clock::monotonic_ns();
        }
        crew.hub.flush()?;
        blocks += 1;
    }
    for (trial, progress) in (0u32..).zip(&progress) {
        if crew.alive(trial) && !progress.reached() {
            let reason = progress.missing(dropped, blocks);
            crew.event(Event::CutShort { trial, reason })?;
        }
        crew.command(trial, &Command::Finish)?;
        crew.dismiss(trial)?;
        crew.hub.flush()?;
    }
    Ok(())
}

/// Serves every live worker twice, in the order given; false when the block must not count. With `on_one_core`, all
/// stay for its length on the core where the kernel has put the first: another core may be slower for seconds, by what
/// its neighbours do, and that would count for one side alone.
fn block(
    crew: &mut Crew<'_>,
    number: u32,
    order: &[u32],
    on_one_core: bool,
    progress: &mut [Progress],
) -> Result<bool, Stop> {
    let alive: Vec<u32> = order.iter().copied().filter(|trial| crew.alive(*trial)).collect();
    let before = crew.probe.flags();
    crew.bursts.clear();
    for (burst, trial) in (0u32..).zip(order) {
        let first = crew.bursts.is_empty();
        crew.command(*trial, &Command::Burst { block: number, burst })?;
        if let Some(core) = crew.bursts.first().and_then(|b| b.core).filter(|_| first && on_one_core) {
            crew.keep_on(Some(core));
        }
    }
    if on_one_core {
        crew.keep_on(None);
    }
    let bursts = std::mem::take(&mut crew.bursts);
    let died =
        alive.iter().find(|trial| !crew.alive(**trial)).map(|trial| format!("trial {trial} ended in it"));
    let unfair = died.or_else(|| crew.probe.flags().change_since(&before)).or_else(|| frequency_gap(&bursts));
    for burst in &bursts {
        if let Some(progress) = progress.get_mut(burst.trial as usize) {
            progress.add(burst, unfair.is_none());
        }
    }
    let fair = unfair.is_none();
    if let Some(reason) = unfair {
        crew.event(Event::BlockDropped { block: number, reason })?;
    }
    Ok(fair)
}

/// How far a worker has come in its steady state.
struct Progress {
    rules: PerformanceRules,
    /// In blocks that count.
    samples: u64,
    wall_ns: u64,
    /// In all blocks.
    spent_ns: u64,
}

impl Progress {
    fn new(spec: &TrialSpec) -> Option<Self> {
        match &spec.mode {
            Mode::Performance(rules) => {
                Some(Self { rules: rules.clone(), samples: 0, wall_ns: 0, spent_ns: 0 })
            }
            Mode::Accuracy | Mode::Profile { .. } => None,
        }
    }

    fn add(&mut self, burst: &Burst, counts: bool) {
        self.spent_ns = self.spent_ns.saturating_add(burst.wall_ns);
        if counts {
            self.samples += burst.samples;
            self.wall_ns = self.wall_ns.saturating_add(burst.wall_ns);
        }
    }

    /// All that was asked for.
    fn reached(&self) -> bool {
        self.samples >= u64::from(self.rules.min_iterations) && self.wall_ns >= ms(self.rules.min_ms)
    }

    /// Needs no further block.
    fn over(&self) -> bool {
        self.reached() || self.spent_ns >= ms(self.rules.max_ms)
    }

    fn missing(&self, dropped: u32, blocks: u32) -> String {
        let PerformanceRules { min_iterations, min_ms, .. } = &self.rules;
        format!(
            "{} of {min_iterations} iterations and {} of {min_ms} ms after {} ms; {dropped} of {blocks} blocks \
             did not count",
            self.samples,
            self.wall_ns / 1_000_000,
            self.spent_ns / 1_000_000
        )
    }
}

/// Says so when one worker's core ran faster than another's, on average over the block.
fn frequency_gap(bursts: &[Burst]) -> Option<String> {
    let mut means: Vec<(u64, u32)> = Vec::new();
    for first in bursts {
        if means.iter().all(|(_, trial)| *trial != first.trial) {
            let own = bursts.iter().filter(|b| b.trial == first.trial);
            let khz: Vec<u64> = own.filter_map(|b| b.khz).collect();
            if !khz.is_empty() {
                means.push((khz.iter().sum::<u64>() / khz.len() as u64, first.trial));
            }
        }
    }
    let (low, slow) = means.iter().min()?;
    let (high, fast) = means.iter().max()?;
    let unfair = (high - low).saturating_mul(1000) > low.saturating_mul(FREQUENCY_GAP_PERMILLE);
    unfair.then(|| format!("trial {fast} ran at {high} kHz, trial {slow} at {low} kHz"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn burst(trial: u32, khz: u64) -> Burst {
        Burst { trial, samples: 10, wall_ns: 1_000_000, core: None, khz: (khz > 0).then_some(khz) }
    }

    #[test]
    fn a_block_is_fair_within_five_percent() {
        assert_eq!(frequency_gap(&[]), None);
        assert_eq!(frequency_gap(&[burst(0, 0), burst(1, 0)]), None);
        let fair = [burst(0, 1000), burst(1, 1050), burst(1, 1050), burst(0, 1000)];
        assert_eq!(frequency_gap(&fair), None);
        let averages_out = [burst(0, 900), burst(1, 1000), burst(1, 1000), burst(0, 1100)];
        assert_eq!(frequency_gap(&averages_out), None);
        let unfair = [burst(0, 1000), burst(1, 1052), burst(1, 1052), burst(0, 1000)];
        assert_eq!(frequency_gap(&unfair).as_deref(), Some("trial 1 ran at 1052 kHz, trial 0 at 1000 kHz"));
    }

    #[test]
    fn dropped_blocks_cost_time_but_do_not_count() {
        let warm_up = protocol::WarmUp { min_iterations: 1, min_ms: 0, max_ms: 1, agree_permille: 10 };
        let rules = PerformanceRules { example: 0, warm_up, min_iterations: 20, min_ms: 2, max_ms: 3 };
        let mut progress = Progress { rules, samples: 0, wall_ns: 0, spent_ns: 0 };
        progress.add(&burst(0, 0), true);
        progress.add(&burst(0, 0), false);
        assert!(!progress.reached() && !progress.over());
        let mut cut = Progress { rules: progress.rules.clone(), ..progress };
        cut.add(&burst(0, 0), false);
        assert!(!cut.reached() && cut.over());
        assert!(cut.missing(2, 3).starts_with("10 of 20 iterations and 1 of 2 ms after 3 ms; 2 of 3"));
        progress.add(&burst(0, 0), true);
        assert!(progress.reached() && progress.over());
    }
}
