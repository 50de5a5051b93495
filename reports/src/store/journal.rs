//! The journal as lines of bytes: appending whole lines only, sealing them, and reading them with a cap. Does
//! not know what an entry means.

use super::seal::Chain;
use crate::record::Entry;
use protocol::MAX_LINE_BYTES;
use std::io::{self, BufRead, Read, Write};

/// A line is one protocol message and what the host adds around it.
pub(super) const MAX_JOURNAL_LINE: usize = MAX_LINE_BYTES + 4096;

/// Where lines go: a file, or in tests a disk that fills up.
pub(super) trait Sink {
    /// Appends all bytes, or fails after any part of them.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// Cuts everything behind the first `len` bytes.
    fn cut(&mut self, len: u64) -> io::Result<()>;
    /// Returns when everything is on the disk.
    fn sync(&mut self) -> io::Result<()>;
}

impl Sink for std::fs::File {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write_all(bytes)
    }

    fn cut(&mut self, len: u64) -> io::Result<()> {
        self.set_len(len)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }
}

/// An open journal. After a failed append the part that was written is cut off again, so the next
/// append, should there be space by then, starts on a fresh line.
pub(super) struct Journal<S> {
    sink: S,
    good: u64,
    torn: bool,
    chain: Chain,
}

impl<S: Sink> Journal<S> {
    /// Goes on after the first `good` bytes, which are whole lines; `chain` has taken them in.
    pub(super) fn new(sink: S, good: u64, chain: Chain) -> Self {
        Self { sink, good, torn: false, chain }
    }

    /// Appends an entry as one line; sealed and on disk when it returns, for entries that close something.
    pub(super) fn append(&mut self, entry: &Entry) -> io::Result<()> {
        self.mend()?;
        let mut line = serde_json::to_vec(entry).map_err(io::Error::other)?;
        line.push(b'\n');
        if line.len() > MAX_JOURNAL_LINE {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "the entry is longer than a line may be",
            ));
        }
        self.put(&line)?;
        self.chain.take(&line);
        if is_safe_point(entry) { self.seal() } else { Ok(()) }
    }

    /// A seal that could not be written is missed by nobody: the next one covers what it would have covered.
    fn seal(&mut self) -> io::Result<()> {
        let before = self.chain.clone();
        let line = self.chain.seal().map_err(io::Error::other)?;
        if let Err(error) = self.put(&line) {
            self.chain = before;
            return Err(error);
        }
        self.sink.sync()
    }

    fn put(&mut self, line: &[u8]) -> io::Result<()> {
        if let Err(error) = self.sink.append(line) {
            self.torn = true;
            // when cutting fails too, the next append tries again, and a reader skips the torn line
            self.mend().unwrap_or_default();
            return Err(error);
        }
        self.good += line.len() as u64;
        Ok(())
    }

    fn mend(&mut self) -> io::Result<()> {
        if self.torn {
            self.sink.cut(self.good)?;
            self.torn = false;
        }
        Ok(())
    }
}

/// Entries after which everything so far must survive a power cut.
fn is_safe_point(entry: &Entry) -> bool {
    match entry {
        Entry::UnitStarted { .. } | Entry::Event { .. } | Entry::Inspected { .. } => false,
        Entry::Device { .. }
        | Entry::UnitDone { .. }
        | Entry::UnitLost { .. }
        | Entry::DeviceLost { .. }
        | Entry::Finished { .. } => true,
    }
}

/// What one step of reading found.
pub(super) enum Line<'a> {
    /// A whole line, without its newline.
    Whole(&'a [u8]),
    /// The file ends inside a line of so many bytes.
    Torn(u64),
    /// Longer than a line may be.
    TooLong,
    /// No more.
    End,
}

/// Reads lines in bounded memory and counts them.
pub(super) struct Lines<R> {
    inner: R,
    line: Vec<u8>,
    /// Number of the line last returned, from 1.
    pub(super) number: u64,
    /// Bytes of the whole lines so far.
    pub(super) whole_bytes: u64,
}

impl<R: BufRead> Lines<R> {
    pub(super) fn new(inner: R) -> Self {
        Self { inner, line: Vec::new(), number: 0, whole_bytes: 0 }
    }

    pub(super) fn next(&mut self) -> io::Result<Line<'_>> {
        self.line.clear();
        let cap = MAX_JOURNAL_LINE as u64 + 1;
        let taken = (&mut self.inner).take(cap).read_until(b'\n', &mut self.line)? as u64;
        if taken == 0 {
            return Ok(Line::End);
        }
        self.number += 1;
        match self.line.split_last() {
            Some((b'\n', line)) => {
                self.whole_bytes += taken;
                Ok(Line::Whole(line))
            }
            _ if taken >= cap => Ok(Line::TooLong),
            _ => Ok(Line::Torn(taken)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::UnitId;

    /// A disk with so many bytes left, that takes a part of the write that does not fit.
    struct SmallDisk {
        bytes: Vec<u8>,
        room: usize,
        cuts_fail: bool,
        syncs: u32,
    }

    impl Sink for SmallDisk {
        fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
            let fits = bytes.len().min(self.room - self.bytes.len());
            self.bytes.extend_from_slice(&bytes[..fits]);
            if fits == bytes.len() { Ok(()) } else { Err(io::ErrorKind::StorageFull.into()) }
        }

        fn cut(&mut self, len: u64) -> io::Result<()> {
            if self.cuts_fail {
                return Err(io::ErrorKind::Other.into());
            }
            self.bytes.truncate(len as usize);
            Ok(())
        }

        fn sync(&mut self) -> io::Result<()> {
            self.syncs += 1;
            Ok(())
        }
    }

    fn lost(unit: u32) -> Entry {
        Entry::UnitLost { unit: UnitId(unit), attempt: 0, reason: "cable".into() }
    }

    /// The entries of a journal whose every seal is right.
    fn read(bytes: &[u8]) -> Vec<Entry> {
        let mut chain = Chain::of_plan(b"");
        let mut entries = Vec::new();
        for line in bytes.split_inclusive(|b| *b == b'\n') {
            match chain.check(line.strip_suffix(b"\n").expect("whole lines only")) {
                Some(right) => assert!(right),
                None => {
                    chain.take(line);
                    entries.push(serde_json::from_slice(line).unwrap());
                }
            }
        }
        entries
    }

    #[test]
    fn a_full_disk_keeps_whole_lines_and_takes_more_when_there_is_room_again() {
        for room in 300..700 {
            let disk = SmallDisk { bytes: Vec::new(), room, cuts_fail: false, syncs: 0 };
            let mut journal = Journal::new(disk, 0, Chain::of_plan(b""));
            let (stored, error) =
                (0..).find_map(|n| Some((n, journal.append(&lost(n)).err()?))).expect("the disk is small");
            assert_eq!(error.kind(), io::ErrorKind::StorageFull);
            assert_eq!(journal.sink.syncs, stored);
            journal.sink.room = 10_000;
            journal.append(&lost(77)).unwrap();
            let back = read(&journal.sink.bytes);
            // the entry whose seal had no room is there all the same
            let with_last = back.len() == stored as usize + 2;
            let expected: Vec<Entry> = (0..stored + u32::from(with_last)).chain([77]).map(lost).collect();
            assert_eq!(back, expected, "{room}");
        }
    }

    #[test]
    fn a_torn_line_that_cannot_be_cut_is_never_written_behind() {
        let disk = SmallDisk { bytes: Vec::new(), room: 100, cuts_fail: true, syncs: 0 };
        let mut journal = Journal::new(disk, 0, Chain::of_plan(b""));
        while journal.append(&lost(1)).is_ok() {}
        let torn = journal.sink.bytes.len();
        journal.sink.room = 10_000;
        assert!(journal.append(&lost(2)).is_err());
        assert_eq!(journal.sink.bytes.len(), torn);
        journal.sink.cuts_fail = false;
        journal.append(&lost(3)).unwrap();
        assert!(read(&journal.sink.bytes).ends_with(&[lost(3)]));
    }

    #[test]
    fn lines_are_counted_capped_and_a_torn_end_is_told() {
        let mut lines = Lines::new(&b"ab\n\ncd"[..]);
        assert!(matches!(lines.next().unwrap(), Line::Whole(b"ab")));
        assert!(matches!(lines.next().unwrap(), Line::Whole(b"")));
        assert!(matches!(lines.next().unwrap(), Line::Torn(2)));
        assert_eq!((lines.number, lines.whole_bytes), (3, 4));
        let long = vec![b'x'; MAX_JOURNAL_LINE + 10];
        assert!(matches!(Lines::new(&long[..]).next().unwrap(), Line::TooLong));
    }
}
