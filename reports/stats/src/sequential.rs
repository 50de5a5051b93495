//! The rule that turns log ratios, one per unit, into an answer, and says when enough has been seen.
//!
//! Group-sequential paired t: at fixed numbers of units ([`LOOKS`]) the data is looked at, and each look
//! has its own cut-off, so that all looks together keep the error rate. The path of t is free of scale, so
//! one Monte Carlo of normal data (kept in `tests/sequential.rs`) gives the cut-offs for every metric.
//! It knows no labels: "higher" is higher, whether that is good or not.

use crate::error::StatsError;
use crate::interval::{Interval, PValues};
use crate::paired::Paired;
use crate::power::detectable_shift;
use std::sync::OnceLock;

/// Numbers of units at which data is looked at.
pub const LOOKS: [usize; 9] = [6, 8, 10, 13, 16, 20, 25, 32, 40];
/// One-sided p-value below which a difference is called, per look. Together 1 % for each direction.
pub const DIFFERENCE_CUTOFFS: [f64; 9] =
    [0.00058, 0.00077, 0.00097, 0.00126, 0.00155, 0.00193, 0.00242, 0.00309, 0.00387];
/// One-sided p-value below which one bound of the margin is excluded, per look. Together 5 % for each bound.
pub const EQUIVALENCE_CUTOFFS: [f64; 9] =
    [0.0035, 0.00467, 0.00584, 0.00759, 0.00934, 0.01167, 0.01459, 0.01868, 0.02335];
/// Confidence of the decision interval over all looks together: 1 minus twice 1 %.
pub const DECISION_LEVEL: f64 = 0.98;
/// Confidence of the equivalence interval over all looks together: 1 minus twice 5 %.
pub const EQUIVALENCE_LEVEL: f64 = 0.90;
/// Confidence of the plain interval: what it keeps in spite of the looks and of the choice of location.
pub const PLAIN_LEVEL: f64 = 0.95;
/// Nominal level of Student's interval that keeps [`PLAIN_LEVEL`]: measured after stopping, on recordings and simulated
/// devices (`tests/replay`).
pub const PLAIN_NOMINAL: f64 = 0.99;
/// Fewest units with which anything is called.
pub const MIN_UNITS: usize = LOOKS[0];
/// Units beyond this are not used.
pub const MAX_UNITS: usize = LOOKS[8];
/// What all looks together cost: where the one-sided p-value at n units is p, and c = p · 40 / n, the chance
/// that chance alone gets so far at any look is c times the second number. The cut-offs are the case
/// c = 0.00387 (1 %) and c = 0.02335 (5 %); the rest is from 4 million simulated paths, but for the first
/// row, which is the sum of all looks and an upper bound.
const LOOK_COST: [(f64, f64); 14] = [
    (1e-9, 4.25),
    (1e-5, 3.5),
    (1e-4, 3.375),
    (3e-4, 3.181),
    (1e-3, 2.896),
    (0.00387, 0.01 / 0.00387),
    (0.01, 2.378),
    (0.02335, 0.05 / 0.02335),
    (0.05, 1.935),
    (0.1, 1.724),
    (0.2, 1.501),
    (0.3, 1.367),
    (0.5, 1.195),
    (1.0, 1.0),
];
/// Chance with which the minimum detectable effect would have been found.
pub const DETECTION_POWER: f64 = 0.9;

/// What counts as equal and what as too small to call.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rule {
    margin: f64,
    min_effect: f64,
    half_width: Option<f64>,
}

impl Rule {
    /// `margin`: two sides whose ratio lies between 1 / (1 + margin) and 1 + margin are equivalent.
    /// `min_effect`: a ratio nearer to 1 than this is never called higher or lower, however certain; at
    /// most the margin. Both are shares: 0.03 for 3 %.
    pub fn new(margin: f64, min_effect: f64) -> Result<Self, StatsError> {
        if !(margin > 0.0 && margin.is_finite()) {
            return Err(StatsError::OutOfRange { what: "margin", value: margin, range: "above 0" });
        }
        if !(0.0..=margin).contains(&min_effect) {
            let range = "between 0 and the margin";
            return Err(StatsError::OutOfRange { what: "least effect", value: min_effect, range });
        }
        Ok(Self { margin, min_effect, half_width: None })
    }

    /// The same, but that measuring goes on until the plain interval reaches no farther than so from the ratio, whatever
    /// is called before or is not called then: 0.005 for half a percent. The width says nothing about the mean, so that
    /// cut-offs keep their error rates.
    pub fn until(self, half_width: f64) -> Result<Self, StatsError> {
        if !(half_width > 0.0 && half_width.is_finite()) {
            return Err(StatsError::OutOfRange { what: "half width", value: half_width, range: "above 0" });
        }
        Ok(Self { half_width: Some(half_width), ..self })
    }

    /// [`Rule::until`] where a width is asked for that can be had, else the rule as it is.
    pub fn until_precise(self, half_width: Option<f64>) -> Self {
        half_width.and_then(|half_width| self.until(half_width).ok()).unwrap_or(self)
    }

    /// Nothing more is to be known of this look's path.
    pub fn settles(&self, look: &Look) -> bool {
        match self.half_width {
            Some(most) => look.plain.half_width() <= most.ln_1p(),
            None => look.call != Call::Undecided,
        }
    }

    /// Half-width of the band of equivalence as a log ratio.
    pub fn log_margin(&self) -> f64 {
        self.margin.ln_1p()
    }

    /// The margin as a share.
    pub fn margin(&self) -> f64 {
        self.margin
    }

    /// The least effect as a share.
    pub fn min_effect(&self) -> f64 {
        self.min_effect
    }
}

/// What a look answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// The candidate's value is lower.
    Lower,
    /// The candidate's value is higher.
    Higher,
    /// Neither by more than the margin.
    Equivalent,
    /// Not known yet.
    Undecided,
}

/// Everything known about one series of log ratios at its end.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Look {
    /// Units, mean and sd of the log ratios.
    pub paired: Paired,
    /// Two-sided interval for the log ratio with the cut-off of the look: `Higher` and `Lower` are read
    /// from it. `None` below [`MIN_UNITS`].
    pub decision: Option<Interval>,
    /// The same with the cut-off for equivalence: `Equivalent` is this interval inside the margin.
    pub equivalence: Option<Interval>,
    /// The plain interval: Student's at [`PLAIN_NOMINAL`], which holds the true log ratio with [`PLAIN_LEVEL`].
    pub plain: Interval,
    /// p-values against a ratio of 1 for a single look at the end.
    pub p: PValues,
    /// p-values against a ratio of 1 that stay true however often the data was looked at before:
    /// `greater` or `less` is at most 1 % where the decision interval excludes 1. `None` below
    /// [`MIN_UNITS`].
    pub p_adjusted: Option<PValues>,
    /// The answer.
    pub call: Call,
}

impl Look {
    /// The least log ratio that so many units with this spread show with chance [`DETECTION_POWER`] at the
    /// cut-off of this look. `None` below [`MIN_UNITS`].
    pub fn minimum_detectable(&self) -> Option<f64> {
        // an integral in a search, and the same for every look at so many units
        static SHIFTS: [OnceLock<Option<f64>>; MAX_UNITS + 1] = [const { OnceLock::new() }; MAX_UNITS + 1];
        let Paired { n, sd, .. } = self.paired;
        let (difference, _) = cutoffs(n)?;
        let shift = SHIFTS.get(n)?.get_or_init(|| detectable_shift(n, difference, DETECTION_POWER).ok());
        Some((*shift)? * sd / (n as f64).sqrt())
    }
}

/// Looks at all units there are (at most [`MAX_UNITS`]), with the cut-offs of the last look that was
/// reached: between two looks the stricter one. Needs two units; calls nothing below [`MIN_UNITS`].
pub fn look(log_ratios: &[f64], rule: &Rule) -> Result<Look, StatsError> {
    let used = &log_ratios[..log_ratios.len().min(MAX_UNITS)];
    let paired = Paired::new(used)?;
    let plain = plain(&paired)?;
    let p = paired.test(0.0);
    let Some((difference, equivalence)) = cutoffs(used.len()) else {
        let call = Call::Undecided;
        return Ok(Look { paired, decision: None, equivalence: None, plain, p, p_adjusted: None, call });
    };
    let named = |cutoff: f64, level: f64| {
        paired.interval(1.0 - 2.0 * cutoff).map(|interval| Interval { level, ..interval })
    };
    let decision = named(difference, DECISION_LEVEL)?;
    let equivalence = named(equivalence, EQUIVALENCE_LEVEL)?;
    Ok(Look {
        paired,
        decision: Some(decision),
        equivalence: Some(equivalence),
        plain,
        p,
        p_adjusted: Some(PValues::from_sides(adjusted(p.greater, difference), adjusted(p.less, difference))),
        call: call(paired.mean, &decision, &equivalence, rule),
    })
}

/// The plain interval, by the name of what it keeps.
fn plain(paired: &Paired) -> Result<Interval, StatsError> {
    paired.interval(PLAIN_NOMINAL).map(|interval| Interval { level: PLAIN_LEVEL, ..interval })
}

/// The answer for a log ratio that is known without error.
pub fn exact(log_ratio: f64, rule: &Rule) -> Call {
    let least = rule.min_effect.ln_1p();
    if log_ratio.is_nan() {
        Call::Undecided
    } else if log_ratio.abs() <= least {
        Call::Equivalent
    } else if log_ratio > 0.0 {
        Call::Higher
    } else {
        Call::Lower
    }
}

fn call(mean: f64, decision: &Interval, equivalence: &Interval, rule: &Rule) -> Call {
    let least = rule.min_effect.ln_1p();
    let margin = rule.log_margin();
    if decision.low > 0.0 && mean >= least {
        Call::Higher
    } else if decision.high < 0.0 && mean <= -least {
        Call::Lower
    } else if equivalence.within(-margin, margin) {
        Call::Equivalent
    } else {
        Call::Undecided
    }
}

/// What a one-sided p-value is worth after all looks, see [`LOOK_COST`]. `cutoff` is that of the look.
fn adjusted(p: f64, cutoff: f64) -> f64 {
    let c = (p * DIFFERENCE_CUTOFFS[LOOKS.len() - 1] / cutoff).min(1.0);
    let above = LOOK_COST.partition_point(|(at, _)| *at < c);
    let factor = match (above.checked_sub(1).and_then(|i| LOOK_COST.get(i)), LOOK_COST.get(above)) {
        (Some((c0, f0)), Some((c1, f1))) => f0 + (f1 - f0) * (c / c0).ln() / (c1 / c0).ln(),
        (None, Some((_, first))) => *first,
        (_, None) => 1.0,
    };
    (c * factor).min(1.0)
}

/// Cut-offs for a difference and for equivalence at the last look that `units` reach.
fn cutoffs(units: usize) -> Option<(f64, f64)> {
    let index = LOOKS.iter().rposition(|look| *look <= units)?;
    Some((DIFFERENCE_CUTOFFS[index], EQUIVALENCE_CUTOFFS[index]))
}

/// One of the comparisons that are measured together.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Path<'a> {
    /// Log ratios of the valid units so far, in order.
    pub log_ratios: &'a [f64],
    /// Its rule.
    pub rule: Rule,
}

/// Whether to measure on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Something is undecided. Nothing new can be known before a path has so many valid units.
    Continue {
        /// The nearest look of an undecided path.
        units: usize,
    },
    /// Everything is decided, or has all the units the rule allows.
    Stop,
}

/// The stopping rule for comparisons that share their units: stop when every one is decided or used up.
/// Between two looks a path stands where it stood at the last look, so that asking more often changes
/// nothing.
pub fn decide(paths: &[Path<'_>]) -> Result<Next, StatsError> {
    let mut nearest: Option<usize> = None;
    for path in paths {
        let units = path.log_ratios.len();
        let reached = LOOKS.iter().rev().find(|look| **look <= units);
        let open = match reached {
            Some(&at) => at < MAX_UNITS && !path.rule.settles(&look(&path.log_ratios[..at], &path.rule)?),
            None => true,
        };
        if open && let Some(next) = LOOKS.iter().copied().find(|look| *look > units) {
            nearest = Some(nearest.map_or(next, |n| n.min(next)));
        }
    }
    Ok(nearest.map_or(Next::Stop, |units| Next::Continue { units }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule() -> Rule {
        Rule::new(0.03, 0.01).unwrap()
    }

    fn series(mean: f64, n: usize) -> Vec<f64> {
        (0..n).map(|i| mean + if i % 2 == 0 { 0.001 } else { -0.001 }).collect()
    }

    #[test]
    fn calls_by_size_of_the_effect() {
        for (mean, expected) in [
            (0.5, Call::Higher),
            (-0.5, Call::Lower),
            (0.0, Call::Equivalent),
            // certain, and too small to matter
            (0.006, Call::Equivalent),
            (-0.02, Call::Lower),
        ] {
            let found = look(&series(mean, 8), &rule()).unwrap();
            assert_eq!(found.call, expected, "{mean}");
            let mirrored: Vec<f64> = series(mean, 8).iter().map(|y| -y).collect();
            let swapped = look(&mirrored, &rule()).unwrap();
            assert_eq!(swapped.paired.mean, -found.paired.mean);
            assert_eq!(swapped.decision.unwrap().high, -found.decision.unwrap().low);
        }
    }

    #[test]
    fn exact_values_need_no_units() {
        let call = |ratio: f64| exact(ratio.ln(), &rule());
        assert_eq!((call(1.02), call(0.98), call(1.005)), (Call::Higher, Call::Lower, Call::Equivalent));
        assert_eq!((call(f64::NAN), call(0.0)), (Call::Undecided, Call::Lower));
    }

    #[test]
    fn few_units_call_nothing() {
        let found = look(&series(0.5, 5), &rule()).unwrap();
        assert_eq!((found.call, found.decision, found.minimum_detectable()), (Call::Undecided, None, None));
        assert!(look(&[0.1], &rule()).is_err());
        assert!(look(&[0.1, f64::NAN], &rule()).is_err());
    }

    #[test]
    fn units_beyond_the_last_look_are_not_used() {
        let found = look(&series(0.5, 60), &rule()).unwrap();
        assert_eq!(found.paired.n, MAX_UNITS);
    }

    #[test]
    fn stops_when_all_are_decided() {
        let (sure, noisy) = (series(0.1, 7), [0.3, -0.3, 0.2, -0.1, 0.25, -0.2, 0.1]);
        let path = |log_ratios| Path { log_ratios, rule: rule() };
        assert_eq!(decide(&[path(&sure)]), Ok(Next::Stop));
        assert_eq!(decide(&[path(&sure), path(&noisy)]), Ok(Next::Continue { units: 8 }));
        assert_eq!(decide(&[path(&[])]), Ok(Next::Continue { units: 6 }));
        assert_eq!(decide(&[]), Ok(Next::Stop));
        let exhausted: Vec<f64> = noisy.iter().cycle().take(40).copied().collect();
        assert_eq!(decide(&[path(&exhausted)]), Ok(Next::Stop));
    }

    #[test]
    fn a_wanted_width_outlasts_a_call_and_ends_without_one() {
        let (sure, noisy) = (series(0.1, 7), [0.3, -0.3, 0.2, -0.1, 0.25, -0.2, 0.1]);
        let next =
            |log_ratios, half_width| decide(&[Path { log_ratios, rule: rule().until(half_width).unwrap() }]);
        assert_eq!(next(&sure, 0.001), Ok(Next::Continue { units: 8 }));
        assert_eq!(next(&sure, 0.01), Ok(Next::Stop));
        assert_eq!(next(&noisy, 0.9), Ok(Next::Stop));
        assert!(rule().until(0.0).is_err() && rule().until(f64::NAN).is_err());
    }

    #[test]
    fn asking_between_looks_changes_nothing() {
        // decided at six; the seventh unit alone would undo it
        let mut y = series(0.1, 6);
        y.push(-5.0);
        assert_eq!(decide(&[Path { log_ratios: &y, rule: rule() }]), Ok(Next::Stop));
    }

    #[test]
    fn adjusted_p_meets_the_cutoffs() {
        for cutoff in DIFFERENCE_CUTOFFS {
            assert!((adjusted(cutoff, cutoff) - 0.01).abs() < 1e-12);
        }
        let mut last = 0.0;
        for i in 0..=1000 {
            let p = adjusted(10f64.powf(-12.0 + 12.0 * f64::from(i) / 1000.0), DIFFERENCE_CUTOFFS[2]);
            assert!(last <= p && p <= 1.0, "{last} {p}");
            last = p;
        }
        assert_eq!((adjusted(0.0, 0.001), adjusted(1.0, 0.001)), (0.0, 1.0));
    }

    #[test]
    fn rules_are_checked() {
        assert!(Rule::new(0.0, 0.0).is_err());
        assert!(Rule::new(0.01, 0.02).is_err());
        assert!(Rule::new(f64::NAN, 0.0).is_err());
    }
}
