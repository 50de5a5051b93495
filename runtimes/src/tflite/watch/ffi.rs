//! The delegate itself: a struct of the C library's, whose one function looks at the graph. Only what has stood at
//! the same place since TFLite 2.0 is read, because delegates that phones ship rely on it as well.

#![expect(unsafe_code, reason = "called by a C library; every block says why it holds")]

use super::{Graph, Node};
use std::{
    cell::{RefCell, UnsafeCell},
    ffi::{CStr, c_char, c_int, c_void},
    ptr,
};

/// Most nodes that are looked at.
const MAX_NODES: usize = 1 << 16;
/// The operator that stands for what a delegate took.
const DELEGATE: c_int = 51;
/// Dynamic tensors are none of our business: without this the library would fix the graph for us.
const ALLOW_DYNAMIC_TENSORS: i64 = 1;

#[repr(C)]
struct Delegate {
    data: *const RefCell<Vec<Graph>>,
    prepare: unsafe extern "C" fn(*mut Context, *mut Delegate) -> c_int,
    copies: [*const c_void; 3],
    flags: i64,
    builder: *const c_void,
}

#[repr(C)]
struct Ints {
    size: c_int,
    first: [c_int; 0],
}

/// The beginning of the context that a delegate is given.
#[repr(C)]
struct Context {
    tensors_size: usize,
    plan: unsafe extern "C" fn(*mut Context, *mut *mut Ints) -> c_int,
    others: [*const c_void; 5],
    node: unsafe extern "C" fn(*mut Context, c_int, *mut *mut RawNode, *mut *mut Registration) -> c_int,
}

/// The beginning of a node.
#[repr(C)]
struct RawNode {
    others: [*const c_void; 5],
    parameters: *const Taken,
}

/// What the node of a delegate has for parameters.
#[repr(C)]
struct Taken {
    delegate: *const c_void,
    nodes: *const Ints,
}

/// The beginning of an operator.
#[repr(C)]
struct Registration {
    functions: [*const c_void; 5],
    code: c_int,
    custom: *const c_char,
}

/// A delegate that takes nothing, and what it has seen.
pub(crate) struct Watch {
    delegate: Box<UnsafeCell<Delegate>>,
    seen: Box<RefCell<Vec<Graph>>>,
}

impl Watch {
    pub(crate) fn new() -> Self {
        let seen = Box::new(RefCell::new(Vec::new()));
        let delegate = Delegate {
            data: &raw const *seen,
            prepare: look,
            copies: [ptr::null(); 3],
            flags: ALLOW_DYNAMIC_TENSORS,
            builder: ptr::null(),
        };
        Self { delegate: Box::new(UnsafeCell::new(delegate)), seen }
    }

    /// For the library. Everything that is given it must be gone before this is dropped.
    pub(crate) fn delegate(&self) -> *mut c_void {
        self.delegate.get().cast()
    }

    /// The graphs since the last time, as they were when the library asked.
    pub(crate) fn take(&self) -> Vec<Graph> {
        self.seen.take()
    }
}

/// Called for every graph. Whatever it sees, it lets the library go on.
///
/// # Safety
/// Called by the library with a context and with our own delegate.
unsafe extern "C" fn look(context: *mut Context, delegate: *mut Delegate) -> c_int {
    // SAFETY: the library's context is valid during this call; the data is the watch's, which outlives it.
    unsafe {
        if let (Some(graph), Ok(mut seen)) = (graph(context), (*(*delegate).data).try_borrow_mut()) {
            seen.push(graph);
        }
    }
    0
}

/// # Safety
/// The context is valid.
unsafe fn graph(context: *mut Context) -> Option<Graph> {
    // SAFETY: the library fills in the pointers, to things that stay as they are during this call.
    unsafe {
        let mut plan = ptr::null_mut();
        if ((*context).plan)(context, &mut plan) != 0 {
            return None;
        }
        let mut nodes = Vec::new();
        for index in ints(plan)? {
            let (mut node, mut registration) = (ptr::null_mut(), ptr::null_mut());
            let status = ((*context).node)(context, index, &mut node, &mut registration);
            if status != 0 || node.is_null() || registration.is_null() {
                return None;
            }
            let custom = (*registration).custom;
            let custom = if custom.is_null() {
                None
            } else {
                Some(CStr::from_ptr(custom).to_string_lossy().into_owned())
            };
            let code = (*registration).code;
            let taken = if code == DELEGATE && !(*node).parameters.is_null() {
                Some(ints((*(*node).parameters).nodes)?.len())
            } else {
                None
            };
            nodes.push(Node { index: usize::try_from(index).ok()?, code, custom, taken });
        }
        Some(nodes)
    }
}

/// # Safety
/// None, or one of the library's lists.
unsafe fn ints(list: *const Ints) -> Option<Vec<c_int>> {
    if list.is_null() {
        return None;
    }
    // SAFETY: the caller's promise; as many follow as is said.
    unsafe {
        let size = usize::try_from((*list).size).ok().filter(|size| *size <= MAX_NODES)?;
        Some(std::slice::from_raw_parts((&raw const (*list).first).cast(), size).to_vec())
    }
}
