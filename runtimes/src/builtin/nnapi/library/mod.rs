//! The devices of a `libneuralnetworks.so`, through its C ABI: a phone's, or our own driver built for Linux. The
//! library is loaded once and never unloaded.

mod ffi;

use super::export::{Exported, export};
use super::{Cached, Compiled, Device, DeviceInfo, DeviceKind, Durations, Options, Performance, cache};
use crate::builtin::graph::Graph;
use crate::{Error, NodeInfo, Observer, Result};
use ffi::{Api, Compilation, Model};
use protocol::{Library, TensorInfo};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

/// The devices of a library. One of feature level 1 or 2 does not tell them apart: then there is one that stands for
/// all.
///
/// # Errors
/// It cannot be loaded, is no NNAPI library, or has no device.
pub(super) fn devices(library: &Library) -> Result<Vec<Box<dyn Device>>> {
    let api = Arc::new(Api::load(library)?);
    let mut devices: Vec<Box<dyn Device>> = Vec::new();
    for handle in api.devices()? {
        let kind = match handle.kind {
            1 => DeviceKind::Other,
            2 => DeviceKind::Cpu,
            3 => DeviceKind::Gpu,
            4 => DeviceKind::Accelerator,
            _ => DeviceKind::Unknown,
        };
        let info = DeviceInfo {
            name: handle.name,
            kind,
            version: handle.version,
            feature_level: handle.feature_level,
            performance: Performance { float: None, relaxed_float: None, quantized: None },
            in_process: false,
        };
        devices.push(Box::new(LibraryDevice { api: Arc::clone(&api), handle: handle.address, info }));
    }
    match devices.is_empty() {
        true => Err(Error::RuntimeMissing(format!(
            "{}: the library has no NNAPI device",
            library.file.path.display()
        ))),
        false => Ok(devices),
    }
}

struct LibraryDevice {
    api: Arc<Api>,
    /// `None` where the library does not tell devices apart.
    handle: Option<ffi::DeviceHandle>,
    info: DeviceInfo,
}

impl LibraryDevice {
    fn export(&self, graph: &Graph, options: &Options) -> Exported {
        // Before NNAPI could tell, a device took anything of its level.
        let level = self.info.feature_level.min(self.api.feature_level());
        export(graph, level, options.relax_fp16)
    }
}

impl Device for LibraryDevice {
    fn info(&self) -> &DeviceInfo {
        &self.info
    }

    fn refusals(&self, graph: &Graph, options: &Options) -> Result<Vec<Option<String>>> {
        let exported = self.export(graph, options);
        let answers = match &self.handle {
            Some(handle) if !exported.model.operations.is_empty() => {
                Some(Model::new(&self.api, &exported.model)?.supported(*handle)?)
            }
            _ => None,
        };
        let refusal = |node: std::result::Result<usize, String>| match node {
            Err(reason) => Some(reason),
            Ok(operation) => {
                let taken = answers.as_ref().is_none_or(|all| all.get(operation).copied().unwrap_or(false));
                (!taken).then(|| format!("{} does not take this operation", self.info.name))
            }
        };
        Ok(exported.nodes.into_iter().map(refusal).collect())
    }

    fn compile(&self, graph: &Graph, options: &Options) -> Result<Box<dyn Compiled>> {
        let exported = self.export(graph, options);
        if let Some(reason) = exported.nodes.iter().find_map(|n| n.as_ref().err()) {
            return Err(Error::Unsupported(reason.clone()));
        }
        let fits = exported.model.inputs.len() == graph.inputs().len()
            && exported.model.outputs.len() == graph.outputs().len();
        if !fits {
            return Err(Error::Unsupported(
                "a partition with inputs or outputs that nothing uses".to_owned(),
            ));
        }
        let model = Model::new(&self.api, &exported.model)?;
        let token = options.cache_dir.as_ref().map(|folder| {
            let detail = format!("{} {}", options.preference.name(), options.relax_fp16);
            (folder, cache::token(&self.info, graph, &detail))
        });
        let before = token.as_ref().map(|(folder, _)| files(folder));
        let cache = token.as_ref().map(|(folder, token)| (folder.as_path(), bytes(token.as_str())));
        let compilation =
            Compilation::new(model, self.handle, options.preference as i32, cache, options.burst)?;
        let cached = match (before, &token) {
            (Some(before), Some((folder, _))) => cached(&before, &files(folder)),
            _ => Cached::Unused,
        };
        let name = graph.outputs().first().map(|id| graph.get(*id).name.clone()).unwrap_or_default();
        let op = format!("partition of {} nodes on {}", graph.nodes().count(), self.info.name);
        let output = graph.outputs().first().map(|id| graph.fact(*id).info(&name));
        Ok(Box::new(LibraryPart {
            compilation,
            cached,
            node: NodeInfo { name, op, unit: self.info.name.clone() },
            output,
        }))
    }
}

/// The 32 bytes of a hash in hexadecimal.
fn bytes(hex: &str) -> [u8; 32] {
    let mut bytes = [0; 32];
    for (byte, digits) in bytes.iter_mut().zip(hex.as_bytes().as_chunks::<2>().0) {
        let value = |d: u8| (d as char).to_digit(16).unwrap_or(0) as u8;
        *byte = value(digits[0]) << 4 | value(digits[1]);
    }
    bytes
}

/// What lies in a folder.
fn files(folder: &Path) -> BTreeSet<std::ffi::OsString> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|e| e.file_name()).collect()
}

/// A library does not say what its cache did; its files do.
fn cached(before: &BTreeSet<std::ffi::OsString>, after: &BTreeSet<std::ffi::OsString>) -> Cached {
    match (after.is_subset(before), after.is_empty()) {
        (false, _) => Cached::FirstLoad,
        (true, true) => Cached::Unsupported,
        (true, false) => Cached::WarmLoad,
    }
}

/// A partition compiled by a library.
struct LibraryPart {
    compilation: Compilation,
    cached: Cached,
    node: NodeInfo,
    output: Option<TensorInfo>,
}

impl Compiled for LibraryPart {
    fn run(&mut self, inputs: &[&[u8]], outputs: &mut [Vec<u8>]) -> Result<Durations> {
        let (hardware_ns, driver_ns) = self.compilation.run(inputs, outputs)?;
        Ok(Durations { hardware_ns, driver_ns })
    }

    fn run_observed(
        &mut self,
        inputs: &[&[u8]],
        outputs: &mut [Vec<u8>],
        first: usize,
        observer: &mut dyn Observer,
    ) -> Result<Durations> {
        observer.started(first);
        let durations = self.run(inputs, outputs)?;
        if let (Some(info), Some(bytes)) = (&self.output, outputs.first()) {
            observer.finished(first, info, bytes);
        }
        Ok(durations)
    }

    fn nodes(&self) -> Vec<NodeInfo> {
        vec![self.node.clone()]
    }

    fn is_opaque(&self) -> bool {
        true
    }

    fn cached(&self) -> Cached {
        self.cached
    }
}
