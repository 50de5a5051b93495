//! The contract of a queue, kept by every queue there is: each is a module here that makes one and runs all the
//! checks of [`checks`].
#![expect(clippy::unwrap_used, reason = "a test may stop at what it did not expect")]

mod checks;
#[path = "../../../../tests/common/link.rs"]
mod link;
mod local;
mod nats;
mod nats_faults;
mod nats_keys;
mod nats_table;
#[path = "../../../../tests/common/nats.rs"]
mod server;
