//! From a farm file to the jobs of a night, the longest first. Pure: what is measured was read before, and which devices
//! there are was asked before.

use super::file::{Farm, Limit, On, Wish, tag_of};
use crate::{
    exit::{CommandResult, Failure},
    selection::{DEFAULT_BUDGET, Selection},
    values::human_time,
};
use farm::{
    device::DeviceCard,
    job::{Job, JobId, Subject, Work},
    night::Summary,
    times::{Blackout, Window},
};
use jiff::Timestamp;
use std::{collections::BTreeMap, rc::Rc, time::Duration};

/// What a job takes beside measuring: pushing, accuracy, reports.
const AROUND: Duration = Duration::from_secs(60);
/// A job that takes so many times as long as it should is ended.
const LIMIT_TIMES: u32 = 3;
/// And so much more.
const LIMIT_MORE: Duration = Duration::from_secs(600);

/// A wish, with what was read and which devices are meant.
pub(super) struct Granted<'a> {
    pub(super) wish: &'a Wish,
    pub(super) selection: Rc<Selection>,
    /// Ids.
    pub(super) devices: Vec<String>,
}

/// When and how long a device is used.
#[derive(Clone, Debug)]
pub(super) struct Terms {
    pub(super) blackout: Blackout,
    pub(super) budget: Option<Duration>,
    pub(super) rest: Duration,
}

/// What a wish asks for, with the seed of the night.
pub(super) fn work_of(wish: &Wish, seed: u64) -> Work {
    Work {
        subject: Subject::Suite { at: wish.suite.clone() },
        filter: wish.filter.clone(),
        runtimes: wish.runtimes.iter().map(ToString::to_string).collect(),
        threads: wish.threads,
        units: wish.units,
        time_budget_ms: wish.time_budget.map(millis),
        reference: wish.reference.clone(),
        seed,
    }
}

pub(super) fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

/// Every job: higher priority first, then the longest, so that no long one is left for the end.
pub(super) fn jobs(granted: &[Granted<'_>], night: &str, seed: u64, earlier: &Estimates) -> Vec<Job> {
    let mut all: BTreeMap<JobId, Job> = BTreeMap::new();
    for one in granted {
        let work = work_of(one.wish, seed);
        let classes = match one.wish.on {
            On::Each => one.devices.clone(),
            On::Any => tag_of(&one.wish.devices).map(str::to_owned).into_iter().collect(),
        };
        let estimate = one.selection.budget.unwrap_or(DEFAULT_BUDGET) + AROUND;
        for class in classes {
            let job =
                job(night, &class, work.clone(), one.wish.priority, earlier.of(&class, &work, estimate));
            all.entry(job.id.clone()).or_insert(job);
        }
    }
    let mut jobs: Vec<Job> = all.into_values().collect();
    jobs.sort_by(|a, b| {
        let key = |job: &Job| (-i64::from(job.priority), std::cmp::Reverse(job.estimate_ms));
        key(a).cmp(&key(b)).then_with(|| a.class.cmp(&b.class)).then_with(|| a.id.cmp(&b.id))
    });
    jobs
}

/// One job.
pub(super) fn job(night: &str, class: &str, work: Work, priority: i32, estimate: Duration) -> Job {
    Job {
        id: JobId::of(night, class, &work),
        night: night.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        class: class.to_owned(),
        files: Vec::new(),
        priority,
        estimate_ms: millis(estimate),
        limit_ms: millis(estimate.saturating_mul(LIMIT_TIMES).saturating_add(LIMIT_MORE)),
        work,
    }
}

/// How long jobs took the last time.
#[derive(Default)]
pub(super) struct Estimates(BTreeMap<(String, String), u64>);

impl Estimates {
    /// From the summary of an earlier night.
    pub(super) fn of_night(summary: &Summary) -> Self {
        let whole = summary.jobs.iter().filter(|job| job.run.is_some() && job.took_ms > 0);
        Self(whole.map(|job| ((job.class.clone(), job.subject.clone()), job.took_ms)).collect())
    }

    /// The time it took, and some more; never more than it may take.
    fn of(&self, class: &str, work: &Work, most: Duration) -> Duration {
        let known = self.0.get(&(class.to_owned(), work.subject.to_string()));
        known.map_or(most, |ms| Duration::from_millis(ms + ms / 4).min(most))
    }
}

/// The terms of a device: all limits that mean it, the strictest of each kind.
pub(super) fn terms(farm: &Farm, limits: &[(&Limit, Vec<String>)], device: &str) -> Terms {
    let of_device =
        || limits.iter().filter(|(_, ids)| ids.iter().any(|id| id == device)).map(|(limit, _)| limit);
    let windows: Vec<Window> = of_device().flat_map(|limit| limit.blackout.iter().cloned()).collect();
    Terms {
        blackout: Blackout::new(&windows, farm.zone.clone()),
        budget: of_device().filter_map(|limit| limit.budget).min(),
        rest: of_device().map(|limit| limit.rest).max().unwrap_or_default(),
    }
}

/// Whether every job can be done at all.
///
/// # Errors
/// Names the job and the limit that exclude each other.
pub(super) fn check(
    jobs: &[Job],
    devices: &[DeviceCard],
    terms: &BTreeMap<String, Terms>,
    now: Timestamp,
) -> CommandResult<()> {
    for job in jobs {
        let length = Duration::from_millis(job.estimate_ms);
        let able = devices.iter().filter(|card| card.classes().contains(&job.class));
        let reasons: Vec<Option<String>> =
            able.map(|card| no_room(terms.get(&card.id)?, length, now)).collect();
        if let Some(reason) = reasons.iter().flatten().next().filter(|_| reasons.iter().all(Option::is_some))
        {
            return Err(Failure::usage(format!(
                "{} on {} can never be measured: {reason}",
                job.work.subject, job.class
            )));
        }
    }
    Ok(())
}

fn no_room(terms: &Terms, length: Duration, now: Timestamp) -> Option<String> {
    if let Some(budget) = terms.budget.filter(|budget| *budget < length) {
        let (job, budget) = (human_time(length), human_time(budget));
        return Some(format!(
            "it takes up to {job}, and the budget of the device is {budget}; give a smaller time-budget"
        ));
    }
    let none = || format!("it takes up to {}, and the blackout times leave no such room", human_time(length));
    terms.blackout.wait(now, length).is_none().then(none)
}
