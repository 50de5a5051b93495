//! A program at the other end of a connection: a thread moves bytes between libssh2 and two local sockets, never
//! blocks in libssh2, and waits on all of them at once. Notices a silent peer by keepalives that are really sent.
//! Knows nothing of shells.

use super::{
    super::{Control, Pending, Process, ProcessEnd, TransportError, remote::harmless},
    connection::{Blow, Connection, Fuse, start_thread},
};
use rustix::{
    event::{PollFd, PollFlags, poll},
    time::Timespec,
};
use ssh2::{BlockDirections, Channel};
use std::{
    io::{self, Read, Write},
    net::Shutdown,
    os::unix::net::UnixStream,
    time::{Duration, Instant},
};
use tokio::{sync::oneshot, time::timeout};

/// Bytes moved at a time: two packets of SSH.
const CHUNK_BYTES: usize = 64 * 1024;

/// A peer that says nothing is asked so often whether it lives; libssh2 counts in whole seconds, from 2. One that
/// talks is left in peace: it may be measuring.
const KEEPALIVE_S: u32 = 2;

/// The end of a program that was killed over there is waited for so long.
const PARTING_LIMIT: Duration = Duration::from_secs(1);

/// Longest wait until the clock is looked at again.
const TICK: Timespec = Timespec { tv_sec: 0, tv_nsec: 500_000_000 };

/// To look without waiting.
const NOW: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };

/// Starts a command line on a connection, which is given back with `done` when all went well.
///
/// # Errors
/// The connection is of no use: nothing was started.
pub(super) async fn start(
    connection: Connection,
    command: String,
    silence: Duration,
    done: impl FnOnce(Connection) + Send + 'static,
) -> Result<Process, TransportError> {
    let pipes = |source| TransportError::Io { doing: "making", path: "pipes".to_owned(), source };
    let (here, there) = UnixStream::pair().map_err(pipes)?;
    let (errors_here, errors_there) = UnixStream::pair().map_err(pipes)?;
    let fuse = Fuse::new(&connection.tcp);
    let blow = Blow(fuse.clone());
    let (started, starting) = oneshot::channel();
    let (ended, ending) = oneshot::channel();
    start_thread(move || {
        let guard = Blow(fuse.clone());
        let channel = match begin(&connection, &command) {
            Ok(channel) => channel,
            Err(e) => return drop(started.send(Err(lost("starting a command", &e.into())))),
        };
        if started.send(Ok(())).is_err() {
            return;
        }
        let local = Local { data: there, errors: errors_there };
        let bridge = Bridge { connection: &connection, channel, local, silence, heard: Instant::now() };
        match bridge.run(&guard) {
            Ok(end) => {
                if fuse.remove() {
                    connection.session.set_blocking(true);
                    // while it blocks, libssh2 would send one into half a packet, and keep no limit
                    connection.session.set_keepalive(false, 0);
                    done(connection);
                }
                drop(ended.send(Ok(end)));
            }
            Err(e) => drop(ended.send(Err(lost("talking to a program", &e)))),
        }
    })?;
    starting.await.unwrap_or_else(|_| Err(lost("starting a command", &io::ErrorKind::BrokenPipe.into())))?;
    let on_loop = |stream: UnixStream| {
        stream.set_nonblocking(true)?;
        tokio::net::UnixStream::from_std(stream)
    };
    let (stdout, stdin) = on_loop(here).map_err(pipes)?.into_split();
    let stderr = on_loop(errors_here).map_err(pipes)?;
    Ok(Process {
        stdin: Box::new(stdin),
        stdout: Box::new(stdout),
        stderr: Box::new(stderr),
        control: Box::new(BridgeControl { ending: Ending::Awaited(ending), cut: Some(blow) }),
    })
}

fn begin(connection: &Connection, command: &str) -> Result<Channel, ssh2::Error> {
    let session = &connection.session;
    session.set_blocking(true);
    let mut channel = session.channel_session()?;
    channel.exec(command)?;
    session.set_keepalive(true, KEEPALIVE_S);
    session.set_blocking(false);
    Ok(channel)
}

fn lost(doing: &str, error: &io::Error) -> TransportError {
    TransportError::Lost { doing: doing.to_owned(), reason: harmless(&error.to_string()) }
}

/// The life of a program behind a bridge.
struct BridgeControl {
    ending: Ending,
    /// Cuts the connection when this is dropped while the program runs.
    cut: Option<Blow>,
}

enum Ending {
    Awaited(oneshot::Receiver<Result<ProcessEnd, TransportError>>),
    Known(ProcessEnd),
}

impl Control for BridgeControl {
    fn wait(&mut self) -> Pending<'_, ProcessEnd> {
        Box::pin(async move {
            let end = match &mut self.ending {
                Ending::Known(end) => return Ok(*end),
                Ending::Awaited(ending) => ending.await,
            };
            // an error is told once: after it nothing more can be known
            self.ending = Ending::Known(ProcessEnd::Unknown);
            let end =
                end.unwrap_or_else(|_| Err(lost("talking to a program", &io::ErrorKind::BrokenPipe.into())))?;
            self.ending = Ending::Known(end);
            Ok(end)
        })
    }

    fn kill(&mut self) -> Pending<'_, ()> {
        Box::pin(async move {
            // the news of its end may be on their way, and say more than a cut
            timeout(PARTING_LIMIT, self.wait()).await.ok();
            drop(self.cut.take());
            if matches!(self.ending, Ending::Awaited(_)) {
                self.ending = Ending::Known(ProcessEnd::Unknown);
            }
            Ok(())
        })
    }
}

/// The near end of the two sockets.
struct Local {
    data: UnixStream,
    errors: UnixStream,
}

struct Bridge<'a> {
    connection: &'a Connection,
    channel: Channel,
    local: Local,
    silence: Duration,
    /// When the peer last gave a sign of life.
    heard: Instant,
}

/// Bytes on their way to one side.
#[derive(Default)]
struct Cargo {
    bytes: Vec<u8>,
    sent: usize,
}

impl Cargo {
    fn left(&self) -> &[u8] {
        self.bytes.get(self.sent..).unwrap_or_default()
    }

    fn is_empty(&self) -> bool {
        self.left().is_empty()
    }

    fn load(&mut self, bytes: &[u8]) {
        self.bytes.clear();
        self.bytes.extend_from_slice(bytes);
        self.sent = 0;
    }
}

/// What happened to a step that may not block.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    Moved,
    Waits,
    Over,
}

fn step(result: io::Result<usize>) -> io::Result<Step> {
    match result {
        Ok(0) => Ok(Step::Over),
        Ok(_) => Ok(Step::Moved),
        Err(e) if e.kind() == io::ErrorKind::WouldBlock => Ok(Step::Waits),
        Err(e) if e.kind() == io::ErrorKind::Interrupted => Ok(Step::Moved),
        Err(e) => Err(e),
    }
}

/// What is on its way, and what has come to its end.
#[derive(Default)]
struct Flow {
    input: Cargo,
    output: Cargo,
    errors: Cargo,
    /// The host's end of stdin is closed.
    input_over: bool,
    /// And the program was told.
    told: bool,
}

impl Bridge<'_> {
    /// Moves everything until the program has ended. `guard` is there to be dropped before the channel is, which
    /// would wait for the peer.
    fn run(mut self, guard: &Blow) -> io::Result<ProcessEnd> {
        let end = self.carry();
        if end.is_err() {
            guard.0.blow();
        }
        end
    }

    fn carry(&mut self) -> io::Result<ProcessEnd> {
        self.local.data.set_nonblocking(true)?;
        self.local.errors.set_nonblocking(true)?;
        let (mut flow, mut buffer) = (Flow::default(), vec![0; CHUNK_BYTES]);
        loop {
            let moved = self.inward(&mut flow, &mut buffer)? | self.outward(&mut flow, &mut buffer)?;
            if moved {
                continue;
            }
            let all_said = self.channel.eof() && flow.output.is_empty() && flow.errors.is_empty();
            if all_said && let Some(end) = self.ended()? {
                return Ok(end);
            }
            self.wait(&flow)?;
        }
    }

    /// From the host to the program.
    fn inward(&mut self, flow: &mut Flow, buffer: &mut [u8]) -> io::Result<bool> {
        let mut moved = false;
        if flow.input.is_empty() && !flow.input_over {
            match self.local.data.read(buffer) {
                Ok(n) if n > 0 => {
                    flow.input.load(buffer.get(..n).unwrap_or_default());
                    moved = true;
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                Ok(_) | Err(_) => flow.input_over = true,
            }
        }
        if !flow.input.is_empty() {
            self.listen();
            let sent = self.channel.write(flow.input.left());
            match sent {
                Ok(n) => {
                    flow.input.sent += n;
                    moved |= n > 0;
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                // a program that has closed its stdin may still have something to say
                Err(_) if self.channel.eof() => {
                    flow.input = Cargo::default();
                    flow.input_over = true;
                }
                Err(e) => return Err(e),
            }
        } else if flow.input_over && !flow.told {
            match step(self.channel.send_eof().map(|()| 1).map_err(Into::into)) {
                Ok(Step::Waits) => {}
                Ok(Step::Moved | Step::Over) => flow.told = true,
                Err(_) if self.channel.eof() => flow.told = true,
                Err(e) => return Err(e),
            }
        }
        Ok(moved)
    }

    /// From the program to the host.
    fn outward(&mut self, flow: &mut Flow, buffer: &mut [u8]) -> io::Result<bool> {
        let mut moved = false;
        self.listen();
        if flow.output.is_empty() {
            moved |= fill(&mut flow.output, self.channel.read(buffer), buffer)?;
        }
        if flow.errors.is_empty() {
            moved |= fill(&mut flow.errors, self.channel.stderr().read(buffer), buffer)?;
        }
        if moved {
            self.heard = Instant::now();
        }
        moved |= empty(&mut flow.output, &mut self.local.data)?;
        moved |= empty(&mut flow.errors, &mut self.local.errors)?;
        Ok(moved)
    }

    /// Notes that the peer has sent something, before libssh2 takes it out of the socket: that may be the answer to a
    /// keepalive, of which it says nothing. What the host sends is no sign of life.
    fn listen(&mut self) {
        let mut peer = [PollFd::new(&self.connection.tcp, PollFlags::IN)];
        if poll(&mut peer, Some(&NOW)).is_ok_and(|ready| ready > 0) {
            self.heard = Instant::now();
        }
    }

    /// How the program ended; `None`: the peer has not said everything yet.
    fn ended(&mut self) -> io::Result<Option<ProcessEnd>> {
        for closing in [Channel::close, Channel::wait_close] {
            match step(closing(&mut self.channel).map(|()| 1).map_err(Into::into))? {
                Step::Waits => return Ok(None),
                Step::Moved | Step::Over => {}
            }
        }
        // libssh2 gives status 0 to what was killed by a signal, and to what the peer has said nothing of: who needs
        // to know seals the script
        let signal = self.channel.exit_signal().ok().and_then(|s| s.exit_signal);
        Ok(Some(match signal {
            Some(name) => signal_number(&name).map_or(ProcessEnd::Unknown, ProcessEnd::Signalled),
            None => self.channel.exit_status().map_or(ProcessEnd::Unknown, ProcessEnd::Exited),
        }))
    }

    /// Waits until something can move again, and keeps an eye on the peer.
    fn wait(&mut self, flow: &Flow) -> io::Result<()> {
        let session = &self.connection.session;
        let blocked = session.block_directions();
        let sending = matches!(blocked, BlockDirections::Outbound | BlockDirections::Both);
        // while the host does not read, the peer is not listened to, and cannot be blamed for silence
        let deaf = !flow.output.is_empty() && !flow.errors.is_empty();
        if !sending && self.heard.elapsed() >= Duration::from_secs(KEEPALIVE_S.into()) {
            // half a packet on its way must be finished before another is begun
            session.keepalive_send()?;
        }
        let mut peer = if deaf { PollFlags::empty() } else { PollFlags::IN };
        peer.set(PollFlags::OUT, sending);
        let mut data = PollFlags::empty();
        data.set(PollFlags::IN, flow.input.is_empty() && !flow.input_over);
        data.set(PollFlags::OUT, !flow.output.is_empty());
        let mut all = vec![PollFd::new(&self.connection.tcp, peer)];
        if !data.is_empty() {
            all.push(PollFd::new(&self.local.data, data));
        }
        if !flow.errors.is_empty() {
            all.push(PollFd::new(&self.local.errors, PollFlags::OUT));
        }
        match poll(&mut all, Some(&TICK)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(e) => return Err(e.into()),
        }
        let spoke = PollFlags::IN | PollFlags::HUP | PollFlags::ERR;
        if deaf || all.first().is_some_and(|peer| peer.revents().intersects(spoke)) {
            self.heard = Instant::now();
        }
        if self.heard.elapsed() > self.silence {
            return Err(io::Error::other(format!("it was silent for {:?}", self.silence)));
        }
        Ok(())
    }
}

impl Drop for Bridge<'_> {
    fn drop(&mut self) {
        // what the program never read must not be left in the socket: whoever reads its output would get an error
        // where the end of the file is
        self.local.data.shutdown(Shutdown::Both).unwrap_or_default();
        while self.local.data.read(&mut [0; CHUNK_BYTES]).is_ok_and(|n| n > 0) {}
    }
}

fn fill(cargo: &mut Cargo, read: io::Result<usize>, buffer: &[u8]) -> io::Result<bool> {
    let bytes = *read.as_ref().unwrap_or(&0);
    match step(read)? {
        Step::Moved => {
            cargo.load(buffer.get(..bytes).unwrap_or_default());
            Ok(true)
        }
        Step::Waits | Step::Over => Ok(false),
    }
}

fn empty(cargo: &mut Cargo, to: &mut UnixStream) -> io::Result<bool> {
    if cargo.is_empty() {
        return Ok(false);
    }
    match to.write(cargo.left()) {
        Ok(n) => cargo.sent += n,
        Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(false),
        // nobody reads it any more
        Err(_) => *cargo = Cargo::default(),
    }
    Ok(true)
}

/// A signal as SSH names it, by Linux' number.
fn signal_number(name: &str) -> Option<i32> {
    let names = [
        ("HUP", 1),
        ("INT", 2),
        ("QUIT", 3),
        ("ILL", 4),
        ("TRAP", 5),
        ("ABRT", 6),
        ("BUS", 7),
        ("FPE", 8),
        ("KILL", 9),
        ("USR1", 10),
        ("SEGV", 11),
        ("USR2", 12),
        ("PIPE", 13),
        ("ALRM", 14),
        ("TERM", 15),
        ("XCPU", 24),
        ("XFSZ", 25),
        ("SYS", 31),
    ];
    let name = name.split('@').next().unwrap_or_default();
    names.iter().find(|(known, _)| *known == name).map(|(_, number)| *number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_have_their_numbers() {
        assert_eq!(signal_number("SEGV"), Some(11));
        assert_eq!(signal_number("SYS@openssh.com"), Some(31));
        assert_eq!(signal_number("\u{1b}[2J"), None);
    }
}
