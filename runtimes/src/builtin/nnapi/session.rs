//! A graph cut into parts for a device and for the CPU, as a session: what one part gives, later ones read.

use super::host::{Host, Request};
use super::partition::{self, Part};
use super::{Cached, Compiled, Device, Durations, Options};
use crate::builtin::graph::{Graph, Node, ValueId};
use crate::builtin::kernels::Tier;
use crate::{Error, NodeInfo, Observer, Result, Session, StopWatch};
use protocol::{BackendProof, Fallback, NodeProfile, TensorInfo, UnitShare};
use std::ops::Range;

/// The unit of what no device takes.
const CPU: &str = "CPU";

/// Where a value is found.
#[derive(Clone, Copy, Debug)]
enum Source {
    /// An input of the model or a constant that is an output.
    Given(usize),
    /// A result of a part.
    Made { part: usize, output: usize },
}

struct Running {
    compiled: Box<dyn Compiled>,
    inputs: Vec<Source>,
    outputs: Vec<Vec<u8>>,
    on_device: bool,
    nodes: Range<usize>,
    took: Durations,
}

/// A partitioned model, ready to run.
pub(super) struct Partitioned {
    parts: Vec<Running>,
    given: Vec<Vec<u8>>,
    inputs: Vec<TensorInfo>,
    outputs: Vec<TensorInfo>,
    output_sources: Vec<Source>,
    nodes: Vec<NodeInfo>,
    proof: BackendProof,
    device: String,
}

/// By number of the node, why the device does not take it.
type Refused = Vec<Option<String>>;

impl Partitioned {
    /// Cuts a graph and compiles its parts. A partition that the device takes back goes to the CPU with the
    /// device's reason.
    ///
    /// # Errors
    /// A node that not even the CPU does, or no memory.
    pub(super) fn new(graph: &Graph, device: &dyn Device, options: &Options, note: &str) -> Result<Self> {
        let live = partition::live(graph);
        let mut refused: Refused = device.refusals(graph, options)?;
        if refused.len() != live.len() {
            let (nodes, answers) = (live.len(), refused.len());
            let message = format!("the device gave {answers} answers for {nodes} nodes");
            return Err(Error::Runtime(message).at(&device.info().name));
        }
        loop {
            let parts = cut(graph, &live, &mut refused)?;
            let mut compiled = Vec::new();
            for part in &parts {
                if !part.on_device {
                    compiled.push(on_cpu(part)?);
                    continue;
                }
                match device.compile(&part.graph, options) {
                    Ok(made) => compiled.push(made),
                    Err(e) => {
                        let reason = format!("the device did not compile its partition: {e}");
                        part.nodes.iter().for_each(|id| refused[id.index()] = Some(reason.clone()));
                    }
                }
            }
            if compiled.len() == parts.len() {
                return Self::assemble(graph, parts, compiled, &refused, &Asked { device, options, note });
            }
        }
    }

    fn assemble(
        graph: &Graph,
        parts: Vec<Part>,
        compiled: Vec<Box<dyn Compiled>>,
        refused: &Refused,
        asked: &Asked<'_>,
    ) -> Result<Self> {
        let mut sources: Vec<Option<Source>> = vec![None; graph.values().count()];
        let mut given = Vec::new();
        let constant = |id: &&ValueId| graph.constant_value(**id).is_some();
        for id in graph.inputs().iter().chain(graph.outputs().iter().filter(constant)) {
            sources[id.index()] = Some(Source::Given(given.len()));
            given.push(match graph.constant_value(*id) {
                Some(tensor) => tensor.bytes().to_vec(),
                None => vec![0; graph.fact(*id).bytes()],
            });
        }
        for (index, part) in parts.iter().enumerate() {
            for (output, id) in part.outputs.iter().enumerate() {
                sources[id.index()] = Some(Source::Made { part: index, output });
            }
        }
        let find = |id: &ValueId| {
            let missing =
                || Error::ModelInvalid(format!("{}: a value that nothing computes", graph.get(*id).name));
            sources[id.index()].ok_or_else(missing)
        };
        let proof = asked.proof(graph, &parts, &compiled, refused);
        let device = asked.device.info().name.clone();
        let mut running = Vec::new();
        let mut nodes = Vec::new();
        for (part, compiled) in parts.into_iter().zip(compiled) {
            let inputs = part.inputs.iter().map(find).collect::<Result<Vec<_>>>()?;
            let outputs = part.outputs.iter().map(|id| vec![0; graph.fact(*id).bytes()]).collect();
            let (first, on_device) = (nodes.len(), part.on_device);
            let unit = if on_device { device.as_str() } else { CPU };
            nodes.extend(compiled.nodes().into_iter().map(|n| NodeInfo { unit: unit.to_owned(), ..n }));
            let nodes = first..nodes.len();
            running.push(Running { compiled, inputs, outputs, on_device, nodes, took: Durations::default() });
        }
        let output_sources = graph.outputs().iter().map(find).collect::<Result<Vec<_>>>()?;
        let infos =
            |ids: &[ValueId]| ids.iter().map(|id| graph.fact(*id).info(&graph.get(*id).name)).collect();
        Ok(Self {
            parts: running,
            given,
            inputs: infos(graph.inputs()),
            outputs: infos(graph.outputs()),
            output_sources,
            nodes,
            proof,
            device,
        })
    }

    fn execute(&mut self, mut observer: Option<&mut dyn Observer>) -> Result<()> {
        for index in 0..self.parts.len() {
            let (before, rest) = self.parts.split_at_mut(index);
            let Some(part) = rest.first_mut() else { break };
            let bytes = |source: &Source| match *source {
                Source::Given(i) => self.given[i].as_slice(),
                Source::Made { part, output } => before[part].outputs[output].as_slice(),
            };
            let inputs: Vec<&[u8]> = part.inputs.iter().map(bytes).collect();
            part.took = match &mut observer {
                None => part.compiled.run(&inputs, &mut part.outputs)?,
                Some(observer) => {
                    part.compiled.run_observed(&inputs, &mut part.outputs, part.nodes.start, *observer)?
                }
            };
        }
        Ok(())
    }

    /// After an observed run: what the driver says of the time, apart from what was seen from outside. Per partition
    /// two more rows, the driver's own time and the way to it; a partition whose nodes are not seen has the
    /// hardware's time in its row, where the driver tells.
    fn split(&self, rows: &mut [NodeProfile]) {
        let (seen, told) = rows.split_at_mut(self.nodes.len());
        let partitions = self.parts.iter().filter(|p| p.on_device);
        for (part, told) in partitions.zip(told.chunks_exact_mut(2)) {
            let last = |row: &NodeProfile| row.wall_ns.last().copied().unwrap_or_default();
            let seen = &mut seen[part.nodes.clone()];
            let outside: u64 = seen.iter().map(last).sum();
            let Durations { hardware_ns, driver_ns } = part.took;
            let hardware = hardware_ns.unwrap_or(outside);
            let driver = driver_ns.unwrap_or(hardware).saturating_sub(hardware);
            let whole = part.compiled.is_opaque();
            if let ([row], true) = (&mut *seen, whole) {
                row.wall_ns.last_mut().into_iter().for_each(|wall| *wall = hardware.min(outside));
            }
            let way = if whole { outside.saturating_sub(hardware).saturating_sub(driver) } else { 0 };
            told.iter_mut().zip([driver, way]).for_each(|(row, ns)| row.wall_ns.push(ns));
        }
    }
}

fn on_cpu(part: &Part) -> Result<Box<dyn Compiled>> {
    Ok(Box::new(Host::new(&part.graph, Tier::detect(), Request::Direct, Cached::Unused)?))
}

/// Cuts the graph; what is not worth a partition is added to what is refused.
fn cut(graph: &Graph, live: &[bool], refused: &mut Refused) -> Result<Vec<Part>> {
    loop {
        let on_device: Vec<bool> = refused.iter().map(Option::is_none).collect();
        let parts = partition::parts(graph, live, &on_device)?;
        let idle = partition::idle(&parts, graph);
        if idle.is_empty() {
            return Ok(parts);
        }
        let reason = "the device takes it, but a partition that only moves elements is not worth the way";
        idle.into_iter().for_each(|id| refused[id.index()] = Some(reason.to_owned()));
    }
}

/// Who was asked for what: the proof's side of the story.
struct Asked<'a> {
    device: &'a dyn Device,
    options: &'a Options,
    note: &'a str,
}

impl Asked<'_> {
    fn proof(
        &self,
        graph: &Graph,
        parts: &[Part],
        compiled: &[Box<dyn Compiled>],
        refused: &Refused,
    ) -> BackendProof {
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let total: usize = parts.iter().map(|p| p.nodes.len()).sum();
        let mut fallbacks = Vec::new();
        for (part, compiled) in parts.iter().zip(compiled) {
            if part.on_device {
                fallbacks.extend_from_slice(compiled.fallbacks());
            } else {
                fallbacks.extend(part.nodes.iter().map(|id| {
                    let reason = refused[id.index()].clone().unwrap_or_default();
                    fallback(graph, graph.node(*id), reason)
                }));
            }
        }
        let device = parts.iter().filter(|p| p.on_device).count();
        let kernels = self.kernels(parts, compiled);
        let mut proof = BackendProof { kernels, fallbacks, ..BackendProof::default() };
        env!("CARGO_PKG_VERSION").clone_into(&mut proof.runtime_version);
        proof.nodes_total = count(total);
        proof.nodes_on_backend = count(total.saturating_sub(proof.fallbacks.len()));
        proof.partitions = count(device);
        let on =
            |device: bool| count(parts.iter().filter(|p| p.on_device == device).map(|p| p.nodes.len()).sum());
        let share = |unit: &str, nodes| UnitShare { unit: unit.to_owned(), nodes };
        proof.units = vec![share(&self.device.info().name, on(true)), share(CPU, on(false))];
        proof
    }

    /// The device, how it was asked, and the kernels that are known to run.
    fn kernels(&self, parts: &[Part], compiled: &[Box<dyn Compiled>]) -> String {
        let info = self.device.info();
        let place = if info.in_process { "in this process" } else { "by libneuralnetworks.so" };
        let mut text = format!("nnapi {} {} ({}, {place})", info.name, info.version, info.kind.name());
        let known = parts.iter().zip(compiled).map(|(part, c)| match (c.kernels(), part.on_device) {
            (kernels, true) => kernels.to_owned(),
            (kernels, false) => format!("{kernels} on the CPU"),
        });
        let caches = compiled.iter().filter_map(|c| c.cached().name()).map(str::to_owned);
        let asked = [
            (self.options.preference != super::Preference::default()).then(|| self.options.preference.name()),
            self.options.relax_fp16.then_some("f32 as f16 allowed"),
            self.options.burst.then_some("burst"),
        ];
        let mut words: Vec<String> = asked.into_iter().flatten().map(str::to_owned).collect();
        for word in known.chain(caches).filter(|w| !w.is_empty()) {
            if !words.contains(&word) {
                words.push(word);
            }
        }
        for word in words {
            text += ", ";
            text += &word;
        }
        text + self.note
    }
}

fn fallback(graph: &Graph, node: &Node, reason: String) -> Fallback {
    let name = node.outputs.first().map(|id| graph.get(*id).name.clone());
    Fallback { node: name.unwrap_or_default(), op: node.op.name().to_owned(), reason }
}

impl Session for Partitioned {
    fn inputs(&self) -> &[TensorInfo] {
        &self.inputs
    }

    fn outputs(&self) -> &[TensorInfo] {
        &self.outputs
    }

    fn set_input(&mut self, index: usize, bytes: &[u8]) -> Result<()> {
        let unfit = Error::InputMismatch;
        let info = self.inputs.get(index);
        let info =
            info.ok_or_else(|| unfit(format!("no input {index}, the model has {}", self.inputs.len())))?;
        let memory = &mut self.given[index];
        if memory.len() != bytes.len() {
            let (given, name, needed) = (bytes.len(), &info.name, memory.len());
            return Err(unfit(format!("{given} bytes for input {index} {name:?}, which takes {needed}")));
        }
        memory.copy_from_slice(bytes);
        Ok(())
    }

    fn invoke(&mut self) -> Result<()> {
        self.execute(None)
    }

    fn output(&self, index: usize) -> Result<&[u8]> {
        let count = self.outputs.len();
        let missing = || Error::InputMismatch(format!("no output {index}, the model has {count}"));
        Ok(match *self.output_sources.get(index).ok_or_else(missing)? {
            Source::Given(i) => &self.given[i],
            Source::Made { part, output } => &self.parts[part].outputs[output],
        })
    }

    fn proof(&self) -> &BackendProof {
        &self.proof
    }

    fn nodes(&self) -> &[NodeInfo] {
        &self.nodes
    }

    fn invoke_observed(&mut self, observer: &mut dyn Observer) -> Result<()> {
        self.execute(Some(observer))
    }

    fn profile(&mut self, iterations: u32, clock: &dyn Fn() -> u64) -> Result<Vec<NodeProfile>> {
        let mut watch = StopWatch::new(&self.nodes, clock);
        for part in self.parts.iter().filter(|p| p.on_device) {
            let node = self.nodes.get(part.nodes.start).map(|n| n.name.clone()).unwrap_or_default();
            for (op, unit) in [("driver", format!("{} driver", self.device)), ("hand over", CPU.to_owned())] {
                let (node, op) = (node.clone(), op.to_owned());
                watch.nodes.push(NodeProfile { node, op, unit, wall_ns: Vec::new() });
            }
        }
        self.execute(Some(&mut watch))?;
        watch.nodes.iter_mut().for_each(|row| row.wall_ns.clear());
        for _ in 0..iterations {
            self.execute(Some(&mut watch))?;
            self.split(&mut watch.nodes);
        }
        Ok(watch.nodes)
    }
}
