//! Time of an invoke, and of getting ready for the first one, for the shipped variants on the built-in engine.
//! For people who change the engine: numbers of one run are compared with each other, never across machines.

use criterion::{Criterion, criterion_group, criterion_main};
use runtimes::{CompileOptions, Session};
use std::path::{Path, PathBuf};

const VARIANTS: [&str; 6] = [
    "model_fp32.tflite",
    "model_dynint8.tflite",
    "model_int8.tflite",
    "model_fp32.onnx",
    "model_dynint8.onnx",
    "model_int8.onnx",
];

fn model(variant: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../suites/models/fashion_dscnn").join(variant)
}

/// Opened and compiled, on inputs that are all zeros, as they are before the first is set.
fn session(variant: &str) -> Box<dyn Session> {
    let runtime = runtimes::runtime("builtin").expect("every build has it");
    let model = runtime
        .load(None)
        .expect("it needs no library")
        .open(&model(variant))
        .expect("shipped models can be opened");
    model.compile(&CompileOptions::new("cpu")).expect("shipped models can be compiled")
}

fn invoke(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("invoke");
    for variant in VARIANTS {
        let mut session = session(variant);
        group.bench_function(variant, |bencher| bencher.iter(|| session.invoke().expect("it has before")));
    }
    group.finish();
}

fn open_and_compile(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("open and compile");
    for variant in VARIANTS {
        group.bench_function(variant, |bencher| bencher.iter(|| session(variant)));
    }
    group.finish();
}

criterion_group! { name = benches; config = Criterion::default().without_plots(); targets = invoke, open_and_compile }
criterion_main!(benches);
