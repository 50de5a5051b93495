//! LiteRT, as `libLiteRt.so` of its wheels and archives from 2.1.0 on: one library for XNNPACK, the built-in and the
//! reference kernels, and for accelerators where a device has them. See `runtimes/README.md` for what differs
//! between versions.

mod failed;
mod ffi;
mod model;
mod options;
mod session;

use crate::{Error, Loaded, Model, Result, Runtime, said};
use protocol::{Format, Library};
use std::{path::Path, rc::Rc};

/// The runtime.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LiteRt;

impl Runtime for LiteRt {
    fn name(&self) -> &'static str {
        "litert"
    }

    fn backends(&self) -> &'static [&'static str] {
        &["xnnpack", "builtin", "reference", "gpu", "npu"]
    }

    fn formats(&self) -> &'static [Format] {
        &[Format::Tflite]
    }

    fn library(&self) -> Option<&'static str> {
        Some("libLiteRt.so")
    }

    fn load(&self, library: Option<&Library>) -> Result<Box<dyn Loaded>> {
        let library = library.ok_or_else(|| Error::RuntimeMissing("litert needs libLiteRt.so".to_owned()))?;
        let opened = ffi::Library::open(library)?;
        let (environment, said) = said::listen(|| ffi::Environment::new(opened));
        let environment = environment.map_err(|failed| failed.with(&said))?;
        Ok(Box::new(Ready { environment, warnings: said::reasons(&said).into() }))
    }
}

/// The library with an environment.
struct Ready {
    environment: Rc<ffi::Environment>,
    /// What was said when accelerators were looked for.
    warnings: Rc<str>,
}

impl Loaded for Ready {
    fn open(&self, path: &Path) -> Result<Box<dyn Model>> {
        Ok(Box::new(model::Model::open(&self.environment, &self.warnings, path)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_backend_has_its_settings() {
        let settings: Vec<&str> = options::BACKENDS.iter().map(|b| b.0).collect();
        assert_eq!(LiteRt.backends(), settings);
    }

    #[test]
    fn without_a_library_it_says_which() {
        let words = LiteRt.load(None).err().unwrap().to_string();
        assert!(words.contains("libLiteRt.so"), "{words}");
    }
}
