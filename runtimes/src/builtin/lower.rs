//! From what a node means to steps that compute it: the operator's own kernel where there is one for the
//! types, else dequantise, compute in f32, quantise.

use super::graph::Fact;
use super::kernels::Tier;
use super::kernels::io::{Memory, Place};
use super::kernels::memory::ALIGN;
use super::kernels::threads::Threads;
use super::ops::{Dialect, Op, Operand, Operator, Prepare, Requantize};
use super::step::Step;
use super::tensor::Tensor;
use crate::{Error, Result};

/// What a graph is lowered to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target<'t> {
    pub(crate) tier: Tier,
    pub(crate) threads: &'t Threads,
    pub(crate) dialect: Dialect,
}

impl<'t> Target<'t> {
    fn prepare<'a>(self, inputs: &'a [Operand<'a>], outputs: &'a [Fact]) -> Prepare<'a>
    where
        't: 'a,
    {
        Prepare { inputs, outputs, tier: self.tier, threads: self.threads, dialect: self.dialect }
    }
}

/// How a node is computed.
pub(crate) enum Lowered {
    /// By the operator's own kernel.
    Direct(Step),
    /// Through f32.
    ThroughF32 {
        /// Per operand.
        before: Vec<AsReal>,
        /// The operator's kernel for f32.
        step: Step,
        /// Per result, what makes it from f32, and the f32 value's fact.
        after: Vec<Option<(Step, Fact)>>,
        /// Why.
        reason: String,
    },
}

/// How an operand becomes f32.
pub(crate) enum AsReal {
    /// It is not quantised.
    Same,
    /// It was constant.
    Constant(Tensor),
    /// By a step that gives a value of this fact.
    Step(Step, Fact),
}

/// Finds the steps that compute a node.
///
/// # Errors
/// No kernel does it, not even in f32.
pub(crate) fn lower(op: &Op, inputs: &[Operand<'_>], outputs: &[Fact], on: Target<'_>) -> Result<Lowered> {
    if let Some(step) = op.prepare(&on.prepare(inputs, outputs))? {
        return Ok(Lowered::Direct(step));
    }
    let types = || {
        let inputs: Vec<String> = inputs.iter().map(|i| describe(i.fact)).collect();
        let outputs: Vec<String> = outputs.iter().map(describe).collect();
        format!("no kernel from {} to {}", inputs.join(", "), outputs.join(", "))
    };
    let real = |fact: &Fact| fact.clone().as_real();
    let changed = inputs.iter().map(|i| i.fact).chain(outputs).any(|f| f.quant.is_some());
    if !changed {
        return Err(Error::Unsupported(types()));
    }
    let mut before = Vec::new();
    let mut facts = Vec::new();
    for input in inputs {
        facts.push(real(input.fact));
        before.push(match (input.fact.quant.is_some(), input.constant) {
            (false, _) => AsReal::Same,
            (true, Some(_)) => {
                let tensors =
                    evaluate(&Op::Requantize(Requantize), &[*input], &[real(input.fact)], on.dialect)?;
                AsReal::Constant(tensors.into_iter().next().expect("one result"))
            }
            (true, None) => AsReal::Step(convert(input.fact, &real(input.fact), on)?, real(input.fact)),
        });
    }
    let operand = |((fact, input), converted): ((_, &Operand<'_>), &_)| match converted {
        AsReal::Constant(tensor) => (fact, Some(tensor.clone())),
        _ => (fact, input.constant.cloned()),
    };
    let owned: Vec<(Fact, Option<Tensor>)> =
        facts.into_iter().zip(inputs).zip(&before).map(operand).collect();
    let operands: Vec<Operand<'_>> =
        owned.iter().map(|(fact, constant)| Operand { fact, constant: constant.as_ref() }).collect();
    let results: Vec<Fact> = outputs.iter().map(real).collect();
    let step = op.prepare(&on.prepare(&operands, &results))?;
    let step = step.ok_or_else(|| Error::Unsupported(types()))?;
    let after = outputs.iter().zip(&results).map(|(fact, real)| {
        let needed = fact.quant.is_some();
        needed.then(|| Ok((convert(real, fact, on)?, real.clone()))).transpose()
    });
    let after = after.collect::<Result<Vec<_>>>()?;
    Ok(Lowered::ThroughF32 { before, step, after, reason: format!("{}: computed in f32", types()) })
}

fn describe(fact: &Fact) -> String {
    match fact.quant.as_deref() {
        None => fact.dtype.name().to_owned(),
        Some(q) if q.scale.len() > 1 => format!("quantised {} per channel", fact.dtype),
        Some(_) => format!("quantised {}", fact.dtype),
    }
}

fn convert(from: &Fact, to: &Fact, on: Target<'_>) -> Result<Step> {
    let none = || Error::Unsupported(format!("no conversion from {} to {}", describe(from), describe(to)));
    let operand = [Operand { fact: from, constant: None }];
    let on = on.prepare(&operand, std::slice::from_ref(to));
    Requantize.prepare(&on)?.ok_or_else(none)
}

/// Computes a node whose operands are all constant, with portable kernels, so that the result does not
/// depend on the device.
///
/// # Errors
/// As [`lower`].
pub(crate) fn evaluate(
    op: &Op,
    inputs: &[Operand<'_>],
    outputs: &[Fact],
    dialect: Dialect,
) -> Result<Vec<Tensor>> {
    match lower(op, inputs, outputs, Target { tier: Tier::Portable, threads: &Threads::one(), dialect })? {
        Lowered::Direct(step) => run_once(&step, inputs, outputs),
        Lowered::ThroughF32 { before, step, after, .. } => {
            let facts: Vec<Fact> = inputs.iter().map(|i| i.fact.clone().as_real()).collect();
            let operands = facts.iter().zip(inputs).zip(&before).map(|((fact, input), converted)| {
                let constant =
                    if let AsReal::Constant(tensor) = converted { Some(tensor) } else { input.constant };
                Operand { fact, constant }
            });
            let reals: Vec<Fact> = outputs.iter().map(|f| f.clone().as_real()).collect();
            let tensors = run_once(&step, &operands.collect::<Vec<_>>(), &reals)?;
            let mut results = Vec::new();
            for ((tensor, after), fact) in tensors.into_iter().zip(after).zip(outputs) {
                results.push(match after {
                    None => tensor,
                    Some((step, real)) => {
                        let operand = Operand { fact: &real, constant: Some(&tensor) };
                        let mut quantised = run_once(&step, &[operand], std::slice::from_ref(fact))?;
                        let none = || Error::Runtime("a conversion without result".to_owned());
                        quantised.pop().ok_or_else(none)?
                    }
                });
            }
            Ok(results)
        }
    }
}

fn run_once(step: &Step, inputs: &[Operand<'_>], outputs: &[Fact]) -> Result<Vec<Tensor>> {
    let constants: Option<Vec<&Tensor>> = inputs.iter().map(|i| i.constant).collect();
    let constants = constants.ok_or_else(|| Error::Runtime("an operand is not constant".to_owned()))?;
    let Some(run) = &step.run else {
        let (Some(first), [fact]) = (constants.first(), outputs) else {
            return Err(Error::Runtime("an alias without operand".to_owned()));
        };
        let same = first.dtype() == fact.dtype;
        let seen = || Tensor::from_bytes(fact.dtype, &fact.shape, first.bytes());
        return Ok(vec![if same { first.reshaped(&fact.shape)? } else { seen()? }]);
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
    run.run(memory.io(0))?;
    let tensor = |(fact, place): (&Fact, &Place)| {
        let bytes = memory.bytes(*place).expect("placed above");
        Tensor::from_bytes(fact.dtype, &fact.shape, bytes)
    };
    outputs.iter().zip(&results).map(tensor).collect()
}
