//! What supervisor and worker say to each other over their private descriptor pair: JSON lines, framed
//! as between host and agent. Both ends are the same executable, so there are no versions.

use protocol::{Artifact, Event, FailKind, ModelFacts, Observation, PingPong, TrialSpec};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// From the supervisor. Every command is answered by [`Answer::Ready`], or ends the worker.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "do")]
pub(crate) enum Command {
    /// Open and compile the model, and feed the first example.
    Load {
        /// Position in the unit.
        trial: u32,
        /// The trial.
        spec: Box<TrialSpec>,
        /// Size of bursts.
        bursts: PingPong,
        /// Where output files go.
        dir: PathBuf,
        /// Memory readings would be an emulator's.
        emulated: bool,
    },
    /// Say what a model file holds. Needs no [`Command::Load`].
    Inspect {
        /// The file.
        model: Artifact,
        /// And what becomes of its tensors in these runs.
        run: Option<Observation>,
    },
    /// Performance: the first inference.
    First,
    /// Performance: warm up.
    WarmUp,
    /// Performance: the whole steady state, on its own.
    Steady,
    /// Performance: one burst of the steady state, among other workers'.
    Burst {
        /// Block.
        block: u32,
        /// Position in the block.
        burst: u32,
    },
    /// Performance: read memory after the steady state.
    Finish,
    /// Accuracy: every example once.
    Accuracy,
    /// Profile: time per node.
    Profile,
}

/// From the worker. Sent with a borrowed event, so that a burst keeps its buffers; received with its own.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "answer")]
pub(crate) enum Answer<E = Event> {
    /// For the host.
    Event {
        /// What.
        event: E,
    },
    /// To [`Command::Inspect`].
    Inspected {
        /// The facts.
        model: Box<ModelFacts>,
    },
    /// The command is done.
    Ready,
    /// The trial is over.
    Failed {
        /// Kind.
        kind: FailKind,
        /// Reason.
        message: String,
    },
}
