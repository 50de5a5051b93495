//! The table of operators in `runtimes/README.md`: what the models of one operator in `tests/golden` run on, found by
//! running them. `BENCH_WRITE_TABLE=1 cargo test -p runtimes --lib operators_are` writes it.
#![expect(clippy::unwrap_used, reason = "a test may stop at what it did not expect")]

use super::Recipe;
use super::graph::{Fact, Graph};
use super::import::{Built, FileNode, Fixed, Source, file_nodes, operators};
use super::kernels::Tier;
use super::kernels::simd::dispatched::{self, Dispatched};
use super::kernels::threads::Threads;
use crate::Observer;
use protocol::{DType, Format, TensorInfo};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write as _;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::rc::Rc;

const BEGIN: &str = "<!-- the table of operators, made by src/builtin/table.rs -->\n";
const END: &str = "<!-- end of the table of operators -->\n";

/// How an operator was computed for a type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Way {
    Vectors,
    Loops,
    Plain,
    ThroughF32,
}

/// Types by way, of an operator.
type Row = BTreeMap<Way, BTreeSet<String>>;

/// What ran, step after step.
struct Steps(Vec<(TensorInfo, Dispatched)>);

impl Observer for Steps {
    fn started(&mut self, _index: usize) {
        dispatched::take();
    }

    fn finished(&mut self, _index: usize, output: &TensorInfo, _bytes: &[u8]) {
        self.0.push((output.clone(), dispatched::take()));
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

fn models(archive: &str) -> Vec<Vec<u8>> {
    let file = std::fs::File::open(root().join("tests/golden").join(archive)).unwrap();
    let mut archive = zip::ZipArchive::new(file).unwrap();
    let mut files = Vec::new();
    for index in 0..archive.len() {
        let mut bytes = Vec::new();
        archive.by_index(index).unwrap().read_to_end(&mut bytes).unwrap();
        files.push(bytes);
    }
    files
}

/// A type in the table: quantised ones have a star.
fn word(fact: &Fact) -> String {
    format!("{}{}", fact.dtype, if fact.quant.is_some() { "*" } else { "" })
}

/// Facts of values by name, and whether they are constant.
type Facts<'g> = HashMap<&'g str, (&'g Fact, bool)>;

/// What an operator computes with: its first operand that is computed, and the weights where they are of another
/// quantised type.
fn types(node: &FileNode, facts: &Facts<'_>, output: &TensorInfo) -> String {
    let operands: Vec<&(&Fact, bool)> =
        node.inputs.iter().filter_map(|name| facts.get(name.as_str())).collect();
    let Some((first, _)) = operands.iter().find(|(_, constant)| !constant).or(operands.first()) else {
        return output.dtype.to_string();
    };
    let other = operands.iter().find(|(other, _)| other.quant.is_some() && other.dtype != first.dtype);
    // Among many operands of a cell are its biases.
    let other = other.filter(|(other, constant)| *constant && other.dtype != DType::I32);
    other.map_or_else(|| word(first), |(other, _)| format!("{}×{}", word(first), word(other)))
}

/// Runs a model and adds how its operators were computed.
fn add(rows: &mut BTreeMap<String, Row>, file: &[u8]) -> crate::Result<()> {
    let (source, nodes) =
        (Rc::<dyn Source>::from(super::import::parse(file.to_vec(), None)?), file_nodes(file)?);
    let graph = match source.build_for(None, &[], &Fixed::new())? {
        Built::Graph(graph) => graph,
        Built::Depends(..) => Graph::new(),
    };
    let constant = |id| graph.constant_value(id).is_some();
    let facts: Facts<'_> = graph.values().map(|(id, v)| (v.name.as_str(), (&v.fact, constant(id)))).collect();
    let (tier, threads) = (Tier::Portable, Threads::one());
    let recipe = Recipe { source, shapes: None, taps: Vec::new(), tier, threads, note: String::new() };
    let mut session = recipe.session()?;
    for index in 0..session.inputs().len() {
        let info = &session.inputs()[index];
        let count: u64 = info.shape.iter().map(|d| d.unwrap_or(1)).product();
        let bytes = vec![1; count as usize * info.dtype.size()];
        session.set_input(index, &bytes)?;
    }
    session.invoke()?;
    let mut steps = Steps(Vec::new());
    session.invoke_observed(&mut steps)?;
    let by_output: HashMap<&str, &FileNode> =
        nodes.iter().flat_map(|node| node.outputs.iter().map(move |name| (name.as_str(), node))).collect();
    let fallbacks: BTreeSet<&str> = session.proof().fallbacks.iter().map(|f| f.node.as_str()).collect();
    let mut so_far = Dispatched::default();
    for (output, used) in &steps.0 {
        so_far = so_far.or(*used);
        // A step whose result has no name in the file is on the way to one that has.
        let Some(node) = by_output.get(output.name.as_str()) else { continue };
        let inner = real(node, &by_output);
        let way = match std::mem::take(&mut so_far) {
            _ if fallbacks.contains(output.name.as_str()) => Way::ThroughF32,
            Dispatched { vectors: true, .. } => Way::Vectors,
            Dispatched { loops: true, .. } => Way::Loops,
            Dispatched { .. } => Way::Plain,
        };
        let types = match inner {
            Some(_) => format!("{}*", output.dtype),
            None => types(node, &facts, output),
        };
        rows.entry(inner.unwrap_or(node).op.clone()).or_default().entry(way).or_default().insert(types);
    }
    Ok(())
}

/// The node that is computed together with the quantisation behind it.
fn real<'n>(node: &FileNode, by_output: &HashMap<&str, &'n FileNode>) -> Option<&'n FileNode> {
    let computed = node.inputs.first().and_then(|name| by_output.get(name.as_str()));
    computed.copied().filter(|_| node.op == "QuantizeLinear")
}

/// Rows of one format: operators that were computed alike share one.
fn table(format: Format, archive: &str) -> String {
    let mut rows = BTreeMap::new();
    let ran = models(archive).iter().filter(|file| add(&mut rows, file).is_ok()).count();
    assert!(ran > 300, "{archive}: {ran}");
    // The fastest way that was seen: a pool of one element needs no vectors.
    for row in rows.values_mut() {
        let mut seen = BTreeSet::new();
        row.values_mut().for_each(|types| types.retain(|t| seen.insert(t.clone())));
    }
    let cell = |row: &Row, way: Way| {
        let types: Vec<&str> = row.get(&way).into_iter().flatten().map(String::as_str).collect();
        if types.is_empty() { "-".to_owned() } else { types.join(", ") }
    };
    let mut alike: BTreeMap<[String; 4], Vec<&str>> = BTreeMap::new();
    for (op, row) in &rows {
        let ways = [Way::Vectors, Way::Loops, Way::Plain, Way::ThroughF32];
        alike.entry(ways.map(|way| cell(row, way))).or_default().push(op);
    }
    let mut text = format!(
        "\n| {} | vectors | loops by tier | the same code | through f32 |\n|---|---|---|---|---|\n",
        match format {
            Format::Tflite => "TFLite",
            Format::Onnx => "ONNX",
        }
    );
    let mut lines: Vec<(String, [String; 4])> =
        alike.into_iter().map(|(cells, ops)| (ops.join(", "), cells)).collect();
    lines.sort();
    for (ops, [vectors, loops, plain, real]) in lines {
        writeln!(text, "| {ops} | {vectors} | {loops} | {plain} | {real} |").unwrap();
    }
    let others: Vec<String> = operators(format).into_iter().filter(|op| !rows.contains_key(op)).collect();
    writeln!(text, "\nRead, and in no model of these: {}.", others.join(", ")).unwrap();
    text
}

#[test]
fn operators_are_what_the_readme_says() {
    let path = root().join("README.md");
    let readme = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = readme.split_once(BEGIN).expect("a place for the table");
    let (shown, after) = rest.split_once(END).expect("an end of the table");
    let made = table(Format::Tflite, "ops.zip") + &table(Format::Onnx, "onnx_ops.zip") + "\n";
    if std::env::var_os("BENCH_WRITE_TABLE").is_some() {
        std::fs::write(&path, [before, BEGIN, &made, END, after].concat()).unwrap();
        return;
    }
    let changed = shown.lines().zip(made.lines()).find(|(shown, made)| shown != made);
    assert!(shown == made, "runtimes/README.md is to be written again with BENCH_WRITE_TABLE=1: {changed:?}");
}
