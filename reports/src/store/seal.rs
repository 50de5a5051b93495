//! The chain that ties a journal together: every so often a line carries the hash of everything before it,
//! the plan included, so that what was changed, taken out or put in later does not pass for a record. It is
//! no signature: who rewrites a whole record can make a whole chain. The last seal, kept elsewhere (a pull
//! request, a log), shows that too.

use protocol::{Sha256, Sha256Hex};
use serde::{Deserialize, Serialize};

/// A line of the journal that seals what stands before it.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SealLine {
    seal: Sha256Hex,
}

/// How every seal begins; no entry does.
const START: &[u8] = b"{\"seal\":";

/// The hash of what was written so far.
#[derive(Clone)]
pub(super) struct Chain {
    last: Sha256Hex,
    since: Sha256,
}

impl Chain {
    /// Begins with the bytes of the plan.
    pub(super) fn of_plan(plan: &[u8]) -> Self {
        Self::after(Sha256Hex::of_bytes(plan))
    }

    fn after(last: Sha256Hex) -> Self {
        let mut since = Sha256::new();
        since.update(last.as_str().as_bytes());
        Self { last, since }
    }

    /// Takes in a whole line, with its newline.
    pub(super) fn take(&mut self, line: &[u8]) {
        self.since.update(line);
    }

    /// The next seal as a line, with its newline; the chain goes on behind it.
    pub(super) fn seal(&mut self) -> serde_json::Result<Vec<u8>> {
        let since = std::mem::replace(&mut self.since, Sha256::new());
        let seal = since.finish();
        *self = Self::after(seal.clone());
        let mut line = serde_json::to_vec(&SealLine { seal })?;
        line.push(b'\n');
        Ok(line)
    }

    /// Whether a line (without its newline) is a seal, and if so, whether it is the right one. The chain goes on
    /// behind it.
    pub(super) fn check(&mut self, line: &[u8]) -> Option<bool> {
        if !line.starts_with(START) {
            return None;
        }
        let right = self.seal().is_ok_and(|seal| seal.strip_suffix(b"\n") == Some(line));
        Some(right)
    }

    /// The last seal.
    pub(super) fn last(&self) -> &Sha256Hex {
        &self.last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seal_is_the_hash_of_the_seal_before_and_the_lines_since() {
        let mut written = Chain::of_plan(b"{}");
        let plan = Sha256Hex::of_bytes(b"{}");
        written.take(b"a\n");
        written.take(b"b\n");
        let line = written.seal().unwrap();
        let expected = Sha256Hex::of_bytes(format!("{plan}a\nb\n").as_bytes());
        assert_eq!(String::from_utf8(line.clone()).unwrap(), format!("{{\"seal\":\"{expected}\"}}\n"));
        assert_eq!(written.last(), &expected);

        let mut read = Chain::of_plan(b"{}");
        assert_eq!(read.check(b"a"), None);
        read.take(b"a\nb\n");
        assert_eq!(read.check(line.strip_suffix(b"\n").unwrap()), Some(true));
        assert_eq!(read.check(line.strip_suffix(b"\n").unwrap()), Some(false), "the same seal twice");
        assert_eq!(read.check(b"{\"entry\":\"seal\"}"), None);
        assert_eq!(read.check(b"{\"seal\":3}"), Some(false));
    }
}
