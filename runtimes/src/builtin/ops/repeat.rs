//! A graph that is run again and again as long as another one says so.

use super::body::Ready;
use super::{Body, Operand, Operator, Prepare};
use crate::builtin::graph::Fact;
use crate::builtin::kernels::io::{Inputs, Outputs};
use crate::builtin::step::Step;
use crate::{Error, Result};
use protocol::DType;
use std::cell::RefCell;

/// Operands: values that go round, then values that stay. Both graphs take all of them; `condition` gives one bool,
/// `body` the next of those that go round, in the same types and shapes. Results: those that went round, as they
/// are when the condition no longer holds.
#[derive(Clone, Debug, PartialEq)]
pub struct Repeat {
    /// Whether to go on.
    pub condition: Body,
    /// One step.
    pub body: Body,
    /// More steps than this end in an error.
    pub most: u64,
}

impl Operator for Repeat {
    fn name(&self) -> &'static str {
        "Repeat"
    }

    fn infer(&self, inputs: &[Operand<'_>]) -> Result<Vec<Fact>> {
        self.condition.takes(inputs)?;
        self.body.takes(inputs)?;
        match &self.condition.outputs()[..] {
            [c] if c.dtype == DType::Bool && c.len() == 1 => {}
            _ => return Err(Error::ModelInvalid("a loop whose condition is not one bool".to_owned())),
        }
        let round = self.body.outputs();
        for (i, fact) in round.iter().enumerate() {
            let Some(before) = inputs.get(i).map(|o| o.fact) else {
                return Err(Error::ModelInvalid("a loop that gives more values than it takes".to_owned()));
            };
            if before != fact {
                return Err(Error::Unsupported(format!(
                    "a loop in which value {i} goes from {} {:?} to {} {:?}",
                    before.dtype, before.shape, fact.dtype, fact.shape
                )));
            }
        }
        Ok(round)
    }

    fn prepare(&self, on: &Prepare<'_>) -> Result<Option<Step>> {
        let (condition, body) = (self.condition.prepare(on)?, self.body.prepare(on)?);
        let values: Vec<Vec<u8>> = on.outputs.iter().map(|f| vec![0; f.bytes()]).collect();
        let kept: usize = values.iter().map(Vec::len).sum();
        let bytes = condition.bytes().saturating_add(body.bytes()).saturating_add(kept);
        let (most, state) = (self.most, RefCell::new(Loop { condition, body, values }));
        let step = Step::fallible("repeat", move |inputs, mut outputs, _| {
            state.borrow_mut().run(inputs, &mut outputs, most)
        });
        Ok(Some(step.holding(bytes)))
    }

    /// How often it runs is not known: taken to be a few times.
    fn work(&self, _inputs: &[Operand<'_>], _outputs: &[Fact]) -> u64 {
        self.body.work().saturating_add(self.condition.work()).saturating_mul(16)
    }
}

struct Loop {
    condition: Ready,
    body: Ready,
    /// Those that go round.
    values: Vec<Vec<u8>>,
}

impl Loop {
    fn run(&mut self, inputs: Inputs<'_>, outputs: &mut Outputs<'_>, most: u64) -> Result<()> {
        for (index, value) in self.values.iter_mut().enumerate() {
            value.copy_from_slice(inputs.bytes(index));
        }
        for index in self.values.len()..inputs.len() {
            self.condition.set(index, inputs.bytes(index))?;
            self.body.set(index, inputs.bytes(index))?;
        }
        for step in 0.. {
            for (index, value) in self.values.iter().enumerate() {
                self.condition.set(index, value)?;
            }
            self.condition.run()?;
            if self.condition.get(0)?.iter().all(|c| *c == 0) {
                break;
            }
            if step >= most {
                return Err(Error::Runtime(format!("a loop went on after {most} steps, which is the most")));
            }
            for (index, value) in self.values.iter().enumerate() {
                self.body.set(index, value)?;
            }
            self.body.run()?;
            for (index, value) in self.values.iter_mut().enumerate() {
                value.copy_from_slice(self.body.get(index)?);
            }
        }
        for (index, value) in self.values.iter().enumerate() {
            outputs.bytes(index).copy_from_slice(value);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Session;
    use crate::builtin::graph::Graph;
    use crate::builtin::kernels::Tier;
    use crate::builtin::kernels::memory::{as_bytes, elements};
    use crate::builtin::ops::{Binary, BinaryKind, Compare, CompareKind};
    use crate::builtin::prepare;

    /// Adds the step to a number until it is no longer below 10.
    fn count(most: u64) -> Repeat {
        let graph = |op: &dyn Fn(&mut Graph, [crate::builtin::graph::ValueId; 2])| {
            let mut g = Graph::new();
            let ids = ["n", "step"].map(|name| g.input(name, Fact::new(DType::F32, &[])).unwrap());
            op(&mut g, ids);
            Body::from(g)
        };
        let condition = graph(&|g, [n, _]| {
            let ten = g.constant("ten", crate::builtin::tensor::Tensor::scalar(10f32).unwrap(), None).unwrap();
            let less = g.add("less", Compare { kind: CompareKind::Less }, &[n, ten]).unwrap();
            g.output(less);
        });
        let body = graph(&|g, [n, step]| {
            let next = g.add("next", Binary::new(BinaryKind::Add), &[n, step]).unwrap();
            g.output(next);
        });
        Repeat { condition, body, most }
    }

    #[test]
    fn runs_until_the_condition_fails_or_it_takes_too_long() {
        let mut g = Graph::new();
        let n = g.input("n", Fact::new(DType::F32, &[])).unwrap();
        let step = g.input("step", Fact::new(DType::F32, &[])).unwrap();
        let y = g.add("y", count(5), &[n, step]).unwrap();
        g.output(y);
        assert!(g.add("y", count(5), &[n]).is_err());
        let mut session = prepare(&g, Tier::Portable).unwrap();
        for (n, step, expected) in [(0f32, 2f32, Some(10f32)), (9.0, 7.0, Some(16.0)), (11.0, 1.0, Some(11.0)), (0.0, 1.0, None)] {
            session.set_input(0, as_bytes(&[n])).unwrap();
            session.set_input(1, as_bytes(&[step])).unwrap();
            match expected {
                Some(expected) => {
                    session.invoke().unwrap();
                    assert_eq!(elements::<f32>(session.output(0).unwrap()).unwrap(), [expected]);
                }
                None => assert!(session.invoke().unwrap_err().to_string().contains("5 steps")),
            }
        }
    }
}
