//! Files over SFTP, in pieces large enough for libssh2, which waits for the answers to every piece. Blocks; a
//! stall is ended from outside, by cutting the connection.

use super::{
    super::{
        Content, HostFile, Moved, TransportError, on_host,
        remote::{BLOCK_BYTES, Blocks, harmless},
    },
    connection::Connection,
};
use ssh2::{ErrorCode, File, OpenFlags, OpenType, Sftp};
use std::{
    fs,
    io::{self, Read, Write},
    path::Path,
};

/// Bytes given to libssh2 at a time: with 32 KiB a distance of 10 ms costs fifteen times as much; with 4 MiB a link of
/// 2 Mbit/s shows no progress for longer than a stall may take.
const PIECE_BYTES: usize = 1 << 20;

/// Opens SFTP on a connection; `None`: the server has none, and there are other ways.
pub(super) fn open(connection: &Connection) -> Result<Option<Sftp>, TransportError> {
    match connection.session.sftp() {
        Ok(sftp) => Ok(Some(sftp)),
        Err(e) if connection.is_open() && e.code() != ErrorCode::Session(TIMED_OUT) => Ok(None),
        Err(e) => Err(lost(connection, "opening sftp".to_owned(), harmless(e.message()))),
    }
}

/// Writes all bytes of `file` to `to`.
pub(super) fn send(
    connection: &Connection,
    sftp: &Sftp,
    file: &HostFile,
    to: &str,
    moved: &Moved,
) -> Result<(), TransportError> {
    let mut source: Box<dyn Read> = match &file.content {
        Content::Memory(bytes) => Box::new(&**bytes),
        Content::Path(path) => Box::new(fs::File::open(path).map_err(|e| on_host("reading", path, e))?),
    };
    let flags = OpenFlags::WRITE | OpenFlags::CREATE | OpenFlags::TRUNCATE;
    let mut target = sftp
        .open_mode(Path::new(to), flags, 0o600, OpenType::File)
        .map_err(|e| refused(connection, &format!("creating {to}"), &e))?;
    let (mut piece, mut total) = (vec![0; PIECE_BYTES], 0);
    loop {
        let filled =
            fill(&mut *source, &mut piece).map_err(|e| on_host("reading", Path::new(&file.name), e))?;
        let mut left = piece.get(..filled).unwrap_or_default();
        if left.is_empty() {
            break;
        }
        while !left.is_empty() {
            let written = target.write(left).map_err(|e| unwritten(connection, &mut target, to, &e))?;
            left = left.get(written..).unwrap_or_default();
            total += written as u64;
            moved.send_replace(total);
        }
    }
    target.close().map_err(|e| refused(connection, &format!("writing {to}"), &e))
}

/// Brings the bytes of `from`.
pub(super) fn receive(
    connection: &Connection,
    sftp: &Sftp,
    from: &str,
    to: &Blocks,
    moved: &Moved,
) -> Result<(), TransportError> {
    let reading = format!("reading {from}");
    let mut source = sftp.open(Path::new(from)).map_err(|e| refused(connection, &reading, &e))?;
    // libssh2 gives what has come, and reads ahead by the room that it is given
    let (mut piece, mut total) = (vec![0; PIECE_BYTES], 0);
    let mut block = Vec::with_capacity(BLOCK_BYTES + PIECE_BYTES);
    loop {
        let n = source
            .read(&mut piece)
            .map_err(|e| lost(connection, reading.clone(), harmless(&e.to_string())))?;
        block.extend_from_slice(piece.get(..n).unwrap_or_default());
        if n == 0 || block.len() >= BLOCK_BYTES {
            let whole = std::mem::replace(&mut block, Vec::with_capacity(BLOCK_BYTES + PIECE_BYTES));
            to.put_blocking(whole).map_err(|e| on_host("writing what comes from", Path::new(from), e))?;
        }
        if n == 0 {
            return Ok(());
        }
        total += n as u64;
        moved.send_replace(total);
    }
}

/// Reads until the buffer is full or the source is at its end.
fn fill(source: &mut dyn Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match source.read(rest) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(filled)
}

/// A server's refusal in its own words, or the loss of the connection.
fn refused(connection: &Connection, doing: &str, error: &ssh2::Error) -> TransportError {
    let (doing, reason) = (doing.to_owned(), harmless(error.message()));
    match error.code() {
        ErrorCode::SFTP(PERMISSION_DENIED) => {
            TransportError::Refused { doing, reason: "Permission denied".to_owned() }
        }
        ErrorCode::SFTP(_) => TransportError::Refused { doing, reason },
        ErrorCode::Session(_) => lost(connection, doing, reason),
    }
}

/// A connection that is gone.
fn lost(connection: &Connection, doing: String, reason: String) -> TransportError {
    give_up(connection);
    TransportError::Lost { doing, reason }
}

/// A connection that will not be used any more. What lies open on it says goodbye when it is dropped, and libssh2 would
/// wait for the answer: behind all that was sent and not answered yet, or in a busy loop where the other side has hung
/// up.
fn give_up(connection: &Connection) {
    connection.session.set_timeout(GOODBYE_MS);
}

/// The shortest time that libssh2 takes for a limit.
const GOODBYE_MS: u32 = 1;

/// A disk is asked for its room this long.
const ROOM_MS: u32 = 2000;

/// LIBSSH2_ERROR_TIMEOUT.
const TIMED_OUT: i32 = -9;

/// SSH_FX_PERMISSION_DENIED of the SFTP protocol.
const PERMISSION_DENIED: i32 = 3;

/// Why a write failed. SFTP says no more than "failure" of a disk that is full, so it is asked for its room.
fn unwritten(connection: &Connection, target: &mut File, to: &str, error: &io::Error) -> TransportError {
    let (doing, reason) = (format!("writing {to}"), harmless(&error.to_string()));
    if !connection.is_open() || error.kind() == io::ErrorKind::TimedOut {
        return lost(connection, doing, reason);
    }
    connection.session.set_timeout(ROOM_MS);
    let full =
        target.statvfs().is_ok_and(|disk| disk.f_bavail.saturating_mul(disk.f_frsize) < PIECE_BYTES as u64);
    give_up(connection);
    let reason = if full { "No space left on device".to_owned() } else { reason };
    TransportError::Refused { doing, reason }
}
