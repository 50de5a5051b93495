//! Changes since earlier nights, measured again before anybody is alarmed: both versions of a model, or of a runtime,
//! interleaved on the same device. Here is what is measured, and what the answer means.

use super::{
    models::Models,
    plan::{self, millis},
};
use crate::exit::{CommandResult, ExitWith};
use farm::{
    job::{Job, Subject, Work},
    night::ChangeLine,
};
use protocol::{Contrast, RuntimeId, Unit, metric};
use reports::{
    history::{Alarm, Change, Effect, Outcome, Proposal},
    record::RunRecord,
    verdict::{ContrastRow, Evidence, Verdict, Verdicts},
};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

/// Most changes that are measured again in one night.
const MAX_ALARMS: usize = 200;

/// Where a suite is found again.
#[derive(Clone, Debug)]
pub(super) struct Source {
    /// Name or path.
    pub(super) at: String,
    /// It has data of its own.
    pub(super) has_data: bool,
}

/// What a night does about changes.
#[derive(Default)]
pub(super) struct Confirmations {
    /// To be measured.
    pub(super) jobs: Vec<Job>,
    /// What is known without measuring.
    pub(super) known: Vec<(Proposal, Outcome)>,
}

/// What is needed to plan them.
pub(super) struct Planning<'a> {
    /// Name of the night.
    pub(super) night: &'a str,
    /// Its folder.
    pub(super) dir: &'a Path,
    /// Seeds every random order.
    pub(super) seed: u64,
    /// Models of all nights.
    pub(super) models: &'a Models,
    /// Suites, by name.
    pub(super) suites: &'a BTreeMap<String, Source>,
    /// For so long at most, on each device.
    pub(super) budget: Duration,
}

/// Series that can be measured again in one job.
type Group = (String, String, String, u64);

impl Planning<'_> {
    /// What to do about these changes.
    ///
    /// # Errors
    /// Models cannot be laid out.
    pub(super) fn plan(&self, proposals: Vec<Proposal>) -> CommandResult<Confirmations> {
        let mut found = Confirmations::default();
        let mut models: BTreeMap<Group, Vec<Proposal>> = BTreeMap::new();
        let mut libraries: BTreeMap<Group, Vec<Proposal>> = BTreeMap::new();
        for proposal in proposals.into_iter().take(MAX_ALARMS) {
            let key = &proposal.change.key;
            let group = (key.device.clone(), key.suite.clone(), key.runtime.clone(), u64::from(key.threads));
            match self.kind(&proposal) {
                Kind::Exact => found.known.push(exact(proposal)),
                Kind::Not(why) => found.known.push((proposal, Outcome::Unconfirmable { why })),
                Kind::Models => models.entry(group).or_default().push(proposal),
                Kind::Libraries => libraries.entry(group).or_default().push(proposal),
            }
        }
        for (number, (group, proposals)) in models.into_iter().enumerate() {
            found.jobs.push(self.of_models(number, &group, &proposals)?);
        }
        for (group, proposals) in libraries {
            found.jobs.push(self.of_libraries(&group, &proposals));
        }
        Ok(found)
    }

    fn kind(&self, proposal: &Proposal) -> Kind {
        let Proposal { before, after, change, .. } = proposal;
        let same_model = before.model_sha256 == after.model_sha256;
        // a score is the same every night, and still says little where it rests on few examples: both models on the
        // same ones say more
        if !proposal.to_measure && (same_model || !is_score(&change.key.metric)) {
            return Kind::Exact;
        }
        if !self.suites.contains_key(&change.key.suite) {
            return Kind::Not(format!("the suite {} was not measured tonight", change.key.suite));
        }
        if !same_model {
            let missing = [&before.model_sha256, &after.model_sha256]
                .into_iter()
                .find(|m| self.models.find(m).is_none());
            return match missing {
                None => Kind::Models,
                Some(missing) => Kind::Not(format!("the model {} is not kept any more", short(missing))),
            };
        }
        if before.library_sha256 != after.library_sha256
            && before.runtime_version.is_some()
            && after.runtime_version.is_some()
        {
            return Kind::Libraries;
        }
        let moved: Vec<&str> = change.moved.iter().map(|moved| moved.what.as_str()).collect();
        Kind::Not(match moved.is_empty() {
            true => {
                "model and runtime are the same: what changed is the device, or what is around it".to_owned()
            }
            false => format!(
                "model and runtime are the same; {} changed, and two of these cannot be measured beside each other",
                moved.join(" and ")
            ),
        })
    }

    /// Both versions of each model, in two folders.
    fn of_models(&self, number: usize, group: &Group, proposals: &[Proposal]) -> CommandResult<Job> {
        let dir = self.dir.join("confirm").join(number.to_string());
        let (base, head) = (dir.join("base"), dir.join("head"));
        for proposal in proposals {
            for (folder, build) in [(&base, &proposal.before), (&head, &proposal.after)] {
                let Some(kept) = self.models.find(&build.model_sha256) else { continue };
                fs::create_dir_all(folder).or_incomplete()?;
                fs::copy(&kept, folder.join(file_name(&proposal.change.key.variant, &kept)))
                    .or_incomplete()?;
            }
        }
        let data = self.suites.get(&group.1).filter(|source| source.has_data).map(|source| source.at.clone());
        let alarms = proposals.iter().map(|proposal| proposal.alarm.clone()).collect();
        Ok(self.job(group, Subject::Versions { base, head, data, alarms }, vec![group.2.clone()], Vec::new()))
    }

    /// The same model on both versions of a runtime.
    fn of_libraries(&self, group: &Group, proposals: &[Proposal]) -> Job {
        let at = self.suites.get(&group.1).map(|source| source.at.clone()).unwrap_or_default();
        let versions = proposals.iter().flat_map(|p| [&p.before.runtime_version, &p.after.runtime_version]);
        let mut runtimes: Vec<String> = versions
            .flatten()
            .filter_map(|version| {
                let runtime: RuntimeId = group.2.parse().ok()?;
                Some(RuntimeId { version: Some(version.clone()), ..runtime }.to_string())
            })
            .collect();
        runtimes.sort();
        runtimes.dedup();
        let variant = |p: &Proposal| p.change.key.variant.clone();
        let mut filter: Vec<String> = proposals.iter().map(variant).collect();
        filter.dedup();
        let alarms = proposals.iter().map(|proposal| proposal.alarm.clone()).collect();
        self.job(group, Subject::Libraries { at, alarms }, runtimes, filter)
    }

    fn job(&self, group: &Group, subject: Subject, runtimes: Vec<String>, filter: Vec<String>) -> Job {
        let work = Work {
            filter,
            runtimes,
            threads: u16::try_from(group.3).ok(),
            time_budget_ms: Some(millis(self.budget)),
            ..Work::of(subject, self.seed)
        };
        plan::job(self.night, &group.0, work, 0, self.budget)
    }
}

/// Whether it says how well the task is done.
fn is_score(name: &str) -> bool {
    metric(name).is_some_and(|metric| !matches!(metric.unit, Unit::Ns | Unit::Bytes))
}

enum Kind {
    /// It is known without error.
    Exact,
    Models,
    Libraries,
    Not(String),
}

/// A name that is the same in both folders, and a plain one.
fn file_name(variant: &str, kept: &Path) -> PathBuf {
    let plain = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '-' | '_') { c } else { '-' };
    let name: String = variant.chars().map(plain).collect();
    PathBuf::from(name).with_extension(kept.extension().unwrap_or_default())
}

fn short(sha256: &str) -> String {
    sha256.chars().take(12).collect()
}

fn exact(proposal: Proposal) -> (Proposal, Outcome) {
    let (ratio, low, high) = ratio_of(&proposal.change);
    let outcome = Outcome::Confirmed { run: String::new(), ratio, low, high };
    (proposal, outcome)
}

/// New level over old level, with its interval.
fn ratio_of(change: &Change) -> (f64, f64, f64) {
    let before = change.before.value;
    match change.effect {
        Effect::Ratio { ratio, low, high } => (ratio, low, high),
        Effect::Difference { difference, low, high } if before != 0.0 => {
            let over = |difference: f64| (before + difference) / before;
            (over(difference), over(low), over(high))
        }
        Effect::Difference { .. } => (f64::NAN, f64::NAN, f64::NAN),
    }
}

/// What a run says of a change: of one that it measured again.
pub(super) fn outcome(change: &Change, record: &RunRecord, verdicts: &Verdicts) -> Outcome {
    let unknown = |why: String| Outcome::Unconfirmable { why };
    let Some((row, turned)) = verdicts.rows.iter().find_map(|row| Some((row, is_of(change, row, record)?)))
    else {
        return unknown("the run did not measure it".to_owned());
    };
    let why = || row.reasons.first().map_or_else(String::new, ToString::to_string);
    if row.verdict == Some(Verdict::Invalid) {
        return unknown(format!("measured again, and invalid: {}", why()));
    }
    let run = record.plan.run.clone();
    match &row.evidence {
        Evidence::Ratio(evidence) => match evidence.decision {
            Some(interval) => {
                let [ratio, low, high] = turn([evidence.ratio, interval.low, interval.high], turned);
                of_cost(change, run, [ratio, low, high])
                    .unwrap_or_else(|| unknown(format!("still open: {}", why())))
            }
            None => unknown(format!("measured again, and undecided: {}", why())),
        },
        Evidence::Score(evidence) => {
            let (Some(old), interval) =
                (row.reference.filter(|old| *old != 0.0), evidence.difference.interval)
            else {
                return unknown(why());
            };
            let over = |difference: f64| (old + difference) / old;
            let all = [over(evidence.difference.point), over(interval.low), over(interval.high)];
            let [ratio, low, high] = turn(all, turned);
            match row.verdict {
                Some(Verdict::Worse | Verdict::Better) => Outcome::Confirmed { run, ratio, low, high },
                Some(Verdict::Equivalent) => Outcome::Refuted { run, ratio, low, high },
                _ => unknown(format!("still open on so many examples: {}", why())),
            }
        }
        Evidence::None | Evidence::Exact | Evidence::Share(_) => unknown(why()),
    }
}

/// A ratio with its interval, the other way round where the sides are.
fn turn([ratio, low, high]: [f64; 3], turned: bool) -> [f64; 3] {
    if turned { [1.0 / ratio, 1.0 / high, 1.0 / low] } else { [ratio, low, high] }
}

/// Beyond chance in the direction that was seen, or less than half of it for certain.
fn of_cost(change: &Change, run: String, [ratio, low, high]: [f64; 3]) -> Option<Outcome> {
    let (seen, ..) = ratio_of(change);
    // half on the scale on which both directions are as far
    let half = seen.sqrt();
    let (there, absent) = if seen > 1.0 { (low > 1.0, high < half) } else { (high < 1.0, low > half) };
    match (there, absent) {
        (true, _) => Some(Outcome::Confirmed { run, ratio, low, high }),
        (false, true) => Some(Outcome::Refuted { run, ratio, low, high }),
        (false, false) => None,
    }
}

/// Whether a row is about both sides of the change; `true`: the other way round.
fn is_of(change: &Change, row: &ContrastRow, record: &RunRecord) -> Option<bool> {
    if row.metric.name != change.key.metric {
        return None;
    }
    let Contrast { candidate, reference, .. } = row.cases;
    let case = |index: usize| record.plan.cases.get(index);
    let side = |index: usize| {
        let case = case(index)?;
        Some((case.model_sha256.as_str(), case.library.as_ref().map(|library| library.sha256.as_str())))
    };
    let (before, after) = (&change.before, &change.after);
    let (old, new) = (
        (before.model_sha256.as_str(), before.library_sha256.as_deref()),
        (after.model_sha256.as_str(), after.library_sha256.as_deref()),
    );
    let (candidate, reference) = (side(candidate)?, side(reference)?);
    // where the model changed, both are run by what is there now
    let same =
        |a: (&str, Option<&str>), b: (&str, Option<&str>)| a.0 == b.0 && (old.0 != new.0 || a.1 == b.1);
    match (same(candidate, new) && same(reference, old), same(candidate, old) && same(reference, new)) {
        (true, _) => Some(false),
        (false, true) => Some(true),
        (false, false) => None,
    }
}

/// An alarm for the summary.
pub(super) fn line(alarm: &Alarm) -> ChangeLine {
    let change = &alarm.change;
    let key = &change.key;
    let (mut ratio, mut low, mut high) = ratio_of(change);
    let mut why = String::new();
    match alarm.outcome.as_ref().map(|event| &event.outcome) {
        Some(Outcome::Confirmed { run, ratio: r, low: l, high: h }) => {
            (ratio, low, high) = (*r, *l, *h);
            why = if run.is_empty() { String::new() } else { format!("measured again in {run}") };
        }
        Some(Outcome::Refuted { run, ratio: r, low: l, high: h }) => {
            (ratio, low, high) = (*r, *l, *h);
            why = format!("measured again in {run}, and not there");
        }
        Some(Outcome::Unconfirmable { why: reason }) => why.clone_from(reason),
        _ => {}
    }
    let mut state = alarm.state.word().to_owned();
    if let Some(Outcome::Acknowledged { who, reason }) =
        alarm.acknowledged.as_ref().map(|event| &event.outcome)
    {
        state = "acknowledged".to_owned();
        why = format!("{who}: {reason}");
    }
    let name = key.known_metric().map_or(key.metric.as_str(), |metric| metric.short);
    ChangeLine {
        alarm: alarm.id.clone(),
        series: format!("{} of {} on {}, {}, {}", name, key.variant, key.device, key.runtime, key.suite),
        since: change.since.clone(),
        ratio,
        low,
        high,
        versions: change.moved.iter().map(|moved| moved.what.clone()).collect(),
        worse: change.worse,
        state,
        why,
    }
}
