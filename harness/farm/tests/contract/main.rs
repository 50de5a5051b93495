//! The contract of a queue, kept by every queue there is: each is a module here that makes one and runs all the
//! checks of [`checks`].
#![expect(clippy::unwrap_used, reason = "a test may stop at what it did not expect")]

mod checks;
#[cfg(test)]
#[path = "../../../../tests/common/link.rs"]
mod link;
mod local;
#[cfg(test)]
mod nats;
#[cfg(test)]
mod nats_faults;
#[cfg(test)]
mod nats_keys;
#[cfg(test)]
mod nats_table;
#[cfg(test)]
#[path = "../../../../tests/common/nats.rs"]
mod server;
