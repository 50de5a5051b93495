//! ONNX Runtime, 1.17 and newer, from its library: loaded through the crate `ort`, which downloads and links nothing.
//! The library splits no work between parsing and compiling, so [`Loaded::open`] only looks for the file and
//! everything else happens in [`Model::compile`].

mod ffi;
mod profile;
mod proof;
mod recipe;

use crate::builtin::import::onnx::{Outline, element_type};
use crate::dlopen::Opened;
use crate::mapped::Mapped;
use crate::{CompileOptions, Error, Loaded, Model, Result, Runtime, Session};
use ffi::{Base, Bound};
use ort::environment::Environment;
use ort::sys::ONNXTensorElementDataType;
use ort::value::{Outlet, TensorElementType, ValueType};
use protocol::{BackendProof, DType, Format, Library, NodeProfile, TensorInfo};
use recipe::{Purpose, Recipe};
use std::cell::OnceCell;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::{Mutex, PoisonError};
use tempfile::TempDir;

/// First version that this build can drive.
const OLDEST: (u32, u32) = (1, 17);
/// Since 1.29, the libraries of Microsoft report to their maker unless this is 1 when they are loaded.
const TELEMETRY: &str = "ORT_DISABLE_TELEMETRY";
/// Elements of an input: no device has a model with a larger one.
const MAX_ELEMENTS: u64 = 1 << 29;

/// The library of this process: it has a state of its own, so that there can be only one, and it is never unloaded.
static IN_PROCESS: Mutex<Option<Ready>> = Mutex::new(None);

/// The runtime `onnxruntime`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OnnxRuntime;

impl Runtime for OnnxRuntime {
    fn name(&self) -> &'static str {
        "onnxruntime"
    }

    fn backends(&self) -> &'static [&'static str] {
        &["cpu", "xnnpack", "nnapi", "qnn", "coreml"]
    }

    fn formats(&self) -> &'static [Format] {
        &[Format::Onnx]
    }

    fn library(&self) -> Option<&'static str> {
        Some("libonnxruntime.so")
    }

    fn load(&self, library: Option<&Library>) -> Result<Box<dyn Loaded>> {
        let library = library.ok_or_else(|| {
            Error::RuntimeMissing(
                "onnxruntime needs its library, libonnxruntime.so: none was given".to_owned(),
            )
        })?;
        if std::env::var_os(TELEMETRY).is_none_or(|value| value != "1") {
            let message =
                format!("ONNX Runtime would report to its maker: set {TELEMETRY}=1 before this process");
            return Err(Error::Unsupported(message));
        }
        let base = Base::of(&Opened::open(library)?)?;
        let at = |e: Error| e.at(&library.file.path.display().to_string());
        let version = base.version();
        let minor = supported(&version).map_err(at)?;
        let path = library.file.path.canonicalize();
        let path = path.map_err(|source| Error::Io { path: library.file.path.clone(), source })?;
        let mut process = IN_PROCESS.lock().unwrap_or_else(PoisonError::into_inner);
        let ready = match &*process {
            Some(ready) if ready.path == path => ready.clone(),
            Some(ready) => {
                let other = ready.path.display();
                return Err(at(Error::Unsupported(format!("this process has loaded {other} already"))));
            }
            None => process.insert(Ready::start(path, base, version, minor).map_err(at)?).clone(),
        };
        Ok(Box::new(ready))
    }
}

/// The second part of a version that this build can drive.
fn supported(version: &str) -> Result<u32> {
    let mut parts = version.split('.').map(|part| part.parse::<u32>().ok());
    let (major, minor) = (parts.next().flatten(), parts.next().flatten());
    match (major, minor) {
        (Some(1), Some(minor)) if minor >= OLDEST.1 => Ok(minor),
        _ => Err(Error::Unsupported(format!(
            "is ONNX Runtime {version:?}; {}.{} or newer is needed, and not yet 2",
            OLDEST.0, OLDEST.1
        ))),
    }
}

/// A library that is loaded.
#[derive(Clone)]
struct Ready {
    path: PathBuf,
    base: Base,
    version: String,
    minor: u32,
    environment: Environment,
}

impl Ready {
    fn start(path: PathBuf, base: Base, version: String, minor: u32) -> Result<Self> {
        let builder = ort::init_from(&path).map_err(|e| Error::Unsupported(e.to_string()))?;
        let environment = builder.with_name("bench").with_telemetry(false).build().map_err(said)?;
        Ok(Self { path, base, version, minor, environment })
    }
}

impl Loaded for Ready {
    fn version(&self) -> Option<String> {
        Some(self.version.clone())
    }

    fn open(&self, path: &Path) -> Result<Box<dyn Model>> {
        let at = |source| Error::Io { path: path.to_owned(), source };
        if !std::fs::metadata(path).map_err(at)?.is_file() {
            return Err(Error::ModelInvalid(format!("{}: not a regular file", path.display())));
        }
        let file = File { ready: self.clone(), path: path.to_owned(), outline: OnceCell::new() };
        Ok(Box::new(Parsed(Rc::new(file))))
    }
}

/// What the library said, with the kind of the error.
fn said<R>(error: ort::Error<R>) -> Error {
    use ort::ErrorCode;
    let message = error.message().to_owned();
    match error.code() {
        ErrorCode::InvalidProtobuf | ErrorCode::InvalidGraph | ErrorCode::NoModel => {
            Error::ModelInvalid(message)
        }
        ErrorCode::NotImplemented => Error::Unsupported(message),
        _ => Error::Runtime(message),
    }
}

/// A model file. The library reads it when a session is made; what it does not tell is read from here.
struct File {
    ready: Ready,
    path: PathBuf,
    outline: OnceCell<Outline>,
}

impl File {
    fn outline(&self) -> Result<&Outline> {
        if let Some(outline) = self.outline.get() {
            return Ok(outline);
        }
        let at = |source| Error::Io { path: self.path.clone(), source };
        let outline = Outline::of(&Mapped::of(&self.path).map_err(at)?);
        let outline = outline.map_err(|e| e.at(&self.path.display().to_string()))?;
        Ok(self.outline.get_or_init(|| outline))
    }

    /// An error of the library about this file, explained where its weights are not there.
    fn refused(&self, error: Error) -> Error {
        let folder = self.path.parent().unwrap_or(Path::new(""));
        let outline = self.outline().ok();
        let mut external = outline.iter().flat_map(|outline| &outline.external);
        match external.find(|name| !folder.join(name).exists()) {
            None => error.at(&self.path.display().to_string()),
            Some(name) => Error::ModelInvalid(format!(
                "{}: its weights are in a file {name:?}, which is not beside it; a device is sent the model alone: \
                 save it with its weights inside ({error})",
                self.path.display()
            )),
        }
    }
}

struct Parsed(Rc<File>);

impl Model for Parsed {
    fn inputs(&self) -> Result<Vec<TensorInfo>> {
        Ok(self.0.outline()?.facts.inputs.clone())
    }

    fn compile(&self, options: &CompileOptions) -> Result<Box<dyn Session>> {
        let recipe = Recipe::new(Rc::clone(&self.0), options)?;
        let folder = options.profile.then(profile::folder).transpose()?;
        let purpose = folder.as_ref().map_or(Purpose::Measure, |folder| Purpose::Profile(folder.path()));
        let (run, inputs) = recipe.session(&purpose)?;
        let outputs = run.session().outputs().iter();
        let outputs = outputs.map(|outlet| recipe.describe(outlet)).collect::<Result<Vec<_>>>()?;
        Ok(Box::new(Compiled {
            open: outputs.iter().any(|output| output.shape.contains(&None)),
            outputs,
            recipe,
            run,
            inputs,
            shown: OnceCell::new(),
            proof: OnceCell::new(),
            folder,
        }))
    }
}

/// Description of an input or output of a session, with its element type in the crate's words.
fn describe(outlet: &Outlet) -> Result<(TensorInfo, TensorElementType)> {
    let unsupported = |kind: String| {
        Error::Unsupported(format!("input or output {:?} is {kind}, not a tensor of numbers", outlet.name()))
    };
    let ValueType::Tensor { ty, shape, .. } = outlet.dtype() else {
        return Err(unsupported(outlet.dtype().to_string()));
    };
    // The library numbers element types as the file format does.
    let dtype = element_type(ONNXTensorElementDataType::from(*ty) as i32);
    let dtype = dtype.ok_or_else(|| unsupported(format!("a tensor of {ty}")))?;
    let shape = shape.iter().map(|dim| u64::try_from(*dim).ok()).collect();
    Ok((TensorInfo { name: outlet.name().to_owned(), dtype, shape, quantization: None }, *ty))
}

/// A model ready to run.
struct Compiled {
    recipe: Recipe,
    run: Bound,
    inputs: Vec<TensorInfo>,
    /// As the model declares them.
    outputs: Vec<TensorInfo>,
    /// Some dimension of an output is known only after a run.
    open: bool,
    /// Outputs after the last run.
    shown: OnceCell<Vec<TensorInfo>>,
    proof: OnceCell<BackendProof>,
    /// Where the library writes its profile, until it was read.
    folder: Option<TempDir>,
}

impl Compiled {
    fn shown(&self) -> Vec<TensorInfo> {
        let mut outputs = self.outputs.clone();
        for (index, output) in outputs.iter_mut().enumerate() {
            if let Ok(Some((shape, _))) = self.run.output(index) {
                output.shape = shape.iter().map(|dim| u64::try_from(*dim).ok()).collect();
            }
        }
        outputs
    }
}

impl Session for Compiled {
    fn inputs(&self) -> &[TensorInfo] {
        &self.inputs
    }

    fn outputs(&self) -> &[TensorInfo] {
        if self.open { self.shown.get_or_init(|| self.shown()) } else { &self.outputs }
    }

    fn set_input(&mut self, index: usize, bytes: &[u8]) -> Result<()> {
        let (Some(info), Some(memory)) = (self.inputs.get(index), self.run.input(index)) else {
            let message = format!("no input {index}: the model has {}", self.inputs.len());
            return Err(Error::InputMismatch(message));
        };
        let wrong = |what: String| Err(Error::InputMismatch(format!("input {:?}: {what}", info.name)));
        if memory.len() != bytes.len() {
            return wrong(format!("takes {} bytes, not {}", memory.len(), bytes.len()));
        }
        if info.dtype == DType::Bool && bytes.iter().any(|byte| *byte > 1) {
            return wrong("a truth value is 0 or 1".to_owned());
        }
        memory.copy_from_slice(bytes);
        Ok(())
    }

    fn invoke(&mut self) -> Result<()> {
        if self.open {
            self.shown.take();
        }
        self.run.run().map_err(said)
    }

    fn output(&self, index: usize) -> Result<&[u8]> {
        if index >= self.outputs.len() {
            let message = format!("no output {index}: the model has {}", self.outputs.len());
            return Err(Error::InputMismatch(message));
        }
        Ok(self.run.output(index).map_err(said)?.map_or(&[], |(_, bytes)| bytes))
    }

    fn proof(&self) -> &BackendProof {
        self.proof.get_or_init(|| proof::of(&self.recipe, self.run.session()))
    }

    fn arena_peak_bytes(&self) -> Option<u64> {
        let ready = &self.recipe.file.ready;
        let counts = ready.minor >= ffi::MEMORY_API;
        if counts { ffi::arena_peak_bytes(ready.base, self.run.session()) } else { None }
    }

    fn profile(&mut self, iterations: u32, _clock: &dyn Fn() -> u64) -> Result<Vec<NodeProfile>> {
        let folder = self.folder.take().ok_or_else(|| {
            Error::Unsupported(
                "the model was not compiled to be profiled, or it was profiled already".to_owned(),
            )
        })?;
        for _ in 0..=iterations {
            self.invoke()?;
        }
        let mut nodes = profile::read(&self.run.end_profiling().map_err(said)?, iterations as usize + 1)?;
        drop(folder);
        for node in &mut nodes {
            node.wall_ns.remove(0);
        }
        Ok(nodes)
    }
}

#[cfg(test)]
mod tests {
    use super::supported;

    #[test]
    fn versions_from_1_17_can_be_driven() {
        assert_eq!(supported("1.17.0").unwrap(), 17);
        assert_eq!(supported("1.32.0-dev+abc").unwrap(), 32);
        for version in ["1.16.3", "0.17.0", "2.17.0", "", "one", "1", "1.x"] {
            let words = supported(version).unwrap_err().to_string();
            assert!(words.contains("1.17 or newer is needed"), "{version}: {words}");
        }
    }
}
