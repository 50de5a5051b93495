//! Slices whose place is only known when the model runs. Where their size is known they are nodes; where it is not,
//! they are parts of a list of which one entry is replaced, as converters write it: what comes before the entry,
//! the entry, what comes after it.

use super::importer::{Importer, invalid, sizes};
use super::schema::Operator;
use crate::builtin::graph::ValueId;
use crate::builtin::ops::{BinaryKind, DynamicSlice, DynamicUpdate, Op};
use crate::{Error, Result};
use std::collections::HashMap;

/// Slices of a subgraph whose size is not known, by their tensor.
pub(super) type Parts = HashMap<usize, Part>;

/// A part of a list along its first dimension.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part {
    list: ValueId,
    end: End,
    /// How many entries come before it, or are in it.
    index: ValueId,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Front,
    Back,
}

impl Importer<'_, '_> {
    /// `SLICE` with a place that is computed, or a size; `known` is what is known of both.
    pub(super) fn slice_at_run_time(
        &mut self,
        operator: &Operator<'_>,
        known: [Option<Vec<i64>>; 2],
    ) -> Result<()> {
        let [x, begin, size] =
            [self.operand(operator, 0)?, self.operand(operator, 1)?, self.operand(operator, 2)?];
        let part = match known {
            [None, Some(stated)] if stated.iter().all(|s| *s >= 0) => {
                let y = self.step(operator, DynamicSlice { sizes: sizes(&stated)? }, &[x, begin])?;
                return self.moved(operator, 0, y);
            }
            [Some(begin), None] if begin.iter().all(|v| *v == 0) => {
                self.first_entry(size).map(|index| Part { list: x, end: End::Front, index })
            }
            [None, Some(size)] if size.iter().all(|s| *s == -1) => {
                self.first_entry(begin).map(|index| Part { list: x, end: End::Back, index })
            }
            _ => None,
        };
        // When the parts are not put together again, the graph has to be made for their sizes.
        let open = [begin, size].into_iter().filter(|v| self.graph.constant_value(*v).is_none());
        let open: Vec<ValueId> = open.collect();
        self.needs.extend(open);
        let dynamic =
            || Error::Unsupported("a slice whose size is only known when the model runs".to_owned());
        let index = self.result(operator, 0)?;
        self.parts.insert(index, part.ok_or_else(dynamic)?);
        Ok(())
    }

    /// `STRIDED_SLICE` of one entry of the first dimension, all of the others.
    pub(super) fn entry_at_run_time(&mut self, operator: &Operator<'_>, x: ValueId) -> Result<()> {
        let begin = self.operand(operator, 1)?;
        let shape = self.graph.shape(x).to_vec();
        if self.graph.fact(begin).len() != 1 || shape.is_empty() {
            return Err(Error::Unsupported(
                "a slice whose size is only known when the model runs".to_owned(),
            ));
        }
        let mut sizes = shape.clone();
        sizes[0] = 1.min(shape[0]);
        let y = self.step(operator, DynamicSlice { sizes }, &[x, begin])?;
        let y = self.reshaped(operator, y, &shape[1..])?;
        self.moved(operator, 0, y)
    }

    /// The first number of a list of numbers that is put together from it and constants.
    fn first_entry(&self, list: ValueId) -> Option<ValueId> {
        let (_, node) = self.graph.producer(list)?;
        match (&node.op, &node.inputs[..]) {
            (Op::Concat(_), [first, rest @ ..])
                if rest.iter().all(|r| self.graph.constant_value(*r).is_some()) =>
            {
                Some(self.plain(*first))
            }
            _ => Some(self.plain(list)).filter(|v| self.graph.fact(*v).len() == 1),
        }
    }

    /// A value before it was seen in another shape.
    fn plain(&self, value: ValueId) -> ValueId {
        match self.graph.producer(value) {
            Some((_, node)) if matches!(node.op, Op::Reshape(_)) => self.plain(node.inputs[0]),
            _ => value,
        }
    }

    /// Whether `next` is `index` plus one.
    fn follows(&self, next: ValueId, index: ValueId) -> bool {
        let Some((_, node)) = self.graph.producer(next) else { return false };
        let is_one = |v: &ValueId| {
            let constant = self.graph.constant_value(*v).and_then(|c| c.to_i64().ok());
            constant.is_some_and(|c| c == [1])
        };
        let adds = matches!(&node.op, Op::Binary(b) if b.kind == BinaryKind::Add);
        match node.inputs[..] {
            [a, b] if adds => self.plain(a) == index && is_one(&b) || self.plain(b) == index && is_one(&a),
            _ => false,
        }
    }

    /// A concatenation of the parts before and after one entry, and the entry: true when it was one.
    pub(super) fn replaced_entry(&mut self, operator: &Operator<'_>) -> Result<bool> {
        let part = |i: usize| self.optional(operator, i).and_then(|t| self.parts.get(&t)).copied();
        let (Some(front), None, Some(back)) = (part(0), part(1), part(2)) else { return Ok(false) };
        let entry = self.operand(operator, 1)?;
        let ends = (front.end, back.end) == (End::Front, End::Back) && front.list == back.list;
        let one = self.graph.shape(entry).first() == Some(&1);
        if operator.inputs.len() != 3 || !ends || !one || !self.follows(back.index, front.index) {
            return Err(invalid("parts of a list that are not put together again".to_owned()));
        }
        let place = self.reshaped(operator, front.index, &[1])?;
        let y = self.step(operator, DynamicUpdate, &[front.list, entry, place])?;
        self.moved(operator, 0, y)?;
        Ok(true)
    }

    /// Operands: data, update, place.
    pub(super) fn dynamic_update_slice(&mut self, operator: &Operator<'_>) -> Result<()> {
        let values = self.operands(operator)?;
        let y = self.step(operator, DynamicUpdate, &values)?;
        self.moved(operator, 0, y)
    }
}
