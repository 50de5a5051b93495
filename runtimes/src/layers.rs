//! What is inside a model when it runs: every tensor that a node computes, by its name in the file, summed up over
//! any number of invokes. Measures nothing.

use crate::{CompileOptions, Observer, Result, Session};
use protocol::{DType, LayerStats, MAX_LAYER_NAME, MAX_LAYERS, Observed, TensorInfo};
use std::collections::HashMap;

/// In [`CompileOptions::taps`]: every tensor that a node computes.
pub const ALL_TAPS: &str = "*";

/// Sums up layers. A tensor that was folded into a constant is not among them.
#[derive(Debug, Default)]
pub struct Layers {
    sums: Vec<Sum>,
    at: HashMap<String, usize>,
    examples: u64,
    left_out: u64,
}

impl Layers {
    /// How a model is compiled so that every tensor can be seen.
    pub fn options() -> CompileOptions {
        CompileOptions { taps: vec![ALL_TAPS.to_owned()], ..CompileOptions::new("cpu") }
    }

    /// Runs a session on the inputs that it was given, and adds what it computes.
    ///
    /// # Errors
    /// The runtime reports one, or does not show its nodes.
    pub fn invoke(&mut self, session: &mut dyn Session) -> Result<()> {
        let mut seen = Seen(Vec::new());
        session.invoke_observed(&mut seen)?;
        let mut last: Vec<Sum> = Vec::new();
        for (node, mut sum) in session.nodes().iter().zip(seen.0) {
            sum.stats.op.clone_from(&node.op);
            // A node in several steps: the last one gives what the file means.
            if last.last().is_some_and(|l| l.stats.name == sum.stats.name) {
                last.pop();
            }
            last.push(sum);
        }
        self.examples += 1;
        self.left_out = last.len().saturating_sub(MAX_LAYERS) as u64;
        for sum in last.into_iter().take(MAX_LAYERS) {
            match self.at.get(&sum.stats.name) {
                Some(at) => self.sums[*at].add(sum),
                None if self.sums.len() < MAX_LAYERS => {
                    self.at.insert(sum.stats.name.clone(), self.sums.len());
                    self.sums.push(sum);
                }
                None => self.left_out += 1,
            }
        }
        Ok(())
    }

    /// What was seen.
    pub fn observed(self) -> Observed {
        let layers = self.sums.into_iter().map(Sum::finish).collect();
        Observed { examples: self.examples, layers, left_out: self.left_out }
    }
}

/// A layer under way: the mean is still to be divided.
#[derive(Debug)]
struct Sum {
    stats: LayerStats,
    sum: f64,
}

impl Sum {
    fn add(&mut self, Self { stats, sum }: Self) {
        let mine = &mut self.stats;
        let best = |a: Option<f64>, b: Option<f64>, choose: fn(f64, f64) -> f64| match (a, b) {
            (Some(a), Some(b)) => Some(choose(a, b)),
            (a, b) => a.or(b),
        };
        (mine.min, mine.max) = (best(mine.min, stats.min, f64::min), best(mine.max, stats.max, f64::max));
        mine.stored = match (mine.stored, stats.stored) {
            (Some([low, high]), Some([l, h])) => Some([low.min(l), high.max(h)]),
            (a, b) => a.or(b),
        };
        mine.shape = stats.shape;
        mine.elements += stats.elements;
        mine.zeros += stats.zeros;
        mine.saturated += stats.saturated;
        mine.nans += stats.nans;
        mine.infinite += stats.infinite;
        self.sum += sum;
    }

    fn finish(mut self) -> LayerStats {
        let finite = self.stats.elements - self.stats.nans - self.stats.infinite;
        self.stats.mean = (finite > 0).then(|| self.sum / finite as f64);
        self.stats
    }
}

/// One per node, in order.
struct Seen(Vec<Sum>);

impl Observer for Seen {
    fn started(&mut self, _index: usize) {}

    fn finished(&mut self, _index: usize, output: &TensorInfo, bytes: &[u8]) {
        self.0.push(sum(output, bytes));
    }
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

fn sum(info: &TensorInfo, bytes: &[u8]) -> Sum {
    let per_tensor = info.quantization.as_ref().filter(|q| q.scale.len() == 1);
    let (scale, zero) = per_tensor.map_or((1.0, 0.0), |q| {
        (f64::from(q.scale[0]), f64::from(q.zero_point.first().copied().unwrap_or(0)))
    });
    let ends = range(info.dtype).filter(|_| per_tensor.is_some());
    let mut stats = empty(info);
    let (mut low, mut high, mut sum) = (f64::INFINITY, f64::NEG_INFINITY, 0.0);
    let (mut least, mut most) = (f64::INFINITY, f64::NEG_INFINITY);
    for element in bytes.chunks_exact(info.dtype.size()) {
        let stored = number(info.dtype, element);
        let real = (stored - zero) * scale;
        stats.elements += 1;
        stats.zeros += u64::from(real == 0.0);
        stats.saturated += u64::from(ends.is_some_and(|(low, high)| stored == low || stored == high));
        (least, most) = (least.min(stored), most.max(stored));
        if real.is_finite() {
            (low, high, sum) = (low.min(real), high.max(real), sum + real);
        } else if real.is_nan() {
            stats.nans += 1;
        } else {
            stats.infinite += 1;
        }
    }
    (stats.min, stats.max) = (Some(low).filter(|v| v.is_finite()), Some(high).filter(|v| v.is_finite()));
    stats.stored = ends.filter(|_| stats.elements > 0).map(|_| [least as i64, most as i64]);
    Sum { stats, sum }
}

fn empty(info: &TensorInfo) -> LayerStats {
    LayerStats {
        name: info.name.chars().take(MAX_LAYER_NAME).collect(),
        op: String::new(),
        dtype: info.dtype,
        shape: info.shape.iter().map(|d| d.unwrap_or(0)).collect(),
        min: None,
        max: None,
        mean: None,
        stored: None,
        elements: 0,
        zeros: 0,
        saturated: 0,
        nans: 0,
        infinite: 0,
    }
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
        let layer = sum(&info(DType::I8, Some(q)), &[127, 128, 10, 12]).finish();
        assert_eq!((layer.min, layer.max, layer.mean), (Some(-69.0), Some(58.5), Some(-2.375)));
        assert_eq!((layer.zeros, layer.saturated, layer.elements), (1, 2, 4));
        assert_eq!(layer.stored, Some([-128, 127]));
    }

    #[test]
    fn what_is_no_number_is_counted() {
        let reals = [1.0f32, f32::NAN, f32::INFINITY, -3.0];
        let bytes: Vec<u8> = reals.iter().flat_map(|v| v.to_le_bytes()).collect();
        let layer = sum(&info(DType::F32, None), &bytes).finish();
        assert_eq!((layer.nans, layer.infinite, layer.stored), (1, 1, None));
        assert_eq!((layer.min, layer.max, layer.mean), (Some(-3.0), Some(1.0), Some(-1.0)));
        let none = sum(&info(DType::F32, None), &[]).finish();
        assert_eq!((none.min, none.mean, none.elements), (None, None, 0));
    }

    #[test]
    fn examples_are_summed_up() {
        let mut all = sum(&info(DType::F32, None), &2.0f32.to_le_bytes());
        all.add(sum(&info(DType::F32, None), &[0; 8]));
        all.add(sum(&info(DType::F32, None), &f32::NAN.to_le_bytes()));
        let all = all.finish();
        assert_eq!((all.min, all.max, all.elements, all.zeros, all.nans), (Some(0.0), Some(2.0), 4, 2, 1));
        assert_eq!(all.mean, Some(2.0 / 3.0));
    }

    #[test]
    fn every_tensor_of_a_shipped_model_is_told_by_its_name() {
        let models = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../suites/models/fashion_dscnn");
        for file in ["model_int8.tflite", "model_fp32.tflite", "model_int8.onnx"] {
            let model =
                crate::runtime("builtin").unwrap().load(None).unwrap().open(&models.join(file)).unwrap();
            let facts = model.facts().unwrap();
            let nodes: u32 = facts.ops.iter().map(|o| o.count).sum();
            let mut session = model.compile(&Layers::options()).unwrap();
            let mut layers = Layers::default();
            layers.invoke(&mut *session).unwrap();
            let once = layers.sums.len();
            layers.invoke(&mut *session).unwrap();
            let observed = layers.observed();
            assert_eq!((observed.examples, observed.layers.len(), observed.left_out), (2, once, 0), "{file}");
            // What is computed from constants alone is no layer, and ONNX dequantises its weights.
            let least = if file.ends_with(".onnx") { nodes as usize / 2 } else { nodes as usize - 1 };
            assert!(once >= least, "{file}: {once} layers of {nodes} nodes");
            let last = observed.layers.iter().find(|l| l.name == facts.outputs[0].name);
            assert_eq!(last.unwrap().elements, 20, "{file}");
            assert!(observed.layers.iter().all(|l| !l.op.is_empty() && l.min <= l.max), "{file}");
        }
    }
}
