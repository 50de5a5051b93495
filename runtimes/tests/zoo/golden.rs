//! Outputs of the shipped models, and of further ones, against what the real runtimes answered.

use crate::family::zoo;
use crate::run::{Example, Runner};
use protocol::{DType, Sha256Hex, TensorInfo};
use runtimes::builtin::kernels::Tier;
use serde::Deserialize;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Allowed difference of an f32 output relative to the largest of the tensor, where sums may be taken in
/// another order.
const F32_TOLERANCE: f64 = 1e-5;

/// The same for quantised ONNX models, whose f32 outputs are steps of an int8 scale: one step.
const ONNX_TOLERANCE: f64 = 4e-3;

#[derive(Deserialize)]
struct Index {
    inputs: Inputs,
    outputs: Vec<Outputs>,
}

#[derive(Deserialize)]
struct Inputs {
    dtype: DType,
    shape: Vec<usize>,
    scale: Option<f64>,
    offset: f64,
}

#[derive(Deserialize)]
struct Outputs {
    model: String,
    file: String,
    dtype: DType,
}

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn f32s(bytes: &[u8]) -> Vec<f32> {
    bytes.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect()
}

impl Inputs {
    fn examples(&self, bytes: &[u8]) -> Vec<Example<'static>> {
        let (scale, offset) = (self.scale.unwrap_or(1.0) as f32, self.offset as f32);
        let reals: Vec<f32> = match self.dtype {
            DType::U8 => bytes.iter().map(|v| f32::from(*v) * scale + offset).collect(),
            DType::F32 => f32s(bytes),
            other => panic!("golden inputs of type {other}"),
        };
        let size = reals.len() / self.shape[0];
        reals.chunks_exact(size).map(|x| Example::Real(x.to_vec())).collect()
    }
}

/// Share of integer elements that differ, or the largest difference of floats relative to the largest.
fn difference(dtype: DType, got: &[u8], expected: &[u8]) -> f64 {
    assert_eq!(got.len(), expected.len());
    if dtype != DType::F32 {
        let size = dtype.size();
        let differ = got.chunks(size).zip(expected.chunks(size)).filter(|(a, b)| a != b).count();
        return differ as f64 / (got.len() / size) as f64;
    }
    let (got, expected) = (f32s(got), f32s(expected));
    let largest = expected.iter().fold(0f32, |m, v| m.max(v.abs()));
    let worst = got
        .iter()
        .zip(&expected)
        .fold(0f32, |m, (a, b)| if (a - b).is_nan() { f32::NAN } else { m.max((a - b).abs()) });
    f64::from(worst) / f64::from(largest)
}

fn shipped(name: &str) {
    let golden = folder("tests/golden").join(name);
    let index: Index = serde_json::from_slice(&fs::read(golden.join("index.json")).unwrap()).unwrap();
    let examples = index.inputs.examples(&fs::read(golden.join("inputs.bin")).unwrap());
    let mut wrong = Vec::new();
    for outputs in &index.outputs {
        let mut runner = Runner::new(&folder("../suites/models").join(name).join(&outputs.model)).unwrap();
        let got: Vec<u8> = examples.iter().flat_map(|x| runner.example(x).to_vec()).collect();
        let expected = fs::read(golden.join(&outputs.file)).unwrap();
        let difference = difference(outputs.dtype, &got, &expected);
        let tolerance = match outputs.dtype {
            DType::F32 if outputs.model.ends_with(".onnx") && outputs.model.contains("int8") => {
                ONNX_TOLERANCE
            }
            DType::F32 => F32_TOLERANCE,
            _ => 0.0,
        };
        println!("{name}/{}: difference {difference:.1e}", outputs.model);
        if difference > tolerance || difference.is_nan() {
            wrong.push(format!("{}: {difference:e}", outputs.model));
        }
    }
    assert!(wrong.is_empty(), "{name}: {wrong:#?}");
}

#[test]
fn fashion_dscnn() {
    shipped("fashion_dscnn");
}

#[test]
fn fsdd_dscnn() {
    shipped("fsdd_dscnn");
}

#[derive(Deserialize)]
struct Extra {
    model: String,
    outputs: Vec<ExtraOutput>,
}

#[derive(Deserialize)]
struct ExtraOutput {
    dtype: DType,
    sha256: String,
    begins: Vec<f64>,
}

/// The input that `make.py` makes of the same seed.
fn seeded(count: usize, dtype: DType, seed: u64) -> Vec<u8> {
    let number = |i: usize| {
        let mut z = seed.wrapping_add((i as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    };
    let bytes = |z: u64| match dtype {
        DType::F32 => ((z >> 40) as f32 / 8_388_608.0 - 1.0).to_le_bytes().to_vec(),
        DType::F16 => half::f16::from_f32((z >> 40) as f32 / 8_388_608.0 - 1.0).to_le_bytes().to_vec(),
        DType::Bool => vec![(z >> 63) as u8],
        _ => z.to_le_bytes()[8 - dtype.size()..].to_vec(),
    };
    (0..count).flat_map(|i| bytes(number(i))).collect()
}

/// Models that the engine refuses, with the reason.
const REFUSED: &[(&str, &str)] = &[];

/// Models whose outputs are allowed to differ, with the largest difference (of integers in steps, of
/// floats relative to the largest) and the reason.
const DIFFERENT: &[(&str, f64, &str)] =
    &[("half_precision.onnx", 1e-3, "ONNX Runtime rounds this product to f16; most of the time it does not")];

/// What became of many models.
#[derive(Default)]
struct Tally {
    wrong: Vec<String>,
    refused: Vec<String>,
    same: usize,
}

impl Tally {
    fn refuse(&mut self, model: &str, error: impl std::fmt::Display) {
        self.refused.push(model.to_owned());
        if !REFUSED.iter().any(|(m, _)| *m == model) {
            self.wrong.push(format!("{model}: {error}"));
        }
    }

    fn compare(&mut self, extra: &Extra, label: &str, got: &[Vec<u8>]) {
        assert_eq!(got.len(), extra.outputs.len(), "{}", extra.model);
        let allowed = DIFFERENT.iter().find(|(m, _, _)| *m == extra.model).map_or(0.0, |d| d.1);
        for (got, expected) in got.iter().zip(&extra.outputs) {
            match expected.compare(got, allowed) {
                Some(problem) => self.wrong.push(format!("{} ({label}): {problem}", extra.model)),
                None => self.same += 1,
            }
        }
    }

    fn finish(&self) {
        println!("{} outputs as they should be, refused: {:?}", self.same, self.refused);
        assert!(self.wrong.is_empty(), "{:#?}", self.wrong);
        assert!(self.same > 0);
    }
}

fn answers(name: &str) -> Vec<Extra> {
    serde_json::from_slice(&fs::read(folder("tests/golden").join(name)).unwrap()).unwrap()
}

fn fill(inputs: &[TensorInfo]) -> Vec<Vec<u8>> {
    let one = |(i, t): (usize, &TensorInfo)| {
        let count: u64 = t.shape.iter().map(|d| d.unwrap()).product();
        seeded(count as usize, t.dtype, i as u64)
    };
    inputs.iter().enumerate().map(one).collect()
}

fn one_operator_each(name: &str) {
    let file = fs::File::open(folder("tests/golden").join(format!("{name}.zip"))).unwrap();
    let mut archive = zip::ZipArchive::new(file).unwrap();
    let mut tally = Tally::default();
    for model in answers(&format!("{name}.json")) {
        let mut bytes = Vec::new();
        archive.by_name(&model.model).unwrap().read_to_end(&mut bytes).unwrap();
        for tier in Tier::available() {
            match Runner::of_bytes(bytes.clone(), tier) {
                Ok(mut runner) => {
                    let got = runner.raw(&fill(&runner.inputs()));
                    tally.compare(&model, tier.name(), &got);
                }
                Err(error) => tally.refuse(&model.model, error),
            }
        }
    }
    tally.finish();
}

#[test]
fn tflite_operators() {
    one_operator_each("ops");
}

#[test]
fn onnx_operators() {
    one_operator_each("onnx_ops");
}

#[test]
fn further_models() {
    let mut tally = Tally::default();
    for model in answers("extra.json") {
        let path = zoo().join("extra").join(&model.model);
        if !path.is_file() {
            println!("left out, not there: {}", path.display());
            tally.same += 1;
            continue;
        }
        match Runner::new(&path) {
            Ok(mut runner) => {
                let got = runner.raw(&fill(&runner.inputs()));
                tally.compare(&model, "best tier", &got);
            }
            Err(error) => tally.refuse(&model.model, error),
        }
    }
    tally.finish();
}

impl ExtraOutput {
    /// What is wrong with an output, when it is more than `allowed`.
    fn compare(&self, got: &[u8], allowed: f64) -> Option<String> {
        if Sha256Hex::of_bytes(got).as_str() == self.sha256 {
            return None;
        }
        let element = |b: &[u8]| match self.dtype {
            DType::F32 => f64::from(f32::from_le_bytes(b.try_into().unwrap())),
            DType::F16 => half::f16::from_le_bytes(b.try_into().unwrap()).to_f64(),
            DType::I8 => f64::from(b[0].cast_signed()),
            DType::U8 | DType::Bool => f64::from(b[0]),
            DType::I16 => f64::from(i16::from_le_bytes([b[0], b[1]])),
            DType::I32 => f64::from(i32::from_le_bytes(b.try_into().unwrap())),
            DType::I64 => i64::from_le_bytes(b.try_into().unwrap()) as f64,
            other => panic!("{other} outputs"),
        };
        let got: Vec<f64> = got.chunks(self.dtype.size()).map(element).collect();
        let unit = match self.dtype {
            DType::F32 => self.begins.iter().fold(f64::MIN_POSITIVE, |m, v| m.max(v.abs())),
            _ => 1.0,
        };
        let off: Vec<f64> = got.iter().zip(&self.begins).map(|(a, b)| (a - b).abs() / unit).collect();
        let worst = off.iter().fold(0f64, |m, d| if d.is_nan() { *d } else { m.max(*d) });
        let differ = off.iter().filter(|d| **d > 0.0).count();
        let allowed = if self.dtype == DType::F32 { allowed.max(F32_TOLERANCE) } else { allowed };
        // Beyond what is kept only the digest tells: a difference that is seen nowhere is one of a step.
        let unseen = self.dtype != DType::F32 && differ == 0 && allowed == 0.0;
        let problem = worst.is_nan() || worst > allowed || unseen;
        problem.then(|| format!("of the first {}, {differ} differ, by up to {worst:.2e}", off.len()))
    }
}
