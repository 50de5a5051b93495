//! Single checks: each reads one thing and says what it means for a measurement.

use serde::Serialize;
use std::{
    fs,
    path::{Path, PathBuf},
};

/// Less free space than this is worth a word: a run of a few minutes takes some ten megabytes.
const LOW_SPACE_BYTES: u64 = 200_000_000;
/// A load above this share of the cores disturbs.
const HIGH_LOAD: f64 = 0.5;
/// Pressure (percent of the last 10 s in which some task waited for a core) above this disturbs.
const HIGH_PRESSURE: f64 = 10.0;
/// 2024-01-01T00:00:00Z.
const SANE_SECONDS: i64 = 1_704_067_200;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum State {
    /// As it should be.
    Good,
    /// Worth knowing.
    Note,
    /// Measurements will be noisier.
    Warning,
    /// Measuring cannot work.
    Bad,
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Check {
    pub(super) name: &'static str,
    pub(super) state: State,
    pub(super) found: String,
    /// What to do; empty when nothing.
    pub(super) advice: String,
}

impl Check {
    pub(super) fn new(
        name: &'static str,
        state: State,
        found: impl Into<String>,
        advice: impl Into<String>,
    ) -> Self {
        Self { name, state, found: found.into(), advice: advice.into() }
    }

    pub(super) fn good(name: &'static str, found: impl Into<String>) -> Self {
        Self::new(name, State::Good, found, "")
    }

    /// For people; the state is a word, never a colour alone.
    pub(super) fn text(&self) -> String {
        let state = match self.state {
            State::Good => "good",
            State::Note => "note",
            State::Warning => "warning",
            State::Bad => "BAD",
        };
        let advice =
            if self.advice.is_empty() { String::new() } else { format!("{:20} {}\n", "", self.advice) };
        format!("{:<10} {state:<9} {}\n{advice}", self.name, self.found)
    }
}

/// The agent was not started because it has no folder to work in.
pub(super) fn agent_not_tried() -> Check {
    Check::new("agent", State::Note, "not tried", "first mend the folders above")
}

/// A folder that must be writable, or can be made.
pub(super) fn folder(name: &'static str, path: &Path) -> Check {
    let shown = path.display();
    let flag = if name == "cache" { "--cache" } else { "--out" };
    // one that is not there yet is judged by where it will be made: looking leaves nothing behind
    let there = path.ancestors().find(|p| p.exists()).unwrap_or(path);
    let tried = tempfile::tempfile_in(there).map(drop);
    if let Err(e) = tried {
        let advice = format!("make it writable, or name another folder with {flag}");
        return Check::new(name, State::Bad, format!("{shown} cannot be written: {e}"), advice);
    }
    match rustix::fs::statvfs(there).map(|s| s.f_bavail.saturating_mul(s.f_frsize)) {
        Ok(free) if free < LOW_SPACE_BYTES => Check::new(
            name,
            State::Warning,
            format!("{shown} has only {} left", crate::values::human_bytes(free)),
            "free some space: a run that finds the disk full keeps what it has, and has to be resumed",
        ),
        Ok(free) => {
            Check::good(name, format!("{shown} is writable, {} free", crate::values::human_bytes(free)))
        }
        Err(_) => Check::good(name, format!("{shown} is writable")),
    }
}

/// The kernel's files below a root, so that tests can have their own.
pub(super) struct System {
    pub(super) root: PathBuf,
}

impl System {
    fn read(&self, path: &str) -> Option<String> {
        fs::read_to_string(self.root.join(path)).ok().map(|text| text.trim().to_owned())
    }

    fn entries(&self, path: &str) -> Vec<PathBuf> {
        let mut all: Vec<PathBuf> =
            fs::read_dir(self.root.join(path)).into_iter().flatten().flatten().map(|e| e.path()).collect();
        all.sort();
        all
    }

    /// Wall clock and clock source.
    pub(super) fn clock(&self) -> Check {
        let now = jiff::Timestamp::now();
        if now.as_second() < SANE_SECONDS {
            return Check::new(
                "clock",
                State::Warning,
                format!("it is {now}, says the clock"),
                "set the clock: runs are named by their time",
            );
        }
        let source = self.read("sys/devices/system/clocksource/clocksource0/current_clocksource");
        match source.as_deref() {
            Some(slow @ ("hpet" | "acpi_pm" | "jiffies" | "refined-jiffies")) => Check::new(
                "clock",
                State::Warning,
                format!("the clock source is {slow}, which is slow to read"),
                "choose tsc at boot if the machine has a stable one (clocksource=tsc)",
            ),
            Some(source) => Check::good("clock", format!("source {source}")),
            None => Check::new("clock", State::Note, "the kernel does not name its clock source", ""),
        }
    }

    /// Frequency scaling.
    pub(super) fn governor(&self) -> Check {
        let policies = self.entries("sys/devices/system/cpu/cpufreq");
        let mut governors: Vec<String> = policies
            .iter()
            .filter_map(|policy| fs::read_to_string(policy.join("scaling_governor")).ok())
            .map(|text| text.trim().to_owned())
            .collect();
        governors.sort();
        governors.dedup();
        if governors.is_empty() {
            let found = "frequency scaling is not visible (a virtual machine or a container?)";
            return Check::new(
                "governor",
                State::Note,
                found,
                "the verdicts hold; absolute times may not repeat",
            );
        }
        if governors.iter().all(|g| g == "performance") {
            return Check::good("governor", "performance");
        }
        Check::new(
            "governor",
            State::Warning,
            governors.join(", "),
            "for steadier numbers: sudo cpupower frequency-set -g performance",
        )
    }

    /// Cores that may be used.
    pub(super) fn cores(&self) -> Check {
        let allowed = std::thread::available_parallelism().map_or(1, usize::from);
        if allowed < 2 {
            return Check::new(
                "cores",
                State::Warning,
                "one core",
                "host and worker share it: expect wider intervals, or use a machine with two cores",
            );
        }
        Check::good("cores", format!("{allowed} may be used"))
    }

    /// Load average.
    pub(super) fn load(&self) -> Check {
        let load = self.read("proc/loadavg").and_then(|text| text.split(' ').next()?.parse::<f64>().ok());
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        match load {
            None => Check::new("load", State::Note, "not visible", ""),
            Some(load) if load > HIGH_LOAD * cores as f64 => Check::new(
                "load",
                State::Warning,
                format!("{load} on {cores} cores"),
                "end other work while measuring: verdicts stay honest, but take more units or stay inconclusive",
            ),
            Some(load) => Check::good("load", format!("{load} on {cores} cores")),
        }
    }

    /// CPU pressure.
    pub(super) fn pressure(&self) -> Check {
        let some = self.read("proc/pressure/cpu").and_then(|text| {
            let avg10 =
                text.split_whitespace().find_map(|word| word.strip_prefix("avg10=").map(str::to_owned))?;
            avg10.parse::<f64>().ok()
        });
        match some {
            None => Check::new("pressure", State::Note, "the kernel does not tell CPU pressure", ""),
            Some(share) if share > HIGH_PRESSURE => Check::new(
                "pressure",
                State::Warning,
                format!("tasks waited for a core {share} % of the last 10 s"),
                "something else uses the cores: see what with `top`",
            ),
            Some(share) => Check::good("pressure", format!("{share} % of the last 10 s")),
        }
    }

    /// Battery.
    pub(super) fn power(&self) -> Check {
        let supplies = self.entries("sys/class/power_supply");
        let status = |supply: &PathBuf| fs::read_to_string(supply.join("status")).ok();
        if supplies.iter().filter_map(status).any(|text| text.trim() == "Discharging") {
            return Check::new(
                "power",
                State::Warning,
                "on battery",
                "plug it in: most laptops are slower on battery",
            );
        }
        Check::good("power", if supplies.is_empty() { "no battery" } else { "not on battery" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn system(files: &[(&str, &str)]) -> (tempfile::TempDir, System) {
        let folder = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let root = folder.path().to_owned();
        (folder, System { root })
    }

    #[test]
    fn trouble_is_told_from_health() {
        let policy = "sys/devices/system/cpu/cpufreq/policy0/scaling_governor";
        let (_kept, calm) = system(&[
            (policy, "performance\n"),
            ("proc/loadavg", "0.00 0.00 0.00 1/100 1\n"),
            ("proc/pressure/cpu", "some avg10=0.20 avg60=0.00 avg300=0.00 total=1\n"),
            ("sys/class/power_supply/BAT0/status", "Charging\n"),
            ("sys/devices/system/clocksource/clocksource0/current_clocksource", "tsc\n"),
        ]);
        for check in [calm.governor(), calm.load(), calm.pressure(), calm.power(), calm.clock()] {
            assert_eq!(check.state, State::Good, "{check:?}");
        }
        let (_kept, busy) = system(&[
            (policy, "powersave\n"),
            ("proc/loadavg", "900.00 0.00 0.00 1/100 1\n"),
            ("proc/pressure/cpu", "some avg10=55.20 avg60=0.00 avg300=0.00 total=1\n"),
            ("sys/class/power_supply/BAT0/status", "Discharging\n"),
            ("sys/devices/system/clocksource/clocksource0/current_clocksource", "hpet\n"),
        ]);
        for check in [busy.governor(), busy.load(), busy.pressure(), busy.power(), busy.clock()] {
            assert_eq!(check.state, State::Warning, "{check:?}");
            assert!(!check.advice.is_empty(), "{check:?}");
        }
        let (_kept, blind) = system(&[("proc/loadavg", "what?")]);
        for check in [blind.governor(), blind.load(), blind.pressure(), blind.clock()] {
            assert_eq!(check.state, State::Note, "{check:?}");
        }
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_bad() {
        let folder = tempfile::tempdir().unwrap();
        assert_ne!(super::folder("cache", &folder.path().join("new")).state, State::Bad);
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        let check = super::folder("runs", &file.join("below"));
        assert_eq!(check.state, State::Bad);
        assert!(check.advice.contains("--out"));
    }
}
