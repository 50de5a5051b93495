//! Graphs of every odd kind.

use super::{on, on_cpu, outputs};
use protocol::{DType, Quantization, TensorInfo};
use runtimes::builtin::graph::{Fact, Graph, OutputType, ValueId};
use runtimes::builtin::nnapi::{self, Cached, Compiled, Device, Devices, Options};
use runtimes::builtin::ops::{Binary, BinaryKind, Concat, Requantize, Reshape, Softmax};
use runtimes::builtin::tensor::Tensor;
use runtimes::{Error, Observer, Result};

fn quant(scale: f32) -> Quantization {
    Quantization { scale: vec![scale], zero_point: vec![3], axis: 0 }
}

fn int8() -> OutputType {
    Fact::new(DType::I8, &[]).quantized(quant(0.5)).as_output()
}

fn input(graph: &mut Graph, name: &str, shape: &[usize]) -> ValueId {
    graph.input(name, Fact::new(DType::I8, shape).quantized(quant(0.25))).unwrap()
}

fn add(graph: &mut Graph, name: &str, a: ValueId, b: ValueId) -> ValueId {
    graph.add_as(name, Binary::new(BinaryKind::Add), &[a, b], int8()).unwrap()
}

/// A node that `bench-int8` never takes: it computes in f32.
fn foreign(graph: &mut Graph, name: &str, x: ValueId) -> ValueId {
    graph.add_as(name, Softmax { beta: 1.0, log: true }, &[x], int8()).unwrap()
}

fn check(graph: &Graph, partitions: u32, on_device: u32) {
    let expected = on_cpu(graph);
    for burst in [false, true] {
        let mut session = on(graph, "bench-int8", &Options { burst, ..Options::default() });
        assert_eq!(outputs(session.as_mut()), expected);
        let proof = session.proof();
        assert_eq!((proof.partitions, proof.nodes_on_backend), (partitions, on_device), "{proof:?}");
        assert_eq!(proof.kernels.contains("burst"), burst);
    }
}

#[test]
fn without_nodes_outputs_are_inputs_and_constants() {
    let mut graph = Graph::new();
    let x = input(&mut graph, "x", &[2]);
    let c = graph.constant("c", Tensor::from_elements(&[2], &[1i8, 2]).unwrap(), Some(quant(1.0))).unwrap();
    [x, c, x].into_iter().for_each(|id| graph.output(id));
    check(&graph, 0, 0);
}

#[test]
fn a_value_may_be_read_often_and_be_an_output_too() {
    let mut graph = Graph::new();
    let x = input(&mut graph, "x", &[4]);
    let c =
        graph.constant("c", Tensor::from_elements(&[4], &[1i8, 2, 3, 4]).unwrap(), Some(quant(0.5))).unwrap();
    let a = add(&mut graph, "a", x, c);
    let f = foreign(&mut graph, "f", a);
    // the constant is shared by both partitions and by the CPU, `a` is read everywhere and twice by `b`
    let b = add(&mut graph, "b", a, a);
    let d = add(&mut graph, "d", f, c);
    let e = add(&mut graph, "e", d, b);
    let g = foreign(&mut graph, "g", c);
    [e, a, a, x, g].into_iter().for_each(|id| graph.output(id));
    check(&graph, 2, 4);
}

#[test]
fn foreign_nodes_in_the_middle_of_many_branches_cost_one_more_partition() {
    let mut graph = Graph::new();
    let x = input(&mut graph, "x", &[4]);
    let mut branches = Vec::new();
    for i in 0..5 {
        let a = add(&mut graph, &format!("a{i}"), x, x);
        let f = foreign(&mut graph, &format!("f{i}"), a);
        branches.push(add(&mut graph, &format!("b{i}"), f, a));
    }
    let all = graph.add_as("all", Concat { axis: 0 }, &branches, int8()).unwrap();
    graph.output(all);
    check(&graph, 2, 11);
}

#[test]
fn tensors_without_elements_run_anywhere() {
    let mut graph = Graph::new();
    let x = input(&mut graph, "x", &[0, 4]);
    let a = add(&mut graph, "a", x, x);
    let flat = graph.add("flat", Reshape { shape: vec![0] }, &[a]).unwrap();
    let f = graph.add_as("f", Requantize, &[a], Fact::new(DType::F32, &[]).as_output()).unwrap();
    [flat, f].into_iter().for_each(|id| graph.output(id));
    check(&graph, 1, 2);
}

#[test]
fn a_long_chain_of_changes_is_cut_at_each() {
    let mut graph = Graph::new();
    let mut value = input(&mut graph, "x", &[3]);
    for i in 0..200 {
        value = add(&mut graph, &format!("a{i}"), value, value);
        value = foreign(&mut graph, &format!("f{i}"), value);
    }
    graph.output(value);
    check(&graph, 200, 200);
}

#[test]
fn an_observer_sees_the_nodes_of_all_parts_in_order() {
    struct Seen(Vec<(usize, String)>, usize);
    impl Observer for Seen {
        fn started(&mut self, index: usize) {
            assert_eq!(index, self.1);
            self.1 += 1;
        }
        fn finished(&mut self, index: usize, output: &TensorInfo, bytes: &[u8]) {
            assert_eq!(bytes.len(), 3 * output.dtype.size());
            self.0.push((index, output.name.clone()));
        }
    }
    let mut graph = Graph::new();
    let x = input(&mut graph, "x", &[3]);
    let a = add(&mut graph, "a", x, x);
    let f = foreign(&mut graph, "f", a);
    let b = add(&mut graph, "b", f, f);
    graph.output(b);
    let mut session = on(&graph, "bench-int8", &Options::default());
    let mut seen = Seen(Vec::new(), 0);
    session.invoke_observed(&mut seen).unwrap();
    let names: Vec<&str> = seen.0.iter().map(|(_, name)| name.as_str()).collect();
    assert_eq!(names, session.nodes().iter().map(|n| n.name.as_str()).collect::<Vec<_>>());
    assert!(names.first() == Some(&"a") && names.last() == Some(&"b") && names.contains(&"f"));
}

#[test]
fn inputs_that_do_not_fit_are_named() {
    let mut graph = Graph::new();
    let x = input(&mut graph, "x", &[3]);
    let a = add(&mut graph, "a", x, x);
    graph.output(a);
    let mut session = on(&graph, "bench-int8", &Options::default());
    let message = session.set_input(0, &[0; 4]).unwrap_err().to_string();
    assert!(message.contains("4 bytes for input 0 \"x\", which takes 3"), "{message}");
    assert!(session.set_input(1, &[]).is_err() && session.output(1).is_err());
}

#[test]
fn a_second_load_comes_from_the_cache() {
    let folder = tempfile::tempdir().unwrap();
    let build = |shape: &[usize]| {
        let mut graph = Graph::new();
        let x = input(&mut graph, "x", shape);
        let a = add(&mut graph, "a", x, x);
        graph.output(a);
        graph
    };
    let options = Options { cache_dir: Some(folder.path().join("new")), ..Options::default() };
    let kernels = |shape: &[usize], device: &str| on(&build(shape), device, &options).proof().kernels.clone();
    assert!(kernels(&[3], "bench-int8").ends_with("first load"));
    assert!(kernels(&[3], "bench-int8").ends_with("warm load"));
    assert!(kernels(&[4], "bench-int8").ends_with("first load"), "another graph");
    assert!(kernels(&[3], "bench-reference").ends_with("device keeps no cache"));
    let kept: Vec<_> =
        std::fs::read_dir(folder.path().join("new")).unwrap().map(|e| e.unwrap().path()).collect();
    assert_eq!(kept.len(), 2);
    // what is damaged is no reason to trust
    std::fs::write(&kept[0], "x").unwrap();
    std::fs::write(&kept[1], "x").unwrap();
    assert!(kernels(&[3], "bench-int8").ends_with("first load"));
    // a folder that cannot be: the partition stays on the CPU, and the reason says why
    std::fs::write(folder.path().join("file"), "").unwrap();
    let options = Options { cache_dir: Some(folder.path().join("file/below")), ..Options::default() };
    let session = on(&build(&[3]), "bench-int8", &options);
    assert_eq!(session.proof().partitions, 0);
    assert!(session.proof().fallbacks[0].reason.contains("file/below"), "{:?}", session.proof());
}

/// A device that says yes to all and then compiles nothing that has a node whose name begins with `no`.
struct Liar<'a>(&'a dyn Device);

impl Device for Liar<'_> {
    fn info(&self) -> &nnapi::DeviceInfo {
        self.0.info()
    }
    fn refusals(&self, graph: &Graph, _: &Options) -> Result<Vec<Option<String>>> {
        let foreign = |name: &str| name.starts_with('f').then(|| "foreign".to_owned());
        Ok(graph.nodes().map(|(_, n)| foreign(&graph.get(n.outputs[0]).name)).collect())
    }
    fn compile(&self, graph: &Graph, options: &Options) -> Result<Box<dyn Compiled>> {
        match graph.values().any(|(_, v)| v.name.starts_with("no")) {
            true => Err(Error::Runtime("out of luck".to_owned())),
            false => self.0.compile(graph, options),
        }
    }
}

#[test]
fn a_partition_that_the_device_takes_back_runs_on_the_cpu() {
    let mut graph = Graph::new();
    let x = input(&mut graph, "x", &[3]);
    let a = add(&mut graph, "a", x, x);
    let f = foreign(&mut graph, "f", a);
    let no = add(&mut graph, "no", f, f);
    let f2 = foreign(&mut graph, "f2", no);
    let b = add(&mut graph, "b", f2, f2);
    graph.output(b);
    let devices = Devices::in_process();
    let liar = Liar(devices.choose(Some("bench-reference")).unwrap());
    let mut session = nnapi::compile(&graph, &liar, &Options::default(), "").unwrap();
    assert_eq!(outputs(session.as_mut()), on_cpu(&graph));
    let proof = session.proof();
    assert_eq!((proof.partitions, proof.nodes_on_backend, proof.nodes_total), (2, 2, 5), "{proof:?}");
    let taken_back = proof.fallbacks.iter().find(|f| f.node == "no").unwrap();
    assert!(taken_back.reason.contains("did not compile its partition: runtime error: out of luck"));
}

#[test]
fn a_device_that_answers_too_little_is_an_error() {
    struct Mute<'a>(&'a dyn Device);
    impl Device for Mute<'_> {
        fn info(&self) -> &nnapi::DeviceInfo {
            self.0.info()
        }
        fn refusals(&self, _: &Graph, _: &Options) -> Result<Vec<Option<String>>> {
            Ok(Vec::new())
        }
        fn compile(&self, graph: &Graph, options: &Options) -> Result<Box<dyn Compiled>> {
            self.0.compile(graph, options)
        }
    }
    let mut graph = Graph::new();
    let x = input(&mut graph, "x", &[3]);
    let a = add(&mut graph, "a", x, x);
    graph.output(a);
    let devices = Devices::in_process();
    let mute = Mute(devices.choose(None).unwrap());
    let message = nnapi::compile(&graph, &mute, &Options::default(), "").err().unwrap().to_string();
    assert!(message.contains("0 answers for 1 nodes"), "{message}");
}

#[test]
fn times_of_hardware_and_driver_are_told_apart() {
    let mut graph = Graph::new();
    let x = input(&mut graph, "x", &[1000]);
    let a = add(&mut graph, "a", x, x);
    graph.output(a);
    let devices = Devices::in_process();
    let device = devices.choose(Some("bench-int8")).unwrap();
    let mut compiled = device.compile(&graph, &Options::default()).unwrap();
    assert_eq!(compiled.cached(), Cached::Unused);
    let mut outputs = vec![vec![0; 1000]];
    let durations = compiled.run(&[&[7; 1000]], &mut outputs).unwrap();
    assert_eq!(outputs[0], [11i8.cast_unsigned(); 1000].map(|_| outputs[0][0]));
    assert!(durations.hardware_ns.unwrap() <= durations.driver_ns.unwrap(), "one is part of the other");
}
