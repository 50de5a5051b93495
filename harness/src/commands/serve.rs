//! `bench serve`: the dashboard of a farm, until it is told to end.

use super::block_on;
use crate::{
    exit::{CommandResult, Exit, ExitWith, Failure},
    history,
    interrupt::Interrupts,
    progress::say,
    settings::{Layer, Settings},
    stdout::print,
};
use anyhow::Context;
use farm::dashboard::{Access, Dashboard, Token, router, serve};
use std::{
    env,
    fs::File,
    io::Read,
    net::SocketAddr,
    path::{Path, PathBuf},
};
use tokio::net::TcpListener;

/// Holds the token where no file does.
const TOKEN: &str = "BENCH_SERVE_TOKEN";
/// Longest file with a token that is read.
const MAX_TOKEN_FILE: u64 = 4 << 10;

/// Arguments.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Folder in which the farm keeps its nights
    #[arg(long, value_name = "DIR", default_value = "nights")]
    out: PathBuf,
    /// Folder of the history, or s3://bucket/prefix [default: history, beside the runs]
    #[arg(long, env = "BENCH_HISTORY", value_name = "PLACE")]
    history: Option<String>,
    /// Address and port to listen on; port 0 takes one that is free. Beyond this machine only with a token
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8765")]
    listen: SocketAddr,
    /// File that holds the token which opens the dashboard [default: the variable BENCH_SERVE_TOKEN, if it is set]
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

/// Prints the address and serves until SIGINT or SIGTERM.
pub(crate) fn work(args: &Args, config: Option<&Path>) -> CommandResult {
    let token = token(args.token_file.as_deref())?;
    let access = Access::new(args.listen, token).or_usage()?;
    let settings = Settings::resolve(Layer { history: args.history.clone(), ..Layer::default() }, config)?;
    let dashboard = Dashboard::new(&args.out, Some(history::open(&settings)?));
    block_on(async {
        let mut interrupts = Interrupts::listen().or_incomplete()?;
        let listener = TcpListener::bind(args.listen)
            .await
            .with_context(|| {
                format!("{} cannot be listened on; --listen 127.0.0.1:0 takes a free port", args.listen)
            })
            .or_usage()?;
        let at = listener.local_addr().or_incomplete()?;
        if !args.out.is_dir() {
            say(&format!("there are no nights in {} yet; `bench nightly` makes them", args.out.display()));
        }
        print(&format!("http://{at}/\n"))?;
        serve(listener, router(dashboard, access), async move { interrupts.next().await }).await;
        Ok(Exit::Fine)
    })
}

fn token(file: Option<&Path>) -> CommandResult<Option<Token>> {
    let (text, place) = match file {
        Some(path) => (read(path).or_usage()?, path.display().to_string()),
        None => match env::var(TOKEN) {
            Ok(text) => (text, TOKEN.to_owned()),
            Err(env::VarError::NotPresent) => return Ok(None),
            Err(error) => return Err(Failure::usage(format!("{TOKEN}: {error}"))),
        },
    };
    Token::new(&text).map(Some).with_context(|| format!("the token in {place}")).or_usage()
}

fn read(path: &Path) -> anyhow::Result<String> {
    let mut text = String::new();
    let file = File::open(path).with_context(|| format!("--token-file {}", path.display()))?;
    file.take(MAX_TOKEN_FILE)
        .read_to_string(&mut text)
        .with_context(|| format!("--token-file {}", path.display()))?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_token_comes_from_a_file() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("token");
        let why = |path: &Path| {
            token(Some(path)).err().map(|failure| (failure.exit, format!("{:#}", failure.error)))
        };
        let (exit, missing) = why(&path).unwrap();
        assert!(exit == Exit::Usage && missing.contains("--token-file"), "{missing}");
        fs::write(&path, "short\n").unwrap();
        assert!(why(&path).unwrap().1.contains("openssl rand -hex 16"));
        fs::write(&path, "0123456789abcdef0123456789abcdef\n").unwrap();
        assert!(token(Some(&path)).unwrap().is_some());
    }

    #[test]
    fn others_are_refused_before_anything_is_listened_on() {
        let args = Args {
            out: "nights".into(),
            history: None,
            listen: "0.0.0.0:0".parse().unwrap(),
            token_file: None,
        };
        if env::var_os(TOKEN).is_none() {
            let failure = work(&args, None).unwrap_err();
            assert_eq!(failure.exit, Exit::Usage);
            assert!(failure.error.to_string().contains("--token-file"));
        }
    }
}
