//! Operations that move elements.

use super::{Importer, axis, invalid, unsupported};
use runtimes::Result;
use runtimes::builtin::graph::ValueId;
use runtimes::builtin::nnapi::codes::{operand, operation as code};
use runtimes::builtin::nnapi::model::Operation;
use runtimes::builtin::ops::{
    Concat, Coordinates, Gather, Pad, PadMode, Reshape, Resize, ResizeMode, Slice, SliceRange, Transpose,
};

impl Importer<'_> {
    /// Adds the nodes of an operation that moves elements.
    pub(super) fn layout(&mut self, operation: &Operation) -> Result<()> {
        match operation.code {
            code::RESHAPE => self.reshape(operation),
            code::SQUEEZE | code::EXPAND_DIMS => self.as_stated(operation),
            code::TRANSPOSE => self.transpose(operation),
            code::CONCATENATION => self.concatenation(operation),
            code::PAD | code::PAD_V2 => self.pad(operation),
            code::SLICE => self.slice(operation),
            code::STRIDED_SLICE => self.strided_slice(operation),
            code::SPLIT => self.split(operation),
            code::GATHER => self.gather(operation),
            code::RESIZE_BILINEAR => self.resize(operation, true),
            code::RESIZE_NEAREST_NEIGHBOR => self.resize(operation, false),
            other => Err(unsupported(format!("the driver has no operation {other}"))),
        }
    }

    fn reshape(&mut self, operation: &Operation) -> Result<()> {
        let x = self.tensor(operation, 0)?;
        let stated = self.ints(operation, 1)?;
        let total: usize = self.graph.shape(x).iter().product();
        let known = stated.iter().filter(|d| **d != -1);
        let product = known.clone().try_fold(1usize, |n, d| n.checked_mul(usize::try_from(*d).ok()?));
        let product = product.ok_or_else(|| invalid(format!("a shape of {stated:?}")))?;
        let open = stated.len() - known.count();
        if open > 1 || (open == 1 && (product == 0 || !total.is_multiple_of(product))) {
            return Err(invalid(format!("{total} elements cannot have the shape {stated:?}")));
        }
        let size = |d: &i64| usize::try_from(*d).unwrap_or(total / product.max(1));
        let y = self.reshaped(x, stated.iter().map(size).collect())?;
        self.moved(operation, 0, y)
    }

    /// What only takes dimensions of one away or adds them has the shape that the model states.
    fn as_stated(&mut self, operation: &Operation) -> Result<()> {
        let x = self.tensor(operation, 0)?;
        let operand = self.operand(self.output(operation, 0)?)?;
        if operand.bytes().is_none() {
            return Err(unsupported("a result whose dimensions are not stated".to_owned()));
        }
        let y = self.reshaped(x, super::shape(operand))?;
        self.moved(operation, 0, y)
    }

    fn reshaped(&mut self, x: ValueId, shape: Vec<usize>) -> Result<ValueId> {
        match self.graph.shape(x) == shape {
            true => Ok(x),
            false => self.graph.add("reshaped", Reshape { shape }, &[x]),
        }
    }

    fn transpose(&mut self, operation: &Operation) -> Result<()> {
        let x = self.tensor(operation, 0)?;
        let rank = self.graph.shape(x).len();
        let perm = match operation.inputs.len() > 1 {
            true => self.ints(operation, 1)?.into_iter().map(|d| axis(d, rank)).collect::<Result<_>>()?,
            false => (0..rank).rev().collect(),
        };
        let y = self.graph.add("transposed", Transpose { perm }, &[x])?;
        self.moved(operation, 0, y)
    }

    fn concatenation(&mut self, operation: &Operation) -> Result<()> {
        let last = operation.inputs.len().saturating_sub(1);
        let values = (0..last).map(|i| self.tensor(operation, i)).collect::<Result<Vec<_>>>()?;
        let first = values.first().ok_or_else(|| invalid("nothing to concatenate".to_owned()))?;
        let axis = axis(i64::from(self.int(operation, last)?), self.graph.shape(*first).len())?;
        self.compute(operation, Concat { axis }, &values)
    }

    fn pad(&mut self, operation: &Operation) -> Result<()> {
        let x = self.tensor(operation, 0)?;
        let amounts = self.ints(operation, 1)?;
        let sizes = amounts.iter().map(|v| usize::try_from(*v).map_err(|_| invalid(format!("a pad of {v}"))));
        let sizes = sizes.collect::<Result<Vec<_>>>()?;
        let pads = sizes.as_chunks::<2>().0.to_vec();
        let value = match operation.code == code::PAD_V2 {
            true => self.real_of(operation, 2, x)?,
            false => 0.0,
        };
        let y = self.graph.add("padded", Pad { pads, mode: PadMode::Constant(value) }, &[x])?;
        self.moved(operation, 0, y)
    }

    /// A scalar in the terms of a value: the real that an integer stands for.
    fn real_of(&self, operation: &Operation, position: usize, x: ValueId) -> Result<f64> {
        let code = self.operand(self.input(operation, position)?)?.code;
        if code != operand::INT32 {
            return self.real(operation, position).map(f64::from);
        }
        let stored = f64::from(self.int(operation, position)?);
        Ok(match self.graph.fact(x).per_tensor() {
            Some((scale, zero)) => (stored - f64::from(zero)) * f64::from(scale),
            None => stored,
        })
    }

    fn slice(&mut self, operation: &Operation) -> Result<()> {
        let x = self.tensor(operation, 0)?;
        let shape = self.graph.shape(x).to_vec();
        let (begin, size) = (self.ints(operation, 1)?, self.ints(operation, 2)?);
        if begin.len() != shape.len() || size.len() != shape.len() {
            return Err(invalid(format!("a slice {begin:?}, {size:?} of shape {shape:?}")));
        }
        let range = |((b, s), d): ((&i64, &i64), &usize)| {
            let start = usize::try_from(*b).ok().filter(|b| b <= d);
            let start = start.ok_or_else(|| invalid(format!("a slice from {b} of {d}")))?;
            let count = usize::try_from(*s).unwrap_or(*d - start);
            Ok(SliceRange { start, count, step: 1 })
        };
        let ranges = begin.iter().zip(&size).zip(&shape).map(range).collect::<Result<Vec<_>>>()?;
        let y = self.graph.add("slice", Slice { ranges }, &[x])?;
        self.moved(operation, 0, y)
    }

    fn strided_slice(&mut self, operation: &Operation) -> Result<()> {
        let x = self.tensor(operation, 0)?;
        let shape = self.graph.shape(x).to_vec();
        let [begin, end, strides] = [1, 2, 3].map(|i| self.ints(operation, i));
        let (begin, end, strides) = (begin?, end?, strides?);
        let [no_begin, no_end, shrink] = [4, 5, 6].map(|i| self.int(operation, i));
        let (no_begin, no_end, shrink) = (no_begin?, no_end?, shrink?);
        if [&begin, &end, &strides].iter().any(|v| v.len() != shape.len()) || shape.len() > 8 {
            return Err(invalid(format!("a slice {begin:?}, {end:?}, {strides:?} of shape {shape:?}")));
        }
        let mut ranges = Vec::new();
        for (i, length) in shape.iter().enumerate() {
            let back = strides[i] < 0;
            let open = |mask: i32, given: i64, none: [i64; 2]| {
                if mask & (1 << i) != 0 { none[usize::from(back)] } else { given }
            };
            let from = open(no_begin, begin[i], [0, i64::MAX]);
            let to = open(no_end, end[i], [i64::MAX, i64::MIN]);
            ranges.push(match shrink & (1 << i) != 0 {
                true => SliceRange { start: axis(from, *length)?, count: 1, step: 1 },
                false => SliceRange::python(*length, from, to, strides[i])?,
            });
        }
        let kept = (0..shape.len()).filter(|i| shrink & (1 << i) == 0).map(|i| ranges[i].count).collect();
        let y = self.graph.add("slice", Slice { ranges }, &[x])?;
        let y = self.reshaped(y, kept)?;
        self.moved(operation, 0, y)
    }

    fn split(&mut self, operation: &Operation) -> Result<()> {
        let x = self.tensor(operation, 0)?;
        let shape = self.graph.shape(x).to_vec();
        let along = axis(i64::from(self.int(operation, 1)?), shape.len())?;
        let parts = self.size(operation, 2)?;
        if parts == 0 || parts != operation.outputs.len() || !shape[along].is_multiple_of(parts) {
            return Err(invalid(format!(
                "{parts} parts of {} into {}",
                shape[along],
                operation.outputs.len()
            )));
        }
        let count = shape[along] / parts;
        for part in 0..parts {
            let mut ranges: Vec<SliceRange> = shape.iter().map(|d| SliceRange::all(*d)).collect();
            ranges[along] = SliceRange { start: part * count, count, step: 1 };
            let y = self.graph.add("part", Slice { ranges }, &[x])?;
            self.moved(operation, part, y)?;
        }
        Ok(())
    }

    fn gather(&mut self, operation: &Operation) -> Result<()> {
        let x = self.tensor(operation, 0)?;
        let axis = axis(i64::from(self.int(operation, 1)?), self.graph.shape(x).len())?;
        let indices = self.tensor(operation, 2)?;
        let y = self.graph.add("gathered", Gather { axis }, &[x, indices])?;
        self.moved(operation, 0, y)
    }

    fn resize(&mut self, operation: &Operation, linear: bool) -> Result<()> {
        let x = self.tensor(operation, 0)?;
        // Sizes come as integers; as floats they would be scales.
        let output = [self.size(operation, 2)?, self.size(operation, 1)?];
        self.check_layout(operation, 3)?;
        let (corners, half) = (self.truth(operation, 4)?, self.truth(operation, 5)?);
        let coordinates = match (corners, half) {
            (true, _) => Coordinates::AlignCorners,
            (false, true) => Coordinates::HalfPixel,
            (false, false) => Coordinates::Asymmetric,
        };
        let mode = match coordinates {
            _ if linear => ResizeMode::Linear,
            Coordinates::Asymmetric => ResizeMode::Floor,
            _ => ResizeMode::NearestCeil,
        };
        self.compute(operation, Resize { output, scale: None, coordinates, mode }, &[x])
    }
}
