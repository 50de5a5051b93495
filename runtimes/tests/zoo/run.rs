//! Runs a model file with the built-in engine.

use protocol::{DType, Quantization, TensorInfo};
use runtimes::builtin::kernels::Tier;
use runtimes::builtin::kernels::threads::Threads;
use runtimes::builtin::{Recipe, import};
use runtimes::{CompileOptions, Session, runtime};
use std::path::Path;

/// A model ready to run.
pub(crate) struct Runner {
    session: Box<dyn Session>,
}

impl Runner {
    /// Opens and compiles.
    pub(crate) fn new(path: &Path) -> Result<Self, String> {
        let at = |e: runtimes::Error| format!("{}: {e}", path.display());
        let model = runtime("builtin").and_then(|r| r.load(None)).and_then(|r| r.open(path)).map_err(at)?;
        let session = model.compile(&CompileOptions::new("cpu")).map_err(at)?;
        Ok(Self { session })
    }

    /// Prepares the bytes of a file for a tier.
    pub(crate) fn of_bytes(bytes: Vec<u8>, tier: Tier) -> Result<Self, String> {
        let source = import::parse(bytes, None).map_err(|e| e.to_string())?;
        let recipe = Recipe {
            source: source.into(),
            shapes: None,
            taps: Vec::new(),
            tier,
            threads: Threads::one(),
            note: String::new(),
        };
        recipe.session().map(|session| Self { session }).map_err(|e| e.to_string())
    }

    /// Description of the first input.
    pub(crate) fn input(&self) -> &TensorInfo {
        &self.session.inputs()[0]
    }

    /// Description of the first output.
    pub(crate) fn output(&self) -> &TensorInfo {
        &self.session.outputs()[0]
    }

    /// All inputs.
    pub(crate) fn inputs(&self) -> Vec<TensorInfo> {
        self.session.inputs().to_vec()
    }

    /// Bytes of all outputs for the given bytes of all inputs.
    pub(crate) fn raw(&mut self, inputs: &[Vec<u8>]) -> Vec<Vec<u8>> {
        for (i, bytes) in inputs.iter().enumerate() {
            self.session.set_input(i, bytes).unwrap();
        }
        self.session.invoke().unwrap();
        (0..self.session.outputs().len()).map(|i| self.session.output(i).unwrap().to_vec()).collect()
    }

    /// Bytes of the first output for one example.
    pub(crate) fn example(&mut self, example: &Example<'_>) -> &[u8] {
        let bytes = example.encode(self.input());
        self.session.set_input(0, &bytes).unwrap();
        self.session.invoke().unwrap();
        self.session.output(0).unwrap()
    }
}

/// The contents of an input.
#[derive(Clone, Debug)]
pub(crate) enum Example<'a> {
    /// Real numbers.
    Real(Vec<f32>),
    /// Token ids.
    Ids(&'a [i32]),
}

impl Example<'_> {
    /// In the input's own type. Real numbers are quantised as `golden/families.py` does it: nearest, ties
    /// to even, saturating.
    fn encode(&self, input: &TensorInfo) -> Vec<u8> {
        match (self, input.dtype, &input.quantization) {
            (Self::Real(x), DType::F32, _) => x.iter().flat_map(|v| v.to_le_bytes()).collect(),
            (Self::Ids(x), DType::I32, _) => x.iter().flat_map(|v| v.to_le_bytes()).collect(),
            (Self::Real(x), DType::I8, Some(q)) => {
                let quantize = |v: &f32| {
                    let v = (v / q.scale[0] + q.zero_point[0] as f32).round_ties_even();
                    (v.clamp(-128.0, 127.0) as i8).cast_unsigned()
                };
                x.iter().map(quantize).collect()
            }
            _ => panic!("no way to fill an input {input:?}"),
        }
    }
}

/// Real numbers from output bytes.
pub(crate) fn reals(bytes: &[u8], output: &TensorInfo) -> Vec<f32> {
    match (output.dtype, &output.quantization) {
        (DType::F32, _) => bytes.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect(),
        (DType::I8, Some(Quantization { scale, zero_point, .. })) => {
            let real = |b: &u8| (f32::from(b.cast_signed()) - zero_point[0] as f32) * scale[0];
            bytes.iter().map(real).collect()
        }
        _ => panic!("no way to read an output {output:?}"),
    }
}

/// Index of the first largest number.
pub(crate) fn top1(reals: &[f32]) -> usize {
    let best = |best: usize, (i, v): (usize, &f32)| if *v > reals[best] { i } else { best };
    reals.iter().enumerate().fold(0, best)
}
