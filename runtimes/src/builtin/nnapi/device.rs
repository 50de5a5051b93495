//! Our own devices, over the engine's kernels: a CPU that takes everything, an accelerator that takes only what is
//! quantised to 8 bits, and one that computes f32 as f16. They are there to be measured against and to test
//! partitions, fallbacks and drivers where there is no other device; none is faster than the CPU.

use super::host::{Host, Request};
use super::{Cached, Compiled, Device, DeviceInfo, DeviceKind, Hint, Options, Performance, cache};
use crate::builtin::graph::{Fact, Graph, Node, OutputType, ValueId};
use crate::builtin::kernels::Tier;
use crate::builtin::kernels::threads::Threads;
use crate::builtin::lower::{self, Lowered, Target};
use crate::builtin::ops::{Cast, Op, Operand};
use crate::{Error, Result};
use protocol::DType;

/// The highest feature level there is a use for here: level 5.
const FEATURE_LEVEL: i64 = 31;

/// As fast and as hungry as the CPU, which it is.
const CPU: Option<Hint> = Some(Hint { time: 1.0, power: 1.0 });

/// Our own devices; the first takes any graph.
const IN_PROCESS: &[(Arithmetic, &str, DeviceKind)] = &[
    (Arithmetic::Any, "bench-reference", DeviceKind::Cpu),
    (Arithmetic::Quantized, "bench-int8", DeviceKind::Accelerator),
    (Arithmetic::Half, "bench-fp16", DeviceKind::Other),
];

/// What a device computes with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Arithmetic {
    Any,
    Quantized,
    Half,
}

/// A device of this process.
#[derive(Debug)]
pub(super) struct InProcess {
    info: DeviceInfo,
    arithmetic: Arithmetic,
    tier: Tier,
}

impl InProcess {
    /// All of them, for kernels of a tier.
    pub(super) fn all(tier: Tier) -> impl Iterator<Item = Self> {
        IN_PROCESS.iter().map(move |(arithmetic, name, kind)| Self::new(tier, *arithmetic, name, *kind))
    }

    fn new(tier: Tier, arithmetic: Arithmetic, name: &str, kind: DeviceKind) -> Self {
        let only = |wanted| CPU.filter(|_| arithmetic == Arithmetic::Any || arithmetic == wanted);
        let performance = Performance {
            float: CPU.filter(|_| arithmetic == Arithmetic::Any),
            // every result is rounded in a pass of its own
            relaxed_float: only(Arithmetic::Half).map(|cpu| match arithmetic {
                Arithmetic::Half => Hint { time: 2.0, power: 2.0 },
                _ => cpu,
            }),
            quantized: only(Arithmetic::Quantized),
        };
        let info = DeviceInfo {
            name: name.to_owned(),
            kind,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            feature_level: FEATURE_LEVEL,
            performance,
            in_process: true,
        };
        Self { info, arithmetic, tier }
    }

    fn refusal(&self, graph: &Graph, node: &Node, options: &Options) -> Option<String> {
        match self.arithmetic {
            Arithmetic::Any => None,
            Arithmetic::Quantized => not_bytes(graph, node, self.tier),
            Arithmetic::Half if !options.relax_fp16 => Some(
                "the device computes f32 as f16, which was not allowed: relax-fp16 = true allows it"
                    .to_owned(),
            ),
            Arithmetic::Half => not_real(graph, node),
        }
    }
}

impl Device for InProcess {
    fn info(&self) -> &DeviceInfo {
        &self.info
    }

    fn refusals(&self, graph: &Graph, options: &Options) -> Result<Vec<Option<String>>> {
        Ok(graph.nodes().map(|(_, node)| self.refusal(graph, node, options)).collect())
    }

    fn compile(&self, graph: &Graph, options: &Options) -> Result<Box<dyn Compiled>> {
        let request = if options.burst { Request::Kept } else { Request::Fresh };
        let cached = match &options.cache_dir {
            None => Cached::Unused,
            Some(folder) if self.arithmetic == Arithmetic::Quantized => {
                cache::checked(folder, &self.info, graph, self.tier)?
            }
            Some(_) => Cached::Unsupported,
        };
        let half = match self.arithmetic {
            Arithmetic::Half => Some(as_half(graph)?),
            _ => None,
        };
        Ok(Box::new(Host::new(half.as_ref().unwrap_or(graph), self.tier, request, cached)?))
    }
}

fn describe(fact: &Fact) -> String {
    let quantised = if fact.quant.is_some() { "quantised " } else { "" };
    format!("{quantised}{}", fact.dtype)
}

fn is_bytes(fact: &Fact) -> bool {
    matches!(fact.dtype, DType::I8 | DType::U8) && fact.quant.is_some()
}

/// Why a device that only computes with 8-bit numbers does not take a node.
fn not_bytes(graph: &Graph, node: &Node, tier: Tier) -> Option<String> {
    let facts = |ids: &[ValueId]| ids.iter().map(|id| graph.fact(*id)).collect::<Vec<_>>();
    let (inputs, outputs) = (facts(&node.inputs), facts(&node.outputs));
    if let Some(other) = outputs.iter().chain(inputs.first()).find(|f| !is_bytes(f)) {
        return Some(format!(
            "the device computes with quantised 8-bit numbers, the node has {}",
            describe(other)
        ));
    }
    // Products need only their types; anything else is asked for its kernel, which packs nothing.
    if matches!(
        node.op,
        Op::Conv2d(_) | Op::DepthwiseConv2d(_) | Op::FullyConnected(_) | Op::TransposeConv2d(_)
    ) {
        let weights = *inputs.get(1)?;
        let known = graph.constant_value(node.inputs[1]).is_some();
        return (!is_bytes(weights) || !known).then(|| {
            format!("the device needs constant quantised 8-bit weights, these are {}", weights.dtype)
        });
    }
    let operands: Vec<Operand<'_>> = node.inputs.iter().map(|id| operand(graph, *id)).collect();
    let results: Vec<Fact> = outputs.into_iter().cloned().collect();
    match lower::lower(
        &node.op,
        &operands,
        &results,
        Target { tier, threads: &Threads::one(), dialect: graph.dialect() },
    ) {
        Ok(Lowered::Direct(_)) => None,
        Ok(Lowered::ThroughF32 { .. }) => Some("no kernel computes this node with 8-bit numbers".to_owned()),
        Err(e) => Some(e.to_string()),
    }
}

fn operand(graph: &Graph, id: ValueId) -> Operand<'_> {
    let value = graph.get(id);
    Operand { fact: &value.fact, constant: value.constant.as_ref() }
}

/// Why a device that only computes with f16 does not take a node.
fn not_real(graph: &Graph, node: &Node) -> Option<String> {
    // Of constants, integers may be indices or a shape.
    let fits = |id: &ValueId| {
        let fact = graph.fact(*id);
        fact.dtype == DType::F32 || (graph.constant_value(*id).is_some() && fact.quant.is_none())
    };
    let other = node.inputs.iter().chain(&node.outputs).find(|id| !fits(id)).map(|id| graph.fact(*id))?;
    Some(format!("the device computes with f16, the node has {}", describe(other)))
}

/// The same graph with every f32 rounded to f16 where it is made: inputs, constants and results.
fn as_half(graph: &Graph) -> Result<Graph> {
    let mut half = Half {
        from: graph,
        to: Graph::with_dialect(graph.dialect()),
        map: vec![None; graph.values().count()],
    };
    for id in graph.inputs() {
        let value = graph.get(*id);
        let input = half.to.input(&value.name, value.fact.clone())?;
        half.set(*id, input)?;
    }
    for (_, node) in graph.nodes() {
        let operands = node.inputs.iter().map(|id| half.get(*id)).collect::<Result<Vec<_>>>()?;
        let names: Vec<&str> = node.outputs.iter().map(|id| graph.get(*id).name.as_str()).collect();
        let types: Vec<Option<OutputType>> =
            node.outputs.iter().map(|id| Some(graph.fact(*id).as_output())).collect();
        let results = half.to.add_node(&names, node.op.clone(), &operands, &types)?;
        for (id, result) in node.outputs.iter().zip(results) {
            half.set(*id, result)?;
        }
    }
    for id in graph.outputs() {
        let output = half.get(*id)?;
        half.to.output(output);
    }
    Ok(half.to)
}

/// A graph on its way to f16, and which value became which.
struct Half<'a> {
    from: &'a Graph,
    to: Graph,
    map: Vec<Option<ValueId>>,
}

impl Half<'_> {
    fn set(&mut self, old: ValueId, new: ValueId) -> Result<()> {
        let rounded = round(&mut self.to, &self.from.get(old).name, new)?;
        self.map[old.index()] = Some(rounded);
        Ok(())
    }

    fn get(&mut self, old: ValueId) -> Result<ValueId> {
        if let Some(new) = self.map[old.index()] {
            return Ok(new);
        }
        let value = self.from.get(old);
        let unknown = || Error::Runtime(format!("{}: read before it was written", value.name));
        let tensor = value.constant.clone().ok_or_else(unknown)?;
        let constant = self.to.constant(&value.name, tensor, value.fact.quant.as_deref().cloned())?;
        self.set(old, constant)?;
        self.get(old)
    }
}

/// A value through f16, when it is f32.
fn round(graph: &mut Graph, name: &str, value: ValueId) -> Result<ValueId> {
    if graph.fact(value).dtype != DType::F32 {
        return Ok(value);
    }
    let half = graph.add(name, Cast { to: DType::F16 }, &[value])?;
    graph.add(name, Cast { to: DType::F32 }, &[half])
}
