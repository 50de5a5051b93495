//! Which devices there are, what they take of a model, and compiling it for one of them.

use super::import::{Imported, import};
use super::model::Finished;
use super::{Done, ensure, in_state, lock};
use runtimes::builtin::graph::Graph;
use runtimes::builtin::nnapi::codes::result;
use runtimes::builtin::nnapi::{Compiled, Device, Devices, Options, Preference};
use runtimes::builtin::passes;
use std::ffi::CString;
use std::path::PathBuf;
use std::sync::{Arc, LazyLock, Mutex};

/// What clients are told of a device.
pub(crate) struct Card {
    pub(crate) name: CString,
    pub(crate) version: CString,
    pub(crate) kind: i32,
    pub(crate) feature_level: i64,
}

/// The devices, in their order.
pub(crate) static CARDS: LazyLock<Vec<Card>> = LazyLock::new(|| {
    let card = |device: &dyn Device| {
        let info = device.info();
        Card {
            name: CString::new(info.name.as_str()).unwrap_or_default(),
            version: CString::new(info.version.as_str()).unwrap_or_default(),
            kind: info.kind as i32,
            feature_level: info.feature_level,
        }
    };
    Devices::in_process().iter().map(card).collect()
});

/// Which operations of a model the devices take, in the model's order. Of several devices it is the one that takes
/// most, because a model is compiled for one.
pub(crate) fn supported(finished: &Finished, devices: &[usize]) -> Done<Vec<bool>> {
    Ok(choose(finished, devices, &Options { relax_fp16: finished.model.relaxed, ..Options::default() })?.1)
}

/// The device that takes most of a model, and what it takes.
fn choose(finished: &Finished, devices: &[usize], options: &Options) -> Done<(usize, Vec<bool>)> {
    let imported = import(&finished.model, &finished.order).map_err(|_| result::BAD_DATA)?;
    let all = Devices::in_process();
    let mut best: Option<(usize, Vec<bool>)> = None;
    for index in devices {
        let device = all.iter().nth(*index).ok_or(result::BAD_DATA)?;
        let takes = takes(&imported, device, options)?;
        let count = |takes: &[bool]| takes.iter().filter(|t| **t).count();
        if best.as_ref().is_none_or(|(_, known)| count(&takes) > count(known)) {
            best = Some((*index, takes));
        }
    }
    best.ok_or(result::BAD_DATA)
}

fn takes(imported: &Imported, device: &dyn Device, options: &Options) -> Done<Vec<bool>> {
    let refusals = device.refusals(&imported.graph, options).map_err(|_| result::OP_FAILED)?;
    let takes = |nodes: &Result<std::ops::Range<usize>, String>| match nodes {
        Ok(nodes) => refusals.get(nodes.clone()).is_some_and(|all| all.iter().all(Option::is_none)),
        Err(_) => false,
    };
    Ok(imported.operations.iter().map(takes).collect())
}

/// An input or output of a compiled model.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Argument {
    pub(crate) code: i32,
    pub(crate) dimensions: Vec<u32>,
    pub(crate) bytes: usize,
}

/// A model that is being run, and the memory that its executions use one after the other.
pub(crate) struct Running {
    pub(crate) compiled: Box<dyn Compiled>,
    pub(crate) inputs: Vec<Vec<u8>>,
    pub(crate) outputs: Vec<Vec<u8>>,
}

/// A compiled model.
pub(crate) struct Ready {
    pub(crate) inputs: Vec<Argument>,
    pub(crate) outputs: Vec<Argument>,
    /// The client named one device: only then may it ask for times and deadlines.
    pub(crate) one_device: bool,
    pub(crate) running: Mutex<Running>,
}

/// A compilation that is being asked for.
pub(crate) struct Compilation {
    model: Arc<Finished>,
    devices: Vec<usize>,
    named: bool,
    options: Options,
    finished: Option<Done<Arc<Ready>>>,
}

impl Compilation {
    /// For devices by number, or for whichever is there.
    pub(crate) fn new(model: Arc<Finished>, devices: Option<Vec<usize>>) -> Self {
        let named = devices.is_some();
        let devices = devices.unwrap_or_else(|| (0..CARDS.len()).collect());
        let relax_fp16 = model.model.relaxed;
        let options = Options { relax_fp16, ..Options::default() };
        Self { model, devices, named, options, finished: None }
    }

    /// The compiled model.
    pub(crate) fn ready(&self) -> Done<Arc<Ready>> {
        match &self.finished {
            Some(Ok(ready)) => Ok(ready.clone()),
            _ => Err(result::BAD_STATE),
        }
    }

    fn open(&self) -> Done {
        in_state(self.finished.is_none())
    }

    pub(crate) fn prefer(&mut self, preference: i32) -> Done {
        self.open()?;
        self.options.preference = match preference {
            0 => Preference::LowPower,
            1 => Preference::FastSingleAnswer,
            2 => Preference::SustainedSpeed,
            _ => return Err(result::BAD_DATA),
        };
        Ok(())
    }

    /// The cache tells models apart by their contents; the client's token adds nothing to that.
    pub(crate) fn cache(&mut self, folder: PathBuf) -> Done {
        self.open()?;
        ensure(folder.is_dir())?;
        self.options.cache_dir = Some(folder);
        Ok(())
    }

    pub(crate) fn prioritise(&self, priority: i32) -> Done {
        self.open()?;
        ensure(matches!(priority, 90 | 100 | 110))
    }

    pub(crate) fn time_out(&self) -> Done {
        self.open()?;
        ensure(self.named && self.devices.len() == 1)
    }

    /// Compiles.
    pub(crate) fn finish(&mut self) -> Done {
        self.open()?;
        let ready = self.compile();
        let code = ready.as_ref().err().copied();
        self.finished = Some(ready.map(Arc::new));
        code.map_or(Ok(()), Err)
    }

    fn compile(&self) -> Done<Ready> {
        let model = &self.model.model;
        let (device, takes) = choose(&self.model, &self.devices, &self.options)?;
        ensure(takes.iter().all(|t| *t))?;
        let argument = |index: &u32| {
            let operand = model.operands.get(*index as usize).ok_or(result::BAD_DATA)?;
            let bytes = operand.bytes().ok_or(result::BAD_DATA)?;
            Ok(Argument { code: operand.code, dimensions: operand.dimensions.clone(), bytes })
        };
        let arguments = |all: &[u32]| all.iter().map(argument).collect::<Done<Vec<_>>>();
        let (inputs, outputs) = (arguments(&model.inputs)?, arguments(&model.outputs)?);
        let imported = import(model, &self.model.order).map_err(|_| result::BAD_DATA)?;
        let graph: Graph = imported.complete().map_err(|_| result::BAD_DATA)?;
        let graph = passes::optimize(&graph, &[]).map_err(|_| result::OP_FAILED)?;
        let devices = Devices::in_process();
        let device = devices.iter().nth(device).ok_or(result::BAD_DATA)?;
        let compiled = device.compile(&graph, &self.options).map_err(|_| result::OP_FAILED)?;
        let running = Running {
            compiled,
            inputs: vec![Vec::new(); inputs.len()],
            outputs: vec![Vec::new(); outputs.len()],
        };
        let one_device = self.named && self.devices.len() == 1;
        Ok(Ready { inputs, outputs, one_device, running: Mutex::new(running) })
    }
}

/// The compiled model of a compilation's handle.
pub(crate) fn ready(handle: usize) -> Done<Arc<Ready>> {
    lock(&*super::handle::get::<Mutex<Compilation>>(handle)?).ready()
}
