//! Values as people write them in flags and settings: shares (`3%`), lengths of time (`4m`), sizes (`2GiB`).

use crate::unknown::unknown;
use protocol::RuntimeId;
use serde::{Deserialize, Deserializer, de};
use std::{collections::BTreeMap, fmt, str::FromStr, time::Duration};
use suites::COSTS;

/// A share of a whole, in [0, 1). Written `3%`, or `0.03`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Share(pub f64);

impl FromStr for Share {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let help = || format!("{text:?} is not a share: write 3% or 0.03, at least 0 and below 100%");
        let (number, scale) = match text.trim().strip_suffix('%') {
            Some(percent) => (percent.trim(), 100.0),
            None => (text.trim(), 1.0),
        };
        let value: f64 = number.parse::<f64>().map_err(|_| help())? / scale;
        if (0.0..1.0).contains(&value) { Ok(Self(value)) } else { Err(help()) }
    }
}

/// An option of a runtime. Written `onnxruntime/cpu:spinning=false`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RuntimeOption {
    /// Whose option.
    pub(crate) runtime: RuntimeId,
    /// Its name, in the runtime's own words.
    pub(crate) name: String,
    /// Its value.
    pub(crate) value: String,
}

impl FromStr for RuntimeOption {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let help = || format!("{text:?} is no option of a runtime: write onnxruntime/cpu:spinning=false");
        let (runtime, rest) = text.split_once(':').ok_or_else(help)?;
        let (name, value) = rest.split_once('=').ok_or_else(help)?;
        let runtime = runtime.trim().parse().map_err(|e| format!("{text:?}: {e}"))?;
        let (name, value) = (name.trim().to_owned(), value.trim().to_owned());
        if name.is_empty() { Err(help()) } else { Ok(Self { runtime, name, value }) }
    }
}

/// Margins of costs, each in (0, 1). Written `3%` for all of them, `init_ns=10%` for one, or `3%,init_ns=10%`.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Margins {
    /// Of all costs without one of their own.
    pub(crate) all: Option<f64>,
    /// By name of the metric.
    pub(crate) own: BTreeMap<String, f64>,
}

impl FromStr for Margins {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut margins = Self::default();
        for part in text.split(',') {
            let (name, share) = match part.split_once('=') {
                Some((name, share)) => (Some(name.trim()), share),
                None => (None, part),
            };
            let Share(margin) = share.parse()?;
            if margin == 0.0 {
                return Err(format!("{part:?}: a margin is above 0"));
            }
            match name {
                Some(name) if !COSTS.contains(&name) => return Err(unknown("cost", name, &COSTS)),
                Some(name) => margins.own.insert(name.to_owned(), margin),
                None => margins.all.replace(margin),
            };
        }
        Ok(margins)
    }
}

/// A length of time. Written `90s`, `4m`, `1h 30m`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span(pub Duration);

/// Longer than anybody waits; keeps sums of milliseconds far from overflow.
const MAX_SPAN: Duration = Duration::from_secs(30 * 24 * 3600);

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let help = || format!("{text:?} is not a length of time: write 90s, 4m or 1h 30m, at most 30 days");
        let duration: jiff::SignedDuration = text.trim().parse().map_err(|_| help())?;
        let duration = Duration::try_from(duration).map_err(|_| help())?;
        if duration > Duration::ZERO && duration <= MAX_SPAN { Ok(Self(duration)) } else { Err(help()) }
    }
}

/// A number of bytes. Written `2GiB`, `500 MB`, `0`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Size(pub u64);

/// Units of sizes.
const UNITS: [(&str, u64); 10] = [
    ("", 1),
    ("B", 1),
    ("kB", 1000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
];

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let help = || format!("{text:?} is not a size: write 500MB or 2GiB");
        let text = text.trim();
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at(digits);
        let (_, scale) =
            UNITS.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit.trim())).ok_or_else(help)?;
        let number: u64 = number.parse().map_err(|_| help())?;
        number.checked_mul(*scale).map(Self).ok_or_else(help)
    }
}

impl<'de> Deserialize<'de> for RuntimeOption {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        text.parse().map_err(de::Error::custom)
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        text.parse().map_err(de::Error::custom)
    }
}

impl<'de> Deserialize<'de> for Share {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Share;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a share like \"3%\" or 0.03")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Share, E> {
                text.parse().map_err(E::custom)
            }

            fn visit_f64<E: de::Error>(self, value: f64) -> Result<Share, E> {
                self.visit_str(&value.to_string())
            }

            fn visit_i64<E: de::Error>(self, value: i64) -> Result<Share, E> {
                self.visit_str(&value.to_string())
            }
        }
        from.deserialize_any(Visitor)
    }
}

impl<'de> Deserialize<'de> for Margins {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "margins like \"3%\", 0.03 or \"3%,init_ns=10%\"")]
        enum Written {
            Number(f64),
            Text(String),
        }
        let text = match Written::deserialize(from)? {
            Written::Number(number) => number.to_string(),
            Written::Text(text) => text,
        };
        text.parse().map_err(de::Error::custom)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        text.parse().map_err(de::Error::custom)
    }
}

/// A length of time for people: `1.4 s`, `48 s`, `3 min 20 s`, `2 h 5 min`.
pub(crate) fn human_time(duration: Duration) -> String {
    let seconds = duration.as_secs();
    if seconds < 10 {
        return format!("{:.1} s", duration.as_secs_f64());
    }
    match (seconds / 3600, seconds % 3600 / 60, seconds % 60) {
        (0, 0, s) => format!("{s} s"),
        (0, m, s) => format!("{m} min {s} s"),
        (h, m, _) => format!("{h} h {m} min"),
    }
}

/// A size for people, in powers of ten: `312 B`, `48.1 kB`, `2.3 MB`.
pub(crate) fn human_bytes(bytes: u64) -> String {
    let (mut value, mut unit) = (bytes as f64, "B");
    for next in ["kB", "MB", "GB", "TB"] {
        if value < 1000.0 {
            break;
        }
        value /= 1000.0;
        unit = next;
    }
    if unit == "B" { format!("{bytes} B") } else { format!("{value:.1} {unit}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_read_as_written() {
        assert_eq!("3%".parse(), Ok(Share(0.03)));
        assert_eq!(" 0.5 % ".parse(), Ok(Share(0.005)));
        assert_eq!("0.03".parse(), Ok(Share(0.03)));
        assert_eq!("0".parse(), Ok(Share(0.0)));
        for bad in ["3", "-1%", "100%", "NaN", "inf", "", "%", "3 percent"] {
            assert!(bad.parse::<Share>().is_err(), "{bad}");
        }
    }

    #[test]
    fn margins_are_read_as_written() {
        let own = |name: &str| BTreeMap::from([(name.to_owned(), 0.1)]);
        assert_eq!("3%".parse(), Ok(Margins { all: Some(0.03), own: BTreeMap::new() }));
        assert_eq!("init_ns=10%".parse(), Ok(Margins { all: None, own: own("init_ns") }));
        let both = Ok(Margins { all: Some(0.03), own: own("model_bytes") });
        assert_eq!("0.03, model_bytes = 10%".parse(), both);
        for (bad, word) in [("0%", "above 0"), ("latency=3%", "latency_ns"), ("3", "share"), ("", "share")] {
            let error = bad.parse::<Margins>().unwrap_err();
            assert!(error.contains(word), "{bad}: {error}");
        }
    }

    #[test]
    fn spans_are_read_as_written() {
        assert_eq!("4m".parse(), Ok(Span(Duration::from_secs(240))));
        assert_eq!("1h 30m".parse(), Ok(Span(Duration::from_secs(5400))));
        for bad in ["4", "-4m", "0s", "", "4 fortnights", "9999999h"] {
            assert!(bad.parse::<Span>().is_err(), "{bad}");
        }
    }

    #[test]
    fn sizes_are_read_as_written() {
        assert_eq!("2GiB".parse(), Ok(Size(2 << 30)));
        assert_eq!(" 500 mb ".parse(), Ok(Size(500_000_000)));
        assert_eq!("0".parse(), Ok(Size(0)));
        for bad in ["", "GiB", "-1", "1.5GB", "2 GiBs", "99999999999TiB", "1 2"] {
            assert!(bad.parse::<Size>().is_err(), "{bad}");
        }
    }

    #[test]
    fn people_can_read_them() {
        assert_eq!(human_time(Duration::from_millis(1420)), "1.4 s");
        assert_eq!(human_time(Duration::from_secs(48)), "48 s");
        assert_eq!(human_time(Duration::from_secs(200)), "3 min 20 s");
        assert_eq!(human_time(Duration::from_secs(7500)), "2 h 5 min");
        assert_eq!(human_bytes(999), "999 B");
        assert_eq!(human_bytes(48_100), "48.1 kB");
        assert_eq!(human_bytes(u64::MAX), "18446744.1 TB");
    }
}
