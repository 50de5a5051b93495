//! The agent that runs on a device. Does nothing itself: see the crate `agent`.
fn main() {}
