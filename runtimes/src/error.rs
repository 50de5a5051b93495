//! The one error of this crate, with the kind that goes into the record.

use protocol::FailKind;
use std::path::PathBuf;

/// Why a model could not be opened, compiled or run. Messages name the file, node or input.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file is damaged or not of its format.
    #[error("invalid model: {0}")]
    ModelInvalid(String),
    /// An operator, type, shape, size or backend that this runtime does not do.
    #[error("not supported: {0}")]
    Unsupported(String),
    /// Inputs that do not fit the model.
    #[error("input does not fit: {0}")]
    InputMismatch(String),
    /// The runtime is not in this build, or its library is missing.
    #[error("runtime missing: {0}")]
    RuntimeMissing(String),
    /// A file could not be read.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The runtime reported an error of its own.
    #[error("runtime error: {0}")]
    Runtime(String),
}

impl Error {
    /// The kind for machines.
    pub fn kind(&self) -> FailKind {
        match self {
            Self::ModelInvalid(_) => FailKind::ModelInvalid,
            Self::Unsupported(_) => FailKind::Unsupported,
            Self::InputMismatch(_) => FailKind::InputMismatch,
            Self::RuntimeMissing(_) => FailKind::RuntimeMissing,
            Self::Io { .. } => FailKind::Io,
            Self::Runtime(_) => FailKind::Runtime,
        }
    }

    /// The same error with its place (a node, an input) in front of the message.
    #[must_use]
    pub fn at(self, place: &str) -> Self {
        let put = |message: String| format!("{place}: {message}");
        match self {
            Self::ModelInvalid(m) => Self::ModelInvalid(put(m)),
            Self::Unsupported(m) => Self::Unsupported(put(m)),
            Self::InputMismatch(m) => Self::InputMismatch(put(m)),
            Self::RuntimeMissing(m) => Self::RuntimeMissing(put(m)),
            Self::Runtime(m) => Self::Runtime(put(m)),
            io @ Self::Io { .. } => io,
        }
    }
}

/// Result with this crate's error.
pub type Result<T> = std::result::Result<T, Error>;
