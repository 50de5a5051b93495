//! The C functions of LiteRT behind owned, checked handles. Versions differ in more than they say: what is called
//! how is decided by the symbols that a library has.

#![expect(unsafe_code, reason = "calls into a C library; every block says why it holds")]

use super::failed::{Failed, Status, checked};
use crate::{
    Error,
    dlopen::{Opened, functions},
    tflite::watch::{Graph, Watch},
};
use std::{
    cell::Cell,
    ffi::{CStr, c_char, c_int, c_void},
    ptr,
    rc::Rc,
};

/// Any of the library's objects.
pub(super) type Handle = *mut c_void;
/// Most dimensions of a tensor: the library's own limit.
pub(super) const MAX_RANK: usize = 8;
/// Most inputs, outputs, subgraphs, nodes or channels that are asked for.
pub(super) const MAX_COUNT: usize = 1 << 16;
/// Longest name, in characters.
const MAX_NAME: usize = 512;

/// Dimensions; `bits` has the rank in its lower seven.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub(super) struct Layout {
    pub(super) bits: u32,
    pub(super) dims: [i32; MAX_RANK],
    _strides: [u32; MAX_RANK],
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
pub(super) struct Ranked {
    pub(super) element: c_int,
    pub(super) layout: Layout,
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
pub(super) struct PerTensor {
    pub(super) scale: f32,
    pub(super) zero_point: i64,
}

#[repr(C)]
pub(super) struct PerChannel {
    pub(super) axis: i32,
    pub(super) channels: u64,
    pub(super) scales: *const f32,
    pub(super) zero_points: *const i64,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub(super) struct RawEvent {
    pub(super) tag: *const c_char,
    pub(super) kind: c_int,
    pub(super) start_us: u64,
    pub(super) elapsed_us: u64,
    /// Before and after: footprint, allocated, in use.
    pub(super) memory: [i64; 6],
    pub(super) index: u64,
    pub(super) extra: u64,
    pub(super) source: c_int,
}

const _: () = assert!(size_of::<Layout>() == 68 && size_of::<Ranked>() == 72 && size_of::<PerTensor>() == 16);
#[cfg(target_pointer_width = "64")]
const _: () = assert!(size_of::<PerChannel>() == 32 && size_of::<RawEvent>() == 104);

functions! {
    /// The functions that are called, with the types of the library's headers.
    pub(super) struct Api of "LiteRT 2.1.0 or newer" {
        create_environment = "LiteRtCreateEnvironment": fn(c_int, *const c_void, *mut Handle) -> Status;
        destroy_environment = "LiteRtDestroyEnvironment": fn(Handle);
        destroy_model = "LiteRtDestroyModel": fn(Handle);
        signature_count = "LiteRtGetNumModelSignatures": fn(Handle, *mut usize) -> Status;
        signature = "LiteRtGetModelSignature": fn(Handle, usize, *mut Handle) -> Status;
        signature_key = "LiteRtGetSignatureKey": fn(Handle, *mut *const c_char) -> Status;
        signature_subgraph = "LiteRtGetSignatureSubgraph": fn(Handle, *mut Handle) -> Status;
        subgraph_count = "LiteRtGetNumModelSubgraphs": fn(Handle, *mut usize) -> Status;
        subgraph = "LiteRtGetModelSubgraph": fn(Handle, usize, *mut Handle) -> Status;
        input_count = "LiteRtGetNumSubgraphInputs": fn(Handle, *mut usize) -> Status;
        input = "LiteRtGetSubgraphInput": fn(Handle, usize, *mut Handle) -> Status;
        output_count = "LiteRtGetNumSubgraphOutputs": fn(Handle, *mut usize) -> Status;
        output = "LiteRtGetSubgraphOutput": fn(Handle, usize, *mut Handle) -> Status;
        op_count = "LiteRtGetNumSubgraphOps": fn(Handle, *mut usize) -> Status;
        op = "LiteRtGetSubgraphOp": fn(Handle, usize, *mut Handle) -> Status;
        op_output_count = "LiteRtGetNumOpOutputs": fn(Handle, *mut usize) -> Status;
        op_output = "LiteRtGetOpOutput": fn(Handle, usize, *mut Handle) -> Status;
        tensor_name = "LiteRtGetTensorName": fn(Handle, *mut *const c_char) -> Status;
        tensor_type = "LiteRtGetRankedTensorType": fn(Handle, *mut Ranked) -> Status;
        quantization = "LiteRtGetQuantizationTypeId": fn(Handle, *mut c_int) -> Status;
        per_tensor = "LiteRtGetPerTensorQuantization": fn(Handle, *mut PerTensor) -> Status;
        per_channel = "LiteRtGetPerChannelQuantization": fn(Handle, *mut PerChannel) -> Status;
        create_options = "LiteRtCreateOptions": fn(*mut Handle) -> Status;
        destroy_options = "LiteRtDestroyOptions": fn(Handle);
        set_accelerators = "LiteRtSetOptionsHardwareAccelerators": fn(Handle, c_int) -> Status;
        add_opaque = "LiteRtAddOpaqueOptions": fn(Handle, Handle) -> Status;
        create_opaque = "LiteRtCreateOpaqueOptions":
            fn(*const c_char, *mut c_void, unsafe extern "C" fn(*mut c_void), *mut Handle) -> Status;
        compile = "LiteRtCreateCompiledModel": fn(Handle, Handle, Handle, *mut Handle) -> Status;
        destroy_compiled = "LiteRtDestroyCompiledModel": fn(Handle);
        fully_accelerated = "LiteRtCompiledModelIsFullyAccelerated": fn(Handle, *mut bool) -> Status;
        resize = "LiteRtCompiledModelResizeInputTensor":
            fn(Handle, usize, usize, *const c_int, usize) -> Status;
        input_layout = "LiteRtGetCompiledModelInputTensorLayout": fn(Handle, usize, usize, *mut Layout) -> Status;
        output_layouts = "LiteRtGetCompiledModelOutputTensorLayouts":
            fn(Handle, usize, usize, *mut Layout, bool) -> Status;
        input_needs = "LiteRtGetCompiledModelInputBufferRequirements":
            fn(Handle, usize, usize, *mut Handle) -> Status;
        output_needs = "LiteRtGetCompiledModelOutputBufferRequirements":
            fn(Handle, usize, usize, *mut Handle) -> Status;
        create_buffer = "LiteRtCreateManagedTensorBufferFromRequirements":
            fn(Handle, *const Ranked, Handle, *mut Handle) -> Status;
        destroy_buffer = "LiteRtDestroyTensorBuffer": fn(Handle);
        buffer_size = "LiteRtGetTensorBufferSize": fn(Handle, *mut usize) -> Status;
        buffer_type = "LiteRtGetTensorBufferType": fn(Handle, *mut c_int) -> Status;
        lock = "LiteRtLockTensorBuffer": fn(Handle, *mut *mut c_void, c_int) -> Status;
        unlock = "LiteRtUnlockTensorBuffer": fn(Handle) -> Status;
        run = "LiteRtRunCompiledModel":
            fn(Handle, usize, usize, *mut Handle, usize, *mut Handle) -> Status;
        error_messages = "LiteRtCompiledModelGetErrorMessages": fn(Handle, *mut *mut c_char) -> Status;
        profiler = "LiteRtCompiledModelGetProfiler": fn(Handle, *mut Handle) -> Status;
        start_profiler = "LiteRtStartProfiler": fn(Handle) -> Status;
        stop_profiler = "LiteRtStopProfiler": fn(Handle) -> Status;
        reset_profiler = "LiteRtResetProfiler": fn(Handle) -> Status;
        event_count = "LiteRtGetNumProfilerEvents": fn(Handle, *mut c_int) -> Status;
        events = "LiteRtGetProfilerEvents": fn(Handle, c_int, *mut RawEvent) -> Status;
    }
    some have {
        // private to the library's own accelerators, exported by all versions so far
        create_accelerator = "LiteRtCreateAccelerator": fn(*mut Handle) -> Status;
        set_name = "LiteRtSetAcceleratorGetName":
            fn(Handle, unsafe extern "C" fn(Handle, *mut *const c_char) -> Status) -> Status;
        set_version = "LiteRtSetAcceleratorGetVersion":
            fn(Handle, unsafe extern "C" fn(Handle, *mut [c_int; 3]) -> Status) -> Status;
        set_hardware = "LiteRtSetAcceleratorGetHardwareSupport":
            fn(Handle, unsafe extern "C" fn(Handle, *mut c_int) -> Status) -> Status;
        set_delegate = "LiteRtSetDelegateFunction": fn(Handle, CreateDelegate, extern "C" fn()) -> Status;
        register = "LiteRtRegisterAccelerator": fn(Handle, Handle, *mut c_void, *mut c_void) -> Status;
        // from 2.1.6, when the wrapper became an object with a function that deletes what is wrapped
        destroy_wrapper = "LiteRtDestroyDelegateWrapper": fn();
        // from 2.1.6, when the environment became the first argument of the next one
        model_from_fd = "LiteRtCreateModelFromFd": fn();
        // up to 2.1.2
        create_cpu_options = "LiteRtCreateCpuOptions": fn(*mut Handle) -> Status;
        find_cpu_options = "LiteRtFindCpuOptions": fn(Handle, *mut Handle) -> Status;
        set_threads = "LiteRtSetCpuOptionsNumThread": fn(Handle, c_int) -> Status;
        set_flags = "LiteRtSetCpuOptionsXNNPackFlags": fn(Handle, u32) -> Status;
        set_weight_cache = "LiteRtSetCpuOptionsXnnPackWeightCachePath": fn(Handle, *const c_char) -> Status;
        create_runtime_options = "LiteRtCreateRuntimeOptions": fn(*mut Handle) -> Status;
        find_runtime_options = "LiteRtFindRuntimeOptions": fn(Handle, *mut Handle) -> Status;
        set_profiling = "LiteRtSetRuntimeOptionsEnableProfiling": fn(Handle, bool) -> Status;
        set_error_reporter = "LiteRtSetRuntimeOptionsErrorReporterMode": fn(Handle, c_int) -> Status;
        resize_any = "LiteRtCompiledModelResizeInputTensorNonStrict":
            fn(Handle, usize, usize, *const c_int, usize) -> Status;
    }
}

/// The library, loaded for good.
pub(super) struct Library {
    pub(super) api: Api,
    pub(super) opened: Opened,
}

impl Library {
    pub(super) fn open(library: &protocol::Library) -> crate::Result<Rc<Self>> {
        let opened = Opened::open(library)?;
        // SAFETY: never called; only whether it is there is asked.
        let has = |name: &str| unsafe { opened.find::<unsafe extern "C" fn()>(name) }.is_some();
        if has("LiteRtCreateEnvironment") && !has("LiteRtGetSignatureInputTensorByIndex") {
            let message = format!("{} is LiteRT 2.0 or older; 2.1.0 or newer is needed", opened.file());
            return Err(Error::Unsupported(message));
        }
        Ok(Rc::new(Self { api: Api::load(&opened)?, opened }))
    }

    /// Kernel sets can be chosen: with the options' text came that key.
    pub(super) fn has_kernel_mode(&self) -> bool {
        self.api.create_cpu_options.is_none()
    }

    /// Calls a function that fills in a handle, number or pointer.
    pub(super) fn get<T>(
        &self,
        what: &'static str,
        mut to: T,
        call: impl FnOnce(&Api, *mut T) -> Status,
    ) -> Result<T, Failed> {
        checked(what, call(&self.api, &mut to)).map(|()| to)
    }

    pub(super) fn handle(
        &self,
        what: &'static str,
        call: impl FnOnce(&Api, *mut Handle) -> Status,
    ) -> Result<Handle, Failed> {
        let handle = self.get(what, ptr::null_mut(), call)?;
        if handle.is_null() { Err(Failed::nothing(what)) } else { Ok(handle) }
    }

    pub(super) fn count(
        &self,
        what: &'static str,
        call: impl FnOnce(&Api, *mut usize) -> Status,
    ) -> Result<usize, Failed> {
        let count = self.get(what, 0, call)?;
        if count > MAX_COUNT { Err(Failed::too_many(what, count)) } else { Ok(count) }
    }
}

/// Where everything lives.
pub(super) struct Environment {
    pub(super) library: Rc<Library>,
    pub(super) handle: Handle,
    watcher: Option<Watcher>,
}

impl Environment {
    pub(super) fn new(library: Rc<Library>) -> Result<Rc<Self>, Failed> {
        // SAFETY: no options, and a place for the handle.
        let create = |api: &Api, to: *mut Handle| unsafe { (api.create_environment)(0, ptr::null(), to) };
        let handle = library.handle("creating the environment", create)?;
        let watcher = Watcher::register(&library, handle);
        Ok(Rc::new(Self { library, handle, watcher }))
    }

    /// Compiles, and returns the graphs as they came out; none where this version does not let us look.
    pub(super) fn watched<T>(&self, compile: impl FnOnce() -> T) -> (T, Vec<Graph>) {
        let watcher = self.watcher.as_ref().map_or(ptr::null(), ptr::from_ref);
        WATCHER.set(watcher);
        let compiled = compile();
        WATCHER.set(ptr::null());
        (compiled, self.watcher.as_ref().map(|w| w.watch.take()).unwrap_or_default())
    }
}

impl Drop for Environment {
    fn drop(&mut self) {
        // SAFETY: made by the library, destroyed once, and all that uses it holds a counted reference.
        unsafe { (self.library.api.destroy_environment)(self.handle) }
    }
}

thread_local! {
    /// For the function below, which is called on the thread that compiles, and is told nothing of ours.
    static WATCHER: Cell<*const Watcher> = const { Cell::new(ptr::null()) };
}

/// As many arguments as any version gives.
type CreateDelegate = unsafe extern "C" fn(Handle, Handle, Handle, Handle, Handle) -> Status;

/// A last accelerator, which takes nothing and sees what the others took.
struct Watcher {
    watch: Watch,
    accelerator: Handle,
    wrap: Wrap,
}

#[derive(Clone, Copy)]
enum Wrap {
    Plain(unsafe extern "C" fn(Handle, Handle) -> Status),
    WithDeleter(unsafe extern "C" fn(Handle, extern "C" fn(), Handle) -> Status),
}

impl Watcher {
    fn register(library: &Library, environment: Handle) -> Option<Self> {
        let (api, symbol) = (&library.api, "LiteRtWrapDelegate");
        // SAFETY: one of the two types is this version's, by the function that came with the second. The functions
        // that are set have the library's types; an accelerator belongs to the environment once it is registered.
        unsafe {
            let wrap = match api.destroy_wrapper {
                Some(_) => Wrap::WithDeleter(library.opened.find(symbol)?),
                None => Wrap::Plain(library.opened.find(symbol)?),
            };
            let (create, register) = (api.create_accelerator?, api.register?);
            let (name, version, hardware) = (api.set_name?, api.set_version?, api.set_hardware?);
            let delegate = api.set_delegate?;
            let accelerator = library.handle("watching", |_, to| create(to)).ok()?;
            let set = name(accelerator, watcher_name) == 0
                && version(accelerator, watcher_version) == 0
                && hardware(accelerator, watcher_hardware) == 0
                && delegate(accelerator, watcher_delegate, nothing) == 0
                && register(environment, accelerator, ptr::null_mut(), ptr::null_mut()) == 0;
            set.then(|| Self { watch: Watch::new(), accelerator, wrap })
        }
    }
}

unsafe extern "C" fn watcher_name(_: Handle, name: *mut *const c_char) -> Status {
    // SAFETY: the library's own place for a name.
    unsafe { *name = c"Watcher".as_ptr() };
    0
}

unsafe extern "C" fn watcher_version(_: Handle, version: *mut [c_int; 3]) -> Status {
    // SAFETY: the library's own place for a version.
    unsafe { *version = [1, 0, 0] };
    0
}

unsafe extern "C" fn watcher_hardware(_: Handle, hardware: *mut c_int) -> Status {
    // SAFETY: the library's own place for bits; these are the CPU's.
    unsafe { *hardware = 1 };
    0
}

/// Gives the library our delegate. Versions put other arguments before our accelerator; the options and the place
/// for the delegate follow it in all of them.
unsafe extern "C" fn watcher_delegate(a: Handle, b: Handle, c: Handle, d: Handle, e: Handle) -> Status {
    const INVALID_ARGUMENT: Status = 1;
    // SAFETY: set by the environment that compiles, for as long as it does.
    let Some(watcher) = (unsafe { WATCHER.get().as_ref() }) else { return INVALID_ARGUMENT };
    let Some(at) = [a, b, c].iter().position(|argument| *argument == watcher.accelerator) else {
        return INVALID_ARGUMENT;
    };
    let place = [c, d, e][at];
    // SAFETY: the delegate outlives the environment's compiled models, and is not to be deleted.
    unsafe {
        match watcher.wrap {
            Wrap::Plain(wrap) => wrap(watcher.watch.delegate(), place),
            Wrap::WithDeleter(wrap) => wrap(watcher.watch.delegate(), nothing, place),
        }
    }
}

/// For what need not be deleted.
extern "C" fn nothing() {}

pub(super) fn dims(layout: &Layout) -> Result<Vec<i32>, Failed> {
    let rank = (layout.bits & 0x7f) as usize;
    layout.dims.get(..rank).map(<[i32]>::to_vec).ok_or_else(|| Failed::too_many("asking for a shape", rank))
}

/// A name of the library's.
///
/// # Safety
/// None, or a string that ends in a zero.
pub(super) unsafe fn text(name: *const c_char) -> String {
    if name.is_null() {
        return String::new();
    }
    // SAFETY: the caller's promise.
    unsafe { CStr::from_ptr(name) }.to_string_lossy().chars().take(MAX_NAME).collect()
}
