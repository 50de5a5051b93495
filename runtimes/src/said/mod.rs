//! What a library prints on stderr while it works, because some facts and most reasons stand nowhere else. All of
//! it still reaches the real stderr, afterwards, or at once when the library takes the process down. Does not know
//! what the words mean.

mod ffi;

use rustix::{
    fd::{AsFd, OwnedFd},
    fs::{MemfdFlags, memfd_create},
    io::fcntl_dupfd_cloexec,
};
use std::{
    fs::File,
    io::{self, Read, Seek, Write},
    sync::{Mutex, MutexGuard, PoisonError},
};

/// Most bytes that are looked at; a library has been seen to print some 100 KiB.
const MAX_BYTES: u64 = 1 << 20;
/// Most lines, the last ones, that an error repeats.
const MAX_LINES: usize = 6;
/// Longest of them, in characters.
const MAX_LINE: usize = 300;

/// A process has one stderr.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Does the work, and returns with it what was printed meanwhile. Where stderr cannot be listened to, that is
/// nothing.
pub(crate) fn listen<T>(work: impl FnOnce() -> T) -> (T, String) {
    let Ok(ear) = Ear::open() else { return (work(), String::new()) };
    let done = work();
    (done, ear.heard())
}

/// The lines of what was said that an error should repeat: not the chatter, and not too many.
pub(crate) fn reasons(said: &str) -> String {
    let chatter =
        |line: &str| line.is_empty() || ["INFO:", "VERBOSE:", "DEBUG:"].iter().any(|p| line.starts_with(p));
    let lines: Vec<String> = said
        .lines()
        .map(str::trim)
        .filter(|l| !chatter(l))
        .map(|l| l.chars().take(MAX_LINE).collect())
        .collect();
    lines[lines.len().saturating_sub(MAX_LINES)..].join("; ")
}

/// Stderr, led into memory for a while.
struct Ear {
    real: OwnedFd,
    memory: File,
    _last_words: ffi::LastWords,
    _alone: MutexGuard<'static, ()>,
}

impl Ear {
    fn open() -> io::Result<Self> {
        let alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        let memory = File::from(memfd_create("said", MemfdFlags::CLOEXEC)?);
        let real = fcntl_dupfd_cloexec(io::stderr().as_fd(), 3)?;
        let last_words = ffi::LastWords::of(&memory, &real);
        rustix::stdio::dup2_stderr(&memory)?;
        Ok(Self { real, memory, _last_words: last_words, _alone: alone })
    }

    fn heard(mut self) -> String {
        let mut bytes = Vec::new();
        let read = self.memory.rewind().and_then(|()| (&self.memory).take(MAX_BYTES).read_to_end(&mut bytes));
        if read.is_err() {
            bytes.clear();
        }
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

impl Drop for Ear {
    fn drop(&mut self) {
        let restored = rustix::stdio::dup2_stderr(&self.real).map_err(io::Error::from);
        let passed_on = restored
            .and_then(|()| self.memory.rewind())
            .and_then(|()| io::copy(&mut self.memory, &mut io::stderr()))
            .and_then(|_| io::stderr().flush());
        // What fails here can be said nowhere: this is stderr.
        drop(passed_on);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn print(text: &str) {
        rustix::io::write(rustix::stdio::stderr(), text.as_bytes()).unwrap();
    }

    #[test]
    fn what_is_printed_is_heard_once() {
        let (answer, said) = listen(|| {
            print("one\n");
            print("two\n");
            42
        });
        assert_eq!(answer, 42);
        assert!(said.contains("one\ntwo\n"), "{said:?}");
        let ((), said) = listen(|| print("three\n"));
        assert!(said.contains("three\n") && !said.contains("one"), "{said:?}");
    }

    #[test]
    #[ignore = "the next test starts it, because it ends its process"]
    fn a_library_aborts() {
        let work: fn() = || {
            print("last words\n");
            std::process::abort();
        };
        listen(work);
    }

    #[test]
    fn last_words_are_passed_on() {
        let ran = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "said::tests::a_library_aborts", "--ignored", "--nocapture"])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&ran.stderr);
        assert!(!ran.status.success() && said.contains("last words\n"), "{}: {said}", ran.status);
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&ran.status), Some(libc::SIGABRT));
    }

    #[test]
    fn reasons_are_what_is_no_chatter() {
        let said = "INFO: Created something.\n\nERROR: node 3\nnot prepared\nVERBOSE: x\n";
        assert_eq!(reasons(said), "ERROR: node 3; not prepared");
        let many: String = (0..100).map(|i| format!("line {i}\n")).collect();
        assert!(reasons(&many).starts_with("line 94; ") && reasons(&many).ends_with("line 99"));
        assert_eq!(reasons(&"x".repeat(9999)).len(), MAX_LINE);
        assert_eq!(reasons(""), "");
    }
}
