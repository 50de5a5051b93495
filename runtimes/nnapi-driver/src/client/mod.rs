//! The client's side of the ABI: its handles, and how much it may ask for at once.

pub(crate) mod ffi;

use std::ffi::c_void;

/// An opaque handle of the client's.
pub(crate) type Handle = *mut c_void;

/// Numbers in one array of the client's.
pub(crate) const MAX_COUNT: usize = 1 << 16;
/// Devices in one array: none is there twice with a use.
pub(crate) const MAX_DEVICES: usize = 64;
/// Events to wait for.
pub(crate) const MAX_DEPENDENCIES: usize = 1 << 10;
/// Time after which a loop would end, default and greatest, in ns; there are no loops.
pub(crate) const LOOP_TIMEOUT_NS: [u64; 2] = [2_000_000_000, 15_000_000_000];
