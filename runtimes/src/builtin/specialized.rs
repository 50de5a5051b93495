//! Sessions of models in which shapes or branches depend on the values of inputs. Those inputs are constants
//! of the program, which is made anew when they change; the others are set as usual. What is computed from
//! the fixed inputs alone is computed while the program is made, so that in the extreme, when everything
//! depends on everything, making the program is running the model.

use super::exec::Program;
use super::graph::Fact;
use super::import::{Built, Fixed, Source};
use super::kernels::Tier;
use super::kernels::threads::Threads;
use super::tensor::Tensor;
use super::{limits, passes, plan};
use crate::{Error, NodeInfo, Observer, Result, Session};
use protocol::{BackendProof, NodeProfile, TensorInfo};
use std::collections::BTreeSet;
use std::rc::Rc;

/// What programs are made from.
pub struct Recipe {
    /// The model.
    pub source: Rc<dyn Source>,
    /// One shape per input; the file's, with 1 for what it leaves open, where there are none.
    pub shapes: Option<Vec<Vec<usize>>>,
    /// Tensors that must not be fused away.
    pub taps: Vec<String>,
    /// Kernels to use.
    pub tier: Tier,
    /// Threads to use.
    pub threads: Threads,
    /// What is added to the proof's kernels.
    pub note: String,
}

impl std::fmt::Debug for Recipe {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Recipe({} kernels)", self.tier.name())
    }
}

impl Recipe {
    /// A program made now, or a session that makes it for the values of inputs that it depends on.
    ///
    /// # Errors
    /// What the model asks for is not supported.
    pub fn session(self) -> Result<Box<dyn Session>> {
        match self.source.build_for(self.shapes.as_deref(), &self.taps, &Fixed::new())? {
            Built::Graph(graph) => {
                let optimized = passes::fuse(&passes::optimize(&graph, &self.taps)?, &self.taps)?;
                // What it was made from is not needed beside it.
                drop(graph);
                let mut program = plan::plan(optimized, self.tier, &self.threads)?;
                program.note_kernels(&self.note);
                Ok(Box::new(program))
            }
            Built::Depends(inputs, _) => Ok(Box::new(Specialized::new(self, inputs)?)),
        }
    }
}

/// A session that makes its program when it is run.
struct Specialized {
    recipe: Recipe,
    inputs: Vec<TensorInfo>,
    values: Vec<Tensor>,
    outputs: Vec<TensorInfo>,
    /// Inputs that are constants of the program.
    fixed: BTreeSet<usize>,
    /// None when a fixed input has changed.
    program: Option<Program>,
    proof: BackendProof,
}

impl Specialized {
    /// A session for a model that depends on the values of at least these inputs. Inputs are zeros until they are set.
    ///
    /// # Errors
    /// Shapes of inputs that are too large or not known.
    fn new(recipe: Recipe, depends_on: Vec<usize>) -> Result<Self> {
        let facts = recipe.source.facts();
        let mut inputs = Vec::new();
        let mut values = Vec::new();
        for (index, info) in facts.inputs.iter().enumerate() {
            let given = recipe.shapes.as_ref().and_then(|shapes| shapes.get(index)).cloned();
            let file =
                || info.shape.iter().map(|d| d.map_or(1, |d| usize::try_from(d).unwrap_or(usize::MAX)));
            let shape = given.unwrap_or_else(|| file().collect());
            limits::bytes(&shape, info.dtype.size())?;
            values.push(Tensor::zeros(info.dtype, &shape)?);
            let fact =
                Fact { quant: info.quantization.clone().map(Into::into), ..Fact::new(info.dtype, &shape) };
            inputs.push(fact.info(&info.name));
        }
        let outputs = facts.outputs.clone();
        let names: Vec<&str> =
            depends_on.iter().filter_map(|i| inputs.get(*i)).map(|i| i.name.as_str()).collect();
        let proof = BackendProof {
            runtime_version: env!("CARGO_PKG_VERSION").to_owned(),
            kernels: format!("{}, made for the values of {}", recipe.tier.name(), names.join(", ")),
            nodes_total: 0,
            nodes_on_backend: 0,
            partitions: 1,
            fallbacks: Vec::new(),
            units: Vec::new(),
        };
        let fixed = depends_on.into_iter().collect();
        Ok(Self { recipe, inputs, values, outputs, fixed, program: None, proof })
    }

    /// The program for the inputs as they are.
    fn ready(&mut self) -> Result<&mut Program> {
        let program = match self.program.take() {
            Some(program) => program,
            None => self.make()?,
        };
        Ok(self.program.insert(program))
    }

    fn make(&mut self) -> Result<Program> {
        let graph = loop {
            let fixed: Fixed = self.fixed.iter().map(|i| (*i, self.values[*i].clone())).collect();
            let Recipe { source, shapes, taps, .. } = &self.recipe;
            match source.build_for(shapes.as_deref(), taps, &fixed)? {
                Built::Graph(graph) => break passes::fuse(&passes::optimize(&graph, taps)?, taps)?,
                Built::Depends(more, error) => {
                    let known = self.fixed.len();
                    self.fixed.extend(more.into_iter().filter(|i| *i < self.values.len()));
                    if self.fixed.len() == known {
                        return Err(error);
                    }
                }
            }
        };
        let mut program = plan::plan(graph, self.recipe.tier, &self.recipe.threads)?;
        let names: Vec<&str> = self.fixed.iter().map(|i| self.inputs[*i].name.as_str()).collect();
        program.note_kernels(&format!("{}, made for the values of {}", self.recipe.note, names.join(", ")));
        let free = (0..self.values.len()).filter(|i| !self.fixed.contains(i));
        for (place, index) in free.enumerate() {
            program.set_input(place, self.values[index].bytes())?;
        }
        self.proof = program.proof().clone();
        self.outputs = program.outputs().to_vec();
        Ok(program)
    }
}

impl Session for Specialized {
    fn inputs(&self) -> &[TensorInfo] {
        &self.inputs
    }

    fn outputs(&self) -> &[TensorInfo] {
        &self.outputs
    }

    fn set_input(&mut self, index: usize, bytes: &[u8]) -> Result<()> {
        let count = self.values.len();
        let unfit = |message: String| Error::InputMismatch(message);
        let old = self.values.get(index);
        let old = old.ok_or_else(|| unfit(format!("no input {index}, the model has {count}")))?;
        if old.bytes().len() != bytes.len() {
            let (name, needed) = (&self.inputs[index].name, old.bytes().len());
            return Err(unfit(format!(
                "{} bytes for input {index} {name:?}, which takes {needed}",
                bytes.len()
            )));
        }
        let fixed = self.fixed.contains(&index);
        if fixed && old.bytes() == bytes {
            return Ok(());
        }
        self.values[index] = Tensor::from_bytes(old.dtype(), old.shape(), bytes)?;
        if fixed {
            self.program = None;
        } else if let Some(program) = &mut self.program {
            program.set_input(index - self.fixed.range(..index).count(), bytes)?;
        }
        Ok(())
    }

    fn invoke(&mut self) -> Result<()> {
        self.ready()?.invoke()
    }

    fn output(&self, index: usize) -> Result<&[u8]> {
        let missing = || Error::InputMismatch("outputs are known after an invoke".to_owned());
        self.program.as_ref().ok_or_else(missing)?.output(index)
    }

    fn proof(&self) -> &BackendProof {
        &self.proof
    }

    fn nodes(&self) -> &[NodeInfo] {
        self.program.as_ref().map_or(&[], Session::nodes)
    }

    fn invoke_observed(&mut self, observer: &mut dyn Observer) -> Result<()> {
        self.ready()?.invoke_observed(observer)
    }

    fn profile(&mut self, iterations: u32, clock: &dyn Fn() -> u64) -> Result<Vec<NodeProfile>> {
        self.ready()?.profile(iterations, clock)
    }
}
