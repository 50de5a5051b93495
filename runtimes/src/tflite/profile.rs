//! Events of a profiler as times per node. Nodes inside a delegate are its own, often fused, without the names of the
//! file.

use super::watch::OWN_KERNELS;
use crate::{Error, Result};
use protocol::{BackendProof, NodeProfile};

/// What a profiler tells of.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    /// Operator, or name of a delegate.
    pub(crate) tag: String,
    pub(crate) place: Place,
    pub(crate) elapsed_ns: u64,
}

/// Where an event belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// A node of the graph, by its index. A delegate's is around what is inside it.
    Node(usize),
    /// A node of the delegate's own, by its index there.
    Inside(usize),
}

/// The operator of the row that makes the rows of a delegate add up.
const REST: &str = "(between and rounded)";
/// As many rows as a record may have.
const MAX_ROWS: usize = 1 << 16;

/// Times per node, filled run by run.
pub(crate) struct Table {
    /// Name of every node of the graph.
    names: Vec<String>,
    /// The delegate, for profilers that tell only of what is inside it.
    delegate: String,
    rows: Vec<NodeProfile>,
}

impl Table {
    pub(crate) fn new(names: Vec<String>, proof: &BackendProof) -> Self {
        let delegate = proof.units.iter().find(|u| u.unit != OWN_KERNELS);
        Self { names, delegate: delegate.map(|u| u.unit.clone()).unwrap_or_default(), rows: Vec::new() }
    }

    /// The events of one run.
    ///
    /// # Errors
    /// They are not those of the run before, or there are too many.
    pub(crate) fn add(&mut self, events: Vec<Event>) -> Result<()> {
        let run = self.run(events);
        if self.rows.is_empty() && run.len() <= MAX_ROWS {
            self.rows = run;
            return Ok(());
        }
        let same = |(a, b): (&NodeProfile, &NodeProfile)| a.node == b.node && a.op == b.op;
        if self.rows.len() != run.len() || !self.rows.iter().zip(&run).all(same) {
            return Err(Error::Runtime("the profiler tells of other nodes in every run".to_owned()));
        }
        for (row, more) in self.rows.iter_mut().zip(run) {
            row.wall_ns.extend(more.wall_ns);
        }
        Ok(())
    }

    pub(crate) fn rows(self) -> Vec<NodeProfile> {
        self.rows
    }

    fn run(&self, events: Vec<Event>) -> Vec<NodeProfile> {
        let around = |event: &Event| event.tag.contains("Delegate") && matches!(event.place, Place::Node(_));
        let told = events.iter().any(|event| matches!(event.place, Place::Inside(_)));
        // Some tell of what is inside a delegate before they tell of the delegate, and some after.
        let mut delegate = events.iter().find(|e| around(e)).map_or(&self.delegate, |e| &e.tag).clone();
        let mut rows = Vec::new();
        // What delegates took, less what is told of inside them: what goes between, and what was rounded away.
        let (mut whole_ns, mut inside_ns) = (0u64, 0u64);
        for event in events {
            if around(&event) {
                delegate.clone_from(&event.tag);
                if told {
                    whole_ns = whole_ns.saturating_add(event.elapsed_ns);
                    continue;
                }
            }
            if matches!(event.place, Place::Inside(_)) {
                inside_ns = inside_ns.saturating_add(event.elapsed_ns);
            }
            let (node, unit) = match event.place {
                Place::Inside(index) => (format!("{delegate}:{index}"), delegate.clone()),
                Place::Node(_) if around(&event) => (event.tag.clone(), event.tag.clone()),
                Place::Node(index) => {
                    (self.names.get(index).cloned().unwrap_or_default(), OWN_KERNELS.to_owned())
                }
            };
            rows.push(NodeProfile { node, op: event.tag, unit, wall_ns: vec![event.elapsed_ns] });
        }
        if whole_ns > 0 {
            let wall_ns = vec![whole_ns.saturating_sub(inside_ns)];
            rows.push(NodeProfile { node: delegate.clone(), op: REST.to_owned(), unit: delegate, wall_ns });
        }
        rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(place: Place, tag: &str, elapsed_ns: u64) -> Event {
        Event { tag: tag.to_owned(), place, elapsed_ns }
    }

    #[test]
    fn a_delegates_time_counts_once() {
        let mut table = Table::new(vec!["a".to_owned(), "b".to_owned()], &BackendProof::default());
        for ns in [10, 20] {
            let run = vec![
                event(Place::Node(2), "TfLiteXNNPackDelegate", 50),
                event(Place::Inside(0), "Convolution", 40),
                event(Place::Inside(1), "Softmax", 5),
                event(Place::Node(1), "RESHAPE", ns),
            ];
            table.add(run).unwrap();
        }
        let rows = table.rows();
        let seen: Vec<_> = rows.iter().map(|r| (r.node.as_str(), r.op.as_str(), r.unit.as_str())).collect();
        let inside = "TfLiteXNNPackDelegate";
        let expected = [
            ("TfLiteXNNPackDelegate:0", "Convolution", inside),
            ("TfLiteXNNPackDelegate:1", "Softmax", inside),
            ("b", "RESHAPE", OWN_KERNELS),
            (inside, REST, inside),
        ];
        assert_eq!(seen, expected);
        assert_eq!((rows[0].wall_ns.as_slice(), rows[2].wall_ns.as_slice()), (&[40, 40][..], &[10, 20][..]));
        assert_eq!(rows[3].wall_ns, [5, 5]);
    }

    #[test]
    fn a_delegate_that_is_not_told_of_is_known_from_the_proof() {
        let unit = protocol::UnitShare { unit: "TfLiteXNNPackDelegate".to_owned(), nodes: 3 };
        let proof = BackendProof { units: vec![unit], ..BackendProof::default() };
        let mut table = Table::new(Vec::new(), &proof);
        table.add(vec![event(Place::Inside(4), "Convolution", 40)]).unwrap();
        let rows = table.rows();
        assert_eq!(
            (rows[0].node.as_str(), rows[0].unit.as_str()),
            ("TfLiteXNNPackDelegate:4", "TfLiteXNNPackDelegate")
        );
    }

    #[test]
    fn a_delegate_that_tells_nothing_is_one_node() {
        let mut table = Table::new(Vec::new(), &BackendProof::default());
        table.add(vec![event(Place::Node(2), "TfLiteGpuDelegate", 50)]).unwrap();
        assert_eq!(table.rows()[0].op, "TfLiteGpuDelegate");
    }

    #[test]
    fn runs_must_be_alike() {
        let mut table = Table::new(Vec::new(), &BackendProof::default());
        table.add(vec![event(Place::Node(0), "ADD", 1)]).unwrap();
        assert!(table.add(vec![event(Place::Node(0), "MUL", 1)]).is_err());
    }
}
