//! Why a verdict is what it is, and what a reader must know about it. Sentences name the side; whoever
//! prints them knows its variant.

use crate::text::amount;
use protocol::Unit;
use std::fmt;

/// Which side of a contrast.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    /// The one that is judged.
    Candidate,
    /// The one it is compared with.
    Reference,
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Candidate => "candidate",
            Self::Reference => "reference",
        })
    }
}

/// One fact about a row.
#[derive(Clone, Debug, PartialEq)]
pub enum Reason {
    /// No unit holds a value of both sides.
    NoUnits,
    /// Trials of a side did not end well.
    TrialsFailed {
        /// Whose.
        side: Side,
        /// How many.
        failed: usize,
        /// Of how many.
        of: usize,
        /// What the first one said.
        first: String,
    },
    /// The same input gave different outputs.
    OutputsUnstable {
        /// Whose.
        side: Side,
    },
    /// Blocks were dropped because the device changed its state.
    BlocksDropped {
        /// How many.
        dropped: usize,
        /// Of how many.
        of: usize,
        /// Why the first one was.
        first: String,
    },
    /// The model that ran on the device is not the one in the plan.
    ModelMismatch {
        /// Whose.
        side: Side,
    },
    /// The two sides did not read the same input bytes.
    InputMismatch {
        /// Hashes of the candidate's.
        candidate: String,
        /// Hashes of the reference's, or of an earlier trial.
        reference: String,
    },
    /// The two sides ran on different versions of one runtime.
    VersionMismatch {
        /// The candidate's.
        candidate: String,
        /// The reference's.
        reference: String,
    },
    /// Nothing shows that the backend asked for ran.
    BackendNotProven {
        /// Whose.
        side: Side,
    },
    /// The outputs of a side are missing.
    NoOutputs {
        /// Whose.
        side: Side,
        /// Why.
        why: String,
    },
    /// The two sides' outputs cannot be laid side by side.
    OutputsDiffer {
        /// How.
        how: String,
    },
    /// Outputs that are not finite numbers.
    NotFinite {
        /// Whose.
        side: Side,
        /// How many values.
        values: u64,
    },
    /// Not measured on this device.
    NotMeasured,
    /// Too few units for any call.
    TooFewUnits {
        /// Units there are.
        units: usize,
        /// Units it takes.
        needed: usize,
    },
    /// Enough units for a call, and none could be made.
    Undecided {
        /// Units used.
        units: usize,
    },
    /// Answers to random input say little about answers to real input.
    RandomInput,
    /// Too few examples to tell.
    UndecidedExamples {
        /// Examples.
        examples: u64,
        /// Least loss they show.
        visible: f64,
        /// What it is counted in.
        unit: Unit,
    },
    /// Fewer examples, groups, or examples of a kind, than a call takes.
    TooFewExamples {
        /// How many there are.
        found: usize,
        /// How many it takes.
        needed: usize,
    },
    /// Better or worse for certain, and yet inside the margin.
    WithinMargin {
        /// The margin, as a share.
        margin: f64,
    },
    /// The same of a score.
    WithinScoreMargin {
        /// The margin.
        margin: f64,
        /// What it is counted in.
        unit: Unit,
    },
    /// Every output is bit for bit the same.
    Identical,
    /// Every process gave the same number.
    Deterministic,
    /// A time that is the same to the nanosecond in every unit.
    Frozen {
        /// Units.
        units: usize,
    },
    /// Other work took the core of a side for part of the time.
    Contended {
        /// Whose.
        side: Side,
        /// Trials with wall over CPU time above the limit.
        trials: usize,
        /// Of how many.
        of: usize,
        /// Highest CPU pressure seen around them, in percent, where the kernel tells.
        pressure_percent: Option<f64>,
    },
    /// Trials that hit their time limit before their number of iterations.
    CutShort {
        /// Whose.
        side: Side,
        /// How many trials.
        trials: usize,
    },
    /// Trials whose times still had a trend when warm-up hit its time limit.
    NotSettled {
        /// Whose.
        side: Side,
        /// How many trials.
        trials: usize,
    },
    /// Units that began before the device was as cool as asked for.
    StartedHot {
        /// How many.
        units: usize,
        /// Of how many that waited.
        of: usize,
    },
    /// Part of the graph ran elsewhere than on the backend asked for.
    PartialBackend {
        /// Whose.
        side: Side,
        /// Nodes on the backend.
        on_backend: u32,
        /// Nodes in all.
        total: u32,
    },
    /// Found worse, and once more with fresh units.
    Confirmed {
        /// Ratio in the fresh units.
        ratio: f64,
        /// How many of them.
        units: usize,
    },
    /// Found worse, and not with fresh units.
    NotReproduced {
        /// Ratio of the first finding.
        first: f64,
        /// Ratio in the fresh units.
        ratio: f64,
        /// How many of them.
        units: usize,
    },
    /// Found worse, and there was no time to see whether fresh units say the same.
    NotConfirmed {
        /// Fresh units so far.
        units: usize,
        /// Fresh units at which something new can be known.
        next: usize,
    },
    /// The canary of the device says that its times cannot be trusted.
    DeviceSick {
        /// What it found.
        found: String,
    },
    /// The sign-flip test does not find what the t test found.
    CrossCheck {
        /// Its p-value on the side of the verdict.
        sign_flip_p: f64,
    },
}

/// Of the change, from a ratio.
fn percent(ratio: f64) -> String {
    format!("{:+.1} %", (ratio - 1.0) * 100.0)
}

impl Reason {
    /// How it was measured.
    fn of_the_measuring(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Deterministic => f.write_str("the same number in every process"),
            Self::Frozen { units } => {
                write!(
                    f,
                    "exactly the same time in all {units} units: the clock is too coarse, or stands still"
                )
            }
            Self::Contended { side, trials, of, pressure_percent: found } => {
                write!(
                    f,
                    "other work took the core in {trials} of {of} trials of the {side}{}",
                    in_brackets(*found)
                )
            }
            Self::CutShort { side, trials } => {
                write!(f, "{trials} trials of the {side} were cut short by their time limit")
            }
            Self::NotSettled { side, trials } => {
                write!(f, "{trials} trials of the {side} were not settled when warm-up ended")
            }
            Self::StartedHot { units, of } => {
                write!(f, "{units} of {of} units began on a device hotter than asked for")
            }
            Self::PartialBackend { side, on_backend, total } => {
                write!(f, "only {on_backend} of {total} nodes of the {side} ran on the backend asked for")
            }
            _ => Ok(()),
        }
    }

    /// What fresh units say.
    fn of_fresh_units(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Confirmed { ratio, units } => {
                write!(f, "confirmed by {units} fresh units ({})", percent(*ratio))
            }
            Self::NotReproduced { first, ratio, units } => {
                let (first, again) = (percent(*first), percent(*ratio));
                write!(f, "not reproduced: {first} at first, {again} in {units} fresh units")
            }
            Self::NotConfirmed { units, next } => write!(f, "not confirmed: {units} of {next} fresh units"),
            _ => Ok(()),
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoUnits => f.write_str("no unit holds a value of both sides"),
            Self::TrialsFailed { side, failed, of, first } => {
                write!(f, "{failed} of {of} trials of the {side} failed: {first}")
            }
            Self::OutputsUnstable { side } => {
                write!(f, "the {side} gives different outputs for the same input")
            }
            Self::BlocksDropped { dropped, of, first } => {
                write!(f, "{dropped} of {of} blocks dropped: {first}")
            }
            Self::ModelMismatch { side } => {
                write!(f, "the model of the {side} on the device is not the file of the plan")
            }
            Self::InputMismatch { candidate, reference } => {
                apart(f, "did not read the same input bytes", candidate, reference)
            }
            Self::VersionMismatch { candidate, reference } => {
                apart(f, "ran on two versions of the runtime", candidate, reference)
            }
            Self::BackendNotProven { side } => {
                write!(
                    f,
                    "CPU fallback: no node of the {side} is proven to have run on the backend asked for"
                )
            }
            Self::NoOutputs { side, why } => write!(f, "no outputs of the {side}: {why}"),
            Self::OutputsDiffer { how } => write!(f, "the outputs cannot be compared: {how}"),
            Self::NotFinite { side, values } => {
                write!(f, "{values} output values of the {side} are NaN or infinite")
            }
            Self::NotMeasured => f.write_str("not measured on this device"),
            Self::TooFewUnits { units, needed } => {
                write!(f, "{units} units, a call needs {needed}: measure more")
            }
            Self::Undecided { units } => write!(f, "not decided after {units} units"),
            Self::RandomInput => {
                f.write_str("answers to random input say little about answers to real input: give --data")
            }
            Self::UndecidedExamples { examples, visible, unit } => {
                write!(f, "{examples} examples do not show a loss below {}", amount(*visible, *unit))
            }
            Self::TooFewExamples { found, needed } => {
                write!(f, "{found} examples (groups, or of either kind), a call needs {needed}")
            }
            Self::WithinMargin { margin } => within(f, &format!("{:.3} %", margin * 100.0)),
            Self::WithinScoreMargin { margin, unit } => within(f, &amount(*margin, *unit)),
            Self::Identical => f.write_str("every output is bit for bit the same"),
            Self::Deterministic
            | Self::Frozen { .. }
            | Self::Contended { .. }
            | Self::CutShort { .. }
            | Self::NotSettled { .. }
            | Self::StartedHot { .. }
            | Self::PartialBackend { .. } => self.of_the_measuring(f),
            Self::Confirmed { .. } | Self::NotReproduced { .. } | Self::NotConfirmed { .. } => {
                self.of_fresh_units(f)
            }
            Self::DeviceSick { found } => write!(f, "times of this device cannot be trusted: {found}"),
            Self::CrossCheck { sign_flip_p } => {
                write!(f, "the sign-flip test does not confirm it (p = {sign_flip_p:.4})")
            }
        }
    }
}

/// What the kernel said of it, in brackets.
fn in_brackets(percent: Option<f64>) -> String {
    percent.map(|percent| format!(" (CPU pressure up to {percent:.1} %)")).unwrap_or_default()
}

/// What was not the same on both sides.
fn apart(f: &mut fmt::Formatter<'_>, what: &str, candidate: &str, reference: &str) -> fmt::Result {
    write!(f, "the two sides {what}: {candidate} and {reference}")
}

fn within(f: &mut fmt::Formatter<'_>, margin: &str) -> fmt::Result {
    write!(f, "certain, and inside the margin of {margin}")
}
