//! In words: under which conditions the units of a device were measured. Only what the device told.

use crate::record::UnitRecord;
use crate::text;
use maud::{Markup, html};
use protocol::DeviceState;
use std::collections::BTreeMap;

/// Different words that are listed of one kind.
const MAX_WORDS: usize = 8;

/// Raspberry Pi throttle flags: bits 0 to 3 are now, the same 16 higher since boot.
const THROTTLE: [&str; 4] = ["under-voltage", "clock capped", "throttled", "soft temperature limit"];

pub(super) fn list(units: &[&UnitRecord]) -> Markup {
    let wait = cool_down(units);
    let throttled = throttled(units);
    let words: [(&str, Words); 3] = [
        ("Power", |s| {
            let battery = s.battery.as_ref()?;
            let parts = [battery.plugged.as_deref(), battery.status.as_deref()];
            let parts: Vec<&str> = parts.into_iter().flatten().collect();
            (!parts.is_empty()).then(|| parts.join(", "))
        }),
        ("Awake", |s| s.wakefulness.clone()),
        ("Fixed performance", |s| s.fixed_performance.clone()),
    ];
    let words = words.map(|(name, get)| (name, counted(units, get)));
    html! {
        @if wait.is_some() || throttled.is_some() || words.iter().any(|(_, text)| text.is_some()) {
            dl {
                @if let Some(text) = wait { dt { "Cooling down" } dd { (text) } }
                @if let Some(text) = throttled { dt { "Throttle flags" } dd { (text) } }
                @for (name, text) in &words {
                    @if let Some(text) = text { dt { (name) } dd { (text) } }
                }
            }
        }
    }
}

type Words = fn(&DeviceState) -> Option<String>;

/// All states that were read of these units.
fn states<'a>(units: &'a [&UnitRecord]) -> impl Iterator<Item = &'a DeviceState> {
    units.iter().flat_map(|unit| unit.before.iter().chain(&unit.during).chain(&unit.after))
}

/// What was told, with the number of readings where it was not always the same.
fn counted(units: &[&UnitRecord], get: Words) -> Option<String> {
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    states(units).filter_map(get).for_each(|words| *seen.entry(words).or_default() += 1);
    if seen.len() == 1 {
        return seen.keys().next().map(|words| text::clean(words).into_owned());
    }
    let parts = seen.iter().take(MAX_WORDS);
    let parts: Vec<String> = parts.map(|(words, n)| format!("{} ({n} ×)", text::clean(words))).collect();
    (!parts.is_empty()).then(|| parts.join("; "))
}

fn cool_down(units: &[&UnitRecord]) -> Option<String> {
    let waits: Vec<_> = units.iter().filter_map(|unit| unit.cooled_down.as_ref()).collect();
    let waited_ms = waits.iter().fold(0u64, |all, wait| all.saturating_add(wait.waited_ms));
    let hot: Vec<_> = waits.iter().filter(|wait| !wait.reached).collect();
    let hottest = hot.iter().filter_map(|wait| wait.milli_celsius).max();
    let before = format!(
        "waited {} before {}",
        text::time(waited_ms as f64 * 1e6),
        text::counted(waits.len(), "unit")
    );
    match (waits.is_empty(), hot.len(), hottest) {
        (true, ..) => None,
        (_, 0, _) => Some(before),
        (_, n, Some(t)) => {
            Some(format!("{before}; {n} began too hot all the same, at up to {:.1} °C", t as f64 / 1000.0))
        }
        (_, n, None) => Some(format!("{before}; in {n} the device told no temperature")),
    }
}

/// Every flag that was set in any reading.
fn throttled(units: &[&UnitRecord]) -> Option<String> {
    let flags = states(units).filter_map(|state| state.throttled).reduce(|all, flags| all | flags)?;
    let set = |shift: u32, when: &'static str| {
        let bits = (0u32..).zip(THROTTLE).filter(move |(bit, _)| flags >> (bit + shift) & 1 == 1);
        bits.map(move |(_, word)| format!("{word} {when}"))
    };
    let words: Vec<String> = set(0, "while measuring").chain(set(16, "since it was started")).collect();
    Some(if words.is_empty() { format!("{flags:#x}") } else { format!("{flags:#x}: {}", words.join(", ")) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{CooledDownRecord, Purpose};
    use protocol::{Battery, UnitId};

    fn unit(before: DeviceState, during: Vec<DeviceState>) -> UnitRecord {
        let empty = UnitRecord::new(UnitId(0), 0, Purpose::Performance, 0, Vec::new());
        UnitRecord { before: Some(before), during, ..empty }
    }

    fn text_of(units: &[UnitRecord]) -> String {
        list(&units.iter().collect::<Vec<_>>()).into_string()
    }

    #[test]
    fn what_was_not_told_is_not_there() {
        assert_eq!(text_of(&[unit(DeviceState::default(), Vec::new())]), "");
        assert_eq!(text_of(&[]), "");
    }

    #[test]
    fn flags_become_words() {
        let state = |throttled| DeviceState { throttled: Some(throttled), ..DeviceState::default() };
        assert!(text_of(&[unit(state(0), Vec::new())]).contains("<dd>0x0</dd>"));
        let hot = text_of(&[unit(state(0x50000), vec![state(0x50005)])]);
        let words = "0x50005: under-voltage while measuring, throttled while measuring, \
            under-voltage since it was started, throttled since it was started";
        assert!(hot.contains(words), "{hot}");
    }

    #[test]
    fn words_of_a_device_are_cleaned_and_counted() {
        let state = |plugged: &str, words: &str| DeviceState {
            battery: Some(Battery {
                percent: None,
                status: Some("Charging".into()),
                plugged: Some(plugged.into()),
                milli_celsius: None,
            }),
            wakefulness: Some(words.into()),
            fixed_performance: Some("on".into()),
            ..DeviceState::default()
        };
        let html = text_of(&[unit(state("USB", "awake"), vec![state("USB", "<b>\u{1b}dozing")])]);
        assert!(html.contains("<dd>USB, Charging</dd>") && html.contains("<dd>on</dd>"), "{html}");
        assert!(html.contains("awake (1 ×)") && html.contains("&lt;b&gt;"), "{html}");
        assert!(!html.contains('\u{1b}'), "{html}");
    }

    #[test]
    fn a_device_that_stayed_hot_is_named() {
        let wait = |reached, milli_celsius| UnitRecord {
            cooled_down: Some(CooledDownRecord { waited_ms: 30_000, zone: None, milli_celsius, reached }),
            ..unit(DeviceState::default(), Vec::new())
        };
        let cool = text_of(&[wait(true, Some(44_000))]);
        assert!(cool.contains("before 1 unit</dd>"), "{cool}");
        let hot = text_of(&[wait(true, Some(44_000)), wait(false, Some(61_250))]);
        assert!(hot.contains("before 2 units; 1 began too hot all the same, at up to 61.2 °C"), "{hot}");
        assert!(text_of(&[wait(false, None)]).contains("in 1 the device told no temperature"));
    }
}
