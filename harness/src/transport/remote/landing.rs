//! A file that arrives on the host: written and hashed on a thread of its own, behind a short queue, while the rest of
//! it is on its way. Does not know what the hash should be.

use super::super::waiting::Waiting;
use protocol::{Sha256, Sha256Hex};
use std::{
    fs::File,
    io::{self, Write},
};
use tokio::{
    sync::mpsc,
    task::{JoinHandle, spawn_blocking},
};

/// Bytes that are best put into one block: the fewer blocks, the fewer wake-ups.
pub(in super::super) const BLOCK_BYTES: usize = 1 << 20;

/// Blocks that wait to be written; more, and whoever brings them waits.
const QUEUE: usize = 4;

/// Takes the blocks of a file, in order. Whoever has brought all of them drops it.
#[derive(Clone)]
pub(in super::super) struct Blocks(mpsc::Sender<Vec<u8>>);

/// The end of a landing: the hash of all blocks, and their bytes.
pub(in super::super) struct Landing(JoinHandle<io::Result<(Sha256Hex, u64)>>);

/// Begins to write blocks into an empty file.
pub(in super::super) fn begin(file: File) -> (Blocks, Landing) {
    let (blocks, arriving) = mpsc::channel(QUEUE);
    (Blocks(blocks), Landing(spawn_blocking(move || write(file, arriving))))
}

fn write(mut file: File, mut arriving: mpsc::Receiver<Vec<u8>>) -> io::Result<(Sha256Hex, u64)> {
    let (mut hash, mut bytes) = (Sha256::new(), 0);
    while let Some(block) = arriving.blocking_recv() {
        file.write_all(&block)?;
        hash.update(&block);
        bytes += block.len() as u64;
    }
    Ok((hash.finish(), bytes))
}

impl Blocks {
    /// Brings the next block.
    ///
    /// # Errors
    /// The disk took the one before not; why, [`Landing::end`] tells.
    pub(in super::super) async fn put(&self, block: Vec<u8>) -> io::Result<()> {
        self.0.send(block).await.map_err(|_| full())
    }

    /// The same on a thread that may block.
    ///
    /// # Errors
    /// See [`Self::put`].
    pub(in super::super) fn put_blocking(&self, block: Vec<u8>) -> io::Result<()> {
        self.0.blocking_send(block).map_err(|_| full())
    }
}

fn full() -> io::Error {
    io::Error::new(io::ErrorKind::BrokenPipe, "the file cannot be written")
}

impl Landing {
    /// Waits until everything is written. The time is the host's.
    ///
    /// # Errors
    /// The disk's own.
    pub(in super::super) async fn end(self) -> io::Result<(Sha256Hex, u64)> {
        let hold = Waiting::current().hold();
        let written = self.0.await;
        drop(hold);
        written?
    }
}
