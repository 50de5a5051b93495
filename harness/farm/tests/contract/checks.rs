//! The checks. A bench makes fresh queues and lets time pass.

use farm::{
    device::{DeviceCard, Health},
    job::{Job, JobId, JobOutcome, JobResult, Subject, Work},
    queue::{LEASE, PRESENCE, Queue, QueueError},
};
use std::{collections::BTreeSet, time::Duration};

/// What stands between the checks and a real queue.
pub(crate) trait Bench {
    type Queue: Queue;

    /// An empty queue.
    async fn queue(&self) -> Self::Queue;

    /// Waits until so much time has passed for the queue.
    async fn pass(&self, time: Duration);
}

/// A test per check.
macro_rules! contract {
    ($bench:expr $(, $flavour:ident = $value:literal)?) => {
        $crate::checks::contract!(@each $bench, ($(, $flavour = $value)?), [
            jobs_come_in_the_order_in_which_they_were_offered,
            a_job_is_offered_once,
            only_jobs_of_ones_classes_are_taken,
            a_job_is_with_one_taker,
            a_lease_that_is_extended_lasts,
            a_lease_that_is_not_extended_ends,
            what_is_given_back_comes_again_later,
            a_result_counts_once,
            a_result_comes_until_it_is_collected,
            results_are_of_their_night,
            jobs_nobody_is_at_are_withdrawn,
            a_late_result_takes_the_job_out,
            devices_are_there_while_they_are_announced,
            takers_share_the_work,
        ]);
    };
    (@each $bench:expr, $options:tt, [$($check:ident,)*]) => {
        $($crate::checks::contract!(@one $bench, $options, $check);)*
    };
    (@one $bench:expr, ($($option:tt)*), $check:ident) => {
        #[tokio::test(flavor = "current_thread" $($option)*)]
        async fn $check() {
            $crate::checks::$check(&$bench).await;
        }
    };
}
pub(crate) use contract;

/// Long enough for an answer, too short for a lease to end.
const SOON: Duration = Duration::from_millis(500);

pub(crate) fn job(number: u64, class: &str) -> Job {
    let work = Work::of(Subject::Suite { at: "smoke".to_owned() }, number);
    Job {
        id: JobId::of("n1", class, &work),
        night: "n1".to_owned(),
        version: "0".to_owned(),
        class: class.to_owned(),
        work,
        files: Vec::new(),
        priority: 0,
        estimate_ms: 1,
        limit_ms: 60_000,
    }
}

pub(crate) fn result(job: &Job, attempt: u32) -> JobResult {
    JobResult {
        job: job.id.clone(),
        night: job.night.clone(),
        host: "here".to_owned(),
        device: "pi".to_owned(),
        attempt,
        outcome: JobOutcome::Measured,
        record: None,
        took_ms: 1,
        ended: "2026-01-01T00:00:00Z".to_owned(),
    }
}

pub(crate) fn class(name: &str) -> Vec<String> {
    vec![name.to_owned()]
}

pub(crate) async fn jobs_come_in_the_order_in_which_they_were_offered(bench: &impl Bench) {
    let queue = bench.queue().await;
    let jobs: Vec<Job> = (0..5).map(|n| job(n, "pi")).collect();
    assert_eq!(queue.offer(&jobs).await.unwrap(), 5);
    for expected in &jobs {
        let taken = queue.take(&class("pi"), SOON).await.unwrap().unwrap();
        assert_eq!((&taken.job, taken.attempt), (expected, 1));
    }
    assert!(queue.take(&class("pi"), SOON).await.unwrap().is_none());
}

pub(crate) async fn a_job_is_offered_once(bench: &impl Bench) {
    let queue = bench.queue().await;
    assert_eq!(queue.offer(&[job(1, "pi")]).await.unwrap(), 1);
    assert_eq!(queue.offer(&[job(1, "pi"), job(2, "pi")]).await.unwrap(), 1);
    let taken = queue.take(&class("pi"), SOON).await.unwrap().unwrap();
    queue.finish(&taken.lease, &result(&taken.job, 1)).await.unwrap();
    assert_eq!(queue.offer(&[job(1, "pi")]).await.unwrap(), 0, "not even when it is done");
    assert_eq!(queue.take(&class("pi"), SOON).await.unwrap().unwrap().job, job(2, "pi"));
    assert!(queue.take(&class("pi"), SOON).await.unwrap().is_none());
}

pub(crate) async fn only_jobs_of_ones_classes_are_taken(bench: &impl Bench) {
    let queue = bench.queue().await;
    queue.offer(&[job(1, "phone"), job(2, "pi"), job(3, "tag.with-dots_")]).await.unwrap();
    assert!(queue.take(&class("laptop"), SOON).await.unwrap().is_none());
    let both = ["tag.with-dots_".to_owned(), "pi".to_owned()];
    let mut got = BTreeSet::new();
    for _ in 0..2 {
        got.insert(queue.take(&both, SOON).await.unwrap().unwrap().job.id);
    }
    assert_eq!(got, [job(2, "pi").id, job(3, "tag.with-dots_").id].into());
    assert!(queue.take(&both, SOON).await.unwrap().is_none());
}

pub(crate) async fn a_job_is_with_one_taker(bench: &impl Bench) {
    let queue = bench.queue().await;
    queue.offer(&[job(1, "pi")]).await.unwrap();
    let first = queue.take(&class("pi"), SOON).await.unwrap();
    assert!(first.is_some());
    assert!(queue.take(&class("pi"), SOON).await.unwrap().is_none());
}

pub(crate) async fn a_lease_that_is_extended_lasts(bench: &impl Bench) {
    let queue = bench.queue().await;
    queue.offer(&[job(1, "pi")]).await.unwrap();
    let taken = queue.take(&class("pi"), SOON).await.unwrap().unwrap();
    for _ in 0..3 {
        bench.pass(LEASE * 2 / 3).await;
        queue.extend(&taken.lease).await.unwrap();
        assert!(queue.take(&class("pi"), Duration::from_millis(1)).await.unwrap().is_none());
    }
    assert!(queue.finish(&taken.lease, &result(&taken.job, 1)).await.unwrap());
}

pub(crate) async fn a_lease_that_is_not_extended_ends(bench: &impl Bench) {
    let queue = bench.queue().await;
    queue.offer(&[job(1, "pi")]).await.unwrap();
    let lost = queue.take(&class("pi"), SOON).await.unwrap().unwrap();
    bench.pass(LEASE).await;
    let again = queue.take(&class("pi"), LEASE).await.unwrap().unwrap();
    assert_eq!((&again.job, again.attempt), (&lost.job, 2));
    assert!(matches!(queue.extend(&lost.lease).await, Err(QueueError::LeaseLost(_))));
    queue.extend(&again.lease).await.unwrap();
}

pub(crate) async fn what_is_given_back_comes_again_later(bench: &impl Bench) {
    let queue = bench.queue().await;
    queue.offer(&[job(1, "pi")]).await.unwrap();
    let taken = queue.take(&class("pi"), SOON).await.unwrap().unwrap();
    queue.give_back(&taken.lease, Duration::from_secs(2)).await.unwrap();
    assert!(queue.take(&class("pi"), SOON).await.unwrap().is_none());
    let again = queue.take(&class("pi"), Duration::from_secs(10)).await.unwrap().unwrap();
    assert_eq!((again.job, again.attempt), (taken.job, 2));
}

pub(crate) async fn a_result_counts_once(bench: &impl Bench) {
    let queue = bench.queue().await;
    queue.offer(&[job(1, "pi")]).await.unwrap();
    let taken = queue.take(&class("pi"), SOON).await.unwrap().unwrap();
    assert!(queue.finish(&taken.lease, &result(&taken.job, 1)).await.unwrap());
    assert!(!queue.finish(&taken.lease, &result(&taken.job, 2)).await.unwrap());
    assert_eq!(queue.result("n1", SOON).await.unwrap().unwrap().attempt, 1);
    queue.collected(&taken.job.id).await.unwrap();
    assert!(queue.result("n1", SOON).await.unwrap().is_none());
}

pub(crate) async fn a_result_comes_until_it_is_collected(bench: &impl Bench) {
    let queue = bench.queue().await;
    queue.offer(&[job(1, "pi"), job(2, "pi")]).await.unwrap();
    for _ in 0..2 {
        let taken = queue.take(&class("pi"), SOON).await.unwrap().unwrap();
        queue.finish(&taken.lease, &result(&taken.job, 1)).await.unwrap();
    }
    let first = queue.result("n1", SOON).await.unwrap().unwrap();
    queue.collected(&first.job).await.unwrap();
    let second = queue.result("n1", SOON).await.unwrap().unwrap();
    assert_ne!(first.job, second.job);
    queue.collected(&second.job).await.unwrap();
    assert!(queue.result("n1", SOON).await.unwrap().is_none());
}

pub(crate) async fn results_are_of_their_night(bench: &impl Bench) {
    let queue = bench.queue().await;
    let other = Job { night: "n2".to_owned(), ..job(1, "pi") };
    queue.offer(&[other]).await.unwrap();
    let taken = queue.take(&class("pi"), SOON).await.unwrap().unwrap();
    queue.finish(&taken.lease, &result(&taken.job, 1)).await.unwrap();
    assert!(queue.result("n1", SOON).await.unwrap().is_none());
    assert!(queue.result("n2", SOON).await.unwrap().is_some());
}

pub(crate) async fn jobs_nobody_is_at_are_withdrawn(bench: &impl Bench) {
    let queue = bench.queue().await;
    let jobs = [job(1, "pi"), job(2, "pi"), job(3, "pi"), job(4, "phone")];
    queue.offer(&jobs).await.unwrap();
    assert_eq!(queue.withdraw("n1", Some("phone")).await.unwrap(), std::slice::from_ref(&jobs[3].id));
    let at_work = queue.take(&class("pi"), SOON).await.unwrap().unwrap();
    let mut out = queue.withdraw("n1", None).await.unwrap();
    out.sort();
    let mut expected = vec![jobs[1].id.clone(), jobs[2].id.clone()];
    expected.sort();
    assert_eq!(out, expected);
    assert!(queue.take(&class("pi"), SOON).await.unwrap().is_none());
    assert!(queue.finish(&at_work.lease, &result(&at_work.job, 1)).await.unwrap());
    assert!(queue.withdraw("n1", None).await.unwrap().is_empty());
}

pub(crate) async fn a_late_result_takes_the_job_out(bench: &impl Bench) {
    let queue = bench.queue().await;
    queue.offer(&[job(1, "pi")]).await.unwrap();
    let late = queue.take(&class("pi"), SOON).await.unwrap().unwrap();
    bench.pass(LEASE).await;
    assert!(
        queue.finish(&late.lease, &result(&late.job, 1)).await.unwrap(),
        "work that is done is not thrown away"
    );
    // whoever takes it all the same hands over a result that does not count
    if let Some(again) = queue.take(&class("pi"), LEASE).await.unwrap() {
        assert!(!queue.finish(&again.lease, &result(&again.job, 2)).await.unwrap());
    }
    assert_eq!(queue.result("n1", SOON).await.unwrap().unwrap().attempt, 1);
    queue.collected(&late.job.id).await.unwrap();
    assert!(queue.result("n1", SOON).await.unwrap().is_none());
}

pub(crate) async fn devices_are_there_while_they_are_announced(bench: &impl Bench) {
    let queue = bench.queue().await;
    let card = DeviceCard {
        id: "pi-1.lab".to_owned(),
        host: "here".to_owned(),
        transport: "ssh".to_owned(),
        tags: vec!["pi".to_owned()],
        version: "0".to_owned(),
        model: None,
        os: None,
        health: Health::default(),
        at: "2026-01-01T00:00:00Z".to_owned(),
    };
    let seen = DeviceCard { os: Some("Debian".to_owned()), ..card.clone() };
    queue.announce(&card).await.unwrap();
    queue.announce(&seen).await.unwrap();
    assert_eq!(queue.devices().await.unwrap(), std::slice::from_ref(&seen));
    bench.pass(PRESENCE * 2 / 3).await;
    queue.announce(&seen).await.unwrap();
    bench.pass(PRESENCE * 2 / 3).await;
    assert_eq!(queue.devices().await.unwrap(), [seen]);
    bench.pass(PRESENCE).await;
    assert_eq!(queue.devices().await.unwrap(), []);
}

pub(crate) async fn takers_share_the_work(bench: &impl Bench) {
    let queue = bench.queue().await;
    let jobs: Vec<Job> = (0..40).map(|n| job(n, "pi")).collect();
    queue.offer(&jobs).await.unwrap();
    let taker = || async {
        let mut did = Vec::new();
        while let Some(taken) = queue.take(&class("pi"), SOON).await.unwrap() {
            assert!(queue.finish(&taken.lease, &result(&taken.job, taken.attempt)).await.unwrap());
            did.push(taken.job.id);
        }
        did
    };
    let (a, b, c) = tokio::join!(taker(), taker(), taker());
    let mut all = [a, b, c].concat();
    all.sort();
    let mut expected: Vec<JobId> = jobs.into_iter().map(|job| job.id).collect();
    expected.sort();
    assert_eq!(all, expected);
}
