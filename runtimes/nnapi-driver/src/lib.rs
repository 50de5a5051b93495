//! The built-in engine as a `libneuralnetworks.so`: the C ABI of Android's Neural Networks API, feature levels 1 to
//! 5, over the in-process devices of the backend `nnapi`. Clients of NNAPI, our own and others', can be tested on
//! Linux with it.
//!
//! Handles are numbers and no addresses: one that was freed, was never given or belongs to something else is
//! refused with a result code. Runs no control flow, knows no vendor extensions and no hardware buffers.

mod client;
mod compilation;
mod execution;
mod ffi;
mod handle;
mod import;
mod memory;
mod model;

use runtimes::builtin::nnapi::codes::result;

/// What a call gives, or the `ResultCode` it failed with.
type Done<T = ()> = Result<T, i32>;

/// `condition`, or bad data.
fn ensure(condition: bool) -> Done {
    if condition { Ok(()) } else { Err(result::BAD_DATA) }
}

/// What a client may do only now.
fn in_state(condition: bool) -> Done {
    if condition { Ok(()) } else { Err(result::BAD_STATE) }
}

/// A locked mutex; what a panicking call left is still whole, because every call sets its state last.
fn lock<T>(mutex: &std::sync::Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
