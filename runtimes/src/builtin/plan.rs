//! From a graph to a program: dead nodes go, every live node becomes steps (its own kernel, or a way
//! round through f32), values that are only seen in another shape share memory, and all the rest gets a
//! fixed place in one arena by when it is alive. Nothing of this is left for the invoke.

use super::exec::{Entry, Program, Tap};
use super::graph::{Fact, Graph, Node, NodeId, ValueId};
use super::kernels::Tier;
use super::kernels::io::{Memory, Place};
use super::kernels::memory::ALIGN;
use super::kernels::threads::Threads;
use super::lower::{self, Lowered, Target};
use super::ops::Operand;
use super::tensor::Tensor;
use super::{limits, step::Step};
use crate::{Error, NodeInfo, Result};
use protocol::{BackendProof, Fallback};

/// A value of the plan: first those of the graph, by their number, then temporary ones.
pub(crate) type Slot = usize;

struct Planned {
    step: Step,
    name: String,
    inputs: Vec<Slot>,
    outputs: Vec<Slot>,
}

struct Planner<'a> {
    graph: &'a Graph,
    facts: Vec<Fact>,
    constants: Vec<Option<Tensor>>,
    steps: Vec<Planned>,
    fallbacks: Vec<Fallback>,
    nodes: u32,
    packed_bytes: usize,
}

/// Plans a graph for a tier of kernels.
///
/// # Errors
/// A node that no kernel does, or too much memory.
pub(crate) fn plan(mut graph: Graph, tier: Tier, threads: &Threads) -> Result<Program> {
    let constants = graph.take_constants();
    let graph = &graph;
    let mut planner = Planner::new(graph, constants);
    let live = live_nodes(graph);
    let last = last_uses(graph, &live);
    for ((id, node), _) in graph.nodes().zip(&live).filter(|(_, live)| **live) {
        let name = graph.get(node.outputs[0]).name.clone();
        let place = format!("{} {name:?}", node.op.name());
        planner.lower(node, &name, tier, threads).map_err(|e| e.at(&place))?;
        planner.nodes += 1;
        planner.release(node, id, &last)?;
    }
    planner.finish(tier)
}

fn live_nodes(graph: &Graph) -> Vec<bool> {
    let mut wanted = vec![false; graph.values().count()];
    graph.outputs().iter().for_each(|id| wanted[id.index()] = true);
    let mut live = vec![false; graph.nodes().count()];
    let nodes: Vec<_> = graph.nodes().collect();
    for (id, node) in nodes.into_iter().rev() {
        if node.outputs.iter().any(|o| wanted[o.index()]) {
            live[id.index()] = true;
            node.inputs.iter().for_each(|i| wanted[i.index()] = true);
        }
    }
    live
}

/// For every value the last live node that reads it; none for what is read after all nodes.
fn last_uses(graph: &Graph, live: &[bool]) -> Vec<Option<NodeId>> {
    let mut last = vec![None; graph.values().count()];
    for ((id, node), _) in graph.nodes().zip(live).filter(|(_, live)| **live) {
        node.inputs.iter().for_each(|i| last[i.index()] = Some(id));
    }
    graph.outputs().iter().for_each(|o| last[o.index()] = None);
    last
}

impl<'a> Planner<'a> {
    fn new(graph: &'a Graph, constants: Vec<Option<Tensor>>) -> Self {
        Self {
            graph,
            facts: graph.values().map(|(_, v)| v.fact.clone()).collect(),
            constants,
            steps: Vec::new(),
            fallbacks: Vec::new(),
            nodes: 0,
            packed_bytes: 0,
        }
    }

    fn lower(&mut self, node: &Node, name: &str, tier: Tier, threads: &Threads) -> Result<()> {
        let slots = |ids: &[ValueId]| ids.iter().map(|id| id.index()).collect::<Vec<Slot>>();
        let (inputs, outputs) = (slots(&node.inputs), slots(&node.outputs));
        let operand = |i: &Slot| Operand { fact: &self.facts[*i], constant: self.constants[*i].as_ref() };
        let operands: Vec<Operand<'_>> = inputs.iter().map(operand).collect();
        let results: Vec<Fact> = outputs.iter().map(|o| self.facts[*o].clone()).collect();
        let on = Target { tier, threads, dialect: self.graph.dialect() };
        match lower::lower(&node.op, &operands, &results, on)? {
            Lowered::Direct(step) => self.push(step, name, inputs, outputs)?,
            Lowered::ThroughF32 { before, step, after, reason } => {
                let mut reals = Vec::new();
                for (slot, converted) in inputs.into_iter().zip(before) {
                    reals.push(match converted {
                        lower::AsReal::Same => slot,
                        lower::AsReal::Constant(tensor) => self.temporary_constant(tensor)?,
                        lower::AsReal::Step(step, fact) => {
                            let real = self.temporary(fact);
                            self.push(step, name, vec![slot], vec![real])?;
                            real
                        }
                    });
                }
                let mut last = Vec::new();
                let mut targets = Vec::new();
                for (slot, converted) in outputs.into_iter().zip(after) {
                    targets.push(match converted {
                        Some((step, fact)) => {
                            let real = self.temporary(fact);
                            last.push((step, real, slot));
                            real
                        }
                        None => slot,
                    });
                }
                self.push(step, name, reals, targets)?;
                for (step, from, to) in last {
                    self.push(step, name, vec![from], vec![to])?;
                }
                let op = node.op.name().to_owned();
                self.fallbacks.push(Fallback { node: name.to_owned(), op, reason });
            }
        }
        Ok(())
    }

    /// Lets go of the constants of a node that no later node and no step reads: they were packed, and memory for both
    /// would only be needed while everything is made ready.
    fn release(&mut self, node: &Node, id: NodeId, last: &[Option<NodeId>]) -> Result<()> {
        for slot in node.inputs.iter().map(|i| i.index()).filter(|slot| last[*slot] == Some(id)) {
            // What a step only passes on may be read later.
            let reads = |p: &Planned| p.step.packed.is_none() || p.step.run.is_none();
            let read = self.steps.iter().any(|p| reads(p) && p.inputs.contains(&slot));
            if let Some(tensor) = self.constants[slot].as_mut().filter(|_| !read) {
                *tensor = Tensor::zeros(tensor.dtype(), &[0])?;
            }
        }
        Ok(())
    }

    fn push(&mut self, step: Step, name: &str, inputs: Vec<Slot>, outputs: Vec<Slot>) -> Result<()> {
        self.spend(step.packed.unwrap_or(0).saturating_add(step.held))?;
        self.steps.push(Planned { step, name: name.to_owned(), inputs, outputs });
        Ok(())
    }

    /// Counts bytes that constants were made into.
    fn spend(&mut self, bytes: usize) -> Result<()> {
        self.packed_bytes = self.packed_bytes.saturating_add(bytes);
        if self.packed_bytes > limits::MAX_PACKED_BYTES {
            return Err(Error::Unsupported("more packed weights than is allowed".to_owned()));
        }
        Ok(())
    }

    fn temporary(&mut self, fact: Fact) -> Slot {
        self.facts.push(fact);
        self.constants.push(None);
        self.facts.len() - 1
    }

    fn temporary_constant(&mut self, tensor: Tensor) -> Result<Slot> {
        self.spend(tensor.bytes().len())?;
        self.facts.push(Fact::new(tensor.dtype(), tensor.shape()));
        self.constants.push(Some(tensor));
        Ok(self.facts.len() - 1)
    }

    fn finish(self, tier: Tier) -> Result<Program> {
        let roots = self.roots();
        let layout = Layout::new(&self, &roots)?;
        let mut constants = Vec::new();
        let mut places: Vec<Option<Place>> = layout.places;
        let mut read = vec![false; self.facts.len()];
        for planned in self.steps.iter().filter(|p| p.step.packed.is_none()) {
            planned.inputs.iter().for_each(|i| read[roots[*i]] = true);
        }
        self.graph.outputs().iter().for_each(|o| read[roots[o.index()]] = true);
        for (slot, constant) in self.constants.iter().enumerate() {
            if let Some(tensor) = constant {
                // A constant that was packed stays only as an empty operand.
                let kept = if read[slot] { tensor.clone() } else { Tensor::zeros(tensor.dtype(), &[0])? };
                places[slot] = Some(Place::Constant(constants.len()));
                constants.push(kept);
            }
        }
        let mut memory = Memory::new(layout.bytes, constants)?;
        let place = |slot: &Slot| {
            places[roots[*slot]]
                .ok_or_else(|| Error::ModelInvalid("a value that nothing computes".to_owned()))
        };
        let mut entries = Vec::new();
        let mut nodes = Vec::new();
        for (planned, scratch) in self.steps.into_iter().zip(layout.scratch) {
            let inputs = planned.inputs.iter().map(place).collect::<Result<Vec<_>>>()?;
            let outputs = planned.outputs.iter().map(place).collect::<Result<Vec<_>>>()?;
            let run = planned.step.run;
            if run.is_some() {
                memory.add_step(&inputs, &outputs, scratch)?;
            }
            nodes.push(NodeInfo {
                name: planned.name.clone(),
                op: planned.step.label.to_owned(),
                unit: "CPU".to_owned(),
            });
            let tap = Tap::new(&planned.name, &self.facts[planned.outputs[0]], outputs[0]);
            entries.push(Entry { run, tap });
        }
        let interface = |ids: &[ValueId]| {
            let tap = |id: &ValueId| {
                let value = self.graph.get(*id);
                Ok(Tap::new(&value.name, &value.fact, place(&id.index())?))
            };
            ids.iter().map(tap).collect::<Result<Vec<_>>>()
        };
        let proof = BackendProof {
            runtime_version: env!("CARGO_PKG_VERSION").to_owned(),
            kernels: tier.name().to_owned(),
            nodes_total: self.nodes,
            nodes_on_backend: self.nodes - self.fallbacks.len() as u32,
            partitions: 1,
            fallbacks: self.fallbacks,
            units: Vec::new(),
        };
        let (mut inputs, mut outputs) = (interface(self.graph.inputs())?, interface(self.graph.outputs())?);
        let variables = self.graph.variables();
        let read = inputs.split_off(inputs.len().saturating_sub(variables.len()));
        let written = outputs.split_off(outputs.len().saturating_sub(variables.len()));
        let mut program = Program::new(memory, entries, nodes, inputs, outputs, proof);
        for ((written, read), initial) in written.iter().zip(&read).zip(variables) {
            program.variable(written, read, initial.bytes())?;
        }
        Ok(program)
    }

    /// For every slot, the one whose memory it uses.
    fn roots(&self) -> Vec<Slot> {
        let mut roots: Vec<Slot> = (0..self.facts.len()).collect();
        for planned in self.steps.iter().filter(|p| p.step.run.is_none()) {
            roots[planned.outputs[0]] = roots[planned.inputs[0]];
        }
        roots
    }
}

struct Layout {
    places: Vec<Option<Place>>,
    scratch: Vec<Place>,
    bytes: usize,
}

/// Free and used parts of the arena at one moment of the program.
#[derive(Default)]
struct Arena {
    free: Vec<(usize, usize)>,
    end: usize,
}

impl Arena {
    /// The smallest free part that is large enough, else more memory.
    fn take(&mut self, bytes: usize) -> Result<usize> {
        let need = bytes.max(1).next_multiple_of(ALIGN);
        let fits = self.free.iter().enumerate().filter(|(_, (_, len))| *len >= need);
        if let Some((i, _)) = fits.min_by_key(|(_, (_, len))| *len) {
            let (offset, len) = self.free[i];
            if len == need {
                self.free.swap_remove(i);
            } else {
                self.free[i] = (offset + need, len - need);
            }
            return Ok(offset);
        }
        let offset = self.end;
        self.end = offset
            .checked_add(need)
            .filter(|n| *n <= limits::MAX_ARENA_BYTES)
            .ok_or_else(|| Error::Unsupported("more memory for activations than is allowed".to_owned()))?;
        Ok(offset)
    }

    fn give_back(&mut self, offset: usize, bytes: usize) {
        let mut part = (offset, bytes.max(1).next_multiple_of(ALIGN));
        self.free.retain(|&(o, len)| {
            let joins = o + len == part.0 || part.0 + part.1 == o;
            if joins {
                part = (o.min(part.0), len + part.1);
            }
            !joins
        });
        self.free.push(part);
    }
}

impl Layout {
    fn new(planner: &Planner<'_>, roots: &[Slot]) -> Result<Self> {
        let count = planner.facts.len();
        let mut last = vec![0usize; count];
        for (at, planned) in planner.steps.iter().enumerate() {
            planned.inputs.iter().chain(&planned.outputs).for_each(|s| last[roots[*s]] = at);
        }
        // Inputs are set once and read by every invoke, outputs are read after it.
        let forever = planner.graph.inputs().iter().chain(planner.graph.outputs());
        forever.for_each(|id| last[roots[id.index()]] = usize::MAX);
        let mut layout = Self { places: vec![None; count], scratch: Vec::new(), bytes: 0 };
        let mut arena = Arena::default();
        for id in planner.graph.inputs() {
            layout.place(&mut arena, planner, id.index())?;
        }
        for (at, planned) in planner.steps.iter().enumerate() {
            for slot in planned.outputs.iter().map(|s| roots[*s]) {
                layout.place(&mut arena, planner, slot)?;
            }
            let scratch = arena.take(planned.step.scratch)?;
            layout.scratch.push(Place::Arena { offset: scratch, len: planned.step.scratch });
            arena.give_back(scratch, planned.step.scratch);
            let mut gone: Vec<Slot> =
                planned.inputs.iter().chain(&planned.outputs).map(|s| roots[*s]).collect();
            gone.sort_unstable();
            gone.dedup();
            for slot in gone.into_iter().filter(|s| last[*s] == at) {
                if let Some(Place::Arena { offset, len }) = layout.places[slot] {
                    arena.give_back(offset, len);
                }
            }
        }
        layout.bytes = arena.end;
        Ok(layout)
    }

    fn place(&mut self, arena: &mut Arena, planner: &Planner<'_>, slot: Slot) -> Result<()> {
        if self.places[slot].is_none() && planner.constants[slot].is_none() {
            let len = planner.facts[slot].bytes();
            self.places[slot] = Some(Place::Arena { offset: arena.take(len)?, len });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Session;
    use crate::builtin::kernels::memory::as_bytes;
    use crate::builtin::ops::{Binary, BinaryKind, Clamp, Dynamic, FullyConnected, Reshape};
    use protocol::DType;

    fn constants(graph: &Graph) -> Vec<Option<Tensor>> {
        graph.values().map(|(_, v)| v.constant.clone()).collect()
    }

    fn add(graph: &mut Graph, name: &str, a: ValueId, b: ValueId) -> ValueId {
        graph.add(name, Binary::new(BinaryKind::Add), &[a, b]).unwrap()
    }

    #[test]
    fn dead_nodes_do_not_run_and_memory_is_used_again() {
        let mut graph = Graph::new();
        let x = graph.input("x", Fact::new(DType::F32, &[1000])).unwrap();
        let mut value = x;
        for i in 0..50 {
            value = add(&mut graph, &format!("v{i}"), value, x);
        }
        add(&mut graph, "dead", value, x);
        graph.output(value);
        let mut planner = Planner::new(&graph, constants(&graph));
        for ((_, node), live) in graph.nodes().zip(live_nodes(&graph)) {
            assert_eq!(live, graph.get(node.outputs[0]).name != "dead");
            if live {
                planner.lower(node, "", Tier::Portable, &Threads::one()).unwrap();
            }
        }
        let layout = Layout::new(&planner, &planner.roots()).unwrap();
        // The input, two that alternate, and an empty scratch.
        assert!(layout.bytes <= 3 * 4032 + 64, "{}", layout.bytes);
        let mut program = plan(graph, Tier::Portable, &Threads::one()).unwrap();
        assert_eq!(program.nodes().len(), 50);
        program.set_input(0, as_bytes(&[1f32; 1000])).unwrap();
        for _ in 0..2 {
            program.invoke().unwrap();
            assert_eq!(program.output(0).unwrap(), as_bytes(&[51f32; 1000]));
        }
    }

    #[test]
    fn a_value_lives_until_its_last_view_is_read() {
        let mut graph = Graph::new();
        let x = graph.input("x", Fact::new(DType::F32, &[2, 2])).unwrap();
        let y = add(&mut graph, "y", x, x);
        let view = graph.add("view", Reshape { shape: vec![4] }, &[y]).unwrap();
        let z = add(&mut graph, "z", x, x);
        let z = add(&mut graph, "zz", z, z);
        let z = graph.add("flat", Reshape { shape: vec![4] }, &[z]).unwrap();
        let sum = add(&mut graph, "sum", view, z);
        graph.output(sum);
        graph.output(view);
        graph.output(x);
        let mut program = plan(graph, Tier::Portable, &Threads::one()).unwrap();
        program.set_input(0, as_bytes(&[1f32, 2.0, 3.0, 4.0])).unwrap();
        program.invoke().unwrap();
        assert_eq!(program.output(0).unwrap(), as_bytes(&[6f32, 12.0, 18.0, 24.0]));
        assert_eq!(program.output(1).unwrap(), as_bytes(&[2f32, 4.0, 6.0, 8.0]));
        assert_eq!(program.output(2).unwrap(), as_bytes(&[1f32, 2.0, 3.0, 4.0]));
    }

    #[test]
    fn packing_the_same_weights_for_many_nodes_is_bounded() {
        let mut graph = Graph::new();
        // One column of 4 MB becomes a block of sixteen: 64 MB per node.
        let depth = 1 << 20;
        let x = graph.input("x", Fact::new(DType::F32, &[1, depth])).unwrap();
        let w = graph.constant("w", Tensor::zeros(DType::F32, &[1, depth]).unwrap(), None).unwrap();
        let op = FullyConnected { keep_dims: false, clamp: Clamp::NONE, dynamic: Dynamic::PerRow };
        for i in 0..40 {
            let y = graph.add(&format!("y{i}"), op, &[x, w]).unwrap();
            graph.output(y);
        }
        let mut planner = Planner::new(&graph, constants(&graph));
        planner.packed_bytes = limits::MAX_PACKED_BYTES - (100 << 20);
        let (_, node) = graph.nodes().next().unwrap();
        planner.lower(node, "y", Tier::Portable, &Threads::one()).unwrap();
        assert!(planner.lower(node, "y", Tier::Portable, &Threads::one()).is_err());
    }
}
