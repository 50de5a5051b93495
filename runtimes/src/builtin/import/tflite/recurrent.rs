//! Operators that keep a state between invokes, in tensors that the file marks as variable.

use super::importer::{Importer, clamp, invalid};
use super::options;
use super::schema::Operator;
use crate::builtin::graph::ValueId;
use crate::builtin::ops::{SequenceLstm, Svdf};
use crate::{Error, Result};

/// Where `UNIDIRECTIONAL_SEQUENCE_LSTM` has its operands.
mod lstm {
    /// Weights of the features; input gate first.
    pub(super) const WEIGHTS: usize = 1;
    /// Recurrent weights.
    pub(super) const RECURRENT: usize = 5;
    /// Peepholes.
    pub(super) const PEEPHOLES: std::ops::Range<usize> = 9..12;
    /// Biases.
    pub(super) const BIASES: usize = 12;
    /// Projection of the output.
    pub(super) const PROJECTION: std::ops::Range<usize> = 16..18;
    /// Output state and cell state.
    pub(super) const STATES: [usize; 2] = [18, 19];
    /// Factors of layer normalisation.
    pub(super) const NORMALIZATION: std::ops::Range<usize> = 20..24;
}

impl Importer<'_, '_> {
    pub(super) fn sequence_lstm(&mut self, operator: &Operator<'_>) -> Result<()> {
        let options = options::sequence_lstm(operator)?;
        let extras = [
            (lstm::PEEPHOLES, "peepholes"),
            (lstm::PROJECTION, "a projection"),
            (lstm::NORMALIZATION, "layer normalisation"),
        ];
        for (mut positions, what) in extras {
            if positions.any(|p| self.optional(operator, p).is_some()) {
                return Err(Error::Unsupported(format!("an LSTM with {what}")));
            }
        }
        for position in lstm::STATES {
            self.state(operator, position)?;
        }
        let coupled = self.optional(operator, lstm::WEIGHTS).is_none();
        let gates = usize::from(coupled)..4;
        let mut values = vec![self.operand(operator, 0)?];
        for first in [lstm::WEIGHTS, lstm::RECURRENT, lstm::BIASES] {
            for gate in gates.clone() {
                values.push(self.operand(operator, first + gate)?);
            }
        }
        let op = SequenceLstm { time_major: options.time_major, coupled, cell_clip: options.cell_clip };
        self.compute(operator, op, &values)
    }

    pub(super) fn svdf(&mut self, operator: &Operator<'_>) -> Result<()> {
        let (rank, bounds) = options::svdf(operator)?;
        self.state(operator, 4)?;
        let mut values: Vec<ValueId> = (0..3).map(|i| self.operand(operator, i)).collect::<Result<_>>()?;
        if let Some(bias) = self.optional(operator, 3) {
            values.push(self.value(bias)?);
        }
        self.compute(operator, Svdf { rank, clamp: clamp(bounds) }, &values)
    }

    /// Checks that a state starts as zeros and belongs to one operator alone, which then keeps it.
    fn state(&self, operator: &Operator<'_>, position: usize) -> Result<()> {
        let index = self.required(operator, position)?;
        let tensor = self.tensor(index)?;
        if !tensor.is_variable || self.model.data(tensor).is_some() {
            return Err(invalid(format!("state {:?} is not an empty variable tensor", tensor.name)));
        }
        if self.uses.get(index) != Some(&1) {
            return Err(Error::Unsupported(format!("state {:?} is used elsewhere too", tensor.name)));
        }
        Ok(())
    }
}
