//! The real runtimes: what every version of a library answers with every backend, that a proof and a profile add up,
//! and in which words wrong files are refused.
//!
//! Libraries lie in the folder that `BENCH_TEST_RUNTIMES` names, as `RUNTIME/VERSION/ARCH/lib*.so`. Where one is
//! missing, that is printed by name; with the runtime's name in `BENCH_TEST_REQUIRE` it fails. Every library is loaded
//! in a process of its own, as in the product: two versions in one get in each other's way.

#![cfg(feature = "dlopen")]
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test may stop at what should not happen, and says what it left out"
)]

mod cut;
mod libraries;
mod matrix;
mod models;
mod refused;
mod worker;
