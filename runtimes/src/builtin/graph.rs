//! The graph every importer builds and every pass rewrites: values with type, shape, quantisation and
//! their name in the file, and nodes with an operator of a closed set. Adding a node infers its shapes
//! at once and, when all its inputs are constant, computes it at once. Nothing runs here otherwise.
//!
//! A node means a function of *real* numbers: operands are dequantised by what their values carry, and
//! the result is quantised as the output value says. How that is computed (integer kernels, or a way
//! round through f32) is decided when the graph is planned.

use super::ops::{self, Dialect, Op, Operand};
use super::tensor::Tensor;
use super::{limits, lower};
use crate::{Error, Result};
use protocol::{DType, Quantization, TensorInfo};
use std::sync::Arc;

/// A value of one graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ValueId(pub(crate) u32);

/// A node of one graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub(crate) u32);

impl ValueId {
    pub(crate) fn index(self) -> usize {
        self.0 as usize
    }
}

impl NodeId {
    pub(crate) fn index(self) -> usize {
        self.0 as usize
    }
}

/// What is known of a value before it is computed.
#[derive(Clone, Debug, PartialEq)]
pub struct Fact {
    /// Element type.
    pub dtype: DType,
    /// Dimensions.
    pub shape: Vec<usize>,
    /// Present when the elements are quantised reals.
    pub quant: Option<Arc<Quantization>>,
}

impl Fact {
    /// A value that is not quantised.
    pub fn new(dtype: DType, shape: &[usize]) -> Self {
        Self { dtype, shape: shape.to_vec(), quant: None }
    }

    /// The same with a quantisation.
    #[must_use]
    pub fn quantized(self, quant: Quantization) -> Self {
        Self { quant: Some(Arc::new(quant)), ..self }
    }

    /// The same; f32 where the elements are quantised: what arithmetic gives when nobody asks for more.
    #[must_use]
    pub fn as_real(self) -> Self {
        if self.quant.is_some() { Self { dtype: DType::F32, quant: None, ..self } } else { self }
    }

    /// Number of elements. Facts in a graph are within [`limits`].
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.shape.contains(&0)
    }

    /// Bytes of all elements.
    pub fn bytes(&self) -> usize {
        self.len() * self.dtype.size()
    }

    /// Scale and zero point of a per-tensor quantisation.
    pub fn per_tensor(&self) -> Option<(f32, i32)> {
        match self.quant.as_deref() {
            Some(Quantization { scale, zero_point, .. }) if scale.len() == 1 => {
                Some((scale[0], zero_point.first().copied().unwrap_or(0)))
            }
            _ => None,
        }
    }

    /// The fact as others than the engine see it.
    pub fn info(&self, name: &str) -> TensorInfo {
        TensorInfo {
            name: name.to_owned(),
            dtype: self.dtype,
            shape: self.shape.iter().map(|d| Some(*d as u64)).collect(),
            quantization: self.quant.as_deref().cloned(),
        }
    }

    /// What an output is to be: this type and quantisation.
    pub fn as_output(&self) -> OutputType {
        OutputType { dtype: self.dtype, quant: self.quant.clone() }
    }

    fn check(&self) -> Result<()> {
        limits::bytes(&self.shape, self.dtype.size())?;
        let Some(q) = self.quant.as_deref() else { return Ok(()) };
        let axis = self.shape.get(q.axis as usize).copied();
        let lengths =
            q.scale.len() == q.zero_point.len() && (q.scale.len() == 1 || Some(q.scale.len()) == axis);
        if !lengths || !q.scale.iter().all(|s| s.is_finite() && *s > 0.0) {
            return Err(Error::ModelInvalid(format!(
                "quantisation with {} scales and {} zero points along dimension {} of shape {:?}, \
                 or a scale that is not a positive number",
                q.scale.len(),
                q.zero_point.len(),
                q.axis,
                self.shape
            )));
        }
        let range = match self.dtype {
            DType::I8 => -128..=127,
            DType::U8 => 0..=255,
            DType::I16 => -32768..=32767,
            DType::U16 => 0..=65535,
            DType::I32 => i32::MIN..=i32::MAX,
            other => return Err(Error::ModelInvalid(format!("quantised {other} elements"))),
        };
        if q.zero_point.iter().any(|z| !range.contains(z)) {
            return Err(Error::ModelInvalid(format!("a zero point outside the range of {}", self.dtype)));
        }
        Ok(())
    }
}

/// Type and quantisation that the output of a node is asked to have. Shapes are always inferred.
#[derive(Clone, Debug, PartialEq)]
pub struct OutputType {
    /// Element type.
    pub dtype: DType,
    /// Quantisation.
    pub quant: Option<Arc<Quantization>>,
}

/// A value.
#[derive(Clone, Debug)]
pub struct Value {
    /// Name in the model file.
    pub name: String,
    /// What is known.
    pub fact: Fact,
    /// The elements, when they are known.
    pub constant: Option<Tensor>,
    /// The node that computes it; none for inputs and constants.
    pub producer: Option<NodeId>,
}

/// An operation.
#[derive(Clone, Debug)]
pub struct Node {
    /// What is done.
    pub op: Op,
    /// Operands.
    pub inputs: Vec<ValueId>,
    /// Results.
    pub outputs: Vec<ValueId>,
}

/// A model as a graph. Nodes are in an order in which they can run.
#[derive(Clone, Debug, Default)]
pub struct Graph {
    values: Vec<Value>,
    nodes: Vec<Node>,
    inputs: Vec<ValueId>,
    outputs: Vec<ValueId>,
    variables: Vec<Tensor>,
    constant_bytes: usize,
    fold_work: u64,
    dialect: Dialect,
}

impl Graph {
    /// An empty graph.
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty graph whose quantised operators compute as the runtime of a format does.
    pub fn with_dialect(dialect: Dialect) -> Self {
        Self { dialect, ..Self::default() }
    }

    /// Whose quantised arithmetic the graph's operators reproduce.
    pub fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// Adds an input.
    ///
    /// # Errors
    /// The fact is too large or inconsistent.
    pub fn input(&mut self, name: &str, fact: Fact) -> Result<ValueId> {
        let id = self.value(name, fact, None)?;
        self.inputs.push(id);
        Ok(id)
    }

    /// Adds a variable: an input that has a value before the first invoke, and after every invoke that of an
    /// output. All variables come behind all other inputs, and their outputs in the same order behind all others.
    ///
    /// # Errors
    /// As [`Graph::input`].
    pub fn variable(&mut self, name: &str, initial: Tensor, quant: Option<Quantization>) -> Result<ValueId> {
        let fact = Fact { quant: quant.map(Arc::new), ..Fact::new(initial.dtype(), initial.shape()) };
        self.variables.push(initial);
        self.input(name, fact)
    }

    /// First values of the variables.
    pub fn variables(&self) -> &[Tensor] {
        &self.variables
    }

    /// An empty graph with this one's variables, whose inputs and outputs are still to be added.
    pub(crate) fn emptied(&self) -> Self {
        Self { dialect: self.dialect, variables: self.variables.clone(), ..Self::default() }
    }

    /// An empty graph that becomes part of a node of this one: what this one has spent is spent.
    pub(crate) fn inside(&self) -> Self {
        let (constant_bytes, fold_work) = (self.constant_bytes, self.fold_work);
        Self { dialect: self.dialect, constant_bytes, fold_work, ..Self::default() }
    }

    /// Takes over what was spent on a graph made by [`Self::inside`].
    pub(crate) fn spend_as(&mut self, inside: &Self) {
        self.constant_bytes = inside.constant_bytes;
        self.fold_work = inside.fold_work;
    }

    /// Adds a constant.
    ///
    /// # Errors
    /// Too many constant bytes, or a quantisation that does not fit.
    pub fn constant(&mut self, name: &str, tensor: Tensor, quant: Option<Quantization>) -> Result<ValueId> {
        let fact = Fact::new(tensor.dtype(), tensor.shape());
        let fact = Fact { quant: quant.map(Arc::new), ..fact };
        self.constant_of(name, tensor, fact)
    }

    fn constant_of(&mut self, name: &str, tensor: Tensor, fact: Fact) -> Result<ValueId> {
        self.constant_bytes = self
            .constant_bytes
            .checked_add(tensor.bytes().len())
            .filter(|n| *n <= limits::MAX_CONSTANT_BYTES)
            .ok_or_else(|| Error::Unsupported(format!("{name}: too many bytes of constants")))?;
        self.value(name, fact, Some(tensor))
    }

    /// Adds a node with one output whose type follows from the operator and its operands: `f32` for
    /// arithmetic, the first operand's type and quantisation for what only moves elements.
    ///
    /// # Errors
    /// The operator does not do these operands.
    pub fn add(&mut self, name: &str, op: impl Into<Op>, inputs: &[ValueId]) -> Result<ValueId> {
        let outputs = self.add_node(&[name], op.into(), inputs, &[None])?;
        outputs.first().copied().ok_or_else(|| Error::Runtime(format!("{name}: no output")))
    }

    /// Adds a node with one output of the given type and quantisation.
    ///
    /// # Errors
    /// The operator does not do these operands.
    pub fn add_as(
        &mut self,
        name: &str,
        op: impl Into<Op>,
        inputs: &[ValueId],
        output: OutputType,
    ) -> Result<ValueId> {
        let outputs = self.add_node(&[name], op.into(), inputs, &[Some(output)])?;
        outputs.first().copied().ok_or_else(|| Error::Runtime(format!("{name}: no output")))
    }

    /// As [`Graph::add_as`], but never computed at once: a pass may still want to see how a constant is
    /// made, as with the quantised weights of `DequantizeLinear`.
    ///
    /// # Errors
    /// The operator does not do these operands.
    pub fn add_unfolded(
        &mut self,
        name: &str,
        op: impl Into<Op>,
        inputs: &[ValueId],
        output: OutputType,
    ) -> Result<ValueId> {
        let op = op.into();
        let place = format!("{} {name:?}", op.name());
        let facts = self.infer(&op, inputs, &[Some(output)]).map_err(|e| e.at(&place))?;
        let outputs = self.push_node(&[name], op, inputs, facts).map_err(|e| e.at(&place))?;
        outputs.first().copied().ok_or_else(|| Error::Runtime(format!("{name}: no output")))
    }

    /// Adds a node with any number of outputs; `types` as in [`Graph::add`] and [`Graph::add_as`].
    ///
    /// # Errors
    /// The operator does not do these operands, or has another number of outputs.
    pub fn add_node(
        &mut self,
        names: &[&str],
        op: Op,
        inputs: &[ValueId],
        types: &[Option<OutputType>],
    ) -> Result<Vec<ValueId>> {
        let place = || format!("{} {:?}", op.name(), names.first().unwrap_or(&""));
        let facts = self.infer(&op, inputs, types).map_err(|e| e.at(&place()))?;
        if facts.len() != names.len() {
            let message = format!("{} outputs, {} names", facts.len(), names.len());
            return Err(Error::ModelInvalid(message).at(&place()));
        }
        if let Some(tensors) = self.fold(&op, inputs, &facts).map_err(|e| e.at(&place()))? {
            let all = names.iter().zip(tensors).zip(facts);
            return all.map(|((name, tensor), fact)| self.constant_of(name, tensor, fact)).collect();
        }
        self.push_node(names, op, inputs, facts)
    }

    fn push_node(
        &mut self,
        names: &[&str],
        op: Op,
        inputs: &[ValueId],
        facts: Vec<Fact>,
    ) -> Result<Vec<ValueId>> {
        if self.nodes.len() >= limits::MAX_NODES {
            return Err(Error::Unsupported(format!("more than {} nodes", limits::MAX_NODES)));
        }
        let node = NodeId(u32::try_from(self.nodes.len()).expect("bounded by MAX_NODES"));
        let outputs = names.iter().zip(facts).map(|(name, fact)| {
            let id = self.value(name, fact, None)?;
            self.values[id.index()].producer = Some(node);
            Ok(id)
        });
        let outputs = outputs.collect::<Result<Vec<_>>>()?;
        self.nodes.push(Node { op, inputs: inputs.to_vec(), outputs: outputs.clone() });
        Ok(outputs)
    }

    /// Declares a value to be the next output.
    pub fn output(&mut self, id: ValueId) {
        self.outputs.push(id);
    }

    /// Inputs in the model's order.
    pub fn inputs(&self) -> &[ValueId] {
        &self.inputs
    }

    /// Outputs in the model's order.
    pub fn outputs(&self) -> &[ValueId] {
        &self.outputs
    }

    /// A value.
    pub fn get(&self, id: ValueId) -> &Value {
        &self.values[id.index()]
    }

    /// Type, shape and quantisation of a value.
    pub fn fact(&self, id: ValueId) -> &Fact {
        &self.get(id).fact
    }

    /// Dimensions of a value.
    pub fn shape(&self, id: ValueId) -> &[usize] {
        &self.fact(id).shape
    }

    /// Takes all constants out, by the number of their value: the graph is good for its shapes only from then on.
    pub(crate) fn take_constants(&mut self) -> Vec<Option<Tensor>> {
        self.values.iter_mut().map(|value| value.constant.take()).collect()
    }

    /// Elements of a value, when they are known.
    pub fn constant_value(&self, id: ValueId) -> Option<&Tensor> {
        self.get(id).constant.as_ref()
    }

    /// All nodes, in an order in which they can run.
    pub fn nodes(&self) -> impl Iterator<Item = (NodeId, &Node)> {
        self.nodes.iter().enumerate().map(|(i, n)| (NodeId(i as u32), n))
    }

    /// All values.
    pub fn values(&self) -> impl Iterator<Item = (ValueId, &Value)> {
        self.values.iter().enumerate().map(|(i, v)| (ValueId(i as u32), v))
    }

    /// A node.
    pub fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.index()]
    }

    /// The node that computes a value.
    pub fn producer(&self, id: ValueId) -> Option<(NodeId, &Node)> {
        self.get(id).producer.map(|n| (n, self.node(n)))
    }

    /// How often each value is read by a node or is an output, by index of the value.
    pub fn use_counts(&self) -> Vec<u32> {
        let mut counts = vec![0; self.values.len()];
        let reads = self.nodes.iter().flat_map(|n| &n.inputs).chain(&self.outputs);
        reads.for_each(|id| counts[id.index()] += 1);
        counts
    }

    fn value(&mut self, name: &str, fact: Fact, constant: Option<Tensor>) -> Result<ValueId> {
        fact.check().map_err(|e| e.at(name))?;
        let id =
            u32::try_from(self.values.len()).map_err(|_| Error::Unsupported("too many values".to_owned()))?;
        self.values.push(Value { name: name.to_owned(), fact, constant, producer: None });
        Ok(ValueId(id))
    }

    fn operands(&self, inputs: &[ValueId]) -> Result<Vec<Operand<'_>>> {
        let operand = |id: &ValueId| {
            let value = self.values.get(id.index())?;
            Some(Operand { fact: &value.fact, constant: value.constant.as_ref() })
        };
        let all: Option<Vec<_>> = inputs.iter().map(operand).collect();
        all.ok_or_else(|| Error::ModelInvalid("an operand that does not exist".to_owned()))
    }

    fn infer(&self, op: &Op, inputs: &[ValueId], types: &[Option<OutputType>]) -> Result<Vec<Fact>> {
        let mut facts = op.infer(&self.operands(inputs)?)?;
        for (fact, wanted) in facts.iter_mut().zip(types) {
            if let Some(wanted) = wanted {
                fact.dtype = wanted.dtype;
                fact.quant.clone_from(&wanted.quant);
            }
            fact.check()?;
        }
        Ok(facts)
    }

    fn fold(&mut self, op: &Op, inputs: &[ValueId], facts: &[Fact]) -> Result<Option<Vec<Tensor>>> {
        let operands = self.operands(inputs)?;
        if !ops::foldable(op) || operands.iter().any(|o| o.constant.is_none()) {
            return Ok(None);
        }
        let work = op.work(&operands, facts);
        let tensors = if self.fold_work.saturating_add(work) > limits::MAX_FOLD_WORK {
            None
        } else {
            Some(lower::evaluate(op, &operands, facts, self.dialect)?)
        };
        self.spend(work)?;
        Ok(tensors)
    }

    /// Counts elementary operations that are done while the graph is built.
    ///
    /// # Errors
    /// More than [`limits::MAX_FOLD_WORK`] together.
    pub fn spend(&mut self, work: u64) -> Result<()> {
        self.fold_work = self.fold_work.saturating_add(work);
        if self.fold_work > limits::MAX_FOLD_WORK {
            return Err(Error::Unsupported("too much work in constant operands".to_owned()));
        }
        Ok(())
    }
}
