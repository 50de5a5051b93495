//! The consumer of the runtimes crate on the driver of this one, through the C ABI and the loader: what a phone's
//! library would be asked, and the bits that must come back.

#![expect(clippy::unwrap_used, reason = "a test may stop at what it did not expect")]

use protocol::{Artifact, DType, Library, Sha256Hex, TensorInfo};
use runtimes::builtin::nnapi::{DeviceKind, Devices};
use runtimes::{CompileOptions, Model, Result, Session, runtime};
use std::fs;
use std::path::{Path, PathBuf};

/// The driver that cargo built beside this test.
fn library() -> Library {
    let path = std::env::current_exe().unwrap().with_file_name("libneuralnetworks.so");
    assert!(path.is_file(), "{} was not built", path.display());
    of(path)
}

fn of(path: PathBuf) -> Library {
    let file = Artifact { path, sha256: Sha256Hex::of_bytes(b"") };
    Library { version: "test".to_owned(), file, with: Vec::new() }
}

fn open(path: &Path, library: Option<&Library>) -> Result<Box<dyn Model>> {
    runtime("builtin").unwrap().load(library)?.open(path)
}

fn on(path: &Path, options: &[(&str, &str)]) -> Result<Box<dyn Session>> {
    let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    let options =
        CompileOptions { options: options.iter().map(own).collect(), ..CompileOptions::new("nnapi") };
    open(path, Some(&library()))?.compile(&options)
}

fn shipped(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../suites/models").join(name)
}

fn outputs(session: &mut dyn Session) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    for seed in [1, 2, 3] {
        for (index, info) in session.inputs().to_vec().iter().enumerate() {
            session.set_input(index, &numbers(info, seed + index as u64)).unwrap();
        }
        session.invoke().unwrap();
        all.extend((0..session.outputs().len()).map(|i| session.output(i).unwrap().to_vec()));
    }
    all
}

fn numbers(info: &TensorInfo, seed: u64) -> Vec<u8> {
    let count: u64 = info.shape.iter().map(|d| d.unwrap()).product();
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 24) as u32
    };
    (0..count)
        .flat_map(|_| match (next(), info.dtype) {
            (n, DType::F32) => (n as f32 / u32::MAX as f32).to_le_bytes().to_vec(),
            (n, DType::I32 | DType::I64) => u64::from(n % 50).to_le_bytes()[..info.dtype.size()].to_vec(),
            (n, other) => n.to_le_bytes()[..other.size().min(4)].to_vec(),
        })
        .collect()
}

#[test]
fn devices_of_the_library_come_first() {
    let devices = Devices::with_library(&library()).unwrap();
    let all: Vec<(String, bool)> =
        devices.iter().map(|d| (d.info().name.clone(), d.info().in_process)).collect();
    let names = ["bench-reference", "bench-int8", "bench-fp16"];
    let expected = [false, true].into_iter().flat_map(|own| names.map(|n| (n.to_owned(), own)));
    assert_eq!(all, expected.collect::<Vec<_>>());
    let chosen = devices.choose(None).unwrap().info();
    assert_eq!((chosen.kind, chosen.in_process, chosen.feature_level), (DeviceKind::Accelerator, false, 31));
    assert!(chosen.performance.quantized.is_none(), "the C API tells no hints");
}

#[test]
fn models_give_the_same_bits_through_the_library() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    for folder in ["../../suites/models", "../../../shared/zoo"].map(|f| root.join(f)) {
        let Ok(families) = fs::read_dir(&folder) else {
            println!("left out, not there: {}", folder.display());
            continue;
        };
        let families = families.map(|e| e.unwrap().path()).filter(|p| p.is_dir());
        found.extend(families.flat_map(|f| fs::read_dir(f).unwrap().map(|e| e.unwrap().path())));
    }
    found.retain(|p| p.extension().is_some_and(|e| e == "tflite" || e == "onnx"));
    found.sort();
    let mut whole = 0;
    for path in found {
        let name = path.iter().rev().take(2).map(|p| p.to_string_lossy()).collect::<Vec<_>>();
        let cpu = open(&path, None).and_then(|m| m.compile(&CompileOptions::new("cpu")));
        let Ok(mut cpu) = cpu else {
            println!("left out, the engine does not do it: {name:?}");
            continue;
        };
        let expected = outputs(cpu.as_mut());
        let mut line = String::new();
        for device in ["bench-reference", "bench-int8"] {
            let mut session = on(&path, &[("device", device), ("burst", "true")]).unwrap();
            let got = outputs(session.as_mut());
            let differ = got.concat().iter().zip(expected.concat()).filter(|(a, b)| **a != *b).count();
            let proof = session.proof();
            assert!(proof.kernels.contains("by libneuralnetworks.so"), "{}", proof.kernels);
            let (part, all) = (proof.nodes_on_backend, proof.nodes_total);
            line += &format!(" {device}: {part} of {all} nodes, {} partitions;", proof.partitions);
            whole += u32::from(part == all);
            let reasons: std::collections::BTreeSet<&str> =
                proof.fallbacks.iter().map(|f| f.reason.as_str()).collect();
            line += &reasons.into_iter().take(3).collect::<Vec<_>>().join(" / ");
            // NNAPI does not say whose roundings quantised numbers have; the driver has those of TFLite
            let other_roundings = name[0].ends_with(".onnx") && name[0].contains("int8");
            line += &format!(" {differ} bytes of {} differ;", expected.concat().len());
            assert!(differ == 0 || other_roundings, "{name:?} on {device}: {line}");
        }
        println!("{name:?}:{line}");
    }
    assert!(whole >= 4, "{whole} models went to a device as a whole");
}

#[test]
fn preferences_caches_and_f16_reach_the_driver() {
    let (int8, fp32) =
        (shipped("fashion_dscnn/model_int8.tflite"), shipped("fashion_dscnn/model_fp32.tflite"));
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path().join("new");
    let options = [("preference", "low-power"), ("cache-dir", cache.to_str().unwrap())];
    let kernels = |options: &[(&str, &str)]| on(&int8, options).unwrap().proof().kernels.clone();
    let first = kernels(&options);
    assert!(first.contains("bench-int8") && first.contains(", low-power, "), "{first}");
    assert!(first.ends_with("first load"), "{first}");
    assert!(kernels(&options).ends_with("warm load"));
    // f16 is refused node by node until it is allowed
    let strict = on(&fp32, &[("device", "bench-fp16")]).unwrap();
    assert_eq!(strict.proof().partitions, 0);
    assert!(strict.proof().fallbacks[0].reason.contains("bench-fp16 does not take this operation"));
    let mut relaxed = on(&fp32, &[("device", "bench-fp16"), ("relax-fp16", "true")]).unwrap();
    assert_eq!((relaxed.proof().partitions, relaxed.proof().fallbacks.len()), (1, 0));
    let mut cpu = open(&fp32, None).unwrap().compile(&CompileOptions::new("cpu")).unwrap();
    assert_ne!(outputs(relaxed.as_mut()), outputs(cpu.as_mut()));
    let units: Vec<(&str, u32)> = relaxed.proof().units.iter().map(|u| (u.unit.as_str(), u.nodes)).collect();
    assert_eq!(units, [("bench-fp16", relaxed.proof().nodes_total), ("CPU", 0)]);
}

#[test]
fn a_profile_tells_hardware_driver_and_way_apart() {
    let mut session = on(&shipped("fashion_dscnn/model_int8.onnx"), &[("device", "bench-int8")]).unwrap();
    let now = std::time::Instant::now();
    let rows = session.profile(3, &|| u64::try_from(now.elapsed().as_nanos()).unwrap()).unwrap();
    assert!(rows.iter().all(|r| r.wall_ns.len() == 3), "{rows:?}");
    let of = |unit: &str| rows.iter().filter(|r| r.unit == unit).map(|r| r.op.as_str()).collect::<Vec<_>>();
    let partitions = of("bench-int8");
    assert_eq!(partitions.len(), session.proof().partitions as usize);
    assert!(partitions.iter().all(|p| p.contains("nodes on bench-int8")), "{partitions:?}");
    assert_eq!(of("bench-int8 driver"), vec!["driver"; partitions.len()]);
    assert!(of("CPU").contains(&"hand over") && of("CPU").len() > 1, "{rows:?}");
    assert!(rows.iter().any(|r| r.unit == "bench-int8" && r.wall_ns.iter().all(|ns| *ns > 0)));
}

#[test]
fn what_is_no_library_is_refused_in_words() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("libneuralnetworks.so");
    let refusal =
        |library: &Library| runtime("builtin").unwrap().load(Some(library)).err().unwrap().to_string();
    assert!(refusal(&of(path.clone())).contains("libneuralnetworks.so"));
    fs::write(&path, "no library").unwrap();
    assert!(refusal(&of(path)).contains("is no shared library"));
    // a library of something else: the C library of this process
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let libc = maps.lines().filter_map(|l| Some(PathBuf::from(&l[l.find('/')?..])));
    let libc = libc.into_iter().find(|p| p.to_string_lossy().contains("/libc.so")).unwrap();
    let message = refusal(&of(libc));
    assert!(
        message.contains("ANeuralNetworksModel_create") && message.contains("feature level 1"),
        "{message}"
    );
    // and who asks for no device must not be given one
    let model = open(&shipped("fashion_dscnn/model_int8.tflite"), Some(&library())).unwrap();
    let message = model.compile(&CompileOptions::new("cpu")).err().unwrap().to_string();
    assert!(message.contains("builtin/cpu takes no library"), "{message}");
    let refused = on(&shipped("fashion_dscnn/model_int8.tflite"), &[("device", "edgetpu")]);
    assert!(refused.err().unwrap().to_string().contains("there is bench-reference, bench-int8"));
}
