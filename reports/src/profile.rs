//! Where the time of a case goes, node by node and place by place: from its profile trials alone. No latency of a run
//! comes from these.

use crate::record::{CaseIndex, Purpose, RunRecord};
use protocol::NodeProfile;
use std::collections::BTreeMap;

/// The nodes of one case.
pub(crate) struct Profile<'a> {
    /// Whose.
    pub(crate) case: CaseIndex,
    /// Every node that brought a time, in the order of execution.
    pub(crate) nodes: Vec<TimedNode<'a>>,
    /// Sum of the medians.
    pub(crate) total_ns: f64,
}

/// A node with its times.
pub(crate) struct TimedNode<'a> {
    /// Place in the order of execution.
    pub(crate) position: usize,
    pub(crate) node: &'a NodeProfile,
    /// Median over the iterations that were profiled.
    pub(crate) median_ns: f64,
}

/// What ran in one place: a kernel set, an execution provider, an accelerator.
pub(crate) struct UnitTime<'a> {
    /// The place, in the runtime's own words; empty where it does not tell.
    pub(crate) unit: &'a str,
    pub(crate) nodes: usize,
    /// Of all time of the case.
    pub(crate) share: f64,
}

impl<'a> Profile<'a> {
    /// The first profile of a case that shows any nodes.
    pub(crate) fn of(record: &'a RunRecord, case: CaseIndex) -> Option<Self> {
        let units = record.units.iter().filter(|unit| unit.purpose == Purpose::Profile);
        let mut trials = units.flat_map(|unit| &unit.trials).filter(|trial| trial.case == case);
        let found = trials.find(|trial| !trial.profile.is_empty())?;
        let timed = |(position, node): (usize, &'a NodeProfile)| {
            let times: Vec<f64> = node.wall_ns.iter().map(|ns| *ns as f64).collect();
            Some(TimedNode { position, node, median_ns: stats::median(&times).ok()? })
        };
        let nodes: Vec<_> = found.profile.iter().enumerate().filter_map(timed).collect();
        let total_ns = nodes.iter().map(|node| node.median_ns).sum();
        Some(Self { case, nodes, total_ns })
    }

    /// The nodes that take most time, longest first.
    pub(crate) fn slowest(&self, most: usize) -> Vec<&TimedNode<'a>> {
        let mut nodes: Vec<_> = self.nodes.iter().collect();
        nodes.sort_by(|a, b| b.median_ns.total_cmp(&a.median_ns));
        nodes.truncate(most);
        nodes
    }

    /// Share of all time that so many nanoseconds are.
    pub(crate) fn share(&self, time_ns: f64) -> f64 {
        if self.total_ns > 0.0 { time_ns / self.total_ns } else { 0.0 }
    }

    /// The places that ran the nodes, the one with most time first.
    pub(crate) fn units(&self) -> Vec<UnitTime<'a>> {
        let mut units: BTreeMap<&str, (usize, f64)> = BTreeMap::new();
        for timed in &self.nodes {
            let (nodes, time) = units.entry(timed.node.unit.as_str()).or_default();
            *nodes += 1;
            *time += timed.median_ns;
        }
        let unit = |(unit, (nodes, time))| UnitTime { unit, nodes, share: self.share(time) };
        let mut all: Vec<_> = units.into_iter().map(unit).collect();
        all.sort_by(|a, b| b.share.total_cmp(&a.share).then(a.unit.cmp(b.unit)));
        all
    }
}
