//! Our own engine: graph, operators, kernels and importers in plain Rust, so that any model can be run
//! on any device without a library. See the modules for the parts; this one is the seam to the agent.

pub mod graph;
pub mod import;
pub mod kernels;
pub mod limits;
mod lower;
pub mod ops;
pub mod step;
pub mod tensor;

use crate::{Error, Model, Result, Runtime};
use std::path::Path;

/// The built-in runtime.
#[derive(Clone, Copy, Debug)]
pub struct Builtin;

impl Runtime for Builtin {
    fn name(&self) -> &'static str {
        "builtin"
    }

    fn version(&self) -> Result<String> {
        Ok(env!("CARGO_PKG_VERSION").to_owned())
    }

    fn backends(&self) -> &'static [&'static str] {
        &["cpu"]
    }

    fn open(&self, path: &Path) -> Result<Box<dyn Model>> {
        Err(Error::Unsupported(format!("{}: importers are on their way", path.display())))
    }
}
