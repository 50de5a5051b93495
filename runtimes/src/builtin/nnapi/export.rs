//! A graph in NNAPI's terms, for a library: node by node, and for what NNAPI has no words for, the reason. A node
//! becomes one operation.

use super::codes::{fuse, level, operand, operation as code};
use super::model::{Channels, Model, Operand, Operation, Value};
use crate::builtin::graph::{Fact, Graph, Node, ValueId};
use crate::builtin::ops::{
    BinaryKind, Clamp, Coordinates, Op, PadMode, PoolKind, ReduceKind, ResizeMode, UnaryKind, Window,
};
use protocol::DType;
use std::collections::HashMap;

/// A graph as a model.
pub(super) struct Exported {
    /// The nodes that could be expressed.
    pub(super) model: Model,
    /// Per node of the graph, its operation by number, or why there is none.
    pub(super) nodes: Vec<Result<usize, String>>,
}

/// Why something cannot be expressed.
type Reason<T> = Result<T, String>;

/// An input of an operation.
enum Arg {
    Value(ValueId),
    New(Operand),
}

/// Expresses what can be, for a device of a feature level. Values that cross between what can and what cannot are
/// inputs and outputs of the model.
pub(super) fn export(graph: &Graph, feature_level: i64, relaxed: bool) -> Exported {
    let mut exporter = Exporter {
        graph,
        level: feature_level,
        model: Model { relaxed, ..Model::default() },
        operands: HashMap::new(),
    };
    let mut nodes = Vec::new();
    for (_, node) in graph.nodes() {
        let done = exporter.describe(node).and_then(|(code, args)| exporter.add(node, code, args));
        nodes.push(done);
    }
    exporter.interface(&nodes);
    Exported { model: exporter.model, nodes }
}

struct Exporter<'a> {
    graph: &'a Graph,
    level: i64,
    model: Model,
    operands: HashMap<ValueId, u32>,
}

impl Exporter<'_> {
    fn add(&mut self, node: &Node, code: i32, args: Vec<Arg>) -> Reason<usize> {
        // Everything is checked before anything is added.
        let checked = |id: &ValueId| value_operand(self.graph, *id, self.level).map(|_| ());
        args.iter().try_for_each(|a| if let Arg::Value(id) = a { checked(id) } else { Ok(()) })?;
        node.outputs.iter().try_for_each(checked)?;
        let mut inputs = Vec::new();
        for arg in args {
            inputs.push(match arg {
                Arg::Value(id) => self.value(id)?,
                Arg::New(operand) => self.push(operand),
            });
        }
        let outputs = node.outputs.iter().map(|id| self.value(*id)).collect::<Reason<Vec<_>>>()?;
        self.model.operations.push(Operation { code, inputs, outputs });
        Ok(self.model.operations.len() - 1)
    }

    fn push(&mut self, operand: Operand) -> u32 {
        self.model.operands.push(operand);
        (self.model.operands.len() - 1) as u32
    }

    fn value(&mut self, id: ValueId) -> Reason<u32> {
        if let Some(known) = self.operands.get(&id) {
            return Ok(*known);
        }
        let operand = value_operand(self.graph, id, self.level)?;
        let index = self.push(operand);
        self.operands.insert(id, index);
        Ok(index)
    }

    /// Says what the model is given and what it gives.
    fn interface(&mut self, nodes: &[Reason<usize>]) {
        let mut made = vec![false; self.model.operands.len()];
        let mut read = vec![false; self.model.operands.len()];
        for operation in &self.model.operations {
            operation.outputs.iter().for_each(|i| made[*i as usize] = true);
            operation.inputs.iter().for_each(|i| read[*i as usize] = true);
        }
        // By the graph's own order of inputs and outputs: those of a partition are the model's.
        let mut wanted = vec![false; made.len()];
        let outside = self.graph.nodes().zip(nodes).filter(|(_, done)| done.is_err());
        let outside = outside.flat_map(|((_, node), _)| &node.inputs);
        let mut outputs: Vec<u32> = Vec::new();
        for index in self.graph.outputs().iter().chain(outside).filter_map(|id| self.operands.get(id)) {
            let at = *index as usize;
            if made[at] && !std::mem::replace(&mut wanted[at], true) {
                outputs.push(*index);
            }
        }
        let unread = (0..made.len()).filter(|i| made[*i] && !read[*i] && !wanted[*i]);
        outputs.extend(unread.map(|i| i as u32).collect::<Vec<_>>());
        let given = |i: &usize| !made[*i] && self.model.operands[*i].value == Value::Unset;
        let first = self.graph.inputs().iter().filter_map(|id| self.operands.get(id).map(|i| *i as usize));
        let mut inputs: Vec<usize> = first.filter(given).collect();
        let rest: Vec<usize> = (0..made.len()).filter(given).filter(|i| !inputs.contains(i)).collect();
        inputs.extend(rest);
        self.model.inputs = inputs.into_iter().map(|i| i as u32).collect();
        self.model.outputs = outputs;
    }

    fn fact(&self, id: ValueId) -> &Fact {
        self.graph.fact(id)
    }

    fn need(&self, least: i64, what: &str) -> Reason<()> {
        match self.level >= least {
            true => Ok(()),
            false => Err(format!("{what} needs feature level {least}, the device has {}", self.level)),
        }
    }

    /// The operation of a node, and its inputs.
    fn describe(&self, node: &Node) -> Reason<(i32, Vec<Arg>)> {
        let value =
            |i: usize| node.inputs.get(i).copied().map(Arg::Value).ok_or("an operand is missing".to_owned());
        Ok(match &node.op {
            Op::Conv2d(op) if op.groups == 1 => {
                let mut args = self.weighted(node, 0)?;
                args.extend(self.window(&op.window, &[], op.clamp)?);
                (code::CONV_2D, args)
            }
            Op::DepthwiseConv2d(op) => {
                let mut args = self.weighted(node, 3)?;
                let channels = |i: usize| self.fact(node.inputs[i]).shape.last().copied().unwrap_or(1);
                let multiplier = int(channels(1) / channels(0).max(1))?;
                args.extend(self.window(&op.window, &[multiplier], op.clamp)?);
                (code::DEPTHWISE_CONV_2D, args)
            }
            Op::FullyConnected(op) => {
                if self.fact(node.outputs[0]).shape.len() != 2 {
                    return Err("NNAPI's FULLY_CONNECTED has results of rank 2".to_owned());
                }
                let mut args = self.weighted(node, 0)?;
                if matches!(&args[1], Arg::New(w) if w.channels.is_some()) {
                    return Err("NNAPI's FULLY_CONNECTED has weights of one scale".to_owned());
                }
                args.push(fused(op.clamp)?);
                (code::FULLY_CONNECTED, args)
            }
            Op::Pool2d(op) => {
                let kind = match op.kind {
                    PoolKind::Max => code::MAX_POOL_2D,
                    PoolKind::Average => code::AVERAGE_POOL_2D,
                    PoolKind::AverageWithPadding => return Err(no_operation(node)),
                };
                let [h, w] = op.kernel;
                let mut args = vec![value(0)?];
                args.extend(self.window(&op.window, &[int(w)?, int(h)?], op.clamp)?);
                (kind, args)
            }
            Op::Binary(op) => self.binary(node, op.kind, op.clamp)?,
            Op::Softmax(op) if !op.log => (code::SOFTMAX, vec![value(0)?, Arg::New(real(op.beta))]),
            Op::Unary(op) => self.unary(node, op.kind)?,
            Op::Clip(op) => {
                let kind = match op.clamp {
                    Clamp::RELU => code::RELU,
                    Clamp::RELU_N1_TO_1 => code::RELU1,
                    Clamp::RELU6 => code::RELU6,
                    _ => return Err(no_operation(node)),
                };
                (kind, vec![value(0)?])
            }
            Op::Requantize(_) => {
                let (from, to) = (self.fact(node.inputs[0]), self.fact(node.outputs[0]));
                match (from.quant.is_some(), to.quant.is_some()) {
                    (true, false) => (code::DEQUANTIZE, vec![value(0)?]),
                    (false, true) if from.dtype == DType::F32 => {
                        self.need(level::FEATURE_LEVEL_3, "QUANTIZE")?;
                        (code::QUANTIZE, vec![value(0)?])
                    }
                    _ => return Err("NNAPI has no way from one quantisation to another".to_owned()),
                }
            }
            Op::Cast(_) => {
                self.need(level::FEATURE_LEVEL_3, "CAST")?;
                (code::CAST, vec![value(0)?])
            }
            Op::Prelu(_) => {
                self.need(level::FEATURE_LEVEL_3, "PRELU")?;
                (code::PRELU, vec![value(0)?, value(1)?])
            }
            _ => self.moves(node)?,
        })
    }

    /// Operations along dimensions, and those that move elements.
    fn moves(&self, node: &Node) -> Reason<(i32, Vec<Arg>)> {
        let value =
            |i: usize| node.inputs.get(i).copied().map(Arg::Value).ok_or("an operand is missing".to_owned());
        let output = &self.fact(node.outputs[0]).shape;
        Ok(match &node.op {
            Op::Reshape(_) => (code::RESHAPE, vec![value(0)?, ints(&[output.len()], output)?]),
            Op::Transpose(op) => {
                self.need(level::FEATURE_LEVEL_2, "TRANSPOSE")?;
                (code::TRANSPOSE, vec![value(0)?, ints(&[op.perm.len()], &op.perm)?])
            }
            Op::Concat(op) => {
                let mut args = (0..node.inputs.len()).map(value).collect::<Reason<Vec<_>>>()?;
                args.push(Arg::New(scalar(int(op.axis)?)));
                (code::CONCATENATION, args)
            }
            Op::Pad(op) if op.mode == PadMode::Constant(0.0) => {
                self.need(level::FEATURE_LEVEL_2, "PAD")?;
                (code::PAD, vec![value(0)?, ints(&[op.pads.len(), 2], op.pads.as_flattened())?])
            }
            Op::Slice(op) if op.ranges.iter().all(|r| r.step == 1) => {
                self.need(level::FEATURE_LEVEL_3, "SLICE")?;
                let part = |f: fn(&crate::builtin::ops::SliceRange) -> usize| {
                    op.ranges.iter().map(f).collect::<Vec<_>>()
                };
                let dims = [op.ranges.len()];
                (
                    code::SLICE,
                    vec![value(0)?, ints(&dims, &part(|r| r.start))?, ints(&dims, &part(|r| r.count))?],
                )
            }
            Op::Reduce(op) => {
                let axes = ints(&[op.axes.len()], &op.axes)?;
                let kind = match op.kind {
                    ReduceKind::Mean => {
                        self.need(level::FEATURE_LEVEL_2, "MEAN")?;
                        let keep = Arg::New(scalar(i32::from(op.keep_dims)));
                        return Ok((code::MEAN, vec![value(0)?, axes, keep]));
                    }
                    ReduceKind::Sum => code::REDUCE_SUM,
                    ReduceKind::Max => code::REDUCE_MAX,
                    ReduceKind::Min => code::REDUCE_MIN,
                    ReduceKind::Prod => code::REDUCE_PROD,
                    _ => return Err(no_operation(node)),
                };
                self.need(level::FEATURE_LEVEL_3, "a reduction")?;
                (kind, vec![value(0)?, axes, truth(op.keep_dims)])
            }
            Op::Resize(op) if op.scale.is_none() => {
                let kind = match (op.mode, op.coordinates) {
                    (ResizeMode::Linear, c) if c != Coordinates::PytorchHalfPixel => code::RESIZE_BILINEAR,
                    (ResizeMode::Floor, Coordinates::Asymmetric) => code::RESIZE_NEAREST_NEIGHBOR,
                    _ => return Err(no_operation(node)),
                };
                let [h, w] = op.output;
                let mut args = vec![value(0)?, Arg::New(scalar(int(w)?)), Arg::New(scalar(int(h)?))];
                if op.coordinates != Coordinates::Asymmetric {
                    self.need(level::FEATURE_LEVEL_4, "these coordinates of a resize")?;
                    let [corners, half] = [Coordinates::AlignCorners, Coordinates::HalfPixel];
                    args.extend([
                        truth(false),
                        truth(op.coordinates == corners),
                        truth(op.coordinates == half),
                    ]);
                }
                (kind, args)
            }
            _ => return Err(no_operation(node)),
        })
    }

    fn binary(&self, node: &Node, kind: BinaryKind, clamp: Clamp) -> Reason<(i32, Vec<Arg>)> {
        let mut args: Vec<Arg> = node.inputs.iter().map(|id| Arg::Value(*id)).collect();
        let (kind, least, has_fused) = match kind {
            BinaryKind::Add => (code::ADD, level::FEATURE_LEVEL_1, true),
            BinaryKind::Mul => (code::MUL, level::FEATURE_LEVEL_1, true),
            BinaryKind::Sub => (code::SUB, level::FEATURE_LEVEL_2, true),
            BinaryKind::Div => (code::DIV, level::FEATURE_LEVEL_2, true),
            BinaryKind::Max => (code::MAXIMUM, level::FEATURE_LEVEL_3, false),
            BinaryKind::Min => (code::MINIMUM, level::FEATURE_LEVEL_3, false),
            BinaryKind::Pow => (code::POW, level::FEATURE_LEVEL_3, false),
            _ => return Err(no_operation(node)),
        };
        self.need(least, "the operation")?;
        if has_fused {
            args.push(fused(clamp)?);
        } else if !clamp.is_none() {
            return Err("NNAPI cuts the results of this operation to no range".to_owned());
        }
        Ok((kind, args))
    }

    fn unary(&self, node: &Node, kind: UnaryKind) -> Reason<(i32, Vec<Arg>)> {
        let mut args: Vec<Arg> = node.inputs.iter().map(|id| Arg::Value(*id)).collect();
        let (kind, least) = match kind {
            UnaryKind::Logistic => (code::LOGISTIC, level::FEATURE_LEVEL_1),
            UnaryKind::Tanh => (code::TANH, level::FEATURE_LEVEL_1),
            UnaryKind::Floor => (code::FLOOR, level::FEATURE_LEVEL_1),
            UnaryKind::Abs => (code::ABS, level::FEATURE_LEVEL_3),
            UnaryKind::Exp => (code::EXP, level::FEATURE_LEVEL_3),
            UnaryKind::Log => (code::LOG, level::FEATURE_LEVEL_3),
            UnaryKind::Neg => (code::NEG, level::FEATURE_LEVEL_3),
            UnaryKind::Rsqrt => (code::RSQRT, level::FEATURE_LEVEL_3),
            UnaryKind::Sin => (code::SIN, level::FEATURE_LEVEL_3),
            UnaryKind::Sqrt => (code::SQRT, level::FEATURE_LEVEL_3),
            UnaryKind::HardSwish => (code::HARD_SWISH, level::FEATURE_LEVEL_4),
            UnaryKind::Elu { alpha } => {
                args.push(Arg::New(real(alpha)));
                (code::ELU, level::FEATURE_LEVEL_4)
            }
            _ => return Err(no_operation(node)),
        };
        self.need(least, "the operation")?;
        Ok((kind, args))
    }

    /// Input, weights and bias; `axis` is the weights' dimension of output channels.
    fn weighted(&self, node: &Node, axis: u32) -> Reason<Vec<Arg>> {
        let [x, w] = [node.inputs[0], node.inputs[1]].map(|id| self.fact(id));
        let (Some(input), Some(weights)) = (x.per_tensor(), w.quant.as_deref()) else {
            if x.dtype != DType::F32 || w.dtype != DType::F32 {
                return Err(format!("NNAPI has no product of {} with weights of {}", x.dtype, w.dtype));
            }
            let bias = match node.inputs.get(2) {
                Some(bias) => Arg::Value(*bias),
                None => Arg::New(zeros(operand::TENSOR_FLOAT32, w.shape[axis as usize])?),
            };
            return Ok(vec![Arg::Value(node.inputs[0]), Arg::Value(node.inputs[1]), bias]);
        };
        let channels = w.shape[axis as usize];
        // Weights of one scale have the input's own type; others a type of their own.
        let weights_arg = if weights.scale.len() == 1 && w.dtype == x.dtype {
            Arg::Value(node.inputs[1])
        } else {
            self.need(level::FEATURE_LEVEL_3, "weights with a scale per channel")?;
            let tensor = self.graph.constant_value(node.inputs[1]);
            let tensor = tensor.ok_or("weights that are only known when the model runs".to_owned())?;
            let fits = weights.zero_point.iter().all(|z| *z == 0) && w.dtype == DType::I8;
            if !fits || (weights.scale.len() > 1 && weights.axis != axis) {
                return Err("NNAPI's weights per channel are int8 around zero, by output channel".to_owned());
            }
            let scales = if weights.scale.len() == 1 {
                vec![weights.scale[0]; channels]
            } else {
                weights.scale.clone()
            };
            Arg::New(Operand {
                code: operand::TENSOR_QUANT8_SYMM_PER_CHANNEL,
                dimensions: dimensions(&w.shape)?,
                channels: Some(Channels { dimension: axis, scales }),
                value: Value::Constant(tensor.bytes().into()),
                ..Operand::default()
            })
        };
        let mut bias = match node.inputs.get(2) {
            None => zeros(operand::TENSOR_INT32, channels)?,
            Some(id) => {
                let tensor = self.graph.constant_value(*id).filter(|t| t.dtype() == DType::I32);
                let tensor =
                    tensor.ok_or("NNAPI's bias of a quantised product is a constant of i32".to_owned())?;
                let value = Value::Constant(tensor.bytes().into());
                Operand {
                    code: operand::TENSOR_INT32,
                    dimensions: vec![int(channels)? as u32],
                    value,
                    ..Operand::default()
                }
            }
        };
        if matches!(weights_arg, Arg::Value(_)) {
            bias.scale = input.0 * weights.scale[0];
        }
        Ok(vec![Arg::Value(node.inputs[0]), weights_arg, Arg::New(bias)])
    }

    /// Explicit padding, strides, `between`, the activation and, where it is not one, the dilation.
    fn window(&self, window: &Window, between: &[i32], clamp: Clamp) -> Reason<Vec<Arg>> {
        let Window { stride, dilation, before: [top, left], after: [bottom, right] } = *window;
        let mut args = Vec::new();
        for size in [left, right, top, bottom, stride[1], stride[0]] {
            args.push(Arg::New(scalar(int(size)?)));
        }
        args.extend(between.iter().map(|v| Arg::New(scalar(*v))));
        args.push(fused(clamp)?);
        if dilation != [1, 1] {
            self.need(level::FEATURE_LEVEL_3, "a dilation")?;
            args.push(truth(false));
            args.extend([Arg::New(scalar(int(dilation[1])?)), Arg::New(scalar(int(dilation[0])?))]);
        }
        Ok(args)
    }
}

fn no_operation(node: &Node) -> String {
    format!("NNAPI has no operation for this {}", node.op.name())
}

fn int(size: usize) -> Reason<i32> {
    i32::try_from(size).map_err(|_| format!("{size} is too large for NNAPI"))
}

fn dimensions(shape: &[usize]) -> Reason<Vec<u32>> {
    if shape.contains(&0) {
        return Err(format!("a tensor without elements, of shape {shape:?}"));
    }
    // NNAPI knows no tensors without dimensions.
    let shape = if shape.is_empty() { &[1] } else { shape };
    shape.iter().map(|d| int(*d).map(|d| d as u32)).collect()
}

fn constant(code: i32, dimensions: Vec<u32>, bytes: &[u8]) -> Operand {
    Operand { code, dimensions, value: Value::Constant(bytes.into()), ..Operand::default() }
}

fn scalar(value: i32) -> Operand {
    constant(operand::INT32, Vec::new(), &value.to_ne_bytes())
}

fn real(value: f32) -> Operand {
    constant(operand::FLOAT32, Vec::new(), &value.to_ne_bytes())
}

fn truth(value: bool) -> Arg {
    Arg::New(constant(operand::BOOL, Vec::new(), &[u8::from(value)]))
}

fn ints(shape: &[usize], values: &[usize]) -> Reason<Arg> {
    let values = values.iter().map(|v| int(*v)).collect::<Reason<Vec<_>>>()?;
    let bytes: Vec<u8> = values.into_iter().flat_map(i32::to_ne_bytes).collect();
    Ok(Arg::New(constant(operand::TENSOR_INT32, dimensions(shape)?, &bytes)))
}

fn zeros(code: i32, count: usize) -> Reason<Operand> {
    Ok(constant(code, dimensions(&[count])?, &vec![0; count * 4]))
}

fn fused(clamp: Clamp) -> Reason<Arg> {
    Ok(Arg::New(scalar(match clamp {
        Clamp::NONE => fuse::NONE,
        Clamp::RELU => fuse::RELU,
        Clamp::RELU_N1_TO_1 => fuse::RELU1,
        Clamp::RELU6 => fuse::RELU6,
        Clamp { min, max } => return Err(format!("NNAPI has no activation that cuts to {min}..{max}")),
    })))
}

/// A value as an operand.
fn value_operand(graph: &Graph, id: ValueId, feature_level: i64) -> Reason<Operand> {
    let value = graph.get(id);
    let fact = &value.fact;
    let quant = fact.per_tensor();
    let code = match (fact.dtype, quant.is_some()) {
        _ if fact.quant.is_some() && quant.is_none() => None,
        (DType::F32, false) => Some((operand::TENSOR_FLOAT32, level::FEATURE_LEVEL_1)),
        (DType::I32, _) => Some((operand::TENSOR_INT32, level::FEATURE_LEVEL_1)),
        (DType::U8, true) => Some((operand::TENSOR_QUANT8_ASYMM, level::FEATURE_LEVEL_1)),
        (DType::F16, false) => Some((operand::TENSOR_FLOAT16, level::FEATURE_LEVEL_3)),
        (DType::Bool, false) => Some((operand::TENSOR_BOOL8, level::FEATURE_LEVEL_3)),
        (DType::I8, true) => Some((operand::TENSOR_QUANT8_ASYMM_SIGNED, level::FEATURE_LEVEL_4)),
        _ => None,
    };
    let name = fact.dtype;
    let (code, least) = code.ok_or_else(|| format!("NNAPI has no type for this {name} tensor"))?;
    if feature_level < least {
        return Err(format!("{name} needs feature level {least}, the device has {feature_level}"));
    }
    let (scale, zero_point) = quant.unwrap_or_default();
    let constant = value.constant.as_ref().map(|t| Value::Constant(t.bytes().into()));
    let value = constant.unwrap_or_default();
    Ok(Operand { code, dimensions: dimensions(&fact.shape)?, scale, zero_point, channels: None, value })
}
