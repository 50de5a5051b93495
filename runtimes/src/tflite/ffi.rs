//! The C API of TFLite behind owned, checked handles.

#![expect(unsafe_code, reason = "calls into a C library; every block says why it holds")]

use super::profile::{Event, Place};
use super::watch::{Graph, Watch};
use crate::dlopen::{Opened, functions};
use std::{
    cell::RefCell,
    ffi::{CStr, CString, c_char, c_int, c_void},
    path::Path,
    ptr,
    rc::Rc,
    slice,
};

/// Any of the library's objects.
type Handle = *mut c_void;
type Status = c_int;
/// Most inputs or outputs that are asked for.
const MAX_TENSORS: i32 = 1 << 12;
/// Most dimensions of a tensor.
const MAX_RANK: i32 = 64;
/// Most bytes of errors that are kept.
const MAX_ERRORS: usize = 1 << 14;
/// Most events of one invoke.
const MAX_EVENTS: usize = 1 << 16;
/// Longest name, in characters.
const MAX_NAME: usize = 512;

/// Options of a delegate, larger than those of any version: they are returned through a pointer.
#[repr(C)]
#[derive(Clone, Copy)]
struct XnnpackOptions {
    threads: i32,
    rest: [u32; 127],
}

#[repr(C)]
#[derive(Clone, Copy)]
struct NnapiOptions {
    preference: c_int,
    accelerator: *const c_char,
    cache_dir: *const c_char,
    token: *const c_char,
    disallow_cpu: c_int,
    allow_fp16: c_int,
    max_partitions: c_int,
    rest: [u64; 32],
}

#[repr(C)]
struct Quantization {
    scale: f32,
    zero_point: i32,
}

type Report = unsafe extern "C" fn(*const RefCell<String>, *const c_char, *mut c_void);

functions! {
    /// The functions that are called, with the types of the library's headers.
    struct Api of "TensorFlow Lite 2.5 or newer, with its C functions" {
        version = "TfLiteVersion": fn() -> *const c_char;
        model = "TfLiteModelCreateFromFile": fn(*const c_char) -> Handle;
        delete_model = "TfLiteModelDelete": fn(Handle);
        options = "TfLiteInterpreterOptionsCreate": fn() -> Handle;
        delete_options = "TfLiteInterpreterOptionsDelete": fn(Handle);
        set_threads = "TfLiteInterpreterOptionsSetNumThreads": fn(Handle, i32);
        set_reporter = "TfLiteInterpreterOptionsSetErrorReporter": fn(Handle, Report, *const RefCell<String>);
        add_delegate = "TfLiteInterpreterOptionsAddDelegate": fn(Handle, Handle);
        interpreter = "TfLiteInterpreterCreate": fn(Handle, Handle) -> Handle;
        delete_interpreter = "TfLiteInterpreterDelete": fn(Handle);
        allocate = "TfLiteInterpreterAllocateTensors": fn(Handle) -> Status;
        resize = "TfLiteInterpreterResizeInputTensor": fn(Handle, i32, *const c_int, i32) -> Status;
        input_count = "TfLiteInterpreterGetInputTensorCount": fn(Handle) -> i32;
        input = "TfLiteInterpreterGetInputTensor": fn(Handle, i32) -> Handle;
        output_count = "TfLiteInterpreterGetOutputTensorCount": fn(Handle) -> i32;
        output = "TfLiteInterpreterGetOutputTensor": fn(Handle, i32) -> Handle;
        invoke = "TfLiteInterpreterInvoke": fn(Handle) -> Status;
        tensor_type = "TfLiteTensorType": fn(Handle) -> c_int;
        rank = "TfLiteTensorNumDims": fn(Handle) -> i32;
        dim = "TfLiteTensorDim": fn(Handle, i32) -> i32;
        bytes = "TfLiteTensorByteSize": fn(Handle) -> usize;
        data = "TfLiteTensorData": fn(Handle) -> *mut c_void;
        name = "TfLiteTensorName": fn(Handle) -> *const c_char;
        quantization = "TfLiteTensorQuantizationParams": fn(Handle) -> Quantization;
    }
    some have {
        xnnpack_options = "TfLiteXNNPackDelegateOptionsDefault": fn() -> XnnpackOptions;
        xnnpack = "TfLiteXNNPackDelegateCreate": fn(*const XnnpackOptions) -> Handle;
        delete_xnnpack = "TfLiteXNNPackDelegateDelete": fn(Handle);
        nnapi_options = "TfLiteNnapiDelegateOptionsDefault": fn() -> NnapiOptions;
        nnapi = "TfLiteNnapiDelegateCreate": fn(*const NnapiOptions) -> Handle;
        delete_nnapi = "TfLiteNnapiDelegateDelete": fn(Handle);
        set_profiler = "TfLiteInterpreterOptionsSetTelemetryProfiler": fn(Handle, *const Profiler);
        signature_count = "TfLiteInterpreterGetSignatureCount": fn(Handle) -> i32;
    }
}

/// The library, loaded for good.
pub(super) struct Library {
    api: Api,
}

impl Library {
    pub(super) fn open(library: &protocol::Library) -> crate::Result<Rc<Self>> {
        Ok(Rc::new(Self { api: Api::load(&Opened::open(library)?)? }))
    }

    /// As it tells itself.
    pub(super) fn version(&self) -> String {
        // SAFETY: a string of the library's own.
        unsafe { text((self.api.version)()) }
    }
}

/// A model in memory.
pub(super) struct Model {
    library: Rc<Library>,
    handle: Handle,
}

impl Model {
    /// Reads a file; `None`: the library refuses it, and has said why.
    pub(super) fn open(library: &Rc<Library>, path: &Path) -> Option<Rc<Self>> {
        let name = CString::new(path.as_os_str().as_encoded_bytes()).ok()?;
        // SAFETY: a string that ends in a zero.
        let handle = unsafe { (library.api.model)(name.as_ptr()) };
        (!handle.is_null()).then(|| Rc::new(Self { library: Rc::clone(library), handle }))
    }

    pub(super) fn library(&self) -> &Rc<Library> {
        &self.library
    }
}

impl Drop for Model {
    fn drop(&mut self) {
        // SAFETY: made by the library, destroyed once, and all that uses it holds a counted reference.
        unsafe { (self.library.api.delete_model)(self.handle) }
    }
}

/// What NNAPI is told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Nnapi {
    pub(super) accelerator: Option<CString>,
    pub(super) cache_dir: Option<CString>,
    pub(super) token: Option<CString>,
    /// Its number; -1: none is stated.
    pub(super) preference: c_int,
    pub(super) allow_cpu: bool,
    pub(super) allow_fp16: bool,
    /// 0: no limit.
    pub(super) max_partitions: c_int,
}

/// Who is to take the nodes.
pub(super) enum Asked {
    Nobody,
    Xnnpack,
    Nnapi(Nnapi),
}

/// A delegate with what deletes it.
struct Delegate {
    handle: Handle,
    delete: unsafe extern "C" fn(Handle),
    /// What its options point to.
    _nnapi: Option<Nnapi>,
}

impl Delegate {
    /// `None`: this library has no such delegate, or it gave none.
    fn new(api: &Api, asked: Asked, threads: i32) -> Option<Self> {
        // SAFETY: the library's own default options, of which only those are changed that stand at the same place in
        // every version; the strings live as long as the delegate.
        unsafe {
            let (handle, delete, nnapi) = match asked {
                Asked::Nobody => return None,
                Asked::Xnnpack => {
                    let options = XnnpackOptions { threads, ..api.xnnpack_options?() };
                    (api.xnnpack?(&options), api.delete_xnnpack?, None)
                }
                Asked::Nnapi(nnapi) => {
                    let text = |text: &Option<CString>| text.as_ref().map_or(ptr::null(), |t| t.as_ptr());
                    let options = NnapiOptions {
                        preference: nnapi.preference,
                        accelerator: text(&nnapi.accelerator),
                        cache_dir: text(&nnapi.cache_dir),
                        token: text(&nnapi.token),
                        disallow_cpu: c_int::from(!nnapi.allow_cpu),
                        allow_fp16: c_int::from(nnapi.allow_fp16),
                        max_partitions: nnapi.max_partitions,
                        ..api.nnapi_options?()
                    };
                    (api.nnapi?(&options), api.delete_nnapi?, Some(nnapi))
                }
            };
            (!handle.is_null()).then_some(Self { handle, delete, _nnapi: nnapi })
        }
    }
}

impl Drop for Delegate {
    fn drop(&mut self) {
        // SAFETY: made by the library and deleted once, after the interpreter.
        unsafe { (self.delete)(self.handle) }
    }
}

/// An input or output.
pub(super) struct Tensor {
    pub(super) name: String,
    pub(super) element: c_int,
    pub(super) dims: Vec<i32>,
    pub(super) scale: f32,
    pub(super) zero_point: i32,
    pub(super) bytes: usize,
}

/// A model ready to run. Fields are dropped in this order, after the interpreter.
pub(super) struct Interpreter {
    handle: Handle,
    _delegate: Option<Delegate>,
    watch: Watch,
    profiler: Option<Box<Profiler>>,
    errors: Box<RefCell<String>>,
    model: Rc<Model>,
}

impl Interpreter {
    /// Makes one. What was asked for and is not there is an error in words, and so is a refusal.
    pub(super) fn new(model: &Rc<Model>, asked: Asked, threads: i32, profile: bool) -> Result<Self, String> {
        let api = &model.library.api;
        let wanted = !matches!(asked, Asked::Nobody);
        let delegate = Delegate::new(api, asked, threads);
        if wanted && delegate.is_none() {
            return Err("this library has no such delegate".to_owned());
        }
        let profiler = profile.then(Profiler::new);
        let (watch, errors) = (Watch::new(), Box::new(RefCell::new(String::new())));
        // SAFETY: the options are the library's own, and all they are given outlives the interpreter.
        let handle = unsafe {
            let options = (api.options)();
            (api.set_threads)(options, threads);
            (api.set_reporter)(options, report, &raw const *errors);
            if let (Some(set), Some(profiler)) = (api.set_profiler, &profiler) {
                set(options, &raw const **profiler);
            }
            if let Some(delegate) = &delegate {
                (api.add_delegate)(options, delegate.handle);
            }
            (api.add_delegate)(options, watch.delegate());
            let handle = (api.interpreter)(model.handle, options);
            (api.delete_options)(options);
            handle
        };
        if handle.is_null() {
            return Err(format!("no interpreter can be made for it: {}", errors.borrow()));
        }
        Ok(Self { handle, _delegate: delegate, watch, profiler, errors, model: Rc::clone(model) })
    }

    fn api(&self) -> &Api {
        &self.model.library.api
    }

    fn checked(&self, what: &str, status: Status) -> Result<(), String> {
        if status == 0 { Ok(()) } else { Err(format!("{what}: status {status}: {}", self.errors.take())) }
    }

    /// Gives an input other dimensions.
    pub(super) fn resize(&mut self, input: i32, dims: &[c_int]) -> Result<(), String> {
        let rank = i32::try_from(dims.len()).map_err(|e| e.to_string())?;
        // SAFETY: as many dimensions as is said.
        let status = unsafe { (self.api().resize)(self.handle, input, dims.as_ptr(), rank) };
        self.checked("resizing an input", status)
    }

    /// Takes memory for all tensors.
    pub(super) fn allocate(&mut self) -> Result<(), String> {
        // SAFETY: the handle is the library's own.
        let status = unsafe { (self.api().allocate)(self.handle) };
        self.checked("allocating tensors", status)
    }

    /// Runs the model once.
    pub(super) fn invoke(&mut self) -> Result<(), String> {
        // SAFETY: the handle is the library's own, and its tensors are allocated.
        let status = unsafe { (self.api().invoke)(self.handle) };
        self.checked("running the model", status)
    }

    /// The graphs as the delegates left them.
    pub(super) fn graphs(&self) -> Vec<Graph> {
        self.watch.take()
    }

    /// Number of signatures, where the library tells.
    pub(super) fn signatures(&self) -> i32 {
        // SAFETY: the handle is the library's own.
        self.api().signature_count.map_or(0, |count| unsafe { count(self.handle) })
    }

    /// Inputs or outputs.
    pub(super) fn tensors(&self, inputs: bool) -> Result<Vec<Tensor>, String> {
        let count = if inputs { self.api().input_count } else { self.api().output_count };
        // SAFETY: the handle is the library's own.
        let count = unsafe { count(self.handle) };
        if !(0..=MAX_TENSORS).contains(&count) {
            return Err(format!("{count} tensors are more than are dealt with"));
        }
        (0..count).map(|index| self.tensor(inputs, index)).collect()
    }

    fn handle(&self, inputs: bool, index: i32) -> Result<Handle, String> {
        let get = if inputs { self.api().input } else { self.api().output };
        // SAFETY: the handle is the library's own; it answers with none for an index that there is not.
        let handle = unsafe { get(self.handle, index) };
        if handle.is_null() { Err(format!("tensor {index} is missing")) } else { Ok(handle) }
    }

    fn tensor(&self, inputs: bool, index: i32) -> Result<Tensor, String> {
        let (api, tensor) = (self.api(), self.handle(inputs, index)?);
        // SAFETY: the tensor is the library's own, and the dimension is below the rank.
        unsafe {
            let rank = (api.rank)(tensor);
            if !(-1..=MAX_RANK).contains(&rank) {
                return Err(format!("tensor {index} has {rank} dimensions"));
            }
            let quantization = (api.quantization)(tensor);
            Ok(Tensor {
                name: text((api.name)(tensor)),
                element: (api.tensor_type)(tensor),
                dims: (0..rank).map(|i| (api.dim)(tensor, i)).collect(),
                scale: quantization.scale,
                zero_point: quantization.zero_point,
                bytes: (api.bytes)(tensor),
            })
        }
    }

    /// Copies an input in.
    pub(super) fn write(&mut self, index: i32, bytes: &[u8]) -> Result<(), String> {
        let tensor = self.handle(true, index)?;
        // SAFETY: the tensor is the library's own, has memory of that size, and nobody else writes.
        unsafe {
            let (data, size) = ((self.api().data)(tensor), (self.api().bytes)(tensor));
            if data.is_null() || size != bytes.len() {
                return Err(format!("input {index} has {size} bytes, not {}", bytes.len()));
            }
            ptr::copy_nonoverlapping(bytes.as_ptr(), data.cast(), size);
        }
        Ok(())
    }

    /// An output's bytes.
    pub(super) fn read(&self, index: i32) -> Result<&[u8], String> {
        let tensor = self.handle(false, index)?;
        // SAFETY: the tensor is the library's own; its memory stays until the next invoke, for which the
        // interpreter is borrowed mutably.
        unsafe {
            let (data, size) = ((self.api().data)(tensor), (self.api().bytes)(tensor));
            if data.is_null() {
                return Err(format!("output {index} has no memory yet"));
            }
            Ok(slice::from_raw_parts(data.cast(), size))
        }
    }

    /// Runs the model once and returns the events of it; `None`: this library has no profiler, or was not asked for it.
    pub(super) fn profiled(&mut self, clock: &dyn Fn() -> u64) -> Option<Result<Vec<Event>, String>> {
        self.api().set_profiler?;
        self.profiler.as_ref()?.data.replace(Recorder::new(clock));
        let ran = self.invoke();
        let recorder = self.profiler.as_ref()?.data.replace(Recorder::default());
        Some(ran.map(|()| recorder.events))
    }
}

impl Drop for Interpreter {
    fn drop(&mut self) {
        // SAFETY: made by the library and deleted once, before all that it uses.
        unsafe { (self.api().delete_interpreter)(self.handle) }
    }
}

/// The library's words about an error. `arguments` is a `va_list`, which is passed on as it came.
unsafe extern "C" fn report(errors: *const RefCell<String>, format: *const c_char, arguments: *mut c_void) {
    unsafe extern "C" {
        fn vsnprintf(to: *mut c_char, size: usize, format: *const c_char, arguments: *mut c_void) -> c_int;
    }
    let mut buffer = [0u8; 1024];
    // SAFETY: the C library writes no more than there is room for, and a zero at the end. On the instruction sets that
    // the library is made for, a `va_list` is given as one pointer, or fits in one.
    let words = unsafe {
        if vsnprintf(buffer.as_mut_ptr().cast(), buffer.len(), format, arguments) < 0 {
            return;
        }
        CStr::from_ptr(buffer.as_ptr().cast()).to_string_lossy()
    };
    // SAFETY: the interpreter's own, which outlives the library's use of it.
    if let Ok(mut errors) = unsafe { (*errors).try_borrow_mut() }
        && errors.len() < MAX_ERRORS
    {
        errors.push_str(words.trim());
        errors.push('\n');
    }
}

/// Times what the library says begins and ends.
#[derive(Default)]
struct Recorder {
    clock: Option<*const dyn Fn() -> u64>,
    open: Vec<Option<(usize, u64)>>,
    events: Vec<Event>,
}

impl Recorder {
    /// For one invoke, during which the clock lives.
    fn new(clock: &dyn Fn() -> u64) -> Self {
        // SAFETY: only the lifetime is forgotten; `profiled` takes the recorder back before it returns.
        let clock = unsafe { std::mem::transmute::<&dyn Fn() -> u64, &'static dyn Fn() -> u64>(clock) };
        Self { clock: Some(ptr::from_ref(clock)), ..Self::default() }
    }

    fn now(&self) -> Option<u64> {
        // SAFETY: there is a clock during an invoke only, and then it lives.
        self.clock.map(|clock| unsafe { (*clock)() })
    }
}

/// The library's table of a profiler; it is told of telemetry as well, which goes nowhere.
#[repr(C)]
pub(super) struct Profiler {
    data: Box<RefCell<Recorder>>,
    event: extern "C" fn(),
    op_event: extern "C" fn(),
    settings: extern "C" fn(),
    begin: unsafe extern "C" fn(*const Self, *const c_char, i64, i64) -> u32,
    end: unsafe extern "C" fn(*const Self, u32),
    whole: unsafe extern "C" fn(*const Self, *const c_char, u64, i64, i64),
}

impl Profiler {
    fn new() -> Box<Self> {
        let data = Box::new(RefCell::new(Recorder::default()));
        Box::new(Self { data, event: nothing, op_event: nothing, settings: nothing, begin, end, whole })
    }
}

extern "C" fn nothing() {}

unsafe extern "C" fn begin(profiler: *const Profiler, name: *const c_char, op: i64, _graph: i64) -> u32 {
    // SAFETY: the interpreter's own profiler, and the library's name.
    unsafe {
        let (Ok(mut recorder), Ok(index)) = ((*profiler).data.try_borrow_mut(), usize::try_from(op)) else {
            return 0;
        };
        let Some(now) = recorder.now() else { return 0 };
        if recorder.events.len() >= MAX_EVENTS {
            return 0;
        }
        let number = recorder.events.len();
        recorder.events.push(Event { tag: text(name), place: Place::Node(index), elapsed_ns: 0 });
        recorder.open.push(Some((number, now)));
        recorder.open.len() as u32
    }
}

unsafe extern "C" fn end(profiler: *const Profiler, handle: u32) {
    // SAFETY: the interpreter's own profiler.
    let Ok(mut recorder) = (unsafe { (*profiler).data.try_borrow_mut() }) else { return };
    let Some(now) = recorder.now() else { return };
    let open =
        (handle as usize).checked_sub(1).and_then(|at| recorder.open.get_mut(at)).and_then(Option::take);
    if let Some((number, began)) = open
        && let Some(event) = recorder.events.get_mut(number)
    {
        event.elapsed_ns = now.saturating_sub(began);
    }
}

/// An event that is over: of a delegate, in whole microseconds.
unsafe extern "C" fn whole(
    profiler: *const Profiler,
    name: *const c_char,
    elapsed_us: u64,
    op: i64,
    _graph: i64,
) {
    // SAFETY: the interpreter's own profiler, and the library's name.
    unsafe {
        let (Ok(mut recorder), Ok(index)) = ((*profiler).data.try_borrow_mut(), usize::try_from(op)) else {
            return;
        };
        if recorder.clock.is_some() && recorder.events.len() < MAX_EVENTS {
            let elapsed_ns = elapsed_us.saturating_mul(1000);
            recorder.events.push(Event { tag: text(name), place: Place::Inside(index), elapsed_ns });
        }
    }
}

/// A name of the library's.
///
/// # Safety
/// None, or a string that ends in a zero.
unsafe fn text(name: *const c_char) -> String {
    if name.is_null() {
        return String::new();
    }
    // SAFETY: the caller's promise.
    unsafe { CStr::from_ptr(name) }.to_string_lossy().chars().take(MAX_NAME).collect()
}
