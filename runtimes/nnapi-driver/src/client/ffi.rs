//! What comes from a client as a pointer and goes on as a value.

#![expect(unsafe_code, reason = "a C ABI; every block says what the client promised")]

use super::{Handle, MAX_DEVICES};
use crate::compilation::{CARDS, Card};
use crate::{Done, ensure, handle, lock};
use runtimes::builtin::limits::{MAX_RANK, MAX_TENSOR_BYTES};
use runtimes::builtin::nnapi::codes::result;
use runtimes::builtin::nnapi::model::{Channels, Operand, Value};
use std::ffi::{CStr, c_char, c_int, c_void};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;

/// `ANeuralNetworksOperandType`.
#[repr(C)]
pub(crate) struct OperandType {
    kind: i32,
    count: u32,
    dimensions: *const u32,
    scale: f32,
    zero_point: i32,
}

/// `ANeuralNetworksSymmPerChannelQuantParams`.
#[repr(C)]
pub(crate) struct ChannelParams {
    dimension: u32,
    count: u32,
    scales: *const f32,
}

/// Memory of the client for the time of an execution.
pub(crate) struct ClientMemory {
    address: usize,
    length: usize,
}

impl ClientMemory {
    /// So many bytes at an address.
    pub(crate) fn new(buffer: *const c_void, length: usize) -> Done<Self> {
        if buffer.is_null() {
            return Err(result::UNEXPECTED_NULL);
        }
        ensure(length <= MAX_TENSOR_BYTES)?;
        Ok(Self { address: buffer.expose_provenance(), length })
    }

    pub(crate) fn length(&self) -> usize {
        self.length
    }

    /// Appends the first `count` bytes to a buffer.
    pub(crate) fn read(&self, count: usize, into: &mut Vec<u8>) {
        let start: *const u8 = std::ptr::with_exposed_provenance(self.address);
        // SAFETY: the client promised `length` readable bytes that stay until the execution has ended, and `count`
        // is cut to that.
        into.extend_from_slice(unsafe { std::slice::from_raw_parts(start, count.min(self.length)) });
    }

    /// Writes bytes, as many as fit.
    pub(crate) fn write(&self, bytes: &[u8]) {
        let start: *mut u8 = std::ptr::with_exposed_provenance_mut(self.address);
        // SAFETY: the client promised `length` writable bytes that stay until the execution has ended; `bytes` is
        // memory of the driver, so that the two do not overlap.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), start, bytes.len().min(self.length)) };
    }
}

/// Runs a call; its result code.
pub(crate) fn guard(call: impl FnOnce() -> Done) -> c_int {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(Ok(())) => result::NO_ERROR,
        Ok(Err(code)) => code,
        Err(_) => result::OP_FAILED,
    }
}

/// A free that does nothing to what it does not know.
pub(crate) fn release<T: Send + Sync + 'static>(object: Handle) {
    guard(|| {
        handle::free::<T>(object.addr());
        Ok(())
    });
}

/// The object of a handle.
pub(crate) fn object<T: Send + Sync + 'static>(object: Handle) -> Done<std::sync::Arc<T>> {
    handle::get(object.addr())
}

/// Runs a call on the object of a handle.
pub(crate) fn with<T: Send + 'static>(handle: Handle, call: impl FnOnce(&mut T) -> Done) -> c_int {
    guard(|| call(&mut *lock(&*object::<Mutex<T>>(handle)?)))
}

/// Writes a result where the client wants it.
pub(crate) fn put<T>(place: *mut T, value: T) -> Done {
    if place.is_null() {
        return Err(result::UNEXPECTED_NULL);
    }
    // SAFETY: the client gave a place for one `T`; it need not be aligned for this.
    unsafe { place.write_unaligned(value) };
    Ok(())
}

/// A new object's handle, where the client wants it.
pub(crate) fn make<T: Send + Sync + 'static>(place: *mut Handle, new: impl FnOnce() -> Done<T>) -> c_int {
    guard(|| {
        put(place, std::ptr::null_mut())?;
        put(place, std::ptr::without_provenance_mut(handle::insert(new()?)?))
    })
}

/// An array of the client's.
pub(crate) fn array<T: Copy>(start: *const T, count: usize, most: usize) -> Done<Vec<T>> {
    ensure(count <= most)?;
    if count == 0 {
        return Ok(Vec::new());
    }
    if start.is_null() {
        return Err(result::UNEXPECTED_NULL);
    }
    // SAFETY: the client promised `count` elements there; they are read one by one, aligned or not.
    Ok((0..count).map(|i| unsafe { start.add(i).read_unaligned() }).collect())
}

/// A string of the client's, for the time of the call.
pub(crate) fn text<'a>(start: *const c_char) -> Done<&'a CStr> {
    if start.is_null() {
        return Err(result::UNEXPECTED_NULL);
    }
    // SAFETY: the client promised a string that ends with a zero byte and stays for the time of the call.
    Ok(unsafe { CStr::from_ptr(start) })
}

/// The type of an operand.
pub(crate) fn operand(kind: *const OperandType) -> Done<Operand> {
    if kind.is_null() {
        return Err(result::UNEXPECTED_NULL);
    }
    // SAFETY: the client promised one `OperandType` there; it need not be aligned.
    let kind = unsafe { kind.read_unaligned() };
    let dimensions = array(kind.dimensions, kind.count as usize, MAX_RANK)?;
    let (code, scale, zero_point) = (kind.kind, kind.scale, kind.zero_point);
    Ok(Operand { code, dimensions, scale, zero_point, channels: None, value: Value::Unset })
}

/// A copy of a descriptor.
pub(crate) fn duplicate(fd: c_int) -> Done<OwnedFd> {
    ensure(fd >= 0)?;
    // SAFETY: not negative; that it is open is the client's promise, and a call on one that is not fails.
    let borrowed = unsafe { BorrowedFd::borrow_raw(fd) };
    borrowed.try_clone_to_owned().map_err(|_| result::BAD_DATA)
}

/// A device.
pub(crate) fn device<'a>(handle: Handle) -> Done<&'a Card> {
    CARDS.get(device_number(handle)?).ok_or(result::BAD_DATA)
}

/// Devices are numbered from one.
pub(crate) fn device_number(handle: Handle) -> Done<usize> {
    let index = handle.addr().checked_sub(1).ok_or(result::UNEXPECTED_NULL)?;
    ensure(index < CARDS.len())?;
    Ok(index)
}

/// Numbers of devices, none of them twice.
pub(crate) fn device_numbers(devices: *const Handle, count: u32) -> Done<Vec<usize>> {
    ensure(count > 0)?;
    let devices = array(devices, count as usize, MAX_DEVICES)?;
    let numbers = devices.into_iter().map(device_number).collect::<Done<Vec<_>>>()?;
    ensure(numbers.iter().enumerate().all(|(i, n)| !numbers[..i].contains(n)))?;
    Ok(numbers)
}

/// Scales of channels.
pub(crate) fn channels(params: *const ChannelParams) -> Done<Channels> {
    if params.is_null() {
        return Err(result::UNEXPECTED_NULL);
    }
    // SAFETY: the client promised one `ChannelParams` there; it need not be aligned.
    let params = unsafe { params.read_unaligned() };
    let scales = array(params.scales, params.count as usize, MAX_TENSOR_BYTES / size_of::<f32>())?;
    Ok(Channels { dimension: params.dimension, scales })
}
