//! `bench open`: the report of a run in a browser.

use super::block_on;
use crate::{
    exit::{CommandResult, Exit, ExitWith},
    progress::say,
    render, runs,
    settings::{Layer, Settings},
    stdout::print,
};
use std::{
    env,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};
use tokio::{process::Command, time::timeout};

/// A program that opens a page ends at once, or is the browser itself and goes on: so long it has to say that it failed.
const PATIENCE: Duration = Duration::from_secs(3);
/// Opens a file with what the user has chosen for its kind.
const OPENER: &str = if cfg!(target_os = "macos") { "open" } else { "xdg-open" };
/// Stands for the page in `$BROWSER`.
const PAGE: &str = "%s";

/// Arguments.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Folder or name of a run, or `latest`
    #[arg(value_name = "RUN", default_value = runs::LATEST)]
    run: String,
    /// Folder in which runs are kept [default: runs]
    #[arg(long, env = "BENCH_OUT", value_name = "DIR")]
    out: Option<PathBuf>,
}

/// Makes the report where there is none, and opens it with `$BROWSER` or what the desktop has for pages.
pub(crate) fn work(args: &Args, config: Option<&Path>) -> CommandResult {
    let settings = Settings::resolve(Layer { out: args.out.clone(), ..Layer::default() }, config)?;
    let dir = runs::find(&args.run, &settings.out)?;
    let page = dir.join(render::PAGE);
    if !page.is_file() {
        render::files(&dir)?;
    }
    let page = page.canonicalize().or_incomplete()?;
    let tried: Vec<Vec<String>> = browsers(env::var("BROWSER").ok().as_deref(), &page.display().to_string());
    let mut why = Vec::new();
    for command in &tried {
        match block_on(start(command))? {
            Ok(()) => {
                why.clear();
                break;
            }
            Err(reason) => why.push(reason),
        }
    }
    if !why.is_empty() {
        say(&format!("no browser was started ({}): open the page yourself", why.join("; ")));
    }
    print(&format!("{}\n", page.display()))?;
    Ok(Exit::Fine)
}

/// The command lines to try, in order: those of `$BROWSER`, which parts them by colons, then the desktop's.
fn browsers(wanted: Option<&str>, page: &str) -> Vec<Vec<String>> {
    let command = |line: &str| {
        let mut words: Vec<String> = line.split_whitespace().map(|word| word.replace(PAGE, page)).collect();
        if !line.contains(PAGE) {
            words.push(page.to_owned());
        }
        words
    };
    let named = wanted.into_iter().flat_map(|all| all.split(':')).filter(|line| !line.trim().is_empty());
    named.chain([OPENER]).map(command).collect()
}

/// Starts it; the reason where it does not start, or ends at once with an error.
async fn start(command: &[String]) -> CommandResult<Result<(), String>> {
    let Some((program, args)) = command.split_first() else { return Ok(Err("no command".to_owned())) };
    let started = Command::new(program)
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let mut child = match started {
        Ok(child) => child,
        Err(error) => return Ok(Err(format!("{program}: {error}"))),
    };
    Ok(match timeout(PATIENCE, child.wait()).await {
        Ok(Ok(status)) if !status.success() => Err(format!("{program}: {status}")),
        Ok(Err(error)) => Err(format!("{program}: {error}")),
        // it ended well, or it is the browser and stays
        Ok(Ok(_)) | Err(_) => Ok(()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_users_browsers_come_first() {
        let lines = |wanted| browsers(wanted, "/a b/report.html");
        assert_eq!(lines(None), [[OPENER, "/a b/report.html"]]);
        assert_eq!(
            lines(Some("firefox --new-window:w3m %s::")),
            [
                vec!["firefox", "--new-window", "/a b/report.html"],
                vec!["w3m", "/a b/report.html"],
                vec![OPENER, "/a b/report.html"],
            ]
        );
    }
}
