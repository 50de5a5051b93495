//! Operators that mark elements by number, or pick the best of them.

use super::importer::{Importer, axis, invalid, sizes};
use super::options;
use super::schema::Operator;
use crate::builtin::graph::ValueId;
use crate::builtin::limits;
use crate::builtin::ops::{
    Cast, Compare, CompareKind, NonMaxSuppression, Op, Reduce, ReduceKind, Select, broadcast,
};
use crate::builtin::tensor::Tensor as Constant;
use crate::{Error, Result};
use protocol::DType;

impl Importer<'_, '_> {
    /// A constant on the way.
    pub(super) fn constant_for(&mut self, operator: &Operator<'_>, tensor: Constant) -> Result<ValueId> {
        let name = &self.tensor(self.result(operator, 0)?)?.name;
        self.graph.constant(name, tensor, None)
    }

    /// Integers of a type.
    fn integers_of(
        &mut self,
        operator: &Operator<'_>,
        dtype: DType,
        shape: &[usize],
        all: &[i64],
    ) -> Result<ValueId> {
        let wide = Constant::from_elements(shape, all)?;
        let wide = self.constant_for(operator, wide)?;
        if dtype == DType::I64 { Ok(wide) } else { self.step(operator, Cast { to: dtype }, &[wide]) }
    }

    /// Several results of one node.
    pub(super) fn results(
        &mut self,
        operator: &Operator<'_>,
        op: Op,
        values: &[ValueId],
        count: usize,
    ) -> Result<Vec<ValueId>> {
        let name = self.tensor(self.result(operator, 0)?)?.name.to_string();
        let names = vec![name.as_str(); count];
        self.graph.add_node(&names, op, values, &vec![None; count])
    }

    /// Declares the value of result `position` in the type that the file states.
    pub(super) fn as_stated(
        &mut self,
        operator: &Operator<'_>,
        position: usize,
        value: ValueId,
    ) -> Result<()> {
        let Ok(index) = self.result(operator, position) else { return Ok(()) };
        let to = self.output_type(index)?.dtype;
        let name = &self.tensor(index)?.name;
        let value = if self.graph.fact(value).dtype == to {
            value
        } else {
            self.graph.add(name, Cast { to }, &[value])?
        };
        self.moved(operator, position, value)
    }

    /// Operands: indices, depth, value where they are, value elsewhere.
    pub(super) fn one_hot(&mut self, operator: &Operator<'_>) -> Result<()> {
        let at = options::one_hot(operator)?;
        let indices = self.operand(operator, 0)?;
        let depth = match sizes(&self.integers(operator, 1)?)?[..] {
            [depth] => depth,
            _ => return Err(invalid("one depth is needed".to_owned())),
        };
        let (on, off) = (self.operand(operator, 2)?, self.operand(operator, 3)?);
        let mut shape = self.graph.shape(indices).to_vec();
        let at = axis(i64::from(at), shape.len() + 1)?;
        limits::elements(&[depth])?;
        shape.insert(at, 1);
        let mut classes = vec![1; shape.len()];
        classes[at] = depth;
        let numbers: Vec<i64> = (0..depth as i64).collect();
        let dtype = self.graph.fact(indices).dtype;
        let numbers = self.integers_of(operator, dtype, &classes, &numbers)?;
        let indices = self.reshaped(operator, indices, &shape)?;
        let equal = self.step(operator, Compare { kind: CompareKind::Equal }, &[indices, numbers])?;
        let y = self.step(operator, Select, &[equal, on, off])?;
        self.moved(operator, 0, y)
    }

    /// Where row and column are the same, in `[..., rows, columns]`.
    fn diagonal(&mut self, operator: &Operator<'_>, rows: usize, columns: usize) -> Result<ValueId> {
        limits::elements(&[rows, columns])?;
        let bits: Vec<u8> = (0..rows * columns).map(|i| u8::from(i / columns == i % columns)).collect();
        let mask = Constant::from_bytes(DType::Bool, &[rows, columns], &bits)?;
        self.constant_for(operator, mask)
    }

    pub(super) fn matrix_diag(&mut self, operator: &Operator<'_>) -> Result<()> {
        let x = self.operand(operator, 0)?;
        let (mut shape, dtype) = (self.graph.shape(x).to_vec(), self.graph.fact(x).dtype);
        let n = *shape.last().ok_or_else(|| invalid("a diagonal of nothing".to_owned()))?;
        shape.push(1);
        let column = self.reshaped(operator, x, &shape)?;
        let mask = self.diagonal(operator, n, n)?;
        let zero = self.constant_for(operator, Constant::zeros(dtype, &[])?)?;
        let y = self.step(operator, Select, &[mask, column, zero])?;
        self.moved(operator, 0, y)
    }

    /// Operands: matrices, and what their diagonals become.
    pub(super) fn matrix_set_diag(&mut self, operator: &Operator<'_>) -> Result<()> {
        let (x, diagonal) = (self.operand(operator, 0)?, self.operand(operator, 1)?);
        let shape = self.graph.shape(x).to_vec();
        let [.., rows, columns] = shape[..] else { return Err(invalid(format!("matrices of {shape:?}"))) };
        let mut along = self.graph.shape(diagonal).to_vec();
        if along.last() != Some(&rows.min(columns)) {
            return Err(invalid(format!("diagonals of {along:?} for {shape:?}")));
        }
        along.insert(if rows <= columns { along.len() } else { along.len() - 1 }, 1);
        let diagonal = self.reshaped(operator, diagonal, &along)?;
        let mask = self.diagonal(operator, rows, columns)?;
        let y = self.step(operator, Select, &[mask, diagonal, x])?;
        self.moved(operator, 0, y)
    }

    /// How many boundaries are not above each element.
    pub(super) fn bucketize(&mut self, operator: &Operator<'_>) -> Result<()> {
        let boundaries = options::bucketize(operator)?;
        let x = self.operand(operator, 0)?;
        let mut shape = self.graph.shape(x).to_vec();
        let last = shape.len();
        shape.push(1);
        let x = self.step(operator, Cast { to: DType::F32 }, &[x])?;
        let x = self.reshaped(operator, x, &shape)?;
        let boundaries = Constant::from_elements(&[boundaries.len()], &boundaries)?;
        let boundaries = self.constant_for(operator, boundaries)?;
        let above = self.step(operator, Compare { kind: CompareKind::GreaterEqual }, &[x, boundaries])?;
        let above = self.step(operator, Cast { to: DType::F32 }, &[above])?;
        let sum = Reduce { kind: ReduceKind::Sum, axes: vec![last], keep_dims: false };
        let sum = self.step(operator, sum, &[above])?;
        self.as_stated(operator, 0, sum)
    }

    /// Operands: boxes, scores, how many, overlap, score, and, with lowered scores, sigma.
    pub(super) fn non_max_suppression(&mut self, operator: &Operator<'_>, lowered: bool) -> Result<()> {
        let (boxes, scores) = (self.operand(operator, 0)?, self.operand(operator, 1)?);
        let most = match sizes(&self.integers(operator, 2)?)?[..] {
            [most] => most,
            _ => return Err(invalid("one number of boxes is needed".to_owned())),
        };
        let mut number = |position| Ok::<_, Error>(self.real_scalar(operator, position)? as f32);
        let (overlap, score) = (number(3)?, number(4)?);
        let sigma = if lowered { number(5)? } else { 0.0 };
        let op = NonMaxSuppression { most, overlap, score, sigma };
        let results = self.results(operator, op.into(), &[boxes, scores], 3)?;
        let wanted = if lowered { vec![0, 1, 2] } else { vec![0, 2] };
        for (position, which) in wanted.into_iter().enumerate() {
            self.as_stated(operator, position, results[which])?;
        }
        Ok(())
    }

    /// The shape of two shapes broadcast against each other.
    pub(super) fn broadcast_args(&mut self, operator: &Operator<'_>) -> Result<()> {
        let (a, b) = (sizes(&self.integers(operator, 0)?)?, sizes(&self.integers(operator, 1)?)?);
        let shape: Vec<i64> = broadcast(&a, &b)?.into_iter().map(|d| d as i64).collect();
        self.known(operator, &[shape.len()], &shape)
    }
}
