//! What is compared with what: words that suites are written in and runs are recorded in. The agent needs none of
//! them.

use serde::{Deserialize, Serialize};

/// Position of a case in the plan of a run.
pub type CaseIndex = usize;

/// What a contrast asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ContrastKind {
    /// A variant against the suite's reference variant.
    Reference,
    /// TFLite (reference) against ONNX (candidate) at equal precision.
    Format,
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
