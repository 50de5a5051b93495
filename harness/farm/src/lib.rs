//! The nightly device farm: `farm.toml`, jobs and who may do them, the queue between who plans and who measures,
//! the health of devices, and the record of a night. Knows no transport and measures nothing: whoever can
//! measure is an [`worker::Executor`].

pub mod archive;
pub mod dashboard;
pub mod device;
pub mod health;
pub mod job;
pub mod night;
pub mod queue;
pub mod remote;
pub mod times;
pub mod worker;
