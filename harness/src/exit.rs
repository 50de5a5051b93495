//! How a command ends: exit codes as a type, and errors that carry one. Does not print.

use std::process::ExitCode;

/// What the exit code says. The numbers are API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Everything asked for was done.
    Fine,
    /// A gate failed: a variant is slower, larger or less accurate than the suite allows.
    GateFailed,
    /// The command line, a setting or a file of the user's is wrong.
    Usage,
    /// A device or the host's disk gave trouble: something is missing from the result.
    Incomplete,
    /// The selection left nothing to do.
    NothingSelected,
}

impl Exit {
    /// The number.
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Fine => 0,
            Self::GateFailed => 1,
            Self::Usage => 2,
            Self::Incomplete => 3,
            Self::NothingSelected => 4,
        }
    }

    /// How a command ends that did one thing on several devices. Device trouble weighs more than a setting: it may be
    /// why the setting looks wrong.
    pub(crate) fn worst(exits: &[Self]) -> Self {
        let any = |wanted: Self| exits.contains(&wanted);
        match (any(Self::Incomplete), any(Self::Usage)) {
            (true, _) => Self::Incomplete,
            (false, true) => Self::Usage,
            (false, false) => Self::Fine,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// An error together with the exit code it stands for.
#[derive(Debug)]
pub(crate) struct Failure {
    /// How the process ends.
    pub(crate) exit: Exit,
    /// What went wrong, with context.
    pub(crate) error: anyhow::Error,
}

/// What commands return.
pub(crate) type CommandResult<T = Exit> = Result<T, Failure>;

impl Failure {
    /// The user has to change something.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self { exit: Exit::Usage, error: anyhow::Error::msg(message.into()) }
    }

    /// Nothing is left to do.
    pub(crate) fn nothing(message: impl Into<String>) -> Self {
        Self { exit: Exit::NothingSelected, error: anyhow::Error::msg(message.into()) }
    }
}

/// Gives an error its exit code. There is no conversion that does it silently.
pub(crate) trait ExitWith<T> {
    /// The user has to change something.
    ///
    /// # Errors
    /// The same error, with [`Exit::Usage`].
    fn or_usage(self) -> CommandResult<T>;

    /// A device or a disk gave trouble.
    ///
    /// # Errors
    /// The same error, with [`Exit::Incomplete`].
    fn or_incomplete(self) -> CommandResult<T>;
}

impl<T, E: Into<anyhow::Error>> ExitWith<T> for Result<T, E> {
    fn or_usage(self) -> CommandResult<T> {
        self.map_err(|e| Failure { exit: Exit::Usage, error: e.into() })
    }

    fn or_incomplete(self) -> CommandResult<T> {
        self.map_err(|e| Failure { exit: Exit::Incomplete, error: e.into() })
    }
}
