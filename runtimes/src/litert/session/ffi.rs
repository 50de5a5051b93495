//! A compiled model, its buffers and its profiler.

#![expect(unsafe_code, reason = "calls into a C library; every block says why it holds")]

use crate::litert::failed::{Failed, checked};
use crate::litert::ffi::{Api, Environment, Handle, Layout, Library, MAX_RANK, Ranked, RawEvent, dims, text};
use crate::litert::model::Loaded;
use crate::litert::options::{Options, Settings};
use crate::tflite::profile::{Event, Place};
use std::{
    ffi::{CStr, c_char, c_int},
    ptr::{self, NonNull},
    rc::Rc,
    slice,
};

/// Most profiled events of one invoke.
const MAX_EVENTS: c_int = 1 << 17;
/// Memory of the host, as a type of buffer.
const HOST_MEMORY: c_int = 1;
const LOCK_READ: c_int = 0;
const LOCK_WRITE: c_int = 1;

/// A model compiled for its first signature.
pub(super) struct Compiled {
    handle: Handle,
    _options: Options,
    model: Rc<Loaded>,
}

impl Compiled {
    pub(super) fn new(model: &Rc<Loaded>, settings: &Settings) -> Result<Self, Failed> {
        let environment = &model.environment;
        let options = Options::new(environment, settings)?;
        // SAFETY: three handles of the library, which live as long as the compiled model.
        let compile = |api: &Api, to: *mut Handle| unsafe {
            (api.compile)(environment.handle, model.handle, options.handle, to)
        };
        let handle = environment.library.handle("compiling the model", compile)?;
        Ok(Self { handle, _options: options, model: Rc::clone(model) })
    }

    fn library(&self) -> &Library {
        self.model.library()
    }

    /// All nodes run on the accelerators that were asked for.
    pub(super) fn fully_accelerated(&self) -> Result<bool, Failed> {
        // SAFETY: the handle is the library's own.
        self.library().get("asking for delegation", false, |api, to| unsafe {
            (api.fully_accelerated)(self.handle, to)
        })
    }

    /// Gives an input other dimensions: where they are open, or else in a model that says of none that it is.
    pub(super) fn resize(&self, input: usize, dims: &[c_int]) -> Result<(), Failed> {
        let api = &self.library().api;
        // SAFETY: as many dimensions as is said.
        unsafe {
            let strict = (api.resize)(self.handle, 0, input, dims.as_ptr(), dims.len());
            let status = match api.resize_any {
                Some(resize) if strict != 0 => resize(self.handle, 0, input, dims.as_ptr(), dims.len()),
                _ => strict,
            };
            checked("resizing an input", status)
        }
    }

    /// Dimensions of an input now.
    pub(super) fn input_dims(&self, input: usize) -> Result<Vec<i32>, Failed> {
        // SAFETY: the handle is the library's own.
        let layout = self.library().get("asking for a shape", Layout::default(), |api, to| unsafe {
            (api.input_layout)(self.handle, 0, input, to)
        })?;
        dims(&layout)
    }

    /// Dimensions of all outputs for the inputs' now.
    pub(super) fn output_dims(&self, count: usize) -> Result<Vec<Vec<i32>>, Failed> {
        let mut layouts = vec![Layout::default(); count];
        // SAFETY: room for as many layouts as is said.
        let status =
            unsafe { (self.library().api.output_layouts)(self.handle, 0, count, layouts.as_mut_ptr(), true) };
        checked("asking for the outputs' shapes", status)?;
        layouts.iter().map(dims).collect()
    }

    /// A buffer for an input or output of these dimensions, of at least so many bytes.
    pub(super) fn buffer(
        &self,
        input: bool,
        index: usize,
        element: c_int,
        dims: &[i32],
        bytes: usize,
    ) -> Result<Buffer, Failed> {
        const WHAT: &str = "making a buffer";
        let library = self.library();
        let mut ranked = Ranked { element, layout: Layout::default() };
        let rank = dims.len().min(MAX_RANK);
        ranked.layout.bits = rank as u32;
        ranked.layout.dims[..rank].copy_from_slice(&dims[..rank]);
        let needs = if input { library.api.input_needs } else { library.api.output_needs };
        // SAFETY: the handles are the library's own; the requirements belong to the compiled model.
        unsafe {
            let needs = library.handle(WHAT, |_, to| needs(self.handle, 0, index, to))?;
            let environment = self.model.environment.handle;
            let handle =
                library.handle(WHAT, |api, to| (api.create_buffer)(environment, &ranked, needs, to))?;
            let buffer = Buffer { handle, bytes, environment: Rc::clone(&self.model.environment) };
            let size = library.get(WHAT, 0, |api, to| (api.buffer_size)(handle, to))?;
            if size < bytes { Err(Failed::too_small(WHAT, size, bytes)) } else { Ok(buffer) }
        }
    }

    /// Runs the model once.
    pub(super) fn run(&mut self, inputs: &mut [Handle], outputs: &mut [Handle]) -> Result<(), Failed> {
        // SAFETY: as many buffers as is said, made for this model, and all of them alive: the session owns them.
        let status = unsafe {
            let (ins, outs) = (inputs.as_mut_ptr(), outputs.as_mut_ptr());
            (self.library().api.run)(self.handle, 0, inputs.len(), ins, outputs.len(), outs)
        };
        checked("running the model", status)
    }

    /// What the library has to say about errors.
    pub(super) fn errors(&self) -> String {
        // SAFETY: the library gives a string away, to be freed like any other.
        unsafe {
            let mut message: *mut c_char = ptr::null_mut();
            if (self.library().api.error_messages)(self.handle, &mut message) != 0 || message.is_null() {
                return String::new();
            }
            let words = CStr::from_ptr(message).to_string_lossy().into_owned();
            libc::free(message.cast());
            words
        }
    }

    /// Events of what `work` runs.
    pub(super) fn profiled(
        &mut self,
        work: impl FnOnce(&mut Self) -> Result<(), Failed>,
    ) -> Result<Vec<Event>, Failed> {
        const WHAT: &str = "profiling";
        // SAFETY: the profiler belongs to the compiled model; there is room for as many events as is said.
        unsafe {
            let profiler = self.library().handle(WHAT, |api, to| (api.profiler)(self.handle, to))?;
            checked(WHAT, (self.library().api.reset_profiler)(profiler))?;
            checked(WHAT, (self.library().api.start_profiler)(profiler))?;
            let worked = work(self);
            let api = &self.library().api;
            checked(WHAT, (api.stop_profiler)(profiler))?;
            worked?;
            let count = self.library().get(WHAT, 0, |api, to| (api.event_count)(profiler, to))?;
            if !(0..=MAX_EVENTS).contains(&count) {
                return Err(Failed::too_many(WHAT, usize::try_from(count).unwrap_or(0)));
            }
            let none = RawEvent {
                tag: ptr::null(),
                kind: 0,
                start_us: 0,
                elapsed_us: 0,
                memory: [0; 6],
                index: 0,
                extra: 0,
                source: 0,
            };
            // Room to spare: should a version have larger events, it is nonsense that is read, and not memory
            // of others that is written.
            let mut events = vec![none; 2 * count as usize];
            checked(WHAT, (api.events)(profiler, count, events.as_mut_ptr()))?;
            Ok(events.iter().take(count as usize).filter_map(|e| event(e)).collect())
        }
    }
}

impl Drop for Compiled {
    fn drop(&mut self) {
        // SAFETY: made by the library and destroyed once, before its options and its model.
        unsafe { (self.library().api.destroy_compiled)(self.handle) }
    }
}

/// A node of the graph; its index is the node's.
const OPERATOR: c_int = 1 << 1;
/// What runs inside a delegate; its index is the delegate's own.
const INSIDE_DELEGATE: c_int = 1 << 2;
const PROFILED_INSIDE_DELEGATE: c_int = 1 << 3;

/// An event that is about a node.
///
/// # Safety
/// The tag is none, or a string that ends in a zero.
unsafe fn event(raw: &RawEvent) -> Option<Event> {
    let index = usize::try_from(raw.index).ok()?;
    let place = match raw.kind {
        OPERATOR => Place::Node(index),
        INSIDE_DELEGATE | PROFILED_INSIDE_DELEGATE => Place::Inside(index),
        _ => return None,
    };
    // SAFETY: the caller's promise.
    let tag = unsafe { text(raw.tag) };
    Some(Event { tag, place, elapsed_ns: raw.elapsed_us.saturating_mul(1000) })
}

/// Memory of an input or output.
pub(super) struct Buffer {
    environment: Rc<Environment>,
    handle: Handle,
    bytes: usize,
}

impl Buffer {
    pub(super) fn handle(&self) -> Handle {
        self.handle
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Does something with the memory while it is locked.
    fn locked<T>(&self, mode: c_int, work: impl FnOnce(NonNull<u8>) -> T) -> Result<T, Failed> {
        const WHAT: &str = "locking a buffer";
        let library = &self.environment.library;
        // SAFETY: the handle is the library's own; the memory has the bytes that were checked when it was made.
        unsafe {
            let memory = library.handle(WHAT, |api, to| (api.lock)(self.handle, to, mode))?;
            let memory = NonNull::new(memory.cast::<u8>()).ok_or_else(|| Failed::nothing(WHAT))?;
            let done = work(memory);
            checked(WHAT, (library.api.unlock)(self.handle))?;
            Ok(done)
        }
    }

    /// Copies in exactly as many bytes as it has.
    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), Failed> {
        let count = bytes.len().min(self.bytes);
        // SAFETY: no more than there are on either side, and nobody else writes.
        self.locked(LOCK_WRITE, |to| unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), to.as_ptr(), count) })
    }

    /// Copies all of it out.
    pub(super) fn copy(&self) -> Result<Vec<u8>, Failed> {
        // SAFETY: as many bytes as were checked when it was made.
        self.locked(LOCK_READ, |from| unsafe { slice::from_raw_parts(from.as_ptr(), self.bytes) }.to_vec())
    }

    /// The memory itself, where it is the host's, and so stays where it is.
    pub(super) fn host(&self) -> Result<Option<&[u8]>, Failed> {
        let library = &self.environment.library;
        // SAFETY: the handle is the library's own.
        let kind = library
            .get("asking for a buffer's type", 0, |api, to| unsafe { (api.buffer_type)(self.handle, to) })?;
        if kind != HOST_MEMORY {
            return Ok(None);
        }
        // SAFETY: memory of the host lives as long as the buffer, and is written to only by a run, for which the
        // session is borrowed mutably.
        self.locked(LOCK_READ, |from| Some(unsafe { slice::from_raw_parts(from.as_ptr(), self.bytes) }))
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        // SAFETY: made by the library and destroyed once.
        unsafe { (self.environment.library.api.destroy_buffer)(self.handle) }
    }
}
