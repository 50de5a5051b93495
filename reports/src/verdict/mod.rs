//! From a run record to answers: one row per contrast and metric, one summary per case, and the rule that
//! lets a run stop early. Pure: the same record gives the same rows. No I/O, no clock, no rendering, no
//! gates.
//!
//! `reports/METHODOLOGY.md` says what every number means; it and this module must not differ.

pub(crate) mod across;
mod allocation;
mod canary;
mod case;
mod confirmation;
mod cost;
mod guard;
mod quality;
mod reason;
mod score;
mod sequential;
mod units;
mod value;

#[cfg(test)]
mod document;
#[cfg(test)]
mod tasks;
#[cfg(test)]
mod tests;

pub use crate::accuracy::Flip;
pub use allocation::iterations_per_side;
pub use canary::{Alarm, CanaryFinding, Detection};
pub use case::{CaseSummary, LatencySummary, PercentileRow};
pub use reason::{Reason, Side};
pub use sequential::next_step;
pub use units::UnitPair;
pub use value::{CaseValue, Relative, case_values};

use crate::record::{CaseIndex, Contrast, RunRecord, Task};
use protocol::{Metric, metric};
use stats::{Estimate, Interval, Location, PValues, PairedTable};

/// A cost ratio (latency, memory, …) nearer to 1 than this share of the margin, and a difference of
/// accuracies smaller than it, is never called better or worse, however certain it is.
pub const LEAST_EFFECT_SHARE: f64 = 1.0 / 3.0;
/// More blocks dropped, or units lost by failed trials, than this share: the contrast is invalid.
pub const MAX_LOST_SHARE: f64 = 0.2;
/// Wall over CPU time above this in a trial with one thread: others took its core.
pub const CONTENTION: f64 = 1.1;
/// One-sided error rate of better and of worse for accuracy.
pub const ACCURACY_ALPHA: f64 = 0.01;
/// One-sided error rate of each bound of accuracy's margin (non-inferiority, equivalence).
pub const MARGIN_ALPHA: f64 = 0.05;
/// Confidence of intervals that are shown for one proportion.
pub const SHOWN_LEVEL: f64 = 0.95;
/// With fewer examples (or groups, or examples of either kind) a score that is resampled is shown and not judged.
pub const LEAST_EXAMPLES: usize = 20;
/// Resamples for a score without a formula, and as many exchanges; fewer where they would take more than
/// [`RESAMPLING_STEPS`].
pub const MAX_RESAMPLES: u32 = 10_000;
/// Resamples for the interval of one case, and the least of a comparison.
pub const SHOWN_RESAMPLES: u32 = 1_000;
/// About a second of work, counted and not timed: the same record gives the same number everywhere.
const RESAMPLING_STEPS: u64 = 1_000_000_000;
/// Fresh processes with exactly the same peak from which memory counts as deterministic.
pub const DETERMINISTIC_UNITS: usize = 3;

/// Answer to a comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verdict {
    /// The candidate is better, beyond chance and beyond the least effect.
    Better,
    /// The candidate is worse, beyond chance and beyond the least effect.
    Worse,
    /// The difference lies inside the margin, beyond chance.
    Equivalent,
    /// Not known yet: more units or examples would tell.
    Inconclusive,
    /// A guard broke; the numbers must not be used.
    Invalid,
}

impl Verdict {
    /// The word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Better => "better",
            Self::Worse => "worse",
            Self::Equivalent => "equivalent",
            Self::Inconclusive => "inconclusive",
            Self::Invalid => "invalid",
        }
    }
}

/// Everything that is concluded from a run.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdicts {
    /// One per case that somebody asked about ([`crate::record::Plan::variants`]), in the order of the plan.
    pub cases: Vec<CaseSummary>,
    /// By contrast in plan order, then by metric in the order of [`protocol::METRICS`].
    pub rows: Vec<ContrastRow>,
    /// One per canary of the plan, in its order.
    pub canaries: Vec<CanaryFinding>,
}

/// What one contrast says about one metric.
#[derive(Clone, Debug, PartialEq)]
pub struct ContrastRow {
    /// Position in the plan's list of contrasts.
    pub contrast: usize,
    /// The contrast itself.
    pub cases: Contrast,
    /// The metric.
    pub metric: &'static Metric,
    /// Value of the candidate in the metric's unit. For measured costs the geometric mean over the units
    /// used, so that candidate / reference is the ratio.
    pub candidate: Option<f64>,
    /// Value of the reference; `None` for metrics that are themselves a comparison with it.
    pub reference: Option<f64>,
    /// The answer; `None` where the metric is shown and not judged.
    pub verdict: Option<Verdict>,
    /// Why, and what to know about it; those that led to the verdict first.
    pub reasons: Vec<Reason>,
    /// Two-sided p-value of "no difference", true in spite of the looks; `None` for exact metrics.
    pub p_value: Option<f64>,
    /// The same over all rows of the run with a p-value (Benjamini–Hochberg). For reading: it decides
    /// nothing.
    pub q_value: Option<f64>,
    /// What the verdict rests on.
    pub evidence: Evidence,
}

/// What a verdict rests on.
#[derive(Clone, Debug, PartialEq)]
pub enum Evidence {
    /// Nothing could be computed; the reasons say why.
    None,
    /// A number without error: size, differences of outputs.
    Exact,
    /// A share of the examples, with Wilson's interval at [`SHOWN_LEVEL`].
    Share(Estimate),
    /// Paired units.
    Ratio(Box<RatioEvidence>),
    /// Paired examples.
    Score(Box<ScoreEvidence>),
}

/// Evidence about a cost, from one pair of values per unit. All intervals are ratios, candidate over
/// reference.
#[derive(Clone, Debug, PartialEq)]
pub struct RatioEvidence {
    /// What stands for the iterations of a trial; only latency has a choice.
    pub location: Option<Location>,
    /// One pair per unit used, in order.
    pub pairs: Vec<UnitPair>,
    /// exp(mean log ratio).
    pub ratio: f64,
    /// Standard deviation of the log ratio between units.
    pub sd_log: f64,
    /// From which better and worse are read, together true over all looks. `None` with too few units.
    pub decision: Option<Interval>,
    /// From which equivalent is read: inside 1 / (1 + margin) … 1 + margin.
    pub equivalence: Option<Interval>,
    /// The plain interval, for reading.
    pub plain: Interval,
    /// Robust second opinion: exp of the Hodges–Lehmann estimate, with its interval at the nominal level of the plain one
    /// where there are enough units for one.
    pub hodges_lehmann: Option<(f64, Option<Interval>)>,
    /// Sign-flip test, one look.
    pub sign_flip: Option<PValues>,
    /// t test, one look.
    pub t_test: PValues,
    /// Least ratio above 1 that would have been found with chance 0.9. `None` with too few units.
    pub minimum_detectable_ratio: Option<f64>,
    /// The margin, as a share.
    pub margin: f64,
    /// Never called better or worse below this, as a share.
    pub least_effect: f64,
}

/// Evidence about the score of the task, from the same examples through both. Differences are candidate −
/// reference in the unit of the score, whichever way is better.
#[derive(Clone, Debug, PartialEq)]
pub struct ScoreEvidence {
    /// How it was come by.
    pub method: Method,
    /// Examples compared.
    pub examples: u64,
    /// The difference, with its interval at 1 − 2 · [`ACCURACY_ALPHA`].
    pub difference: Estimate,
    /// Interval at 1 − 2 · [`MARGIN_ALPHA`]: inside ± margin is equivalent. Where it was resampled, wider by what
    /// so many examples can hide.
    pub equivalence: Interval,
    /// Of "no difference". Better and worse are read from it.
    pub p: PValues,
    /// p-value of "worse by the margin or more".
    pub non_inferiority_p: f64,
    /// True if that is below [`MARGIN_ALPHA`]: what a gate asks.
    pub non_inferior: bool,
    /// Least loss that so many examples show with chance 0.9.
    pub smallest_visible: f64,
    /// The margin.
    pub margin: f64,
    /// Never called better or worse below this.
    pub least_effect: f64,
    /// Examples that exactly one of the two has right, in order; of scores of right and wrong.
    pub flips: Vec<Flip>,
    /// Examples that got worse, the worst first; of other scores, where one example has a score.
    pub moved: Vec<Moved>,
}

/// How a difference of scores was judged.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Method {
    /// Right and wrong: Tango's interval, McNemar's mid-p test.
    Table {
        /// Who has what right.
        table: PairedTable,
        /// McNemar's exact test, for reading.
        exact: PValues,
    },
    /// Areas under the ROC curve: DeLong's normal interval and test.
    DeLong,
    /// BCa interval of a bootstrap by pairs; answers exchanged at random for the test.
    Resampled {
        /// How often.
        resamples: u32,
        /// Groups that were drawn whole, where the data has some.
        groups: Option<usize>,
    },
}

/// An example and what it is worth by itself.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Moved {
    /// Index of the example.
    pub example: usize,
    /// Score of the candidate.
    pub candidate: f64,
    /// Score of the reference.
    pub reference: f64,
}

/// Draws every conclusion there is from the units that are complete.
pub fn verdicts(record: &RunRecord) -> Verdicts {
    let answers: Vec<_> =
        (0..record.plan.variants().len()).map(|case| quality::Answers::of(record, case)).collect();
    let cases = answers.iter().enumerate().map(|(case, found)| case::summary(record, case, found)).collect();
    let mut rows = Vec::new();
    for view in views(record) {
        rows.extend(cost::rows(&view));
        if !record.plan.measuring.costs_only {
            rows.extend(quality::rows(&view, &answers));
        }
    }
    add_q_values(&mut rows);
    let canaries = canary::findings(record);
    canary::condemn(&record.plan, &canaries, &mut rows);
    Verdicts { cases, rows, canaries }
}

/// The rows of latency alone, without q-values: what there is to know while a run is under way, for a fraction of the
/// work.
pub fn latencies(record: &RunRecord) -> Vec<ContrastRow> {
    views(record).filter_map(|view| cost::latency(&view)).collect()
}

/// The rows for which fresh units are measured when they are worse: latency and peak memory, without q-values.
pub fn confirmable(record: &RunRecord) -> Vec<ContrastRow> {
    views(record).flat_map(|view| [cost::latency(&view), cost::memory(&view)]).flatten().collect()
}

fn views(record: &RunRecord) -> impl Iterator<Item = ContrastView<'_>> {
    let contrasts = record.plan.contrasts.iter().enumerate();
    contrasts.map(move |(contrast, cases)| ContrastView { record, contrast, cases: *cases })
}

/// The rows that no clock is part of, without q-values: model size, scores, differences of outputs.
pub(crate) fn timeless(record: &RunRecord) -> Vec<ContrastRow> {
    let answers: Vec<_> =
        (0..record.plan.cases.len()).map(|case| quality::Answers::of(record, case)).collect();
    let mut rows = Vec::new();
    for view in views(record) {
        rows.extend(metric("model_bytes").map(|m| cost::size_row(&view, m)));
        rows.extend(quality::rows(&view, &answers));
    }
    rows
}

/// One contrast of one record: what the parts of this module work on.
#[derive(Clone, Copy)]
struct ContrastView<'a> {
    record: &'a RunRecord,
    contrast: usize,
    cases: Contrast,
}

impl ContrastView<'_> {
    fn side(&self, side: Side) -> CaseIndex {
        match side {
            Side::Candidate => self.cases.candidate,
            Side::Reference => self.cases.reference,
        }
    }

    fn task(&self) -> &Task {
        &self.record.plan.suite.task
    }

    fn row(&self, metric: &'static Metric) -> ContrastRow {
        ContrastRow {
            contrast: self.contrast,
            cases: self.cases,
            metric,
            candidate: None,
            reference: None,
            verdict: None,
            reasons: Vec::new(),
            p_value: None,
            q_value: None,
            evidence: Evidence::None,
        }
    }
}

fn add_q_values(rows: &mut [ContrastRow]) {
    let tested: Vec<usize> = (0..rows.len()).filter(|i| rows[*i].p_value.is_some()).collect();
    let p_values: Vec<f64> = tested.iter().filter_map(|i| rows[*i].p_value).collect();
    if let Ok(q_values) = stats::benjamini_hochberg(&p_values) {
        for (i, q) in tested.into_iter().zip(q_values) {
            rows[i].q_value = Some(q);
        }
    }
}
