//! From a model in NNAPI's terms to the engine's graph, operation by operation: one that is not understood is
//! left out with its reason, so that a client can be told which ones are. What an operation means is in
//! `window`, `compute` and `layout`.

mod compute;
mod layout;
mod window;

use protocol::{DType, Quantization};
use runtimes::builtin::graph::{Fact, Graph, ValueId};
use runtimes::builtin::nnapi::codes::{fuse, operand};
use runtimes::builtin::nnapi::model::{Model, Operand, Operation, Value};
use runtimes::builtin::ops::{Clamp, Op, Reinterpret, Reshape};
use runtimes::builtin::tensor::Tensor;
use runtimes::{Error, Result};
use std::ops::Range;
use std::sync::Arc;

/// A model as a graph.
#[derive(Debug)]
pub(crate) struct Imported {
    /// The graph; it has outputs only when every operation was understood.
    pub(crate) graph: Graph,
    /// Per operation of the model, its nodes by number, or why there are none.
    pub(crate) operations: Vec<std::result::Result<Range<usize>, String>>,
}

impl Imported {
    /// The whole graph, or the first operation that is missing.
    pub(crate) fn complete(self) -> Result<Graph> {
        match self.operations.into_iter().find_map(|o| o.err()) {
            None => Ok(self.graph),
            Some(reason) => Err(Error::Unsupported(reason)),
        }
    }
}

/// Imports a model whose operations run in the given order.
///
/// # Errors
/// An input or output that no graph can have.
pub(crate) fn import(model: &Model, order: &[usize]) -> Result<Imported> {
    let mut importer = Importer { model, graph: Graph::new(), values: vec![None; model.operands.len()] };
    for index in &model.inputs {
        let fact = importer.fact(*index)?;
        let value = importer.graph.input(&name(*index), fact)?;
        importer.set(*index, value);
    }
    let mut operations: Vec<std::result::Result<Range<usize>, String>> =
        vec![Ok(0..0); model.operations.len()];
    for index in order {
        let operation = &model.operations[*index];
        let first = importer.graph.nodes().count();
        let done = importer.operation(operation);
        operations[*index] = match done {
            Ok(()) => Ok(first..importer.graph.nodes().count()),
            Err(e) => Err(format!("operation {index} of code {}: {e}", operation.code)),
        };
    }
    if operations.iter().all(|o| o.is_ok()) {
        for index in &model.outputs {
            let value = importer.value(*index)?;
            importer.graph.output(value);
        }
    }
    Ok(Imported { graph: importer.graph, operations })
}

fn name(index: u32) -> String {
    format!("operand {index}")
}

/// A model on its way into a graph.
struct Importer<'a> {
    model: &'a Model,
    graph: Graph,
    values: Vec<Option<ValueId>>,
}

impl<'a> Importer<'a> {
    fn operand(&self, index: u32) -> Result<&'a Operand> {
        let operand = self.model.operands.get(index as usize);
        operand.ok_or_else(|| invalid(format!("there is no operand {index}")))
    }

    fn set(&mut self, index: u32, value: ValueId) {
        if let Some(slot) = self.values.get_mut(index as usize) {
            *slot = Some(value);
        }
    }

    /// Input number `position` of an operation.
    fn input(&self, operation: &Operation, position: usize) -> Result<u32> {
        let index = operation.inputs.get(position).copied();
        index.ok_or_else(|| {
            invalid(format!("{} inputs, number {position} is missing", operation.inputs.len()))
        })
    }

    /// Value of input number `position`.
    fn tensor(&mut self, operation: &Operation, position: usize) -> Result<ValueId> {
        self.value(self.input(operation, position)?)
    }

    /// The value of an operand. What only an operation computes that was left out is given from outside.
    fn value(&mut self, index: u32) -> Result<ValueId> {
        if let Some(value) = self.values.get(index as usize).copied().flatten() {
            return Ok(value);
        }
        let fact = self.fact(index)?;
        let value = match &self.operand(index)?.value {
            Value::Constant(bytes) => {
                let tensor = Tensor::from_bytes(fact.dtype, &fact.shape, bytes)?;
                self.graph.constant(&name(index), tensor, fact.quant.as_deref().cloned())?
            }
            Value::Omitted => return Err(unsupported(format!("{} is left out", name(index)))),
            Value::Unset => self.graph.input(&name(index), fact)?,
        };
        self.set(index, value);
        Ok(value)
    }

    /// Type and shape of a tensor operand whose dimensions are known.
    fn fact(&self, index: u32) -> Result<Fact> {
        let operand = self.operand(index)?;
        if operand.bytes().is_none() {
            let dimensions = &operand.dimensions;
            return Err(unsupported(format!("{} has the dimensions {dimensions:?}", name(index))));
        }
        Ok(Fact { shape: shape(operand), ..kind(operand)? })
    }

    /// The constant bytes of input number `position`, which must have one of these codes.
    fn constant(&self, operation: &Operation, position: usize, codes: &[i32]) -> Result<&'a [u8]> {
        let index = self.input(operation, position)?;
        let operand = self.operand(index)?;
        match &operand.value {
            Value::Constant(bytes) if codes.contains(&operand.code) => Ok(bytes),
            Value::Constant(_) => Err(invalid(format!("{} has the code {}", name(index), operand.code))),
            _ => Err(unsupported(format!("{} is only known when the model runs", name(index)))),
        }
    }

    /// An `INT32`.
    fn int(&self, operation: &Operation, position: usize) -> Result<i32> {
        let bytes = self.constant(operation, position, &[operand::INT32])?;
        bytes
            .first_chunk()
            .map(|b| i32::from_ne_bytes(*b))
            .ok_or_else(|| invalid("a scalar of no bytes".to_owned()))
    }

    /// An `INT32` that is a size, a stride or a position.
    fn size(&self, operation: &Operation, position: usize) -> Result<usize> {
        let value = self.int(operation, position)?;
        usize::try_from(value).map_err(|_| invalid(format!("a size of {value}")))
    }

    /// A `BOOL`; `false` where the operation has no such input.
    fn truth(&self, operation: &Operation, position: usize) -> Result<bool> {
        if operation.inputs.len() <= position {
            return Ok(false);
        }
        let bytes = self.constant(operation, position, &[operand::BOOL])?;
        Ok(bytes.first().is_some_and(|b| *b != 0))
    }

    /// A `FLOAT32`.
    fn real(&self, operation: &Operation, position: usize) -> Result<f32> {
        let bytes = self.constant(operation, position, &[operand::FLOAT32])?;
        bytes
            .first_chunk()
            .map(|b| f32::from_ne_bytes(*b))
            .ok_or_else(|| invalid("a scalar of no bytes".to_owned()))
    }

    /// A `TENSOR_INT32`.
    fn ints(&self, operation: &Operation, position: usize) -> Result<Vec<i64>> {
        let bytes = self.constant(operation, position, &[operand::TENSOR_INT32])?;
        Ok(bytes.as_chunks().0.iter().map(|b| i64::from(i32::from_ne_bytes(*b))).collect())
    }

    /// The range of a fused activation.
    fn clamp(&self, operation: &Operation, position: usize) -> Result<Clamp> {
        Ok(match self.int(operation, position)? {
            fuse::NONE => Clamp::NONE,
            fuse::RELU => Clamp::RELU,
            fuse::RELU1 => Clamp::RELU_N1_TO_1,
            fuse::RELU6 => Clamp::RELU6,
            other => return Err(invalid(format!("no fused activation {other}"))),
        })
    }

    /// NHWC is the only layout that the engine's operators have.
    fn check_layout(&self, operation: &Operation, position: usize) -> Result<()> {
        match self.truth(operation, position)? {
            false => Ok(()),
            true => Err(unsupported("the layout NCHW".to_owned())),
        }
    }

    /// Adds a node that computes the first result, in the type that the model states.
    fn compute(&mut self, operation: &Operation, op: impl Into<Op>, inputs: &[ValueId]) -> Result<()> {
        let index = self.output(operation, 0)?;
        let kind = kind(self.operand(index)?)?.as_output();
        let value = self.graph.add_as(&name(index), op, inputs, kind)?;
        self.give(index, value)
    }

    /// Declares a result whose elements were moved and not computed with: the bits stay, whatever the model states
    /// of their quantisation.
    fn moved(&mut self, operation: &Operation, position: usize, value: ValueId) -> Result<()> {
        let index = self.output(operation, position)?;
        let stated = kind(self.operand(index)?)?;
        let is = self.graph.fact(value);
        if is.dtype != stated.dtype {
            return Err(invalid(format!(
                "{} elements moved into {} of {}",
                is.dtype,
                name(index),
                stated.dtype
            )));
        }
        let value = match is.quant == stated.quant {
            true => value,
            false => {
                self.graph.add(&name(index), Reinterpret { dtype: None, quant: stated.quant }, &[value])?
            }
        };
        self.give(index, value)
    }

    fn output(&self, operation: &Operation, position: usize) -> Result<u32> {
        let index = operation.outputs.get(position).copied();
        index.ok_or_else(|| invalid(format!("result {position} is missing")))
    }

    /// Declares the value of an operand, in the shape that the model states, where it states one.
    fn give(&mut self, index: u32, value: ValueId) -> Result<()> {
        let operand = self.operand(index)?;
        let known = operand.bytes().is_some();
        let (is, stated) = (self.graph.shape(value).to_vec(), shape(operand));
        let fits = is.iter().product::<usize>() == stated.iter().product::<usize>();
        let value = match () {
            () if !known || is == stated => value,
            () if fits => self.graph.add(&name(index), Reshape { shape: stated }, &[value])?,
            () => return Err(invalid(format!("{} is {stated:?}, its operation gives {is:?}", name(index)))),
        };
        self.set(index, value);
        Ok(())
    }
}

fn shape(operand: &Operand) -> Vec<usize> {
    operand.dimensions.iter().map(|d| *d as usize).collect()
}

/// Type and quantisation, without a shape.
fn kind(operand: &Operand) -> Result<Fact> {
    let plain = |dtype| Fact::new(dtype, &[]);
    let affine = |dtype| {
        let (scale, zero_point) = (vec![operand.scale], vec![operand.zero_point]);
        Fact::new(dtype, &[]).quantized(Quantization { scale, zero_point, axis: 0 })
    };
    Ok(match (operand.code, &operand.channels) {
        (operand::TENSOR_FLOAT32, _) => plain(DType::F32),
        (operand::TENSOR_FLOAT16, _) => plain(DType::F16),
        (operand::TENSOR_BOOL8, _) => plain(DType::Bool),
        (operand::TENSOR_INT32, _) if operand.scale > 0.0 => affine(DType::I32),
        (operand::TENSOR_INT32, _) => plain(DType::I32),
        (operand::TENSOR_QUANT8_ASYMM, _) => affine(DType::U8),
        (operand::TENSOR_QUANT8_ASYMM_SIGNED | operand::TENSOR_QUANT8_SYMM, _) => affine(DType::I8),
        (operand::TENSOR_QUANT16_SYMM, _) => affine(DType::I16),
        (operand::TENSOR_QUANT16_ASYMM, _) => affine(DType::U16),
        (operand::TENSOR_QUANT8_SYMM_PER_CHANNEL, Some(channels)) => {
            let (scale, axis) = (channels.scales.clone(), channels.dimension);
            let zero_point = vec![0; scale.len()];
            Fact { quant: Some(Arc::new(Quantization { scale, zero_point, axis })), ..plain(DType::I8) }
        }
        (code, _) => return Err(unsupported(format!("a tensor of code {code}"))),
    })
}

/// A dimension counted from the front.
fn axis(axis: i64, rank: usize) -> Result<usize> {
    let signed = i64::try_from(rank).unwrap_or(i64::MAX);
    let from_front = if axis < 0 { axis.saturating_add(signed) } else { axis };
    let inside = usize::try_from(from_front).ok().filter(|a| *a < rank);
    inside.ok_or_else(|| invalid(format!("dimension {axis} of {rank}")))
}

fn invalid(message: String) -> Error {
    Error::ModelInvalid(message)
}

fn unsupported(message: String) -> Error {
    Error::Unsupported(message)
}
