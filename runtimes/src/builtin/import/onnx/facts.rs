//! What `inspect` says about an ONNX file: read from its tensors and operators, never from its name.
//!
//! Nothing is imported or folded here, so that a model with operators we do not run can still be described.

use super::super::{heaviest, most_frequent};
use super::proto::{Dim, Graph, Model, Node, ValueInfo, same_domain};
use super::tensor::{Tensor, element_type, element_type_name};
use crate::{Error, Result};
use protocol::{DType, Format, ModelFacts, OpCount, Precision, Quantization, TensorInfo};
use std::collections::{BTreeMap, HashMap, HashSet};

/// A model has the precision that this share of its weights has; otherwise it is mixed.
const PREDOMINANT: f64 = 0.99;
/// Steps back from an operator to its constant weights: transposes, reshapes, casts, dequantisation.
const MAX_TRACE: usize = 16;

/// Describes the model in `data`.
///
/// # Errors
/// Not an ONNX model, or inputs and outputs that are no tensors of numbers.
pub(super) fn facts(data: &[u8]) -> Result<ModelFacts> {
    let model = Model::parse(data)?;
    let index = Index::new(&model.graph);
    let constants = index.constants();
    let mut weights: BTreeMap<DType, u64> = BTreeMap::new();
    for tensor in &constants {
        if let Some(dtype) = element_type(tensor.data_type) {
            *weights.entry(dtype).or_default() += elements(tensor).saturating_mul(dtype.size() as u64);
        }
    }
    let parameters = index.not_weights();
    let parameters = constants.iter().filter(|tensor| is_weight(tensor) && !parameters.contains(tensor.name));
    Ok(ModelFacts {
        format: Format::Onnx,
        producer: producer(&model),
        file_bytes: data.len() as u64,
        precision: index.precision(),
        parameters: parameters.map(|tensor| elements(tensor)).sum(),
        weights: heaviest(weights),
        inputs: index.inputs()?,
        outputs: model.graph.outputs.iter().map(|info| index.info(info)).collect::<Result<_>>()?,
        ops: op_counts(&model.graph)?,
        observed: None,
    })
}

fn producer(model: &Model<'_>) -> String {
    let opset = model.opset("").map_or_else(String::new, |version| format!(", opset {version}"));
    let program = format!("{} {}", model.producer_name, model.producer_version);
    let by = if program.trim().is_empty() { String::new() } else { format!(", {}", program.trim()) };
    format!("ONNX IR {}{opset}{by}", model.ir_version)
}

fn op_counts(graph: &Graph<'_>) -> Result<Vec<OpCount>> {
    let mut counts: BTreeMap<String, u32> = BTreeMap::new();
    count_ops(graph, 0, &mut counts)?;
    Ok(most_frequent(counts))
}

fn count_ops(graph: &Graph<'_>, depth: usize, counts: &mut BTreeMap<String, u32>) -> Result<()> {
    for node in &graph.nodes {
        let count = counts.entry(node.qualified_op()).or_default();
        *count = count.saturating_add(1);
        for attribute in &node.attributes {
            for graph in attribute.graphs(depth)? {
                count_ops(&graph, depth + 1, counts)?;
            }
        }
    }
    Ok(())
}

fn elements(tensor: &Tensor<'_>) -> u64 {
    let dims = tensor.dims.iter().map(|dim| u64::try_from(*dim).unwrap_or(0));
    dims.fold(1u64, u64::saturating_mul)
}

/// Shapes, indices and lone numbers (clip bounds, pad values) are no weights.
fn is_weight(tensor: &Tensor<'_>) -> bool {
    !matches!(element_type(tensor.data_type), None | Some(DType::I64 | DType::Bool)) && elements(tensor) > 1
}

/// The main graph by name of value.
struct Index<'a, 'g> {
    graph: &'g Graph<'a>,
    constants: HashMap<&'a str, Tensor<'a>>,
    producers: HashMap<&'a str, &'g Node<'a>>,
}

/// Where a weight operand comes from.
struct Origin {
    dtype: DType,
    elements: u64,
    dequantized: bool,
}

impl<'a, 'g> Index<'a, 'g> {
    fn new(graph: &'g Graph<'a>) -> Self {
        let mut constants: HashMap<_, _> = graph.initializers.iter().map(|t| (t.name, t.clone())).collect();
        let mut producers = HashMap::new();
        for node in &graph.nodes {
            producers.extend(node.outputs.iter().map(|output| (*output, node)));
            let value = node.attribute("value").filter(|_| node.op_type == "Constant");
            if let (Some(Ok(Some(mut tensor))), Some(output)) =
                (value.map(|v| v.tensor()), node.outputs.first())
            {
                tensor.name = output;
                constants.insert(*output, tensor);
            }
        }
        Self { graph, constants, producers }
    }

    fn constants(&self) -> Vec<&Tensor<'a>> {
        self.constants.values().collect()
    }

    fn inputs(&self) -> Result<Vec<TensorInfo>> {
        let fed = self.graph.inputs.iter().filter(|info| !self.constants.contains_key(info.name));
        fed.map(|info| self.info(info)).collect()
    }

    fn info(&self, info: &ValueInfo<'_>) -> Result<TensorInfo> {
        let dtype = info.elem_type.and_then(element_type).ok_or_else(|| {
            let kind = info.elem_type.map_or_else(|| "no tensor".to_owned(), element_type_name);
            Error::Unsupported(format!("input or output `{}` is {kind}", info.name))
        })?;
        let dims = info.shape.as_deref().unwrap_or_default();
        let open = |dim: &Dim<'_>| match dim {
            Dim::Value(value) => u64::try_from(*value).ok(),
            Dim::Param(_) => None,
        };
        Ok(TensorInfo {
            name: info.name.to_owned(),
            dtype,
            shape: dims.iter().map(open).collect(),
            quantization: self.quantization(info.name, dtype),
        })
    }

    /// Of an 8- or 16-bit input that is dequantised at once, or an output that has just been quantised.
    fn quantization(&self, name: &str, dtype: DType) -> Option<Quantization> {
        if !matches!(dtype, DType::I8 | DType::U8 | DType::I16 | DType::U16) {
            return None;
        }
        let node = self.dequantizer(name).or_else(|| {
            let quantizer = self.producers.get(name)?;
            (quantizer.op_type == "QuantizeLinear").then_some(*quantizer)
        })?;
        let number = |index: usize| {
            let tensor = self.constants.get(node.inputs.get(index)?)?;
            let data = tensor.data(&super::external::ExternalData::none()).ok()?;
            crate::builtin::tensor::Tensor::from_bytes(tensor.dtype().ok()?, &tensor.shape().ok()?, &data)
                .and_then(|tensor| tensor.to_f64())
                .ok()
        };
        let scale: Vec<f32> = number(1)?.into_iter().map(|s| s as f32).collect();
        let zero_point =
            number(2).map_or_else(|| vec![0; scale.len()], |z| z.iter().map(|z| *z as i32).collect());
        (scale.len() == 1).then_some(Quantization { scale, zero_point, axis: 0 })
    }

    /// The node that dequantises a value, perhaps after moving it.
    fn dequantizer(&self, name: &str) -> Option<&'g Node<'a>> {
        let mut name = name;
        for _ in 0..MAX_TRACE {
            let node = self.graph.nodes.iter().find(|node| node.inputs.first() == Some(&name))?;
            match node.op_type {
                "DequantizeLinear" => return Some(node),
                "Transpose" | "Reshape" | "Unsqueeze" | "Squeeze" => name = node.outputs.first()?,
                _ => return None,
            }
        }
        None
    }

    /// Names of constants that only say how others are quantised.
    fn not_weights(&self) -> HashSet<&'a str> {
        let mut names = HashSet::new();
        for node in &self.graph.nodes {
            let positions: &[usize] = match node.op_type {
                "QuantizeLinear" | "DequantizeLinear" => &[1, 2],
                "QLinearConv" | "QLinearMatMul" => &[1, 2, 4, 5, 6, 7],
                "ConvInteger" | "MatMulInteger" => &[2, 3],
                "Mul" if self.scales_only(node) => &[0, 1],
                _ => &[],
            };
            names.extend(positions.iter().filter_map(|position| node.inputs.get(*position)).copied());
        }
        names
    }

    /// Whether a product has the scale of a dynamic quantisation for a factor: the other is a scale too.
    fn scales_only(&self, node: &Node<'_>) -> bool {
        node.inputs.iter().any(|input| {
            let producer = self.producers.get(input);
            producer.is_some_and(|p| p.op_type == "DynamicQuantizeLinear" && p.outputs.get(1) == Some(input))
        })
    }

    fn precision(&self) -> Precision {
        let mut shares: HashMap<Precision, u64> = HashMap::new();
        for node in &self.graph.nodes {
            if let Some((precision, elements)) = self.node_precision(node) {
                *shares.entry(precision).or_default() += elements;
            }
        }
        if shares.is_empty() {
            return self.precision_without_weights();
        }
        let total: u64 = shares.values().sum();
        let (precision, most) = shares.into_iter().max_by_key(|share| share.1).expect("not empty");
        if most as f64 >= total as f64 * PREDOMINANT { precision } else { Precision::Mixed }
    }

    /// Of a node with weights: how it computes, and how many weights it has.
    fn node_precision(&self, node: &Node<'_>) -> Option<(Precision, u64)> {
        let operand = |index: usize| node.inputs.get(index).copied().unwrap_or_default();
        let weights = |index: usize| self.origin(operand(index)).map(|origin| origin.elements);
        match node.op_type {
            "ConvInteger"
            | "MatMulInteger"
            | "DynamicQuantizeMatMul"
            | "MatMulIntegerToFloat"
            | "DynamicQuantizeLSTM" => Some((Precision::DynamicInt8, weights(1)?)),
            "QLinearConv" | "QLinearMatMul" | "QGemm" => Some((Precision::Int8, weights(3)?)),
            "Conv" | "ConvTranspose" | "Gemm" | "MatMul" | "FusedConv" | "FusedMatMul" | "LSTM" | "GRU"
            | "RNN" => {
                let origin = self.origin(operand(1)).or_else(|| self.origin(operand(0)))?;
                let activation = self.dequantized_from(operand(0));
                let precision = match (origin.dtype, origin.dequantized, activation) {
                    (DType::F32 | DType::F64, false, _) => Precision::Fp32,
                    (DType::F16, false, _) => Precision::Fp16,
                    (DType::I8 | DType::U8, true, Some(DType::I8 | DType::U8)) => Precision::Int8,
                    (DType::I8 | DType::U8, true, Some(DType::I16 | DType::U16)) => Precision::Int16x8,
                    _ => Precision::Mixed,
                };
                Some((precision, origin.elements))
            }
            _ => None,
        }
    }

    fn precision_without_weights(&self) -> Precision {
        let dtypes: HashSet<_> = self.graph.inputs.iter().filter_map(|info| info.elem_type).collect();
        match dtypes.into_iter().filter_map(element_type).collect::<Vec<_>>()[..] {
            [DType::F32] => Precision::Fp32,
            [DType::F16] => Precision::Fp16,
            [DType::I8 | DType::U8] => Precision::Int8,
            _ => Precision::Mixed,
        }
    }

    /// The constant that a value is, or is a rearrangement of.
    fn origin(&self, name: &str) -> Option<Origin> {
        let mut name = name;
        let mut dequantized = false;
        for _ in 0..MAX_TRACE {
            if let Some(tensor) = self.constants.get(name) {
                let dtype = element_type(tensor.data_type)?;
                return Some(Origin { dtype, elements: elements(tensor), dequantized });
            }
            let node = self.producers.get(name)?;
            match node.op_type {
                "DequantizeLinear" => dequantized = true,
                "Transpose" | "Reshape" | "Unsqueeze" | "Squeeze" | "Identity" | "Cast" => {}
                _ => return None,
            }
            name = node.inputs.first()?;
        }
        None
    }

    /// The element type that an activation had before it was dequantised.
    fn dequantized_from(&self, name: &str) -> Option<DType> {
        let mut name = name;
        for _ in 0..MAX_TRACE {
            let node = self.producers.get(name)?;
            let input = *node.inputs.first()?;
            match node.op_type {
                "DequantizeLinear" => return self.quantized_type(node),
                "Transpose" | "Reshape" | "Unsqueeze" | "Squeeze" | "Flatten" | "Identity" | "Pad"
                | "MaxPool" => {
                    name = input;
                }
                _ => return None,
            }
        }
        None
    }

    fn quantized_type(&self, dequantize: &Node<'_>) -> Option<DType> {
        let zero_point = dequantize.inputs.get(2).and_then(|name| self.constants.get(name));
        let input = || {
            let name = dequantize.inputs.first()?;
            self.graph.inputs.iter().find(|info| info.name == *name)?.elem_type
        };
        zero_point.map(|tensor| tensor.data_type).or_else(input).map_or(Some(DType::U8), element_type)
    }
}

impl Node<'_> {
    /// Operator with its domain in front, unless that is ONNX's own.
    pub(super) fn qualified_op(&self) -> String {
        if same_domain(self.domain, "") {
            self.op_type.to_owned()
        } else {
            format!("{}.{}", self.domain, self.op_type)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Message, floats, ints, model, node, tensor, value_info};
    use super::*;
    use protocol::WeightBytes;

    fn graph(nodes: Vec<Message>, initializers: Vec<Message>) -> Message {
        let mut graph = Message::new();
        for node in nodes {
            graph = graph.nested(1, node);
        }
        for initializer in initializers {
            graph = graph.nested(5, initializer);
        }
        graph
            .nested(11, value_info("x", 1, &[None, Some(2)]))
            .nested(12, value_info("y", 1, &[None, Some(3)]))
    }

    fn described(graph: Message) -> ModelFacts {
        facts(&model(17, graph)).unwrap()
    }

    #[test]
    fn a_float_model() {
        let gemm = node("Gemm", &["x", "w", "b"], &["h"]);
        let reshape = node("Reshape", &["h", "s"], &["y"]);
        let weights =
            vec![floats("w", &[2, 3], &[0.; 6]), floats("b", &[3], &[0.; 3]), ints("s", &[2], &[-1, 3])];
        let got = described(graph(vec![gemm, reshape], weights));
        assert_eq!((got.precision, got.parameters), (Precision::Fp32, 9));
        assert_eq!(got.producer, "ONNX IR 8, opset 17, test");
        assert_eq!(got.inputs[0].shape, [None, Some(2)]);
        assert_eq!(got.weights[0], WeightBytes { dtype: DType::F32, bytes: 36 });
        assert_eq!(got.weights[1], WeightBytes { dtype: DType::I64, bytes: 16 });
        assert_eq!(got.ops.len(), 2);
    }

    #[test]
    fn half_precision_weights() {
        let weights = vec![tensor("w", 10, &[2, 3], &[0; 12])];
        let got = described(graph(vec![node("MatMul", &["x", "w"], &["y"])], weights));
        assert_eq!(got.precision, Precision::Fp16);
    }

    #[test]
    fn quantised_weights_with_float_activations_are_neither() {
        let weights = vec![tensor("w", 3, &[2, 3], &[0; 6]), floats("s", &[], &[0.5])];
        let nodes =
            vec![node("DequantizeLinear", &["w", "s"], &["wf"]), node("MatMul", &["x", "wf"], &["y"])];
        let got = described(graph(nodes, weights));
        assert_eq!((got.precision, got.parameters), (Precision::Mixed, 6));
    }

    #[test]
    fn static_and_dynamic_int8() {
        let constants = || {
            vec![
                tensor("w", 3, &[2, 3], &[0; 6]),
                floats("ws", &[3], &[0.5; 3]),
                floats("s", &[], &[0.25]),
                tensor("z", 3, &[], &[0]),
            ]
        };
        let nodes = vec![
            node("QuantizeLinear", &["x", "s", "z"], &["xq"]),
            node("DequantizeLinear", &["xq", "s", "z"], &["xf"]),
            node("DequantizeLinear", &["w", "ws"], &["wf"]),
            node("MatMul", &["xf", "wf"], &["y"]),
        ];
        let got = described(graph(nodes, constants()));
        assert_eq!((got.precision, got.parameters), (Precision::Int8, 6));
        let nodes = vec![
            node("DynamicQuantizeLinear", &["x"], &["xq", "xs", "xz"]),
            node("MatMulInteger", &["xq", "w", "xz"], &["i"]),
            node("Cast", &["i"], &["f"]),
            node("Mul", &["xs", "ws"], &["sp"]),
            node("Mul", &["f", "sp"], &["y"]),
        ];
        let got = described(graph(nodes, constants()));
        assert_eq!((got.precision, got.parameters), (Precision::DynamicInt8, 6));
    }

    #[test]
    fn quantised_inputs_say_how() {
        let constants = vec![floats("s", &[], &[0.25]), tensor("z", 3, &[], &[0xfe])];
        let mut graph = Message::new().nested(1, node("DequantizeLinear", &["q", "s", "z"], &["y"]));
        for constant in constants {
            graph = graph.nested(5, constant);
        }
        let graph =
            graph.nested(11, value_info("q", 3, &[Some(4)])).nested(12, value_info("y", 1, &[Some(4)]));
        let got = described(graph);
        let expected = Quantization { scale: vec![0.25], zero_point: vec![-2], axis: 0 };
        assert_eq!(got.inputs[0].quantization, Some(expected));
        assert_eq!(got.outputs[0].quantization, None);
    }

    #[test]
    fn inputs_that_are_no_tensors_are_named() {
        let graph = Message::new().nested(11, value_info("text", 8, &[Some(1)]));
        let error = facts(&model(17, graph)).unwrap_err();
        assert_eq!(error.to_string(), "not supported: input or output `text` is STRING");
    }
}
