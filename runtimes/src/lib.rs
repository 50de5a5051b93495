//! Every way to execute a model, behind one seam: a [`Runtime`] is [`Loaded`], opens a file as a [`Model`], a
//! model is compiled to a [`Session`], a session is fed and invoked. These are separate calls so that the caller
//! can time them apart. No clock, no process handling and no statistics here.
//!
//! A runtime is a folder and a line in [`RUNTIMES`].

pub mod builtin;
#[cfg(feature = "dlopen")]
mod dlopen;
mod error;
pub mod fake;
pub mod layers;
#[cfg(feature = "dlopen")]
mod litert;
#[cfg(feature = "dlopen")]
mod mapped;
#[cfg(feature = "dlopen")]
mod onnxruntime;
#[cfg(feature = "dlopen")]
mod said;
#[cfg(feature = "dlopen")]
mod tflite;

pub use error::{Error, Result};
use protocol::{BackendProof, Format, Library, ModelFacts, NodeProfile, TensorInfo};
use std::{collections::BTreeMap, path::Path};

/// Every runtime that this build knows. One that cannot be used on this device says so when opened.
pub const RUNTIMES: &[&dyn Runtime] = &[
    &builtin::Builtin,
    #[cfg(feature = "dlopen")]
    &litert::LiteRt,
    #[cfg(feature = "dlopen")]
    &tflite::TfLite,
    #[cfg(feature = "dlopen")]
    &onnxruntime::OnnxRuntime,
    &fake::Fake,
];

/// The runtime of that name, as in [`protocol::RuntimeId::runtime`].
pub fn runtime(name: &str) -> Result<&'static dyn Runtime> {
    RUNTIMES.iter().find(|r| r.name() == name).copied().ok_or_else(|| {
        let known: Vec<&str> = RUNTIMES.iter().map(|r| r.name()).collect();
        Error::RuntimeMissing(format!("no runtime {name:?} in this build; there is {}", known.join(", ")))
    })
}

/// A way to execute models.
pub trait Runtime: Sync {
    /// Name, as in [`protocol::RuntimeId::runtime`].
    fn name(&self) -> &'static str;

    /// Backends, the default first. A library may have fewer.
    fn backends(&self) -> &'static [&'static str];

    /// Version of what is inside this build; empty where a library has it, see [`Loaded::version`].
    fn version(&self) -> &'static str {
        ""
    }

    /// Formats of model files that it opens; empty: any.
    fn formats(&self) -> &'static [Format] {
        &[]
    }

    /// File name of the library that [`Runtime::load`] must be given; `None`: it needs none.
    fn library(&self) -> Option<&'static str> {
        None
    }

    /// It runs no models and only pretends, for tests: never to be chosen unless it is named.
    fn pretends(&self) -> bool {
        false
    }

    /// Makes the runtime ready in this process, for good: a library is never unloaded.
    ///
    /// # Errors
    /// A library that is missing, of another kind or architecture, or of a version that this build cannot
    /// drive; one that was given and is not wanted.
    fn load(&self, library: Option<&Library>) -> Result<Box<dyn Loaded>>;
}

/// For runtimes that are inside this build: refuses a library.
fn no_library(runtime: &str, library: Option<&Library>) -> Result<()> {
    match library {
        None => Ok(()),
        Some(library) => Err(Error::Unsupported(format!(
            "the runtime {runtime} takes no library, and was given {}",
            library.file.path.display()
        ))),
    }
}

/// A runtime that can open models.
pub trait Loaded {
    /// Version of the library as it tells itself; `None`: it does not.
    fn version(&self) -> Option<String> {
        None
    }

    /// Reads and parses a model file. Everything that depends on options waits for
    /// [`Model::compile`].
    ///
    /// # Errors
    /// The file cannot be read, is damaged, or is of a format this runtime does not do.
    fn open(&self, path: &Path) -> Result<Box<dyn Model>>;
}

/// A parsed model file.
pub trait Model {
    /// What is in the file.
    ///
    /// # Errors
    /// This runtime cannot tell.
    fn facts(&self) -> Result<ModelFacts> {
        Err(Error::Unsupported("this runtime does not tell what a file holds".to_owned()))
    }

    /// Inputs in the model's order, open dimensions as `None`.
    ///
    /// # Errors
    /// This runtime tells them only once the model is compiled.
    fn inputs(&self) -> Result<Vec<TensorInfo>>;

    /// Makes the model ready to run: passes, packing, allocation, delegates.
    ///
    /// # Errors
    /// The backend, an operator, a type or a shape is not supported.
    fn compile(&self, options: &CompileOptions) -> Result<Box<dyn Session>>;
}

/// How a model is to be compiled.
#[derive(Clone, Debug)]
pub struct CompileOptions {
    /// One of [`Runtime::backends`].
    pub backend: String,
    /// Threads the session may use.
    pub threads: u16,
    /// One shape per input in the model's order; `None` takes the file's, with 1 for open dimensions.
    pub input_shapes: Option<Vec<Vec<u64>>>,
    /// Tensors, by their name in the file, whose contents [`Observer::finished`] is to see even where a
    /// pass would otherwise have fused them away or their memory been used again. [`layers::ALL_TAPS`] is all of them.
    pub taps: Vec<String>,
    /// [`Session::profile`] will be asked. Costs time and memory: never true where those are measured.
    pub profile: bool,
    /// Options in the runtime's own words; [`CompileOptions::only`] refuses those it does not know.
    pub options: BTreeMap<String, String>,
}

impl CompileOptions {
    /// One thread, the file's shapes, no taps, no profile, no options.
    pub fn new(backend: &str) -> Self {
        Self {
            backend: backend.to_owned(),
            threads: 1,
            input_shapes: None,
            taps: Vec::new(),
            profile: false,
            options: BTreeMap::new(),
        }
    }

    /// Refuses options other than these.
    ///
    /// # Errors
    /// Names the first one that is not known, and those that are.
    pub fn only(&self, runtime: &str, known: &[&str]) -> Result<()> {
        let Some(name) = self.options.keys().find(|name| !known.contains(&name.as_str())) else {
            return Ok(());
        };
        let there_is = if known.is_empty() { "it has none".to_owned() } else { known.join(", ") };
        Err(Error::Unsupported(format!("{runtime}/{} has no option {name:?}: {there_is}", self.backend)))
    }

    /// An option that is one of some words; the first of them where it is not given.
    ///
    /// # Errors
    /// Another word.
    pub fn word<'a>(&self, name: &str, words: &[&'a str]) -> Result<&'a str> {
        let first = words.first().copied().unwrap_or_default();
        let Some(given) = self.options.get(name) else { return Ok(first) };
        words.iter().find(|word| *word == given).copied().ok_or_else(|| {
            Error::Unsupported(format!("option {name} is one of {}, not {given:?}", words.join(", ")))
        })
    }
}

/// A node of the prepared graph.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeInfo {
    /// Name in the file of the node's first output tensor.
    pub name: String,
    /// Operator of the prepared graph.
    pub op: String,
    /// Where it runs, as in [`protocol::UnitShare::unit`].
    pub unit: String,
}

/// Is told about every node of an invoke, in execution order. The caller brings the clock.
pub trait Observer {
    /// Node `index` of [`Session::nodes`] is about to run.
    fn started(&mut self, index: usize);
    /// Node `index` has run, and these are the elements of its first output, little-endian.
    fn finished(&mut self, index: usize, output: &TensorInfo, bytes: &[u8]);
}

/// A model ready to run.
pub trait Session {
    /// Inputs in the model's order, every dimension known.
    fn inputs(&self) -> &[TensorInfo];

    /// Outputs in the model's order. A dimension that depends on the data is `None` until an invoke.
    fn outputs(&self) -> &[TensorInfo];

    /// Copies an input: little-endian elements in the input's own type, exactly as many as it holds.
    ///
    /// # Errors
    /// No such input, or another number of bytes.
    fn set_input(&mut self, index: usize, bytes: &[u8]) -> Result<()>;

    /// Runs the model once on the inputs that were set.
    ///
    /// # Errors
    /// The runtime reports one.
    fn invoke(&mut self) -> Result<()>;

    /// Elements of an output of the last invoke, little-endian, in the output's own type.
    ///
    /// # Errors
    /// No such output.
    fn output(&self, index: usize) -> Result<&[u8]>;

    /// What really runs where.
    fn proof(&self) -> &BackendProof;

    /// Most bytes that the runtime's own allocator for tensors has given out at once so far; `None` where it has
    /// none, or does not count.
    fn arena_peak_bytes(&self) -> Option<u64> {
        None
    }

    /// Nodes in execution order; empty where the runtime does not tell.
    fn nodes(&self) -> &[NodeInfo] {
        &[]
    }

    /// As [`Session::invoke`], with an observer.
    ///
    /// # Errors
    /// The runtime cannot be observed, or reports an error.
    fn invoke_observed(&mut self, observer: &mut dyn Observer) -> Result<()> {
        let _unused = observer;
        Err(Error::Unsupported("this runtime does not show its nodes".to_owned()))
    }

    /// Runs the model `iterations` times, after one run that does not count, and says how long each node took and
    /// where it ran. `clock` tells nanoseconds, for runtimes that have no clock of their own.
    ///
    /// # Errors
    /// The model was not compiled with [`CompileOptions::profile`], or the runtime cannot tell or reports an error.
    fn profile(&mut self, iterations: u32, clock: &dyn Fn() -> u64) -> Result<Vec<NodeProfile>> {
        let mut watch = StopWatch::new(self.nodes(), clock);
        self.invoke_observed(&mut watch)?;
        watch.nodes.iter_mut().for_each(|node| node.wall_ns.clear());
        for _ in 0..iterations {
            self.invoke_observed(&mut watch)?;
        }
        Ok(watch.nodes)
    }
}

/// Brings a clock to an observed invoke.
pub(crate) struct StopWatch<'a> {
    pub(crate) nodes: Vec<NodeProfile>,
    clock: &'a dyn Fn() -> u64,
    started_ns: u64,
}

impl<'a> StopWatch<'a> {
    pub(crate) fn new(nodes: &[NodeInfo], clock: &'a dyn Fn() -> u64) -> Self {
        let row = |n: &NodeInfo| NodeProfile {
            node: n.name.clone(),
            op: n.op.clone(),
            unit: n.unit.clone(),
            wall_ns: Vec::new(),
        };
        Self { nodes: nodes.iter().map(row).collect(), clock, started_ns: 0 }
    }
}

impl Observer for StopWatch<'_> {
    fn started(&mut self, _index: usize) {
        self.started_ns = (self.clock)();
    }

    fn finished(&mut self, index: usize, _output: &TensorInfo, _bytes: &[u8]) {
        let wall_ns = (self.clock)().saturating_sub(self.started_ns);
        if let Some(node) = self.nodes.get_mut(index) {
            node.wall_ns.push(wall_ns);
        }
    }
}
