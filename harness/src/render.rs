//! Reports of a run: the files beside its record, and what is printed. Every byte comes from `reports`; here is
//! only where it goes.

use crate::{
    exit::{CommandResult, ExitWith, Failure},
    progress::say,
    stdout::{print, stream},
};
use clap::builder::{PossibleValue, PossibleValuesParser};
use reports::{
    SideFormat,
    record::RunRecord,
    render::{FORMATS, Format, Options},
    store,
    table::Source,
    verdict::{Verdicts, verdicts},
};
use std::{
    env, fs,
    io::{self, IsTerminal},
    path::{Path, PathBuf},
};
use terminal_size::{Width, terminal_size_of};

/// What is printed unless something else is asked for.
const DEFAULT_FORMAT: &str = "terminal";

/// The page of a run, and that of several.
pub(crate) const PAGE: &str = "report.html";
const SIDE_PAGE: &str = "side-by-side.html";

/// Files that people are told of, when they are there.
const NAMED: &[&str] = &[PAGE, "results.csv"];

/// Widths that `COLUMNS` may ask for.
const COLUMNS: std::ops::RangeInclusive<u16> = 20..=1000;

/// A run with what is concluded from it.
pub(crate) struct Concluded {
    pub(crate) record: RunRecord,
    pub(crate) verdicts: Verdicts,
}

/// What is printed of a run.
#[derive(Debug, clap::Args)]
pub(crate) struct Shown {
    /// What to print on stdout; the files are written in any case
    #[arg(
        long,
        value_name = "NAME",
        default_value = DEFAULT_FORMAT,
        value_parser = format_names(),
        hide_possible_values = true
    )]
    pub(crate) format: String,
}

/// The names that `--format` takes, each with a line for people.
fn format_names() -> PossibleValuesParser {
    let name = |format: &'static Format| PossibleValue::new(format.name).help(format.about);
    PossibleValuesParser::new(FORMATS.iter().map(name))
}

/// Reads a run and draws every conclusion.
///
/// # Errors
/// The record cannot be read.
pub(crate) fn conclude(dir: &Path) -> CommandResult<Concluded> {
    let record = store::load(dir).or_usage()?;
    let verdicts = verdicts(&record);
    Ok(Concluded { record, verdicts })
}

/// Writes all report files into the run's folder.
///
/// # Errors
/// The record cannot be read, or a file not be written.
pub(crate) fn files(dir: &Path) -> CommandResult<(Concluded, Vec<PathBuf>)> {
    let concluded = conclude(dir)?;
    let paths = reports::write_all(dir, &concluded.record, &concluded.verdicts).or_incomplete()?;
    Ok((concluded, paths))
}

/// Writes all report files into the run's folder, prints the one of that name, and tells where the files are.
///
/// # Errors
/// The record cannot be read, or a file not be written.
pub(crate) fn render(dir: &Path, shown: &str) -> CommandResult<Concluded> {
    let (concluded, paths) = files(dir)?;
    if let Some(format) = FORMATS.iter().find(|f| f.name == shown) {
        stream_format(&concluded, format)?;
    }
    for path in paths.iter().filter(|path| NAMED.iter().any(|name| path.ends_with(name))) {
        tell(path, shown)?;
    }
    Ok(concluded)
}

/// Names a file that was written: among the results for people, beside them for programs.
fn tell(path: &Path, shown: &str) -> CommandResult<()> {
    match shown == DEFAULT_FORMAT {
        true => print(&format!("{}\n", path.display())),
        false => {
            say(&path.display().to_string());
            Ok(())
        }
    }
}

/// Prints one format.
///
/// # Errors
/// It is not for terminals, and stdout is one; or stdout refused.
pub(crate) fn stream_format(concluded: &Concluded, format: &Format) -> CommandResult<()> {
    if !format.text && io::stdout().is_terminal() {
        return Err(Failure::usage(format!(
            "{} is not for a terminal: send it to a file, or use `bench export --format {}`",
            format.name, format.name
        )));
    }
    let options = Options { width: width(), color: color() };
    stream(|out| Ok(format.write(&concluded.record, &concluded.verdicts, &options, out)?))
}

/// Puts runs side by side: writes the page into `out`, and prints them.
///
/// # Errors
/// A record cannot be read, the page cannot be written, or several runs have no such format.
pub(crate) fn side_by_side(dirs: &[PathBuf], shown: &str, out: &Path) -> CommandResult<()> {
    let format = match shown {
        DEFAULT_FORMAT => SideFormat::Terminal,
        "html" => SideFormat::Html,
        other => {
            return Err(Failure::usage(format!(
                "several runs have no {other}: use {DEFAULT_FORMAT} or html, or report each run by itself"
            )));
        }
    };
    let runs = dirs.iter().map(|dir| conclude(dir)).collect::<CommandResult<Vec<_>>>()?;
    let runs: Vec<Source<'_>> =
        runs.iter().map(|run| Source { record: &run.record, verdicts: &run.verdicts }).collect();
    let path = out.join(SIDE_PAGE);
    fs::create_dir_all(out).or_incomplete()?;
    store::write_atomic_with(&path, |file| {
        reports::side_by_side(SideFormat::Html, &runs, &Options::default(), file)
    })
    .or_incomplete()?;
    let options = Options { width: width(), color: color() };
    stream(|out| Ok(reports::side_by_side(format, &runs, &options, out)?))?;
    tell(&path, shown)
}

/// What `COLUMNS` says, else the columns of the terminal, else those of a page.
pub(crate) fn width() -> u16 {
    let asked = env::var("COLUMNS").ok().and_then(|text| text.trim().parse().ok());
    if let Some(columns) = asked.filter(|columns| COLUMNS.contains(columns)) {
        return columns;
    }
    let page = Options::default().width;
    terminal_size_of(io::stdout()).map_or(page, |(Width(columns), _)| columns.max(1))
}

fn color() -> bool {
    let set = |name: &str| env::var_os(name).is_some_and(|v| !v.is_empty());
    io::stdout().is_terminal() && !set("NO_COLOR") && env::var_os("TERM").is_none_or(|term| term != "dumb")
}
