//! Every way to execute a model, behind one seam: [`Runtime`] opens a file as a [`Model`], a model is
//! compiled to a [`Session`], a session is fed and invoked. Opening and compiling are separate calls so
//! that the caller can time them apart. No clock, no process handling and no statistics here.
//!
//! A runtime is a folder and a line in [`RUNTIMES`].

pub mod builtin;
mod error;
pub mod fake;

pub use error::{Error, Result};
use protocol::{BackendProof, ModelFacts, TensorInfo};
use std::path::Path;

/// Every runtime that this build knows. One that cannot be used on this device says so when opened.
pub const RUNTIMES: &[&dyn Runtime] = &[&builtin::Builtin, &fake::Fake];

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

    /// Version of the code or library that will run.
    ///
    /// # Errors
    /// The library cannot be loaded.
    fn version(&self) -> Result<String>;

    /// Backends, the default first.
    fn backends(&self) -> &'static [&'static str];

    /// It runs no models and only pretends, for tests: never to be chosen unless it is named.
    fn pretends(&self) -> bool {
        false
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
    fn facts(&self) -> Result<ModelFacts>;

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
    /// pass would otherwise have fused them away or their memory been used again.
    pub taps: Vec<String>,
}

impl CompileOptions {
    /// One thread, the file's shapes, no taps.
    pub fn new(backend: &str) -> Self {
        Self { backend: backend.to_owned(), threads: 1, input_shapes: None, taps: Vec::new() }
    }
}

/// A node of the prepared graph.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeInfo {
    /// Name in the file of the node's first output tensor.
    pub name: String,
    /// Operator of the prepared graph.
    pub op: String,
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
}
