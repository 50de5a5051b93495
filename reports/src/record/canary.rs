//! What of a record watches the measuring itself.

use super::{CaseIndex, Contrast, ContrastKind};
use protocol::PerformanceRules;
use serde::{Deserialize, Serialize};

/// What watches the measuring itself: on every device a model measured against itself, and against itself slowed down
/// by a known share, interleaved with everything else and judged by the same rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Canaries {
    /// What their performance trials do: short sides.
    pub performance: PerformanceRules,
    /// One per device that is watched, in the order of devices.
    pub of: Vec<Canary>,
}

/// The three cases of a canary: the same bytes in processes of their own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Canary {
    /// What the other two are compared with.
    pub reference: CaseIndex,
    /// The same once more.
    pub same: CaseIndex,
    /// The same, slowed down on purpose.
    pub slower: CaseIndex,
    /// What earlier runs found on this device.
    #[serde(default)]
    pub earlier: CanaryCounts,
}

/// How often canaries were judged, and what was found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CanaryCounts {
    /// Runs in which the two equal ones were judged.
    pub same: u64,
    /// Of those, in which they were called different, at first.
    pub alarms: u64,
    /// Of those, in which fresh units said the same.
    pub confirmed: u64,
    /// Runs in which the slowed one was judged.
    pub slower: u64,
    /// Of those, in which it was found.
    pub found: u64,
}

impl std::ops::Add for CanaryCounts {
    type Output = Self;

    fn add(self, more: Self) -> Self {
        Self {
            same: self.same.saturating_add(more.same),
            alarms: self.alarms.saturating_add(more.alarms),
            confirmed: self.confirmed.saturating_add(more.confirmed),
            slower: self.slower.saturating_add(more.slower),
            found: self.found.saturating_add(more.found),
        }
    }
}

impl Canary {
    /// All three.
    pub fn cases(&self) -> [CaseIndex; 3] {
        [self.reference, self.same, self.slower]
    }

    /// The equal ones both ways, so that either being called worse is an alarm that asks for fresh units; then the
    /// slowed one.
    pub fn contrasts(&self) -> [Contrast; 3] {
        let pair = |candidate, reference| Contrast { kind: ContrastKind::Reference, candidate, reference };
        [pair(self.same, self.reference), pair(self.reference, self.same), pair(self.slower, self.reference)]
    }
}
