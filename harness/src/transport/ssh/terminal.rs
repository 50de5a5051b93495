//! Secrets: asked for on the terminal without being shown, or read from a file descriptor, and remembered for as
//! long as this process lives, so that a connection can be made again without asking. Never taken from the command
//! line or from the value of a variable, which others can read.

use rustix::{
    event::{PollFd, PollFlags, poll},
    process::{Signal, getpid, kill_process},
    termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr},
    time::Timespec,
};
use std::{
    collections::BTreeMap,
    env,
    fs::{File, OpenOptions},
    io::{self, Read, Write},
    sync::{
        Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

/// Asks a person; the error says why nobody could be asked.
pub(crate) type Ask = fn(question: &str) -> Result<String, String>;

/// Names the file descriptor from which the password is read.
pub(super) const PASSWORD_FD: &str = "BENCH_SSH_PASSWORD_FD";

/// A server waits 120 s for a login; a person who takes longer is not there.
const ANSWER_LIMIT: Timespec = Timespec { tv_sec: 110, tv_nsec: 0 };

/// Longer than any passphrase, short enough for a wrong descriptor to do no harm.
const MAX_SECRET: u64 = 4096;

/// Answers by question. Held while a person is asked: one question at a time, and never the same one twice.
static ANSWERS: Mutex<BTreeMap<String, String>> = Mutex::new(BTreeMap::new());

/// The terminal that shows nothing now, and how it was before. Not of the thread that asks: the process may end first.
static QUIETED: Mutex<Option<(File, Termios)>> = Mutex::new(None);

/// Makes the terminal as it was, whoever still asks. For the end of a command: what is typed after it must be seen.
pub(crate) fn restore() {
    let quieted = QUIETED.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some((terminal, before)) = quieted {
        // a terminal that is gone needs nothing
        tcsetattr(&terminal, OptionalActions::Flush, &before).unwrap_or_default();
    }
}

/// The answer to a question, from memory or from a person.
pub(super) fn secret(ask: Ask, question: &str) -> Result<String, String> {
    let mut answers = ANSWERS.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(answer) = answers.get(question) {
        return Ok(answer.clone());
    }
    let answer = ask(question)?;
    answers.insert(question.to_owned(), answer.clone());
    Ok(answer)
}

/// Forgets an answer that was wrong.
pub(super) fn forget(question: &str) {
    ANSWERS.lock().unwrap_or_else(PoisonError::into_inner).remove(question);
}

/// The password that was handed over by descriptor, where one was; it can be read once.
pub(super) fn handed_over() -> Option<Result<String, String>> {
    static READ: OnceLock<Option<Result<String, String>>> = OnceLock::new();
    READ.get_or_init(|| {
        let descriptor = env::var(PASSWORD_FD).ok()?;
        Some(read_descriptor(&descriptor).map_err(|e| format!("{PASSWORD_FD}={descriptor:?}: {e}")))
    })
    .clone()
}

fn read_descriptor(descriptor: &str) -> io::Result<String> {
    let number: u32 = descriptor.parse().map_err(|_| io::Error::other("this is no number"))?;
    let mut text = String::new();
    File::open(format!("/dev/fd/{number}"))?.take(MAX_SECRET).read_to_string(&mut text)?;
    let line = text.lines().next().unwrap_or_default();
    if line.is_empty() { Err(io::Error::other("nothing could be read from it")) } else { Ok(line.to_owned()) }
}

/// Whoever draws on the terminal meanwhile: told `true` before a question, and `false` after it.
type Screen = Box<dyn Fn(bool) + Send>;

static SCREEN: Mutex<Option<Screen>> = Mutex::new(None);

/// A question is open: time that is not a device's.
static ASKING: AtomicBool = AtomicBool::new(false);

/// Somebody does not want to be asked any more.
static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Has `screen` told about questions.
pub(crate) fn share_screen(screen: Screen) {
    *SCREEN.lock().unwrap_or_else(PoisonError::into_inner) = Some(screen);
}

/// Whether a question is open.
pub(crate) fn is_asking() -> bool {
    ASKING.load(Ordering::Acquire)
}

/// A question that is open for as long as this lives.
struct Open;

impl Open {
    fn new() -> Self {
        ASKING.store(true, Ordering::Release);
        Self::tell(true);
        Self
    }

    fn tell(open: bool) {
        if let Some(screen) = &*SCREEN.lock().unwrap_or_else(PoisonError::into_inner) {
            screen(open);
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        Self::tell(false);
        ASKING.store(false, Ordering::Release);
    }
}

/// Asks on the terminal of this process, without showing what is typed.
pub(super) fn ask(question: &str) -> Result<String, String> {
    if INTERRUPTED.load(Ordering::Acquire) {
        return Err("interrupted".to_owned());
    }
    let _open = Open::new();
    let terminal = OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/tty")
        .map_err(|_| "there is no terminal to ask on".to_owned())?;
    let failed = |e: io::Error| format!("the terminal cannot be used: {e}");
    let mut quiet = Quiet::new(terminal).map_err(failed)?;
    quiet.terminal.write_all(format!("{question}: ").as_bytes()).map_err(failed)?;
    let answer = quiet.line().map_err(failed)?;
    quiet.terminal.write_all(b"\n").map_err(failed)?;
    match answer {
        Typed::Line(line) => Ok(line),
        Typed::Nothing => Err("nothing was typed".to_owned()),
        Typed::Interrupt => {
            INTERRUPTED.store(true, Ordering::Release);
            // what the terminal would have done with this key
            kill_process(getpid(), Signal::INT).map_err(|e| failed(e.into()))?;
            Err("interrupted".to_owned())
        }
    }
}

/// What came of a question.
#[derive(Debug, PartialEq, Eq)]
enum Typed {
    Line(String),
    Nothing,
    Interrupt,
}

/// A terminal that shows nothing and takes Ctrl-C as a letter, until it is dropped.
struct Quiet {
    terminal: File,
}

impl Quiet {
    fn new(terminal: File) -> io::Result<Self> {
        let before = tcgetattr(&terminal)?;
        let mut now = before.clone();
        now.local_modes.remove(LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG);
        now.special_codes[SpecialCodeIndex::VMIN] = 1;
        now.special_codes[SpecialCodeIndex::VTIME] = 0;
        *QUIETED.lock().unwrap_or_else(PoisonError::into_inner) = Some((terminal.try_clone()?, before));
        let quiet = Self { terminal };
        tcsetattr(&quiet.terminal, OptionalActions::Flush, &now)?;
        Ok(quiet)
    }

    /// What is typed until the line ends.
    fn line(&mut self) -> io::Result<Typed> {
        const ETX: u8 = 3;
        const EOT: u8 = 4;
        const BACKSPACE: u8 = 8;
        const KILL: u8 = 21;
        const DELETE: u8 = 127;
        let mut typed = Vec::new();
        loop {
            let mut ready = [PollFd::new(&self.terminal, PollFlags::IN)];
            if poll(&mut ready, Some(&ANSWER_LIMIT))? == 0 {
                return Ok(Typed::Nothing);
            }
            let mut byte = [0];
            if self.terminal.read(&mut byte)? == 0 {
                return Ok(Typed::Nothing);
            }
            match byte {
                [b'\n' | b'\r'] => return Ok(String::from_utf8(typed).map_or(Typed::Nothing, Typed::Line)),
                [ETX] => return Ok(Typed::Interrupt),
                [EOT] => return Ok(Typed::Nothing),
                [BACKSPACE | DELETE] => {
                    // a letter may have several bytes
                    while typed.pop().is_some_and(|b| b & 0xc0 == 0x80) {}
                }
                [KILL] => typed.clear(),
                [other] if typed.len() < MAX_SECRET as usize => typed.push(other),
                _ => {}
            }
        }
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        restore();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_is_asked_once_until_its_answer_was_wrong() {
        let question = "the passphrase of a test";
        assert_eq!(secret(|_| Ok("first".to_owned()), question).as_deref(), Ok("first"));
        assert_eq!(secret(|_| Err("asked again".to_owned()), question).as_deref(), Ok("first"));
        forget(question);
        assert!(secret(|_| Err("asked again".to_owned()), question).is_err());
    }

    #[test]
    fn a_terminal_shows_again_what_is_typed_while_somebody_still_asks() {
        let terminal = OpenOptions::new().read(true).write(true).open("/dev/ptmx").unwrap();
        let shows = || tcgetattr(&terminal).unwrap().local_modes.contains(LocalModes::ECHO);
        let asking = Quiet::new(terminal.try_clone().unwrap()).unwrap();
        assert!(!shows());
        restore();
        assert!(shows());
        drop(asking);
        assert!(shows());
        drop(Quiet::new(terminal.try_clone().unwrap()).unwrap());
        assert!(shows(), "and at the usual end");
    }

    #[test]
    fn a_descriptor_is_named_when_it_gives_nothing() {
        for bad in ["x", "-1", "../null", "987654"] {
            assert!(read_descriptor(bad).is_err(), "{bad}");
        }
    }
}
