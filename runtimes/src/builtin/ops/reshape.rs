//! The same elements in another shape.

use super::{Operand, Operator, Prepare, arity};
use crate::builtin::graph::Fact;
use crate::builtin::limits;
use crate::builtin::step::Step;
use crate::{Error, Result};
use protocol::Quantization;
use std::sync::Arc;

/// Operand: any; the elements keep their order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reshape {
    /// The new dimensions, all known.
    pub shape: Vec<usize>,
}

impl Reshape {
    /// A quantisation along a dimension that is still one afterwards.
    fn moved(&self, from: &[usize], quant: &Quantization) -> Result<Quantization> {
        let channels = quant.scale.len();
        let before = |shape: &[usize], axis: usize| shape.iter().take(axis).product::<usize>();
        let outer = before(from, quant.axis as usize);
        let same = |axis: &usize| self.shape[*axis] == channels && before(&self.shape, *axis) == outer;
        let axis = (0..self.shape.len()).find(same).ok_or_else(|| {
            Error::Unsupported(format!("reshape of {from:?} to {:?}, quantised per channel", self.shape))
        })?;
        Ok(Quantization { axis: axis as u32, ..quant.clone() })
    }
}

impl Operator for Reshape {
    fn name(&self) -> &'static str {
        "Reshape"
    }

    fn infer(&self, inputs: &[Operand<'_>]) -> Result<Vec<Fact>> {
        arity(inputs, 1, 1)?;
        let x = inputs[0].fact;
        if limits::elements(&self.shape)? != x.len() {
            return Err(Error::ModelInvalid(format!("cannot reshape {:?} to {:?}", x.shape, self.shape)));
        }
        let quant = x.quant.as_ref().map(|quant| match quant.scale.len() {
            1 => Ok(Arc::clone(quant)),
            _ => self.moved(&x.shape, quant).map(Arc::new),
        });
        Ok(vec![Fact { dtype: x.dtype, shape: self.shape.clone(), quant: quant.transpose()? }])
    }

    fn prepare(&self, on: &Prepare<'_>) -> Result<Option<Step>> {
        Ok((on.inputs[0].fact.as_output() == on.outputs[0].as_output()).then(|| Step::alias("reshape")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantised_dimension_is_followed() {
        let quant = Quantization { scale: vec![0.5; 16], zero_point: vec![0; 16], axis: 0 };
        let moved = |from: &[usize], to: &[usize]| {
            Reshape { shape: to.to_vec() }.moved(from, &quant).map(|quant| quant.axis).ok()
        };
        assert_eq!(moved(&[16, 1, 3, 3], &[16, 3, 3, 1]), Some(0));
        assert_eq!(moved(&[16, 9], &[1, 16, 9]), Some(1));
        assert_eq!(moved(&[16, 16], &[4, 4, 16]), None);
    }
}
