//! What the device is and the state it is in, from `/proc`, `/sys` and the platform's own tools. Everything
//! is optional: what a device does not tell is `None` or left out, never zero. Never read while a burst
//! runs.

mod features;
mod parse;
mod tool;

use crate::memory::field_bytes;
use protocol::{Battery, Cooling, Core, DeviceInfo, DeviceState, FrequencyPolicy, ThermalZone};
use rustix::thread::{CpuSet, sched_getaffinity};
use std::{
    fs::{self, File},
    io::Read,
    path::PathBuf,
};

/// Longest text read from one file of `/proc` or `/sys`.
const MAX_TEXT: u64 = 1 << 20;

/// Entries of one kind that are read: a phone has about a hundred thermal zones.
const MAX_ENTRIES: usize = 256;

/// Start time of a process in clock ticks since boot; `None` when there is no such process.
pub(crate) fn start_ticks(pid: i32) -> Option<u64> {
    parse::stat_start_ticks(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// Reads a device.
pub(crate) struct Probe {
    /// `/`, but for tests.
    root: PathBuf,
}

impl Probe {
    /// The device this process runs on.
    pub(crate) fn new() -> Self {
        Self { root: PathBuf::from("/") }
    }

    /// What stays the same.
    pub(crate) fn info(&self, emulated: bool) -> DeviceInfo {
        let system = rustix::system::uname();
        let word = |text: &std::ffi::CStr| text.to_string_lossy().into_owned();
        let mut info = self.info_from(&self.tool(&["system/bin/getprop"]).unwrap_or_default());
        info.hostname = word(system.nodename());
        info.kernel = word(system.release());
        info.arch = std::env::consts::ARCH.to_owned();
        info.features = features::features();
        info.page_bytes = rustix::param::page_size() as u64;
        info.emulated = emulated;
        info
    }

    /// From files, and from what Android's `getprop` printed.
    fn info_from(&self, props: &str) -> DeviceInfo {
        let cpuinfo = self.text("proc/cpuinfo").unwrap_or_default();
        let prop = |name| parse::android_property(props, name).map(str::to_owned);
        let phone = prop("ro.product.model").map(|model| match prop("ro.product.manufacturer") {
            Some(maker) => format!("{maker} {model}"),
            None => model,
        });
        let tree = || self.text("proc/device-tree/model").map(|t| t.trim_end_matches('\0').to_owned());
        let android = prop("ro.build.version.release").map(|release| {
            let level = prop("ro.build.version.sdk").unwrap_or_else(|| "?".to_owned());
            format!("Android {release} (API {level})")
        });
        let os = || self.text("etc/os-release").and_then(|text| parse::os_name(&text));
        DeviceInfo {
            model: phone.or_else(tree).or_else(|| self.line("sys/class/dmi/id/product_name")),
            soc: prop("ro.soc.model")
                .or_else(|| parse::cpuinfo_field(&cpuinfo, "Hardware").map(str::to_owned)),
            cpu: parse::cpu_name(&cpuinfo).unwrap_or_else(|| "unknown".to_owned()),
            os: android.or_else(os).unwrap_or_else(|| std::env::consts::OS.to_owned()),
            cores: self.cores(),
            memory_bytes: self
                .text("proc/meminfo")
                .and_then(|text| field_bytes(&text, "MemTotal"))
                .unwrap_or_default(),
            ..DeviceInfo::default()
        }
    }

    fn cores(&self) -> Vec<Core> {
        let core = |name: &str| {
            let id = name.strip_prefix("cpu")?.parse().ok()?;
            let path = format!("sys/devices/system/cpu/{name}/cpufreq/cpuinfo_max_freq");
            Some(Core { id, max_khz: self.number(&path) })
        };
        let names = self.entries("sys/devices/system/cpu", "cpu");
        let mut cores: Vec<Core> = names.iter().filter_map(|name| core(name)).collect();
        cores.sort_by_key(|core| core.id);
        cores
    }

    /// What changes.
    pub(crate) fn state(&self) -> DeviceState {
        let vcgencmd = self.tool(&["usr/bin/vcgencmd", "get_throttled"]);
        let dumpsys = self.tool(&["system/bin/dumpsys", "thermalservice"]);
        self.state_from(vcgencmd.as_deref(), dumpsys.as_deref())
    }

    /// From files, and from what a Pi's `vcgencmd` and Android's `dumpsys` printed.
    fn state_from(&self, vcgencmd: Option<&str>, dumpsys: Option<&str>) -> DeviceState {
        let pressure = self.text("proc/pressure/cpu");
        DeviceState {
            frequencies: self.frequencies(),
            thermal: self.thermal(),
            throttled: self.throttled().or_else(|| vcgencmd.and_then(parse::throttled)),
            cooling: self.cooling(),
            thermal_status: dumpsys.and_then(parse::thermal_status),
            battery: self.battery(),
            load1_milli: self.text("proc/loadavg").and_then(|text| parse::load1_milli(&text)),
            cpu_pressure_centi_percent: pressure.and_then(|text| parse::pressure_centi_percent(&text)),
            allowed_cores: allowed_cores(),
            memory_available_bytes: self
                .text("proc/meminfo")
                .and_then(|text| field_bytes(&text, "MemAvailable")),
        }
    }

    /// The cheap part of [`Self::state`] that says whether the device is holding itself back: present
    /// throttle bits, cooling steps (fans left out: they cost nothing), and what the battery is doing.
    pub(crate) fn flags(&self) -> Flags {
        let mut cooling = self.cooling();
        cooling.retain(|c| !c.device.to_ascii_lowercase().contains("fan"));
        Flags {
            throttled: self.throttled().map(|flags| flags & 0xf),
            cooling,
            battery: self.battery().and_then(|b| b.status),
        }
    }

    fn throttled(&self) -> Option<u64> {
        self.text("sys/devices/platform/soc/soc:firmware/get_throttled").and_then(|t| parse::throttled(&t))
    }

    fn frequencies(&self) -> Vec<FrequencyPolicy> {
        let read = |policy: String| {
            let at = format!("sys/devices/system/cpu/cpufreq/{policy}");
            let khz = self.number(&format!("{at}/scaling_cur_freq"));
            FrequencyPolicy { khz, governor: self.line(&format!("{at}/scaling_governor")), policy }
        };
        self.entries("sys/devices/system/cpu/cpufreq", "policy").into_iter().map(read).collect()
    }

    fn thermal(&self) -> Vec<ThermalZone> {
        let read = |name: String| {
            let at = format!("sys/class/thermal/{name}");
            let milli_celsius = self.number(&format!("{at}/temp"))?;
            Some(ThermalZone { zone: self.line(&format!("{at}/type")).unwrap_or(name), milli_celsius })
        };
        self.entries("sys/class/thermal", "thermal_zone").into_iter().filter_map(read).collect()
    }

    fn cooling(&self) -> Vec<Cooling> {
        let read = |name: String| {
            let at = format!("sys/class/thermal/{name}");
            let step = self.number(&format!("{at}/cur_state"))?;
            Some(Cooling { device: self.line(&format!("{at}/type")).unwrap_or(name), step })
        };
        self.entries("sys/class/thermal", "cooling_device").into_iter().filter_map(read).collect()
    }

    /// The device's own battery, not a mouse's.
    fn battery(&self) -> Option<Battery> {
        let supplies = self.entries("sys/class/power_supply", "");
        let own = supplies.iter().map(|name| format!("sys/class/power_supply/{name}")).find(|at| {
            self.line(&format!("{at}/type")).as_deref() == Some("Battery")
                && self.line(&format!("{at}/scope")).as_deref() != Some("Device")
        })?;
        let tenths: Option<i64> = self.number(&format!("{own}/temp"));
        Some(Battery {
            percent: self.number(&format!("{own}/capacity")),
            status: self.line(&format!("{own}/status")),
            milli_celsius: tenths.and_then(|t| t.checked_mul(100)),
        })
    }

    /// Names in a folder that start with `prefix`, in order of their numbers.
    fn entries(&self, folder: &str, prefix: &str) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.root.join(folder)) else { return Vec::new() };
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let mut names: Vec<String> = names.filter(|n| n.starts_with(prefix)).take(MAX_ENTRIES).collect();
        names.sort_by_key(|name| (name.len(), name.clone()));
        names
    }

    fn text(&self, path: &str) -> Option<String> {
        let mut text = Vec::new();
        File::open(self.root.join(path)).ok()?.take(MAX_TEXT).read_to_end(&mut text).ok()?;
        Some(String::from_utf8_lossy(&text).into_owned())
    }

    fn line(&self, path: &str) -> Option<String> {
        let text = self.text(path)?;
        Some(text.trim().to_owned()).filter(|line| !line.is_empty())
    }

    fn number<T: std::str::FromStr>(&self, path: &str) -> Option<T> {
        self.line(path)?.parse().ok()
    }

    /// What a program of the platform prints, where there is one.
    fn tool(&self, words: &[&str]) -> Option<String> {
        let (program, arguments) = words.split_first()?;
        let program = self.root.join(program);
        if program.exists() { tool::output(&program, arguments) } else { None }
    }
}

/// What must not change while a block runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Flags {
    throttled: Option<u64>,
    cooling: Vec<Cooling>,
    battery: Option<String>,
}

impl Flags {
    /// What differs from an earlier reading, in words.
    pub(crate) fn change_since(&self, before: &Self) -> Option<String> {
        if self.throttled != before.throttled {
            let hex = |flags: Option<u64>| flags.map_or("none".to_owned(), |f| format!("{f:#x}"));
            return Some(format!(
                "throttle flags went from {} to {}",
                hex(before.throttled),
                hex(self.throttled)
            ));
        }
        let steps = self.cooling.iter().zip(&before.cooling).find(|(now, then)| now != then);
        if let Some((now, then)) = steps {
            return Some(format!("{} went from step {} to {}", now.device, then.step, now.step));
        }
        let word = |status: &Option<String>| status.clone().unwrap_or_else(|| "unknown".to_owned());
        (self.battery != before.battery)
            .then(|| format!("battery went from {} to {}", word(&before.battery), word(&self.battery)))
    }
}

fn allowed_cores() -> Vec<u32> {
    let Ok(set) = sched_getaffinity(None) else { return Vec::new() };
    (0..CpuSet::MAX_CPU)
        .filter(|core| set.is_set(*core))
        .filter_map(|core| u32::try_from(core).ok())
        .collect()
}

/// Where a file that a test writes lies below a root.
#[cfg(test)]
fn put(root: &std::path::Path, path: &str, text: &str) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn probe(files: &[(&str, &str)]) -> (tempfile::TempDir, Probe) {
        let root = tempfile::tempdir().unwrap();
        files.iter().for_each(|(path, text)| put(root.path(), path, text));
        let probe = Probe { root: root.path().to_owned() };
        (root, probe)
    }

    #[test]
    fn a_raspberry_pi() {
        let (root, probe) = probe(&[
            ("proc/device-tree/model", "Raspberry Pi 5 Model B Rev 1.0\0"),
            ("etc/os-release", "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\n"),
            ("proc/meminfo", "MemTotal:        8245280 kB\nMemAvailable:    7000000 kB\n"),
            ("proc/loadavg", "0.52 0.58 0.59 1/300 1234\n"),
            ("sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq", "2400000\n"),
            ("sys/devices/system/cpu/cpu10/online", "1\n"),
            ("sys/devices/system/cpu/cpu2/online", "1\n"),
            ("sys/devices/system/cpu/cpuidle/current_driver", "none\n"),
            ("sys/devices/system/cpu/cpufreq/policy0/scaling_cur_freq", "1500000\n"),
            ("sys/devices/system/cpu/cpufreq/policy0/scaling_governor", "ondemand\n"),
            ("sys/class/thermal/thermal_zone0/type", "cpu-thermal\n"),
            ("sys/class/thermal/thermal_zone0/temp", "48850\n"),
            ("sys/class/thermal/cooling_device0/type", "pwm-fan\n"),
            ("sys/class/thermal/cooling_device0/cur_state", "1\n"),
            ("sys/devices/platform/soc/soc:firmware/get_throttled", "50000\n"),
        ]);
        let info = probe.info_from("");
        assert_eq!(info.model.as_deref(), Some("Raspberry Pi 5 Model B Rev 1.0"));
        assert_eq!(info.os, "Debian GNU/Linux 12 (bookworm)");
        assert_eq!(info.memory_bytes, 8_245_280 * 1024);
        assert_eq!(
            info.cores.iter().map(|c| (c.id, c.max_khz)).collect::<Vec<_>>(),
            [(0, Some(2_400_000)), (2, None), (10, None)]
        );
        let state = probe.state();
        assert_eq!(state.throttled, Some(0x50000));
        assert_eq!((state.load1_milli, state.cpu_pressure_centi_percent), (Some(520), None));
        assert_eq!(state.thermal, [ThermalZone { zone: "cpu-thermal".into(), milli_celsius: 48_850 }]);
        assert_eq!(state.frequencies[0].governor.as_deref(), Some("ondemand"));
        assert_eq!((state.battery, state.thermal_status), (None, None));

        assert_eq!(probe.state_from(Some("throttled=0x4"), None).throttled, Some(0x50000));
        let before = probe.flags();
        put(root.path(), "sys/class/thermal/cooling_device0/cur_state", "3\n");
        assert_eq!(probe.flags().change_since(&before), None, "a fan is no throttling");
        put(root.path(), "sys/devices/platform/soc/soc:firmware/get_throttled", "50004\n");
        let words = probe.flags().change_since(&before);
        assert_eq!(words.as_deref(), Some("throttle flags went from 0x0 to 0x4"));
    }

    #[test]
    fn a_phone() {
        let (root, probe) = probe(&[
            ("sys/class/power_supply/usb/type", "USB\n"),
            ("sys/class/power_supply/battery/type", "Battery\n"),
            ("sys/class/power_supply/battery/capacity", "87\n"),
            ("sys/class/power_supply/battery/status", "Discharging\n"),
            ("sys/class/power_supply/battery/temp", "312\n"),
            ("sys/class/power_supply/a_mouse/type", "Battery\n"),
            ("sys/class/power_supply/a_mouse/scope", "Device\n"),
            ("sys/class/thermal/cooling_device2/type", "thermal-cpufreq-0\n"),
            ("sys/class/thermal/cooling_device2/cur_state", "0\n"),
            ("sys/class/thermal/cooling_device3/type", "intel_powerclamp\n"),
            ("sys/class/thermal/cooling_device3/cur_state", "-1\n"),
        ]);
        let props = "[ro.product.manufacturer]: [Google]\n[ro.product.model]: [Pixel 7]\n\
            [ro.build.version.release]: [14]\n[ro.build.version.sdk]: [34]\n[ro.soc.model]: [GS201]\n";
        let info = probe.info_from(props);
        assert_eq!(info.model.as_deref(), Some("Google Pixel 7"));
        assert_eq!((info.os.as_str(), info.soc.as_deref()), ("Android 14 (API 34)", Some("GS201")));
        let state = probe.state_from(None, Some("Thermal Status: 3\n"));
        let battery =
            Battery { percent: Some(87), status: Some("Discharging".into()), milli_celsius: Some(31_200) };
        assert_eq!((state.battery, state.thermal_status), (Some(battery), Some(3)));
        assert_eq!(state.cooling, [Cooling { device: "thermal-cpufreq-0".into(), step: 0 }]);
        let before = probe.flags();
        put(root.path(), "sys/class/thermal/cooling_device2/cur_state", "4\n");
        let words = probe.flags().change_since(&before);
        assert_eq!(words.as_deref(), Some("thermal-cpufreq-0 went from step 0 to 4"));
    }

    #[test]
    fn an_empty_device_tells_nothing_and_breaks_nothing() {
        let (_root, probe) = probe(&[]);
        let info = probe.info_from("");
        assert_eq!((info.model, info.cpu.as_str(), info.cores.len()), (None, "unknown", 0));
        let state = probe.state();
        assert_eq!((state.battery, state.throttled, state.load1_milli), (None, None, None));
    }

    #[test]
    fn this_device() {
        let info = Probe::new().info(false);
        assert!(info.memory_bytes > 0 && info.page_bytes >= 4096 && !info.cores.is_empty(), "{info:?}");
        assert!(!Probe::new().state().allowed_cores.is_empty());
        assert!(start_ticks(std::process::id().cast_signed()).is_some());
    }
}
