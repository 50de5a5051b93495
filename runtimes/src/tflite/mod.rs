//! TFLite.

pub(crate) mod element;
pub(crate) mod file;
pub(crate) mod watch;
