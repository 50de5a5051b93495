//! What the crate `ort` does not wrap: the library's version before it is used, a run on tensors that stay where
//! they are, and what later versions tell about the nodes of a session. Decides nothing.

#![expect(unsafe_code, reason = "ONNX Runtime is a C library")]

use crate::builtin::import::onnx::element_type;
use crate::dlopen::Opened;
use crate::{Error, Result};
use ort::memory::{AllocationDevice, Allocator, AllocatorType, MemoryInfo, MemoryType};
use ort::session::Session;
use ort::value::{DynTensor, TensorElementType};
use ort::{AsPointer, sys};
use protocol::DType;
use std::ffi::{CStr, CString, c_char};
use std::path::PathBuf;
use std::ptr::{NonNull, null, null_mut};
use std::slice;

/// First version that tells which provider got which nodes.
pub(super) const NODES_API: u32 = 24;
/// First version that tells what an allocator has given out.
pub(super) const MEMORY_API: u32 = 23;
/// Most nodes and subgraphs that are listed.
const MAX_LISTED: usize = 200_000;

/// The library's own entry.
#[derive(Clone, Copy)]
pub(super) struct Base(&'static sys::OrtApiBase);

impl Base {
    /// Finds the entry of a library that is open.
    ///
    /// # Errors
    /// It is not ONNX Runtime.
    pub(super) fn of(library: &Opened) -> Result<Self> {
        type Entry = unsafe extern "C" fn() -> *const sys::OrtApiBase;
        // SAFETY: the type is that of onnxruntime_c_api.h, and no other library has a function of this name.
        let base = unsafe { library.symbol::<Entry>("OrtGetApiBase", "ONNX Runtime 1.17 or newer")?() };
        // SAFETY: it points to a constant of a library that is never unloaded, or to nothing.
        let base = unsafe { base.as_ref() };
        base.map(Self).ok_or_else(|| Error::Unsupported(format!("{}: has no API", library.file())))
    }

    /// Version as the library tells it.
    pub(super) fn version(self) -> String {
        // SAFETY: both are constants of the library.
        unsafe { text((self.0.GetVersionString)()) }
    }
}

/// Text of the library; empty where there is none.
///
/// # Safety
/// `text` points to a terminated string, or to nothing.
unsafe fn text(text: *const c_char) -> String {
    if text.is_null() {
        return String::new();
    }
    // SAFETY: the caller's promise.
    unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
}

fn checked(status: sys::OrtStatusPtr) -> ort::Result<()> {
    // SAFETY: every status comes from a call that was just made, and is handed over here and nowhere else.
    unsafe { ort::Error::result_from_status(status) }
}

/// A session with the tensors it runs on: inputs stay in one place for good, outputs are made by the library in
/// every run, as for any other caller that binds none.
pub(super) struct Bound {
    session: Session,
    inputs: Vec<DynTensor>,
    /// What the last run has made; ours to release.
    outputs: Vec<*mut sys::OrtValue>,
    input_values: Vec<*const sys::OrtValue>,
    input_names: Vec<*const c_char>,
    output_names: Vec<*const c_char>,
    /// What the pointers above point to.
    _names: Vec<CString>,
}

impl Bound {
    /// Allocates the inputs, filled with zeros. All inputs and outputs of the session must be tensors.
    ///
    /// # Errors
    /// The library has no memory, or a name holds a zero byte.
    pub(super) fn new(session: Session, inputs: &[(TensorElementType, Vec<i64>)]) -> ort::Result<Self> {
        let allocator = Allocator::default();
        let tensor = |(ty, shape): &(_, Vec<i64>)| DynTensor::new(&allocator, *ty, shape.clone());
        let inputs = inputs.iter().map(tensor).collect::<ort::Result<Vec<_>>>()?;
        let names = session.inputs().iter().chain(session.outputs()).map(|o| CString::new(o.name()));
        let names = names.collect::<std::result::Result<Vec<_>, _>>()?;
        let pointers: Vec<*const c_char> = names.iter().map(|name| name.as_ptr()).collect();
        let (input_names, output_names) = pointers.split_at(session.inputs().len());
        Ok(Self {
            input_values: inputs.iter().map(AsPointer::ptr).collect(),
            outputs: vec![null_mut(); output_names.len()],
            input_names: input_names.to_vec(),
            output_names: output_names.to_vec(),
            session,
            inputs,
            _names: names,
        })
    }

    /// The session.
    pub(super) fn session(&self) -> &Session {
        &self.session
    }

    /// Ends the profile of a session that was asked to write one, and tells its file.
    ///
    /// # Errors
    /// What the library says.
    pub(super) fn end_profiling(&mut self) -> ort::Result<PathBuf> {
        self.session.end_profiling().map(PathBuf::from)
    }

    /// Memory of an input.
    pub(super) fn input(&mut self, index: usize) -> Option<&mut [u8]> {
        let tensor = self.inputs.get_mut(index)?;
        let Some(data) = NonNull::new(tensor.data_ptr_mut().cast::<u8>()) else { return Some(&mut []) };
        // SAFETY: `size` bytes of memory of the CPU, written when the tensor was made; they belong to the tensor,
        // which is borrowed for as long.
        Some(unsafe { slice::from_raw_parts_mut(data.as_ptr(), tensor.size()?) })
    }

    /// Runs once.
    ///
    /// # Errors
    /// What the library says.
    pub(super) fn run(&mut self) -> ort::Result<()> {
        self.release();
        // SAFETY: as many names as values, all alive; every output is null, so that the library makes it.
        // `&mut self`: no two runs at once.
        checked(unsafe {
            (ort::api().Run)(
                self.session.ptr().cast_mut(),
                null(),
                self.input_names.as_ptr(),
                self.input_values.as_ptr(),
                self.input_values.len(),
                self.output_names.as_ptr(),
                self.output_names.len(),
                self.outputs.as_mut_ptr(),
            )
        })
    }

    /// Gives back what the last run has made.
    fn release(&mut self) {
        for value in self.outputs.iter_mut().filter(|value| !value.is_null()) {
            // SAFETY: made by the last run, and ours; the pointer is forgotten at once.
            unsafe { (ort::api().ReleaseValue)(std::mem::replace(value, null_mut())) };
        }
    }

    /// Shape and bytes of an output of the last run; `None` before.
    ///
    /// # Errors
    /// What the library says, or an element type that is not made of bytes.
    pub(super) fn output(&self, index: usize) -> ort::Result<Option<(Vec<i64>, &[u8])>> {
        let Some(value) = self.outputs.get(index).filter(|value| !value.is_null()) else { return Ok(None) };
        let mut info = null_mut();
        // SAFETY: the value is alive, and a tensor as its session has declared.
        checked(unsafe { (ort::api().GetTensorTypeAndShape)(*value, &mut info) })?;
        // SAFETY: `info` was just made.
        let read = unsafe { type_and_shape(info) };
        // SAFETY: made above, not used any more.
        unsafe { (ort::api().ReleaseTensorTypeAndShapeInfo)(info) };
        let (dtype, shape) = read?;
        let elements: usize = shape.iter().map(|dim| usize::try_from(*dim).unwrap_or(0)).product();
        let length = elements * dtype.size();
        let mut data = null_mut();
        // SAFETY: the value is alive and a tensor.
        checked(unsafe { (ort::api().GetTensorMutableData)(*value, &mut data) })?;
        let Some(data) = NonNull::new(data.cast::<u8>()) else { return Ok(Some((shape, &[]))) };
        // SAFETY: the library has just told this tensor's type and shape, from which `length` was computed. It lies
        // in memory of the CPU, as all outputs do that were not bound elsewhere, until the next run.
        Ok(Some((shape, unsafe { slice::from_raw_parts(data.as_ptr(), length) })))
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        self.release();
    }
}

/// # Safety
/// `info` is alive.
unsafe fn type_and_shape(info: *mut sys::OrtTensorTypeAndShapeInfo) -> ort::Result<(DType, Vec<i64>)> {
    let (mut ty, mut count) = (0i32, 0);
    // SAFETY: the caller's promise; the enumeration has 32 bits, and a later library may have more of its values than
    // the crate knows.
    checked(unsafe { (ort::api().GetTensorElementType)(info, (&raw mut ty).cast()) })?;
    // SAFETY: the caller's promise.
    checked(unsafe { (ort::api().GetDimensionsCount)(info, &mut count) })?;
    let mut shape = vec![0; count];
    // SAFETY: as many dimensions as were just counted.
    checked(unsafe { (ort::api().GetDimensions)(info, shape.as_mut_ptr(), count) })?;
    let dtype = element_type(ty).ok_or_else(|| ort::Error::new(format!("an output of element type {ty}")))?;
    Ok((dtype, shape))
}

/// Nodes that the library gave to an execution provider together.
pub(super) struct Subgraph {
    /// The provider.
    pub(super) provider: String,
    /// Name and operator of each.
    pub(super) nodes: Vec<(String, String)>,
}

type List<T, I> = unsafe extern "system" fn(*const T, *mut *const *const I, *mut usize) -> sys::OrtStatusPtr;
type Text<T> = unsafe extern "system" fn(*const T, *mut *const c_char) -> sys::OrtStatusPtr;

/// A function that the crate knows only where it asks every library for it. The table of functions only ever grows at
/// its end, so that a place in it stands for good; `None`: the library is older than `api`.
///
/// # Safety
/// `T` is the type of the function at `place` of onnxruntime_c_api.h, which version `api` has.
unsafe fn function<T: Copy>(base: Base, api: u32, place: usize) -> Option<T> {
    type Function = unsafe extern "system" fn();
    const { assert!(size_of::<T>() == size_of::<Function>()) };
    // SAFETY: a constant function of the library, which answers with nothing where it is older.
    let table = NonNull::new(unsafe { (base.0.GetApi)(api) }.cast_mut())?.cast::<Option<Function>>();
    // SAFETY: the caller's promise: the table is so long.
    let function = unsafe { table.add(place).read() }?;
    // SAFETY: the caller's promise, and both are pointers to functions.
    Some(unsafe { std::mem::transmute_copy(&function) })
}

/// What tells which provider got which nodes.
struct Assignment {
    subgraphs: List<sys::OrtSession, sys::OrtEpAssignedSubgraph>,
    provider: Text<sys::OrtEpAssignedSubgraph>,
    nodes: List<sys::OrtEpAssignedSubgraph, sys::OrtEpAssignedNode>,
    name: Text<sys::OrtEpAssignedNode>,
    op: Text<sys::OrtEpAssignedNode>,
}

impl Assignment {
    fn of(base: Base) -> Option<Self> {
        // SAFETY: the places and types of `Session_GetEpGraphAssignmentInfo` and the five functions after it, of which
        // the domain of a node is left out.
        unsafe {
            Some(Self {
                subgraphs: function(base, NODES_API, 407)?,
                provider: function(base, NODES_API, 408)?,
                nodes: function(base, NODES_API, 409)?,
                name: function(base, NODES_API, 410)?,
                op: function(base, NODES_API, 412)?,
            })
        }
    }
}

/// Which provider got which nodes when the session was made.
///
/// # Errors
/// The library is older than 1.24, or the session was made without being asked to remember.
pub(super) fn assignment(base: Base, session: &Session) -> Result<Vec<Subgraph>> {
    let api = Assignment::of(base)
        .ok_or_else(|| Error::Unsupported("this version does not tell who got which nodes".to_owned()))?;
    // SAFETY: the session is alive, and what is listed lives as long as it does.
    let read = || unsafe {
        let mut all = Vec::new();
        for &subgraph in list(api.subgraphs, session.ptr())? {
            let nodes = list(api.nodes, subgraph)?.iter();
            let named = |&node: &*const _| Ok((word(api.name, node)?, word(api.op, node)?));
            let nodes = nodes.map(named).collect::<ort::Result<Vec<_>>>()?;
            all.push(Subgraph { provider: word(api.provider, subgraph)?, nodes });
        }
        Ok::<_, ort::Error>(all)
    };
    read().map_err(|e| Error::Runtime(e.to_string()))
}

/// # Safety
/// `of` is alive, and outlives what is listed.
unsafe fn list<'a, T, I>(list: List<T, I>, of: *const T) -> ort::Result<&'a [*const I]> {
    let (mut items, mut count) = (null(), 0);
    // SAFETY: the caller's promise; the library writes both.
    checked(unsafe { list(of, &mut items, &mut count) })?;
    if items.is_null() || count > MAX_LISTED {
        return Ok(&[]);
    }
    // SAFETY: as many as the library has just told.
    Ok(unsafe { slice::from_raw_parts(items, count) })
}

/// # Safety
/// `of` is alive.
unsafe fn word<T>(word: Text<T>, of: *const T) -> ort::Result<String> {
    let mut out = null();
    // SAFETY: the caller's promise; the library writes a string of its own.
    checked(unsafe { word(of, &mut out) })?;
    // SAFETY: a string of the library, or nothing.
    Ok(unsafe { text(out) })
}

/// Names and values, as many as are counted.
type Pairs = unsafe extern "system" fn(
    *const sys::OrtKeyValuePairs,
    *mut *const *const c_char,
    *mut *const *const c_char,
    *mut usize,
);

/// Most bytes that the session's arena has given out at once; `None` where it does not count, or there is none.
pub(super) fn arena_peak_bytes(base: Base, session: &Session) -> Option<u64> {
    type Ask = unsafe extern "system" fn(
        *const sys::OrtAllocator,
        *mut *mut sys::OrtKeyValuePairs,
    ) -> sys::OrtStatusPtr;
    let arena = MemoryInfo::new(AllocationDevice::CPU, 0, AllocatorType::Arena, MemoryType::Default).ok()?;
    let arena = Allocator::new(session, arena).ok()?;
    // SAFETY: the places and types of `AllocatorGetStats`, `GetKeyValuePairs` and `ReleaseKeyValuePairs`.
    let (ask, read, release) = unsafe {
        let ask: Ask = function(base, MEMORY_API, 319)?;
        let read: Pairs = function(base, MEMORY_API, 298)?;
        let release: unsafe extern "system" fn(*mut sys::OrtKeyValuePairs) = function(base, MEMORY_API, 300)?;
        (ask, read, release)
    };
    let mut pairs = null_mut();
    // SAFETY: the allocator is alive; the library writes the answer, which is ours.
    checked(unsafe { ask(arena.ptr(), &mut pairs) }).ok()?;
    let (mut names, mut values, mut count) = (null(), null(), 0);
    // SAFETY: the answer is alive; the library writes where its names and values are.
    unsafe { read(pairs, &mut names, &mut values, &mut count) };
    // SAFETY: as many strings as were counted, in an answer that is alive.
    let found = (0..count.min(MAX_LISTED)).find_map(|i| unsafe {
        (text(*names.add(i)) == "MaxInUse").then(|| text(*values.add(i)).parse::<u64>().ok())?
    });
    // SAFETY: the answer is not used any more.
    unsafe { release(pairs) };
    found
}
