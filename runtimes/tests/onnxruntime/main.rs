//! ONNX Runtime itself: every version that is there, on the models of the zoo and on files made to go wrong. A process
//! can load one library only, so each test starts itself once more for every version, and what it does there is among
//! [`inside`].

#![cfg(feature = "dlopen")]
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test may stop at what should not happen, and says what it left out"
)]

mod inside;
#[expect(dead_code, reason = "the tests of the other runtimes ask for more")]
#[path = "../real/libraries.rs"]
mod libraries;
mod matrix;
#[path = "../real/models.rs"]
mod models;
mod refusals;
mod sessions;
#[expect(dead_code, reason = "the tests of the importer write more kinds of fields")]
#[path = "../../src/builtin/import/onnx/testing.rs"]
mod writer;
