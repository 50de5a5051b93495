//! Operators that compute element by element, along rows or along dimensions.

use super::importer::{Importer, axis, clamp, invalid};
use super::options;
use super::schema::Operator;
use crate::Result;
use crate::builtin::graph::ValueId;
use crate::builtin::ops::{
    Binary, BinaryKind, Cast, Clamp, Clip, Compare, CompareKind, Prelu, Reduce, ReduceKind, Requantize,
    Select, Softmax, Unary, UnaryKind,
};
use crate::builtin::tensor::Tensor as Constant;

/// Below this a vector is not normalised: the constant of the runtime's kernel.
const L2_EPSILON: f32 = 1e-6;

impl Importer<'_, '_> {
    pub(super) fn unary(&mut self, operator: &Operator<'_>, kind: UnaryKind) -> Result<()> {
        let x = self.operand(operator, 0)?;
        self.compute(operator, Unary { kind }, &[x])
    }

    pub(super) fn leaky_relu(&mut self, operator: &Operator<'_>) -> Result<()> {
        let slope = options::leaky_relu(operator)?;
        self.unary(operator, UnaryKind::LeakyRelu { slope })
    }

    pub(super) fn gelu(&mut self, operator: &Operator<'_>) -> Result<()> {
        let approximate = options::gelu(operator)?;
        self.unary(operator, if approximate { UnaryKind::GeluTanh } else { UnaryKind::Gelu })
    }

    pub(super) fn clip(&mut self, operator: &Operator<'_>, clamp: Clamp) -> Result<()> {
        let x = self.operand(operator, 0)?;
        self.compute(operator, Clip { clamp }, &[x])
    }

    pub(super) fn prelu(&mut self, operator: &Operator<'_>) -> Result<()> {
        let values = self.operands(operator)?;
        self.compute(operator, Prelu, &values)
    }

    pub(super) fn binary(&mut self, operator: &Operator<'_>, kind: BinaryKind) -> Result<()> {
        let bounds = match kind {
            BinaryKind::Add | BinaryKind::Sub | BinaryKind::Mul | BinaryKind::Div => {
                clamp(options::arithmetic(operator)?)
            }
            _ => Clamp::NONE,
        };
        let values = self.operands(operator)?;
        self.compute(operator, Binary { kind, clamp: bounds }, &values)
    }

    /// A sum of any number of operands.
    pub(super) fn add_n(&mut self, operator: &Operator<'_>) -> Result<()> {
        let values = self.operands(operator)?;
        let add = Binary::new(BinaryKind::Add);
        let Some((last, first)) = values.split_last() else {
            return Err(invalid("a sum of nothing".to_owned()));
        };
        let mut sum: Option<ValueId> = None;
        for value in first {
            sum = Some(match sum {
                Some(sum) => self.step(operator, add, &[sum, *value])?,
                None => *value,
            });
        }
        match sum {
            Some(sum) => self.compute(operator, add, &[sum, *last]),
            None => self.moved(operator, 0, *last),
        }
    }

    pub(super) fn compare(&mut self, operator: &Operator<'_>, kind: CompareKind) -> Result<()> {
        let values = self.operands(operator)?;
        self.compute(operator, Compare { kind }, &values)
    }

    pub(super) fn select(&mut self, operator: &Operator<'_>) -> Result<()> {
        let mut values = self.operands(operator)?;
        // SELECT (not V2) lets a condition of rank 1 choose whole slices of the first dimension.
        let (condition, rank) = match &values[..] {
            [c, a, ..] => (*c, self.graph.shape(*a).len()),
            _ => return Err(invalid("select without operands".to_owned())),
        };
        let shape = self.graph.shape(condition).to_vec();
        if let (&[n], true, true) = (&shape[..], rank > 1, self.model.operator_name(operator) == "SELECT") {
            let mut aligned = vec![1; rank];
            aligned[0] = n;
            values[0] = self.reshaped(operator, condition, &aligned)?;
        }
        self.compute(operator, Select, &values)
    }

    pub(super) fn softmax(&mut self, operator: &Operator<'_>) -> Result<()> {
        let beta = options::softmax(operator)?;
        let x = self.operand(operator, 0)?;
        self.compute(operator, Softmax { beta, log: false }, &[x])
    }

    pub(super) fn log_softmax(&mut self, operator: &Operator<'_>) -> Result<()> {
        let x = self.operand(operator, 0)?;
        self.compute(operator, Softmax { beta: 1.0, log: true }, &[x])
    }

    pub(super) fn requantize(&mut self, operator: &Operator<'_>) -> Result<()> {
        let x = self.operand(operator, 0)?;
        self.compute(operator, Requantize, &[x])
    }

    pub(super) fn cast(&mut self, operator: &Operator<'_>) -> Result<()> {
        let x = self.operand(operator, 0)?;
        let to = self.output_type(self.result(operator, 0)?)?.dtype;
        self.compute(operator, Cast { to }, &[x])
    }

    pub(super) fn reduce(&mut self, operator: &Operator<'_>, kind: ReduceKind) -> Result<()> {
        let keep_dims = options::reducer(operator)?;
        let x = self.operand(operator, 0)?;
        let rank = self.graph.shape(x).len();
        let axes = self.integers(operator, 1)?;
        let mut axes = axes.into_iter().map(|a| axis(a, rank)).collect::<Result<Vec<_>>>()?;
        axes.sort_unstable();
        axes.dedup();
        self.compute(operator, Reduce { kind, axes, keep_dims }, &[x])
    }

    pub(super) fn arg_reduce(&mut self, operator: &Operator<'_>, kind: ReduceKind) -> Result<()> {
        let x = self.operand(operator, 0)?;
        let axes = match self.integers(operator, 1)?[..] {
            [a] => vec![axis(a, self.graph.shape(x).len())?],
            ref other => return Err(invalid(format!("{} axes, one is needed", other.len()))),
        };
        let to = self.output_type(self.result(operator, 0)?)?.dtype;
        let index = self.step(operator, Reduce { kind, axes, keep_dims: false }, &[x])?;
        self.compute(operator, Cast { to }, &[index])
    }

    /// Rows of the last dimension divided by their length.
    pub(super) fn l2_normalization(&mut self, operator: &Operator<'_>) -> Result<()> {
        let bounds = clamp(options::arithmetic(operator)?);
        let x = self.operand(operator, 0)?;
        let last = axis(-1, self.graph.shape(x).len())?;
        let length = Reduce { kind: ReduceKind::L2, axes: vec![last], keep_dims: true };
        let length = self.step(operator, length, &[x])?;
        let epsilon = self.graph.constant("l2_epsilon", Constant::scalar(L2_EPSILON)?, None)?;
        let length = self.step(operator, Binary::new(BinaryKind::Max), &[length, epsilon])?;
        self.compute(operator, Binary { kind: BinaryKind::Div, clamp: bounds }, &[x, length])
    }
}
