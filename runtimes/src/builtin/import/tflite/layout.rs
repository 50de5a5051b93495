//! Operators that move elements or answer questions about shapes; none computes with them.

use super::importer::{Importer, axis, clamp, invalid, sizes};
use super::options;
use super::schema::Operator;
use crate::builtin::graph::ValueId;
use crate::builtin::limits;
use crate::builtin::ops::{
    Concat, Coordinates, Expand, Gather, Pad, PadMode, Reshape, Resize, ResizeMode, Slice, SliceRange,
    Transpose,
};
use crate::builtin::tensor::Tensor as Constant;
use crate::{Error, Result};
use protocol::DType;

impl Importer<'_, '_> {
    /// A value in another shape, named after the operator's result.
    pub(super) fn reshaped(
        &mut self,
        operator: &Operator<'_>,
        value: ValueId,
        shape: &[usize],
    ) -> Result<ValueId> {
        if self.graph.shape(value) == shape {
            return Ok(value);
        }
        self.step(operator, Reshape { shape: shape.to_vec() }, &[value])
    }

    pub(super) fn reshape(&mut self, operator: &Operator<'_>) -> Result<()> {
        let wanted = match self.optional(operator, 1) {
            Some(_) => self.integers(operator, 1)?,
            None => options::reshape(operator)?,
        };
        if wanted.iter().all(|d| *d >= 0) && self.reshaped_complex(operator, &sizes(&wanted)?)? {
            return Ok(());
        }
        let x = self.operand(operator, 0)?;
        let shape = resolve(&wanted, self.graph.shape(x))?;
        let y = self.reshaped(operator, x, &shape)?;
        self.moved(operator, 0, y)
    }

    pub(super) fn squeeze(&mut self, operator: &Operator<'_>) -> Result<()> {
        let x = self.operand(operator, 0)?;
        let shape = self.graph.shape(x).to_vec();
        let dims = options::squeeze(operator)?;
        let named = dims.iter().map(|d| axis(i64::from(*d), shape.len())).collect::<Result<Vec<_>>>()?;
        let goes = |(i, d): (usize, &usize)| *d == 1 && (named.is_empty() || named.contains(&i));
        let kept = shape.iter().enumerate().filter(|(i, d)| !goes((*i, *d))).map(|(_, d)| *d);
        let y = self.reshaped(operator, x, &kept.collect::<Vec<_>>())?;
        self.moved(operator, 0, y)
    }

    pub(super) fn expand_dims(&mut self, operator: &Operator<'_>) -> Result<()> {
        let x = self.operand(operator, 0)?;
        let mut shape = self.graph.shape(x).to_vec();
        let at = match self.integers(operator, 1)?[..] {
            [a] => axis(a, shape.len() + 1)?,
            _ => return Err(invalid("one dimension is needed".to_owned())),
        };
        shape.insert(at, 1);
        let y = self.reshaped(operator, x, &shape)?;
        self.moved(operator, 0, y)
    }

    pub(super) fn transpose(&mut self, operator: &Operator<'_>) -> Result<()> {
        let x = self.operand(operator, 0)?;
        let rank = self.graph.shape(x).len();
        let order = self.integers(operator, 1)?;
        let perm = order.into_iter().map(|d| axis(d, rank)).collect::<Result<Vec<_>>>()?;
        let y = self.step(operator, Transpose { perm }, &[x])?;
        self.moved(operator, 0, y)
    }

    pub(super) fn pad(&mut self, operator: &Operator<'_>) -> Result<()> {
        let mode = match self.optional(operator, 2) {
            Some(_) => PadMode::Constant(self.real_scalar(operator, 2)?),
            None => PadMode::Constant(0.0),
        };
        self.padded(operator, mode)
    }

    pub(super) fn mirror_pad(&mut self, operator: &Operator<'_>) -> Result<()> {
        let symmetric = options::mirror_pad(operator)?;
        self.padded(operator, if symmetric { PadMode::Symmetric } else { PadMode::Reflect })
    }

    fn padded(&mut self, operator: &Operator<'_>, mode: PadMode) -> Result<()> {
        let x = self.operand(operator, 0)?;
        let amounts = sizes(&self.integers(operator, 1)?)?;
        let pads = amounts.chunks_exact(2).map(|p| [p[0], p[1]]).collect();
        let y = self.step(operator, Pad { pads, mode }, &[x])?;
        self.moved(operator, 0, y)
    }

    /// The one number of a constant operand, as the real that it stands for.
    pub(super) fn real_scalar(&mut self, operator: &Operator<'_>, position: usize) -> Result<f64> {
        let value = self.operand(operator, position)?;
        let stored = match self.known_operand(operator, position)?.to_f64()?[..] {
            [v] => v,
            _ => return Err(invalid(format!("operand {position} is not one number"))),
        };
        Ok(match self.graph.fact(value).per_tensor() {
            Some((scale, zero)) => (stored - f64::from(zero)) * f64::from(scale),
            None => stored,
        })
    }

    pub(super) fn concatenation(&mut self, operator: &Operator<'_>) -> Result<()> {
        let (at, bounds) = options::concatenation(operator)?;
        if at == 0 && self.replaced_entry(operator)? {
            return Ok(());
        }
        if !clamp(bounds).is_none() {
            return Err(Error::Unsupported("an activation fused into a concatenation".to_owned()));
        }
        let values = self.operands(operator)?;
        let first = values.first().ok_or_else(|| invalid("nothing to concatenate".to_owned()))?;
        let at = axis(i64::from(at), self.graph.shape(*first).len())?;
        self.compute(operator, Concat { axis: at }, &values)
    }

    pub(super) fn pack(&mut self, operator: &Operator<'_>) -> Result<()> {
        let values = self.operands(operator)?;
        let first = values.first().ok_or_else(|| invalid("nothing to pack".to_owned()))?;
        let mut shape = self.graph.shape(*first).to_vec();
        let at = axis(i64::from(options::pack(operator)?), shape.len() + 1)?;
        shape.insert(at, 1);
        let parts = values.into_iter().map(|v| self.reshaped(operator, v, &shape));
        let parts = parts.collect::<Result<Vec<_>>>()?;
        self.compute(operator, Concat { axis: at }, &parts)
    }

    pub(super) fn unpack(&mut self, operator: &Operator<'_>) -> Result<()> {
        let x = self.operand(operator, 0)?;
        let mut shape = self.graph.shape(x).to_vec();
        let at = axis(i64::from(options::unpack(operator)?), shape.len())?;
        if shape[at] != operator.outputs.len() {
            return Err(invalid(format!(
                "{} results for a dimension of {}",
                operator.outputs.len(),
                shape[at]
            )));
        }
        shape.remove(at);
        for position in 0..operator.outputs.len() {
            let part = self.part(operator, position, x, at, position, 1)?;
            let part = self.reshaped(operator, part, &shape)?;
            self.moved(operator, position, part)?;
        }
        Ok(())
    }

    /// Operands: dimension, data.
    pub(super) fn split(&mut self, operator: &Operator<'_>) -> Result<()> {
        let x = self.operand(operator, 1)?;
        let at = self.single_axis(operator, 0, x)?;
        let (length, parts) = (self.graph.shape(x)[at], operator.outputs.len());
        if parts == 0 || length % parts != 0 {
            return Err(invalid(format!("a dimension of {length} cannot be split into {parts}")));
        }
        self.split_at(operator, x, at, &vec![length / parts; parts])
    }

    /// Operands: data, sizes (one may be -1), dimension.
    pub(super) fn split_v(&mut self, operator: &Operator<'_>) -> Result<()> {
        let x = self.operand(operator, 0)?;
        let at = self.single_axis(operator, 2, x)?;
        let stated = self.integers(operator, 1)?;
        let known: i64 = stated.iter().filter(|s| **s >= 0).fold(0, |n, s| n.saturating_add(*s));
        let rest = i64::try_from(self.graph.shape(x)[at]).unwrap_or(i64::MAX).saturating_sub(known);
        let lengths: Vec<i64> = stated.iter().map(|s| if *s == -1 { rest } else { *s }).collect();
        if lengths.len() != operator.outputs.len() {
            return Err(invalid(format!("{} sizes for {} results", lengths.len(), operator.outputs.len())));
        }
        self.split_at(operator, x, at, &sizes(&lengths)?)
    }

    fn single_axis(&mut self, operator: &Operator<'_>, position: usize, x: ValueId) -> Result<usize> {
        match self.integers(operator, position)?[..] {
            [a] => axis(a, self.graph.shape(x).len()),
            _ => Err(invalid("one dimension is needed".to_owned())),
        }
    }

    fn split_at(&mut self, operator: &Operator<'_>, x: ValueId, at: usize, lengths: &[usize]) -> Result<()> {
        let mut start = 0usize;
        for (position, length) in lengths.iter().enumerate() {
            let part = self.part(operator, position, x, at, start, *length)?;
            self.moved(operator, position, part)?;
            start = start.saturating_add(*length);
        }
        Ok(())
    }

    /// `count` elements from `start` along dimension `at`, named after result `position`.
    fn part(
        &mut self,
        operator: &Operator<'_>,
        position: usize,
        x: ValueId,
        at: usize,
        start: usize,
        count: usize,
    ) -> Result<ValueId> {
        let mut ranges: Vec<_> = self.graph.shape(x).iter().map(|d| SliceRange::all(*d)).collect();
        ranges[at] = SliceRange { start, count, step: 1 };
        let name = &self.tensor(self.result(operator, position)?)?.name;
        self.graph.add(name, Slice { ranges }, &[x])
    }

    /// Operands: data, begin, size (-1 for the rest).
    pub(super) fn slice(&mut self, operator: &Operator<'_>) -> Result<()> {
        let x = self.operand(operator, 0)?;
        let shape = self.graph.shape(x).to_vec();
        let known = [self.integers_if_known(operator, 1)?, self.integers_if_known(operator, 2)?];
        if known.contains(&None) {
            return self.slice_at_run_time(operator, known);
        }
        let (begin, size) = (sizes(&self.integers(operator, 1)?)?, self.integers(operator, 2)?);
        if begin.len() != shape.len() || size.len() != shape.len() {
            return Err(invalid(format!("begin {begin:?} and size {size:?} for shape {shape:?}")));
        }
        let range = |i: usize| -> Result<SliceRange> {
            let rest = shape[i].checked_sub(begin[i]);
            let rest = rest.ok_or_else(|| invalid(format!("begin {begin:?} outside shape {shape:?}")))?;
            let count = if size[i] == -1 { rest } else { sizes(&[size[i]])?[0] };
            Ok(SliceRange { start: begin[i], count, step: 1 })
        };
        let ranges = (0..shape.len()).map(range).collect::<Result<_>>()?;
        let y = self.step(operator, Slice { ranges }, &[x])?;
        self.moved(operator, 0, y)
    }

    /// Operands: data, begin, end, strides; options say which of them count.
    pub(super) fn strided_slice(&mut self, operator: &Operator<'_>) -> Result<()> {
        let options = options::strided_slice(operator)?;
        if options.ellipsis != 0 || options.new_axis != 0 {
            return Err(Error::Unsupported("an ellipsis or a new axis in a slice".to_owned()));
        }
        let x = self.operand(operator, 0)?;
        let shape = self.graph.shape(x).to_vec();
        if self.integers_if_known(operator, 1)?.is_none() && options.shrink == 1 && options.begin & 1 == 0 {
            return self.entry_at_run_time(operator, x);
        }
        let (begin, end) = (self.integers(operator, 1)?, self.integers(operator, 2)?);
        let strides = self.integers(operator, 3)?;
        if begin.len() > shape.len() || begin.len() != end.len() || begin.len() != strides.len() {
            return Err(invalid(format!("{begin:?}, {end:?}, {strides:?} for shape {shape:?}")));
        }
        let mut ranges: Vec<_> = shape.iter().map(|d| SliceRange::all(*d)).collect();
        let mut kept = Vec::new();
        for (i, range) in ranges.iter_mut().enumerate() {
            if i >= begin.len() {
                kept.push(range.count);
                continue;
            }
            let (bit, step) = (1 << i, strides[i]);
            let backwards = step < 0;
            let from = match options.begin & bit != 0 {
                true => {
                    if backwards {
                        i64::MAX
                    } else {
                        0
                    }
                }
                false => begin[i],
            };
            let to = match options.end & bit != 0 {
                true => {
                    if backwards {
                        i64::MIN
                    } else {
                        i64::MAX
                    }
                }
                false if options.offset => begin[i].saturating_add(end[i]),
                false => end[i],
            };
            if options.shrink & bit != 0 {
                *range = SliceRange { start: axis(from, shape[i])?, count: 1, step: 1 };
            } else {
                *range = SliceRange::python(shape[i], from, to, step)?;
                kept.push(range.count);
            }
        }
        let y = self.step(operator, Slice { ranges }, &[x])?;
        let y = self.reshaped(operator, y, &kept)?;
        self.moved(operator, 0, y)
    }

    pub(super) fn gather(&mut self, operator: &Operator<'_>) -> Result<()> {
        let (at, batch) = options::gather(operator)?;
        if let Ok(batch @ 1..) = usize::try_from(batch) {
            if usize::try_from(at) != Ok(batch) {
                return Err(Error::Unsupported(format!("gather along {at} with {batch} batch dimensions")));
            }
            return self.gather_batches(operator, batch);
        }
        let (x, indices) = (self.operand(operator, 0)?, self.operand(operator, 1)?);
        let at = axis(i64::from(at), self.graph.shape(x).len())?;
        let y = self.step(operator, Gather { axis: at }, &[x, indices])?;
        self.moved(operator, 0, y)
    }

    /// Operands: indices, table.
    pub(super) fn embedding_lookup(&mut self, operator: &Operator<'_>) -> Result<()> {
        let (indices, table) = (self.operand(operator, 0)?, self.operand(operator, 1)?);
        self.compute(operator, Gather { axis: 0 }, &[table, indices])
    }

    pub(super) fn broadcast_to(&mut self, operator: &Operator<'_>) -> Result<()> {
        let x = self.operand(operator, 0)?;
        let shape = sizes(&self.integers(operator, 1)?)?;
        let y = self.step(operator, Expand { shape }, &[x])?;
        self.moved(operator, 0, y)
    }

    /// Each dimension repeated: a dimension of 1 in front of it, widened.
    pub(super) fn tile(&mut self, operator: &Operator<'_>) -> Result<()> {
        let x = self.operand(operator, 0)?;
        let shape = self.graph.shape(x).to_vec();
        let times = sizes(&self.integers(operator, 1)?)?;
        if times.len() != shape.len() {
            return Err(invalid(format!("{times:?} repeats for shape {shape:?}")));
        }
        let mut y = x;
        for (i, n) in times.into_iter().enumerate().filter(|(_, n)| *n != 1) {
            let mut wide = self.graph.shape(y).to_vec();
            let result: Vec<usize> =
                wide.iter().enumerate().map(|(k, d)| if k == i { d.saturating_mul(n) } else { *d }).collect();
            wide.insert(i, 1);
            y = self.reshaped(operator, y, &wide)?;
            wide[i] = n;
            y = self.step(operator, Expand { shape: wide }, &[y])?;
            y = self.reshaped(operator, y, &result)?;
        }
        self.moved(operator, 0, y)
    }

    /// Operands: data, height and width of the result.
    pub(super) fn resize(&mut self, operator: &Operator<'_>, linear: bool) -> Result<()> {
        let options =
            if linear { options::resize_bilinear(operator)? } else { options::resize_nearest(operator)? };
        let x = self.operand(operator, 0)?;
        let output = match sizes(&self.integers(operator, 1)?)?[..] {
            [h, w] => [h, w],
            ref other => return Err(invalid(format!("a size of {other:?}"))),
        };
        let coordinates = match options {
            options::Resize { align_corners: true, .. } => Coordinates::AlignCorners,
            options::Resize { half_pixel_centers: true, .. } => Coordinates::HalfPixel,
            options::Resize { .. } => Coordinates::Asymmetric,
        };
        let mode = match coordinates {
            _ if linear => ResizeMode::Linear,
            Coordinates::Asymmetric => ResizeMode::Floor,
            _ => ResizeMode::NearestCeil,
        };
        self.compute(operator, Resize { output, scale: None, coordinates, mode }, &[x])
    }

    /// Blocks of height and width into channels (or, with `undo`, back).
    pub(super) fn space_to_depth(&mut self, operator: &Operator<'_>, undo: bool) -> Result<()> {
        let block =
            if undo { options::depth_to_space(operator)? } else { options::space_to_depth(operator)? };
        let x = self.operand(operator, 0)?;
        let shape = self.graph.shape(x).to_vec();
        let area = block.saturating_mul(block);
        let (split, perm, joined) = match shape[..] {
            [n, h, w, c] if undo && c % area == 0 => {
                let c = c / area;
                let joined = [n, h.saturating_mul(block), w.saturating_mul(block), c];
                ([n, h, w, block, block, c], vec![0, 1, 3, 2, 4, 5], joined)
            }
            [n, h, w, c] if !undo && h % block == 0 && w % block == 0 => {
                let (h, w) = (h / block, w / block);
                ([n, h, block, w, block, c], vec![0, 1, 3, 2, 4, 5], [n, h, w, c.saturating_mul(area)])
            }
            _ => return Err(invalid(format!("blocks of {block} in shape {shape:?}"))),
        };
        let y = self.reshaped(operator, x, &split)?;
        let y = self.step(operator, Transpose { perm }, &[y])?;
        let y = self.reshaped(operator, y, &joined)?;
        self.moved(operator, 0, y)
    }

    /// Operands: data, block sizes, padding. Blocks of the spatial dimensions become images.
    pub(super) fn space_to_batch(&mut self, operator: &Operator<'_>) -> Result<()> {
        let x = self.operand(operator, 0)?;
        let blocks = sizes(&self.integers(operator, 1)?)?;
        let amounts = sizes(&self.integers(operator, 2)?)?;
        let shape = self.graph.shape(x).to_vec();
        let spatial = blocks.len();
        if spatial == 0 || shape.len() <= spatial || amounts.len() != 2 * spatial || blocks.contains(&0) {
            return Err(invalid(format!("blocks of {blocks:?}, padding {amounts:?}, shape {shape:?}")));
        }
        let mut pads = vec![[0, 0]];
        pads.extend(amounts.chunks_exact(2).map(|p| [p[0], p[1]]));
        pads.resize(shape.len(), [0, 0]);
        let padded = self.step(operator, Pad { pads, mode: PadMode::Constant(0.0) }, &[x])?;
        let shape = self.graph.shape(padded).to_vec();
        if blocks.iter().zip(&shape[1..]).any(|(b, d)| d % b != 0) {
            return Err(invalid(format!("blocks of {blocks:?} do not divide {shape:?}")));
        }
        let mut split = vec![shape[0]];
        blocks.iter().zip(&shape[1..]).for_each(|(b, d)| split.extend([d / b, *b]));
        split.extend(&shape[1 + spatial..]);
        let mut perm: Vec<usize> = (0..spatial).map(|i| 2 + 2 * i).collect();
        perm.push(0);
        perm.extend((0..spatial).map(|i| 1 + 2 * i));
        perm.extend(1 + 2 * spatial..split.len());
        let area = blocks.iter().fold(shape[0], |n, b| n.saturating_mul(*b));
        let mut joined = vec![area];
        joined.extend(blocks.iter().zip(&shape[1..]).map(|(b, d)| d / b));
        joined.extend(&shape[1 + spatial..]);
        let y = self.reshaped(operator, padded, &split)?;
        let y = self.step(operator, Transpose { perm }, &[y])?;
        let y = self.reshaped(operator, y, &joined)?;
        self.moved(operator, 0, y)
    }

    /// Operands: data, block sizes, what to cut off. Undoes [`Self::space_to_batch`].
    pub(super) fn batch_to_space(&mut self, operator: &Operator<'_>) -> Result<()> {
        let x = self.operand(operator, 0)?;
        let blocks = sizes(&self.integers(operator, 1)?)?;
        let crops = sizes(&self.integers(operator, 2)?)?;
        let shape = self.graph.shape(x).to_vec();
        let spatial = blocks.len();
        let area = blocks.iter().fold(1usize, |n, b| n.saturating_mul(*b));
        let fits = spatial > 0 && shape.len() > spatial && crops.len() == 2 * spatial;
        if !fits || area == 0 || !shape[0].is_multiple_of(area) {
            return Err(invalid(format!("blocks of {blocks:?}, crops {crops:?}, shape {shape:?}")));
        }
        let images = shape[0] / area;
        let mut split = blocks.clone();
        split.push(images);
        split.extend(&shape[1..]);
        let mut perm = vec![spatial];
        (0..spatial).for_each(|i| perm.extend([spatial + 1 + i, i]));
        perm.extend(2 * spatial + 1..split.len());
        let mut joined = vec![images];
        joined.extend(blocks.iter().zip(&shape[1..]).map(|(b, d)| b.saturating_mul(*d)));
        joined.extend(&shape[1 + spatial..]);
        let y = self.reshaped(operator, x, &split)?;
        let y = self.step(operator, Transpose { perm }, &[y])?;
        let y = self.reshaped(operator, y, &joined)?;
        let mut ranges: Vec<_> = joined.iter().map(|d| SliceRange::all(*d)).collect();
        for (range, crop) in ranges.iter_mut().skip(1).zip(crops.chunks_exact(2)) {
            let rest = range.count.checked_sub(crop[0]).and_then(|n| n.checked_sub(crop[1]));
            range.start = crop[0];
            range.count = rest.ok_or_else(|| invalid(format!("crops {crops:?} of {joined:?}")))?;
        }
        let y = self.step(operator, Slice { ranges }, &[y])?;
        self.moved(operator, 0, y)
    }

    /// The shape of an operand, known while the graph is built.
    pub(super) fn shape_of(&mut self, operator: &Operator<'_>) -> Result<()> {
        let shape: Vec<i64> = self.shape(operator, 0)?.into_iter().map(|d| d as i64).collect();
        self.known(operator, &[shape.len()], &shape)
    }

    pub(super) fn rank(&mut self, operator: &Operator<'_>) -> Result<()> {
        let rank = self.shape(operator, 0)?.len();
        self.known(operator, &[], &[rank as i64])
    }

    /// Integers that are known while the graph is built, in the type that the file states.
    pub(super) fn known(&mut self, operator: &Operator<'_>, shape: &[usize], values: &[i64]) -> Result<()> {
        let index = self.result(operator, 0)?;
        let constant = match self.output_type(index)?.dtype {
            DType::I64 => Constant::from_elements(shape, values)?,
            DType::I32 => {
                let narrow: Vec<i32> = values.iter().map(|v| i32::try_from(*v).unwrap_or(i32::MAX)).collect();
                Constant::from_elements(shape, &narrow)?
            }
            other => return Err(Error::Unsupported(format!("a shape as {other}"))),
        };
        let value = self.graph.constant(&self.tensor(index)?.name, constant, None)?;
        self.set(index, value);
        Ok(())
    }

    /// Operands: data, dimensions.
    pub(super) fn reverse(&mut self, operator: &Operator<'_>) -> Result<()> {
        let x = self.operand(operator, 0)?;
        let mut ranges: Vec<_> = self.graph.shape(x).iter().map(|d| SliceRange::all(*d)).collect();
        for a in self.integers(operator, 1)? {
            let range = &mut ranges[axis(a, self.graph.shape(x).len())?];
            *range = SliceRange { start: range.count.saturating_sub(1), count: range.count, step: -1 };
        }
        let y = self.step(operator, Slice { ranges }, &[x])?;
        self.moved(operator, 0, y)
    }

    /// Operands: first, limit, step; known while the graph is built.
    pub(super) fn range(&mut self, operator: &Operator<'_>) -> Result<()> {
        if self.output_type(self.result(operator, 0)?)?.dtype == DType::F32 {
            return self.real_range(operator);
        }
        let mut bounds = [0; 3];
        for (position, bound) in bounds.iter_mut().enumerate() {
            *bound = match self.integers(operator, position)?[..] {
                [v] => v,
                ref other => return Err(invalid(format!("{} numbers for one", other.len()))),
            };
        }
        let [first, limit, step] = bounds;
        let span = if step > 0 { limit.saturating_sub(first) } else { first.saturating_sub(limit) };
        if step == 0 || self.output_type(self.result(operator, 0)?)?.dtype.size() < 4 {
            return Err(Error::Unsupported(format!("a range from {first} to {limit} by {step}")));
        }
        let count = u64::try_from(span).unwrap_or(0).div_ceil(step.unsigned_abs());
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        limits::bytes(&[count], size_of::<i64>())?;
        let values: Vec<i64> =
            (0..count).map(|i| first.wrapping_add((i as i64).wrapping_mul(step))).collect();
        self.known(operator, &[count], &values)
    }

    /// Operands: shape, value.
    pub(super) fn fill(&mut self, operator: &Operator<'_>) -> Result<()> {
        let shape = sizes(&self.integers(operator, 0)?)?;
        limits::elements(&shape)?;
        let value = self.operand(operator, 1)?;
        let y = self.step(operator, Expand { shape }, &[value])?;
        self.moved(operator, 0, y)
    }

    pub(super) fn zeros_like(&mut self, operator: &Operator<'_>) -> Result<()> {
        let shape = self.shape(operator, 0)?;
        let index = self.result(operator, 0)?;
        let zeros = Constant::zeros(self.output_type(index)?.dtype, &shape)?;
        let value = self.graph.constant(&self.tensor(index)?.name, zeros, None)?;
        self.set(index, value);
        Ok(())
    }
}

/// A stated shape with at most one -1 made complete.
fn resolve(stated: &[i64], from: &[usize]) -> Result<Vec<usize>> {
    let total = limits::elements(from)?;
    let open = stated.iter().filter(|d| **d == -1).count();
    let known: Vec<i64> = stated.iter().copied().filter(|d| *d != -1).collect();
    let product = limits::elements(&sizes(&known)?)?;
    if open > 1 || (open == 1 && (product == 0 || total % product != 0)) {
        return Err(invalid(format!("cannot reshape {from:?} to {stated:?}")));
    }
    let dim = |d: &i64| if *d == -1 { total / product } else { usize::try_from(*d).unwrap_or(0) };
    Ok(stated.iter().map(dim).collect())
}
