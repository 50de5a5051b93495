//! Memory of this process per phase: peaks by `VmHWM`, reset before each phase, and what is resident now.
//! Never called between timed iterations: `smaps_rollup` takes 21 ms at 512 MiB.

use protocol::{MemoryPhase, MemoryReading, PeakMethod};
use std::fs;

/// Reads memory, where it is the worker's own and not an emulator's.
pub(crate) struct MemoryMeter {
    emulated: bool,
    /// How the peak of the phase under way is going to be taken.
    method: PeakMethod,
}

impl MemoryMeter {
    /// Nothing read yet.
    pub(crate) fn new(emulated: bool) -> Self {
        Self { emulated, method: PeakMethod::VmHwm }
    }

    /// A phase begins: forget the peak so far. Kernels may refuse (a hardened Android): then the peak is
    /// the one since the process began, and the reading says so.
    pub(crate) fn begin(&mut self) {
        if !self.emulated {
            let reset = fs::write("/proc/self/clear_refs", "5");
            self.method = if reset.is_ok() { PeakMethod::VmHwmReset } else { PeakMethod::VmHwm };
        }
    }

    /// A phase has ended.
    pub(crate) fn read(&self, phase: MemoryPhase) -> MemoryReading {
        let text = |path| if self.emulated { None } else { fs::read_to_string(path).ok() };
        let status = text("/proc/self/status").unwrap_or_default();
        let rollup = text("/proc/self/smaps_rollup").unwrap_or_default();
        let peak_bytes = field_bytes(&status, "VmHWM");
        MemoryReading {
            phase,
            peak_bytes,
            peak_method: peak_bytes.map(|_| self.method),
            rss_anon_bytes: field_bytes(&status, "RssAnon"),
            rss_file_bytes: field_bytes(&status, "RssFile"),
            pss_bytes: field_bytes(&rollup, "Pss"),
            private_dirty_bytes: field_bytes(&rollup, "Private_Dirty"),
            swap_bytes: field_bytes(&status, "VmSwap"),
            arena_peak_bytes: None,
        }
    }
}

/// A `Name:   123 kB` line of `/proc/*/status`, `smaps_rollup` or `/proc/meminfo`.
pub(crate) fn field_bytes(text: &str, name: &str) -> Option<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    let mut words = value.split_whitespace();
    let count: u64 = words.next()?.parse().ok()?;
    match words.next() {
        Some("kB") => count.checked_mul(1024),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATUS: &str = "Name:\tbench-agent\nVmPeak:\t  206776 kB\nVmHWM:\t    1972 kB\nVmRSS:\t    1960 kB\n\
        RssAnon:\t     512 kB\nRssFile:\t    1448 kB\nRssShmem:\t       0 kB\nVmSwap:\t       0 kB\n\
        Threads:\t1\n";
    const ROLLUP: &str = "55d0-7ffc ---p 00000000 00:00 0    [rollup]\nRss:      1960 kB\nPss:       701 kB\n\
        Pss_Dirty:     96 kB\nPrivate_Clean:    64 kB\nPrivate_Dirty:       96 kB\nSwap:      0 kB\n";

    #[test]
    fn fields_are_found_by_their_whole_name() {
        assert_eq!(field_bytes(STATUS, "VmHWM"), Some(1972 * 1024));
        assert_eq!(field_bytes(STATUS, "VmSwap"), Some(0));
        assert_eq!(field_bytes(ROLLUP, "Pss"), Some(701 * 1024));
        assert_eq!(field_bytes(ROLLUP, "Private_Dirty"), Some(96 * 1024));
        for missing in ["VmH", "Threads", "Name", "RssTotal", ""] {
            assert_eq!(field_bytes(STATUS, missing), None, "{missing}");
        }
        assert_eq!(field_bytes("VmHWM:\t18446744073709551615 kB", "VmHWM"), None);
    }

    #[test]
    fn an_emulated_process_reads_nothing() {
        let mut meter = MemoryMeter::new(true);
        meter.begin();
        let reading = meter.read(MemoryPhase::Bare);
        assert_eq!((reading.peak_bytes, reading.peak_method, reading.pss_bytes), (None, None, None));
    }

    #[test]
    fn a_known_allocation_is_seen_in_the_peak_of_its_phase_only() {
        if crate::launch::Launcher::of_this_process().unwrap().emulated {
            println!("left out under emulation: a_known_allocation_is_seen_in_the_peak_of_its_phase_only");
            return;
        }
        const BYTES: usize = 96 << 20;
        let mut meter = MemoryMeter::new(false);
        meter.begin();
        let before = meter.read(MemoryPhase::Bare).peak_bytes.unwrap();
        drop(std::hint::black_box(vec![1u8; BYTES]));
        let peak = meter.read(MemoryPhase::Steady);
        assert!(peak.peak_bytes.unwrap() >= before + BYTES as u64 * 9 / 10);
        meter.begin();
        let after = meter.read(MemoryPhase::Steady);
        if after.peak_method == Some(PeakMethod::VmHwmReset) {
            assert!(after.peak_bytes.unwrap() < peak.peak_bytes.unwrap() - BYTES as u64 / 2);
        }
    }
}
