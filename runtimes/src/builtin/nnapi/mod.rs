//! The backend `nnapi`: devices as Android's Neural Networks API has them, over the engine's graph. A device says
//! per node whether it takes it; what it takes goes to it in as few subgraphs as can be, the rest runs on the CPU
//! with the reason. There are devices of our own in this process, and those of a `libneuralnetworks.so`.
//!
//! Devices get the graph after the passes, so that a partition has the nodes that the CPU would have run.

mod cache;
pub mod codes;
mod device;
#[cfg(feature = "dlopen")]
mod export;
mod host;
#[cfg(feature = "dlopen")]
mod library;
pub mod model;
mod partition;
mod session;

use super::graph::Graph;
use super::kernels::Tier;
use crate::{CompileOptions, Error, NodeInfo, Observer, Result, Session};
use protocol::{Artifact, Fallback, Library, Sha256Hex};
use std::path::{Path, PathBuf};

/// Where Android keeps its library.
const SYSTEM_LIBRARY: &str = if cfg!(target_pointer_width = "64") {
    "/system/lib64/libneuralnetworks.so"
} else {
    "/system/lib/libneuralnetworks.so"
};

/// Type of a device, with the numbers of `DeviceTypeCode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub enum DeviceKind {
    /// It does not say.
    Unknown = 0,
    /// None of the others.
    Other = 1,
    /// Cores of the CPU.
    Cpu = 2,
    /// A GPU.
    Gpu = 3,
    /// Made for machine learning.
    Accelerator = 4,
}

impl DeviceKind {
    /// For people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Other => "other",
            Self::Cpu => "cpu",
            Self::Gpu => "gpu",
            Self::Accelerator => "accelerator",
        }
    }
}

/// What a driver says of its speed and power: relative to the CPU, less is better. A claim, never a measurement.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hint {
    /// Time of an execution over the CPU's.
    pub time: f32,
    /// Power over the CPU's.
    pub power: f32,
}

/// Hints by kind of arithmetic; `None` where the device does not do it, or its interface tells nothing.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Performance {
    /// f32 as f32.
    pub float: Option<Hint>,
    /// f32 computed as f16.
    pub relaxed_float: Option<Hint>,
    /// Quantised to 8 bits.
    pub quantized: Option<Hint>,
}

/// What is known of a device.
#[derive(Clone, Debug, PartialEq)]
pub struct DeviceInfo {
    /// Unique name.
    pub name: String,
    /// Type.
    pub kind: DeviceKind,
    /// Version of the driver.
    pub version: String,
    /// Feature level: 27 to 31 are the levels 1 to 5.
    pub feature_level: i64,
    /// Hints.
    pub performance: Performance,
    /// The device is code of this process and no library's.
    pub in_process: bool,
}

/// What a compilation is to be good at, with the numbers of `PreferenceCode`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(i32)]
pub enum Preference {
    /// Little power.
    LowPower = 0,
    /// One answer as fast as can be: the API's own default.
    #[default]
    FastSingleAnswer = 1,
    /// Many answers.
    SustainedSpeed = 2,
}

impl Preference {
    /// The name that options use.
    pub fn name(self) -> &'static str {
        match self {
            Self::LowPower => "low-power",
            Self::FastSingleAnswer => "fast-single-answer",
            Self::SustainedSpeed => "sustained-speed",
        }
    }
}

/// How a graph is to be compiled for a device.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Name of the device; none leaves the choice to [`Devices::choose`].
    pub device: Option<String>,
    /// What to be good at.
    pub preference: Preference,
    /// Where compilations may be kept.
    pub cache_dir: Option<PathBuf>,
    /// f32 may be computed as f16.
    pub relax_fp16: bool,
    /// Executions follow each other: what one needs is kept for the next.
    pub burst: bool,
}

impl Options {
    /// Names of the options of a runtime that these are read from.
    pub const NAMES: &[&str] = &["device", "preference", "cache-dir", "relax-fp16", "burst"];

    /// Reads them from the options of a runtime.
    ///
    /// # Errors
    /// A name or a value that there is not.
    pub fn read(options: &CompileOptions) -> Result<Self> {
        options.only("builtin", Self::NAMES)?;
        let preference =
            options.word("preference", &["fast-single-answer", "low-power", "sustained-speed"])?;
        let truth = |name| Ok::<_, Error>(options.word(name, &["false", "true"])? == "true");
        Ok(Self {
            device: options.options.get("device").cloned(),
            preference: match preference {
                "low-power" => Preference::LowPower,
                "sustained-speed" => Preference::SustainedSpeed,
                _ => Preference::FastSingleAnswer,
            },
            cache_dir: options.options.get("cache-dir").map(PathBuf::from),
            relax_fp16: truth("relax-fp16")?,
            burst: truth("burst")?,
        })
    }
}

/// Time of one execution, where the device tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Durations {
    /// On the hardware, in ns.
    pub hardware_ns: Option<u64>,
    /// In the driver, the hardware's included, in ns.
    pub driver_ns: Option<u64>,
}

/// What a compilation cache did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cached {
    /// Nobody asked for one.
    Unused,
    /// The device keeps nothing.
    Unsupported,
    /// Compiled and kept.
    FirstLoad,
    /// Taken from the cache.
    WarmLoad,
}

impl Cached {
    fn name(self) -> Option<&'static str> {
        match self {
            Self::Unused => None,
            Self::Unsupported => Some("device keeps no cache"),
            Self::FirstLoad => Some("first load"),
            Self::WarmLoad => Some("warm load"),
        }
    }
}

/// A device.
pub trait Device {
    /// What is known of it.
    fn info(&self) -> &DeviceInfo;

    /// Per node of the graph in order: `None` when the device takes it, else why not.
    ///
    /// # Errors
    /// The device cannot be asked.
    fn refusals(&self, graph: &Graph, options: &Options) -> Result<Vec<Option<String>>>;

    /// Compiles a graph all of whose nodes it takes.
    ///
    /// # Errors
    /// It does not take it after all.
    fn compile(&self, graph: &Graph, options: &Options) -> Result<Box<dyn Compiled>>;
}

/// A graph on a device or on the CPU, ready to run.
pub trait Compiled: Send {
    /// Runs once. Inputs and outputs are elements in the order of the graph's; outputs have their sizes already.
    ///
    /// # Errors
    /// The device reports one.
    fn run(&mut self, inputs: &[&[u8]], outputs: &mut [Vec<u8>]) -> Result<Durations>;

    /// As [`Compiled::run`], with an observer of nodes that count from `first`.
    ///
    /// # Errors
    /// As [`Compiled::run`].
    fn run_observed(
        &mut self,
        inputs: &[&[u8]],
        outputs: &mut [Vec<u8>],
        first: usize,
        observer: &mut dyn Observer,
    ) -> Result<Durations>;

    /// What an observer sees, in order.
    fn nodes(&self) -> Vec<NodeInfo>;

    /// Nobody sees the nodes inside: there is one for all.
    fn is_opaque(&self) -> bool {
        false
    }

    /// Nodes that did not run as they were asked to.
    fn fallbacks(&self) -> &[Fallback] {
        &[]
    }

    /// Kernels that run, where they are known.
    fn kernels(&self) -> &str {
        ""
    }

    /// What the compilation cache did.
    fn cached(&self) -> Cached {
        Cached::Unused
    }
}

/// The devices there are.
pub struct Devices(Vec<Box<dyn Device>>);

impl Devices {
    /// Those of this process.
    pub fn in_process() -> Self {
        let boxed = |device| Box::new(device) as Box<dyn Device>;
        Self(device::InProcess::all(Tier::detect()).map(boxed).collect())
    }

    /// Those of this system: on Android, of its own library too, where this build can load it.
    ///
    /// # Errors
    /// There is a library, and it cannot be loaded.
    pub fn of_system() -> Result<Self> {
        let path = Path::new(SYSTEM_LIBRARY);
        if !cfg!(all(target_os = "android", feature = "dlopen")) || !path.is_file() {
            return Ok(Self::in_process());
        }
        let file = Artifact { path: path.to_owned(), sha256: Sha256Hex::of_bytes(b"") };
        Self::with_library(&Library { version: "of the system".to_owned(), file, with: Vec::new() })
    }

    /// Those of a `libneuralnetworks.so`, and then those of this process.
    ///
    /// # Errors
    /// The library cannot be loaded.
    #[cfg(feature = "dlopen")]
    pub fn with_library(library: &Library) -> Result<Self> {
        let mut all = library::devices(library)?;
        all.extend(Self::in_process().0);
        Ok(Self(all))
    }

    /// As above, in a build that loads no libraries.
    ///
    /// # Errors
    /// Always.
    #[cfg(not(feature = "dlopen"))]
    pub fn with_library(library: &Library) -> Result<Self> {
        let path = library.file.path.display();
        Err(Error::RuntimeMissing(format!("{path}: this agent is static and loads no libraries")))
    }

    /// All of them, in the order in which they are chosen.
    pub fn iter(&self) -> impl Iterator<Item = &dyn Device> {
        self.0.iter().map(AsRef::as_ref)
    }

    /// The device of that name. Without one, the first of a library that is no CPU, then the first of a library,
    /// then our own for any graph.
    ///
    /// # Errors
    /// No such device; the message names those there are.
    pub fn choose(&self, name: Option<&str>) -> Result<&dyn Device> {
        let Some(name) = name else {
            let library = || self.iter().filter(|d| !d.info().in_process);
            let fast = library().find(|d| d.info().kind != DeviceKind::Cpu);
            let any = fast.or_else(|| library().next()).or_else(|| self.iter().next());
            return any.ok_or_else(|| Error::RuntimeMissing("no NNAPI device".to_owned()));
        };
        self.iter().find(|d| d.info().name == name).ok_or_else(|| {
            let names: Vec<&str> = self.iter().map(|d| d.info().name.as_str()).collect();
            Error::Unsupported(format!("no NNAPI device {name:?}; there is {}", names.join(", ")))
        })
    }
}

/// Makes a graph ready to run on a device, with the CPU for what the device does not take. `note` is added to what
/// the proof says of kernels.
///
/// # Errors
/// A node that not even the CPU does, or no memory.
pub fn compile(
    graph: &Graph,
    device: &dyn Device,
    options: &Options,
    note: &str,
) -> Result<Box<dyn Session>> {
    if !graph.variables().is_empty() {
        let message = "a model that keeps variables between invokes; builtin/cpu runs it".to_owned();
        return Err(Error::Unsupported(message));
    }
    Ok(Box::new(session::Partitioned::new(graph, device, options, note)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read_and_refused_by_name() {
        let read = |pairs: &[(&str, &str)]| {
            let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
            let options = pairs.iter().map(own).collect();
            Options::read(&CompileOptions { options, ..CompileOptions::new("nnapi") })
        };
        assert_eq!(read(&[]).unwrap(), Options::default());
        let all = [
            ("device", "bench-int8"),
            ("preference", "sustained-speed"),
            ("cache-dir", "c"),
            ("relax-fp16", "true"),
            ("burst", "true"),
        ];
        let options = read(&all).unwrap();
        assert_eq!(options.preference.name(), "sustained-speed");
        assert_eq!(options.device.as_deref(), Some("bench-int8"));
        assert!(options.relax_fp16 && options.burst && options.cache_dir.is_some());
        let refused = |name, value| read(&[(name, value)]).unwrap_err().to_string();
        assert!(refused("preference", "fast").contains("fast-single-answer, low-power, sustained-speed"));
        assert!(refused("burst", "yes").contains("option burst is one of false, true, not \"yes\""));
        assert!(
            refused("threads", "2").contains("builtin/nnapi has no option \"threads\": device, preference")
        );
    }

    #[test]
    fn devices_are_chosen_by_name() {
        let devices = Devices::in_process();
        assert_eq!(devices.choose(None).unwrap().info().name, "bench-reference");
        assert_eq!(devices.choose(Some("bench-fp16")).unwrap().info().name, "bench-fp16");
        let refused = devices.choose(Some("edgetpu")).err().unwrap().to_string();
        assert!(refused.contains("bench-reference, bench-int8, bench-fp16"), "{refused}");
    }
}
