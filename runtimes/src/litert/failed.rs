//! What went wrong in LiteRT, in words: its functions return a number, and the reason is what was said meanwhile.

use crate::{Error, said};
use std::ffi::c_int;

/// What the library's functions return; 0 is fine.
pub(super) type Status = c_int;

/// The library's names of its numbers, which no version from 2.1.5 on tells.
const NAMES: &[(Status, &str)] = &[
    (1, "invalid argument"),
    (2, "memory allocation failure"),
    (3, "runtime failure"),
    (4, "missing input tensor"),
    (5, "unsupported"),
    (6, "not found"),
    (7, "timeout expired"),
    (8, "wrong version"),
    (9, "unknown"),
    (10, "already exists"),
    (100, "cancelled"),
    (500, "file I/O"),
    (501, "invalid flatbuffer"),
    (502, "dynamic loading"),
    (503, "serialization"),
    (504, "compilation"),
    (1000, "index out of bounds"),
    (1001, "invalid IR type"),
    (1002, "invalid graph invariant"),
    (1003, "graph modification"),
    (1500, "invalid tool config"),
    (2000, "legalize no match"),
    (2001, "invalid legalization"),
    (3000, "pattern no match"),
    (3001, "invalid transformation"),
    (4000, "unsupported runtime version"),
    (4001, "unsupported compiler version"),
    (4002, "incompatible byte code version"),
    (5000, "unsupported op shape inferer"),
    (5001, "shape inference failed"),
];

/// A call that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failed {
    /// What was being done.
    what: &'static str,
    status: Status,
    /// Why, where we know ourselves.
    why: String,
}

impl Failed {
    /// A function that this version lacks, or that gave nothing.
    pub(super) fn nothing(what: &'static str) -> Self {
        Self { what, status: 0, why: "this version of the library cannot, or gave nothing".to_owned() }
    }

    /// A count beyond our limits.
    pub(super) fn too_many(what: &'static str, count: usize) -> Self {
        Self { what, status: 0, why: format!("{count} are more than are dealt with") }
    }

    /// A buffer that does not hold its tensor.
    pub(super) fn too_small(what: &'static str, size: usize, needed: usize) -> Self {
        Self { what, status: 0, why: format!("{size} bytes do not hold a tensor of {needed}") }
    }

    /// With what the library said, or was asked for, meanwhile.
    pub(super) fn with(&self, said: &str) -> Error {
        let said = said::reasons(said);
        let mut words = self.what.to_owned();
        if self.status != 0 {
            let name = NAMES.iter().find(|(status, _)| *status == self.status).map(|(_, name)| *name);
            words += &format!(": status {} ({})", self.status, name.unwrap_or("which has no name"));
        }
        for more in [self.why.as_str(), said.as_str()] {
            if !more.is_empty() {
                words += &format!(": {more}");
            }
        }
        match self.status {
            500 | 501 => Error::ModelInvalid(words),
            5 | 504 => Error::Unsupported(words),
            _ => Error::Runtime(words),
        }
    }
}

/// Turns a status into a result.
pub(super) fn checked(what: &'static str, status: Status) -> Result<(), Failed> {
    if status == 0 { Ok(()) } else { Err(Failed { what, status, why: String::new() }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_has_its_name_and_the_librarys_words() {
        let failed = checked("compiling the model", 504).unwrap_err();
        let error = failed.with("INFO: x\nERROR: Some ops are not accelerated.\n");
        let words = "compiling the model: status 504 (compilation): ERROR: Some ops are not accelerated.";
        assert!(matches!(&error, Error::Unsupported(w) if w == words), "{error}");
        assert!(matches!(checked("x", 501).unwrap_err().with(""), Error::ModelInvalid(_)));
        assert!(checked("x", 77).unwrap_err().with("").to_string().contains("status 77 (which has no name)"));
        assert!(Failed::too_many("counting", 9).with("").to_string().contains("counting: 9 are more"));
        assert_eq!(checked("x", 0), Ok(()));
    }
}
