//! The classic TFLite library with its C functions (`libtensorflowlite_c.so`, and Android's
//! `libtensorflowlite_jni.so`), and what it shares with LiteRT, which has it inside. See `runtimes/README.md`.

pub(crate) mod element;
mod ffi;
pub(crate) mod file;
mod options;
pub(crate) mod profile;
mod session;
pub(crate) mod watch;

use crate::{CompileOptions, Error, Loaded, Model, Result, Runtime, Session, said};
use protocol::{Format, Library, TensorInfo};
use std::{
    path::{Path, PathBuf},
    rc::Rc,
};

/// The runtime.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TfLite;

impl Runtime for TfLite {
    fn name(&self) -> &'static str {
        "tflite"
    }

    fn backends(&self) -> &'static [&'static str] {
        &["xnnpack", "builtin", "nnapi"]
    }

    fn formats(&self) -> &'static [Format] {
        &[Format::Tflite]
    }

    fn library(&self) -> Option<&'static str> {
        Some("libtensorflowlite_c.so")
    }

    fn load(&self, library: Option<&Library>) -> Result<Box<dyn Loaded>> {
        let missing = || Error::RuntimeMissing("tflite needs libtensorflowlite_c.so".to_owned());
        Ok(Box::new(Ready(ffi::Library::open(library.ok_or_else(missing)?)?)))
    }
}

/// The loaded library.
struct Ready(Rc<ffi::Library>);

impl Loaded for Ready {
    fn version(&self) -> Option<String> {
        Some(self.0.version())
    }

    fn open(&self, path: &Path) -> Result<Box<dyn Model>> {
        std::fs::File::open(path).map_err(|source| Error::Io { path: path.to_owned(), source })?;
        let (model, said) = said::listen(|| ffi::Model::open(&self.0, path));
        let model = model.ok_or_else(|| {
            let why = said::reasons(&said);
            let why = if why.is_empty() { "TFLite refuses it and says nothing".to_owned() } else { why };
            Error::ModelInvalid(format!("{}: {why}", path.display()))
        })?;
        Ok(Box::new(Opened { model, path: path.to_owned() }))
    }
}

/// A model in the library's memory.
struct Opened {
    model: Rc<ffi::Model>,
    path: PathBuf,
}

impl Model for Opened {
    fn inputs(&self) -> Result<Vec<TensorInfo>> {
        // The library tells nothing before it has an interpreter.
        Ok(file::read(&self.path)?.inputs)
    }

    fn compile(&self, options: &CompileOptions) -> Result<Box<dyn Session>> {
        if !options.taps.is_empty() {
            return Err(Error::Unsupported("tflite does not show what is inside a model".to_owned()));
        }
        let asked = options::asked(options)?;
        let outline = file::read(&self.path).ok();
        Ok(Box::new(session::Running::new(&self.model, asked, options, outline)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_library_it_says_which() {
        let words = TfLite.load(None).err().unwrap().to_string();
        assert!(words.contains("libtensorflowlite_c.so"), "{words}");
    }
}
