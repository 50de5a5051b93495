//! What the device is and the state it is in, from `/proc`, `/sys` and the platform's own tools. Everything
//! is optional: what a device does not tell is `None` or left out, never zero. Never read while a burst
//! runs.

mod android;
mod features;
mod heat;
mod parse;
mod root;
mod tool;

use crate::memory::field_bytes;
use heat::{Kind, Zone};
use protocol::{Battery, Cooling, Core, DeviceInfo, DeviceState, FrequencyPolicy, ThermalZone};
use root::Root;
use rustix::thread::{CpuSet, sched_getaffinity};
use std::{fs, path::PathBuf};

/// Where a Pi's `vcgencmd` is: in Debian's place, or in that of older images.
const VCGENCMD: [&str; 2] = ["usr/bin/vcgencmd", "opt/vc/bin/vcgencmd"];

/// Start time of a process in clock ticks since boot; `None` when there is no such process.
pub(crate) fn start_ticks(pid: i32) -> Option<u64> {
    parse::stat_start_ticks(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// Reads a device.
#[derive(Clone, Debug)]
pub(crate) struct Probe {
    root: Root,
}

/// What programs of the platform printed.
#[derive(Default)]
struct Printed {
    /// `vcgencmd get_throttled`.
    throttled: Option<String>,
    /// `dumpsys thermalservice`.
    thermal: Option<String>,
    /// `dumpsys power`.
    power: Option<String>,
    /// `dumpsys battery`.
    battery: Option<String>,
}

impl Probe {
    /// The device whose files are below a folder: `/`, but for tests.
    pub(crate) fn new(root: PathBuf) -> Self {
        Self { root: Root(root) }
    }

    /// What stays the same.
    pub(crate) fn info(&self, emulated: bool) -> DeviceInfo {
        let system = rustix::system::uname();
        let word = |text: &std::ffi::CStr| text.to_string_lossy().into_owned();
        let mut info = self.info_from(&self.root.tool("system/bin/getprop", &[]).unwrap_or_default());
        info.hostname = word(system.nodename());
        info.kernel = word(system.release());
        info.thermal_zones = self.zone_names();
        info.arch = std::env::consts::ARCH.to_owned();
        info.features = features::features();
        info.page_bytes = rustix::param::page_size() as u64;
        info.emulated = emulated;
        info
    }

    /// From files, and from what Android's `getprop` printed.
    fn info_from(&self, props: &str) -> DeviceInfo {
        let cpuinfo = self.root.text("proc/cpuinfo").unwrap_or_default();
        let prop = |name| android::property(props, name).map(str::to_owned);
        let phone = prop("ro.product.model").map(|model| match prop("ro.product.manufacturer") {
            Some(maker) => format!("{maker} {model}"),
            None => model,
        });
        let tree = || self.root.text("proc/device-tree/model").map(|t| t.trim_end_matches('\0').to_owned());
        let android = prop("ro.build.version.release").map(|release| {
            let level = prop("ro.build.version.sdk").unwrap_or_else(|| "?".to_owned());
            format!("Android {release} (API {level})")
        });
        let os = || self.root.text("etc/os-release").and_then(|text| parse::os_name(&text));
        DeviceInfo {
            model: phone.or_else(tree).or_else(|| self.root.line("sys/class/dmi/id/product_name")),
            soc: prop("ro.soc.model")
                .or_else(|| prop("ro.board.platform"))
                .or_else(|| parse::cpuinfo_field(&cpuinfo, "Hardware").map(str::to_owned)),
            cpu: parse::cpu_name(&cpuinfo).unwrap_or_else(|| "unknown".to_owned()),
            os: android.or_else(os).unwrap_or_else(|| std::env::consts::OS.to_owned()),
            abi: prop("ro.product.cpu.abi"),
            api_level: prop("ro.build.version.sdk").and_then(|level| level.parse().ok()),
            build: prop("ro.build.fingerprint"),
            cores: self.cores(),
            memory_bytes: self
                .root
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
            Some(Core { id, max_khz: self.root.number(&path) })
        };
        let names = self.root.entries("sys/devices/system/cpu", "cpu");
        let mut cores: Vec<Core> = names.iter().filter_map(|name| core(name)).collect();
        cores.sort_by_key(|core| core.id);
        cores
    }

    /// What changes. Asks services, which takes up to some 150 ms.
    pub(crate) fn state(&self) -> DeviceState {
        let dumpsys = |service| self.root.tool("system/bin/dumpsys", &[service]);
        self.state_from(&Printed {
            throttled: VCGENCMD.iter().find_map(|path| self.root.tool(path, &["get_throttled"])),
            thermal: dumpsys("thermalservice"),
            power: dumpsys("power"),
            // SELinux keeps the files from Android's shell user
            battery: if self.battery().is_none() { dumpsys("battery") } else { None },
        })
    }

    /// From files, and from what programs printed.
    fn state_from(&self, printed: &Printed) -> DeviceState {
        let mut thermal: Vec<ThermalZone> = self.zones(|_| true).into_iter().map(|z| z.zone).collect();
        for zone in printed.thermal.as_deref().map(android::temperatures).unwrap_or_default() {
            if thermal.iter().all(|known| known.zone != zone.zone.zone) {
                thermal.push(zone.zone);
            }
        }
        let vcgencmd = || printed.throttled.as_deref().and_then(parse::throttled);
        DeviceState {
            thermal,
            throttled: self.throttled().or_else(vcgencmd),
            thermal_status: printed.thermal.as_deref().and_then(android::thermal_status),
            battery: self.battery().or_else(|| printed.battery.as_deref().and_then(android::battery)),
            allowed_cores: allowed_cores(),
            memory_available_bytes: self
                .root
                .text("proc/meminfo")
                .and_then(|text| field_bytes(&text, "MemAvailable")),
            wakefulness: printed.power.as_deref().and_then(android::wakefulness),
            ..self.glance()
        }
    }

    /// The part of [`Self::state`] that may be read between blocks: files only, and of the thermal zones
    /// those of the processor.
    pub(crate) fn glance(&self) -> DeviceState {
        let pressure = self.root.text("proc/pressure/cpu");
        DeviceState {
            frequencies: self.frequencies(),
            thermal: self.zones(|kind| kind == Kind::Processor).into_iter().map(|z| z.zone).collect(),
            throttled: self.throttled(),
            cooling: self.cooling(),
            load1_milli: self.root.text("proc/loadavg").and_then(|text| parse::load1_milli(&text)),
            cpu_pressure_centi_percent: pressure.and_then(|text| parse::pressure_centi_percent(&text)),
            ..DeviceState::default()
        }
    }

    /// The hottest zone of that name, or, without a name, of those that tell about the processor: from
    /// files, else from Android's service.
    pub(crate) fn heat(&self, named: Option<&str>) -> Option<ThermalZone> {
        let dump = || self.root.tool("system/bin/dumpsys", &["thermalservice"]);
        heat::hottest(&self.zones(|_| true), named)
            .or_else(|| heat::hottest(&android::temperatures(&dump()?), named))
    }

    /// Zones that [`Self::heat`] can be asked for.
    fn zone_names(&self) -> Vec<String> {
        let dump = self.root.tool("system/bin/dumpsys", &["thermalservice"]).unwrap_or_default();
        let all = self.zones(|_| true).into_iter().chain(android::temperatures(&dump));
        let mut names: Vec<String> = all.map(|zone| zone.zone.zone).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// Processes that the kernel has killed for want of memory since it started.
    pub(crate) fn oom_kills(&self) -> Option<u64> {
        let text = self.root.text("proc/vmstat")?;
        text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok())
    }

    /// Has a service of Android set its fixed-performance mode; the error is why it is not.
    pub(crate) fn set_fixed_performance(&self, on: bool) -> Result<(), String> {
        const PROGRAM: &str = "system/bin/cmd";
        if !self.root.0.join(PROGRAM).exists() {
            return Err("this device has none: it is a mode of Android".to_owned());
        }
        let word = if on { "true" } else { "false" };
        let done = self.root.tool(PROGRAM, &["power", "set-fixed-performance-mode-enabled", word]);
        done.map(drop).ok_or_else(|| {
            format!("`cmd power set-fixed-performance-mode-enabled {word}` failed: most likely this device has none")
        })
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
        self.root
            .text("sys/devices/platform/soc/soc:firmware/get_throttled")
            .and_then(|t| parse::throttled(&t))
    }

    /// Per policy; where a kernel shows only the cores, per core.
    fn frequencies(&self) -> Vec<FrequencyPolicy> {
        const CPUS: &str = "sys/devices/system/cpu";
        let read = |name: String, at: String| {
            let khz = self.root.number(&format!("{at}/scaling_cur_freq"));
            let governor = self.root.line(&format!("{at}/scaling_governor"));
            FrequencyPolicy { khz, governor, policy: name }
        };
        let policies = self.root.entries(&format!("{CPUS}/cpufreq"), "policy");
        if !policies.is_empty() {
            let at = |name: String| read(name.clone(), format!("{CPUS}/cpufreq/{name}"));
            return policies.into_iter().map(at).collect();
        }
        let cores = self.root.entries(CPUS, "cpu").into_iter();
        let all = cores.map(|name| read(name.clone(), format!("{CPUS}/{name}/cpufreq")));
        all.filter(|core| core.khz.is_some() || core.governor.is_some()).collect()
    }

    /// Thermal zones of the kernel, of kinds that are wanted: each costs a question to its sensor.
    fn zones(&self, wanted: impl Fn(Kind) -> bool) -> Vec<Zone> {
        let read = |name: String| {
            let at = format!("sys/class/thermal/{name}");
            let zone = self.root.line(&format!("{at}/type")).unwrap_or(name);
            let kind = Kind::of(&zone);
            let milli_celsius =
                if wanted(kind) { self.root.number(&format!("{at}/temp"))? } else { return None };
            Some(Zone { zone: ThermalZone { zone, milli_celsius }, kind })
        };
        self.root.entries("sys/class/thermal", "thermal_zone").into_iter().filter_map(read).collect()
    }

    fn cooling(&self) -> Vec<Cooling> {
        let read = |name: String| {
            let at = format!("sys/class/thermal/{name}");
            let step = self.root.number(&format!("{at}/cur_state"))?;
            Some(Cooling { device: self.root.line(&format!("{at}/type")).unwrap_or(name), step })
        };
        self.root.entries("sys/class/thermal", "cooling_device").into_iter().filter_map(read).collect()
    }

    /// The device's own battery, not a mouse's.
    fn battery(&self) -> Option<Battery> {
        let supplies = self.root.entries("sys/class/power_supply", "");
        let paths: Vec<String> =
            supplies.iter().map(|name| format!("sys/class/power_supply/{name}")).collect();
        let word = |at: &str, file: &str| self.root.line(&format!("{at}/{file}"));
        let own = paths.iter().find(|at| {
            word(at, "type").as_deref() == Some("Battery") && word(at, "scope").as_deref() != Some("Device")
        })?;
        let tenths: Option<i64> = self.root.number(&format!("{own}/temp"));
        let battery = Battery {
            percent: self.root.number(&format!("{own}/capacity")),
            status: word(own, "status"),
            plugged: plugged(paths.iter().map(|at| (word(at, "type"), word(at, "online")))),
            milli_celsius: tenths.and_then(|t| t.checked_mul(100)),
        };
        (battery.percent.is_some() || battery.status.is_some()).then_some(battery)
    }
}

/// The first supply that is on, by its type; `none` when there are some and none is.
fn plugged(supplies: impl Iterator<Item = (Option<String>, Option<String>)>) -> Option<String> {
    let mut off = false;
    for (kind, online) in supplies {
        let word = match kind.as_deref() {
            Some("Mains") => "AC",
            Some(kind) if kind.starts_with("USB") => "USB",
            Some("Wireless") => "wireless",
            _ => continue,
        };
        match online.as_deref() {
            Some("0") => off = true,
            Some(_) => return Some(word.to_owned()),
            None => {}
        }
    }
    off.then(|| "none".to_owned())
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
        let probe = Probe::new(root.path().to_owned());
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

        let printed = Printed { throttled: Some("throttled=0x4".into()), ..Printed::default() };
        assert_eq!(probe.state_from(&printed).throttled, Some(0x50000), "the firmware's file first");
        assert_eq!(probe.heat(None).map(|zone| zone.milli_celsius), Some(48_850));
        let glance = probe.glance();
        assert_eq!((glance.throttled, &glance.thermal), (Some(0x50000), &state.thermal));
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
            ("sys/class/power_supply/usb/online", "0\n"),
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
            [ro.build.version.release]: [14]\n[ro.build.version.sdk]: [34]\n[ro.soc.model]: [GS201]\n\
            [ro.product.cpu.abi]: [arm64-v8a]\n[ro.build.fingerprint]: [google/panther/panther:14/A/1:user/k]\n";
        let info = probe.info_from(props);
        assert_eq!(info.model.as_deref(), Some("Google Pixel 7"));
        assert_eq!((info.os.as_str(), info.soc.as_deref()), ("Android 14 (API 34)", Some("GS201")));
        assert_eq!((info.abi.as_deref(), info.api_level), (Some("arm64-v8a"), Some(34)));
        assert_eq!(info.build.as_deref(), Some("google/panther/panther:14/A/1:user/k"));
        let state =
            probe.state_from(&Printed { thermal: Some("Thermal Status: 3\n".into()), ..Printed::default() });
        let battery = Battery {
            percent: Some(87),
            status: Some("Discharging".into()),
            plugged: Some("none".into()),
            milli_celsius: Some(31_200),
        };
        assert_eq!((state.battery, state.thermal_status), (Some(battery), Some(3)));
        assert_eq!(state.cooling, [Cooling { device: "thermal-cpufreq-0".into(), step: 0 }]);
        let before = probe.flags();
        put(root.path(), "sys/class/thermal/cooling_device2/cur_state", "4\n");
        let words = probe.flags().change_since(&before);
        assert_eq!(words.as_deref(), Some("thermal-cpufreq-0 went from step 0 to 4"));
    }

    /// A phone that keeps its files from the shell user, and a kernel without policies.
    #[test]
    fn a_phone_that_only_its_services_tell_of() {
        let (_root, probe) = probe(&[
            ("sys/class/power_supply/battery/capacity", "87\n"),
            ("sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq", "1200000\n"),
            ("sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "schedutil\n"),
            ("sys/devices/system/cpu/cpu10/cpufreq/scaling_cur_freq", "300000\n"),
            ("sys/devices/system/cpu/cpu2/online", "0\n"),
            ("sys/devices/system/cpu/cpuidle/current_driver", "none\n"),
        ]);
        let thermal = "Current temperatures from HAL:\n\tTemperature{mValue=43.5, mType=0, mName=CPU0, mStatus=0}\n\
            \tTemperature{mValue=31.0, mType=2, mName=battery, mStatus=0}\n";
        let state = probe.state_from(&Printed {
            thermal: Some(thermal.into()),
            power: Some("  mWakefulness=Asleep\n".into()),
            battery: Some("  USB powered: true\n  level: 50\n  status: 2\n  temperature: 287\n".into()),
            ..Printed::default()
        });
        let battery = state.battery.unwrap();
        assert_eq!((battery.percent, battery.plugged.as_deref()), (Some(50), Some("USB")));
        assert_eq!(state.wakefulness.as_deref(), Some("asleep"));
        let zones: Vec<_> = state.thermal.iter().map(|z| (z.zone.as_str(), z.milli_celsius)).collect();
        assert_eq!(zones, [("CPU0", 43_500), ("battery", 31_000)]);
        let cores: Vec<_> = state.frequencies.iter().map(|f| (f.policy.as_str(), f.khz)).collect();
        assert_eq!(cores, [("cpu0", Some(1_200_000)), ("cpu10", Some(300_000))]);
        assert_eq!(probe.heat(None), None, "it has no services here");
        assert!(probe.set_fixed_performance(true).unwrap_err().contains("mode of Android"));
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
        let info = Probe::new("/".into()).info(false);
        assert!(info.memory_bytes > 0 && info.page_bytes >= 4096 && !info.cores.is_empty(), "{info:?}");
        assert!(!Probe::new("/".into()).state().allowed_cores.is_empty());
        assert!(start_ticks(std::process::id().cast_signed()).is_some());
    }
}
