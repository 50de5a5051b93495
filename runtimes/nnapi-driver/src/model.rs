//! A model as a client describes it, call by call. Everything is checked before it is kept.

use super::{Done, ensure, in_state};
use runtimes::builtin::limits::{MAX_CONSTANT_BYTES, MAX_NODES, MAX_RANK};
use runtimes::builtin::nnapi::codes::{operand, result};
use runtimes::builtin::nnapi::model::{Channels, Model, Operand, Operation, Value};
use std::sync::Arc;

/// Operands of a model: some for every operation there may be.
const MAX_OPERANDS: usize = 16 * MAX_NODES;
/// Operands of one operation: a concatenation of many.
const MAX_ARITY: usize = 1 << 16;

/// A finished model, and an order in which its operations can run.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) model: Model,
    pub(crate) order: Vec<usize>,
}

/// A model that is being described.
#[derive(Debug, Default)]
pub(crate) struct Builder {
    model: Model,
    bytes: usize,
    identified: bool,
    finished: Option<Arc<Finished>>,
}

impl Builder {
    /// The finished model.
    pub(crate) fn finished(&self) -> Done<Arc<Finished>> {
        self.finished.clone().ok_or(result::BAD_STATE)
    }

    fn open(&self) -> Done {
        in_state(self.finished.is_none())
    }

    fn operand(&mut self, index: i32) -> Done<&mut Operand> {
        let index = usize::try_from(index).map_err(|_| result::BAD_DATA)?;
        self.model.operands.get_mut(index).ok_or(result::BAD_DATA)
    }

    /// Adds an operand, whose code, rank and quantisation must go together.
    pub(crate) fn add_operand(&mut self, new: Operand) -> Done {
        self.open()?;
        if self.model.operands.len() >= MAX_OPERANDS {
            return Err(result::OUT_OF_MEMORY);
        }
        check_type(&new)?;
        self.model.operands.push(new);
        Ok(())
    }

    /// Gives an operand its value; `None` leaves an optional one out.
    pub(crate) fn set_value(&mut self, index: i32, bytes: Option<Vec<u8>>) -> Done {
        self.open()?;
        let total = self.bytes.checked_add(bytes.as_ref().map_or(0, Vec::len));
        let total = total.filter(|n| *n <= MAX_CONSTANT_BYTES).ok_or(result::OUT_OF_MEMORY)?;
        let operand = self.operand(index)?;
        ensure(operand.value == Value::Unset)?;
        operand.value = match bytes {
            None => Value::Omitted,
            Some(bytes) => {
                ensure(operand.bytes() == Some(bytes.len()))?;
                Value::Constant(bytes.into())
            }
        };
        self.bytes = total;
        Ok(())
    }

    /// How many bytes the value of an operand has.
    pub(crate) fn value_bytes(&mut self, index: i32) -> Done<usize> {
        self.operand(index)?.bytes().ok_or(result::BAD_DATA)
    }

    /// Gives an operand a scale per channel.
    pub(crate) fn set_channels(&mut self, index: i32, channels: Channels) -> Done {
        self.open()?;
        let operand = self.operand(index)?;
        ensure(operand.code == operand::TENSOR_QUANT8_SYMM_PER_CHANNEL)?;
        let along = operand.dimensions.get(channels.dimension as usize);
        ensure(along.is_some_and(|d| usize::try_from(*d) == Ok(channels.scales.len())))?;
        ensure(channels.scales.iter().all(|s| s.is_finite() && *s > 0.0))?;
        operand.channels = Some(channels);
        Ok(())
    }

    /// Adds an operation, known or not.
    pub(crate) fn add_operation(&mut self, code: i32, inputs: Vec<u32>, outputs: Vec<u32>) -> Done {
        self.open()?;
        if self.model.operations.len() >= MAX_NODES {
            return Err(result::OUT_OF_MEMORY);
        }
        ensure(code >= 0 && !outputs.is_empty() && inputs.len() <= MAX_ARITY && outputs.len() <= MAX_ARITY)?;
        let exists = |i: &u32| (*i as usize) < self.model.operands.len();
        ensure(inputs.iter().chain(&outputs).all(exists))?;
        self.model.operations.push(Operation { code, inputs, outputs });
        Ok(())
    }

    /// Says which operands are given and wanted.
    pub(crate) fn identify(&mut self, inputs: Vec<u32>, outputs: Vec<u32>) -> Done {
        self.open()?;
        ensure(!outputs.is_empty())?;
        let mut seen = vec![false; self.model.operands.len()];
        for index in inputs.iter().chain(&outputs) {
            let operand = self.model.operands.get(*index as usize).ok_or(result::BAD_DATA)?;
            let first = !std::mem::replace(&mut seen[*index as usize], true);
            ensure(first && operand.value == Value::Unset)?;
        }
        (self.model.inputs, self.model.outputs, self.identified) = (inputs, outputs, true);
        Ok(())
    }

    /// Allows f32 to be computed as f16.
    pub(crate) fn relax(&mut self, allow: bool) -> Done {
        self.open()?;
        self.model.relaxed = allow;
        Ok(())
    }

    /// Checks that everything read is there before it is read, and keeps the model.
    pub(crate) fn finish(&mut self) -> Done {
        self.open()?;
        ensure(self.identified)?;
        let missing = |o: &Operand| o.code == operand::TENSOR_QUANT8_SYMM_PER_CHANNEL && o.channels.is_none();
        ensure(!self.model.operands.iter().any(missing))?;
        let order = order(&self.model)?;
        self.finished = Some(Arc::new(Finished { model: std::mem::take(&mut self.model), order }));
        Ok(())
    }
}

/// What the header demands of a type.
fn check_type(operand: &Operand) -> Done {
    ensure(Operand::element_bytes(operand.code).is_some())?;
    let rank = operand.dimensions.len();
    ensure(rank <= MAX_RANK && (rank == 0 || !operand.is_scalar()))?;
    ensure(operand.dimensions.contains(&0) || rank == 0 || operand.bytes().is_some())?;
    let zeros = match operand.code {
        operand::TENSOR_QUANT8_ASYMM => 0..=255,
        operand::TENSOR_QUANT8_ASYMM_SIGNED => -128..=127,
        operand::TENSOR_QUANT16_ASYMM => 0..=65535,
        _ => 0..=0,
    };
    let scale = operand.scale;
    let scaled = match operand.code {
        operand::TENSOR_QUANT8_ASYMM
        | operand::TENSOR_QUANT8_ASYMM_SIGNED
        | operand::TENSOR_QUANT8_SYMM
        | operand::TENSOR_QUANT16_SYMM
        | operand::TENSOR_QUANT16_ASYMM => scale.is_finite() && scale > 0.0,
        operand::TENSOR_INT32 => scale.is_finite() && scale >= 0.0,
        _ => scale == 0.0,
    };
    ensure(scaled && zeros.contains(&operand.zero_point))
}

/// An order in which all operations can run.
fn order(model: &Model) -> Done<Vec<usize>> {
    const NOBODY: usize = usize::MAX;
    let mut given = vec![false; model.operands.len()];
    model.inputs.iter().for_each(|i| given[*i as usize] = true);
    let mut producer = vec![NOBODY; model.operands.len()];
    for (at, operation) in model.operations.iter().enumerate() {
        for output in &operation.outputs {
            let free = producer[*output as usize] == NOBODY && !given[*output as usize];
            ensure(free && model.operands[*output as usize].value == Value::Unset)?;
            producer[*output as usize] = at;
        }
    }
    let mut waits = vec![0usize; model.operations.len()];
    let mut readers: Vec<Vec<usize>> = vec![Vec::new(); model.operations.len()];
    for (at, operation) in model.operations.iter().enumerate() {
        for input in operation.inputs.iter().map(|i| *i as usize) {
            if producer[input] != NOBODY {
                waits[at] += 1;
                readers[producer[input]].push(at);
            } else {
                ensure(given[input] || model.operands[input].value != Value::Unset)?;
            }
        }
    }
    ensure(model.outputs.iter().all(|o| producer[*o as usize] != NOBODY))?;
    let mut order: Vec<usize> = (0..waits.len()).filter(|at| waits[*at] == 0).collect();
    let mut next = 0;
    while let Some(at) = order.get(next).copied() {
        next += 1;
        for reader in &readers[at] {
            waits[*reader] -= 1;
            if waits[*reader] == 0 {
                order.push(*reader);
            }
        }
    }
    // what is left waits for itself
    ensure(order.len() == waits.len())?;
    Ok(order)
}
