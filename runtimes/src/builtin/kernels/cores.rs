//! Keeps the helpers of a session off the core of the thread that they help: a system that wakes them there lets both
//! take turns on it, and two threads are then slower than one.

use rustix::thread::{CpuSet, Pid, gettid, sched_getaffinity, sched_getcpu, sched_setaffinity};
use std::sync::atomic::{AtomicI32, AtomicUsize, Ordering};

/// Helpers, and where they may be.
#[derive(Debug)]
pub(crate) struct Cores {
    /// Cores of the thread that started the helpers.
    allowed: CpuSet,
    crowded: bool,
    /// The core that the helpers were last told to leave to their caller; at first none.
    taken: AtomicUsize,
    /// Helpers by the system's number for them, 0 until they run.
    helpers: Vec<AtomicI32>,
}

impl Cores {
    /// For so many helpers of the thread that calls this.
    pub(crate) fn new(helpers: usize) -> Self {
        let allowed = sched_getaffinity(None).unwrap_or_default();
        Self {
            allowed,
            crowded: allowed.count() as usize <= helpers,
            taken: AtomicUsize::new(usize::MAX),
            helpers: (0..helpers).map(|_| AtomicI32::new(0)).collect(),
        }
    }

    /// Whether there are fewer cores than threads.
    pub(crate) fn crowded(&self) -> bool {
        self.crowded
    }

    /// Called by every helper when it starts.
    pub(crate) fn join(&self, helper: usize) {
        self.helpers[helper].store(gettid().as_raw_nonzero().get(), Ordering::Relaxed);
    }

    /// Sends the helpers away from the core of the thread that calls this, if it has moved and there is another one.
    pub(crate) fn clear(&self) {
        let here = sched_getcpu();
        if self.taken.load(Ordering::Relaxed) == here || here >= CpuSet::MAX_CPU {
            return;
        }
        let mut others = self.allowed;
        others.unset(here);
        let mut started = true;
        for helper in self.helpers.iter().filter(|_| others.count() > 0) {
            match Pid::from_raw(helper.load(Ordering::Relaxed)) {
                // Where that is forbidden they stay where the system has them.
                Some(helper) => drop(sched_setaffinity(Some(helper), &others)),
                None => started = false,
            }
        }
        if started {
            self.taken.store(here, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;

    #[test]
    fn a_helper_leaves_the_core_of_its_caller() {
        let allowed = sched_getaffinity(None).unwrap();
        let cores = Cores::new(1);
        let (started, has_started) = channel();
        let (go, may_end) = channel::<()>();
        std::thread::scope(|scope| {
            let cores = &cores;
            let helper = scope.spawn(move || {
                cores.join(0);
                started.send(()).unwrap();
                may_end.recv().unwrap();
                sched_getaffinity(None).unwrap()
            });
            has_started.recv().unwrap();
            cores.clear();
            go.send(()).unwrap();
            let (left, taken) = (helper.join().unwrap(), cores.taken.load(Ordering::Relaxed));
            assert!(allowed.is_set(taken));
            if allowed.count() > 1 {
                assert!(!left.is_set(taken));
                assert_eq!(left.count(), allowed.count() - 1);
            } else {
                assert_eq!(left, allowed);
            }
        });
    }
}
