//! Reports of a run: the files beside its record, and what is printed. Every byte comes from `reports`; here is
//! only where it goes.

use crate::{
    exit::{CommandResult, ExitWith},
    progress::say,
    stdout::{print, stream},
};
use clap::builder::{PossibleValue, PossibleValuesParser};
use reports::{
    record::RunRecord,
    render::{FORMATS, Format, Options},
    store,
    verdict::{Verdicts, verdicts},
};
use std::{
    env,
    io::{self, IsTerminal},
    path::Path,
};
use terminal_size::{Width, terminal_size_of};

/// What is printed unless something else is asked for.
const DEFAULT_FORMAT: &str = "terminal";

/// Files that people are told of, when they are there.
const NAMED: &[&str] = &["report.html", "results.csv"];

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

/// Writes all report files into the run's folder, prints the one of that name, and tells where the files are.
///
/// # Errors
/// The record cannot be read, or a file not be written.
pub(crate) fn render(dir: &Path, shown: &str) -> CommandResult<Concluded> {
    let record = store::load(dir).or_usage()?;
    let verdicts = verdicts(&record);
    let concluded = Concluded { record, verdicts };
    let paths = reports::write_all(dir, &concluded.record, &concluded.verdicts).or_incomplete()?;
    let options = Options { width: width(), color: color() };
    if let Some(format) = FORMATS.iter().find(|f| f.name == shown) {
        stream(|out| Ok(format.write(&concluded.record, &concluded.verdicts, &options, out)?))?;
    }
    for path in paths.iter().filter(|path| NAMED.iter().any(|name| path.ends_with(name))) {
        // among the results for people, beside them for programs
        if shown == DEFAULT_FORMAT {
            print(&format!("{}\n", path.display()))?
        } else {
            say(&path.display().to_string())
        }
    }
    Ok(concluded)
}

/// Columns of the terminal, or of a page where there is none.
pub(crate) fn width() -> u16 {
    let page = Options::default().width;
    terminal_size_of(io::stdout()).map_or(page, |(Width(columns), _)| columns.max(1))
}

fn color() -> bool {
    let set = |name: &str| env::var_os(name).is_some_and(|v| !v.is_empty());
    io::stdout().is_terminal() && !set("NO_COLOR") && env::var_os("TERM").is_none_or(|term| term != "dumb")
}
