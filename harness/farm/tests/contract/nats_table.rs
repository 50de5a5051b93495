//! Faults under load, one after the other: what is lost, what counts twice, how long it takes until the work goes on.
//! With `BENCH_NATS_TABLE=FILE`, in the product's own lease, writes the table of `harness/farm/NATS.md`.

use crate::{
    checks::{class, job, result},
    link::Link,
    nats::options,
    server::NatsServer,
};
use farm::{
    job::{Job, JobId, JobResult},
    queue::{
        Queue,
        nats::{Limits, NatsOptions, NatsQueue},
    },
};
use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    fmt::Write,
    rc::Rc,
    time::Duration,
};
use tokio::{
    sync::Notify,
    task::{JoinHandle, LocalSet, spawn_local},
    time::{Instant, sleep, timeout},
};

/// Jobs of a scenario.
const JOBS: u64 = 60;
/// A job takes so long.
const WORK: Duration = Duration::from_millis(200);
/// Results before something goes wrong.
const BEFORE: usize = 10;
/// A server or link that is gone stays so for so many leases.
const GONE: f64 = 0.5;
/// Nothing takes longer than this.
const END: Duration = Duration::from_secs(400);

/// What goes wrong.
#[derive(Clone, Copy, PartialEq)]
enum Fault {
    Nothing,
    Worker,
    Server,
    ShortCut,
    LongCut,
    Collector,
    Twice,
}

const FAULTS: [(Fault, &str); 7] = [
    (Fault::Nothing, "nothing"),
    (Fault::Worker, "a worker is killed with a job in hand"),
    (Fault::Server, "kill -9 of the server, and a start after half a lease"),
    (Fault::ShortCut, "the link of a worker is cut for half a lease"),
    (Fault::LongCut, "the link of a worker is cut for two leases"),
    (Fault::Collector, "who collects is killed and comes back"),
    (Fault::Twice, "every job is offered twice, and a worker extends no lease"),
];

/// What everybody sees.
#[derive(Default)]
struct Board {
    /// How often each job was begun, and by whom last.
    begun: RefCell<BTreeMap<JobId, u32>>,
    /// Results that were said to count.
    counted: RefCell<BTreeMap<JobId, u32>>,
    /// When each result was collected, first and how often.
    collected: RefCell<BTreeMap<JobId, (Instant, u32)>>,
    changed: Notify,
    /// Pieces of work that were done.
    pieces: Cell<u64>,
    over: Cell<bool>,
}

/// One worker: takes, works, hands over, until it is over. It cannot give up.
fn worker(
    options: NatsOptions,
    board: Rc<Board>,
    in_hand: Rc<RefCell<Option<JobId>>>,
    slow: Duration,
) -> JoinHandle<()> {
    spawn_local(async move {
        let Ok(queue) = NatsQueue::connect(&options).await else { return };
        while !board.over.get() {
            let Ok(Some(taken)) = queue.take(&class("pi"), Duration::from_secs(1)).await else { continue };
            *board.begun.borrow_mut().entry(taken.job.id.clone()).or_default() += 1;
            *in_hand.borrow_mut() = Some(taken.job.id.clone());
            board.changed.notify_waiters();
            sleep(slow).await;
            // no two pieces of work have the same result: who is told that it counts is the only one
            board.pieces.set(board.pieces.get() + 1);
            let done = JobResult { took_ms: board.pieces.get(), ..result(&taken.job, taken.attempt) };
            let counts = loop {
                match queue.finish(&taken.lease, &done).await {
                    Ok(counts) => break counts,
                    Err(_) => sleep(Duration::from_millis(100)).await,
                }
            };
            *in_hand.borrow_mut() = None;
            *board.counted.borrow_mut().entry(taken.job.id.clone()).or_default() += u32::from(counts);
            board.changed.notify_waiters();
        }
    })
}

fn collector(options: NatsOptions, board: Rc<Board>) -> JoinHandle<()> {
    spawn_local(async move {
        let Ok(queue) = NatsQueue::connect(&options).await else { return };
        while !board.over.get() {
            let Ok(Some(result)) = queue.result("n1", Duration::from_secs(1)).await else { continue };
            board.collected.borrow_mut().entry(result.job.clone()).or_insert((Instant::now(), 0)).1 += 1;
            board.changed.notify_waiters();
            queue.collected(&result.job).await.unwrap_or_default();
        }
    })
}

impl Board {
    /// Waits until something is so.
    async fn until(&self, so: impl Fn(&Self) -> bool) {
        let waited = timeout(END, async {
            loop {
                let changed = self.changed.notified();
                if so(self) {
                    return;
                }
                changed.await;
            }
        });
        waited.await.unwrap();
    }

    fn results(&self) -> usize {
        self.collected.borrow().len()
    }
}

/// One line of the table.
struct Line {
    lost: usize,
    doubled: usize,
    repeated: usize,
    /// Until the first result after the fault, or the one that it hit.
    recovered: Duration,
    took: Duration,
}

async fn scenario(server: &mut NatsServer, fault: Fault, farm: &str, lease: Duration) -> Line {
    let limits = Limits { lease, ..Limits::default() };
    let near = NatsOptions { limits, ..options(&server.url(), farm) };
    let link = Link::to(server.port());
    let far = NatsOptions { url: link.url(), ..near.clone() };
    let board = Rc::new(Board::default());
    let jobs: Vec<Job> = (0..JOBS).map(|n| job(n, "pi")).collect();
    let planner = NatsQueue::connect(&near).await.unwrap();
    planner.offer(&jobs).await.unwrap();
    let began = Instant::now();
    let hand = Rc::new(RefCell::new(None));
    // this one is hit
    let slow = if fault == Fault::Twice { lease * 3 / 2 } else { WORK };
    let hit = worker(far.clone(), Rc::clone(&board), Rc::clone(&hand), slow);
    let others: Vec<_> =
        (0..3).map(|_| worker(near.clone(), Rc::clone(&board), Rc::default(), WORK)).collect();
    let mut collecting = collector(near.clone(), Rc::clone(&board));
    board.until(|board| board.results() >= BEFORE && hand.borrow().is_some()).await;

    let since = Instant::now();
    let hit_job = hand.borrow().clone();
    match fault {
        Fault::Nothing => {}
        Fault::Worker => hit.abort(),
        Fault::Server => {
            server.kill();
            sleep(lease.mul_f64(GONE)).await;
            server.again();
        }
        Fault::ShortCut | Fault::LongCut => {
            link.cut();
            let gone = if fault == Fault::LongCut { 2.0 } else { GONE };
            sleep(lease.mul_f64(gone)).await;
            link.mend();
        }
        Fault::Collector => {
            collecting.abort();
            collecting = collector(near.clone(), Rc::clone(&board));
        }
        Fault::Twice => {
            assert_eq!(planner.offer(&jobs).await.unwrap(), 0);
        }
    }
    board.until(|board| board.results() == jobs.len()).await;
    let took = began.elapsed();
    // whoever still works on something that has a result says so before we count
    board.until(|board| hit.is_finished() || hand.borrow().is_none() || board.over.get()).await;
    board.over.set(true);
    for task in others.into_iter().chain([hit, collecting]) {
        match timeout(END, task).await.unwrap() {
            Ok(()) => {}
            Err(error) => assert!(error.is_cancelled(), "{error}"),
        }
    }
    line(&board, &jobs, since, hit_job, fault, took)
}

/// What the board says in the end.
fn line(
    board: &Board,
    jobs: &[Job],
    since: Instant,
    hit: Option<JobId>,
    fault: Fault,
    took: Duration,
) -> Line {
    let (collected, counted) = (board.collected.borrow(), board.counted.borrow());
    let first = collected.values().map(|(at, _)| *at).filter(|at| *at > since).min();
    let of_hit = hit.and_then(|job| collected.get(&job)).map(|(at, _)| *at).filter(|at| *at > since);
    let recovered = match fault {
        Fault::Server | Fault::Collector => first,
        _ => of_hit.or(first),
    };
    Line {
        lost: jobs.iter().filter(|job| !collected.contains_key(&job.id)).count(),
        doubled: counted.values().filter(|n| **n > 1).count(),
        repeated: board.begun.borrow().values().filter(|n| **n > 1).count(),
        recovered: recovered.map_or(Duration::ZERO, |at| at - since),
        took,
    }
}

#[tokio::test]
async fn nothing_is_lost_and_nothing_counts_twice() {
    let Some(mut server) = NatsServer::start("the table of faults of NATS", "") else { return };
    let file = std::env::var_os("BENCH_NATS_TABLE");
    let lease = if file.is_some() { Limits::default().lease } else { crate::nats::TEST_LEASE };
    let mut table = String::from(
        "| fault | jobs | lost | counted twice | measured twice | seconds to recover | seconds in all |\n\
         |---|---:|---:|---:|---:|---:|---:|\n",
    );
    for (number, (fault, name)) in FAULTS.into_iter().enumerate() {
        let farm = format!("table{number}");
        let line = LocalSet::new().run_until(scenario(&mut server, fault, &farm, lease)).await;
        assert_eq!((line.lost, line.doubled), (0, 0), "{name}");
        let (recovered, took) = (line.recovered.as_secs_f64(), line.took.as_secs_f64());
        writeln!(
            table,
            "| {name} | {JOBS} | {} | {} | {} | {recovered:.1} | {took:.1} |",
            line.lost, line.doubled, line.repeated
        )
        .unwrap();
    }
    println!("{table}");
    if let Some(file) = file {
        std::fs::write(file, table).unwrap();
    }
}
