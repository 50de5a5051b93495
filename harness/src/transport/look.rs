//! What a device says of itself to its shell, for lists: nothing is written, pushed or started. One script for
//! every system that has a POSIX shell; what it prints is taken apart line by line, and anything may be missing.

use super::{TransportError, remote::quote};
use protocol::Sha256Hex;
use std::collections::BTreeSet;

/// Comes before what was asked for: a login script may greet first.
const MARK: &str = "bench-look";

/// Lines that are read at most: a phone has some hundred thermal zones.
const MAX_LINES: usize = 2000;

/// Longest name that is taken over.
const MAX_CHARS: usize = 80;

/// Millidegrees that a processor can have; some zones are switched off and say 0 or -274000.
const MILLI_CELSIUS: std::ops::RangeInclusive<i64> = 1_000..=150_000;

/// Parts of the names of zones that lie in or beside the processor.
const PROCESSOR: &[&str] = &["cpu", "soc", "pkg", "tsens", "coretemp", "k10temp"];

/// What was seen. Whatever the device does not tell is `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Look {
    /// Board, phone or computer.
    pub model: Option<String>,
    /// System on chip, or the processor.
    pub soc: Option<String>,
    /// Cores that are present.
    pub cores: Option<u32>,
    /// Operating system with version.
    pub os: Option<String>,
    /// Instruction set as the kernel says, for Android the binary interface.
    pub abi: Option<String>,
    /// Instruction set as Rust names it: which agent it needs.
    pub arch: Option<String>,
    /// Charge in percent.
    pub battery_percent: Option<u32>,
    /// Charging, discharging, full, ...
    pub battery_status: Option<String>,
    /// The hottest zone of the processor, or of the device where none is the processor's.
    pub milli_celsius: Option<i64>,
    /// Free space where our files go.
    pub free_bytes: Option<u64>,
    /// Executables that were pushed to it.
    pub agents: BTreeSet<Sha256Hex>,
}

/// Prints what [`parsed`] reads. `cache` is a word of shell: the folder that would be ours.
pub(super) fn script(cache: &str) -> String {
    format!("c={cache}\n{SCRIPT}")
}

/// `say NAME COMMAND…` prints the name and the first line that the command prints.
const SCRIPT: &str = r#"
exec 2>/dev/null
say() { n=$1; shift; v=$("$@" | head -n 1); [ -n "$v" ] && echo "$n $v"; }
echo bench-look
say machine uname -m
say kernel uname -sr
say present cat /sys/devices/system/cpu/present
say nproc nproc
if command -v getprop >/dev/null; then
  say brand getprop ro.product.manufacturer
  say model getprop ro.product.model
  say soc getprop ro.soc.model
  say soc getprop ro.board.platform
  say android getprop ro.build.version.release
  say abi getprop ro.product.cpu.abi
  dumpsys battery | sed -n 's/^ *level: /battery /p;s/^ *status: /charge /p'
  dumpsys thermalservice | sed -n 's/.*mValue=\([0-9.]*\),.*mName=\([^,]*\),.*/degrees \1 \2/p'
else
  say model cat /proc/device-tree/model
  say model cat /sys/class/dmi/id/product_name
  say os sed -n 's/^PRETTY_NAME="*\([^"]*\)"*$/\1/p' /etc/os-release
  say soc sed -n 's/^model name[^:]*: //p' /proc/cpuinfo
  for b in /sys/class/power_supply/*; do
    [ "$(cat "$b/type")" = Battery ] && say battery cat "$b/capacity" && say status cat "$b/status"
  done
fi
for z in /sys/class/thermal/thermal_zone*; do
  t=$(cat "$z/temp") && echo "zone $t $(cat "$z/type")"
done
d=$c
while [ ! -d "$d" ] && [ -n "$d" ]; do d=${d%/*}; done
df -Pk "${d:-/}" | sed -n '$s/^/df /p'
for f in "$c"/files/*; do [ -x "$f" ] && echo "agent ${f##*/}"; done
true
"#;

/// The answer to [`script`].
pub(super) fn parsed(output: &str) -> Result<Look, TransportError> {
    let mut lines = output.lines();
    if !lines.any(|line| line == MARK) {
        let begin: String = output.chars().take(MAX_CHARS).collect();
        return Err(TransportError::Refused {
            doing: "looking at it".to_owned(),
            reason: format!("its shell answered without the word that was asked for: {begin:?}"),
        });
    }
    let mut seen = Seen::default();
    for line in lines.take(MAX_LINES) {
        let (key, value) = line.split_once(' ').unwrap_or((line, ""));
        seen.take(key, value.trim());
    }
    Ok(seen.look())
}

/// What was read so far, where it has to be put together from several lines.
#[derive(Default)]
struct Seen {
    look: Look,
    brand: Option<String>,
    kernel: Option<String>,
    /// Of the processor, and of anything.
    hottest: [Option<i64>; 2],
}

impl Seen {
    fn take(&mut self, key: &str, value: &str) {
        let look = &mut self.look;
        let first = |slot: &mut Option<String>| {
            if slot.is_none() {
                *slot = name(value);
            }
        };
        match key {
            "machine" => {
                first(&mut look.abi);
                look.arch = name(super::remote::arch(value));
            }
            "abi" => look.abi = name(value),
            "kernel" => first(&mut self.kernel),
            "brand" => first(&mut self.brand),
            "model" => first(&mut look.model),
            "soc" => first(&mut look.soc),
            "os" => first(&mut look.os),
            "android" => look.os = name(value).map(|version| format!("Android {version}")),
            "present" => look.cores = count(value),
            "nproc" => look.cores = look.cores.or_else(|| value.parse().ok()),
            "battery" => look.battery_percent = value.parse().ok().filter(|percent| *percent <= 100),
            "status" => first(&mut look.battery_status),
            "charge" => look.battery_status = charge(value).map(str::to_owned),
            "zone" => {
                let (milli, zone) = value.split_once(' ').unwrap_or((value, ""));
                self.heat(milli.parse().ok(), zone);
            }
            "degrees" => {
                let (degrees, zone) = value.split_once(' ').unwrap_or((value, ""));
                self.heat(degrees.parse::<f64>().ok().map(|d| (d * 1000.0).round() as i64), zone);
            }
            "df" => {
                // device, blocks, used, free, share, mounted on
                let free = value.split_whitespace().nth(3).and_then(|kib| kib.parse::<u64>().ok());
                look.free_bytes = free.map(|kib| kib.saturating_mul(1024));
            }
            "agent" => look.agents.extend(value.parse::<Sha256Hex>()),
            _ => {}
        }
    }

    fn heat(&mut self, milli_celsius: Option<i64>, zone: &str) {
        let Some(milli) = milli_celsius.filter(|milli| MILLI_CELSIUS.contains(milli)) else { return };
        let zone = zone.to_ascii_lowercase();
        let [processor, anything] = &mut self.hottest;
        if PROCESSOR.iter().any(|part| zone.contains(part)) {
            *processor = (*processor).max(Some(milli));
        }
        *anything = (*anything).max(Some(milli));
    }

    fn look(self) -> Look {
        let Self { look, brand, kernel, hottest: [processor, anything] } = self;
        let model = match (brand, look.model) {
            (Some(brand), Some(model)) if !model.starts_with(&brand) => Some(format!("{brand} {model}")),
            (_, model) => model,
        };
        Look { model, os: look.os.or(kernel), milli_celsius: processor.or(anything), ..look }
    }
}

/// Text of a device's, harmless and of bearable length.
fn name(value: &str) -> Option<String> {
    let clean: String = value.chars().filter(|c| !c.is_control()).take(MAX_CHARS).collect();
    let clean = clean.trim();
    (!clean.is_empty()).then(|| clean.to_owned())
}

/// How many numbers a list of the kernel's names: `0-3,6`.
fn count(list: &str) -> Option<u32> {
    let mut total = 0u32;
    for part in list.split(',') {
        let (from, to) = part.split_once('-').unwrap_or((part, part));
        let (from, to): (u32, u32) = (from.trim().parse().ok()?, to.trim().parse().ok()?);
        total = total.checked_add(to.checked_sub(from)?.checked_add(1)?)?;
    }
    Some(total)
}

/// Android's numbers for the state of a battery.
fn charge(number: &str) -> Option<&'static str> {
    Some(match number {
        "2" => "charging",
        "3" => "discharging",
        "4" => "not charging",
        "5" => "full",
        _ => return None,
    })
}

/// A word of shell for a path of this machine.
pub(super) fn word(path: &std::path::Path) -> Result<String, TransportError> {
    quote(&path.to_string_lossy())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::process::Command;

    #[test]
    fn a_phone_is_recognised() {
        let hash = "a".repeat(64);
        let text = format!(
            "welcome\nbench-look\nmachine aarch64\nkernel Linux 6.1.99\npresent 0-7\nbrand Google\nmodel Pixel 8\n\
             soc Tensor G3\nsoc zuma\nandroid 15\nabi arm64-v8a\nbattery 87\ncharge 2\n\
             degrees 38.25 skin\ndegrees 41.5 CPU0\nzone -274000 cpu-off\nzone 39000 tsens_tz3\n\
             df /dev/block/dm-5 1000 500 2048 50% /data\nagent {hash}\nagent ../../etc/passwd\n"
        );
        let look = parsed(&text).unwrap();
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(look.model, text("Google Pixel 8"));
        assert_eq!((look.soc, look.os, look.abi), (text("Tensor G3"), text("Android 15"), text("arm64-v8a")));
        assert_eq!((look.arch, look.cores), (text("aarch64"), Some(8)));
        assert_eq!((look.battery_percent, look.battery_status), (Some(87), text("charging")));
        assert_eq!((look.milli_celsius, look.free_bytes), (Some(41_500), Some(2048 * 1024)));
        assert_eq!(look.agents.len(), 1);
    }

    #[test]
    fn this_machine_is_recognised() {
        let folder = tempfile::tempdir().unwrap();
        let cache = word(&folder.path().join("not $(there) yet")).unwrap();
        let output = Command::new("sh").args(["-c", &script(&cache)]).output().unwrap();
        let look = parsed(&String::from_utf8_lossy(&output.stdout)).unwrap();
        assert_eq!(look.arch.as_deref(), Some(std::env::consts::ARCH));
        assert!(look.cores >= Some(1) && look.os.is_some() && look.free_bytes.is_some(), "{look:?}");
        assert_eq!(String::from_utf8_lossy(&output.stderr), "");
        assert!(!folder.path().join("not $(there) yet").exists(), "looking leaves nothing behind");
    }

    #[test]
    fn lists_of_cores_are_counted() {
        assert_eq!((count("0"), count("0-3,6"), count("3-1"), count("x")), (Some(1), Some(5), None, None));
        assert_eq!(count("0-4294967295"), None);
    }

    proptest! {
        #[test]
        fn whatever_a_device_says_nothing_breaks(lines in proptest::collection::vec(
            "(machine|model|present|zone|degrees|df|battery|agent|charge|[a-z]{0,9}) (\\PC|\u{1b}|[0-9-]){0,30}", 0..20)) {
            let look = parsed(&format!("{MARK}\n{}", lines.join("\n"))).unwrap();
            for text in [look.model, look.soc, look.os, look.abi, look.arch].into_iter().flatten() {
                prop_assert!(!text.contains(char::is_control) && text.chars().count() < 200);
            }
        }
    }
}
