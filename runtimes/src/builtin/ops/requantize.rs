//! The same real numbers in another type: f32 to quantised, quantised to f32, one quantisation to another.

use super::{Operand, Operator, Prepare, arity};
use crate::Result;
use crate::builtin::graph::Fact;
use crate::builtin::step::Step;
use protocol::DType;

/// Operand: f32 (also f16) or quantised. The result's type and quantisation are given with
/// [`crate::builtin::graph::Graph::add_as`]; without, it is f32. TFLite's QUANTIZE and DEQUANTIZE, ONNX's
/// `QuantizeLinear` and `DequantizeLinear`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Requantize;

impl Operator for Requantize {
    fn name(&self) -> &'static str {
        "Requantize"
    }

    fn infer(&self, inputs: &[Operand<'_>]) -> Result<Vec<Fact>> {
        arity(inputs, 1, 1)?;
        Ok(vec![Fact::new(DType::F32, &inputs[0].fact.shape)])
    }

    fn prepare(&self, _on: &Prepare<'_>) -> Result<Option<Step>> {
        Ok(None)
    }
}
