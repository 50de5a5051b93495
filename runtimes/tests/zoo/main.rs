//! Real models against real runtimes: what the built-in engine answers, compared with the golden outputs
//! in `golden/` (made by `golden/make.py`), and the accuracy of every variant of every family against the
//! family's results.csv. Models that may not be shipped are read from `../shared/zoo` beside the
//! checkout; where that is missing, what was left out is printed by name.

mod accuracy;
mod family;
mod golden;
mod run;
