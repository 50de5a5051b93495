//! Files through the stdin or stdout of `cat`, for machines without SFTP. Works over any way to start a program.

use super::{
    super::{
        Content, HostFile, Moved, Process, ProcessEnd, TransportError, on_host,
        remote::{BLOCK_BYTES, Blocks, last_words},
    },
    shell::bounded,
};
use std::path::Path;
use tokio::{
    fs::File,
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
};

/// Bytes moved at a time.
const PIECE_BYTES: usize = 1 << 20;

/// Gives all bytes of `file` to a program that writes them to `to`.
pub(super) async fn send(
    process: Process,
    file: &HostFile,
    to: &str,
    moved: &Moved,
) -> Result<(), TransportError> {
    let Process { mut stdin, mut stdout, mut stderr, mut control } = process;
    let mut source: Box<dyn AsyncRead + Send + Unpin> = match &file.content {
        Content::Memory(bytes) => Box::new(&**bytes),
        Content::Path(path) => Box::new(File::open(path).await.map_err(|e| on_host("reading", path, e))?),
    };
    // it ends with the future, and with it the program's stdin
    let give = async move {
        let (mut piece, mut total) = (vec![0; PIECE_BYTES], 0);
        loop {
            let n =
                source.read(&mut piece).await.map_err(|e| on_host("reading", Path::new(&file.name), e))?;
            let bytes = piece.get(..n).unwrap_or_default();
            // a program that takes no more tells why on its stderr
            if n == 0 || stdin.write_all(bytes).await.is_err() {
                break;
            }
            total += n as u64;
            moved.send_replace(total);
        }
        // one that has ended already needs no more
        stdin.flush().await.ok();
        Ok(())
    };
    let (given, _, errors) = tokio::join!(give, bounded(&mut stdout), bounded(&mut stderr));
    given?;
    ended_well(control.wait().await?, &format!("writing {to}"), &errors)
}

/// Brings what a program prints.
pub(super) async fn receive(
    process: Process,
    from: &str,
    to: &Blocks,
    moved: &Moved,
) -> Result<(), TransportError> {
    let Process { stdin, mut stdout, mut stderr, mut control } = process;
    drop(stdin);
    let take = async {
        let (mut block, mut total) = (Vec::with_capacity(BLOCK_BYTES), 0);
        loop {
            // how it broke is told by the end of the program
            let n = stdout.read_buf(&mut block).await.unwrap_or_default();
            if n == 0 || block.len() >= BLOCK_BYTES {
                to.put(std::mem::replace(&mut block, Vec::with_capacity(BLOCK_BYTES))).await?;
            }
            if n == 0 {
                return Ok(());
            }
            total += n as u64;
            moved.send_replace(total);
        }
    };
    let (taken, errors) = tokio::join!(take, bounded(&mut stderr));
    taken.map_err(|e| on_host("writing what comes from", Path::new(from), e))?;
    ended_well(control.wait().await?, &format!("reading {from}"), &errors)
}

fn ended_well(end: ProcessEnd, doing: &str, errors: &[u8]) -> Result<(), TransportError> {
    let (doing, said) = (doing.to_owned(), last_words(errors));
    match end {
        ProcessEnd::Exited(0) => Ok(()),
        ProcessEnd::Unknown => Err(TransportError::Lost { doing, reason: said }),
        end if said.is_empty() => Err(TransportError::Refused { doing, reason: format!("its shell {end}") }),
        _ => Err(TransportError::Refused { doing, reason: said }),
    }
}
