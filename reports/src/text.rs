//! How untrusted text and numbers become text that people read. Every format uses these, so that a
//! value looks the same in all of them. Escapes no markup: each format does that itself.

use protocol::Unit;
use std::borrow::Cow;
use std::fmt::Write;

/// Most characters of untrusted text that are printed in one place.
const MAX_SHOWN: usize = 400;

/// Minus sign, as wide as a digit.
const MINUS: char = '−';

/// Between a number and its unit: narrow, and never broken.
const THIN: char = '\u{202f}';

/// Printed where there is no value.
pub const NONE: &str = "–";

/// True for characters that change how other characters are shown, or that cannot be seen.
fn is_invisible(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}

/// Untrusted text on one line, whole: what cannot be seen is written out as `\u{…}`.
pub fn visible(text: &str) -> Cow<'_, str> {
    if !text.contains(is_invisible) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        match c {
            '\n' | '\r' | '\t' => shown.push(' '),
            c if is_invisible(c) => {
                write!(shown, "\\u{{{:x}}}", u32::from(c)).expect("writing to a String cannot fail");
            }
            c => shown.push(c),
        }
    }
    Cow::Owned(shown)
}

/// As [`visible`]; what is too long is cut with `…`.
pub fn clean(text: &str) -> Cow<'_, str> {
    let Some((end, _)) = text.char_indices().nth(MAX_SHOWN) else { return visible(text) };
    Cow::Owned(format!("{}…", visible(&text[..end])))
}

/// Number with so many decimals and a real minus sign; never `−0`.
pub fn number(value: f64, decimals: usize) -> String {
    if !value.is_finite() {
        return NONE.to_owned();
    }
    let text = format!("{:.decimals$}", value.abs());
    let negative = value < 0.0 && text.bytes().any(|b| matches!(b, b'1'..=b'9'));
    if negative { format!("{MINUS}{text}") } else { text }
}

/// As [`number`], with `+` in front of what is above zero.
pub fn signed(value: f64, decimals: usize) -> String {
    let text = number(value, decimals);
    let positive = value > 0.0 && text.bytes().any(|b| matches!(b, b'1'..=b'9'));
    if positive { format!("+{text}") } else { text }
}

/// Decimals that leave three digits to see, for values of about this size.
fn decimals_for(value: f64) -> usize {
    match value.abs() {
        v if v >= 100.0 => 0,
        v if v >= 10.0 => 1,
        v if v >= 1.0 => 2,
        _ => 3,
    }
}

/// A power of a unit that suits values of one size.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scale {
    divisor: f64,
    /// Symbol of the unit.
    pub symbol: &'static str,
}

const TIMES: [Scale; 4] = [
    Scale { divisor: 1e9, symbol: "s" },
    Scale { divisor: 1e6, symbol: "ms" },
    Scale { divisor: 1e3, symbol: "µs" },
    Scale { divisor: 1.0, symbol: "ns" },
];

const SIZES: [Scale; 4] = [
    Scale { divisor: 1e9, symbol: "GB" },
    Scale { divisor: 1e6, symbol: "MB" },
    Scale { divisor: 1e3, symbol: "kB" },
    Scale { divisor: 1.0, symbol: "B" },
];

impl Scale {
    /// One scale for a column of times in ns: the largest that leaves the least value at 1 or more.
    pub fn time(values: impl IntoIterator<Item = f64>) -> Self {
        Self::of(&TIMES, values)
    }

    /// One scale for a column of bytes.
    pub fn bytes(values: impl IntoIterator<Item = f64>) -> Self {
        Self::of(&SIZES, values)
    }

    fn of(scales: &[Self; 4], values: impl IntoIterator<Item = f64>) -> Self {
        let least = values.into_iter().filter(|v| *v > 0.0).fold(f64::INFINITY, f64::min);
        let fits = |scale: &&Self| least.is_finite() && least >= scale.divisor;
        scales.iter().find(fits).copied().unwrap_or(scales[2])
    }

    /// The number alone, three digits to see.
    pub fn show(&self, value: f64) -> String {
        let scaled = value / self.divisor;
        number(scaled, if self.divisor == 1.0 { 0 } else { decimals_for(scaled) })
    }

    /// The number in this scale.
    pub fn scaled(&self, value: f64) -> f64 {
        value / self.divisor
    }
}

/// A time in ns with the unit that suits it.
pub fn time(ns: f64) -> String {
    let scale = Scale::time([ns]);
    format!("{}{THIN}{}", scale.show(ns), scale.symbol)
}

/// A size with the unit that suits it: 1 kB is 1000 bytes.
pub fn bytes(bytes: f64) -> String {
    let scale = Scale::bytes([bytes]);
    format!("{}{THIN}{}", scale.show(bytes), scale.symbol)
}

/// A ratio as a change in percent: 0.512 is `−48.8 %`; from three times on as `×3.12`.
pub fn change(ratio: f64) -> String {
    if ratio >= 3.0 {
        return format!("×{}", number(ratio, decimals_for(ratio)));
    }
    let percent = (ratio - 1.0) * 100.0;
    format!("{}{THIN}%", signed(percent, if percent.abs() < 10.0 { 2 } else { 1 }))
}

/// The two ends of an interval of ratios, as [`change`].
pub fn change_interval(low: f64, high: f64) -> String {
    let (low, high) = (change(low), change(high));
    match low.strip_suffix(&format!("{THIN}%")) {
        Some(bare) if high.ends_with('%') => format!("{bare} … {high}"),
        _ => format!("{low} … {high}"),
    }
}

/// A difference of scores in words: percentage points for shares.
pub fn amount(difference: f64, unit: Unit) -> String {
    match unit {
        Unit::Fraction => format!("{:.2} percentage points", difference * 100.0),
        Unit::Db => format!("{difference:.2} dB"),
        _ => format!("{difference:.4}"),
    }
}

/// A difference of scores, short: percentage points for shares, else in the unit.
pub fn difference(difference: f64, unit: Unit) -> String {
    match unit {
        Unit::Fraction => points(difference),
        Unit::Db => format!("{}{THIN}dB", signed(difference, 2)),
        _ => signed(difference, 4),
    }
}

/// The two ends of an interval, as [`difference`].
pub fn difference_interval(low: f64, high: f64, unit: Unit) -> String {
    match unit {
        Unit::Fraction => points_interval(low, high),
        Unit::Db => format!("{} … {}", signed(low, 2), difference(high, unit)),
        _ => format!("{} … {}", signed(low, 4), signed(high, 4)),
    }
}

/// How a score stands at an axis: decimals, factor, and the unit with a comma in front.
pub fn score_scale(unit: Unit) -> (usize, f64, &'static str) {
    match unit {
        Unit::Fraction => (1, 100.0, ", %"),
        Unit::Db => (1, 1.0, ", dB"),
        _ => (3, 1.0, ""),
    }
}

/// With a capital in front.
pub fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}

/// A score: shares in percent.
pub fn score(score: f64, unit: Unit) -> String {
    match unit {
        Unit::Fraction => percent(score, 2),
        Unit::Db => format!("{}{THIN}dB", number(score, 2)),
        _ => number(score, 4),
    }
}

/// The two ends of the interval of a score.
pub fn score_interval(low: f64, high: f64, unit: Unit) -> String {
    match unit {
        Unit::Fraction => percent_interval(low, high),
        Unit::Db => format!("{} … {}", number(low, 2), score(high, unit)),
        _ => format!("{} … {}", number(low, 4), number(high, 4)),
    }
}

/// A difference of shares in percentage points.
pub fn points(difference: f64) -> String {
    format!("{}{THIN}pp", signed(difference * 100.0, 2))
}

/// The two ends of an interval, as [`points`].
pub fn points_interval(low: f64, high: f64) -> String {
    format!("{} … {}", signed(low * 100.0, 2), points(high))
}

/// The two ends of an interval of shares, in percent.
pub fn percent_interval(low: f64, high: f64) -> String {
    format!("{} … {}", number(low * 100.0, 1), percent(high, 1))
}

/// A share in percent.
pub fn percent(share: f64, decimals: usize) -> String {
    format!("{}{THIN}%", number(share * 100.0, decimals))
}

/// A p-value or q-value.
pub fn probability(p: f64) -> String {
    if p < 0.0001 { "<0.0001".to_owned() } else { number(p, 4) }
}

/// A value with its unit.
pub fn value(value: f64, unit: Unit) -> String {
    match unit {
        Unit::Ns => time(value),
        Unit::Bytes => bytes(value),
        Unit::Fraction | Unit::Coefficient => number(value, 4),
        Unit::Db => format!("{}{THIN}dB", number(value, 1)),
        Unit::Output if value != 0.0 && value.abs() < 0.001 => format!("{value:.2e}").replace('-', "−"),
        Unit::Output => number(value, 4),
    }
}

/// A whole number with its digits in groups of three.
pub fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::with_capacity(digits.len() * 2);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) && digits.len() > 4 {
            text.push(THIN);
        }
        text.push(digit);
    }
    text
}

/// `1 unit`, `2 units`.
pub fn counted(n: usize, what: &str) -> String {
    format!("{} {what}{}", count(n as u64), if n == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!(time(231_456.0), "231\u{202f}µs");
        assert_eq!(time(1_500_000_000.0), "1.50\u{202f}s");
        assert_eq!(time(870.0), "870\u{202f}ns");
        assert_eq!(bytes(45_360.0), "45.4\u{202f}kB");
        assert_eq!(bytes(0.0), "0.000\u{202f}kB");
        assert_eq!(change(0.512), "−48.8\u{202f}%");
        assert_eq!(change(1.0), "0.00\u{202f}%");
        assert_eq!(change(4.0), "×4.00");
        assert_eq!(change_interval(0.98, 1.011), "−2.00 … +1.10\u{202f}%");
        assert_eq!(change_interval(2.0, 4.0), "+100.0\u{202f}% … ×4.00");
        assert_eq!(points(-0.004), "−0.40\u{202f}pp");
        assert_eq!(percent(0.9123, 1), "91.2\u{202f}%");
        assert_eq!((probability(0.00001), probability(0.04)), ("<0.0001".into(), "0.0400".into()));
        assert_eq!((number(-0.001, 1), signed(0.001, 1)), ("0.0".into(), "0.0".into()));
        assert_eq!(number(f64::NAN, 2), NONE);
        assert_eq!(count(1234), "1234");
        assert_eq!(count(1_234_567), "1\u{202f}234\u{202f}567");
        assert_eq!((counted(1, "unit"), counted(2, "unit")), ("1 unit".into(), "2 units".into()));
        assert_eq!(Scale::time([2e6, 3e9]).symbol, "ms");
        assert_eq!(Scale::time([]).symbol, "µs");
    }

    #[test]
    fn what_cannot_be_seen_is_written_out() {
        assert_eq!(clean("plain – ä 漢"), "plain – ä 漢");
        assert_eq!(clean("a\u{202e}b\u{1b}[31m\nc"), "a\\u{202e}b\\u{1b}[31m c");
        assert!(clean(&"x".repeat(1000)).ends_with("x…"));
    }

    proptest! {
        #[test]
        fn cleaned_text_is_short_and_visible(text in any::<String>()) {
            let shown = clean(&text);
            prop_assert!(!shown.contains(is_invisible));
            prop_assert!(text.chars().count() > MAX_SHOWN || shown == visible(&text));
        }
    }
}
