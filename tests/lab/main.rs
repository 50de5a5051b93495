//! Phones and Pis, as near as one machine comes to them: the lab of `lab.sh`, with real adbd and sshd, brought up
//! for every test. Needs root and the lab's programs; where they are missing each test says so by name, and with
//! `lab` (and `lab-aarch64`, `lab-arm`) in `BENCH_TEST_REQUIRE` it fails.
//!
//! `cargo test --release --test lab -- --ignored` writes the table of faults anew.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may stop at what it did not expect")]
#![expect(clippy::print_stdout, reason = "what is left out is said by name")]

mod faults;
mod lab;
mod runtimes;
#[path = "../host/scene.rs"]
#[expect(dead_code, reason = "not all that other tests do with it is done here")]
mod scene;
mod smoke;
mod table;
mod talk;
