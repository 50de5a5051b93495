//! Programs on a device, over the second version of adb's shell protocol: stdout and stderr apart, an end of
//! file for stdin alone, and an exit status. Knows nothing of how the connection was made.

use super::{
    super::{Control, Pending, Process, ProcessEnd, remote::OUTPUT_BYTES, remote::Output},
    phone::Phone,
    server::Fault,
};
use std::{sync::Arc, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader, DuplexStream, duplex},
    net::TcpStream,
    task::JoinHandle,
    time::timeout,
};

/// Bytes read or written at a time, and what a pipe to a program holds, as on Linux.
const CHUNK_BYTES: usize = 64 * 1024;

/// A program that was just killed is heard of within this time, or its connection is closed without.
const PARTING_LIMIT: Duration = Duration::from_secs(1);

/// A shell tells the end by signal n as this plus n.
const BY_SIGNAL: u8 = 128;

/// Signals there are.
const SIGNALS: u8 = 64;

const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const EXIT: u8 = 3;
const CLOSE_STDIN: u8 = 4;

/// What a program said.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Said<'a> {
    /// A piece of its stdout.
    Stdout(&'a [u8]),
    /// A piece of its stderr.
    Stderr(&'a [u8]),
    /// Its last word.
    Exit(u8),
}

/// The packets of a program, in pieces: however long one says it is, little memory is used.
pub(super) struct Packets<R> {
    from: BufReader<R>,
    piece: Vec<u8>,
    channel: u8,
    left: usize,
}

impl<R: AsyncRead + Unpin> Packets<R> {
    /// Reads what comes from a device.
    pub(super) fn new(from: R) -> Self {
        let from = BufReader::with_capacity(CHUNK_BYTES, from);
        Self { from, piece: vec![0; CHUNK_BYTES], channel: 0, left: 0 }
    }

    /// The next piece.
    pub(super) async fn next(&mut self) -> Result<Said<'_>, Fault> {
        while self.left == 0 {
            self.channel = self.from.read_u8().await?;
            let length = self.from.read_u32_le().await?;
            match (self.channel, length) {
                (STDOUT | STDERR, _) => self.left = usize::try_from(length).unwrap_or(usize::MAX),
                (EXIT, 1) => return Ok(Said::Exit(self.from.read_u8().await?)),
                (channel, length) => {
                    return Err(Fault::Nonsense(format!("a packet {channel} of {length} bytes")));
                }
            }
        }
        let most = self.left.min(self.piece.len());
        let piece = self.piece.get_mut(..most).unwrap_or_default();
        let n = self.from.read(piece).await?;
        if n == 0 {
            return Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof).into());
        }
        self.left -= n;
        let piece = self.piece.get(..n).unwrap_or_default();
        Ok(if self.channel == STDOUT { Said::Stdout(piece) } else { Said::Stderr(piece) })
    }
}

/// Runs to the end with an empty stdin; surplus output is dropped.
pub(super) async fn run(
    from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
) -> Result<Output, Fault> {
    to.write_all(&[CLOSE_STDIN, 0, 0, 0, 0]).await?;
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    let mut packets = Packets::new(from);
    loop {
        match packets.next().await? {
            Said::Stdout(piece) => keep(&mut stdout, piece),
            Said::Stderr(piece) => keep(&mut stderr, piece),
            Said::Exit(status) => return Ok(Output { status: status.into(), stdout, stderr }),
        }
    }
}

fn keep(kept: &mut Vec<u8>, piece: &[u8]) {
    let room = OUTPUT_BYTES.saturating_sub(kept.len()).min(piece.len());
    kept.extend_from_slice(piece.get(..room).unwrap_or_default());
}

/// A program whose pipes stay open.
pub(super) fn process(stream: TcpStream, phone: Arc<Phone>) -> Process {
    let (stdin, their_stdin) = duplex(CHUNK_BYTES);
    let (their_stdout, stdout) = duplex(CHUNK_BYTES);
    let (their_stderr, stderr) = duplex(CHUNK_BYTES);
    let (from, to) = stream.into_split();
    let talk = tokio::spawn(talk(from, to, their_stdin, their_stdout, their_stderr));
    Process {
        stdin: Box::new(stdin),
        stdout: Box::new(stdout),
        stderr: Box::new(stderr),
        control: Box::new(ShellControl { talk, end: None, phone }),
    }
}

/// Carries bytes both ways until the program has ended; gives its status.
async fn talk(
    from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    stdin: DuplexStream,
    stdout: DuplexStream,
    stderr: DuplexStream,
) -> Result<u8, Fault> {
    // `to` lives to the end: to adb, a client that closes one direction has closed both
    let listening = listen(from, stdout, stderr);
    tokio::pin!(listening);
    tokio::select! {
        biased;
        end = &mut listening => return end,
        () = feed(stdin, &mut to) => {}
    }
    listening.await
}

/// Passes stdin on, then its end. What goes wrong here is heard of by whoever listens to the device.
async fn feed(mut stdin: DuplexStream, to: &mut (impl AsyncWrite + Unpin)) {
    const HEADER: usize = 5;
    let mut packet = vec![0; HEADER + CHUNK_BYTES];
    loop {
        let Some(room) = packet.get_mut(HEADER..) else { return };
        let n = stdin.read(room).await.unwrap_or_default();
        let length = u32::try_from(n).unwrap_or_default().to_le_bytes();
        let channel = if n == 0 { CLOSE_STDIN } else { STDIN };
        for (place, byte) in packet.iter_mut().zip([channel].into_iter().chain(length)) {
            *place = byte;
        }
        let sent = to.write_all(packet.get(..HEADER + n).unwrap_or_default()).await;
        if n == 0 || sent.is_err() {
            return;
        }
    }
}

async fn listen(
    from: impl AsyncRead + Unpin,
    mut stdout: DuplexStream,
    mut stderr: DuplexStream,
) -> Result<u8, Fault> {
    let mut packets = Packets::new(from);
    loop {
        // nobody may be there to read any more: the program goes on all the same
        match packets.next().await? {
            Said::Stdout(piece) => stdout.write_all(piece).await.unwrap_or_default(),
            Said::Stderr(piece) => stderr.write_all(piece).await.unwrap_or_default(),
            Said::Exit(status) => return Ok(status),
        }
    }
}

/// A program's life as far as its connection shows it. Dropping it closes the connection.
struct ShellControl {
    talk: JoinHandle<Result<u8, Fault>>,
    /// Known once `talk` is over, which cannot be asked twice.
    end: Option<ProcessEnd>,
    phone: Arc<Phone>,
}

impl Control for ShellControl {
    fn wait(&mut self) -> Pending<'_, ProcessEnd> {
        Box::pin(async move {
            if let Some(end) = self.end {
                return Ok(end);
            }
            let talked = (&mut self.talk).await;
            self.end = Some(ProcessEnd::Unknown);
            match talked {
                Ok(Ok(status)) => Ok(*self.end.insert(end_of(status))),
                Ok(Err(fault)) => Err(self.phone.explain("running a program", fault).await),
                // it was cut off from here
                Err(_) => Ok(ProcessEnd::Unknown),
            }
        })
    }

    fn kill(&mut self) -> Pending<'_, ()> {
        Box::pin(async move {
            // its process has been killed by name: the news is on its way, unless the device is gone
            timeout(PARTING_LIMIT, self.wait()).await.ok();
            self.talk.abort();
            self.end.get_or_insert(ProcessEnd::Unknown);
            Ok(())
        })
    }
}

impl Drop for ShellControl {
    fn drop(&mut self) {
        self.talk.abort();
    }
}

fn end_of(status: u8) -> ProcessEnd {
    match status.checked_sub(BY_SIGNAL) {
        Some(signal @ 1..=SIGNALS) => ProcessEnd::Signalled(signal.into()),
        _ => ProcessEnd::Exited(status.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn block<T>(work: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
    }

    fn packet(channel: u8, bytes: &[u8]) -> Vec<u8> {
        let length = u32::try_from(bytes.len()).unwrap().to_le_bytes();
        [&[channel][..], &length, bytes].concat()
    }

    fn whole(stream: &[u8]) -> Result<Output, Fault> {
        block(run(stream, tokio::io::sink()))
    }

    #[test]
    fn output_is_told_apart_and_ends_with_a_status() {
        let stream =
            [packet(1, b"out"), packet(2, b"err"), packet(1, b""), packet(1, b"put"), packet(3, &[7])];
        let expected = Output { status: 7, stdout: b"output".to_vec(), stderr: b"err".to_vec() };
        assert_eq!(whole(&stream.concat()).unwrap(), expected);
    }

    #[test]
    fn a_stream_that_breaks_off_anywhere_is_no_result() {
        let stream = [packet(1, b"out"), packet(2, b"err"), packet(3, &[0])].concat();
        for cut in 0..stream.len() {
            let broken = whole(&stream[..cut]);
            assert!(matches!(broken, Err(Fault::Broken(_))), "{cut}: {broken:?}");
        }
    }

    #[test]
    fn surplus_output_is_dropped_and_nonsense_ends_it() {
        let much = packet(1, &vec![b'x'; OUTPUT_BYTES]);
        let stream = [much.clone(), much, packet(3, &[0])].concat();
        assert_eq!(whole(&stream).unwrap().stdout.len(), OUTPUT_BYTES);
        for nonsense in [packet(3, &[]), packet(3, &[0, 0]), packet(0, b"x"), packet(200, b"x")] {
            assert!(matches!(whole(&nonsense), Err(Fault::Nonsense(_))), "{nonsense:?}");
        }
    }

    #[test]
    fn statuses_tell_signals() {
        assert_eq!(end_of(0), ProcessEnd::Exited(0));
        assert_eq!(end_of(128), ProcessEnd::Exited(128));
        assert_eq!(end_of(137), ProcessEnd::Signalled(9));
        assert_eq!(end_of(139), ProcessEnd::Signalled(11));
        assert_eq!(end_of(255), ProcessEnd::Exited(255));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_harm(stream in prop::collection::vec(any::<u8>(), 0..200)) {
            // a length of four gigabytes is believed only as far as bytes come
            if let Ok(output) = whole(&stream) {
                prop_assert!(output.stdout.len() + output.stderr.len() <= stream.len());
            }
        }
    }
}
