//! Addresses of pages. Every name becomes one part of a path, whatever is in it.

use std::fmt::Write;

/// Style sheet.
pub(super) const SHEET: &str = "/style.css";
/// Icon.
pub(super) const ICON: &str = "/icon.svg";
/// Fleet and last night.
pub(super) const FLEET: &str = "/";
/// All nights.
pub(super) const NIGHTS: &str = "/nights/";
/// All series.
pub(super) const TRENDS: &str = "/trends/";
/// Where a token is asked for.
pub(super) const LOGIN: &str = "/login";

/// A night.
pub(super) fn night(name: &str) -> String {
    format!("{NIGHTS}{}", part(name))
}

/// The report of a run.
pub(super) fn run(night_name: &str, run: &str) -> String {
    format!("{}/runs/{}", night(night_name), part(run))
}

/// A device; `None`: its id cannot be part of an address.
pub(super) fn device(id: &str) -> Option<String> {
    (!matches!(id, "" | "." | "..")).then(|| format!("/devices/{}", part(id)))
}

/// A series, by its short name.
pub(super) fn trend(id: impl std::fmt::Display) -> String {
    format!("{TRENDS}{id}")
}

/// The series of a device.
pub(super) fn trends_of(device: &str) -> String {
    format!("{TRENDS}?device={}", part(device))
}

/// Text as one part of a path, or as a value of a query.
pub(super) fn part(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(char::from(byte)),
            other => write!(out, "%{other:02X}").expect("writing to a String cannot fail"),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stays_one_part() {
        assert_eq!(night("20261201-010203-ab"), "/nights/20261201-010203-ab");
        assert_eq!(run("n", "a/../b"), "/nights/n/runs/a%2F..%2Fb");
        assert_eq!(device("<script>\"?#%").unwrap(), "/devices/%3Cscript%3E%22%3F%23%25");
        assert_eq!(trends_of("pi é&x=1"), "/trends/?device=pi%20%C3%A9%26x%3D1");
        assert_eq!((device(".."), device("")), (None, None));
    }
}
