//! Events of LiteRT's profiler as times per node. Nodes of XNNPACK are its own, fused ones, without the names of the
//! file; what it tells is whole microseconds.

use super::ffi::Event;
use crate::{Error, Result};
use protocol::NodeProfile;
use std::ffi::c_int;

/// A node of the graph; its index is the node's. A delegate's is around those of what is inside it.
const OPERATOR: c_int = 1 << 1;
/// What runs inside a delegate; its index is the delegate's own.
const INSIDE_DELEGATE: c_int = 1 << 2;
const PROFILED_INSIDE_DELEGATE: c_int = 1 << 3;

/// As many rows as a record may have.
const MAX_ROWS: usize = 1 << 16;

/// Times per node, filled run by run.
pub(super) struct Table {
    /// Name of every node of the graph.
    names: Vec<String>,
    rows: Vec<NodeProfile>,
}

impl Table {
    pub(super) fn new(names: Vec<String>) -> Self {
        Self { names, rows: Vec::new() }
    }

    /// The events of one run.
    ///
    /// # Errors
    /// They are not those of the run before, or there are too many.
    pub(super) fn add(&mut self, events: Vec<Event>) -> Result<()> {
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

    pub(super) fn rows(self) -> Vec<NodeProfile> {
        self.rows
    }

    fn run(&self, events: Vec<Event>) -> Vec<NodeProfile> {
        let inside = |event: &Event| [INSIDE_DELEGATE, PROFILED_INSIDE_DELEGATE].contains(&event.kind);
        let told = events.iter().any(inside);
        let mut delegate = String::new();
        let mut rows = Vec::new();
        for event in events {
            let around = event.tag.contains("Delegate") && event.kind == OPERATOR;
            let (node, unit) = if inside(&event) {
                (format!("{}:{}", delegate, event.index), delegate.clone())
            } else if around {
                delegate.clone_from(&event.tag);
                (event.tag.clone(), event.tag.clone())
            } else if event.kind == OPERATOR {
                let name = usize::try_from(event.index).ok().and_then(|i| self.names.get(i));
                (name.cloned().unwrap_or_default(), "built-in kernels".to_owned())
            } else {
                continue;
            };
            // Time inside a delegate counts once.
            if !(around && told) {
                let wall_ns = vec![event.elapsed_us.saturating_mul(1000)];
                rows.push(NodeProfile { node, op: event.tag, unit, wall_ns });
            }
        }
        rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(kind: c_int, tag: &str, index: u64, elapsed_us: u64) -> Event {
        Event { tag: tag.to_owned(), kind, elapsed_us, index }
    }

    #[test]
    fn a_delegates_time_counts_once() {
        let mut table = Table::new(vec!["a".to_owned(), "b".to_owned()]);
        for us in [10, 20] {
            let run = vec![
                event(1, "Invoke", 0, 99),
                event(OPERATOR, "TfLiteXNNPackDelegate", 2, 50),
                event(PROFILED_INSIDE_DELEGATE, "Convolution", 0, 40),
                event(PROFILED_INSIDE_DELEGATE, "Softmax", 1, 5),
                event(OPERATOR, "RESHAPE", 1, us),
            ];
            table.add(run).unwrap();
        }
        let rows = table.rows();
        let seen: Vec<_> = rows.iter().map(|r| (r.node.as_str(), r.op.as_str(), r.unit.as_str())).collect();
        let inside = "TfLiteXNNPackDelegate";
        let expected = [
            ("TfLiteXNNPackDelegate:0", "Convolution", inside),
            ("TfLiteXNNPackDelegate:1", "Softmax", inside),
            ("b", "RESHAPE", "built-in kernels"),
        ];
        assert_eq!(seen, expected);
        assert_eq!(
            (rows[0].wall_ns.as_slice(), rows[2].wall_ns.as_slice()),
            (&[40_000; 2][..], &[10_000, 20_000][..])
        );
    }

    #[test]
    fn a_delegate_that_tells_nothing_is_one_node() {
        let mut table = Table::new(Vec::new());
        table.add(vec![event(OPERATOR, "TfLiteGpuDelegate", 2, 50)]).unwrap();
        assert_eq!(table.rows()[0].op, "TfLiteGpuDelegate");
    }

    #[test]
    fn runs_must_be_alike() {
        let mut table = Table::new(Vec::new());
        table.add(vec![event(OPERATOR, "ADD", 0, 1)]).unwrap();
        assert!(table.add(vec![event(OPERATOR, "MUL", 0, 1)]).is_err());
    }
}
