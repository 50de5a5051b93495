//! How the health of a device changes with what is seen of it. Pure: no clock, no device.

use crate::{
    device::{Canaries, Health, State},
    job::JobOutcome,
};
use jiff::Timestamp;
use std::time::Duration;

/// When a device is fit for a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthRules {
    /// So many times trouble in a row, and it is quarantined.
    pub strikes: u32,
    /// It needs so much charge.
    pub min_battery_percent: Option<u32>,
    /// It must not be hotter.
    pub max_milli_celsius: Option<i64>,
    /// It may take so long to become cooler.
    pub cool_wait: Duration,
    /// One that is quarantined is probed after so long.
    pub probe_after: Duration,
    /// A job is tried so often where devices give trouble.
    pub attempts: u32,
}

impl Default for HealthRules {
    fn default() -> Self {
        Self {
            strikes: 3,
            min_battery_percent: Some(30),
            max_milli_celsius: None,
            cool_wait: Duration::from_secs(10 * 60),
            probe_after: Duration::from_secs(12 * 3600),
            attempts: 3,
        }
    }
}

/// What a device tells of itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// Charge, where there is a battery.
    pub battery_percent: Option<u32>,
    /// The hottest zone.
    pub milli_celsius: Option<i64>,
}

/// Something that was seen of a device.
#[derive(Clone, Debug, PartialEq)]
pub enum Finding<'a> {
    /// It answered.
    Answered(Reading),
    /// It was asked, and did not answer.
    Silent(&'a str),
    /// It stayed too hot for as long as it is waited for.
    StaysHot,
    /// It did a job.
    Did {
        /// How that went.
        outcome: &'a JobOutcome,
        /// What its canary found.
        canaries: Canaries,
    },
    /// It had trouble with a job, answers again, and has measured something short.
    Checked(Canaries),
    /// It was quarantined, and measured something short to see whether it is well.
    Probed(Result<Canaries, &'a str>),
}

impl Health {
    /// What it is after something was seen.
    pub fn take(&mut self, finding: &Finding<'_>, rules: &HealthRules, now: Timestamp) {
        match finding {
            Finding::Answered(reading) => self.answered(*reading, rules, now),
            Finding::Silent(why) => self.strike(why, rules, now),
            Finding::StaysHot => {
                let degrees = self.milli_celsius.map_or_else(|| "too hot".to_owned(), celsius);
                let waited = rules.cool_wait.as_secs() / 60;
                self.quarantine(format!("still {degrees} after {waited} minutes of rest"), rules, now);
            }
            Finding::Did { outcome: JobOutcome::DeviceTrouble { reason }, .. } => {
                self.strike(reason, rules, now);
            }
            Finding::Did { canaries, .. } => {
                self.well(now);
                self.watch(*canaries, rules, now);
            }
            // the strikes stay: what it had trouble with may have been more than this
            Finding::Checked(canaries) => {
                self.state = State::Ready;
                self.watch(*canaries, rules, now);
            }
            Finding::Probed(Ok(canaries)) => {
                self.well(now);
                self.watch(*canaries, rules, now);
            }
            Finding::Probed(Err(why)) => {
                self.quarantine(format!("probed, and still not well: {why}"), rules, now)
            }
        }
    }

    /// As a new night finds it: it may be on the desk again, or at work no more. What was quarantined is probed first.
    pub fn rested(mut self) -> Self {
        match &mut self.state {
            State::Quarantined { probe, .. } => *probe = String::new(),
            state => *state = State::Ready,
        }
        self.strikes = 0;
        self
    }

    /// Whether it gives off too much heat to begin.
    pub fn is_hot(&self, rules: &HealthRules) -> bool {
        self.milli_celsius.zip(rules.max_milli_celsius).is_some_and(|(is, most)| is > most)
    }

    fn answered(&mut self, reading: Reading, rules: &HealthRules, now: Timestamp) {
        self.battery_percent = reading.battery_percent;
        self.milli_celsius = reading.milli_celsius;
        self.seen = Some(now.to_string());
        if let State::Offline { .. } = self.state {
            self.state = State::Ready;
        }
        if let Some((is, least)) =
            self.battery_percent.zip(rules.min_battery_percent).filter(|(is, least)| is < least)
        {
            self.quarantine(format!("battery at {is} %, below {least} %"), rules, now);
        }
    }

    fn strike(&mut self, why: &str, rules: &HealthRules, now: Timestamp) {
        self.strikes = self.strikes.saturating_add(1);
        if self.strikes >= rules.strikes {
            self.quarantine(format!("trouble {} times in a row, at last: {why}", self.strikes), rules, now);
        } else {
            self.state = State::Offline { reason: why.to_owned() };
        }
    }

    fn well(&mut self, now: Timestamp) {
        self.state = State::Ready;
        self.strikes = 0;
        self.seen = Some(now.to_string());
    }

    fn watch(&mut self, found: Canaries, rules: &HealthRules, now: Timestamp) {
        self.canaries.add(found);
        if found.false_alarms > 0 {
            let why = "its canary: the same model twice was called different, and again with fresh processes";
            self.quarantine(why.to_owned(), rules, now);
        } else if found.found < found.slower {
            self.quarantine(
                "its canary: a model that was slowed down was not found slower".to_owned(),
                rules,
                now,
            );
        }
    }

    fn quarantine(&mut self, reason: String, rules: &HealthRules, now: Timestamp) {
        let probe = now.checked_add(rules.probe_after).unwrap_or(now).to_string();
        // it has been there since it was put there
        let since = match &self.state {
            State::Quarantined { since, .. } => since.clone(),
            _ => now.to_string(),
        };
        self.state = State::Quarantined { reason, since, probe };
    }
}

impl Canaries {
    /// Counts these as well.
    pub fn add(&mut self, more: Self) {
        self.same += more.same;
        self.false_alarms += more.false_alarms;
        self.slower += more.slower;
        self.found += more.found;
    }
}

fn celsius(milli: i64) -> String {
    format!("{:.1} °C", milli as f64 / 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now(hour: i64) -> Timestamp {
        Timestamp::from_second(hour * 3600).unwrap()
    }

    fn reason(health: &Health) -> &str {
        match &health.state {
            State::Quarantined { reason, .. } | State::Offline { reason } => reason,
            _ => "",
        }
    }

    const MEASURED: Finding<'_> = Finding::Did {
        outcome: &JobOutcome::Measured,
        canaries: Canaries { same: 1, false_alarms: 0, slower: 1, found: 1 },
    };

    #[test]
    fn three_strikes_in_a_row_and_no_others() {
        let rules = HealthRules::default();
        let mut health = Health::default();
        let trouble = JobOutcome::DeviceTrouble { reason: "link lost".to_owned() };
        let did = Finding::Did { outcome: &trouble, canaries: Canaries::default() };
        health.take(&did, &rules, now(1));
        health.take(&Finding::Silent("no route"), &rules, now(1));
        assert_eq!((health.state.word(), reason(&health), health.strikes), ("offline", "no route", 2));
        health.take(&Finding::Answered(Reading::default()), &rules, now(2));
        assert_eq!((health.state.word(), health.strikes), ("ready", 2), "answering is not yet doing");
        health.take(&MEASURED, &rules, now(2));
        assert_eq!(health.strikes, 0);
        (0..3).for_each(|hour| health.take(&did, &rules, now(3 + hour)));
        assert_eq!(health.state.word(), "quarantined");
        assert!(reason(&health).contains("3 times in a row, at last: link lost"));
        let State::Quarantined { since, probe, .. } = &health.state else { panic!() };
        assert_eq!((since.as_str(), probe.as_str()), ("1970-01-01T05:00:00Z", "1970-01-01T17:00:00Z"));
    }

    #[test]
    fn a_probe_frees_it_or_keeps_it_since_the_first_day() {
        let rules = HealthRules { strikes: 1, ..HealthRules::default() };
        let mut health = Health::default();
        health.take(&Finding::Silent("gone"), &rules, now(1));
        health.take(&Finding::Probed(Err("no space")), &rules, now(20));
        let State::Quarantined { since, probe, reason } = &health.state else { panic!() };
        assert_eq!((since.as_str(), probe.as_str()), ("1970-01-01T01:00:00Z", "1970-01-02T08:00:00Z"));
        assert!(reason.contains("no space"));
        health.take(&Finding::Probed(Ok(Canaries::default())), &rules, now(40));
        assert_eq!((health.state.word(), health.strikes), ("ready", 0));
    }

    #[test]
    fn what_is_seen_of_a_device_quarantines_it() {
        let rules = HealthRules { max_milli_celsius: Some(45_000), ..HealthRules::default() };
        let mut health = Health::default();
        let low = Reading { battery_percent: Some(12), milli_celsius: Some(46_000) };
        health.take(&Finding::Answered(low), &rules, now(1));
        assert_eq!(reason(&health), "battery at 12 %, below 30 %");
        let mut health = Health::default();
        let hot = Reading { battery_percent: Some(30), ..low };
        health.take(&Finding::Answered(hot), &rules, now(1));
        assert!(health.state == State::Ready && health.is_hot(&rules));
        health.take(&Finding::StaysHot, &rules, now(1));
        assert_eq!(reason(&health), "still 46.0 °C after 10 minutes of rest");
        let canary = |false_alarms, found| Finding::Did {
            outcome: &JobOutcome::Measured,
            canaries: Canaries { same: 1, false_alarms, slower: 1, found },
        };
        for (finding, words) in [(canary(1, 1), "called different"), (canary(0, 0), "not found slower")] {
            let mut health = Health::default();
            health.take(&finding, &rules, now(1));
            assert!(reason(&health).contains(words));
        }
        let mut health = Health::default();
        health.take(&MEASURED, &rules, now(1));
        health.take(&MEASURED, &rules, now(2));
        assert_eq!((health.state.word(), health.canaries.same), ("ready", 2));
    }

    #[test]
    fn findings_about_models_are_no_strikes() {
        let rules = HealthRules { strikes: 1, ..HealthRules::default() };
        let reason = String::new;
        for outcome in [JobOutcome::Partly { reason: reason() }, JobOutcome::UserError { reason: reason() }] {
            let mut health = Health::default();
            health.take(&Finding::Did { outcome: &outcome, canaries: Canaries::default() }, &rules, now(1));
            assert_eq!(health.state, State::Ready);
        }
    }
}
