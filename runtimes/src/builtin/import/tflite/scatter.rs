//! Operators that pick elements by number or put them somewhere.

use super::importer::{Importer, axis, invalid, sizes};
use super::options;
use super::schema::Operator;
use crate::builtin::limits;
use crate::builtin::ops::{
    Bitwise, BitwiseKind, CumSum, Expand, GatherNd, LocalResponse, Reduction, Scatter, ScatterKind, TopK,
    Transpose,
};
use crate::builtin::tensor::Tensor as Constant;
use crate::{Error, Result};
use protocol::DType;

impl Importer<'_, '_> {
    /// Operands: data, how many.
    pub(super) fn top_k(&mut self, operator: &Operator<'_>) -> Result<()> {
        let x = self.operand(operator, 0)?;
        let k = match sizes(&self.integers(operator, 1)?)?[..] {
            [k] => k,
            _ => return Err(invalid("one number of elements is needed".to_owned())),
        };
        let at = axis(-1, self.graph.shape(x).len())?;
        let results = self.results(operator, TopK { axis: at, k, largest: true }.into(), &[x], 2)?;
        for (position, result) in results.into_iter().enumerate() {
            self.as_stated(operator, position, result)?;
        }
        Ok(())
    }

    pub(super) fn gather_nd(&mut self, operator: &Operator<'_>) -> Result<()> {
        let values = self.operands(operator)?;
        let y = self.step(operator, GatherNd { batch_dims: 0 }, &values)?;
        self.moved(operator, 0, y)
    }

    /// Gathers along the dimension behind the ones that data and indices share.
    pub(super) fn gather_batches(&mut self, operator: &Operator<'_>, batch_dims: usize) -> Result<()> {
        let (x, indices) = (self.operand(operator, 0)?, self.operand(operator, 1)?);
        let mut shape = self.graph.shape(indices).to_vec();
        shape.push(1);
        let indices = self.reshaped(operator, indices, &shape)?;
        let y = self.step(operator, GatherNd { batch_dims }, &[x, indices])?;
        self.moved(operator, 0, y)
    }

    /// Operands: indices, updates, shape of the result.
    pub(super) fn scatter_nd(&mut self, operator: &Operator<'_>) -> Result<()> {
        let shape = sizes(&self.integers(operator, 2)?)?;
        let (indices, updates) = (self.operand(operator, 0)?, self.operand(operator, 1)?);
        let zeros = Constant::zeros(self.graph.fact(updates).dtype, &shape)?;
        let zeros = self.constant_for(operator, zeros)?;
        let op = Scatter { kind: ScatterKind::Nd, reduction: Reduction::Add };
        let y = self.step(operator, op, &[zeros, indices, updates])?;
        self.moved(operator, 0, y)
    }

    /// Operands: indices, shape of the result, values, value elsewhere.
    pub(super) fn sparse_to_dense(&mut self, operator: &Operator<'_>) -> Result<()> {
        let shape = sizes(&self.integers(operator, 1)?)?;
        let (indices, values) = (self.operand(operator, 0)?, self.operand(operator, 2)?);
        let other = self.operand(operator, 3)?;
        let rows = match *self.graph.shape(indices) {
            [] => [1, 1],
            [n] => [n, 1],
            [n, k] => [n, k],
            ref other => return Err(invalid(format!("indices of shape {other:?}"))),
        };
        let indices = self.reshaped(operator, indices, &rows)?;
        let values = self.step(operator, Expand { shape: vec![rows[0]] }, &[values])?;
        let filled = self.step(operator, Expand { shape }, &[other])?;
        let op = Scatter { kind: ScatterKind::Nd, reduction: Reduction::Replace };
        let y = self.step(operator, op, &[filled, indices, values])?;
        self.moved(operator, 0, y)
    }

    /// Operands: data, the segment of every row, perhaps the number of segments.
    pub(super) fn segments(&mut self, operator: &Operator<'_>, reduction: Reduction) -> Result<()> {
        let (x, ids) = (self.operand(operator, 0)?, self.operand(operator, 1)?);
        let count = if self.optional(operator, 2).is_some() {
            self.integers(operator, 2)?.first().copied().unwrap_or(0)
        } else {
            self.integers(operator, 1)?.into_iter().max().map_or(0, |last| last.saturating_add(1))
        };
        let dtype = self.graph.fact(x).dtype;
        let first = match (reduction, dtype) {
            (Reduction::Mul, DType::F32) => Constant::scalar(1f32)?,
            (Reduction::Mul, DType::I32) => Constant::scalar(1i32)?,
            (Reduction::Max, DType::F32) => Constant::scalar(f32::MIN)?,
            (Reduction::Max, DType::I32) => Constant::scalar(i32::MIN)?,
            (Reduction::Min, DType::F32) => Constant::scalar(f32::MAX)?,
            (Reduction::Min, DType::I32) => Constant::scalar(i32::MAX)?,
            (Reduction::Add, dtype) => Constant::zeros(dtype, &[])?,
            (_, other) => return Err(Error::Unsupported(format!("segments of {other}"))),
        };
        let mut shape = sizes(&[count])?;
        shape.extend(self.graph.shape(x).get(self.graph.shape(ids).len()..).unwrap_or_default());
        let first = self.constant_for(operator, first)?;
        let first = self.step(operator, Expand { shape }, &[first])?;
        let mut rows = self.graph.shape(ids).to_vec();
        rows.push(1);
        let ids = self.reshaped(operator, ids, &rows)?;
        let y = self.step(operator, Scatter { kind: ScatterKind::Nd, reduction }, &[first, ids, x])?;
        self.moved(operator, 0, y)
    }

    pub(super) fn cumsum(&mut self, operator: &Operator<'_>) -> Result<()> {
        let (exclusive, reverse) = options::cumsum(operator)?;
        let x = self.operand(operator, 0)?;
        let at = match self.integers(operator, 1)?[..] {
            [a] => axis(a, self.graph.shape(x).len())?,
            _ => return Err(invalid("one dimension is needed".to_owned())),
        };
        self.compute(operator, CumSum { axis: at, exclusive, reverse }, &[x])
    }

    /// Over channels, which come last here and second in the operator.
    pub(super) fn local_response(&mut self, operator: &Operator<'_>) -> Result<()> {
        let options = options::local_response(operator)?;
        let x = self.operand(operator, 0)?;
        let first = self.step(operator, Transpose { perm: vec![0, 3, 1, 2] }, &[x])?;
        let size = options.radius.saturating_mul(2).saturating_add(1);
        let op = LocalResponse {
            size,
            alpha: options.alpha * size as f32,
            beta: options.beta,
            bias: options.bias,
        };
        let y = self.step(operator, op, &[first])?;
        self.compute(operator, Transpose { perm: vec![0, 2, 3, 1] }, &[y])
    }

    /// The first so many of every sequence, backwards; how many is known while the graph is built.
    pub(super) fn reverse_sequence(&mut self, operator: &Operator<'_>) -> Result<()> {
        let (sequence, batch) = options::reverse_sequence(operator)?;
        let x = self.operand(operator, 0)?;
        let lengths = sizes(&self.integers(operator, 1)?)?;
        let shape = self.graph.shape(x).to_vec();
        let [first, second] = match (shape.get(..2), sequence, batch) {
            (Some(&[a, b]), 0, 1) | (Some(&[a, b]), 1, 0) => [a, b],
            _ => return Err(Error::Unsupported(format!("sequences along {sequence}, batch along {batch}"))),
        };
        let (time, batches) = if sequence == 0 { (first, second) } else { (second, first) };
        if lengths.len() != batches || lengths.iter().any(|l| *l > time) {
            return Err(invalid(format!("sequences of {lengths:?} in {shape:?}")));
        }
        limits::bytes(&[first, second, 2], 8)?;
        let mut places = Vec::with_capacity(2 * first * second);
        for (i, j) in (0..first).flat_map(|i| (0..second).map(move |j| (i, j))) {
            let (t, b) = if sequence == 0 { (i, j) } else { (j, i) };
            let from = if t < lengths[b] { lengths[b] - 1 - t } else { t };
            let place = if sequence == 0 { [from, b] } else { [b, from] };
            places.extend(place.map(|p| p as i64));
        }
        let places = Constant::from_elements(&[first, second, 2], &places)?;
        let places = self.constant_for(operator, places)?;
        let y = self.step(operator, GatherNd { batch_dims: 0 }, &[x, places])?;
        self.moved(operator, 0, y)
    }

    pub(super) fn bitwise(&mut self, operator: &Operator<'_>, kind: BitwiseKind) -> Result<()> {
        let values = self.operands(operator)?;
        self.compute(operator, Bitwise { kind }, &values)
    }
}
