//! A graph as an attribute of an operator: a branch, or what a loop does. It has no variables, and its
//! operators keep no state beyond the session's.

use super::{Operand, Prepare};
use crate::builtin::exec::Program;
use crate::builtin::graph::{Fact, Graph};
use crate::builtin::kernels::Tier;
use crate::builtin::kernels::io::{Inputs, Outputs};
use crate::builtin::kernels::threads::Threads;
use crate::builtin::plan;
use crate::{Error, Result, Session};
use std::sync::Arc;

/// A graph that is part of an operator. Two are the same when they are one.
#[derive(Clone, Debug)]
pub struct Body(Arc<Graph>);

impl PartialEq for Body {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl From<Graph> for Body {
    fn from(graph: Graph) -> Self {
        Self(Arc::new(graph))
    }
}

impl Body {
    /// Facts of its outputs.
    pub(super) fn outputs(&self) -> Vec<Fact> {
        self.0.outputs().iter().map(|id| self.0.fact(*id).clone()).collect()
    }

    /// # Errors
    /// It takes other operands than these.
    pub(super) fn takes(&self, operands: &[Operand<'_>]) -> Result<()> {
        let inputs: Vec<&Fact> = self.0.inputs().iter().map(|id| self.0.fact(*id)).collect();
        if inputs.iter().copied().eq(operands.iter().map(|o| o.fact)) && self.0.variables().is_empty() {
            return Ok(());
        }
        let given: Vec<&[usize]> = operands.iter().map(|o| &o.fact.shape[..]).collect();
        let wanted: Vec<&[usize]> = inputs.iter().map(|f| &f.shape[..]).collect();
        Err(Error::ModelInvalid(format!("a graph for operands of {wanted:?} is given {given:?}")))
    }

    /// Elementary operations of one evaluation.
    pub(super) fn work(&self) -> u64 {
        let node = |node: &crate::builtin::graph::Node| {
            let operand = |id: &crate::builtin::graph::ValueId| Operand {
                fact: self.0.fact(*id),
                constant: self.0.constant_value(*id),
            };
            let inputs: Vec<Operand<'_>> = node.inputs.iter().map(operand).collect();
            let outputs: Vec<Fact> = node.outputs.iter().map(|id| self.0.fact(*id).clone()).collect();
            node.op.work(&inputs, &outputs)
        };
        self.0.nodes().fold(0, |sum, (_, n)| sum.saturating_add(node(n)))
    }

    /// Made ready to run.
    ///
    /// # Errors
    /// No kernel does a node, or too much memory.
    pub(super) fn prepare(&self, on: &Prepare<'_>) -> Result<Ready> {
        Ready::new(&self.0, on.tier, on.threads)
    }
}

/// A body ready to run.
pub(super) struct Ready {
    program: Program,
}

impl Ready {
    fn new(graph: &Graph, tier: Tier, threads: &Threads) -> Result<Self> {
        Ok(Self { program: plan::plan(graph.clone(), tier, threads)? })
    }

    /// Bytes that it keeps.
    pub(super) fn bytes(&self) -> usize {
        self.program.arena_bytes()
    }

    /// Sets input `index`.
    ///
    /// # Errors
    /// Another number of bytes.
    pub(super) fn set(&mut self, index: usize, bytes: &[u8]) -> Result<()> {
        self.program.set_input(index, bytes)
    }

    /// Runs it.
    ///
    /// # Errors
    /// As of its operators.
    pub(super) fn run(&mut self) -> Result<()> {
        self.program.invoke()
    }

    /// Output `index`.
    ///
    /// # Errors
    /// There is none.
    pub(super) fn get(&self, index: usize) -> Result<&[u8]> {
        self.program.output(index)
    }

    /// Runs it on operands from `first` on, for these results.
    ///
    /// # Errors
    /// As of its operators.
    pub(super) fn call(&mut self, inputs: Inputs<'_>, first: usize, outputs: &mut Outputs<'_>) -> Result<()> {
        for index in first..inputs.len() {
            self.set(index - first, inputs.bytes(index))?;
        }
        self.run()?;
        for index in 0..outputs.len() {
            outputs.bytes(index).copy_from_slice(self.get(index)?);
        }
        Ok(())
    }
}
