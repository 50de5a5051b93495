//! The C ABI of `NeuralNetworks.h`: pointers become values here, and calls of the safe modules. A null pointer where
//! one is needed is `UNEXPECTED_NULL`; a panic is `OP_FAILED` and never crosses into the client. What a client says
//! of its own memory (that so many bytes are there) has to be believed.

#![expect(unsafe_code, reason = "symbols of a C ABI")]

use crate::client::ffi::{
    ChannelParams, ClientMemory, OperandType, array, channels, device, device_numbers, duplicate, guard,
    make, object, operand, put, release, text, with,
};
use crate::client::{Handle, LOOP_TIMEOUT_NS, MAX_COUNT, MAX_DEPENDENCIES};
use crate::compilation::{self, CARDS, Compilation};
use crate::execution::{Burst, Event, Execution, Place};
use crate::memory::{Description, Memory, Role};
use crate::model::Builder;
use crate::{Done, ensure, lock};
use runtimes::builtin::limits::{MAX_RANK, MAX_TENSOR_BYTES};
use runtimes::builtin::nnapi::codes::{level, result};
use std::ffi::{OsStr, c_char, c_int, c_void};
use std::os::fd::{AsFd, IntoRawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::Mutex;

/// Defines functions of the ABI. A `bool` that comes in is a `u8` here: a confused client may give any.
macro_rules! abi {
    ($($(#[$doc:meta])* fn $name:ident($($arg:ident: $kind:ty),*) $(-> $result:ty)? $body:block)*) => { $(
        $(#[$doc])*
        #[doc = concat!("`", stringify!($name), "` of `NeuralNetworks.h`.")]
        // SAFETY: no other symbol has this name: it is the ABI's, and this library stands for the one that has it.
        #[unsafe(no_mangle)]
        pub(crate) extern "C" fn $name($($arg: $kind),*) $(-> $result)? $body
    )* };
}

abi! {
    fn ANeuralNetworks_getDeviceCount(count: *mut u32) -> c_int {
        guard(|| put(count, u32::try_from(CARDS.len()).unwrap_or(0)))
    }

    fn ANeuralNetworks_getDevice(index: u32, device: *mut Handle) -> c_int {
        guard(|| {
            ensure((index as usize) < CARDS.len())?;
            put(device, std::ptr::without_provenance_mut(index as usize + 1))
        })
    }

    fn ANeuralNetworksDevice_getName(of: Handle, name: *mut *const c_char) -> c_int {
        guard(|| put(name, device(of)?.name.as_ptr()))
    }

    fn ANeuralNetworksDevice_getVersion(of: Handle, version: *mut *const c_char) -> c_int {
        guard(|| put(version, device(of)?.version.as_ptr()))
    }

    fn ANeuralNetworksDevice_getType(of: Handle, kind: *mut i32) -> c_int {
        guard(|| put(kind, device(of)?.kind))
    }

    fn ANeuralNetworksDevice_getFeatureLevel(of: Handle, feature_level: *mut i64) -> c_int {
        guard(|| put(feature_level, device(of)?.feature_level))
    }

    fn ANeuralNetworksDevice_wait(of: Handle) -> c_int {
        guard(|| device(of).map(|_| ()))
    }

    fn ANeuralNetworksDevice_getExtensionSupport(of: Handle, name: *const c_char, answer: *mut bool) -> c_int {
        guard(|| {
            device(of)?;
            text(name)?;
            put(answer, false)
        })
    }

    fn ANeuralNetworks_getRuntimeFeatureLevel() -> i64 {
        level::FEATURE_LEVEL_5
    }

    fn ANeuralNetworks_getDefaultLoopTimeout() -> u64 {
        LOOP_TIMEOUT_NS[0]
    }

    fn ANeuralNetworks_getMaximumLoopTimeout() -> u64 {
        LOOP_TIMEOUT_NS[1]
    }

    fn ANeuralNetworksMemory_createFromFd(
        size: usize, protect: c_int, fd: c_int, offset: usize, memory: *mut Handle
    ) -> c_int {
        make(memory, || Memory::of_file(duplicate(fd)?, size, protect, offset))
    }

    fn ANeuralNetworksMemory_createFromAHardwareBuffer(buffer: Handle, memory: *mut Handle) -> c_int {
        make::<Memory>(memory, || Err(if buffer.is_null() { result::UNEXPECTED_NULL } else { result::UNMAPPABLE }))
    }

    fn ANeuralNetworksMemory_createFromDesc(description: Handle, memory: *mut Handle) -> c_int {
        make(memory, || lock(&*object::<Mutex<Description>>(description)?).make())
    }

    fn ANeuralNetworksMemory_copy(from: Handle, to: Handle) -> c_int {
        guard(|| object::<Memory>(from)?.copy(&*object::<Memory>(to)?))
    }

    fn ANeuralNetworksMemory_free(memory: Handle) {
        release::<Memory>(memory);
    }

    fn ANeuralNetworksMemoryDesc_create(description: *mut Handle) -> c_int {
        make(description, || Ok(Mutex::new(Description::default())))
    }

    fn ANeuralNetworksMemoryDesc_addInputRole(
        description: Handle, of: Handle, index: u32, frequency: f32
    ) -> c_int {
        add_role(description, of, true, index, frequency)
    }

    fn ANeuralNetworksMemoryDesc_addOutputRole(
        description: Handle, of: Handle, index: u32, frequency: f32
    ) -> c_int {
        add_role(description, of, false, index, frequency)
    }

    fn ANeuralNetworksMemoryDesc_setDimensions(
        description: Handle, rank: u32, dimensions: *const u32
    ) -> c_int {
        with(description, |d: &mut Description| d.dimensions(array(dimensions, rank as usize, MAX_RANK)?))
    }

    fn ANeuralNetworksMemoryDesc_finish(description: Handle) -> c_int {
        with(description, Description::finish)
    }

    fn ANeuralNetworksMemoryDesc_free(description: Handle) {
        release::<Mutex<Description>>(description);
    }

    fn ANeuralNetworksModel_create(model: *mut Handle) -> c_int {
        make(model, || Ok(Mutex::new(Builder::default())))
    }

    fn ANeuralNetworksModel_free(model: Handle) {
        release::<Mutex<Builder>>(model);
    }

    fn ANeuralNetworksModel_addOperand(model: Handle, kind: *const OperandType) -> c_int {
        with(model, |m: &mut Builder| m.add_operand(operand(kind)?))
    }

    fn ANeuralNetworksModel_setOperandValue(
        model: Handle, index: i32, buffer: *const c_void, length: usize
    ) -> c_int {
        with(model, |m: &mut Builder| {
            if buffer.is_null() {
                ensure(length == 0)?;
                return m.set_value(index, None);
            }
            ensure(m.value_bytes(index)? == length)?;
            m.set_value(index, Some(array(buffer.cast(), length, MAX_TENSOR_BYTES)?))
        })
    }

    fn ANeuralNetworksModel_setOperandValueFromMemory(
        model: Handle, index: i32, memory: Handle, offset: usize, length: usize
    ) -> c_int {
        with(model, |m: &mut Builder| {
            let memory = object::<Memory>(memory)?;
            ensure(matches!(*memory, Memory::File { .. }) && m.value_bytes(index)? == length)?;
            let mut bytes = Vec::new();
            memory.read(offset, length, &mut bytes)?;
            m.set_value(index, Some(bytes))
        })
    }

    fn ANeuralNetworksModel_setOperandValueFromModel(model: Handle, _index: i32, value: Handle) -> c_int {
        // There is no operand of the code that this needs.
        guard(|| {
            object::<Mutex<Builder>>(model)?;
            object::<Mutex<Builder>>(value)?;
            Err(result::BAD_DATA)
        })
    }

    fn ANeuralNetworksModel_setOperandSymmPerChannelQuantParams(
        model: Handle, index: i32, params: *const ChannelParams
    ) -> c_int {
        with(model, |m: &mut Builder| m.set_channels(index, channels(params)?))
    }

    fn ANeuralNetworksModel_addOperation(
        model: Handle, code: i32, input_count: u32, inputs: *const u32, output_count: u32, outputs: *const u32
    ) -> c_int {
        with(model, |m: &mut Builder| {
            let inputs = array(inputs, input_count as usize, MAX_COUNT)?;
            m.add_operation(code, inputs, array(outputs, output_count as usize, MAX_COUNT)?)
        })
    }

    fn ANeuralNetworksModel_identifyInputsAndOutputs(
        model: Handle, input_count: u32, inputs: *const u32, output_count: u32, outputs: *const u32
    ) -> c_int {
        with(model, |m: &mut Builder| {
            let inputs = array(inputs, input_count as usize, MAX_COUNT)?;
            m.identify(inputs, array(outputs, output_count as usize, MAX_COUNT)?)
        })
    }

    fn ANeuralNetworksModel_relaxComputationFloat32toFloat16(model: Handle, allow: u8) -> c_int {
        with(model, |m: &mut Builder| m.relax(allow != 0))
    }

    fn ANeuralNetworksModel_finish(model: Handle) -> c_int {
        with(model, Builder::finish)
    }

    fn ANeuralNetworksModel_getExtensionOperandType(
        _model: Handle, _extension: *const c_char, _code: u16, _kind: *mut i32
    ) -> c_int {
        result::BAD_DATA
    }

    fn ANeuralNetworksModel_getExtensionOperationType(
        _model: Handle, _extension: *const c_char, _code: u16, _kind: *mut i32
    ) -> c_int {
        result::BAD_DATA
    }

    fn ANeuralNetworksModel_setOperandExtensionData(
        _model: Handle, _index: i32, _data: *const c_void, _length: usize
    ) -> c_int {
        result::BAD_DATA
    }

    fn ANeuralNetworksModel_getSupportedOperationsForDevices(
        model: Handle, devices: *const Handle, count: u32, supported: *mut bool
    ) -> c_int {
        guard(|| {
            let finished = lock(&*object::<Mutex<Builder>>(model)?).finished()?;
            let answers = compilation::supported(&finished, &device_numbers(devices, count)?)?;
            ensure(!supported.is_null())?;
            answers.into_iter().enumerate().try_for_each(|(at, answer)| put(supported.wrapping_add(at), answer))
        })
    }

    fn ANeuralNetworksCompilation_create(model: Handle, new: *mut Handle) -> c_int {
        make(new, || {
            let finished = lock(&*object::<Mutex<Builder>>(model)?).finished()?;
            Ok(Mutex::new(Compilation::new(finished, None)))
        })
    }

    fn ANeuralNetworksCompilation_createForDevices(
        model: Handle, devices: *const Handle, count: u32, new: *mut Handle
    ) -> c_int {
        make(new, || {
            let finished = lock(&*object::<Mutex<Builder>>(model)?).finished()?;
            Ok(Mutex::new(Compilation::new(finished, Some(device_numbers(devices, count)?))))
        })
    }

    fn ANeuralNetworksCompilation_free(of: Handle) {
        release::<Mutex<Compilation>>(of);
    }

    fn ANeuralNetworksCompilation_setPreference(of: Handle, preference: i32) -> c_int {
        with(of, |c: &mut Compilation| c.prefer(preference))
    }

    fn ANeuralNetworksCompilation_setCaching(of: Handle, folder: *const c_char, token: *const u8) -> c_int {
        with(of, |c: &mut Compilation| {
            let folder = text(folder)?.to_bytes();
            array(token, 32, 32)?;
            c.cache(PathBuf::from(OsStr::from_bytes(folder)))
        })
    }

    fn ANeuralNetworksCompilation_setPriority(of: Handle, priority: c_int) -> c_int {
        with(of, |c: &mut Compilation| c.prioritise(priority))
    }

    fn ANeuralNetworksCompilation_setTimeout(of: Handle, _nanoseconds: u64) -> c_int {
        with(of, |c: &mut Compilation| c.time_out())
    }

    fn ANeuralNetworksCompilation_finish(of: Handle) -> c_int {
        with(of, Compilation::finish)
    }

    fn ANeuralNetworksExecution_create(of: Handle, execution: *mut Handle) -> c_int {
        make(execution, || Ok(Mutex::new(Execution::new(compilation::ready(of.addr())?))))
    }

    fn ANeuralNetworksExecution_free(execution: Handle) {
        release::<Mutex<Execution>>(execution);
    }

    fn ANeuralNetworksExecution_setInput(
        execution: Handle, index: i32, kind: *const OperandType, buffer: *const c_void, length: usize
    ) -> c_int {
        set(execution, true, index, kind, || ClientMemory::new(buffer, length).map(Place::Client))
    }

    fn ANeuralNetworksExecution_setOutput(
        execution: Handle, index: i32, kind: *const OperandType, buffer: *mut c_void, length: usize
    ) -> c_int {
        set(execution, false, index, kind, || ClientMemory::new(buffer, length).map(Place::Client))
    }

    fn ANeuralNetworksExecution_setInputFromMemory(
        execution: Handle, index: i32, kind: *const OperandType, memory: Handle, offset: usize, length: usize
    ) -> c_int {
        set(execution, true, index, kind, || shared(memory, offset, length))
    }

    fn ANeuralNetworksExecution_setOutputFromMemory(
        execution: Handle, index: i32, kind: *const OperandType, memory: Handle, offset: usize, length: usize
    ) -> c_int {
        set(execution, false, index, kind, || shared(memory, offset, length))
    }

    fn ANeuralNetworksExecution_setMeasureTiming(execution: Handle, measure: u8) -> c_int {
        with(execution, |e: &mut Execution| e.set_measured(measure != 0))
    }

    fn ANeuralNetworksExecution_setTimeout(execution: Handle, _nanoseconds: u64) -> c_int {
        with(execution, |e: &mut Execution| e.time_out())
    }

    fn ANeuralNetworksExecution_setLoopTimeout(execution: Handle, _nanoseconds: u64) -> c_int {
        with(execution, |e: &mut Execution| e.is_open())
    }

    fn ANeuralNetworksExecution_enableInputAndOutputPadding(execution: Handle, enable: u8) -> c_int {
        with(execution, |e: &mut Execution| e.set_padded(enable != 0))
    }

    fn ANeuralNetworksExecution_setReusable(execution: Handle, reusable: u8) -> c_int {
        with(execution, |e: &mut Execution| e.set_reusable(reusable != 0))
    }

    fn ANeuralNetworksExecution_compute(execution: Handle) -> c_int {
        with(execution, |e: &mut Execution| e.compute(false))
    }

    fn ANeuralNetworksExecution_burstCompute(execution: Handle, burst: Handle) -> c_int {
        with(execution, |e: &mut Execution| object::<Burst>(burst)?.compute(e))
    }

    fn ANeuralNetworksExecution_startCompute(execution: Handle, event: *mut Handle) -> c_int {
        make(event, || start(execution))
    }

    fn ANeuralNetworksExecution_startComputeWithDependencies(
        execution: Handle, dependencies: *const Handle, count: u32, _nanoseconds: u64, event: *mut Handle
    ) -> c_int {
        make(event, || {
            for dependency in array(dependencies, count as usize, MAX_DEPENDENCIES)? {
                object::<Event>(dependency)?.wait()?;
            }
            start(execution)
        })
    }

    fn ANeuralNetworksExecution_getOutputOperandRank(execution: Handle, index: i32, rank: *mut u32) -> c_int {
        with(execution, |e: &mut Execution| {
            put(rank, u32::try_from(e.output_dimensions(index)?.len()).unwrap_or(u32::MAX))
        })
    }

    fn ANeuralNetworksExecution_getOutputOperandDimensions(
        execution: Handle, index: i32, dimensions: *mut u32
    ) -> c_int {
        with(execution, |e: &mut Execution| {
            for (at, dimension) in e.output_dimensions(index)?.iter().enumerate() {
                put(dimensions.wrapping_add(at), *dimension)?;
            }
            Ok(())
        })
    }

    fn ANeuralNetworksExecution_getDuration(execution: Handle, code: i32, duration: *mut u64) -> c_int {
        with(execution, |e: &mut Execution| put(duration, e.duration(code)?))
    }

    fn ANeuralNetworksBurst_create(of: Handle, burst: *mut Handle) -> c_int {
        make(burst, || Ok(Burst::new(compilation::ready(of.addr())?)))
    }

    fn ANeuralNetworksBurst_free(burst: Handle) {
        release::<Burst>(burst);
    }

    fn ANeuralNetworksEvent_wait(event: Handle) -> c_int {
        guard(|| object::<Event>(event)?.wait())
    }

    fn ANeuralNetworksEvent_free(event: Handle) {
        release::<Event>(event);
    }

    fn ANeuralNetworksEvent_createFromSyncFenceFd(fd: c_int, event: *mut Handle) -> c_int {
        make(event, || Ok(Event::Fence(duplicate(fd)?)))
    }

    fn ANeuralNetworksEvent_getSyncFenceFd(event: Handle, fd: *mut c_int) -> c_int {
        guard(|| {
            put(fd, -1)?;
            match &*object::<Event>(event)? {
                Event::Fence(of) => {
                    let copy = of.as_fd().try_clone_to_owned().map_err(|_| result::OP_FAILED)?;
                    put(fd, copy.into_raw_fd())
                }
                Event::Ended(_) => Err(result::BAD_DATA),
            }
        })
    }

    /// Executions since the library was loaded, and those of bursts: not in NNAPI, for tests.
    fn BenchNnapi_counts(executions: *mut u64, bursts: *mut u64) -> c_int {
        let [all, of_bursts] = super::execution::counts();
        guard(|| {
            put(executions, all)?;
            put(bursts, of_bursts)
        })
    }
}

fn add_role(description: Handle, of: Handle, input: bool, index: u32, frequency: f32) -> c_int {
    with(description, |d: &mut Description| {
        d.role(Role { ready: compilation::ready(of.addr())?, input, index: index as usize }, frequency)
    })
}

fn shared(memory: Handle, offset: usize, length: usize) -> Done<Place> {
    let memory = object::<Memory>(memory)?;
    let (offset, length) = memory.part(offset, length)?;
    Ok(Place::Shared { memory, offset, length })
}

fn set(
    execution: Handle,
    input: bool,
    index: i32,
    kind: *const OperandType,
    place: impl FnOnce() -> Done<Place>,
) -> c_int {
    with(execution, |e: &mut Execution| {
        let stated = if kind.is_null() { None } else { Some(operand(kind)?) };
        e.set(input, index, stated.map(|o| (o.code, o.dimensions)), place()?)
    })
}

/// Runs at once: what is returned has ended.
fn start(execution: Handle) -> Done<Event> {
    let done = lock(&*object::<Mutex<Execution>>(execution)?).compute(false);
    match done {
        Err(code @ (result::BAD_STATE | result::BAD_DATA)) => Err(code),
        done => Ok(Event::Ended(done)),
    }
}
