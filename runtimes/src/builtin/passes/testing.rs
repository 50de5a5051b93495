//! What the tests of passes share: running a graph, and small pieces of graphs.

use super::Pass;
use crate::Session;
use crate::builtin::graph::{Fact, Graph, OutputType, ValueId};
use crate::builtin::kernels::Tier;
use crate::builtin::ops::{Clamp, Conv2d, Dialect, Dynamic, Window};
use crate::builtin::prepare;
use crate::builtin::tensor::Tensor;
use protocol::{DType, Quantization};
use std::collections::HashSet;

/// Numbers that are no pattern, from −1 to 1.
pub(super) fn numbers(count: usize, seed: usize) -> Vec<f32> {
    (0..count).map(|i| ((i * 37 + seed * 101 + 13) % 199) as f32 / 99.5 - 1.0).collect()
}

/// An empty graph that computes as ONNX Runtime does.
pub(super) fn graph() -> Graph {
    Graph::with_dialect(Dialect::Onnx)
}

/// An f32 input.
pub(super) fn input(graph: &mut Graph, shape: &[usize]) -> ValueId {
    graph.input("x", Fact::new(DType::F32, shape)).unwrap()
}

/// An f32 constant.
pub(super) fn constant(graph: &mut Graph, shape: &[usize], seed: usize) -> ValueId {
    let tensor = Tensor::from_elements(shape, &numbers(shape.iter().product(), seed)).unwrap();
    graph.constant(&format!("c{seed}"), tensor, None).unwrap()
}

/// A quantisation.
pub(super) fn quant(scale: f32, zero: i32) -> Quantization {
    Quantization { scale: vec![scale], zero_point: vec![zero], axis: 0 }
}

/// int8 with that scale and zero point.
pub(super) fn int8(scale: f32, zero: i32) -> OutputType {
    Fact::new(DType::I8, &[]).quantized(quant(scale, zero)).as_output()
}

/// A convolution without frills.
pub(super) fn conv() -> Conv2d {
    Conv2d { window: Window::default(), groups: 1, clamp: Clamp::NONE, dynamic: Dynamic::default() }
}

/// Names of the operators.
pub(super) fn ops(graph: &Graph) -> Vec<&'static str> {
    graph.nodes().map(|(_, node)| node.op.name()).collect()
}

/// What a graph makes of its inputs; quantised outputs as integers.
pub(super) fn run(graph: &Graph) -> Vec<Vec<f32>> {
    let mut session = prepare(graph, Tier::Portable).unwrap();
    for (index, input) in graph.inputs().iter().enumerate() {
        let bytes: Vec<u8> = match graph.fact(*input).dtype {
            DType::F32 => {
                numbers(graph.fact(*input).len(), index).iter().flat_map(|v| v.to_le_bytes()).collect()
            }
            _ => (0..graph.fact(*input).bytes()).map(|i| (i * 37 % 251) as u8).collect(),
        };
        session.set_input(index, &bytes).unwrap();
    }
    session.invoke().unwrap();
    let output = |index: usize| {
        let bytes = session.output(index).unwrap();
        match session.outputs()[index].dtype {
            DType::F32 => bytes.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect(),
            DType::I8 => bytes.iter().map(|b| f32::from(b.cast_signed())).collect(),
            _ => bytes.iter().map(|b| f32::from(*b)).collect(),
        }
    };
    (0..session.outputs().len()).map(output).collect()
}

/// The graph after a pass and without what nobody reads, checked to give the same shapes and numbers.
pub(super) fn after(pass: Pass, graph: &Graph) -> Graph {
    keeping(pass, graph, &[])
}

/// The same, with tensors that must stay.
pub(super) fn keeping(pass: Pass, graph: &Graph, keep: &[&str]) -> Graph {
    let keep = keep.iter().copied().collect::<HashSet<&str>>();
    let after = super::constants(&pass(graph, &keep).unwrap(), &keep).unwrap();
    for (a, b) in graph.outputs().iter().zip(after.outputs()) {
        assert_eq!((graph.fact(*a), &graph.get(*a).name), (after.fact(*b), &after.get(*b).name));
    }
    // dequantised weights are computed first: no kernel takes them otherwise
    let before = super::constants(graph, &keep).unwrap();
    for ((expected, got), output) in run(&before).iter().zip(run(&after)).zip(graph.outputs()) {
        let real = graph.fact(*output).dtype == DType::F32;
        // of integers, a tie may go the other way
        let tolerance = |a: f32| if real { 1e-5 * a.abs().max(1.0) } else { 1.0 };
        let close = |(a, b): (&f32, &f32)| (a - b).abs() <= tolerance(*a);
        assert!(expected.iter().zip(&got).all(close), "{expected:?} {got:?}");
        assert_eq!(expected.len(), got.len());
    }
    after
}
