//! From a file's subgraph to the engine's graph: tensors become values, operators become nodes. What an
//! operator means is in `convolution`, `arithmetic` and `layout`; here is what they share.

use super::control::Control;
use super::depends::Needs;
use super::dynamic::Parts;
use super::opcodes::TensorType;
use super::options::Clamp as Bounds;
use super::schema::{Model, Operator, SubGraph, Tensor};
use super::spectrum::Complex;
use super::{facts, sparse};
use crate::builtin::graph::{Fact, Graph, OutputType, ValueId};
use crate::builtin::import::{Built, Fixed};
use crate::builtin::ops::{Clamp, Op, Reinterpret};
use crate::builtin::tensor::Tensor as Constant;
use crate::{Error, Result};
use protocol::{DType, Quantization};
use std::sync::Arc;

/// A subgraph on its way into a [`Graph`].
pub(super) struct Importer<'m, 'a> {
    /// The file.
    pub(super) model: &'m Model<'a>,
    /// The subgraph.
    pub(super) source: &'m SubGraph<'a>,
    /// What has been built.
    pub(super) graph: Graph,
    /// How often each tensor is an operand, or an input or output of the subgraph.
    pub(super) uses: Vec<u32>,
    /// The value of each tensor, once it is known.
    pub(super) values: Vec<Option<ValueId>>,
    /// Slices of the subgraph whose size is not known.
    pub(super) parts: Parts,
    /// Complex tensors of the subgraph.
    pub(super) complex: Complex,
    /// What should have been known.
    pub(super) needs: Needs,
    /// What outlives a subgraph.
    pub(super) control: Control,
}

/// Builds the graph of a file's first subgraph, or says which inputs' values it depends on.
///
/// `shapes` are dimensions of the inputs, in the model's order; none means as in the file, with 1 where it
/// leaves a dimension open. Inputs that are `fixed` become constants.
///
/// # Errors
/// The file is damaged, or holds an operator, type or shape that the engine does not do. The message
/// names the node.
pub(crate) fn import(file: &[u8], shapes: Option<&[Vec<usize>]>, fixed: &Fixed) -> Result<Built> {
    let model = Model::read(file)?;
    let source = model.subgraphs.first().ok_or_else(|| invalid("no subgraph".to_owned()))?;
    let mut importer = Importer::new(&model, source, Graph::new(), Control::default());
    match importer.all(shapes, fixed) {
        Ok(()) => Ok(Built::Graph(importer.graph)),
        Err(error) => {
            let open: Vec<usize> = (0..source.inputs.len()).filter(|i| !fixed.contains_key(i)).collect();
            let behind = importer.inputs_behind().into_iter();
            let places: Vec<usize> = behind.filter_map(|i| open.get(i).copied()).collect();
            if places.is_empty() { Err(error) } else { Ok(Built::Depends(places, error)) }
        }
    }
}

impl<'m, 'a> Importer<'m, 'a> {
    /// A subgraph of which nothing has been built.
    pub(super) fn new(
        model: &'m Model<'a>,
        source: &'m SubGraph<'a>,
        graph: Graph,
        control: Control,
    ) -> Self {
        let values = vec![None; source.tensors.len()];
        Self {
            model,
            source,
            graph,
            uses: uses(source),
            values,
            parts: Parts::new(),
            complex: Complex::new(),
            needs: Needs::new(),
            control,
        }
    }

    fn all(&mut self, shapes: Option<&[Vec<usize>]>, fixed: &Fixed) -> Result<()> {
        self.inputs(shapes, fixed)?;
        self.operators()?;
        for &index in &self.source.outputs {
            let value = self.value(index)?;
            self.graph.output(value);
        }
        self.written();
        Ok(())
    }

    /// Adds the nodes of all operators.
    pub(super) fn operators(&mut self) -> Result<()> {
        for (index, operator) in self.source.operators.iter().enumerate() {
            self.control.count()?;
            self.operator(operator).map_err(|e| e.at(&self.place(index, operator)))?;
        }
        Ok(())
    }

    fn inputs(&mut self, shapes: Option<&[Vec<usize>]>, fixed: &Fixed) -> Result<()> {
        let count = self.source.inputs.len();
        if let Some(shapes) = shapes.filter(|s| s.len() != count) {
            let given = shapes.len();
            return Err(Error::InputMismatch(format!(
                "{given} input shapes for a model with {count} inputs"
            )));
        }
        for (i, &index) in self.source.inputs.iter().enumerate() {
            let tensor = self.tensor(index)?;
            let shape = shapes.and_then(|s| s.get(i)).unwrap_or(&tensor.shape);
            if shape.len() != tensor.shape.len() {
                let message = format!("{shape:?} for input {:?} of shape {:?}", tensor.name, tensor.shape);
                return Err(Error::InputMismatch(message));
            }
            let fact = Fact { shape: shape.clone(), ..self.fact(tensor)? };
            let value = match fixed.get(&i) {
                Some(value) if value.dtype() == fact.dtype && value.shape() == fact.shape => {
                    self.graph.constant(&tensor.name, value.clone(), fact.quant.as_deref().cloned())?
                }
                Some(value) => {
                    let message =
                        format!("{} {:?} for input {:?}", value.dtype(), value.shape(), tensor.name);
                    return Err(Error::InputMismatch(message));
                }
                None => self.graph.input(&tensor.name, fact)?,
            };
            self.set(index, value);
        }
        Ok(())
    }

    /// Where an operator stands, for messages.
    fn place(&self, index: usize, operator: &Operator<'_>) -> String {
        let name = self.model.operator_name(operator);
        let output = operator.outputs.first().and_then(|i| self.source.tensors.get(*i));
        // Fused tensors carry the names of all that they were fused from.
        let tensor: String = output.iter().flat_map(|t| t.name.chars()).take(80).collect();
        format!("node {index}, {name} that gives {tensor:?}")
    }

    /// A tensor's description.
    pub(super) fn tensor(&self, index: usize) -> Result<&'m Tensor<'a>> {
        self.source.tensors.get(index).ok_or_else(|| invalid(format!("no tensor {index}")))
    }

    /// Tensor index of operand `position`, when it is given.
    pub(super) fn optional(&self, operator: &Operator<'_>, position: usize) -> Option<usize> {
        operator.inputs.get(position).copied().flatten()
    }

    /// Tensor index of operand `position`.
    pub(super) fn required(&self, operator: &Operator<'_>, position: usize) -> Result<usize> {
        self.optional(operator, position).ok_or_else(|| invalid(format!("operand {position} is missing")))
    }

    /// Value of operand `position`.
    pub(super) fn operand(&mut self, operator: &Operator<'_>, position: usize) -> Result<ValueId> {
        let index = self.required(operator, position)?;
        self.value(index)
    }

    /// Values of all operands, none left out.
    pub(super) fn operands(&mut self, operator: &Operator<'_>) -> Result<Vec<ValueId>> {
        (0..operator.inputs.len()).map(|i| self.operand(operator, i)).collect()
    }

    /// Value of a tensor: computed before, or constant.
    pub(super) fn value(&mut self, index: usize) -> Result<ValueId> {
        if let Some(value) = self.values.get(index).copied().flatten() {
            return Ok(value);
        }
        let tensor = self.tensor(index)?;
        let constant = self.constant(tensor)?;
        let quant = quantization(tensor);
        let value = self.graph.constant(&tensor.name, constant, quant)?;
        self.set(index, value);
        Ok(value)
    }

    /// The constant elements of a tensor.
    fn constant(&self, tensor: &Tensor<'_>) -> Result<Constant> {
        let name = &tensor.name;
        let Some(data) = self.model.data(tensor) else {
            if tensor.shape.contains(&0) && !tensor.is_variable {
                return Constant::zeros(element_type(tensor)?, &tensor.shape);
            }
            let what = if tensor.is_variable {
                "keeps state between runs"
            } else if self.parts.values().len() > 0 {
                "is a slice whose size is only known when the model runs, or computed by no earlier node"
            } else {
                "is computed by no earlier node"
            };
            return Err(Error::Unsupported(format!("tensor {name:?} {what}")));
        };
        let dtype = element_type(tensor)?;
        let place = |e: Error| e.at(&format!("tensor {name:?}"));
        if let Some(sparsity) = &tensor.sparsity {
            let dense = sparse::densify(sparsity, &tensor.shape, dtype.size(), data).map_err(place)?;
            return Constant::from_bytes(dtype, &tensor.shape, &dense).map_err(place);
        }
        if tensor.kind == TensorType::INT4 {
            let count = crate::builtin::limits::elements(&tensor.shape).map_err(place)?;
            return Constant::from_bytes(dtype, &tensor.shape, &unpack_int4(data, count)).map_err(place);
        }
        Constant::from_bytes(dtype, &tensor.shape, data).map_err(place)
    }

    /// Integers of a constant operand: a shape, axes, paddings.
    pub(super) fn integers(&mut self, operator: &Operator<'_>, position: usize) -> Result<Vec<i64>> {
        self.known_operand(operator, position)?.to_i64()
    }

    /// The same, when they are known.
    pub(super) fn integers_if_known(
        &mut self,
        operator: &Operator<'_>,
        position: usize,
    ) -> Result<Option<Vec<i64>>> {
        let value = self.operand(operator, position)?;
        self.graph.constant_value(value).map(Constant::to_i64).transpose()
    }

    /// Dimensions of operand `position`.
    pub(super) fn shape(&mut self, operator: &Operator<'_>, position: usize) -> Result<Vec<usize>> {
        let value = self.operand(operator, position)?;
        Ok(self.graph.shape(value).to_vec())
    }

    /// Declares the value of a tensor.
    pub(super) fn set(&mut self, index: usize, value: ValueId) {
        if let Some(slot) = self.values.get_mut(index) {
            *slot = Some(value);
        }
    }

    /// Tensor index of result `position`.
    pub(super) fn result(&self, operator: &Operator<'_>, position: usize) -> Result<usize> {
        operator
            .outputs
            .get(position)
            .copied()
            .ok_or_else(|| invalid(format!("result {position} is missing")))
    }

    /// Type and quantisation that the file states for a tensor.
    pub(super) fn output_type(&self, index: usize) -> Result<OutputType> {
        Ok(self.fact(self.tensor(index)?)?.as_output())
    }

    /// Adds a node that computes: its result is of the type that the file states.
    pub(super) fn compute(
        &mut self,
        operator: &Operator<'_>,
        op: impl Into<Op>,
        inputs: &[ValueId],
    ) -> Result<()> {
        let index = self.result(operator, 0)?;
        let output = self.output_type(index)?;
        let value = self.graph.add_as(&self.tensor(index)?.name, op, inputs, output)?;
        self.set(index, value);
        Ok(())
    }

    /// Adds a node that computes, whose result is f32 whatever the file states: a step on the way.
    pub(super) fn step(
        &mut self,
        operator: &Operator<'_>,
        op: impl Into<Op>,
        inputs: &[ValueId],
    ) -> Result<ValueId> {
        let index = self.result(operator, 0)?;
        self.graph.add(&self.tensor(index)?.name, op, inputs)
    }

    /// Declares the value of result `position`, whose elements were moved and not computed with. What the
    /// file states of their quantisation is taken on, as the runtime does it: the bits stay.
    pub(super) fn moved(&mut self, operator: &Operator<'_>, position: usize, value: ValueId) -> Result<()> {
        let index = self.result(operator, position)?;
        let (is, stated) = (self.graph.fact(value), self.output_type(index)?);
        if is.dtype != stated.dtype {
            return Err(invalid(format!("moves {} elements into a tensor of {}", is.dtype, stated.dtype)));
        }
        let value = if is.quant == stated.quant {
            value
        } else {
            self.step(operator, Reinterpret { dtype: None, quant: stated.quant }, &[value])?
        };
        self.set(index, value);
        Ok(())
    }

    /// What the file states of a tensor.
    pub(super) fn stated(&self, index: usize) -> Result<Fact> {
        self.fact(self.tensor(index)?)
    }

    /// Type, shape and quantisation that the file states.
    fn fact(&self, tensor: &Tensor<'_>) -> Result<Fact> {
        let quant = quantization(tensor).map(Arc::new);
        Ok(Fact { dtype: element_type(tensor)?, shape: tensor.shape.clone(), quant })
    }
}

pub(super) fn uses(source: &SubGraph<'_>) -> Vec<u32> {
    let mut uses = vec![0; source.tensors.len()];
    let operands = source.operators.iter().flat_map(|o| o.inputs.iter().flatten());
    for index in operands.chain(&source.inputs).chain(&source.outputs) {
        if let Some(count) = uses.get_mut(*index) {
            *count += 1;
        }
    }
    uses
}

/// Element type as the engine holds it.
fn element_type(tensor: &Tensor<'_>) -> Result<DType> {
    let int4 = (tensor.kind == TensorType::INT4).then_some(DType::I8);
    tensor.kind.dtype().or(int4).ok_or_else(|| {
        Error::Unsupported(format!("tensor {:?} has element type {}", tensor.name, tensor.kind.name()))
    })
}

/// Quantisation, where the type is one that is quantised: files also keep statistics on f32 tensors and
/// scales on i64 biases, which are implied by the operator.
fn quantization(tensor: &Tensor<'_>) -> Option<Quantization> {
    let quantized =
        matches!(tensor.kind.dtype(), Some(DType::I8 | DType::U8 | DType::I16 | DType::U16 | DType::I32))
            || tensor.kind == TensorType::INT4;
    let mut quant = tensor.quantization.as_ref().filter(|_| quantized).map(facts::quantization)?;
    if tensor.shape.len() == 1 {
        // Some converters leave the weights' dimension on the bias.
        quant.axis = 0;
    }
    Some(quant)
}

/// Two numbers of four bits per byte, the first in the low half, as i8.
fn unpack_int4(packed: &[u8], count: usize) -> Vec<u8> {
    let halves = packed.iter().flat_map(|b| [(b << 4).cast_signed() >> 4, b.cast_signed() >> 4]);
    halves.take(count).map(i8::cast_unsigned).collect()
}

/// A dimension counted from the front; `rank` dimensions.
pub(super) fn axis(axis: i64, rank: usize) -> Result<usize> {
    let signed = i64::try_from(rank).unwrap_or(i64::MAX);
    let from_front = if axis < 0 { axis.saturating_add(signed) } else { axis };
    let in_range = usize::try_from(from_front).ok().filter(|a| *a < rank);
    in_range.ok_or_else(|| invalid(format!("dimension {axis} of {rank}")))
}

/// Sizes that have to be non-negative.
pub(super) fn sizes(values: &[i64]) -> Result<Vec<usize>> {
    let size = |v: &i64| usize::try_from(*v).map_err(|_| invalid(format!("a size or position of {v}")));
    values.iter().map(size).collect()
}

/// The range of a fused activation.
pub(super) fn clamp((min, max): Bounds) -> Clamp {
    Clamp { min, max }
}

pub(super) fn invalid(message: String) -> Error {
    Error::ModelInvalid(message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shipped(file: &str) -> Vec<u8> {
        let models = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../suites/models");
        std::fs::read(models.join(file)).unwrap()
    }

    fn build(file: &[u8], shapes: Option<&[Vec<usize>]>) -> Result<Graph> {
        match import(file, shapes, &Fixed::new())? {
            Built::Graph(graph) => Ok(graph),
            Built::Depends(_, error) => Err(error),
        }
    }

    #[test]
    fn every_operator_becomes_a_node() {
        for family in ["fashion_dscnn", "fsdd_dscnn"] {
            for variant in ["fp32", "dynint8", "int8", "int16x8"] {
                let file = shipped(&format!("{family}/model_{variant}.tflite"));
                let graph = build(&file, None).unwrap();
                let operators: u32 = facts::facts(&file).unwrap().ops.iter().map(|o| o.count).sum();
                assert_eq!(graph.nodes().count(), operators as usize, "{family} {variant}");
                assert_eq!(graph.shape(graph.outputs()[0]), [1, 10]);
            }
        }
    }

    #[test]
    fn inputs_take_other_shapes_of_the_same_rank() {
        let file = shipped("fashion_dscnn/model_fp32.tflite");
        let graph = build(&file, Some(&[vec![3, 28, 28, 1]])).unwrap();
        assert_eq!(graph.shape(graph.outputs()[0]), [3, 10]);
        for wrong in [vec![], vec![vec![28, 28]], vec![vec![1, 28, 28, 1]; 2]] {
            let error = build(&file, Some(&wrong)).unwrap_err();
            assert!(matches!(error, Error::InputMismatch(_)), "{error}");
        }
        assert!(build(&file, Some(&[vec![1, 28, 28, 0]])).is_err(), "no channels for the weights");
    }

    #[test]
    fn what_cannot_be_done_is_named() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../../shared/zoo/extra/tflm_audio_preprocessor_int8.tflite");
        match std::fs::read(&path) {
            Ok(file) => {
                let message = build(&file, None).unwrap_err().to_string();
                assert!(message.contains("node 0, CUSTOM(SignalWindow)"), "{message}");
                assert!(message.contains("signal_window"), "{message}");
            }
            Err(_) => println!("left out, not there: {}", path.display()),
        }
    }

    #[test]
    fn four_bits_are_signed() {
        assert_eq!(unpack_int4(&[0x8F, 0x17], 3), [0xFF, 0xF8, 7]);
    }
}
