//! The messages of onnx.proto that an importer needs, borrowed from the file: model, graph, node, attribute,
//! value info, operator sets. Field numbers are those of onnx.proto (IR version 10).
//!
//! Says what the file says and no more: data types, shapes and operators are judged elsewhere. Tensors have
//! a module of their own. Attributes and subgraphs stay bytes until asked for.

use super::tensor::Tensor;
use super::wire::{Bytes, Field, PackedVarints, Value, WireError};
use thiserror::Error;

/// Nodes of one graph. The largest public exports have some ten thousand; an empty node costs two bytes in
/// the file and a hundred times that here.
pub(super) const MAX_NODES: usize = 200_000;
/// Initializers, inputs or outputs of one graph.
pub(super) const MAX_VALUES: usize = 200_000;
/// Inputs, outputs or attributes of one node.
pub(super) const MAX_PER_NODE: usize = 20_000;
/// Subgraphs inside subgraphs (`If`, `Loop`, `Scan` bodies).
pub(super) const MAX_DEPTH: usize = 16;

/// Why the bytes are not an ONNX model.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(super) enum ProtoError {
    /// The framing is broken.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// A model without a graph, which is also what most other files look like.
    #[error("the file holds no graph: not an ONNX model, or truncated")]
    NoGraph,
    /// More of something than any model needs.
    #[error("more than {limit} {what}")]
    TooMany {
        /// What is counted.
        what: &'static str,
        /// The limit.
        limit: usize,
    },
    /// Subgraphs nested too deep.
    #[error("subgraphs are nested deeper than {MAX_DEPTH}")]
    TooDeep,
}

impl From<ProtoError> for crate::Error {
    fn from(error: ProtoError) -> Self {
        Self::ModelInvalid(error.to_string())
    }
}

/// A whole file.
#[derive(Clone, Debug)]
pub(super) struct Model<'a> {
    /// Version of the file format.
    pub(super) ir_version: i64,
    /// Program that wrote the file, may be empty.
    pub(super) producer_name: &'a str,
    /// Its version, may be empty.
    pub(super) producer_version: &'a str,
    /// Operator sets by domain; the empty domain is ONNX itself.
    pub(super) opsets: Vec<(&'a str, i64)>,
    /// How many model-local functions the file defines.
    pub(super) functions: usize,
    /// The main graph.
    pub(super) graph: Graph<'a>,
}

/// A graph or subgraph.
#[derive(Clone, Debug, Default)]
pub(super) struct Graph<'a> {
    /// Nodes; a valid file has them in topological order.
    pub(super) nodes: Vec<Node<'a>>,
    /// Constants by name.
    pub(super) initializers: Vec<Tensor<'a>>,
    /// Constants in coordinate form, which no importer here reads.
    pub(super) sparse_initializers: usize,
    /// Inputs; before IR version 4 the initializers are among them.
    pub(super) inputs: Vec<ValueInfo<'a>>,
    /// Outputs.
    pub(super) outputs: Vec<ValueInfo<'a>>,
}

/// One operator call.
#[derive(Clone, Debug, Default)]
pub(super) struct Node<'a> {
    /// Names of values; an empty name is an optional input left out.
    pub(super) inputs: Vec<&'a str>,
    /// Names of values; an empty name is an output nobody wants.
    pub(super) outputs: Vec<&'a str>,
    /// May be empty.
    pub(super) name: &'a str,
    /// Operator.
    pub(super) op_type: &'a str,
    /// Operator's domain.
    pub(super) domain: &'a str,
    /// Attributes, unread.
    pub(super) attributes: Vec<Attribute<'a>>,
}

/// A named parameter of a node.
#[derive(Clone, Copy, Debug)]
pub(super) struct Attribute<'a> {
    /// Its name.
    pub(super) name: &'a str,
    bytes: Bytes<'a>,
}

/// Name, element type and shape of an input or output.
#[derive(Clone, Debug, Default)]
pub(super) struct ValueInfo<'a> {
    /// Name of the value.
    pub(super) name: &'a str,
    /// Element type by its number in onnx.proto, `None` for sequences, maps and optionals.
    pub(super) elem_type: Option<i32>,
    /// Dimensions, `None` where the file gives no shape at all.
    pub(super) shape: Option<Vec<Dim<'a>>>,
}

/// A dimension.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dim<'a> {
    /// Fixed.
    Value(i64),
    /// Open; the name may be empty.
    Param(&'a str),
}

impl<'a> Model<'a> {
    /// Reads a file.
    pub(super) fn parse(data: &'a [u8]) -> Result<Self, ProtoError> {
        const MESSAGE: &str = "ModelProto";
        let mut model = Self {
            ir_version: 0,
            producer_name: "",
            producer_version: "",
            opsets: Vec::new(),
            functions: 0,
            graph: Graph::default(),
        };
        let mut graph = None;
        for field in Bytes::file(data).fields() {
            let field = field?;
            match field.number {
                1 => model.ir_version = int(field, MESSAGE)?,
                2 => model.producer_name = text(field, MESSAGE)?,
                3 => model.producer_version = text(field, MESSAGE)?,
                7 => graph = Some(nested(field, MESSAGE)?),
                8 => push(&mut model.opsets, opset(nested(field, MESSAGE)?)?, "operator sets", MAX_PER_NODE)?,
                25 => model.functions += 1,
                _ => {}
            }
        }
        model.graph = Graph::parse(graph.ok_or(ProtoError::NoGraph)?)?;
        Ok(model)
    }

    /// Version of the operator set of `domain`.
    pub(super) fn opset(&self, domain: &str) -> Option<i64> {
        self.opsets.iter().find(|(name, _)| same_domain(name, domain)).map(|(_, version)| *version)
    }
}

/// The two spellings of ONNX's own domain are one.
pub(super) fn same_domain(a: &str, b: &str) -> bool {
    let canonical = |domain| if domain == "ai.onnx" { "" } else { domain };
    canonical(a) == canonical(b)
}

fn opset(bytes: Bytes<'_>) -> Result<(&str, i64), ProtoError> {
    const MESSAGE: &str = "OperatorSetIdProto";
    let mut opset = ("", 0);
    for field in bytes.fields() {
        let field = field?;
        match field.number {
            1 => opset.0 = text(field, MESSAGE)?,
            2 => opset.1 = int(field, MESSAGE)?,
            _ => {}
        }
    }
    Ok(opset)
}

impl<'a> Graph<'a> {
    fn parse(bytes: Bytes<'a>) -> Result<Self, ProtoError> {
        const MESSAGE: &str = "GraphProto";
        let mut graph = Self::default();
        for field in bytes.fields() {
            let field = field?;
            match field.number {
                1 => push(&mut graph.nodes, Node::parse(nested(field, MESSAGE)?)?, "nodes", MAX_NODES)?,
                5 => {
                    let tensor = Tensor::parse(nested(field, MESSAGE)?)?;
                    push(&mut graph.initializers, tensor, "initializers", MAX_VALUES)?;
                }
                11 => {
                    let input = ValueInfo::parse(nested(field, MESSAGE)?)?;
                    push(&mut graph.inputs, input, "graph inputs", MAX_VALUES)?;
                }
                12 => {
                    let output = ValueInfo::parse(nested(field, MESSAGE)?)?;
                    push(&mut graph.outputs, output, "graph outputs", MAX_VALUES)?;
                }
                15 => graph.sparse_initializers += 1,
                _ => {}
            }
        }
        Ok(graph)
    }
}

impl<'a> Node<'a> {
    fn parse(bytes: Bytes<'a>) -> Result<Self, ProtoError> {
        const MESSAGE: &str = "NodeProto";
        let mut node = Self::default();
        for field in bytes.fields() {
            let field = field?;
            match field.number {
                1 => push(&mut node.inputs, text(field, MESSAGE)?, "inputs of one node", MAX_PER_NODE)?,
                2 => push(&mut node.outputs, text(field, MESSAGE)?, "outputs of one node", MAX_PER_NODE)?,
                3 => node.name = text(field, MESSAGE)?,
                4 => node.op_type = text(field, MESSAGE)?,
                5 => {
                    let attribute = Attribute::parse(nested(field, MESSAGE)?)?;
                    push(&mut node.attributes, attribute, "attributes of one node", MAX_PER_NODE)?;
                }
                7 => node.domain = text(field, MESSAGE)?,
                _ => {}
            }
        }
        Ok(node)
    }

    /// The attribute called `name`.
    pub(super) fn attribute(&self, name: &str) -> Option<Attribute<'a>> {
        self.attributes.iter().find(|attribute| attribute.name == name).copied()
    }

    /// How messages call the node: its name, else its first output.
    pub(super) fn label(&self) -> &'a str {
        let output = self.outputs.iter().find(|output| !output.is_empty());
        if self.name.is_empty() { output.copied().unwrap_or("unnamed") } else { self.name }
    }
}

impl<'a> Attribute<'a> {
    const MESSAGE: &'static str = "AttributeProto";

    fn parse(bytes: Bytes<'a>) -> Result<Self, ProtoError> {
        let mut name = "";
        for field in bytes.fields() {
            let field = field?;
            if field.number == 1 {
                name = text(field, Self::MESSAGE)?;
            }
        }
        Ok(Self { name, bytes })
    }

    /// The integer, if it holds one.
    pub(super) fn int(&self) -> Result<Option<i64>, ProtoError> {
        self.last(3, int)
    }

    /// The real number, if it holds one.
    pub(super) fn float(&self) -> Result<Option<f32>, ProtoError> {
        self.last(2, |field, message| match field.value {
            Value::Fixed32(bits) => Ok(f32::from_bits(bits)),
            _ => Err(mismatch(field, message)),
        })
    }

    /// The text, if it holds one.
    pub(super) fn text(&self) -> Result<Option<&'a str>, ProtoError> {
        self.last(4, text)
    }

    /// The tensor, if it holds one.
    pub(super) fn tensor(&self) -> Result<Option<Tensor<'a>>, ProtoError> {
        self.last(5, nested)?.map(Tensor::parse).transpose()
    }

    /// The integers it holds.
    pub(super) fn ints(&self) -> Result<Vec<i64>, ProtoError> {
        let mut all = Vec::new();
        for field in self.bytes.fields() {
            let field = field?;
            if field.number == 8 {
                push_ints(field, Self::MESSAGE, &mut all)?;
            }
        }
        Ok(all)
    }

    /// The texts it holds.
    pub(super) fn texts(&self) -> Result<Vec<&'a str>, ProtoError> {
        let mut all = Vec::new();
        for field in self.bytes.fields() {
            let field = field?;
            if field.number == 9 {
                push(&mut all, text(field, Self::MESSAGE)?, "texts", MAX_PER_NODE)?;
            }
        }
        Ok(all)
    }

    /// The real numbers it holds.
    pub(super) fn floats(&self) -> Result<Vec<f32>, ProtoError> {
        let mut all = Vec::new();
        for field in self.bytes.fields() {
            let field = field?;
            match field.value {
                _ if field.number != 7 => {}
                Value::Fixed32(bits) => all.push(f32::from_bits(bits)),
                Value::Bytes(packed) if packed.data.len() % 4 == 0 => {
                    all.extend(packed.data.as_chunks().0.iter().map(|bits| f32::from_le_bytes(*bits)));
                }
                _ => return Err(mismatch(field, Self::MESSAGE).into()),
            }
        }
        Ok(all)
    }

    /// The subgraphs it holds. `depth` counts the graphs around them, the main graph being 0.
    pub(super) fn graphs(&self, depth: usize) -> Result<Vec<Graph<'a>>, ProtoError> {
        let mut all = Vec::new();
        for field in self.bytes.fields() {
            let field = field?;
            if matches!(field.number, 6 | 11) {
                if depth >= MAX_DEPTH {
                    return Err(ProtoError::TooDeep);
                }
                push(&mut all, Graph::parse(nested(field, Self::MESSAGE)?)?, "subgraphs", MAX_PER_NODE)?;
            }
        }
        Ok(all)
    }

    fn last<T>(
        &self,
        number: u32,
        read: impl Fn(Field<'a>, &'static str) -> Result<T, WireError>,
    ) -> Result<Option<T>, ProtoError> {
        let mut found = None;
        for field in self.bytes.fields() {
            let field = field?;
            if field.number == number {
                found = Some(read(field, Self::MESSAGE)?);
            }
        }
        Ok(found)
    }
}

impl<'a> ValueInfo<'a> {
    fn parse(bytes: Bytes<'a>) -> Result<Self, ProtoError> {
        const MESSAGE: &str = "ValueInfoProto";
        let mut info = Self::default();
        for field in bytes.fields() {
            let field = field?;
            match field.number {
                1 => info.name = text(field, MESSAGE)?,
                2 => info.read_type(nested(field, MESSAGE)?)?,
                _ => {}
            }
        }
        Ok(info)
    }

    /// TypeProto, then TypeProto.Tensor.
    fn read_type(&mut self, bytes: Bytes<'a>) -> Result<(), ProtoError> {
        const MESSAGE: &str = "TypeProto";
        for field in bytes.fields() {
            let field = field?;
            if field.number != 1 {
                continue;
            }
            for field in nested(field, MESSAGE)?.fields() {
                let field = field?;
                match field.number {
                    1 => self.elem_type = i32::try_from(int(field, MESSAGE)?).ok(),
                    2 => self.shape = Some(dims(nested(field, MESSAGE)?)?),
                    _ => {}
                }
            }
        }
        Ok(())
    }
}

/// TensorShapeProto.
fn dims(bytes: Bytes<'_>) -> Result<Vec<Dim<'_>>, ProtoError> {
    const MESSAGE: &str = "TensorShapeProto";
    let mut dims = Vec::new();
    for field in bytes.fields() {
        let field = field?;
        if field.number != 1 {
            continue;
        }
        let mut dim = Dim::Param("");
        for field in nested(field, MESSAGE)?.fields() {
            let field = field?;
            match field.number {
                1 => dim = Dim::Value(int(field, MESSAGE)?),
                2 => dim = Dim::Param(text(field, MESSAGE)?),
                _ => {}
            }
        }
        push(&mut dims, dim, "dimensions", MAX_PER_NODE)?;
    }
    Ok(dims)
}

fn push<T>(all: &mut Vec<T>, item: T, what: &'static str, limit: usize) -> Result<(), ProtoError> {
    if all.len() >= limit {
        return Err(ProtoError::TooMany { what, limit });
    }
    all.push(item);
    Ok(())
}

fn mismatch(field: Field<'_>, message: &'static str) -> WireError {
    WireError::Mismatch { message, number: field.number }
}

/// A singular integer field.
pub(super) fn int(field: Field<'_>, message: &'static str) -> Result<i64, WireError> {
    match field.value {
        Value::Varint(value) => Ok(value as i64),
        _ => Err(mismatch(field, message)),
    }
}

/// One field of a repeated integer, packed or not.
pub(super) fn push_ints(
    field: Field<'_>,
    message: &'static str,
    all: &mut Vec<i64>,
) -> Result<(), WireError> {
    match field.value {
        Value::Varint(value) => all.push(value as i64),
        Value::Bytes(packed) => {
            for value in PackedVarints::new(packed) {
                all.push(value? as i64);
            }
        }
        _ => return Err(mismatch(field, message)),
    }
    Ok(())
}

/// A nested message or bytes.
pub(super) fn nested<'a>(field: Field<'a>, message: &'static str) -> Result<Bytes<'a>, WireError> {
    match field.value {
        Value::Bytes(bytes) => Ok(bytes),
        _ => Err(mismatch(field, message)),
    }
}

/// A text field.
pub(super) fn text<'a>(field: Field<'a>, message: &'static str) -> Result<&'a str, WireError> {
    let bytes = nested(field, message)?;
    std::str::from_utf8(bytes.data).map_err(|_| WireError::Text { message, number: field.number })
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Message, model, node};
    use super::*;

    #[test]
    fn reads_a_model() {
        let attribute = Message::new().text(1, "axis").int(3, -1).int(20, 2);
        let graph = Message::new()
            .nested(1, node("Softmax", &["x"], &["y"]).text(3, "sm").nested(5, attribute))
            .nested(11, value_info("x", 1, &[Some(1), None]))
            .nested(12, value_info("y", 1, &[Some(1), Some(4)]));
        let bytes = model(17, graph);
        let model = Model::parse(&bytes).unwrap();
        assert_eq!((model.ir_version, model.opset("ai.onnx")), (8, Some(17)));
        let node = &model.graph.nodes[0];
        assert_eq!((node.op_type, node.label(), node.inputs[0]), ("Softmax", "sm", "x"));
        assert_eq!(node.attribute("axis").unwrap().int(), Ok(Some(-1)));
        assert!(node.attribute("none").is_none());
        let input = &model.graph.inputs[0];
        assert_eq!(input.elem_type, Some(1));
        assert_eq!(input.shape.as_deref(), Some(&[Dim::Value(1), Dim::Param("n")][..]));
    }

    fn value_info(name: &str, elem_type: i64, shape: &[Option<i64>]) -> Message {
        super::super::testing::value_info(name, elem_type, shape)
    }

    #[test]
    fn packed_and_unpacked_numbers_are_the_same() {
        let packed = Message::new().text(1, "p").bytes(8, &[1, 2, 3]);
        let single = Message::new().text(1, "p").int(8, 1).int(8, 2).int(8, 3);
        for message in [packed, single] {
            let bytes = message.into_bytes();
            let attribute = Attribute::parse(Bytes::file(&bytes)).unwrap();
            assert_eq!(attribute.ints(), Ok(vec![1, 2, 3]));
        }
    }

    #[test]
    fn says_what_is_wrong() {
        assert_eq!(Model::parse(&[]).unwrap_err(), ProtoError::NoGraph);
        let bytes = Message::new().int(7, 1).into_bytes();
        let wrong = WireError::Mismatch { message: "ModelProto", number: 7 };
        assert_eq!(Model::parse(&bytes).unwrap_err(), ProtoError::Wire(wrong));
        let bytes = model(17, Message::new().bytes(2, b"").nested(1, Message::new().bytes(4, &[0xff])));
        let text = WireError::Text { message: "NodeProto", number: 4 };
        assert_eq!(Model::parse(&bytes).unwrap_err(), ProtoError::Wire(text));
    }

    #[test]
    fn counts_and_depth_are_bounded() {
        let mut graph = Message::new();
        for _ in 0..=MAX_PER_NODE {
            graph = graph.bytes(1, b"");
        }
        let crowded = Message::new().nested(1, graph);
        let bytes = model(17, crowded);
        assert!(matches!(Model::parse(&bytes).unwrap_err(), ProtoError::TooMany { .. }));
        let attribute = Message::new().text(1, "body").nested(6, Message::new()).into_bytes();
        let attribute = Attribute::parse(Bytes::file(&attribute)).unwrap();
        assert_eq!(attribute.graphs(0).unwrap().len(), 1);
        assert_eq!(attribute.graphs(MAX_DEPTH).unwrap_err(), ProtoError::TooDeep);
    }
}
