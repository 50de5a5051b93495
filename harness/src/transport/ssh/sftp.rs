//! Files over SFTP, in pieces large enough for libssh2, which waits for the answers to every piece. Blocks; a
//! stall is ended from outside, by cutting the connection.

use super::{
    super::{Content, HostFile, Moved, TransportError, remote::harmless},
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
    target.close().map_err(|e| refused(connection, &format!("writing {to}"), &e))?;
    Ok(())
}

/// Writes the bytes of `from` into the host's file `to`.
pub(super) fn receive(
    connection: &Connection,
    sftp: &Sftp,
    from: &str,
    to: &Path,
    moved: &Moved,
) -> Result<u64, TransportError> {
    let mut target = fs::File::create(to).map_err(|e| on_host("creating", to, e))?;
    let reading = format!("reading {from}");
    let mut source = sftp.open(Path::new(from)).map_err(|e| refused(connection, &reading, &e))?;
    let (mut piece, mut total) = (vec![0; PIECE_BYTES], 0);
    loop {
        let n = match source.read(&mut piece) {
            Ok(0) => break,
            Ok(n) => n,
            Err(e) => return Err(lost(connection, reading, harmless(&e.to_string()))),
        };
        target.write_all(piece.get(..n).unwrap_or_default()).map_err(|e| on_host("writing", to, e))?;
        total += n as u64;
        moved.send_replace(total);
    }
    Ok(total)
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

/// A connection that is gone. What lies open on it says goodbye when it is dropped, and libssh2 would wait for the
/// answer, in a busy loop where the other side has hung up.
fn lost(connection: &Connection, doing: String, reason: String) -> TransportError {
    connection.session.set_timeout(GOODBYE_MS);
    TransportError::Lost { doing, reason }
}

/// The shortest time that libssh2 takes for a limit.
const GOODBYE_MS: u32 = 1;

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
    let full =
        target.statvfs().is_ok_and(|disk| disk.f_bavail.saturating_mul(disk.f_frsize) < PIECE_BYTES as u64);
    let reason = if full { "No space left on device".to_owned() } else { reason };
    TransportError::Refused { doing, reason }
}

fn on_host(doing: &'static str, path: &Path, source: io::Error) -> TransportError {
    TransportError::Io { doing, path: path.display().to_string(), source }
}
