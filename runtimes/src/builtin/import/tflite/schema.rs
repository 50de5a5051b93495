//! The TFLite schema (version 3) as plain structs over the file's bytes, with every index checked
//! against what it points into and every count bounded. Field numbers are the schema's slots.
//! Gives no meaning to operators: that is `options` and the importer.

use super::flat::{Malformed, Table, Tables, Vector};
use super::opcodes::{TensorType, operator_name};
use crate::Error;
use std::borrow::Cow;

/// The schema version that this reader knows; every file since 2017 states it.
const SCHEMA_VERSION: u32 = 3;
/// Most entries of any of the model's lists. The largest published models have some ten thousand
/// tensors; without a limit a small file could share one entry a million times.
const MAX_ENTRIES: usize = 1 << 16;
/// Most dimensions of a tensor.
const MAX_RANK: usize = 8;
/// Most operands of all operators together.
const MAX_OPERANDS: usize = 1 << 19;
/// Intermediate tensors of one operator: LSTMs have five.
const MAX_INTERMEDIATES: usize = 8;
/// Names are cut here: they are for people.
const MAX_NAME_BYTES: usize = 512;
/// The first bytes of a buffer that mean "nothing here": index 0 is empty by definition.
const NO_BUFFER: usize = 0;

impl From<Malformed> for Error {
    fn from(m: Malformed) -> Self {
        Self::ModelInvalid(m.to_string())
    }
}

/// A whole file.
#[derive(Debug)]
pub(crate) struct Model<'a> {
    /// What wrote it, in its own words; often empty.
    pub(crate) description: Cow<'a, str>,
    /// The runtime version that the converter asked for, when it said so.
    pub(crate) min_runtime_version: Option<String>,
    /// Kinds of operators that occur.
    pub(crate) opcodes: Vec<OpCode<'a>>,
    /// The first one is the model; others are bodies of control flow or further signatures.
    pub(crate) subgraphs: Vec<SubGraph<'a>>,
    /// Constant data, by index.
    buffers: Vec<&'a [u8]>,
}

/// A kind of operator.
#[derive(Debug)]
pub(crate) struct OpCode<'a> {
    /// The schema's code.
    pub(crate) code: i32,
    /// Name of a custom operator.
    pub(crate) custom: Option<Cow<'a, str>>,
}

/// A graph. All indices in it are valid.
#[derive(Debug)]
pub(crate) struct SubGraph<'a> {
    /// Tensors, referred to by index.
    pub(crate) tensors: Vec<Tensor<'a>>,
    /// Indices of inputs.
    pub(crate) inputs: Vec<usize>,
    /// Indices of outputs.
    pub(crate) outputs: Vec<usize>,
    /// In execution order.
    pub(crate) operators: Vec<Operator<'a>>,
}

/// A tensor's description.
#[derive(Debug)]
pub(crate) struct Tensor<'a> {
    /// Name in the file.
    pub(crate) name: Cow<'a, str>,
    /// Dimensions with open ones as 1.
    pub(crate) shape: Vec<usize>,
    /// Dimensions with `None` for open ones.
    pub(crate) signature: Vec<Option<usize>>,
    /// Element type.
    pub(crate) kind: TensorType,
    /// Index into the model's buffers.
    buffer: usize,
    /// Present when it has a scale.
    pub(crate) quantization: Option<Quantization<'a>>,
    /// Keeps its contents between invokes.
    pub(crate) is_variable: bool,
    /// Present when the constant data is stored sparse.
    pub(crate) sparsity: Option<Table<'a>>,
}

/// Affine quantisation as stored.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Quantization<'a> {
    /// One or more scales.
    pub(crate) scale: Vector<'a, f32>,
    /// As many zero points, or none for all zero.
    pub(crate) zero_point: Vector<'a, i64>,
    /// The dimension that the scales run along.
    pub(crate) axis: usize,
}

/// A node.
#[derive(Debug)]
pub(crate) struct Operator<'a> {
    /// Index into [`Model::opcodes`].
    pub(crate) opcode: usize,
    /// Tensor indices; `None` is an optional input left out.
    pub(crate) inputs: Vec<Option<usize>>,
    /// Tensor indices.
    pub(crate) outputs: Vec<usize>,
    /// Kind of `options` (the schema's union type).
    pub(crate) options_type: u8,
    /// Attributes.
    pub(crate) options: Table<'a>,
    /// Which kind of table [`Operator::options_2`] is.
    pub(crate) options_2_type: u8,
    /// Attributes of newer operators.
    pub(crate) options_2: Table<'a>,
    /// Attributes of a custom operator, in its own format.
    pub(crate) custom_options: &'a [u8],
    /// Tensors that only describe how the operator computes.
    pub(crate) intermediates: Vec<usize>,
}

impl<'a> Model<'a> {
    /// Reads the structure of a file.
    ///
    /// # Errors
    /// It is not a TFLite file, or damaged, or beyond the limits above.
    pub(crate) fn read(file: &'a [u8]) -> Result<Self, Error> {
        if !is_tflite(file) {
            return Err(invalid("not a TFLite file (no TFL3 at byte 4)".to_owned()));
        }
        let root = Table::root(file)?;
        let version = root.scalar(0, 0u32)?;
        if version != SCHEMA_VERSION {
            return Err(Error::Unsupported(format!(
                "TFLite schema version {version}; this reader knows {SCHEMA_VERSION}"
            )));
        }
        let opcodes = list(root.tables(1)?, "operator codes")?
            .map(|t| OpCode::read(t?))
            .collect::<Result<Vec<_>, _>>()?;
        let buffers =
            list(root.tables(4)?, "buffers")?.map(|t| buffer(file, t?)).collect::<Result<Vec<_>, _>>()?;
        let mut operands = 0;
        let subgraphs = list(root.tables(2)?, "subgraphs")?
            .map(|t| SubGraph::read(t?, opcodes.len(), buffers.len(), &mut operands))
            .collect::<Result<Vec<_>, _>>()?;
        if subgraphs.is_empty() {
            return Err(invalid("no subgraph in the file".to_owned()));
        }
        let description = text(root.bytes(3)?);
        let min_runtime_version = min_runtime_version(&root, &buffers)?;
        Ok(Self { description, min_runtime_version, opcodes, subgraphs, buffers })
    }

    /// Constant bytes of a tensor, `None` when it is computed.
    pub(crate) fn data(&self, tensor: &Tensor<'_>) -> Option<&'a [u8]> {
        let bytes = self.buffers.get(tensor.buffer).copied()?;
        (tensor.buffer != NO_BUFFER && !bytes.is_empty()).then_some(bytes)
    }

    /// Index of the buffer behind a tensor: tensors that share one share their data.
    pub(crate) fn buffer_index(tensor: &Tensor<'_>) -> usize {
        tensor.buffer
    }

    /// Name of a node's operator, as in [`operator_name`].
    pub(crate) fn operator_name(&self, operator: &Operator<'_>) -> String {
        let code = self.opcodes.get(operator.opcode);
        code.map_or_else(String::new, |c| operator_name(c.code, c.custom.as_deref()))
    }
}

impl<'a> OpCode<'a> {
    fn read(t: Table<'a>) -> Result<Self, Error> {
        // Codes above 127 did not fit the first field: files carry the larger of the two.
        let code = i32::from(t.scalar(0, 0i8)?).max(t.scalar(3, 0i32)?);
        Ok(Self { code, custom: t.bytes(1)?.map(|b| text(Some(b))) })
    }
}

impl<'a> SubGraph<'a> {
    fn read(t: Table<'a>, opcodes: usize, buffers: usize, operands: &mut usize) -> Result<Self, Error> {
        let tensors: Vec<Tensor<'a>> =
            list(t.tables(0)?, "tensors")?.map(|t| Tensor::read(t?, buffers)).collect::<Result<_, _>>()?;
        let ids = |v: Vector<'a, i32>, what: &str| -> Result<Vec<usize>, Error> {
            counted(v.len(), what)?;
            v.iter().map(|i| index(i, tensors.len(), what)).collect()
        };
        let (inputs, outputs) = (ids(t.vector(1)?, "graph input")?, ids(t.vector(2)?, "graph output")?);
        let operators = list(t.tables(3)?, "operators")?
            .map(|t| Operator::read(t?, opcodes, tensors.len(), operands))
            .collect::<Result<_, _>>()?;
        Ok(Self { tensors, inputs, outputs, operators })
    }
}

impl<'a> Tensor<'a> {
    fn read(t: Table<'a>, buffers: usize) -> Result<Self, Error> {
        let name = text(t.bytes(3)?);
        let shape = dims(t.vector(0)?, &name)?;
        let stated = dims(t.vector(7)?, &name)?;
        let signature = if stated.len() == shape.len() { stated } else { shape.clone() };
        let shape = shape.into_iter().map(|d| d.unwrap_or(1)).collect();
        let buffer = usize::try_from(t.scalar(2, 0u32)?).unwrap_or(usize::MAX);
        if buffer >= buffers.max(1) {
            return Err(invalid(format!("tensor {name:?} refers to buffer {buffer}, there are {buffers}")));
        }
        if t.scalar(10, 0u32)? != 0 {
            return Err(Error::Unsupported(format!("tensor {name:?} keeps its data in another file")));
        }
        let quantization = t.table(4)?.map_or(Ok(None), |q| Quantization::read(q, &name))?;
        let (kind, is_variable) = (TensorType(t.scalar(1, 0)?), t.flag(5, false)?);
        Ok(Self { name, shape, signature, kind, buffer, quantization, is_variable, sparsity: t.table(6)? })
    }
}

impl<'a> Quantization<'a> {
    fn read(t: Table<'a>, tensor: &str) -> Result<Option<Self>, Error> {
        let (scale, zero_point) = (t.vector(2)?, t.vector(3)?);
        if scale.is_empty() {
            return Ok(None);
        }
        if !(zero_point.is_empty() || zero_point.len() == 1 || zero_point.len() == scale.len()) {
            let (s, z) = (scale.len(), zero_point.len());
            return Err(invalid(format!("tensor {tensor:?} has {s} scales and {z} zero points")));
        }
        let axis = usize::try_from(t.scalar(6, 0i32)?);
        let axis =
            axis.map_err(|_| invalid(format!("tensor {tensor:?} has a negative quantised dimension")))?;
        Ok(Some(Self { scale, zero_point, axis }))
    }
}

impl<'a> Operator<'a> {
    fn read(t: Table<'a>, opcodes: usize, tensors: usize, operands: &mut usize) -> Result<Self, Error> {
        let opcode = usize::try_from(t.scalar(0, 0u32)?).unwrap_or(usize::MAX);
        if opcode >= opcodes {
            return Err(invalid(format!("an operator refers to code {opcode}, there are {opcodes}")));
        }
        let (ins, outs) = (t.vector::<i32>(1)?, t.vector::<i32>(2)?);
        *operands += ins.len() + outs.len();
        if *operands > MAX_OPERANDS {
            return Err(Error::Unsupported(format!("more than {MAX_OPERANDS} operands in one model")));
        }
        let optional = |i: i32| if i < 0 { Ok(None) } else { index(i, tensors, "operator input").map(Some) };
        let inputs = ins.iter().map(optional).collect::<Result<_, _>>()?;
        let outputs = outs.iter().map(|i| index(i, tensors, "operator output")).collect::<Result<_, _>>()?;
        // A file uses one of the two unions; the second holds what `options_type` cannot number.
        let options_type = t.scalar(3, 0u8)?;
        let options = t.table(4)?.unwrap_or(Table::EMPTY);
        let options_2_type = t.scalar(11, 0u8)?;
        let options_2 = t.table(12)?.unwrap_or(Table::EMPTY);
        let custom_options = t.bytes(5)?.unwrap_or_default();
        let between = t.vector::<i32>(8)?.iter().take(MAX_INTERMEDIATES);
        let intermediates = between.map(|i| index(i, tensors, "intermediate")).collect::<Result<_, _>>()?;
        Ok(Self {
            opcode,
            inputs,
            outputs,
            options_type,
            options,
            options_2_type,
            options_2,
            custom_options,
            intermediates,
        })
    }
}

/// Whether the bytes carry the mark of a TFLite file.
pub(crate) fn is_tflite(file: &[u8]) -> bool {
    file.get(4..8) == Some(b"TFL3")
}

/// The data of a buffer: inside the tree, or, in files above 2 GB, behind it by offset and size.
fn buffer<'a>(file: &'a [u8], t: Table<'a>) -> Result<&'a [u8], Error> {
    let (offset, size) = (t.scalar(1, 0u64)?, t.scalar(2, 0u64)?);
    if offset <= 1 {
        return Ok(t.bytes(0)?.unwrap_or_default());
    }
    let range = usize::try_from(offset).ok().zip(usize::try_from(size).ok());
    let range = range.and_then(|(at, n)| Some(at..at.checked_add(n)?));
    range.and_then(|r| file.get(r)).ok_or_else(|| {
        invalid(format!("a buffer of {size} bytes at {offset} lies outside the file of {} bytes", file.len()))
    })
}

/// The converter's note of the oldest runtime that can run the file.
fn min_runtime_version(root: &Table<'_>, buffers: &[&[u8]]) -> Result<Option<String>, Error> {
    for entry in list(root.tables(6)?, "metadata entries")? {
        let entry = entry?;
        if entry.bytes(0)? == Some(b"min_runtime_version") {
            let index = usize::try_from(entry.scalar(1, 0u32)?).ok();
            let bytes = index.and_then(|i| buffers.get(i).copied());
            let version = text(bytes).trim_end_matches('\0').to_owned();
            return Ok((!version.is_empty()).then_some(version));
        }
    }
    Ok(None)
}

/// Dimensions, `None` for the open ones (-1).
fn dims(v: Vector<'_, i32>, tensor: &str) -> Result<Vec<Option<usize>>, Error> {
    if v.len() > MAX_RANK {
        let n = v.len();
        return Err(Error::Unsupported(format!(
            "tensor {tensor:?} has {n} dimensions; the most is {MAX_RANK}"
        )));
    }
    let dim = |d: i32| match d {
        -1 => Ok(None),
        d => {
            usize::try_from(d).map(Some).map_err(|_| invalid(format!("tensor {tensor:?} has dimension {d}")))
        }
    };
    v.iter().map(dim).collect()
}

/// `i` as an index below `len`.
fn index(i: i32, len: usize, what: &str) -> Result<usize, Error> {
    let i = usize::try_from(i).ok().filter(|i| *i < len);
    i.ok_or_else(|| invalid(format!("{what} refers to a tensor that is not there ({len} tensors)")))
}

/// The tables of a list within [`MAX_ENTRIES`].
fn list<'a>(
    tables: Tables<'a>,
    what: &str,
) -> Result<impl Iterator<Item = Result<Table<'a>, Malformed>> + use<'a>, Error> {
    counted(tables.len(), what)?;
    Ok(tables.iter())
}

fn counted(count: usize, what: &str) -> Result<(), Error> {
    if count > MAX_ENTRIES {
        return Err(Error::Unsupported(format!("{count} {what}; the most is {MAX_ENTRIES}")));
    }
    Ok(())
}

/// Text for people: cut, and with replacement characters where it is not UTF-8.
fn text(bytes: Option<&[u8]>) -> Cow<'_, str> {
    let bytes = bytes.unwrap_or_default();
    String::from_utf8_lossy(bytes.get(..MAX_NAME_BYTES).unwrap_or(bytes))
}

fn invalid(message: String) -> Error {
    Error::ModelInvalid(message)
}
