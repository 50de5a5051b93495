//! Everything that can happen while devices work: the one closed set that feeds the agenda, the journal
//! and the progress. No behaviour.

use crate::link::Hello;
use protocol::{Counts, Event, ModelFacts, Sha256Hex, UnitId};
use reports::record::{CaseIndex, Contrast, Purpose};
use std::{collections::BTreeMap, path::PathBuf, time::Duration};

/// Where pushed files lie on a device.
pub(crate) type Places = BTreeMap<Sha256Hex, PathBuf>;

/// Something that happened. `device` is a position in the list of devices.
#[derive(Debug)]
pub(crate) enum DispatchEvent {
    /// A file is on its way to a device.
    Pushing {
        /// Which device.
        device: usize,
        /// Which file.
        name: String,
        /// Bytes sent so far.
        sent_bytes: u64,
        /// Its size.
        bytes: u64,
    },
    /// An agent answered; all files are there.
    Ready {
        /// Which device.
        device: usize,
        /// Bytes that had to be sent for it.
        sent_bytes: u64,
        /// Who answered.
        hello: Box<Hello>,
        /// Where the files lie.
        places: Places,
    },
    /// A device could not be made ready.
    NotReady {
        /// Which device.
        device: usize,
        /// It answered before the trouble came: it is there.
        reached: bool,
        /// Why.
        trouble: Trouble,
    },
    /// An agent looked into a model file.
    Inspected {
        /// Which device.
        device: usize,
        /// Which file.
        model: Sha256Hex,
        /// What it holds, or why that could not be said.
        facts: Result<Box<ModelFacts>, String>,
    },
    /// A unit was given to a device.
    UnitStarted {
        /// Which device.
        device: usize,
        /// Which attempt.
        attempt: u32,
        /// What it is for.
        purpose: Purpose,
        /// Number of its kind on this device, from 0.
        round: u32,
        /// The cases in it.
        cases: Vec<CaseIndex>,
    },
    /// An agent reported.
    Agent {
        /// Which device.
        device: usize,
        /// Which unit.
        unit: UnitId,
        /// Which attempt.
        attempt: u32,
        /// Position in the unit's stream.
        seq: u64,
        /// What.
        event: Box<Event>,
    },
    /// Outputs of the unit under way were fetched.
    Fetched {
        /// Which device.
        device: usize,
        /// Their hash.
        sha256: Sha256Hex,
        /// Where they lie on the host until they are stored.
        staged: PathBuf,
    },
    /// A unit is complete.
    UnitDone {
        /// Which device.
        device: usize,
        /// Which unit.
        unit: UnitId,
        /// Which attempt.
        attempt: u32,
        /// The agent's counts, which agree with what was received.
        counts: Counts,
        /// From the start to the last file fetched.
        took: Duration,
    },
    /// A unit was lost, or refused.
    UnitLost {
        /// Which device.
        device: usize,
        /// Which unit.
        unit: UnitId,
        /// Which attempt.
        attempt: u32,
        /// Why.
        trouble: Trouble,
    },
    /// A unit was ended because the user asked for it.
    UnitCancelled {
        /// Which device.
        device: usize,
        /// Which unit.
        unit: UnitId,
        /// Which attempt.
        attempt: u32,
    },
    /// The rule was asked about groups of cases.
    Looked {
        /// Which device.
        device: usize,
        /// What it saw.
        standing: Standing,
    },
    /// A device will not be used any more in this run.
    DeviceLost {
        /// Which device.
        device: usize,
        /// Why.
        reason: String,
    },
    /// A device has nothing left to do.
    DeviceFinished {
        /// Which device.
        device: usize,
        /// Why.
        reason: &'static str,
    },
    /// The user wants it to end.
    Interrupted,
}

impl DispatchEvent {
    /// The device that it is about.
    pub(crate) fn device(&self) -> Option<usize> {
        match self {
            Self::Pushing { device, .. }
            | Self::Ready { device, .. }
            | Self::NotReady { device, .. }
            | Self::Inspected { device, .. }
            | Self::UnitStarted { device, .. }
            | Self::Agent { device, .. }
            | Self::Fetched { device, .. }
            | Self::UnitDone { device, .. }
            | Self::UnitLost { device, .. }
            | Self::UnitCancelled { device, .. }
            | Self::Looked { device, .. }
            | Self::DeviceLost { device, .. }
            | Self::DeviceFinished { device, .. } => Some(*device),
            Self::Interrupted => None,
        }
    }
}

/// Why something on a device did not work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Trouble {
    /// What happened, and what to do.
    pub(crate) reason: String,
    /// Whether trying again is of use.
    pub(crate) remedy: Remedy,
}

/// What helps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Remedy {
    /// Trying again may.
    TryAgain,
    /// The device must be looked after.
    Device,
    /// A setting must be changed.
    Setting,
}

/// How the latency contrasts of a device stand.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Standing {
    /// Units that were looked at.
    pub(crate) units: u32,
    /// All of them.
    pub(crate) contrasts: Vec<Precision>,
}

impl Standing {
    /// How many are decided.
    pub(crate) fn decided(&self) -> usize {
        self.contrasts.iter().filter(|c| c.decided).count()
    }
}

/// How well one contrast is known.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Precision {
    /// The contrast.
    pub(crate) cases: Contrast,
    /// Its verdict is there.
    pub(crate) decided: bool,
    /// Half the width of the decision interval, as a share.
    pub(crate) half: Option<f64>,
}
