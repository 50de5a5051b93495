//! A burst of timed iterations: the only place where inference is timed. Nothing is allocated, written or
//! checked between two iterations.

use crate::{
    clock::{self, CpuClock},
    sys,
};
use protocol::{PingPong, SamplePhase, Samples};
use runtimes::Session;

/// Samples a burst may have: both buffers stay small (64 KiB each) and a burst fits its line.
const MAX_SAMPLES: usize = 8192;

/// A sample lasts at least so long, or as many invokes are timed together as it takes: reading a clock
/// costs 20 to 50 ns, reading CPU time 0.2 to 0.8 µs.
const MIN_SAMPLE_NS: u64 = 50_000;

/// Most invokes that are timed together.
const MAX_BATCH: u64 = 100_000;

/// When a burst is over.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// At least so many samples,
    pub(super) samples: usize,
    /// and at least so long,
    pub(super) ns: u64,
    /// but never begun again after so long.
    pub(super) max_ns: u64,
}

/// Buffers and settings of one worker's bursts.
pub(super) struct Timing {
    cpu: CpuClock,
    /// Size of bursts.
    pub(super) bursts: PingPong,
    /// Invokes per sample: settled in warm-up, the same ever after.
    pub(super) batch: u32,
    /// By how much samples are made longer.
    slowdown_permille: u16,
    wall_ns: Vec<u64>,
    cpu_ns: Vec<u64>,
    scratch: Vec<u64>,
}

/// Where in the unit a burst belongs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) phase: SamplePhase,
    pub(super) block: u32,
    pub(super) burst: u32,
}

impl Timing {
    /// All buffers at full size, and their pages touched.
    pub(super) fn new(threads: u16, bursts: PingPong, slowdown_permille: u16) -> Self {
        let buffer = || {
            let mut buffer = vec![1; MAX_SAMPLES];
            buffer.clear();
            buffer
        };
        let cpu = CpuClock::for_threads(threads);
        let (wall_ns, cpu_ns, scratch) = (buffer(), buffer(), buffer());
        Self { cpu, bursts, batch: 1, slowdown_permille, wall_ns, cpu_ns, scratch }
    }

    /// The size of a burst that the host asked for, and no longer than `max_ns`.
    pub(super) fn limits(&self, max_ns: u64) -> Limits {
        let samples = (self.bursts.burst_min_iterations as usize).clamp(1, MAX_SAMPLES);
        Limits { samples, ns: clock::ms(self.bursts.burst_min_ms), max_ns }
    }

    /// Times iterations. The samples borrow this worker's buffers: give them back with [`Self::reuse`].
    pub(super) fn run(
        &mut self,
        session: &mut dyn Session,
        place: Place,
        limits: Limits,
    ) -> runtimes::Result<Samples> {
        let mut wall_ns = std::mem::take(&mut self.wall_ns);
        let mut cpu_ns = std::mem::take(&mut self.cpu_ns);
        wall_ns.clear();
        cpu_ns.clear();
        let most = MAX_SAMPLES.min(wall_ns.capacity()).min(cpu_ns.capacity());
        let switches = sys::involuntary_switches();
        let mut cpu = self.cpu.now_ns();
        let start_ns = clock::monotonic_ns();
        loop {
            let begin = clock::monotonic_ns();
            for _ in 0..self.batch {
                session.invoke()?;
            }
            let end = clock::end_ns(begin, self.slowdown_permille);
            let cpu_now = self.cpu.now_ns();
            wall_ns.push(end.saturating_sub(begin));
            cpu_ns.push(cpu_now.saturating_sub(cpu));
            cpu = cpu_now;
            let (samples, spent) = (wall_ns.len(), end.saturating_sub(start_ns));
            let enough = samples >= limits.samples && spent >= limits.ns;
            if enough || samples >= most || spent >= limits.max_ns {
                break;
            }
        }
        let involuntary_switches = sys::involuntary_switches().saturating_sub(switches);
        let core = u32::try_from(rustix::thread::sched_getcpu()).ok();
        let khz = core.and_then(core_khz);
        let Place { phase, block, burst } = place;
        let batch = self.batch;
        Ok(Samples { phase, block, burst, start_ns, batch, wall_ns, cpu_ns, involuntary_switches, core, khz })
    }

    /// Takes the buffers back.
    pub(super) fn reuse(&mut self, samples: Samples) {
        self.wall_ns = samples.wall_ns;
        self.cpu_ns = samples.cpu_ns;
    }

    /// Median wall time of one invoke.
    pub(super) fn median_invoke_ns(&mut self, samples: &Samples) -> u64 {
        self.scratch.clear();
        self.scratch.extend_from_slice(&samples.wall_ns);
        median(&mut self.scratch) / u64::from(samples.batch.max(1))
    }

    /// Chooses how many invokes make a sample, so that clocks do not count and a burst fits its buffer.
    pub(super) fn choose_batch(&mut self, invoke_ns: u64) {
        let whole_burst = clock::ms(self.bursts.burst_min_ms) / (MAX_SAMPLES as u64 / 2);
        let wanted = MIN_SAMPLE_NS.max(whole_burst);
        let batch = wanted.div_ceil(invoke_ns.max(1)).clamp(1, MAX_BATCH);
        self.batch = u32::try_from(batch).unwrap_or(1);
    }
}

/// Lower median; 0 of nothing.
pub(super) fn median(values: &mut [u64]) -> u64 {
    let middle = values.len().saturating_sub(1) / 2;
    if values.is_empty() { 0 } else { *values.select_nth_unstable(middle).1 }
}

/// Frequency of a core now, where the kernel tells.
fn core_khz(core: u32) -> Option<u64> {
    let path = format!("/sys/devices/system/cpu/cpu{core}/cpufreq/scaling_cur_freq");
    std::fs::read_to_string(path).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timing(burst_min_ms: u64) -> Timing {
        Timing::new(1, PingPong { burst_min_iterations: 4, burst_min_ms }, 0)
    }

    #[test]
    fn medians() {
        assert_eq!(median(&mut []), 0);
        assert_eq!(median(&mut [5]), 5);
        assert_eq!(median(&mut [9, 1, 5]), 5);
        assert_eq!(median(&mut [9, 1, 5, 7]), 5);
        assert_eq!(median(&mut [3, 3, 3]), 3);
    }

    #[test]
    fn fast_models_are_timed_in_batches() {
        let batch = |burst_min_ms, invoke_ns| {
            let mut timing = timing(burst_min_ms);
            timing.choose_batch(invoke_ns);
            timing.batch
        };
        assert_eq!(batch(30, 50_000), 1);
        assert_eq!(batch(30, 49_999), 2);
        assert_eq!(batch(30, 1_000), 50);
        assert_eq!(batch(30, 2_000_000), 1);
        assert_eq!(batch(30, 0), 50_000);
        // A burst of 4 s must fit 8192 samples: each lasts about a millisecond.
        assert_eq!(batch(4096, 1_000), 1_000);
    }
}
