//! What a TFLite file holds, read from its tensors and operators (never from its name): the answer to
//! `bench inspect`. Builds no graph, so it also answers for files that the importer refuses.

use super::super::{heaviest, most_frequent};
use super::schema::{Model, Operator, Quantization as Stored, SubGraph, Tensor};
use crate::Error;
use protocol::{DType, Format, ModelFacts, OpCount, Precision, Quantization, TensorInfo, WeightBytes};
use std::collections::{BTreeMap, BTreeSet};

/// Reads the facts of a file.
///
/// # Errors
/// The file is damaged, or a graph input or output is of a type that no [`DType`] stands for.
pub(crate) fn facts(file: &[u8]) -> Result<ModelFacts, Error> {
    let model = Model::read(file)?;
    let main = model.subgraphs.first().ok_or_else(|| Error::ModelInvalid("no subgraph".to_owned()))?;
    let infos = |ids: &[usize]| -> Result<Vec<TensorInfo>, Error> {
        ids.iter().filter_map(|i| main.tensors.get(*i)).map(info).collect()
    };
    let (parameters, weights) = weights(&model);
    Ok(ModelFacts {
        format: Format::Tflite,
        producer: producer(&model),
        file_bytes: file.len() as u64,
        precision: precision(&model, main),
        parameters,
        weights,
        inputs: infos(&main.inputs)?,
        outputs: infos(&main.outputs)?,
        ops: operators(&model),
        observed: None,
    })
}

/// Schema version, what wrote it, and what it wants to be run by.
fn producer(model: &Model<'_>) -> String {
    let mut text = "TFLite schema 3".to_owned();
    if !model.description.is_empty() {
        text += &format!(", {}", model.description);
    }
    if let Some(version) = &model.min_runtime_version {
        text += &format!(", needs TFLite {version}");
    }
    text
}

/// A graph input or output.
pub(super) fn info(t: &Tensor<'_>) -> Result<TensorInfo, Error> {
    let dtype = t.kind.dtype().ok_or_else(|| {
        Error::Unsupported(format!("tensor {:?} has element type {}", t.name, t.kind.name()))
    })?;
    Ok(TensorInfo {
        name: t.name.clone().into_owned(),
        dtype,
        shape: t.signature.iter().map(|d| d.map(|d| d as u64)).collect(),
        quantization: t.quantization.as_ref().map(quantization),
    })
}

/// Quantisation with one zero point per scale.
pub(super) fn quantization(q: &Stored<'_>) -> Quantization {
    let scale: Vec<f32> = q.scale.iter().collect();
    let zero = |i: usize| q.zero_point.get(if q.zero_point.len() == 1 { 0 } else { i }).unwrap_or(0);
    // Zero points fit their element type in a valid file; others saturate here and are refused later.
    let clamp = |z: i64| z.clamp(i64::from(i32::MIN), i64::from(i32::MAX)) as i32;
    let zero_point = (0..scale.len()).map(|i| clamp(zero(i))).collect();
    let axis = if scale.len() == 1 { 0 } else { q.axis as u32 };
    Quantization { scale, zero_point, axis }
}

/// Elements of the weights, and bytes of all constant data by type. Tensors that share their data count
/// once; integer constants without a scale (shapes, axes, indices) have bytes but are no weights.
fn weights(model: &Model<'_>) -> (u64, Vec<WeightBytes>) {
    let mut seen = BTreeSet::new();
    let mut by_type: BTreeMap<DType, u64> = BTreeMap::new();
    let mut parameters = 0;
    for tensor in model.subgraphs.iter().flat_map(|g| &g.tensors) {
        let Some(data) = model.data(tensor) else { continue };
        if !seen.insert(Model::buffer_index(tensor)) {
            continue;
        }
        let bytes = data.len() as u64;
        if tensor.kind.is_float() || tensor.quantization.is_some() {
            parameters += bytes * 8 / tensor.kind.bits().unwrap_or(8);
        }
        if let Some(dtype) = tensor.kind.dtype().or_else(|| tensor.kind.storage()) {
            *by_type.entry(dtype).or_default() += bytes;
        }
    }
    (parameters, heaviest(by_type))
}

/// Operators of all subgraphs.
fn operators(model: &Model<'_>) -> Vec<OpCount> {
    let mut counts: BTreeMap<String, u32> = BTreeMap::new();
    for operator in model.subgraphs.iter().flat_map(|g| &g.operators) {
        *counts.entry(model.operator_name(operator)).or_default() += 1;
    }
    most_frequent(counts)
}

/// Precision of the operators that have weights, from the type of what flows into them and the type in
/// which their weights are stored.
fn precision(model: &Model<'_>, graph: &SubGraph<'_>) -> Precision {
    use Precision::{DynamicInt8, Fp16, Fp32, Int8, Int16x8, Mixed};
    let producers = producers(graph);
    let mut found: BTreeSet<Precision> = BTreeSet::new();
    for operator in &graph.operators {
        if WEIGHTED.contains(&model.operator_name(operator).as_str()) {
            found.extend(operator_precision(model, graph, &producers, operator));
        }
    }
    if found.is_empty() {
        // Nothing with weights: what flows decides.
        let flowing = graph.operators.iter().flat_map(|o| &o.outputs).filter_map(|i| graph.tensors.get(*i));
        found.extend(flowing.filter_map(|t| pair(t.kind.dtype()?, t.kind.dtype()?)));
    }
    match found.iter().copied().collect::<Vec<_>>()[..] {
        [] | [Fp32] => Fp32,
        [Fp16] | [Fp32, Fp16] => Fp16,
        [DynamicInt8] | [Fp32, DynamicInt8] => DynamicInt8,
        [Int8] => Int8,
        [Int16x8] => Int16x8,
        _ => Mixed,
    }
}

/// Operators that have weights: the ones that precision is about.
const WEIGHTED: &[&str] = &[
    "BATCH_MATMUL",
    "BIDIRECTIONAL_SEQUENCE_LSTM",
    "BIDIRECTIONAL_SEQUENCE_RNN",
    "CONV_2D",
    "CONV_3D",
    "CONV_3D_TRANSPOSE",
    "DEPTHWISE_CONV_2D",
    "FULLY_CONNECTED",
    "LSTM",
    "RNN",
    "SVDF",
    "TRANSPOSE_CONV",
    "UNIDIRECTIONAL_SEQUENCE_LSTM",
    "UNIDIRECTIONAL_SEQUENCE_RNN",
];

/// The operator that computes each tensor.
fn producers<'g, 'a>(graph: &'g SubGraph<'a>) -> BTreeMap<usize, &'g Operator<'a>> {
    graph.operators.iter().flat_map(|o| o.outputs.iter().map(move |i| (*i, o))).collect()
}

/// Precision of one operator: its output's type against the type of its largest constant input, found
/// through the DEQUANTIZE or DENSIFY in front of it.
fn operator_precision(
    model: &Model<'_>,
    graph: &SubGraph<'_>,
    producers: &BTreeMap<usize, &Operator<'_>>,
    operator: &Operator<'_>,
) -> Option<Precision> {
    let constant = |operand: &usize| {
        let mut index = *operand;
        // DENSIFY behind DEQUANTIZE is the longest chain that converters write.
        for _ in 0..2 {
            let Some(producer) = producers.get(&index) else { break };
            if !["DEQUANTIZE", "DENSIFY"].contains(&model.operator_name(producer).as_str()) {
                return None;
            }
            index = (*producer.inputs.first()?)?;
        }
        let tensor = graph.tensors.get(index)?;
        model.data(tensor)?;
        // Weights have at least two dimensions; a bias can have as many elements.
        let size = (tensor.shape.len().min(2), tensor.shape.iter().fold(1usize, |n, d| n.saturating_mul(*d)));
        Some((size, tensor, index == *operand))
    };
    let inputs = operator.inputs.iter().flatten();
    let (_, weight, direct) = inputs.filter_map(constant).max_by_key(|c| c.0)?;
    let activation = graph.tensors.get(*operator.outputs.first()?)?;
    match pair(activation.kind.dtype()?, weight.kind.dtype().or_else(|| weight.kind.storage())?) {
        // 8-bit weights that are turned back into floats first: nothing is quantised at run time.
        Some(Precision::DynamicInt8) if !direct => Some(Precision::Mixed),
        p => p,
    }
}

/// What activations and weights of these types make.
fn pair(activation: DType, weight: DType) -> Option<Precision> {
    use DType::{F16, F32, I8, I16, U8};
    match (activation, weight) {
        (F32, F32) => Some(Precision::Fp32),
        (F32 | F16, F16) => Some(Precision::Fp16),
        (F32, I8 | U8) => Some(Precision::DynamicInt8),
        (I8 | U8, I8 | U8) => Some(Precision::Int8),
        (I16, I8 | I16) => Some(Precision::Int16x8),
        (DType::I32 | DType::I64 | DType::Bool, _) => None,
        _ => Some(Precision::Mixed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    /// Facts of a file below the repository's root, or nothing when it is not there.
    fn read(path: &str) -> Option<ModelFacts> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path);
        match std::fs::read(&path) {
            Ok(bytes) => Some(facts(&bytes).unwrap()),
            Err(_) => {
                println!("left out, not there: {}", path.display());
                None
            }
        }
    }

    #[test]
    fn shipped_models_are_what_they_are() {
        use Precision::{DynamicInt8, Fp16, Fp32, Int8, Int16x8};
        let variants =
            [("fp32", Fp32), ("fp16", Fp16), ("dynint8", DynamicInt8), ("int8", Int8), ("int16x8", Int16x8)];
        for (family, parameters) in [("fashion_dscnn", 36_138), ("fsdd_dscnn", 22_474)] {
            for (variant, precision) in variants {
                let file = format!("suites/models/{family}/model_{variant}.tflite");
                let f = read(&file).expect("shipped");
                assert_eq!(
                    (f.precision, f.parameters, f.format),
                    (precision, parameters, Format::Tflite),
                    "{file}"
                );
                assert_eq!((f.inputs.len(), f.outputs.len()), (1, 1), "{file}");
                assert_eq!(f.outputs[0].shape, [Some(1), Some(10)], "{file}");
            }
        }
    }

    #[test]
    fn an_int8_model_in_detail() {
        let f = read("suites/models/fashion_dscnn/model_int8.tflite").unwrap();
        let bytes = |dtype| f.weights.iter().find(|w| w.dtype == dtype).map_or(0, |w| w.bytes);
        assert_eq!((bytes(DType::I8), bytes(DType::I32)), (35_392, 2_992));
        let count = |op: &str| f.ops.iter().find(|o| o.op == op).map_or(0, |o| o.count);
        assert_eq!((count("CONV_2D"), count("DEPTHWISE_CONV_2D"), count("SOFTMAX")), (6, 5, 1));
        assert_eq!(f.ops[0].op, "CONV_2D", "most frequent first");
        let input = &f.inputs[0];
        let quant = input.quantization.as_ref().unwrap();
        assert_eq!((input.dtype, &quant.zero_point[..], quant.axis), (DType::I8, &[-128][..], 0));
        assert!((quant.scale[0] - 1.0 / 255.0).abs() < 1e-9);
        assert_eq!(f.producer, "TFLite schema 3, MLIR Converted., needs TFLite 1.14.0");
        assert_eq!(f.file_bytes, 64_496);
    }

    #[test]
    fn names_lie_and_tensors_do_not() {
        let cases = [
            ("mlperf_kws_ref_model_float32", Precision::DynamicInt8),
            ("mlperf_kws_ref_model", Precision::Int8),
            ("mlperf_vww_96_float", Precision::Fp32),
            ("mlperf_str_ww_ref_model", Precision::Int8),
            ("tflm_hello_world_int8", Precision::Int8),
            ("tflm_trained_lstm_int8", Precision::Int8),
            ("tflm_mobilenet_v2_quantized_1x3x224x224", Precision::Int8),
        ];
        for (name, precision) in cases {
            if let Some(f) = read(&format!("../shared/zoo/extra/{name}.tflite")) {
                assert_eq!(f.precision, precision, "{name}");
            }
        }
    }

    #[test]
    fn open_dimensions_stay_open() {
        if let Some(f) = read("../shared/zoo/extra/mlperf_ad01_fp32.tflite") {
            assert_eq!(f.inputs[0].shape, [None, Some(640)]);
        }
    }

    #[test]
    fn what_is_no_model_says_so() {
        for bytes in [&b""[..], b"TFL3", b"\x1c\0\0\0TFL3", b"PK\x03\x04 and so on"] {
            let error = facts(bytes).unwrap_err();
            assert!(matches!(error, Error::ModelInvalid(_)), "{error}");
        }
    }
}
