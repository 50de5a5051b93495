//! The same integers, read with another quantisation or none.

use super::{Operand, Operator, Prepare, arity};
use crate::builtin::graph::Fact;
use crate::builtin::step::Step;
use crate::{Error, Result};
use protocol::Quantization;
use std::sync::Arc;

/// Operand: integers, quantised or not. No bit changes; the result carries `quant`. ONNX keeps scales apart
/// from the integers they belong to, so this is how the two come together.
#[derive(Clone, Debug, PartialEq)]
pub struct Reinterpret {
    /// What the result carries.
    pub quant: Option<Arc<Quantization>>,
}

impl Operator for Reinterpret {
    fn name(&self) -> &'static str {
        "Reinterpret"
    }

    fn infer(&self, inputs: &[Operand<'_>]) -> Result<Vec<Fact>> {
        arity(inputs, 1, 1)?;
        Ok(vec![Fact { quant: self.quant.clone(), ..inputs[0].fact.clone() }])
    }

    fn prepare(&self, on: &Prepare<'_>) -> Result<Option<Step>> {
        let (from, to) = (on.inputs[0].fact, &on.outputs[0]);
        if from.dtype != to.dtype || self.quant != to.quant {
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
    use protocol::DType;

    #[test]
    fn changes_the_quantisation_and_no_bit() {
        let mut graph = Graph::new();
        let plain = graph.constant("w", Tensor::from_bytes(DType::I8, &[2], &[3, 0xff]).unwrap(), None).unwrap();
        let quant = Quantization { scale: vec![0.5], zero_point: vec![1], axis: 0 };
        let op = Reinterpret { quant: Some(Arc::new(quant)) };
        let got = graph.add("q", op, &[plain]).unwrap();
        assert_eq!(graph.fact(got).per_tensor(), Some((0.5, 1)));
        assert_eq!(graph.constant_value(got).unwrap().bytes(), [3, 0xff]);
        let real = graph.constant("r", Tensor::scalar(1f32).unwrap(), None).unwrap();
        let quant = Quantization { scale: vec![0.5], zero_point: vec![1], axis: 0 };
        assert!(graph.add("q", Reinterpret { quant: Some(Arc::new(quant)) }, &[real]).is_err());
    }
}
