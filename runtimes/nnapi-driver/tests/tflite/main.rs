//! A client of NNAPI that is not ours: the NNAPI delegate of TFLite, from the library of a Python package, runs models
//! on our driver. It asks the loader for `libneuralnetworks.so`, and gets the one that is loaded already.
//!
//! The library is `tflite/VERSION/ARCH/libtensorflowlite_c.so` in the folder that `BENCH_TEST_RUNTIMES` names: out of the
//! wheel of `pymicro-wakeword` 2.5.0, for one. Without it, and without the zoo, it is said what was left out; with
//! `tflite` in `BENCH_TEST_REQUIRE`, that fails.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test may stop, and says what it saw and left out"
)]

mod ffi;

use ffi::{Delegate, Driver, Tensor, Tflite};
use runtimes::CompileOptions;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// TFLite's numbers of types.
const FLOAT: i32 = 1;
const INT: i32 = 2;
const BYTES: i32 = 9;

/// Examples per model and delegate.
const EXAMPLES: u64 = 20;

/// The driver that cargo built beside this test.
fn driver() -> PathBuf {
    let path = std::env::current_exe().unwrap().with_file_name("libneuralnetworks.so");
    assert!(path.is_file(), "{} was not built", path.display());
    path
}

/// The driver counts for the whole process: one test at a time.
static TURN: Mutex<()> = Mutex::new(());

fn tflite() -> Option<(MutexGuard<'static, ()>, Driver, Tflite)> {
    let folder =
        std::env::var_os("BENCH_TEST_RUNTIMES").map(PathBuf::from).unwrap_or_default().join("tflite");
    let versions = std::fs::read_dir(folder).into_iter().flatten().map(|e| e.unwrap().path());
    let library = |version: PathBuf| version.join(std::env::consts::ARCH).join("libtensorflowlite_c.so");
    let Some(path) = versions.map(library).find(|p| p.is_file()) else {
        let required = std::env::var("BENCH_TEST_REQUIRE").unwrap_or_default();
        assert!(!required.split(',').any(|r| r == "tflite"), "tflite is required");
        println!(
            "left out: TFLite's NNAPI delegate on our driver: no tflite/VERSION/{}/libtensorflowlite_c.so in the folder \
             of BENCH_TEST_RUNTIMES",
            std::env::consts::ARCH
        );
        return None;
    };
    // the driver first: the loader then knows its name
    let driver = Driver::load(&driver()).unwrap();
    let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    Some((turn, driver, Tflite::load(&path).unwrap()))
}

/// Reals from 0 to 1, small numbers for what may be an index, any byte.
fn numbers(kind: i32, size: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x2545_f491_4f6c_dd1d;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 24) as u32
    };
    match kind {
        FLOAT => (0..size / 4).flat_map(|_| (next() as f32 / u32::MAX as f32).to_le_bytes()).collect(),
        INT => (0..size / 4).flat_map(|_| (next() % 50).to_le_bytes()).collect(),
        _ => (0..size).map(|_| next() as u8).collect(),
    }
}

/// How many elements differ, of how many, and by how much at most; of quantised ones in steps.
fn compare(a: &[Tensor], b: &[Tensor]) -> (usize, usize, f32) {
    let (mut differ, mut count, mut largest) = (0, 0, 0f32);
    assert_eq!(a.len(), b.len());
    for (a, b) in a.iter().zip(b) {
        assert_eq!((a.kind, a.bytes.len()), (b.kind, b.bytes.len()));
        let real = |t: &Tensor| match t.kind {
            FLOAT => t.bytes.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect::<Vec<_>>(),
            BYTES => t.bytes.iter().map(|b| f32::from(b.cast_signed())).collect(),
            _ => t.bytes.iter().map(|b| f32::from(*b)).collect(),
        };
        for (a, b) in real(a).into_iter().zip(real(b)) {
            count += 1;
            differ += usize::from(a.to_bits() != b.to_bits());
            largest = largest.max((a - b).abs());
        }
    }
    (differ, count, largest)
}

/// The built-in engine on the same inputs, without any NNAPI.
fn engine(model: &Path) -> Vec<Tensor> {
    let model = runtimes::runtime("builtin").unwrap().load(None).unwrap().open(model).unwrap();
    let mut session = model.compile(&CompileOptions::new("cpu")).unwrap();
    let kind = |dtype: protocol::DType| match dtype {
        protocol::DType::F32 => FLOAT,
        protocol::DType::I32 => INT,
        _ => BYTES,
    };
    let mut outputs = Vec::new();
    for example in 0..EXAMPLES {
        for (index, info) in session.inputs().to_vec().iter().enumerate() {
            let count: u64 = info.shape.iter().map(|d| d.unwrap()).product();
            let size = usize::try_from(count).unwrap() * info.dtype.size();
            session.set_input(index, &numbers(kind(info.dtype), size, example * 16 + index as u64)).unwrap();
        }
        session.invoke().unwrap();
        for (index, info) in session.outputs().iter().enumerate() {
            outputs.push(Tensor { kind: kind(info.dtype), bytes: session.output(index).unwrap().to_vec() });
        }
    }
    outputs
}

fn has_mean(model: &Path) -> bool {
    let model = runtimes::runtime("builtin").unwrap().load(None).unwrap().open(model).unwrap();
    model.facts().unwrap().ops.iter().any(|o| o.op == "MEAN")
}

/// A shipped model, or one of the zoo.
fn model(name: &str) -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let places = ["../../suites/models", "../../../shared/zoo"].map(|p| root.join(p).join(name));
    let found = places.into_iter().find(|p| p.is_file());
    if found.is_none() {
        println!("left out, not there: {name}");
    }
    found
}

#[test]
fn the_delegate_of_tflite_runs_models_on_our_driver() {
    let Some((_turn, driver, tflite)) = tflite() else { return };
    println!(
        "TFLite {}; elements that differ, of all, and the largest difference (int8: in steps)",
        tflite.version()
    );
    for (name, device) in [
        ("fashion_dscnn/model_fp32.tflite", "bench-reference"),
        ("fashion_dscnn/model_int8.tflite", "bench-int8"),
        ("fsdd_dscnn/model_fp32.tflite", "bench-reference"),
        ("fsdd_dscnn/model_int8.tflite", "bench-int8"),
        ("tiny_ic_resnet8/model_fp32.tflite", "bench-reference"),
        ("tiny_ic_resnet8/model_int8.tflite", "bench-int8"),
        ("tiny_kws_dscnn/model_int8.tflite", "bench-int8"),
        ("cifar_mbnet/model_fp32.tflite", "bench-reference"),
        ("cifar_mbnet/model_int8.tflite", "bench-int8"),
        ("extra/mlperf_vww_96_int8.tflite", "bench-int8"),
        ("extra/mlperf_ad01_int8.tflite", "bench-int8"),
    ] {
        let Some(path) = model(name) else { continue };
        let run = |delegate| tflite.run(&path, delegate, EXAMPLES, numbers).unwrap();
        let (own, xnnpack) = (run(Delegate::None), run(Delegate::Xnnpack));
        let before = driver.counts();
        let ours = run(Delegate::Nnapi { device, f16: false, cache: None });
        let after = driver.counts();
        // one partition: all nodes in one execution per example, in a burst
        assert_eq!((after.0 - before.0, after.1 - before.1), (EXAMPLES, EXAMPLES), "{name}");
        let (without, with_xnnpack, with_engine) =
            (compare(&ours, &own), compare(&ours, &xnnpack), compare(&ours, &engine(&path)));
        println!(
            "{name} on {device}: TFLite's own kernels {without:?}, XNNPACK {with_xnnpack:?}, built-in engine \
             {with_engine:?}; XNNPACK against TFLite's own kernels {:?}",
            compare(&xnnpack, &own)
        );
        if ours[0].kind == FLOAT {
            assert!(without.2 < 1e-5 && with_xnnpack.2 < 1e-5 && with_engine.2 < 1e-5, "{name}");
        } else {
            // Bit for bit, but for what the delegate makes of a MEAN that changes the scale: one that does not, and
            // the addition of a zero that does, which is a rounding more.
            let steps = if has_mean(&path) { 8.0 } else { 0.0 };
            assert!(with_xnnpack.2 <= steps && with_engine.2 <= steps, "{name}");
        }
    }
}

#[test]
fn a_device_takes_only_what_is_its_own() {
    let Some((_turn, driver, tflite)) = tflite() else { return };
    let Some(path) = model("fashion_dscnn/model_fp32.tflite") else { return };
    let run = |delegate| tflite.run(&path, delegate, EXAMPLES, numbers).unwrap();
    let own = run(Delegate::None);
    let before = driver.counts();
    let refused = run(Delegate::Nnapi { device: "bench-int8", f16: false, cache: None });
    assert_eq!(driver.counts(), before, "nothing of f32 is for an accelerator of int8");
    assert_eq!(compare(&refused, &own).0, 0, "so it was TFLite that ran it");
    let strict = run(Delegate::Nnapi { device: "bench-fp16", f16: false, cache: None });
    assert_eq!((driver.counts(), compare(&strict, &own).0), (before, 0), "f16 was not allowed");
    let relaxed = run(Delegate::Nnapi { device: "bench-fp16", f16: true, cache: None });
    let (differ, count, largest) = compare(&relaxed, &own);
    println!("f32 as f16 on bench-fp16: {differ} of {count} differ, by up to {largest:e}");
    assert_eq!(driver.counts().0 - before.0, EXAMPLES);
    assert!(differ > count / 2 && largest < 0.02, "{largest}");
}

#[test]
fn tflite_can_have_compilations_kept() {
    let Some((_turn, driver, tflite)) = tflite() else { return };
    let Some(path) = model("fashion_dscnn/model_int8.tflite") else { return };
    let folder = tempfile::tempdir().unwrap();
    let kept =
        || std::fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().file_name()).collect::<Vec<_>>();
    let delegate = Delegate::Nnapi { device: "bench-int8", f16: false, cache: Some(folder.path()) };
    let first = tflite.run(&path, delegate, 1, numbers).unwrap();
    let files = kept();
    let ours = |name: &std::ffi::OsString| name.to_string_lossy().ends_with(".nnapi");
    assert_eq!(files.iter().filter(|f| ours(f)).count(), 1, "{files:?}");
    assert_eq!(tflite.run(&path, delegate, 1, numbers).unwrap(), first);
    assert_eq!(kept(), files);
    assert!(driver.counts().0 >= 2);
}
