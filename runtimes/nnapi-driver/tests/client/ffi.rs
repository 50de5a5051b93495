//! The driver's functions as a client in C sees them, behind calls that are safe as long as the driver is.

#![expect(
    unsafe_code,
    reason = "calls of a C ABI; the arguments of every call are as they say, or are refused"
)]

use std::ffi::{c_char, c_int, c_void};
use std::os::fd::RawFd;
use std::ptr::{null, null_mut};

// the symbols are the library's
use neuralnetworks as _;

/// Any handle, or any number in place of one.
pub(crate) type Handle = *mut c_void;

/// `ANeuralNetworksOperandType`.
#[repr(C)]
struct OperandType {
    kind: i32,
    count: u32,
    dimensions: *const u32,
    scale: f32,
    zero_point: i32,
}

#[repr(C)]
struct ChannelParams {
    dimension: u32,
    count: u32,
    scales: *const f32,
}

macro_rules! abi {
    ($($name:ident = $symbol:ident($($arg:ident: $kind:ty),*) $(-> $ret:ty)?;)*) => {
        unsafe extern "C" {
            $(fn $symbol($($arg: $kind),*) $(-> $ret)?;)*
        }
        $(
            /// Calls the function.
            pub(crate) fn $name($($arg: $kind),*) $(-> $ret)? {
                // SAFETY: pointers are null or to what the function needs: the tests below make no others.
                unsafe { $symbol($($arg),*) }
            }
        )*
    };
}

abi! {
    model_create = ANeuralNetworksModel_create(model: *mut Handle) -> c_int;
    model_free = ANeuralNetworksModel_free(model: Handle);
    model_finish = ANeuralNetworksModel_finish(model: Handle) -> c_int;
    relax = ANeuralNetworksModel_relaxComputationFloat32toFloat16(model: Handle, allow: bool) -> c_int;
    value_from_memory = ANeuralNetworksModel_setOperandValueFromMemory(
        model: Handle, index: i32, memory: Handle, offset: usize, length: usize) -> c_int;
    supported = ANeuralNetworksModel_getSupportedOperationsForDevices(
        model: Handle, devices: *const Handle, count: u32, answers: *mut bool) -> c_int;
    device_count = ANeuralNetworks_getDeviceCount(count: *mut u32) -> c_int;
    device = ANeuralNetworks_getDevice(index: u32, device: *mut Handle) -> c_int;
    device_name = ANeuralNetworksDevice_getName(device: Handle, name: *mut *const c_char) -> c_int;
    device_level = ANeuralNetworksDevice_getFeatureLevel(device: Handle, level: *mut i64) -> c_int;
    compilation_create = ANeuralNetworksCompilation_create(model: Handle, compilation: *mut Handle) -> c_int;
    compilation_for = ANeuralNetworksCompilation_createForDevices(
        model: Handle, devices: *const Handle, count: u32, compilation: *mut Handle) -> c_int;
    compilation_free = ANeuralNetworksCompilation_free(compilation: Handle);
    compilation_finish = ANeuralNetworksCompilation_finish(compilation: Handle) -> c_int;
    preference = ANeuralNetworksCompilation_setPreference(compilation: Handle, preference: i32) -> c_int;
    caching = ANeuralNetworksCompilation_setCaching(
        compilation: Handle, folder: *const c_char, token: *const u8) -> c_int;
    priority = ANeuralNetworksCompilation_setPriority(compilation: Handle, priority: c_int) -> c_int;
    execution_create = ANeuralNetworksExecution_create(compilation: Handle, execution: *mut Handle) -> c_int;
    execution_free = ANeuralNetworksExecution_free(execution: Handle);
    input_from_memory = ANeuralNetworksExecution_setInputFromMemory(
        execution: Handle, index: i32, kind: *const c_void, memory: Handle, offset: usize, length: usize) -> c_int;
    output_from_memory = ANeuralNetworksExecution_setOutputFromMemory(
        execution: Handle, index: i32, kind: *const c_void, memory: Handle, offset: usize, length: usize) -> c_int;
    compute = ANeuralNetworksExecution_compute(execution: Handle) -> c_int;
    start = ANeuralNetworksExecution_startCompute(execution: Handle, event: *mut Handle) -> c_int;
    burst_create = ANeuralNetworksBurst_create(compilation: Handle, burst: *mut Handle) -> c_int;
    burst_free = ANeuralNetworksBurst_free(burst: Handle);
    burst_compute = ANeuralNetworksExecution_burstCompute(execution: Handle, burst: Handle) -> c_int;
    event_wait = ANeuralNetworksEvent_wait(event: Handle) -> c_int;
    event_free = ANeuralNetworksEvent_free(event: Handle);
    measure = ANeuralNetworksExecution_setMeasureTiming(execution: Handle, measure: bool) -> c_int;
    duration = ANeuralNetworksExecution_getDuration(execution: Handle, code: i32, duration: *mut u64) -> c_int;
    reusable = ANeuralNetworksExecution_setReusable(execution: Handle, reusable: bool) -> c_int;
    padding = ANeuralNetworksExecution_enableInputAndOutputPadding(execution: Handle, enable: bool) -> c_int;
    rank = ANeuralNetworksExecution_getOutputOperandRank(execution: Handle, index: i32, rank: *mut u32) -> c_int;
    memory_free = ANeuralNetworksMemory_free(memory: Handle);
    memory_copy = ANeuralNetworksMemory_copy(from: Handle, to: Handle) -> c_int;
    memory_from = ANeuralNetworksMemory_createFromDesc(description: Handle, memory: *mut Handle) -> c_int;
    desc_create = ANeuralNetworksMemoryDesc_create(description: *mut Handle) -> c_int;
    desc_input = ANeuralNetworksMemoryDesc_addInputRole(
        description: Handle, compilation: Handle, index: u32, frequency: f32) -> c_int;
    desc_output = ANeuralNetworksMemoryDesc_addOutputRole(
        description: Handle, compilation: Handle, index: u32, frequency: f32) -> c_int;
    desc_finish = ANeuralNetworksMemoryDesc_finish(description: Handle) -> c_int;
    desc_free = ANeuralNetworksMemoryDesc_free(description: Handle);
}

unsafe extern "C" {
    fn ANeuralNetworksModel_addOperand(model: Handle, kind: *const OperandType) -> c_int;
    fn ANeuralNetworksModel_setOperandValue(
        model: Handle,
        index: i32,
        start: *const c_void,
        length: usize,
    ) -> c_int;
    fn ANeuralNetworksModel_setOperandSymmPerChannelQuantParams(
        model: Handle,
        index: i32,
        params: *const ChannelParams,
    ) -> c_int;
    fn ANeuralNetworksModel_addOperation(
        model: Handle,
        code: i32,
        inputs: u32,
        first: *const u32,
        outputs: u32,
        first_output: *const u32,
    ) -> c_int;
    fn ANeuralNetworksModel_identifyInputsAndOutputs(
        model: Handle,
        inputs: u32,
        first: *const u32,
        outputs: u32,
        first_output: *const u32,
    ) -> c_int;
    fn ANeuralNetworksExecution_setInput(
        execution: Handle,
        index: i32,
        kind: *const OperandType,
        start: *const c_void,
        length: usize,
    ) -> c_int;
    fn ANeuralNetworksExecution_setOutput(
        execution: Handle,
        index: i32,
        kind: *const OperandType,
        start: *mut c_void,
        length: usize,
    ) -> c_int;
    fn ANeuralNetworksMemory_createFromFd(
        size: usize,
        protect: c_int,
        fd: c_int,
        offset: usize,
        memory: *mut Handle,
    ) -> c_int;
}

/// A handle from a function that makes one, or its result code.
pub(crate) fn made(make: impl FnOnce(*mut Handle) -> c_int) -> Result<Handle, c_int> {
    let mut handle = null_mut();
    match make(&raw mut handle) {
        0 => Ok(handle),
        code => Err(code),
    }
}

/// Adds an operand.
pub(crate) fn operand(model: Handle, kind: i32, dimensions: &[u32], scale: f32, zero_point: i32) -> c_int {
    let (count, dimensions) = (dimensions.len() as u32, dimensions.as_ptr());
    let kind = OperandType { kind, count, dimensions, scale, zero_point };
    // SAFETY: a type whose dimensions are there.
    unsafe { ANeuralNetworksModel_addOperand(model, &raw const kind) }
}

/// Adds no operand.
pub(crate) fn null_operand(model: Handle) -> c_int {
    // SAFETY: null is refused.
    unsafe { ANeuralNetworksModel_addOperand(model, null()) }
}

/// Sets a value; none leaves it out.
pub(crate) fn value(model: Handle, index: i32, bytes: Option<&[u8]>) -> c_int {
    let (start, length) = bytes.map_or((null(), 0), |b| (b.as_ptr().cast(), b.len()));
    // SAFETY: so many bytes, copied by the driver.
    unsafe { ANeuralNetworksModel_setOperandValue(model, index, start, length) }
}

/// Sets scales per channel.
pub(crate) fn channels(model: Handle, index: i32, dimension: u32, scales: &[f32]) -> c_int {
    let params = ChannelParams { dimension, count: scales.len() as u32, scales: scales.as_ptr() };
    // SAFETY: so many scales, copied by the driver.
    unsafe { ANeuralNetworksModel_setOperandSymmPerChannelQuantParams(model, index, &raw const params) }
}

/// Adds an operation.
pub(crate) fn operation(model: Handle, code: i32, inputs: &[u32], outputs: &[u32]) -> c_int {
    let count = |all: &[u32]| all.len() as u32;
    let (first, last) = (inputs.as_ptr(), outputs.as_ptr());
    // SAFETY: arrays with their lengths.
    unsafe { ANeuralNetworksModel_addOperation(model, code, count(inputs), first, count(outputs), last) }
}

/// Says inputs and outputs.
pub(crate) fn identify(model: Handle, inputs: &[u32], outputs: &[u32]) -> c_int {
    let count = |all: &[u32]| all.len() as u32;
    let (first, last) = (inputs.as_ptr(), outputs.as_ptr());
    // SAFETY: arrays with their lengths.
    unsafe {
        ANeuralNetworksModel_identifyInputsAndOutputs(model, count(inputs), first, count(outputs), last)
    }
}

/// Says inputs and outputs of which there are none, though a number is given.
pub(crate) fn identify_nothing(model: Handle) -> c_int {
    // SAFETY: null is refused.
    unsafe { ANeuralNetworksModel_identifyInputsAndOutputs(model, 1, null(), 1, null()) }
}

/// Binds an input; the bytes must outlive the computation.
pub(crate) fn input(execution: Handle, index: i32, bytes: &[u8]) -> c_int {
    // SAFETY: so many bytes.
    unsafe { ANeuralNetworksExecution_setInput(execution, index, null(), bytes.as_ptr().cast(), bytes.len()) }
}

/// Binds an output; the bytes must outlive the computation.
pub(crate) fn output(execution: Handle, index: i32, bytes: &mut [u8]) -> c_int {
    let start = bytes.as_mut_ptr().cast();
    // SAFETY: so many bytes.
    unsafe { ANeuralNetworksExecution_setOutput(execution, index, null(), start, bytes.len()) }
}

/// Binds null.
pub(crate) fn null_input(execution: Handle, length: usize) -> c_int {
    // SAFETY: null is refused.
    unsafe { ANeuralNetworksExecution_setInput(execution, 0, null(), null(), length) }
}

/// Memory from a descriptor.
pub(crate) fn memory(size: usize, protect: c_int, fd: RawFd, offset: usize) -> Result<Handle, c_int> {
    // SAFETY: a number that is a descriptor or not, and a place for a handle.
    made(|place| unsafe { ANeuralNetworksMemory_createFromFd(size, protect, fd, offset, place) })
}
