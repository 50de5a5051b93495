//! Random graphs on every device and on a device of moods: whatever goes where, the bits are those of the CPU.

use super::{on, on_cpu, outputs};
use protocol::{DType, Quantization};
use runtimes::Result;
use runtimes::builtin::graph::{Fact, Graph, ValueId};
use runtimes::builtin::nnapi::{self, Compiled, Device, DeviceInfo, Devices, Options};
use runtimes::builtin::ops::{
    Binary, BinaryKind, Clamp, Clip, Concat, Requantize, Reshape, Slice, SliceRange, Softmax, Transpose,
};
use runtimes::builtin::tensor::Tensor;

/// Graphs in a usual run.
const GRAPHS: u64 = 400;

struct Random(u64);

impl Random {
    fn next(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 33) as usize % n
    }
}

fn quant(random: &mut Random) -> Quantization {
    Quantization {
        scale: vec![[0.25, 0.5, 1.0][random.next(3)]],
        zero_point: vec![[0, 3][random.next(2)]],
        axis: 0,
    }
}

/// One more value from some there are; all are `[2, 3]`, f32 or quantised.
fn grow(graph: &mut Graph, values: &mut Vec<ValueId>, random: &mut Random, number: usize) {
    let pick = |random: &mut Random| values[random.next(values.len())];
    let name = format!("n{number}");
    let (a, b) = (pick(random), pick(random));
    let int8 = Fact::new(DType::I8, &[]).quantized(quant(random)).as_output();
    let real = Fact::new(DType::F32, &[]).as_output();
    let is_real = |graph: &Graph, id: ValueId| graph.fact(id).dtype == DType::F32;
    let (same, out) =
        (is_real(graph, a) == is_real(graph, b), if is_real(graph, a) { real.clone() } else { int8.clone() });
    let added = match random.next(8) {
        0 | 1 if same => graph.add_as(&name, Binary::new(BinaryKind::Add), &[a, b], out),
        2 if same => graph.add_as(&name, Binary::new(BinaryKind::Mul), &[a, b], out),
        3 => graph.add_as(&name, Softmax { beta: 1.0, log: random.next(2) == 0 }, &[a], out),
        4 => graph.add_as(&name, Requantize, &[a], if is_real(graph, a) { int8 } else { real }),
        5 => graph.add(&name, Transpose { perm: vec![1, 0] }, &[a]).and_then(|t| {
            let whole = (0..2).map(|i| SliceRange::all([3, 2][i])).collect();
            let part = graph.add(&name, Slice { ranges: whole }, &[t])?;
            graph.add(&name, Reshape { shape: vec![2, 3] }, &[part])
        }),
        6 if same && graph.fact(a).quant == graph.fact(b).quant => {
            graph.add(&name, Concat { axis: 0 }, &[a, b]).and_then(|c| {
                let half = SliceRange { start: random.next(3), count: 2, step: 1 };
                graph.add(&name, Slice { ranges: vec![half, SliceRange::all(3)] }, &[c])
            })
        }
        _ => graph.add(&name, Clip { clamp: Clamp::RELU6 }, &[a]),
    };
    values.push(added.unwrap());
}

fn graph(random: &mut Random) -> Graph {
    let mut graph = Graph::new();
    let mut values = vec![
        graph.input("x", Fact::new(DType::I8, &[2, 3]).quantized(quant(random))).unwrap(),
        graph.input("y", Fact::new(DType::F32, &[2, 3])).unwrap(),
    ];
    let bytes = Tensor::from_elements(&[2, 3], &[1i8, -2, 3, -4, 5, 6]).unwrap();
    values.push(graph.constant("c", bytes, Some(quant(random))).unwrap());
    let reals = Tensor::from_elements(&[2, 3], &[1f32, -2.0, 0.5, 4.0, 0.0, 6.0]).unwrap();
    values.push(graph.constant("d", reals, None).unwrap());
    for number in 0..1 + random.next(25) {
        grow(&mut graph, &mut values, random, number);
    }
    for _ in 0..1 + random.next(4) {
        let output = values[random.next(values.len())];
        graph.output(output);
    }
    graph
}

/// Takes any node or does not, and sometimes takes a whole partition back.
struct Moody<'a>(&'a dyn Device, u64);

impl Device for Moody<'_> {
    fn info(&self) -> &DeviceInfo {
        self.0.info()
    }
    fn refusals(&self, graph: &Graph, _: &Options) -> Result<Vec<Option<String>>> {
        let mut random = Random(self.1 | 1);
        Ok(graph.nodes().map(|_| (random.next(3) == 0).then(|| "not in the mood".to_owned())).collect())
    }
    fn compile(&self, graph: &Graph, options: &Options) -> Result<Box<dyn Compiled>> {
        match (self.1 + graph.nodes().count() as u64) % 7 {
            0 => Err(runtimes::Error::Runtime("not after all".to_owned())),
            _ => self.0.compile(graph, options),
        }
    }
}

#[test]
fn random_graphs_give_the_bits_of_the_cpu_on_any_device() {
    let devices = Devices::in_process();
    let reference = devices.choose(Some("bench-reference")).unwrap();
    let mut partitions = 0;
    for seed in 1..=GRAPHS {
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        let graph = graph(&mut random);
        let expected = on_cpu(&graph);
        for device in ["bench-reference", "bench-int8"] {
            let burst = seed % 2 == 0;
            let mut session = on(&graph, device, &Options { burst, ..Options::default() });
            assert!(outputs(session.as_mut()) == expected, "{seed} on {device}");
        }
        let moody = Moody(reference, seed.wrapping_mul(0x2545_f491_4f6c_dd1d));
        let mut session = nnapi::compile(&graph, &moody, &Options::default(), "").unwrap();
        assert!(outputs(session.as_mut()) == expected, "{seed} in moods");
        let proof = session.proof();
        partitions += proof.partitions;
        let unit = |at: usize| proof.units[at].nodes;
        assert_eq!(unit(0) + unit(1), proof.nodes_total, "{seed}");
        // f16 on both ends of a range is still a number, and the same one again
        let relaxed = Options { relax_fp16: true, ..Options::default() };
        let mut half = on(&graph, "bench-fp16", &relaxed);
        assert!(outputs(half.as_mut()) == outputs(half.as_mut()), "{seed}");
    }
    assert!(partitions > 100, "{partitions}");
}
