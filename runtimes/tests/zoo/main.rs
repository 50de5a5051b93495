//! Real models against real runtimes: what the built-in engine answers, compared with the golden outputs
//! in `golden/` (made by `golden/make.py`), and the accuracy of every variant of every family against the
//! family's results.csv. Models that may not be shipped are read from `../shared/zoo` beside the
//! checkout; where that is missing, what was left out is printed by name.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test may stop at what should not happen, and says what it left out"
)]

mod accuracy;
mod family;
mod golden;
mod run;
