//! The same bytes, read with another quantisation or none, or as another type.

use super::{Operand, Operator, Prepare, arity};
use crate::builtin::graph::Fact;
use crate::builtin::step::Step;
use crate::{Error, Result};
use protocol::{DType, Quantization};
use std::sync::Arc;

/// Operand: any. No bit changes; the result carries `quant`. ONNX keeps scales apart from the integers they belong to,
/// so this is how the two come together.
#[derive(Clone, Debug, PartialEq)]
pub struct Reinterpret {
    /// Type and shape of the result, where they are others than the operand's.
    pub dtype: Option<(DType, Vec<usize>)>,
    /// What the result carries.
    pub quant: Option<Arc<Quantization>>,
}

impl Operator for Reinterpret {
    fn name(&self) -> &'static str {
        "Reinterpret"
    }

    fn infer(&self, inputs: &[Operand<'_>]) -> Result<Vec<Fact>> {
        arity(inputs, 1, 1)?;
        let from = inputs[0].fact;
        let fact = match &self.dtype {
            Some((dtype, shape)) => Fact::new(*dtype, shape),
            None => Fact::new(from.dtype, &from.shape),
        };
        if fact.bytes() != from.bytes() {
            return Err(Error::ModelInvalid(format!("{from:?} read as {fact:?}")));
        }
        Ok(vec![Fact { quant: self.quant.clone(), ..fact }])
    }

    fn prepare(&self, on: &Prepare<'_>) -> Result<Option<Step>> {
        let (from, to) = (on.inputs[0].fact, &on.outputs[0]);
        let dtype = self.dtype.as_ref().map_or(from.dtype, |(dtype, _)| *dtype);
        if dtype != to.dtype || self.quant != to.quant {
            return Err(Error::Unsupported(format!("{} elements read as {}", from.dtype, to.dtype)));
        }
        Ok(Some(Step::alias("reinterpret")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::builtin::graph::Graph;
    use crate::builtin::tensor::Tensor;

    #[test]
    fn changes_the_quantisation_and_no_bit() {
        let mut graph = Graph::new();
        let plain = graph.constant("w", Tensor::from_bytes(DType::I8, &[2], &[3, 0xff]).unwrap(), None).unwrap();
        let quant = Quantization { scale: vec![0.5], zero_point: vec![1], axis: 0 };
        let op = Reinterpret { dtype: None, quant: Some(Arc::new(quant)) };
        let got = graph.add("q", op, &[plain]).unwrap();
        assert_eq!(graph.fact(got).per_tensor(), Some((0.5, 1)));
        assert_eq!(graph.constant_value(got).unwrap().bytes(), [3, 0xff]);
        let real = graph.constant("r", Tensor::scalar(1f32).unwrap(), None).unwrap();
        let quant = Quantization { scale: vec![0.5], zero_point: vec![1], axis: 0 };
        assert!(graph.add("q", Reinterpret { dtype: None, quant: Some(Arc::new(quant)) }, &[real]).is_err());
    }

    #[test]
    fn the_same_bytes_are_another_type() {
        let mut graph = Graph::new();
        let wide = graph.constant("x", Tensor::from_elements(&[2], &[1.0f32, -2.0]).unwrap(), None).unwrap();
        let as_i32 = Reinterpret { dtype: Some((DType::I32, vec![2])), quant: None };
        let got = graph.add("y", as_i32, &[wide]).unwrap();
        assert_eq!(graph.constant_value(got).unwrap().to_i64().unwrap(), [0x3f80_0000, -0x4000_0000]);
        let too_much = Reinterpret { dtype: Some((DType::I32, vec![3])), quant: None };
        assert!(graph.add("z", too_much, &[wide]).is_err());
    }
}
