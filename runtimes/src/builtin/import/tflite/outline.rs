//! The structure of a file for runtimes that run it themselves. Refuses nothing but damage: which operators there
//! are is for the runtime to judge.

use super::facts::info;
use super::schema::Model;
use crate::Error;
use protocol::TensorInfo;

/// Inputs and nodes of the first graph.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Outline {
    /// In the file's order, open dimensions as `None`.
    pub(crate) inputs: Vec<TensorInfo>,
    /// In execution order: name of the first output, operator.
    pub(crate) nodes: Vec<(String, String)>,
}

/// Reads it from a file's bytes.
///
/// # Errors
/// It is not a TFLite file, or damaged, or has inputs of a type that nobody can feed.
pub(crate) fn outline(file: &[u8]) -> Result<Outline, Error> {
    let model = Model::read(file)?;
    let graph = model.subgraphs.first().ok_or_else(|| Error::ModelInvalid("no graph".to_owned()))?;
    let tensor = |index: usize| graph.tensors.get(index);
    let inputs = graph.inputs.iter().filter_map(|i| tensor(*i)).map(info).collect::<Result<_, _>>()?;
    let nodes = graph.operators.iter().map(|operator| {
        let first = operator.outputs.first().and_then(|i| tensor(*i));
        let name = first.map(|t| t.name.clone().into_owned()).unwrap_or_default();
        (name, model.operator_name(operator))
    });
    Ok(Outline { inputs, nodes: nodes.collect() })
}
