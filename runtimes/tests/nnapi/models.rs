//! The models that are shipped, and those of the zoo where it is there.

use super::{on, on_cpu, outputs};
use runtimes::Session;
use runtimes::builtin::graph::Graph;
use runtimes::builtin::nnapi::Options;
use runtimes::builtin::{import, passes};
use std::fs;
use std::path::{Path, PathBuf};

/// Every model file below a folder.
fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else {
        println!("left out, not there: {}", folder.display());
        return;
    };
    for path in entries.map(|e| e.unwrap().path()) {
        if path.is_dir() {
            files(&path, found);
        } else if path.extension().is_some_and(|e| e == "tflite" || e == "onnx") {
            found.push(path);
        }
    }
}

fn all() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    for folder in ["../suites/models", "../../shared/zoo"] {
        files(&root.join(folder), &mut found);
    }
    found.sort();
    assert!(found.len() >= 22, "the shipped models were not found");
    found
}

fn name(path: &Path) -> String {
    let parts: Vec<_> = path.iter().rev().take(2).map(|p| p.to_string_lossy()).collect();
    format!("{}/{}", parts[1], parts[0])
}

fn load(path: &Path) -> Result<Graph, String> {
    let source = import::parse(fs::read(path).unwrap(), path.parent()).map_err(|e| e.to_string())?;
    let graph = source.build(None, &[]).map_err(|e| e.to_string())?;
    passes::optimize(&graph, &[]).map_err(|e| e.to_string())
}

/// Partitions and fallbacks in a line.
fn summary(session: &dyn Session) -> String {
    let proof = session.proof();
    let mut reasons: Vec<(usize, String)> = Vec::new();
    for fallback in &proof.fallbacks {
        let text = format!("{}: {}", fallback.op, fallback.reason);
        match reasons.iter_mut().find(|(_, t)| *t == text) {
            Some((count, _)) => *count += 1,
            None => reasons.push((1, text)),
        }
    }
    let reasons: Vec<String> = reasons.into_iter().map(|(count, text)| format!("{count} {text}")).collect();
    let (on, total) = (proof.nodes_on_backend, proof.nodes_total);
    format!("{on} of {total} nodes in {} partitions; {}", proof.partitions, reasons.join("; "))
}

#[test]
fn partitions_give_the_bits_of_the_whole() {
    let mut int8 = 0;
    for path in all() {
        let graph = match load(&path) {
            Ok(graph) => graph,
            Err(reason) => {
                println!("left out, {}: {reason}", name(&path));
                continue;
            }
        };
        let expected = on_cpu(&graph);
        for device in ["bench-int8", "bench-reference"] {
            let mut session = on(&graph, device, &Options::default());
            assert!(outputs(session.as_mut()) == expected, "{} on {device}", name(&path));
            let proof = session.proof();
            let fallbacks = u32::try_from(proof.fallbacks.len()).unwrap();
            assert_eq!(proof.nodes_on_backend + fallbacks, proof.nodes_total, "{}", name(&path));
            assert!(proof.fallbacks.iter().all(|f| !f.reason.is_empty()), "{}", name(&path));
            if device == "bench-int8" {
                println!("{} on {device}: {}", name(&path), summary(session.as_ref()));
                int8 += u32::from(proof.nodes_on_backend > 0);
            } else {
                assert!(proof.partitions <= 1, "{}: all of it can be one", name(&path));
            }
        }
    }
    assert!(int8 >= 10, "{int8} models had int8 partitions");
}

#[test]
fn shipped_int8_models_run_on_the_accelerator_but_for_their_ends() {
    for path in all().iter().filter(|p| p.ends_with("fashion_dscnn/model_int8.tflite")) {
        let session = on(&load(path).unwrap(), "bench-int8", &Options::default());
        let proof = session.proof();
        assert_eq!((proof.partitions, proof.nodes_on_backend), (1, proof.nodes_total), "{proof:?}");
        assert!(proof.kernels.starts_with("nnapi bench-int8"), "{}", proof.kernels);
    }
}

#[test]
fn f16_is_only_used_where_it_is_allowed() {
    let relaxed = Options { relax_fp16: true, ..Options::default() };
    for path in all().iter().filter(|p| p.ends_with("fsdd_dscnn/model_fp32.tflite")) {
        let graph = load(path).unwrap();
        let expected = on_cpu(&graph);
        let mut strict = on(&graph, "bench-fp16", &Options::default());
        assert_eq!((strict.proof().partitions, strict.proof().nodes_on_backend), (0, 0));
        assert!(strict.proof().fallbacks[0].reason.contains("relax-fp16"));
        assert_eq!(outputs(strict.as_mut()), expected);
        let mut session = on(&graph, "bench-fp16", &relaxed);
        assert_eq!((session.proof().partitions, session.proof().fallbacks.len()), (1, 0));
        let got = outputs(session.as_mut());
        assert_eq!(got, outputs(session.as_mut()), "the same again");
        let real =
            |bytes: &[u8]| bytes.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect::<Vec<_>>();
        let pairs = expected.iter().zip(&got).flat_map(|(a, b)| real(a).into_iter().zip(real(b)));
        let largest = pairs.map(|(a, b)| (a - b).abs()).fold(0f32, f32::max);
        println!("{}: f16 moves probabilities by up to {largest:e}", name(path));
        assert!(largest > 0.0 && largest < 0.02, "{largest}");
        // every number that comes out was rounded
        let halves = got.iter().flat_map(|b| real(b)).all(|v| half::f16::from_f32(v).to_f32() == v);
        assert!(halves);
    }
}

#[test]
fn weights_of_eight_bits_are_not_computed_as_f16() {
    let relaxed = Options { relax_fp16: true, ..Options::default() };
    for path in all().iter().filter(|p| p.ends_with("fsdd_dscnn/model_dynint8.tflite")) {
        let session = on(&load(path).unwrap(), "bench-fp16", &relaxed);
        let mut convolutions = session.proof().fallbacks.iter().filter(|f| f.op == "Conv2d");
        assert!(
            convolutions.any(|f| f.reason.contains("the node has quantised i8")),
            "{:?}",
            session.proof()
        );
    }
}
