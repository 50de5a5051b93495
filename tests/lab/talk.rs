//! What `bench` says while it works, line by line, with the time at which each was said.

use crate::scene::Done;
use std::{
    io::{BufRead, BufReader, Read},
    process::{Child, Command},
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    thread,
    time::{Duration, Instant},
};

/// A `bench` that says nothing for so long has hung: the longest wait of its own, for a lost device, is a minute.
const SILENCE: Duration = Duration::from_secs(150);

/// A line of stderr.
#[derive(Clone, Debug)]
pub(crate) struct Said {
    pub(crate) at: Instant,
    pub(crate) line: String,
}

/// What was heard.
pub(crate) enum Look {
    Line(Said),
    Nothing,
    End,
}

/// The process that talks.
pub(crate) struct Talk {
    child: Child,
    lines: Receiver<Said>,
    pub(crate) said: Vec<Said>,
}

impl Talk {
    pub(crate) fn start(mut command: Command) -> Self {
        let mut child = command.spawn().unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (send, lines) = channel();
        thread::spawn(move || {
            for line in stderr.lines() {
                // nobody listens any more when this fails
                send.send(Said { at: Instant::now(), line: line.unwrap() }).ok();
            }
        });
        Self { child, lines, said: Vec::new() }
    }

    /// The next line; `None`: it has ended.
    #[track_caller]
    pub(crate) fn next(&mut self) -> Option<Said> {
        match self.look(SILENCE) {
            Look::Line(said) => Some(said),
            Look::End => None,
            Look::Nothing => panic!("silent for {SILENCE:?} after {}", self.text()),
        }
    }

    /// The next line, or the end, when it comes within that time.
    pub(crate) fn look(&mut self, time: Duration) -> Look {
        match self.lines.recv_timeout(time) {
            Ok(said) => {
                self.said.push(said.clone());
                Look::Line(said)
            }
            Err(RecvTimeoutError::Disconnected) => Look::End,
            Err(RecvTimeoutError::Timeout) => Look::Nothing,
        }
    }

    /// Reads on to a line that has all the words.
    #[track_caller]
    pub(crate) fn until(&mut self, words: &[&str]) {
        while let Some(said) = self.next() {
            if words.iter().all(|word| said.line.contains(word)) {
                return;
            }
        }
        panic!("ended before {words:?}: {}", self.text());
    }

    /// Whether it still runs.
    pub(crate) fn runs(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Waits for the end.
    #[track_caller]
    pub(crate) fn finish(mut self) -> Done {
        let stderr = self.rest();
        let mut stdout = String::new();
        self.child.stdout.take().unwrap().read_to_string(&mut stdout).unwrap();
        Done { code: self.child.wait().unwrap().code(), stdout, stderr }
    }

    /// All that it said to its end.
    pub(crate) fn rest(&mut self) -> String {
        while self.next().is_some() {}
        self.text()
    }

    fn text(&self) -> String {
        self.said.iter().map(|said| format!("{}\n", said.line)).collect()
    }
}

impl Drop for Talk {
    fn drop(&mut self) {
        // it has ended already, or the lab's end takes it along
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
