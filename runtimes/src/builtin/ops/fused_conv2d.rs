//! A convolution in f32 with what often follows it. No importer makes one: a pass does, for kernels of the processor.

use super::conv2d::{check_bias, dims4};
use super::product::{After, Product};
use super::{Conv2d, Operand, Operator, Prepare, arity};
use crate::builtin::graph::Fact;
use crate::builtin::kernels::pixels::Geometry;
use crate::builtin::step::Step;
use crate::builtin::tensor::Tensor;
use crate::{Error, Result};
use protocol::DType;

/// Operands: those of the convolution with its bias, then the summand, `[n, h, w, oc]`, then constant slopes of one or `oc`
/// elements. All f32, and one group of channels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FusedConv2d {
    /// The convolution; its range is that of the sum.
    pub conv: Conv2d,
    /// There is a summand.
    pub sum: bool,
    /// There are slopes: numbers below zero are multiplied by them, in the end.
    pub slopes: bool,
}

/// Operands of the convolution.
const OPERANDS: usize = 3;

impl Operator for FusedConv2d {
    fn name(&self) -> &'static str {
        "FusedConv2d"
    }

    fn infer(&self, inputs: &[Operand<'_>]) -> Result<Vec<Fact>> {
        let count = OPERANDS + usize::from(self.sum) + usize::from(self.slopes);
        arity(inputs, count, count)?;
        let facts = self.conv.infer(&inputs[..OPERANDS])?;
        let channels = dims4(&facts[0])?[3];
        if self.sum && inputs[OPERANDS].fact.shape != facts[0].shape {
            let shape = &inputs[OPERANDS].fact.shape;
            return Err(Error::ModelInvalid(format!("a summand of shape {shape:?} for {:?}", facts[0].shape)));
        }
        if let Some(slopes) = inputs.last().filter(|slopes| self.slopes && slopes.fact.len() != 1) {
            check_bias(Some(slopes), channels)?;
        }
        Ok(facts)
    }

    fn prepare(&self, on: &Prepare<'_>) -> Result<Option<Step>> {
        if self.conv.groups != 1 || on.inputs.iter().any(|i| i.fact.dtype != DType::F32) {
            return Ok(None);
        }
        let (input, [channels, kh, kw, _]) = (dims4(on.inputs[0].fact)?, dims4(on.inputs[1].fact)?);
        let [_, oh, ow, _] = dims4(&on.outputs[0])?;
        let Conv2d { window, groups, clamp, dynamic } = self.conv;
        let geometry = Geometry { input, kernel: [kh, kw], output: [oh, ow], window };
        let product =
            Product { geometry, groups, channels, clamp, dynamic, fully_connected: false, tier: on.tier };
        let mut after = After { summand: self.sum.then_some(OPERANDS), slopes: Vec::new() };
        if let Some(operand) = on.inputs.last().filter(|_| self.slopes) {
            let slopes = operand.constant.map(Tensor::elements::<f32>).transpose()?;
            after.slopes = match slopes {
                Some([one]) => vec![*one; channels],
                Some(all) => all.to_vec(),
                None => return Ok(None),
            };
        }
        product.prepare_f32(&Prepare { inputs: &on.inputs[..OPERANDS], ..*on }, &after)
    }

    fn work(&self, inputs: &[Operand<'_>], outputs: &[Fact]) -> u64 {
        self.conv.work(inputs, outputs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Session;
    use crate::builtin::graph::{Graph, ValueId};
    use crate::builtin::kernels::Tier;
    use crate::builtin::kernels::memory::{as_bytes, elements};
    use crate::builtin::kernels::threads::Threads;
    use crate::builtin::ops::{Binary, BinaryKind, Clamp, Dynamic, Prelu, Window};
    use crate::builtin::plan::plan;
    use crate::builtin::testing::Numbers;

    /// The fused operator, and the same one after the other.
    fn both(n: &mut Numbers, g: &mut Graph) -> [ValueId; 2] {
        let (c, oc) = (n.size(1, 9), n.size(1, 70));
        let (h, w) = (n.size(1, 9), n.size(1, 40));
        let kernel = n.size(1, 2) * 2 - 1;
        let window = Window { before: [kernel / 2; 2], after: [kernel / 2; 2], ..Window::default() };
        let mut numbers = |shape: &[usize]| {
            let count = shape.iter().product();
            Tensor::from_elements(shape, &n.f32s(count)).unwrap()
        };
        let weights = numbers(&[oc, kernel, kernel, c]);
        let (bias, slopes) = (numbers(&[oc]), numbers(&[oc]));
        let (sum, with_slopes) = (n.size(0, 1) == 1, n.size(0, 1) == 1);
        let clamp = if with_slopes { Clamp::NONE } else { Clamp { min: -0.5, max: 0.75 } };
        let x = g.input("x", Fact::new(DType::F32, &[1, h, w, c])).unwrap();
        let z = g.input("z", Fact::new(DType::F32, &[1, h, w, oc])).unwrap();
        let constants = [("w", weights), ("b", bias), ("s", slopes)];
        let [w, b, s] = constants.map(|(name, tensor)| g.constant(name, tensor, None).unwrap());
        let conv = |clamp| Conv2d { window, groups: 1, clamp, dynamic: Dynamic::default() };
        let mut operands = vec![x, w, b];
        operands.extend(sum.then_some(z));
        operands.extend(with_slopes.then_some(s));
        let fused = FusedConv2d { conv: conv(clamp), sum, slopes: with_slopes };
        let fused = g.add("fused", fused, &operands).unwrap();
        let mut apart = g.add("conv", conv(if sum { Clamp::NONE } else { clamp }), &[x, w, b]).unwrap();
        if sum {
            apart = g.add("sum", Binary { kind: BinaryKind::Add, clamp }, &[z, apart]).unwrap();
        }
        if with_slopes {
            apart = g.add("prelu", Prelu, &[apart, s]).unwrap();
        }
        [fused, apart]
    }

    #[test]
    fn as_one_after_the_other() {
        for seed in 0..60 {
            let mut n = Numbers::new(seed);
            let mut g = Graph::new();
            both(&mut n, &mut g).into_iter().for_each(|value| g.output(value));
            let lengths: Vec<usize> = g.inputs().iter().map(|i| g.fact(*i).len()).collect();
            for (tier, threads) in Tier::available().into_iter().flat_map(|tier| [(tier, 1), (tier, 3)]) {
                let mut program = plan(g.clone(), tier, &Threads::new(threads).unwrap()).unwrap();
                let mut n = Numbers::new(seed + 1000);
                for (i, length) in lengths.iter().enumerate() {
                    program.set_input(i, as_bytes(&n.f32s(*length))).unwrap();
                }
                program.invoke().unwrap();
                let [a, b] = [0, 1].map(|i| elements::<f32>(program.output(i).unwrap()).unwrap());
                // But for the sign of zeros.
                let apart = a.iter().zip(b).position(|(a, b)| a != b);
                assert_eq!(apart.map(|i| (i, a[i], b[i])), None, "{seed} {} {threads}", tier.name());
            }
        }
    }
}
