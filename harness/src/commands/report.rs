//! `bench report`: the reports of a run once more, from its record alone; several runs side by side.

use crate::{
    exit::{CommandResult, Exit, ExitWith, Failure},
    render::{self, Shown},
    runs,
    settings::{Layer, Settings},
};
use std::path::{Path, PathBuf};

/// Runs that are put side by side, at most: a page has no room for more.
const MAX_RUNS: usize = 12;

/// Arguments.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Folder or name of a run, or `latest`; several are put side by side
    #[arg(value_name = "RUN", default_value = runs::LATEST)]
    runs: Vec<String>,
    #[command(flatten)]
    shown: Shown,
    /// Folder in which runs are kept [default: runs]
    #[arg(long, env = "BENCH_OUT", value_name = "DIR")]
    out: Option<PathBuf>,
}

/// Renders it.
pub(crate) fn work(args: &Args, config: Option<&Path>) -> CommandResult {
    let settings = Settings::resolve(Layer { out: args.out.clone(), ..Layer::default() }, config)?;
    let find = |run: &String| runs::find(run, &settings.out);
    let dirs = args.runs.iter().map(find).collect::<CommandResult<Vec<_>>>()?;
    match dirs.as_slice() {
        [dir] => {
            render::render(dir, &args.shown.format)?;
        }
        dirs => side_by_side(dirs, &args.shown.format, &settings.out)?,
    }
    Ok(Exit::Fine)
}

fn side_by_side(dirs: &[PathBuf], format: &str, out: &Path) -> CommandResult<()> {
    if dirs.len() > MAX_RUNS {
        return Err(Failure::usage(format!("{} runs: at most {MAX_RUNS} fit side by side", dirs.len())));
    }
    let same = |dir: &PathBuf| dir.canonicalize().or_usage();
    let mut seen = dirs.iter().map(same).collect::<CommandResult<Vec<_>>>()?;
    seen.sort();
    if let Some(twice) = seen.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(Failure::usage(format!("{} is given twice", twice[0].display())));
    }
    render::side_by_side(dirs, format, out)
}
