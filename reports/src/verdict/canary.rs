//! Whether a device measures as it should: the same model twice must not be called different, and one slowed down by a
//! known share must not be called as fast. Judged by the rule of all other latencies. A device that fails either is
//! sick, and none of its times counts.

use super::cost;
use super::{ContrastRow, ContrastView, Reason, Verdict};
use crate::record::{Canary, CanaryCounts, Plan, RunRecord};
use crate::text;
use protocol::Unit;

/// What became of the two equal ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alarm {
    /// Equal, as they are.
    None,
    /// Called different at first, and not by fresh units.
    NotReproduced,
    /// Called different, and there was no time for fresh units.
    NotConfirmed,
    /// Called different, by fresh units as well.
    Confirmed,
    /// Not judged.
    Open,
}

/// What became of the slowed one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detection {
    /// Called worse, as it is.
    Found,
    /// Called as fast, or faster.
    Missed,
    /// Not judged.
    Open,
}

/// What one canary found.
#[derive(Clone, Debug, PartialEq)]
pub struct CanaryFinding {
    /// Position in [`Plan::devices`].
    pub device: usize,
    /// Of the two equal ones.
    pub alarm: Alarm,
    /// The row behind it: of whichever way was called worse.
    pub same: ContrastRow,
    /// Of the slowed one.
    pub detection: Detection,
    /// The row behind it.
    pub slower: ContrastRow,
    /// By what share it was slowed down.
    pub slowdown: f64,
}

impl Alarm {
    /// The word.
    pub fn word(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::NotReproduced => "not-reproduced",
            Self::NotConfirmed => "not-confirmed",
            Self::Confirmed => "confirmed",
            Self::Open => "open",
        }
    }
}

impl Detection {
    /// The word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Found => "found",
            Self::Missed => "missed",
            Self::Open => "open",
        }
    }
}

impl CanaryFinding {
    /// What it adds to the counts of its device.
    pub fn counts(&self) -> CanaryCounts {
        CanaryCounts {
            same: u64::from(self.alarm != Alarm::Open),
            alarms: u64::from(!matches!(self.alarm, Alarm::None | Alarm::Open)),
            confirmed: u64::from(self.alarm == Alarm::Confirmed),
            slower: u64::from(self.detection != Detection::Open),
            found: u64::from(self.detection == Detection::Found),
        }
    }

    /// Why the times of the device cannot be trusted, if so.
    pub fn sickness(&self) -> Option<String> {
        if self.alarm == Alarm::Confirmed {
            return Some("a model was called slower than itself, twice".to_owned());
        }
        let missed = || format!("a model slowed by {} was called as fast", text::percent(self.slowdown, 1));
        (self.detection == Detection::Missed).then(missed)
    }
}

pub(super) fn findings(record: &RunRecord) -> Vec<CanaryFinding> {
    let canaries = record.plan.canaries.iter().flat_map(|all| &all.of);
    canaries.filter_map(|canary| finding(record, canary)).collect()
}

fn finding(record: &RunRecord, canary: &Canary) -> Option<CanaryFinding> {
    let slowed = record.plan.cases.get(canary.slower)?;
    let [one, other, slower] = canary.contrasts();
    let row = |cases| cost::latency(&ContrastView { record, contrast: 0, cases });
    let (one, other, slower) = (row(one)?, row(other)?, row(slower)?);
    let (alarm, same) = match (alarm(&one), alarm(&other)) {
        (
            Alarm::None | Alarm::Open,
            found @ (Alarm::NotReproduced | Alarm::NotConfirmed | Alarm::Confirmed),
        ) => (found, other),
        (found, _) => (found, one),
    };
    Some(CanaryFinding {
        device: slowed.device,
        alarm,
        same,
        detection: match slower.verdict {
            Some(Verdict::Worse) => Detection::Found,
            Some(Verdict::Better | Verdict::Equivalent) => Detection::Missed,
            // what fresh units say is not asked of it
            _ if slower.reasons.iter().any(|r| matches!(r, Reason::NotReproduced { .. })) => Detection::Found,
            _ => Detection::Open,
        },
        slower,
        slowdown: f64::from(slowed.slowdown_permille.unwrap_or(0)) / 1000.0,
    })
}

/// Of one way round; that of two equal ones which is called better is called worse the other way round.
fn alarm(row: &ContrastRow) -> Alarm {
    let told = |wanted: fn(&Reason) -> bool| row.reasons.iter().any(wanted);
    match row.verdict {
        Some(Verdict::Worse) if told(|r| matches!(r, Reason::Confirmed { .. })) => Alarm::Confirmed,
        Some(Verdict::Worse) => Alarm::NotConfirmed,
        _ if told(|r| matches!(r, Reason::NotReproduced { .. })) => Alarm::NotReproduced,
        Some(Verdict::Equivalent) => Alarm::None,
        _ => Alarm::Open,
    }
}

/// Verdicts on times of sick devices become invalid.
pub(super) fn condemn(plan: &Plan, found: &[CanaryFinding], rows: &mut [ContrastRow]) {
    for (canary, why) in found.iter().filter_map(|f| Some((f, f.sickness()?))) {
        let of_device = |case: usize| plan.cases.get(case).is_some_and(|c| c.device == canary.device);
        for row in rows.iter_mut().filter(|row| of_device(row.cases.candidate) && row.metric.unit == Unit::Ns)
        {
            if row.verdict.is_some() {
                row.verdict = Some(Verdict::Invalid);
                row.reasons.insert(0, Reason::DeviceSick { found: why.clone() });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::Recipe;
    use super::super::{Evidence, Verdicts, verdicts};
    use super::*;
    use crate::record::{Canaries, CanaryCounts, Purpose, UnitRecord};

    /// Two variants in ten units, and a canary whose cases take so long.
    fn record(same: f64, slower: f64) -> RunRecord {
        let latency_ns = vec![1e6, 1e6, 2e6, 2e6 * same, 2e6 * slower];
        let mut record = Recipe { latency_ns, memory: vec![50 << 20; 5], ..Recipe::two(1.0, 10) }.record();
        record.plan.contrasts.truncate(1);
        record.plan.cases[4].slowdown_permille = Some(50);
        let earlier = CanaryCounts { same: 9, slower: 9, found: 9, ..CanaryCounts::default() };
        record.plan.canaries = Some(Canaries {
            performance: record.plan.measuring.performance.clone(),
            of: vec![Canary { reference: 2, same: 3, slower: 4, earlier }],
        });
        record
    }

    /// The same once more, in fresh units.
    fn again(record: &mut RunRecord, with: &RunRecord) {
        let fresh = |u: &UnitRecord| UnitRecord { purpose: Purpose::Confirmation, ..u.clone() };
        let fresh: Vec<_> = with.units.iter().map(fresh).collect();
        record.units.extend(fresh);
    }

    fn found(record: &RunRecord) -> (Alarm, Detection, Verdicts) {
        let verdicts = verdicts(record);
        let [finding] = &verdicts.canaries[..] else { panic!("one canary") };
        (finding.alarm, finding.detection, verdicts)
    }

    fn latency(verdicts: &Verdicts) -> &ContrastRow {
        verdicts.rows.iter().find(|row| row.metric.name == "latency_ns").unwrap()
    }

    #[test]
    fn a_healthy_device_is_left_alone() {
        let (alarm, detection, verdicts) = found(&record(1.0, 1.05));
        assert_eq!((alarm, detection), (Alarm::None, Detection::Found));
        assert_eq!(latency(&verdicts).verdict, Some(Verdict::Equivalent));
        assert_eq!((verdicts.cases.len(), verdicts.rows.iter().filter(|r| r.contrast > 0).count()), (2, 0));
        let counts = verdicts.canaries[0].counts();
        assert_eq!(counts, CanaryCounts { same: 1, slower: 1, found: 1, ..CanaryCounts::default() });
    }

    #[test]
    fn an_alarm_counts_when_fresh_units_say_the_same_whichever_side_seems_slower() {
        for same in [1.06, 1.0 / 1.06] {
            let mut sick = record(same, 1.05);
            let (alarm, _, verdicts) = found(&sick);
            assert_eq!((alarm, verdicts.canaries[0].sickness()), (Alarm::NotConfirmed, None), "{same}");
            assert_eq!(latency(&verdicts).verdict, Some(Verdict::Equivalent));

            again(&mut sick, &record(same, 1.05));
            let (alarm, _, verdicts) = found(&sick);
            assert_eq!(alarm, Alarm::Confirmed, "{same}");
            let row = latency(&verdicts);
            assert_eq!(row.verdict, Some(Verdict::Invalid));
            let told = row.reasons[0].to_string();
            assert_eq!(
                told,
                "times of this device cannot be trusted: a model was called slower than itself, twice"
            );
            let size = verdicts.rows.iter().find(|row| row.metric.name == "model_bytes").unwrap();
            assert_eq!((size.verdict, &size.evidence), (Some(Verdict::Worse), &Evidence::Exact));

            let mut healthy = record(same, 1.05);
            again(&mut healthy, &record(1.0, 1.05));
            let (alarm, _, verdicts) = found(&healthy);
            assert_eq!((alarm, verdicts.canaries[0].sickness()), (Alarm::NotReproduced, None), "{same}");
        }
    }

    #[test]
    fn whoever_does_not_see_a_slowdown_is_sick() {
        let (alarm, detection, verdicts) = found(&record(1.0, 1.0));
        assert_eq!((alarm, detection), (Alarm::None, Detection::Missed));
        let told = latency(&verdicts).reasons[0].to_string();
        assert!(told.contains("slowed by 5.0") && told.ends_with("was called as fast"), "{told}");
    }

    #[test]
    fn too_few_units_accuse_nobody() {
        let mut short = record(1.06, 1.0);
        short.units.truncate(4);
        let (alarm, detection, verdicts) = found(&short);
        assert_eq!((alarm, detection, verdicts.canaries[0].sickness()), (Alarm::Open, Detection::Open, None));
    }

    #[test]
    fn what_is_watched_moves_no_number_of_what_is_asked() {
        let with = verdicts(&record(1.0, 1.05));
        let mut alone = record(1.0, 1.05);
        alone.plan.canaries = None;
        alone.plan.cases.truncate(2);
        for unit in &mut alone.units {
            unit.trials.retain(|trial| trial.case < 2);
        }
        let alone = verdicts(&alone);
        assert_eq!((with.rows, with.cases), (alone.rows, alone.cases));
    }
}
