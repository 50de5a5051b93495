//! Quantisation by the range of the numbers at hand.

use super::{Operand, Operator, Prepare, arity};
use crate::Result;
use crate::builtin::graph::Fact;
use crate::builtin::step::Step;
use protocol::DType;

/// Operand: f32. Results: u8 of the same shape, their scale (f32) and zero point (u8), both without
/// dimensions. ONNX's `DynamicQuantizeLinear`; the results carry no quantisation, since it is not known before
/// the step runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DynamicQuantize;

/// Scale and zero point for u8 such that the range of `x`, and zero, can be expressed.
pub(crate) fn scale_and_zero_point(x: &[f32]) -> (f32, u8) {
    let (min, max) = x.iter().fold((0f32, 0f32), |(min, max), v| (min.min(*v), max.max(*v)));
    let scale = if max == min { 1.0 } else { (max - min) / 255.0 };
    (scale, (-min / scale).clamp(0.0, 255.0).round_ties_even() as u8)
}

impl Operator for DynamicQuantize {
    fn name(&self) -> &'static str {
        "DynamicQuantize"
    }

    fn infer(&self, inputs: &[Operand<'_>]) -> Result<Vec<Fact>> {
        arity(inputs, 1, 1)?;
        let shape = &inputs[0].fact.shape;
        Ok(vec![Fact::new(DType::U8, shape), Fact::new(DType::F32, &[]), Fact::new(DType::U8, &[])])
    }

    fn prepare(&self, on: &Prepare<'_>) -> Result<Option<Step>> {
        if on.inputs[0].fact.dtype != DType::F32 {
            return Ok(None);
        }
        Ok(Some(Step::new("dynamic_quantize.u8", |inputs, mut outputs, _| {
            let x = inputs.get::<f32>(0);
            let (scale, zero_point) = scale_and_zero_point(x);
            for (x, y) in x.iter().zip(outputs.bytes(0)) {
                *y = ((x / scale).round_ties_even() + f32::from(zero_point)).clamp(0.0, 255.0) as u8;
            }
            outputs.get::<f32>(1).fill(scale);
            outputs.bytes(2).fill(zero_point);
        })))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::builtin::graph::Graph;
    use crate::builtin::ops::Op;
    use crate::builtin::tensor::Tensor;

    fn quantized(x: &[f32]) -> (Vec<u8>, f32, u8) {
        let mut graph = Graph::new();
        let x = graph.constant("x", Tensor::from_elements(&[x.len()], x).unwrap(), None).unwrap();
        let got = graph.add_node(&["y", "s", "z"], Op::from(DynamicQuantize), &[x], &[None, None, None]).unwrap();
        let tensor = |index: usize| graph.constant_value(got[index]).unwrap().clone();
        (tensor(0).bytes().to_vec(), tensor(1).elements::<f32>().unwrap()[0], tensor(2).bytes()[0])
    }

    #[test]
    fn the_examples_of_the_standard() {
        let (y, scale, zero) = quantized(&[0.0, 2.0, -3.0, -2.5, 1.34, 0.5]);
        assert_eq!((y.as_slice(), zero), (&[153, 255, 0, 26, 221, 179][..], 153));
        assert!((scale - 5.0 / 255.0).abs() < 1e-8);
        let (y, _, zero) = quantized(&[-1.0, -2.1, -1.3, -2.5, -3.34, -4.0]);
        assert_eq!((y.as_slice(), zero), (&[191, 121, 172, 96, 42, 0][..], 255));
        let (y, _, zero) = quantized(&[1.0, 2.1, 1.3, 2.5, 3.34, 4.0, 1.5, 2.6, 3.9, 4.0, 3.0, 2.345]);
        assert_eq!((y.as_slice(), zero), (&[64, 134, 83, 159, 213, 255, 96, 166, 249, 255, 191, 149][..], 0));
    }

    #[test]
    fn zeros_only() {
        assert_eq!(quantized(&[0.0, 0.0]), (vec![0, 0], 1.0, 0));
    }
}
