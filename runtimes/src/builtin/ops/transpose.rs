//! Dimensions in another order.

use super::{Operand, Operator, Prepare, arity};
use crate::builtin::graph::Fact;
use crate::builtin::kernels::nest::{Nest, dense_strides};
use crate::builtin::step::Step;
use crate::{Error, Result};
use std::sync::Arc;

/// Operand: any type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transpose {
    /// Output dimension `i` is input dimension `perm[i]`.
    pub perm: Vec<usize>,
}

impl Operator for Transpose {
    fn name(&self) -> &'static str {
        "Transpose"
    }

    fn infer(&self, inputs: &[Operand<'_>]) -> Result<Vec<Fact>> {
        arity(inputs, 1, 1)?;
        let x = inputs[0].fact;
        let mut seen: Vec<usize> = self.perm.clone();
        seen.sort_unstable();
        if !seen.iter().copied().eq(0..x.shape.len()) {
            return Err(Error::ModelInvalid(format!("order {:?} for shape {:?}", self.perm, x.shape)));
        }
        let shape = self.perm.iter().map(|p| x.shape[*p]).collect();
        let quant = x.quant.as_ref().map(|q| {
            let mut q = (**q).clone();
            let axis = self.perm.iter().position(|p| *p == q.axis as usize).unwrap_or(0);
            q.axis = if q.scale.len() > 1 { axis as u32 } else { 0 };
            Arc::new(q)
        });
        Ok(vec![Fact { dtype: x.dtype, shape, quant }])
    }

    fn prepare(&self, on: &Prepare<'_>) -> Result<Option<Step>> {
        let strides = dense_strides(&on.inputs[0].fact.shape);
        let strides: Vec<[isize; 1]> = self.perm.iter().map(|p| [strides[*p]]).collect();
        let nest = Nest::new(&on.outputs[0].shape, &strides, [0]);
        if nest.strides == [1] && nest.length == on.outputs[0].len() {
            let same = super::same_elements(on.inputs[0].fact, &on.outputs[0]);
            return Ok(same.then(|| Step::alias("transpose")));
        }
        Ok(super::mover("transpose", on, nest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::builtin::testing::{Given, exact, on_all_tiers, quantized};

    #[test]
    fn any_order_and_any_size_of_element() {
        let op = Transpose { perm: vec![2, 0, 1] };
        let numbers: Vec<u8> = (0..12).collect();
        let expected = [0, 2, 4, 6, 8, 10, 1, 3, 5, 7, 9, 11];
        assert_eq!(on_all_tiers::<u8>(op.clone(), &[Given::input(&[2, 3, 2], &numbers)], None)[0].1, expected);
        let wide: Vec<i64> = numbers.iter().map(|v| i64::from(*v)).collect();
        let got = &on_all_tiers::<i64>(op, &[Given::input(&[2, 3, 2], &wide)], None)[0].1;
        assert_eq!(*got, expected.map(i64::from));
    }

    #[test]
    fn quantisation_moves_along() {
        let x = [Given::input(&[1, 2], &[3i8, 4]).quantized(&[0.5], &[1], 0)];
        let got: Vec<i8> = exact(Transpose { perm: vec![1, 0] }, &x, quantized(protocol::DType::I8, 0.5, 1));
        assert_eq!(got, [3, 4]);
        let quant = protocol::Quantization { scale: vec![0.5, 0.25], zero_point: vec![0, 0], axis: 1 };
        let fact = Fact::new(protocol::DType::I8, &[3, 2]).quantized(quant);
        let operand = [Operand { fact: &fact, constant: None }];
        let out = Transpose { perm: vec![1, 0] }.infer(&operand).unwrap();
        assert_eq!(out[0].quant.as_ref().unwrap().axis, 0);
    }
}
