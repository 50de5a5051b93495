//! The few calls that need unsafe code: signals through a descriptor, resource usage, and marking
//! inherited descriptors. Decides nothing.
#![expect(unsafe_code, reason = "system calls that rustix does not offer; every block says why it holds")]

use rustix::{
    fd::{BorrowedFd, FromRawFd, OwnedFd, RawFd},
    io::{FdFlags, fcntl_setfd},
};
use std::{io, mem::MaybeUninit};

/// Signals that end an agent.
const ENDING: [i32; 3] = [libc::SIGHUP, libc::SIGINT, libc::SIGTERM];

fn ending_set() -> libc::sigset_t {
    let mut set = MaybeUninit::uninit();
    // SAFETY: sigemptyset initialises the set it is given, which is what makes `assume_init` true, and
    // sigaddset writes to an initialised set; the signal numbers are valid.
    unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        for signal in ENDING {
            libc::sigaddset(set.as_mut_ptr(), signal);
        }
        set.assume_init()
    }
}

/// From now on, signals that end an agent arrive as bytes on the descriptor instead.
///
/// # Errors
/// The system refuses.
pub(crate) fn signals_as_descriptor() -> io::Result<OwnedFd> {
    let set = ending_set();
    // SAFETY: both calls only read the set, which outlives them; a null old mask is allowed.
    let fd = unsafe {
        if libc::sigprocmask(libc::SIG_BLOCK, &set, std::ptr::null_mut()) != 0 {
            return Err(io::Error::last_os_error());
        }
        libc::signalfd(-1, &set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK)
    };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: signalfd has just made this descriptor, and nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// The number of a signal that has arrived on [`signals_as_descriptor`].
pub(crate) fn read_signal(fd: &OwnedFd) -> Option<i32> {
    let mut record = [0u8; size_of::<libc::signalfd_siginfo>()];
    let read = rustix::io::read(fd, &mut record).ok()?;
    let number = record.first_chunk::<4>().filter(|_| read == record.len())?;
    i32::try_from(u32::from_ne_bytes(*number)).ok()
}

/// Lets the ending signals act as they do by default: a worker is born with its supervisor's mask.
///
/// # Errors
/// The system refuses.
pub(crate) fn unblock_signals() -> io::Result<()> {
    let set = ending_set();
    // SAFETY: the call only reads the set, which outlives it; a null old mask is allowed.
    let result = unsafe { libc::sigprocmask(libc::SIG_UNBLOCK, &set, std::ptr::null_mut()) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Marks every descriptor above stderr to be closed when a worker starts, those included that this
/// process inherited from whoever started it without the mark.
///
/// # Errors
/// `/proc/self/fd` cannot be read.
pub(crate) fn close_descriptors_on_exec() -> io::Result<()> {
    for entry in std::fs::read_dir("/proc/self/fd")? {
        let Some(fd) = entry?.file_name().to_str().and_then(|name| name.parse::<RawFd>().ok()) else {
            continue;
        };
        if fd > 2 {
            // SAFETY: the descriptor is open now or has just been closed again (the one of the listing);
            // setting a flag on a number that is not open fails and touches nothing.
            let fd = unsafe { BorrowedFd::borrow_raw(fd) };
            match fcntl_setfd(fd, FdFlags::CLOEXEC) {
                Ok(()) | Err(rustix::io::Errno::BADF) => {}
                Err(e) => return Err(e.into()),
            }
        }
    }
    Ok(())
}

/// Involuntary context switches of this process so far, all threads together.
pub(crate) fn involuntary_switches() -> u64 {
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: getrusage writes one rusage to the address it is given, and all zeros is a valid rusage if
    // it should not.
    let usage = unsafe {
        libc::getrusage(libc::RUSAGE_SELF, usage.as_mut_ptr());
        usage.assume_init()
    };
    u64::try_from(usage.ru_nivcsw).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn switches_only_grow() {
        let before = involuntary_switches();
        assert!(involuntary_switches() >= before);
    }

    #[test]
    fn inherited_descriptors_get_the_mark() {
        let (reader, _writer) = rustix::pipe::pipe().unwrap();
        assert!(!rustix::io::fcntl_getfd(&reader).unwrap().contains(FdFlags::CLOEXEC));
        close_descriptors_on_exec().unwrap();
        assert!(rustix::io::fcntl_getfd(&reader).unwrap().contains(FdFlags::CLOEXEC));
    }
}
