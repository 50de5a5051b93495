//! Every version on every variant: runs, agrees with the built-in engine as far as ZOO.md says, and with the other
//! versions.

use crate::inside::{answer, here, options, run, session};
use crate::models;
use protocol::{DType, Rng, TensorInfo};
use runtimes::{CompileOptions, Session};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Examples of each model.
const EXAMPLES: u64 = 8;

/// Outputs of all examples by model, or why there are none.
type Answers = BTreeMap<String, Result<Vec<f32>, String>>;

/// Models that a version refuses, and a part of its words.
const REFUSED: &[(&str, &str, &str)] = &[
    // No kernel for int8 activations that are quantised at run time.
    ("1.20.", "dynint8", "an implementation for ConvInteger(10)"),
    // Its optimiser gives one name to two tensors in models of this converter when it is to be precise.
    ("1.32.", "official_", "Attempt to replace the existing tensor"),
];

fn onnx() -> Vec<(String, PathBuf)> {
    let found = models::all(".onnx");
    assert!(found.len() >= 12, "the shipped models were not found");
    found
}

/// Seeded numbers for an input, the same for every runtime.
pub(crate) fn input(info: &TensorInfo, example: u64) -> Vec<u8> {
    let mut rng = Rng::for_stream(1, &[example]);
    let count = info.shape.iter().map(|dim| dim.unwrap()).product::<u64>();
    let one = |unit: f32| match (info.dtype, &info.quantization) {
        (DType::F32, _) => unit.to_le_bytes().to_vec(),
        (DType::I8, Some(q)) => {
            let stored = (unit / q.scale[0] + q.zero_point[0] as f32).round_ties_even();
            vec![(stored.clamp(-128.0, 127.0) as i8).cast_unsigned()]
        }
        (DType::I32, _) => ((unit * 10.0) as i32).to_le_bytes().to_vec(),
        (DType::I64, _) => ((unit * 10.0) as i64).to_le_bytes().to_vec(),
        _ => panic!("no way to fill {info:?}"),
    };
    (0..count).flat_map(|_| one(rng.unit_f32())).collect()
}

fn reals(info: &TensorInfo, bytes: &[u8]) -> Vec<f32> {
    match (info.dtype, &info.quantization) {
        (DType::F32, _) => bytes.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect(),
        (DType::I8, Some(q)) => {
            let real = |b: &u8| (f32::from(b.cast_signed()) - q.zero_point[0] as f32) * q.scale[0];
            bytes.iter().map(real).collect()
        }
        _ => panic!("no way to read {info:?}"),
    }
}

/// First outputs of all examples, one after the other.
fn outputs(session: &mut dyn Session) -> Vec<f32> {
    let mut all = Vec::new();
    for example in 0..EXAMPLES {
        for index in 0..session.inputs().len() {
            let bytes = input(&session.inputs()[index], example);
            session.set_input(index, &bytes).unwrap();
        }
        session.invoke().unwrap();
        all.extend(reals(&session.outputs()[0], session.output(0).unwrap()));
    }
    all
}

fn builtin(path: &Path) -> Vec<f32> {
    let loaded = runtimes::runtime("builtin").unwrap().load(None).unwrap();
    let mut session = loaded.open(path).unwrap().compile(&CompileOptions::new("cpu")).unwrap();
    outputs(&mut *session)
}

fn difference(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    assert!(a.iter().chain(b).all(|x| x.is_finite()));
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

/// How far a variant may be from the built-in engine, after ZOO.md: 8-bit products in different orders round
/// differently where a network is deep.
fn tolerance(model: &str) -> f32 {
    match model {
        m if m.contains("fp32") => 1e-5,
        m if m.contains("fp16") => 5e-5,
        m if m.contains("dynint8") => 5e-4,
        m if m.starts_with("tiny_ic_resnet8") || m.contains("official_int8") => 0.2,
        _ => 1e-6,
    }
}

#[test]
fn every_version_runs_every_variant_as_the_built_in_engine_does() {
    let mut before: Option<(String, Answers)> = None;
    for found in here("every_version_runs_every_variant_as_the_built_in_engine_does") {
        let answers: Answers = serde_json::from_str(&run("matrix::variants", &found.path)).unwrap();
        for (model, path) in onnx() {
            let got = match &answers[&model] {
                Ok(got) => got,
                Err(words) => {
                    println!("onnxruntime {} {model}: {words}", found.version);
                    let known = REFUSED.iter().any(|(version, variant, part)| {
                        found.version.starts_with(version) && model.contains(variant) && words.contains(part)
                    });
                    assert!(known, "{} {model}: {words}", found.version);
                    continue;
                }
            };
            let apart = difference(got, &builtin(&path));
            println!("onnxruntime {} {model}: {apart:.1e} from the built-in engine", found.version);
            assert!(apart <= tolerance(&model), "{} {model}: {apart}", found.version);
            if let Some((version, before)) = &before
                && let Ok(before) = &before[&model]
            {
                let apart = difference(got, before);
                let (a, b) = (&found.version, version);
                assert!(apart <= tolerance(&model), "{model}: {a} and {b} are {apart} apart");
            }
        }
        before = Some((found.version, answers));
    }
}

#[test]
#[ignore = "in a process of its own"]
fn variants() {
    let mut answers = Answers::new();
    for (model, path) in onnx() {
        let precise = options("cpu", &[("x64-quant-precision", "true")]);
        answers.insert(model, session(&path, &precise).map(|mut session| outputs(&mut *session)));
    }
    answer(&serde_json::to_string(&answers).unwrap());
}
