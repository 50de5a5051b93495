//! Devices at work, with jobs that only seem to take time: what is given to whom, what is tried again, and how
//! everything comes to its end.
#![expect(clippy::unwrap_used, reason = "a test may stop at what it did not expect")]

use farm::{
    device::{Canaries, DeviceCard, Health, State},
    health::{HealthRules, Reading},
    job::{Job, JobId, JobOutcome, JobResult, Subject, Work},
    queue::{LocalQueue, Queue},
    times::{Blackout, Window},
    worker::{Clock, Execution, Executor, Looked, Seat, Shop, Stop, Told, work},
};
use jiff::tz::TimeZone;
use std::{cell::RefCell, collections::BTreeMap, future::poll_fn, pin::Pin, task::Poll, time::Duration};
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep},
};

const MINUTE: Duration = Duration::from_secs(60);

/// What a pretended device does.
#[derive(Clone, Copy, Default)]
struct Manner {
    /// Jobs and probes that end with trouble before one goes well.
    troubles: u32,
    /// Only jobs do.
    probes_well: bool,
    /// Looks that find nobody before one goes well.
    silences: u32,
    /// It is hot for so many looks.
    hot: u32,
    /// What its canary finds.
    canaries: Canaries,
    /// Jobs end only when they are told to.
    hangs: bool,
}

/// Pretends to measure: a job takes as long as it is estimated.
#[derive(Default)]
struct Pretender {
    manners: RefCell<BTreeMap<String, Manner>>,
    /// Who did what, and when it began.
    did: RefCell<Vec<(String, JobId, Instant)>>,
    probes: RefCell<u32>,
}

impl Pretender {
    fn with(manners: &[(&str, Manner)]) -> Self {
        let manners = manners.iter().map(|(id, manner)| ((*id).to_owned(), *manner)).collect();
        Self { manners: RefCell::new(manners), ..Self::default() }
    }

    fn manner<T>(&self, device: &str, act: impl FnOnce(&mut Manner) -> T) -> T {
        act(self.manners.borrow_mut().entry(device.to_owned()).or_default())
    }
}

impl Executor for Pretender {
    async fn look(&self, device: &str) -> Result<Looked, String> {
        self.manner(device, |manner| {
            if manner.silences > 0 {
                manner.silences -= 1;
                return Err("no answer".to_owned());
            }
            let milli_celsius = Some(if manner.hot > 0 { 60_000 } else { 30_000 });
            manner.hot = manner.hot.saturating_sub(1);
            Ok(Looked { reading: Reading { milli_celsius, battery_percent: None }, ..Looked::default() })
        })
    }

    async fn measure(&self, device: &str, job: &Job, mut cancel: watch::Receiver<u32>) -> Execution {
        self.did.borrow_mut().push((device.to_owned(), job.id.clone(), Instant::now()));
        let (manner, trouble) = self.manner(device, |manner| {
            let trouble = manner.troubles > 0;
            manner.troubles = manner.troubles.saturating_sub(1);
            (*manner, trouble)
        });
        let time = if manner.hangs { MINUTE * 1000 } else { Duration::from_millis(job.estimate_ms) };
        let cancelled = tokio::select! {
            () = sleep(time) => false,
            _ = cancel.changed() => true,
        };
        let outcome = match trouble {
            true => JobOutcome::DeviceTrouble { reason: "link lost".to_owned() },
            false => JobOutcome::Measured,
        };
        Execution { outcome, record: None, canaries: manner.canaries, cancelled }
    }

    async fn probe(&self, device: &str) -> Result<Canaries, String> {
        *self.probes.borrow_mut() += 1;
        self.manner(device, |manner| {
            if manner.troubles == 0 || manner.probes_well {
                return Ok(Canaries::default());
            }
            manner.troubles -= 1;
            Err("link lost".to_owned())
        })
    }
}

fn job(number: u64, class: &str, minutes: u64) -> Job {
    let work = Work::of(Subject::Suite { at: "smoke".to_owned() }, number);
    Job {
        id: JobId::of("n", class, &work),
        night: "n".to_owned(),
        version: "1".to_owned(),
        class: class.to_owned(),
        work,
        files: Vec::new(),
        priority: 0,
        estimate_ms: minutes * 60_000,
        limit_ms: minutes * 120_000,
    }
}

fn seat(id: &str) -> Seat {
    let card = DeviceCard {
        id: id.to_owned(),
        host: "here".to_owned(),
        transport: "fake".to_owned(),
        tags: vec!["pi".to_owned()],
        version: "1".to_owned(),
        model: None,
        os: None,
        health: Health::default(),
        at: String::new(),
    };
    Seat { card, blackout: Blackout::new(&[], TimeZone::UTC), budget: None, rest: Duration::ZERO }
}

/// What a night came to.
struct Came {
    results: BTreeMap<JobId, JobResult>,
    cards: Vec<DeviceCard>,
    told: Vec<Told>,
    took: Duration,
}

/// Lets devices work until every job has a result, or until `stop` says how.
async fn night(
    pretender: &Pretender,
    jobs: &[Job],
    seats: Vec<Seat>,
    stop: Option<(Duration, Stop)>,
) -> Came {
    let queue = LocalQueue::new();
    queue.offer(jobs).await.unwrap();
    let (told, mut heard) = mpsc::unbounded_channel();
    let (stopper, stopped) = watch::channel(Stop::Run);
    let rules = HealthRules { max_milli_celsius: Some(50_000), ..HealthRules::default() };
    let shop = Shop { queue: &queue, executor: pretender, rules, told, stop: stopped, clock: Clock::start() };
    let began = Instant::now();
    let mut results = BTreeMap::new();
    let collect = async {
        let limit = stop.map_or(MINUTE * 60 * 24 * 6, |(after, _)| after);
        while results.len() < jobs.len() && began.elapsed() < limit {
            let left = limit.saturating_sub(began.elapsed()).min(MINUTE);
            if let Some(result) = queue.result("n", left).await.unwrap() {
                queue.collected(&result.job).await.unwrap();
                assert!(results.insert(result.job.clone(), result).is_none(), "a result counted twice");
            }
        }
        stopper.send_replace(stop.map_or(Stop::Drain, |(_, how)| how));
        began.elapsed()
    };
    let working = join_all(seats.into_iter().map(|seat| Box::pin(work(&shop, seat))).collect());
    let (took, cards) = tokio::join!(collect, working);
    while let Some(result) = queue.result("n", Duration::ZERO).await.unwrap() {
        queue.collected(&result.job).await.unwrap();
        results.insert(result.job.clone(), result);
    }
    let mut all = Vec::new();
    while let Ok(told) = heard.try_recv() {
        all.push(told);
    }
    Came { results, cards, told: all, took }
}

async fn join_all<F: Future + Unpin>(mut futures: Vec<F>) -> Vec<F::Output> {
    let mut done: Vec<Option<F::Output>> = futures.iter().map(|_| None).collect();
    poll_fn(|context| {
        for (future, slot) in futures.iter_mut().zip(&mut done).filter(|(_, slot)| slot.is_none()) {
            if let Poll::Ready(output) = Pin::new(future).poll(context) {
                *slot = Some(output);
            }
        }
        if done.iter().all(Option::is_some) { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    done.into_iter().flatten().collect()
}

#[tokio::test(start_paused = true)]
async fn devices_work_beside_each_other() {
    let pretender = Pretender::default();
    let mut jobs: Vec<Job> = (0..4).map(|n| job(n, "a", 10)).collect();
    jobs.extend((0..4).map(|n| job(n, "pi", 10)));
    let came = night(&pretender, &jobs, vec![seat("a"), seat("b")], None).await;
    assert_eq!(came.results.len(), 8);
    assert!(
        came.results.values().all(|result| result.outcome == JobOutcome::Measured && result.attempt == 1)
    );
    assert!(came.took < MINUTE * 41, "{:?}", came.took);
    let did = pretender.did.borrow();
    assert_eq!(did.iter().filter(|(device, ..)| device == "b").count(), 4, "b does what any may do");
}

#[tokio::test(start_paused = true)]
async fn trouble_is_tried_again_elsewhere_and_three_strikes_are_enough() {
    let pretender = Pretender::with(&[("a", Manner { troubles: 99, ..Manner::default() })]);
    let jobs = [job(0, "pi", 10), job(1, "pi", 10), job(2, "pi", 10)];
    let came = night(&pretender, &jobs, vec![seat("a"), seat("b")], None).await;
    assert_eq!(came.results.len(), 3);
    assert!(
        came.results.values().all(|result| result.outcome == JobOutcome::Measured && result.device == "b")
    );
    let State::Quarantined { reason, .. } = &came.cards[0].health.state else {
        panic!("{:?}", came.cards[0])
    };
    assert!(reason.contains("link lost"), "{reason}");
}

#[tokio::test(start_paused = true)]
async fn a_result_is_never_tried_again() {
    let found = Canaries { same: 1, false_alarms: 1, slower: 1, found: 1 };
    let pretender = Pretender::with(&[("a", Manner { canaries: found, ..Manner::default() })]);
    let came = night(&pretender, &[job(0, "pi", 10)], vec![seat("a"), seat("b")], None).await;
    assert_eq!(pretender.did.borrow().len(), 1);
    assert_eq!(came.results.len(), 1);
    assert_eq!(came.cards[0].health.state.word(), "quarantined");
}

#[tokio::test(start_paused = true)]
async fn a_job_ends_after_so_many_attempts() {
    let pretender = Pretender::with(&[
        ("a", Manner { troubles: 2, probes_well: true, ..Manner::default() }),
        ("b", Manner { troubles: 2, probes_well: true, ..Manner::default() }),
    ]);
    let came = night(&pretender, &[job(0, "pi", 1)], vec![seat("a"), seat("b")], None).await;
    let result = came.results.values().next().unwrap();
    assert_eq!((result.attempt, result.outcome.word()), (3, "device trouble"));
}

#[tokio::test(start_paused = true)]
async fn a_device_that_does_not_answer_is_given_up_and_probed_again() {
    let pretender = Pretender::with(&[("a", Manner { silences: 3, ..Manner::default() })]);
    let came = night(&pretender, &[job(0, "a", 10)], vec![seat("a")], None).await;
    assert_eq!(*pretender.probes.borrow(), 1);
    assert!(came.took > MINUTE * 60 * 12, "it was quarantined for half a day: {:?}", came.took);
    assert_eq!(came.cards[0].health.state, State::Ready);
    let words: Vec<&str> = came
        .told
        .iter()
        .filter_map(|told| match told {
            Told::Card(card) => Some(card.health.state.word()),
            _ => None,
        })
        .collect();
    assert!(words.contains(&"offline") && words.contains(&"quarantined") && words.contains(&"busy"));
}

#[tokio::test(start_paused = true)]
async fn a_hot_device_is_waited_for() {
    let pretender = Pretender::with(&[("a", Manner { hot: 4, ..Manner::default() })]);
    let came = night(&pretender, &[job(0, "a", 10)], vec![seat("a")], None).await;
    assert_eq!(came.results.values().next().unwrap().attempt, 1);
    assert!(came.took >= MINUTE * 12 && came.took < MINUTE * 13, "{:?}", came.took);
    let pretender = Pretender::with(&[("a", Manner { hot: 999, ..Manner::default() })]);
    let came = night(&pretender, &[job(0, "pi", 10)], vec![seat("a"), seat("b")], None).await;
    assert_eq!(came.results.values().next().unwrap().device, "b");
    assert!(pretender.did.borrow().iter().all(|(device, ..)| device == "b"));
}

#[tokio::test(start_paused = true)]
async fn draining_ends_what_is_under_way_and_begins_nothing() {
    let pretender = Pretender::default();
    let jobs = [job(0, "a", 10), job(1, "a", 10)];
    let came = night(&pretender, &jobs, vec![seat("a")], Some((MINUTE * 5, Stop::Drain))).await;
    assert_eq!(came.results.len(), 1);
    assert_eq!(came.results.values().next().unwrap().outcome, JobOutcome::Measured);
}

#[tokio::test(start_paused = true)]
async fn cutting_gives_back_what_is_under_way() {
    let pretender = Pretender::default();
    let came = night(&pretender, &[job(0, "a", 10)], vec![seat("a")], Some((MINUTE * 5, Stop::Cut))).await;
    assert!(came.results.is_empty());
    assert_eq!(came.cards[0].health.strikes, 0, "nobody blames the device");
    assert!(
        came.told
            .iter()
            .any(|told| matches!(told, Told::GivenBack { reason, .. } if reason == "interrupted"))
    );
}

#[tokio::test(start_paused = true)]
async fn a_job_that_hangs_is_ended() {
    let pretender = Pretender::with(&[("a", Manner { hangs: true, ..Manner::default() })]);
    let came = night(&pretender, &[job(0, "pi", 10)], vec![seat("a"), seat("b")], None).await;
    let result = came.results.values().next().unwrap();
    assert_eq!(result.outcome, JobOutcome::Measured);
    assert_eq!((result.device.as_str(), result.attempt), ("b", 2));
}

#[tokio::test(start_paused = true)]
async fn time_budgets_and_blackouts_are_kept() {
    let pretender = Pretender::default();
    let jobs = [job(0, "a", 10), job(1, "a", 10), job(2, "a", 10)];
    let limited = Seat { budget: Some(MINUTE * 25), ..seat("a") };
    let came = night(&pretender, &jobs, vec![limited], None).await;
    assert_eq!(came.results[&jobs[2].id].outcome.word(), "not run");
    assert!(came.results[&jobs[2].id].outcome.reason().unwrap().contains("1500 s"));

    let pretender = Pretender::default();
    let began = Instant::now();
    let now = TimeZone::UTC.to_datetime(jiff::Timestamp::now());
    let window =
        format!("{:02}:{:02}-{:02}:{:02}", now.hour(), now.minute(), (now.hour() + 1) % 24, now.minute());
    let window: Window = window.parse().unwrap();
    let dark = Seat { blackout: Blackout::new(&[window], TimeZone::UTC), ..seat("a") };
    night(&pretender, &[job(0, "a", 10)], vec![dark], None).await;
    let did = pretender.did.borrow();
    assert_eq!(did.len(), 1);
    assert!(did[0].2.duration_since(began) > MINUTE * 58, "{:?}", did[0].2.duration_since(began));
}

#[tokio::test(start_paused = true)]
async fn another_version_is_not_measured() {
    let pretender = Pretender::default();
    let other = Job { version: "2".to_owned(), ..job(0, "a", 1) };
    let came = night(&pretender, &[other], vec![seat("a")], Some((MINUTE, Stop::Drain))).await;
    assert!(came.results.is_empty() && pretender.did.borrow().is_empty());
    let said =
        |told: &Told| matches!(told, Told::GivenBack { reason, .. } if reason.contains("install the same"));
    assert!(came.told.iter().any(said));
}
