//! A graph on the kernels of this process: what runs on the CPU beside a device, and what our own devices run.

use super::{Cached, Compiled, Durations};
use crate::builtin::exec::Program;
use crate::builtin::graph::Graph;
use crate::builtin::kernels::Tier;
use crate::builtin::prepare;
use crate::{NodeInfo, Observer, Result, Session};
use protocol::{Fallback, TensorInfo};
use std::time::Instant;

/// How an in-process device hands inputs and outputs over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Request {
    /// Straight from and to the caller's memory: the CPU's part.
    Direct,
    /// Through memory of a request that every execution makes anew, as a driver gets it.
    Fresh,
    /// Through memory that a burst keeps.
    Kept,
}

/// A prepared graph.
pub(super) struct Host {
    program: Program,
    request: Request,
    memory: Vec<Vec<u8>>,
    cached: Cached,
}

impl Host {
    /// Prepares a graph.
    ///
    /// # Errors
    /// As [`prepare`].
    pub(super) fn new(graph: &Graph, tier: Tier, request: Request, cached: Cached) -> Result<Self> {
        Ok(Self { program: prepare(graph, tier)?, request, memory: Vec::new(), cached })
    }

    fn execute(
        &mut self,
        inputs: &[&[u8]],
        outputs: &mut [Vec<u8>],
        invoke: impl FnOnce(&mut Program) -> Result<()>,
    ) -> Result<Durations> {
        let driver = Instant::now();
        if self.request == Request::Direct {
            for (index, input) in inputs.iter().enumerate() {
                self.program.set_input(index, input)?;
            }
        } else {
            self.memory.resize_with(inputs.len(), Vec::new);
            for (index, (kept, input)) in self.memory.iter_mut().zip(inputs).enumerate() {
                if self.request == Request::Fresh {
                    *kept = Vec::new();
                }
                kept.clear();
                kept.extend_from_slice(input);
                self.program.set_input(index, kept)?;
            }
        }
        let hardware = Instant::now();
        invoke(&mut self.program)?;
        let hardware_ns = nanoseconds(hardware);
        for (index, output) in outputs.iter_mut().enumerate() {
            output.clear();
            output.extend_from_slice(self.program.output(index)?);
        }
        Ok(Durations { hardware_ns: Some(hardware_ns), driver_ns: Some(nanoseconds(driver)) })
    }
}

fn nanoseconds(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_nanos()).unwrap_or(u64::MAX)
}

/// Counts on from the nodes of earlier parts.
struct Later<'a> {
    first: usize,
    observer: &'a mut dyn Observer,
}

impl Observer for Later<'_> {
    fn started(&mut self, index: usize) {
        self.observer.started(self.first + index);
    }

    fn finished(&mut self, index: usize, output: &TensorInfo, bytes: &[u8]) {
        self.observer.finished(self.first + index, output, bytes);
    }
}

impl Compiled for Host {
    fn run(&mut self, inputs: &[&[u8]], outputs: &mut [Vec<u8>]) -> Result<Durations> {
        self.execute(inputs, outputs, Program::invoke)
    }

    fn run_observed(
        &mut self,
        inputs: &[&[u8]],
        outputs: &mut [Vec<u8>],
        first: usize,
        observer: &mut dyn Observer,
    ) -> Result<Durations> {
        self.execute(inputs, outputs, |program| program.invoke_observed(&mut Later { first, observer }))
    }

    fn nodes(&self) -> Vec<NodeInfo> {
        self.program.nodes().to_vec()
    }

    fn fallbacks(&self) -> &[Fallback] {
        &self.program.proof().fallbacks
    }

    fn kernels(&self) -> &str {
        &self.program.proof().kernels
    }

    fn cached(&self) -> Cached {
        self.cached
    }
}
