//! Readers of what Android's `getprop` and `dumpsys` print. Pure functions: text in, value out. What is
//! missing or makes no sense is left out.

use super::heat::{Kind, Zone};
use protocol::{Battery, ThermalZone};

/// Zones that are read of one dump; a phone's HAL tells some twenty.
const MAX_ZONES: usize = 256;

/// One of the `[name]: [value]` lines of `getprop`.
pub(crate) fn property<'a>(getprop: &'a str, name: &str) -> Option<&'a str> {
    getprop.lines().find_map(|line| {
        let (key, value) = line.strip_prefix('[')?.split_once("]: [")?;
        (key == name).then(|| value.strip_suffix(']')).flatten().filter(|v| !v.is_empty())
    })
}

/// `Thermal Status: 0` of `dumpsys thermalservice`.
pub(crate) fn thermal_status(dump: &str) -> Option<u32> {
    field(dump, "Thermal Status", ':')?.parse().ok()
}

/// The temperatures of `dumpsys thermalservice`: the HAL's present ones, or the service's last ones where
/// the HAL gives none. Types 6 to 8 are the battery's voltage, current and charge.
pub(crate) fn temperatures(dump: &str) -> Vec<Zone> {
    let section = |title: &str| -> Vec<Zone> {
        let lines = dump.lines().skip_while(|line| line.trim() != title).skip(1);
        lines.map_while(|line| line.trim().strip_prefix("Temperature{")).filter_map(zone).collect()
    };
    let mut zones = section("Current temperatures from HAL:");
    if zones.is_empty() {
        zones = section("Cached temperatures:");
    }
    zones.truncate(MAX_ZONES);
    zones
}

/// `mValue=43.2, mType=0, mName=CPU0, mStatus=0}`.
fn zone(text: &str) -> Option<Zone> {
    let value = |key: &str| text.split(", ").find_map(|part| part.strip_prefix(key));
    let name = value("mName=")?;
    let kind = value("mType=")?.parse::<i32>().ok()?;
    let celsius = value("mValue=")?.parse::<f64>().ok().filter(|c| (-50.0..=200.0).contains(c))?;
    if (6..=8).contains(&kind) || name.is_empty() {
        return None;
    }
    let zone = ThermalZone { zone: name.to_owned(), milli_celsius: (celsius * 1000.0).round() as i64 };
    let by_name = Kind::of(name);
    Some(Zone { zone, kind: if kind == 0 && by_name == Kind::Other { Kind::Processor } else { by_name } })
}

/// `dumpsys battery`.
pub(crate) fn battery(dump: &str) -> Option<Battery> {
    let number = |key| field(dump, key, ':').and_then(|value| value.parse::<i64>().ok());
    let (level, scale) = (number("level")?, number("scale").filter(|scale| *scale > 0).unwrap_or(100));
    let status = match number("status") {
        Some(2) => Some("Charging"),
        Some(3) => Some("Discharging"),
        Some(4) => Some("Not charging"),
        Some(5) => Some("Full"),
        _ => None,
    };
    let sources = [("AC", "AC"), ("USB", "USB"), ("Wireless", "wireless"), ("Dock", "dock")];
    let powered = sources.map(|(key, word)| (field(dump, &format!("{key} powered"), ':'), word));
    let on = powered.iter().find(|(value, _)| *value == Some("true")).map(|(_, word)| *word);
    let plugged = on.or_else(|| powered.iter().any(|(value, _)| value.is_some()).then_some("none"));
    Some(Battery {
        percent: level.checked_mul(100).and_then(|all| u32::try_from(all / scale).ok()),
        status: status.map(str::to_owned),
        plugged: plugged.map(str::to_owned),
        milli_celsius: number("temperature").and_then(|tenths| tenths.checked_mul(100)),
    })
}

/// `dumpsys power` in words: whether the device is awake, and what it does to save power.
pub(crate) fn wakefulness(dump: &str) -> Option<String> {
    let on = |key| field(dump, key, '=') == Some("true");
    let mut words = vec![field(dump, "mWakefulness", '=')?.to_ascii_lowercase()];
    let saver = dump.lines().skip_while(|line| line.trim() != "Battery saver state machine:").nth(1);
    for (is_on, word) in [
        (on("mLightDeviceIdleMode"), "light idle mode"),
        (on("mDeviceIdleMode"), "idle mode"),
        (saver.is_some_and(|line| line.trim() == "Enabled=true"), "battery saver"),
    ] {
        if is_on {
            words.push(word.to_owned());
        }
    }
    Some(words.join(", "))
}

/// The value of the first line `key: value` or `key=value`.
fn field<'a>(dump: &'a str, key: &str, mark: char) -> Option<&'a str> {
    let value = dump.lines().find_map(|line| line.trim().strip_prefix(key)?.strip_prefix(mark))?;
    Some(value.trim()).filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn properties() {
        let phone = "[ro.product.model]: [Pixel 7]\n[ro.build.version.release]: [14]\n[empty]: []\nnoise\n";
        assert_eq!(property(phone, "ro.product.model"), Some("Pixel 7"));
        assert_eq!(property(phone, "ro.product"), None);
        assert_eq!(property(phone, "empty"), None);
    }

    /// As a phone with Android 14 prints it, shortened.
    const THERMAL: &str = "IsStatusOverride: false
ThermalEventListeners:
\tcallbacks: 2
Thermal Status: 2
Cached temperatures:
\tTemperature{mValue=99.0, mType=3, mName=VIRTUAL-SKIN, mStatus=0}
HAL Ready: true
HAL connection:
\tThermalHAL AIDL 1  connected: yes
Current temperatures from HAL:
\tTemperature{mValue=43.25, mType=0, mName=BIG, mStatus=0}
\tTemperature{mValue=38.0, mType=0, mName=CPU0, mStatus=0}
\tTemperature{mValue=61.5, mType=0, mName=AP-NEW, mStatus=0}
\tTemperature{mValue=31.2, mType=2, mName=battery, mStatus=0}
\tTemperature{mValue=87.0, mType=8, mName=soc, mStatus=0}
\tTemperature{mValue=-99.9, mType=5, mName=TYPE_POWER_AMPLIFIER, mStatus=0}
\tTemperature{mValue=NaN, mType=1, mName=GPU, mStatus=0}
\tTemperature{}
Current cooling devices from HAL:
\tCoolingDevice{mValue=0, mType=2, mName=thermal-cpufreq-0}
";

    #[test]
    fn temperatures_of_the_hal() {
        assert_eq!(thermal_status(THERMAL), Some(2));
        assert_eq!(thermal_status("Can't find service: thermalservice"), None);
        let found: Vec<(String, i64, Kind)> =
            temperatures(THERMAL).into_iter().map(|z| (z.zone.zone, z.zone.milli_celsius, z.kind)).collect();
        let expected = [
            ("BIG", 43_250, Kind::Processor),
            ("CPU0", 38_000, Kind::Processor),
            ("AP-NEW", 61_500, Kind::Processor),
            ("battery", 31_200, Kind::Outside),
        ];
        assert_eq!(found, expected.map(|(name, t, kind)| (name.to_owned(), t, kind)));
        let (cached, _) = THERMAL.split_once("HAL Ready").unwrap();
        assert_eq!(temperatures(cached)[0].zone.milli_celsius, 99_000);
        assert!(temperatures("").is_empty());
    }

    #[test]
    fn batteries() {
        let dump = "Current Battery Service state:\n  AC powered: false\n  USB powered: true\n  \
            Wireless powered: false\n  Max charging current: 500000\n  status: 2\n  health: 2\n  \
            present: true\n  level: 174\n  scale: 200\n  voltage: 4211\n  temperature: 287\n";
        let expected = Battery {
            percent: Some(87),
            status: Some("Charging".into()),
            plugged: Some("USB".into()),
            milli_celsius: Some(28_700),
        };
        assert_eq!(battery(dump), Some(expected));
        let unplugged = battery(&dump.replace("true", "false").replace("status: 2", "status: 3")).unwrap();
        assert_eq!(unplugged.plugged.as_deref(), Some("none"));
        assert_eq!(unplugged.status.as_deref(), Some("Discharging"));
        let bare = battery("level: 5\nscale: 0\ntemperature: cold\n").unwrap();
        assert_eq!(
            (bare.percent, bare.status, bare.plugged, bare.milli_celsius),
            (Some(5), None, None, None)
        );
        assert_eq!(battery("Can't find service: battery"), None);
    }

    #[test]
    fn awake_or_not() {
        let dump = "POWER MANAGER (dumpsys power)\n\nPower Manager State:\n  mWakefulness=Dozing\n  \
            mWakefulnessChanging=false\n  mLightDeviceIdleMode=false\n  mDeviceIdleMode=true\n\n\
            Battery saver state machine:\n  Enabled=true\n    full=true\n";
        assert_eq!(wakefulness(dump).as_deref(), Some("dozing, idle mode, battery saver"));
        let awake =
            "  mWakefulness=Awake\n  mDeviceIdleMode=false\nBattery saver state machine:\n  Enabled=false\n";
        assert_eq!(wakefulness(awake).as_deref(), Some("awake"));
        assert_eq!(wakefulness("Can't find service: power"), None);
    }
}
