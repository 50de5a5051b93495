//! Framing: one JSON object per line, with a cap on the length of a line.

use serde::{Serialize, de::DeserializeOwned};
use std::io::{self, BufRead, Write};

/// Longest line either side sends or accepts. A burst of 2,000 samples takes about 50 kB; a list of 512
/// digests 10 kB; model facts with 4,000 tensors stay below 1 MB.
pub const MAX_LINE_BYTES: usize = 4 << 20;

/// A line that could not be taken.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// More than [`MAX_LINE_BYTES`].
    #[error("a line is longer than {MAX_LINE_BYTES} bytes")]
    TooLong,
    /// The stream ended inside a line.
    #[error("the stream ended in the middle of a line of {0} bytes")]
    Truncated(usize),
    /// Not a message of this protocol.
    #[error("not a message of this protocol ({reason}): {start:?}")]
    Malformed {
        /// From the JSON reader.
        reason: String,
        /// How the line begins.
        start: String,
    },
    /// The stream failed.
    #[error("reading failed: {0}")]
    Io(#[from] io::Error),
}

/// A message as the bytes of one line, newline included.
///
/// # Errors
/// [`FrameError::TooLong`] when the message does not fit a line.
pub fn encode<T: Serialize>(message: &T) -> Result<Vec<u8>, FrameError> {
    let mut line = Vec::new();
    encode_into(message, MAX_LINE_BYTES, &mut line)?;
    Ok(line)
}

/// As [`encode`], appended to a buffer that is used again, and with a limit of the caller's.
///
/// # Errors
/// [`FrameError::TooLong`] when the line would be longer than `limit`.
pub fn encode_into<T: Serialize>(message: &T, limit: usize, line: &mut Vec<u8>) -> Result<(), FrameError> {
    let before = line.len();
    serde_json::to_writer(&mut *line, message)
        .map_err(|e| FrameError::Malformed { reason: e.to_string(), start: String::new() })?;
    line.push(b'\n');
    if line.len() - before > limit { Err(FrameError::TooLong) } else { Ok(()) }
}

/// Writes a message as one line and flushes.
///
/// # Errors
/// The message is too long, or the stream failed.
pub fn write_line<T: Serialize>(out: &mut impl Write, message: &T) -> Result<(), FrameError> {
    out.write_all(&encode(message)?)?;
    out.flush()?;
    Ok(())
}

/// Cuts a stream of bytes into messages, in bounded memory, for readers that must not block.
#[derive(Default)]
pub struct LineBuffer {
    bytes: Vec<u8>,
    /// Start of the first line that was not handed out yet.
    start: usize,
    /// Everything before it is known to hold no end of line.
    scanned: usize,
}

impl LineBuffer {
    /// Takes in more of the stream.
    pub fn extend(&mut self, bytes: &[u8]) {
        self.bytes.drain(..self.start);
        self.scanned -= self.start;
        self.start = 0;
        self.bytes.extend_from_slice(bytes);
    }

    /// The next message that is complete.
    ///
    /// # Errors
    /// See [`FrameError`]. After an error the stream must not be read on.
    pub fn next_message<T: DeserializeOwned>(&mut self) -> Result<Option<T>, FrameError> {
        let fresh = self.bytes.get(self.scanned..).unwrap_or_default();
        let end = fresh.iter().position(|b| *b == b'\n').map(|at| self.scanned + at);
        self.scanned = end.unwrap_or(self.bytes.len());
        if self.scanned - self.start >= MAX_LINE_BYTES {
            return Err(FrameError::TooLong);
        }
        let Some(end) = end else { return Ok(None) };
        let message = parse(&self.bytes[self.start..end])?;
        self.start = end + 1;
        self.scanned = self.start;
        Ok(Some(message))
    }

    /// Says whether the stream may end here.
    ///
    /// # Errors
    /// It may not: part of a line is left.
    pub fn finish(&self) -> Result<(), FrameError> {
        let left = self.bytes.len() - self.start;
        if left == 0 { Ok(()) } else { Err(FrameError::Truncated(left)) }
    }
}

/// Reads messages, line by line, in bounded memory.
pub struct LineReader<R> {
    inner: R,
    buffer: LineBuffer,
}

impl<R: BufRead> LineReader<R> {
    /// Reads from `inner`.
    pub fn new(inner: R) -> Self {
        Self { inner, buffer: LineBuffer::default() }
    }

    /// The next message, or `None` at the end of the stream.
    ///
    /// # Errors
    /// See [`FrameError`]. After an error the stream must not be read on.
    pub fn next_message<T: DeserializeOwned>(&mut self) -> Result<Option<T>, FrameError> {
        loop {
            if let Some(message) = self.buffer.next_message()? {
                return Ok(Some(message));
            }
            let taken = match self.inner.fill_buf() {
                Ok([]) => return self.buffer.finish().map(|()| None),
                Ok(bytes) => {
                    self.buffer.extend(bytes);
                    bytes.len()
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(e.into()),
            };
            self.inner.consume(taken);
        }
    }
}

fn parse<T: DeserializeOwned>(line: &[u8]) -> Result<T, FrameError> {
    serde_json::from_slice(line).map_err(|e| FrameError::Malformed {
        reason: e.to_string(),
        start: String::from_utf8_lossy(&line[..line.len().min(120)]).into_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{AgentMessage, HostMessage, PROTOCOL_VERSION};

    fn read_all<T: DeserializeOwned>(bytes: &[u8]) -> Result<Vec<T>, FrameError> {
        let mut reader = LineReader::new(io::BufReader::with_capacity(7, bytes));
        let mut all = Vec::new();
        while let Some(message) = reader.next_message()? {
            all.push(message);
        }
        Ok(all)
    }

    #[test]
    fn lines_survive_any_chunking() {
        let sent =
            vec![HostMessage::Hello { protocol: PROTOCOL_VERSION }, HostMessage::Ping, HostMessage::Bye];
        let bytes: Vec<u8> = sent.iter().flat_map(|m| encode(m).unwrap()).collect();
        assert_eq!(read_all::<HostMessage>(&bytes).unwrap(), sent);
    }

    #[test]
    fn bad_lines_are_told_apart() {
        assert!(matches!(read_all::<HostMessage>(b"{\"type\":\"pi"), Err(FrameError::Truncated(11))));
        assert!(matches!(read_all::<HostMessage>(b"hello\n"), Err(FrameError::Malformed { .. })));
        assert!(matches!(
            read_all::<AgentMessage>(b"{\"type\":\"sing\"}\n"),
            Err(FrameError::Malformed { .. })
        ));
        assert!(matches!(read_all::<HostMessage>(b"\xff\xfe\n"), Err(FrameError::Malformed { .. })));
        let long = vec![b'x'; MAX_LINE_BYTES + 1];
        assert!(matches!(read_all::<HostMessage>(&long), Err(FrameError::TooLong)));
        assert!(encode(&long).is_err(), "what cannot be read is not sent either");
    }

    #[test]
    fn the_longest_line_passes_and_one_byte_more_does_not() {
        let text = "x".repeat(MAX_LINE_BYTES - 3);
        let line = encode(&text).unwrap();
        assert_eq!(line.len(), MAX_LINE_BYTES);
        assert_eq!(read_all::<String>(&line).unwrap(), std::slice::from_ref(&text));
        assert!(matches!(encode(&(text + "x")), Err(FrameError::TooLong)));
    }

    #[test]
    fn a_buffer_keeps_what_is_not_complete() {
        let mut buffer = LineBuffer::default();
        buffer.extend(b"1\n2\n3");
        assert_eq!(buffer.next_message::<u32>().unwrap(), Some(1));
        buffer.extend(b"4\n");
        let rest = [(); 3].map(|()| buffer.next_message::<u32>().unwrap());
        assert_eq!(rest, [Some(2), Some(34), None]);
        assert!(buffer.finish().is_ok());
        buffer.extend(b"5");
        assert!(matches!(buffer.finish(), Err(FrameError::Truncated(1))));
    }
}
