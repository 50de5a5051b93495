//! From the nodes of an ONNX graph to nodes of ours, one after the other.
//!
//! A plain translation: every value keeps its name and the layout the file gives it, convolutions stand between
//! transposes, quantisation and dequantisation are nodes. Nothing is fused here except what has no other form
//! in the graph (dynamic quantisation); the passes do the rest. 16-bit floats are calculated as f32.

use super::call::Call;
use super::external::ExternalData;
use super::ops;
use super::proto::{Dim, Graph as OnnxGraph, Model, Node, ValueInfo, same_domain};
use super::tensor::{Tensor as OnnxTensor, element_type, element_type_name};
use crate::builtin::graph::{Fact, Graph, ValueId};
use crate::builtin::import::{Built, Fixed};
use crate::builtin::ops::{Cast, Dialect};
use crate::builtin::tensor::Tensor;
use crate::{Error, Result};
use protocol::{DType, ModelFacts, TensorInfo};
use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

/// Versions of ONNX's own operators that are understood. Before 7, broadcasting worked otherwise.
const OPSETS: std::ops::RangeInclusive<i64> = 7..=25;

/// What is known while the nodes of one graph are read.
pub(super) struct Importer<'a> {
    /// The graph so far.
    pub(super) graph: Graph,
    /// Version of ONNX's own operators.
    pub(super) opset: i64,
    /// Graphs around the one being read.
    pub(super) depth: usize,
    external: &'a ExternalData,
    keep: &'a [String],
    /// Inputs on whose values something depends that must be known here.
    needed: RefCell<BTreeSet<usize>>,
    /// Place of every input that is not fixed.
    places: HashMap<ValueId, usize>,
    values: HashMap<&'a str, ValueId>,
    /// Names defined by the graph being read.
    scope: Vec<&'a str>,
    fused: HashSet<&'a str>,
    /// Nodes read so far, of subgraphs as often as they are read.
    read: usize,
}

/// Nodes that may be read, loops unrolled.
const MAX_READ: usize = 500_000;

/// What a graph is built for.
#[derive(Clone, Copy)]
pub(super) struct Given<'a> {
    /// One shape per input.
    pub(super) shapes: Option<&'a [Vec<usize>]>,
    /// Values of some inputs.
    pub(super) fixed: &'a Fixed,
    /// Tensors that must not be fused away.
    pub(super) keep: &'a [String],
}

/// Builds the graph of a file, or says which inputs' values it depends on.
///
/// # Errors
/// What is not supported or not valid, by operator and node.
pub(super) fn import(
    data: &[u8],
    external: &ExternalData,
    facts: &ModelFacts,
    given: Given<'_>,
) -> Result<Built> {
    let model = Model::parse(data)?;
    check_opsets(&model)?;
    if model.functions > 0 {
        return Err(Error::Unsupported("functions defined in the model itself".to_owned()));
    }
    let mut importer = Importer {
        graph: Graph::with_dialect(Dialect::Onnx),
        opset: model.opset("").unwrap_or(*OPSETS.end()),
        depth: 0,
        external,
        keep: given.keep,
        needed: RefCell::default(),
        places: HashMap::new(),
        values: HashMap::new(),
        scope: Vec::new(),
        fused: HashSet::new(),
        read: 0,
    };
    match importer.all(&model.graph, &facts.inputs, given) {
        Ok(()) => Ok(Built::Graph(importer.graph)),
        Err(error) => {
            let needed: Vec<usize> = importer.needed.into_inner().into_iter().collect();
            if needed.is_empty() { Err(error) } else { Ok(Built::Depends(needed, error)) }
        }
    }
}

fn check_opsets(model: &Model<'_>) -> Result<()> {
    let version = model.opset("").unwrap_or(*OPSETS.end());
    let old = |node: &Node<'_>| same_domain(node.domain, "") && ops::UNCHANGED.contains(&node.op_type);
    if OPSETS.contains(&version) || version > 0 && version < 7 && model.graph.nodes.iter().all(old) {
        return Ok(());
    }
    let (first, last) = (OPSETS.start(), OPSETS.end());
    Err(Error::Unsupported(format!("opset {version}; {first} to {last} are understood: convert the model")))
}

impl<'a> Importer<'a> {
    fn all(&mut self, graph: &OnnxGraph<'a>, facts: &[TensorInfo], given: Given<'_>) -> Result<()> {
        self.constants(graph)?;
        self.inputs(graph, facts, given)?;
        self.nodes(graph)?;
        self.outputs(graph)
    }

    /// The constants of a graph, by name.
    pub(super) fn constants(&mut self, graph: &OnnxGraph<'a>) -> Result<()> {
        if graph.sparse_initializers > 0 {
            return Err(Error::Unsupported("sparse initializers".to_owned()));
        }
        for initializer in &graph.initializers {
            let tensor = self.read(initializer)?;
            let value = self.graph.constant(initializer.name, tensor, None)?;
            self.define(initializer.name, value)?;
        }
        Ok(())
    }

    /// A constant of the file; 16-bit floats become f32.
    pub(super) fn read(&self, tensor: &OnnxTensor<'a>) -> Result<Tensor> {
        let shape = tensor.shape()?;
        let read = Tensor::from_bytes(tensor.dtype()?, &shape, &tensor.data(self.external)?)?;
        if !matches!(read.dtype(), DType::F16 | DType::BF16) {
            return Ok(read);
        }
        let wide: Vec<f32> = read.to_f64()?.into_iter().map(|v| v as f32).collect();
        Tensor::from_elements(&shape, &wide)
    }

    fn inputs(&mut self, graph: &OnnxGraph<'a>, facts: &[TensorInfo], given: Given<'_>) -> Result<()> {
        let shapes = given.shapes;
        let fed: Vec<_> = graph.inputs.iter().filter(|info| !self.values.contains_key(info.name)).collect();
        if let Some(shapes) = shapes.filter(|shapes| shapes.len() != fed.len()) {
            let message = format!("{} input shapes for {} inputs", shapes.len(), fed.len());
            return Err(Error::InputMismatch(message));
        }
        for (index, info) in fed.into_iter().enumerate() {
            let place = || format!("input `{}`", info.name);
            let shape = shapes.and_then(|shapes| shapes.get(index));
            let fact = input_fact(info, shape.map(Vec::as_slice)).map_err(|e| e.at(&place()))?;
            if let Some(value) = given.fixed.get(&index) {
                let value = self.fixed_input(info.name, &fact, value).map_err(|e| e.at(&place()))?;
                self.define(info.name, value)?;
                continue;
            }
            let quant = facts.get(index).and_then(|info| info.quantization.clone());
            let fact = Fact { quant: quant.map(Arc::new), ..fact };
            let half = matches!(fact.dtype, DType::F16 | DType::BF16);
            let mut value = self.graph.input(info.name, fact)?;
            self.places.insert(value, index);
            if half {
                value = self.graph.add(&self.inner_name(info.name), Cast { to: DType::F32 }, &[value])?;
            }
            self.define(info.name, value)?;
        }
        Ok(())
    }

    /// An input as a constant; 16-bit floats become f32.
    fn fixed_input(&mut self, name: &str, fact: &Fact, value: &Tensor) -> Result<ValueId> {
        if value.dtype() != fact.dtype || value.shape() != fact.shape {
            let message = format!("{} {:?} for one that is {}", value.dtype(), value.shape(), fact.dtype);
            return Err(Error::InputMismatch(message));
        }
        let constant = self.graph.constant(name, value.clone(), None)?;
        match value.dtype() {
            DType::F16 | DType::BF16 => self.graph.add(name, Cast { to: DType::F32 }, &[constant]),
            _ => Ok(constant),
        }
    }

    /// Remembers which inputs a value is computed from: their values decide what the graph is.
    pub(super) fn need(&self, value: ValueId) {
        let (mut queue, mut seen) = (vec![value], HashSet::new());
        while let Some(value) = queue.pop() {
            if let Some(place) = self.places.get(&value) {
                self.needed.borrow_mut().insert(*place);
            }
            if let Some((_, node)) = self.graph.producer(value).filter(|(id, _)| seen.insert(*id)) {
                queue.extend(&node.inputs);
            }
        }
    }

    /// Adds every node of a graph.
    pub(super) fn nodes(&mut self, graph: &OnnxGraph<'a>) -> Result<()> {
        let readers = ops::dynamic::Readers::new(graph);
        for (index, node) in graph.nodes.iter().enumerate() {
            let place = || format!("{} `{}`", node.qualified_op(), node.label());
            if node.outputs.iter().any(|output| self.fused.contains(output)) {
                continue;
            }
            if let Some(fused) = ops::dynamic::fuse(self, &readers, index).map_err(|e| e.at(&place()))? {
                self.fused.extend(fused);
                continue;
            }
            self.node(node).map_err(|e| e.at(&place()))?;
        }
        Ok(())
    }

    /// Counts a node, or a turn of a loop.
    pub(super) fn count(&mut self) -> Result<()> {
        self.read += 1;
        if self.read > MAX_READ {
            return Err(Error::Unsupported(format!("more than {MAX_READ} nodes when loops are unrolled")));
        }
        Ok(())
    }

    fn node(&mut self, node: &Node<'a>) -> Result<()> {
        self.count()?;
        let import = ops::find(node).ok_or_else(|| {
            let known = same_domain(node.domain, "") || node.domain == "com.microsoft";
            let hint = if known { "" } else { " (an operator of a domain of its own)" };
            Error::Unsupported(format!("this operator{hint}"))
        })?;
        if !ops::AWARE.contains(&node.op_type) && node.inputs.iter().any(|input| self.is_quantized(input)) {
            return Err(Error::Unsupported("quantised integers taken as plain numbers".to_owned()));
        }
        let mut call = Call::new(self, node);
        import(&mut call)?;
        call.check_attributes()
    }

    fn is_quantized(&self, name: &str) -> bool {
        self.values.get(name).is_some_and(|value| self.graph.fact(*value).quant.is_some())
    }

    fn outputs(&mut self, graph: &OnnxGraph<'a>) -> Result<()> {
        for info in &graph.outputs {
            let value = self.output(info).map_err(|e| e.at(&format!("output `{}`", info.name)))?;
            self.graph.output(value);
        }
        Ok(())
    }

    /// An output under its own name and in its own type.
    fn output(&mut self, info: &ValueInfo<'a>) -> Result<ValueId> {
        let value = self.value(info.name)?;
        let declared = declared_type(info)?;
        let dtype = self.graph.fact(value).dtype;
        if dtype == DType::F32 && matches!(declared, DType::F16 | DType::BF16) {
            return self.graph.add(info.name, Cast { to: declared }, &[value]);
        }
        if dtype != declared {
            return Err(Error::ModelInvalid(format!("declared as {declared}, but its node gives {dtype}")));
        }
        if self.graph.get(value).name == info.name {
            return Ok(value);
        }
        let shape = self.graph.shape(value).to_vec();
        self.graph.add(info.name, crate::builtin::ops::Reshape { shape }, &[value])
    }

    /// The value of that name.
    pub(super) fn value(&self, name: &str) -> Result<ValueId> {
        let missing = || Error::ModelInvalid(format!("`{name}` is read before any node writes it"));
        self.values.get(name).copied().ok_or_else(missing)
    }

    /// Gives a value its name.
    pub(super) fn define(&mut self, name: &'a str, value: ValueId) -> Result<()> {
        match self.values.insert(name, value) {
            None => {
                self.scope.push(name);
                Ok(())
            }
            Some(_) => Err(Error::ModelInvalid(format!("`{name}` is written twice"))),
        }
    }

    /// Runs for a subgraph: the names it defines go when it ends.
    pub(super) fn scoped<T>(&mut self, run: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        let outer = std::mem::take(&mut self.scope);
        self.depth += 1;
        let result = run(self);
        self.depth -= 1;
        for name in std::mem::replace(&mut self.scope, outer) {
            self.values.remove(name);
        }
        result
    }

    /// Runs with the constants of a loop's body, which all its turns share.
    pub(super) fn in_body<T>(
        &mut self,
        body: &OnnxGraph<'a>,
        run: impl FnOnce(&mut Self) -> Result<T>,
    ) -> Result<T> {
        self.scoped(|importer| {
            importer.constants(body)?;
            run(importer)
        })
    }

    /// The values of a body's outputs for those of its inputs, which are as many as it has.
    pub(super) fn turn(&mut self, body: &OnnxGraph<'a>, inputs: &[ValueId]) -> Result<Vec<ValueId>> {
        self.scoped(|importer| {
            for (info, value) in body.inputs.iter().zip(inputs) {
                importer.define(info.name, *value)?;
            }
            importer.nodes(body)?;
            body.outputs.iter().map(|output| importer.value(output.name)).collect()
        })
    }

    /// The name of what comes before a value in the graph: its own, unless somebody wants to see the value.
    pub(super) fn inner_name(&self, name: &str) -> String {
        if self.keep.iter().any(|kept| kept == name) { format!("{name} (inner)") } else { name.to_owned() }
    }
}

fn declared_type(info: &ValueInfo<'_>) -> Result<DType> {
    info.elem_type.and_then(element_type).ok_or_else(|| {
        let kind = info.elem_type.map_or_else(|| "no tensor".to_owned(), element_type_name);
        Error::Unsupported(format!("its type is {kind}"))
    })
}

/// Type and shape of an input: `given`, else the file's with 1 for what it leaves open.
fn input_fact(info: &ValueInfo<'_>, given: Option<&[usize]>) -> Result<Fact> {
    let dtype = declared_type(info)?;
    let declared = info.shape.as_deref();
    let dims = match (given, declared) {
        (Some(given), Some(declared)) => {
            let fits = |(given, declared): (&usize, &Dim<'_>)| match declared {
                Dim::Value(value) => *value < 0 || i64::try_from(*given) == Ok(*value),
                Dim::Param(_) => true,
            };
            if given.len() != declared.len() || !given.iter().zip(declared).all(fits) {
                return Err(Error::InputMismatch(format!(
                    "shape {given:?} for one declared as {declared:?}"
                )));
            }
            given.to_vec()
        }
        (Some(given), None) => given.to_vec(),
        (None, Some(declared)) => declared.iter().map(file_dim).collect::<Result<_>>()?,
        (None, None) => {
            let message = "the file gives it no shape: say which with an input shape";
            return Err(Error::InputMismatch(message.to_owned()));
        }
    };
    Ok(Fact::new(dtype, &dims))
}

fn file_dim(dim: &Dim<'_>) -> Result<usize> {
    match dim {
        // some exporters write −1 for an open dimension
        Dim::Value(value) if *value < 0 => Ok(1),
        Dim::Value(value) => {
            usize::try_from(*value).map_err(|_| Error::ModelInvalid(format!("a dimension of {value}")))
        }
        Dim::Param(_) => Ok(1),
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Message, floats, ints, model, node, value_info};
    use crate::builtin::graph::Graph;
    use crate::builtin::import::parse;
    use crate::{Error, Result};

    /// A model of `x` f32 `[n, 2]` and `y` with these nodes and constants.
    fn file(opset: i64, nodes: Vec<Message>, constants: Vec<Message>) -> Vec<u8> {
        let mut graph = Message::new();
        for node in nodes {
            graph = graph.nested(1, node);
        }
        for constant in constants {
            graph = graph.nested(5, constant);
        }
        let x = value_info("x", 1, &[None, Some(2)]);
        model(opset, graph.nested(11, x).nested(12, value_info("y", 1, &[None, None])))
    }

    fn build(file: Vec<u8>) -> Result<Graph> {
        parse(file, None)?.build(None, &[])
    }

    fn error(nodes: Vec<Message>) -> String {
        build(file(17, nodes, vec![ints("i", &[1], &[0])])).unwrap_err().to_string()
    }

    #[test]
    fn open_dimensions_take_the_given_shape() {
        let bytes = file(17, vec![node("Relu", &["x"], &["y"])], vec![]);
        let source = parse(bytes, None).unwrap();
        let shape = |shapes: Option<&[Vec<usize>]>| {
            source.build(shapes, &[]).map(|graph| graph.shape(graph.outputs()[0]).to_vec())
        };
        assert_eq!(shape(None).unwrap(), [1, 2]);
        assert_eq!(shape(Some(&[vec![7, 2]])).unwrap(), [7, 2]);
        assert!(matches!(shape(Some(&[vec![7, 3]])), Err(Error::InputMismatch(_))));
        assert!(matches!(shape(Some(&[vec![7]])), Err(Error::InputMismatch(_))));
        assert!(matches!(shape(Some(&[])), Err(Error::InputMismatch(_))));
    }

    #[test]
    fn shapes_are_computed_while_reading() {
        let nodes = vec![
            node("Shape", &["x"], &["s"]),
            node("Concat", &["s", "one"], &["t"]).nested(5, Message::new().text(1, "axis").int(3, 0)),
            node("Reshape", &["x", "t"], &["y"]),
        ];
        let graph = build(file(17, nodes, vec![ints("one", &[1], &[1])])).unwrap();
        assert_eq!((graph.nodes().count(), graph.shape(graph.outputs()[0])), (1, &[1, 2, 1][..]));
    }

    #[test]
    fn unknown_operators_are_named() {
        let text = error(vec![node("Frobnicate", &["x"], &["y"]).text(3, "node 7")]);
        assert_eq!(text, "not supported: Frobnicate `node 7`: this operator");
        let text = error(vec![node("Frobnicate", &["x"], &["y"]).text(7, "my.domain")]);
        assert!(text.contains("my.domain.Frobnicate `y`") && text.contains("domain of its own"), "{text}");
        let text = error(vec![
            node("Relu", &["x"], &["y"]).nested(5, Message::new().text(1, "slope").float(2, 0.5)),
        ]);
        assert_eq!(text, "not supported: Relu `y`: attribute `slope`");
    }

    #[test]
    fn what_is_wrong_is_said_with_the_node() {
        let text = error(vec![node("Relu", &["nothing"], &["y"])]);
        assert_eq!(text, "invalid model: Relu `y`: `nothing` is read before any node writes it");
        let text = error(vec![node("Relu", &["x"], &["y"]), node("Relu", &["x"], &["y"])]);
        assert_eq!(text, "invalid model: Relu `y`: `y` is written twice");
        let text = error(vec![node("Add", &["x"], &["y"])]);
        assert_eq!(text, "invalid model: Add `y`: operand 1 is missing");
        let text = error(vec![node("Reshape", &["x", "x"], &["y"])]);
        assert!(text.contains("operand 1 (`x`) depends on the data; it must be constant"), "{text}");
        let text = error(vec![node("Shape", &["x"], &["y"])]);
        assert_eq!(text, "invalid model: output `y`: declared as f32, but its node gives i64");
        let text = error(vec![]);
        assert!(text.contains("output `y`: `y` is read before"), "{text}");
    }

    #[test]
    fn opsets_that_are_not_understood_are_refused() {
        let sum = || vec![node("Add", &["x", "x"], &["y"])];
        for opset in [1, 6, 99] {
            let text = build(file(opset, sum(), vec![])).unwrap_err().to_string();
            assert!(text.contains(&format!("opset {opset}; 7 to 25 are understood")), "{text}");
        }
        assert!(build(file(7, sum(), vec![])).is_ok());
    }

    #[test]
    fn constants_need_not_be_inputs() {
        // before IR version 4 every constant is also declared as an input
        let graph = Message::new()
            .nested(1, node("Add", &["x", "c"], &["y"]))
            .nested(5, floats("c", &[2], &[1.0, 2.0]))
            .nested(11, value_info("x", 1, &[Some(2)]))
            .nested(11, value_info("c", 1, &[Some(2)]))
            .nested(12, value_info("y", 1, &[Some(2)]));
        let graph = build(model(17, graph)).unwrap();
        assert_eq!(graph.inputs().len(), 1);
    }
}
