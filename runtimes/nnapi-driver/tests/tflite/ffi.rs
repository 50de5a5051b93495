//! The classic C API of TFLite, as much of it as runs a model with a delegate, and the driver as the loader sees it.

#![expect(unsafe_code, reason = "calls of C APIs; every block says why it holds")]

use std::ffi::{CString, c_char, c_int, c_void};
use std::path::Path;
use std::ptr::{null, null_mut};

type Handle = *mut c_void;

/// `TfLiteNnapiDelegateOptions`.
#[repr(C)]
#[derive(Clone, Copy)]
struct NnapiOptions {
    preference: c_int,
    accelerator: *const c_char,
    cache_dir: *const c_char,
    model_token: *const c_char,
    disallow_cpu: c_int,
    allow_f16: c_int,
    max_partitions: c_int,
    support_library: Handle,
}

/// `TfLiteXNNPackDelegateOptions`, which grows from version to version: more than it has ever had.
#[repr(C)]
#[derive(Clone, Copy)]
struct XnnpackOptions([u64; 64]);

/// Who runs the nodes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Delegate<'a> {
    /// TFLite's own kernels.
    None,
    /// XNNPACK.
    Xnnpack,
    /// NNAPI, on a device by name.
    Nnapi { device: &'a str, f16: bool, cache: Option<&'a Path> },
}

/// An element type by TFLite's number, and the bytes of a tensor.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Tensor {
    pub(crate) kind: c_int,
    pub(crate) bytes: Vec<u8>,
}

macro_rules! functions {
    ($library:ident { $($field:ident: $name:literal fn($($arg:ty),*) $(-> $ret:ty)?;)* }) => {
        /// The functions of the library, which stays loaded.
        pub(crate) struct $library { $($field: unsafe extern "C" fn($($arg),*) $(-> $ret)?,)* }

        impl $library {
            /// Loads the library for good.
            pub(crate) fn load(path: &Path) -> Result<Self, String> {
                // SAFETY: the library that the test is about; it is never unloaded.
                let library = unsafe { libloading::Library::new(path) }.map_err(|e| e.to_string())?;
                let library = std::mem::ManuallyDrop::new(library);
                Ok(Self {
                    // SAFETY: the symbol's type is that of the library's header.
                    $($field: *unsafe { library.get($name.as_bytes()) }.map_err(|e| e.to_string())?,)*
                })
            }
        }
    };
}

functions! { Driver {
    counts: "BenchNnapi_counts" fn(*mut u64, *mut u64) -> c_int;
} }

functions! { Tflite {
    version: "TfLiteVersion" fn() -> *const c_char;
    model: "TfLiteModelCreateFromFile" fn(*const c_char) -> Handle;
    delete_model: "TfLiteModelDelete" fn(Handle);
    options: "TfLiteInterpreterOptionsCreate" fn() -> Handle;
    delete_options: "TfLiteInterpreterOptionsDelete" fn(Handle);
    add_delegate: "TfLiteInterpreterOptionsAddDelegate" fn(Handle, Handle);
    interpreter: "TfLiteInterpreterCreate" fn(Handle, Handle) -> Handle;
    delete_interpreter: "TfLiteInterpreterDelete" fn(Handle);
    allocate: "TfLiteInterpreterAllocateTensors" fn(Handle) -> c_int;
    invoke: "TfLiteInterpreterInvoke" fn(Handle) -> c_int;
    input_count: "TfLiteInterpreterGetInputTensorCount" fn(Handle) -> i32;
    input: "TfLiteInterpreterGetInputTensor" fn(Handle, i32) -> Handle;
    output_count: "TfLiteInterpreterGetOutputTensorCount" fn(Handle) -> i32;
    output: "TfLiteInterpreterGetOutputTensor" fn(Handle, i32) -> Handle;
    kind: "TfLiteTensorType" fn(Handle) -> c_int;
    size: "TfLiteTensorByteSize" fn(Handle) -> usize;
    write: "TfLiteTensorCopyFromBuffer" fn(Handle, *const c_void, usize) -> c_int;
    read: "TfLiteTensorCopyToBuffer" fn(Handle, *mut c_void, usize) -> c_int;
    nnapi_options: "TfLiteNnapiDelegateOptionsDefault" fn() -> NnapiOptions;
    nnapi: "TfLiteNnapiDelegateCreate" fn(*const NnapiOptions) -> Handle;
    delete_nnapi: "TfLiteNnapiDelegateDelete" fn(Handle);
    xnnpack_options: "TfLiteXNNPackDelegateOptionsDefault" fn() -> XnnpackOptions;
    xnnpack: "TfLiteXNNPackDelegateCreate" fn(*const XnnpackOptions) -> Handle;
    delete_xnnpack: "TfLiteXNNPackDelegateDelete" fn(Handle);
} }

impl Driver {
    /// Executions so far, and those of bursts.
    pub(crate) fn counts(&self) -> (u64, u64) {
        let (mut executions, mut bursts) = (0, 0);
        // SAFETY: two places for numbers.
        let code = unsafe { (self.counts)(&raw mut executions, &raw mut bursts) };
        assert_eq!(code, 0);
        (executions, bursts)
    }
}

impl Tflite {
    /// Version.
    pub(crate) fn version(&self) -> String {
        // SAFETY: a string that is always there.
        unsafe { std::ffi::CStr::from_ptr((self.version)()) }.to_string_lossy().into_owned()
    }

    /// Runs a model on some inputs, one after the other; the outputs of each. `make` gives the bytes of an input of
    /// a type and a size.
    pub(crate) fn run(
        &self,
        model: &Path,
        delegate: Delegate<'_>,
        examples: u64,
        make: impl Fn(c_int, usize, u64) -> Vec<u8>,
    ) -> Result<Vec<Tensor>, String> {
        let path = CString::new(model.as_os_str().as_encoded_bytes()).map_err(|e| e.to_string())?;
        // SAFETY: TFLite's objects, made, used and deleted in the order that its headers ask for; null is an error.
        unsafe {
            let model = (self.model)(path.as_ptr());
            let options = (self.options)();
            let made = self.delegate(delegate);
            if !made.is_null() {
                (self.add_delegate)(options, made);
            }
            let interpreter = if model.is_null() { null_mut() } else { (self.interpreter)(model, options) };
            let outputs = match interpreter.is_null() {
                true => Err("no interpreter".to_owned()),
                false => self.invoke_all(interpreter, examples, make),
            };
            if !interpreter.is_null() {
                (self.delete_interpreter)(interpreter);
            }
            (self.delete_options)(options);
            match delegate {
                Delegate::None => {}
                Delegate::Xnnpack => (self.delete_xnnpack)(made),
                Delegate::Nnapi { .. } => (self.delete_nnapi)(made),
            }
            if !model.is_null() {
                (self.delete_model)(model);
            }
            outputs
        }
    }

    fn delegate(&self, delegate: Delegate<'_>) -> Handle {
        let Delegate::Nnapi { device, f16, cache } = delegate else {
            return match delegate {
                Delegate::None => null_mut(),
                _ => {
                    // SAFETY: options as they come; the struct is larger than any version's.
                    unsafe { (self.xnnpack)(&raw const *Box::new((self.xnnpack_options)())) }
                }
            };
        };
        let device = CString::new(device).expect("a name without zero bytes");
        let cache =
            cache.map(|c| CString::new(c.as_os_str().as_encoded_bytes()).expect("a path without zero bytes"));
        // SAFETY: options as they come, with strings that live until after the delegate is made: it copies them.
        unsafe {
            let mut options = (self.nnapi_options)();
            options.accelerator = device.as_ptr();
            options.allow_f16 = c_int::from(f16);
            options.max_partitions = 0;
            options.cache_dir = cache.as_ref().map_or(null(), |c| c.as_ptr());
            options.model_token = cache.as_ref().map_or(null(), |_| c"token".as_ptr());
            (self.nnapi)(&raw const options)
        }
    }

    /// # Safety
    /// The interpreter is one of this library.
    unsafe fn invoke_all(
        &self,
        interpreter: Handle,
        examples: u64,
        make: impl Fn(c_int, usize, u64) -> Vec<u8>,
    ) -> Result<Vec<Tensor>, String> {
        let check = |what: &str, code: c_int| if code == 0 { Ok(()) } else { Err(format!("{what}: {code}")) };
        let mut outputs = Vec::new();
        // SAFETY: tensors by numbers below their count, and buffers with their sizes.
        unsafe {
            check("allocate", (self.allocate)(interpreter))?;
            for example in 0..examples {
                for index in 0..(self.input_count)(interpreter) {
                    let tensor = (self.input)(interpreter, index);
                    let bytes = make((self.kind)(tensor), (self.size)(tensor), example * 16 + index as u64);
                    check("input", (self.write)(tensor, bytes.as_ptr().cast(), bytes.len()))?;
                }
                check("invoke", (self.invoke)(interpreter))?;
                for index in 0..(self.output_count)(interpreter) {
                    let tensor = (self.output)(interpreter, index);
                    let mut bytes = vec![0; (self.size)(tensor)];
                    check("output", (self.read)(tensor, bytes.as_mut_ptr().cast(), bytes.len()))?;
                    outputs.push(Tensor { kind: (self.kind)(tensor), bytes });
                }
            }
        }
        Ok(outputs)
    }
}
