//! A session of the classic library.

use super::{
    element,
    ffi::{Asked, Interpreter, Model, Tensor},
    file::Outline,
    profile,
    watch::Shares,
};
use crate::{CompileOptions, Error, Result, Session, said};
use protocol::{BackendProof, NodeProfile, TensorInfo};
use std::rc::Rc;

/// As XNNPACK names itself.
const XNNPACK: &str = "TfLiteXNNPackDelegate";

/// A model ready to run.
pub(super) struct Running {
    interpreter: Interpreter,
    inputs: Vec<TensorInfo>,
    outputs: Vec<TensorInfo>,
    proof: BackendProof,
    /// Names of the file's nodes, for a profile.
    names: Vec<String>,
}

impl Running {
    pub(super) fn new(
        model: &Rc<Model>,
        asked: Asked,
        options: &CompileOptions,
        outline: Option<Outline>,
    ) -> Result<Self> {
        let threads = i32::from(options.threads.clamp(1, i16::MAX as u16));
        let (made, said) = said::listen(|| {
            let mut interpreter = Interpreter::new(model, asked, threads, options.profile)?;
            shape(&mut interpreter, options.input_shapes.as_deref())?;
            Ok(interpreter)
        });
        let interpreter = made.map_err(|why: String| failed(&why, &said))?;
        let infos = |inputs: bool| {
            let tensors = interpreter.tensors(inputs).map_err(Error::Runtime)?;
            tensors.into_iter().map(info).collect::<Result<Vec<_>>>()
        };
        let (inputs, outputs) = (infos(true)?, infos(false)?);
        let shares = Shares::of(&interpreter.graphs(), outline.as_ref());
        let mut kernels = match options.backend.as_str() {
            "xnnpack" => "XNNPACK".to_owned(),
            "nnapi" => "NNAPI".to_owned(),
            _ => "built-in kernels".to_owned(),
        };
        if interpreter.signatures() > 1 {
            kernels += &format!(", the first of {} signatures", interpreter.signatures());
        }
        if threads > 1 {
            kernels += &format!(", {threads} threads");
        }
        let mut proof = match options.backend.as_str() {
            "xnnpack" => shares.delegate(kernels, |name| name == XNNPACK),
            "nnapi" => shares.delegate(kernels, |name| name != XNNPACK),
            _ => shares.own_kernels(kernels),
        };
        proof.runtime_version = model.library().version();
        let names = outline.map(|o| o.nodes.into_iter().map(|(name, _)| name).collect()).unwrap_or_default();
        Ok(Self { interpreter, inputs, outputs, proof, names })
    }
}

/// Gives the inputs their shapes and takes memory.
fn shape(interpreter: &mut Interpreter, shapes: Option<&[Vec<u64>]>) -> std::result::Result<(), String> {
    if let Some(shapes) = shapes {
        let inputs = interpreter.tensors(true)?;
        if inputs.len() != shapes.len() {
            return Err(format!(
                "the model has {} inputs, and there are {} shapes",
                inputs.len(),
                shapes.len()
            ));
        }
        for (index, (input, shape)) in (0..).zip(inputs.into_iter().zip(shapes)) {
            let same = input.dims.iter().map(|d| u64::try_from(*d).ok()).eq(shape.iter().map(|d| Some(*d)));
            if !same {
                let dims = element::wanted(&described(input).map_err(|e| e.to_string())?, shape);
                interpreter.resize(index, &dims.map_err(|e| e.to_string())?)?;
            }
        }
    }
    interpreter.allocate()
}

fn described(tensor: Tensor) -> Result<TensorInfo> {
    let quantization = element::quantization(vec![tensor.scale], &[i64::from(tensor.zero_point)], 0);
    element::open(tensor.name, tensor.element, &tensor.dims, quantization)
}

/// An input or output, whose size must be what its shape says.
fn info(tensor: Tensor) -> Result<TensorInfo> {
    let bytes = tensor.bytes;
    let info = described(tensor)?;
    if element::bytes(&info)? != bytes {
        let message = format!("tensor {:?} has {bytes} bytes, which is not what its shape says", info.name);
        return Err(Error::Runtime(message));
    }
    Ok(info)
}

fn failed(why: &str, said: &str) -> Error {
    let (why, said) = (why.trim().replace('\n', "; "), said::reasons(said));
    Error::Runtime(if said.is_empty() { why } else { format!("{why}: {said}") })
}

impl Session for Running {
    fn inputs(&self) -> &[TensorInfo] {
        &self.inputs
    }

    fn outputs(&self) -> &[TensorInfo] {
        &self.outputs
    }

    fn set_input(&mut self, index: usize, bytes: &[u8]) -> Result<()> {
        let fits =
            self.inputs.get(index).is_some_and(|info| element::bytes(info).is_ok_and(|n| n == bytes.len()));
        match i32::try_from(index) {
            Ok(number) if fits => self.interpreter.write(number, bytes).map_err(Error::Runtime),
            _ => Err(element::unfit(&self.inputs, "input", index, Some(bytes.len()))),
        }
    }

    fn invoke(&mut self) -> Result<()> {
        self.interpreter.invoke().map_err(|why| failed(&why, ""))
    }

    fn output(&self, index: usize) -> Result<&[u8]> {
        match i32::try_from(index) {
            Ok(number) if index < self.outputs.len() => self.interpreter.read(number).map_err(Error::Runtime),
            _ => Err(element::unfit(&self.outputs, "output", index, None)),
        }
    }

    fn proof(&self) -> &BackendProof {
        &self.proof
    }

    fn profile(&mut self, iterations: u32, clock: &dyn Fn() -> u64) -> Result<Vec<NodeProfile>> {
        let mut table = profile::Table::new(self.names.clone(), &self.proof);
        for iteration in 0..=iterations {
            let events = self.interpreter.profiled(clock).ok_or_else(|| {
                Error::Unsupported(
                    "this session was not compiled to be profiled, or the library cannot".to_owned(),
                )
            })?;
            let events = events.map_err(|why| failed(&why, ""))?;
            // the first run does not count
            if iteration > 0 {
                table.add(events)?;
            }
        }
        Ok(table.rows())
    }
}
