//! Operators that converters seldom write, made of others.

use super::importer::{Importer, invalid, sizes};
use super::options::{self, Windowed};
use super::schema::Operator;
use crate::builtin::graph::ValueId;
use crate::builtin::limits;
use crate::builtin::ops::{
    Binary, BinaryKind, Clamp, Clip, Compare, CompareKind, Expand, Op, Pad, PadMode, Reinterpret, Slice,
    SliceRange, Unary, UnaryKind,
};
use crate::builtin::tensor::Tensor as Constant;
use crate::{Error, Result};

/// Elements of a window: each is a node of the graph.
const MAX_WINDOW: usize = 1024;

impl Importer<'_, '_> {
    /// To one of 2^bits numbers between two, which are moved so that 0 is one of them.
    pub(super) fn fake_quant(&mut self, operator: &Operator<'_>) -> Result<()> {
        let (min, max, bits) = options::fake_quant(operator)?;
        let steps = ((1u32 << bits) - 1) as f32;
        let scale = (max - min) / steps;
        let zero = (-min / scale).clamp(0.0, steps).round();
        let (min, max) = (-zero * scale, (steps - zero) * scale);
        let x = self.operand(operator, 0)?;
        let mut y = self.step(operator, Clip { clamp: Clamp { min, max } }, &[x])?;
        for (kind, number) in [
            (BinaryKind::Sub, min),
            (BinaryKind::Mul, 1.0 / scale),
            // half away from zero, of what is not negative
            (BinaryKind::Add, 0.5),
        ] {
            y = self.with(operator, kind, y, number)?;
        }
        y = self.step(operator, Unary { kind: UnaryKind::Floor }, &[y])?;
        y = self.with(operator, BinaryKind::Mul, y, scale)?;
        let min = self.constant_for(operator, Constant::scalar(min)?)?;
        self.compute(operator, Binary::new(BinaryKind::Add), &[y, min])
    }

    fn with(
        &mut self,
        operator: &Operator<'_>,
        kind: BinaryKind,
        x: ValueId,
        number: f32,
    ) -> Result<ValueId> {
        let number = self.constant_for(operator, Constant::scalar(number)?)?;
        self.step(operator, Binary::new(kind), &[x, number])
    }

    /// The same bytes as elements of another type; one of another size takes or gives the last dimension.
    pub(super) fn bitcast(&mut self, operator: &Operator<'_>) -> Result<()> {
        let x = self.operand(operator, 0)?;
        let from = self.graph.fact(x);
        let (is, to) = (from.dtype.size(), self.output_type(self.result(operator, 0)?)?);
        let mut shape = from.shape.clone();
        let size = to.dtype.size();
        if size < is {
            shape.push(is / size);
        } else if size > is && shape.pop() != Some(size / is) {
            return Err(invalid(format!("{} {:?} as {}", from.dtype, from.shape, to.dtype)));
        }
        self.compute(operator, Reinterpret { dtype: Some((to.dtype, shape)), quant: to.quant }, &[x])
    }

    /// Operands: data, distances of its elements in the result, what is between them.
    pub(super) fn dilate(&mut self, operator: &Operator<'_>) -> Result<()> {
        let mut x = self.operand(operator, 0)?;
        let distances = sizes(&self.integers(operator, 1)?)?;
        let between = self.known_operand(operator, 2)?.to_f64()?;
        let shape = self.graph.shape(x).to_vec();
        let ([between], true, false) = (&between[..], distances.len() == shape.len(), distances.contains(&0))
        else {
            return Err(invalid(format!("distances of {distances:?} in {shape:?}")));
        };
        let mut so_far = shape.clone();
        for axis in (0..shape.len()).filter(|axis| distances[*axis] > 1 && shape[*axis] > 0) {
            let distance = distances[axis];
            so_far.insert(axis + 1, 1);
            x = self.reshaped(operator, x, &so_far)?;
            let mut pads = vec![[0; 2]; so_far.len()];
            pads[axis + 1] = [0, distance - 1];
            x = self.step(operator, Pad { pads, mode: PadMode::Constant(*between) }, &[x])?;
            so_far.remove(axis + 1);
            so_far[axis] = limits::elements(&[so_far[axis], distance])?;
            x = self.reshaped(operator, x, &so_far)?;
            so_far[axis] -= distance - 1;
            let ranges = so_far.iter().map(|length| SliceRange::all(*length)).collect();
            x = self.step(operator, Slice { ranges }, &[x])?;
        }
        self.moved(operator, 0, x)
    }

    /// Operands: data, the value to begin with, sizes of a window, its steps, distances of its elements.
    pub(super) fn reduce_window(&mut self, operator: &Operator<'_>) -> Result<()> {
        let op: Op = match options::reduce_window(operator)? {
            Windowed::Add => Binary::new(BinaryKind::Add).into(),
            Windowed::Mul => Binary::new(BinaryKind::Mul).into(),
            Windowed::Min => Binary::new(BinaryKind::Min).into(),
            Windowed::Max => Binary::new(BinaryKind::Max).into(),
            Windowed::All => Compare { kind: CompareKind::And }.into(),
            Windowed::Any => Compare { kind: CompareKind::Or }.into(),
        };
        let (x, first) = (self.operand(operator, 0)?, self.operand(operator, 1)?);
        let [window, steps, distances] = [2, 3, 4].map(|position| sizes(&self.integers(operator, position)?));
        let (window, steps, distances) = (window?, steps?, distances?);
        let shape = self.graph.shape(x).to_vec();
        let places = Places::new(&shape, &window, &steps, &distances)?;
        let mut y = self.step(operator, Expand { shape: places.count.clone() }, &[first])?;
        for at in 0..places.elements {
            let part = self.step(operator, Slice { ranges: places.ranges(at) }, &[x])?;
            y = self.step(operator, op.clone(), &[y, part])?;
        }
        self.moved(operator, 0, y)
    }
}

/// Where a window lies.
struct Places<'a> {
    window: &'a [usize],
    steps: &'a [usize],
    distances: &'a [usize],
    /// Windows per dimension.
    count: Vec<usize>,
    /// Elements of a window.
    elements: usize,
}

impl<'a> Places<'a> {
    fn new(shape: &[usize], window: &'a [usize], steps: &'a [usize], distances: &'a [usize]) -> Result<Self> {
        let unfit = || invalid(format!("a window of {window:?}, {steps:?}, {distances:?} in {shape:?}"));
        let given = [window, steps, distances];
        if given.iter().any(|all| all.len() != shape.len() || all.contains(&0)) {
            return Err(unfit());
        }
        let mut count = Vec::with_capacity(shape.len());
        for (axis, length) in shape.iter().enumerate() {
            let reach = (window[axis] - 1).checked_mul(distances[axis]).ok_or_else(unfit)?;
            count.push(length.checked_sub(reach + 1).map_or(0, |rest| rest / steps[axis] + 1));
        }
        let elements = limits::elements(window)?;
        if elements > MAX_WINDOW {
            return Err(Error::Unsupported(format!("a window of {elements} elements, at most {MAX_WINDOW}")));
        }
        let elements = if count.contains(&0) { 0 } else { elements };
        Ok(Self { window, steps, distances, count, elements })
    }

    /// Element `at` of every window.
    fn ranges(&self, mut at: usize) -> Vec<SliceRange> {
        let mut ranges = Vec::with_capacity(self.count.len());
        for axis in (0..self.count.len()).rev() {
            let start = at % self.window[axis] * self.distances[axis];
            at /= self.window[axis];
            let step = isize::try_from(self.steps[axis]).unwrap_or(isize::MAX);
            ranges.push(SliceRange { start, count: self.count[axis], step });
        }
        ranges.reverse();
        ranges
    }
}
