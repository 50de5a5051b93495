//! Writes a new graph from an old one, node by node: the frame that every pass stands in.
//!
//! Decides nothing. Constants are taken over when something reads them, so what nobody reads is left behind.

use crate::builtin::graph::{Fact, Graph, Node, NodeId, OutputType, Value, ValueId};
use crate::builtin::ops::Op;
use crate::{Error, Result};
use std::collections::HashSet;

/// An old graph, the new one so far, and which value became which.
pub(super) struct Rewriter<'a> {
    /// The graph as it was.
    pub(super) old: &'a Graph,
    /// The graph as it will be.
    pub(super) new: Graph,
    keep: &'a HashSet<&'a str>,
    map: Vec<Option<ValueId>>,
    uses: Vec<u32>,
    consumers: Vec<Option<NodeId>>,
}

impl<'a> Rewriter<'a> {
    /// A new graph with the old one's inputs.
    pub(super) fn new(old: &'a Graph, keep: &'a HashSet<&'a str>) -> Result<Self> {
        let uses = old.use_counts();
        let mut consumers = vec![None; uses.len()];
        for (id, node) in old.nodes() {
            node.inputs.iter().for_each(|input| consumers[input.index()] = Some(id));
        }
        let mut rewriter =
            Self { old, new: old.emptied(), keep, map: vec![None; uses.len()], uses, consumers };
        for input in old.inputs() {
            let value = old.get(*input);
            let id = rewriter.new.input(&value.name, value.fact.clone())?;
            rewriter.set(*input, id);
        }
        Ok(rewriter)
    }

    /// The nodes that an output or a kept tensor depends on, in order.
    pub(super) fn live(&self) -> Vec<NodeId> {
        let nodes: Vec<_> = self.old.nodes().collect();
        let mut wanted = vec![false; self.map.len()];
        self.old.outputs().iter().for_each(|output| wanted[output.index()] = true);
        let mut live = Vec::new();
        for (id, node) in nodes.into_iter().rev() {
            if node.outputs.iter().any(|o| wanted[o.index()] || self.is_kept(*o)) {
                node.inputs.iter().for_each(|input| wanted[input.index()] = true);
                live.push(id);
            }
        }
        live.reverse();
        live
    }

    /// Whether the value is one that must stay as it is.
    pub(super) fn is_kept(&self, value: ValueId) -> bool {
        !self.keep.is_empty() && self.keep.contains(self.old.get(value).name.as_str())
    }

    /// The only node that reads an old value, once, provided that nobody else sees the value.
    pub(super) fn sole_consumer(&self, value: ValueId) -> Option<(NodeId, &'a Node)> {
        if self.uses[value.index()] != 1 || self.is_kept(value) {
            return None;
        }
        self.consumers[value.index()].map(|id| (id, self.old.node(id)))
    }

    /// Says which new value an old one became.
    pub(super) fn set(&mut self, old: ValueId, new: ValueId) {
        self.map[old.index()] = Some(new);
    }

    /// Whether an old value has a new one, or is a constant.
    pub(super) fn is_known(&self, old: ValueId) -> bool {
        self.map[old.index()].is_some() || self.old.constant_value(old).is_some()
    }

    /// The new value of an old one, if it has been made yet.
    pub(super) fn peek(&self, old: ValueId) -> Option<ValueId> {
        self.map[old.index()]
    }

    /// Whether the value is an output or must stay as it is: then its name matters.
    pub(super) fn is_shown(&self, value: ValueId) -> bool {
        self.old.outputs().contains(&value) || self.is_kept(value)
    }

    /// The new value of an old one.
    pub(super) fn get(&mut self, old: ValueId) -> Result<ValueId> {
        if let Some(new) = self.map[old.index()] {
            return Ok(new);
        }
        let value: &Value = self.old.get(old);
        let Some(tensor) = &value.constant else {
            return Err(Error::Runtime(format!("{}: read before it was written", value.name)));
        };
        let quant = value.fact.quant.as_deref().cloned();
        let new = self.new.constant(&value.name, tensor.clone(), quant)?;
        self.set(old, new);
        Ok(new)
    }

    /// The new values of all operands of an old node.
    pub(super) fn operands(&mut self, node: &Node) -> Result<Vec<ValueId>> {
        node.inputs.iter().map(|input| self.get(*input)).collect()
    }

    /// Type of an old value.
    pub(super) fn fact(&self, old: ValueId) -> &'a Fact {
        self.old.fact(old)
    }

    /// Name of an old value.
    pub(super) fn name(&self, old: ValueId) -> &'a str {
        &self.old.get(old).name
    }

    /// Takes a node over as it is; a requantised constant stays one, for the passes to come.
    pub(super) fn copy(&mut self, id: NodeId) -> Result<()> {
        let node = self.old.node(id);
        let constant = |input: &ValueId| self.old.constant_value(*input).is_some();
        if !(matches!(node.op, Op::Requantize(_)) && node.inputs.iter().all(constant)) {
            return self.copy_folded(id);
        }
        let inputs = self.operands(node)?;
        for output in &node.outputs {
            let kind = self.fact(*output).as_output();
            let new = self.new.add_unfolded(self.name(*output), node.op.clone(), &inputs, kind)?;
            self.set(*output, new);
        }
        Ok(())
    }

    /// Takes a node over; it is computed at once where its operands are constant.
    pub(super) fn copy_folded(&mut self, id: NodeId) -> Result<()> {
        let node = self.old.node(id);
        let inputs = self.operands(node)?;
        self.emit(node, node.op.clone(), &inputs)
    }

    /// Adds a node in place of an old one: same outputs, same types.
    pub(super) fn emit(&mut self, node: &Node, op: Op, inputs: &[ValueId]) -> Result<()> {
        let names: Vec<&str> = node.outputs.iter().map(|output| self.name(*output)).collect();
        let types: Vec<Option<OutputType>> =
            node.outputs.iter().map(|output| Some(self.fact(*output).as_output())).collect();
        let outputs = self.new.add_node(&names, op, inputs, &types)?;
        node.outputs.iter().zip(outputs).for_each(|(old, new)| self.set(*old, new));
        Ok(())
    }

    /// The new graph, with the old one's outputs.
    pub(super) fn finish(mut self) -> Result<Graph> {
        for output in self.old.outputs() {
            let output = self.get(*output)?;
            self.new.output(output);
        }
        Ok(self.new)
    }
}
