//! The supervisor's one place of waiting: host messages, signals, workers and deadlines, on one thread
//! with one `poll`. Keeps the conversation with the host; measures nothing and starts nothing.
//!
//! While a worker measures, this process sleeps in `poll`. It wakes when the worker reports, when the host
//! sends its ping, and at most every [`PING_INTERVAL_MS`] to beat, if nothing else was written meanwhile.
//! Events of a burst are held back until [`Hub::flush`], so that nothing is sent while the next burst runs.

use crate::{clock, lock::Lock, log, sys};
use protocol::{
    AgentMessage, FrameError, HOST_SILENCE_LIMIT_MS, HostMessage, LineBuffer, MAX_LINE_BYTES, MAX_QUEUE,
    PING_INTERVAL_MS, PROTOCOL_VERSION, UnitId, encode, encode_into,
};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fd::{AsFd, BorrowedFd, OwnedFd},
    io::Errno,
};
use std::{collections::VecDeque, fmt, io, mem};

/// Bytes taken from a descriptor at once.
pub(crate) const CHUNK: usize = 64 << 10;

/// A pipe that reports room takes at least so many bytes without blocking (`PIPE_BUF` on Linux).
const PIPE_ROOM: usize = 4096;

/// Held events are sent when they reach this size, burst or no burst.
const HOLD_BYTES: usize = 1 << 20;

/// Why the agent ends.
#[derive(Debug)]
pub(crate) enum End {
    /// The host is done.
    Bye,
    /// The host is gone.
    Gone(String),
    /// The host does not speak this protocol.
    Protocol(String),
    /// A signal asked for it.
    Signal(i32),
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bye => f.write_str("done"),
            Self::Gone(why) => write!(f, "host lost: {why}"),
            Self::Protocol(why) => f.write_str(why),
            Self::Signal(number) => write!(f, "ended by signal {number}"),
        }
    }
}

/// What woke the supervisor.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Wake {
    /// The worker at this position of the list has something to say, or is gone.
    Worker(usize),
    /// The host wants the unit to stop.
    Cancelled,
    /// The time that was asked for has come.
    Time,
    /// A request waits, or there will be none any more.
    Request,
}

/// A request of the host that takes time.
#[derive(Debug)]
pub(crate) enum Request {
    Run(Box<protocol::UnitSpec>),
    /// And what to run it on.
    Inspect(protocol::Artifact, Option<protocol::Observation>),
}

/// The conversation with the host.
pub(crate) struct Hub {
    signals: OwnedFd,
    lines: LineBuffer,
    chunk: Vec<u8>,
    held: Vec<u8>,
    queue: VecDeque<Request>,
    /// The answer to the host's hello, which may be a refusal; gone once it is given.
    hello: Option<Box<AgentMessage>>,
    /// A request is being worked on: beat, and take a cancel.
    busy: bool,
    cancelled: bool,
    /// Requests at the front of the queue that have been cancelled while they waited.
    to_cancel: usize,
    bye: bool,
    closed: bool,
    heard_ns: u64,
    written_ns: u64,
    /// Held from the first unit on.
    pub(crate) lock: Option<Lock>,
}

impl Hub {
    /// Nothing heard yet; `hello` is the answer to the host's hello. A refusal is the last thing said.
    ///
    /// # Errors
    /// Signals cannot be redirected.
    pub(crate) fn new(hello: AgentMessage) -> io::Result<Self> {
        let now = clock::monotonic_ns();
        Ok(Self {
            signals: sys::signals_as_descriptor()?,
            lines: LineBuffer::default(),
            chunk: vec![0; CHUNK],
            held: Vec::new(),
            queue: VecDeque::new(),
            hello: Some(Box::new(hello)),
            busy: false,
            cancelled: false,
            to_cancel: 0,
            bye: false,
            closed: false,
            heard_ns: now,
            written_ns: now,
            lock: None,
        })
    }

    /// The next request; the one before is done.
    pub(crate) fn next_request(&mut self) -> Result<Request, End> {
        self.busy = false;
        loop {
            if let Some(request) = self.queue.pop_front() {
                self.busy = true;
                self.cancelled = self.to_cancel > 0;
                self.to_cancel = self.to_cancel.saturating_sub(1);
                return Ok(request);
            }
            if self.bye {
                return Err(End::Bye);
            }
            self.wait(&[], None)?;
        }
    }

    /// Sleeps until something happens or `until` (monotonic) has come.
    pub(crate) fn wait(&mut self, workers: &[BorrowedFd<'_>], until: Option<u64>) -> Result<Wake, End> {
        loop {
            let now = clock::monotonic_ns();
            if let Some(lock) = &mut self.lock {
                // After its goodbye the host has given leave to go on alone.
                lock.note(if self.bye { now } else { self.heard_ns });
            }
            let mut next = until.unwrap_or(u64::MAX);
            if !self.bye {
                let mut limit = self.heard_ns.saturating_add(clock::ms(HOST_SILENCE_LIMIT_MS));
                if now >= limit {
                    // It may have been this process that was away: what has arrived meanwhile counts.
                    self.poll(&[], Some(0))?;
                    limit = self.heard_ns.saturating_add(clock::ms(HOST_SILENCE_LIMIT_MS));
                }
                if now >= limit && !self.bye {
                    return Err(End::Gone(format!("nothing heard for {HOST_SILENCE_LIMIT_MS} ms")));
                }
                next = next.min(limit);
            }
            if self.busy {
                let beat = self.written_ns.saturating_add(clock::ms(PING_INTERVAL_MS));
                if now >= beat {
                    self.send(&AgentMessage::Heartbeat)?;
                    continue;
                }
                next = next.min(beat);
            }
            if mem::take(&mut self.cancelled) {
                return Ok(Wake::Cancelled);
            }
            if !self.busy && (self.bye || !self.queue.is_empty()) {
                return Ok(Wake::Request);
            }
            if until.is_some_and(|until| now >= until) {
                return Ok(Wake::Time);
            }
            let left = (next != u64::MAX).then(|| next.saturating_sub(now));
            if let Some(worker) = self.poll(workers, left)? {
                return Ok(Wake::Worker(worker));
            }
        }
    }

    /// Reads what the host has sent; the worker that has something to say, if one has.
    fn poll(&mut self, workers: &[BorrowedFd<'_>], wait_ns: Option<u64>) -> Result<Option<usize>, End> {
        let stdin = io::stdin();
        let wanted = if self.closed { PollFlags::empty() } else { PollFlags::IN };
        let mut fds =
            vec![PollFd::new(&self.signals, PollFlags::IN), PollFd::from_borrowed_fd(stdin.as_fd(), wanted)];
        fds.extend(workers.iter().map(|fd| PollFd::from_borrowed_fd(*fd, PollFlags::IN)));
        wait_for(&mut fds, wait_ns).map_err(|e| End::Gone(format!("poll failed: {e}")))?;
        let ready: Vec<bool> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
        drop(fds);
        if ready.first() == Some(&true)
            && let Some(number) = sys::read_signal(&self.signals)
        {
            return Err(End::Signal(number));
        }
        if ready.get(1) == Some(&true) && !self.closed {
            self.read_host()?;
        }
        Ok(ready.iter().skip(2).position(|ready| *ready))
    }

    fn read_host(&mut self) -> Result<(), End> {
        let mut chunk = mem::take(&mut self.chunk);
        let read = rustix::io::read(io::stdin().as_fd(), &mut chunk);
        let taken = read.map(|n| self.lines.extend(chunk.get(..n).unwrap_or_default()));
        let ended = matches!(read, Ok(0));
        self.chunk = chunk;
        match taken {
            Ok(()) if ended => {
                self.closed = true;
                self.lines.finish().map_err(|e| self.refuse_line(&e))?;
                return if self.bye { Ok(()) } else { Err(End::Gone("end of stdin without bye".into())) };
            }
            Ok(()) => self.heard_ns = clock::monotonic_ns(),
            Err(Errno::INTR | Errno::AGAIN) => return Ok(()),
            Err(e) => return Err(End::Gone(format!("stdin: {e}"))),
        }
        while let Some(message) = self.lines.next_message().map_err(|e| self.refuse_line(&e))? {
            self.take(message)?;
        }
        Ok(())
    }

    /// A line that is no message: the stream cannot be trusted any more.
    fn refuse_line(&mut self, error: &FrameError) -> End {
        let reason = format!("{error}; this agent speaks protocol {PROTOCOL_VERSION}");
        match self.refuse(reason.clone(), None) {
            Ok(()) => End::Protocol(reason),
            Err(end) => end,
        }
    }

    fn take(&mut self, message: HostMessage) -> Result<(), End> {
        if self.hello.is_some() {
            return self.greet(&message);
        }
        match message {
            HostMessage::Hello { .. } => self.refuse("hello was said already".into(), None),
            HostMessage::Run { unit } => {
                let id = unit.unit;
                self.push(Request::Run(Box::new(unit)), Some(id))
            }
            HostMessage::Inspect { model, run } => self.push(Request::Inspect(model, run), None),
            HostMessage::Cancel => {
                self.cancelled = self.busy;
                self.to_cancel = self.queue.len();
                Ok(())
            }
            HostMessage::Ping => Ok(()),
            HostMessage::Bye => {
                self.bye = true;
                Ok(())
            }
        }
    }

    fn greet(&mut self, message: &HostMessage) -> Result<(), End> {
        match message {
            HostMessage::Hello { protocol } if *protocol == PROTOCOL_VERSION => match self.hello.take() {
                Some(hello) => {
                    self.send(&hello)?;
                    match *hello {
                        AgentMessage::Refused { reason, .. } => Err(End::Protocol(reason)),
                        _ => Ok(()),
                    }
                }
                None => Ok(()),
            },
            other => {
                let reason = match other {
                    HostMessage::Hello { protocol } => format!(
                        "the host speaks protocol {protocol}, this agent {PROTOCOL_VERSION}; push the host's own agent"
                    ),
                    _ => "the first line must be a hello".to_owned(),
                };
                self.refuse(reason.clone(), None)?;
                Err(End::Protocol(reason))
            }
        }
    }

    fn push(&mut self, request: Request, unit: Option<UnitId>) -> Result<(), End> {
        if self.bye {
            return self.refuse("the host has said bye".into(), unit);
        }
        if self.queue.len() >= MAX_QUEUE {
            return self.refuse(format!("{MAX_QUEUE} requests are waiting already"), unit);
        }
        self.queue.push_back(request);
        Ok(())
    }

    /// Says that a request was not taken.
    pub(crate) fn refuse(&mut self, reason: String, unit: Option<UnitId>) -> Result<(), End> {
        log::line(format_args!("refused: {reason}"));
        self.send(&AgentMessage::Refused { reason, unit })
    }

    /// Sends a message now, ahead of those that are held.
    pub(crate) fn send(&mut self, message: &AgentMessage) -> Result<(), End> {
        let line = encode(message).map_err(|e| End::Protocol(e.to_string()))?;
        self.write(&line)
    }

    /// Keeps a message for the next [`Self::flush`].
    pub(crate) fn hold(&mut self, message: &AgentMessage) -> Result<(), End> {
        encode_into(message, MAX_LINE_BYTES, &mut self.held).map_err(|e| End::Protocol(e.to_string()))?;
        if self.held.len() >= HOLD_BYTES { self.flush() } else { Ok(()) }
    }

    /// Sends what is held.
    pub(crate) fn flush(&mut self) -> Result<(), End> {
        let mut held = mem::take(&mut self.held);
        let result = self.write(&held);
        held.clear();
        self.held = held;
        result
    }

    /// Writes without ever blocking for longer than the host may be silent: a host that does not read is
    /// gone, and its workers must not live on.
    fn write(&mut self, bytes: &[u8]) -> Result<(), End> {
        let stdout = io::stdout();
        let mut rest = bytes;
        let mut progress_ns = clock::monotonic_ns();
        while !rest.is_empty() {
            let limit = progress_ns.saturating_add(clock::ms(HOST_SILENCE_LIMIT_MS));
            let left = limit.saturating_sub(clock::monotonic_ns());
            if left == 0 {
                return Err(End::Gone("it does not read".into()));
            }
            let mut fds = [
                PollFd::new(&self.signals, PollFlags::IN),
                PollFd::from_borrowed_fd(stdout.as_fd(), PollFlags::OUT),
            ];
            wait_for(&mut fds, Some(left)).map_err(|e| End::Gone(format!("poll failed: {e}")))?;
            let [signal, room] = fds.map(|fd| !fd.revents().is_empty());
            if signal && let Some(number) = sys::read_signal(&self.signals) {
                return Err(End::Signal(number));
            }
            if !room {
                continue;
            }
            let piece = rest.get(..PIPE_ROOM).unwrap_or(rest);
            match rustix::io::write(stdout.as_fd(), piece) {
                Ok(n) => {
                    rest = rest.get(n..).unwrap_or_default();
                    progress_ns = clock::monotonic_ns();
                }
                Err(Errno::INTR | Errno::AGAIN) => {}
                Err(e) => return Err(End::Gone(format!("stdout: {e}"))),
            }
        }
        self.written_ns = clock::monotonic_ns();
        Ok(())
    }
}

fn wait_for(fds: &mut [PollFd<'_>], wait_ns: Option<u64>) -> io::Result<()> {
    let timeout = wait_ns.map(|ns| Timespec {
        tv_sec: (ns / 1_000_000_000).cast_signed(),
        tv_nsec: (ns % 1_000_000_000).cast_signed(),
    });
    match poll(fds, timeout.as_ref()) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(e) => Err(e.into()),
    }
}
