//! A prepared operation: what an operator leaves to be done at every invoke.

use super::kernels::io::{Inputs, Io, Outputs};
use super::kernels::memory::Element;
use super::kernels::threads::Shares;
use crate::Result;

/// What a step does at every invoke. No `Fn`: its objects hold the code of a small step twice, the second time for a
/// call that would use it up.
pub(crate) trait Work: Send {
    /// Does it.
    fn run(&self, io: Io<'_>) -> Result<()>;
}

/// A step's work, whatever it is.
pub(crate) type Run = Box<dyn Work>;

struct Worker<F>(F);

impl<F: Fn(Inputs<'_>, Outputs<'_>, &mut [u8]) -> Result<()> + Send> Work for Worker<F> {
    fn run(&self, io: Io<'_>) -> Result<()> {
        let (inputs, outputs, scratch) = io.split();
        self.0(inputs, outputs, scratch)
    }
}

/// A prepared operation.
pub struct Step {
    pub(crate) label: &'static str,
    pub(crate) scratch: usize,
    /// Bytes of what constant operands were packed to; `None` when they are read as they are.
    pub(crate) packed: Option<usize>,
    /// Bytes that the step keeps beside that: memory of graphs inside it.
    pub(crate) held: usize,
    pub(crate) run: Option<Run>,
}

impl std::fmt::Debug for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Step({})", self.label)
    }
}

impl Step {
    /// A step that runs `run` at every invoke. `label` names the kernel in profiles: `conv2d.i8`.
    /// Sizes and types of operands and results are those the operator was prepared for.
    pub fn new(
        label: &'static str,
        run: impl Fn(Inputs<'_>, Outputs<'_>, &mut [u8]) + Send + 'static,
    ) -> Self {
        Self::fallible(label, move |inputs, outputs, scratch| {
            run(inputs, outputs, scratch);
            Ok(())
        })
    }

    /// As [`Step::new`], for what can turn out to be impossible only when it runs: a loop that does not end.
    pub fn fallible(
        label: &'static str,
        run: impl Fn(Inputs<'_>, Outputs<'_>, &mut [u8]) -> Result<()> + Send + 'static,
    ) -> Self {
        Self { label, scratch: 0, packed: None, held: 0, run: Some(Box::new(Worker(run))) }
    }

    /// A step from one operand to one result.
    pub fn map<A: Element, B: Element>(
        label: &'static str,
        run: impl Fn(&[A], &mut [B]) + Send + 'static,
    ) -> Self {
        Self::new(label, move |inputs, mut outputs, _| run(inputs.get(0), outputs.get(0)))
    }

    /// A step from one operand to one result of as many elements, each made of that at its place: threads share them.
    pub(crate) fn each<A: Element, B: Element>(
        label: &'static str,
        shares: Shares,
        run: impl Fn(&[A], &mut [B]) + Send + Sync + 'static,
    ) -> Self {
        Self::map(label, move |x: &[A], y: &mut [B]| shares.run(y, &|part, y| run(&x[part], y)))
    }

    /// A step from two operands to one result.
    pub fn map2<A: Element, B: Element, C: Element>(
        label: &'static str,
        run: impl Fn(&[A], &[B], &mut [C]) + Send + 'static,
    ) -> Self {
        Self::new(label, move |inputs, mut outputs, _| run(inputs.get(0), inputs.get(1), outputs.get(0)))
    }

    /// The first result is the first operand's memory as it is: nothing runs.
    pub fn alias(label: &'static str) -> Self {
        Self { label, scratch: 0, packed: Some(0), held: 0, run: None }
    }

    /// Asks for scratch memory, aligned, its contents undefined at every run.
    #[must_use]
    pub fn with_scratch(self, bytes: usize) -> Self {
        Self { scratch: bytes, ..self }
    }

    /// Says how many bytes the step keeps beside packed operands.
    #[must_use]
    pub(crate) fn holding(self, bytes: usize) -> Self {
        Self { held: bytes, ..self }
    }

    /// Constant operands were packed to so many bytes and are not read when the step runs: their own
    /// memory can go.
    #[must_use]
    pub fn packed(self, bytes: usize) -> Self {
        Self { packed: Some(bytes), ..self }
    }
}
