//! What the tests of operators share: run one operator on every tier, and seeded numbers.

use super::graph::{Fact, Graph, OutputType};
use super::kernels::Tier;
use super::kernels::memory::{Element, elements};
use super::ops::Op;
use super::prepare;
use super::tensor::Tensor;
use crate::Session;
use protocol::Quantization;

/// An operand: its elements, whether they are known when the step is prepared, its quantisation.
#[derive(Clone, Debug)]
pub(crate) struct Given {
    tensor: Tensor,
    constant: bool,
    quant: Option<Quantization>,
}

impl Given {
    /// An operand that is set when the model runs.
    pub(crate) fn input<T: Element>(shape: &[usize], elements: &[T]) -> Self {
        let tensor = Tensor::from_elements(shape, elements).unwrap();
        Self { tensor, constant: false, quant: None }
    }

    /// Truths.
    pub(crate) fn boolean(shape: &[usize], elements: &[u8]) -> Self {
        let tensor = Tensor::from_bytes(protocol::DType::Bool, shape, elements).unwrap();
        Self { tensor, constant: false, quant: None }
    }

    /// A constant.
    pub(crate) fn constant<T: Element>(shape: &[usize], elements: &[T]) -> Self {
        Self { constant: true, ..Self::input(shape, elements) }
    }

    /// The same, quantised.
    pub(crate) fn quantized(self, scale: &[f32], zero_point: &[i32], axis: u32) -> Self {
        let quant = Quantization { scale: scale.to_vec(), zero_point: zero_point.to_vec(), axis };
        Self { quant: Some(quant), ..self }
    }
}

/// The type of a quantised result.
pub(crate) fn quantized(dtype: protocol::DType, scale: f32, zero: i32) -> OutputType {
    let quant = Quantization { scale: vec![scale], zero_point: vec![zero], axis: 0 };
    Fact::new(dtype, &[]).quantized(quant).as_output()
}

/// Results of an operator on every tier there is, portable first, and whether it went through f32.
pub(crate) fn on_all_tiers<T: Element>(
    op: impl Into<Op>,
    operands: &[Given],
    output: Option<OutputType>,
) -> Vec<(Tier, Vec<T>, bool)> {
    let mut graph = Graph::new();
    let mut ids = Vec::new();
    for (i, given) in operands.iter().enumerate() {
        let fact = Fact::new(given.tensor.dtype(), given.tensor.shape());
        ids.push(match (given.constant, given.quant.clone()) {
            (true, quant) => graph.constant(&format!("c{i}"), given.tensor.clone(), quant).unwrap(),
            (false, Some(quant)) => graph.input(&format!("x{i}"), fact.quantized(quant)).unwrap(),
            (false, None) => graph.input(&format!("x{i}"), fact).unwrap(),
        });
    }
    let y = graph.add_node(&["y"], op.into(), &ids, &[output]).unwrap()[0];
    graph.output(y);
    let mut all = Vec::new();
    for tier in Tier::available() {
        let mut session = prepare(&graph, tier).unwrap();
        let inputs = operands.iter().filter(|g| !g.constant);
        inputs.enumerate().for_each(|(i, g)| session.set_input(i, g.tensor.bytes()).unwrap());
        session.invoke().unwrap();
        let first = elements::<T>(session.output(0).unwrap()).unwrap().to_vec();
        session.invoke().unwrap();
        let again = elements::<T>(session.output(0).unwrap()).unwrap();
        assert!(super::kernels::memory::as_bytes(&first) == super::kernels::memory::as_bytes(again));
        all.push((tier, first, !session.proof().fallbacks.is_empty()));
    }
    all
}

/// Integer results, which must be the same on every tier and not have gone through f32.
pub(crate) fn exact<T: Element + PartialEq + std::fmt::Debug>(
    op: impl Into<Op>,
    operands: &[Given],
    output: OutputType,
) -> Vec<T> {
    let mut all = on_all_tiers::<T>(op, operands, Some(output));
    for (tier, result, through_f32) in &all {
        assert!(!through_f32, "no integer kernel");
        assert_eq!(*result, all[0].1, "{}", tier.name());
    }
    all.swap_remove(0).1
}

/// f32 results, which must agree on every tier within `tolerance` of `expected`, relative to the largest.
pub(crate) fn near(op: impl Into<Op>, operands: &[Given], expected: &[f32], tolerance: f32) {
    let largest = expected.iter().fold(1.0f32, |m, v| m.max(v.abs()));
    for (tier, result, _) in on_all_tiers::<f32>(op, operands, None) {
        assert_eq!(result.len(), expected.len());
        for (i, (a, b)) in result.iter().zip(expected).enumerate() {
            assert!((a - b).abs() <= tolerance * largest, "{} at {i}: {a}, not {b}", tier.name());
        }
    }
}

/// Seeded numbers.
pub(crate) struct Numbers(u64);

impl Numbers {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn next(&mut self) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 24) as u32
    }

    /// From `low` to `high`, both included.
    pub(crate) fn between(&mut self, low: i64, high: i64) -> i64 {
        low + i64::from(self.next()) % (high - low + 1)
    }

    pub(crate) fn size(&mut self, low: usize, high: usize) -> usize {
        self.between(low as i64, high as i64) as usize
    }

    /// From −1 to 1.
    pub(crate) fn f32s(&mut self, count: usize) -> Vec<f32> {
        (0..count).map(|_| self.between(-1000, 1000) as f32 / 1000.0).collect()
    }

    pub(crate) fn i8s(&mut self, count: usize) -> Vec<i8> {
        (0..count).map(|_| self.between(-128, 127) as i8).collect()
    }

    pub(crate) fn u8s(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.between(0, 255) as u8).collect()
    }
}
