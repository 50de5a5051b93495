//! What a session does: shapes, threads, outputs whose shape depends on the data, proof and profile.

use crate::inside::{given, here, load, options, run, session};
use crate::matrix::input;
use crate::models::shipped;
use crate::writer::{Message, model, node, tensor, value_info};
use protocol::DType;
use runtimes::CompileOptions;
use std::fs;
use std::path::PathBuf;

fn written(folder: &tempfile::TempDir, name: &str, graph: Message) -> PathBuf {
    let path = folder.path().join(name);
    fs::write(&path, model(17, graph)).unwrap();
    path
}

/// `y = x + x`, a number of rows left open.
fn doubled() -> Message {
    Message::new()
        .nested(1, node("Add", &["x", "x"], &["y"]))
        .text(2, "g")
        .nested(11, value_info("x", 1, &[None, Some(2)]))
        .nested(12, value_info("y", 1, &[None, Some(2)]))
}

fn f32s(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

/// Runs one of the ignored tests below with every version.
fn with_every_version(test: &str, name: &str) {
    for found in here(test) {
        run(&format!("sessions::{name}"), &found.path);
        println!("onnxruntime {}: {name}", found.version);
    }
}

#[test]
fn open_dimensions_take_the_shape_asked_for() {
    with_every_version("open_dimensions_take_the_shape_asked_for", "open_dimensions");
}

#[test]
#[ignore = "in a process of its own"]
fn open_dimensions() {
    let folder = tempfile::tempdir().unwrap();
    let path = written(&folder, "doubled.onnx", doubled());
    let opened = load(&given()).unwrap().open(&path).unwrap();
    assert_eq!(opened.inputs().unwrap()[0].shape, [None, Some(2)]);
    for fixed in ["false", "true"] {
        let mut asked = options("cpu", &[("fix-dimensions", fixed)]);
        let mut one = opened.compile(&asked).unwrap();
        assert_eq!(one.inputs()[0].shape, [Some(1), Some(2)]);
        one.set_input(0, &f32s(&[1.0, -2.0])).unwrap();
        one.invoke().unwrap();
        assert_eq!(one.output(0).unwrap(), f32s(&[2.0, -4.0]));
        asked.input_shapes = Some(vec![vec![3, 2]]);
        let mut three = opened.compile(&asked).unwrap();
        let before = if fixed == "true" { Some(3) } else { None };
        assert_eq!(three.outputs()[0].shape, [before, Some(2)]);
        for shift in [0.0, 1.0] {
            let x = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0].map(|v: f32| v + shift);
            three.set_input(0, &f32s(&x)).unwrap();
            three.invoke().unwrap();
            assert_eq!(three.outputs()[0].shape, [Some(3), Some(2)]);
            assert_eq!(three.output(0).unwrap(), f32s(&x.map(|v| v + v)));
        }
        // Both sessions are alive, and neither has touched the other's memory.
        assert_eq!(one.output(0).unwrap(), f32s(&[2.0, -4.0]));
        for wrong in [vec![vec![3, 3]], vec![vec![3]], vec![], vec![vec![1 << 40, 2]]] {
            asked.input_shapes = Some(wrong.clone());
            let words = opened.compile(&asked).map(|_| ()).unwrap_err().to_string();
            assert!(words.contains("input does not fit"), "{wrong:?}: {words}");
        }
    }
}

#[test]
fn outputs_whose_shape_depends_on_the_data_are_told_after_a_run() {
    with_every_version(
        "outputs_whose_shape_depends_on_the_data_are_told_after_a_run",
        "data_dependent_outputs",
    );
}

#[test]
#[ignore = "in a process of its own"]
fn data_dependent_outputs() {
    let folder = tempfile::tempdir().unwrap();
    let graph = Message::new()
        .nested(1, node("NonZero", &["x"], &["y"]))
        .text(2, "g")
        .nested(11, value_info("x", 9, &[Some(4)]))
        .nested(12, value_info("y", 7, &[Some(1), None]));
    let mut session = session(&written(&folder, "nonzero.onnx", graph), &CompileOptions::new("cpu")).unwrap();
    assert_eq!((session.inputs()[0].dtype, session.outputs()[0].dtype), (DType::Bool, DType::I64));
    assert_eq!(session.outputs()[0].shape, [Some(1), None]);
    assert_eq!(session.output(0).unwrap(), b"");
    for (x, expected) in [([1u8, 0, 1, 1], &[0i64, 2, 3][..]), ([0, 1, 0, 0], &[1]), ([0; 4], &[])] {
        session.set_input(0, &x).unwrap();
        session.invoke().unwrap();
        assert_eq!(session.outputs()[0].shape, [Some(1), Some(expected.len() as u64)]);
        let bytes: Vec<u8> = expected.iter().flat_map(|i| i.to_le_bytes()).collect();
        assert_eq!(session.output(0).unwrap(), bytes);
    }
    for (index, bytes) in [(0, &[0u8; 3][..]), (0, &[0; 5]), (0, &[2, 0, 0, 0]), (1, &[0; 4])] {
        let words = session.set_input(index, bytes).unwrap_err().to_string();
        assert!(words.contains("input does not fit"), "{words}");
    }
    assert!(session.output(1).is_err());
}

#[test]
fn weights_in_a_file_of_their_own_are_found_beside_the_model_or_named() {
    with_every_version("weights_in_a_file_of_their_own_are_found_beside_the_model_or_named", "external_data");
}

#[test]
#[ignore = "in a process of its own"]
fn external_data() {
    let folder = tempfile::tempdir().unwrap();
    let elsewhere = Message::new().int(1, 2).int(2, 1).text(8, "w");
    let elsewhere =
        elsewhere.nested(13, Message::new().text(1, "location").text(2, "weights.bin")).int(14, 1);
    let graph = Message::new()
        .nested(1, node("Mul", &["x", "w"], &["y"]))
        .text(2, "g")
        .nested(5, elsewhere)
        .nested(11, value_info("x", 1, &[Some(2)]))
        .nested(12, value_info("y", 1, &[Some(2)]));
    let path = written(&folder, "external.onnx", graph);
    let words = session(&path, &CompileOptions::new("cpu")).map(|_| ()).unwrap_err();
    assert!(words.contains("its weights are in a file \"weights.bin\", which is not beside it"), "{words}");
    fs::write(folder.path().join("weights.bin"), f32s(&[3.0, 5.0])).unwrap();
    let mut session = session(&path, &CompileOptions::new("cpu")).unwrap();
    session.set_input(0, &f32s(&[1.0, -1.0])).unwrap();
    session.invoke().unwrap();
    assert_eq!(session.output(0).unwrap(), f32s(&[3.0, -5.0]));
}

#[test]
fn options_and_threads_change_how_and_not_what() {
    with_every_version("options_and_threads_change_how_and_not_what", "options_and_threads");
}

#[test]
#[ignore = "in a process of its own"]
fn options_and_threads() {
    let path = shipped().join("fashion_dscnn/model_fp32.onnx");
    let mut expected: Option<Vec<f32>> = None;
    let level = |level| ("graph-optimization", level);
    for given in [
        vec![],
        vec![level("extended")],
        vec![level("basic")],
        vec![level("none"), ("spinning", "false")],
        vec![("memory-arena", "false"), ("x64-quant-precision", "true")],
    ] {
        for threads in [1, 2] {
            let mut asked = options("cpu", &given);
            asked.threads = threads;
            let mut session = session(&path, &asked).unwrap();
            session.set_input(0, &input(&session.inputs()[0].clone(), 0)).unwrap();
            session.invoke().unwrap();
            let bytes = session.output(0).unwrap();
            let got: Vec<f32> = bytes.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
            let expected = expected.get_or_insert_with(|| got.clone());
            assert!(expected.iter().zip(&got).all(|(a, b)| (a - b).abs() < 1e-5), "{given:?} {threads}");
        }
    }
}

#[test]
fn the_proof_says_how_many_nodes_ran_where() {
    for found in here("the_proof_says_how_many_nodes_ran_where") {
        let version = run("sessions::proof", &found.path);
        assert_eq!(version, found.version);
    }
}

#[test]
#[ignore = "in a process of its own"]
fn proof() {
    let path = shipped().join("fashion_dscnn/model_fp32.onnx");
    let usual = session(&path, &CompileOptions::new("cpu")).unwrap().proof().clone();
    assert_eq!(usual.kernels, "CPUExecutionProvider");
    assert!(usual.nodes_total > 5 && usual.nodes_on_backend == usual.nodes_total, "{usual:?}");
    assert_eq!((usual.units.len(), usual.fallbacks.len(), usual.partitions), (1, 0, 1));
    // A session to be profiled asks those libraries that can tell.
    let mut asked = CompileOptions::new("cpu");
    asked.profile = true;
    let told = session(&path, &asked).unwrap().proof().clone();
    assert!(told.nodes_total > 5 && told.nodes_on_backend == told.nodes_total, "{told:?}");
    assert_eq!((told.units[0].unit.as_str(), told.fallbacks.len()), ("CPUExecutionProvider", 0));
    crate::inside::answer(&usual.runtime_version);
}

#[test]
fn the_arena_tells_its_peak_where_it_counts() {
    for found in here("the_arena_tells_its_peak_where_it_counts") {
        let told = run("sessions::arena", &found.path);
        println!("onnxruntime {}: {told}", found.version);
        let minor: u32 = found.version.split('.').nth(1).unwrap().parse().unwrap();
        assert_eq!(told.starts_with("Some("), minor >= 23, "{}: {told}", found.version);
    }
}

#[test]
#[ignore = "in a process of its own"]
fn arena() {
    let path = shipped().join("fashion_dscnn/model_fp32.onnx");
    let mut with = session(&path, &CompileOptions::new("cpu")).unwrap();
    with.invoke().unwrap();
    let peak = with.arena_peak_bytes();
    // A run needs at least the tensor between the first two convolutions, and no more than all of them.
    assert!(peak.is_none_or(|bytes| (14 * 14 * 16 * 4..1 << 24).contains(&bytes)), "{peak:?}");
    let mut without = session(&path, &options("cpu", &[("memory-arena", "false")])).unwrap();
    without.invoke().unwrap();
    assert_eq!(without.arena_peak_bytes().filter(|bytes| *bytes > 0), None);
    crate::inside::answer(&format!("{peak:?}"));
}

#[test]
fn a_provider_is_refused_or_proven_node_by_node() {
    for found in here("a_provider_is_refused_or_proven_node_by_node") {
        println!("onnxruntime {}: {}", found.version, run("sessions::provider", &found.path));
    }
}

#[test]
#[ignore = "in a process of its own"]
fn provider() {
    let mut said = String::new();
    for model in ["fashion_dscnn/model_fp32.onnx", "fashion_dscnn/model_int8.onnx"] {
        let mut session = match session(&shipped().join(model), &options("xnnpack", &[("spinning", "false")]))
        {
            Ok(session) => session,
            Err(words) => {
                assert!(words.contains("cannot do xnnpack: "), "{words}");
                return crate::inside::answer(&words);
            }
        };
        let inputs = session.inputs().to_vec();
        session.set_input(0, &input(&inputs[0], 0)).unwrap();
        session.invoke().unwrap();
        let got = session.output(0).unwrap().to_vec();
        let proof = session.proof().clone();
        // Sessions made for the proof have not touched this one.
        assert_eq!(session.output(0).unwrap(), got);
        session.invoke().unwrap();
        assert_eq!(session.output(0).unwrap(), got);
        assert_eq!(proof.units[0].unit, "XnnpackExecutionProvider", "{proof:?}");
        assert_eq!(proof.units[0].nodes, proof.nodes_on_backend, "{proof:?}");
        assert_eq!(proof.nodes_total, proof.units.iter().map(|u| u.nodes).sum::<u32>(), "{proof:?}");
        let elsewhere = (proof.nodes_total - proof.nodes_on_backend) as usize;
        assert_eq!(proof.fallbacks.len(), elsewhere, "{proof:?}");
        assert!(proof.nodes_on_backend > 0 && proof.partitions > 0, "{proof:?}");
        let mut cpu = crate::inside::session(&shipped().join(model), &CompileOptions::new("cpu")).unwrap();
        cpu.set_input(0, &input(&inputs[0], 0)).unwrap();
        cpu.invoke().unwrap();
        let f32 = |bytes: &[u8]| -> Vec<f32> {
            bytes.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect()
        };
        let apart =
            f32(cpu.output(0).unwrap()).iter().zip(f32(&got)).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(apart < 0.05, "{model}: {apart}");
        said.push_str(&format!("{model}: {apart:.1e} from the CPU, {proof:?}\n"));
    }
    // All that the provider can do, and nothing else.
    let folder = tempfile::tempdir().unwrap();
    let graph = Message::new()
        .nested(1, node("Softmax", &["x"], &["y"]))
        .text(2, "g")
        .nested(11, value_info("x", 1, &[Some(1), Some(4)]))
        .nested(12, value_info("y", 1, &[Some(1), Some(4)]));
    let path = written(&folder, "softmax.onnx", graph);
    let proof = session(&path, &options("xnnpack", &[])).unwrap().proof().clone();
    assert_eq!((proof.nodes_total, proof.nodes_on_backend, proof.fallbacks.len()), (1, 1, 0), "{proof:?}");
    crate::inside::answer(&said);
}

#[test]
fn a_profile_has_every_node_once_and_as_many_times_as_iterations() {
    with_every_version("a_profile_has_every_node_once_and_as_many_times_as_iterations", "profile");
}

#[test]
#[ignore = "in a process of its own"]
fn profile() {
    let temporary = tempfile::tempdir().unwrap();
    let folders = || {
        let all = fs::read_dir(std::env::temp_dir()).unwrap().map(|entry| entry.unwrap().file_name());
        all.filter(|n| n.to_string_lossy().starts_with("bench-onnxruntime-")).collect::<Vec<_>>()
    };
    let before = folders();
    let mut asked = CompileOptions::new("cpu");
    asked.profile = true;
    let mut profiled = session(&shipped().join("fashion_dscnn/model_fp32.onnx"), &asked).unwrap();
    profiled.set_input(0, &input(&profiled.inputs()[0].clone(), 0)).unwrap();
    let nodes = profiled.profile(4, &|| 0).unwrap();
    assert!(nodes.len() > 5, "{nodes:?}");
    for node in &nodes {
        assert_eq!((node.wall_ns.len(), node.unit.as_str()), (4, "CPUExecutionProvider"), "{node:?}");
        assert!(!node.node.is_empty() && !node.op.is_empty(), "{node:?}");
    }
    let mut names: Vec<_> = nodes.iter().map(|n| n.node.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), nodes.len(), "{names:?}");
    assert!(nodes.iter().any(|n| n.op.contains("Conv")), "{nodes:?}");
    // The slowest run took longer than the resolution of the profile.
    assert!(nodes.iter().flat_map(|n| &n.wall_ns).sum::<u64>() > 0);
    assert!(profiled.output(0).unwrap().len() == 40);
    let again = profiled.profile(1, &|| 0).unwrap_err().to_string();
    assert!(again.contains("was profiled already"), "{again}");
    drop(profiled);
    assert_eq!(folders(), before, "the profile was not removed");
    let mut usual =
        session(&shipped().join("fashion_dscnn/model_fp32.onnx"), &CompileOptions::new("cpu")).unwrap();
    assert!(usual.profile(1, &|| 0).unwrap_err().to_string().contains("not compiled to be profiled"));
    drop(temporary);
}

#[test]
fn the_time_of_a_body_is_in_its_operator() {
    with_every_version("the_time_of_a_body_is_in_its_operator", "bodies");
}

#[test]
#[ignore = "in a process of its own"]
fn bodies() {
    let folder = tempfile::tempdir().unwrap();
    let branch = |op: &str, out: &str| {
        Message::new()
            .nested(1, node(op, &["x"], &[out]).text(3, op))
            .text(2, "b")
            .nested(12, value_info(out, 1, &[Some(2)]))
    };
    let attribute = |name: &str, graph: Message| Message::new().text(1, name).nested(6, graph).int(20, 5);
    let choice = node("If", &["c"], &["z"]).text(3, "choice");
    let choice = choice.nested(5, attribute("then_branch", branch("Neg", "a")));
    let choice = choice.nested(5, attribute("else_branch", branch("Abs", "b")));
    let graph = Message::new()
        .nested(1, choice)
        .nested(1, node("Mul", &["z", "w"], &["y"]).text(3, "after"))
        .text(2, "g")
        .nested(5, tensor("w", 1, &[2], &f32s(&[2.0, 2.0])))
        .nested(11, value_info("c", 9, &[Some(1)]))
        .nested(11, value_info("x", 1, &[Some(2)]))
        .nested(12, value_info("y", 1, &[Some(2)]));
    let mut asked = options("cpu", &[("graph-optimization", "none")]);
    asked.profile = true;
    let mut session = session(&written(&folder, "choice.onnx", graph), &asked).unwrap();
    session.set_input(0, &[1]).unwrap();
    session.set_input(1, &f32s(&[1.0, -4.0])).unwrap();
    let nodes = session.profile(3, &|| 0).unwrap();
    assert_eq!(session.output(0).unwrap(), f32s(&[-2.0, 8.0]));
    let names: Vec<_> = nodes.iter().map(|n| (n.node.as_str(), n.op.as_str())).collect();
    assert_eq!(names, [("choice", "If"), ("after", "Mul")]);
}
