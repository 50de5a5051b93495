//! Which thermal zones say how hot the processor is. A device has up to a hundred, and some are no
//! temperatures at all (Qualcomm's `soc` is the battery's charge). Reads nothing.

use protocol::ThermalZone;

/// Hotter than this is a broken sensor, or another unit.
const HOTTEST_MILLI_CELSIUS: i64 = 150_000;

/// What a zone tells about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The processor, or the chip it is on.
    Processor,
    /// Something else within the device.
    Other,
    /// What a cool processor does not depend on: the battery, the charger, the case.
    Outside,
}

/// Parts of names of zones that are [`Kind::Outside`].
const OUTSIDE: &[&str] = &["bat", "chg", "charg", "usb", "skin", "ambient"];

/// Names of processor zones that do not say `cpu`: clusters of Tensor and Exynos, Samsung's application
/// processor, Intel's package, boards with one zone for the chip.
const PROCESSORS: &[&str] = &["big", "mid", "little", "ap", "x86_pkg_temp", "soc-thermal", "soc_thermal"];

impl Kind {
    /// By a zone's name.
    pub(crate) fn of(name: &str) -> Self {
        let name = name.to_ascii_lowercase();
        if OUTSIDE.iter().any(|part| name.contains(part)) || name == "soc" {
            Self::Outside
        } else if name.contains("cpu") || PROCESSORS.contains(&name.as_str()) {
            Self::Processor
        } else {
            Self::Other
        }
    }
}

/// A zone and what it tells about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Zone {
    pub(crate) zone: ThermalZone,
    pub(crate) kind: Kind,
}

/// The hottest zone of that name; without a name, of the processor, or, where none is known as that, of the
/// rest of the device.
pub(crate) fn hottest(zones: &[Zone], named: Option<&str>) -> Option<ThermalZone> {
    let most = |counts: &dyn Fn(&Zone) -> bool| {
        let sane = zones.iter().filter(|z| z.zone.milli_celsius <= HOTTEST_MILLI_CELSIUS && counts(z));
        sane.map(|z| &z.zone).max_by_key(|zone| zone.milli_celsius).cloned()
    };
    match named {
        Some(name) => most(&|z| z.zone.zone == name),
        None => most(&|z| z.kind == Kind::Processor).or_else(|| most(&|z| z.kind == Kind::Other)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zones(all: &[(&str, i64)]) -> Vec<Zone> {
        let zone = |(name, t): &(&str, i64)| Zone {
            zone: ThermalZone { zone: (*name).to_owned(), milli_celsius: *t },
            kind: Kind::of(name),
        };
        all.iter().map(zone).collect()
    }

    fn name(zones: &[Zone], named: Option<&str>) -> Option<String> {
        hottest(zones, named).map(|zone| zone.zone)
    }

    #[test]
    fn the_processor_counts() {
        let phone = zones(&[
            ("cpu-0-0-usr", 41_000),
            ("cpu-1-3-usr", 44_000),
            ("cpuss-0", 255_000),
            ("battery", 60_000),
            ("gpuss-0", 50_000),
            ("soc", 87),
        ]);
        assert_eq!(name(&phone, None).as_deref(), Some("cpu-1-3-usr"));
        assert_eq!(name(&phone, Some("battery")).as_deref(), Some("battery"));
        assert_eq!(name(&phone, Some("no such zone")), None);
        assert_eq!(name(&zones(&[("cpu-thermal", 48_850)]), None).as_deref(), Some("cpu-thermal"));
        assert_eq!(name(&zones(&[("BIG", 50_000), ("G3D", 60_000)]), None).as_deref(), Some("BIG"));
        let laptop = zones(&[("acpitz", 27_800), ("BAT0", 31_000), ("iwlwifi_1", 26_000)]);
        assert_eq!(name(&laptop, None).as_deref(), Some("acpitz"));
        assert_eq!(name(&zones(&[("battery", 30_000), ("VIRTUAL-SKIN", 35_000)]), None), None);
    }
}
