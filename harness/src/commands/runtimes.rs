//! `bench runtimes`: the libraries of LiteRT, ONNX Runtime and their like: which there are, and how to bring more.

use super::FactsFormat;
use crate::{
    exit::{CommandResult, Exit, Failure},
    libraries::{Entry, KINDS, Kind, Origin, Shelf, fetch, take},
    progress::say,
    settings::{Layer, Settings},
    stdout::{print, print_json},
    values::human_bytes,
};
use clap::Subcommand;
use serde_json::json;
use std::path::{Path, PathBuf};

/// Runtimes that are fetched when none is named: those that people ship today.
const USUAL: [&str; 2] = ["litert", "onnxruntime"];

/// Arguments.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
    /// The host's cache folder; libraries lie in its folder `runtimes` [default: ~/.cache/bench]
    #[arg(long, global = true, env = "BENCH_CACHE", value_name = "DIR")]
    cache: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Say which libraries there are, and what they need of a device
    List {
        /// How to print
        #[arg(long, value_enum, default_value_t)]
        format: FactsFormat,
    },
    /// Fetch libraries out of the Python packages that carry them, with your pip; nothing of a package is installed
    Fetch {
        /// Runtimes, each the newest version or NAME@VERSION [default: litert onnxruntime]
        #[arg(value_name = "NAME")]
        names: Vec<String>,
        /// For devices of these architectures [default: this machine's]
        #[arg(long, value_name = "ARCH", value_delimiter = ',')]
        arch: Vec<String>,
    },
    /// Add a library of your own: a .so file, or an .aar, .whl or .zip that carries it
    Add {
        /// The file
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Its version [default: as its name says]
        #[arg(long, value_name = "VERSION")]
        version: Option<String>,
        /// Its runtime [default: as its name says]
        #[arg(long, value_name = "NAME")]
        runtime: Option<String>,
    },
}

/// Lists, fetches or adds.
pub(crate) fn work(args: Args, config: Option<&Path>) -> CommandResult {
    let settings = Settings::resolve(Layer { cache: args.cache, ..Layer::default() }, config)?;
    let shelf = Shelf::new(&settings.cache);
    match args.what {
        What::List { format } => list(&shelf, format),
        What::Fetch { names, arch } => bring(&shelf, names, arch),
        What::Add { file, version, runtime } => {
            let kind = runtime.as_deref().map(Kind::of).transpose().map_err(Failure::usage)?;
            let origin = Origin { source: None, version, kind };
            for entry in take(&shelf, &file, &origin).map_err(Failure::usage)? {
                print(&row(&entry))?;
            }
            Ok(Exit::Fine)
        }
    }
}

fn bring(shelf: &Shelf, names: Vec<String>, arches: Vec<String>) -> CommandResult {
    let names = if names.is_empty() { USUAL.map(str::to_owned).to_vec() } else { names };
    let arches = if arches.is_empty() { vec![std::env::consts::ARCH.to_owned()] } else { arches };
    let mut wanted = Vec::new();
    for name in &names {
        let (name, version) = match name.split_once('@') {
            Some((name, version)) => (name, Some(version)),
            None => (name.as_str(), None),
        };
        wanted.push((Kind::of(name).map_err(Failure::usage)?, version));
    }
    let mut exit = Exit::Fine;
    for (kind, version) in wanted {
        for arch in &arches {
            match fetch(shelf, kind, version, arch) {
                Ok(entry) => print(&row(&entry))?,
                Err(why) => {
                    say(&format!("error: {} for {arch}: {why}", kind.name));
                    exit = Exit::Incomplete;
                }
            }
        }
    }
    Ok(exit)
}

fn list(shelf: &Shelf, format: FactsFormat) -> CommandResult {
    let (entries, wrong) = shelf.entries();
    wrong.iter().for_each(|why| say(&format!("cannot be used: {why}")));
    if format == FactsFormat::Json {
        print_json(&entries.iter().map(value).collect::<Vec<_>>())?;
        return Ok(Exit::Fine);
    }
    let mut text: String = entries.iter().map(row).collect();
    for kind in KINDS.iter().filter(|kind| !entries.iter().any(|e| e.kind.name == kind.name)) {
        let (name, about) = (kind.name, kind.about);
        text.push_str(&format!("{name:<12} missing     {about}; to have it: bench runtimes fetch {name}\n"));
    }
    print(&text)?;
    Ok(Exit::Fine)
}

fn device(entry: &Entry) -> String {
    format!("{}{}", entry.arch, if entry.android { " Android" } else { "" })
}

fn row(entry: &Entry) -> String {
    let needs = match entry.needs() {
        Ok(needs) => {
            let glibc = needs.glibc.map(|version| format!("glibc {version}"));
            let cxx = needs.glibcxx.map(|version| format!("GLIBCXX_{version}"));
            let all: Vec<String> = glibc.into_iter().chain(cxx).collect();
            if all.is_empty() { String::new() } else { format!(", needs {}", all.join(" and ")) }
        }
        Err(why) => format!(", damaged: {why}"),
    };
    let bytes = std::fs::metadata(&entry.path).map(|facts| human_bytes(facts.len())).unwrap_or_default();
    let (name, version, hash) = (entry.kind.name, &entry.version, entry.sha256.short());
    format!("{name:<12} {version:<11} {:<16} {bytes}, {hash}{needs}; from {}\n", device(entry), entry.source)
}

fn value(entry: &Entry) -> serde_json::Value {
    let needs = entry.needs().ok();
    let version = |v: Option<crate::elf::Version>| v.map(|v| v.to_string());
    json!({
        "runtime": entry.kind.name,
        "version": entry.version,
        "arch": entry.arch,
        "android": entry.android,
        "path": entry.path.display().to_string(),
        "sha256": entry.sha256.as_str(),
        "source": entry.source,
        "needs_glibc": version(needs.as_ref().and_then(|n| n.glibc)),
        "needs_glibcxx": version(needs.as_ref().and_then(|n| n.glibcxx)),
    })
}
