//! A model's file in memory without a copy: a look at its structure costs a device no memory that a measurement would
//! see.

mod ffi;

pub(crate) use ffi::Mapped;
