//! One node of the file while it is turned into nodes of the graph: typed access to its operands and
//! attributes, and the names of its results.
//!
//! An attribute that no importer has asked for is an error in the end: it would have meant something.

use super::importer::Importer;
use super::proto::{Attribute, Graph as OnnxGraph, Node};
use crate::builtin::graph::{Fact, Graph, OutputType, ValueId};
use crate::builtin::ops::{Cast, Op, Requantize, Reshape, Transpose};
use crate::builtin::tensor::Tensor;
use crate::{Error, Result};
use protocol::DType;
use std::cell::RefCell;

/// A node and the importer that it adds to.
pub(super) struct Call<'c, 'a> {
    pub(super) importer: &'c mut Importer<'a>,
    pub(super) node: &'c Node<'a>,
    asked: RefCell<Vec<&'static str>>,
}

impl<'c, 'a> Call<'c, 'a> {
    pub(super) fn new(importer: &'c mut Importer<'a>, node: &'c Node<'a>) -> Self {
        Self { importer, node, asked: RefCell::default() }
    }

    pub(super) fn graph(&mut self) -> &mut Graph {
        &mut self.importer.graph
    }

    pub(super) fn opset(&self) -> i64 {
        self.importer.opset
    }

    // --- operands ---

    /// Whether the optional operand is there.
    pub(super) fn has(&self, index: usize) -> bool {
        self.node.inputs.get(index).is_some_and(|name| !name.is_empty())
    }

    /// Operand `index`.
    pub(super) fn input(&self, index: usize) -> Result<ValueId> {
        self.optional(index)?.ok_or_else(|| Error::ModelInvalid(format!("operand {index} is missing")))
    }

    /// Operand `index`, if it is there.
    pub(super) fn optional(&self, index: usize) -> Result<Option<ValueId>> {
        if self.has(index) { self.importer.value(self.node.inputs[index]).map(Some) } else { Ok(None) }
    }

    /// All operands, none of which may be left out.
    pub(super) fn inputs(&self) -> Result<Vec<ValueId>> {
        (0..self.node.inputs.len()).map(|index| self.input(index)).collect()
    }

    pub(super) fn fact(&self, value: ValueId) -> &Fact {
        self.importer.graph.fact(value)
    }

    pub(super) fn shape(&self, value: ValueId) -> Vec<usize> {
        self.fact(value).shape.clone()
    }

    pub(super) fn rank(&self, value: ValueId) -> usize {
        self.fact(value).shape.len()
    }

    /// The elements of operand `index`, which must be constant.
    pub(super) fn constant(&self, index: usize) -> Result<&Tensor> {
        let value = self.input(index)?;
        self.importer.graph.constant_value(value).ok_or_else(|| {
            let name = &self.node.inputs[index];
            self.importer.need(value);
            Error::Unsupported(format!("operand {index} (`{name}`) depends on the data; it must be constant"))
        })
    }

    /// The integers of operand `index`, which must be constant, if it is there.
    pub(super) fn constant_ints(&self, index: usize) -> Result<Option<Vec<i64>>> {
        if self.has(index) { self.constant(index)?.to_i64().map(Some) } else { Ok(None) }
    }

    /// The number of operand `index`, which must be constant, if it is there.
    pub(super) fn constant_number(&self, index: usize) -> Result<Option<f64>> {
        if !self.has(index) {
            return Ok(None);
        }
        match self.constant(index)?.to_f64()?.as_slice() {
            [number] => Ok(Some(*number)),
            several => {
                Err(Error::ModelInvalid(format!("operand {index} has {} elements, not 1", several.len())))
            }
        }
    }

    // --- attributes ---

    fn attribute(&self, name: &'static str) -> Option<Attribute<'a>> {
        self.asked.borrow_mut().push(name);
        self.node.attribute(name)
    }

    pub(super) fn int(&self, name: &'static str) -> Result<Option<i64>> {
        Ok(self.attribute(name).map(|a| a.int()).transpose()?.flatten())
    }

    pub(super) fn int_or(&self, name: &'static str, default: i64) -> Result<i64> {
        Ok(self.int(name)?.unwrap_or(default))
    }

    pub(super) fn float_or(&self, name: &'static str, default: f32) -> Result<f32> {
        Ok(self.float(name)?.unwrap_or(default))
    }

    pub(super) fn float(&self, name: &'static str) -> Result<Option<f32>> {
        Ok(self.attribute(name).map(|a| a.float()).transpose()?.flatten())
    }

    pub(super) fn text_or(&self, name: &'static str, default: &'a str) -> Result<&'a str> {
        Ok(self.attribute(name).map(|a| a.text()).transpose()?.flatten().unwrap_or(default))
    }

    pub(super) fn ints(&self, name: &'static str) -> Result<Option<Vec<i64>>> {
        Ok(self.attribute(name).map(|a| a.ints()).transpose()?)
    }

    pub(super) fn floats(&self, name: &'static str) -> Result<Option<Vec<f32>>> {
        Ok(self.attribute(name).map(|a| a.floats()).transpose()?)
    }

    pub(super) fn texts(&self, name: &'static str) -> Result<Option<Vec<&'a str>>> {
        Ok(self.attribute(name).map(|a| a.texts()).transpose()?)
    }

    /// The one graph of an attribute.
    pub(super) fn subgraph(&self, name: &'static str) -> Result<OnnxGraph<'a>> {
        let graphs = self.attribute(name).map(|a| a.graphs(self.importer.depth)).transpose()?;
        let mut graphs = graphs.unwrap_or_default();
        match (graphs.pop(), graphs.is_empty()) {
            (Some(graph), true) => Ok(graph),
            _ => Err(Error::ModelInvalid(format!("not one graph in attribute `{name}`"))),
        }
    }

    /// The constant that an attribute holds.
    pub(super) fn tensor(&self, name: &'static str) -> Result<Option<Tensor>> {
        let Some(attribute) = self.attribute(name) else { return Ok(None) };
        attribute.tensor()?.map(|tensor| self.importer.read(&tensor)).transpose()
    }

    /// Attributes that say nothing about the result.
    pub(super) fn ignore(&self, names: &[&'static str]) {
        self.asked.borrow_mut().extend(names);
    }

    /// Whether every attribute has been asked for.
    pub(super) fn check_attributes(&self) -> Result<()> {
        let asked = self.asked.borrow();
        match self.node.attributes.iter().find(|attribute| !asked.contains(&attribute.name)) {
            Some(attribute) => Err(Error::Unsupported(format!("attribute `{}`", attribute.name))),
            None => Ok(()),
        }
    }

    /// A dimension's index, counted from the end when negative.
    pub(super) fn axis(axis: i64, rank: usize) -> Result<usize> {
        let index = if axis < 0 { axis.checked_add(rank as i64) } else { Some(axis) };
        let index = index.and_then(|index| usize::try_from(index).ok()).filter(|index| *index < rank);
        index.ok_or_else(|| Error::ModelInvalid(format!("axis {axis} of {rank} dimensions")))
    }

    /// Several dimensions' indices in ascending order, each once.
    pub(super) fn axes(axes: &[i64], rank: usize) -> Result<Vec<usize>> {
        let mut axes = axes.iter().map(|axis| Self::axis(*axis, rank)).collect::<Result<Vec<_>>>()?;
        axes.sort_unstable();
        if axes.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(Error::ModelInvalid(format!("axes {axes:?} name a dimension twice")));
        }
        Ok(axes)
    }

    // --- results ---

    /// Whether somebody may want result `index`.
    pub(super) fn wants(&self, index: usize) -> bool {
        self.node.outputs.get(index).is_some_and(|name| !name.is_empty())
    }

    /// Name of result `index`.
    pub(super) fn name(&self, index: usize) -> &'a str {
        self.node.outputs.get(index).copied().unwrap_or_default()
    }

    /// Name for what comes before the first result.
    pub(super) fn inner(&self) -> String {
        self.importer.inner_name(self.name(0))
    }

    /// Says which value result `index` is.
    pub(super) fn set(&mut self, index: usize, value: ValueId) -> Result<()> {
        let name = self.name(index);
        if name.is_empty() { Ok(()) } else { self.importer.define(name, value) }
    }

    /// A constant as result `index`.
    pub(super) fn set_constant(&mut self, index: usize, tensor: Tensor) -> Result<()> {
        let name = self.name(index);
        let value = self.importer.graph.constant(name, tensor, None)?;
        self.set(index, value)
    }

    /// Adds the node that computes the first result.
    pub(super) fn result(&mut self, op: impl Into<Op>, inputs: &[ValueId]) -> Result<()> {
        let value = self.importer.graph.add(self.name(0), op, inputs)?;
        self.set(0, value)
    }

    /// Adds the node that computes the first result in a given type.
    pub(super) fn result_as(
        &mut self,
        op: impl Into<Op>,
        inputs: &[ValueId],
        kind: OutputType,
    ) -> Result<()> {
        let value = self.importer.graph.add_as(self.name(0), op, inputs, kind)?;
        self.set(0, value)
    }

    /// Adds a node before the first result.
    pub(super) fn add(&mut self, op: impl Into<Op>, inputs: &[ValueId]) -> Result<ValueId> {
        let name = self.inner();
        self.importer.graph.add(&name, op, inputs)
    }

    /// A constant of this node.
    pub(super) fn add_constant(&mut self, tensor: Tensor) -> Result<ValueId> {
        let name = self.inner();
        self.importer.graph.constant(&name, tensor, None)
    }

    pub(super) fn reshape(&mut self, value: ValueId, shape: &[usize]) -> Result<ValueId> {
        if self.fact(value).shape == shape {
            return Ok(value);
        }
        self.add(Reshape { shape: shape.to_vec() }, &[value])
    }

    pub(super) fn transpose(&mut self, value: ValueId, perm: &[usize]) -> Result<ValueId> {
        self.add(Transpose { perm: perm.to_vec() }, &[value])
    }

    pub(super) fn cast(&mut self, value: ValueId, to: DType) -> Result<ValueId> {
        if self.fact(value).dtype == to && self.fact(value).quant.is_none() {
            return Ok(value);
        }
        self.add(Cast { to }, &[value])
    }

    /// The same numbers in f32.
    pub(super) fn real(&mut self, value: ValueId) -> Result<ValueId> {
        if self.fact(value).quant.is_none() {
            return self.cast(value, DType::F32);
        }
        self.add(Requantize, &[value])
    }
}

impl Call<'_, '_> {
    /// Whether a value is constant, or a constant that is only dequantised or turned.
    pub(super) fn is_weight(&self, value: ValueId) -> bool {
        let graph = &self.importer.graph;
        let mut value = value;
        loop {
            if graph.constant_value(value).is_some() {
                return true;
            }
            match graph.producer(value).map(|(_, node)| (&node.op, node.inputs.as_slice())) {
                Some((Op::Requantize(_) | Op::Transpose(_) | Op::Reshape(_), [input])) => value = *input,
                _ => return false,
            }
        }
    }
}
