//! Run records, verdicts and everything rendered from them. Measures nothing and talks to no device:
//! the same record always gives the same report.

pub mod accuracy;
pub mod record;
pub mod store;
#[cfg(test)]
mod testing;
pub mod verdict;
