//! What one device does in a night: it is looked at, gets a job when it is fit for one, and hands the result over.
//! The same for devices of this process and for those of a worker on another host. Measures nothing itself: an
//! [`Executor`] does.

use crate::{
    device::{Canaries, DeviceCard, State},
    health::{Finding, HealthRules, Reading},
    job::{Job, JobOutcome, JobResult, Record},
    queue::{HEARTBEAT, Lease, Queue, QueueError, Taken},
    times::Blackout,
};
use jiff::Timestamp;
use std::time::Duration;
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, MissedTickBehavior, interval, sleep, timeout},
};

/// One that did not answer is looked at again after so long, twice as long each time.
const LOOK_AGAIN: Duration = Duration::from_secs(10);
/// A hot device is looked at so often.
const COOL_LOOK: Duration = Duration::from_secs(30);
/// A job that is given back waits so long: others come first, and its device has to come to its senses.
const RETRY_DELAY: Duration = Duration::from_secs(5);
/// A job that was told to end has so long to close its record.
const GRACE: Duration = Duration::from_secs(60);
/// Between two tries to hand a result over.
const FINISH_AGAIN: Duration = Duration::from_secs(5);

/// Who can measure on devices.
#[expect(async_fn_in_trait, reason = "one thread drives a farm: nothing has to be Send")]
pub trait Executor {
    /// Whether the device answers, and what it tells of itself.
    ///
    /// # Errors
    /// It does not answer, in words.
    async fn look(&self, device: &str) -> Result<Looked, String>;

    /// Does the job. When `cancel` grows, it ends soon and in good order.
    async fn measure(&self, device: &str, job: &Job, cancel: watch::Receiver<u32>) -> Execution;

    /// Measures something short with canaries, to see whether the device is well.
    ///
    /// # Errors
    /// What is wrong with it.
    async fn probe(&self, device: &str) -> Result<Canaries, String>;
}

/// What a look at a device finds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Looked {
    /// Board, phone or computer.
    pub model: Option<String>,
    /// Operating system with version.
    pub os: Option<String>,
    /// Charge and temperature.
    pub reading: Reading,
}

/// What came of a job.
#[derive(Clone, Debug, PartialEq)]
pub struct Execution {
    /// How it went.
    pub outcome: JobOutcome,
    /// Where its record is.
    pub record: Option<Record>,
    /// What its canary found.
    pub canaries: Canaries,
    /// It was told to end before its time.
    pub cancelled: bool,
}

/// What a worker tells whoever listens.
#[derive(Clone, Debug, PartialEq)]
pub enum Told {
    /// A device is now like this.
    Card(DeviceCard),
    /// A device has begun with a job.
    Begun {
        /// The device.
        device: String,
        /// The job.
        job: Job,
        /// The attempt, from 1.
        attempt: u32,
    },
    /// A job has ended, and was given back.
    GivenBack {
        /// The device.
        device: String,
        /// Why.
        reason: String,
    },
    /// Something that a person should know.
    Note {
        /// The device.
        device: String,
        /// What.
        words: String,
    },
}

/// How far everything is to go on. It only ever grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stop {
    /// On and on.
    Run,
    /// No new jobs: those under way come to their end.
    Drain,
    /// Jobs under way end as soon as they can.
    Cut,
}

impl Stop {
    /// What it is when somebody asks for an end once more.
    pub fn further(self) -> Self {
        if self == Self::Run { Self::Drain } else { Self::Cut }
    }

    /// For people: what becomes of jobs.
    pub fn words(self) -> &'static str {
        match self {
            Self::Run => "jobs are begun",
            Self::Drain => {
                "no new jobs: those under way come to their end; interrupt once more to cut them off"
            }
            Self::Cut => "jobs under way are cut off",
        }
    }
}

/// A device at work.
pub struct Seat {
    /// The device.
    pub card: DeviceCard,
    /// When it is left alone.
    pub blackout: Blackout,
    /// It may be used for so long.
    pub budget: Option<Duration>,
    /// It rests for so long after a job.
    pub rest: Duration,
}

/// What all devices of a process share.
pub struct Shop<'a, Q, E> {
    /// Where jobs come from.
    pub queue: &'a Q,
    /// Who measures.
    pub executor: &'a E,
    /// When a device is fit.
    pub rules: HealthRules,
    /// Who listens.
    pub told: mpsc::UnboundedSender<Told>,
    /// How far to go on.
    pub stop: watch::Receiver<Stop>,
    /// The wall clock.
    pub clock: Clock,
}

/// The wall clock, which goes as the monotonic one does.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    base: Timestamp,
    begun: Instant,
}

impl Clock {
    /// From now on.
    pub fn start() -> Self {
        Self { base: Timestamp::now(), begun: Instant::now() }
    }

    /// What time it is.
    pub fn now(&self) -> Timestamp {
        self.base.checked_add(self.begun.elapsed()).unwrap_or(self.base)
    }
}

/// Works until it is told to stop; says how the device is then.
pub async fn work<Q: Queue, E: Executor>(shop: &Shop<'_, Q, E>, seat: Seat) -> DeviceCard {
    let mut worker = Worker {
        shop,
        seat,
        used: Duration::ZERO,
        looks: 0,
        own_only: false,
        unsure: false,
        hot_since: None,
    };
    worker.show().await;
    while !worker.stopped(Stop::Drain) {
        worker.step().await;
    }
    worker.seat.card
}

struct Worker<'a, Q, E> {
    shop: &'a Shop<'a, Q, E>,
    seat: Seat,
    /// Time that its jobs took.
    used: Duration,
    /// Times in a row that it did not answer.
    looks: u32,
    /// Jobs that others may do as well are left to them.
    own_only: bool,
    /// It had trouble with a job: it gets no other before it has measured something short.
    unsure: bool,
    hot_since: Option<Instant>,
}

impl<Q: Queue, E: Executor> Worker<'_, Q, E> {
    fn stopped(&self, how: Stop) -> bool {
        *self.shop.stop.borrow() >= how
    }

    fn id(&self) -> &str {
        &self.seat.card.id
    }

    fn tell(&self, told: Told) {
        // whoever listened has gone: so will we
        self.shop.told.send(told).unwrap_or_default();
    }

    /// Tells everybody how the device is.
    async fn show(&mut self) {
        self.seat.card.at = self.shop.clock.now().to_string();
        self.tell(Told::Card(self.seat.card.clone()));
        if let Err(error) = self.shop.queue.announce(&self.seat.card).await {
            self.note(&format!("not announced: {error}"));
        }
    }

    fn note(&self, words: &str) {
        self.tell(Told::Note { device: self.id().to_owned(), words: words.to_owned() });
    }

    /// Waits, unless everything stops; the device is announced meanwhile.
    async fn wait(&mut self, mut time: Duration) {
        let mut stop = self.shop.stop.clone();
        while !time.is_zero() && !self.stopped(Stop::Drain) {
            let part = time.min(HEARTBEAT);
            tokio::select! {
                () = sleep(part) => {}
                _ = stop.changed() => {}
            }
            time = time.saturating_sub(part);
            self.show().await;
        }
    }

    async fn step(&mut self) {
        let now = self.shop.clock.now();
        match &self.seat.card.health.state {
            State::Quarantined { probe, .. } => {
                let due = probe.parse::<Timestamp>().unwrap_or(now);
                match Duration::try_from(due.duration_since(now)) {
                    Ok(left) if !left.is_zero() => self.wait(left).await,
                    _ => self.probe().await,
                }
            }
            State::Offline { .. } => {
                self.wait(LOOK_AGAIN * (1 << self.looks.min(6))).await;
                if self.look().await && self.unsure {
                    self.check().await;
                }
            }
            State::Ready | State::Busy { .. } => self.next().await,
        }
    }

    async fn take(&mut self, finding: Finding<'_>) {
        self.seat.card.health.take(&finding, &self.shop.rules, self.shop.clock.now());
        self.show().await;
    }

    async fn probe(&mut self) {
        let device = self.id().to_owned();
        let found = match self.shop.executor.look(&device).await {
            Ok(looked) => {
                self.see(looked).await;
                self.shop.executor.probe(&device).await
            }
            Err(why) => Err(why),
        };
        self.take(Finding::Probed(found.as_ref().map(|canaries| *canaries).map_err(String::as_str))).await;
    }

    /// Whether a device that had trouble can measure at all: one that cannot must not be given job after job.
    async fn check(&mut self) {
        let device = self.id().to_owned();
        match self.shop.executor.probe(&device).await {
            Ok(canaries) => {
                self.unsure = false;
                self.take(Finding::Checked(canaries)).await;
            }
            Err(why) => self.take(Finding::Silent(&why)).await,
        }
    }

    async fn see(&mut self, looked: Looked) {
        self.looks = 0;
        let card = &mut self.seat.card;
        card.model = looked.model.or(card.model.take());
        card.os = looked.os.or(card.os.take());
        self.take(Finding::Answered(looked.reading)).await;
    }

    /// Whether it answers and is fit.
    async fn look(&mut self) -> bool {
        let device = self.id().to_owned();
        match self.shop.executor.look(&device).await {
            Ok(looked) => self.see(looked).await,
            Err(why) => {
                self.looks += 1;
                self.take(Finding::Silent(&why)).await;
            }
        }
        self.seat.card.health.state == State::Ready
    }

    /// Waits for a job, and does it.
    async fn next(&mut self) {
        let classes = match self.own_only {
            true => vec![self.id().to_owned()],
            false => self.seat.card.classes(),
        };
        match self.shop.queue.take(&classes, HEARTBEAT).await {
            Ok(Some(taken)) => self.begin(taken).await,
            Ok(None) => self.show().await,
            Err(error) => {
                self.note(&error.to_string());
                self.wait(HEARTBEAT).await;
            }
        }
    }

    async fn begin(&mut self, taken: Taken) {
        if let Err(NotNow { why, later }) = self.may_begin(&taken).await {
            match later {
                Some(later) => self.give_back(&taken.lease, &why, later).await,
                None => self.finish(&taken, JobOutcome::NotRun { reason: why }, None, Duration::ZERO).await,
            }
            return;
        }
        self.seat.card.health.state = State::Busy { job: taken.job.id.to_string() };
        self.show().await;
        let device = self.id().to_owned();
        self.tell(Told::Begun { device, job: taken.job.clone(), attempt: taken.attempt });
        let began = Instant::now();
        let done = self.run(&taken).await;
        let took = began.elapsed();
        self.used += took;
        self.seat.card.health.state = State::Ready;
        if done.cancelled && self.stopped(Stop::Cut) {
            self.give_back(&taken.lease, "interrupted", Duration::ZERO).await;
            return;
        }
        self.take(Finding::Did { outcome: &done.outcome, canaries: done.canaries }).await;
        match &done.outcome {
            JobOutcome::DeviceTrouble { reason } if taken.attempt < self.shop.rules.attempts => {
                self.unsure = true;
                self.give_back(&taken.lease, reason, RETRY_DELAY).await;
            }
            _ => self.finish(&taken, done.outcome, done.record, took).await,
        }
        self.wait(self.seat.rest).await;
    }

    /// Whether this device may begin with the job now.
    async fn may_begin(&mut self, taken: &Taken) -> Result<(), NotNow> {
        let job = &taken.job;
        let length = Duration::from_millis(job.estimate_ms);
        let is_own = job.class == self.seat.card.id;
        if job.version != self.seat.card.version {
            let (theirs, ours) = (&job.version, &self.seat.card.version);
            let why =
                format!("it was planned by bench {theirs}, and here is {ours}: install the same everywhere");
            return Err(NotNow { why, later: Some(HEARTBEAT) });
        }
        if let Some(budget) = self.seat.budget.filter(|budget| self.used + length > *budget) {
            self.own_only = true;
            let why = format!("the time budget of the device, {} s, is used up", budget.as_secs());
            return Err(NotNow { why, later: (!is_own).then_some(Duration::ZERO) });
        }
        match self.seat.blackout.wait(self.shop.clock.now(), length) {
            None => {
                self.own_only = true;
                let why = "it fits nowhere between the blackout times of the device".to_owned();
                return Err(NotNow { why, later: (!is_own).then_some(Duration::ZERO) });
            }
            Some(time) if !time.is_zero() => {
                let why =
                    format!("blackout: the device is left alone for {} minutes more", time.as_secs() / 60);
                self.give_back(&taken.lease, &why, Duration::ZERO).await;
                self.wait(time).await;
                return Err(NotNow { why, later: Some(Duration::ZERO) });
            }
            Some(_) => {}
        }
        if !self.look().await {
            return Err(NotNow { why: "the device is not fit".to_owned(), later: Some(RETRY_DELAY) });
        }
        self.cool(&taken.lease).await
    }

    /// Waits until the device is cool, with the job in hand.
    async fn cool(&mut self, lease: &Lease) -> Result<(), NotNow> {
        while self.seat.card.health.is_hot(&self.shop.rules) {
            let since = *self.hot_since.get_or_insert_with(Instant::now);
            let stays = since.elapsed() >= self.shop.rules.cool_wait;
            if stays {
                self.hot_since = None;
                self.take(Finding::StaysHot).await;
            }
            if stays || self.stopped(Stop::Drain) {
                return Err(NotNow { why: "the device is too hot".to_owned(), later: Some(RETRY_DELAY) });
            }
            for _ in 0..COOL_LOOK.as_secs().div_ceil(HEARTBEAT.as_secs()) {
                self.wait(HEARTBEAT).await;
                self.extend(lease).await;
            }
            if !self.look().await {
                return Err(NotNow { why: "the device is not fit".to_owned(), later: Some(RETRY_DELAY) });
            }
        }
        self.hot_since = None;
        Ok(())
    }

    /// Does it, with the lease extended; within the time that it may take.
    async fn run(&mut self, taken: &Taken) -> Execution {
        let (cancel, cancelled) = watch::channel(0);
        let device = self.id().to_owned();
        let work = self.shop.executor.measure(&device, &taken.job, cancelled);
        tokio::pin!(work);
        // beside the work and never in its way: a queue that is slow must not hold up a measurement
        let beating = self.beat(&taken.lease);
        tokio::pin!(beating);
        let mut stop = self.shop.stop.clone();
        let limit = Duration::from_millis(taken.job.limit_ms);
        let over = sleep(limit);
        tokio::pin!(over);
        let reason = loop {
            tokio::select! {
                done = &mut work => return done,
                () = &mut beating => {}
                _ = stop.wait_for(|stop| *stop >= Stop::Cut) => break "interrupted".to_owned(),
                () = &mut over => break format!("not done within {} s", limit.as_secs()),
            }
        };
        cancel.send_replace(1);
        let late = Execution {
            outcome: JobOutcome::DeviceTrouble { reason },
            record: None,
            canaries: Canaries::default(),
            cancelled: true,
        };
        match timeout(GRACE, work).await {
            // what it says of itself is that it was interrupted: why is known here
            Ok(done) => Execution { record: done.record, ..late },
            Err(_) => late,
        }
    }

    /// Extends the lease and announces the device, without end.
    async fn beat(&self, lease: &Lease) {
        let mut beat = interval(HEARTBEAT);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        beat.tick().await;
        loop {
            beat.tick().await;
            self.extend(lease).await;
            let card = DeviceCard { at: self.shop.clock.now().to_string(), ..self.seat.card.clone() };
            if let Err(error) = self.shop.queue.announce(&card).await {
                self.note(&format!("not announced: {error}"));
            }
        }
    }

    async fn extend(&self, lease: &Lease) {
        match self.shop.queue.extend(lease).await {
            Ok(()) => {}
            // somebody else may be at it: whoever is done first counts, and the device is not idle for long
            Err(error @ QueueError::LeaseLost(_)) => self.note(&error.to_string()),
            Err(error) => self.note(&format!("the lease was not extended: {error}")),
        }
    }

    async fn give_back(&self, lease: &Lease, why: &str, delay: Duration) {
        self.tell(Told::GivenBack { device: self.id().to_owned(), reason: why.to_owned() });
        match self.shop.queue.give_back(lease, delay).await {
            Ok(()) | Err(QueueError::LeaseLost(_)) => {}
            Err(error) => self.note(&format!("the job comes back when its lease ends: {error}")),
        }
    }

    /// Hands the result over, again and again until the queue has it.
    async fn finish(&mut self, taken: &Taken, outcome: JobOutcome, record: Option<Record>, took: Duration) {
        let result = JobResult {
            job: taken.job.id.clone(),
            night: taken.job.night.clone(),
            host: self.seat.card.host.clone(),
            device: self.id().to_owned(),
            attempt: taken.attempt,
            outcome,
            record,
            took_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
            ended: self.shop.clock.now().to_string(),
        };
        loop {
            match self.shop.queue.finish(&taken.lease, &result).await {
                Ok(true) => return,
                Ok(false) => return self.note("its result was not needed: the job had one already"),
                Err(error) => {
                    self.note(&format!("the result is kept here until the queue takes it: {error}"))
                }
            }
            if self.stopped(Stop::Cut) {
                return;
            }
            sleep(FINISH_AGAIN).await;
            self.show().await;
        }
    }
}

/// Why a job is not begun.
struct NotNow {
    why: String,
    /// Somebody may try after so long; `None`: nobody can.
    later: Option<Duration>,
}
