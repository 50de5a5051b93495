//! Why a trial failed, as the worker says it.

use protocol::FailKind;
use std::{fmt, io, path::Path};

/// Kind for machines, message for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) kind: FailKind,
    pub(crate) message: String,
}

impl Failure {
    pub(crate) fn new(kind: FailKind, message: impl fmt::Display) -> Self {
        Self { kind, message: message.to_string() }
    }

    /// Reading or writing a file failed.
    pub(crate) fn file(path: &Path, error: &io::Error) -> Self {
        let hint = match error.kind() {
            io::ErrorKind::StorageFull => "; free space on the device and run again",
            _ => "",
        };
        Self::new(FailKind::Io, format!("{}: {error}{hint}", path.display()))
    }

    pub(crate) fn inputs(message: impl fmt::Display) -> Self {
        Self::new(FailKind::InputMismatch, message)
    }
}

impl From<runtimes::Error> for Failure {
    fn from(error: runtimes::Error) -> Self {
        Self::new(error.kind(), error)
    }
}
