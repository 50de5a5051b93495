//! Pushes a file to a device, or fetches it from there, and prints the bytes sent, the seconds in all, and the
//! seconds until the last byte was on its way, which leaves out the check of the content. For comparisons with
//! `adb push` and `scp`.
//!
//! `transfer push|pull TRANSPORT:ADDRESS FILE`
#![expect(clippy::print_stdout, reason = "an example prints what it found")]

use anyhow::{Context, Result, bail};
use harness::transport::{Guarded, HostFile, Options, Reach, TRANSPORTS};
use std::{path::Path, time::Instant};

fn main() -> Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [what, device, file] = words.as_slice() else {
        bail!("say transfer push|pull TRANSPORT:ADDRESS FILE");
    };
    let (name, address) = device.split_once(':').context("a device is TRANSPORT:ADDRESS")?;
    let kind = TRANSPORTS.iter().find(|kind| kind.name == name).context("no transport has this name")?;
    let reach = Reach { address: address.to_owned(), ..Reach::default() };
    let device = (kind.open)(&reach, &Options::default()).map_err(anyhow::Error::msg)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(transfer(what, &Guarded::new(device), Path::new(file)))
}

async fn transfer(what: &str, device: &Guarded, path: &Path) -> Result<()> {
    let file = HostFile::from_path(path)?;
    device.probe().await?;
    let began = Instant::now();
    let mut last = began;
    let pushed = device.push(&file, |_| last = Instant::now()).await?;
    if what == "push" {
        let (all, bare) = (began.elapsed().as_secs_f64(), (last - began).as_secs_f64());
        println!("{} {all:.3} {bare:.3}", pushed.sent_bytes);
        return Ok(());
    }
    let to = tempfile::tempdir()?;
    let began = Instant::now();
    let bytes = device.pull(&pushed.path, &file.sha256, &to.path().join("fetched")).await?;
    println!("{bytes} {:.3}", began.elapsed().as_secs_f64());
    Ok(())
}
