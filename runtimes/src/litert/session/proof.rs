//! What really ran where, from the graph that was seen and from what LiteRT answers. Where neither tells, or they
//! contradict each other, nothing is claimed.

use crate::litert::options::Settings;
use crate::tflite::watch::Shares;
use crate::{Error, Result};
use protocol::{BackendProof, Fallback};

/// As XNNPACK names itself.
const XNNPACK: &str = "TfLiteXNNPackDelegate";

/// What was found out about a compiled model.
pub(super) struct Found {
    /// The graph after all delegates, where it could be seen.
    pub(super) seen: Option<Shares>,
    /// Nodes of the file.
    pub(super) total: u32,
    /// No node is left to kernels of the library, as it answers.
    pub(super) fully: Option<bool>,
    /// How many signatures there are, and the key of the first.
    pub(super) signatures: (usize, String),
}

impl Found {
    /// The proof for a backend.
    ///
    /// # Errors
    /// Kernels were asked for that this version of the library does not choose.
    pub(super) fn proof(&self, backend: &str, settings: &Settings) -> Result<BackendProof> {
        let kernels = self.kernels(backend, settings);
        let own = settings.kernels != "delegate";
        let Some(seen) = &self.seen else { return Ok(self.unseen(kernels, backend)) };
        if own && !seen.delegates.is_empty() {
            let message =
                format!("litert/{backend} needs LiteRT 2.1.4 or newer: this one takes XNNPACK all the same");
            return Err(Error::Unsupported(message));
        }
        if self.fully.is_some_and(|fully| fully != (seen.own() == 0)) {
            let why = "LiteRT's answer about delegation and the graph that was seen contradict each other";
            return Ok(nothing(kernels, self.total, why));
        }
        Ok(if own {
            seen.own_kernels(kernels)
        } else {
            seen.delegate(kernels, |name| (name == XNNPACK) == (backend == "xnnpack"))
        })
    }

    /// What can be said without having seen the graph: all, for the one delegate that there is on a CPU, or nothing.
    fn unseen(&self, kernels: String, backend: &str) -> BackendProof {
        if self.fully == Some(true) && backend == "xnnpack" {
            let (nodes_total, nodes_on_backend) = (self.total, self.total);
            return BackendProof {
                kernels,
                nodes_total,
                nodes_on_backend,
                partitions: 1,
                ..BackendProof::default()
            };
        }
        nothing(kernels, self.total, "this version of LiteRT does not tell which nodes run where")
    }

    fn kernels(&self, backend: &str, settings: &Settings) -> String {
        let mut kernels = match backend {
            "xnnpack" => "XNNPACK".to_owned(),
            "builtin" => "built-in kernels".to_owned(),
            "reference" => "reference kernels".to_owned(),
            accelerator => format!("accelerator {accelerator}"),
        };
        let (signatures, key) = &self.signatures;
        if *signatures > 1 {
            kernels += &format!(", signature {key:?}, the first of {signatures}");
        }
        if settings.threads > 1 {
            kernels += &format!(", {} threads", settings.threads);
        }
        kernels
    }
}

fn nothing(kernels: String, nodes_total: u32, why: &str) -> BackendProof {
    let fallback = Fallback { node: String::new(), op: String::new(), reason: why.to_owned() };
    BackendProof { kernels, nodes_total, fallbacks: vec![fallback], ..BackendProof::default() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tflite::watch::Node;

    /// Nodes of XNNPACK, and of the library.
    fn found(taken: usize, own: usize, fully: bool) -> Found {
        let own = (0..own).map(|index| Node { index, code: 25, custom: None, taken: None });
        let delegate = Node { index: 12, code: 51, custom: Some(XNNPACK.to_owned()), taken: Some(taken) };
        let graph = own.chain((taken > 0).then_some(delegate)).collect();
        let seen = Some(Shares::of(&[graph], None));
        Found { seen, total: 12, fully: Some(fully), signatures: (1, String::new()) }
    }

    fn counts(found: &Found, backend: &str, kernels: &'static str) -> (u32, u32, u32) {
        let proof = found.proof(backend, &Settings { kernels, ..Settings::default() }).unwrap();
        assert_eq!(proof.fallbacks.is_empty(), proof.nodes_on_backend == proof.nodes_total, "{proof:?}");
        (proof.nodes_total, proof.nodes_on_backend, proof.partitions)
    }

    #[test]
    fn the_graph_and_the_answer_must_agree() {
        assert_eq!(counts(&found(12, 0, true), "xnnpack", "delegate"), (12, 12, 1));
        assert_eq!(counts(&found(10, 2, false), "xnnpack", "delegate"), (12, 10, 1));
        assert_eq!(counts(&found(0, 12, false), "xnnpack", "delegate"), (12, 0, 0));
        assert_eq!(counts(&found(12, 0, false), "xnnpack", "delegate"), (12, 0, 0));
        assert_eq!(counts(&found(10, 2, true), "xnnpack", "delegate"), (12, 0, 0));
    }

    #[test]
    fn an_accelerator_is_not_proven_by_xnnpack() {
        assert_eq!(counts(&found(12, 0, true), "gpu", "delegate"), (12, 0, 0));
    }

    #[test]
    fn own_kernels_are_what_no_delegate_took() {
        assert_eq!(counts(&found(0, 12, false), "builtin", "builtin"), (12, 12, 1));
        let settings = Settings { kernels: "reference", ..Settings::default() };
        assert!(found(12, 0, true).proof("reference", &settings).is_err());
    }

    #[test]
    fn what_is_not_seen_is_claimed_only_whole() {
        let unseen = |fully| Found { seen: None, ..found(0, 0, fully) };
        assert_eq!(counts(&unseen(true), "xnnpack", "delegate"), (12, 12, 1));
        assert_eq!(counts(&unseen(false), "xnnpack", "delegate"), (12, 0, 0));
        assert_eq!(counts(&unseen(true), "gpu", "delegate"), (12, 0, 0));
        assert_eq!(counts(&unseen(false), "builtin", "builtin"), (12, 0, 0));
    }

    #[test]
    fn several_signatures_are_said() {
        let found = Found { signatures: (3, "encode".to_owned()), ..found(12, 0, true) };
        let settings = Settings { kernels: "delegate", threads: 2, ..Settings::default() };
        let kernels = found.proof("xnnpack", &settings).unwrap().kernels;
        assert_eq!(kernels, "XNNPACK, signature \"encode\", the first of 3, 2 threads");
    }
}
