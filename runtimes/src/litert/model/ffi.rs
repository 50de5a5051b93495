//! A model in LiteRT's memory: its signature, tensors and nodes.

#![expect(unsafe_code, reason = "calls into a C library; every block says why it holds")]

use crate::litert::failed::{Failed, Status};
use crate::litert::ffi::{
    Environment, Handle, Library, MAX_COUNT, PerChannel, PerTensor, Ranked, dims, text,
};
use std::{
    ffi::{CString, c_char, c_int},
    path::Path,
    ptr,
    rc::Rc,
    slice,
};

/// Quantisation as stored: scales, zero points, axis.
pub(in crate::litert) type Quantized = (Vec<f32>, Vec<i64>, i32);

/// A tensor's description.
pub(in crate::litert) struct Tensor {
    pub(in crate::litert) name: String,
    pub(in crate::litert) element: c_int,
    pub(in crate::litert) dims: Vec<i32>,
    pub(in crate::litert) quantized: Option<Quantized>,
}

/// A model in memory.
pub(in crate::litert) struct Model {
    pub(in crate::litert) environment: Rc<Environment>,
    pub(in crate::litert) handle: Handle,
}

impl Model {
    pub(in crate::litert) fn open(environment: &Rc<Environment>, path: &Path) -> Result<Rc<Self>, Failed> {
        const WHAT: &str = "reading the model";
        let name = CString::new(path.as_os_str().as_encoded_bytes()).map_err(|_| Failed::nothing(WHAT))?;
        let library = &environment.library;
        type Old = unsafe extern "C" fn(*const c_char, *mut Handle) -> Status;
        type New = unsafe extern "C" fn(Handle, *const c_char, *mut Handle) -> Status;
        let symbol = "LiteRtCreateModelFromFile";
        let takes_environment = library.api.model_from_fd.is_some();
        // SAFETY: one of the two types is this version's: the function with a descriptor came with the new one. The
        // arguments are a handle, a string that ends in a zero, and a place for a handle.
        let handle = library.handle(WHAT, |_, to| unsafe {
            if takes_environment {
                library
                    .opened
                    .find::<New>(symbol)
                    .map_or(-1, |open| open(environment.handle, name.as_ptr(), to))
            } else {
                library.opened.find::<Old>(symbol).map_or(-1, |open| open(name.as_ptr(), to))
            }
        })?;
        Ok(Rc::new(Self { environment: Rc::clone(environment), handle }))
    }

    pub(in crate::litert) fn library(&self) -> &Library {
        &self.environment.library
    }

    /// Number of signatures, and the key of the first.
    pub(in crate::litert) fn signatures(&self) -> Result<(usize, String), Failed> {
        let library = self.library();
        // SAFETY: the handles are the library's own; the key belongs to the model.
        unsafe {
            let count =
                library.count("counting signatures", |api, to| (api.signature_count)(self.handle, to))?;
            let signature = self.signature()?;
            let key = library
                .get("naming a signature", ptr::null(), |api, to| (api.signature_key)(signature, to))?;
            Ok((count, text(key)))
        }
    }

    fn signature(&self) -> Result<Handle, Failed> {
        // SAFETY: the handle is the library's own.
        self.library().handle("finding a signature", |api, to| unsafe { (api.signature)(self.handle, 0, to) })
    }

    /// The graph of the first signature.
    fn graph(&self) -> Result<Handle, Failed> {
        let signature = self.signature()?;
        // SAFETY: the handle is the library's own.
        self.library()
            .handle("finding the graph", |api, to| unsafe { (api.signature_subgraph)(signature, to) })
    }

    /// Inputs or outputs of the first signature, in the order of its graph.
    pub(in crate::litert) fn tensors(&self, inputs: bool) -> Result<Vec<Tensor>, Failed> {
        let (graph, library) = (self.graph()?, self.library());
        let api = &library.api;
        let (count, get) = if inputs { (api.input_count, api.input) } else { (api.output_count, api.output) };
        // SAFETY: the handles are the library's own, and the index is below the count.
        unsafe {
            let count = library.count("counting tensors", |_, to| count(graph, to))?;
            (0..count)
                .map(|i| self.tensor(library.handle("finding a tensor", |_, to| get(graph, i, to))?))
                .collect()
        }
    }

    fn tensor(&self, handle: Handle) -> Result<Tensor, Failed> {
        let library = self.library();
        // SAFETY: the handle is the library's own, and what it points to belongs to the model.
        unsafe {
            let ranked = library.get("asking for a tensor's type", Ranked::default(), |api, to| {
                (api.tensor_type)(handle, to)
            })?;
            let (name, dims) = (self.name(handle)?, dims(&ranked.layout)?);
            let quantized = self.quantized(handle)?;
            Ok(Tensor { name, element: ranked.element, dims, quantized })
        }
    }

    fn name(&self, tensor: Handle) -> Result<String, Failed> {
        // SAFETY: the handle is the library's own; the name belongs to the model.
        unsafe {
            let name = self
                .library()
                .get("naming a tensor", ptr::null(), |api, to| (api.tensor_name)(tensor, to))?;
            Ok(text(name))
        }
    }

    fn quantized(&self, tensor: Handle) -> Result<Option<Quantized>, Failed> {
        const WHAT: &str = "asking for a tensor's quantisation";
        let library = self.library();
        // SAFETY: the handle is the library's own; the lists have as many elements as is said, and are copied.
        unsafe {
            match library.get(WHAT, 0, |api, to| (api.quantization)(tensor, to))? {
                1 => {
                    let q =
                        library.get(WHAT, PerTensor::default(), |api, to| (api.per_tensor)(tensor, to))?;
                    Ok(Some((vec![q.scale], vec![q.zero_point], 0)))
                }
                2 => {
                    let none =
                        PerChannel { axis: 0, channels: 0, scales: ptr::null(), zero_points: ptr::null() };
                    let q = library.get(WHAT, none, |api, to| (api.per_channel)(tensor, to))?;
                    let count = usize::try_from(q.channels).unwrap_or(usize::MAX);
                    if count > MAX_COUNT {
                        return Err(Failed::too_many(WHAT, count));
                    }
                    if count == 0 || q.scales.is_null() || q.zero_points.is_null() {
                        return Ok(None);
                    }
                    let scales = slice::from_raw_parts(q.scales, count).to_vec();
                    Ok(Some((scales, slice::from_raw_parts(q.zero_points, count).to_vec(), q.axis)))
                }
                _ => Ok(None),
            }
        }
    }

    /// Nodes of all graphs.
    pub(in crate::litert) fn node_count(&self) -> Result<u32, Failed> {
        let library = self.library();
        // SAFETY: the handles are the library's own, and the index is below the count.
        let counts = unsafe {
            let graphs = library.count("counting graphs", |api, to| (api.subgraph_count)(self.handle, to))?;
            (0..graphs).map(|i| {
                let graph =
                    library.handle("finding a graph", |api, to| (api.subgraph)(self.handle, i, to))?;
                library.count("counting nodes", |api, to| (api.op_count)(graph, to))
            })
        };
        let total = counts.sum::<Result<usize, Failed>>()?;
        u32::try_from(total).map_err(|_| Failed::too_many("counting nodes", total))
    }

    /// Name of every node's first output, in the graph of the first signature.
    pub(in crate::litert) fn nodes(&self) -> Result<Vec<String>, Failed> {
        let (graph, library) = (self.graph()?, self.library());
        let name = |i: usize| {
            // SAFETY: the handles are the library's own, and the indices are below the counts.
            unsafe {
                let op = library.handle("finding a node", |api, to| (api.op)(graph, i, to))?;
                if library.count("counting outputs", |api, to| (api.op_output_count)(op, to))? == 0 {
                    return Ok(String::new());
                }
                self.name(library.handle("finding an output", |api, to| (api.op_output)(op, 0, to))?)
            }
        };
        // SAFETY: as above.
        let count = library.count("counting nodes", |api, to| unsafe { (api.op_count)(graph, to) })?;
        (0..count).map(name).collect()
    }
}

impl Drop for Model {
    fn drop(&mut self) {
        // SAFETY: made by the library, destroyed once, and all that uses it holds a counted reference.
        unsafe { (self.library().api.destroy_model)(self.handle) }
    }
}
