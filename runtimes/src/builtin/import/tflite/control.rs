//! Control flow between subgraphs, and variables. A subgraph that is certain to run is built into the graph
//! that calls it; branches and loops become nodes that hold graphs of their own.

use super::importer::{Importer, invalid, uses};
use super::options;
use super::schema::{Operator, SubGraph};
use crate::builtin::graph::{Fact, ValueId};
use crate::builtin::ops::{Body, Branch, Op, Repeat};
use crate::builtin::tensor::Tensor as Constant;
use crate::builtin::{limits, passes};
use crate::{Error, Result};
use protocol::Quantization;
use std::collections::HashMap;

/// What outlives a subgraph while a file is imported.
#[derive(Clone, Debug, Default)]
pub(super) struct Control {
    /// Operators built, of all subgraphs, each as often as it was built.
    operators: usize,
    /// Subgraphs around this one.
    depth: usize,
    /// Loops around this one.
    loops: usize,
    /// The subgraph is one that gives variables their first values.
    initial: bool,
    /// The subgraph belongs to a branch or loop.
    inner: bool,
    /// The variable behind a tensor of the subgraph.
    handles: HashMap<usize, usize>,
    variables: Vec<Variable>,
}

#[derive(Clone, Debug)]
struct Variable {
    name: Vec<u8>,
    initial: Option<(Constant, Option<Quantization>)>,
    /// The graph's input, once it has been read before it was written.
    input: Option<ValueId>,
    current: Option<ValueId>,
}

impl Control {
    /// Counts an operator.
    ///
    /// # Errors
    /// Subgraphs that call each other often have more operators than a graph may.
    pub(super) fn count(&mut self) -> Result<()> {
        self.operators += 1;
        if self.operators > limits::MAX_NODES {
            return Err(Error::Unsupported(format!("more than {} operators", limits::MAX_NODES)));
        }
        Ok(())
    }
}

/// What a subgraph is built for.
enum Given {
    /// Known elements.
    Constant(Constant, Option<Quantization>),
    /// An input of its graph.
    Input(Fact),
}

impl<'m, 'a> Importer<'m, 'a> {
    fn subgraph(&self, index: usize) -> Result<&'m SubGraph<'a>> {
        if self.control.depth >= limits::MAX_GRAPH_DEPTH {
            let most = limits::MAX_GRAPH_DEPTH;
            return Err(Error::Unsupported(format!("subgraphs inside subgraphs, more than {most} deep")));
        }
        self.model.subgraphs.get(index).ok_or_else(|| invalid(format!("no subgraph {index}")))
    }

    pub(super) fn if_(&mut self, operator: &Operator<'_>) -> Result<()> {
        let [then, otherwise] = options::if_(operator)?;
        let condition = self.operand(operator, 0)?;
        let known = self.graph.constant_value(condition).map(Constant::to_i64).transpose()?;
        if let Some(known) = known {
            let holds = known.first().is_some_and(|c| *c != 0);
            let results = self.inlined(operator, 1, if holds { then } else { otherwise })?;
            return self.several(operator, results);
        }
        let arguments = (1..operator.inputs.len()).map(|i| self.operand(operator, i));
        let arguments = arguments.collect::<Result<Vec<_>>>()?;
        let mut operands = vec![condition];
        operands.extend(arguments.iter().filter(|a| self.graph.constant_value(**a).is_none()));
        let order: Vec<usize> = (0..arguments.len()).collect();
        let mut body = |index: usize| {
            let given = arguments.iter().map(|a| self.given(*a)).collect();
            let outputs: Vec<usize> = (0..self.subgraph(index)?.outputs.len()).collect();
            self.body(index, &arguments, given, &order, &outputs)
        };
        let op = Branch { then: body(then)?, otherwise: body(otherwise)? };
        let results = self.node(operator, op.into(), &operands, operator.outputs.clone())?;
        self.several(operator, results)
    }

    pub(super) fn while_(&mut self, operator: &Operator<'_>) -> Result<()> {
        let [condition, body] = options::while_(operator)?;
        let source = self.subgraph(body)?;
        let count = operator.inputs.len();
        if [source.inputs.len(), source.outputs.len(), operator.outputs.len()] != [count; 3] {
            return Err(invalid(format!("a loop over {count} values whose body has another number")));
        }
        let arguments = (0..count).map(|i| self.operand(operator, i)).collect::<Result<Vec<_>>>()?;
        let stays = |i: &usize| source.inputs[*i] == source.outputs[*i];
        let known = |i: &usize| self.graph.constant_value(arguments[*i]).is_some();
        let (staying, round): (Vec<usize>, Vec<usize>) = (0..count).partition(stays);
        let mut order = round.clone();
        order.extend(staying.iter().filter(|i| !known(i)));
        let operands: Vec<ValueId> = order.iter().map(|i| arguments[*i]).collect();
        order.extend(staying.iter().filter(|i| known(i)));
        let given = |importer: &Self| {
            let one = |i: usize| match importer.given(arguments[i]) {
                // It is constant only before the first step.
                Given::Constant(..) if round.contains(&i) => {
                    Given::Input(importer.graph.fact(arguments[i]).clone())
                }
                given => given,
            };
            (0..count).map(one).collect()
        };
        let most = match self.control.loops {
            0 => limits::MAX_LOOP_STEPS,
            1 => limits::MAX_INNER_LOOP_STEPS,
            _ => return Err(Error::Unsupported("a loop in a loop in a loop".to_owned())),
        };
        self.control.loops += 1;
        let condition = self.body(condition, &arguments, given(self), &order, &[0])?;
        let body = self.body(body, &arguments, given(self), &order, &round)?;
        self.control.loops -= 1;
        let results = if round.is_empty() {
            Vec::new()
        } else {
            let outputs = round.iter().map(|i| operator.outputs[*i]).collect();
            self.node(operator, Repeat { condition, body, most }.into(), &operands, outputs)?
        };
        for (i, result) in round.iter().zip(results) {
            self.set(operator.outputs[*i], result);
        }
        for i in staying {
            self.set(operator.outputs[i], arguments[i]);
        }
        Ok(())
    }

    pub(super) fn call(&mut self, operator: &Operator<'_>) -> Result<()> {
        let results = self.inlined(operator, 0, options::call(operator)?)?;
        self.several(operator, results)
    }

    /// Runs before the first invoke: everything in it is known.
    pub(super) fn call_once(&mut self, operator: &Operator<'_>) -> Result<()> {
        let initial = std::mem::replace(&mut self.control.initial, true);
        self.inlined(operator, 0, options::call_once(operator)?)?;
        self.control.initial = initial;
        Ok(())
    }

    fn several(&mut self, operator: &Operator<'_>, results: Vec<ValueId>) -> Result<()> {
        if results.len() != operator.outputs.len() {
            let (given, wanted) = (results.len(), operator.outputs.len());
            return Err(invalid(format!("a subgraph with {given} results where {wanted} are wanted")));
        }
        operator.outputs.iter().zip(results).for_each(|(index, value)| self.set(*index, value));
        Ok(())
    }

    /// Adds a node whose results are these tensors.
    fn node(
        &mut self,
        operator: &Operator<'_>,
        op: Op,
        operands: &[ValueId],
        outputs: Vec<usize>,
    ) -> Result<Vec<ValueId>> {
        let model = self.model;
        let names = outputs.iter().map(|i| Ok(self.tensor(*i)?.name.to_string()));
        let names = names.collect::<Result<Vec<_>>>().map_err(|e| e.at(&model.operator_name(operator)))?;
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        self.graph.add_node(&names, op, operands, &vec![None; names.len()])
    }

    /// Builds a subgraph into this graph, for operands from `first` on.
    fn inlined(&mut self, operator: &Operator<'_>, first: usize, index: usize) -> Result<Vec<ValueId>> {
        let source = self.subgraph(index)?;
        if source.inputs.len() != operator.inputs.len().saturating_sub(first) {
            let (given, wanted) = (operator.inputs.len().saturating_sub(first), source.inputs.len());
            return Err(invalid(format!("{given} operands for a subgraph of {wanted}")));
        }
        let (mut values, mut handles) = (vec![None; source.tensors.len()], HashMap::new());
        for (position, input) in source.inputs.iter().enumerate() {
            let tensor = self.required(operator, first + position)?;
            match self.control.handles.get(&tensor) {
                Some(variable) => {
                    handles.insert(*input, *variable);
                }
                None => values[*input] = Some(self.value(tensor)?),
            }
        }
        let outer = (
            std::mem::replace(&mut self.source, source),
            std::mem::replace(&mut self.values, values),
            std::mem::replace(&mut self.uses, uses(source)),
            std::mem::replace(&mut self.control.handles, handles),
            std::mem::take(&mut self.parts),
            std::mem::take(&mut self.complex),
        );
        self.control.depth += 1;
        self.operators().map_err(|e| e.at(&format!("subgraph {index}")))?;
        let results = source.outputs.iter().map(|i| self.value(*i)).collect();
        self.control.depth -= 1;
        (self.source, self.values, self.uses, self.control.handles, self.parts, self.complex) = outer;
        results
    }

    /// What a subgraph is told of a value.
    fn given(&self, value: ValueId) -> Given {
        let fact = self.graph.fact(value);
        match self.graph.constant_value(value) {
            Some(constant) => Given::Constant(constant.clone(), fact.quant.as_deref().cloned()),
            None => Given::Input(fact.clone()),
        }
    }

    /// Builds a subgraph as a graph of its own, with some of its outputs. Inputs that are not given are those of
    /// the graph, in this order.
    fn body(
        &mut self,
        index: usize,
        arguments: &[ValueId],
        given: Vec<Given>,
        order: &[usize],
        outputs: &[usize],
    ) -> Result<Body> {
        let source = self.subgraph(index)?;
        if source.inputs.len() != given.len() {
            return Err(invalid(format!(
                "{} operands for a subgraph of {}",
                given.len(),
                source.inputs.len()
            )));
        }
        let mut control = std::mem::take(&mut self.control);
        let (inner, handles) = (control.inner, std::mem::take(&mut control.handles));
        (control.inner, control.depth) = (true, control.depth + 1);
        let mut child = Importer::new(self.model, source, self.graph.inside(), control);
        let built = child.built(&given, order, outputs);
        self.control = std::mem::take(&mut child.control);
        (self.control.inner, self.control.handles) = (inner, handles);
        self.control.depth = self.control.depth.saturating_sub(1);
        if built.is_err() && !child.needs.is_empty() {
            // Inputs of the subgraph are values of this graph.
            self.needs.extend(arguments);
        }
        built.map_err(|e| e.at(&format!("subgraph {index}")))?;
        self.graph.spend_as(&child.graph);
        Ok(passes::optimize(&child.graph, &[])?.into())
    }

    fn built(&mut self, given: &[Given], order: &[usize], outputs: &[usize]) -> Result<()> {
        for position in order {
            let index = self.source.inputs[*position];
            let name = &self.tensor(index)?.name;
            let value = match &given[*position] {
                Given::Constant(constant, quant) => {
                    self.graph.constant(name, constant.clone(), quant.clone())?
                }
                Given::Input(fact) => self.graph.input(name, fact.clone())?,
            };
            self.set(index, value);
        }
        self.operators()?;
        for position in outputs {
            let index = self.source.outputs.get(*position).copied();
            let value = self.value(index.ok_or_else(|| invalid("a subgraph without result".to_owned()))?)?;
            self.graph.output(value);
        }
        Ok(())
    }

    pub(super) fn var_handle(&mut self, operator: &Operator<'_>) -> Result<()> {
        let name = options::var_handle(operator)?;
        let index = self.result(operator, 0)?;
        let variables = &mut self.control.variables;
        let known = variables.iter().position(|v| v.name == name).unwrap_or_else(|| {
            variables.push(Variable { name, initial: None, input: None, current: None });
            variables.len() - 1
        });
        self.control.handles.insert(index, known);
        Ok(())
    }

    fn variable(&self, operator: &Operator<'_>) -> Result<usize> {
        if self.control.inner {
            return Err(Error::Unsupported("a variable inside a branch or loop".to_owned()));
        }
        let index = self.required(operator, 0)?;
        let known = self.control.handles.get(&index).copied();
        known.ok_or_else(|| invalid("a variable that no earlier node names".to_owned()))
    }

    pub(super) fn read_variable(&mut self, operator: &Operator<'_>) -> Result<()> {
        let number = self.variable(operator)?;
        let index = self.result(operator, 0)?;
        let variable = &self.control.variables[number];
        let value = match (variable.current, &variable.initial) {
            (Some(current), _) => current,
            (None, Some((initial, quant))) => {
                let name = &self.tensor(index)?.name;
                let value = self.graph.variable(name, initial.clone(), quant.clone())?;
                let variable = &mut self.control.variables[number];
                (variable.input, variable.current) = (Some(value), Some(value));
                value
            }
            (None, None) => return Err(Error::Unsupported("a variable without a first value".to_owned())),
        };
        self.set(index, value);
        Ok(())
    }

    pub(super) fn assign_variable(&mut self, operator: &Operator<'_>) -> Result<()> {
        let number = self.variable(operator)?;
        let value = self.operand(operator, 1)?;
        if !self.control.initial {
            self.control.variables[number].current = Some(value);
            return Ok(());
        }
        let Given::Constant(constant, quant) = self.given(value) else {
            return Err(Error::Unsupported("a variable whose first value is computed".to_owned()));
        };
        self.control.variables[number].initial = Some((constant, quant));
        Ok(())
    }

    /// Ends the graph: what variables are to be at the next invoke.
    pub(super) fn written(&mut self) {
        // Their inputs were made in the order in which they were first read.
        let inputs = self.graph.inputs();
        let first = inputs.len() - self.graph.variables().len();
        let order = inputs[first..].to_vec();
        for input in order {
            let variable = self.control.variables.iter().find(|v| v.input == Some(input));
            let current = variable.and_then(|v| v.current).unwrap_or(input);
            self.graph.output(current);
        }
    }
}
