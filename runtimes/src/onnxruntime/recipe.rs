//! How sessions of a model are made: options, execution providers, shapes. Runs nothing.

use super::ffi::{Bound, NODES_API};
use super::{File, MAX_ELEMENTS, describe, said};
use crate::{CompileOptions, Error, Result};
use ort::ep::{self, ArbitrarilyConfigurableExecutionProvider, ExecutionProvider, ExecutionProviderDispatch};
use ort::logging::LogLevel;
use ort::session::Session;
use ort::session::builder::{GraphOptimizationLevel, SessionBuilder};
use ort::value::Outlet;
use protocol::TensorInfo;
use std::num::NonZeroUsize;
use std::path::Path;
use std::rc::Rc;

/// Options of every backend.
const OPTIONS: [&str; 5] =
    ["graph-optimization", "spinning", "x64-quant-precision", "memory-arena", "fix-dimensions"];
/// Options of NNAPI, all of them false unless given.
const NNAPI: [&str; 4] = ["fp16", "nchw", "disable-cpu", "cpu-only"];
/// In front of an option that an execution provider takes in its own words.
const PROVIDER_PREFIX: &str = "ep.";
const YES_NO: [&str; 2] = ["true", "false"];
const NO_YES: [&str; 2] = ["false", "true"];

/// What a session is for.
pub(super) enum Purpose<'a> {
    /// To be measured.
    Measure,
    /// To write a profile into a folder.
    Profile(&'a Path),
    /// To see whether the backend can do all of the model: an error if it cannot.
    Alone,
}

/// A model and how it is to be compiled.
pub(super) struct Recipe {
    pub(super) file: Rc<File>,
    pub(super) options: CompileOptions,
}

impl Recipe {
    /// Refuses options that are not known.
    pub(super) fn new(file: Rc<File>, options: &CompileOptions) -> Result<Self> {
        let mut known = OPTIONS.to_vec();
        match options.backend.as_str() {
            "nnapi" => known.extend(NNAPI),
            "qnn" | "coreml" => {
                known.extend(
                    options.options.keys().map(String::as_str).filter(|k| k.starts_with(PROVIDER_PREFIX)),
                );
            }
            _ => {}
        }
        options.only("onnxruntime", &known)?;
        if let Some((name, _)) = options.options.iter().find(|(k, v)| k.contains('\0') || v.contains('\0')) {
            return Err(Error::Unsupported(format!("option {name:?} holds a zero byte")));
        }
        if !options.taps.is_empty() {
            return Err(Error::Unsupported("onnxruntime shows no tensors inside a model".to_owned()));
        }
        Ok(Self { file, options: options.clone() })
    }

    /// Makes a session, and the tensors of its inputs with their descriptions.
    pub(super) fn session(&self, purpose: &Purpose<'_>) -> Result<(Bound, Vec<TensorInfo>)> {
        let mut builder = self.builder(purpose)?;
        let session = builder.commit_from_file(&self.file.path).map_err(said);
        let session = session.map_err(|e| self.file.refused(e))?;
        let mut inputs = session.inputs().iter().map(|i| self.describe(i)).collect::<Result<Vec<_>>>()?;
        let shapes = self.shapes(&inputs)?;
        let mut tensors = Vec::new();
        for ((outlet, input), shape) in session.inputs().iter().zip(&mut inputs).zip(shapes) {
            input.shape = shape.iter().map(|dim| Some(*dim)).collect();
            tensors.push((describe(outlet)?.1, shape.iter().map(|dim| *dim as i64).collect()));
        }
        Ok((Bound::new(session, &tensors).map_err(said)?, inputs))
    }

    /// Description of an input or output, with the quantisation that the file gives it.
    pub(super) fn describe(&self, outlet: &Outlet) -> Result<TensorInfo> {
        let (mut info, _) = describe(outlet)?;
        if let Ok(outline) = self.file.outline() {
            let mut all = outline.facts.inputs.iter().chain(&outline.facts.outputs);
            info.quantization = all.find(|i| i.name == info.name).and_then(|i| i.quantization.clone());
        }
        Ok(info)
    }

    /// Name of the execution provider that the backend stands for.
    pub(super) fn provider(&self) -> Result<&'static str> {
        Ok(match self.options.backend.as_str() {
            "cpu" => ep::CPU::NAME,
            "xnnpack" => ep::XNNPACK::NAME,
            "nnapi" => ep::NNAPI::NAME,
            "qnn" => ep::QNN::NAME,
            "coreml" => ep::CoreML::NAME,
            other => {
                let message = format!("no backend {other:?}; there is cpu, xnnpack, nnapi, qnn, coreml");
                return Err(Error::Unsupported(message));
            }
        })
    }

    /// The library remembers for this session which provider got which nodes.
    pub(super) fn remembers(&self) -> bool {
        self.file.ready.minor >= NODES_API && (self.options.backend != "cpu" || self.options.profile)
    }

    fn builder(&self, purpose: &Purpose<'_>) -> Result<SessionBuilder> {
        let options = &self.options;
        self.provider()?;
        let level = match options.word("graph-optimization", &["all", "extended", "basic", "none"])? {
            "none" => GraphOptimizationLevel::Disable,
            "basic" => GraphOptimizationLevel::Level1,
            "extended" => GraphOptimizationLevel::Level2,
            _ => GraphOptimizationLevel::All,
        };
        let spinning = options.word("spinning", &YES_NO)? == "true";
        let precise = options.word("x64-quant-precision", &NO_YES)? == "true";
        let arena = options.word("memory-arena", &YES_NO)? == "true";
        let mut providers: Vec<ExecutionProviderDispatch> = self.dispatch()?.into_iter().collect();
        if !arena {
            providers.push(ep::CPU::default().with_arena_allocator(false).build());
        }
        // XNNPACK has threads of its own, and its documentation asks to give the session one.
        let threads = if options.backend == "xnnpack" { 1 } else { options.threads.max(1) };
        let session = Session::builder(&self.file.ready.environment).map_err(said)?;
        let session = session.with_intra_threads(threads.into()).map_err(said)?;
        let session = session.with_inter_threads(1).map_err(said)?;
        let session = session.with_optimization_level(level).map_err(said)?;
        let mut session = session.with_intra_op_spinning(spinning).map_err(said)?;
        if precise {
            session = session.with_precise_qmm().map_err(said)?;
        }
        if options.word("fix-dimensions", &NO_YES)? == "true" {
            session = self.fix_dimensions(session)?;
        }
        session = match purpose {
            Purpose::Measure => session,
            Purpose::Profile(folder) => session.with_profiling(folder.join("profile")).map_err(said)?,
            // That it cannot be made is an answer, and no error to be logged.
            Purpose::Alone => {
                let session = session.with_disable_cpu_fallback().map_err(said)?;
                session.with_log_level(LogLevel::Fatal).map_err(said)?
            }
        };
        if self.remembers() {
            let key = "session.record_ep_graph_assignment_info";
            session = session.with_config_entry(key, "1").map_err(said)?;
        }
        session.with_execution_providers(providers).map_err(|e| {
            let (version, path) = (&self.file.ready.version, self.file.ready.path.display());
            Error::Unsupported(format!("ONNX Runtime {version} at {path} cannot do {}: {e}", options.backend))
        })
    }

    fn dispatch(&self) -> Result<Option<ExecutionProviderDispatch>> {
        let options = &self.options;
        let given = options.options.iter();
        let given = given.filter_map(|(key, value)| Some((key.strip_prefix(PROVIDER_PREFIX)?, value)));
        let dispatch = match options.backend.as_str() {
            "xnnpack" => {
                let threads = NonZeroUsize::new(options.threads.into()).unwrap_or(NonZeroUsize::MIN);
                ep::XNNPACK::default().with_intra_op_num_threads(threads).build()
            }
            "nnapi" => {
                let [fp16, nchw, no_cpu, cpu] =
                    NNAPI.map(|name| options.word(name, &NO_YES).map(|w| w == "true"));
                let nnapi = ep::NNAPI::default().with_fp16(fp16?).with_nchw(nchw?);
                nnapi.with_disable_cpu(no_cpu?).with_cpu_only(cpu?).build()
            }
            "qnn" => given.fold(ep::QNN::default(), |ep, (k, v)| ep.with_arbitrary_config(k, v)).build(),
            "coreml" => {
                given.fold(ep::CoreML::default(), |ep, (k, v)| ep.with_arbitrary_config(k, v)).build()
            }
            _ => return Ok(None),
        };
        Ok(Some(dispatch.error_on_failure()))
    }

    /// Gives every open dimension that has a name its size, so that the library can rely on it.
    fn fix_dimensions(&self, mut session: SessionBuilder) -> Result<SessionBuilder> {
        let outline = self.file.outline()?;
        let shapes = self.shapes(&outline.facts.inputs)?;
        for ((_, symbols), shape) in outline.symbols.iter().zip(shapes) {
            for (symbol, size) in symbols.iter().zip(shape) {
                if let Some(symbol) = symbol {
                    session = session.with_dimension_override(symbol, size as i64).map_err(said)?;
                }
            }
        }
        Ok(session)
    }

    /// The shapes asked for, or the model's own with 1 for open dimensions.
    fn shapes(&self, inputs: &[TensorInfo]) -> Result<Vec<Vec<u64>>> {
        let given = self.options.input_shapes.as_ref();
        if let Some(given) = given.filter(|given| given.len() != inputs.len()) {
            let message = format!("shapes of {} inputs for a model that has {}", given.len(), inputs.len());
            return Err(Error::InputMismatch(message));
        }
        let shape = |(index, input): (usize, &TensorInfo)| {
            let own = input.shape.iter().map(|dim| dim.unwrap_or(1)).collect();
            let shape: Vec<u64> = given.and_then(|given| given.get(index)).cloned().unwrap_or(own);
            let wrong = |what: &str| {
                Error::InputMismatch(format!(
                    "input {:?}, which is {:?}: shape {shape:?} {what}",
                    input.name, input.shape
                ))
            };
            // A file may leave even the number of dimensions open.
            let fits = input.shape.is_empty()
                || input.shape.len() == shape.len()
                    && input.shape.iter().zip(&shape).all(|(own, given)| own.is_none_or(|own| own == *given));
            if !fits {
                return Err(wrong("does not fit"));
            }
            let elements = shape.iter().try_fold(1u64, |all, dim| all.checked_mul(*dim));
            if elements.is_none_or(|n| n > MAX_ELEMENTS) {
                return Err(wrong(&format!("has more than {MAX_ELEMENTS} elements")));
            }
            Ok(shape)
        };
        inputs.iter().enumerate().map(shape).collect()
    }
}
