//! From what a node means to steps that compute it: the operator's own kernel where there is one for the
//! types, else dequantise, compute in f32, quantise.

use super::graph::Fact;
use super::kernels::Tier;
use super::kernels::io::{Memory, Place};
use super::kernels::memory::ALIGN;
use super::ops::{Op, Operand, Prepare};
use super::step::Step;
use super::tensor::Tensor;
use crate::{Error, Result};

/// Computes a node whose operands are all constant, with portable kernels, so that the result does not
/// depend on the device.
pub(crate) fn evaluate(op: &Op, inputs: &[Operand<'_>], outputs: &[Fact]) -> Result<Vec<Tensor>> {
    let on = Prepare { inputs, outputs, tier: Tier::Portable };
    let step = op.prepare(&on)?.ok_or_else(|| Error::Unsupported("no kernel for these types".to_owned()))?;
    run_once(&step, inputs, outputs)
}

fn run_once(step: &Step, inputs: &[Operand<'_>], outputs: &[Fact]) -> Result<Vec<Tensor>> {
    let constants: Option<Vec<&Tensor>> = inputs.iter().map(|i| i.constant).collect();
    let constants = constants.ok_or_else(|| Error::Runtime("an operand is not constant".to_owned()))?;
    let Some(run) = &step.run else {
        let (Some(first), [fact]) = (constants.first(), outputs) else {
            return Err(Error::Runtime("an alias without operand".to_owned()));
        };
        return Ok(vec![first.reshaped(&fact.shape)?]);
    };
    let mut end = 0;
    let mut place = |len: usize| {
        let offset = end;
        end += len.next_multiple_of(ALIGN);
        Place::Arena { offset, len }
    };
    let results: Vec<Place> = outputs.iter().map(|f| place(f.bytes())).collect();
    let scratch = place(step.scratch);
    let reads: Vec<Place> = (0..constants.len()).map(Place::Constant).collect();
    let mut memory = Memory::new(end, constants.into_iter().cloned().collect())?;
    memory.add_step(&reads, &results, scratch)?;
    run(memory.io(0));
    let tensor = |(fact, place): (&Fact, &Place)| {
        let bytes = memory.bytes(*place).expect("placed above");
        Tensor::from_bytes(fact.dtype, &fact.shape, bytes)
    };
    outputs.iter().zip(&results).map(tensor).collect()
}
