//! A session: buffers, runs, and the proof of what the library made of the model.

mod ffi;
mod proof;

use super::{
    failed::Failed,
    ffi::Handle,
    model::{self, Loaded},
    options::Settings,
};
use crate::tflite::{element, file::Outline, profile, watch::Shares};
use crate::{Error, Result, Session, said};
use ffi::{Buffer, Compiled};
use protocol::{BackendProof, NodeProfile, TensorInfo};
use std::{cell::OnceCell, rc::Rc};

/// A compiled model with its buffers. Fields are dropped in this order.
pub(super) struct Running {
    inputs: Vec<Buffer>,
    outputs: Vec<Output>,
    input_handles: Vec<Handle>,
    output_handles: Vec<Handle>,
    compiled: Compiled,
    input_infos: Vec<TensorInfo>,
    output_infos: Vec<TensorInfo>,
    proof: BackendProof,
    profile: bool,
    loaded: Rc<Loaded>,
}

/// An output, and a copy of it where it is not in the host's memory.
struct Output {
    buffer: Buffer,
    copy: OnceCell<Vec<u8>>,
}

/// How a session is to be.
pub(super) struct Plan<'a> {
    pub(super) backend: &'static str,
    pub(super) settings: Settings,
    /// For the inputs, where they are not the file's.
    pub(super) shapes: Option<&'a [Vec<u64>]>,
    /// The file's, where we could read it.
    pub(super) outline: Option<&'a Outline>,
    /// What was said when accelerators were looked for.
    pub(super) warnings: &'a str,
}

impl Running {
    pub(super) fn new(loaded: &Rc<Loaded>, plan: &Plan<'_>) -> Result<Self> {
        let settings = &plan.settings;
        let mut input_infos = model::infos(loaded, true)?;
        let mut output_infos = model::infos(loaded, false)?;
        let wanted = wanted(&input_infos, plan.shapes)?;
        let (compiled, said) = said::listen(|| {
            let (compiled, graphs) = loaded.environment.watched(|| Compiled::new(loaded, settings));
            let compiled = compiled.map_err(|failed| {
                // What went wrong would be told by the compiled model that there is not: once more, aloud.
                let aloud = Settings { print_errors: true, ..settings.clone() };
                drop(loaded.environment.watched(|| Compiled::new(loaded, &aloud)));
                (failed, String::new())
            })?;
            match shape(&compiled, wanted.as_deref(), input_infos.len(), output_infos.len()) {
                Ok(dims) => Ok((compiled, graphs, dims)),
                Err(failed) => Err((failed, compiled.errors())),
            }
        });
        let (compiled, graphs, (input_dims, output_dims)) = compiled.map_err(|(failed, errors)| {
            let warnings = if settings.needs_accelerator() { plan.warnings } else { "" };
            failed.with(&format!("{warnings}\n{said}\n{errors}"))
        })?;
        let at_once = |failed: Failed| failed.with(&compiled.errors());
        set_shapes(&mut input_infos, &input_dims)?;
        set_shapes(&mut output_infos, &output_dims)?;
        let buffer = |input: bool, index: usize, info: &TensorInfo, dims: &[i32]| {
            let bytes = element::bytes(info)?;
            let number = element::number(info.dtype);
            compiled.buffer(input, index, number, dims, bytes).map_err(at_once)
        };
        let all = |input: bool, infos: &[TensorInfo], dims: &[Vec<i32>]| -> Result<Vec<Buffer>> {
            infos.iter().zip(dims).enumerate().map(|(i, (info, dims))| buffer(input, i, info, dims)).collect()
        };
        let inputs = all(true, &input_infos, &input_dims)?;
        let outputs = all(false, &output_infos, &output_dims)?;
        let outputs: Vec<Output> =
            outputs.into_iter().map(|buffer| Output { buffer, copy: OnceCell::new() }).collect();
        let found = proof::Found {
            seen: if graphs.is_empty() { None } else { Some(Shares::of(&graphs, plan.outline)) },
            total: loaded.node_count().map_err(at_once)?,
            fully: compiled.fully_accelerated().ok(),
            signatures: loaded.signatures().map_err(at_once)?,
        };
        Ok(Self {
            input_handles: inputs.iter().map(Buffer::handle).collect(),
            output_handles: outputs.iter().map(|o| o.buffer.handle()).collect(),
            proof: found.proof(plan.backend, settings)?,
            inputs,
            outputs,
            compiled,
            input_infos,
            output_infos,
            profile: settings.profile,
            loaded: Rc::clone(loaded),
        })
    }

    fn run(&mut self) -> std::result::Result<(), Failed> {
        self.compiled.run(&mut self.input_handles, &mut self.output_handles)
    }

    fn failed(&self, failed: &Failed) -> Error {
        failed.with(&self.compiled.errors())
    }
}

/// The shapes asked for, as the library wants them.
fn wanted(infos: &[TensorInfo], shapes: Option<&[Vec<u64>]>) -> Result<Option<Vec<Vec<i32>>>> {
    let Some(shapes) = shapes else { return Ok(None) };
    if shapes.len() != infos.len() {
        let message = format!("the model has {} inputs, and there are {} shapes", infos.len(), shapes.len());
        return Err(Error::InputMismatch(message));
    }
    infos
        .iter()
        .zip(shapes)
        .map(|(info, shape)| element::wanted(info, shape))
        .collect::<Result<_>>()
        .map(Some)
}

/// Dimensions of all inputs and of all outputs.
type Shapes = (Vec<Vec<i32>>, Vec<Vec<i32>>);

/// Gives the inputs their shapes, and says which there are then.
fn shape(
    compiled: &Compiled,
    wanted: Option<&[Vec<i32>]>,
    inputs: usize,
    outputs: usize,
) -> std::result::Result<Shapes, Failed> {
    let mut shapes = Vec::new();
    for index in 0..inputs {
        let wanted = wanted.and_then(|all| all.get(index));
        if let Some(dims) = wanted.filter(|dims| compiled.input_dims(index).as_ref() != Ok(dims)) {
            compiled.resize(index, dims)?;
        }
        shapes.push(compiled.input_dims(index)?);
    }
    Ok((shapes, compiled.output_dims(outputs)?))
}

fn set_shapes(infos: &mut [TensorInfo], dims: &[Vec<i32>]) -> Result<()> {
    for (info, dims) in infos.iter_mut().zip(dims) {
        info.shape = dims.iter().map(|d| u64::try_from(*d).ok().filter(|d| *d > 0)).collect();
        element::bytes(info)?;
    }
    Ok(())
}

impl Session for Running {
    fn inputs(&self) -> &[TensorInfo] {
        &self.input_infos
    }

    fn outputs(&self) -> &[TensorInfo] {
        &self.output_infos
    }

    fn set_input(&mut self, index: usize, bytes: &[u8]) -> Result<()> {
        let fits = |buffer: &&mut Buffer| buffer.bytes() == bytes.len();
        let Some(buffer) = self.inputs.get_mut(index).filter(fits) else {
            return Err(element::unfit(&self.input_infos, "input", index, Some(bytes.len())));
        };
        buffer.write(bytes).map_err(|failed| failed.with(""))
    }

    fn invoke(&mut self) -> Result<()> {
        for output in &mut self.outputs {
            output.copy.take();
        }
        self.run().map_err(|failed| self.failed(&failed))
    }

    fn output(&self, index: usize) -> Result<&[u8]> {
        let output = self
            .outputs
            .get(index)
            .ok_or_else(|| element::unfit(&self.output_infos, "output", index, None))?;
        if let Some(bytes) = output.buffer.host().map_err(|failed| failed.with(""))? {
            return Ok(bytes);
        }
        if output.copy.get().is_none() {
            let copy = output.buffer.copy().map_err(|failed| failed.with(""))?;
            return Ok(output.copy.get_or_init(|| copy));
        }
        Ok(output.copy.get().map_or(&[], Vec::as_slice))
    }

    fn proof(&self) -> &BackendProof {
        &self.proof
    }

    fn profile(&mut self, iterations: u32, _clock: &dyn Fn() -> u64) -> Result<Vec<NodeProfile>> {
        if !self.profile {
            return Err(Error::Unsupported("this session was not compiled to be profiled".to_owned()));
        }
        let names = self.loaded.nodes().map_err(|failed| self.failed(&failed))?;
        let mut table = profile::Table::new(names, &self.proof);
        for iteration in 0..=iterations {
            let (inputs, outputs) = (&mut self.input_handles, &mut self.output_handles);
            let events = self.compiled.profiled(|compiled| compiled.run(inputs, outputs));
            let events = events.map_err(|failed| self.failed(&failed))?;
            // the first run does not count
            if iteration > 0 {
                table.add(events)?;
            }
        }
        Ok(table.rows())
    }
}
