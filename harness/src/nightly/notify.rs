//! Tells somebody that a night has ended: a program of theirs, or a web address. What they are told is the summary as
//! JSON; that nobody could be told never changes how the night ended.

use super::{
    exit_of,
    file::{Notify, When},
};
use crate::exit::Exit;
use farm::night::Summary;
use std::{process::Stdio, time::Duration};
use tokio::{io::AsyncWriteExt, process::Command, time::timeout};

/// Who is told has so long to listen.
const LIMIT: Duration = Duration::from_secs(30);

/// Tells whoever wants to know of such a night.
pub(super) async fn tell(notify: &Notify, summary: &Summary, text: &[u8]) -> Result<(), String> {
    if notify.when == When::Trouble && exit_of(summary) == Exit::Fine {
        return Ok(());
    }
    let program = async { Some(command(notify.command.split_first()?, summary, text).await) };
    let address = async { Some(post(notify.webhook.as_ref()?, text).await) };
    let (program, address) = tokio::join!(program, address);
    let failed: Vec<String> = [program, address].into_iter().flatten().filter_map(Result::err).collect();
    if failed.is_empty() { Ok(()) } else { Err(failed.join("; ")) }
}

async fn command(
    (program, args): (&String, &[String]),
    summary: &Summary,
    text: &[u8],
) -> Result<(), String> {
    let failed = |e: std::io::Error| format!("notify: {program}: {e}");
    let mut child = Command::new(program)
        .args(args)
        .env("BENCH_NIGHT", &summary.night)
        .env("BENCH_EXIT", exit_of(summary).code().to_string())
        .stdin(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(failed)?;
    let mut stdin = child.stdin.take();
    let work = async {
        if let Some(stdin) = &mut stdin
            && let Err(error) = stdin.write_all(text).await
            && error.kind() != std::io::ErrorKind::BrokenPipe
        {
            return Err(failed(error));
        }
        drop(stdin.take());
        let status = child.wait().await.map_err(failed)?;
        if status.success() { Ok(()) } else { Err(format!("notify: {program}: {status}")) }
    };
    match timeout(LIMIT, work).await {
        Ok(done) => done,
        Err(_) => Err(format!("notify: {program}: not done within {} s", LIMIT.as_secs())),
    }
}

async fn post(url: &str, text: &[u8]) -> Result<(), String> {
    // the address may hold a secret: it is not repeated
    let failed = |e: reqwest::Error| format!("notify: webhook: {}", e.without_url());
    let client = reqwest::Client::builder().timeout(LIMIT).build().map_err(failed)?;
    let asked = client.post(url).header("content-type", "application/json").body(text.to_vec());
    let status = asked.send().await.map_err(failed)?.status();
    if status.is_success() { Ok(()) } else { Err(format!("notify: webhook: answered {status}")) }
}
