//! Every version × every backend × every model.

use crate::libraries::{Found, found};
use crate::models;
use crate::worker::{Answer, Task, run};
use protocol::{DType, TensorInfo};
use std::{collections::BTreeMap, env};

/// Answers by model.
type Answers = BTreeMap<String, Answer>;

fn task(library: &Found, backend: &str, ending: &str) -> Task {
    Task {
        runtime: library.runtime.to_owned(),
        backend: backend.to_owned(),
        library: Some(library.path.clone()),
        models: models::all(ending),
        ..Task::default()
    }
}

fn builtin(ending: &str) -> Answers {
    let models = models::all(ending);
    run(&Task { runtime: "builtin".to_owned(), backend: "cpu".to_owned(), models, ..Task::default() })
}

/// Outputs as real numbers, dequantised.
fn reals(info: &TensorInfo, bytes: &[u8]) -> Vec<f64> {
    let (scale, zero) =
        info.quantization.as_ref().map_or((1.0, 0), |q| (f64::from(q.scale[0]), q.zero_point[0]));
    let whole = |value: i64| (value - i64::from(zero)) as f64 * scale;
    match info.dtype {
        DType::F32 => {
            bytes.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap()).into()).collect()
        }
        DType::I8 => bytes.iter().map(|b| whole(b.cast_signed().into())).collect(),
        DType::U8 | DType::Bool => bytes.iter().map(|b| whole((*b).into())).collect(),
        DType::I16 => {
            bytes.chunks_exact(2).map(|b| whole(i16::from_le_bytes(b.try_into().unwrap()).into())).collect()
        }
        DType::I32 => {
            bytes.chunks_exact(4).map(|b| whole(i32::from_le_bytes(b.try_into().unwrap()).into())).collect()
        }
        other => panic!("no way to read {}", other.name()),
    }
}

/// Largest difference of two answers: absolute and dequantised, over the largest number there is, or 1.
fn difference(a: &Answer, b: &Answer) -> f64 {
    assert_eq!(a.outputs, b.outputs, "{}", a.model);
    let mut largest = 0.0f64;
    for (i, info) in a.outputs.iter().enumerate() {
        let (a, b) = (reals(info, &a.bytes[i]), reals(info, &b.bytes[i]));
        let size = a.iter().fold(1.0f64, |size, v| size.max(v.abs()));
        largest = a.iter().zip(&b).fold(largest, |largest, (a, b)| largest.max((a - b).abs() / size));
    }
    largest
}

/// One step of the largest output scale: what rounding may do to a quantised output.
fn step(answer: &Answer) -> f64 {
    let scales = answer.outputs.iter().filter_map(|o| Some(f64::from(o.quantization.as_ref()?.scale[0])));
    scales.fold(0.0, f64::max)
}

/// What a proof and a description must hold, whatever the runtime.
fn sound(answer: &Answer, builtin: Option<&Answer>, what: &str) {
    let proof = &answer.proof;
    let units: u32 = proof.units.iter().map(|u| u.nodes).sum();
    assert_eq!(units, proof.nodes_total, "{what}: {proof:?}");
    assert!(proof.nodes_on_backend <= proof.nodes_total && proof.nodes_total > 0, "{what}: {proof:?}");
    assert_eq!(proof.nodes_total - proof.nodes_on_backend, proof.fallbacks.len() as u32, "{what}: {proof:?}");
    assert_eq!(proof.partitions > 0, proof.nodes_on_backend > 0, "{what}: {proof:?}");
    assert!(proof.fallbacks.iter().all(|f| !f.op.is_empty()), "{what}: {proof:?}");
    // our own reader of the file must say the same of it
    if let Some(builtin) = builtin.filter(|b| b.error.is_none()) {
        assert_eq!(answer.open, builtin.open, "{what}");
        assert_eq!(answer.inputs, builtin.inputs, "{what}");
        assert_eq!(answer.outputs, builtin.outputs, "{what}");
    }
}

/// All answers of a runtime's backends, checked one by one; prints what a model was refused for.
fn answers(library: &Found, backends: &[&'static str], builtin: &Answers) -> BTreeMap<&'static str, Answers> {
    let mut all = BTreeMap::new();
    for backend in backends {
        let answers = run(&task(library, backend, ".tflite"));
        for (model, answer) in &answers {
            let what = format!("{} {}/{backend} {model}", library.version, library.runtime);
            match &answer.error {
                Some(error) => println!("{what}: {error}"),
                None => sound(answer, builtin.get(model), &what),
            }
        }
        all.insert(*backend, answers);
    }
    all
}

/// Prints, model by model, how far two sets of answers are apart, and returns the largest difference in steps of
/// the output's quantisation (where it has one), and of the others.
fn apart(what: &str, a: &Answers, b: &Answers) -> (f64, f64) {
    let (mut steps, mut real) = (0.0f64, 0.0f64);
    for (model, a) in a.iter().filter(|(_, a)| a.error.is_none()) {
        let Some(b) = b.get(model).filter(|b| b.error.is_none()) else { continue };
        let (difference, step) = (difference(a, b), step(a));
        if difference > 0.0 && env::var_os("BENCH_TEST_VERBOSE").is_some() {
            println!("{what} {model}: {difference:.1e}, step {step:.1e}");
        }
        if step > 0.0 {
            steps = steps.max(difference / step);
        } else {
            real = real.max(difference);
        }
    }
    println!("{what}: apart by {steps:.0} steps, {real:.1e}");
    (steps, real)
}

#[test]
fn versions_of_litert_agree() {
    let libraries = found("versions_of_litert_agree", "litert");
    if libraries.is_empty() {
        return;
    }
    let builtin = builtin(".tflite");
    let mut newest: Option<BTreeMap<&'static str, Answers>> = None;
    for library in libraries.iter().rev() {
        let answers = answers(library, &["xnnpack", "builtin", "reference"], &builtin);
        let refused = |answers: &Answers| answers.values().all(|a| a.error.is_some());
        assert!(!refused(&answers["xnnpack"]), "{}", library.version);
        for own in ["builtin", "reference"] {
            // either all of them, in a version that has no such choice, or hardly any
            if refused(&answers[own]) {
                let words = answers[own].values().next().unwrap().refusal();
                assert!(words.contains("needs LiteRT 2.1.4 or newer"), "{}: {words}", library.version);
            }
        }
        let Some(newest) = &newest else {
            newest = Some(answers);
            continue;
        };
        for (backend, answers) in &answers {
            let what =
                format!("litert/{backend} {} and {}", library.version, libraries.last().unwrap().version);
            let (steps, real) = apart(&what, answers, &newest[backend]);
            assert!(steps < 1.5 && real < 1e-5, "{what}");
        }
    }
}

#[test]
fn kernel_sets_agree_with_our_own_engine() {
    let mut libraries = found("kernel_sets_agree_with_our_own_engine", "litert");
    libraries.drain(..libraries.len().saturating_sub(1));
    libraries.extend(found("kernel_sets_agree_with_our_own_engine", "tflite"));
    if libraries.is_empty() {
        return;
    }
    let builtin = builtin(".tflite");
    for library in &libraries {
        let backends: &[&str] = if library.runtime == "litert" {
            &["xnnpack", "builtin", "reference"]
        } else {
            &["xnnpack", "builtin"]
        };
        for (backend, answers) in &answers(library, backends, &builtin) {
            let what = format!("{}/{backend} {} and our engine", library.runtime, library.version);
            let (steps, real) = apart(&what, answers, &builtin);
            // Ours computes as XNNPACK does in LiteRT, to the last bit where it is integers (NUMERICS.md). Other
            // kernels round otherwise and quantise activations otherwise, and the classic library leaves more to them.
            let alike = library.runtime == "litert" && *backend == "xnnpack";
            let (steps_allowed, real_allowed) = if alike { (0.5, 1e-5) } else { (16.0, 0.05) };
            assert!(steps < steps_allowed && real < real_allowed, "{what}");
        }
    }
}

#[test]
fn profiles_add_up() {
    let mut libraries = found("profiles_add_up", "litert");
    libraries.extend(found("profiles_add_up", "tflite"));
    for library in &libraries {
        for backend in ["xnnpack", "builtin"] {
            let answers = run(&Task { profile: 3, ..task(library, backend, "model_int8.tflite") });
            for (model, answer) in answers.iter().filter(|(_, a)| a.error.is_none()) {
                let what = format!("{} {}/{backend} {model}", library.version, library.runtime);
                profile_adds_up(answer, &what);
                sound(answer, None, &what);
            }
        }
    }
}

fn profile_adds_up(answer: &Answer, what: &str) {
    let (rows, proof) = (&answer.profile, &answer.proof);
    assert!(!rows.is_empty(), "{what}");
    assert!(
        rows.iter().all(|r| r.wall_ns.len() == 3 && !r.op.is_empty() && !r.node.is_empty()),
        "{what}: {rows:?}"
    );
    let sum: u64 = rows.iter().flat_map(|r| &r.wall_ns).sum();
    assert!(sum > 0 && sum <= answer.profile_ns, "{what}: {sum} of {} ns", answer.profile_ns);
    // nodes of the library itself are there one by one, by their names; those of a delegate are its own
    let own = |unit: &str| unit == "built-in kernels";
    let in_proof: u32 = proof.units.iter().filter(|u| own(&u.unit)).map(|u| u.nodes).sum();
    assert_eq!(rows.iter().filter(|r| own(&r.unit)).count() as u32, in_proof, "{what}: {rows:?}");
    let units: Vec<&str> = proof.units.iter().map(|u| u.unit.as_str()).collect();
    assert!(rows.iter().all(|r| units.contains(&r.unit.as_str())), "{what}: {rows:?}");
    for left in &proof.fallbacks {
        assert!(rows.iter().any(|r| r.node == left.node && r.op == left.op), "{what}: {left:?} in {rows:?}");
    }
}

#[test]
fn open_dimensions_take_the_shape_asked_for() {
    for runtime in ["litert", "tflite"] {
        for library in found("open_dimensions_take_the_shape_asked_for", runtime) {
            // a batch of three where the file has one
            let shapes = Some(vec![vec![3, 28, 28, 1]]);
            let ending = "fashion_dscnn/model_fp32.tflite";
            let answers = run(&Task { shapes, ..task(&library, "xnnpack", ending) });
            let answer = answers.values().next().unwrap();
            assert_eq!(answer.error, None, "{}", library.version);
            assert_eq!(answer.outputs[0].shape, [Some(3), Some(10)], "{}", library.version);
            assert_eq!(answer.bytes[0].len(), 120, "{}", library.version);
            let shapes = Some(vec![vec![3, 28, 28]]);
            let answers = run(&Task { shapes, ..task(&library, "xnnpack", ending) });
            let words = answers.values().next().unwrap().refusal();
            assert!(words.contains("4 dimensions"), "{words}");
        }
    }
}
