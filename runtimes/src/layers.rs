//! What is inside a model when it runs: one invoke on made-up inputs, with every tensor in view. Measures nothing.

use crate::{CompileOptions, Model, Observer, Result};
use protocol::{DType, TensorInfo};

/// In [`CompileOptions::taps`]: every tensor that a node computes.
pub const ALL_TAPS: &str = "*";

/// What became of a tensor in one run. Quantised elements count as the real numbers that they mean.
#[derive(Clone, Debug, PartialEq)]
pub struct LayerStats {
    /// Name in the file.
    pub name: String,
    /// What computed it.
    pub op: String,
    /// Element type.
    pub dtype: DType,
    /// Dimensions.
    pub shape: Vec<u64>,
    /// Smallest finite element.
    pub min: Option<f64>,
    /// Largest finite element.
    pub max: Option<f64>,
    /// Mean of the finite elements.
    pub mean: Option<f64>,
    /// Number of elements.
    pub elements: u64,
    /// Elements that are exactly 0.
    pub zeros: u64,
    /// Elements at an end of the range of their quantised type.
    pub saturated: u64,
    /// Elements that are infinite or no number.
    pub not_finite: u64,
}

/// Runs a model once on seeded random numbers (f32 from −1 to 1, quantised integers of any value, others 0 or 1),
/// and says what became of every tensor that a node computes, by its name in the file. A tensor that was folded
/// into a constant is not among them.
///
/// # Errors
/// The model cannot be compiled or run, or the runtime does not show its nodes.
pub fn look(model: &dyn Model) -> Result<Vec<LayerStats>> {
    let options = CompileOptions { taps: vec![ALL_TAPS.to_owned()], ..CompileOptions::new("cpu") };
    let mut session = model.compile(&options)?;
    for index in 0..session.inputs().len() {
        let bytes = made_up(&session.inputs()[index], index as u64);
        session.set_input(index, &bytes)?;
    }
    let mut seen = Seen(Vec::new());
    session.invoke_observed(&mut seen)?;
    let ops = session.nodes().iter().map(|n| n.op.clone());
    let mut layers: Vec<LayerStats> = Vec::new();
    for (op, layer) in ops.zip(seen.0) {
        // A node in several steps: the last one gives what the file means.
        if layers.last().is_some_and(|l| l.name == layer.name) {
            layers.pop();
        }
        layers.push(LayerStats { op, ..layer });
    }
    Ok(layers)
}

/// One per node, in order.
struct Seen(Vec<LayerStats>);

impl Observer for Seen {
    fn started(&mut self, _index: usize) {}

    fn finished(&mut self, _index: usize, output: &TensorInfo, bytes: &[u8]) {
        self.0.push(stats(output, bytes));
    }
}

/// SplitMix64.
fn made_up(info: &TensorInfo, seed: u64) -> Vec<u8> {
    let count: u64 = info.shape.iter().map(|d| d.unwrap_or(1)).product();
    let quantised = info.quantization.is_some();
    let element = |i: u64| {
        let mut z = seed.wrapping_add(i.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^= z >> 31;
        let real = (z >> 40) as f32 / 8_388_608.0 - 1.0;
        match info.dtype {
            DType::F32 => real.to_le_bytes().to_vec(),
            DType::F64 => f64::from(real).to_le_bytes().to_vec(),
            DType::F16 => half::f16::from_f32(real).to_le_bytes().to_vec(),
            DType::BF16 => half::bf16::from_f32(real).to_le_bytes().to_vec(),
            dtype if quantised => z.to_le_bytes()[8 - dtype.size()..].to_vec(),
            dtype => (z >> 63).to_le_bytes()[..dtype.size()].to_vec(),
        }
    };
    (0..count).flat_map(element).collect()
}

/// The range of an integer type that elements are cut to.
fn range(dtype: DType) -> Option<(f64, f64)> {
    Some(match dtype {
        DType::I8 => (-128.0, 127.0),
        DType::U8 => (0.0, 255.0),
        DType::I16 => (-32768.0, 32767.0),
        DType::U16 => (0.0, 65535.0),
        _ => return None,
    })
}

fn stats(info: &TensorInfo, bytes: &[u8]) -> LayerStats {
    let per_tensor = info.quantization.as_ref().filter(|q| q.scale.len() == 1);
    let (scale, zero) = per_tensor.map_or((1.0, 0.0), |q| {
        (f64::from(q.scale[0]), f64::from(q.zero_point.first().copied().unwrap_or(0)))
    });
    let ends = range(info.dtype).filter(|_| per_tensor.is_some());
    let mut layer = LayerStats {
        name: info.name.clone(),
        op: String::new(),
        dtype: info.dtype,
        shape: info.shape.iter().map(|d| d.unwrap_or(0)).collect(),
        min: None,
        max: None,
        mean: None,
        elements: 0,
        zeros: 0,
        saturated: 0,
        not_finite: 0,
    };
    let (mut low, mut high, mut sum) = (f64::INFINITY, f64::NEG_INFINITY, 0.0);
    for element in bytes.chunks_exact(info.dtype.size()) {
        let stored = number(info.dtype, element);
        let real = (stored - zero) * scale;
        layer.elements += 1;
        layer.zeros += u64::from(real == 0.0);
        layer.saturated += u64::from(ends.is_some_and(|(low, high)| stored == low || stored == high));
        if real.is_finite() {
            (low, high, sum) = (low.min(real), high.max(real), sum + real);
        } else {
            layer.not_finite += 1;
        }
    }
    let finite = layer.elements - layer.not_finite;
    if finite > 0 {
        (layer.min, layer.max, layer.mean) = (Some(low), Some(high), Some(sum / finite as f64));
    }
    layer
}

/// One element, little-endian.
fn number(dtype: DType, bytes: &[u8]) -> f64 {
    let wide = |signed: bool| {
        let mut all = [if signed && bytes.last().is_some_and(|b| *b >= 128) { 0xff } else { 0 }; 8];
        all[..bytes.len()].copy_from_slice(bytes);
        i64::from_le_bytes(all)
    };
    let bits = wide(false) as u64;
    match dtype {
        DType::F32 => f64::from(f32::from_bits(bits as u32)),
        DType::F64 => f64::from_bits(bits),
        DType::F16 => half::f16::from_bits(bits as u16).to_f64(),
        DType::BF16 => half::bf16::from_bits(bits as u16).to_f64(),
        DType::I8 | DType::I16 | DType::I32 | DType::I64 => wide(true) as f64,
        DType::U8 | DType::U16 | DType::U32 | DType::U64 | DType::Bool => bits as f64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::Quantization;

    fn info(dtype: DType, quantization: Option<Quantization>) -> TensorInfo {
        TensorInfo { name: "t".to_owned(), dtype, shape: vec![Some(4)], quantization }
    }

    #[test]
    fn quantised_elements_count_as_the_reals_they_mean() {
        let q = Quantization { scale: vec![0.5], zero_point: vec![10], axis: 0 };
        let layer = stats(&info(DType::I8, Some(q)), &[127, 128, 10, 12]);
        assert_eq!((layer.min, layer.max, layer.mean), (Some(-69.0), Some(58.5), Some(-2.375)));
        assert_eq!((layer.zeros, layer.saturated, layer.elements), (1, 2, 4));
    }

    #[test]
    fn what_is_no_number_is_counted() {
        let reals = [1.0f32, f32::NAN, f32::INFINITY, -3.0];
        let bytes: Vec<u8> = reals.iter().flat_map(|v| v.to_le_bytes()).collect();
        let layer = stats(&info(DType::F32, None), &bytes);
        assert_eq!((layer.not_finite, layer.min, layer.mean), (2, Some(-3.0), Some(-1.0)));
        let none = stats(&info(DType::F32, None), &[]);
        assert_eq!((none.min, none.elements), (None, 0));
    }

    #[test]
    fn every_tensor_of_a_shipped_model_is_told_by_its_name() {
        let models = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../suites/models/fashion_dscnn");
        for file in ["model_int8.tflite", "model_fp32.tflite", "model_int8.onnx"] {
            let model =
                crate::runtime("builtin").unwrap().load(None).unwrap().open(&models.join(file)).unwrap();
            let nodes: u32 = model.facts().unwrap().ops.iter().map(|o| o.count).sum();
            let layers = look(&*model).unwrap();
            // What is computed from constants alone is no layer, and ONNX dequantises its weights.
            let least = if file.ends_with(".onnx") { nodes as usize / 2 } else { nodes as usize - 1 };
            assert!(layers.len() >= least, "{file}: {} layers of {nodes} nodes", layers.len());
            let outputs = model.facts().unwrap().outputs;
            let last = layers.iter().find(|l| l.name == outputs[0].name);
            assert_eq!(last.unwrap().elements, 10, "{file}");
            assert!(layers.iter().all(|l| !l.op.is_empty() && l.min <= l.max), "{file}");
        }
    }
}
