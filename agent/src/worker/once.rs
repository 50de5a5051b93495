//! Trials that are never a source of latency: accuracy (every example once, outputs kept) and profile
//! (time per node).

use super::{Link, Trial};
use crate::{
    clock,
    failure::Failure,
    outputs::{OutputFile, Outputs},
};
use protocol::{Event, FailKind, Mode, NodeProfile};

/// Digests per message.
const DIGESTS: usize = 512;

/// Times per message: they fit a line many times over.
const TIMES: usize = 50_000;

impl Trial {
    /// Runs every example once and keeps what comes out.
    pub(super) fn accuracy(&mut self, out: &mut Link) -> Result<(), Failure> {
        let mut file = OutputFile::create(&self.dir)?;
        let mut outputs = Outputs::default();
        let mut elements: Option<Vec<u64>> = None;
        let mut digests = Vec::with_capacity(DIGESTS);
        let examples = self.source.examples();
        for example in 0..examples {
            self.source.feed(&mut *self.session, example)?;
            self.session.invoke()?;
            outputs.read(&*self.session)?;
            let expected = elements.get_or_insert_with(|| outputs.elements.clone());
            if *expected != outputs.elements {
                let message = format!(
                    "example {example} gives outputs of {:?} elements, the first gave {expected:?}",
                    outputs.elements
                );
                return Err(Failure::new(FailKind::Unsupported, message));
            }
            file.write(outputs.bytes())?;
            digests.push(outputs.digest());
            if digests.len() == DIGESTS || example + 1 == examples {
                let first = example + 1 - digests.len() as u64;
                let digests = std::mem::take(&mut digests);
                out.event(&Event::OutputDigests { trial: self.number, first, digests })?;
            }
        }
        let (path, sha256) = file.finish()?;
        let elements = elements.unwrap_or_default();
        out.event(&Event::Outputs { trial: self.number, path, sha256, examples, elements })
    }

    /// Times every node of as many iterations as were asked for, after one that does not count.
    pub(super) fn profile(&mut self, out: &mut Link) -> Result<(), Failure> {
        let Mode::Profile { iterations } = self.spec.mode else {
            return Err(Failure::new(FailKind::Runtime, "not a profile trial"));
        };
        self.source.feed(&mut *self.session, 0)?;
        let nodes = self.session.profile(iterations, &clock::monotonic_ns)?;
        let per_message = (TIMES / iterations.max(1) as usize).max(1);
        let mut nodes = nodes.into_iter().peekable();
        while nodes.peek().is_some() {
            let nodes: Vec<NodeProfile> = nodes.by_ref().take(per_message).collect();
            out.event(&Event::Profile { trial: self.number, nodes })?;
        }
        Ok(())
    }
}
