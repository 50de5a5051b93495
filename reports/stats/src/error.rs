//! Why a number could not be computed. One type for the crate; no context of files or devices.

/// What is wrong with the input of a statistic.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum StatsError {
    /// Not enough values.
    #[error("{what} needs at least {needed} values, there are {got}")]
    TooFew {
        /// The statistic.
        what: &'static str,
        /// Least number.
        needed: usize,
        /// Number given.
        got: usize,
    },
    /// More values than the method is made for.
    #[error("{what} takes at most {most} values, there are {got}")]
    TooMany {
        /// The statistic.
        what: &'static str,
        /// Largest number.
        most: usize,
        /// Number given.
        got: usize,
    },
    /// A NaN or an infinity.
    #[error("value {index} given to {what} is not a finite number")]
    NotFinite {
        /// The statistic.
        what: &'static str,
        /// Position, from 0.
        index: usize,
    },
    /// A duration or size that must be above zero is not.
    #[error("value {index} given to {what} is not above zero")]
    NotPositive {
        /// The statistic.
        what: &'static str,
        /// Position, from 0.
        index: usize,
    },
    /// Paired series of different lengths.
    #[error("{what} needs pairs, there are {left} values on one side and {right} on the other")]
    Unpaired {
        /// The statistic.
        what: &'static str,
        /// Values on the first side.
        left: usize,
        /// Values on the second side.
        right: usize,
    },
    /// A parameter outside its range.
    #[error("{what} is {value}, it must lie {range}")]
    OutOfRange {
        /// The parameter.
        what: &'static str,
        /// Its value.
        value: f64,
        /// The range in words.
        range: &'static str,
    },
}

/// At least `needed` values, all finite.
pub(crate) fn check_values(what: &'static str, values: &[f64], needed: usize) -> Result<(), StatsError> {
    if values.len() < needed {
        return Err(StatsError::TooFew { what, needed, got: values.len() });
    }
    match values.iter().position(|v| !v.is_finite()) {
        Some(index) => Err(StatsError::NotFinite { what, index }),
        None => Ok(()),
    }
}

/// A probability or level strictly between 0 and 1.
pub(crate) fn check_open_unit(what: &'static str, value: f64) -> Result<(), StatsError> {
    if value > 0.0 && value < 1.0 {
        Ok(())
    } else {
        Err(StatsError::OutOfRange { what, value, range: "strictly between 0 and 1" })
    }
}

/// Counts that the distributions here were checked for.
pub(crate) fn check_count(what: &'static str, n: u64) -> Result<(), StatsError> {
    let most = crate::special::MAX_PARAMETER as usize - 1;
    match usize::try_from(n) {
        Ok(got) if got <= most => Ok(()),
        _ => Err(StatsError::TooMany { what, most, got: usize::try_from(n).unwrap_or(usize::MAX) }),
    }
}
