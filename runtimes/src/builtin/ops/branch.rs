//! One of two graphs, as a condition says when the model runs.

use super::{Body, Operand, Operator, Prepare};
use crate::builtin::graph::Fact;
use crate::builtin::step::Step;
use crate::{Error, Result};
use protocol::DType;
use std::cell::RefCell;

/// Operands: condition (bool, one element), then those of both graphs. Results: those of the graph that is run;
/// both give the same types and shapes.
#[derive(Clone, Debug, PartialEq)]
pub struct Branch {
    /// Where the condition holds.
    pub then: Body,
    /// Where it does not.
    pub otherwise: Body,
}

impl Operator for Branch {
    fn name(&self) -> &'static str {
        "Branch"
    }

    fn infer(&self, inputs: &[Operand<'_>]) -> Result<Vec<Fact>> {
        let Some((condition, operands)) = inputs.split_first() else {
            return Err(Error::ModelInvalid("a branch without a condition".to_owned()));
        };
        if condition.fact.dtype != DType::Bool || condition.fact.len() != 1 {
            let (dtype, shape) = (condition.fact.dtype, &condition.fact.shape);
            return Err(Error::ModelInvalid(format!("a condition of type {dtype} and shape {shape:?}")));
        }
        self.then.takes(operands)?;
        self.otherwise.takes(operands)?;
        let (then, otherwise) = (self.then.outputs(), self.otherwise.outputs());
        if then != otherwise {
            let shapes = |facts: &[Fact]| facts.iter().map(|f| f.shape.clone()).collect::<Vec<_>>();
            return Err(Error::Unsupported(format!(
                "branches that give {:?} and {:?}",
                shapes(&then),
                shapes(&otherwise)
            )));
        }
        Ok(then)
    }

    fn prepare(&self, on: &Prepare<'_>) -> Result<Option<Step>> {
        let graphs = (self.then.prepare(on)?, self.otherwise.prepare(on)?);
        let bytes = graphs.0.bytes().saturating_add(graphs.1.bytes());
        let graphs = RefCell::new(graphs);
        let step = Step::fallible("branch", move |inputs, mut outputs, _| {
            let (then, otherwise) = &mut *graphs.borrow_mut();
            let holds = inputs.bytes(0).first().is_some_and(|c| *c != 0);
            let chosen = if holds { then } else { otherwise };
            chosen.call(inputs, 1, &mut outputs)
        });
        Ok(Some(step.holding(bytes)))
    }

    fn work(&self, _inputs: &[Operand<'_>], _outputs: &[Fact]) -> u64 {
        self.then.work().max(self.otherwise.work())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Session;
    use crate::builtin::graph::Graph;
    use crate::builtin::kernels::Tier;
    use crate::builtin::kernels::memory::{as_bytes, elements};
    use crate::builtin::ops::{Binary, BinaryKind};
    use crate::builtin::prepare;

    fn body(kind: BinaryKind, shape: &[usize]) -> Body {
        let mut graph = Graph::new();
        let x = graph.input("x", Fact::new(DType::F32, shape)).unwrap();
        let y = graph.add("y", Binary::new(kind), &[x, x]).unwrap();
        graph.output(y);
        graph.into()
    }

    #[test]
    fn the_condition_chooses() {
        let mut g = Graph::new();
        let c = g.input("c", Fact::new(DType::Bool, &[])).unwrap();
        let x = g.input("x", Fact::new(DType::F32, &[2])).unwrap();
        let op = Branch { then: body(BinaryKind::Add, &[2]), otherwise: body(BinaryKind::Mul, &[2]) };
        let y = g.add("y", op.clone(), &[c, x]).unwrap();
        g.output(y);
        assert!(g.add("y", op.clone(), &[c, c]).is_err());
        assert!(g.add("y", op, &[x, x]).is_err());
        let mut session = prepare(&g, Tier::Portable).unwrap();
        session.set_input(1, as_bytes(&[3f32, 5.0])).unwrap();
        for (condition, expected) in [(1, [6f32, 10.0]), (0, [9.0, 25.0]), (1, [6.0, 10.0])] {
            session.set_input(0, &[condition]).unwrap();
            session.invoke().unwrap();
            assert_eq!(elements::<f32>(session.output(0).unwrap()).unwrap(), expected);
        }
    }

    #[test]
    fn branches_of_two_shapes_are_refused() {
        let mut g = Graph::new();
        let c = g.input("c", Fact::new(DType::Bool, &[1])).unwrap();
        let x = g.input("x", Fact::new(DType::F32, &[2])).unwrap();
        let op = Branch { then: body(BinaryKind::Add, &[2]), otherwise: body(BinaryKind::Mul, &[3]) };
        assert!(g.add("y", op, &[c, x]).is_err());
    }
}
