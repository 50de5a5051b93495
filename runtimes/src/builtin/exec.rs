//! A program: steps in order over fixed memory. An invoke allocates nothing and decides nothing.

use super::graph::Fact;
use super::kernels::io::{Memory, Place};
use super::step::Run;
use crate::{Error, NodeInfo, Observer, Result, Session};
use protocol::{BackendProof, TensorInfo};

/// A step, and what an observer sees of it.
pub(crate) struct Entry {
    pub(crate) run: Option<Run>,
    pub(crate) tap: Tap,
}

/// A value that can be looked at.
#[derive(Debug)]
pub(crate) struct Tap {
    info: TensorInfo,
    place: Place,
}

impl Tap {
    pub(crate) fn new(name: &str, fact: &Fact, place: Place) -> Self {
        Self { info: fact.info(name), place }
    }
}

/// A model ready to run.
pub struct Program {
    memory: Memory,
    entries: Vec<Entry>,
    nodes: Vec<NodeInfo>,
    inputs: Vec<TensorInfo>,
    outputs: Vec<TensorInfo>,
    input_places: Vec<Place>,
    output_places: Vec<Place>,
    variables: Vec<Variable>,
    proof: BackendProof,
}

/// What is kept from invoke to invoke: where it is computed and where it is read, and its value on the way.
struct Variable {
    written: Place,
    read: Place,
    value: Vec<u8>,
}

impl std::fmt::Debug for Program {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Program({} steps)", self.entries.len())
    }
}

impl Program {
    pub(crate) fn new(
        memory: Memory,
        entries: Vec<Entry>,
        nodes: Vec<NodeInfo>,
        inputs: Vec<Tap>,
        outputs: Vec<Tap>,
        proof: BackendProof,
    ) -> Self {
        let split = |taps: Vec<Tap>| taps.into_iter().map(|t| (t.info, t.place)).unzip();
        let (inputs, input_places) = split(inputs);
        let (outputs, output_places) = split(outputs);
        let variables = Vec::new();
        Self { memory, entries, nodes, inputs, outputs, input_places, output_places, variables, proof }
    }

    /// Adds a variable, which has a value before the first invoke.
    pub(crate) fn variable(&mut self, written: &Tap, read: &Tap, initial: &[u8]) -> Result<()> {
        let unfit = || Error::ModelInvalid(format!("variable {:?} changes its size", read.info.name));
        let memory = self.memory.bytes_mut(read.place).filter(|m| m.len() == initial.len());
        memory.ok_or_else(unfit)?.copy_from_slice(initial);
        let (written, read, value) = (written.place, read.place, initial.to_vec());
        self.memory.bytes(written).filter(|m| m.len() == value.len()).ok_or_else(unfit)?;
        self.variables.push(Variable { written, read, value });
        Ok(())
    }

    /// Bytes of the memory that all values share.
    pub(crate) fn arena_bytes(&self) -> usize {
        self.memory.arena_bytes()
    }

    /// Ends an invoke: variables take over what was computed for them, all at once.
    fn turn(&mut self) {
        for variable in &mut self.variables {
            let written = self.memory.bytes(variable.written).expect("checked when it was added");
            variable.value.copy_from_slice(written);
        }
        for variable in &self.variables {
            let read = self.memory.bytes_mut(variable.read).expect("checked when it was added");
            read.copy_from_slice(&variable.value);
        }
    }
}

impl Program {
    /// Adds to what the proof says of the kernels.
    pub(crate) fn note_kernels(&mut self, note: &str) {
        self.proof.kernels += note;
    }
}

impl Session for Program {
    fn inputs(&self) -> &[TensorInfo] {
        &self.inputs
    }

    fn outputs(&self) -> &[TensorInfo] {
        &self.outputs
    }

    fn set_input(&mut self, index: usize, bytes: &[u8]) -> Result<()> {
        let count = self.input_places.len();
        let unfit = |message: String| Error::InputMismatch(message);
        let place = *self
            .input_places
            .get(index)
            .ok_or_else(|| unfit(format!("no input {index}, the model has {count}")))?;
        let info = &self.inputs[index];
        let memory = self.memory.bytes_mut(place).expect("inputs lie in the arena");
        if memory.len() != bytes.len() {
            let (name, shape, dtype) = (&info.name, &info.shape, info.dtype);
            let shape: Vec<u64> = shape.iter().map(|d| d.unwrap_or(0)).collect();
            return Err(unfit(format!(
                "{} bytes for input {index} {name:?}, which is {dtype} {shape:?} and takes {}",
                bytes.len(),
                memory.len()
            )));
        }
        memory.copy_from_slice(bytes);
        Ok(())
    }

    fn invoke(&mut self) -> Result<()> {
        let runs = self.entries.iter().filter_map(|e| e.run.as_ref());
        for (index, run) in runs.enumerate() {
            run.run(self.memory.io(index))?;
        }
        self.turn();
        Ok(())
    }

    fn output(&self, index: usize) -> Result<&[u8]> {
        let count = self.output_places.len();
        let missing = || Error::InputMismatch(format!("no output {index}, the model has {count}"));
        let place = self.output_places.get(index).ok_or_else(missing)?;
        Ok(self.memory.bytes(*place).expect("placed when planned"))
    }

    fn proof(&self) -> &BackendProof {
        &self.proof
    }

    fn nodes(&self) -> &[NodeInfo] {
        &self.nodes
    }

    fn invoke_observed(&mut self, observer: &mut dyn Observer) -> Result<()> {
        let mut step = 0;
        for (index, entry) in self.entries.iter().enumerate() {
            observer.started(index);
            if let Some(run) = &entry.run {
                run.run(self.memory.io(step))?;
                step += 1;
            }
            let bytes = self.memory.bytes(entry.tap.place).expect("placed when planned");
            observer.finished(index, &entry.tap.info, bytes);
        }
        self.turn();
        Ok(())
    }
}
