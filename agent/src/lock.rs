//! One agent at a time in a working directory: two would measure each other. The lock is an `flock`, which
//! dies with its holder; the file also says who holds it and when that one last heard its host, so that a
//! holder that lost its host is told from one that works for another.

use crate::{clock, device::start_ticks, log};
use protocol::{HOST_SILENCE_LIMIT_MS, LOCK_FILE};
use rustix::{
    fs::{FlockOperation, flock},
    io::Errno,
    process::{Pid, Signal, kill_process},
};
use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read},
    os::unix::fs::{DirBuilderExt, FileExt},
    path::{Path, PathBuf},
};

/// How often a newcomer looks again; `flock` has no time limit of its own.
pub(crate) const RETRY_MS: u64 = 100;

/// A holder that should have ended by itself gets so much longer, then SIGTERM, and so much later SIGKILL.
const GRACE_MS: u64 = 2_000;

/// How often the holder notes when it heard its host. The host pings more often than this.
const NOTE_MS: u64 = 2_000;

/// Longest note; ours has three numbers.
const NOTE_BYTES: u64 = 100;

/// Where else an agent could be told to work: whoever reads this started it through a host, or by hand.
pub(crate) const ELSEWHERE: &str = "another folder is named by `cache` of the device in devices.toml, by \
    --cache for the local device, by --dir for an agent run by hand";

/// A lock held. It ends with the process.
pub(crate) struct Lock {
    file: File,
    ticks: u64,
    noted_ns: u64,
}

/// What stands in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Note {
    pid: i32,
    /// Start of that process in clock ticks since boot: with the pid, it names one process.
    ticks: u64,
    /// Monotonic.
    heard_ns: u64,
}

impl Lock {
    /// Notes when the host was last heard, if the last note is old enough.
    pub(crate) fn note(&mut self, heard_ns: u64) {
        if heard_ns.saturating_sub(self.noted_ns) >= clock::ms(NOTE_MS)
            && let Err(e) = self.write(heard_ns)
        {
            log::line(format_args!("{LOCK_FILE}: {e}"));
        }
    }

    fn write(&mut self, heard_ns: u64) -> io::Result<()> {
        self.noted_ns = heard_ns;
        let note = Note { pid: std::process::id().cast_signed(), ticks: self.ticks, heard_ns };
        self.file.write_all_at(note.text().as_bytes(), 0)
    }
}

impl Note {
    /// Fixed width: a later note always covers an earlier one.
    fn text(self) -> String {
        format!("{:010} {:020} {:020}\n", self.pid, self.ticks, self.heard_ns)
    }

    fn parse(text: &str) -> Option<Self> {
        let mut words = text.split_whitespace();
        let mut number = || words.next()?.parse().ok();
        let pid = i32::try_from(number()?).ok()?;
        Some(Self { pid, ticks: number()?, heard_ns: number()? })
    }

    /// Still the process that wrote this?
    fn alive(self) -> bool {
        start_ticks(self.pid) == Some(self.ticks)
    }

    fn signal(self, signal: Signal) {
        if self.alive()
            && let Some(pid) = Pid::from_raw(self.pid)
        {
            log::line(format_args!("ending agent {}, which has lost its host", self.pid));
            // It may be gone by now, or belong to somebody else: the next try will tell.
            kill_process(pid, signal).ok();
        }
    }
}

/// A lock that somebody wants.
pub(crate) struct Attempt {
    path: PathBuf,
    file: File,
    first: Option<Note>,
    begun_ns: u64,
    asked: bool,
    forced: bool,
}

/// How an attempt stands.
pub(crate) enum Step {
    Held(Lock),
    /// Try again in [`RETRY_MS`].
    Wait,
    /// Somebody else is at work; in words.
    Busy(String),
}

impl Attempt {
    /// Prepares to take the lock of a directory, which is made if need be.
    pub(crate) fn new(dir: &Path) -> io::Result<Self> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        let path = dir.join(LOCK_FILE);
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path)?;
        let begun_ns = clock::monotonic_ns();
        Ok(Self { path, file, first: None, begun_ns, asked: false, forced: false })
    }

    /// Tries once.
    pub(crate) fn step(&mut self) -> io::Result<Step> {
        match flock(&self.file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return self.held().map(Step::Held),
            Err(Errno::WOULDBLOCK) => {}
            Err(e) => return Err(e.into()),
        }
        let now = clock::monotonic_ns();
        let note = self.read()?;
        let since = |heard: u64| now.saturating_sub(heard) / 1_000_000;
        let Some(note) = note else {
            // Taken, but not signed yet: a newcomer as well.
            let waited = since(self.begun_ns);
            return Ok(if waited < GRACE_MS {
                Step::Wait
            } else {
                Step::Busy(self.busy("another agent", waited))
            });
        };
        let first = *self.first.get_or_insert(note);
        if first.pid != note.pid || first.heard_ns != note.heard_ns {
            return Ok(Step::Busy(self.busy(&format!("agent {}", note.pid), since(note.heard_ns))));
        }
        let silent = since(note.heard_ns).saturating_sub(HOST_SILENCE_LIMIT_MS);
        if silent > GRACE_MS && !self.asked {
            self.asked = true;
            note.signal(Signal::TERM);
        } else if silent > 2 * GRACE_MS && !self.forced && since(self.begun_ns) > GRACE_MS {
            self.forced = true;
            note.signal(Signal::KILL);
        } else if self.forced && since(self.begun_ns) > HOST_SILENCE_LIMIT_MS + 4 * GRACE_MS {
            return Ok(Step::Busy(self.busy(&format!("agent {}", note.pid), since(note.heard_ns))));
        }
        Ok(Step::Wait)
    }

    fn busy(&self, who: &str, heard_ms: u64) -> String {
        format!(
            "{}: {who} is measuring for another host, which it heard {heard_ms} ms ago; wait until it is done \
             or stop it: an agent in another folder would disturb it, and be disturbed ({ELSEWHERE})",
            self.path.display()
        )
    }

    fn read(&self) -> io::Result<Option<Note>> {
        let mut text = String::new();
        File::open(&self.path)?.take(NOTE_BYTES).read_to_string(&mut text)?;
        Ok(Note::parse(&text))
    }

    fn held(&self) -> io::Result<Lock> {
        let ticks = start_ticks(std::process::id().cast_signed()).unwrap_or_default();
        let mut lock = Lock { file: self.file.try_clone()?, ticks, noted_ns: 0 };
        // A lock without a note could never be told from one whose holder is lost.
        lock.write(clock::monotonic_ns())?;
        Ok(lock)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(dir: &Path) -> Step {
        Attempt::new(dir).unwrap().step().unwrap()
    }

    #[test]
    fn a_note_survives_its_text() {
        let note = Note { pid: 4242, ticks: 12_345_678, heard_ns: 987_654_321_000 };
        assert_eq!(Note::parse(&note.text()), Some(note));
        for bad in ["", "1 2", "x y z", "-5 1 1", "99999999999 1 1"] {
            assert_eq!(Note::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn the_second_waits_and_gets_it_when_the_first_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let Step::Held(lock) = step(dir.path()) else { panic!("a free lock is taken") };
        let mut second = Attempt::new(dir.path()).unwrap();
        assert!(matches!(second.step().unwrap(), Step::Wait));
        drop(lock);
        assert!(matches!(second.step().unwrap(), Step::Held(_)));
    }

    #[test]
    fn a_holder_that_still_hears_its_host_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let Step::Held(mut lock) = step(dir.path()) else { panic!("a free lock is taken") };
        let mut second = Attempt::new(dir.path()).unwrap();
        assert!(matches!(second.step().unwrap(), Step::Wait));
        lock.note(clock::monotonic_ns() + clock::ms(2 * NOTE_MS));
        let Step::Busy(words) = second.step().unwrap() else { panic!("the holder is alive") };
        assert!(words.contains("--dir") && words.contains(&std::process::id().to_string()), "{words}");
    }
}
