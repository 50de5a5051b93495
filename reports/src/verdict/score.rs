//! Evidence about the score of a task, from the same examples through both sides, and what is called by it. Which
//! test belongs to which score:
//!
//! | score | difference | whether there is one |
//! |---|---|---|
//! | right or wrong | Tango | McNemar's mid-p |
//! | area under the ROC curve | DeLong | DeLong |
//! | every other, and every one with groups | bootstrap by pairs, BCa | exchange of answers |

use super::quality::Sides;
use super::reason::Reason;
use super::{
    ACCURACY_ALPHA, ContrastView, Flip, LEAST_EFFECT_SHARE, LEAST_EXAMPLES, MARGIN_ALPHA, MAX_RESAMPLES,
    Method, Moved, RESAMPLING_STEPS, SHOWN_LEVEL, SHOWN_RESAMPLES, ScoreEvidence, Verdict,
};
use crate::accuracy::Outputs;
use crate::record::{DatasetFacts, RunRecord};
use crate::score::{Scored, scored};
use protocol::{Direction, Metric, Unit};
use stats::scores::{Hits, RocAuc, ScorePair};
use stats::sequential::DETECTION_POWER;
use stats::{
    Bootstrap, Clusters, Estimate, Interval, PValues, PairedTable, StatsError, clopper_pearson, delong,
    mcnemar_exact, mcnemar_mid_p, smallest_visible_drop, tango_interval, tango_non_inferiority,
    visible_difference, wilson,
};

/// Examples that got worse and are kept by name.
const MAX_MOVED: usize = 12;

/// Why there is no evidence.
pub(super) enum NoEvidence {
    /// The answers cannot be scored.
    Invalid(String),
    /// Too few examples, groups, or examples of a kind.
    TooFew(usize),
}

impl From<StatsError> for NoEvidence {
    fn from(error: StatsError) -> Self {
        Self::Invalid(error.to_string())
    }
}

/// Scores of both sides, candidate first, and what their difference rests on.
pub(super) type Found = ((f64, f64), Result<ScoreEvidence, NoEvidence>);

/// Compares both sides by the score of the task.
///
/// # Errors
/// There is no score, in words.
pub(super) fn evidence(view: &ContrastView<'_>, sides: &Sides<'_>) -> Result<Found, String> {
    let plan = &view.record.plan;
    let outputs = [sides.candidate.outputs, sides.reference.outputs];
    let judge = Judge {
        metric: plan.suite.task.metric(),
        margin: plan.suite.accuracy_margin,
        dataset: &plan.dataset,
        seed: plan.seed.wrapping_add(view.contrast as u64),
    };
    let all = match scored(&plan.suite.task, &plan.dataset, &outputs)? {
        Scored::Hits(hits) if plan.dataset.groups.is_empty() => return judge.table(hits, sides),
        Scored::Binary(values, positive) if plan.dataset.groups.is_empty() => {
            return judge.roc(&values, &positive);
        }
        other => other,
    };
    let flips = match &all {
        Scored::Hits(hits) => {
            let (candidate, reference) = hits.0.split_at(hits.0.len() / 2);
            flips(candidate, reference, sides, plan.dataset.labels.classes())
        }
        _ => Vec::new(),
    };
    judge.resampled(&ScorePair::new(all.outcomes()?), flips)
}

/// What everything is judged by.
struct Judge<'a> {
    metric: &'static Metric,
    margin: f64,
    dataset: &'a DatasetFacts,
    seed: u64,
}

/// What is different from method to method.
struct Numbers {
    method: Method,
    examples: u64,
    difference: Estimate,
    equivalence: Interval,
    p: PValues,
    non_inferiority_p: f64,
    smallest_visible: f64,
}

impl Judge<'_> {
    fn done(&self, numbers: Numbers, flips: Vec<Flip>, moved: Vec<Moved>) -> ScoreEvidence {
        let Numbers { method, examples, difference, equivalence, p, non_inferiority_p, smallest_visible } =
            numbers;
        ScoreEvidence {
            method,
            examples,
            difference,
            equivalence,
            p,
            non_inferiority_p,
            non_inferior: non_inferiority_p < MARGIN_ALPHA,
            smallest_visible,
            margin: self.margin,
            least_effect: self.margin * LEAST_EFFECT_SHARE,
            flips,
            moved,
        }
    }

    fn table(&self, hits: Hits, sides: &Sides<'_>) -> Result<Found, String> {
        let (candidate, reference) = hits.0.split_at(hits.0.len() / 2);
        let flips = flips(candidate, reference, sides, self.dataset.labels.classes());
        let words = |error: StatsError| error.to_string();
        let table = PairedTable::count(candidate, reference).map_err(words)?;
        let share = |right: u64| right as f64 / table.n() as f64;
        let scores = (share(table.both + table.gained), share(table.both + table.lost));
        // one flip where none was seen: no difference is not proof that there can be none
        let discordant = table.discordant().max(1) as f64 / table.n() as f64;
        let numbers = || -> Result<Numbers, StatsError> {
            Ok(Numbers {
                method: Method::Table { table, exact: mcnemar_exact(&table)? },
                examples: table.n(),
                difference: tango_interval(&table, 1.0 - 2.0 * ACCURACY_ALPHA)?,
                equivalence: tango_interval(&table, 1.0 - 2.0 * MARGIN_ALPHA)?.interval,
                p: mcnemar_mid_p(&table)?,
                non_inferiority_p: tango_non_inferiority(&table, self.margin)?,
                smallest_visible: smallest_visible_drop(
                    discordant,
                    table.n(),
                    MARGIN_ALPHA,
                    DETECTION_POWER,
                )?,
            })
        };
        Ok((scores, Ok(self.done(numbers().map_err(words)?, flips, Vec::new()))))
    }

    fn roc(&self, values: &[f64], positive: &[bool]) -> Result<Found, String> {
        let (candidate, reference) = values.split_at(values.len() / 2);
        let positive = &positive[..candidate.len()];
        let joint = RocAuc::new(values, &positive.repeat(2)).map_err(|e| e.to_string())?;
        let pair = ScorePair::new(Box::new(joint));
        let scores = total(&pair)?;
        let positives = positive.iter().filter(|p| **p).count();
        let fewer = positives.min(positive.len() - positives);
        if fewer < LEAST_EXAMPLES {
            return Ok((scores, Err(NoEvidence::TooFew(fewer))));
        }
        let numbers = || -> Result<Numbers, StatsError> {
            let found = delong(candidate, reference, positive)?;
            let unseen = unseen(self.metric, fewer)?;
            let interval = |alpha: f64| found.interval(1.0 - 2.0 * alpha);
            Ok(Numbers {
                method: Method::DeLong,
                examples: positive.len() as u64,
                difference: Estimate { point: found.difference, interval: interval(ACCURACY_ALPHA)? },
                equivalence: widened(interval(MARGIN_ALPHA)?, unseen),
                p: found.test(0.0),
                non_inferiority_p: self.non_inferiority(unseen, |mu| found.test(mu)),
                smallest_visible: unseen
                    + visible_difference(found.standard_error, MARGIN_ALPHA, DETECTION_POWER)?,
            })
        };
        let numbers = numbers().map_err(|e| e.to_string())?;
        Ok((scores, Ok(self.done(numbers, Vec::new(), Vec::new()))))
    }

    fn resampled(&self, pair: &ScorePair, flips: Vec<Flip>) -> Result<Found, String> {
        let scores = total(pair)?;
        let clusters = clusters(self.dataset, pair.len());
        if clusters.len() < LEAST_EXAMPLES {
            return Ok((scores, Err(NoEvidence::TooFew(clusters.len()))));
        }
        let settings = Bootstrap { resamples: resamples(pair.work()), seed: self.seed };
        let numbers = || -> Result<Numbers, StatsError> {
            let found = pair.resample(settings, &clusters)?;
            let unseen = unseen(self.metric, clusters.len())?;
            let interval = |alpha: f64| found.bca(1.0 - 2.0 * alpha);
            Ok(Numbers {
                method: Method::Resampled {
                    resamples: settings.resamples,
                    groups: (!self.dataset.groups.is_empty()).then_some(clusters.len()),
                },
                examples: pair.len() as u64,
                difference: Estimate { point: found.point, interval: interval(ACCURACY_ALPHA)? },
                equivalence: widened(interval(MARGIN_ALPHA)?, unseen),
                p: pair.exchange(settings, &clusters)?,
                non_inferiority_p: self.non_inferiority(unseen, |mu| found.test(mu)),
                smallest_visible: unseen
                    + visible_difference(found.standard_error(), MARGIN_ALPHA, DETECTION_POWER)?,
            })
        };
        let moved = if flips.is_empty() { moved(pair, self.metric.better) } else { Vec::new() };
        let found = numbers().map(|numbers| self.done(numbers, flips, moved));
        Ok((scores, found.map_err(NoEvidence::from)))
    }

    /// p-value of "worse by the margin or more", where a part of the margin is taken by what was not seen.
    fn non_inferiority(&self, unseen: f64, test: impl Fn(f64) -> PValues) -> f64 {
        let left = self.margin - unseen;
        match self.metric.better {
            _ if left <= 0.0 => 1.0,
            Direction::Higher => test(-left).greater,
            Direction::Lower => test(left).less,
        }
    }
}

/// What is called by the evidence, and what to say to it.
pub(super) fn judge(evidence: &ScoreEvidence, metric: &Metric, identical: bool) -> (Verdict, Option<Reason>) {
    let margin = evidence.margin;
    let inside = evidence.equivalence.within(-margin, margin);
    let within_margin = inside.then_some(Reason::WithinScoreMargin { margin, unit: metric.unit });
    let (up, down) = match metric.better {
        Direction::Higher => (Verdict::Better, Verdict::Worse),
        Direction::Lower => (Verdict::Worse, Verdict::Better),
    };
    let difference = evidence.difference.point;
    if identical {
        (Verdict::Equivalent, None)
    } else if evidence.p.greater < ACCURACY_ALPHA && difference >= evidence.least_effect {
        (up, within_margin)
    } else if evidence.p.less < ACCURACY_ALPHA && difference <= -evidence.least_effect {
        (down, within_margin)
    } else if inside {
        (Verdict::Equivalent, None)
    } else {
        let (examples, visible) = (evidence.examples, evidence.smallest_visible);
        (Verdict::Inconclusive, Some(Reason::UndecidedExamples { examples, visible, unit: metric.unit }))
    }
}

/// The score of one case with its interval at [`SHOWN_LEVEL`]; `None` where there is none.
pub(super) fn of_case(record: &RunRecord, outputs: Outputs<'_>) -> Option<Estimate> {
    let plan = &record.plan;
    let found = scored(&plan.suite.task, &plan.dataset, &[outputs]).ok()?;
    match found {
        Scored::Hits(hits) if plan.dataset.groups.is_empty() => {
            let right = hits.0.iter().filter(|right| **right).count();
            wilson(right as u64, hits.0.len() as u64, SHOWN_LEVEL).ok()
        }
        Scored::Binary(values, positive) if plan.dataset.groups.is_empty() => {
            let auc = delong(&values, &values, &positive).ok()?.candidate;
            let half = visible_difference(auc.standard_error, (1.0 - SHOWN_LEVEL) / 2.0, 0.5).ok()?;
            let (low, high) = ((auc.value - half).max(0.0), (auc.value + half).min(1.0));
            Some(Estimate { point: auc.value, interval: Interval { low, high, level: SHOWN_LEVEL } })
        }
        other => {
            let outcomes = other.outcomes().ok()?;
            let clusters = clusters(&plan.dataset, outcomes.len());
            let resamples = resamples(outcomes.work()).min(SHOWN_RESAMPLES);
            let settings = Bootstrap { resamples, seed: plan.seed };
            let score = |at: &[usize]| outcomes.score(at).unwrap_or(f64::NAN);
            let found = settings.resample(&clusters, score).ok()?;
            Some(Estimate { point: found.point, interval: found.bca(SHOWN_LEVEL).ok()? })
        }
    }
}

fn total(pair: &ScorePair) -> Result<(f64, f64), String> {
    let (candidate, reference) = pair.scores(&(0..pair.len()).collect::<Vec<_>>());
    candidate.zip(reference).ok_or_else(|| {
        "the labels leave nothing to score: no example of a kind that is needed, nothing to find, no words, or \
         one value throughout"
            .to_owned()
    })
}

fn clusters(dataset: &DatasetFacts, examples: usize) -> Clusters {
    match dataset.groups.len() == examples {
        true => Clusters::by_label(&dataset.groups),
        false => Clusters::singles(examples),
    }
}

/// As many as so many steps allow.
fn resamples(work: usize) -> u32 {
    let affordable = RESAMPLING_STEPS.checked_div(work as u64).unwrap_or(u64::MAX);
    u32::try_from(affordable).unwrap_or(u32::MAX).clamp(SHOWN_RESAMPLES, MAX_RESAMPLES)
}

/// What `n` examples can hide: a change that none of them shows may still be there in this share, and turn a right
/// example into a wrong one. Scores that nearly every example moves a little hide nothing of the kind.
fn unseen(metric: &Metric, n: usize) -> Result<f64, StatsError> {
    if metric.unit == Unit::Db || metric.name == "spearman" {
        return Ok(0.0);
    }
    Ok(clopper_pearson(0, n as u64, 1.0 - 2.0 * MARGIN_ALPHA)?.interval.high)
}

fn widened(interval: Interval, by: f64) -> Interval {
    Interval { low: interval.low - by, high: interval.high + by, level: interval.level }
}

/// All examples on which exactly one of the two is right, in example order.
fn flips(candidate: &[bool], reference: &[bool], sides: &Sides<'_>, labels: &[u32]) -> Vec<Flip> {
    let said = |side: &[Option<u32>], example: usize| side.get(example).copied().flatten();
    let changed = candidate.iter().zip(reference).enumerate().filter(|(_, (c, r))| c != r);
    let flip = |(example, (_, lost)): (usize, (&bool, &bool))| Flip {
        example,
        label: labels.get(example).copied().unwrap_or_default(),
        lost: *lost,
        reference: said(&sides.reference.predictions, example),
        candidate: said(&sides.candidate.predictions, example),
    };
    changed.map(flip).collect()
}

/// Examples that got worse, the worst first.
fn moved(pair: &ScorePair, better: Direction) -> Vec<Moved> {
    let moved = |example| {
        let (candidate, reference) = pair.of_example(example)?;
        Some(Moved { example, candidate, reference })
    };
    let harm = |m: &Moved| match better {
        Direction::Higher => m.reference - m.candidate,
        Direction::Lower => m.candidate - m.reference,
    };
    let mut all: Vec<Moved> = (0..pair.len()).filter_map(moved).filter(|m| harm(m) > 0.0).collect();
    all.sort_by(|a, b| harm(b).total_cmp(&harm(a)).then(a.example.cmp(&b.example)));
    all.truncate(MAX_MOVED);
    all
}
