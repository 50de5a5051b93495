//! Files to and from a device, over adb's sync service. A transfer that breaks off is an error, one that the
//! device refuses ends at once. Sets no deadlines: whoever waits sees the bytes move.

use super::{
    super::{
        Moved,
        remote::{BLOCK_BYTES, Blocks, harmless},
    },
    server::Fault,
};
use std::time::SystemTime;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};

/// Most bytes of a file in one frame; a longer one is refused by adbd.
const FRAME_BYTES: usize = 64 * 1024;

/// Frames written at a time: what is written together travels to the device together. Few enough that a slow
/// link still shows progress.
const FRAMES_AT_A_TIME: usize = 4;

/// Before every frame: four letters and a number.
const HEADER_BYTES: usize = 8;

/// Longest refusal that is read.
const MAX_REFUSAL: usize = 64 * 1024;

/// A regular file for its owner; it gets its final mode with its final name.
const MODE: u32 = 0o100_600;

/// Four letters, and a number that is mostly a length.
type Header = ([u8; 4], usize);

/// Writes all of `source` into the device's file `path`.
pub(super) async fn send(
    from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    source: impl AsyncRead + Unpin,
    path: &str,
    moved: &Moved,
) -> Result<(), Fault> {
    to.write_all(&frame(*b"SEND", format!("{path},{MODE}").as_bytes())).await?;
    let answer = answer(from);
    tokio::pin!(answer);
    // a device that is full says so early: nothing more is sent then
    let sent = tokio::select! {
        biased;
        early = &mut answer => {
            early?;
            return Err(Fault::Nonsense("the file was accepted before it was sent".to_owned()));
        }
        sent = send_frames(source, to, moved) => sent,
    };
    match sent {
        // the device knows better why it hung up
        Ok(()) | Err(Fault::Broken(_)) => answer.await,
        Err(fault) => Err(fault),
    }
}

async fn send_frames(
    mut source: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    moved: &Moved,
) -> Result<(), Fault> {
    let mut packet = vec![0; FRAMES_AT_A_TIME * (HEADER_BYTES + FRAME_BYTES)];
    let mut total = 0;
    loop {
        let mut length = 0;
        for frame in packet.chunks_exact_mut(HEADER_BYTES + FRAME_BYTES) {
            let (head, body) = frame.split_at_mut(HEADER_BYTES);
            let n = fill(&mut source, body).await?;
            head.copy_from_slice(&header(*b"DATA", n));
            length += if n == 0 { 0 } else { HEADER_BYTES + n };
            total += n as u64;
            if n < FRAME_BYTES {
                break;
            }
        }
        if length == 0 {
            break;
        }
        to.write_all(packet.get(..length).unwrap_or_default()).await?;
        moved.send_replace(total);
    }
    let now = SystemTime::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_secs());
    to.write_all(&header(*b"DONE", usize::try_from(now).unwrap_or_default())).await?;
    Ok(to.flush().await?)
}

/// Reads until the room is full or the source at its end.
async fn fill(source: &mut (impl AsyncRead + Unpin), room: &mut [u8]) -> Result<usize, Fault> {
    let mut filled = 0;
    while let Some(rest) = room.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        let n = source.read(rest).await.map_err(Fault::Disk)?;
        if n == 0 {
            break;
        }
        filled += n;
    }
    Ok(filled)
}

async fn answer(mut from: impl AsyncRead + Unpin) -> Result<(), Fault> {
    match read_header(&mut from).await? {
        (word, _) if word == *b"OKAY" => Ok(()),
        (word, length) if word == *b"FAIL" => Err(refusal(&mut from, length).await),
        (word, _) => Err(nonsense(word)),
    }
}

/// Brings all of the device's file `path`.
pub(super) async fn receive(
    from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    path: &str,
    sink: &Blocks,
    moved: &Moved,
) -> Result<(), Fault> {
    to.write_all(&frame(*b"RECV", path.as_bytes())).await?;
    let mut from = BufReader::with_capacity(BLOCK_BYTES, from);
    let room = || Vec::with_capacity(BLOCK_BYTES + FRAME_BYTES);
    let (mut block, mut total) = (room(), 0);
    loop {
        let (word, length) = read_header(&mut from).await?;
        let last = match &word {
            b"DATA" if length <= FRAME_BYTES => false,
            b"DONE" => true,
            b"FAIL" => return Err(refusal(&mut from, length).await),
            _ => return Err(nonsense(word)),
        };
        if !last {
            let at = block.len();
            block.resize(at + length, 0);
            from.read_exact(block.get_mut(at..).unwrap_or_default()).await?;
            total += length as u64;
            moved.send_replace(total);
        }
        if last || block.len() >= BLOCK_BYTES {
            sink.put(std::mem::replace(&mut block, room())).await.map_err(Fault::Disk)?;
        }
        if last {
            return Ok(());
        }
    }
}

/// The size of a device's file modulo 4 GiB, which is all that every adbd can tell; 0 when it is not there.
pub(super) async fn size(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    path: &str,
) -> Result<u32, Fault> {
    to.write_all(&frame(*b"STAT", path.as_bytes())).await?;
    match read_header(&mut from).await? {
        (word, _mode) if word == *b"STAT" => {
            let size = from.read_u32_le().await?;
            from.read_u32_le().await?;
            Ok(size)
        }
        (word, _) => Err(nonsense(word)),
    }
}

async fn read_header(from: &mut (impl AsyncRead + Unpin)) -> Result<Header, Fault> {
    let mut word = [0; 4];
    from.read_exact(&mut word).await?;
    Ok((word, usize::try_from(from.read_u32_le().await?).unwrap_or(usize::MAX)))
}

async fn refusal(from: &mut (impl AsyncRead + Unpin), length: usize) -> Fault {
    let mut reason = vec![0; length.min(MAX_REFUSAL)];
    match from.read_exact(&mut reason).await {
        Ok(_) => Fault::Device(harmless(&String::from_utf8_lossy(&reason))),
        Err(error) => Fault::Broken(error),
    }
}

fn frame(word: [u8; 4], content: &[u8]) -> Vec<u8> {
    header(word, content.len()).into_iter().chain(content.iter().copied()).collect()
}

fn header(word: [u8; 4], number: usize) -> [u8; HEADER_BYTES] {
    let [a, b, c, d] = word;
    // times after 2106 and lengths that adbd would refuse are cut to what fits
    let [e, f, g, h] = u32::try_from(number).unwrap_or(u32::MAX).to_le_bytes();
    [a, b, c, d, e, f, g, h]
}

fn nonsense(word: [u8; 4]) -> Fault {
    Fault::Nonsense(format!("a frame {:?}", String::from_utf8_lossy(&word)))
}
