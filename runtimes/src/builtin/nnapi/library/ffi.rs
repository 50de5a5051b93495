//! The functions of `libneuralnetworks.so` that are used, and objects that free what they hold. Those of feature
//! level 1 must be there; of later levels, what is there is used.

#![expect(unsafe_code, reason = "calls of a C ABI; every block says why it holds")]

use crate::builtin::nnapi::codes::{level, result};
use crate::builtin::nnapi::model::{Model as Description, Operand, Value};
use crate::dlopen::{Opened, functions};
use crate::{Error, Result};
use protocol::Library;
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr::{null, null_mut};
use std::sync::Arc;

/// An object of the library.
type Handle = *mut c_void;

/// Devices that are asked for their names.
const MAX_DEVICES: u32 = 64;

/// `ANeuralNetworksOperandType`.
#[repr(C)]
struct OperandType {
    kind: i32,
    count: u32,
    dimensions: *const u32,
    scale: f32,
    zero_point: i32,
}

/// `ANeuralNetworksSymmPerChannelQuantParams`.
#[repr(C)]
struct ChannelParams {
    dimension: u32,
    count: u32,
    scales: *const f32,
}

functions! {
    /// The functions of a library.
    struct Functions of "NNAPI, feature level 1 (Android 8.1) or later" {
        model_create = "ANeuralNetworksModel_create": fn(*mut Handle) -> c_int;
        model_free = "ANeuralNetworksModel_free": fn(Handle);
        model_finish = "ANeuralNetworksModel_finish": fn(Handle) -> c_int;
        add_operand = "ANeuralNetworksModel_addOperand": fn(Handle, *const OperandType) -> c_int;
        set_value = "ANeuralNetworksModel_setOperandValue": fn(Handle, i32, *const c_void, usize) -> c_int;
        add_operation = "ANeuralNetworksModel_addOperation": fn(
            Handle, i32, u32, *const u32, u32, *const u32) -> c_int;
        identify = "ANeuralNetworksModel_identifyInputsAndOutputs": fn(
            Handle, u32, *const u32, u32, *const u32) -> c_int;
        compilation_create = "ANeuralNetworksCompilation_create": fn(Handle, *mut Handle) -> c_int;
        compilation_free = "ANeuralNetworksCompilation_free": fn(Handle);
        set_preference = "ANeuralNetworksCompilation_setPreference": fn(Handle, i32) -> c_int;
        compilation_finish = "ANeuralNetworksCompilation_finish": fn(Handle) -> c_int;
        execution_create = "ANeuralNetworksExecution_create": fn(Handle, *mut Handle) -> c_int;
        execution_free = "ANeuralNetworksExecution_free": fn(Handle);
        set_input = "ANeuralNetworksExecution_setInput": fn(
            Handle, i32, *const OperandType, *const c_void, usize) -> c_int;
        set_output = "ANeuralNetworksExecution_setOutput": fn(
            Handle, i32, *const OperandType, *mut c_void, usize) -> c_int;
        start = "ANeuralNetworksExecution_startCompute": fn(Handle, *mut Handle) -> c_int;
        event_wait = "ANeuralNetworksEvent_wait": fn(Handle) -> c_int;
        event_free = "ANeuralNetworksEvent_free": fn(Handle);
    }
    some have {
        relax = "ANeuralNetworksModel_relaxComputationFloat32toFloat16": fn(Handle, bool) -> c_int;
        device_count = "ANeuralNetworks_getDeviceCount": fn(*mut u32) -> c_int;
        device = "ANeuralNetworks_getDevice": fn(u32, *mut Handle) -> c_int;
        device_name = "ANeuralNetworksDevice_getName": fn(Handle, *mut *const c_char) -> c_int;
        device_version = "ANeuralNetworksDevice_getVersion": fn(Handle, *mut *const c_char) -> c_int;
        device_kind = "ANeuralNetworksDevice_getType": fn(Handle, *mut i32) -> c_int;
        device_level = "ANeuralNetworksDevice_getFeatureLevel": fn(Handle, *mut i64) -> c_int;
        supported = "ANeuralNetworksModel_getSupportedOperationsForDevices": fn(
            Handle, *const Handle, u32, *mut bool) -> c_int;
        create_for_devices = "ANeuralNetworksCompilation_createForDevices": fn(
            Handle, *const Handle, u32, *mut Handle) -> c_int;
        set_channels = "ANeuralNetworksModel_setOperandSymmPerChannelQuantParams": fn(
            Handle, i32, *const ChannelParams) -> c_int;
        set_caching = "ANeuralNetworksCompilation_setCaching": fn(Handle, *const c_char, *const u8) -> c_int;
        compute = "ANeuralNetworksExecution_compute": fn(Handle) -> c_int;
        burst_create = "ANeuralNetworksBurst_create": fn(Handle, *mut Handle) -> c_int;
        burst_free = "ANeuralNetworksBurst_free": fn(Handle);
        burst_compute = "ANeuralNetworksExecution_burstCompute": fn(Handle, Handle) -> c_int;
        set_measure = "ANeuralNetworksExecution_setMeasureTiming": fn(Handle, bool) -> c_int;
        duration = "ANeuralNetworksExecution_getDuration": fn(Handle, i32, *mut u64) -> c_int;
        device_wait = "ANeuralNetworksDevice_wait": fn(Handle) -> c_int;
        set_reusable = "ANeuralNetworksExecution_setReusable": fn(Handle, bool) -> c_int;
        runtime_level = "ANeuralNetworks_getRuntimeFeatureLevel": fn() -> i64;
    }
}

/// A library.
pub(super) struct Api {
    functions: Functions,
    feature_level: i64,
}

/// A device of a library; valid as long as the library is loaded, which is for ever.
#[derive(Clone, Copy)]
pub(super) struct DeviceHandle(Handle);

// SAFETY: NNAPI's devices may be used from any thread.
unsafe impl Send for DeviceHandle {}

/// What a library says of a device.
pub(super) struct Found {
    /// None where the library does not tell devices apart.
    pub(super) address: Option<DeviceHandle>,
    pub(super) name: String,
    pub(super) version: String,
    pub(super) kind: i32,
    pub(super) feature_level: i64,
}

fn check(call: &str, code: c_int) -> Result<()> {
    match code {
        result::NO_ERROR => Ok(()),
        code => Err(Error::Runtime(format!("{call}: {} ({code})", result::name(code)))),
    }
}

fn missing(name: &str) -> Error {
    Error::Unsupported(format!("the NNAPI library has no {name}"))
}

impl Api {
    /// Loads a library, for good.
    ///
    /// # Errors
    /// It cannot be loaded, or has not what feature level 1 has.
    pub(super) fn load(library: &Library) -> Result<Self> {
        let opened = Opened::open(library)?;
        let functions = Functions::load(&opened)?;
        let Functions { runtime_level, device_wait, device_count, relax, .. } = &functions;
        let feature_level = match (runtime_level, device_wait, device_count, relax) {
            // SAFETY: a function without parameters.
            (Some(of), ..) => unsafe { of() },
            (None, Some(_), ..) => level::FEATURE_LEVEL_4,
            (None, None, Some(_), _) => level::FEATURE_LEVEL_3,
            (None, None, None, Some(_)) => level::FEATURE_LEVEL_2,
            (None, None, None, None) => level::FEATURE_LEVEL_1,
        };
        Ok(Self { functions, feature_level })
    }

    /// Of the library; a device may have less.
    pub(super) fn feature_level(&self) -> i64 {
        self.feature_level
    }

    /// All devices.
    ///
    /// # Errors
    /// The library reports one.
    pub(super) fn devices(&self) -> Result<Vec<Found>> {
        let (Some(count_of), Some(device_of), Some(_)) =
            (self.functions.device_count, self.functions.device, self.functions.create_for_devices)
        else {
            let (name, version) = ("nnapi-default".to_owned(), String::new());
            return Ok(vec![Found {
                address: None,
                name,
                version,
                kind: 0,
                feature_level: self.feature_level,
            }]);
        };
        let mut count = 0;
        // SAFETY: a place for a count.
        check("ANeuralNetworks_getDeviceCount", unsafe { count_of(&raw mut count) })?;
        let mut found = Vec::new();
        for index in 0..count.min(MAX_DEVICES) {
            let mut device = null_mut();
            // SAFETY: an index below the count, and a place for a handle.
            check("ANeuralNetworks_getDevice", unsafe { device_of(index, &raw mut device) })?;
            let (mut kind, mut feature_level) = (0, self.feature_level);
            if let Some(of) = self.functions.device_kind {
                // SAFETY: a device of this library, and a place for a type.
                check("ANeuralNetworksDevice_getType", unsafe { of(device, &raw mut kind) })?;
            }
            if let Some(of) = self.functions.device_level {
                // SAFETY: a device of this library, and a place for a level.
                let code = unsafe { of(device, &raw mut feature_level) };
                check("ANeuralNetworksDevice_getFeatureLevel", code)?;
            }
            found.push(Found {
                address: Some(DeviceHandle(device)),
                name: self.text("ANeuralNetworksDevice_getName", self.functions.device_name, device)?,
                version: self.text(
                    "ANeuralNetworksDevice_getVersion",
                    self.functions.device_version,
                    device,
                )?,
                kind,
                feature_level,
            });
        }
        Ok(found)
    }

    fn text(
        &self,
        call: &str,
        of: Option<unsafe extern "C" fn(Handle, *mut *const c_char) -> c_int>,
        device: Handle,
    ) -> Result<String> {
        let mut text = null();
        // SAFETY: a device of this library, and a place for a string.
        check(call, unsafe { of.ok_or_else(|| missing(call))?(device, &raw mut text) })?;
        if text.is_null() {
            return Ok(String::new());
        }
        // SAFETY: not null, and NNAPI's strings stay as long as the library is loaded.
        Ok(unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned())
    }
}

/// A finished model.
pub(super) struct Model {
    api: Arc<Api>,
    handle: Handle,
    /// Large values are read from here as long as the model lives.
    values: Vec<Arc<[u8]>>,
    operations: usize,
}

impl Model {
    /// Describes a model to the library.
    ///
    /// # Errors
    /// The library refuses it.
    pub(super) fn new(api: &Arc<Api>, description: &Description) -> Result<Self> {
        let mut handle = null_mut();
        // SAFETY: a place for a handle.
        check("ANeuralNetworksModel_create", unsafe { (api.functions.model_create)(&raw mut handle) })?;
        let operations = description.operations.len();
        let mut model = Self { api: Arc::clone(api), handle, values: Vec::new(), operations };
        for (index, operand) in description.operands.iter().enumerate() {
            model.operand(index as i32, operand)?;
        }
        let count = |all: &[u32]| all.len() as u32;
        for operation in &description.operations {
            let (inputs, outputs) = (&operation.inputs, &operation.outputs);
            // SAFETY: arrays with their lengths, copied by the library.
            let code = unsafe {
                (api.functions.add_operation)(
                    handle,
                    operation.code,
                    count(inputs),
                    inputs.as_ptr(),
                    count(outputs),
                    outputs.as_ptr(),
                )
            };
            check(&format!("ANeuralNetworksModel_addOperation of code {}", operation.code), code)?;
        }
        let (inputs, outputs) = (&description.inputs, &description.outputs);
        // SAFETY: arrays with their lengths, copied by the library.
        let code = unsafe {
            (api.functions.identify)(handle, count(inputs), inputs.as_ptr(), count(outputs), outputs.as_ptr())
        };
        check("ANeuralNetworksModel_identifyInputsAndOutputs", code)?;
        if description.relaxed {
            let relax = api.functions.relax.ok_or_else(|| missing("relaxed computation"))?;
            // SAFETY: a model that is not finished.
            check("ANeuralNetworksModel_relaxComputationFloat32toFloat16", unsafe { relax(handle, true) })?;
        }
        // SAFETY: a model that is not finished.
        check("ANeuralNetworksModel_finish", unsafe { (api.functions.model_finish)(handle) })?;
        Ok(model)
    }

    fn operand(&mut self, index: i32, operand: &Operand) -> Result<()> {
        let kind = OperandType {
            kind: operand.code,
            count: operand.dimensions.len() as u32,
            dimensions: operand.dimensions.as_ptr(),
            scale: operand.scale,
            zero_point: operand.zero_point,
        };
        // SAFETY: a type whose dimensions live until after the call.
        let code = unsafe { (self.api.functions.add_operand)(self.handle, &raw const kind) };
        check(&format!("ANeuralNetworksModel_addOperand of code {}", operand.code), code)?;
        if let Some(channels) = &operand.channels {
            let set = self.api.functions.set_channels.ok_or_else(|| missing("quantisation per channel"))?;
            let (count, scales) = (channels.scales.len() as u32, channels.scales.as_ptr());
            let params = ChannelParams { dimension: channels.dimension, count, scales };
            // SAFETY: scales with their number, copied by the library.
            let code = unsafe { set(self.handle, index, &raw const params) };
            check("ANeuralNetworksModel_setOperandSymmPerChannelQuantParams", code)?;
        }
        let (start, length) = match &operand.value {
            Value::Unset => return Ok(()),
            Value::Omitted => (null(), 0),
            Value::Constant(bytes) => {
                self.values.push(Arc::clone(bytes));
                (bytes.as_ptr().cast(), bytes.len())
            }
        };
        // SAFETY: as many bytes as are said, which this model keeps until it is freed.
        check("ANeuralNetworksModel_setOperandValue", unsafe {
            (self.api.functions.set_value)(self.handle, index, start, length)
        })
    }

    /// Which operations a device takes.
    ///
    /// # Errors
    /// The library reports one.
    pub(super) fn supported(&self, device: DeviceHandle) -> Result<Vec<bool>> {
        let of =
            self.api.functions.supported.ok_or_else(|| missing("a question for supported operations"))?;
        let mut answers = vec![false; self.operations];
        // SAFETY: one device, and a place for an answer per operation.
        let code = unsafe { of(self.handle, &raw const device.0, 1, answers.as_mut_ptr()) };
        check("ANeuralNetworksModel_getSupportedOperationsForDevices", code)?;
        Ok(answers)
    }
}

impl Drop for Model {
    fn drop(&mut self) {
        // SAFETY: created by this library and freed once.
        unsafe { (self.api.functions.model_free)(self.handle) }
    }
}

/// A finished compilation, its model, and its burst.
pub(super) struct Compilation {
    model: Model,
    handle: Handle,
    burst: Handle,
    measured: bool,
    execution: Handle,
    bound: Vec<(usize, usize)>,
}

// SAFETY: NNAPI's objects may be used from any thread, by one at a time, which `&mut` ensures.
unsafe impl Send for Compilation {}

impl Compilation {
    /// Compiles a model.
    ///
    /// # Errors
    /// The library refuses it, or has no burst that was asked for.
    pub(super) fn new(
        model: Model,
        device: Option<DeviceHandle>,
        preference: i32,
        cache: Option<(&Path, [u8; 32])>,
        burst: bool,
    ) -> Result<Self> {
        let api = Arc::clone(&model.api);
        let mut handle = null_mut();
        match (device, api.functions.create_for_devices) {
            (Some(device), Some(create)) => {
                // SAFETY: a finished model, one device, and a place for a handle.
                let code = unsafe { create(model.handle, &raw const device.0, 1, &raw mut handle) };
                check("ANeuralNetworksCompilation_createForDevices", code)?;
            }
            _ => {
                // SAFETY: a finished model, and a place for a handle.
                let code = unsafe { (api.functions.compilation_create)(model.handle, &raw mut handle) };
                check("ANeuralNetworksCompilation_create", code)?;
            }
        }
        let measured =
            device.is_some() && api.functions.set_measure.is_some() && api.functions.duration.is_some();
        let (execution, bound) = (null_mut(), Vec::new());
        let mut compilation = Self { model, handle, burst: null_mut(), measured, execution, bound };
        // SAFETY: a compilation that is not finished.
        let code = unsafe { (api.functions.set_preference)(handle, preference) };
        check("ANeuralNetworksCompilation_setPreference", code)?;
        if let (Some((folder, token)), Some(set)) = (cache, api.functions.set_caching) {
            let at = |source| Error::Io { path: folder.to_owned(), source };
            std::fs::create_dir_all(folder).map_err(at)?;
            let path = CString::new(folder.as_os_str().as_bytes())
                .map_err(|_| Error::Unsupported(format!("{}: a zero byte in a path", folder.display())))?;
            // SAFETY: a string and 32 bytes, copied by the library.
            let code = unsafe { set(handle, path.as_ptr(), token.as_ptr()) };
            check("ANeuralNetworksCompilation_setCaching", code)?;
        }
        // SAFETY: a compilation that is not finished.
        check("ANeuralNetworksCompilation_finish", unsafe { (api.functions.compilation_finish)(handle) })?;
        if burst {
            let (Some(create), Some(_), Some(_)) =
                (api.functions.burst_create, api.functions.burst_free, api.functions.burst_compute)
            else {
                return Err(missing("bursts: they need feature level 3"));
            };
            // SAFETY: a finished compilation, and a place for a handle.
            check("ANeuralNetworksBurst_create", unsafe { create(handle, &raw mut compilation.burst) })?;
        }
        Ok(compilation)
    }

    /// Runs once; ns on the hardware and in the driver, where they are told.
    ///
    /// # Errors
    /// The library reports one.
    pub(super) fn run(
        &mut self,
        inputs: &[&[u8]],
        outputs: &mut [Vec<u8>],
    ) -> Result<(Option<u64>, Option<u64>)> {
        let api = Arc::clone(&self.model.api);
        // Addresses are bound anew when they have changed; else an execution that may be used again is.
        let addresses = inputs.iter().map(|b| (b.as_ptr().addr(), b.len()));
        let addresses: Vec<_> =
            addresses.chain(outputs.iter().map(|b| (b.as_ptr().addr(), b.len()))).collect();
        if api.functions.set_reusable.is_none() || self.execution.is_null() || self.bound != addresses {
            self.bind(&api, inputs, outputs)?;
            self.bound = addresses;
        }
        let done = self.compute(&api);
        let durations = done.and_then(|()| self.durations(&api));
        if durations.is_err() {
            self.free_execution(&api);
        }
        durations
    }

    fn bind(&mut self, api: &Api, inputs: &[&[u8]], outputs: &mut [Vec<u8>]) -> Result<()> {
        self.free_execution(api);
        // SAFETY: a finished compilation, and a place for a handle.
        let code = unsafe { (api.functions.execution_create)(self.handle, &raw mut self.execution) };
        check("ANeuralNetworksExecution_create", code)?;
        if let Some(set) = api.functions.set_reusable {
            // SAFETY: an execution that has not run.
            check("ANeuralNetworksExecution_setReusable", unsafe { set(self.execution, true) })?;
        }
        if let (true, Some(set)) = (self.measured, api.functions.set_measure) {
            // SAFETY: an execution that has not run.
            check("ANeuralNetworksExecution_setMeasureTiming", unsafe { set(self.execution, true) })?;
        }
        for (index, bytes) in inputs.iter().enumerate() {
            let (start, length) = (bytes.as_ptr().cast(), bytes.len());
            // SAFETY: so many bytes, which outlive the computation: `run` binds again when they are others.
            let code =
                unsafe { (api.functions.set_input)(self.execution, index as i32, null(), start, length) };
            check("ANeuralNetworksExecution_setInput", code)?;
        }
        for (index, bytes) in outputs.iter_mut().enumerate() {
            let (start, length) = (bytes.as_mut_ptr().cast(), bytes.len());
            // SAFETY: as for inputs, borrowed mutably for the computation.
            let code =
                unsafe { (api.functions.set_output)(self.execution, index as i32, null(), start, length) };
            check("ANeuralNetworksExecution_setOutput", code)?;
        }
        Ok(())
    }

    fn compute(&self, api: &Api) -> Result<()> {
        match (api.functions.burst_compute, api.functions.compute) {
            (Some(compute), _) if !self.burst.is_null() => {
                // SAFETY: an execution and a burst of one compilation; memory as `bind` has it.
                let code = unsafe { compute(self.execution, self.burst) };
                check("ANeuralNetworksExecution_burstCompute", code)
            }
            (_, Some(compute)) => {
                // SAFETY: an execution all of whose inputs and outputs are bound.
                check("ANeuralNetworksExecution_compute", unsafe { compute(self.execution) })
            }
            _ => {
                let mut event = null_mut();
                // SAFETY: as above, and a place for a handle.
                let code = unsafe { (api.functions.start)(self.execution, &raw mut event) };
                check("ANeuralNetworksExecution_startCompute", code)?;
                // SAFETY: the event that was just made, freed once.
                let code = unsafe {
                    let code = (api.functions.event_wait)(event);
                    (api.functions.event_free)(event);
                    code
                };
                check("ANeuralNetworksEvent_wait", code)
            }
        }
    }

    fn durations(&self, api: &Api) -> Result<(Option<u64>, Option<u64>)> {
        let Some(of) = api.functions.duration.filter(|_| self.measured) else { return Ok((None, None)) };
        let get = |code: i32| {
            let mut duration = u64::MAX;
            // SAFETY: an execution that has run and was measured, and a place for a duration.
            check("ANeuralNetworksExecution_getDuration", unsafe {
                of(self.execution, code, &raw mut duration)
            })?;
            Ok::<_, Error>(Some(duration).filter(|d| *d != u64::MAX))
        };
        Ok((get(0)?, get(1)?))
    }

    fn free_execution(&mut self, api: &Api) {
        if !self.execution.is_null() {
            // SAFETY: made by this library and freed once: the handle is forgotten here.
            unsafe { (api.functions.execution_free)(std::mem::replace(&mut self.execution, null_mut())) }
        }
    }
}

impl Drop for Compilation {
    fn drop(&mut self) {
        let api = Arc::clone(&self.model.api);
        self.free_execution(&api);
        if let (false, Some(free)) = (self.burst.is_null(), api.functions.burst_free) {
            // SAFETY: made by this library and freed once.
            unsafe { free(self.burst) }
        }
        // SAFETY: as above; its executions and bursts are gone.
        unsafe { (api.functions.compilation_free)(self.handle) }
    }
}
