//! Reads TFLite (LiteRT) models: the file's structure, the facts for `bench inspect`, and the import into
//! the engine's graph. Runs nothing and fuses nothing.

mod arithmetic;
mod control;
mod convolution;
mod custom;
mod depends;
mod dispatch;
mod dynamic;
mod facts;
mod flat;
mod flex;
mod importer;
mod index;
mod layout;
mod opcodes;
mod options;
#[cfg(feature = "dlopen")]
mod outline;
mod rare;
mod recurrent;
mod scatter;
mod schema;
mod sparse;
mod spectrum;

#[cfg(feature = "dlopen")]
pub(crate) use opcodes::operator_name;
#[cfg(feature = "dlopen")]
pub(crate) use outline::{Outline, outline};

use super::{Built, Fixed, FormatEntry, Source};
use crate::Result;
use protocol::ModelFacts;
use std::path::Path;

#[cfg(test)]
pub(super) use dispatch::operators;

/// The nodes of a file's main graph.
#[cfg(test)]
pub(super) fn file_nodes(file: &[u8]) -> Result<Vec<super::FileNode>> {
    let model = schema::Model::read(file)?;
    let graph = &model.subgraphs[0];
    let name = |i: &usize| graph.tensors.get(*i).map(|t| t.name.clone().into_owned());
    let node = |op: &schema::Operator<'_>| super::FileNode {
        op: model.operator_name(op),
        inputs: op.inputs.iter().filter_map(|i| name(&(*i)?)).collect(),
        outputs: op.outputs.iter().filter_map(name).collect(),
    };
    Ok(graph.operators.iter().map(node).collect())
}

/// The entry for [`super::FORMATS`].
pub(super) const FORMAT: FormatEntry = FormatEntry { name: "TFLite", detect: schema::is_tflite, parse };

/// A file and what is in it. Its structure is read again for every build: that takes microseconds, and
/// the file's own bytes are the most compact form of it.
struct File {
    bytes: Vec<u8>,
    facts: ModelFacts,
}

impl Source for File {
    fn facts(&self) -> &ModelFacts {
        &self.facts
    }

    fn build_for(
        &self,
        input_shapes: Option<&[Vec<usize>]>,
        _keep: &[String],
        fixed: &Fixed,
    ) -> Result<Built> {
        importer::import(&self.bytes, input_shapes, fixed)
    }
}

fn parse(bytes: Vec<u8>, _folder: Option<&Path>) -> Result<Box<dyn Source>> {
    let facts = facts::facts(&bytes)?;
    Ok(Box::new(File { bytes, facts }))
}
