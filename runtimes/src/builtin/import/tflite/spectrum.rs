//! Spectra. There are no complex elements in the graph: a complex tensor is two values here, its real and its
//! imaginary part, and a transform is a product with a matrix of cosines and sines.

use super::importer::{Importer, axis, invalid, sizes};
use super::schema::Operator;
use crate::builtin::graph::ValueId;
use crate::builtin::ops::{Binary, BinaryKind, MatMul, Pad, PadMode, Slice, SliceRange, Unary, UnaryKind};
use crate::builtin::tensor::Tensor as Constant;
use crate::{Error, Result};
use std::collections::HashMap;

/// Real and imaginary part of the complex tensors of a subgraph.
pub(super) type Complex = HashMap<usize, [ValueId; 2]>;

/// Longest transform: its matrices have some ten million elements.
const MAX_LENGTH: usize = 4096;

impl Importer<'_, '_> {
    /// Operands: real rows in the last dimension, number of rows and length of the transform. Only one row.
    pub(super) fn rfft(&mut self, operator: &Operator<'_>) -> Result<()> {
        let x = self.operand(operator, 0)?;
        let length = match sizes(&self.integers(operator, 1)?)?[..] {
            [1, n] if (1..=MAX_LENGTH).contains(&n) => n,
            ref other => return Err(Error::Unsupported(format!("a transform of size {other:?}"))),
        };
        let shape = self.graph.shape(x).to_vec();
        let last = axis(-1, shape.len())?;
        if shape.len() < 2 || shape[last - 1] != 1 {
            return Err(Error::Unsupported(format!("a transform over the rows of {shape:?}")));
        }
        let x = self.of_length(operator, x, last, length)?;
        let bins = length / 2 + 1;
        let product = MatMul { transpose_a: false, transpose_b: false };
        let mut parts = [x; 2];
        for (part, function) in parts.iter_mut().zip([f64::cos, |v: f64| -v.sin()]) {
            // Angles are taken modulo a turn first, where they are exact.
            let turn = |k: usize, t: usize| (k * t % length) as f64 / length as f64 * std::f64::consts::TAU;
            let element = |i: usize| function(turn(i % bins, i / bins)) as f32;
            let matrix: Vec<f32> = (0..length * bins).map(element).collect();
            let matrix = self.constant_for(operator, Constant::from_elements(&[length, bins], &matrix)?)?;
            *part = self.step(operator, product, &[x, matrix])?;
        }
        let index = self.result(operator, 0)?;
        self.complex.insert(index, parts);
        Ok(())
    }

    /// Cut off or filled with zeros at the end.
    fn of_length(
        &mut self,
        operator: &Operator<'_>,
        x: ValueId,
        last: usize,
        length: usize,
    ) -> Result<ValueId> {
        let shape = self.graph.shape(x).to_vec();
        if shape[last] >= length {
            let mut ranges: Vec<_> = shape.iter().map(|d| SliceRange::all(*d)).collect();
            ranges[last] = SliceRange { start: 0, count: length, step: 1 };
            return self.step(operator, Slice { ranges }, &[x]);
        }
        let mut pads = vec![[0, 0]; shape.len()];
        pads[last] = [0, length - shape[last]];
        self.step(operator, Pad { pads, mode: PadMode::Constant(0.0) }, &[x])
    }

    /// Both parts of a complex operand.
    fn parts_of(&self, operator: &Operator<'_>) -> Result<[ValueId; 2]> {
        let index = self.required(operator, 0)?;
        let known = self.complex.get(&index).copied();
        known.ok_or_else(|| invalid("a complex tensor that no transform gives".to_owned()))
    }

    pub(super) fn part_of_complex(&mut self, operator: &Operator<'_>, part: usize) -> Result<()> {
        let value = self.parts_of(operator)?[part];
        self.moved(operator, 0, value)
    }

    pub(super) fn complex_abs(&mut self, operator: &Operator<'_>) -> Result<()> {
        let parts = self.parts_of(operator)?;
        let square = Unary { kind: UnaryKind::Square };
        let [re, im] = [self.step(operator, square, &parts[..1])?, self.step(operator, square, &parts[1..])?];
        let sum = self.step(operator, Binary::new(BinaryKind::Add), &[re, im])?;
        self.compute(operator, Unary { kind: UnaryKind::Sqrt }, &[sum])
    }

    /// `RESHAPE` of a complex tensor: true when it was one.
    pub(super) fn reshaped_complex(&mut self, operator: &Operator<'_>, shape: &[usize]) -> Result<bool> {
        let Some(parts) = self.optional(operator, 0).and_then(|i| self.complex.get(&i)).copied() else {
            return Ok(false);
        };
        let parts = [self.reshaped(operator, parts[0], shape)?, self.reshaped(operator, parts[1], shape)?];
        let index = self.result(operator, 0)?;
        self.complex.insert(index, parts);
        Ok(true)
    }
}
