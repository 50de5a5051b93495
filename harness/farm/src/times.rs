//! Times of the week in which devices are not to be used: `mon-fri 08:00-18:00`, `12:00-13:00`.

use jiff::{Timestamp, civil::Weekday, tz::TimeZone};
use std::{str::FromStr, time::Duration};

const MINUTE: Duration = Duration::from_secs(60);
const DAY_MINUTES: usize = 24 * 60;
const WEEK_MINUTES: usize = 7 * DAY_MINUTES;
const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

/// A stretch of some days of the week.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    /// From Monday on.
    days: [bool; 7],
    /// Minutes from midnight.
    from: usize,
    /// Not after `from`: it ends on the next day.
    to: usize,
}

impl FromStr for Window {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let help = || format!("{text:?} is no time of the week: write 12:00-13:00 or mon-fri 08:00-18:00");
        let (days, times) = match text.trim().rsplit_once(' ') {
            Some((days, times)) => (days_of(days).ok_or_else(help)?, times),
            None => ([true; 7], text.trim()),
        };
        let (from, to) = times.split_once('-').ok_or_else(help)?;
        let (from, to) = (minute_of(from).ok_or_else(help)?, minute_of(to).ok_or_else(help)?);
        Ok(Self { days, from: from % DAY_MINUTES, to })
    }
}

/// `mon-fri`, `sat,sun`, `fri-mon`.
fn days_of(text: &str) -> Option<[bool; 7]> {
    let day = |name: &str| DAYS.iter().position(|known| name.trim().eq_ignore_ascii_case(known));
    let mut days = [false; 7];
    for part in text.split(',') {
        let (first, last) = match part.split_once('-') {
            Some((first, last)) => (day(first)?, day(last)?),
            None => (day(part)?, day(part)?),
        };
        let length = (last + 7 - first) % 7;
        (0..=length).for_each(|step| days[(first + step) % 7] = true);
    }
    Some(days)
}

/// `00:00` to `24:00`.
fn minute_of(text: &str) -> Option<usize> {
    let (hour, minute) = text.trim().split_once(':')?;
    let two = |text: &str| text.parse::<usize>().ok().filter(|_| text.len() == 2);
    let (hour, minute) = (two(hour)?, two(minute)?);
    (minute < 60 && hour * 60 + minute <= DAY_MINUTES).then_some(hour * 60 + minute)
}

/// Every minute of the week in which a device is left alone.
#[derive(Clone, Debug, PartialEq)]
pub struct Blackout {
    minutes: Vec<bool>,
    zone: TimeZone,
}

impl Blackout {
    /// These windows, in that time zone.
    pub fn new(windows: &[Window], zone: TimeZone) -> Self {
        let mut minutes = vec![false; if windows.is_empty() { 0 } else { WEEK_MINUTES }];
        for window in windows {
            let length = if window.to > window.from {
                window.to - window.from
            } else {
                window.to + DAY_MINUTES - window.from
            };
            for day in (0..7).filter(|day| window.days[*day]) {
                let start = day * DAY_MINUTES + window.from;
                (start..start + length).for_each(|at| minutes[at % WEEK_MINUTES] = true);
            }
        }
        Self { minutes, zone }
    }

    fn is_black(&self, at: Timestamp) -> bool {
        let local = self.zone.to_datetime(at);
        let day = match local.weekday() {
            Weekday::Monday => 0,
            Weekday::Tuesday => 1,
            Weekday::Wednesday => 2,
            Weekday::Thursday => 3,
            Weekday::Friday => 4,
            Weekday::Saturday => 5,
            Weekday::Sunday => 6,
        };
        let minute = day * DAY_MINUTES + local.hour() as usize * 60 + local.minute() as usize;
        self.minutes.get(minute).copied().unwrap_or(false)
    }

    /// How long a job of that length has to wait before it can begin and end outside; zero: not at all. `None`: there
    /// is no room for it in the week to come.
    pub fn wait(&self, now: Timestamp, length: Duration) -> Option<Duration> {
        if self.minutes.is_empty() {
            return Some(Duration::ZERO);
        }
        let needed = usize::try_from(length.as_secs().div_ceil(60)).ok()?.max(1);
        let mut free = 0;
        for step in 0..WEEK_MINUTES + needed.min(WEEK_MINUTES) {
            let at = now.checked_add(MINUTE * u32::try_from(step).ok()?).ok()?;
            free = if self.is_black(at) { 0 } else { free + 1 };
            if free == needed {
                return Some(MINUTE * u32::try_from(step + 1 - needed).ok()?);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blackout(windows: &[&str]) -> Blackout {
        let windows: Vec<Window> = windows.iter().map(|w| w.parse().unwrap()).collect();
        Blackout::new(&windows, TimeZone::UTC)
    }

    // a Tuesday
    fn at(time: &str) -> Timestamp {
        format!("2026-12-01T{time}:00Z").parse().unwrap()
    }

    #[test]
    fn a_job_waits_until_it_fits() {
        let office = blackout(&["mon-fri 08:00-18:00"]);
        let minutes = |n| Some(MINUTE * n);
        assert_eq!(office.wait(at("06:00"), MINUTE * 120), minutes(0));
        assert_eq!(office.wait(at("06:01"), MINUTE * 120), minutes(12 * 60 - 1));
        assert_eq!(office.wait(at("17:59"), MINUTE), minutes(1));
        assert_eq!(office.wait(at("20:00"), MINUTE * 13 * 60), minutes(22 * 60), "the next evening");
        assert_eq!(blackout(&[]).wait(at("12:00"), MINUTE * 100_000), minutes(0));
        assert_eq!(blackout(&["00:00-24:00"]).wait(at("12:00"), MINUTE), None);
    }

    #[test]
    fn windows_pass_midnight_and_the_end_of_the_week() {
        let night = blackout(&["sun 22:00-02:00"]);
        let monday: Timestamp = "2026-11-30T01:00:00Z".parse().unwrap();
        assert_eq!(night.wait(monday, MINUTE), Some(MINUTE * 60));
        assert_eq!(blackout(&["fri-mon 00:00-24:00"]).wait(monday, MINUTE), Some(MINUTE * 23 * 60));
        assert_eq!(blackout(&["Tue, thu 10:00-11:00"]).wait(at("10:15"), MINUTE), Some(MINUTE * 45));
    }

    #[test]
    fn the_clock_is_that_of_the_zone() {
        let windows = ["12:00-13:00".parse().unwrap()];
        let zone = TimeZone::fixed(jiff::tz::offset(2));
        assert_eq!(Blackout::new(&windows, zone).wait(at("10:30"), MINUTE), Some(MINUTE * 30));
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for bad in [
            "",
            "12",
            "12:00",
            "12:00-",
            "25:00-26:00",
            "24:01-25:00",
            "8:00-9:00",
            "xyz 08:00-09:00",
            "mon-",
            "08:00-09:60",
        ] {
            assert!(bad.parse::<Window>().unwrap_err().contains("mon-fri"), "{bad}");
        }
    }
}
