//! The suites that are part of the program: complete, consistent, and the same as the files in the
//! repository.

use protocol::{ContrastKind, DType, Format, Precision, RuntimeId, Task};
use std::{collections::BTreeSet, path::Path};
use suites::{BUILTIN, FILES, Side, Suite, Variant, contrasts, lookup};

fn suite(name: &str) -> Suite {
    lookup(name).expect("a built-in suite")
}

fn ids(suite: &Suite) -> Vec<&str> {
    suite.variants.iter().map(|v| v.id.variant.as_str()).collect()
}

#[test]
fn vision_and_audio_compare_the_same_eight_variants() {
    let eight = [
        "tflite-fp32",
        "tflite-fp16",
        "tflite-dynint8",
        "tflite-int8",
        "onnx-fp32",
        "onnx-fp16",
        "onnx-dynint8",
        "onnx-int8",
    ];
    for name in ["vision", "audio"] {
        let suite = suite(name);
        assert_eq!(ids(&suite), eight, "{name}");
        assert_eq!(suite.variants[suite.variants[0].reference].id.variant, "tflite-fp32");
        let side = |(variant, v): (usize, &Variant)| Side {
            variant,
            reference: Some(v.reference),
            runtime: RuntimeId::builtin(),
            format: v.format,
            precision: v.precision,
        };
        let sides: Vec<Side> = suite.variants.iter().enumerate().map(side).collect();
        let found = contrasts(&sides, &suite.compare.contrasts);
        let count = |kind| found.iter().filter(|c| c.kind == kind).count();
        assert_eq!((count(ContrastKind::Reference), count(ContrastKind::Format)), (7, 4));
    }
}

#[test]
fn formats_are_read_from_the_files() {
    for variant in &suite("vision").variants {
        let expected = if variant.id.variant.starts_with("onnx") { Format::Onnx } else { Format::Tflite };
        assert_eq!(variant.format, expected, "{}", variant.id);
    }
}

#[test]
fn vision_data_is_balanced_and_prepared() {
    let dataset = suite("vision").load_dataset().unwrap().unwrap();
    assert_eq!(dataset.inputs.len(), 1);
    let input = &dataset.inputs[0];
    assert_eq!((input.dtype, input.shape.as_slice()), (DType::F32, [2000, 28, 28, 1].as_slice()));
    assert_eq!(input.bytes.len(), 2000 * 28 * 28 * 4);
    let brightest = input.bytes.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).fold(0.0, f32::max);
    assert_eq!(brightest, 1.0);
    for class in 0..10 {
        assert_eq!(dataset.labels.classes().iter().filter(|l| **l == class).count(), 200, "class {class}");
    }
    assert_eq!((dataset.names[0].as_str(), dataset.labels.classes()[0]), ("test-00000", 9));
    assert_eq!(dataset.classes[9], "ankle boot");
}

#[test]
fn audio_data_becomes_features() {
    let dataset = suite("audio").load_dataset().unwrap().unwrap();
    let input = &dataset.inputs[0];
    assert_eq!((input.dtype, input.shape.as_slice()), (DType::F32, [540, 61, 32, 1].as_slice()));
    for class in 0..10 {
        assert_eq!(dataset.labels.classes().iter().filter(|l| **l == class).count(), 54, "class {class}");
    }
    assert_eq!(dataset.names[0], "0/0_george_0.wav");
}

#[test]
fn smoke_is_small() {
    let suite = suite("smoke");
    assert!(suite.variants.len() <= 3 && suite.compare.max_units <= 2);
    let dataset = suite.load_dataset().unwrap().unwrap();
    assert_eq!(dataset.examples(), 50);
    assert_eq!(dataset.names[1], "test-00040", "every 40th of the shipped images");
}

#[test]
fn declared_precisions_are_known_to_format_contrasts() {
    for builtin in BUILTIN {
        let suite = builtin.suite().unwrap();
        assert_eq!(suite.task, Task::CLASSIFICATION);
        for variant in &suite.variants {
            let expected = match variant.id.variant.rsplit('-').next() {
                Some("fp32") => Precision::Fp32,
                Some("fp16") => Precision::Fp16,
                Some("dynint8") => Precision::DynamicInt8,
                _ => Precision::Int8,
            };
            assert_eq!(variant.precision, Some(expected), "{}", variant.id);
        }
    }
}

/// What is built in is what the suites name: nothing is missing and nothing is carried along in vain.
#[test]
fn every_file_that_is_built_in_is_used() {
    let mut named = BTreeSet::from([
        "datasets/data/fashion_mnist_2000.npz".to_owned(),
        "datasets/data/fsdd_540.zip".to_owned(),
    ]);
    for builtin in BUILTIN {
        let suite = builtin.suite().unwrap();
        named.extend(suite.variants.iter().map(|v| v.file.path().to_string_lossy().into_owned()));
    }
    let built_in: BTreeSet<String> = FILES.iter().map(|f| f.path.to_owned()).collect();
    assert_eq!(named, built_in);
}

#[test]
fn the_files_on_disk_define_the_same_suites() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    for builtin in BUILTIN {
        let path = folder.join(format!("{}.toml", builtin.name));
        let (from_disk, built_in) = (lookup(path.to_str().unwrap()).unwrap(), builtin.suite().unwrap());
        assert_eq!(from_disk.sha256, built_in.sha256);
        assert_eq!(ids(&from_disk), ids(&built_in));
        for (a, b) in from_disk.variants.iter().zip(&built_in.variants) {
            assert_eq!(a.file.read(1 << 20).unwrap(), b.file.read(1 << 20).unwrap(), "{}", a.id);
            assert!(a.file.shipped_bytes().is_none() && b.file.shipped_bytes().is_some());
        }
        assert_eq!(from_disk.load_dataset().unwrap(), built_in.load_dataset().unwrap());
        assert_eq!((from_disk.origin, built_in.origin.as_str()), (path.display().to_string(), builtin.name));
    }
}

#[test]
fn all_files_of_a_suite_on_disk_are_known() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let on_disk = lookup(&root.join("vision.toml").display().to_string()).unwrap();
    let files = on_disk.files(100).unwrap();
    assert!(files.contains(&root.join("vision.toml")));
    assert_eq!(files.iter().filter(|path| path.extension().is_some_and(|e| e == "tflite")).count(), 4);
    for path in &files {
        assert!(path.is_file() && path.is_absolute(), "{}", path.display());
    }
    // models and data beside the definition
    assert!(files.len() > 1 + on_disk.variants.len());
    assert!(on_disk.files(3).unwrap_err().to_string().contains("more than 3 files"));
    assert_eq!(suite("vision").files(0).unwrap(), Vec::<std::path::PathBuf>::new());
}
