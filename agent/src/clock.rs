//! The measuring clocks, all in one place. Nothing else in the agent reads time.

use rustix::time::{ClockId, clock_gettime};

/// Nanoseconds on the monotonic clock of the device: one axis for every process on it until it restarts.
pub(crate) fn monotonic_ns() -> u64 {
    read(ClockId::Monotonic)
}

/// The end of what began at `begin_ns`: now, or, with a slowdown, when it has taken so many thousandths longer than
/// it has. Spins until then, as a slower model would work.
pub(crate) fn end_ns(begin_ns: u64, slowdown_permille: u16) -> u64 {
    let mut now = monotonic_ns();
    let delay = now.saturating_sub(begin_ns).saturating_mul(u64::from(slowdown_permille)) / 1000;
    let until = now.saturating_add(delay);
    while now < until {
        now = monotonic_ns();
    }
    now
}

/// Whose CPU time is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CpuClock {
    /// The calling thread's: exact for a session that has no other.
    Thread,
    /// The whole process's.
    Process,
}

impl CpuClock {
    /// The clock for a trial with that many threads.
    pub(crate) fn for_threads(threads: u16) -> Self {
        if threads == 1 { Self::Thread } else { Self::Process }
    }

    /// Nanoseconds of CPU time so far.
    pub(crate) fn now_ns(self) -> u64 {
        read(match self {
            Self::Thread => ClockId::ThreadCPUTime,
            Self::Process => ClockId::ProcessCPUTime,
        })
    }
}

fn read(clock: ClockId) -> u64 {
    let time = clock_gettime(clock);
    let part = |value: i64| u64::try_from(value).unwrap_or_default();
    part(time.tv_sec).wrapping_mul(1_000_000_000).wrapping_add(part(time.tv_nsec))
}

/// Milliseconds as nanoseconds, without overflow.
pub(crate) fn ms(milliseconds: u64) -> u64 {
    milliseconds.saturating_mul(1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_go_forward_and_cpu_time_counts_work() {
        let (wall, cpu) = (monotonic_ns(), CpuClock::for_threads(1).now_ns());
        let mut x = 1u64;
        while CpuClock::Thread.now_ns() == cpu {
            x = std::hint::black_box(x.wrapping_mul(3));
        }
        assert!(monotonic_ns() > wall);
        assert!(CpuClock::for_threads(2).now_ns() >= cpu);
        assert_eq!(ms(u64::MAX), u64::MAX);
    }

    #[test]
    fn a_slowdown_is_a_share_of_what_was_spent_and_costs_cpu_time() {
        let (begin, cpu) = (monotonic_ns(), CpuClock::Thread.now_ns());
        while monotonic_ns() < begin + 200_000 {}
        let spent = monotonic_ns() - begin;
        let end = end_ns(begin, 1000);
        assert!(end - begin >= 2 * spent, "twice as long, at least: {} of {spent}", end - begin);
        assert!(CpuClock::Thread.now_ns() > cpu);
        assert!(end_ns(end, 0) >= end);
    }
}
