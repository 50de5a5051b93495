//! Whether a cost that was found worse is found so again, by the same rule on fresh units alone. One false
//! finding in a hundred is one a night on a farm; two in a row are one in ten thousand.

use super::cost::rule;
use super::reason::Reason;
use super::units::{UnitPair, ratios};
use super::{ContrastRow, ContrastView, Evidence, Verdict};
use stats::sequential::{Call, Next, Path, decide, look};

/// Costs for which fresh units are measured. What else is found worse is confirmed by those, where there are any.
const ASKED_FOR: [&str; 2] = ["latency_ns", "memory_peak_bytes"];

/// A row, with what the fresh units say of a `worse`: it stays, or becomes inconclusive.
pub(super) fn confirmed(view: &ContrastView<'_>, mut row: ContrastRow, fresh: &[UnitPair]) -> ContrastRow {
    let (Some(Verdict::Worse), Evidence::Ratio(evidence)) = (row.verdict, &row.evidence) else { return row };
    if fresh.is_empty() && !ASKED_FOR.contains(&row.metric.name) {
        return row;
    }
    let Some(reason) = found(view, row.metric.name, fresh, evidence.ratio) else { return row };
    if matches!(reason, Reason::NotReproduced { .. }) {
        row.verdict = Some(Verdict::Inconclusive);
        // what was said of a finding that does not stand
        row.reasons.retain(|r| !matches!(r, Reason::WithinMargin { .. } | Reason::CrossCheck { .. }));
    }
    row.reasons.insert(0, reason);
    row
}

fn found(view: &ContrastView<'_>, metric: &str, fresh: &[UnitPair], first: f64) -> Option<Reason> {
    let plan = &view.record.plan;
    let rule = rule(plan, metric)?;
    let log_ratios = ratios(fresh).unwrap_or_default();
    let units = log_ratios.len();
    let path = Path { log_ratios: &log_ratios, rule };
    let most = usize::try_from(plan.suite.max_units).unwrap_or(usize::MAX);
    match decide(&[path]).ok()? {
        Next::Continue { units: next } if next <= most => Some(Reason::NotConfirmed { units, next }),
        Next::Continue { .. } if units == 0 => Some(Reason::NotConfirmed { units, next: most }),
        Next::Continue { .. } | Next::Stop => {
            let found = look(&log_ratios, &rule).ok()?;
            let ratio = found.paired.mean.exp();
            Some(match found.call {
                Call::Higher => Reason::Confirmed { ratio, units },
                _ => Reason::NotReproduced { first, ratio, units },
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Recipe, find};
    use super::*;
    use crate::record::{Purpose, RunRecord};
    use protocol::UnitId;

    /// A candidate 5 % slower in ten units, and what fresh units show.
    fn row(fresh: f64, units: usize) -> (Option<Verdict>, Option<Reason>) {
        let mut record = Recipe::two(1.05, 10).record();
        let again: RunRecord = Recipe { seed: 2, ..Recipe::two(fresh, units) }.record();
        record.units.extend(again.units.into_iter().map(|unit| crate::record::UnitRecord {
            unit: UnitId(100 + unit.unit.0),
            purpose: Purpose::Confirmation,
            ..unit
        }));
        let row = find(&record, "latency_ns");
        (row.verdict, row.reasons.first().cloned())
    }

    #[test]
    fn a_true_loss_is_found_again() {
        let (verdict, reason) = row(1.05, 6);
        assert_eq!(verdict, Some(Verdict::Worse));
        assert!(matches!(reason, Some(Reason::Confirmed { units: 6, ratio }) if ratio > 1.03), "{reason:?}");
    }

    #[test]
    fn what_is_not_found_again_is_no_finding() {
        for fresh in [1.0, 0.9] {
            let (verdict, reason) = row(fresh, 6);
            assert_eq!(verdict, Some(Verdict::Inconclusive), "{fresh}");
            let told = reason.unwrap().to_string();
            assert!(told.starts_with("not reproduced: +"), "{told}");
        }
    }

    #[test]
    fn nothing_is_certain_that_was_not_reproduced() {
        let mut record = Recipe { own: 0.0005, ..Recipe::two(1.02, 10) }.record();
        let certain = Reason::WithinMargin { margin: 0.03 };
        assert!(find(&record, "latency_ns").reasons.contains(&certain));
        let again = Recipe::two(1.0, 6).record().units.into_iter();
        let fresh = again.map(|u| crate::record::UnitRecord { purpose: Purpose::Confirmation, ..u });
        record.units.extend(fresh);
        let row = find(&record, "latency_ns");
        assert_eq!((row.verdict, row.reasons.len()), (Some(Verdict::Inconclusive), 1), "{:?}", row.reasons);
    }

    #[test]
    fn without_time_it_stands_and_says_so() {
        for units in [0, 1, 5] {
            let (verdict, reason) = row(1.05, units);
            assert_eq!(verdict, Some(Verdict::Worse));
            assert_eq!(reason, Some(Reason::NotConfirmed { units, next: 6 }));
        }
    }

    #[test]
    fn the_first_finding_is_read_from_its_own_units() {
        let alone = find(&Recipe::two(1.05, 10).record(), "latency_ns");
        let mut record = Recipe::two(1.05, 10).record();
        let again = Recipe::two(1.5, 6).record().units.into_iter();
        let fresh = again.map(|u| crate::record::UnitRecord { purpose: Purpose::Confirmation, ..u });
        record.units.extend(fresh);
        let both = find(&record, "latency_ns");
        assert_eq!((both.evidence, both.candidate), (alone.evidence, alone.candidate));
    }

    /// What is said of a cost of a candidate that has a tenth more of it, and of what fresh units have.
    fn of_processes(
        metric: &str,
        set: fn(&mut crate::record::TrialRecord, f64),
        fresh: Option<f64>,
    ) -> ContrastRow {
        let mut record = Recipe::two(1.0, 10).record();
        let mut again = Recipe { seed: 2, ..Recipe::two(1.0, 6) }.record();
        let units = record.units.iter_mut().map(|unit| (unit, 1.1));
        for (unit, more) in units.chain(again.units.iter_mut().map(|unit| (unit, fresh.unwrap_or(1.0)))) {
            let noise = f64::from(unit.unit.0 % 3) / 1000.0;
            set(&mut unit.trials[0], 1.0);
            set(&mut unit.trials[1], more + noise);
        }
        let fresh = again.units.into_iter().filter(|_| fresh.is_some());
        record.units.extend(fresh.map(|u| crate::record::UnitRecord { purpose: Purpose::Confirmation, ..u }));
        find(&record, metric)
    }

    #[test]
    fn memory_asks_for_fresh_units_and_start_up_takes_those_there_are() {
        let memory = |trial: &mut crate::record::TrialRecord, more: f64| {
            trial.memory[0].peak_bytes = Some((more * 5e7) as u64);
        };
        let first = |trial: &mut crate::record::TrialRecord, more: f64| {
            trial.first_inference_ns = Some((more * 1e6) as u64);
        };
        for (metric, set) in [("memory_peak_bytes", memory as fn(&mut _, f64)), ("first_inference_ns", first)]
        {
            let row = of_processes(metric, set, Some(1.1));
            assert_eq!(row.verdict, Some(Verdict::Worse), "{metric}");
            assert!(
                matches!(row.reasons[0], Reason::Confirmed { units: 6, .. }),
                "{metric}: {:?}",
                row.reasons
            );
            let row = of_processes(metric, set, Some(1.0));
            assert_eq!(row.verdict, Some(Verdict::Inconclusive), "{metric}");
            assert!(
                matches!(row.reasons[0], Reason::NotReproduced { units: 6, .. }),
                "{metric}: {:?}",
                row.reasons
            );
            let row = of_processes(metric, set, None);
            assert_eq!(row.verdict, Some(Verdict::Worse), "{metric}");
            let asked = row.reasons.contains(&Reason::NotConfirmed { units: 0, next: 6 });
            assert_eq!(asked, metric == "memory_peak_bytes", "{metric}: {:?}", row.reasons);
        }
    }

    #[test]
    fn nothing_else_asks_for_fresh_units() {
        for ratio in [0.9, 1.0] {
            let row = find(&Recipe::two(ratio, 10).record(), "latency_ns");
            assert!(!row.reasons.iter().any(|r| matches!(r, Reason::NotConfirmed { .. })), "{row:?}");
        }
    }
}
