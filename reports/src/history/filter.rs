//! Which series are asked for: by their names, by the part of a name that stands for several, or by their short name.

use super::row::{SeriesId, SeriesKey};

/// What a series must be called; an empty list asks for nothing in particular.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Ids of devices.
    pub devices: Vec<String>,
    /// Names of suites.
    pub suites: Vec<String>,
    /// `model@variant`, or `model` for all of its variants.
    pub variants: Vec<String>,
    /// Names of metrics.
    pub metrics: Vec<String>,
    /// `runtime/backend`, or `runtime` for all of its backends.
    pub runtimes: Vec<String>,
}

impl Filter {
    /// Whether the series is asked for.
    pub fn holds(&self, key: &SeriesKey) -> bool {
        let any =
            |wanted: &[String], of: &dyn Fn(&String) -> bool| wanted.is_empty() || wanted.iter().any(of);
        let part = |name: &str, wanted: &str, ends: [char; 2]| {
            name.strip_prefix(wanted).is_some_and(|rest| rest.is_empty() || rest.starts_with(ends))
        };
        any(&self.devices, &|device| *device == key.device)
            && any(&self.suites, &|suite| *suite == key.suite)
            && any(&self.variants, &|variant| part(&key.variant, variant, ['@', '@']))
            && any(&self.metrics, &|metric| *metric == key.metric)
            && any(&self.runtimes, &|runtime| part(&key.runtime, runtime, ['/', '@']))
    }

    /// True where nothing in particular is asked for.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl SeriesId {
    /// Whether `text` is this short name or the beginning of it, of four digits at least.
    pub fn is_called(&self, text: &str) -> bool {
        text.len() >= 4 && self.to_string().starts_with(&text.to_ascii_lowercase())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_a_name_stands_for_all_that_begin_with_it() {
        let key = SeriesKey {
            device: "pi-4".into(),
            variant: "mobilenet@tflite-int8".into(),
            runtime: "litert@2.3.0/xnnpack".into(),
            ..SeriesKey::default()
        };
        let all = |words: &[&str]| words.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>();
        for (variants, runtimes, devices, holds) in [
            (all(&[]), all(&[]), all(&[]), true),
            (all(&["mobilenet"]), all(&["litert"]), all(&["pi-4"]), true),
            (all(&["other", "mobilenet@tflite-int8"]), all(&["litert@2.3.0"]), all(&[]), true),
            (all(&["mobile"]), all(&[]), all(&[]), false),
            (all(&[]), all(&["lite"]), all(&[]), false),
            (all(&[]), all(&[]), all(&["pi"]), false),
        ] {
            let filter = Filter { variants, runtimes, devices, ..Filter::default() };
            assert_eq!(filter.holds(&key), holds, "{filter:?}");
        }
        let id = key.id();
        let name = id.to_string();
        assert!(id.is_called(&name) && id.is_called(&name[..4].to_uppercase()));
        assert!(!id.is_called(&name[..3]) && !id.is_called("zzzz"));
    }
}
