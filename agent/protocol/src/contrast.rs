//! What is compared with what: words that suites are written in and runs are recorded in. The agent needs none of
//! them.

use serde::{Deserialize, Serialize};
use std::str::FromStr;

/// Position of a case in the plan of a run.
pub type CaseIndex = usize;

/// What a contrast asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ContrastKind {
    /// A variant against the suite's reference variant.
    Reference,
    /// TFLite (reference) against ONNX (candidate) at equal precision, on the same runtime: what the format costs.
    Format,
    /// The same file on another runtime: what its kernels cost.
    Runtime,
    /// TFLite on a runtime of its own (reference) against ONNX on one of its own (candidate), at equal precision: what
    /// is shipped, format and kernels together.
    Stack,
}

impl ContrastKind {
    /// Every kind, in the order in which they are told.
    pub const ALL: [Self; 4] = [Self::Reference, Self::Format, Self::Runtime, Self::Stack];
}

/// How the cases of a unit share a device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Sharing {
    /// All alive at once, served in turns.
    #[default]
    PingPong,
    /// One fresh process after the other, in random order: for what cannot be alive at once.
    Pairs,
}

impl FromStr for Sharing {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "ping-pong" => Ok(Self::PingPong),
            "pairs" => Ok(Self::Pairs),
            _ => Err(format!("{text:?} is no schedule: there are ping-pong and pairs")),
        }
    }
}

/// One comparison, candidate against reference, on one device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contrast {
    /// What it asks.
    pub kind: ContrastKind,
    /// The case that is judged.
    pub candidate: CaseIndex,
    /// The case it is compared with.
    pub reference: CaseIndex,
}
