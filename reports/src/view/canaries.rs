//! What the canaries found, in the words of every format.

use super::View;
use crate::record::CanaryCounts;
use crate::text;
use crate::verdict::{Alarm, CanaryFinding, Detection, SHOWN_LEVEL};
use stats::clopper_pearson;

/// One device.
pub(crate) struct CanaryView<'a> {
    pub(crate) finding: &'a CanaryFinding,
    /// Its id.
    pub(crate) device: String,
    /// Of the two equal ones.
    pub(crate) same: &'static str,
    /// Of the slowed one.
    pub(crate) slower: &'static str,
    /// With all earlier runs.
    pub(crate) counts: CanaryCounts,
}

impl<'a> View<'a> {
    /// One per device that was watched.
    pub(crate) fn canaries(&self) -> Vec<CanaryView<'a>> {
        let (plan, found) = (self.plan(), &self.verdicts.canaries);
        let planned = plan.canaries.iter().flat_map(|all| &all.of);
        let view = |(finding, canary): (&'a CanaryFinding, &crate::record::Canary)| CanaryView {
            finding,
            device: plan
                .devices
                .get(finding.device)
                .map(|d| text::clean(&d.id).into_owned())
                .unwrap_or_default(),
            same: match finding.alarm {
                Alarm::None => "called equal",
                Alarm::NotReproduced => "called different at first, not by fresh units",
                Alarm::NotConfirmed => "called different, not confirmed",
                Alarm::Confirmed => "called different, twice",
                Alarm::Open => "not decided",
            },
            slower: match finding.detection {
                Detection::Found => "found",
                Detection::Missed => "missed",
                Detection::Open => "not decided",
            },
            counts: canary.earlier + finding.counts(),
        };
        found.iter().zip(planned).map(view).collect()
    }

    /// All of them in two sentences; `None` when nothing was watched.
    pub(crate) fn canary_summary(&self) -> Option<String> {
        let all = self.canaries();
        let first = all.first()?;
        let slowdown = text::percent(first.finding.slowdown, 0);
        let [same, slower] = match all.len() {
            1 => [first.same.to_owned(), first.slower.to_owned()],
            n => {
                let of = |wanted: &dyn Fn(&CanaryView<'_>) -> bool| all.iter().filter(|c| wanted(c)).count();
                let same = of(&|c| c.finding.alarm == Alarm::None);
                let slower = of(&|c| c.finding.detection == Detection::Found);
                [format!("called equal on {same} of {n} devices"), format!("found on {slower} of {n}")]
            }
        };
        let counts = all.iter().fold(CanaryCounts::default(), |sum, c| sum + c.counts);
        Some(format!(
            "Canaries: the same model twice was {same}; {slowdown} slower on purpose, {slower}. {}",
            so_far(counts)
        ))
    }
}

/// Rates over all runs that are known, with their intervals.
pub(crate) fn so_far(counts: CanaryCounts) -> String {
    let rate = |hits: u64, n: u64| {
        let interval = clopper_pearson(hits, n, SHOWN_LEVEL).ok().map(|e| e.interval);
        interval.map(|i| format!(" ({})", text::percent_interval(i.low, i.high))).unwrap_or_default()
    };
    let CanaryCounts { same, alarms, confirmed, slower, found } = counts;
    let confirmed = if alarms > 0 { format!(", {confirmed} of them confirmed") } else { String::new() };
    format!(
        "So far {} in {}{}{confirmed}; {found} of {slower} slowdowns found{}.",
        text::counted(alarms as usize, "false alarm"),
        text::counted(same as usize, "run"),
        rate(alarms, same),
        rate(found, slower)
    )
}
