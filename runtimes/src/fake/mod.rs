//! A runtime that only pretends: it takes as long, holds as much memory and fails as a small text file
//! says, so that everything around a runtime can be tested, and shown, without a model. Its numbers say
//! nothing about any device; it is never chosen unless it is named.
//!
//! ```text
//! bench-fake v1
//! # a comment
//! input = x f32 1x4
//! output = y i8 1x4 scale 0.5 zero -3
//! gain = 2.0
//! busy_us = 300
//! sleep_us = 0
//! hold_bytes = 1048576
//! spike_bytes = 0
//! fault = crash 11 at invoke 3
//! ```
//! Elements of outputs are those of the first input, over and over, times `gain`. `hold_bytes` are taken
//! at load and kept; `spike_bytes` are taken and given back by every invoke. `fault` may stand several
//! times: `crash SIGNAL`, `exit CODE`, `hang`, `panic`, `error`, `print` (a line on stdout) or `unstable`
//! (other outputs than before), `at load`, `at compile` or `at invoke N` (counted from 0; `unstable` from
//! then on). Everything but the header, one input and one output may be left out.

mod behaviour;

use crate::{CompileOptions, Error, Loaded, Model, NodeInfo, Observer, Result, Runtime, Session, no_library};
use behaviour::{Behaviour, Fault, Place};
use protocol::{BackendProof, DType, Library, ModelFacts, Quantization, TensorInfo};
use std::{
    hint::black_box,
    io::{Read, Write},
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

/// Longest file.
const MAX_FILE_BYTES: u64 = 64 << 10;

/// The runtime that pretends.
#[derive(Clone, Copy, Debug)]
pub struct Fake;

impl Runtime for Fake {
    fn name(&self) -> &'static str {
        "fake"
    }

    fn backends(&self) -> &'static [&'static str] {
        &["cpu"]
    }

    fn version(&self) -> &'static str {
        "1"
    }

    fn pretends(&self) -> bool {
        true
    }

    fn load(&self, library: Option<&Library>) -> Result<Box<dyn Loaded>> {
        no_library("fake", library)?;
        Ok(Box::new(*self))
    }
}

impl Loaded for Fake {
    fn open(&self, path: &Path) -> Result<Box<dyn Model>> {
        let at = |source| Error::Io { path: path.to_owned(), source };
        let mut text = Vec::new();
        std::fs::File::open(path).map_err(at)?.take(MAX_FILE_BYTES).read_to_end(&mut text).map_err(at)?;
        let behaviour = Behaviour::parse(&String::from_utf8_lossy(&text))
            .map_err(|e| Error::ModelInvalid(format!("{}: {e}", path.display())))?;
        suffer(&behaviour, Place::Load)?;
        let held = Arc::new(vec![1u8; behaviour.hold_bytes]);
        Ok(Box::new(Parsed { behaviour, held }))
    }
}

struct Parsed {
    behaviour: Behaviour,
    held: Arc<Vec<u8>>,
}

impl Model for Parsed {
    fn facts(&self) -> Result<ModelFacts> {
        Err(Error::Unsupported("a model of the fake runtime has no facts".to_owned()))
    }

    fn inputs(&self) -> Result<Vec<TensorInfo>> {
        Ok(self.behaviour.inputs.clone())
    }

    fn compile(&self, options: &CompileOptions) -> Result<Box<dyn Session>> {
        options.only("fake", &[])?;
        if options.backend != "cpu" {
            return Err(Error::Unsupported(format!("no backend {:?}; there is cpu", options.backend)));
        }
        suffer(&self.behaviour, Place::Compile)?;
        let proof = BackendProof {
            runtime_version: "1".to_owned(),
            kernels: "none".to_owned(),
            nodes_total: 1,
            nodes_on_backend: 1,
            partitions: 1,
            ..BackendProof::default()
        };
        let behaviour = self.behaviour.clone();
        let bytes = |info: &TensorInfo| vec![0u8; behaviour::elements(info) * info.dtype.size()];
        let nodes = behaviour.outputs.iter().take(1);
        Ok(Box::new(Pretence {
            nodes: nodes
                .map(|o| NodeInfo { name: o.name.clone(), op: "Pretend".to_owned(), unit: "none".to_owned() })
                .collect(),
            inputs: behaviour.inputs.iter().map(bytes).collect(),
            outputs: behaviour.outputs.iter().map(bytes).collect(),
            behaviour,
            proof,
            _held: Arc::clone(&self.held),
            invokes: 0,
        }))
    }
}

struct Pretence {
    behaviour: Behaviour,
    proof: BackendProof,
    nodes: Vec<NodeInfo>,
    inputs: Vec<Vec<u8>>,
    outputs: Vec<Vec<u8>>,
    _held: Arc<Vec<u8>>,
    invokes: u64,
}

impl Session for Pretence {
    fn inputs(&self) -> &[TensorInfo] {
        &self.behaviour.inputs
    }

    fn outputs(&self) -> &[TensorInfo] {
        &self.behaviour.outputs
    }

    fn set_input(&mut self, index: usize, bytes: &[u8]) -> Result<()> {
        let input = self.inputs.get_mut(index).ok_or_else(|| none("input", index))?;
        if input.len() != bytes.len() {
            let message = format!("input {index} takes {} bytes, not {}", input.len(), bytes.len());
            return Err(Error::InputMismatch(message));
        }
        input.copy_from_slice(bytes);
        Ok(())
    }

    fn invoke(&mut self) -> Result<()> {
        let begin = Instant::now();
        let place = Place::Invoke(self.invokes);
        self.invokes += 1;
        suffer(&self.behaviour, place)?;
        if self.behaviour.spike_bytes > 0 {
            drop(black_box(vec![1u8; self.behaviour.spike_bytes]));
        }
        let unstable = self.behaviour.unstable_at(place);
        let shift = if unstable { self.invokes as f64 } else { 0.0 };
        let (Some(info), Some(input)) = (self.behaviour.inputs.first(), self.inputs.first()) else {
            return Err(none("input", 0));
        };
        let values = real_values(info, input);
        for (info, output) in self.behaviour.outputs.iter().zip(&mut self.outputs) {
            output.clear();
            for index in 0..behaviour::elements(info) {
                let value = values.get(index % values.len().max(1)).copied().unwrap_or_default();
                put(info, value * self.behaviour.gain + shift, output);
            }
        }
        let asleep = Duration::from_micros(self.behaviour.sleep_us);
        if !asleep.is_zero() {
            std::thread::sleep(asleep);
        }
        let busy = asleep + Duration::from_micros(self.behaviour.busy_us);
        while begin.elapsed() < busy {
            black_box(&self.outputs);
        }
        Ok(())
    }

    fn output(&self, index: usize) -> Result<&[u8]> {
        self.outputs.get(index).map(Vec::as_slice).ok_or_else(|| none("output", index))
    }

    fn proof(&self) -> &BackendProof {
        &self.proof
    }

    fn nodes(&self) -> &[NodeInfo] {
        &self.nodes
    }

    fn invoke_observed(&mut self, observer: &mut dyn Observer) -> Result<()> {
        observer.started(0);
        self.invoke()?;
        if let (Some(info), Some(bytes)) = (self.behaviour.outputs.first(), self.outputs.first()) {
            observer.finished(0, info, bytes);
        }
        Ok(())
    }
}

fn none(what: &str, index: usize) -> Error {
    Error::Runtime(format!("there is no {what} {index}"))
}

/// The faults that are due at a place.
#[expect(clippy::exit, clippy::panic, reason = "this is what they are for")]
fn suffer(behaviour: &Behaviour, place: Place) -> Result<()> {
    for fault in behaviour.faults.iter().filter(|(_, at)| *at == place).map(|(fault, _)| fault) {
        match fault {
            Fault::Crash(signal) => crash(*signal),
            Fault::Exit(code) => std::process::exit(*code),
            Fault::Hang => loop {
                std::thread::park();
            },
            Fault::Panic => panic!("the model file asks for a panic"),
            Fault::Error => return Err(Error::Runtime(format!("the model file asks for an error {place}"))),
            Fault::Print => {
                let line = format!("a runtime prints what it likes {place}\n");
                std::io::stdout()
                    .write_all(line.as_bytes())
                    .map_err(|e| Error::Runtime(format!("stdout: {e}")))?;
            }
            Fault::Unstable => {}
        }
    }
    Ok(())
}

/// Sends this process a signal until it is dead: the first one may meet a handler.
fn crash(signal: i32) -> ! {
    loop {
        match rustix::process::Signal::from_named_raw(signal) {
            Some(signal) => rustix::process::kill_process(rustix::process::getpid(), signal).ok(),
            None => std::process::abort(),
        };
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn scale_of(info: &TensorInfo) -> (f64, f64) {
    let pair = |q: &Quantization| Some((f64::from(*q.scale.first()?), f64::from(*q.zero_point.first()?)));
    info.quantization.as_ref().and_then(pair).unwrap_or((1.0, 0.0))
}

fn real_values(info: &TensorInfo, bytes: &[u8]) -> Vec<f64> {
    let (scale, zero) = scale_of(info);
    match info.dtype {
        DType::F32 => bytes.as_chunks().0.iter().map(|b| f64::from(f32::from_le_bytes(*b))).collect(),
        DType::I8 => bytes.iter().map(|b| scale * (f64::from(b.cast_signed()) - zero)).collect(),
        _ => bytes.iter().map(|b| scale * (f64::from(*b) - zero)).collect(),
    }
}

fn put(info: &TensorInfo, value: f64, out: &mut Vec<u8>) {
    let (scale, zero) = scale_of(info);
    let stored = (value / scale).round_ties_even() + zero;
    match info.dtype {
        DType::F32 => out.extend_from_slice(&(value as f32).to_le_bytes()),
        DType::I8 => out.push((stored as i8).cast_unsigned()),
        _ => out.push(stored as u8),
    }
}
