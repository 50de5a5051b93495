//! An opened model: its inputs, and the way to a session.

mod ffi;

pub(super) use ffi::Model as Loaded;

use super::{
    ffi::Environment,
    options::{BACKENDS, Settings},
    session,
};
use crate::tflite::{element, file};
use crate::{CompileOptions, Error, Result, Session, said};
use protocol::TensorInfo;
use std::{
    path::{Path, PathBuf},
    rc::Rc,
};

/// A model in the library's memory.
pub(super) struct Model {
    loaded: Rc<Loaded>,
    path: PathBuf,
    /// What was said when accelerators were looked for.
    warnings: Rc<str>,
}

impl Model {
    pub(super) fn open(environment: &Rc<Environment>, warnings: &Rc<str>, path: &Path) -> Result<Self> {
        let at = |source| Error::Io { path: path.to_owned(), source };
        std::fs::File::open(path).map_err(at)?;
        let (loaded, said) = said::listen(|| Loaded::open(environment, path));
        let loaded = loaded.map_err(|failed| match failed.with(&said) {
            // Whatever the number: it is the file that could not be read.
            Error::Runtime(why) => Error::ModelInvalid(format!("{}: {why}", path.display())),
            other => other.at(&path.display().to_string()),
        })?;
        Ok(Self { loaded, path: path.to_owned(), warnings: Rc::clone(warnings) })
    }
}

/// Inputs or outputs as the library describes them.
pub(super) fn infos(loaded: &Loaded, inputs: bool) -> Result<Vec<TensorInfo>> {
    let tensors = loaded.tensors(inputs).map_err(|failed| failed.with(""))?;
    let info = |t: ffi::Tensor| {
        let quantization =
            t.quantized.and_then(|(scale, zero, axis)| element::quantization(scale, &zero, axis));
        element::open(t.name, t.element, &t.dims, quantization)
    };
    tensors.into_iter().map(info).collect()
}

impl crate::Model for Model {
    fn inputs(&self) -> Result<Vec<TensorInfo>> {
        let mut inputs = infos(&self.loaded, true)?;
        // The library takes open dimensions for 1; where the file is beyond us, so do we.
        let Ok(outline) = file::read(&self.path) else { return Ok(inputs) };
        for input in &mut inputs {
            let same =
                |known: &&TensorInfo| known.name == input.name && known.shape.len() == input.shape.len();
            if let Some(known) = outline.inputs.iter().find(same) {
                input.shape.clone_from(&known.shape);
            }
        }
        Ok(inputs)
    }

    fn compile(&self, options: &CompileOptions) -> Result<Box<dyn Session>> {
        if !options.taps.is_empty() {
            return Err(Error::Unsupported("litert does not show what is inside a model".to_owned()));
        }
        let settings = Settings::of(options, self.loaded.library())?;
        let backend = BACKENDS.iter().map(|b| b.0).find(|name| *name == options.backend).unwrap_or_default();
        let outline = file::read(&self.path).ok();
        let plan = session::Plan {
            backend,
            settings,
            shapes: options.input_shapes.as_deref(),
            outline: outline.as_ref(),
            warnings: &self.warnings,
        };
        let session = session::Running::new(&self.loaded, &plan)?;
        Ok(Box::new(session))
    }
}
