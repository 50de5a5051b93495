//! `bench export`: a run in the formats that other tools read, from its record alone.

use crate::{
    exit::{CommandResult, Exit, ExitWith, Failure},
    progress::say,
    render::{Concluded, conclude, stream_format},
    runs,
    settings::{Layer, Settings},
    stdout::print,
};
use clap::builder::{PossibleValue, PossibleValuesParser};
use reports::{
    render::{FORMATS, Format, Options},
    store,
};
use std::{
    fs,
    path::{Path, PathBuf},
};

/// Several formats under one name: the name, what it is for people, and which ones.
type Group = (&'static str, &'static str, fn(&Format) -> bool);

const GROUPS: &[Group] = &[
    ("parquet", "every table as Parquet", |f| f.name.ends_with("-parquet")),
    ("csv", "every table as CSV", |f| f.name.ends_with("-csv")),
    ("pictures", "every picture, as SVG and PNG", |f| f.name.ends_with("-svg") || f.name.ends_with("-png")),
    ("all", "everything there is", |_| true),
];

/// Stands for stdout.
const STDOUT: &str = "-";

/// Arguments.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Folder or name of a run, or `latest`
    #[arg(value_name = "RUN", default_value = runs::LATEST)]
    run: String,
    /// What to write; may be given several times
    #[arg(long, value_name = "NAME", default_value = "parquet", value_delimiter = ',', value_parser = names())]
    format: Vec<String>,
    /// A folder for the files; for one format also a file, or `-` for stdout [default: the folder of the run]
    #[arg(long, value_name = "PATH")]
    out: Option<PathBuf>,
    /// Folder in which runs are kept [default: runs]
    #[arg(long, env = "BENCH_OUT", value_name = "DIR")]
    runs: Option<PathBuf>,
}

fn names() -> PossibleValuesParser {
    let groups = GROUPS.iter().map(|(name, about, _)| PossibleValue::new(*name).help(*about));
    let formats = FORMATS.iter().map(|f| PossibleValue::new(f.name).help(f.about));
    PossibleValuesParser::new(groups.chain(formats))
}

/// Writes the files, and prints where they are.
pub(crate) fn work(args: &Args, config: Option<&Path>) -> CommandResult {
    let settings = Settings::resolve(Layer { out: args.runs.clone(), ..Layer::default() }, config)?;
    let dir = runs::find(&args.run, &settings.out)?;
    let formats = chosen(&args.format);
    let places = places(&formats, args.out.as_deref(), &dir)?;
    let concluded = conclude(&dir)?;
    match places {
        Places::Stdout(format) => stream_format(&concluded, format)?,
        Places::Files(files) => {
            for (format, path) in files {
                write(&concluded, format, &path)?;
                print(&format!("{}\n", path.display()))?;
            }
        }
    }
    if concluded.record.finished.is_none() {
        say("this run was cut off: what was exported is what was complete by then");
    }
    Ok(Exit::Fine)
}

/// The formats of these names, in the order of the list, each once.
fn chosen(names: &[String]) -> Vec<&'static Format> {
    let wanted = |format: &&Format| {
        names.iter().any(|name| {
            name == format.name || GROUPS.iter().any(|(group, _, holds)| name == group && holds(format))
        })
    };
    FORMATS.iter().filter(wanted).collect()
}

enum Places {
    Stdout(&'static Format),
    Files(Vec<(&'static Format, PathBuf)>),
}

/// Where each of them goes.
fn places(formats: &[&'static Format], out: Option<&Path>, dir: &Path) -> CommandResult<Places> {
    let into = |folder: &Path| Places::Files(formats.iter().map(|f| (*f, folder.join(f.file))).collect());
    let Some(out) = out else { return Ok(into(dir)) };
    let folder = out.is_dir() || out.as_os_str().as_encoded_bytes().ends_with(b"/");
    Ok(match formats {
        [format] if out.as_os_str() == STDOUT => Places::Stdout(format),
        _ if out.as_os_str() == STDOUT => {
            return Err(Failure::usage("only one format can go to stdout: name a folder with --out"));
        }
        [format] if !folder => Places::Files(vec![(*format, out.to_owned())]),
        _ if out.exists() && !out.is_dir() => {
            return Err(Failure::usage(format!(
                "{} is a file, and several formats need a folder: name one with --out",
                out.display()
            )));
        }
        _ => into(out),
    })
}

pub(super) fn write(concluded: &Concluded, format: &Format, path: &Path) -> CommandResult<()> {
    if let Some(folder) = path.parent().filter(|p| !p.as_os_str().is_empty()) {
        let made = fs::create_dir_all(folder);
        made.map_err(|e| anyhow::anyhow!("{} cannot be made: {e}", folder.display())).or_usage()?;
    }
    let Concluded { record, verdicts } = concluded;
    store::write_atomic_with(path, |out| format.write(record, verdicts, &Options::default(), out))
        .or_incomplete()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn formats(names: &[&str]) -> Vec<&'static Format> {
        chosen(&names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>())
    }

    fn files(names: &[&str], out: Option<&str>) -> Vec<String> {
        match places(&formats(names), out.map(Path::new), Path::new("run")).unwrap() {
            Places::Stdout(format) => vec![format!("- {}", format.name)],
            Places::Files(files) => files.iter().map(|(_, path)| path.display().to_string()).collect(),
        }
    }

    #[test]
    fn groups_and_names_are_found_once() {
        let parquet = formats(&["parquet", "samples-parquet"]);
        let names: Vec<_> = parquet.iter().map(|f| f.name).collect();
        assert_eq!(names, ["results-parquet", "units-parquet", "accuracy-parquet", "samples-parquet"]);
        assert_eq!(formats(&["all"]).len(), FORMATS.len());
        for (name, _, holds) in GROUPS {
            assert!(FORMATS.iter().any(holds) && FORMATS.iter().all(|f| f.name != *name), "{name}");
        }
    }

    #[test]
    fn one_file_has_a_name_and_several_a_folder() {
        assert_eq!(files(&["trace"], None), ["run/trace.json"]);
        assert_eq!(files(&["trace"], Some("x.json")), ["x.json"]);
        assert_eq!(files(&["trace"], Some("new/")), ["new/trace.json"]);
        assert_eq!(files(&["trace"], Some("-")), ["- trace"]);
        assert_eq!(files(&["trace", "json"], Some("new")), ["new/report.json", "new/trace.json"]);
        let folder = tempfile::tempdir().unwrap();
        assert!(files(&["trace"], folder.path().to_str())[0].ends_with("/trace.json"));
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        for (names, out) in [("pictures", "-"), ("pictures", file.to_str().unwrap())] {
            assert!(places(&formats(&[names]), Some(Path::new(out)), Path::new("run")).is_err());
        }
    }
}
