//! What another runtime's caller wants to know of a file, and that runtime does not tell: quantisation, names of
//! open dimensions, the number of nodes, and which other files there must be. Reads no weights.

use super::facts::facts;
use super::proto::{Dim, Model};
use crate::Result;
use protocol::ModelFacts;
use std::collections::BTreeSet;

/// A file, seen from outside.
pub(crate) struct Outline {
    /// What is in it.
    pub(crate) facts: ModelFacts,
    /// Names of open dimensions of the inputs.
    pub(crate) symbols: Vec<(String, Vec<Option<String>>)>,
    /// Files with weights, from the folder of the model.
    pub(crate) external: BTreeSet<String>,
}

impl Outline {
    /// Reads a file.
    ///
    /// # Errors
    /// Not an ONNX model, or inputs and outputs that are no tensors of numbers.
    pub(crate) fn of(data: &[u8]) -> Result<Self> {
        let facts = facts(data)?;
        let graph = Model::parse(data)?.graph;
        let symbol = |dim: &Dim<'_>| match dim {
            Dim::Param(name) if !name.is_empty() => Some((*name).to_owned()),
            Dim::Param(_) | Dim::Value(_) => None,
        };
        let of_input = |name: &str| {
            let info = graph.inputs.iter().find(|info| info.name == name)?;
            Some(info.shape.as_deref()?.iter().map(symbol).collect())
        };
        let symbols = facts.inputs.iter();
        let symbols = symbols.map(|i| (i.name.clone(), of_input(&i.name).unwrap_or_default())).collect();
        let external = graph.initializers.iter().filter_map(|tensor| tensor.location().map(str::to_owned));
        Ok(Self { symbols, external: external.collect(), facts })
    }

    /// Nodes of the file, those of subgraphs among them.
    pub(crate) fn nodes(&self) -> u32 {
        self.facts.ops.iter().map(|op| op.count).fold(0, u32::saturating_add)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Message, model, node, tensor, value_info};
    use super::*;

    #[test]
    fn a_file_tells_its_nodes_open_dimensions_and_other_files() {
        let elsewhere = tensor("w", 1, &[1], &[])
            .nested(13, Message::new().text(1, "location").text(2, "weights.bin"))
            .int(14, 1);
        let graph = Message::new()
            .nested(1, node("Mul", &["x", "w"], &["h"]))
            .nested(1, node("Relu", &["h"], &["y"]))
            .nested(5, elsewhere)
            .nested(11, value_info("x", 1, &[None, Some(4)]))
            .nested(12, value_info("y", 1, &[None, Some(4)]));
        let outline = Outline::of(&model(17, graph)).unwrap();
        assert_eq!(outline.nodes(), 2);
        assert_eq!(outline.symbols, [("x".to_owned(), vec![Some("n".to_owned()), None])]);
        assert_eq!(outline.external.into_iter().collect::<Vec<_>>(), ["weights.bin"]);
        assert!(Outline::of(b"no model").is_err());
    }
}
