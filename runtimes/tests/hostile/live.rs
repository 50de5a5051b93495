//! What is done with a damaged or hostile file: imported, prepared, run once. Shared with the targets of `runtimes/fuzz`.

use protocol::TensorInfo;
use runtimes::builtin::graph::Graph;
use runtimes::builtin::import::{Built, Fixed, Source};
use runtimes::builtin::kernels::Tier;
use runtimes::builtin::kernels::threads::Threads;
use runtimes::builtin::ops::Operand;
use runtimes::builtin::{self, Recipe, import};
use std::rc::Rc;

/// What is larger is compiled but not run: valid, but not a test of anything.
const MOST_WORK: u64 = 50_000_000;
/// The same for compiling, in bytes of all values.
const MOST_BYTES: usize = 256 << 20;

/// What became of a file.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fate {
    /// It is not imported.
    Refused,
    /// It is imported and not run.
    Imported,
    /// It ran.
    Ran,
}

fn work(graph: &Graph) -> u64 {
    let node = |node: &builtin::graph::Node| {
        let operand = |id: &builtin::graph::ValueId| Operand {
            fact: graph.fact(*id),
            constant: graph.constant_value(*id),
        };
        let inputs: Vec<Operand<'_>> = node.inputs.iter().map(operand).collect();
        let outputs: Vec<_> = node.outputs.iter().map(|id| graph.fact(*id).clone()).collect();
        node.op.work(&inputs, &outputs)
    };
    graph.nodes().fold(0, |sum, (_, n)| sum.saturating_add(node(n)))
}

/// Imports, prepares and runs a file.
pub(crate) fn live(file: Vec<u8>) -> Fate {
    let Ok(source) = import::parse(file, None) else { return Fate::Refused };
    let source: Rc<dyn Source> = source.into();
    let tier = Tier::detect();
    match source.build_for(None, &[], &Fixed::new()) {
        Err(_) => return Fate::Refused,
        Ok(Built::Graph(graph)) => {
            let bytes = graph.values().fold(0usize, |sum, (_, v)| sum.saturating_add(v.fact.bytes()));
            if bytes > MOST_BYTES || work(&graph) > MOST_WORK {
                return Fate::Imported;
            }
        }
        Ok(Built::Depends(..)) => {}
    }
    let recipe =
        Recipe { source, shapes: None, taps: Vec::new(), tier, threads: Threads::one(), note: String::new() };
    let Ok(mut session) = recipe.session() else { return Fate::Imported };
    let bytes = |info: &TensorInfo| info.shape.iter().map(|d| d.unwrap_or(1) as usize).product::<usize>();
    if session.inputs().iter().map(bytes).sum::<usize>() > MOST_BYTES {
        return Fate::Imported;
    }
    for index in 0..session.inputs().len() {
        let info = &session.inputs()[index];
        let count: u64 = info.shape.iter().map(|d| d.unwrap_or(1)).product();
        let bytes = vec![1; count as usize * info.dtype.size()];
        session.set_input(index, &bytes).unwrap();
    }
    // what is only known to be too much once the values are there
    if session.invoke().is_err() {
        return Fate::Imported;
    }
    (0..session.outputs().len()).for_each(|i| assert!(session.output(i).is_ok()));
    Fate::Ran
}
