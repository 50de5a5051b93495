//! Lets the last words of a library that aborts reach the real stderr.

#![expect(unsafe_code, reason = "signal actions; every block says why it holds")]

use rustix::fd::{AsFd, AsRawFd};
use std::{
    ffi::c_int,
    mem::MaybeUninit,
    ptr,
    sync::atomic::{AtomicI32, Ordering},
};

/// Signals by which a library takes its process down.
const DEADLY: [c_int; 5] = [libc::SIGABRT, libc::SIGSEGV, libc::SIGBUS, libc::SIGILL, libc::SIGFPE];

/// Where the words are, and where they are to go, for the signal handler: nothing else reaches it.
static MEMORY: AtomicI32 = AtomicI32::new(-1);
static REAL: AtomicI32 = AtomicI32::new(-1);

/// While it lives, a deadly signal first passes on what was said.
pub(super) struct LastWords {
    before: [MaybeUninit<libc::sigaction>; DEADLY.len()],
}

impl LastWords {
    /// Words written to `memory` are to go to `real`; both must outlive this.
    pub(super) fn of(memory: &impl AsFd, real: &impl AsFd) -> Self {
        MEMORY.store(memory.as_fd().as_raw_fd(), Ordering::SeqCst);
        REAL.store(real.as_fd().as_raw_fd(), Ordering::SeqCst);
        let mut before = [const { MaybeUninit::uninit() }; DEADLY.len()];
        for (signal, before) in DEADLY.iter().zip(&mut before) {
            // SAFETY: zeroes are a valid `sigaction`; the handler keeps to what a signal handler may call; a failure
            // is impossible for these signals and would leave things as they were.
            unsafe {
                let mut action: libc::sigaction = MaybeUninit::zeroed().assume_init();
                let handler: extern "C" fn(c_int) = pass_on;
                action.sa_sigaction = handler as libc::sighandler_t;
                // Once: when the handler returns, the signal does what it was to do. Stacks may have run out.
                action.sa_flags = libc::SA_RESETHAND | libc::SA_NODEFER | libc::SA_ONSTACK;
                libc::sigaction(*signal, &action, before.as_mut_ptr());
            }
        }
        Self { before }
    }
}

impl Drop for LastWords {
    fn drop(&mut self) {
        for (signal, before) in DEADLY.iter().zip(&self.before) {
            // SAFETY: `before` was filled in by the system when the handler was set.
            unsafe { libc::sigaction(*signal, before.as_ptr(), ptr::null_mut()) };
        }
        MEMORY.store(-1, Ordering::SeqCst);
        REAL.store(-1, Ordering::SeqCst);
    }
}

/// The handler. The signal is blocked no longer and has its usual action again, so what raised it goes on to die.
extern "C" fn pass_on(_signal: c_int) {
    let (memory, real) = (MEMORY.load(Ordering::SeqCst), REAL.load(Ordering::SeqCst));
    let mut buffer = [0u8; 1024];
    let mut at = 0;
    loop {
        // SAFETY: two system calls, allowed in a signal handler, on a buffer of that size.
        let (read, wrote) = unsafe {
            let read = libc::pread(memory, buffer.as_mut_ptr().cast(), buffer.len(), at);
            let wrote = if read > 0 { libc::write(real, buffer.as_ptr().cast(), read as usize) } else { 0 };
            (read, wrote)
        };
        if read <= 0 || wrote <= 0 {
            return;
        }
        at += wrote as libc::off_t;
    }
}
