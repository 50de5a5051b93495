//! Settings and where they come from: flags, then environment, then `bench.toml`, then defaults. One
//! struct names every setting once; clap reads the first two levels into it, TOML the third.

use crate::{
    agents::Agents,
    exit::{CommandResult, ExitWith, Failure},
    transport::Options,
    values::{Margins, RuntimeOption, Share, Size, Span},
};
use anyhow::Context;
use protocol::{RuntimeId, Sharing};
use serde::Deserialize;
use std::{
    env, fs,
    path::{Path, PathBuf},
};

/// Name of the settings file, looked for in the working directory and upwards.
pub(crate) const FILE_NAME: &str = "bench.toml";

/// Longest settings file that is read.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// Pushed files that a device keeps, unless somebody says otherwise: some hundred models.
const CACHE_LIMIT: Size = Size(2 << 30);

/// One level of settings. `None`: this level says nothing.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, clap::Args)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(crate) struct Layer {
    /// Devices to measure on: an id, tag:NAME, a transport, transport:address, all, or such words joined with
    /// and, or, not; may be repeated [default: local]
    #[arg(long, env = "BENCH_DEVICE", value_name = "DEVICES", value_delimiter = ',')]
    pub(crate) device: Option<Vec<String>>,
    /// File that describes devices [default: the nearest devices.toml, then ~/.config/bench/devices.toml]
    #[arg(long, env = "BENCH_DEVICES", value_name = "FILE")]
    pub(crate) devices: Option<PathBuf>,
    /// Runtime and backend, e.g. builtin/cpu; may be repeated [default: the suite's]
    #[arg(long, env = "BENCH_RUNTIME", value_name = "RUNTIME/BACKEND", value_delimiter = ',')]
    pub(crate) runtime: Option<Vec<RuntimeId>>,
    /// Option of a runtime, e.g. onnxruntime/cpu:spinning=false; may be repeated
    #[arg(long, env = "BENCH_OPTION", value_name = "RUNTIME/BACKEND:NAME=VALUE", value_delimiter = ',')]
    pub(crate) option: Option<Vec<RuntimeOption>>,
    /// Threads a runtime may use [default: the suite's]
    #[arg(long, env = "BENCH_THREADS", value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub(crate) threads: Option<u16>,
    /// Seed of every random order; the same seed draws the same plan [default: random]
    #[arg(long, env = "BENCH_SEED", value_name = "N")]
    pub(crate) seed: Option<u64>,
    /// Most units per device; a verdict needs 6 [default: the suite's]
    #[arg(long, env = "BENCH_UNITS", value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) units: Option<u32>,
    /// Stop measuring a device after so long, e.g. 90s, 4m [default: 4m]
    #[arg(long, env = "BENCH_TIME_BUDGET", value_name = "TIME")]
    pub(crate) time_budget: Option<Span>,
    /// How variants share a device: ping-pong, all alive and served in turns, or pairs, one process after the other
    /// [default: the suite's, or ping-pong where they fit into memory]
    #[arg(long, env = "BENCH_SCHEDULE", value_name = "NAME")]
    pub(crate) schedule: Option<Sharing>,
    /// Measure latency until its plain interval reaches no farther than this from the ratio, e.g. 0.5%, whatever is
    /// decided before [default: until it is decided]
    #[arg(long, env = "BENCH_PRECISION", value_name = "SHARE")]
    pub(crate) precision: Option<Share>,
    /// Change of a cost that matters, e.g. 3%; of some costs another one: 3%,init_ns=10% [default: the suite's]
    #[arg(long, env = "BENCH_MARGIN", value_name = "SHARE")]
    pub(crate) margin: Option<Margins>,
    /// Drop of the task score that is still acceptable, e.g. 1% [default: the suite's]
    #[arg(long, env = "BENCH_ACCURACY_MARGIN", value_name = "SHARE")]
    pub(crate) accuracy_margin: Option<Share>,
    /// Measure a model against itself, equal and slowed by a known share, beside the rest, to see whether the device can
    /// be believed; false saves that time [default: true]
    #[arg(long, env = "BENCH_CANARIES", value_name = "BOOL")]
    pub(crate) canaries: Option<bool>,
    /// Folder in which every run gets a folder of its own [default: runs]
    #[arg(long, env = "BENCH_OUT", value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
    /// Folder for files that are pushed to the local device [default: ~/.cache/bench]
    #[arg(long, env = "BENCH_CACHE", value_name = "DIR")]
    pub(crate) cache: Option<PathBuf>,
    /// Most bytes of pushed files that a device keeps; the least recently used go first [default: 2GiB]
    #[arg(long, env = "BENCH_CACHE_LIMIT", value_name = "SIZE")]
    pub(crate) cache_limit: Option<Size>,
    /// Folder with agents for devices, bench-agent-ARCH [default: agents in the cache folder]
    #[arg(long, env = "BENCH_AGENT_DIR", value_name = "DIR")]
    pub(crate) agent_dir: Option<PathBuf>,
    /// Folder or s3://bucket/prefix of the history; a flag of the commands that use it [default: history, beside `out`]
    #[arg(skip)]
    pub(crate) history: Option<String>,
    /// Trust SSH hosts that were never seen, and write their keys down; a changed key is refused all the same
    #[arg(long)]
    #[serde(skip)]
    pub(crate) accept_new_host_key: bool,
}

impl Layer {
    /// What this level says, and where it says nothing, what `below` says.
    fn over(self, below: Self) -> Self {
        Self {
            device: self.device.or(below.device),
            devices: self.devices.or(below.devices),
            runtime: self.runtime.or(below.runtime),
            option: self.option.or(below.option),
            threads: self.threads.or(below.threads),
            seed: self.seed.or(below.seed),
            units: self.units.or(below.units),
            time_budget: self.time_budget.or(below.time_budget),
            schedule: self.schedule.or(below.schedule),
            precision: self.precision.or(below.precision),
            margin: self.margin.or(below.margin),
            accuracy_margin: self.accuracy_margin.or(below.accuracy_margin),
            canaries: self.canaries.or(below.canaries),
            out: self.out.or(below.out),
            cache: self.cache.or(below.cache),
            cache_limit: self.cache_limit.or(below.cache_limit),
            agent_dir: self.agent_dir.or(below.agent_dir),
            history: self.history.or(below.history),
            accept_new_host_key: self.accept_new_host_key,
        }
    }

    /// Paths of a file are meant from where the file lies.
    fn based_on(mut self, folder: &Path) -> Self {
        self.out = self.out.map(|p| folder.join(p));
        self.cache = self.cache.map(|p| folder.join(p));
        self.devices = self.devices.map(|p| folder.join(p));
        self.agent_dir = self.agent_dir.map(|p| folder.join(p));
        self.history = self.history.map(|place| place_from(folder, place));
        self
    }

    /// The rules that clap has for flags, for the other source.
    fn check(&self) -> Result<(), String> {
        if self.threads.is_some_and(|n| !(1..=256).contains(&n)) {
            return Err("threads must be 1 to 256".to_owned());
        }
        if self.units.is_some_and(|n| !(1..=1000).contains(&n)) {
            return Err("units must be 1 to 1000".to_owned());
        }
        Ok(())
    }
}

/// What is needed to reach devices, for commands that take no other settings.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct ReachArgs {
    /// File that describes devices [default: the nearest devices.toml, then ~/.config/bench/devices.toml]
    #[arg(long = "devices", global = true, env = "BENCH_DEVICES", value_name = "FILE")]
    file: Option<PathBuf>,
    /// Folder for files that are pushed to the local device [default: ~/.cache/bench]
    #[arg(long, global = true, env = "BENCH_CACHE", value_name = "DIR")]
    cache: Option<PathBuf>,
    /// Folder with agents for devices [default: agents in the cache folder]
    #[arg(long, global = true, env = "BENCH_AGENT_DIR", value_name = "DIR")]
    agent_dir: Option<PathBuf>,
    /// Trust SSH hosts that were never seen, and write their keys down; a changed key is refused all the same
    #[arg(long, global = true)]
    accept_new_host_key: bool,
}

impl From<ReachArgs> for Layer {
    fn from(reach: ReachArgs) -> Self {
        Self {
            devices: reach.file,
            cache: reach.cache,
            agent_dir: reach.agent_dir,
            accept_new_host_key: reach.accept_new_host_key,
            ..Self::default()
        }
    }
}

/// All levels together.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Settings {
    /// Devices to measure on, in the words of the user.
    pub(crate) devices: Vec<String>,
    /// File that describes devices; `None`: one of the usual places.
    pub(crate) devices_file: Option<PathBuf>,
    /// Runtimes; empty: the suite's.
    pub(crate) runtimes: Vec<RuntimeId>,
    /// Options of runtimes, over the suite's.
    pub(crate) options: Vec<RuntimeOption>,
    /// Threads; `None`: the suite's.
    pub(crate) threads: Option<u16>,
    /// Seed; `None`: random.
    pub(crate) seed: Option<u64>,
    /// Most units per device; `None`: the suite's.
    pub(crate) units: Option<u32>,
    /// When to stop; `None`: the default.
    pub(crate) time_budget: Option<Span>,
    /// How variants share a device; `None`: the suite's.
    pub(crate) schedule: Option<Sharing>,
    /// Latency is measured until its plain interval is so narrow; `None`: until it is decided.
    pub(crate) precision: Option<Share>,
    /// Margins of costs, where they are not the suite's.
    pub(crate) margin: Margins,
    /// Margin of the task score; `None`: the suite's.
    pub(crate) accuracy_margin: Option<Share>,
    /// Whether the measuring itself is watched.
    pub(crate) canaries: bool,
    /// Where runs are kept.
    pub(crate) out: PathBuf,
    /// Where the local device keeps pushed files.
    pub(crate) cache: PathBuf,
    /// Most bytes of pushed files per device.
    pub(crate) cache_limit: Size,
    /// Folder with agents; `None`: the usual ones.
    pub(crate) agent_dir: Option<PathBuf>,
    /// Where the history is kept: a folder, or `s3://bucket/prefix`.
    pub(crate) history: String,
    /// Keys of hosts that were never seen are taken on trust.
    pub(crate) accept_new_host_key: bool,
}

impl Settings {
    /// Puts flags and environment (`top`) over the file named, or else the nearest one.
    ///
    /// # Errors
    /// Names the file and the key, or says which setting is missing.
    pub(crate) fn resolve(top: Layer, config: Option<&Path>) -> CommandResult<Self> {
        let here = env::current_dir().context("the working directory cannot be read").or_usage()?;
        let file = match config {
            Some(path) => Some(path.to_owned()),
            None => nearest_file(&here),
        };
        let below = match file {
            Some(path) => read_layer(&path)?,
            None => Layer::default(),
        };
        let all = top.over(below);
        if all.precision == Some(Share(0.0)) {
            return Err(Failure::usage("precision is 0: no number of units is enough for that; write 0.5%"));
        }
        let cache = match all.cache {
            Some(path) => path,
            None => default_cache()?,
        };
        let out = here.join(all.out.unwrap_or_else(|| PathBuf::from("runs")));
        let beside = || out.with_file_name("history").display().to_string();
        Ok(Self {
            history: all.history.map_or_else(beside, |place| place_from(&here, place)),
            devices: each_once(all.device.unwrap_or_else(|| vec!["local".to_owned()])),
            devices_file: all.devices.map(|p| here.join(p)),
            runtimes: each_once(all.runtime.unwrap_or_default()),
            options: all.option.unwrap_or_default(),
            threads: all.threads,
            seed: all.seed,
            units: all.units,
            time_budget: all.time_budget,
            schedule: all.schedule,
            precision: all.precision,
            margin: all.margin.unwrap_or_default(),
            accuracy_margin: all.accuracy_margin,
            canaries: all.canaries.unwrap_or(true),
            out,
            cache: here.join(cache),
            cache_limit: all.cache_limit.unwrap_or(CACHE_LIMIT),
            agent_dir: all.agent_dir.map(|p| here.join(p)),
            accept_new_host_key: all.accept_new_host_key,
        })
    }

    /// What transports want to know.
    pub(crate) fn options(&self) -> Options {
        Options {
            cache: self.cache.clone(),
            accept_new_host_key: self.accept_new_host_key,
            ..Options::default()
        }
    }

    /// Where agents for devices may lie.
    pub(crate) fn agents(&self) -> Agents {
        Agents::new(self.agent_dir.as_deref(), &self.cache)
    }
}

/// A folder is meant from another one, a URL from nowhere.
fn place_from(folder: &Path, place: String) -> String {
    if place.contains("://") { place } else { folder.join(place).display().to_string() }
}

fn each_once<T: PartialEq>(list: Vec<T>) -> Vec<T> {
    let mut kept = Vec::with_capacity(list.len());
    for item in list {
        if !kept.contains(&item) {
            kept.push(item);
        }
    }
    kept
}

fn nearest_file(from: &Path) -> Option<PathBuf> {
    from.ancestors().map(|folder| folder.join(FILE_NAME)).find(|path| path.is_file())
}

fn read_layer(path: &Path) -> CommandResult<Layer> {
    let size =
        fs::metadata(path).with_context(|| format!("the settings file {}", path.display())).or_usage()?;
    if size.len() > MAX_FILE_BYTES {
        return Err(Failure::usage(format!(
            "the settings file {} is longer than {MAX_FILE_BYTES} bytes",
            path.display()
        )));
    }
    let text = fs::read_to_string(path)
        .with_context(|| format!("the settings file {}", path.display()))
        .or_usage()?;
    let bad =
        |why: String| Failure::usage(format!("the settings file {}: {}", path.display(), why.trim_end()));
    let layer: Layer = toml::from_str(&text).map_err(|e| bad(e.to_string()))?;
    layer.check().map_err(bad)?;
    Ok(layer.based_on(path.parent().unwrap_or(Path::new("."))))
}

fn default_cache() -> CommandResult<PathBuf> {
    let absolute = |name: &str| env::var_os(name).map(PathBuf::from).filter(|p| p.is_absolute());
    absolute("XDG_CACHE_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".cache")))
        .map(|p| p.join("bench"))
        .ok_or_else(|| {
            Failure::usage(
                "neither XDG_CACHE_HOME nor HOME is set: say with --cache where pushed files may be kept",
            )
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(folder: &Path, text: &str) -> PathBuf {
        let path = folder.join(FILE_NAME);
        fs::write(&path, text).unwrap();
        path
    }

    #[test]
    fn a_flag_beats_the_file_and_the_file_beats_the_default() {
        let folder = tempfile::tempdir().unwrap();
        let path =
            file(folder.path(), "seed = 7\nthreads = 2\nmargin = \"5%\"\nout = \"kept\"\ncache = \"/c\"\n");
        let flags = Layer { threads: Some(4), ..Layer::default() };
        let got = Settings::resolve(flags, Some(&path)).unwrap();
        assert_eq!((got.threads, got.seed, got.margin.all), (Some(4), Some(7), Some(0.05)));
        assert_eq!((got.out, got.cache), (folder.path().join("kept"), PathBuf::from("/c")));
        assert_eq!(got.devices, ["local"]);
    }

    #[test]
    fn the_history_lies_beside_the_runs_or_where_it_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let place = |text: &str, flag: Option<&str>| {
            let path = file(folder.path(), text);
            let flags = Layer { history: flag.map(str::to_owned), ..Layer::default() };
            Settings::resolve(flags, Some(&path)).unwrap().history
        };
        let here = |name: &str| folder.path().join(name).display().to_string();
        assert_eq!(place("out = \"kept/runs\"", None), here("kept/history"));
        assert_eq!(place("history = \"nights\"", None), here("nights"));
        assert_eq!(place("history = \"nights\"", Some("/else")), "/else");
        assert_eq!(place("history = \"s3://farm/x\"", None), "s3://farm/x");
    }

    #[test]
    fn the_nearest_file_upwards_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let deep = folder.path().join("a/b");
        fs::create_dir_all(&deep).unwrap();
        let far = file(folder.path(), "");
        assert_eq!(nearest_file(&deep), Some(far));
        let near = file(&folder.path().join("a"), "");
        assert_eq!(nearest_file(&deep), Some(near));
    }

    #[test]
    fn a_bad_file_is_named_with_the_key() {
        let folder = tempfile::tempdir().unwrap();
        for (text, word) in [
            ("sede = 7", "sede"),
            ("margin = \"lots\"", "lots"),
            ("margin = \"3%,init=1%\"", "init_ns"),
            ("margin = true", "margins like"),
            ("threads = 0", "threads"),
            ("units = 100000", "units"),
            ("time-budget = 4", "time-budget"),
            ("runtime = [\"builtin\"]", "runtime/backend"),
            ("seed = [", "line 1"),
        ] {
            let path = file(folder.path(), text);
            let failure = Settings::resolve(Layer::default(), Some(&path)).unwrap_err();
            let message = format!("{:#}", failure.error);
            assert!(message.contains("bench.toml") && message.contains(word), "{text}: {message}");
        }
        let missing = folder.path().join("none.toml");
        assert!(Settings::resolve(Layer::default(), Some(&missing)).is_err());
    }

    #[test]
    fn devices_are_taken_once() {
        assert_eq!(each_once(vec!["a", "b", "a"]), ["a", "b"]);
    }
}
