//! The backend `nnapi`: devices as Android's Neural Networks API has them, over the engine's graph. A device says
//! per node whether it takes it; what it takes goes to it in as few subgraphs as can be, the rest runs on the CPU
//! with the reason. There are devices of our own in this process, and those of a `libneuralnetworks.so`.
//!
//! Devices get the graph after the passes, so that a partition has the nodes that the CPU would have run.

mod cache;
pub mod codes;
mod device;
mod host;
pub mod model;
mod partition;
mod session;

use super::graph::Graph;
use super::kernels::Tier;
use crate::{Error, NodeInfo, Observer, Result, Session};
use protocol::Fallback;
use std::path::PathBuf;

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
    const NAMES: [(&'static str, Self); 3] = [
        ("low-power", Self::LowPower),
        ("fast-single-answer", Self::FastSingleAnswer),
        ("sustained-speed", Self::SustainedSpeed),
    ];

    /// The name that options use.
    pub fn name(self) -> &'static str {
        Self::NAMES[self as usize].0
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
    /// Reads options by name: `device`, `preference`, `cache-dir`, `relax-fp16`, `burst`.
    ///
    /// # Errors
    /// A name or a value that there is not.
    pub fn read<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Self> {
        let mut options = Self::default();
        for (name, value) in pairs {
            match name {
                "device" => options.device = Some(value.to_owned()),
                "preference" => {
                    let known = Preference::NAMES.iter().find(|(n, _)| *n == value);
                    options.preference = known.map(|(_, p)| *p).ok_or_else(|| {
                        let names: Vec<&str> = Preference::NAMES.iter().map(|(n, _)| *n).collect();
                        unknown("preference", value, &names.join(", "))
                    })?;
                }
                "cache-dir" => options.cache_dir = Some(PathBuf::from(value)),
                "relax-fp16" => options.relax_fp16 = truth(name, value)?,
                "burst" => options.burst = truth(name, value)?,
                _ => {
                    return Err(unknown(
                        "option of the backend nnapi",
                        name,
                        "device, preference, cache-dir, relax-fp16, burst",
                    ));
                }
            }
        }
        Ok(options)
    }
}

fn truth(name: &str, value: &str) -> Result<bool> {
    value.parse().map_err(|_| unknown(&format!("value of {name}"), value, "true, false"))
}

fn unknown(what: &str, given: &str, known: &str) -> Error {
    Error::Unsupported(format!("no {what} {given:?}; there is {known}"))
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
            unknown("NNAPI device", name, &names.join(", "))
        })
    }
}

/// Makes a graph ready to run on a device, with the CPU for what the device does not take.
///
/// # Errors
/// A node that not even the CPU does, or no memory.
pub fn compile(graph: &Graph, device: &dyn Device, options: &Options) -> Result<Box<dyn Session>> {
    Ok(Box::new(session::Partitioned::new(graph, device, options)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read_and_refused_by_name() {
        let read = |pairs: &[(&'static str, &'static str)]| Options::read(pairs.iter().copied());
        assert_eq!(read(&[]).unwrap(), Options::default());
        let all = [
            ("device", "bench-int8"),
            ("preference", "sustained-speed"),
            ("cache-dir", "c"),
            ("relax-fp16", "true"),
            ("burst", "true"),
        ];
        let options = read(&all).unwrap();
        assert_eq!(options.preference, Preference::SustainedSpeed);
        assert_eq!(options.preference.name(), "sustained-speed");
        assert_eq!(options.device.as_deref(), Some("bench-int8"));
        assert!(options.relax_fp16 && options.burst);
        let refused = |name, value| read(&[(name, value)]).unwrap_err().to_string();
        assert!(refused("preference", "fast").contains("low-power, fast-single-answer, sustained-speed"));
        assert!(refused("burst", "yes").contains("no value of burst \"yes\"; there is true, false"));
        assert!(refused("threads", "2").contains("there is device, preference, cache-dir"));
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
