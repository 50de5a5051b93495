//! Operators that keep a state between invokes, in tensors that the file marks as variable.

use super::importer::{Importer, clamp, invalid};
use super::options::{self, Lstm, Rnn};
use super::schema::Operator;
use crate::builtin::graph::ValueId;
use crate::builtin::ops::{Concat, LstmStates, Reshape, SequenceLstm, SequenceRnn, Svdf};
use crate::{Error, Result};
use std::ops::Range;

/// Where an LSTM has its operands: lists begin with the input gate.
struct Places {
    weights: usize,
    recurrent: usize,
    peepholes: usize,
    biases: usize,
    projection: Range<usize>,
    /// Output state and cell state.
    states: [usize; 2],
    normalization: usize,
}

const ONE_WAY: Places = Places {
    weights: 1,
    recurrent: 5,
    peepholes: 9,
    biases: 12,
    projection: 16..18,
    states: [18, 19],
    normalization: 20,
};

const NOWHERE: usize = usize::MAX - 8;

const FORWARDS: Places = Places { states: [35, 36], normalization: NOWHERE, ..ONE_WAY };

const BACKWARDS: Places = Places {
    weights: 18,
    recurrent: 22,
    peepholes: 26,
    biases: 29,
    projection: 33..35,
    states: [37, 38],
    normalization: NOWHERE,
};

impl Importer<'_, '_> {
    /// One step: a sequence of one.
    pub(super) fn lstm(&mut self, operator: &Operator<'_>) -> Result<()> {
        let options = options::lstm(operator)?;
        let x = self.operand(operator, 0)?;
        let &[batch, features] = self.graph.shape(x) else {
            return Err(invalid(format!("an LSTM step on shape {:?}", self.graph.shape(x))));
        };
        let x = self.reshaped(operator, x, &[batch, 1, features])?;
        let (op, values) = self.lstm_operands(operator, &ONE_WAY, options, x)?;
        self.one_step(operator, op, &values)
    }

    pub(super) fn sequence_lstm(&mut self, operator: &Operator<'_>) -> Result<()> {
        let options = options::sequence_lstm(operator)?;
        let x = self.operand(operator, 0)?;
        let (op, values) = self.lstm_operands(operator, &ONE_WAY, options, x)?;
        self.compute(operator, op, &values)
    }

    pub(super) fn bidirectional_lstm(&mut self, operator: &Operator<'_>) -> Result<()> {
        let options = options::bidirectional_lstm(operator)?;
        if (39..48).any(|p| self.optional(operator, p).is_some()) {
            return Err(Error::Unsupported("an LSTM with an auxiliary input".to_owned()));
        }
        let x = self.operand(operator, 0)?;
        let mut ways = Vec::new();
        for places in [&FORWARDS, &BACKWARDS] {
            let (op, values) = self.lstm_operands(operator, places, options, x)?;
            ways.push((SequenceLstm { backwards: !ways.is_empty(), ..op }, values));
        }
        self.both_ways(operator, ways, options.merged)
    }

    fn lstm_operands(
        &mut self,
        operator: &Operator<'_>,
        at: &Places,
        options: Lstm,
        x: ValueId,
    ) -> Result<(SequenceLstm, Vec<ValueId>)> {
        for position in at.states {
            self.state(operator, position)?;
        }
        let given = |p: usize| self.optional(operator, p).is_some();
        let coupled = !given(at.weights);
        let (peephole, normalized) = (given(at.peepholes + 2), given(at.normalization + 1));
        let mut places = Vec::new();
        let first = usize::from(coupled);
        for list in [at.weights, at.recurrent, at.biases] {
            places.extend(list + first..list + 4);
        }
        if peephole {
            places.extend(at.peepholes + first..at.peepholes + 3);
        }
        if normalized {
            places.extend(at.normalization + first..at.normalization + 4);
        }
        let projection = at.projection.clone().take_while(|p| given(*p)).count();
        places.extend(at.projection.clone().take(projection));
        let mut values = vec![x];
        for place in places {
            values.push(self.operand(operator, place)?);
        }
        let op = SequenceLstm {
            time_major: options.time_major,
            backwards: false,
            coupled,
            peephole,
            normalized,
            projection,
            cell_clip: options.cell_clip,
            projection_clip: options.projection_clip,
            asymmetric: options.asymmetric,
            states: self.lstm_states(operator, at)?,
        };
        Ok((op, values))
    }

    /// How the states are quantised, when they are.
    fn lstm_states(&self, operator: &Operator<'_>, at: &Places) -> Result<Option<LstmStates>> {
        let per_tensor = |index: usize| Ok::<_, Error>(self.stated(index)?.per_tensor());
        let [output, cell] = at.states.map(|p| self.required(operator, p));
        let Some(hidden) = operator.intermediates.get(4) else { return Ok(None) };
        let all = (per_tensor(output?)?, per_tensor(cell?)?, per_tensor(*hidden)?);
        let (Some(output), Some((cell, _)), Some(hidden)) = all else { return Ok(None) };
        let positive = [output.0, cell, hidden.0].iter().all(|s| s.is_finite() && *s > 0.0);
        let zeros = [output.1, hidden.1].iter().all(|z| (-128..=127).contains(z));
        Ok((positive && zeros).then_some(LstmStates { output, cell, hidden }))
    }

    pub(super) fn rnn(&mut self, operator: &Operator<'_>) -> Result<()> {
        let options = options::rnn(operator)?;
        let x = self.operand(operator, 0)?;
        let &[batch, features] = self.graph.shape(x) else {
            return Err(invalid(format!("a recurrent step on shape {:?}", self.graph.shape(x))));
        };
        let x = self.reshaped(operator, x, &[batch, 1, features])?;
        let (op, values) = self.rnn_operands(operator, 1, options, x)?;
        self.one_step(operator, op, &values)
    }

    pub(super) fn sequence_rnn(&mut self, operator: &Operator<'_>) -> Result<()> {
        let options = options::sequence_rnn(operator)?;
        let x = self.operand(operator, 0)?;
        let (op, values) = self.rnn_operands(operator, 1, options, x)?;
        self.compute(operator, op, &values)
    }

    pub(super) fn bidirectional_rnn(&mut self, operator: &Operator<'_>) -> Result<()> {
        let options = options::bidirectional_rnn(operator)?;
        if (9..12).any(|p| self.optional(operator, p).is_some()) {
            return Err(Error::Unsupported("a recurrent network with an auxiliary input".to_owned()));
        }
        let x = self.operand(operator, 0)?;
        let mut ways = Vec::new();
        for first in [1, 5] {
            let (op, values) = self.rnn_operands(operator, first, options, x)?;
            ways.push((SequenceRnn { backwards: !ways.is_empty(), ..op }, values));
        }
        self.both_ways(operator, ways, options.merged)
    }

    /// Weights, recurrent weights, bias and state lie from `first` on.
    fn rnn_operands(
        &mut self,
        operator: &Operator<'_>,
        first: usize,
        options: Rnn,
        x: ValueId,
    ) -> Result<(SequenceRnn, Vec<ValueId>)> {
        self.state(operator, first + 3)?;
        let mut values = vec![x];
        for place in first..first + 3 {
            values.push(self.operand(operator, place)?);
        }
        let Rnn { time_major, asymmetric, .. } = options;
        let op = SequenceRnn { time_major, backwards: false, clamp: options.clamp.map(clamp), asymmetric };
        Ok((op, values))
    }

    /// A sequence of one frame whose result has no dimension of time.
    fn one_step<T: Into<crate::builtin::ops::Op>>(
        &mut self,
        operator: &Operator<'_>,
        op: T,
        values: &[ValueId],
    ) -> Result<()> {
        let index = self.result(operator, operator.outputs.len().saturating_sub(1))?;
        let name = &self.tensor(index)?.name;
        let y = self.graph.add_as(name, op, values, self.output_type(index)?)?;
        let &[batch, _, outputs] = self.graph.shape(y) else { return Err(invalid("no sequence".to_owned())) };
        let y = self.graph.add(name, Reshape { shape: vec![batch, outputs] }, &[y])?;
        self.set(index, y);
        Ok(())
    }

    /// Both directions as two results, or as one after the other in each frame.
    fn both_ways<T: Into<crate::builtin::ops::Op>>(
        &mut self,
        operator: &Operator<'_>,
        ways: Vec<(T, Vec<ValueId>)>,
        merged: bool,
    ) -> Result<()> {
        let mut results = Vec::new();
        for (position, (op, values)) in ways.into_iter().enumerate() {
            let index = self.result(operator, if merged { 0 } else { position })?;
            let y = self.graph.add_as(&self.tensor(index)?.name, op, &values, self.output_type(index)?)?;
            if !merged {
                self.set(index, y);
            }
            results.push(y);
        }
        if merged { self.compute(operator, Concat { axis: 2 }, &results) } else { Ok(()) }
    }

    pub(super) fn svdf(&mut self, operator: &Operator<'_>) -> Result<()> {
        let (rank, bounds, asymmetric) = options::svdf(operator)?;
        self.state(operator, 4)?;
        let mut values: Vec<ValueId> = (0..3).map(|i| self.operand(operator, i)).collect::<Result<_>>()?;
        if let Some(bias) = self.optional(operator, 3) {
            values.push(self.value(bias)?);
        }
        let memory = self.stated(self.required(operator, 4)?)?.per_tensor().map(|(scale, _)| scale);
        self.compute(operator, Svdf { rank, clamp: clamp(bounds), asymmetric, memory }, &values)
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
