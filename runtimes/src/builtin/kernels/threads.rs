//! A few threads that share the parts of one step. Which thread does which part is left to chance; what is computed is
//! not: every part writes results of its own, and no sum crosses parts.

use super::cores::Cores;
use super::memory::ALIGN;
use crate::{Error, Result};
use std::cell::UnsafeCell;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;

/// Turns that a worker waits before it sleeps: about a millisecond, longer than most steps that one thread does.
const TURNS: u32 = 30_000;
/// The same where there are fewer cores than threads: the thread that is waited for may need this one.
const CROWDED_TURNS: u32 = 2000;
/// There, turns before others are let onto the core. Elsewhere that would cost the rest of a time slice.
const ALONE: u32 = 200;

/// More threads than any model gains from.
const MAX_THREADS: usize = 16;

/// More parts than any step has.
const MAX_PARTS: usize = 1 << 30;

/// Bit of [`Shared::state`]: workers may join the job. Below it is the number of workers inside, above that of the job.
const OPEN: u64 = 1 << 16;
/// One job more.
const ROUND: u64 = 1 << 17;

/// The threads of a session, the caller's among them; a clone is the same threads.
#[derive(Clone, Debug)]
pub struct Threads(Option<Arc<Pool>>);

#[derive(Debug)]
struct Pool {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
}

/// A part by its number, on a thread by its number.
type Work = dyn Fn(usize, usize) + Sync;

struct Shared {
    state: AtomicU64,
    /// By thread.
    left: Vec<Left>,
    /// Written by the caller while the job is closed and nobody inside, read by those inside.
    job: UnsafeCell<Option<*const Work>>,
    sleepers: AtomicUsize,
    ended: AtomicBool,
    failed: AtomicBool,
    /// Somebody is in [`Threads::each`].
    busy: AtomicBool,
    cores: Cores,
    lock: Mutex<()>,
    wake: Condvar,
}

// SAFETY: `job` is written only while no worker is inside, see there, and the work it points to is `Sync`.
unsafe impl Send for Shared {}
// SAFETY: as above.
unsafe impl Sync for Shared {}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Shared")
    }
}

/// Leaves the job, also when it panics.
struct Inside<'a>(&'a Shared);

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.failed.store(true, Ordering::Relaxed);
        }
        self.0.state.fetch_sub(1, Ordering::Release);
    }
}

/// Parts of a job that nobody has taken, of those that a thread begins with: the first in the lower half, the end in the
/// upper. The same thread begins with the same share of every job, so that it finds in its cache what it made of the
/// step before.
#[derive(Debug)]
#[repr(align(128))]
struct Left(AtomicU64);

impl Left {
    fn set(&self, parts: Range<usize>) {
        self.0.store(parts.start as u64 | (parts.end as u64) << 32, Ordering::Relaxed);
    }

    /// Takes a part: the first, or the last for others than the thread itself.
    fn take(&self, first: bool) -> Option<usize> {
        let halves = |v: u64| (v & u64::from(u32::MAX), v >> 32);
        let less = |v: u64| {
            let (start, end) = halves(v);
            (start < end).then_some(if first { v + 1 } else { v - (1 << 32) })
        };
        let before = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).ok()?;
        let (start, end) = halves(before);
        Some(if first { start } else { end - 1 } as usize)
    }
}

impl Shared {
    /// One turn of waiting; whether there were enough of them.
    fn wait(&self, turns: &mut u32) -> bool {
        let crowded = self.cores.crowded();
        if crowded && *turns >= ALONE || *turns >= TURNS {
            std::thread::yield_now();
        } else {
            std::hint::spin_loop();
        }
        *turns = turns.saturating_add(1);
        *turns > if crowded { CROWDED_TURNS } else { TURNS }
    }

    /// Takes parts until none is left.
    ///
    /// # Safety
    /// The job stays what it is meanwhile.
    unsafe fn take_parts(&self, thread: usize) {
        // SAFETY: the caller's promise.
        let Some(work) = (unsafe { *self.job.get() }) else { return };
        for other in 0..self.left.len() {
            let left = &self.left[(thread + other) % self.left.len()];
            while let Some(part) = left.take(other == 0) {
                // SAFETY: `Threads::each` does not return before everybody has left the job.
                unsafe { (*work)(part, thread) };
            }
        }
    }

    fn work(&self, thread: usize) {
        self.cores.join(thread - 1);
        let (mut last, mut turns) = (0, 0);
        while !self.ended.load(Ordering::Relaxed) {
            let state = self.state.load(Ordering::SeqCst);
            if state & OPEN == 0 || state / ROUND == last {
                if self.wait(&mut turns) {
                    self.sleep(last);
                    turns = 0;
                }
                continue;
            }
            let joined = self.state.compare_exchange(state, state + 1, Ordering::AcqRel, Ordering::Relaxed);
            if joined.is_ok() {
                (last, turns) = (state / ROUND, 0);
                let _inside = Inside(self);
                // SAFETY: the caller waits until everybody has left.
                unsafe { self.take_parts(thread) };
            }
        }
    }

    fn sleep(&self, last: u64) {
        let mut guard = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        self.sleepers.fetch_add(1, Ordering::SeqCst);
        loop {
            let state = self.state.load(Ordering::SeqCst);
            let called = state & OPEN != 0 && state / ROUND != last;
            if called || self.ended.load(Ordering::SeqCst) {
                break;
            }
            guard = self.wake.wait(guard).unwrap_or_else(PoisonError::into_inner);
        }
        self.sleepers.fetch_sub(1, Ordering::SeqCst);
    }

    fn call(&self) {
        if self.sleepers.load(Ordering::SeqCst) > 0 {
            let _guard = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
            self.wake.notify_all();
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::SeqCst);
        self.shared.call();
        for worker in self.workers.drain(..) {
            // One that panicked has said so, and the caller has panicked too.
            drop(worker.join());
        }
    }
}

impl Threads {
    /// The caller's thread alone.
    pub fn one() -> Self {
        Self(None)
    }

    /// So many, the caller's among them.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn new(count: usize) -> Result<Self> {
        let count = count.min(MAX_THREADS);
        if count <= 1 {
            return Ok(Self::one());
        }
        let shared = Arc::new(Shared {
            state: AtomicU64::new(0),
            left: (0..count).map(|_| Left(AtomicU64::new(0))).collect(),
            job: UnsafeCell::new(None),
            sleepers: AtomicUsize::new(0),
            ended: AtomicBool::new(false),
            failed: AtomicBool::new(false),
            busy: AtomicBool::new(false),
            cores: Cores::new(count - 1),
            lock: Mutex::new(()),
            wake: Condvar::new(),
        });
        let mut pool = Pool { shared, workers: Vec::new() };
        for thread in 1..count {
            let shared = Arc::clone(&pool.shared);
            let worker = std::thread::Builder::new().name(format!("builtin {thread}"));
            let worker = worker.spawn(move || shared.work(thread));
            pool.workers.push(worker.map_err(|e| Error::Runtime(format!("no thread: {e}")))?);
        }
        Ok(Self(Some(Arc::new(pool))))
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.as_ref().map_or(1, |pool| pool.workers.len() + 1)
    }

    /// Does parts `0..parts`, each once, with the number of the thread that does it.
    ///
    /// # Panics
    /// A part panicked.
    pub(crate) fn each(&self, parts: usize, work: &(dyn Fn(usize, usize) + Sync)) {
        let shared = self.0.as_deref().map(|pool| &*pool.shared).filter(|_| parts > 1 && parts <= MAX_PARTS);
        // Where somebody is at it already, the threads have enough to do.
        let Some(shared) = shared.filter(|shared| !shared.busy.swap(true, Ordering::Acquire)) else {
            (0..parts).for_each(|part| work(part, 0));
            return;
        };
        // SAFETY: only the lifetime changes, and nobody calls it after the end of this function, see `Close`.
        let work = unsafe { std::mem::transmute::<&(dyn Fn(usize, usize) + Sync), &'static Work>(work) };
        // SAFETY: the last job was closed and left by everybody before `busy` was taken back, and it is ours now.
        unsafe { *shared.job.get() = Some(work) };
        let count = shared.left.len();
        let begin = |thread: usize| thread * parts / count;
        shared.left.iter().enumerate().for_each(|(thread, left)| left.set(begin(thread)..begin(thread + 1)));
        shared.cores.clear();
        shared.state.fetch_add(ROUND | OPEN, Ordering::SeqCst);
        shared.call();
        {
            let _close = Close(shared);
            // SAFETY: the job is replaced by the next call only.
            unsafe { shared.take_parts(0) };
        }
        assert!(!shared.failed.load(Ordering::Relaxed), "a part of a step panicked");
    }

    /// Cuts results and scratch memory into pieces and does every part with a piece of its own: `bounds` of the part in
    /// `y`, and a piece of `scratch` per thread.
    ///
    /// # Panics
    /// Bounds that overlap or are not in order, or a part panicked.
    pub(crate) fn split<T: Send>(
        &self,
        parts: usize,
        y: &mut [T],
        scratch: &mut [u8],
        bounds: impl Fn(usize) -> Range<usize> + Sync,
        work: impl Fn(usize, &mut [T], &mut [u8]) + Sync,
    ) {
        let mut end = 0;
        for part in 0..parts {
            let range = bounds(part);
            assert!(range.start >= end && range.end >= range.start && range.end <= y.len());
            end = range.end;
        }
        let piece = scratch.len() / self.count() / ALIGN * ALIGN;
        let (y, scratch) = (Start(y.as_mut_ptr()), Start(scratch.as_mut_ptr()));
        self.each(parts, &|part, thread| {
            let range = bounds(part);
            // SAFETY: parts' bounds do not overlap, as just checked, and every part is done once; every thread has a
            // piece of the scratch memory of its own.
            let (y, scratch) = unsafe {
                let y = std::slice::from_raw_parts_mut(y.get().add(range.start), range.len());
                (y, std::slice::from_raw_parts_mut(scratch.get().add(thread * piece), piece))
            };
            work(part, y, scratch);
        });
    }
}

/// Elementary operations below which a part is not worth handing over.
const PART_WORK: usize = 8 * 1024;
/// Parts per thread, so that none waits long for another.
const PER_THREAD: usize = 3;

/// Rows of a result that threads share, of the same length, computed each by itself.
#[derive(Clone, Debug)]
pub(crate) struct Shares {
    threads: Threads,
    rows: usize,
    /// Rows of a part; the last may have fewer.
    each: usize,
}

impl Shares {
    /// So many rows, each of so many elementary operations.
    pub(crate) fn new(threads: &Threads, rows: usize, work: usize) -> Self {
        let most = if threads.count() > 1 { threads.count() * PER_THREAD } else { 1 };
        let parts = (rows.saturating_mul(work) / PART_WORK).clamp(1, most);
        Self { threads: threads.clone(), rows, each: rows.div_ceil(parts).max(1) }
    }

    /// Calls `work` with the rows of every part and their results.
    ///
    /// # Panics
    /// `y` is not made of so many rows, or a part panicked.
    pub(crate) fn run<T: Send>(&self, y: &mut [T], work: &(dyn Fn(Range<usize>, &mut [T]) + Sync)) {
        let parts = self.rows.div_ceil(self.each);
        if parts <= 1 {
            return work(0..self.rows, y);
        }
        let length = y.len() / self.rows;
        assert_eq!(length * self.rows, y.len(), "results in {} rows", self.rows);
        let rows = |part: usize| part * self.each..self.rows.min((part + 1) * self.each);
        let bounds = |part: usize| rows(part).start * length..rows(part).end * length;
        self.threads.split(parts, y, &mut [], bounds, |part, y, _| work(rows(part), y));
    }
}

/// Closes a job and waits until everybody has left it, also when a part panics.
struct Close<'a>(&'a Shared);

impl Drop for Close<'_> {
    fn drop(&mut self) {
        self.0.state.fetch_and(!OPEN, Ordering::AcqRel);
        let mut turns = 0;
        while self.0.state.load(Ordering::Acquire) & (OPEN - 1) != 0 {
            self.0.wait(&mut turns);
        }
        self.0.busy.store(false, Ordering::Release);
    }
}

/// Where results begin that several threads write apart from each other.
pub(crate) struct Start<T>(pub(crate) *mut T);

impl<T> Clone for Start<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Start<T> {}

impl<T> Start<T> {
    /// The pointer.
    pub(crate) fn get(self) -> *mut T {
        self.0
    }
}

// SAFETY: an address; whoever writes through it promises not to overlap others.
unsafe impl<T: Send> Send for Start<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for Start<T> {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_is_done_once_whatever_the_number_of_threads() {
        for count in 1..5 {
            let threads = Threads::new(count).unwrap();
            for parts in 0..60 {
                let mut y = vec![0usize; parts * 3];
                let mut scratch = vec![0u8; 64 * count];
                threads.split(
                    parts,
                    &mut y,
                    &mut scratch,
                    |p| p * 3..p * 3 + 3,
                    |part, y, scratch| {
                        assert_eq!(scratch.len(), 64);
                        scratch.fill(part as u8);
                        y.iter_mut().for_each(|v| *v += usize::from(scratch[63]) + 1);
                    },
                );
                assert!(y.iter().enumerate().all(|(i, v)| *v == i / 3 + 1), "{count} {parts} {y:?}");
            }
        }
    }

    #[test]
    fn shares_are_the_rows_once_in_order() {
        for (count, rows, work) in [(1, 9, 1), (2, 0, 5), (2, 7, 100_000), (3, 50_000, 1), (4, 1, 1_000_000)]
        {
            let shares = Shares::new(&Threads::new(count).unwrap(), rows, work);
            let mut y = vec![(0, 0); rows * 2];
            shares.run(&mut y, &|part, y| {
                for (row, y) in part.zip(y.chunks_exact_mut(2)) {
                    y.iter_mut().for_each(|y| *y = (row, y.1 + 1));
                }
            });
            assert!(y.iter().enumerate().all(|(i, y)| *y == (i / 2, 1)), "{count} {rows}");
        }
        let shares = Shares::new(&Threads::new(2).unwrap(), 3, 1);
        shares.run(&mut [0; 3], &|part, _| assert_eq!(part, 0..3, "too little to share"));
    }

    #[test]
    fn a_part_that_panics_is_not_forgotten() {
        let threads = Threads::new(3).unwrap();
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            threads.each(50, &|part, _| assert!(part != 25));
        }));
        assert!(done.is_err());
    }

    #[test]
    #[should_panic(expected = "range.start >= end")]
    fn overlapping_pieces_are_refused() {
        Threads::one().split(2, &mut [0; 4], &mut [], |p| p..p + 2, |_, _: &mut [i32], _| {});
    }
}
