//! `bench agents`: the executables that run on devices: which there are, and how to build them.

use super::FactsFormat;
use crate::{
    agents::{Agents, Builder, Flavour, check},
    exit::{CommandResult, Exit, Failure},
    progress::say,
    settings::{Layer, Settings},
    stdout::{print, print_json},
    transport::HostFile,
    unknown::unknown,
    values::human_bytes,
};
use clap::Subcommand;
use serde_json::json;
use std::path::{Path, PathBuf};

/// Arguments.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
    /// Where agents lie: DIR/bench-agent-ARCH [default: agents in the cache folder]
    #[arg(long, global = true, env = "BENCH_AGENT_DIR", value_name = "DIR")]
    agent_dir: Option<PathBuf>,
    /// The host's cache folder [default: ~/.cache/bench]
    #[arg(long, global = true, env = "BENCH_CACHE", value_name = "DIR")]
    cache: Option<PathBuf>,
    /// Checkout with the sources of bench [default: the one that this bench was built from]
    #[arg(long, global = true, value_name = "DIR")]
    source: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Say which agents there are, and how the others can be built
    List {
        /// How to print
        #[arg(long, value_enum, default_value_t)]
        format: FactsFormat,
    },
    /// Build agents from the sources
    Build {
        /// Architectures; ARCH-glibc for one that can load LiteRT or ONNX Runtime [default: all that are static]
        #[arg(value_name = "ARCH")]
        arches: Vec<String>,
    },
}

/// Lists or builds.
pub(crate) fn work(args: Args, config: Option<&Path>, quiet: bool) -> CommandResult {
    let layer = Layer { cache: args.cache, agent_dir: args.agent_dir, ..Layer::default() };
    let agents = Settings::resolve(layer, config)?.agents();
    match args.what {
        What::List { format } => list(&agents, args.source, format),
        What::Build { arches } => build(&agents, args.source, &arches, quiet),
    }
}

fn build(agents: &Agents, source: Option<PathBuf>, names: &[String], quiet: bool) -> CommandResult {
    let builder = Builder::new(source, agents.clone()).map_err(Failure::usage)?;
    let flavours: Vec<Flavour> = if names.is_empty() {
        Flavour::all().filter(|flavour| !flavour.glibc).collect()
    } else {
        names.iter().map(|name| flavour(name)).collect::<CommandResult<_>>()?
    };
    let mut exit = Exit::Fine;
    for flavour in flavours {
        match builder.build(flavour, quiet) {
            Ok(path) => print(&format!("{}\n", path.display()))?,
            Err(why) => {
                say(&format!("error: {}: {why}", flavour.name()));
                exit = Exit::Usage;
            }
        }
    }
    Ok(exit)
}

fn flavour(name: &str) -> CommandResult<Flavour> {
    Flavour::all().find(|flavour| flavour.name() == name).ok_or_else(|| {
        let names: Vec<String> = Flavour::all().map(Flavour::name).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        Failure::usage(unknown("architecture", name, &names))
    })
}

/// One line of the list.
struct Row {
    flavour: Flavour,
    /// The agent, with its place.
    found: Option<(PathBuf, Result<HostFile, String>)>,
    /// How it can be built.
    recipe: Result<String, String>,
}

fn list(agents: &Agents, source: Option<PathBuf>, format: FactsFormat) -> CommandResult {
    let builder = Builder::new(source, agents.clone());
    let row = |flavour: Flavour| {
        let name = flavour.name();
        let checked = |path: &PathBuf| {
            check(path, &name)?;
            HostFile::from_path(path).map_err(|e| e.to_string())
        };
        Row {
            flavour,
            found: agents.path(&name).map(|path| (path.clone(), checked(&path))),
            recipe: builder.as_ref().map_err(Clone::clone).and_then(|b| b.recipe(flavour)).map(|r| r.text()),
        }
    };
    let rows: Vec<Row> = Flavour::all().map(row).collect();
    match format {
        FactsFormat::Text => print(&rows.iter().map(Row::text).collect::<String>())?,
        FactsFormat::Json => print_json(&rows.iter().map(Row::value).collect::<Vec<_>>())?,
    }
    Ok(Exit::Fine)
}

impl Row {
    fn text(&self) -> String {
        let loads =
            if self.flavour.glibc { "; loads libraries of runtimes, on systems with glibc" } else { "" };
        let mut text = format!("{:<14} {}{loads}\n", self.flavour.name(), self.flavour.arch.about);
        let mut line = |name: &str, value: &str| {
            text.push_str(&format!("  {name:<8} {}\n", value.replace('\n', &format!("\n{:11}", ""))));
        };
        match &self.found {
            Some((path, Ok(file))) => {
                let facts =
                    format!("{}, {}, {}", path.display(), human_bytes(file.bytes), file.sha256.short());
                line("ready", &facts);
            }
            Some((_, Err(why))) => line("unusable", why),
            None => line("missing", &format!("to have one: bench agents build {}", self.flavour.name())),
        }
        match &self.recipe {
            Ok(recipe) => line("builds", recipe),
            Err(why) => line("no build", why),
        }
        text
    }

    fn value(&self) -> serde_json::Value {
        let (path, file) = match &self.found {
            Some((path, file)) => (Some(path.display().to_string()), file.as_ref()),
            None => (None, Err(&String::new())),
        };
        json!({
            "arch": self.flavour.name(),
            "path": path,
            "ready": file.is_ok(),
            "bytes": file.ok().map(|f| f.bytes),
            "sha256": file.ok().map(|f| f.sha256.as_str()),
            "trouble": file.err().filter(|why| !why.is_empty()),
            "recipe": self.recipe.as_ref().ok(),
            "cannot_build": self.recipe.as_ref().err(),
        })
    }
}
